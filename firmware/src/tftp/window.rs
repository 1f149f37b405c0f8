//! Which block is sent next: windows (RFC 7440), roll-over, lost packets.
//!
//! Blocks are counted in 64 bits from 1 and only cut to 16 on the wire.
//! RFC 1350 is the case of windows of one block.

use embassy_time::{Duration, Instant};

/// Timeouts in a row after which only one block is sent at a time.
const COLLAPSE_AFTER: u8 = 3;

/// The blocks of one file, and how far the client has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    /// Blocks agreed on per ACK.
    size: u16,
    /// Blocks in use: fewer than `size` after repeated timeouts.
    open: u16,
    /// The client has all blocks up to this one.
    acked: u64,
    /// The last block sent since the window was (re)started.
    sent: u64,
    /// The last block that was ever sent.
    highest: u64,
    /// When a block was last sent.
    sent_at: Instant,
    /// The last block sent before the window was last restarted.
    before: u64,
    /// When the window was last restarted.
    restarted_at: Instant,
    /// The shortest time that an ACK ever took.
    round_trip: Option<Duration>,
    /// What an ACK takes of late (the SRTT of RFC 6298).
    smoothed: Option<Duration>,
    /// The last block of the file, once known.
    last: Option<u64>,
    /// Timeouts since the last ACK that moved on.
    timeouts: u8,
    /// Whether blocks of this window went out more than once.
    repeated: bool,
    /// Whether a repeated ACK is no reason to send this window again.
    deaf: bool,
    /// Blocks sent again, in all.
    resent: u32,
}

/// What an ACK means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ack {
    /// Nothing new.
    Stale,
    /// Blocks were lost: the window starts again, no farther than before.
    Restart,
    /// The client has more than before.
    Progress,
    /// The client has it all.
    Complete,
}

impl Window {
    pub(super) const fn new(size: u16) -> Self {
        Self {
            size,
            open: size,
            acked: 0,
            sent: 0,
            highest: 0,
            sent_at: Instant::MIN,
            before: 0,
            restarted_at: Instant::MIN,
            round_trip: None,
            smoothed: None,
            last: None,
            timeouts: 0,
            repeated: false,
            deaf: false,
            resent: 0,
        }
    }

    /// Says which block is the last.
    pub(super) fn set_last(&mut self, block: u64) {
        self.last = Some(block);
        self.sent = self.sent.min(block);
        self.highest = self.highest.min(block);
    }

    /// The OACK was acknowledged after this time, if it was sent but once.
    pub(super) fn agreed(&mut self, took: Option<Duration>) {
        self.round_trip = took;
        self.smoothed = took;
        self.timeouts = 0;
        self.open = self.size;
    }

    fn measure(&mut self, took: Duration) {
        let shortest = self.round_trip.map_or(took, |known| known.min(took));
        self.round_trip = Some(shortest);
        self.smoothed = Some(self.smoothed.map_or(took, |usual| (usual * 7 + took) / 8));
    }

    /// How long an ACK takes of late, if any was seen that can be told.
    pub(super) const fn usual_round_trip(&self) -> Option<Duration> {
        self.smoothed
    }

    /// Sends the window again.
    pub(super) fn repeat(&mut self) {
        self.sent = self.acked;
    }

    /// Blocks agreed on per ACK.
    pub(super) const fn size(&self) -> u16 {
        self.size
    }

    /// The last block that the client has, 0 at first.
    pub(super) const fn acked(&self) -> u64 {
        self.acked
    }

    /// Blocks sent more than once.
    pub(super) const fn resent(&self) -> u32 {
        self.resent
    }

    /// Timeouts since the last progress.
    pub(super) const fn timeouts(&self) -> u8 {
        self.timeouts
    }

    /// Whether everything went out at least once.
    pub(super) fn all_sent(&self) -> bool {
        self.last.is_some_and(|last| self.highest >= last)
    }

    /// Whether a block may be sent now.
    pub(super) fn may_send(&self) -> bool {
        let end = self.acked.saturating_add(u64::from(self.open));
        self.sent < end && self.last.is_none_or(|last| self.sent < last)
    }

    /// The next block to send, if one may be sent.
    pub(super) fn send(&mut self, now: Instant) -> Option<u64> {
        if !self.may_send() {
            return None;
        }
        self.sent += 1;
        self.sent_at = now;
        if self.sent > self.highest {
            self.highest = self.sent;
        } else {
            self.repeated = true;
            self.resent = self.resent.saturating_add(1);
        }
        Some(self.sent)
    }

    /// Takes an ACK for the block whose number ends in these 16 bits.
    ///
    /// An ACK inside the window means that the next block was lost: sending
    /// starts again behind it (RFC 7440 §4). One that repeats the last ACK
    /// says the same of the window's first block. But both also come from
    /// packets that the network doubled, and to answer each with a window
    /// would multiply the traffic for good (the Sorcerer's Apprentice,
    /// RFC 1123 §4.2.3.1). So a repeated ACK is heeded once per window, never
    /// after a window that went out twice, and never in lock-step. And an ACK
    /// inside the window restarts nothing if it shows that the last restart
    /// was needless, or comes sooner after it than any answer can.
    pub(super) fn on_ack(&mut self, block: u16, now: Instant) -> Ack {
        let ahead = u64::from(block.wrapping_sub(self.acked as u16));
        if ahead == 0 {
            if self.size == 1 || self.deaf || self.sent == self.acked {
                return Ack::Stale;
            }
            self.deaf = true;
            self.restart(now);
            return Ack::Restart;
        }
        if ahead > self.highest - self.acked {
            return Ack::Stale;
        }
        self.acked += ahead;
        let whole = self.acked >= self.sent;
        self.deaf = self.repeated || !whole;
        if whole {
            if !self.repeated {
                self.measure(now.saturating_duration_since(self.sent_at));
            }
            self.sent = self.acked;
            self.repeated = false;
        } else if self.may_be_lost(now) {
            self.restart(now);
        }
        self.timeouts = 0;
        self.open = self.open.saturating_mul(2).min(self.size);
        if self.last == Some(self.acked) {
            Ack::Complete
        } else {
            Ack::Progress
        }
    }

    /// No ACK came: the window starts again.
    pub(super) fn on_timeout(&mut self) {
        self.timeouts = self.timeouts.saturating_add(1);
        if self.timeouts >= COLLAPSE_AFTER {
            self.open = 1;
        }
        self.sent = self.acked;
        self.deaf = false;
    }

    /// Whether the block after the one acknowledged seems to be lost.
    fn may_be_lost(&self, now: Instant) -> bool {
        // If all arrived that was sent before the restart, nothing had been
        // lost, and the client complains of what it got again.
        let needless = self.acked == self.before;
        let since = now.saturating_duration_since(self.restarted_at);
        !needless && self.round_trip.is_none_or(|shortest| since >= shortest)
    }

    fn restart(&mut self, now: Instant) {
        self.before = self.sent;
        self.sent = self.acked;
        self.restarted_at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A window, and a clock that ticks a millisecond with every ACK.
    struct Bench(Window, u64);

    impl Bench {
        fn new(size: u16) -> Self {
            Self(Window::new(size), 1)
        }

        fn send_all(&mut self) -> Vec<u64> {
            let now = Instant::from_millis(self.1);
            std::iter::from_fn(|| self.0.send(now)).collect()
        }

        fn ack(&mut self, block: u16) -> Ack {
            self.1 += 1;
            self.ack_at_once(block)
        }

        /// An ACK that was under way together with the one before it.
        fn ack_at_once(&mut self, block: u16) -> Ack {
            self.0.on_ack(block, Instant::from_millis(self.1))
        }
    }

    #[test]
    fn lock_step_ignores_repeated_acks() {
        let mut window = Bench::new(1);
        window.0.set_last(3);
        assert_eq!(window.send_all(), [1]);
        assert_eq!(window.ack(0), Ack::Stale);
        assert_eq!(window.ack(1), Ack::Progress);
        assert_eq!(window.send_all(), [2]);
        assert_eq!(window.ack(1), Ack::Stale);
        assert_eq!(window.ack(1), Ack::Stale);
        assert_eq!(window.send_all(), []);
        window.0.on_timeout();
        assert_eq!(window.send_all(), [2]);
        assert_eq!(window.ack(2), Ack::Progress);
        assert_eq!(window.send_all(), [3]);
        assert!(window.0.all_sent());
        assert_eq!(window.ack(3), Ack::Complete);
        assert_eq!(window.0.resent(), 1);
    }

    #[test]
    fn an_ack_inside_the_window_restarts_behind_it() {
        let mut window = Bench::new(4);
        assert_eq!(window.send_all(), [1, 2, 3, 4]);
        assert_eq!(window.ack(2), Ack::Progress);
        assert_eq!(window.send_all(), [3, 4, 5, 6]);
        // The same again for block 4, which was out of order: once is enough.
        assert_eq!(window.ack(2), Ack::Stale);
        assert_eq!(window.ack(6), Ack::Progress);
    }

    #[test]
    fn a_lost_first_block_is_sent_again_once() {
        let mut window = Bench::new(4);
        window.send_all();
        assert_eq!(window.ack(4), Ack::Progress);
        assert_eq!(window.send_all(), [5, 6, 7, 8]);
        assert_eq!(window.ack(4), Ack::Restart);
        assert_eq!(window.send_all(), [5, 6, 7, 8]);
        assert_eq!(window.ack(4), Ack::Stale);
        assert_eq!(window.ack(8), Ack::Progress);
        // The client saw 5..=8 twice and may well say so.
        assert_eq!(window.send_all(), [9, 10, 11, 12]);
        assert_eq!(window.ack(8), Ack::Stale);
        assert_eq!(window.ack(12), Ack::Progress);
        // That is over now.
        assert_eq!(window.send_all(), [13, 14, 15, 16]);
        assert_eq!(window.ack(12), Ack::Restart);
    }

    #[test]
    fn a_doubled_block_does_not_double_the_traffic() {
        let mut window = Bench::new(4);
        assert_eq!(window.send_all(), [1, 2, 3, 4]);
        assert_eq!(window.ack(4), Ack::Progress);
        assert_eq!(window.send_all(), [5, 6, 7, 8]);
        // The client saw 5 and 6 twice each, and now 7 and 8.
        assert_eq!(window.ack(5), Ack::Progress);
        assert_eq!(window.send_all(), [6, 7, 8, 9]);
        assert_eq!(window.ack_at_once(6), Ack::Progress);
        assert_eq!(window.send_all(), [10]);
        // It has 6 to 8 twice, but lost 10.
        assert_eq!(window.ack(9), Ack::Progress);
        assert_eq!(window.send_all(), [10, 11, 12, 13]);
        assert_eq!(window.0.resent(), 4);
    }

    #[test]
    fn block_numbers_roll_over() {
        let mut window = Bench::new(8);
        let last = 0x2_0003;
        window.0.set_last(last);
        let mut ack = 0;
        while window.0.acked() < last {
            let sent = window.send_all();
            assert_eq!(sent[0], ack + 1);
            ack = *sent.last().unwrap();
            let want = if ack == last {
                Ack::Complete
            } else {
                Ack::Progress
            };
            assert_eq!(window.ack(ack as u16), want);
            assert_eq!(window.ack((ack as u16).wrapping_sub(1)), Ack::Stale);
            assert_eq!(window.ack((ack as u16).wrapping_add(9)), Ack::Stale);
        }
        assert_eq!(window.0.resent(), 0);
    }

    #[test]
    fn a_late_ack_counts_after_a_timeout() {
        let mut window = Bench::new(4);
        window.send_all();
        window.0.on_timeout();
        assert_eq!(window.0.send(Instant::from_millis(9)), Some(1));
        assert_eq!(window.ack(4), Ack::Progress);
        assert_eq!(window.send_all(), [5, 6, 7, 8]);
    }

    #[test]
    fn repeated_timeouts_shrink_the_window_and_progress_opens_it() {
        let mut window = Bench::new(4);
        for sends in [4, 4, 4, 1, 1] {
            assert_eq!(window.send_all().len(), sends);
            window.0.on_timeout();
        }
        for (ack, sends) in [(1, 2), (3, 4), (7, 4)] {
            window.send_all();
            assert_eq!(window.ack(ack), Ack::Progress);
            assert_eq!(window.send_all().len(), sends);
        }
    }
}
