//! What went wrong on the bus, counted for whoever looks at three in the morning.

use core::sync::atomic::{AtomicU32, Ordering};

/// How often each thing happened since the controller was made. All wrap.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// No answer, a bad CRC or broken bits; each is tried again twice.
    pub transaction_errors: u32,
    /// A device sent more than it may, or in the wrong (micro)frame.
    pub babbles: u32,
    /// Data came under the wrong toggle and was thrown away.
    pub toggle_errors: u32,
    /// A periodic transaction did not fit into its (micro)frame.
    pub frame_overruns: u32,
    /// The controller could not reach memory.
    pub ahb_errors: u32,
    /// A channel did nothing for so long that it was taken for dead.
    pub silences: u32,
    /// A channel that was told to halt did not in time.
    pub late_halts: u32,
    /// The root port was reset without a device becoming enabled.
    pub failed_resets: u32,
    /// Devices that came to the root port.
    pub connects: u32,
    /// Devices that left it, or were cut off by it.
    pub disconnects: u32,
    /// Overcurrent on the root port.
    pub overcurrents: u32,
}

/// The counters themselves.
#[derive(Debug, Default)]
pub(super) struct Counting {
    pub(super) transaction_errors: Counter,
    pub(super) babbles: Counter,
    pub(super) toggle_errors: Counter,
    pub(super) frame_overruns: Counter,
    pub(super) ahb_errors: Counter,
    pub(super) silences: Counter,
    pub(super) late_halts: Counter,
    pub(super) failed_resets: Counter,
    pub(super) connects: Counter,
    pub(super) disconnects: Counter,
    pub(super) overcurrents: Counter,
}

impl Counting {
    pub(super) fn read(&self) -> Counts {
        Counts {
            transaction_errors: self.transaction_errors.get(),
            babbles: self.babbles.get(),
            toggle_errors: self.toggle_errors.get(),
            frame_overruns: self.frame_overruns.get(),
            ahb_errors: self.ahb_errors.get(),
            silences: self.silences.get(),
            late_halts: self.late_halts.get(),
            failed_resets: self.failed_resets.get(),
            connects: self.connects.get(),
            disconnects: self.disconnects.get(),
            overcurrents: self.overcurrents.get(),
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU32);

impl Counter {
    pub(super) fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }

    fn get(&self) -> u32 {
        self.0.load(Ordering::Relaxed)
    }
}
