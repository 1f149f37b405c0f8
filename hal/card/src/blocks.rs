//! What a card is: numbered blocks.

use core::fmt;

/// Bytes in a block of every SD card and eMMC.
pub const BLOCK: usize = 512;

/// A card, read and written by whole blocks.
pub trait Blocks {
    /// How many blocks it has; 0 as long as no card was found.
    fn count(&self) -> u32;

    /// Reads blocks from `first` on until `buf` is full; its length is a
    /// multiple of [`BLOCK`].
    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), BlockError>;

    /// Writes blocks from `first` on; returns when they survive a power cut.
    /// Each block is old or new after one, never a mixture, but of several any
    /// number may be new.
    async fn write(&mut self, first: u32, bytes: &[u8]) -> Result<(), BlockError>;
}

/// Why blocks could not be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum BlockError {
    /// No card, or it was taken out.
    Absent,
    /// Another card than the one that was there at first.
    Exchanged,
    /// Past the end of the card.
    OutOfRange,
    /// The card did not answer in time.
    Timeout,
    /// The card or the line to it reports an error.
    Io,
}

impl fmt::Display for BlockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Absent => "no card: put one in",
            Self::Exchanged => "another card was put in: restart the board to use it",
            Self::OutOfRange => {
                "a block past the end of the card was asked for: \
                 the card was written with an image for a larger one"
            }
            Self::Timeout => "the card does not answer: it may be worn out or badly seated",
            Self::Io => "the card reports errors: it may be worn out or badly seated",
        })
    }
}

impl core::error::Error for BlockError {}
