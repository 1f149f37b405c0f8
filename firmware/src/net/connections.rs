//! The TCP connections whose data the servers send themselves.
//!
//! smoltcp opens a connection, receives on it and closes it, and is never asked
//! to send data on it: a [`Sender`] does that in its place. For the peer both
//! are one, as in TCP splicing: every byte that the sender sends shifts the
//! sequence numbers of what smoltcp says from then on, and the acknowledgements
//! that it hears are shifted back. An ACK that says nothing but what the sender
//! wants to know does not reach smoltcp at all.
//!
//! The mux shows this module every TCP packet, on its way [in](Connections::hear)
//! and [out](Connections::leave).

mod header;
mod line;
#[cfg(test)]
mod tests;
mod turns;

use core::cell::{Cell, RefCell};
use core::net::{Ipv4Addr, SocketAddrV4};
use core::task::{Context, Poll};

use embassy_sync::waitqueue::WakerRegistration;
use embassy_time::Instant;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};

use self::header::{ACKNOWLEDGEMENT, Header, SEQUENCE, later, put_number};
use self::line::{Line, Place};
use self::turns::{AT_ONCE, Turn};
use super::recent::{Entry, Recent, spread};
use crate::tcp::{Ack, Peer, Segment, Sender};

/// Connections that are being opened, of which no server knows yet.
const NEWCOMERS: usize = 2048;

/// Bytes of the largest segments there are.
pub const LARGEST_SEGMENT: usize = 60 * 1024;

/// Bytes that may be under way on all connections together, and the least and
/// most on one of them where the path holds less: much under way is soon more
/// than a processor's cache, and one connection alone is the faster the more it
/// has under way, up to here. A whole number of the largest segments fits.
///
/// Where more connections are open than that is enough for, they take [`turns`].
const SHARED_WINDOW: u32 = 8 << 20;
const SHARE: (u32, u32) = (2 * LARGEST_SEGMENT as u32, 8 * LARGEST_SEGMENT as u32);

/// What a peer takes that does not say how much, in bytes (RFC 9293 §3.7.1).
const DEFAULT_SEGMENT: u16 = 536;

/// IPv4 and TCP headers without options.
const HEADERS: usize = 20 + 20;

/// What sends packets.
pub trait Wire {
    /// The connections that it shows its packets.
    fn connections(&self) -> &Connections;

    /// The longest packet that it takes, in bytes.
    fn mtu(&self) -> usize;

    /// Whether it would take a packet. If not, it
    /// [says](Connections::wake_waiting) when it does.
    fn has_room(&self) -> bool;

    /// Sends a packet of `len` bytes, which `fill` writes with the checksums
    /// that it is told to compute. Lost if there is no room.
    fn send(&self, len: usize, fill: &mut dyn FnMut(&mut [u8], &ChecksumCapabilities));
}

/// The connections, with places for as many as `S` has [`Slot`]s.
pub struct Connections<S: ?Sized = [Slot]> {
    newcomers: Recent<Newcomer, NEWCOMERS>,
    /// How many are open.
    open: Cell<u16>,
    /// How many slots were ever in use, and the first of those that are no
    /// more. Slots are counted from 1; 0 is none.
    touched: Cell<u16>,
    free: Cell<u16>,
    /// Those that wait for the NIC.
    waiting: Line,
    /// Those that wait for their turn, and how many have it.
    queue: Line,
    turns: Cell<u16>,
    /// A segment's bytes on their way from a file to the NIC.
    piece: RefCell<[u8; LARGEST_SEGMENT]>,
    slots: S,
}

/// The place of a connection.
///
/// All bits of an empty one are zero, so that a table of them takes no room in
/// a board's image.
pub struct Slot {
    key: Cell<Key>,
    /// The first connection whose hash is this slot's number, and the one after
    /// this slot's own connection, or the next free slot.
    first: Cell<u16>,
    next: Cell<u16>,
    /// Its places among those that wait for the NIC, and for their turn.
    waits: Place,
    queues: Place,
    turn: Cell<Turn>,
    server: RefCell<WakerRegistration>,
    state: RefCell<State>,
}

/// The ends of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Key {
    peer: SocketAddrV4,
    own: SocketAddrV4,
}

/// What is kept of an open connection.
struct State {
    sender: Sender,
    /// The sequence number of the first byte that is sent.
    first: TcpSeqNumber,
    /// The peer's next sequence number as the stack said last, and as far as
    /// the server has read.
    expected: TcpSeqNumber,
    read: TcpSeqNumber,
    /// The window field that the stack wrote last.
    window: u16,
    /// How far the peer's window fields are to be shifted left (RFC 7323 §2).
    scale: u8,
}

/// A connection that is being opened.
#[derive(Debug, Clone, Copy)]
struct Newcomer {
    own: SocketAddrV4,
    /// The sequence number of the peer's SYN.
    sequence: TcpSeqNumber,
    /// When the peer's SYN came, until the round trip is known.
    asked: Option<Instant>,
    peer: Peer,
    scale: u8,
    /// What the stack answered: the sequence number of our first byte, of the
    /// peer's, and the window field. `None` before it has.
    answer: Option<(TcpSeqNumber, TcpSeqNumber, u16)>,
}

const NOWHERE: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0);

impl Entry for Newcomer {
    // All zero bits.
    const NOBODY: Self = Self {
        own: NOWHERE,
        sequence: TcpSeqNumber(0),
        asked: None,
        peer: Peer {
            segment: 0,
            window: 0,
            selective: false,
            round_trip: None,
        },
        scale: 0,
        answer: None,
    };
}

impl Key {
    const NONE: Self = Self {
        peer: NOWHERE,
        own: NOWHERE,
    };

    /// Where a newcomer is among them; 0 for none.
    fn number(&self) -> u64 {
        u64::from(self.peer.ip().to_bits()) << 16 | u64::from(self.peer.port())
    }

    fn hash(&self) -> usize {
        let ports = u32::from(self.peer.port()).rotate_left(16) ^ u32::from(self.own.port());
        spread(self.peer.ip().to_bits() ^ ports) as usize
    }
}

impl Slot {
    /// An empty one.
    pub const fn new() -> Self {
        Self {
            key: Cell::new(Key::NONE),
            first: Cell::new(0),
            next: Cell::new(0),
            waits: Place::none(),
            queues: Place::none(),
            turn: Cell::new(Turn::None),
            server: RefCell::new(WakerRegistration::new()),
            state: RefCell::new(State {
                sender: Sender::IDLE,
                first: TcpSeqNumber(0),
                expected: TcpSeqNumber(0),
                read: TcpSeqNumber(0),
                window: 0,
                scale: 0,
            }),
        }
    }
}

impl Default for Slot {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize> Connections<[Slot; N]> {
    /// With no connection open.
    pub const fn new() -> Self {
        const { assert!(0 < N && N < u16::MAX as usize) };
        Self {
            newcomers: Recent::new(),
            open: Cell::new(0),
            touched: Cell::new(0),
            free: Cell::new(0),
            waiting: Line::new(),
            queue: Line::new(),
            turns: Cell::new(0),
            piece: RefCell::new([0; LARGEST_SEGMENT]),
            slots: [const { Slot::new() }; N],
        }
    }
}

impl<const N: usize> Default for Connections<[Slot; N]> {
    fn default() -> Self {
        Self::new()
    }
}

impl Connections {
    /// Looks at an IPv4 packet with a TCP segment that came in, and returns
    /// whether it is for the stack.
    pub(super) fn hear(&self, packet: &mut [u8]) -> bool {
        let Some(header) = Header::read(packet, &ChecksumCapabilities::default()) else {
            // Damaged. The stack may make of it what it likes.
            return true;
        };
        let key = Key {
            peer: header.from,
            own: header.to,
        };
        if header.control == TcpControl::Syn {
            self.welcome(key, &header);
            return true;
        }
        let Some((_, slot)) = self.find(key) else {
            self.follow(key, &header);
            return true;
        };
        let is_for_stack = slot.state.borrow_mut().hear(&header, packet);
        slot.server.borrow_mut().wake();
        is_for_stack
    }

    /// Makes what the stack sends on a connection follow what was sent in its
    /// place.
    pub(super) fn leave(&self, packet: &mut [u8]) {
        let Some(header) = Header::read(packet, &ChecksumCapabilities::ignored()) else {
            return;
        };
        let key = Key {
            peer: header.to,
            own: header.from,
        };
        if header.control == TcpControl::Syn {
            if let Some(known) = self.newcomer(key)
                && let Some(ack) = header.ack
            {
                let window = header.window >> header.scale.unwrap_or(0);
                let answer = Some((header.sequence + 1, ack, window));
                self.newcomers
                    .set(key.number(), Newcomer { answer, ..known });
            }
        } else if let Some((_, slot)) = self.find(key) {
            slot.state.borrow_mut().leave(&header, packet);
        }
    }

    /// Notes a SYN.
    fn welcome(&self, key: Key, header: &Header) {
        let known = self.newcomer(key);
        let newcomer = match known.filter(|known| known.sequence == header.sequence) {
            // Which one is answered cannot be told (RFC 6298 §3).
            Some(known) => Newcomer {
                asked: None,
                ..known
            },
            None => Newcomer {
                own: key.own,
                sequence: header.sequence,
                asked: Some(Instant::now()),
                peer: Peer {
                    segment: header.segment.unwrap_or(DEFAULT_SEGMENT),
                    window: header.window.into(),
                    selective: header.selective,
                    round_trip: None,
                },
                scale: header.scale.unwrap_or(0),
                answer: None,
            },
        };
        self.newcomers.set(key.number(), newcomer);
    }

    /// Notes what a peer says before a server knows of it.
    fn follow(&self, key: Key, header: &Header) {
        let Some(mut known) = self.newcomer(key).filter(|_| header.ack.is_some()) else {
            return;
        };
        if let Some(asked) = known.asked.take() {
            known.peer.round_trip = Some(Instant::now().saturating_duration_since(asked));
        }
        known.peer.window = u32::from(header.window) << known.scale;
        self.newcomers.set(key.number(), known);
    }

    fn newcomer(&self, key: Key) -> Option<Newcomer> {
        let known = self.newcomers.get(key.number())?;
        (known.own == key.own).then_some(known)
    }

    /// Takes over what is sent on a connection that the stack has opened.
    /// `None` if there is no place for it, or if so many others came meanwhile
    /// that its beginning was forgotten.
    pub(super) fn open(
        &self,
        peer: SocketAddrV4,
        own: SocketAddrV4,
        mtu: usize,
    ) -> Option<Outgoing<'_>> {
        let key = Key { peer, own };
        let known = self.newcomer(key)?;
        let (first, expected, window) = known.answer?;
        let (number, slot) = self.take_slot()?;
        let largest = mtu.saturating_sub(HEADERS).min(LARGEST_SEGMENT) as u32;
        *slot.state.borrow_mut() = State {
            sender: Sender::new(&known.peer, largest, Instant::now()),
            first,
            expected,
            read: expected,
            window,
            scale: known.scale,
        };
        slot.key.set(key);
        slot.next.set(self.bucket(key).replace(number));
        self.open.set(self.open.get() + 1);
        Some(Outgoing {
            connections: self,
            slot,
            number,
        })
    }

    fn take_slot(&self) -> Option<(u16, &Slot)> {
        let free = self.free.get();
        if let Some(slot) = self.slot(free) {
            self.free.set(slot.next.get());
            return Some((free, slot));
        }
        let number = self.touched.get() + 1;
        let slot = self.slot(number)?;
        self.touched.set(number);
        Some((number, slot))
    }

    fn close(&self, number: u16, slot: &Slot) {
        let mut link = self.bucket(slot.key.replace(Key::NONE));
        while link.get() != number
            && let Some(other) = self.slot(link.get())
        {
            link = &other.next;
        }
        link.set(slot.next.get());
        slot.next.set(self.free.replace(number));
        self.open.set(self.open.get() - 1);
        self.end_turn(slot, Instant::now());
    }

    /// Whether a connection waits for the NIC.
    pub(super) fn has_waiting(&self) -> bool {
        !self.waiting.is_empty()
    }

    /// Has the connections go on that have waited longest for the NIC, at most
    /// `count`.
    pub(super) fn wake_waiting(&self, count: usize) {
        for _ in 0..count {
            let next = self.waiting.next(|number| self.place_in_waiting(number));
            let Some(slot) = next.and_then(|number| self.slot(number)) else {
                return;
            };
            slot.server.borrow_mut().wake();
        }
    }

    fn place_in_waiting(&self, number: u16) -> Option<&Place> {
        self.slot(number).map(|slot| &slot.waits)
    }

    /// Bytes that may be under way on each connection, and the most where the
    /// path holds more than that.
    fn share(&self) -> (u32, u32) {
        let open = self.open.get().max(1);
        let most = SHARED_WINDOW / u32::from(open);
        if open > AT_ONCE {
            return (turns::SHARE, most);
        }
        let largest = LARGEST_SEGMENT as u32;
        let share = (most / largest * largest).clamp(SHARE.0, SHARE.1);
        (share, most)
    }

    /// The slot with this number, of which 0 is none.
    fn slot(&self, number: u16) -> Option<&Slot> {
        self.slots.get(usize::from(number).checked_sub(1)?)
    }

    /// Where the first connection with this one's hash is noted.
    fn bucket(&self, key: Key) -> &Cell<u16> {
        &self.slots[key.hash() % self.slots.len()].first
    }

    fn find(&self, key: Key) -> Option<(u16, &Slot)> {
        let mut number = self.bucket(key).get();
        while let Some(slot) = self.slot(number) {
            if slot.key.get() == key {
                return Some((number, slot));
            }
            number = slot.next.get();
        }
        None
    }
}

/// What a server sends on a connection, until it is dropped.
pub(super) struct Outgoing<'a> {
    connections: &'a Connections,
    slot: &'a Slot,
    number: u16,
}

impl Drop for Outgoing<'_> {
    fn drop(&mut self) {
        self.connections.close(self.number, self.slot);
    }
}

impl Outgoing<'_> {
    /// The server has read `n` bytes more of what the peer sent.
    pub(super) fn read(&self, n: usize) {
        let state = &mut *self.slot.state.borrow_mut();
        state.read += n;
    }

    /// There are `len` bytes more to be sent; returns the place of the first.
    pub(super) fn offer(&self, len: u64) -> u64 {
        self.slot.state.borrow_mut().sender.offer(len)
    }

    /// Everything before was sent once at least.
    pub(super) fn sent_to(&self) -> u64 {
        self.slot.state.borrow().sender.sent_to()
    }

    /// The peer has everything before.
    pub(super) fn acknowledged_to(&self) -> u64 {
        self.slot.state.borrow().sender.acknowledged_to()
    }

    /// Whether the peer has everything.
    pub(super) fn is_done(&self) -> bool {
        self.slot.state.borrow().sender.is_done()
    }

    /// Nothing more will be sent: leaves its turn to others.
    pub(super) fn end(&self) {
        self.connections.end_turn(self.slot, Instant::now());
    }

    /// When to [go on](Self::go_on) though nothing was heard.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let of_sender = self.slot.state.borrow().sender.deadline();
        let of_turn = self.slot.turn.get().end();
        [of_sender, of_turn].into_iter().flatten().min()
    }

    /// Sends what may be sent now, of bytes that `fill` reads from a place on:
    /// at least one, or it is called again once the task is woken. The task is
    /// also woken when the peer says something, and when the NIC has room.
    pub(super) fn go_on<E>(
        &self,
        wire: &dyn Wire,
        cx: &mut Context<'_>,
        mut fill: impl FnMut(&mut Context<'_>, u64, &mut [u8]) -> Poll<Result<usize, E>>,
    ) -> Result<(), E> {
        self.slot.server.borrow_mut().register(cx.waker());
        let now = Instant::now();
        let key = self.slot.key.get();
        let state = &mut *self.slot.state.borrow_mut();
        let piece = &mut *self.connections.piece.borrow_mut();
        if state.sender.deadline().is_some_and(|at| at <= now) {
            state.sender.timed_out(now);
        }
        let (connections, slot, number) = (self.connections, self.slot, self.number);
        connections.review_turn(slot, now);
        let (share, most) = connections.share();
        loop {
            let Some(mut segment) = state.sender.next(share, most) else {
                if let Some(end) = slot.turn.get().end()
                    && !state.sender.has_use_for(end.saturating_duration_since(now))
                {
                    connections.end_turn(slot, now);
                }
                break;
            };
            let is_new = segment.from == state.sender.sent_to();
            if is_new && !connections.has_turn(number, slot, now) {
                break;
            }
            if !wire.has_room() {
                let waiting = &connections.waiting;
                waiting.join(number, |number| connections.place_in_waiting(number));
                break;
            }
            let room = &mut piece[..segment.len as usize];
            if !room.is_empty() {
                match fill(cx, segment.from, room) {
                    Poll::Ready(n) => segment.len = n? as u32,
                    Poll::Pending => break,
                }
            }
            let payload = &piece[..segment.len as usize];
            state.send(key, segment, payload, wire);
            state.sender.sent(segment, now);
            if is_new {
                slot.turn.set(slot.turn.get().used(segment.len, now));
            }
        }
        Ok(())
    }
}

impl State {
    /// Takes from a segment of the peer what is for the sender, and makes it
    /// what the stack expects; returns whether there is anything in it for it.
    fn hear(&mut self, header: &Header, packet: &mut [u8]) -> bool {
        let Some(ack) = header.ack else { return true };
        let (have, sent) = (self.sender.acknowledged_to(), self.sender.sent_to());
        let place = |number: TcpSeqNumber| {
            let known = self.first.0.wrapping_add(have as i32);
            have.checked_add_signed(number.0.wrapping_sub(known).into())
        };
        let Some(to) = place(ack) else { return true };
        let is_bare =
            header.len == 0 && matches!(header.control, TcpControl::None | TcpControl::Psh);
        // What comes behind the data is the stack's FIN.
        let behind = to.saturating_sub(sent);
        let to = to.min(sent);
        let block = |(from, to): (u32, u32)| {
            let (from, to) = (TcpSeqNumber(from as i32), TcpSeqNumber(to as i32));
            Some((place(from)?, place(to)?))
        };
        let ack = Ack {
            to,
            edge: to + (u64::from(header.window) << self.scale),
            blocks: header.blocks.map(|told| told.and_then(block)),
            is_bare,
        };
        self.sender.acknowledged(&ack, Instant::now());
        let number = (self.first.0 as u32).wrapping_add(behind as u32);
        put_number(packet, ACKNOWLEDGEMENT, number);
        // One that looks back asks whether we are there.
        !is_bare || behind > 0 || header.sequence < later(self.expected, self.read)
    }

    /// Moves what the stack says behind what was sent.
    fn leave(&mut self, header: &Header, packet: &mut [u8]) {
        if let Some(ack) = header.ack {
            self.expected = later(self.expected, ack);
            self.window = header.window;
        }
        let sent = self.sender.sent_to() as u32;
        let number = (header.sequence.0 as u32).wrapping_add(sent);
        put_number(packet, SEQUENCE, number);
    }

    fn send(&self, key: Key, segment: Segment, payload: &[u8], wire: &dyn Wire) {
        let (src, dst) = (*key.own.ip(), *key.peer.ip());
        let is_last = self.sender.is_last(segment);
        let tcp = TcpRepr {
            src_port: key.own.port(),
            dst_port: key.peer.port(),
            control: if is_last {
                TcpControl::Psh
            } else {
                TcpControl::None
            },
            seq_number: TcpSeqNumber(self.first.0.wrapping_add(segment.from as i32)),
            ack_number: Some(later(self.expected, self.read)),
            window_len: self.window,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload,
        };
        let ipv4 = Ipv4Repr {
            src_addr: src,
            dst_addr: dst,
            next_header: IpProtocol::Tcp,
            payload_len: tcp.buffer_len(),
            hop_limit: 64,
        };
        wire.send(HEADERS + payload.len(), &mut |packet, checksums| {
            ipv4.emit(&mut Ipv4Packet::new_unchecked(&mut *packet), checksums);
            tcp.emit(
                &mut TcpPacket::new_unchecked(&mut packet[20..]),
                &IpAddress::Ipv4(src),
                &IpAddress::Ipv4(dst),
                checksums,
            );
        });
    }
}
