//! What became of every byte that was sent and not acknowledged yet.

use embassy_time::Instant;
use heapless::Vec;

/// Runs that are told apart.
const RUNS: usize = 64;

/// Runs that are left for what peers report, and for what is sent again.
const SPARE: usize = 8;

/// What is known of a run of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing yet.
    UnderWay,
    /// It must be sent again.
    Lost,
    /// The peer has it, and lacks something before it.
    Delivered,
}

/// Bytes that were sent together and fared the same.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Behind its last byte. It begins where the one before it ends.
    end: u64,
    at: Instant,
    /// Which transmission it was sent in.
    number: u32,
    fate: Fate,
    /// Whether it was sent before, or may be older than it says.
    again: bool,
}

/// Where a byte is in the order of all that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Order {
    /// The transmission.
    pub(super) number: u32,
    /// Behind the byte.
    pub(super) end: u64,
}

impl Order {
    /// Whether it was sent after `other`. What was sent together was sent from
    /// its first byte to its last.
    pub(super) fn is_after(&self, other: &Self) -> bool {
        match self.number.wrapping_sub(other.number) as i32 {
            0 => self.end > other.end,
            later => later > 0,
        }
    }
}

/// A transmission that something has arrived of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Its last byte that is known to have arrived.
    pub(super) order: Order,
    pub(super) at: Instant,
    pub(super) again: bool,
}

/// What an acknowledgement brought.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct News {
    /// Bytes that were not known to have arrived.
    pub(super) bytes: u64,
    /// The latest of the transmissions that they were sent in.
    pub(super) latest: Option<Arrival>,
    /// Something sent once arrived after what was sent behind it.
    pub(super) overtaken: bool,
    /// Behind the last byte of it.
    highest: u64,
}

/// The bytes that were sent and not acknowledged, in runs.
///
/// It has a bounded number of places. When they are few, runs that were sent
/// one after the other are taken for one that was sent with the last of them;
/// when there is none, a selective acknowledgement is forgotten. Both can have
/// something sent again that need not be, and nothing worse.
#[derive(Debug)]
pub(super) struct Scoreboard {
    runs: Vec<Run, RUNS>,
    /// Everything before was acknowledged.
    start: u64,
    /// Behind the last byte that is known to have arrived.
    highest: u64,
}

impl Scoreboard {
    pub(super) const fn new() -> Self {
        Self {
            runs: Vec::new(),
            start: 0,
            highest: 0,
        }
    }

    /// Everything before was acknowledged.
    pub(super) fn start(&self) -> u64 {
        self.start
    }

    /// Everything before was sent.
    pub(super) fn end(&self) -> u64 {
        self.runs.last().map_or(self.start, |run| run.end)
    }

    /// Whether everything that was sent was acknowledged.
    pub(super) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// Bytes with this fate.
    pub(super) fn count(&self, fate: Fate) -> u64 {
        let mut start = self.start;
        let mut bytes = 0;
        for run in &self.runs {
            if run.fate == fate {
                bytes += run.end - start;
            }
            start = run.end;
        }
        bytes
    }

    /// The first bytes that are to be sent again, from here to there.
    pub(super) fn first_lost(&self) -> Option<(u64, u64)> {
        let index = self.runs.iter().position(|run| run.fate == Fate::Lost)?;
        Some((self.start_of(index), self.runs[index].end))
    }

    /// Whether more can be sent.
    pub(super) fn has_room(&mut self) -> bool {
        self.make_room(SPARE)
    }

    /// Notes that what comes next was sent, up to `end`, in the transmission
    /// with this number.
    pub(super) fn sent(&mut self, end: u64, number: u32, at: Instant) {
        let run = Run {
            end,
            at,
            number,
            fate: Fate::UnderWay,
            again: false,
        };
        if self.runs.push(run).is_err()
            && let Some(last) = self.runs.last_mut()
        {
            *last = run;
        }
    }

    /// Notes that lost bytes were sent again: the first ones of a run. If there
    /// is no place for the rest of it, that counts as sent with them. It must
    /// not stay lost, or it would be sent without end.
    pub(super) fn sent_again(&mut self, from: u64, to: u64, number: u32, at: Instant) {
        self.make_room(1);
        let to = if self.split(to) {
            to
        } else {
            let mut ends = self.runs.iter().map(|run| run.end);
            ends.find(|end| *end >= to).unwrap_or(to)
        };
        self.change(from, to, |run| {
            *run = Run {
                end: run.end,
                at,
                number,
                fate: Fate::UnderWay,
                again: true,
            };
        });
    }

    /// The peer has everything before `to`. This is the last of what an
    /// acknowledgement says.
    pub(super) fn acknowledged(&mut self, to: u64, news: &mut News) {
        let to = to.clamp(self.start, self.end());
        self.note(self.start, to, news);
        let gone = self.runs.iter().take_while(|run| run.end <= to).count();
        self.runs.drain(..gone);
        self.start = to;
        // Not before: what one acknowledgement tells of is in no order.
        self.highest = self.highest.max(news.highest);
    }

    /// The peer has the bytes from here to there.
    pub(super) fn delivered(&mut self, from: u64, to: u64, news: &mut News) {
        let (from, to) = (from.max(self.start), to.min(self.end()));
        if from >= to || !self.make_room(2) || !self.split(from) || !self.split(to) {
            return;
        }
        self.note(from, to, news);
        self.change(from, to, |run| run.fate = Fate::Delivered);
        self.join(Fate::Delivered);
    }

    /// Has those runs under way sent again of which `is_lost` says so.
    pub(super) fn lose(&mut self, mut is_lost: impl FnMut(&Order, Instant) -> bool) {
        for run in &mut self.runs {
            if run.fate == Fate::UnderWay && is_lost(&run.order(), run.at) {
                run.fate = Fate::Lost;
            }
        }
        self.join(Fate::Lost);
    }

    /// Has everything sent again, what was delivered too: the peer may have
    /// thrown that away (RFC 2018 §8).
    pub(super) fn lose_all(&mut self) {
        for run in &mut self.runs {
            run.fate = Fate::Lost;
        }
        self.join(Fate::Lost);
    }

    /// Has the first bytes sent again, at most `bytes`, if they are under way
    /// since the transmission with this number or one before.
    pub(super) fn lose_first(&mut self, bytes: u64, number: u32) {
        let to = self.end().min(self.start + bytes);
        self.make_room(1);
        if self.split(to)
            && let Some(first) = self.runs.first_mut()
            && first.fate == Fate::UnderWay
            && number.wrapping_sub(first.number) as i32 >= 0
        {
            first.fate = Fate::Lost;
        }
    }

    fn start_of(&self, index: usize) -> u64 {
        match index.checked_sub(1) {
            Some(before) => self.runs[before].end,
            None => self.start,
        }
    }

    /// Adds to the news what arrived between here and there.
    fn note(&mut self, from: u64, to: u64, news: &mut News) {
        let mut start = self.start;
        for run in &self.runs {
            let (begin, end) = (start.max(from), run.end.min(to));
            start = run.end;
            if begin >= end || run.fate == Fate::Delivered {
                continue;
            }
            news.bytes += end - begin;
            news.overtaken |= !run.again && end < self.highest;
            let arrival = Arrival {
                order: Order { end, ..run.order() },
                at: run.at,
                again: run.again,
            };
            let is_latest = |latest: Arrival| arrival.order.is_after(&latest.order);
            if news.latest.is_none_or(is_latest) {
                news.latest = Some(arrival);
            }
        }
        news.highest = news.highest.max(to);
    }

    /// Changes the runs from here to there, at both of which one ends.
    fn change(&mut self, from: u64, to: u64, mut change: impl FnMut(&mut Run)) {
        let mut start = self.start;
        for run in &mut self.runs {
            if start >= from && run.end <= to {
                change(run);
            }
            start = run.end;
        }
    }

    /// Makes two runs of the one that reaches across `at`; returns whether
    /// there is a border now.
    fn split(&mut self, at: u64) -> bool {
        let Some(index) = self.runs.iter().position(|run| run.end >= at) else {
            return at <= self.start;
        };
        let run = self.runs[index];
        if run.end == at || self.start_of(index) >= at {
            return true;
        }
        self.runs.insert(index, Run { end: at, ..run }).is_ok()
    }

    /// Makes one run of those side by side that have this fate.
    fn join(&mut self, fate: Fate) {
        for index in (1..self.runs.len()).rev() {
            if self.runs[index - 1].fate == fate && self.runs[index].fate == fate {
                self.join_with_next(index - 1);
            }
        }
    }

    fn join_with_next(&mut self, index: usize) {
        let (before, run) = (self.runs[index], self.runs[index + 1]);
        let later = if run.order().is_after(&before.order()) {
            run
        } else {
            before
        };
        // Which of them arrives, and so how long it took, is not known.
        let is_ambiguous = before.number != run.number;
        self.runs[index + 1] = Run {
            end: run.end,
            again: before.again || run.again || is_ambiguous,
            ..later
        };
        self.runs.remove(index);
    }

    /// Whether so many places are free, if need be by joining those runs that
    /// were sent closest to each other.
    fn make_room(&mut self, places: usize) -> bool {
        while self.runs.len() + places > RUNS {
            let alike = self
                .runs
                .windows(2)
                .enumerate()
                .filter_map(|(index, pair)| {
                    let apart = pair[1].number.wrapping_sub(pair[0].number) as i32;
                    (pair[0].fate == pair[1].fate).then_some((apart.unsigned_abs(), index))
                });
            let Some((_, index)) = alike.min() else {
                return false;
            };
            self.join_with_next(index);
        }
        true
    }
}

impl Run {
    fn order(&self) -> Order {
        Order {
            number: self.number,
            end: self.end,
        }
    }
}
