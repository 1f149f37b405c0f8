//! Faults to order: what a bad cable, a bad chip or a bad bus does.

use std::collections::VecDeque;

use crate::usbredir::Status;

/// What is wrong with a received frame (bits of its status).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub enum FrameError {
    /// The check sequence does not match.
    Crc = 0x0002,
    /// The frame did not end on a byte.
    Dribble = 0x0004,
    /// The MII reported an error.
    Mii = 0x0008,
    /// The frame was cut after 2,048 bytes.
    Watchdog = 0x0010,
    /// A collision was seen.
    Collision = 0x0040,
    /// Longer than 1,518 bytes.
    TooLong = 0x0080,
    /// Shorter than 64 bytes.
    Runt = 0x0800,
    /// Length and length field differ.
    Length = 0x1000,
}

/// One fault; each hits once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The next frame received has an error.
    Frame(FrameError),
    /// The next frame's status claims this length, whatever the frame has.
    Claims(u16),
    /// The next burst of received frames is lost on the bus.
    LoseBurst,
    /// The next burst of received frames ends after so many bytes.
    CutBurst(usize),
    /// The next bulk IN transfer fails. A stall lasts until it is cleared.
    BulkIn(Status),
    /// The next bulk OUT transfer fails. A stall lasts until it is cleared, and
    /// costs the frame; otherwise the chip takes the packet when it comes again.
    BulkOut(Status),
    /// The next register request fails.
    Register(Status),
    /// The next MII access stays busy for so many reads of `MII_ADDR`.
    SlowMii(u32),
    /// The next lite reset stays unfinished for so many reads of `HW_CFG`.
    SlowReset(u32),
}

/// Ordered faults that have not hit yet.
#[derive(Debug, Default)]
pub(super) struct Faults(VecDeque<Fault>);

impl Faults {
    /// Orders one more.
    pub(super) fn push(&mut self, fault: Fault) {
        self.0.push_back(fault);
    }

    /// How many have not hit yet.
    #[must_use]
    pub(super) fn left(&self) -> usize {
        self.0.len()
    }

    /// Takes the first that `wanted` turns into something.
    pub(super) fn take<T>(&mut self, wanted: impl Fn(Fault) -> Option<T>) -> Option<T> {
        let at = self.0.iter().position(|fault| wanted(*fault).is_some())?;
        self.0.remove(at).and_then(wanted)
    }
}
