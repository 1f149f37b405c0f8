//! A path that loses, doubles, delays and reorders, with a peer behind it that
//! is strict about the RFCs: every transfer must come to its end, and soon.

use std::collections::BTreeMap;

use embassy_time::{Duration, Instant};
use ichor_hal::{Entropy, fake::FakeEntropy};

use super::{Ack, Peer, Segment, Sender};

mod receiver;

use receiver::{Manner, Receiver};

/// Headers and gaps of a full packet on Ethernet, in bytes.
const OVERHEAD: u64 = 78;

/// The largest segment that the NIC cuts.
const LARGEST: u32 = 61_440;

/// Which packets of data are lost, by their order, first byte and whether they
/// were sent before.
type Strikes = Box<dyn FnMut(u64, u64, bool) -> bool>;

/// Which ACKs are lost.
type AckStrikes = Box<dyn FnMut(&Ack) -> bool>;

/// What is between the two.
#[derive(Debug, Clone, Copy)]
struct Path {
    /// Each way, in microseconds.
    delay: u64,
    /// Megabits a second, and packets that wait for their turn at most.
    rate: Option<(u64, usize)>,
    /// Chances per thousand packets, those of ACKs apart.
    lost: u64,
    acks_lost: u64,
    doubled: u64,
    late: u64,
    /// How much later at most, in microseconds.
    later: u64,
    /// For how long all are lost when one was, in microseconds.
    burst: u64,
}

impl Path {
    /// 10 Gbit/s, and nothing goes wrong.
    const CLEAN: Self = Self {
        delay: 100,
        rate: Some((10_000, 10_000)),
        lost: 0,
        acks_lost: 0,
        doubled: 0,
        late: 0,
        later: 0,
        burst: 0,
    };
}

/// A transfer over such a path.
#[derive(Debug, Clone, Copy)]
struct Setting {
    path: Path,
    peer: Manner,
    largest: u32,
    /// Bytes that the caller would have under way.
    share: u32,
    /// Bytes of each answer, one after the other, and milliseconds in between.
    offers: &'static [u64],
    pause: u64,
    /// In milliseconds.
    limit: u64,
}

impl Setting {
    const PLAIN: Self = Self {
        path: Path::CLEAN,
        peer: Manner::LINUX,
        largest: LARGEST,
        share: 8 * LARGEST,
        offers: &[20_000_000],
        pause: 0,
        limit: 100_000,
    };
}

/// What became of it.
#[derive(Debug, Default)]
struct Outcome {
    offered: u64,
    /// Bytes, and those of them for the second time or more.
    sent: u64,
    resent: u64,
    /// In microseconds: until the peer had everything, and until that was
    /// known.
    arrived: u64,
    took: u64,
    /// The longest time that passed with nothing sent though the peer lacked
    /// something, in microseconds.
    silence: u64,
    asked: u64,
}

impl Outcome {
    fn ratio(&self) -> f64 {
        self.sent as f64 / self.offered as f64
    }

    /// Megabits a second.
    fn rate(&self) -> f64 {
        self.offered as f64 * 8.0 / self.arrived as f64
    }
}

#[derive(Debug)]
enum Event {
    Data(u64, u64),
    Ack(Ack),
    Offer(u64),
}

struct World {
    setting: Setting,
    random: FakeEntropy,
    /// The chance per thousand packets that the peer throws away what it holds.
    reneges: u64,
    /// By time in nanoseconds and order.
    events: BTreeMap<(u64, u64), Event>,
    order: u64,
    now: u64,
    /// When the packets that wait for their turn are through.
    queue: std::collections::VecDeque<u64>,
    burst_ends: u64,
    packets: u64,
    strikes: Option<Strikes>,
    lose_ack: Option<AckStrikes>,
    /// What the peer acknowledged, as far as the sender knows.
    acknowledged: u64,
    edge: u64,
    last_sent: u64,
    outcome: Outcome,
}

fn instant(now: u64) -> Instant {
    Instant::from_micros(1_000_000 + now / 1_000)
}

fn nanos(at: Instant) -> u64 {
    (at.as_micros() - 1_000_000) * 1_000
}

impl World {
    fn new(setting: Setting, seed: u64) -> Self {
        Self {
            setting,
            random: FakeEntropy(seed),
            reneges: 0,
            events: BTreeMap::new(),
            order: 0,
            now: 0,
            queue: std::collections::VecDeque::new(),
            burst_ends: 0,
            packets: 0,
            strikes: None,
            lose_ack: None,
            acknowledged: 0,
            edge: setting.peer.buffer,
            last_sent: 0,
            outcome: Outcome::default(),
        }
    }

    fn chance(&mut self, per_thousand: u64) -> bool {
        per_thousand > 0 && self.random.seed() % 1_000 < per_thousand
    }

    fn schedule(&mut self, at: u64, event: Event) {
        self.order += 1;
        self.events.insert((at, self.order), event);
    }

    /// When a packet that leaves now arrives, for each copy of it that does.
    fn travel(&mut self, leaves: u64) -> Vec<u64> {
        let path = self.setting.path;
        let copies = 1 + u64::from(self.chance(path.doubled));
        let mut arrivals = Vec::new();
        for _ in 0..copies {
            let late = if self.chance(path.late) {
                self.random.seed() % (path.later * 1_000)
            } else {
                0
            };
            arrivals.push(leaves + path.delay * 1_000 + late);
        }
        arrivals
    }

    /// Puts a segment on the wire, cut up.
    fn send(&mut self, segment: Segment, again: bool) {
        let (mut from, end) = (segment.from, segment.from + u64::from(segment.len));
        loop {
            let to = end.min(from + u64::from(self.setting.peer.segment.min(1460)));
            self.send_packet(from, to, again);
            from = to;
            if from >= end {
                return;
            }
        }
    }

    fn send_packet(&mut self, from: u64, to: u64, again: bool) {
        let path = self.setting.path;
        let order = self.packets;
        self.packets += 1;
        let mut leaves = self.now;
        if let Some((rate, places)) = path.rate {
            while self.queue.front().is_some_and(|at| *at <= self.now) {
                self.queue.pop_front();
            }
            if self.queue.len() >= places {
                return;
            }
            let free = self.queue.back().copied().unwrap_or(0).max(self.now);
            leaves = free + (to - from + OVERHEAD) * 8_000 / rate;
            self.queue.push_back(leaves);
        }
        if self.now < self.burst_ends {
            return;
        }
        if self.chance(path.lost) {
            self.burst_ends = self.now + path.burst * 1_000;
            return;
        }
        if let Some(strikes) = &mut self.strikes
            && strikes(order, from, again)
        {
            return;
        }
        for at in self.travel(leaves) {
            self.schedule(at, Event::Data(from, to));
        }
    }

    fn answer(&mut self, ack: Option<Ack>) {
        let Some(ack) = ack else { return };
        let is_lost = self.lose_ack.as_mut().is_some_and(|lose| lose(&ack));
        if is_lost || self.chance(self.setting.path.acks_lost) {
            return;
        }
        for at in self.travel(self.now) {
            self.schedule(at, Event::Ack(ack));
        }
    }

    fn hear(&mut self, sender: &mut Sender, ack: &Ack) {
        if ack.to >= self.acknowledged {
            self.acknowledged = ack.to;
            self.edge = self.edge.max(ack.edge);
        }
        sender.acknowledged(ack, instant(self.now));
        assert_eq!(sender.acknowledged_to(), self.acknowledged);
    }

    /// Sends what the sender wants sent.
    fn pump(&mut self, sender: &mut Sender) {
        for _ in 0..20_000 {
            let before = sender.acknowledged_to();
            let Some(segment) = sender.next(self.setting.share, u32::MAX) else {
                self.check(sender);
                return;
            };
            let Segment { from, len } = segment;
            let to = from.wrapping_add(len.into());
            self.last_sent = self.now;
            if len == 0 {
                assert_eq!(from, before.wrapping_sub(1), "what the peer has");
                self.outcome.asked += 1;
                self.send(Segment { from, len }, false);
            } else {
                assert!(from >= before, "{from} was acknowledged");
                assert!(to <= self.outcome.offered, "{to} was not offered");
                assert!(to <= self.edge, "{to} is beyond the window");
                assert!(len <= self.setting.largest);
                let again = from < sender.sent_to();
                if again {
                    assert!(to <= sender.sent_to());
                    self.outcome.resent += u64::from(len);
                } else {
                    assert_eq!(from, sender.sent_to());
                }
                self.outcome.sent += u64::from(len);
                self.send(segment, again);
            }
            sender.sent(segment, instant(self.now));
        }
        panic!("it never stops sending: {sender:?}");
    }

    fn check(&self, sender: &Sender) {
        assert_eq!(
            sender.is_done(),
            self.acknowledged == self.outcome.offered,
            "{sender:?}"
        );
        if !sender.is_done() {
            let deadline = sender.deadline();
            assert!(
                deadline.is_some_and(|at| at >= instant(self.now)),
                "{deadline:?} at {}: {sender:?}",
                instant(self.now)
            );
        }
    }

    fn run(mut self) -> Outcome {
        let peer = Peer {
            segment: self.setting.peer.segment.max(self.setting.largest as u16),
            window: self.setting.peer.buffer as u32,
            selective: self.setting.peer.selective,
            round_trip: Some(Duration::from_micros(2 * self.setting.path.delay)),
        };
        let mut sender = Sender::new(&peer, self.setting.largest, instant(0));
        let mut receiver = Receiver::new(self.setting.peer);
        self.run_with(&mut sender, &mut receiver);
        assert_eq!(receiver.has(), self.outcome.offered);
        self.outcome
    }

    fn run_with(&mut self, sender: &mut Sender, receiver: &mut Receiver) {
        let mut offers = self.setting.offers.iter();
        self.schedule(self.now, Event::Offer(*offers.next().unwrap()));
        loop {
            let next = [
                self.events.first_key_value().map(|((at, _), _)| *at),
                receiver.deadline(),
                sender.deadline().map(nanos),
            ];
            let Some(at) = next.into_iter().flatten().min() else {
                panic!("it hangs: {sender:?}");
            };
            self.now = self.now.max(at);
            assert!(
                self.now <= self.setting.limit * 1_000_000,
                "it takes too long: {} of {}: {sender:?}",
                receiver.has(),
                self.outcome.offered,
            );
            let was_done = sender.is_done();
            let is_silent = receiver.has() < self.outcome.offered;
            if next[0] == Some(at) {
                match self.events.pop_first().unwrap().1 {
                    Event::Data(from, to) => {
                        if self.chance(self.reneges) {
                            receiver.renege();
                        }
                        let ack = receiver.on_segment(from, to, self.now);
                        self.answer(ack);
                        if receiver.has() < self.outcome.offered {
                            self.outcome.arrived = self.now / 1_000;
                        }
                    }
                    Event::Ack(ack) => self.hear(sender, &ack),
                    Event::Offer(len) => {
                        assert_eq!(sender.offer(len), self.outcome.offered);
                        self.outcome.offered += len;
                        self.last_sent = self.now;
                    }
                }
            } else if next[1] == Some(at) {
                let ack = receiver.on_timeout(self.now);
                self.answer(ack);
            } else {
                sender.timed_out(instant(self.now));
                let deadline = sender.deadline();
                assert!(
                    deadline.is_none_or(|at| at > instant(self.now)),
                    "its time never passes: {sender:?}"
                );
            }
            let silence = self.now - self.last_sent;
            if is_silent {
                self.outcome.silence = self.outcome.silence.max(silence / 1_000);
            }
            self.pump(sender);
            if sender.is_done() && !was_done {
                assert_eq!(receiver.has(), self.outcome.offered);
                match offers.next() {
                    Some(len) => {
                        let at = self.now + self.setting.pause * 1_000_000;
                        self.schedule(at, Event::Offer(*len));
                    }
                    None => break,
                }
            }
        }
        self.outcome.took = self.now / 1_000;
    }
}

fn run(setting: Setting, seed: u64) -> Outcome {
    World::new(setting, seed).run()
}

/// Runs with the packets lost that `strikes` says: by their order, first byte
/// and whether they were sent before.
fn run_losing(setting: Setting, strikes: impl FnMut(u64, u64, bool) -> bool + 'static) -> Outcome {
    let mut world = World::new(setting, 1);
    world.strikes = Some(Box::new(strikes));
    world.run()
}

/// Less silence than this, in microseconds, and no retransmission timeout passed.
const TIMEOUT: u64 = 199_000;

const SEGMENT: u64 = 1_460;

const SMALL_WINDOW: Manner = Manner {
    reports_doubles: false,
    buffer: 65_535,
    ..Manner::LINUX
};

const PEERS: [Manner; 3] = [Manner::LINUX, SMALL_WINDOW, Manner::UEFI];

#[test]
fn a_clean_path_resends_nothing() {
    for peer in PEERS {
        for largest in [1_460, LARGEST] {
            for delay in [0, 100, 5_000] {
                let setting = Setting {
                    path: Path {
                        delay,
                        ..Path::CLEAN
                    },
                    peer,
                    largest,
                    offers: &[1, 1_460, 5_000_000, 100_000, 1_461, 3_000_000],
                    ..Setting::PLAIN
                };
                let got = run(setting, 1);
                assert_eq!(got.resent, 0, "{setting:?}");
                assert!(got.silence < TIMEOUT, "{setting:?}: {got:?}");
            }
        }
    }
}

/// A chance of up to `most` in a thousand, often none.
fn some(random: &mut FakeEntropy, most: u64) -> u64 {
    match random.seed() % 3 {
        0 => 0,
        _ => random.seed() % (most + 1),
    }
}

fn pick<T: Copy>(random: &mut FakeEntropy, from: &[T]) -> T {
    from[random.seed() as usize % from.len()]
}

#[test]
fn every_transfer_comes_to_its_end() {
    let mut sum = (0, 0);
    for seed in 0..1_500 {
        let random = &mut FakeEntropy(seed);
        let path = Path {
            delay: pick(random, &[0, 20, 100, 2_000]),
            rate: pick(
                random,
                &[
                    None,
                    Some((100, 30)),
                    Some((1_000, 100)),
                    Some((10_000, 1_000)),
                ],
            ),
            lost: some(random, 100),
            acks_lost: some(random, 100),
            doubled: some(random, 50),
            late: some(random, 100),
            later: pick(random, &[10, 300, 10_000]),
            burst: pick(random, &[0, 0, 100, 20_000]),
        };
        let stalls: [&[(u64, u64)]; 3] = [&[], &[(100_000, 700)], &[(0, 5), (40_000, 3_000)]];
        let peer = Manner {
            segment: pick(random, &[536, 1_460]),
            selective: pick(random, &[true, true, false]),
            reports_doubles: pick(random, &[true, false]),
            buffer: pick(random, &[2_000, 16_384, 65_535, 1 << 20]),
            reads: pick(random, &[None, None, Some(20_000)]),
            stalls: pick(random, &stalls),
        };
        let setting = Setting {
            path,
            peer,
            largest: pick(random, &[1_460, 10_000, LARGEST]),
            share: pick(random, &[1_460, 30_000, 1 << 20]),
            offers: pick(
                random,
                &[&[300_000], &[1, 20_000, 4_000, 100_000], &[1_460; 20]],
            ),
            pause: pick(random, &[0, 1, 1_500]),
            limit: 200_000,
        };
        println!("seed {seed}: {setting:?}");
        let got = run(setting, !seed);
        println!("{got:?}");
        sum.0 += got.offered;
        sum.1 += got.sent;
    }
    println!("sent {} of {}", sum.1, sum.0);
    assert!(sum.1 < sum.0 * 3 / 2);
}

/// A megabyte in a path that nothing else goes wrong on.
const MEGABYTE: Setting = Setting {
    offers: &[1_000_000],
    ..Setting::PLAIN
};

#[test]
fn one_lost_segment_is_sent_again_alone() {
    for largest in [1_460, LARGEST] {
        for lost in [0, 5, 200, 683] {
            let setting = Setting {
                largest,
                ..MEGABYTE
            };
            let got = run_losing(setting, move |order, _, _| order == lost);
            assert_eq!(got.resent, SEGMENT, "{lost}: {got:?}");
            assert!(got.arrived < 10_000, "{lost}: {got:?}");
        }
    }
}

#[test]
fn a_lost_end_is_probed_for() {
    for peer in PEERS {
        for segments in [1, 2, 5, 30] {
            let setting = Setting { peer, ..MEGABYTE };
            let from = (685 - segments) * SEGMENT;
            let got = run_losing(setting, move |_, at, again| at >= from && !again);
            assert!(
                got.resent <= 2 * (segments + 1) * SEGMENT,
                "{segments}: {got:?}"
            );
            assert!(got.silence < 60_000, "{segments}: {got:?}");
            assert!(got.arrived < 180_000, "{segments}: {got:?}");
        }
    }
}

#[test]
fn a_lost_retransmission_is_found_while_other_data_arrives() {
    for times in [1, 2, 5] {
        let mut left = times + 1;
        let setting = Setting {
            peer: Manner {
                buffer: 8 << 20,
                ..Manner::LINUX
            },
            ..Setting::PLAIN
        };
        let got = run_losing(setting, move |_, at, _| {
            let is_lost = at == 100 * SEGMENT && left > 0;
            left -= u32::from(is_lost);
            is_lost
        });
        assert!(got.resent <= u64::from(times + 1) * SEGMENT, "{got:?}");
        assert!(got.silence < 2_000, "{times}: {got:?}");
    }
    // Behind the last of them nothing comes.
    for peer in PEERS {
        let mut left = 2;
        let setting = Setting { peer, ..MEGABYTE };
        let got = run_losing(setting, move |_, at, _| {
            let is_lost = at >= 684 * SEGMENT && left > 0;
            left -= u32::from(is_lost);
            is_lost
        });
        assert!(got.silence < TIMEOUT, "{got:?}");
    }
}

#[test]
fn what_overtakes_has_nothing_sent_again() {
    for (late, later) in [(10, 20), (100, 100), (300, 50)] {
        let path = Path {
            late,
            later,
            ..Path::CLEAN
        };
        let setting = Setting {
            path,
            ..Setting::PLAIN
        };
        for seed in 0..5 {
            let got = run(setting, seed);
            println!(
                "{late} by {later}: {:.0} Mbit/s, {:.4}",
                got.rate(),
                got.ratio()
            );
            assert!(got.ratio() < 1.1, "{late} by {later}: {got:?}");
            assert!(got.rate() > 1_000.0, "{late} by {later}: {got:?}");
        }
    }
}

#[test]
fn random_losses_cost_little() {
    for peer in PEERS {
        for rate in [
            None,
            Some((10_000, 1_000)),
            Some((1_000, 1_000)),
            Some((1_000, 100)),
        ] {
            for (lost, most, least) in [(0, 1.05, 700.0), (10, 1.2, 300.0), (50, 1.25, 100.0)] {
                let path = Path {
                    rate,
                    lost,
                    acks_lost: lost,
                    ..Path::CLEAN
                };
                let setting = Setting {
                    path,
                    peer,
                    ..Setting::PLAIN
                };
                let mut sum = Outcome::default();
                for seed in 0..3 {
                    let got = run(setting, seed);
                    sum.offered += got.offered;
                    sum.sent += got.sent;
                    sum.arrived += got.arrived;
                    sum.silence = sum.silence.max(got.silence);
                }
                println!(
                    "SACK {}, buffer {}, {rate:?}, lost {lost}: {:.0} Mbit/s, sent {:.3}, silence {}",
                    peer.selective,
                    peer.buffer,
                    sum.rate(),
                    sum.ratio(),
                    sum.silence
                );
                assert!(sum.ratio() < most, "{setting:?}: {sum:?}");
                assert!(sum.rate() > least, "{setting:?}: {sum:?}");
            }
        }
    }
}

#[test]
fn a_few_losses_leave_the_window_as_it_is() {
    let peer = Manner {
        buffer: 8 << 20,
        ..Manner::LINUX
    };
    for (lost, from, to) in [(10, 7_000.0, 10_000.0), (50, 1_000.0, 3_000.0)] {
        let path = Path {
            lost,
            acks_lost: lost,
            ..Path::CLEAN
        };
        let setting = Setting {
            path,
            peer,
            offers: &[50_000_000],
            ..Setting::PLAIN
        };
        for seed in 0..3 {
            let got = run(setting, seed);
            println!("{lost}: {:.0} Mbit/s, {:.4}", got.rate(), got.ratio());
            assert!((from..to).contains(&got.rate()), "{lost}: {got:?}");
        }
    }
}

#[test]
fn a_short_queue_is_kept_full() {
    for peer in [Manner::LINUX, Manner::UEFI] {
        for share in [100_000, 1 << 20] {
            let path = Path {
                rate: Some((1_000, 100)),
                ..Path::CLEAN
            };
            let setting = Setting {
                path,
                peer,
                share,
                offers: &[50_000_000],
                ..Setting::PLAIN
            };
            let got = run(setting, 1);
            println!("{share}: {:.0} Mbit/s, {:.4}", got.rate(), got.ratio());
            assert!(got.rate() > 850.0, "{got:?}");
            assert!(got.ratio() < 1.05, "{got:?}");
        }
    }
}

#[test]
fn a_long_path_is_filled_by_doubling() {
    let path = Path {
        delay: 10_000,
        ..Path::CLEAN
    };
    let peer = Manner {
        buffer: 8 << 20,
        ..Manner::LINUX
    };
    let setting = Setting {
        path,
        peer,
        ..Setting::PLAIN
    };
    let got = run(setting, 1);
    println!("{got:?}");
    // From ten segments to 4 MiB in nine round trips, which bring 7.5 MB.
    assert!(got.arrived < 14 * 20_000, "{got:?}");
}

/// A sender that has much to send, and a peer that has room for it.
fn eager(largest: u32) -> Sender {
    let peer = Peer {
        segment: largest as u16,
        window: 1 << 20,
        selective: true,
        round_trip: None,
    };
    let mut sender = Sender::new(&peer, largest, instant(0));
    sender.offer(100_000_000);
    sender
}

/// What may be under way: less than the peer has room for.
const SHARE: u32 = 300_000;

/// Sends all that may be sent, and returns how much that was.
fn send_all(sender: &mut Sender, now: u64) -> u64 {
    let mut sent = 0;
    while let Some(segment) = sender.next(SHARE, SHARE) {
        sender.sent(segment, instant(now));
        sent += u64::from(segment.len);
    }
    sent
}

fn acknowledge(sender: &mut Sender, to: u64, block: Option<(u64, u64)>, now: u64) {
    let ack = Ack {
        to,
        edge: to + (1 << 20),
        blocks: [block, None, None],
        is_bare: true,
    };
    sender.acknowledged(&ack, instant(now));
}

#[test]
fn acks_that_come_together_open_the_window_as_much() {
    let mut sender = eager(1_460);
    for (round, expected) in (1..).zip([10, 20, 40, 80]) {
        let (before, now) = (sender.sent_to(), round * 1_000_000);
        assert_eq!(send_all(&mut sender, now), expected * SEGMENT);
        let acks = before + 2 * SEGMENT..=sender.sent_to();
        for to in acks.step_by(2 * SEGMENT as usize) {
            acknowledge(&mut sender, to, None, now + 500_000);
        }
    }
}

#[test]
fn many_segments_lost_at_once_make_the_window_smaller() {
    for (lost, is_less) in [(1, false), (3, false), (4, true), (41, true)] {
        let mut sender = eager(LARGEST);
        let mut now = 0;
        // Without a loss for long, so that this one is less than 2 %.
        while sender.sent_to() < 20_000_000 {
            now += 1_000_000;
            send_all(&mut sender, now);
            let to = sender.sent_to();
            acknowledge(&mut sender, to, None, now + 500_000);
        }
        let window = send_all(&mut sender, now + 1_000_000);
        let (from, to) = (sender.acknowledged_to(), sender.sent_to());
        let rest = Some((from + lost * SEGMENT, to));
        acknowledge(&mut sender, from, rest, now + 1_500_000);
        let sent = send_all(&mut sender, now + 1_500_000);
        // All of it has arrived or is lost.
        assert_eq!(sent < window * 3 / 4, is_less, "{lost}: {sent} of {window}");
    }
}

#[test]
fn a_reader_that_stalled_goes_on_when_its_update_was_lost() {
    for peer in PEERS {
        for lost in [0, 1, 3] {
            let peer = Manner {
                buffer: 65_535,
                stalls: &[(200_000, 3_000)],
                ..peer
            };
            let setting = Setting { peer, ..MEGABYTE };
            let mut world = World::new(setting, 1);
            let (mut last, mut left) = (None, lost);
            world.lose_ack = Some(Box::new(move |ack| {
                let opens = last.is_some_and(|(to, edge)| ack.to == to && ack.edge > edge);
                last = Some((ack.to, ack.edge));
                let is_lost = opens && left > 0;
                left -= u32::from(is_lost);
                is_lost
            }));
            let got = world.run();
            println!("{lost}: {got:?}");
            assert!(got.asked > 0, "{got:?}");
            assert!(got.resent <= SEGMENT, "{got:?}");
            assert!(got.took < 6_000_000, "{got:?}");
        }
    }
}

#[test]
fn absurd_acknowledgements_do_no_harm() {
    for selective in [true, false] {
        let peer = Peer {
            segment: LARGEST as u16,
            window: 1 << 20,
            selective,
            round_trip: None,
        };
        let random = &mut FakeEntropy(selective.into());
        let mut sender = Sender::new(&peer, LARGEST, instant(0));
        let (mut now, mut offered, mut edge) = (0, 0, 1 << 20);
        for _ in 0..100_000 {
            now += random.seed() % 20_000_000;
            if sender.is_done() {
                let len = random.seed() % 5_000_000;
                sender.offer(len);
                offered += len;
            }
            if sender.deadline().is_some_and(|at| instant(now) >= at) {
                sender.timed_out(instant(now));
            }
            for _ in 0..random.seed() % 8 {
                let Some(segment) = sender.next(1 << 20, 1 << 20) else {
                    break;
                };
                let to = segment.from.wrapping_add(segment.len.into());
                if segment.len > 0 {
                    assert!(segment.from >= sender.acknowledged_to());
                    assert!(to <= offered.min(edge), "{segment:?} of {offered}");
                }
                sender.sent(segment, instant(now));
            }
            let (start, end) = (sender.acknowledged_to(), sender.sent_to());
            let mut place = || match random.seed() % 8 {
                0 => random.seed(),
                1 => start.saturating_sub(random.seed() % 100_000),
                2 => end + random.seed() % 100_000,
                3 => start,
                4 => end,
                _ => start + random.seed() % (end - start + 1),
            };
            let mut blocks = [(); 3].map(|()| Some((place(), place())));
            let to = place();
            if random.seed().is_multiple_of(4) {
                blocks[random.seed() as usize % 3] = None;
            }
            let window = random.seed() % 2_000_000;
            let ack = Ack {
                to,
                edge: to.saturating_add(window),
                blocks,
                is_bare: random.seed().is_multiple_of(2),
            };
            sender.acknowledged(&ack, instant(now));
            let expected = if to <= end { to.max(start) } else { start };
            assert_eq!(sender.acknowledged_to(), expected);
            assert_eq!(sender.sent_to(), end);
            edge = edge.max(if to <= end { ack.edge } else { 0 });
            assert_eq!(sender.is_done(), expected == offered);
            let goes_on = sender.deadline().is_some() || sender.next(1 << 20, 1 << 20).is_some();
            assert!(sender.is_done() || goes_on);
        }
    }
}

#[test]
fn only_who_has_no_room_is_asked_for_it() {
    for (window, expected) in [(1000, 1000), (0, 0)] {
        let peer = Peer {
            segment: 1000,
            window,
            selective: true,
            round_trip: None,
        };
        let mut sender = Sender::new(&peer, LARGEST, instant(0));
        sender.offer(5000);
        // The caller sends nothing yet: it is the others' turn.
        assert_eq!(sender.deadline().is_some(), window == 0);
        sender.timed_out(instant(10_000_000_000));
        let len = sender.next(1 << 20, 1 << 20).unwrap().len;
        assert_eq!(len, expected);
    }
}

#[test]
fn what_a_peer_threw_away_is_sent_again() {
    for seed in 0..200 {
        let path = Path {
            lost: 50,
            ..Path::CLEAN
        };
        let setting = Setting { path, ..MEGABYTE };
        let mut world = World::new(setting, seed);
        world.reneges = 5;
        let got = world.run();
        // All that it held is sent again each time, after a timeout.
        assert!(got.ratio() < 10.0, "{got:?}");
        assert!(got.took < 5_000_000, "{got:?}");
    }
}
