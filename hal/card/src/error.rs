//! Why a card cannot be used, in words for the person who can change it.

use core::fmt;

use crate::BlockError;

/// Why there is no data folder or no lease log on a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MountError {
    /// The card cannot be read.
    Card(BlockError),
    /// Its first block holds no partition table.
    NoTable,
    /// It has a GPT.
    Gpt,
    /// A partition ends past the end of the card, which has that many blocks.
    TableBeyondEnd {
        /// Blocks on the card.
        blocks: u32,
    },
    /// The FAT32 partition and the one for leases share blocks.
    Overlap,
    /// No FAT32 partition.
    NoFat,
    /// No partition for leases.
    NoLeases,
    /// The partition that should be FAT32 holds something else.
    NotFat32 {
        /// What it looks like.
        found: &'static str,
    },
    /// The file system contradicts itself.
    Damaged(Trouble),
    /// The board gave less than [`MIN_MEMORY`](crate::MIN_MEMORY) bytes.
    TooLittleMemory,
}

impl fmt::Display for MountError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(error) => write!(f, "{error}"),
            Self::NoTable => {
                f.write_str("the card is blank: write an image to it with `cargo xtask flash`")
            }
            Self::Gpt => f.write_str(
                "the card has a GPT, ichor wants an MBR: write an image with `cargo xtask flash`",
            ),
            Self::TableBeyondEnd { blocks } => write!(
                f,
                "a partition ends past the end of the card ({} MiB): \
                 the image is larger than the card",
                blocks / 2048
            ),
            Self::Overlap => f.write_str(
                "the FAT32 partition and the lease partition overlap: \
                 write an image with `cargo xtask flash`",
            ),
            Self::NoFat => f.write_str(
                "the card has no FAT32 partition (MBR type 0x0B or 0x0C) for the data folder",
            ),
            Self::NoLeases => f.write_str(
                "the card has no partition for leases (MBR type 0xDA): \
                 write an image with `cargo xtask flash`",
            ),
            Self::NotFat32 { found } => write!(
                f,
                "the partition holds {found}, not FAT32: format it as FAT32"
            ),
            Self::Damaged(trouble) => write!(f, "{trouble}"),
            Self::TooLittleMemory => write!(
                f,
                "the file cache needs at least {} KiB of RAM",
                crate::MIN_MEMORY / 1024
            ),
        }
    }
}

impl core::error::Error for MountError {}

/// What is wrong with a file system or its card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Trouble {
    /// The card cannot be read or written.
    Card(BlockError),
    /// The file system contradicts itself.
    Damaged {
        /// Which of its structures, and how.
        what: &'static str,
    },
    /// No free clusters, directory entries or names are left.
    Full,
    /// A part of the path that is to be a folder is a file, or the reverse.
    NotThatKind,
    /// The name cannot be stored.
    BadName,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(error) => write!(f, "{error}"),
            Self::Damaged { what } => write!(
                f,
                "the FAT file system is damaged ({what}): \
                 copy what is on it and repair it with `fsck.fat -a` or `chkdsk /f`"
            ),
            Self::Full => f.write_str("no room on the card: remove files"),
            Self::NotThatKind => f.write_str("a folder stands where a file should, or the reverse"),
            Self::BadName => f.write_str("FAT cannot store this name"),
        }
    }
}

impl core::error::Error for Trouble {}
