//! Has smoltcp send lost segments again at once, not after seconds.
//!
//! smoltcp retransmits after three duplicate ACKs, once for each position in
//! the stream, and otherwise after a second that doubles with every loss up to
//! a minute (RFC 6298 without a way back but a clean round trip). A cable that
//! loses one packet in twenty brings a transfer to a stop.
//!
//! The mux sees every segment that comes in. When duplicate ACKs show a loss,
//! or nothing was acknowledged for some round trips (as a tail loss probe
//! finds out, RFC 8985 §7), the stack is told again what the peer said last,
//! often enough that it counts as a loss. Nothing is invented: the ACK is one
//! that the peer sent, and the peer sees a fast retransmit.
//!
//! smoltcp then resends everything that is under way. So that this is little
//! where much is lost, the window that it sees is kept within a congestion
//! window (RFC 5681), which smoltcp's own congestion control does not do.
//!
//! Nor does it see more than each connection's share of what may be under way
//! in all: who happened to get a socket with a large buffer is not to be faster
//! than the others, and much under way is soon more than a processor's cache.

use core::cell::Cell;
use core::net::SocketAddrV4;
use core::task::Context;

use embassy_sync::waitqueue::WakerRegistration;
use embassy_time::{Duration, Instant};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
};

use super::packets::PacketQueue;
use super::recent::{Entry, Recent};

/// Connections that are remembered, found by their peer's address and port.
const FLOWS: usize = 4096;

/// Bytes of nudges under way: each takes four packets of 44 bytes.
const NUDGES: usize = 16 * 1024;

/// ACKs of a nudge after the first, which starts the count: smoltcp takes the
/// third for a loss.
const DUPLICATES: u16 = 3;

/// Length of an ACK without options.
const ACK_LEN: usize = 20 + 20;

/// A segment of Ethernet without TCP options, in bytes.
const SEGMENT: u32 = 1460;

/// The congestion window's least and largest size. The least leaves enough
/// segments behind a lost one to show the loss; the largest, where it starts,
/// is more than a connection's send buffer.
const CONGESTION_WINDOW: (u32, u32) = (8 * SEGMENT, 1 << 20);

/// Bytes that may be under way on all connections together, and the least and
/// most on one of them: a whole number of the largest segments that a NIC cuts
/// up, or every few of them would be a short one. One connection alone is the
/// faster the more it has under way, up to here.
const SHARED_WINDOW: u32 = 8 << 20;
const SHARE: (u32, u32) = (2 * SHARE_STEP, 8 * SHARE_STEP);

/// Bytes of the largest segments there are.
pub const SHARE_STEP: u32 = 60 * 1024;

/// The least time without progress that is taken for a loss. A peer delays
/// its ACKs by up to 40 ms, an emulated machine more.
const MIN_WAIT: Duration = Duration::from_millis(40);

/// The most that is waited before the first nudge. A handshake that lost a
/// packet took far longer than a round trip; this is what Linux waits at least
/// (its `TCP_RTO_MIN`), and a boot server is on the same LAN.
const MAX_FIRST_WAIT: Duration = Duration::from_millis(200);

/// The most time between two nudges.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// What the peers of TCP connections said last.
pub struct Flows {
    known: Recent<Flow, FLOWS>,
    packets: PacketQueue<NUDGES>,
    /// How many connections are open.
    open: Cell<u32>,
    runner: core::cell::RefCell<WakerRegistration>,
}

#[derive(Debug, Clone, Copy)]
struct Flow {
    peer: SocketAddrV4,
    local: SocketAddrV4,
    /// The peer's next sequence number.
    seq: TcpSeqNumber,
    /// What it has acknowledged.
    ack: TcpSeqNumber,
    /// The window it announced, and the one that the stack was told of.
    window: u16,
    told: u16,
    /// Where the window ended that the stack was told of.
    told_end: TcpSeqNumber,
    /// When it opened the connection, until the round trip is known.
    opened: Option<Instant>,
    round_trip: Duration,
    /// How far its window fields are to be shifted left (RFC 7323 §2).
    scale: u8,
    /// ACKs in a row that acknowledged nothing new.
    duplicates: u16,
    /// Where the stack was last made to resend from, and an ACK that will
    /// show that nothing of what was under way then is missing.
    resent_from: TcpSeqNumber,
    recovered_at: TcpSeqNumber,
    /// Bytes that may be under way, whatever the window (RFC 5681 §3).
    congestion_window: u32,
    /// Up to here the congestion window grows with every byte acknowledged,
    /// past it by a segment each round trip.
    threshold: u32,
}

impl Entry for Flow {
    // All zero bits.
    const NOBODY: Self = Self {
        peer: SocketAddrV4::new(core::net::Ipv4Addr::UNSPECIFIED, 0),
        local: SocketAddrV4::new(core::net::Ipv4Addr::UNSPECIFIED, 0),
        seq: TcpSeqNumber(0),
        ack: TcpSeqNumber(0),
        window: 0,
        told: 0,
        told_end: TcpSeqNumber(0),
        opened: None,
        round_trip: Duration::from_ticks(0),
        scale: 0,
        duplicates: 0,
        resent_from: TcpSeqNumber(0),
        recovered_at: TcpSeqNumber(0),
        congestion_window: 0,
        threshold: 0,
    };
}

impl Flows {
    /// No connection yet.
    pub const fn new() -> Self {
        Self {
            known: Recent::new(),
            packets: PacketQueue::new(),
            open: Cell::new(0),
            runner: core::cell::RefCell::new(WakerRegistration::new()),
        }
    }

    fn get(&self, peer: SocketAddrV4) -> Option<Flow> {
        self.known.get(key(peer))
    }

    fn set(&self, flow: Flow) {
        self.known.set(key(flow.peer), flow);
    }

    /// Counts a connection as open until the guard is dropped.
    pub(super) fn enter(&self) -> Open<'_> {
        self.open.set(self.open.get() + 1);
        Open(self)
    }

    /// Bytes that may be under way on each connection.
    fn share(&self) -> u32 {
        let share = SHARED_WINDOW / self.open.get().max(1);
        (share / SHARE_STEP * SHARE_STEP).clamp(SHARE.0, SHARE.1)
    }

    /// Notes what an IPv4 packet with a TCP segment says, and keeps the window
    /// that the stack sees within the congestion window. Damaged ones say
    /// nothing.
    pub(super) fn observe(&self, packet: &mut [u8]) {
        let Some((seen, control)) = Flow::of(packet) else {
            return;
        };
        if control == TcpControl::Syn {
            self.set(Flow {
                opened: Some(Instant::now()),
                ..seen
            });
            return;
        }
        let known = self.get(seen.peer);
        let Some(mut flow) = known.filter(|known| known.local == seen.local) else {
            // Its window scale is not known: hands off.
            return;
        };
        if let Some(opened) = flow.opened.take() {
            // The end of the handshake: from here on there are ACKs to compare.
            flow.round_trip = Instant::now().saturating_duration_since(opened);
            flow.ack = seen.ack;
            flow.told_end = seen.ack;
            flow.resent_from = seen.ack;
            flow.recovered_at = seen.ack;
        }
        let duplicate = seen.ack == flow.ack && seen.seq == flow.seq;
        // One that was overtaken says less than is known.
        if seen.ack >= flow.ack {
            if seen.ack > flow.ack {
                flow.acknowledged(seen.ack - flow.ack);
            }
            flow.ack = seen.ack;
            flow.window = seen.window;
        }
        if seen.seq >= flow.seq {
            flow.seq = seen.seq;
        }
        flow.duplicates = if duplicate {
            flow.duplicates.saturating_add(1)
        } else {
            0
        };
        let lost = flow.duplicates == flow.tolerated();
        if lost {
            flow.lost();
        }
        let window = flow.worthwhile_window(self.share());
        flow.told = match flow.duplicates {
            0 => window,
            // smoltcp is not to count for itself: it resends everything under
            // way each time, and would for every three duplicates.
            _ if flow.told == window => window.saturating_sub(1),
            _ => window,
        };
        if flow.told != seen.window {
            set_window(packet, flow.told);
        }
        self.set(flow);
        if lost {
            self.nudge(seen.peer);
        }
    }

    /// The peer has missed something, and too few ACKs came to show it.
    pub fn stalled(&self, peer: SocketAddrV4) {
        if let Some(mut flow) = self.get(peer) {
            flow.lost();
            self.set(flow);
            self.nudge(peer);
        }
    }

    /// Tells the stack again what `peer` said last, unless that was to send
    /// nothing.
    fn nudge(&self, peer: SocketAddrV4) {
        let Some(mut flow) = self.get(peer) else {
            return;
        };
        let window = flow.bounded_window(self.share());
        if window < 2 {
            return;
        }
        flow.told_end = flow.ack + (usize::from(window) << flow.scale);
        // A window of another size starts smoltcp's count of duplicates anew.
        flow.told = if flow.told == window {
            window - 1
        } else {
            window
        };
        self.set(flow);
        let ack = flow.emit_ack();
        for _ in 0..=DUPLICATES {
            self.packets.push(&ack);
        }
        self.runner.borrow_mut().wake();
    }

    /// How long to wait for progress before the first nudge.
    pub fn patience(&self, peer: SocketAddrV4) -> Duration {
        let round_trips = self.get(peer).map(|flow| flow.round_trip * 3);
        round_trips
            .unwrap_or(MIN_WAIT)
            .clamp(MIN_WAIT, MAX_FIRST_WAIT)
    }

    /// Whether a packet waits for the stack; has the mux woken when one does.
    pub(super) fn has_packet(&self, cx: &Context<'_>) -> bool {
        self.runner.borrow_mut().register(cx.waker());
        !self.packets.is_empty()
    }

    /// Hands the next packet for the stack to `take`.
    pub(super) fn take_packet<R>(&self, take: impl FnOnce(&[u8]) -> R) -> R {
        self.packets.pop_with(|packet| take(packet))
    }
}

impl Default for Flows {
    fn default() -> Self {
        Self::new()
    }
}

/// A peer in [`Flows::known`]; 0 for none.
fn key(peer: SocketAddrV4) -> u64 {
    u64::from(peer.ip().to_bits()) << 16 | u64::from(peer.port())
}

/// An open connection.
pub(super) struct Open<'a>(&'a Flows);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get().saturating_sub(1));
    }
}

/// Writes a window field into a whole TCP segment and mends its checksum
/// (RFC 1624 §3).
fn set_window(packet: &mut [u8], window: u16) {
    let Some(ihl) = packet.first().map(|byte| usize::from(byte & 0xf) * 4) else {
        return;
    };
    let Some(segment) = packet.get_mut(ihl..) else {
        return;
    };
    let Some([_, old @ .., c0, c1]) = segment.get(13..18) else {
        return;
    };
    let &[w0, w1] = old else { return };
    let sum = u32::from(!u16::from_be_bytes([*c0, *c1]))
        + u32::from(!u16::from_be_bytes([w0, w1]))
        + u32::from(window);
    let folded = (sum & 0xffff) + (sum >> 16);
    let checksum = !((folded & 0xffff) + (folded >> 16)) as u16;
    segment[14..16].copy_from_slice(&window.to_be_bytes());
    segment[16..18].copy_from_slice(&checksum.to_be_bytes());
}

/// The time to wait for progress: twice what it took lately, and longer after
/// each nudge.
///
/// With a thousand connections at work each of them stands still for longer
/// than it takes to repair a loss on an idle network. What was nudged in vain is
/// sent twice.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    first: Duration,
    now: Duration,
    /// The longest pause, of which an eighth is forgotten with each.
    pause: Duration,
    /// When there was progress last.
    since: Instant,
    /// Whether there was a nudge since: then it is not known how long the pause
    /// would have been (Karn's algorithm, RFC 6298 §3).
    nudged: bool,
}

impl Patience {
    /// With `first` until more is known.
    pub(super) fn new(first: Duration, now: Instant) -> Self {
        Self {
            first,
            now: first,
            pause: Duration::from_ticks(0),
            since: now,
            nudged: false,
        }
    }

    pub(super) fn wait(self) -> Duration {
        self.now
    }

    /// Something is under way again after a time when nothing was.
    pub(super) fn begin(&mut self, now: Instant) {
        self.since = now;
    }

    pub(super) fn progressed(&mut self, now: Instant) {
        let pause = now.saturating_duration_since(self.since);
        self.since = now;
        if !core::mem::take(&mut self.nudged) {
            self.pause = pause.max(self.pause - self.pause / 8);
            self.now = (self.pause * 2).clamp(self.first, MAX_WAIT);
        }
    }

    pub(super) fn nudged(&mut self) {
        self.nudged = true;
        self.now = (self.now * 2).min(MAX_WAIT);
    }
}

impl Flow {
    /// Reads an IPv4 packet that carries a TCP segment and checks lengths and
    /// both checksums.
    fn of(packet: &[u8]) -> Option<(Self, TcpControl)> {
        let ipv4 = Ipv4Packet::new_checked(packet).ok()?;
        if ipv4.next_header() != IpProtocol::Tcp || ipv4.more_frags() || !ipv4.verify_checksum() {
            return None;
        }
        let (src, dst) = (ipv4.src_addr(), ipv4.dst_addr());
        let segment = TcpPacket::new_checked(ipv4.payload()).ok()?;
        let checksums = ChecksumCapabilities::default();
        let repr = TcpRepr::parse(&segment, &src.into(), &dst.into(), &checksums).ok()?;
        let flow = Self {
            peer: SocketAddrV4::new(src, repr.src_port),
            local: SocketAddrV4::new(dst, repr.dst_port),
            seq: repr.seq_number + repr.segment_len(),
            ack: repr.ack_number.unwrap_or_default(),
            window: repr.window_len,
            told: repr.window_len,
            told_end: TcpSeqNumber(0),
            opened: None,
            round_trip: Duration::from_ticks(0),
            scale: repr.window_scale.unwrap_or(0).min(14),
            duplicates: 0,
            resent_from: TcpSeqNumber(0),
            recovered_at: TcpSeqNumber(0),
            congestion_window: CONGESTION_WINDOW.1,
            threshold: CONGESTION_WINDOW.1,
        };
        Some((flow, repr.control))
    }

    /// New data arrived: the window may grow.
    fn acknowledged(&mut self, bytes: usize) {
        let bytes = u32::try_from(bytes)
            .unwrap_or(u32::MAX)
            .min(CONGESTION_WINDOW.1);
        let window = self.congestion_window;
        let growth = if window < self.threshold {
            bytes
        } else {
            // Both factors are bounded: the product fits.
            (u64::from(bytes) * u64::from(SEGMENT) / u64::from(window)) as u32
        };
        self.congestion_window = window.saturating_add(growth).min(CONGESTION_WINDOW.1);
    }

    /// How many duplicate ACKs in a row mean that a segment was lost: three
    /// (RFC 5681 §3.2), and while the stack resends what the peer has in part,
    /// one more for each segment that it may be told of again.
    fn tolerated(&self) -> u16 {
        if self.ack >= self.recovered_at || self.ack < self.resent_from {
            return DUPLICATES;
        }
        let again = (self.ack - self.resent_from) / SEGMENT as usize + 1;
        u16::try_from(again)
            .unwrap_or(u16::MAX)
            .saturating_add(DUPLICATES)
    }

    /// Data was lost: half of what can have been under way is enough.
    fn lost(&mut self) {
        let offered = u32::from(self.window) << self.scale;
        let under_way = self.congestion_window.min(offered);
        self.resent_from = self.ack;
        self.recovered_at = self.ack + under_way as usize;
        self.duplicates = u16::MAX;
        let half = under_way / 2;
        self.congestion_window = half.max(CONGESTION_WINDOW.0);
        self.threshold = self.congestion_window;
    }

    /// The window field for the stack, whose end moves only by as much as is
    /// worth a segment, or when nothing is under way: half of the window, or of
    /// the largest segment (RFC 1122 §4.2.3.4, which smoltcp does not heed). A
    /// thousand peers that read in small pieces would be sent small ones. If
    /// such segments fit into the window, a whole number of them does.
    fn worthwhile_window(&mut self, share: u32) -> u16 {
        let mut window = self.bounded_window(share);
        let step = (SHARE_STEP >> self.scale).max(1);
        if let Ok(rest @ 1..) = u16::try_from(u32::from(window) % step)
            && rest < window
        {
            window -= rest;
        }
        let bytes = usize::from(window) << self.scale;
        let end = self.ack + bytes;
        let least = (bytes / 2).min(SHARE_STEP as usize / 2);
        if self.told_end > self.ack && end > self.told_end && end - self.told_end < least {
            let left = u16::try_from((self.told_end - self.ack) >> self.scale);
            // What is less than a unit of the window cannot be told.
            if let Ok(left @ 1..) = left {
                return left;
            }
        }
        self.told_end = end;
        window
    }

    /// The window field for the stack: the peer's, the congestion window or the
    /// connection's share.
    fn bounded_window(&self, share: u32) -> u16 {
        let bound = (self.congestion_window.min(share) >> self.scale).max(1);
        self.window.min(u16::try_from(bound).unwrap_or(u16::MAX))
    }

    /// An ACK as the peer would send it.
    fn emit_ack(&self) -> [u8; ACK_LEN] {
        let checksums = ChecksumCapabilities::default();
        let (src, dst) = (*self.peer.ip(), *self.local.ip());
        let mut packet = [0; ACK_LEN];
        Ipv4Repr {
            src_addr: src,
            dst_addr: dst,
            next_header: IpProtocol::Tcp,
            payload_len: 20,
            hop_limit: 64,
        }
        .emit(&mut Ipv4Packet::new_unchecked(&mut packet[..]), &checksums);
        TcpRepr {
            src_port: self.peer.port(),
            dst_port: self.local.port(),
            control: TcpControl::None,
            seq_number: self.seq,
            ack_number: Some(self.ack),
            window_len: self.told,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        }
        .emit(
            &mut TcpPacket::new_unchecked(&mut packet[20..]),
            &IpAddress::Ipv4(src),
            &IpAddress::Ipv4(dst),
            &checksums,
        );
        packet
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::net::Ipv4Addr;

    const PEER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 50), 40_000);
    const SERVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 1), 8080);

    /// A packet from the peer with nothing but an ACK, or a SYN.
    fn packet(control: TcpControl, seq: i32, ack: i32, window: u16) -> Vec<u8> {
        let (src, dst) = (*PEER.ip(), *SERVER.ip());
        let tcp = TcpRepr {
            src_port: PEER.port(),
            dst_port: SERVER.port(),
            control,
            seq_number: TcpSeqNumber(seq),
            ack_number: (control == TcpControl::None).then_some(TcpSeqNumber(ack)),
            window_len: window,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        };
        let checksums = ChecksumCapabilities::default();
        let ipv4 = Ipv4Repr {
            src_addr: src,
            dst_addr: dst,
            next_header: IpProtocol::Tcp,
            payload_len: tcp.buffer_len(),
            hop_limit: 64,
        };
        let mut packet = vec![0; 20 + tcp.buffer_len()];
        ipv4.emit(&mut Ipv4Packet::new_unchecked(&mut packet), &checksums);
        tcp.emit(
            &mut TcpPacket::new_unchecked(&mut packet[20..]),
            &src.into(),
            &dst.into(),
            &checksums,
        );
        packet
    }

    /// A connection whose handshake ended with ACK 1000.
    fn connected() -> Flows {
        let flows = Flows::new();
        flows.observe(&mut packet(TcpControl::Syn, 76, 0, 60_000));
        flows.observe(&mut packet(TcpControl::None, 77, 1000, 60_000));
        flows
    }

    /// What the stack is told by a frame, after the mux saw it.
    fn pass(flows: &Flows, ack: i32, window: u16) -> u16 {
        let mut packet = packet(TcpControl::None, 77, ack, window);
        flows.observe(&mut packet);
        // Also says that the checksum is right.
        Flow::of(&packet).unwrap().0.window
    }

    /// ACK and window of each packet that waits.
    fn said(flows: &Flows) -> Vec<(i32, u16)> {
        let next = || {
            let waits = !flows.packets.is_empty();
            waits.then(|| flows.take_packet(|packet| Flow::of(packet).unwrap().0))
        };
        core::iter::from_fn(next)
            .map(|flow| (flow.ack.0, flow.window))
            .collect()
    }

    #[test]
    fn a_stall_repeats_what_the_peer_said_last() {
        let flows = connected();
        assert_eq!(pass(&flows, 3000, 60_000), 58_000);
        // Overtaken on its way:
        assert_eq!(pass(&flows, 2000, 50_000), 58_000);
        flows.stalled(PEER);
        // Half of what can have been under way.
        assert_eq!(said(&flows), [(3000, 30_000); 4]);
        // Told again, it must look new.
        flows.stalled(PEER);
        let again = said(&flows);
        assert_eq!(again.len(), 4);
        assert!(again.iter().all(|told| *told == again[0]) && again[0].1 != 30_000);
    }

    #[test]
    fn three_duplicates_are_a_loss_and_are_told_once() {
        let flows = connected();
        pass(&flows, 3000, 60_000);
        let mut told = 0;
        for _ in 0..20 {
            pass(&flows, 3000, 60_000);
            told += usize::from(!said(&flows).is_empty());
        }
        assert_eq!(told, 1);
        // While it is mended, the peer is told of segments that it has.
        let mut acks = 0;
        while said(&flows).is_empty() {
            pass(&flows, 3000 + 10 * SEGMENT as i32, 60_000);
            acks += 1;
        }
        assert!(acks > 10, "{acks}");
    }

    #[test]
    fn no_two_duplicates_look_alike_to_the_stack() {
        let flows = connected();
        let mut before = pass(&flows, 3000, 60_000);
        for _ in 0..20 {
            let window = pass(&flows, 3000, 60_000);
            assert_ne!(window, before);
            // What is told again goes to the stack before the next frame.
            before = said(&flows).last().map_or(window, |told| told.1);
        }
    }

    #[test]
    fn the_window_grows_again() {
        let flows = connected();
        for _ in 0..10 {
            flows.stalled(PEER);
        }
        let mut ack = 3000;
        assert!(u32::from(pass(&flows, ack, 60_000)) <= CONGESTION_WINDOW.0 + SEGMENT);
        for _ in 0..2000 {
            ack += SEGMENT as i32;
            pass(&flows, ack, 60_000);
        }
        assert_eq!(pass(&flows, ack + 40_000, 60_000), 60_000);
    }

    #[test]
    fn many_connections_share_what_may_be_under_way() {
        let flows = Flows::new();
        let mut syn = packet(TcpControl::Syn, 76, 0, 60_000);
        // With a window scale of 2^7: a no-operation and the option.
        let header = 20 + 20;
        syn.extend([1, 3, 3, 7]);
        syn[20 + 12] = 6 << 4;
        syn[2..4].copy_from_slice(&(header as u16 + 4).to_be_bytes());
        Ipv4Packet::new_unchecked(&mut syn[..]).fill_checksum();
        let (src, dst) = (IpAddress::from(*PEER.ip()), IpAddress::from(*SERVER.ip()));
        TcpPacket::new_unchecked(&mut syn[20..]).fill_checksum(&src, &dst);
        flows.observe(&mut syn);
        let window = |ack| u32::from(pass(&flows, ack, 60_000)) << 7;
        assert_eq!(window(1000), SHARE.1);
        let mut open: Vec<_> = (0..16).map(|_| flows.enter()).collect();
        assert_eq!(window(1_000_000), SHARE.1);
        open.extend((16..32).map(|_| flows.enter()));
        assert_eq!(window(2_000_000), 4 * SHARE_STEP);
        open.extend((32..64).map(|_| flows.enter()));
        assert_eq!(window(3_000_000), SHARE.0);
        open.extend((64..1024).map(|_| flows.enter()));
        assert_eq!(window(4_000_000), SHARE.0);
        drop(open);
        assert_eq!(window(5_000_000), SHARE.1);
    }

    #[test]
    fn the_windows_end_moves_by_what_is_worth_a_segment() {
        let flows = connected();
        // It was at 61,000 after the handshake.
        for (ack, window, told) in [
            (3000, 60_000, 58_000),
            (30_999, 60_000, 30_001),
            (31_000, 60_000, 60_000),
            // Nothing is under way any more.
            (91_000, 10_000, 10_000),
            // A little more, and the peer's word for it looks like a loss.
            (91_000, 12_000, 9_999),
            (101_000, 2000, 2000),
            // The peer takes back what it had told.
            (101_500, 0, 0),
            (101_500, 5000, 5000),
        ] {
            assert_eq!(pass(&flows, ack, window), told, "{ack} {window}");
        }
    }

    #[test]
    fn nobody_unknown_and_no_closed_window_is_nudged() {
        let flows = Flows::new();
        flows.stalled(PEER);
        assert_eq!(said(&flows), []);
        let flows = connected();
        assert_eq!(pass(&flows, 3000, 0), 0);
        flows.stalled(PEER);
        assert_eq!(said(&flows), []);
    }

    #[test]
    fn a_damaged_ack_is_not_believed() {
        let flows = connected();
        let good = packet(TcpControl::None, 77, 3000, 60_000);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            flows.observe(&mut bad);
        }
        flows.stalled(PEER);
        assert_eq!(said(&flows)[0].0, 1000);
    }

    #[test]
    fn patience_grows_and_comes_back() {
        let start = Instant::from_secs(1);
        let mut patience = Patience::new(MIN_WAIT, start);
        for _ in 0..10 {
            patience.nudged();
        }
        assert_eq!(patience.wait(), MAX_WAIT);
        // This was the nudges' doing.
        patience.progressed(start);
        assert_eq!(patience.wait(), MAX_WAIT);
        patience.progressed(start);
        assert_eq!(patience.wait(), MIN_WAIT);
    }

    #[test]
    fn patience_is_as_long_as_pauses_are() {
        let mut now = Instant::from_secs(1);
        let mut patience = Patience::new(MIN_WAIT, now);
        let mut pause = |patience: &mut Patience, ms| {
            now += Duration::from_millis(ms);
            patience.progressed(now);
            patience.wait().as_millis()
        };
        assert_eq!(pause(&mut patience, 1), MIN_WAIT.as_millis());
        assert_eq!(pause(&mut patience, 300), 600);
        // It is forgotten little by little.
        let after: Vec<u64> = (0..25).map(|_| pause(&mut patience, 1)).collect();
        assert!(
            after[0] > 500 && after[24] == MIN_WAIT.as_millis(),
            "{after:?}"
        );
        assert_eq!(pause(&mut patience, 60_000), MAX_WAIT.as_millis());
        // A time when nothing was to be sent is no pause.
        let mut patience = Patience::new(MIN_WAIT, now);
        now += Duration::from_secs(5);
        patience.begin(now);
        patience.progressed(now + Duration::from_millis(1));
        assert_eq!(patience.wait(), MIN_WAIT);
    }
}
