//! FAT32: where things lie, and the table that chains clusters.
//!
//! Everything here works on cached pages and waits for nothing: what it needs
//! and does not find, it names ([`Stop::Page`]), and is called again.
//!
//! Source: Microsoft, *FAT32 File System Specification* 1.03.

pub(crate) mod folder;
pub(crate) mod name;
mod trail;

use crate::cache::{Cache, PAGE_BLOCKS};
use crate::{BLOCK, MountError, Partition, Trouble};

pub(crate) use trail::Trail;

/// Bits of a table entry that are meant.
const MASK: u32 = 0x0FFF_FFFF;
/// Table entries from here on end a chain.
const END: u32 = 0x0FFF_FFF8;
/// What is written to end a chain.
pub(crate) const LAST: u32 = 0x0FFF_FFFF;
/// The first cluster's number.
pub(crate) const FIRST: u32 = 2;
/// Table entries in a block.
pub(crate) const ENTRIES: u32 = BLOCK as u32 / 4;

/// Why an operation did not come to its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stop {
    /// This page has to be in the cache first.
    Page(u32),
    /// It cannot end well.
    Trouble(Trouble),
}

pub(crate) const fn damaged(what: &'static str) -> Stop {
    Stop::Trouble(Trouble::Damaged { what })
}

/// Where the parts of a FAT32 file system lie, in blocks of its partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Geometry {
    /// The table that counts.
    pub(crate) table: u32,
    /// Its copy, if one is kept.
    pub(crate) mirror: Option<u32>,
    /// Blocks of a table that are in use.
    pub(crate) table_blocks: u32,
    /// The first cluster's first block.
    data: u32,
    /// Blocks of a cluster: a power of two.
    pub(crate) cluster_blocks: u32,
    /// How many clusters there are.
    pub(crate) clusters: u32,
    /// The root folder's first cluster.
    pub(crate) root: u32,
    /// The block with the count of free clusters.
    pub(crate) info: Option<u32>,
}

/// Whether a card's first block is a file system rather than a table of partitions.
pub(crate) fn looks_like_one(block: &[u8; BLOCK]) -> bool {
    matches!(block[0], 0xEB | 0xE9) && &block[82..87] == b"FAT32"
}

impl Geometry {
    /// Reads the first block of a partition.
    pub(crate) fn parse(block: &[u8; BLOCK], partition: Partition) -> Result<Self, MountError> {
        let not = |found| Err(MountError::NotFat32 { found });
        match &block[3..11] {
            b"EXFAT   " => return not("exFAT"),
            b"NTFS    " => return not("NTFS"),
            _ if block[510..] != [0x55, 0xAA] => return not("nothing known"),
            _ => (),
        }
        let sector = u16_at(block, 11);
        let cluster_blocks = u32::from(block[13]);
        let reserved = u32::from(u16_at(block, 14));
        let tables = u32::from(block[16]);
        if !cluster_blocks.is_power_of_two() || reserved == 0 || !(1..=2).contains(&tables) {
            return not("nothing known");
        }
        // FAT12 and FAT16 have a root folder of fixed size.
        if u16_at(block, 17) != 0 || u16_at(block, 22) != 0 {
            return not("FAT12 or FAT16");
        }
        if usize::from(sector) != BLOCK {
            return not("FAT32 with sectors other than 512 bytes");
        }
        let broken = |what| Err(MountError::Damaged(Trouble::Damaged { what }));
        let table_blocks = u32_at(block, 36);
        let sectors = match u16_at(block, 19) {
            0 => u32_at(block, 32),
            sectors => u32::from(sectors),
        };
        if sectors > partition.count {
            return broken("it is larger than its partition");
        }
        let before_data = u64::from(reserved) + u64::from(tables) * u64::from(table_blocks);
        let Some(room) = u64::from(sectors).checked_sub(before_data) else {
            return broken("its tables are larger than it is");
        };
        let clusters = (room / u64::from(cluster_blocks)) as u32;
        let table_needs = (clusters + FIRST).div_ceil(ENTRIES);
        if clusters == 0 || table_needs > table_blocks || clusters + FIRST >= END {
            return broken("its table is too short");
        }
        let root = u32_at(block, 44) & MASK;
        let flags = u16_at(block, 40);
        // Bit 7: only one of the tables is kept, the one that bits 0-3 name.
        let single = flags & 0x80 != 0;
        let active = if single { u32::from(flags & 0xF) } else { 0 };
        if active >= tables {
            return broken("it names a table that it does not have");
        }
        let info = u32::from(u16_at(block, 48));
        let geometry = Self {
            table: reserved + active * table_blocks,
            mirror: (tables == 2 && !single).then_some(reserved + table_blocks),
            table_blocks: table_needs,
            data: before_data as u32,
            cluster_blocks,
            clusters,
            root,
            info: (1..reserved).contains(&info).then_some(info),
        };
        if !geometry.has(root) {
            return broken("its root folder lies outside");
        }
        Ok(geometry)
    }

    /// Whether it is a cluster of this file system.
    pub(crate) const fn has(&self, cluster: u32) -> bool {
        cluster >= FIRST && cluster - FIRST < self.clusters
    }

    /// The first block of a cluster.
    pub(crate) const fn block_of(&self, cluster: u32) -> u32 {
        self.data + (cluster - FIRST) * self.cluster_blocks
    }

    /// Bytes of a cluster.
    pub(crate) const fn cluster_len(&self) -> u32 {
        self.cluster_blocks * BLOCK as u32
    }

    /// How many clusters hold so many bytes.
    pub(crate) const fn clusters_for(&self, len: u32) -> u32 {
        len.div_ceil(self.cluster_len())
    }

    /// The table entry of a cluster.
    pub(crate) fn entry(&self, cache: &mut Cache<'_>, cluster: u32) -> Result<u32, Stop> {
        let block = block(cache, self.table + cluster / ENTRIES)?;
        Ok(u32_at(block, (cluster % ENTRIES) as usize * 4) & MASK)
    }

    /// The cluster after one, if it is not the last.
    pub(crate) fn next(&self, cache: &mut Cache<'_>, cluster: u32) -> Result<Option<u32>, Stop> {
        match self.entry(cache, cluster)? {
            END.. => Ok(None),
            next if self.has(next) => Ok(Some(next)),
            _ => Err(damaged("a chain of clusters leads nowhere")),
        }
    }
}

/// A block, if its page is in the cache.
pub(crate) fn block<'a>(cache: &'a mut Cache<'_>, block: u32) -> Result<&'a [u8; BLOCK], Stop> {
    let page = block / PAGE_BLOCKS;
    let Some(bytes) = cache.get(page) else {
        return Err(Stop::Page(page));
    };
    let (blocks, _) = bytes.as_chunks::<BLOCK>();
    // A page holds all blocks that its number stands for.
    blocks
        .get((block % PAGE_BLOCKS) as usize)
        .ok_or(Stop::Page(page))
}

pub(crate) fn u16_at(bytes: &[u8], at: usize) -> u16 {
    match bytes.get(at..at + 2) {
        Some(&[a, b]) => u16::from_le_bytes([a, b]),
        _ => 0,
    }
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from(u16_at(bytes, at)) | u32::from(u16_at(bytes, at + 2)) << 16
}
