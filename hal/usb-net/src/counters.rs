//! What went through a NIC and what went wrong, counted since start-up.

use core::sync::atomic::{AtomicU32, Ordering};

/// Counters that the drivers raise and that anyone may read at any time. They
/// wrap around.
#[derive(Debug, Default)]
pub struct Counters {
    pub(crate) rx_frames: Counter,
    pub(crate) rx_errors: Counter,
    pub(crate) rx_malformed: Counter,
    pub(crate) rx_overruns: Counter,
    pub(crate) tx_frames: Counter,
    pub(crate) tx_no_link: Counter,
    pub(crate) tx_lost: Counter,
    pub(crate) usb_errors: Counter,
    pub(crate) stalls: Counter,
    pub(crate) restarts: Counter,
}

impl Counters {
    pub(crate) const fn new() -> Self {
        Self {
            rx_frames: Counter::new(),
            rx_errors: Counter::new(),
            rx_malformed: Counter::new(),
            rx_overruns: Counter::new(),
            tx_frames: Counter::new(),
            tx_no_link: Counter::new(),
            tx_lost: Counter::new(),
            usb_errors: Counter::new(),
            stalls: Counter::new(),
            restarts: Counter::new(),
        }
    }

    /// All of them as they are now.
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            rx_frames: self.rx_frames.get(),
            rx_errors: self.rx_errors.get(),
            rx_malformed: self.rx_malformed.get(),
            rx_overruns: self.rx_overruns.get(),
            tx_frames: self.tx_frames.get(),
            tx_no_link: self.tx_no_link.get(),
            tx_lost: self.tx_lost.get(),
            usb_errors: self.usb_errors.get(),
            stalls: self.stalls.get(),
            restarts: self.restarts.get(),
        }
    }
}

/// [`Counters`] at one moment.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Snapshot {
    /// Frames handed to the stack.
    pub rx_frames: u32,
    /// Frames that the NIC marked as damaged (CRC, collision, runt, …).
    pub rx_errors: u32,
    /// Transfers or frames whose length cannot be true, or that are longer
    /// than a frame may be.
    pub rx_malformed: u32,
    /// Times that the NIC said it dropped frames because nobody fetched them
    /// in time (at most one a second is noticed).
    pub rx_overruns: u32,
    /// Frames that the NIC took.
    pub tx_frames: u32,
    /// Frames of the stack dropped because the link was down.
    pub tx_no_link: u32,
    /// Frames of the stack lost in a failed transfer.
    pub tx_lost: u32,
    /// Transfers that failed.
    pub usb_errors: u32,
    /// Of those, the ones that the device refused with STALL.
    pub stalls: u32,
    /// Times that the NIC was initialised again because it did not recover.
    pub restarts: u32,
}

/// One number that only goes up.
#[derive(Debug, Default)]
pub(crate) struct Counter(AtomicU32);

impl Counter {
    const fn new() -> Self {
        Self(AtomicU32::new(0))
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}
