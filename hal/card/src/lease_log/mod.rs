//! The lease log on a partition of its own.
//!
//! The partition is two areas. One holds the log, as blocks that are written
//! once and in order; a commit writes what is new into the next block, nothing
//! before it is touched. The other area holds what came before, or a
//! replacement that is being written; the replacement counts from the moment
//! its head is written, in two copies.
//!
//! What a power cut can do, and what is made of it:
//! - a flush of several blocks is written in part, in any order: the log ends
//!   before the first block that is missing. The others would fit again when
//!   its place is filled, so the log moves to the other area at once;
//! - a replacement is cut: its area has no head of a later generation, and its
//!   blocks carry a generation that is never used again;
//! - a block in the middle is unreadable, and later flushes say that it was
//!   there: what it held is lost, what follows is not.
//!
//! The areas wear evenly: each block is written once in each second rewrite,
//! the heads once.

mod record;
mod scan;

use core::fmt;

use heapless::Vec;
use ichor_hal::{LeaseLog, LogError};

use crate::{BLOCK, BlockError, Blocks, Card, Partition, RamLog};
use record::{Data, PAYLOAD};

/// Blocks that are written at once, at most.
const FLUSH: usize = 8;
/// Blocks that are read at once: opening reads the whole log.
const READ: usize = 32;
/// Blocks of an area that hold its head: the first and the last one.
const HEADS: u32 = 2;
/// Blocks of the smallest area: a few flushes.
const MIN_AREA: u32 = 64;

/// Why there is no lease log on a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum OpenLogError {
    /// The card cannot be read or written.
    Card(BlockError),
    /// The partition has fewer blocks than this.
    TooSmall {
        /// Blocks that it needs.
        least: u32,
    },
    /// The partition holds something that is no log.
    Foreign,
}

impl fmt::Display for OpenLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Card(error) => write!(f, "{error}"),
            Self::TooSmall { least } => write!(
                f,
                "the lease partition has less than {} KiB: write an image with `cargo xtask flash`",
                least / 2
            ),
            Self::Foreign => f.write_str(
                "the lease partition (type 0xDA) holds something else, or its log is damaged: \
                 fill it with zeros, or write an image with `cargo xtask flash`",
            ),
        }
    }
}

impl core::error::Error for OpenLogError {}

/// A log of leases on a partition of a card.
pub struct CardLog<'c, B> {
    card: &'c Card<B>,
    partition: Partition,
    log: Area,
    /// The log as it is on the card while `log` is its replacement.
    old: Option<Area>,
    /// The highest generation that any block may carry.
    generation: u64,
    /// The other area may count as complete although it must not: its head
    /// was written and nobody knows how that ended.
    unsure: bool,
    /// What is appended and not written yet.
    pending: Vec<u8, { FLUSH * PAYLOAD }>,
    window: Window,
}

/// The blocks of one generation.
#[derive(Debug, Clone, Copy)]
struct Area {
    /// 0 or 1.
    number: u32,
    generation: u64,
    /// Index of the next block.
    next: u32,
    /// CRC of the block before it.
    before: u32,
    /// Bytes of the log in the blocks.
    len: u64,
}

/// Blocks of the log that were read together, for readers that go on.
struct Window {
    blocks: [[u8; BLOCK]; READ],
    /// Which area and generation they are of.
    of: (u32, u64),
    /// Index of the first block.
    start: u32,
    count: u32,
    /// The block that the last read ended in, and where it begins in the log.
    at: (u32, u64),
}

impl<'c, B: Blocks> CardLog<'c, B> {
    /// Opens the log on a partition; one filled with zeros (or ones, as erased
    /// flash is) becomes an empty log.
    pub async fn open(card: &'c Card<B>, partition: Partition) -> Result<Self, OpenLogError> {
        let least = 2 * MIN_AREA;
        if partition.count < least {
            return Err(OpenLogError::TooSmall { least });
        }
        let mut log = Self {
            card,
            partition,
            log: Area::new(0, 0),
            old: None,
            generation: 0,
            unsure: false,
            pending: Vec::new(),
            window: Window::new(),
        };
        log.find().await.map_err(|error| match error {
            scan::Failed::Card(error) => OpenLogError::Card(error),
            scan::Failed::Foreign => OpenLogError::Foreign,
        })?;
        Ok(log)
    }

    const fn area_blocks(&self) -> u32 {
        self.partition.count / 2
    }

    /// How many blocks of payload an area has room for.
    const fn room(&self) -> u32 {
        self.area_blocks() - HEADS
    }

    /// The two copies of an area's head, far apart.
    const fn heads_of(&self, area: u32) -> [u32; HEADS as usize] {
        let first = area * self.area_blocks();
        [first, first + self.area_blocks() - 1]
    }

    const fn block_of(&self, area: u32, index: u32) -> u32 {
        area * self.area_blocks() + 1 + index
    }

    /// Writes what is pending: all of it, or only full blocks. If it fails,
    /// the next attempt writes the same blocks again.
    async fn flush(&mut self, all: bool) -> Result<(), LogError> {
        let blocks = if all {
            self.pending.len().div_ceil(PAYLOAD)
        } else {
            self.pending.len() / PAYLOAD
        };
        if blocks == 0 {
            return Ok(());
        }
        let area = self.log;
        if area.next + blocks as u32 > self.room() {
            return Err(LogError::Full);
        }
        let mut bytes = [[0; BLOCK]; FLUSH];
        let mut before = area.before;
        // A last block that is not full may have to wait.
        let payloads = self.pending.chunks(PAYLOAD).take(blocks);
        for (index, (block, payload)) in (area.next..).zip(bytes.iter_mut().zip(payloads)) {
            before = Data::emit(block, area.generation, (index, area.next), before, payload);
        }
        let first = self.block_of(area.number, area.next);
        self.store(first, bytes[..blocks].as_flattened()).await?;
        let written = self.pending.len().min(blocks * PAYLOAD);
        self.pending.drain(..written);
        self.log.next += blocks as u32;
        self.log.before = before;
        self.log.len += written as u64;
        Ok(())
    }

    /// Sees that the other area does not count as complete: after a head was
    /// written and that failed, it might.
    async fn make_sure(&mut self, active: u32) -> Result<(), LogError> {
        if self.unsure {
            for place in self.heads_of(1 - active) {
                self.store(place, &[0; BLOCK]).await?;
            }
            self.unsure = false;
        }
        Ok(())
    }

    /// Goes on in the other area, under a new generation.
    async fn start_replacement(&mut self, active: Area) -> Result<(), LogError> {
        self.make_sure(active.number).await?;
        let other = 1 - active.number;
        // An attempt that a power cut ended may have left blocks. If it left
        // any that matter, some are among the first ones: its second flush
        // began when the first was whole.
        let mut first = [[0; BLOCK]; FLUSH];
        let place = self.block_of(other, 0);
        self.load(place, first.as_flattened_mut()).await?;
        let left = first.iter().filter_map(Data::parse);
        let highest = left.map(|data| data.generation).max().unwrap_or(0);
        self.generation = self.generation.max(highest) + 1;
        self.pending.clear();
        self.log = Area::new(other, self.generation);
        Ok(())
    }

    /// Lets the replacement count.
    async fn finish_replacement(&mut self) -> Result<(), LogError> {
        self.flush(true).await?;
        let mut head = [0; BLOCK];
        record::emit_head(&mut head, self.log.generation);
        self.unsure = true;
        for place in self.heads_of(self.log.number) {
            self.store(place, &head).await?;
        }
        self.unsure = false;
        Ok(())
    }

    /// Moves the first `len` bytes of the log to the other area, in as few
    /// blocks as they need. If it fails, everything is as before.
    async fn pack(&mut self, len: u64) -> Result<(), LogError> {
        let active = self.log;
        let pending = self.pending.clone();
        let packed = self.copy(active, len).await;
        if packed.is_err() {
            self.log = active;
        }
        self.pending = pending;
        packed
    }

    async fn copy(&mut self, from: Area, len: u64) -> Result<(), LogError> {
        self.start_replacement(from).await?;
        let mut offset = 0;
        let mut bytes = [0; PAYLOAD];
        while offset < len {
            let n = usize::try_from(len - offset)
                .unwrap_or(PAYLOAD)
                .min(PAYLOAD);
            let n = self.read_area(from, offset, &mut bytes[..n]).await?;
            if n == 0 {
                break;
            }
            // There is room for it.
            let _ = self.pending.extend_from_slice(&bytes[..n]);
            if self.pending.capacity() - self.pending.len() < PAYLOAD {
                self.flush(false).await?;
            }
            offset += n as u64;
        }
        self.finish_replacement().await
    }

    /// Makes room in the log's area, if moving the log gains any.
    async fn make_room(&mut self) -> Result<(), LogError> {
        let needed = self.log.len.div_ceil(PAYLOAD as u64) + FLUSH as u64;
        // Moving it often for a few blocks would wear the card.
        if needed > u64::from(self.room() / 2) {
            return Err(LogError::Full);
        }
        self.pack(self.log.len).await
    }

    async fn load(&self, first: u32, bytes: &mut [u8]) -> Result<(), LogError> {
        let read = self.card.read(self.partition, first, bytes).await;
        read.map_err(|_| LogError::Io)
    }

    async fn store(&self, first: u32, bytes: &[u8]) -> Result<(), LogError> {
        let written = self.card.write(self.partition, first, bytes).await;
        written.map_err(|_| LogError::Io)
    }
}

impl<B: Blocks> LeaseLog for CardLog<'_, B> {
    fn len(&self) -> u64 {
        self.log.len + self.pending.len() as u64
    }

    async fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, LogError> {
        if offset < self.log.len {
            return self.read_area(self.log, offset, buf).await;
        }
        let start = usize::try_from(offset - self.log.len).unwrap_or(usize::MAX);
        let rest = self.pending.get(start..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    async fn truncate(&mut self, len: u64) -> Result<(), LogError> {
        if let Some(keep) = len.checked_sub(self.log.len) {
            let keep = usize::try_from(keep).unwrap_or(usize::MAX);
            // What was tried to be written may be there already, and a
            // shorter flush would not cover it: then it moves, too.
            self.pending.truncate(keep);
            return self.pack(self.log.len).await;
        }
        self.pending.clear();
        self.pack(len).await
    }

    async fn append(&mut self, mut bytes: &[u8]) -> Result<(), LogError> {
        while !bytes.is_empty() {
            if self.pending.is_full() {
                self.flush_or_make_room(false).await?;
            }
            let room = self.pending.capacity() - self.pending.len();
            let (now, later) = bytes.split_at(bytes.len().min(room));
            // There is room for it.
            let _ = self.pending.extend_from_slice(now);
            bytes = later;
        }
        Ok(())
    }

    /// Writes one block as a rule, two if a record lies across their border.
    async fn commit(&mut self) -> Result<(), LogError> {
        if self.old.is_none() {
            self.make_sure(self.log.number).await?;
        }
        self.flush_or_make_room(true).await
    }

    async fn begin_rewrite(&mut self) -> Result<(), LogError> {
        let active = self.old.unwrap_or(self.log);
        self.start_replacement(active).await?;
        self.old = Some(active);
        Ok(())
    }

    /// If this fails, the old log stays the log, and what was appended since
    /// [`begin_rewrite`](Self::begin_rewrite) is forgotten.
    async fn finish_rewrite(&mut self) -> Result<(), LogError> {
        let Some(old) = self.old.take() else {
            return Ok(());
        };
        let finished = self.finish_replacement().await;
        if finished.is_err() {
            self.log = old;
            self.pending.clear();
        }
        finished
    }
}

impl<B: Blocks> CardLog<'_, B> {
    async fn flush_or_make_room(&mut self, all: bool) -> Result<(), LogError> {
        match self.flush(all).await {
            Err(LogError::Full) if self.old.is_none() => {
                self.make_room().await?;
                self.flush(all).await
            }
            flushed => flushed,
        }
    }
}

impl Area {
    const fn new(number: u32, generation: u64) -> Self {
        Self {
            number,
            generation,
            next: 0,
            before: 0,
            len: 0,
        }
    }
}

/// The log of a board that may have no card: on one, or in `N` bytes of RAM.
#[allow(clippy::large_enum_variant)]
pub enum Log<'c, B, const N: usize> {
    /// On the card: survives power cuts.
    Card(CardLog<'c, B>),
    /// In RAM: leases are forgotten at power-off.
    Ram(RamLog<N>),
}

impl<B: Blocks, const N: usize> LeaseLog for Log<'_, B, N> {
    fn len(&self) -> u64 {
        match self {
            Self::Card(log) => log.len(),
            Self::Ram(log) => log.len(),
        }
    }

    async fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, LogError> {
        match self {
            Self::Card(log) => LeaseLog::read(log, offset, buf).await,
            Self::Ram(log) => log.read(offset, buf).await,
        }
    }

    async fn truncate(&mut self, len: u64) -> Result<(), LogError> {
        match self {
            Self::Card(log) => log.truncate(len).await,
            Self::Ram(log) => log.truncate(len).await,
        }
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        match self {
            Self::Card(log) => log.append(bytes).await,
            Self::Ram(log) => log.append(bytes).await,
        }
    }

    async fn commit(&mut self) -> Result<(), LogError> {
        match self {
            Self::Card(log) => log.commit().await,
            Self::Ram(log) => log.commit().await,
        }
    }

    async fn begin_rewrite(&mut self) -> Result<(), LogError> {
        match self {
            Self::Card(log) => log.begin_rewrite().await,
            Self::Ram(log) => log.begin_rewrite().await,
        }
    }

    async fn finish_rewrite(&mut self) -> Result<(), LogError> {
        match self {
            Self::Card(log) => log.finish_rewrite().await,
            Self::Ram(log) => log.finish_rewrite().await,
        }
    }
}
