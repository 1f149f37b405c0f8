//! What became of every byte that was sent and not acknowledged yet.

use core::ops::Range;

use embassy_time::Instant;
use heapless::Vec;

/// Runs that are told apart.
const RUNS: usize = 64;

/// Runs that are left for what peers report, and for what is sent again.
const SPARE: usize = 8;

/// Being a transmission apart counts against joining two runs as much as being
/// so many bytes longer.
const APART: u64 = 16_384;

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
    /// Bytes of each fate, which every acknowledgement asks for.
    bytes: [u64; 3],
}

impl Scoreboard {
    pub(super) const fn new() -> Self {
        Self {
            runs: Vec::new(),
            start: 0,
            highest: 0,
            bytes: [0; 3],
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
        self.bytes[fate as usize]
    }

    /// The first bytes that are to be sent again, from here to there.
    pub(super) fn first_lost(&self) -> Option<(u64, u64)> {
        if self.count(Fate::Lost) == 0 {
            return None;
        }
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
        if self.runs.is_full()
            && let Some(last) = self.runs.pop()
        {
            self.bytes[last.fate as usize] -= last.end - self.end();
        }
        self.bytes[Fate::UnderWay as usize] += end - self.end();
        self.runs.extend([run]);
    }

    /// Notes that lost bytes were sent again: the first ones of a run. If there
    /// is no place for the rest of it, that counts as sent with them. It must
    /// not stay lost, or it would be sent without end.
    pub(super) fn sent_again(&mut self, from: u64, to: u64, number: u32, at: Instant) {
        self.make_room(1);
        let first = self.runs.partition_point(|run| run.end <= from);
        let behind = self.split(to).unwrap_or_else(|| {
            let before = self.runs.partition_point(|run| run.end < to);
            self.runs.len().min(before + 1)
        });
        self.change(first..behind, |run| {
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
        let gone = self.runs.partition_point(|run| run.end <= to);
        let touched = self.runs.len().min(gone + 1);
        self.note(0..touched, to, news);
        for run in &self.runs[..touched] {
            let end = run.end.min(to);
            self.bytes[run.fate as usize] -= end - self.start;
            self.start = end;
        }
        self.runs.drain(..gone);
        // Not before: what one acknowledgement tells of is in no order.
        self.highest = self.highest.max(news.highest);
    }

    /// The peer has the bytes from here to there.
    pub(super) fn delivered(&mut self, from: u64, to: u64, news: &mut News) {
        let (from, to) = (from.max(self.start), to.min(self.end()));
        if from >= to || self.is_delivered(from, to) || !self.make_room(2) {
            return;
        }
        let (Some(first), Some(behind)) = (self.split(from), self.split(to)) else {
            return;
        };
        self.note(first..behind, to, news);
        self.change(first..behind, |run| run.fate = Fate::Delivered);
        self.join(first..behind + 1, Fate::Delivered);
    }

    /// Whether the peer is known to have the bytes from here to there. Most of
    /// what an acknowledgement tells, the one before it has told.
    fn is_delivered(&self, from: u64, to: u64) -> bool {
        let index = self.runs.partition_point(|run| run.end <= from);
        let run = self.runs.get(index);
        run.is_some_and(|run| run.fate == Fate::Delivered && run.end >= to)
    }

    /// Has those runs under way sent again of which `is_lost` says so.
    pub(super) fn lose(&mut self, mut is_lost: impl FnMut(&Order, Instant) -> bool) {
        let before = self.count(Fate::Lost);
        self.change(0..self.runs.len(), |run| {
            if run.fate == Fate::UnderWay && is_lost(&run.order(), run.at) {
                run.fate = Fate::Lost;
            }
        });
        if self.count(Fate::Lost) > before {
            self.join(0..self.runs.len(), Fate::Lost);
        }
    }

    /// Has everything sent again, what was delivered too: the peer may have
    /// thrown that away (RFC 2018 §8).
    pub(super) fn lose_all(&mut self) {
        self.change(0..self.runs.len(), |run| run.fate = Fate::Lost);
        self.join(0..self.runs.len(), Fate::Lost);
    }

    /// Has the first bytes sent again, at most `bytes`, if they are under way
    /// since the transmission with this number or one before.
    pub(super) fn lose_first(&mut self, bytes: u64, number: u32) {
        let to = self.end().min(self.start + bytes);
        self.make_room(1);
        if self.split(to).is_some()
            && let Some(first) = self.runs.first()
            && first.fate == Fate::UnderWay
            && number.wrapping_sub(first.number) as i32 >= 0
        {
            self.change(0..1, |first| first.fate = Fate::Lost);
        }
    }

    fn start_of(&self, index: usize) -> u64 {
        match index.checked_sub(1) {
            Some(before) => self.runs[before].end,
            None => self.start,
        }
    }

    /// Adds to the news what arrived of these runs, which is all before `to`.
    fn note(&self, runs: Range<usize>, to: u64, news: &mut News) {
        let mut start = self.start_of(runs.start);
        for run in &self.runs[runs] {
            let (begin, end) = (start, run.end.min(to));
            start = end;
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

    /// Changes these runs, but not where they end.
    fn change(&mut self, runs: Range<usize>, mut change: impl FnMut(&mut Run)) {
        let mut start = self.start_of(runs.start);
        for run in &mut self.runs[runs] {
            let (before, len) = (run.fate, run.end - start);
            start = run.end;
            change(run);
            if run.fate != before {
                self.bytes[before as usize] -= len;
                self.bytes[run.fate as usize] += len;
            }
        }
    }

    /// Makes two runs of the one that reaches across `at`. Returns how many end
    /// there or before, or `None` if there is no border and no place for one.
    fn split(&mut self, at: u64) -> Option<usize> {
        let before = self.runs.partition_point(|run| run.end < at);
        let Some(run) = self.runs.get(before).copied() else {
            return (at <= self.start).then_some(before);
        };
        if self.start_of(before) >= at {
            return Some(before);
        }
        let has_border = run.end == at || self.runs.insert(before, Run { end: at, ..run }).is_ok();
        has_border.then_some(before + 1)
    }

    /// Makes one run of those with this fate that are side by side, in so far as
    /// the second of them is one of these.
    fn join(&mut self, runs: Range<usize>, fate: Fate) {
        for index in (runs.start.max(1)..runs.end.min(self.runs.len())).rev() {
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

    /// Whether so many places are free, if need be by joining runs: short ones
    /// that were sent close to each other. A run that grew with every join
    /// would always be one that was sent just now.
    fn make_room(&mut self, places: usize) -> bool {
        while self.runs.len() + places > RUNS {
            let mut start = self.start;
            let alike = self
                .runs
                .windows(2)
                .enumerate()
                .filter_map(|(index, pair)| {
                    let bytes = pair[1].end - start;
                    start = pair[0].end;
                    let apart = pair[1].number.wrapping_sub(pair[0].number) as i32;
                    let cost = u64::from(apart.unsigned_abs()) * APART + bytes;
                    (pair[0].fate == pair[1].fate).then_some((cost, index))
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

#[cfg(test)]
mod tests {
    use super::*;
    use ichor_hal::{Entropy, fake::FakeEntropy};

    fn at(number: u32) -> Instant {
        Instant::from_micros(number.into())
    }

    /// One byte in each of so many transmissions.
    fn board(bytes: u32) -> Scoreboard {
        let mut board = Scoreboard::new();
        for number in 1..=bytes {
            board.sent(number.into(), number, at(number));
        }
        board
    }

    #[test]
    fn what_was_sent_together_was_sent_in_order() {
        let order = |number, end| Order { number, end };
        for (a, b, is_after) in [
            ((2, 5), (1, 9), true),
            ((1, 9), (2, 5), false),
            ((2, 6), (2, 5), true),
            ((2, 5), (2, 5), false),
            ((0, 5), (u32::MAX, 9), true),
            ((u32::MAX, 9), (0, 5), false),
        ] {
            assert_eq!(order(a.0, a.1).is_after(&order(b.0, b.1)), is_after);
        }
    }

    #[test]
    fn overtaken_is_what_arrives_after_what_an_earlier_ack_told_of() {
        // ACKs of blocks, and whether the last of them tells of a reordering.
        type Blocks<'a> = &'a [(u64, u64)];
        let cases: [(&[Blocks<'_>], bool); 5] = [
            (&[&[(5, 6)], &[(6, 7)]], false),
            (&[&[(5, 6)], &[(3, 4)]], true),
            (&[&[(5, 6), (3, 4)]], false),
            (&[&[(5, 6)], &[(5, 6)]], false),
            (&[&[(5, 6)], &[(7, 8), (3, 6)]], true),
        ];
        for (acks, expected) in cases {
            let mut board = board(10);
            let mut overtaken = false;
            for blocks in acks {
                let mut news = News::default();
                for (from, to) in *blocks {
                    board.delivered(*from, *to, &mut news);
                }
                board.acknowledged(0, &mut news);
                overtaken = news.overtaken;
            }
            assert_eq!(overtaken, expected, "{acks:?}");
        }
    }

    #[test]
    fn a_joined_run_tells_no_round_trip() {
        let mut board = board(RUNS as u32);
        assert!(board.has_room());
        assert_eq!(board.runs.len(), RUNS - SPARE);
        let mut news = News::default();
        board.acknowledged(1, &mut news);
        assert!(news.latest.is_some_and(|latest| latest.again));
    }

    #[test]
    fn without_a_place_a_lost_run_counts_as_sent_whole() {
        let mut board = Scoreboard::new();
        board.sent(1_000, 1, at(1));
        for index in 0..RUNS as u64 {
            board.delivered(10 * index + 5, 10 * index + 10, &mut News::default());
        }
        board.lose(|_, _| true);
        let mut sends = 0;
        while let Some((from, _)) = board.first_lost() {
            sends += 1;
            assert!(sends < 2_000, "it is sent without end");
            board.sent_again(from, from + 1, 1 + sends, at(sends));
        }
        assert_eq!(board.end(), 1_000);
        assert!(board.runs.len() <= RUNS);
    }

    /// What a board knows against what is so, byte by byte. A delivery may be
    /// forgotten, and no byte that did not arrive counts as delivered.
    #[test]
    fn it_agrees_with_an_account_of_every_byte() {
        for seed in 0..300 {
            let random = &mut FakeEntropy(seed);
            let mut board = Scoreboard::new();
            let mut arrived = std::vec::Vec::new();
            let (mut start, mut number) = (0, 0);
            for _ in 0..300 {
                let end = arrived.len() as u64;
                let mut below = |most: u64| random.seed() % most.max(1);
                number += 1;
                match below(8) {
                    0..3 if board.has_room() => {
                        let len = below(if seed % 2 == 0 { 3 } else { 50 }) + 1;
                        arrived.resize(arrived.len() + len as usize, false);
                        board.sent(end + len, number, at(number));
                    }
                    3 | 4 => {
                        let from = start + below(end - start);
                        let to = (from + 1 + below(9)).min(end);
                        let mut news = News::default();
                        let fresh = (from..to).filter(|at| !arrived[*at as usize]);
                        let fresh = fresh.count() as u64;
                        board.delivered(from, to, &mut news);
                        board.acknowledged(start, &mut news);
                        assert!(news.bytes == 0 || news.bytes >= fresh, "seed {seed}");
                        arrived[from as usize..to as usize].fill(true);
                    }
                    5 => {
                        let by = number.saturating_sub(below(20) as u32);
                        board.lose(|order, _| order.number <= by);
                    }
                    6 => {
                        if let Some((from, to)) = board.first_lost() {
                            let to = from + 1 + below(to - from);
                            let lost = board.count(Fate::Lost);
                            board.sent_again(from, to, number, at(number));
                            assert!(board.count(Fate::Lost) <= lost - (to - from));
                        }
                    }
                    _ => {
                        start += below(end - start + 1) / 4;
                        board.acknowledged(start, &mut News::default());
                        arrived[..start as usize].fill(true);
                        if below(40) == 0 {
                            board.lose_all();
                        }
                    }
                }
                assert_eq!(board.start(), start, "seed {seed}");
                assert_eq!(board.end(), arrived.len() as u64, "seed {seed}");
                assert!(board.runs.len() <= RUNS);
                let mut from = board.start;
                for run in &board.runs {
                    assert!(run.end > from, "seed {seed}: {board:?}");
                    let bytes = &arrived[from as usize..run.end as usize];
                    let is_so = run.fate != Fate::Delivered || bytes.iter().all(|byte| *byte);
                    assert!(is_so, "seed {seed}: {from} to {}: {board:?}", run.end);
                    from = run.end;
                }
                for fate in [Fate::UnderWay, Fate::Lost, Fate::Delivered] {
                    let mut from = board.start;
                    let bytes = board.runs.iter().map(|run| {
                        let len = run.end - core::mem::replace(&mut from, run.end);
                        if run.fate == fate { len } else { 0 }
                    });
                    assert_eq!(board.count(fate), bytes.sum::<u64>(), "seed {seed}");
                }
            }
        }
    }
}
