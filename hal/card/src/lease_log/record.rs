//! The blocks of the lease log.
//!
//! ```text
//! 0       8           16       20      24        28    30  32        508   512
//! │ magic │ generation │ index │ flush │ before │ len │ 0 │ payload … │ CRC-32 │
//! ```
//!
//! `generation` counts the rewrites, `index` the blocks of one from 0 on.
//! `flush` is the index of the first block that was written together with this
//! one: all blocks below it were on the card before. `before` is the CRC of
//! the block with the index before this one. `len` is how many bytes of the
//! payload count. All numbers are little-endian; the CRC (IEEE 802.3) covers
//! everything before it.

use crate::BLOCK;
use crate::crc::crc32;
use crate::fat::{u16_at, u32_at};

/// Bytes of the log that a block holds.
pub(super) const PAYLOAD: usize = CRC - START;
const DATA: &[u8; 8] = b"ichorLD1";
const HEAD: &[u8; 8] = b"ichorLH1";
const START: usize = 32;
const CRC: usize = BLOCK - 4;

/// What a block of payload says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Data {
    pub(super) generation: u64,
    pub(super) index: u32,
    pub(super) flush: u32,
    pub(super) before: u32,
    pub(super) len: usize,
    /// The CRC of this block.
    pub(super) crc: u32,
}

impl Data {
    /// Reads a block; `None` if it is not whole or something else.
    pub(super) fn parse(block: &[u8; BLOCK]) -> Option<Self> {
        let crc = checked(block, DATA)?;
        let len = usize::from(u16_at(block, 28));
        (len <= PAYLOAD).then_some(Self {
            generation: u64_at(block, 8),
            index: u32_at(block, 16),
            flush: u32_at(block, 20),
            before: u32_at(block, 24),
            len,
            crc,
        })
    }

    /// Builds a block around `payload`, and returns its CRC.
    pub(super) fn emit(
        block: &mut [u8; BLOCK],
        generation: u64,
        place: (u32, u32),
        before: u32,
        payload: &[u8],
    ) -> u32 {
        let (index, flush) = place;
        block.fill(0);
        block[8..16].copy_from_slice(&generation.to_le_bytes());
        block[16..20].copy_from_slice(&index.to_le_bytes());
        block[20..24].copy_from_slice(&flush.to_le_bytes());
        block[24..28].copy_from_slice(&before.to_le_bytes());
        block[28..30].copy_from_slice(&(payload.len() as u16).to_le_bytes());
        block[START..START + payload.len()].copy_from_slice(payload);
        seal(block, DATA)
    }

    /// The bytes of the log in a block with this data.
    pub(super) fn payload(self, block: &[u8; BLOCK]) -> &[u8] {
        &block[START..START + self.len]
    }
}

/// Which rewrite an area holds, once it is complete.
pub(super) fn head_generation(block: &[u8; BLOCK]) -> Option<u64> {
    checked(block, HEAD).map(|_| u64_at(block, 8))
}

/// Builds the block that says that an area is complete.
pub(super) fn emit_head(block: &mut [u8; BLOCK], generation: u64) {
    block.fill(0);
    block[8..16].copy_from_slice(&generation.to_le_bytes());
    seal(block, HEAD);
}

fn seal(block: &mut [u8; BLOCK], magic: &[u8; 8]) -> u32 {
    block[..8].copy_from_slice(magic);
    let crc = crc32(&block[..CRC]);
    block[CRC..].copy_from_slice(&crc.to_le_bytes());
    crc
}

fn checked(block: &[u8; BLOCK], magic: &[u8; 8]) -> Option<u32> {
    let crc = u32_at(block, CRC);
    (block[..8] == *magic && crc == crc32(&block[..CRC])).then_some(crc)
}

fn u64_at(block: &[u8], at: usize) -> u64 {
    u64::from(u32_at(block, at)) | u64::from(u32_at(block, at + 4)) << 32
}
