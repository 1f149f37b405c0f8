//! A peer that receives as the RFCs ask, and an application that reads.

use std::collections::BTreeMap;

use super::super::Ack;

/// How long an acknowledgement may be late, in nanoseconds.
const LATE_ACK: u64 = 40_000_000;

/// How often an application reads that reads at a rate, in nanoseconds.
const READS_EVERY: u64 = 1_000_000;

/// How the peer receives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Manner {
    pub(super) segment: u16,
    pub(super) selective: bool,
    /// It reports what came twice (RFC 2883).
    pub(super) reports_doubles: bool,
    /// Bytes that it has room for.
    pub(super) buffer: u64,
    /// Bytes that the application reads in a millisecond, if it is not as fast
    /// as they come.
    pub(super) reads: Option<u64>,
    /// Having read so many bytes the application stops for so many milliseconds.
    pub(super) stalls: &'static [(u64, u64)],
}

impl Manner {
    pub(super) const LINUX: Self = Self {
        segment: 1460,
        selective: true,
        reports_doubles: true,
        buffer: 1 << 20,
        reads: None,
        stalls: &[],
    };

    pub(super) const UEFI: Self = Self {
        segment: 1460,
        selective: false,
        reports_doubles: false,
        buffer: 0x20_0000,
        reads: None,
        stalls: &[],
    };
}

#[derive(Debug)]
pub(super) struct Receiver {
    manner: Manner,
    /// Everything before has arrived.
    next: u64,
    /// What has arrived behind it, from here to there.
    held: BTreeMap<u64, u64>,
    /// Where in `held` something arrived, the latest first.
    recent: Vec<u64>,
    /// Everything before was read.
    read: u64,
    edge: u64,
    /// Segments that were not acknowledged yet, and until when they must be.
    late: u32,
    ack_at: Option<u64>,
    reads_at: Option<u64>,
    stalls: usize,
}

impl Receiver {
    pub(super) fn new(manner: Manner) -> Self {
        Self {
            manner,
            next: 0,
            held: BTreeMap::new(),
            recent: Vec::new(),
            read: 0,
            edge: manner.buffer,
            late: 0,
            ack_at: None,
            reads_at: None,
            stalls: 0,
        }
    }

    /// Everything before has arrived.
    pub(super) fn has(&self) -> u64 {
        self.next
    }

    pub(super) fn deadline(&self) -> Option<u64> {
        self.ack_at.into_iter().chain(self.reads_at).min()
    }

    /// Forgets what it holds behind a gap, as RFC 2018 §8 lets it.
    pub(super) fn renege(&mut self) {
        self.held.clear();
        self.recent.clear();
    }

    pub(super) fn on_segment(&mut self, from: u64, to: u64, now: u64) -> Option<Ack> {
        let is_next = from <= self.next && to > self.next;
        if to > self.edge || !(is_next || from > self.next) {
            let double = (from < to && to <= self.next).then_some((from, to));
            return Some(self.ack(double));
        }
        let has_gap = !self.held.is_empty();
        if !is_next {
            let double = self.hold(from, to);
            return Some(self.ack(double.then_some((from, to))));
        }
        self.next = to;
        while let Some((&start, &end)) = self.held.first_key_value()
            && start <= self.next
        {
            self.next = self.next.max(end);
            self.held.pop_first();
        }
        self.recent.retain(|at| self.held.contains_key(at));
        self.read(now);
        self.late += 1;
        if has_gap || self.late >= 2 {
            return Some(self.ack(None));
        }
        self.ack_at.get_or_insert(now + LATE_ACK);
        None
    }

    pub(super) fn on_timeout(&mut self, now: u64) -> Option<Ack> {
        if self.reads_at.is_some_and(|at| now >= at) {
            self.reads_at = None;
            self.read(now);
            // As Linux does: an update is worth it if it doubles the window.
            let window = self.edge - self.next;
            let gain = self.fresh_edge() - self.edge;
            if gain >= window.max(1) {
                return Some(self.ack(None));
            }
        }
        if self.ack_at.is_some_and(|at| now >= at) {
            return Some(self.ack(None));
        }
        None
    }

    /// Where the window may end: not so little further that it is not worth a
    /// segment (RFC 9293 §3.8.6.2.2).
    fn fresh_edge(&self) -> u64 {
        let edge = self.read + self.manner.buffer;
        let worth = u64::from(self.manner.segment).min(self.manner.buffer / 2);
        if edge >= self.edge + worth {
            edge
        } else {
            self.edge
        }
    }

    /// Returns whether it held all of that already.
    fn hold(&mut self, mut from: u64, mut to: u64) -> bool {
        let overlaps = |(start, end): (&u64, &u64)| (*start, *end);
        let before = self.held.range(..=from).next_back().map(overlaps);
        if before.is_some_and(|(_, end)| end >= to) {
            return true;
        }
        let near: Vec<_> = self.held.range(..=to).map(overlaps).collect();
        for (start, end) in near {
            if end >= from {
                from = from.min(start);
                to = to.max(end);
                self.held.remove(&start);
            }
        }
        self.held.insert(from, to);
        self.recent
            .retain(|at| self.held.contains_key(at) && *at != from);
        self.recent.insert(0, from);
        false
    }

    fn read(&mut self, now: u64) {
        if self.reads_at.is_some() {
            return;
        }
        let mut to = self.next;
        if let Some(rate) = self.manner.reads {
            to = to.min(self.read + rate);
        }
        if let Some((at, millis)) = self.manner.stalls.get(self.stalls)
            && *at <= to
        {
            self.stalls += 1;
            self.read = self.read.max(*at);
            self.reads_at = Some(now + millis * 1_000_000);
            return;
        }
        self.read = to;
        if self.manner.reads.is_some() && self.read < self.next {
            self.reads_at = Some(now + READS_EVERY);
        }
    }

    fn ack(&mut self, double: Option<(u64, u64)>) -> Ack {
        self.late = 0;
        self.ack_at = None;
        self.edge = self.fresh_edge();
        let mut blocks = [None; 3];
        if self.manner.selective {
            let double = double.filter(|_| self.manner.reports_doubles);
            let held = self.recent.iter().map(|at| (*at, self.held[at]));
            for (place, block) in blocks.iter_mut().zip(double.into_iter().chain(held)) {
                *place = Some(block);
            }
        }
        Ack {
            to: self.next,
            edge: self.edge,
            blocks,
            is_bare: true,
        }
    }
}
