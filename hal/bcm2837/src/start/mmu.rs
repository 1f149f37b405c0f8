//! Translation tables: which addresses exist, and what may be done there.
//!
//! Addresses are their own translation. What is not mapped faults: address 0,
//! the pages below each stack, memory that belongs to the VideoCore. Tables
//! have 4 KiB granules and 32-bit addresses (ARM DDI 0487, D8.2), so a walk
//! starts at level 1 with one entry for each GiB.

/// Bytes in the smallest mapping.
pub const PAGE: usize = 4096;
/// Bytes that one level 2 entry maps.
pub const BLOCK: usize = 2 << 20;

/// First address that tables cannot describe.
const END: usize = 1 << 32;
const GIB: usize = 1 << 30;
const ENTRIES: usize = 512;

/// `MAIR_EL1`: what the attribute indices below stand for. 0 is Normal
/// write-back, 1 Normal non-cacheable, 2 Device-nGnRE.
pub const MAIR: u64 = 0xFF | 0x44 << 8 | 0x04 << 16;

/// `TCR_EL1`: 32-bit addresses below, none above; walks are cacheable and
/// shared as the tables' memory is; 4 KiB granules.
pub const TCR: u64 = 32 | 0b01 << 8 | 0b01 << 10 | 0b11 << 12 | 1 << 23;

const VALID: u64 = 1;
/// Level 1 and 2: points to a table. Level 3: is a page.
const TABLE_OR_PAGE: u64 = 1 << 1;
const READ_ONLY: u64 = 1 << 7;
const INNER_SHAREABLE: u64 = 0b11 << 8;
const OUTER_SHAREABLE: u64 = 0b10 << 8;
const ACCESSED: u64 = 1 << 10;
const NEVER_EXECUTED_AT_EL1: u64 = 1 << 53;
const NEVER_EXECUTED_AT_EL0: u64 = 1 << 54;
const ADDRESS: u64 = 0x0000_FFFF_FFFF_F000;

/// What a range of addresses holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// Instructions: executed and read.
    Code,
    /// Constants: read alone.
    Constants,
    /// Cached memory that is read and written, never executed.
    Data,
    /// Uncached memory that devices read and write, too.
    Dma,
    /// Registers.
    Device,
}

impl Memory {
    const fn attributes(self) -> u64 {
        let index = match self {
            Self::Code | Self::Constants | Self::Data => 0,
            Self::Dma => 1 << 2,
            Self::Device => 2 << 2,
        };
        let shared = match self {
            Self::Code | Self::Constants | Self::Data => INNER_SHAREABLE,
            // Both are treated as outer shareable whatever is said.
            Self::Dma | Self::Device => OUTER_SHAREABLE,
        };
        let access = match self {
            Self::Code | Self::Constants => READ_ONLY,
            Self::Data | Self::Dma | Self::Device => 0,
        };
        let execution = match self {
            Self::Code => NEVER_EXECUTED_AT_EL0,
            _ => NEVER_EXECUTED_AT_EL0 | NEVER_EXECUTED_AT_EL1,
        };
        index | shared | access | execution | ACCESSED | VALID
    }
}

/// Why a range was not mapped. What came before the fault in the range is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapError {
    /// A bound is not at a page, or past 4 GiB.
    Bounds,
    /// A page of the range is mapped already.
    Taken,
    /// No table is left.
    Full,
}

/// One table of any level.
#[derive(Debug)]
#[repr(C, align(4096))]
pub struct Table([u64; ENTRIES]);

impl Table {
    /// A table that maps nothing.
    pub const EMPTY: Self = Self([0; ENTRIES]);
}

/// The tables of one address space, in memory where an address is its own
/// translation. The first is the root.
///
/// Entries only ever turn from unmapped to mapped, so that nothing has to be
/// invalidated when the space is in use.
#[derive(Debug)]
pub struct Tables<'a> {
    pool: &'a mut [Table],
    used: usize,
}

impl<'a> Tables<'a> {
    /// An address space in which nothing is mapped. The tables are cleared.
    pub fn new(pool: &'a mut [Table]) -> Self {
        for table in pool.iter_mut() {
            table.0.fill(0);
        }
        Self {
            used: 1.min(pool.len()),
            pool,
        }
    }

    /// The tables of an address space as [`used`](Self::used) told of them.
    pub fn resume(pool: &'a mut [Table], used: usize) -> Self {
        Self { pool, used }
    }

    /// How many tables are taken.
    pub fn used(&self) -> usize {
        self.used
    }

    /// Maps the addresses from `start` up to `end`, both at pages.
    pub fn map(&mut self, start: usize, end: usize, memory: Memory) -> Result<(), MapError> {
        if !start.is_multiple_of(PAGE) || !end.is_multiple_of(PAGE) || end > END {
            return Err(MapError::Bounds);
        }
        let mut address = start;
        while address < end {
            let whole_block = address.is_multiple_of(BLOCK) && end - address >= BLOCK;
            let entry = address as u64 | memory.attributes();
            let level2 = self.below(0, address / GIB)?;
            let index = address / BLOCK % ENTRIES;
            if whole_block {
                self.set(level2, index, entry)?;
                address += BLOCK;
            } else {
                let level3 = self.below(level2, index)?;
                self.set(level3, address / PAGE % ENTRIES, entry | TABLE_OR_PAGE)?;
                address += PAGE;
            }
        }
        Ok(())
    }

    /// The table that an entry points to; a new one if the entry is empty.
    fn below(&mut self, table: usize, index: usize) -> Result<usize, MapError> {
        let entry = self.entry(table, index)?;
        let base = self.pool.as_ptr() as usize;
        if entry & VALID == 0 {
            let new = self.used;
            if new >= self.pool.len() {
                return Err(MapError::Full);
            }
            self.used += 1;
            let address = (base + new * PAGE) as u64;
            self.set(table, index, address | TABLE_OR_PAGE | VALID)?;
            return Ok(new);
        }
        if entry & TABLE_OR_PAGE == 0 {
            return Err(MapError::Taken);
        }
        Ok(((entry & ADDRESS) as usize - base) / PAGE)
    }

    fn entry(&self, table: usize, index: usize) -> Result<u64, MapError> {
        let table = self.pool.get(table).ok_or(MapError::Full)?;
        table.0.get(index).copied().ok_or(MapError::Bounds)
    }

    fn set(&mut self, table: usize, index: usize, value: u64) -> Result<(), MapError> {
        let table = self.pool.get_mut(table).ok_or(MapError::Full)?;
        let entry = table.0.get_mut(index).ok_or(MapError::Bounds)?;
        if *entry & VALID != 0 {
            return Err(MapError::Taken);
        }
        *entry = value;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the hardware would find for `address`: its translation and the
    /// attributes of the last entry.
    fn walk(tables: &Tables<'_>, address: usize) -> Option<(u64, u64)> {
        let base = tables.pool.as_ptr() as usize;
        let mut table = 0;
        for (level, size) in [(1, GIB), (2, BLOCK), (3, PAGE)] {
            let entry = tables.pool[table].0[address / size % ENTRIES];
            if entry & VALID == 0 {
                return None;
            }
            let points = entry & TABLE_OR_PAGE != 0;
            if level == 3 || !points {
                assert_eq!(points, level == 3, "a page is marked as one");
                let offset = (address % size) as u64;
                return Some(((entry & ADDRESS) + offset, entry & !ADDRESS));
            }
            table = ((entry & ADDRESS) as usize - base) / PAGE;
        }
        unreachable!("level 3 returns")
    }

    fn pool(tables: usize) -> Vec<Table> {
        (0..tables).map(|_| Table([!0; ENTRIES])).collect()
    }

    #[test]
    fn an_address_translates_to_itself_and_its_neighbours_fault() {
        let mut pool = pool(8);
        let mut tables = Tables::new(&mut pool);
        tables.map(0x8_0000, 0x8_3000, Memory::Code).unwrap();
        tables.map(0x8_3000, 0x8_4000, Memory::Constants).unwrap();
        tables.map(0x8_5000, 0x60_1000, Memory::Data).unwrap();
        tables.map(0x80_0000, 0xA0_0000, Memory::Dma).unwrap();
        tables
            .map(0x3F00_0000, 0x4020_0000, Memory::Device)
            .unwrap();
        for address in [
            0x8_0000,
            0x8_2FFC,
            0x8_3010,
            0x8_5000,
            0x20_0000,
            0x5F_FFFF,
            0x60_0FFF,
            0x80_0000,
            0x9F_FFFF,
            0x3F00_B880,
            0x4000_0040,
        ] {
            let (to, _) = walk(&tables, address).expect("it is mapped");
            assert_eq!(to, address as u64);
        }
        for hole in [
            0,
            0x7_FFFF,
            0x8_4000,
            0x60_1000,
            0x7F_FFFF,
            0xA0_0000,
            0x4020_0000,
            END - 1,
        ] {
            assert_eq!(walk(&tables, hole), None, "{hole:#x}");
        }
    }

    #[test]
    fn each_kind_of_memory_has_its_rights() {
        let cases = [
            // kind, attribute index, writable, executable at EL1
            (Memory::Code, 0, false, true),
            (Memory::Constants, 0, false, false),
            (Memory::Data, 0, true, false),
            (Memory::Dma, 1, true, false),
            (Memory::Device, 2, true, false),
        ];
        for (memory, index, writable, executable) in cases {
            let mut pool = pool(3);
            let mut tables = Tables::new(&mut pool);
            tables.map(PAGE, 2 * PAGE, memory).unwrap();
            let (_, attributes) = walk(&tables, PAGE).unwrap();
            assert_eq!(attributes >> 2 & 7, index, "{memory:?}");
            assert_eq!(attributes & READ_ONLY == 0, writable, "{memory:?}");
            assert_eq!(
                attributes & NEVER_EXECUTED_AT_EL1 == 0,
                executable,
                "{memory:?}"
            );
            assert!(
                attributes & ACCESSED != 0,
                "the first access would fault: {memory:?}"
            );
            // Never for EL0, which nothing runs at.
            assert_eq!(attributes & 1 << 6, 0);
        }
        // The index says what the brackets of the register say.
        assert_eq!(MAIR & 0xFF, 0xFF);
        assert_eq!(MAIR >> 8 & 0xFF, 0x44);
        assert_eq!(MAIR >> 16 & 0xFF, 0x04);
    }

    #[test]
    fn what_cannot_be_mapped_is_told() {
        let mut pool = pool(3);
        let mut tables = Tables::new(&mut pool);
        assert_eq!(tables.map(1, PAGE, Memory::Data), Err(MapError::Bounds));
        assert_eq!(
            tables.map(0, END + PAGE, Memory::Data),
            Err(MapError::Bounds)
        );
        tables.map(0, BLOCK, Memory::Data).unwrap();
        assert_eq!(tables.map(0, PAGE, Memory::Data), Err(MapError::Taken));
        tables.map(BLOCK, BLOCK + PAGE, Memory::Data).unwrap();
        assert_eq!(
            tables.map(BLOCK, 2 * BLOCK, Memory::Data),
            Err(MapError::Taken)
        );
        assert_eq!(tables.used(), 3);
        assert_eq!(
            tables.map(2 * BLOCK, 2 * BLOCK + PAGE, Memory::Data),
            Err(MapError::Full)
        );
    }

    #[test]
    fn a_space_in_use_can_grow() {
        let mut pool = pool(3);
        let mut tables = Tables::new(&mut pool);
        tables.map(0, PAGE, Memory::Data).unwrap();
        let used = tables.used();
        let mut tables = Tables::resume(&mut pool, used);
        tables.map(BLOCK, 3 * BLOCK, Memory::Constants).unwrap();
        assert!(walk(&tables, 0).is_some());
        assert!(walk(&tables, 3 * BLOCK - 1).is_some());
    }
}
