//! Where packets wait for one of the IP stacks behind a NIC.

use core::cell::{Cell, RefCell};
use core::task::Waker;

use embassy_sync::waitqueue::WakerRegistration;

use super::packets::PacketQueue;

/// Bytes of packets that can wait: one of 64 KiB, as the kernel merges the
/// segments of an upload, among many short ones.
const LANE_BYTES: usize = 128 * 1024;

/// The way from the NIC to one IP stack.
///
/// smoltcp looks at every socket for every packet, so a stack with a thousand
/// of them is slow for all. A board with many sockets runs several stacks of
/// one address, each with a lane.
pub struct Lane {
    packets: PacketQueue<LANE_BYTES>,
    runner: RefCell<WakerRegistration>,
    /// The stack wants to send and could not.
    blocked: Cell<bool>,
}

impl Lane {
    /// An empty lane.
    pub const fn new() -> Self {
        Self {
            packets: PacketQueue::new(),
            runner: RefCell::new(WakerRegistration::new()),
            blocked: Cell::new(false),
        }
    }

    /// Hands an IP packet to the stack. It is lost if too many wait, as on any
    /// wire.
    pub(super) fn push(&self, packet: &[u8]) {
        self.packets.push(packet);
        self.wake();
    }

    /// Hands the oldest packet to `take`, or an empty one.
    pub(super) fn pop_with<R>(&self, take: impl FnOnce(&mut [u8]) -> R) -> R {
        self.packets.pop_with(take)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.packets.is_empty()
    }

    /// Has the stack's task woken from now on.
    pub(super) fn register(&self, waker: &Waker) {
        self.runner.borrow_mut().register(waker);
    }

    pub(super) fn wake(&self) {
        self.runner.borrow_mut().wake();
    }

    /// Notes that the stack waits for room in the NIC.
    pub(super) fn block(&self) {
        self.blocked.set(true);
    }

    pub(super) fn is_blocked(&self) -> bool {
        self.blocked.get()
    }

    /// There is room: the stack goes on.
    pub(super) fn unblock(&self) {
        if self.blocked.take() {
            self.wake();
        }
    }
}

impl Default for Lane {
    fn default() -> Self {
        Self::new()
    }
}
