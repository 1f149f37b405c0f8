//! Segments of transfers that many clients have under way at once: an ACK in,
//! what to send next out.

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
    let now = Instant::from_micros(clock);
    let to = sender.acknowledged_to() + 2 * u64::from(SEGMENT);
    let to = to.min(sender.sent_to());
    let ack = Ack {
        to,
        edge: to + u64::from(PEER.window),
        blocks: [None; 3],
        is_bare: true,
    };
    sender.acknowledged(&ack, now);
    let mut sent = 0;
    while let Some(segment) = sender.next(SHARE, SHARE) {
        let Segment { len, .. } = segment;
        sent += len;
        sender.sent(segment, now);
    }
    sent
}
