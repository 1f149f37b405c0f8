//! Whose turn it is to send new data, where many connections have some.
//!
//! Were the data of a thousand connections under way at the same time, it would
//! be more than a processor's cache holds, and each would be woken for a segment
//! at a time. So no more send at once than the shared window has the least share
//! for; the others stand in line. A turn ends after so many bytes,
//! or as soon as it is of no use: when everything is sent, when the peer takes
//! nothing, or when it is so far away that its answer will come too late.
//!
//! What was lost is sent again whosever turn it is.

use embassy_time::{Duration, Instant};

use super::line::Place;
use super::{Connections, SHARED_WINDOW, Slot};

/// Connections that have a turn at the same time.
pub(super) const AT_ONCE: u16 = (SHARED_WINDOW / super::SHARE.0) as u16;

/// Bytes that one has under way in its turn: twice as many as when all can send.
/// Longer bursts cost less. They also serve those faster whose peers take more at
/// a time, but who waits most of the time does not notice.
pub(super) const SHARE: u32 = 2 * super::SHARE.0;

/// Bytes of a turn. After it, all others have theirs: transfers that began
/// together end together but for this much.
const BYTES: u32 = 1 << 20;

/// A turn in which nothing is sent for so long is over. A thousand peers that each
/// fill their share and then take nothing come round within a second.
const STALL: Duration = Duration::from_millis(50);

/// A connection's turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Not asked for.
    None,
    /// It stands in line.
    Awaited,
    /// It is on: for so many bytes more, and until then if none are sent.
    Taken { bytes: u32, until: Instant },
}

impl Turn {
    /// It may go on for so many bytes from now on.
    fn of(bytes: u32, now: Instant) -> Self {
        Self::Taken {
            bytes,
            until: now + STALL,
        }
    }

    /// When it ends if nothing is sent.
    pub(super) fn end(self) -> Option<Instant> {
        match self {
            Self::Taken { until, .. } => Some(until),
            _ => None,
        }
    }

    /// `len` bytes were sent in it.
    pub(super) fn used(self, len: u32, now: Instant) -> Self {
        match self {
            Self::Taken { bytes, .. } => Self::of(bytes.saturating_sub(len), now),
            other => other,
        }
    }
}

impl Connections {
    /// Whether this connection may send new data now. If not it stands in line,
    /// and its task is woken when its turn comes.
    pub(super) fn has_turn(&self, number: u16, slot: &Slot, now: Instant) -> bool {
        self.review_turn(slot, now);
        match slot.turn.get() {
            Turn::Taken { .. } => true,
            Turn::Awaited => false,
            Turn::None if self.turns.get() < AT_ONCE => {
                self.begin_turn(slot, now);
                true
            }
            Turn::None => {
                slot.turn.set(Turn::Awaited);
                self.queue
                    .join(number, |number| self.place_in_queue(number));
                false
            }
        }
    }

    /// Ends a turn that is over, unless nobody else is in line. It is not over
    /// while it is the NIC that keeps data from being sent.
    pub(super) fn review_turn(&self, slot: &Slot, now: Instant) {
        let Turn::Taken { bytes, until } = slot.turn.get() else {
            return;
        };
        if bytes > 0 && now < until {
            return;
        }
        if self.queue.is_empty() {
            slot.turn.set(Turn::of(BYTES, now));
        } else if bytes > 0 && slot.waits.is_taken() {
            slot.turn.set(Turn::of(bytes, now));
        } else {
            self.end_turn(slot, now);
        }
    }

    /// Ends a connection's turn, or its wait for one.
    pub(super) fn end_turn(&self, slot: &Slot, now: Instant) {
        if slot.turn.replace(Turn::None).end().is_none() {
            return;
        }
        self.turns.set(self.turns.get() - 1);
        while self.turns.get() < AT_ONCE
            && let Some(next) = self.queue.next(|number| self.place_in_queue(number))
        {
            // Not one that was closed meanwhile.
            if let Some(slot) = self.slot(next)
                && slot.turn.get() == Turn::Awaited
            {
                self.begin_turn(slot, now);
                slot.server.borrow_mut().wake();
            }
        }
    }

    fn begin_turn(&self, slot: &Slot, now: Instant) {
        slot.turn.set(Turn::of(BYTES, now));
        self.turns.set(self.turns.get() + 1);
    }

    fn place_in_queue(&self, number: u16) -> Option<&Place> {
        self.slot(number).map(|slot| &slot.queues)
    }
}
