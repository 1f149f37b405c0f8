//! Segments of transfers that many clients have under way at once: an ACK in,
//! what to send next out.

use std::collections::{BTreeMap, VecDeque};

use embassy_time::{Duration, Instant};
use ichor::tcp::{Ack, Peer, Segment, Sender};

use super::Turn;

const CLIENTS: usize = 64;
const SEGMENT: u16 = 1460;
/// What each may have under way.
const SHARE: u32 = 32 * SEGMENT as u32;
/// More than anybody waits for to be transferred.
const LEN: u64 = 1 << 50;
const PEER: Peer = Peer {
    segment: SEGMENT,
    window: 1 << 20,
    selective: true,
    round_trip: Some(Duration::from_micros(100)),
};

/// One client's ACK for two segments, and the next two.
pub(super) fn ack() -> Turn {
    let mut clock = 1_000_000;
    let mut clients: Vec<Sender> = (0..CLIENTS)
        .map(|_| Sender::new(&PEER, SEGMENT.into(), Instant::from_micros(clock)))
        .collect();
    for sender in &mut clients {
        sender.offer(LEN);
        // Until the window is as large as it gets.
        while sender.sent_to() - sender.acknowledged_to() < SHARE.into() {
            clock += 100;
            turn(sender, clock);
        }
    }
    let mut next = 0;
    Box::new(move || {
        let sender = &mut clients[next];
        next = (next + 1) % CLIENTS;
        clock += 100;
        assert_eq!(turn(sender, clock), 2 * u32::from(SEGMENT));
    })
}

/// Acknowledges two segments, sends what may be sent, and returns how much that
/// was.
fn turn(sender: &mut Sender, clock: u64) -> u32 {
    let to = sender.acknowledged_to() + 2 * u64::from(SEGMENT);
    let ack = ack_to(to.min(sender.sent_to()), [None; 3]);
    answer(sender, &ack, SHARE, clock, |_| ())
}

fn ack_to(to: u64, blocks: [Option<(u64, u64)>; 3]) -> Ack {
    Ack {
        to,
        edge: to + u64::from(PEER.window),
        blocks,
        is_bare: true,
    }
}

/// Hands over an ACK, sends what may be sent then, and returns how much that was.
fn answer(
    sender: &mut Sender,
    ack: &Ack,
    share: u32,
    clock: u64,
    mut send: impl FnMut(Segment),
) -> u32 {
    let now = Instant::from_micros(clock);
    sender.acknowledged(ack, now);
    let mut sent = 0;
    while let Some(segment) = sender.next(share, share) {
        sent += segment.len;
        sender.sent(segment, now);
        send(segment);
    }
    sent
}

/// The largest segment that a NIC cuts up, and the share of one stream alone.
const LARGEST: u32 = 60 * 1024;
const LARGE_SHARE: u32 = 8 * LARGEST;
/// One in so many frames is lost.
const LOST: u64 = 97;

/// A frame of one stream that loses some arrives, is acknowledged as Linux does,
/// and what may be sent is.
pub(super) fn lossy_ack() -> Turn {
    let mut clock = 1_000_000;
    let mut sender = Sender::new(&PEER, LARGEST, Instant::from_micros(clock));
    sender.offer(LEN);
    let mut wire = Wire::default();
    answer(
        &mut sender,
        &ack_to(0, [None; 3]),
        LARGE_SHARE,
        clock,
        |it| {
            wire.carry(it);
        },
    );
    let mut turn = move || {
        clock += 10;
        let Some(ack) = wire.arrive() else {
            // All that was under way is lost.
            clock += 1_000_000;
            sender.timed_out(Instant::from_micros(clock));
            return;
        };
        let before = sender.acknowledged_to();
        answer(&mut sender, &ack, LARGE_SHARE, clock, |it| wire.carry(it));
        assert!(sender.acknowledged_to() >= before);
    };
    for _ in 0..10_000 {
        turn();
    }
    Box::new(turn)
}

/// Frames on their way, and what has arrived.
#[derive(Debug, Default)]
struct Wire {
    frames: VecDeque<(u64, u64)>,
    sent: u64,
    /// Everything before has arrived, and behind it these: from here to there.
    next: u64,
    held: BTreeMap<u64, u64>,
    /// Where the blocks in `held` begin, the latest first.
    latest: Vec<u64>,
}

impl Wire {
    fn carry(&mut self, segment: Segment) {
        let end = segment.from + u64::from(segment.len);
        let mut from = segment.from;
        while from < end {
            let to = end.min(from + u64::from(SEGMENT));
            self.sent += 1;
            if !self.sent.is_multiple_of(LOST) {
                self.frames.push_back((from, to));
            }
            from = to;
        }
    }

    /// The next frame arrives, if there is one, and is acknowledged.
    fn arrive(&mut self) -> Option<Ack> {
        let (mut from, mut to) = self.frames.pop_front()?;
        if let Some((&start, &end)) = self.held.range(..=from).next_back()
            && end >= from
        {
            (from, to) = (start, to.max(end));
        }
        if let Some(&end) = self.held.get(&to) {
            self.held.remove(&to);
            to = end;
        }
        self.latest.retain(|at| !(from..=to).contains(at));
        if from <= self.next {
            self.next = self.next.max(to);
            self.held.remove(&from);
        } else {
            self.held.insert(from, to);
            self.latest.insert(0, from);
        }
        let block = |index: usize| {
            let from = *self.latest.get(index)?;
            Some((from, *self.held.get(&from)?))
        };
        Some(ack_to(self.next, [block(0), block(1), block(2)]))
    }
}
