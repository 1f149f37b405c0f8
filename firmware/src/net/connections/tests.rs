//! One connection as stack, server and peer see it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::Wake;

use embassy_time::Duration;

use super::*;

const OWN: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 8080);
const MTU: usize = 1500;

/// A peer by the last part of its address.
fn peer(number: u8) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, number), 40_000)
}

/// A packet with a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Packet<'a> {
    from: SocketAddrV4,
    to: SocketAddrV4,
    control: TcpControl,
    sequence: i32,
    ack: Option<i32>,
    window: u16,
    scale: Option<u8>,
    payload: &'a [u8],
}

impl<'a> Packet<'a> {
    fn from_peer(number: u8, control: TcpControl, sequence: i32, ack: i32) -> Self {
        Self {
            from: peer(number),
            to: OWN,
            control,
            sequence,
            ack: (control != TcpControl::Syn).then_some(ack),
            window: 1000,
            scale: (control == TcpControl::Syn).then_some(3),
            payload: &[],
        }
    }

    fn from_stack(number: u8, control: TcpControl, sequence: i32, ack: i32) -> Self {
        Self {
            from: OWN,
            to: peer(number),
            ack: Some(ack),
            window: 4096,
            scale: None,
            ..Self::from_peer(number, control, sequence, ack)
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let (src, dst) = (*self.from.ip(), *self.to.ip());
        let tcp = TcpRepr {
            src_port: self.from.port(),
            dst_port: self.to.port(),
            control: self.control,
            seq_number: TcpSeqNumber(self.sequence),
            ack_number: self.ack.map(TcpSeqNumber),
            window_len: self.window,
            window_scale: self.scale,
            max_seg_size: self.scale.map(|_| 1460),
            sack_permitted: self.control == TcpControl::Syn,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: self.payload,
        };
        let ipv4 = Ipv4Repr {
            src_addr: src,
            dst_addr: dst,
            next_header: IpProtocol::Tcp,
            payload_len: tcp.buffer_len(),
            hop_limit: 64,
        };
        let mut packet = vec![0; 20 + tcp.buffer_len()];
        let checksums = ChecksumCapabilities::default();
        ipv4.emit(&mut Ipv4Packet::new_unchecked(&mut packet), &checksums);
        tcp.emit(
            &mut TcpPacket::new_unchecked(&mut packet[20..]),
            &src.into(),
            &dst.into(),
            &checksums,
        );
        packet
    }
}

/// Reads a packet, and says by that that its checksums are right: control,
/// sequence number, acknowledgement and payload.
fn read(packet: &[u8]) -> (TcpControl, i32, Option<i32>, Vec<u8>) {
    let header = Header::read(packet, &ChecksumCapabilities::default()).unwrap();
    let payload = packet[packet.len() - header.len..].to_vec();
    let ack = header.ack.map(|ack| ack.0);
    (header.control, header.sequence.0, ack, payload)
}

#[derive(Default)]
struct Bell(AtomicU32);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Bell {
    /// How often it rang since this was asked last.
    fn rang(&self) -> u32 {
        self.0.swap(0, Ordering::Relaxed)
    }
}

/// A wire that takes `room` packets.
struct Desk {
    connections: &'static Connections,
    room: Cell<usize>,
    sent: RefCell<Vec<Vec<u8>>>,
}

impl Wire for Desk {
    fn connections(&self) -> &Connections {
        self.connections
    }

    fn mtu(&self) -> usize {
        MTU
    }

    fn has_room(&self) -> bool {
        self.room.get() > 0
    }

    fn send(&self, len: usize, fill: &mut dyn FnMut(&mut [u8], &ChecksumCapabilities)) {
        let mut packet = vec![0; len];
        fill(&mut packet, &ChecksumCapabilities::default());
        self.room.set(self.room.get() - 1);
        self.sent.borrow_mut().push(packet);
    }
}

impl Desk {
    fn new() -> Self {
        Self::with_places::<4>()
    }

    fn with_places<const N: usize>() -> Self {
        let connections: &Connections<[Slot; N]> = Box::leak(Box::default());
        Self {
            connections,
            room: Cell::new(usize::MAX),
            sent: RefCell::default(),
        }
    }

    /// What comes of a packet that comes in: what the stack gets of it.
    fn hear(&self, packet: Packet<'_>) -> Option<(TcpControl, i32, Option<i32>, Vec<u8>)> {
        let mut bytes = packet.bytes();
        self.connections.hear(&mut bytes).then(|| read(&bytes))
    }

    /// What the peer gets of a packet of the stack.
    fn leave(&self, packet: Packet<'_>) -> (TcpControl, i32, Option<i32>, Vec<u8>) {
        let mut bytes = packet.bytes();
        self.connections.leave(&mut bytes);
        read(&bytes)
    }

    /// A handshake: the peer's first byte is 1001, ours 5001.
    fn greet(&self, number: u8) {
        use TcpControl::{None, Syn};
        let syn = Packet::from_peer(number, Syn, 1000, 0);
        assert_eq!(self.hear(syn), Some((Syn, 1000, Option::None, vec![])));
        let answer = Packet {
            scale: Some(0),
            ..Packet::from_stack(number, Syn, 5000, 1001)
        };
        assert_eq!(self.leave(answer), (Syn, 5000, Some(1001), vec![]));
        let ack = Packet::from_peer(number, None, 1001, 5001);
        assert_eq!(self.hear(ack), Some((None, 1001, Some(5001), vec![])));
    }

    fn open(&self, number: u8) -> Option<Outgoing<'static>> {
        self.connections.open(peer(number), OWN, MTU)
    }

    /// Lets a connection send of the numbers from 0 on, and returns what it
    /// has sent: sequence numbers and payloads.
    fn go_on(&self, out: &Outgoing<'_>, bell: &Arc<Bell>) -> Vec<(i32, Vec<u8>)> {
        let waker = bell.clone().into();
        let mut cx = Context::from_waker(&waker);
        out.go_on(self, &mut cx, |_, place, room| {
            for (at, byte) in (place..).zip(room.iter_mut()) {
                *byte = at as u8;
            }
            Poll::Ready(Ok::<_, ()>(room.len()))
        })
        .unwrap();
        let sent = self.sent.take();
        let parts = sent.iter().map(|packet| read(packet));
        parts
            .map(|(_, sequence, _, payload)| (sequence, payload))
            .collect()
    }
}

#[test]
fn stack_and_sender_are_one_to_the_peer() {
    use TcpControl::{Fin, None, Psh, Rst};
    let (desk, bell) = (Desk::new(), Arc::new(Bell::default()));
    desk.greet(7);
    let out = desk.open(7).unwrap();
    // A request goes to the stack; its ACK says nothing new.
    let request = Packet {
        payload: b"GET",
        ..Packet::from_peer(7, Psh, 1001, 5001)
    };
    assert_eq!(
        desk.hear(request),
        Some((Psh, 1001, Some(5001), b"GET".to_vec()))
    );
    out.read(3);
    assert_eq!(out.offer(10), 0);
    assert_eq!(desk.go_on(&out, &bell), [(5001, (0..10).collect())]);
    // The stack acknowledges late; for the peer, that comes after the data.
    let late = Packet::from_stack(7, None, 5001, 1004);
    assert_eq!(desk.leave(late), (None, 5011, Some(1004), vec![]));

    bell.rang();
    assert!(!out.is_done());
    assert_eq!(
        desk.hear(Packet::from_peer(7, None, 1004, 5011)),
        Option::None
    );
    assert!(out.is_done() && bell.rang() == 1);
    // Is anybody there?
    let probe = Packet::from_peer(7, None, 1003, 5011);
    assert_eq!(desk.hear(probe), Some((None, 1003, Some(5001), vec![])));

    // A second answer, and the end of the connection.
    assert_eq!(out.offer(2), 10);
    assert_eq!(desk.go_on(&out, &bell), [(5011, vec![10, 11])]);
    let next = Packet {
        payload: b"PUT",
        ..Packet::from_peer(7, Psh, 1004, 5013)
    };
    assert_eq!(
        desk.hear(next),
        Some((Psh, 1004, Some(5001), b"PUT".to_vec()))
    );
    assert!(out.is_done());
    let fin = Packet::from_stack(7, Fin, 5001, 1007);
    assert_eq!(desk.leave(fin), (Fin, 5013, Some(1007), vec![]));
    let last = Packet::from_peer(7, Fin, 1007, 5014);
    assert_eq!(desk.hear(last), Some((Fin, 1007, Some(5002), vec![])));
    let reset = Packet::from_stack(7, Rst, 5002, 1008);
    assert_eq!(desk.leave(reset), (Rst, 5014, Some(1008), vec![]));
    // Nothing is shifted once it is closed.
    drop(out);
    assert_eq!(desk.leave(fin), (Fin, 5001, Some(1007), vec![]));
}

#[test]
fn what_is_sent_carries_the_acknowledgement_of_what_was_read() {
    let (desk, bell) = (Desk::new(), Arc::new(Bell::default()));
    desk.greet(7);
    let out = desk.open(7).unwrap();
    out.read(100);
    out.offer(1);
    desk.go_on(&out, &bell);
    out.offer(1);
    desk.leave(Packet::from_stack(7, TcpControl::None, 5001, 1401));
    let waker = bell.into();
    let mut cx = Context::from_waker(&waker);
    let fill = |_: &mut Context<'_>, _, _: &mut [u8]| Poll::Ready(Ok::<_, ()>(1));
    out.go_on(&desk, &mut cx, fill).unwrap();
    let sent = desk.sent.take();
    assert_eq!(read(&sent[0]).2, Some(1401));
}

#[test]
fn a_file_that_makes_wait_or_fails_sends_nothing() {
    let (desk, bell) = (Desk::new(), Arc::new(Bell::default()));
    desk.greet(7);
    let out = desk.open(7).unwrap();
    out.offer(5000);
    let waker = bell.clone().into();
    let mut cx = Context::from_waker(&waker);
    let mut go_on =
        |read: Poll<Result<usize, &'static str>>| out.go_on(&desk, &mut cx, |_, _, _| read);
    assert_eq!(go_on(Poll::Pending), Ok(()));
    assert_eq!(go_on(Poll::Ready(Err("gone"))), Err("gone"));
    assert!(desk.sent.take().is_empty());
    // Fewer bytes than there is room for are a shorter segment.
    let mut times = 0;
    let short = out.go_on(&desk, &mut cx, |_, place, _| {
        times += 1;
        assert_eq!(place, (times - 1) * 7);
        if times == 3 {
            Poll::Pending
        } else {
            Poll::Ready(Ok::<_, ()>(7))
        }
    });
    assert_eq!(short, Ok(()));
    let sent = desk.sent.take();
    let ends: Vec<_> = sent.iter().map(|packet| read(packet)).collect();
    assert_eq!(ends.len(), 2);
    assert!(ends.iter().all(|(_, _, _, payload)| payload.len() == 7));
}

#[test]
fn those_that_wait_for_the_nic_go_on_in_turn() {
    let desk = Desk::new();
    let bells: Vec<_> = (0..3).map(|_| Arc::new(Bell::default())).collect();
    let outs: Vec<_> = (1..4)
        .map(|number| {
            desk.greet(number);
            let out = desk.open(number).unwrap();
            out.offer(100);
            out
        })
        .collect();
    desk.room.set(0);
    assert!(!desk.connections.has_waiting());
    for _ in 0..2 {
        for (out, bell) in outs.iter().zip(&bells) {
            assert_eq!(desk.go_on(out, bell), []);
        }
    }
    let rang = || bells.iter().map(|bell| bell.rang()).collect::<Vec<_>>();
    desk.connections.wake_waiting(2);
    assert_eq!(rang(), [1, 1, 0]);
    assert!(desk.connections.has_waiting());
    // The first one takes the only place; the second waits behind the third.
    desk.room.set(1);
    assert_eq!(desk.go_on(&outs[0], &bells[0]).len(), 1);
    assert_eq!(desk.go_on(&outs[1], &bells[1]), []);
    desk.connections.wake_waiting(1);
    assert_eq!(rang(), [0, 0, 1]);
    desk.connections.wake_waiting(9);
    assert_eq!(rang(), [0, 1, 0]);
    assert!(!desk.connections.has_waiting());
}

/// Three peers more than can have a turn at once, to each of which there is much
/// to send.
struct Crowd {
    desk: Desk,
    bells: Vec<Arc<Bell>>,
    outs: Vec<Option<Outgoing<'static>>>,
}

impl Crowd {
    /// Those that can, by order.
    const TURNS: usize = AT_ONCE as usize;
    const SIZE: usize = Self::TURNS + 3;

    fn gather() -> Self {
        let desk = Desk::with_places::<{ Self::SIZE }>();
        let outs = (1..=Self::SIZE as u8).map(|number| {
            desk.greet(number);
            let out = desk.open(number).unwrap();
            out.offer(1 << 30);
            Some(out)
        });
        Self {
            outs: outs.collect(),
            bells: (0..Self::SIZE).map(|_| Arc::default()).collect(),
            desk,
        }
    }

    /// Lets one go on whose peer has acknowledged all before; how many bytes it
    /// sent.
    fn go_on(&self, which: usize) -> usize {
        let out = self.outs[which].as_ref().unwrap();
        let to = 5001 + out.sent_to() as i32;
        let ack = Packet::from_peer(which as u8 + 1, TcpControl::None, 1001, to);
        assert_eq!(self.desk.hear(ack), None);
        let sent = self.desk.go_on(out, &self.bells[which]);
        sent.iter().map(|(_, payload)| payload.len()).sum()
    }

    /// Lets one go on for as long as it may, but not for ever.
    fn exhaust(&self, which: usize) -> usize {
        let mut sum = 0;
        while sum < 8 << 20 {
            match self.go_on(which) {
                0 => break,
                sent => sum += sent,
            }
        }
        self.bells[which].rang();
        sum
    }

    /// Who was woken since this was asked last.
    fn woken(&self) -> Vec<usize> {
        let all = self.bells.iter().enumerate();
        all.filter(|(_, bell)| bell.rang() > 0)
            .map(|(which, _)| which)
            .collect()
    }
}

#[test]
fn where_many_have_something_to_send_they_take_turns() {
    let mut crowd = Crowd::gather();
    let next = Crowd::TURNS;
    let sent: Vec<_> = (0..Crowd::SIZE).map(|which| crowd.go_on(which)).collect();
    let (first, late) = sent.split_at(next);
    assert!(first.iter().all(|sent| *sent > 0), "{sent:?}");
    assert_eq!(late, [0; 3]);
    crowd.woken();
    // Each turn that is used up is the next one's, in the order they came.
    for (over, begins) in [(0, next), (1, next + 1), (2, next + 2), (3, 0), (next, 1)] {
        let sent = first.get(over).unwrap_or(&0) + crowd.exhaust(over);
        assert!((1 << 20..(1 << 20) + MTU).contains(&sent), "{sent}");
        assert_eq!(crowd.woken(), [begins]);
        assert_eq!(crowd.exhaust(over), 0);
    }
    // Nobody's turn is lost with a connection, nor is it one's that has gone.
    for gone in [2, 0] {
        crowd.outs[gone] = None;
    }
    crowd.outs[4].as_ref().unwrap().end();
    assert_eq!(crowd.woken(), [3, next]);
    assert!(crowd.desk.connections.queue.is_empty());
    crowd.outs.clear();
    assert_eq!(crowd.desk.connections.turns.get(), 0);
}

#[test]
fn a_turn_is_not_over_while_nobody_else_wants_it() {
    let mut crowd = Crowd::gather();
    assert_eq!(crowd.exhaust(0) >> 20, 8);
    crowd.outs[0] = None;
    let late = Crowd::TURNS + 1;
    for which in 1..late {
        assert!(crowd.go_on(which) > 0);
    }
    let connections = crowd.desk.connections;
    let slot = crowd.outs[1].as_ref().unwrap().slot;
    let end = slot.turn.get().end().unwrap();
    connections.review_turn(slot, end);
    let until = slot.turn.get().end().unwrap();
    assert!(until > end);
    // Time passes for those, too, that send nothing.
    assert_eq!(crowd.go_on(late), 0);
    crowd.woken();
    connections.review_turn(slot, until - Duration::from_ticks(1));
    assert_eq!(crowd.woken(), []);
    // That the NIC has no room is not the peer's fault.
    crowd.desk.room.set(0);
    assert_eq!(crowd.go_on(1), 0);
    crowd.woken();
    connections.review_turn(slot, until);
    assert_eq!(crowd.woken(), []);
    crowd.desk.room.set(usize::MAX);
    connections.wake_waiting(1);
    connections.review_turn(slot, slot.turn.get().end().unwrap());
    assert_eq!(crowd.woken(), [1, late]);
    assert!(crowd.go_on(late) > 0);
}

#[test]
fn who_stands_in_line_keeps_the_place() {
    let crowd = Crowd::gather();
    for which in 0..Crowd::SIZE {
        crowd.go_on(which);
    }
    let late = Crowd::TURNS;
    let shut = Packet {
        window: 0,
        ..Packet::from_peer(late as u8 + 1, TcpControl::None, 1001, 5001)
    };
    crowd.desk.hear(shut);
    let out = crowd.outs[late].as_ref().unwrap();
    assert_eq!(crowd.desk.go_on(out, &crowd.bells[late]), []);
    crowd.woken();
    crowd.exhaust(0);
    assert_eq!(crowd.woken(), [late]);
}

#[test]
fn who_has_sent_everything_has_no_turn() {
    let desk = Desk::new();
    let bell = Arc::default();
    desk.greet(7);
    let out = desk.open(7).unwrap();
    for _ in 0..3 {
        out.offer(100);
        assert_eq!(desk.go_on(&out, &bell).len(), 1);
        assert_eq!(desk.connections.turns.get(), 0);
    }
    out.offer(100_000);
    desk.go_on(&out, &bell);
    assert_eq!(desk.connections.turns.get(), 1);
}

#[test]
fn places_are_used_again_whatever_the_order_they_are_left_in() {
    let desk = Desk::new();
    let mut open = Vec::new();
    for round in 0..100u8 {
        let number = round + 1;
        desk.greet(number);
        if open.len() == 4 {
            assert!(desk.open(number).is_none());
            let (left, out): (u8, Outgoing<'_>) = open.remove(usize::from(round) * 7 % 4);
            drop(out);
            // Who left is not known any more, and the others still are.
            assert!(
                desk.hear(Packet::from_peer(left, TcpControl::None, 1001, 5001))
                    .is_some()
            );
        }
        open.push((number, desk.open(number).unwrap()));
        for (number, _) in &open {
            let ack = Packet::from_peer(*number, TcpControl::None, 1001, 5001);
            assert_eq!(desk.hear(ack), None, "{number} in round {round}");
        }
    }
}

#[test]
fn a_connection_that_nobody_saw_begin_is_not_taken_over() {
    let desk = Desk::new();
    assert!(desk.open(7).is_none());
    // Nor one that the stack has not answered.
    desk.hear(Packet::from_peer(7, TcpControl::Syn, 1000, 0));
    assert!(desk.open(7).is_none());
}

#[test]
fn a_syn_that_comes_twice_changes_nothing() {
    let desk = Desk::new();
    desk.greet(7);
    desk.hear(Packet::from_peer(7, TcpControl::Syn, 1000, 0));
    let out = desk.open(7).unwrap();
    desk.hear(Packet::from_peer(7, TcpControl::Syn, 1000, 0));
    out.offer(1);
    let sent = desk.go_on(&out, &Arc::new(Bell::default()));
    assert_eq!(sent, [(5001, vec![0])]);
    // Another one is the peer's after a restart.
    drop(out);
    desk.hear(Packet::from_peer(7, TcpControl::Syn, 9000, 0));
    assert!(desk.open(7).is_none());
}

#[test]
fn damaged_packets_say_nothing() {
    let desk = Desk::new();
    desk.greet(7);
    let out = desk.open(7).unwrap();
    let bell = Arc::new(Bell::default());
    out.offer(10);
    desk.go_on(&out, &bell);
    let good = Packet::from_peer(7, TcpControl::None, 1001, 5011).bytes();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x10;
        let _ = desk.connections.hear(&mut bad);
        let mut short = good[..at].to_vec();
        let _ = desk.connections.hear(&mut short);
        desk.connections.leave(&mut short);
    }
    assert!(!out.is_done());
}
