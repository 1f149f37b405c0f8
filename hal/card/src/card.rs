//! One card, shared by those who keep things on it.

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::mutex::Mutex;

use crate::partitions::{Partition, Partitions};
use crate::{BLOCK, BlockError, Blocks, MountError};

/// A card that files, updates and the lease log take turns at.
///
/// Nobody holds it for longer than one transfer (64 KiB when the cache is
/// filled), so that a lease never waits long to be written.
#[derive(Debug)]
pub struct Card<B> {
    blocks: Mutex<NoopRawMutex, B>,
}

impl<B: Blocks> Card<B> {
    /// Shares a card.
    pub const fn new(blocks: B) -> Self {
        Self {
            blocks: Mutex::new(blocks),
        }
    }

    /// Finds what is on it.
    pub async fn partitions(&self) -> Result<Partitions, MountError> {
        let mut first = [0; BLOCK];
        let count = {
            let mut blocks = self.blocks.lock().await;
            // Reading makes a driver look for its card, so the count comes after.
            blocks.read(0, &mut first).await.map_err(MountError::Card)?;
            blocks.count()
        };
        Partitions::parse(&first, count)
    }

    /// Waits for the transfer that is under way and lets none begin after it:
    /// before a reset, which would cut it off.
    pub async fn retire(&self) {
        core::mem::forget(self.blocks.lock().await);
    }

    /// Reads blocks of a partition.
    pub(crate) async fn read(
        &self,
        partition: Partition,
        first: u32,
        buf: &mut [u8],
    ) -> Result<(), BlockError> {
        let first = partition.place(first, buf.len())?;
        self.blocks.lock().await.read(first, buf).await
    }

    /// Writes blocks of a partition.
    pub(crate) async fn write(
        &self,
        partition: Partition,
        first: u32,
        bytes: &[u8],
    ) -> Result<(), BlockError> {
        let first = partition.place(first, bytes.len())?;
        self.blocks.lock().await.write(first, bytes).await
    }
}
