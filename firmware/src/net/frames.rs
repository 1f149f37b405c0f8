//! Whole Ethernet frames that do not pass through the IP stack: the rings they
//! wait in, and how they are built and read.
//!
//! A DHCP server talks to machines that have no address yet, and asks by ARP
//! whether an address is free. Both need frames, not sockets.

use core::cell::{Cell, RefCell};
use core::net::Ipv4Addr;
use core::task::{Context, Poll};

use embassy_sync::waitqueue::WakerRegistration;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, Icmpv4Packet, Icmpv4Repr, IpAddress, IpProtocol, Ipv4Packet, Ipv4Repr, UdpPacket,
};

use crate::MacAddr;

/// Longest frame kept: an Ethernet header and a full 1500-byte packet.
pub const FRAME_LEN: usize = 1514;

/// Length of an ARP frame without padding.
pub const ARP_LEN: usize = 14 + 28;

/// Length of an Ethernet header.
pub(super) const ETHERNET_LEN: usize = 14;
const IPV4_LEN: usize = 20;
const UDP_LEN: usize = 8;

/// Bytes in front of a UDP payload: Ethernet, IPv4 without options, UDP.
pub const UDP_HEADERS: usize = ETHERNET_LEN + IPV4_LEN + UDP_LEN;

/// A ring of frames between the NIC and one task.
pub struct FrameRing<const N: usize> {
    slots: RefCell<[Slot; N]>,
    head: Cell<usize>,
    len: Cell<usize>,
    dropped: Cell<u32>,
    reader: RefCell<WakerRegistration>,
    writer: RefCell<WakerRegistration>,
}

struct Slot {
    len: usize,
    bytes: [u8; FRAME_LEN],
}

impl<const N: usize> FrameRing<N> {
    /// An empty ring.
    pub const fn new() -> Self {
        Self {
            slots: RefCell::new(
                [const {
                    Slot {
                        len: 0,
                        bytes: [0; FRAME_LEN],
                    }
                }; N],
            ),
            head: Cell::new(0),
            len: Cell::new(0),
            dropped: Cell::new(0),
            reader: RefCell::new(WakerRegistration::new()),
            writer: RefCell::new(WakerRegistration::new()),
        }
    }

    /// Copies a frame in; it is dropped and counted when the ring is full or
    /// the frame longer than [`FRAME_LEN`].
    pub fn push(&self, frame: &[u8]) {
        let fits = frame.len() <= FRAME_LEN
            && self.push_with(|buf| {
                buf[..frame.len()].copy_from_slice(frame);
                frame.len()
            });
        if !fits {
            self.dropped.set(self.dropped.get().saturating_add(1));
        }
    }

    /// Has a frame written in place by `fill`, which returns its length, or 0
    /// for none. Returns false, without calling `fill`, when the ring is full.
    pub fn push_with(&self, fill: impl FnOnce(&mut [u8; FRAME_LEN]) -> usize) -> bool {
        if self.is_full() {
            return false;
        }
        let at = (self.head.get() + self.len.get()) % N;
        let slot = &mut self.slots.borrow_mut()[at];
        slot.len = fill(&mut slot.bytes).min(FRAME_LEN);
        if slot.len == 0 {
            return true;
        }
        self.len.set(self.len.get() + 1);
        self.reader.borrow_mut().wake();
        true
    }

    /// Hands the oldest frame to `take` and removes it.
    pub fn pop_with<R>(&self, take: impl FnOnce(&[u8]) -> R) -> Option<R> {
        if self.is_empty() {
            return None;
        }
        let at = self.head.get();
        let result = {
            let slot = &self.slots.borrow()[at];
            take(&slot.bytes[..slot.len])
        };
        self.head.set((at + 1) % N);
        self.len.set(self.len.get() - 1);
        self.writer.borrow_mut().wake();
        Some(result)
    }

    /// Length of the oldest frame.
    pub fn front_len(&self) -> Option<usize> {
        (!self.is_empty()).then(|| self.slots.borrow()[self.head.get()].len)
    }

    /// Whether no frame waits.
    pub fn is_empty(&self) -> bool {
        self.len.get() == 0
    }

    /// Whether there is no room for another frame.
    pub fn is_full(&self) -> bool {
        self.len.get() == N
    }

    /// Frames lost because the ring was full, since the last call.
    pub fn take_dropped(&self) -> u32 {
        self.dropped.take()
    }

    /// Ready when a frame waits.
    pub fn poll_readable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_empty() {
            return Poll::Ready(());
        }
        self.reader.borrow_mut().register(cx.waker());
        Poll::Pending
    }

    /// Ready when there is room for a frame.
    pub fn poll_writable(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_full() {
            return Poll::Ready(());
        }
        self.writer.borrow_mut().register(cx.waker());
        Poll::Pending
    }
}

impl<const N: usize> Default for FrameRing<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// A UDP datagram inside an Ethernet frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Datagram<'a> {
    /// Sender on this link (a router's, when the packet was routed).
    pub src_mac: MacAddr,
    /// Receiver on this link.
    pub dst_mac: MacAddr,
    /// Source address; `0.0.0.0` for a machine without one.
    pub src_ip: Ipv4Addr,
    /// Destination address.
    pub dst_ip: Ipv4Addr,
    /// Source port.
    pub src_port: u16,
    /// Destination port.
    pub dst_port: u16,
    /// What the datagram carries.
    pub payload: &'a [u8],
}

impl<'a> Datagram<'a> {
    /// Reads a frame whose IPv4 header says UDP and checks lengths and both
    /// checksums. `None` if it is not a whole, valid UDP datagram.
    pub fn parse(frame: &'a [u8]) -> Option<Self> {
        let ethernet = EthernetFrame::new_checked(frame).ok()?;
        if ethernet.ethertype() != EthernetProtocol::Ipv4 {
            return None;
        }
        let (src_mac, dst_mac) = (
            MacAddr(ethernet.src_addr().0),
            MacAddr(ethernet.dst_addr().0),
        );
        let ipv4 = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
        if ipv4.next_header() != IpProtocol::Udp
            || ipv4.more_frags()
            || ipv4.frag_offset() != 0
            || !ipv4.verify_checksum()
        {
            return None;
        }
        let (src_ip, dst_ip) = (ipv4.src_addr(), ipv4.dst_addr());
        let udp = UdpPacket::new_checked(ipv4.payload()).ok()?;
        if !udp.verify_checksum(&src_ip.into(), &dst_ip.into()) {
            return None;
        }
        let payload = udp.payload();
        let (src_port, dst_port) = (udp.src_port(), udp.dst_port());
        Some(Self {
            src_mac,
            dst_mac,
            src_ip,
            dst_ip,
            src_port,
            dst_port,
            payload,
        })
    }

    /// Writes the headers in front of a payload of `len` bytes that already
    /// stands at [`UDP_HEADERS`] in `frame`; `self.payload` is not looked at.
    /// Returns the length of the frame.
    pub fn emit_headers(&self, frame: &mut [u8], len: usize) -> usize {
        let checksums = ChecksumCapabilities::default();
        let total = UDP_HEADERS + len;
        let frame = &mut frame[..total];
        emit_ethernet(frame, self.src_mac, self.dst_mac, EthernetProtocol::Ipv4);
        let ipv4 = Ipv4Repr {
            src_addr: self.src_ip,
            dst_addr: self.dst_ip,
            next_header: IpProtocol::Udp,
            payload_len: UDP_LEN + len,
            hop_limit: 64,
        };
        ipv4.emit(
            &mut Ipv4Packet::new_unchecked(&mut frame[ETHERNET_LEN..]),
            &checksums,
        );
        let mut udp = UdpPacket::new_unchecked(&mut frame[ETHERNET_LEN + IPV4_LEN..]);
        udp.set_src_port(self.src_port);
        udp.set_dst_port(self.dst_port);
        udp.set_len((UDP_LEN + len) as u16);
        udp.fill_checksum(&IpAddress::Ipv4(self.src_ip), &IpAddress::Ipv4(self.dst_ip));
        total
    }
}

/// What an ARP frame says: "`ip` is at `mac`", as a question or an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arp {
    /// Whether it is an answer.
    pub reply: bool,
    /// Hardware address of the sender.
    pub mac: MacAddr,
    /// Protocol address of the sender, `0.0.0.0` in a probe (RFC 5227 §2.1.1).
    pub ip: Ipv4Addr,
    /// The address asked for, or that of the machine that is answered.
    pub target: Ipv4Addr,
}

impl Arp {
    /// Reads a frame that carries ARP for IPv4 over Ethernet.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let ethernet = EthernetFrame::new_checked(frame).ok()?;
        if ethernet.ethertype() != EthernetProtocol::Arp {
            return None;
        }
        let packet = ArpPacket::new_checked(ethernet.payload()).ok()?;
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr,
            source_protocol_addr,
            target_protocol_addr,
            ..
        } = ArpRepr::parse(&packet).ok()?
        else {
            return None;
        };
        let reply = match operation {
            ArpOperation::Request => false,
            ArpOperation::Reply => true,
            ArpOperation::Unknown(_) => return None,
        };
        let mac = MacAddr(source_hardware_addr.0);
        Some(Self {
            reply,
            mac,
            ip: source_protocol_addr,
            target: target_protocol_addr,
        })
    }

    /// Writes a frame that asks who has `target`, from `mac` with sender
    /// address `self.ip`, or (`reply`) tells `to` that `ip` is at `mac`.
    pub fn emit(&self, to: MacAddr, frame: &mut [u8]) -> usize {
        let frame = &mut frame[..ARP_LEN];
        emit_ethernet(frame, self.mac, to, EthernetProtocol::Arp);
        let operation = if self.reply {
            ArpOperation::Reply
        } else {
            ArpOperation::Request
        };
        let target_mac = if self.reply { to.0 } else { [0; 6] };
        ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: EthernetAddress(self.mac.0),
            source_protocol_addr: self.ip,
            target_hardware_addr: EthernetAddress(target_mac),
            target_protocol_addr: self.target,
        }
        .emit(&mut ArpPacket::new_unchecked(&mut frame[ETHERNET_LEN..]));
        ARP_LEN
    }
}

/// An ICMP echo reply inside an Ethernet frame: who sent it, and its ident.
pub fn parse_echo_reply(frame: &[u8]) -> Option<(Ipv4Addr, u16)> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    if ethernet.ethertype() != EthernetProtocol::Ipv4 {
        return None;
    }
    let ipv4 = Ipv4Packet::new_checked(ethernet.payload()).ok()?;
    if ipv4.next_header() != IpProtocol::Icmp || ipv4.frag_offset() != 0 {
        return None;
    }
    let icmp = Icmpv4Packet::new_checked(ipv4.payload()).ok()?;
    match Icmpv4Repr::parse(&icmp, &ChecksumCapabilities::default()).ok()? {
        Icmpv4Repr::EchoReply { ident, .. } => Some((ipv4.src_addr(), ident)),
        _ => None,
    }
}

/// Writes an ICMP echo request without data; returns the frame's length.
pub fn emit_echo_request(
    src: (MacAddr, Ipv4Addr),
    dst: (MacAddr, Ipv4Addr),
    ident: u16,
    frame: &mut [u8],
) -> usize {
    let checksums = ChecksumCapabilities::default();
    let echo = Icmpv4Repr::EchoRequest {
        ident,
        seq_no: 0,
        data: &[],
    };
    let total = ETHERNET_LEN + IPV4_LEN + echo.buffer_len();
    let frame = &mut frame[..total];
    emit_ethernet(frame, src.0, dst.0, EthernetProtocol::Ipv4);
    Ipv4Repr {
        src_addr: src.1,
        dst_addr: dst.1,
        next_header: IpProtocol::Icmp,
        payload_len: echo.buffer_len(),
        hop_limit: 64,
    }
    .emit(
        &mut Ipv4Packet::new_unchecked(&mut frame[ETHERNET_LEN..]),
        &checksums,
    );
    echo.emit(
        &mut Icmpv4Packet::new_unchecked(&mut frame[ETHERNET_LEN + IPV4_LEN..]),
        &checksums,
    );
    total
}

fn emit_ethernet(frame: &mut [u8], src: MacAddr, dst: MacAddr, ethertype: EthernetProtocol) {
    EthernetRepr {
        src_addr: EthernetAddress(src.0),
        dst_addr: EthernetAddress(dst.0),
        ethertype,
    }
    .emit(&mut EthernetFrame::new_unchecked(frame));
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const CLIENT: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const SERVER_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const CLIENT_IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 50);

    fn datagram(payload: &[u8]) -> Datagram<'_> {
        Datagram {
            src_mac: SERVER,
            dst_mac: CLIENT,
            src_ip: SERVER_IP,
            dst_ip: CLIENT_IP,
            src_port: 67,
            dst_port: 68,
            payload,
        }
    }

    #[test]
    fn a_datagram_reads_back_as_it_was_written() {
        let mut frame = [0; FRAME_LEN];
        let payload = b"bootreply";
        frame[UDP_HEADERS..][..payload.len()].copy_from_slice(payload);
        let len = datagram(&[]).emit_headers(&mut frame, payload.len());
        assert_eq!(Datagram::parse(&frame[..len]), Some(datagram(payload)));
    }

    #[test]
    fn damaged_datagrams_are_not_read() {
        let mut frame = [0; FRAME_LEN];
        let len = datagram(&[]).emit_headers(&mut frame, 100);
        for at in ETHERNET_LEN..len {
            let mut bad = frame;
            bad[at] ^= 0x20;
            // The ident, type-of-service and ttl bytes are covered by the
            // header checksum, the rest by UDP's.
            assert_eq!(Datagram::parse(&bad[..len]), None, "byte {at}");
        }
        for cut in 0..len {
            assert_eq!(Datagram::parse(&frame[..cut]), None, "cut at {cut}");
        }
    }

    #[test]
    fn arp_reads_back_as_it_was_written() {
        let mut frame = [0; FRAME_LEN];
        let arp = Arp {
            reply: true,
            mac: SERVER,
            ip: SERVER_IP,
            target: CLIENT_IP,
        };
        let len = arp.emit(CLIENT, &mut frame);
        assert_eq!(Arp::parse(&frame[..len]), Some(arp));
    }

    #[test]
    fn only_echo_replies_are_taken_for_one() {
        let mut frame = [0; FRAME_LEN];
        let len = emit_echo_request((SERVER, SERVER_IP), (CLIENT, CLIENT_IP), 7, &mut frame);
        assert_eq!(parse_echo_reply(&frame[..len]), None);
        // Turn it into the reply: type 0, and the checksum that goes with it.
        frame[34] = 0;
        let icmp = &mut frame[34..len];
        Icmpv4Packet::new_unchecked(icmp).fill_checksum();
        assert_eq!(parse_echo_reply(&frame[..len]), Some((SERVER_IP, 7)));
    }

    #[test]
    fn a_full_ring_drops_and_counts() {
        let ring = FrameRing::<2>::new();
        for n in 0..3u8 {
            ring.push(&[n]);
        }
        assert_eq!(ring.take_dropped(), 1);
        assert_eq!(ring.pop_with(|f| f[0]), Some(0));
        ring.push(&[9; 60]);
        assert_eq!(ring.front_len(), Some(1));
        assert_eq!(ring.pop_with(|f| f[0]), Some(1));
        assert_eq!(ring.pop_with(<[u8]>::len), Some(60));
        assert!(ring.is_empty());
    }
}
