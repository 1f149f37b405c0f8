//! A card in memory whose power fails when a test wants, and images for it.

// Each test uses its own part of this.
#![allow(dead_code, clippy::unwrap_used)]

pub(crate) mod check;

use std::cell::RefCell;
use std::future::Future;
use std::io::{Cursor, Write};
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use embassy_futures::select::{Either, select};
use ichor_hal::Entropy;
use ichor_hal::fake::FakeEntropy;
use ichor_hal_card::{BLOCK, BlockError, Blocks};

/// First block of the FAT partition, and how many blocks it has.
pub(crate) const FAT_FIRST: u32 = 2048;
pub(crate) const FAT_BLOCKS: u32 = 35 * 2048;
/// The same of the lease partition.
pub(crate) const LEASES_FIRST: u32 = FAT_FIRST + FAT_BLOCKS;
pub(crate) const LEASES_BLOCKS: u32 = 1024;

/// Blocks in memory. Clones are the same card.
#[derive(Debug, Clone)]
pub(crate) struct FakeCard(pub(crate) Rc<RefCell<State>>);

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) bytes: Vec<u8>,
    /// Every block that was written, in the order of the calls.
    pub(crate) writes: Vec<(u32, [u8; BLOCK])>,
    /// How many calls there were for reading, and the blocks of each.
    pub(crate) reads: Vec<(u32, u32)>,
    /// So many blocks can be written until the power fails.
    pub(crate) budget: Option<u64>,
    /// In which order the blocks of one call are written.
    pub(crate) random: FakeEntropy,
    /// What every access fails with.
    pub(crate) error: Option<BlockError>,
    /// Blocks that cannot be read.
    pub(crate) bad: Vec<u32>,
}

impl FakeCard {
    pub(crate) fn new(bytes: Vec<u8>) -> Self {
        Self(Rc::new(RefCell::new(State {
            bytes,
            writes: Vec::new(),
            reads: Vec::new(),
            budget: None,
            random: FakeEntropy(1),
            error: None,
            bad: Vec::new(),
        })))
    }

    /// Another card with what is on this one.
    pub(crate) fn copy(&self) -> Self {
        Self::new(self.0.borrow().bytes.clone())
    }

    /// Switches the power off after so many blocks, and says how to order them.
    pub(crate) fn cut_after(&self, blocks: u64, seed: u64) {
        let mut state = self.0.borrow_mut();
        state.budget = Some(blocks);
        state.random = FakeEntropy(seed);
    }

    pub(crate) fn power_on(&self) {
        let mut state = self.0.borrow_mut();
        state.budget = None;
        state.error = None;
    }

    pub(crate) fn bytes(&self, first: u32, count: u32) -> Vec<u8> {
        let (first, count) = (first as usize, count as usize);
        self.0.borrow().bytes[first * BLOCK..(first + count) * BLOCK].to_vec()
    }
}

impl State {
    fn range(&self, first: u32, len: usize) -> Result<std::ops::Range<usize>, BlockError> {
        assert_eq!(len % BLOCK, 0, "whole blocks");
        let start = first as usize * BLOCK;
        match start + len <= self.bytes.len() {
            true => Ok(start..start + len),
            false => Err(BlockError::OutOfRange),
        }
    }
}

impl Blocks for FakeCard {
    fn count(&self) -> u32 {
        (self.0.borrow().bytes.len() / BLOCK) as u32
    }

    async fn read(&mut self, first: u32, buf: &mut [u8]) -> Result<(), BlockError> {
        let mut state = self.0.borrow_mut();
        if let Some(error) = state.error {
            return Err(error);
        }
        let range = state.range(first, buf.len())?;
        let count = (buf.len() / BLOCK) as u32;
        state.reads.push((first, count));
        if state
            .bad
            .iter()
            .any(|bad| (first..first + count).contains(bad))
        {
            return Err(BlockError::Io);
        }
        buf.copy_from_slice(&state.bytes[range]);
        Ok(())
    }

    async fn write(&mut self, first: u32, bytes: &[u8]) -> Result<(), BlockError> {
        let mut state = self.0.borrow_mut();
        if let Some(error) = state.error {
            return Err(error);
        }
        state.range(first, bytes.len())?;
        let mut blocks: Vec<_> = (first..).zip(bytes.chunks(BLOCK)).collect();
        if state.budget.is_some() {
            // Any order: shuffled.
            for at in (1..blocks.len()).rev() {
                let other = state.random.seed() as usize % (at + 1);
                blocks.swap(at, other);
            }
        }
        for (number, block) in blocks {
            if let Some(budget) = &mut state.budget {
                if *budget == 0 {
                    state.error = Some(BlockError::Absent);
                    return Err(BlockError::Absent);
                }
                *budget -= 1;
            }
            let start = number as usize * BLOCK;
            state.bytes[start..start + BLOCK].copy_from_slice(block);
            state.writes.push((number, block.try_into().unwrap()));
        }
        Ok(())
    }
}

/// A card with a FAT32 partition that `fill` puts files on, and one for leases.
pub(crate) fn image(fill: impl Fn(&Disk)) -> FakeCard {
    let mut bytes = vec![0; (LEASES_FIRST + LEASES_BLOCKS) as usize * BLOCK];
    let table = [
        (0x0C, FAT_FIRST, FAT_BLOCKS),
        (0xDA, LEASES_FIRST, LEASES_BLOCKS),
    ];
    for (entry, (kind, first, count)) in bytes[446..510].chunks_mut(16).zip(table) {
        entry[4] = kind;
        entry[8..12].copy_from_slice(&u32::to_le_bytes(first));
        entry[12..16].copy_from_slice(&u32::to_le_bytes(count));
    }
    bytes[510..512].copy_from_slice(&[0x55, 0xAA]);
    let start = FAT_FIRST as usize * BLOCK;
    let end = LEASES_FIRST as usize * BLOCK;
    let mut volume = Cursor::new(&mut bytes[start..end]);
    let options = fatfs::FormatVolumeOptions::new()
        .fat_type(fatfs::FatType::Fat32)
        .bytes_per_cluster(512)
        .volume_label(*b"ICHOR      ");
    fatfs::format_volume(&mut volume, options).unwrap();
    let disk = fatfs::FileSystem::new(volume, fatfs::FsOptions::new()).unwrap();
    fill(&disk);
    // Counts the free clusters.
    disk.stats().unwrap();
    disk.unmount().unwrap();
    mend_dots(&mut bytes[start..end]);
    FakeCard::new(bytes)
}

/// fatfs gives `.` and `..` long names, too, and numbers the root folder 2
/// where it should be 0: fsck.fat likes neither.
fn mend_dots(volume: &mut [u8]) {
    for block in volume.chunks_mut(BLOCK) {
        let is_long = block[0] == 0x41 && block[1] == b'.' && block[11] == 0x0F;
        if is_long && block[32..43] == *b".          " {
            block.copy_within(32..64, 0);
            block.copy_within(96..128, 32);
            (block[64], block[96]) = (0xE5, 0xE5);
            if block[58] == 2 && block[59] == 0 {
                block[58] = 0;
            }
        }
    }
}

/// An independent implementation of FAT.
pub(crate) type Disk<'a> = fatfs::FileSystem<Cursor<&'a mut [u8]>>;

/// Writes a file, with the folders to it.
pub(crate) fn put(disk: &Disk<'_>, path: &str, content: &[u8]) {
    let root = disk.root_dir();
    for (at, _) in path.match_indices('/') {
        root.create_dir(&path[..at]).unwrap();
    }
    let mut file = root.create_file(path).unwrap();
    file.truncate().unwrap();
    file.write_all(content).unwrap();
}

/// What the other implementation finds under a path.
pub(crate) fn get(card: &FakeCard, path: &str) -> Option<Vec<u8>> {
    with_disk(card, |disk| {
        let mut file = disk.root_dir().open_file(path).ok()?;
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut file, &mut content).unwrap();
        Some(content)
    })
}

/// The other implementation on the card, to look and not to change.
pub(crate) fn with_disk<T>(card: &FakeCard, look: impl FnOnce(&Disk<'_>) -> T) -> T {
    let mut state = card.0.borrow_mut();
    let range = FAT_FIRST as usize * BLOCK..LEASES_FIRST as usize * BLOCK;
    let volume = Cursor::new(&mut state.bytes[range]);
    let disk = fatfs::FileSystem::new(volume, fatfs::FsOptions::new()).unwrap();
    look(&disk)
}

/// Bytes that are nowhere the same.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut random = FakeEntropy(seed);
    let words = std::iter::repeat_with(|| random.seed().to_le_bytes());
    words.flatten().take(len).collect()
}

/// Runs a future beside one that never ends.
pub(crate) fn run_beside<T>(background: impl Future, future: impl Future<Output = T>) -> T {
    match block_on(select(background, future)) {
        Either::First(_) => panic!("the background never ends"),
        Either::Second(value) => value,
    }
}

/// Polls to the end; a future that waits for nothing fails the test.
pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    for _ in 0..1_000_000 {
        let mut cx = Context::from_waker(Waker::noop());
        if let Poll::Ready(value) = future.as_mut().poll(&mut cx) {
            return value;
        }
    }
    panic!("it waits for something that never comes")
}
