//! The partition table of a card (MBR).

use crate::error::MountError;
use crate::fat;
use crate::{BLOCK, BlockError};

/// Types of FAT32 partitions, with CHS addresses and without.
const FAT32: [u8; 2] = [0x0B, 0x0C];
/// Type of the lease log's partition: "no file system" to other systems, which
/// leave it alone.
const LEASES: u8 = 0xDA;
/// Type of the one partition that covers a disk with a GPT.
const GPT: u8 = 0xEE;
const TABLE: usize = 446;
const ENTRY: usize = 16;
const SIGNATURE: [u8; 2] = [0x55, 0xAA];

/// A run of blocks of a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partition {
    /// Its first block.
    pub first: u32,
    /// How many blocks it has.
    pub count: u32,
}

impl Partition {
    /// Where on the card `len` bytes from block `first` of the partition on are.
    pub(crate) fn place(self, first: u32, len: usize) -> Result<u32, BlockError> {
        let blocks = u32::try_from(len / BLOCK).map_err(|_| BlockError::OutOfRange)?;
        if first > self.count || blocks > self.count - first {
            return Err(BlockError::OutOfRange);
        }
        Ok(self.first + first)
    }

    const fn end(self) -> u64 {
        self.first as u64 + self.count as u64
    }
}

/// The partitions that ichor uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Partitions {
    fat: Option<Partition>,
    leases: Option<Partition>,
}

impl Partitions {
    /// Reads a card's first block. A card with a file system and no table
    /// (cameras write such) counts as one partition.
    pub(crate) fn parse(block: &[u8; BLOCK], count: u32) -> Result<Self, MountError> {
        if block[BLOCK - 2..] != SIGNATURE {
            return Err(MountError::NoTable);
        }
        if fat::looks_like_one(block) {
            return Ok(Self {
                fat: Some(Partition { first: 0, count }),
                leases: None,
            });
        }
        let mut found = Self {
            fat: None,
            leases: None,
        };
        for entry in block[TABLE..].chunks_exact(ENTRY) {
            let kind = entry[4];
            let partition = Partition {
                first: fat::u32_at(entry, 8),
                count: fat::u32_at(entry, 12),
            };
            let place = match kind {
                GPT => return Err(MountError::Gpt),
                LEASES => &mut found.leases,
                kind if FAT32.contains(&kind) => &mut found.fat,
                _ => continue,
            };
            if partition.first == 0 || partition.end() > u64::from(count) {
                return Err(MountError::TableBeyondEnd { blocks: count });
            }
            place.get_or_insert(partition);
        }
        match (found.fat, found.leases) {
            (Some(a), Some(b)) if u64::from(a.first) < b.end() && u64::from(b.first) < a.end() => {
                Err(MountError::Overlap)
            }
            _ => Ok(found),
        }
    }

    /// The partition with the data folder: the first FAT32 one.
    pub fn fat(&self) -> Result<Partition, MountError> {
        self.fat.ok_or(MountError::NoFat)
    }

    /// The partition for leases: the first of type 0xDA.
    pub fn leases(&self) -> Result<Partition, MountError> {
        self.leases.ok_or(MountError::NoLeases)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A table of (type, first, count).
    fn table(entries: &[(u8, u32, u32)]) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[510..].copy_from_slice(&SIGNATURE);
        for (entry, (kind, first, count)) in block[TABLE..].chunks_mut(ENTRY).zip(entries) {
            entry[4] = *kind;
            entry[8..12].copy_from_slice(&first.to_le_bytes());
            entry[12..16].copy_from_slice(&count.to_le_bytes());
        }
        block
    }

    #[test]
    fn partitions_are_found_or_refused_by_name() {
        let fat = Partition {
            first: 2048,
            count: 1000,
        };
        let leases = Partition {
            first: 3048,
            count: 952,
        };
        let found = |fat, leases| Ok(Partitions { fat, leases });
        let beyond = Err(MountError::TableBeyondEnd { blocks: 4000 });
        type Case = (&'static [(u8, u32, u32)], Result<Partitions, MountError>);
        let cases: [Case; 8] = [
            (
                &[(0x0C, 2048, 1000), (0xDA, 3048, 952)],
                found(Some(fat), Some(leases)),
            ),
            // The first of several, whatever else there is.
            (
                &[(0x83, 1, 9), (0x0B, 2048, 1000), (0x0C, 3048, 952)],
                found(Some(fat), None),
            ),
            (&[(0xDA, 3048, 952)], found(None, Some(leases))),
            (&[], found(None, None)),
            (&[(0xEE, 1, u32::MAX)], Err(MountError::Gpt)),
            (&[(0x0C, 2048, 2000)], beyond),
            (&[(0xDA, u32::MAX, u32::MAX)], beyond),
            (
                &[(0x0C, 2048, 1000), (0xDA, 3047, 10)],
                Err(MountError::Overlap),
            ),
        ];
        for (entries, expected) in cases {
            assert_eq!(Partitions::parse(&table(entries), 4000), expected);
        }
        assert_eq!(
            Partitions::parse(&[0; BLOCK], 4000),
            Err(MountError::NoTable)
        );
    }

    #[test]
    fn nothing_outside_of_a_partition_has_a_place() {
        let partition = Partition {
            first: 100,
            count: 10,
        };
        assert_eq!(partition.place(8, 1024), Ok(108));
        for (first, len) in [(9, 1024), (10, 512), (11, 0), (u32::MAX, 512)] {
            assert_eq!(partition.place(first, len), Err(BlockError::OutOfRange));
        }
    }
}
