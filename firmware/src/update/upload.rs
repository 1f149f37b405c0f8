//! One update on its way from a connection to the board.

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::mutex::MutexGuard;
use heapless::String;
use ichor_hal::{Target, UpdateError, Updates};
use sha2::{Digest as _, Sha256};

use super::refusal::{self, WRONG_HASH};
use super::service::Service;
use crate::cut::cut;
use crate::http::Refusal;
use crate::journal::DETAIL_LEN;

/// Bytes that are collected before the board is given them: 32 blocks of a
/// card, which it writes many times faster together than one by one.
const BUFFER_LEN: usize = 16 * 1024;

/// The place for one update.
pub(super) struct Slot<U> {
    pub(super) updates: U,
    buffer: [u8; BUFFER_LEN],
}

impl<U> Slot<U> {
    pub(super) const fn new(updates: U) -> Self {
        Self {
            updates,
            buffer: [0; BUFFER_LEN],
        }
    }
}

/// An update that was begun. One that is dropped before it was
/// [`finish`](Self::finish)ed changes nothing; [`abort`](Self::abort) also
/// frees what it took.
pub struct Upload<'s, U> {
    service: &'s Service<U>,
    slot: MutexGuard<'s, NoopRawMutex, Slot<U>>,
    firmware: bool,
    name: String<DETAIL_LEN>,
    len: u64,
    expected: [u8; 32],
    hash: Sha256,
    /// Bytes of the body that have not come yet.
    left: u64,
    /// Bytes of the buffer that wait to be written.
    filled: usize,
}

impl<'s, U: Updates> Upload<'s, U> {
    pub(super) fn new(
        service: &'s Service<U>,
        slot: MutexGuard<'s, NoopRawMutex, Slot<U>>,
        target: Target<'_>,
        len: u64,
        expected: [u8; 32],
    ) -> Self {
        let (firmware, name) = match target {
            Target::Firmware => (true, cut(format_args!("firmware"))),
            Target::File(path) => (false, cut(format_args!("{path}"))),
        };
        Self {
            service,
            slot,
            firmware,
            name,
            len,
            expected,
            hash: Sha256::new(),
            left: len,
            filled: 0,
        }
    }

    /// Whether it is the board's program.
    pub fn is_firmware(&self) -> bool {
        self.firmware
    }

    /// What it is, for logs: `firmware` or a path.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Length of the whole in bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there is nothing in it.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Where to put the bytes that come next; empty when all have come.
    pub fn room(&mut self) -> &mut [u8] {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let room = self.slot.buffer.get_mut(self.filled..).unwrap_or_default();
        let len = room.len().min(left);
        &mut room[..len]
    }

    /// The first `n` bytes of [`room`](Self::room) were filled. After an error
    /// the update is forgotten.
    pub async fn took(&mut self, n: usize) -> Result<(), UpdateError> {
        let n = n.min(self.room().len());
        let end = self.filled + n;
        self.hash.update(&self.slot.buffer[self.filled..end]);
        self.filled = end;
        self.left -= n as u64;
        if self.left > 0 && self.filled < BUFFER_LEN {
            return Ok(());
        }
        let slot = &mut *self.slot;
        let written = slot.updates.write(&slot.buffer[..self.filled]).await;
        self.filled = 0;
        if written.is_err() {
            slot.updates.abort().await;
        }
        written
    }

    /// Puts it in its place if it is what was announced, and otherwise
    /// forgets it.
    pub(crate) async fn finish(mut self) -> Result<(), Refusal> {
        let whole = self.left == 0 && <[u8; 32]>::from(self.hash.finalize()) == self.expected;
        if !whole {
            self.slot.updates.abort().await;
            return Err(WRONG_HASH);
        }
        if let Err(error) = self.slot.updates.commit().await {
            self.slot.updates.abort().await;
            return Err(refusal::of(error));
        }
        if self.firmware {
            self.service.firmware_replaced();
        }
        Ok(())
    }

    /// Forgets it: the sender is gone.
    pub async fn abort(mut self) {
        self.slot.updates.abort().await;
    }
}
