//! The channels that nobody uses, and their DMA memory.

use core::task::{Poll, Waker};

use embassy_sync::waitqueue::MultiWakerRegistration;

use super::regs::{HCCHAR, HCINT, chan, hcint};
use super::{CHANNELS, Host};
use crate::Bus;
use crate::dma::Buffer;

/// Channels that bulk IN pipes leave to everything else, which borrows one per
/// transfer: a control transfer must get through while two bulk OUT wait.
const SHARED: usize = 3;

/// Tasks that may wait for a channel at once before they begin to wake each
/// other needlessly.
const WAITERS: usize = 8;

/// The endpoint that a channel was last used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) address: u8,
    pub(super) endpoint: u8,
    pub(super) input: bool,
}

/// What a channel is up to.
#[derive(Debug)]
enum Slot {
    Free(Buffer),
    /// Given back before its transfer ended: it may still be halting, and its
    /// buffer still be written.
    Left(Buffer, Key),
    Taken,
    /// This controller has fewer channels.
    Absent,
}

/// Every channel of a controller.
#[derive(Debug)]
pub(super) struct Pool {
    slots: [Slot; CHANNELS],
    /// Channels that pipes hold for as long as they live.
    kept: usize,
    pub(super) waiting: MultiWakerRegistration<WAITERS>,
}

impl Pool {
    pub(super) fn new(buffers: [Buffer; CHANNELS], channels: usize) -> Self {
        let mut number = 0;
        Self {
            slots: buffers.map(|buffer| {
                number += 1;
                if number <= channels {
                    Slot::Free(buffer)
                } else {
                    Slot::Absent
                }
            }),
            kept: 0,
            waiting: MultiWakerRegistration::new(),
        }
    }

    fn present(&self) -> usize {
        self.slots
            .iter()
            .filter(|slot| !matches!(slot, Slot::Absent))
            .count()
    }

    /// Reserves one channel for a pipe's life; `false` if too few would be
    /// left.
    pub(super) fn keep(&mut self) -> bool {
        let granted = self.kept + SHARED < self.present();
        self.kept += usize::from(granted);
        granted
    }

    /// Ends what [`keep`](Self::keep) began.
    pub(super) fn unkeep(&mut self) {
        self.kept -= 1;
        self.waiting.wake();
    }
}

impl<B: Bus> Host<B> {
    /// Takes a channel for the endpoint `key`, or has `waker` told when it may
    /// be worth another try. If an earlier transfer of this endpoint is still
    /// halting, then there is none until it did, unless `hurry`.
    pub(super) fn poll_take(&self, key: Key, hurry: bool, waker: &Waker) -> Poll<(usize, Buffer)> {
        self.pool.lock(|pool| {
            let pool = &mut *pool.borrow_mut();
            // The endpoint's own last channel comes first: if it does still
            // move data, then this endpoint's.
            let own = pool
                .slots
                .iter()
                .position(|slot| matches!(slot, Slot::Left(_, k) if *k == key));
            let found = match own {
                Some(n) if self.is_disabled(n) => own,
                Some(_) if !hurry => None,
                _ => pool
                    .slots
                    .iter()
                    .enumerate()
                    .find(|(n, slot)| match slot {
                        Slot::Free(_) => true,
                        Slot::Left(..) => self.is_over(*n),
                        Slot::Taken | Slot::Absent => false,
                    })
                    .map(|(n, _)| n),
            };
            let taken =
                found.and_then(
                    |n| match core::mem::replace(&mut pool.slots[n], Slot::Taken) {
                        Slot::Free(buffer) | Slot::Left(buffer, _) => Some((n, buffer)),
                        Slot::Taken | Slot::Absent => None,
                    },
                );
            match taken {
                Some(channel) => Poll::Ready(channel),
                None => {
                    pool.waiting.register(waker);
                    Poll::Pending
                }
            }
        })
    }

    /// Gives a channel back; with a `key` if its transfer may not be over.
    pub(super) fn give_back(&self, number: usize, buffer: Buffer, key: Option<Key>) {
        self.pool.lock(|pool| {
            let pool = &mut *pool.borrow_mut();
            pool.slots[number] = match key {
                Some(key) => Slot::Left(buffer, key),
                None => Slot::Free(buffer),
            };
            pool.waiting.wake();
        });
    }

    fn is_disabled(&self, number: usize) -> bool {
        self.read_channel(number, HCCHAR) & chan::ENABLE == 0
    }

    /// Whether a channel that was left will certainly not touch its buffer any
    /// more.
    fn is_over(&self, number: usize) -> bool {
        self.is_disabled(number)
            && (self.kind.halt_is_final() || self.read_channel(number, HCINT) & hcint::ENDED != 0)
    }
}
