//! One connection's data on its way out.

use embassy_time::{Duration, Instant};

use super::round_trip::RoundTrip;
use super::scoreboard::{Fate, News, Order, Scoreboard};

/// The most bytes of a segment on Ethernet. What a peer announces may be more:
/// then the NIC cuts.
const ETHERNET_SEGMENT: u32 = 1460;

/// The congestion window at the start, in segments (RFC 6928).
const FIRST_WINDOW: u32 = 10;

/// The part of a connection's share that a loss leaves as its congestion window
/// at least. A cable that loses frames at random must not bring a boot to a stop;
/// where many share the wire, which is then the likelier cause, it is less.
const LEAST_PART: u32 = 8;

/// If less than one byte in so many gets lost, and not more than so many segments
/// at once, it is the cable that loses them, and the congestion window stays as it
/// is: a queue that overflows loses more. (BBR draws the line at the same 2 %,
/// `LossThresh` in draft-ietf-ccwg-bbr.) Not so where the peer cannot tell of more
/// than one loss in a round trip.
const FEW: u64 = 50;
const FEW_AT_ONCE: u64 = 3;

/// Bytes after which what became of others weighs half as much.
const LATELY: u64 = 4 << 20;

/// The largest congestion window, in bytes.
const MAX_WINDOW: u32 = 4 << 20;

/// A connection may have so many times as much under way as arrived in the last
/// round trip: that was sent in the one before, and the window doubles in each.
const DOUBLED_TWICE: u64 = 4;

/// Segments that must have arrived behind one for it to be lost, and duplicate
/// ACKs that say the same (RFC 5681 §3.2).
const DUPLICATES: u32 = 3;

/// Probes before a timeout, each waited for twice as long: a probe may be lost
/// as what it asks for was.
const PROBES: u8 = 3;

/// Recoveries for which a reordering is remembered (RFC 8985 §6.2).
const REMEMBERED: u8 = 16;

/// What a peer said when it opened the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The most bytes of a segment to it (RFC 9293 §3.7.1).
    pub segment: u16,
    /// Bytes that it has room for.
    pub window: u32,
    /// Whether it acknowledges selectively (RFC 2018).
    pub selective: bool,
    /// How long the handshake took, if no part of it was sent again.
    pub round_trip: Option<Duration>,
}

/// What an acknowledgement says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Everything before has arrived.
    pub to: u64,
    /// There is room for everything before.
    pub edge: u64,
    /// What has arrived behind `to`, from here to there.
    pub blocks: [Option<(u64, u64)>; 3],
    /// Whether it came without data or flags, as a duplicate ACK does.
    pub is_bare: bool,
}

/// Bytes to be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// The first of them. For an empty segment, one that the peer has: it
    /// answers that with an ACK.
    pub from: u64,
    /// How many. More than the wire takes at once are for the NIC to cut up.
    pub len: u32,
}

/// One connection's data on its way out: an account of what was sent, without
/// the data.
///
/// The caller [offers](Self::offer) bytes, sends each [`next`](Self::next)
/// segment and says [so](Self::sent), hands over every [ACK](Self::acknowledged)
/// and, when the [deadline](Self::deadline) passes, [tells](Self::timed_out).
#[derive(Debug)]
pub struct Sender {
    board: Scoreboard,
    round_trip: RoundTrip,
    /// What there is to be sent ends here.
    end: u64,
    /// The peer's window ends here.
    edge: u64,
    /// Bytes of a segment on the wire, and of the largest that the NIC takes.
    segment: u32,
    largest: u32,
    selective: bool,
    /// Bytes that the caller would have under way.
    share: u32,
    /// Transmissions so far.
    number: u32,
    /// The last of all bytes, as they were sent, that has arrived.
    latest: Option<Order>,
    /// Bytes that may be under way as far as the network is concerned, and up
    /// to where that grows with every byte that arrives, past it by a segment
    /// each round trip (RFC 5681 §3.1).
    window: u32,
    threshold: u32,
    /// Bytes that were under way when something was sent last.
    filled: u64,
    recovery: Option<Recovery>,
    /// Whether the congestion window was made smaller in this recovery. A `bool` in
    /// there would have `None` be other than all zeros.
    is_congested: bool,
    /// Duplicate ACKs up to here tell of what was sent again after a timeout
    /// though the peer had it (RFC 6582 §3.2).
    resent: u64,
    /// ACKs in a row that said nothing new.
    duplicates: u32,
    /// For how many more recoveries segments may overtake others without the
    /// others being lost.
    reorders: u8,
    /// Timeouts in a row.
    in_vain: u8,
    /// The last progress, or when something was sent for the first time.
    since: Instant,
    /// Probes since.
    probes: u8,
    /// The peer is to be asked for its window (a zero-window probe, RFC 9293
    /// §3.8.6.1).
    ask: bool,
    /// When what was overtaken is lost.
    overdue: Option<Instant>,
    round: Round,
    lately: Lately,
}

/// Losses are being mended.
#[derive(Debug, Clone, Copy)]
struct Recovery {
    /// Until everything before was acknowledged.
    end: u64,
    /// The last transmission before it began.
    number: u32,
    /// Bytes sent and not acknowledged when the congestion window was made smaller.
    /// 0 after a timeout and where little was lost: then that window alone says
    /// what may be sent.
    flight: u64,
    /// Bytes that have arrived since, that were sent since, and that may be sent
    /// now: little more than arrive, so that a queue that has overflown can
    /// drain (proportional rate reduction, RFC 6937).
    arrived: u64,
    sent: u64,
    allowed: u64,
}

/// What became of the bytes that were sent lately.
#[derive(Debug)]
struct Lately {
    arrived: u64,
    lost: u64,
}

/// Measures what the path holds: once a round trip, what arrived in it.
#[derive(Debug)]
struct Round {
    /// Bytes that have arrived in all, and had when the round began.
    arrived: u64,
    arrived_before: u64,
    began: Instant,
    /// The round is over when everything before was acknowledged.
    end: u64,
    /// Bytes a second times the least round trip (the bandwidth-delay product).
    holds: u64,
}

impl Sender {
    /// Of a connection that nobody has opened. All its bits are zero, or tables of
    /// it would take room in a board's image.
    pub const IDLE: Self = Self {
        board: Scoreboard::new(),
        round_trip: RoundTrip::new(),
        end: 0,
        edge: 0,
        segment: 0,
        largest: 0,
        selective: false,
        share: 0,
        number: 0,
        latest: None,
        window: 0,
        threshold: 0,
        filled: 0,
        recovery: None,
        is_congested: false,
        resent: 0,
        duplicates: 0,
        reorders: 0,
        in_vain: 0,
        since: Instant::from_ticks(0),
        probes: 0,
        ask: false,
        overdue: None,
        round: Round {
            arrived: 0,
            arrived_before: 0,
            began: Instant::from_ticks(0),
            end: 0,
            holds: 0,
        },
        lately: Lately {
            arrived: 0,
            lost: 0,
        },
    };

    /// Of a connection that was opened just now. No segment will be longer than
    /// `largest`.
    pub fn new(peer: &Peer, largest: u32, now: Instant) -> Self {
        let largest = u32::from(peer.segment).clamp(1, largest.max(1));
        let segment = largest.min(ETHERNET_SEGMENT);
        let mut sender = Self {
            edge: peer.window.into(),
            segment,
            largest,
            selective: peer.selective,
            window: FIRST_WINDOW * segment,
            threshold: MAX_WINDOW,
            since: now,
            ..Self::IDLE
        };
        if let Some(took) = peer.round_trip {
            sender.round_trip.saw(took);
        }
        sender
    }

    /// There are `len` bytes more to be sent. Returns the place of the first.
    pub fn offer(&mut self, len: u64) -> u64 {
        let from = self.end;
        self.end += len;
        from
    }

    /// Whether the peer has everything.
    pub fn is_done(&self) -> bool {
        self.acknowledged_to() == self.end
    }

    /// The peer has everything before.
    pub fn acknowledged_to(&self) -> u64 {
        self.board.start()
    }

    /// Everything before was sent once at least.
    pub fn sent_to(&self) -> u64 {
        self.board.end()
    }

    /// Whether more may be sent within this time than now: an answer may come,
    /// or it is the share that does not let more be under way.
    pub fn has_use_for(&self, time: Duration) -> bool {
        let has_filled_it = self.under_way() + u64::from(self.largest) > self.share.into();
        self.sent_to() < self.end && (has_filled_it || self.round_trip.least() < time)
    }

    /// What to send now, if anything. `share` is how many bytes the caller would
    /// have under way; on a path that holds more, it is more, and `most` at most.
    pub fn next(&mut self, share: u32, most: u32) -> Option<Segment> {
        self.share = share;
        if self.ask {
            let from = self.board.start().wrapping_sub(1);
            return Some(Segment { from, len: 0 });
        }
        let held = (DOUBLED_TWICE * self.round.holds).clamp(share.into(), most.max(share).into());
        let limit = held.min(self.window.into());
        let under_way = self.under_way();
        let mut room = match &self.recovery {
            Some(recovery) if recovery.flight > 0 => recovery.allowed,
            _ => limit.saturating_sub(under_way),
        };
        if under_way == 0 {
            room = room.max(self.segment.into());
        }
        let largest = u64::from(self.largest);
        if let Some((from, to)) = self.board.first_lost() {
            // What all else waits for goes out whatever the window.
            let is_first = from == self.board.start();
            let room = if is_first {
                room.max(self.probe_len())
            } else {
                room
            };
            let len = (to - from).min(largest).min(self.whole_segments(room));
            let len = len as u32;
            return (len > 0).then_some(Segment { from, len });
        }
        let from = self.board.end();
        let unsent = self.end - from;
        let open = self.edge.saturating_sub(from);
        if unsent == 0 || open == 0 || !self.board.has_room() {
            return None;
        }
        let mut len = unsent.min(open).min(room).min(largest);
        if len < unsent && len < largest {
            // No small segments now that could be larger ones soon, or a
            // thousand peers that read in small pieces are sent small ones
            // (RFC 1122 §4.2.3.4).
            let window = limit.min(self.edge - self.board.start());
            let worthwhile = match self.recovery {
                Some(_) => self.segment.into(),
                None => (window / 4).min(largest / 2).max(self.segment.into()),
            };
            if under_way > 0 && len < worthwhile {
                return None;
            }
            if len > u64::from(self.segment) {
                len = self.whole_segments(len);
            }
        }
        (len > 0).then_some(Segment {
            from,
            len: len as u32,
        })
    }

    /// Whether nothing is to be sent behind `segment`.
    pub fn is_last(&self, segment: Segment) -> bool {
        segment.from.wrapping_add(segment.len.into()) == self.end
    }

    /// `segment`, or the first bytes of it, was sent.
    pub fn sent(&mut self, segment: Segment, now: Instant) {
        let Segment { from, len } = segment;
        if len == 0 {
            self.ask = false;
            return;
        }
        self.number = self.number.wrapping_add(1);
        if self.board.is_empty() {
            self.round.begin(from, now);
        }
        if let Some(recovery) = &mut self.recovery {
            recovery.sent += u64::from(len);
            recovery.allowed = recovery.allowed.saturating_sub(len.into());
        }
        let to = from + u64::from(len);
        if from < self.board.end() {
            self.board.sent_again(from, to, self.number, now);
        } else {
            self.board.sent(to, self.number, now);
            self.since = now;
        }
        self.filled = self.under_way();
    }

    /// The peer said something. What it cannot have said is passed over.
    pub fn acknowledged(&mut self, ack: &Ack, now: Instant) {
        let (start, end) = (self.board.start(), self.board.end());
        if ack.to > end {
            return;
        }
        let flight = self.under_way();
        let mut news = News::default();
        for (from, to) in ack.blocks.iter().flatten() {
            self.board.delivered(*from, *to, &mut news);
        }
        self.board.acknowledged(ack.to, &mut news);
        let duplicates = self.duplicates;
        if ack.to > start {
            // All but the first of those segments had been told of.
            let told = (ack.to - start).div_ceil(u64::from(self.segment.max(1))) - 1;
            self.duplicates = match self.recovery {
                Some(_) => u64::from(self.duplicates).saturating_sub(told) as u32,
                None => 0,
            };
        } else if ack.to == start && ack.edge == self.edge && ack.is_bare && flight > 0 {
            self.duplicates = self.duplicates.saturating_add(1);
        }
        if ack.to >= start {
            if self.board.is_empty() && ack.edge > self.edge {
                // What was in vain was to ask for this.
                self.in_vain = 0;
            }
            self.edge = ack.edge;
        }
        if news.bytes > 0 {
            self.in_vain = 0;
            self.probes = 0;
            self.since = now;
            self.heed(&news, now);
            self.lately.arrived(news.bytes);
            self.round.arrived += news.bytes;
            self.round
                .look(ack.to, self.board.end(), self.round_trip.least(), now);
        }
        if self.recovery.is_some_and(|recovery| ack.to >= recovery.end) {
            self.recovery = None;
            self.is_congested = false;
            self.duplicates = 0;
            self.reorders = self.reorders.saturating_sub(1);
        }
        if !self.is_congested || self.window < self.threshold {
            self.grow(news.bytes);
        }
        self.look_for_losses(ack.to > start, now);
        // A duplicate ACK tells of a segment before it is acknowledged.
        let each = u64::from(if self.selective { 0 } else { self.segment });
        let arrived = (news.bytes + u64::from(self.duplicates) * each)
            .saturating_sub(u64::from(duplicates) * each);
        self.allow(arrived, ack.to > start);
    }

    /// Allows in a recovery what may be sent after so many bytes more have
    /// arrived.
    fn allow(&mut self, arrived: u64, has_advanced: bool) {
        let (under_way, threshold) = (self.under_way(), u64::from(self.threshold));
        let segment = u64::from(self.segment);
        let Some(recovery) = self.recovery.as_mut().filter(|it| it.flight > 0) else {
            return;
        };
        recovery.arrived += arrived;
        recovery.allowed = if under_way > threshold {
            let due = (recovery.arrived * threshold).div_ceil(recovery.flight);
            due.saturating_sub(recovery.sent)
        } else {
            let conserved = recovery.arrived.saturating_sub(recovery.sent).max(arrived);
            let more = if has_advanced { segment } else { 0 };
            (conserved + more).min(threshold - under_way)
        };
    }

    /// When to call [`timed_out`](Self::timed_out).
    pub fn deadline(&self) -> Option<Instant> {
        let timeout = self.since + self.round_trip.timeout(self.in_vain);
        if self.board.is_empty() {
            // It may be that the peer has room again, and said so in vain.
            return self.is_shut_out().then_some(timeout);
        }
        let mut deadline = timeout;
        if self.may_probe() {
            deadline = deadline.min(self.probe_at());
        }
        Some(self.overdue.map_or(deadline, |at| at.min(deadline)))
    }

    /// The [deadline](Self::deadline) may have passed.
    pub fn timed_out(&mut self, now: Instant) {
        if self.overdue.is_some_and(|at| now >= at) {
            self.look_for_losses(false, now);
        }
        let timeout = self.since + self.round_trip.timeout(self.in_vain);
        if self.board.is_empty() {
            if self.is_shut_out() && now >= timeout {
                self.ask = true;
                self.start_over(now);
            }
        } else if now >= timeout {
            let flight = self.under_way();
            self.board.lose_all();
            self.threshold = self.at_least(flight / 2);
            self.window = self.at_least(0);
            self.recovery = Some(self.since_now(0));
            self.is_congested = true;
            self.resent = self.board.end();
            self.duplicates = 0;
            self.overdue = None;
            self.start_over(now);
        } else if self.may_probe() && now >= self.probe_at() {
            // The answer shows what else is missing: from a selective peer, all
            // that was sent before and that it does not cover.
            let is_single = self.is_single();
            self.board.lose_first(self.probe_len(), self.number);
            if !self.selective && !is_single {
                self.recover(0);
            }
            self.probes += 1;
            self.since = now;
        }
    }

    fn since_now(&self, flight: u64) -> Recovery {
        Recovery {
            end: self.board.end(),
            number: self.number,
            flight,
            arrived: 0,
            sent: 0,
            allowed: 0,
        }
    }

    fn start_over(&mut self, now: Instant) {
        self.in_vain = self.in_vain.saturating_add(1);
        self.since = now;
    }

    /// Whether the peer has no room for what comes next.
    fn is_shut_out(&self) -> bool {
        let next = self.board.end();
        next < self.end && self.edge <= next
    }

    fn may_probe(&self) -> bool {
        self.probes < PROBES && self.in_vain == 0
    }

    fn probe_at(&self) -> Instant {
        self.since + self.round_trip.probe(self.is_single()) * (1 << self.probes)
    }

    /// Bytes of a probe: two segments are acknowledged at once, where one may be
    /// acknowledged late (RFC 9293 §3.8.6.3).
    fn probe_len(&self) -> u64 {
        2 * u64::from(self.segment)
    }

    fn is_single(&self) -> bool {
        self.board.end() - self.board.start() <= self.segment.into()
    }

    /// Bytes under way, without those of which duplicate ACKs say that they
    /// have arrived.
    fn under_way(&self) -> u64 {
        let arrived = if self.selective {
            0
        } else {
            u64::from(self.duplicates) * u64::from(self.segment)
        };
        self.board.count(Fate::UnderWay).saturating_sub(arrived)
    }

    /// The largest whole number of segments in so many bytes.
    fn whole_segments(&self, bytes: u64) -> u64 {
        bytes - bytes % u64::from(self.segment.max(1))
    }

    /// A window of this size, or the least.
    fn at_least(&self, window: u64) -> u32 {
        let window = window.min(MAX_WINDOW.into()) as u32;
        window.max(self.share / LEAST_PART)
    }

    /// Learns from what arrived how long it takes, and in which order.
    fn heed(&mut self, news: &News, now: Instant) {
        if news.overtaken {
            self.reorders = REMEMBERED;
        }
        let Some(arrival) = news.latest else { return };
        let took = now.saturating_duration_since(arrival.at);
        if !arrival.again {
            self.round_trip.saw(took);
        } else if took < self.round_trip.least() {
            // It was the first transmission that arrived (RFC 8985 §6.2).
            return;
        }
        if self
            .latest
            .is_none_or(|latest| arrival.order.is_after(&latest))
        {
            self.latest = Some(arrival.order);
        }
    }

    fn grow(&mut self, arrived: u64) {
        if self.filled < u64::from(self.window / 2) {
            // It was not the window that kept more from being sent.
            return;
        }
        let window = u64::from(self.window.max(1));
        let growth = if self.window < self.threshold {
            arrived
        } else {
            arrived * u64::from(self.segment) / window
        };
        self.window = (window + growth).min(MAX_WINDOW.into()) as u32;
    }

    /// Has sent again what was overtaken, or what duplicate ACKs ask for.
    fn look_for_losses(&mut self, has_advanced: bool, now: Instant) {
        self.overdue = None;
        let before = self.board.count(Fate::Lost);
        if let Some(latest) = self.latest.filter(|_| self.selective) {
            let enough = u64::from(DUPLICATES * self.segment);
            let at_once = self.reorders == 0
                && (self.recovery.is_some() || self.board.count(Fate::Delivered) >= enough);
            let wait = self.round_trip.reordering_wait();
            let mut overdue: Option<Instant> = None;
            self.board.lose(|order, sent_at| {
                if !latest.is_after(order) {
                    return false;
                }
                let at = sent_at + wait;
                let is_lost = at_once || now >= at;
                if !is_lost {
                    overdue = Some(overdue.map_or(at, |other| other.min(at)));
                }
                is_lost
            });
            self.overdue = overdue;
        }
        if !self.selective {
            let by = match self.recovery {
                Some(recovery) => has_advanced.then_some(recovery.number),
                None => {
                    let enough = self.duplicates >= DUPLICATES;
                    (enough && self.board.start() > self.resent).then_some(self.number)
                }
            };
            if let Some(by) = by {
                self.board.lose_first(self.segment.into(), by);
            }
        }
        let lost = self.board.count(Fate::Lost) - before;
        self.lately.lost += lost;
        if self.board.first_lost().is_some() {
            self.recover(lost);
        }
    }

    /// Begins a recovery, or goes on in one, with so many bytes more lost. If it
    /// was much, the congestion window becomes smaller.
    fn recover(&mut self, lost: u64) {
        let is_much = lost > FEW_AT_ONCE * u64::from(self.segment)
            || self.lately.lost * FEW > self.lately.arrived;
        if self.selective && !is_much {
            self.recovery = self.recovery.or(Some(self.since_now(0)));
            return;
        }
        if self.is_congested {
            // That is once for all that was lost together.
            return;
        }
        let flight = self.board.end() - self.board.start();
        self.recovery = Some(self.since_now(flight));
        self.is_congested = true;
        // As CUBIC does (RFC 9438 §4.6).
        self.threshold = self.at_least(flight.min(self.window.into()) * 7 / 10);
        self.window = self.threshold;
    }
}

impl Lately {
    fn arrived(&mut self, bytes: u64) {
        self.arrived += bytes;
        if self.arrived > LATELY {
            self.arrived /= 2;
            self.lost /= 2;
        }
    }
}

impl Round {
    fn begin(&mut self, end: u64, now: Instant) {
        self.arrived_before = self.arrived;
        self.began = now;
        self.end = end;
    }

    fn look(&mut self, acknowledged: u64, sent: u64, least: Duration, now: Instant) {
        if acknowledged <= self.end {
            return;
        }
        let took = now.saturating_duration_since(self.began);
        if took >= least && took.as_ticks() > 0 {
            let arrived = self.arrived - self.arrived_before;
            self.holds = arrived * least.as_ticks() / took.as_ticks();
        }
        self.begin(sent, now);
    }
}
