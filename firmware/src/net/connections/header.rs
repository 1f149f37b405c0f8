//! The header of a TCP segment: read, and two numbers in it written anew.

use core::net::SocketAddrV4;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, Ipv4Packet, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};

/// Where things are in a TCP header (RFC 9293 §3.1).
pub(super) const SEQUENCE: usize = 4;
pub(super) const ACKNOWLEDGEMENT: usize = 8;
const CHECKSUM: usize = 16;

/// What the header of a TCP segment says, and the IP addresses before it.
pub(super) struct Header {
    pub(super) from: SocketAddrV4,
    pub(super) to: SocketAddrV4,
    pub(super) control: TcpControl,
    pub(super) sequence: TcpSeqNumber,
    pub(super) ack: Option<TcpSeqNumber>,
    pub(super) window: u16,
    pub(super) scale: Option<u8>,
    pub(super) segment: Option<u16>,
    pub(super) selective: bool,
    pub(super) blocks: [Option<(u32, u32)>; 3],
    /// Bytes of data.
    pub(super) len: usize,
}

impl Header {
    /// Reads an IPv4 packet that carries a TCP segment.
    pub(super) fn read(packet: &[u8], checksums: &ChecksumCapabilities) -> Option<Self> {
        let ipv4 = Ipv4Packet::new_checked(packet).ok()?;
        let is_sound = !checksums.ipv4.rx() || ipv4.verify_checksum();
        if ipv4.next_header() != IpProtocol::Tcp || ipv4.more_frags() || !is_sound {
            return None;
        }
        let (src, dst) = (ipv4.src_addr(), ipv4.dst_addr());
        let segment = TcpPacket::new_checked(ipv4.payload()).ok()?;
        let repr = TcpRepr::parse(&segment, &src.into(), &dst.into(), checksums).ok()?;
        Some(Self {
            from: SocketAddrV4::new(src, repr.src_port),
            to: SocketAddrV4::new(dst, repr.dst_port),
            control: repr.control,
            sequence: repr.seq_number,
            ack: repr.ack_number,
            window: repr.window_len,
            scale: repr.window_scale.map(|scale| scale.min(14)),
            segment: repr.max_seg_size,
            selective: repr.sack_permitted,
            blocks: repr.sack_ranges,
            len: repr.payload.len(),
        })
    }
}

/// The one further on.
pub(super) fn later(a: TcpSeqNumber, b: TcpSeqNumber) -> TcpSeqNumber {
    if a < b { b } else { a }
}

/// Writes a number into the TCP header of an IPv4 packet and mends the checksum
/// (RFC 1624 §3), if there is one: what the NIC is to fill in stays wrong.
pub(super) fn put_number(packet: &mut [u8], at: usize, number: u32) {
    let header = packet.first().map_or(0, |byte| usize::from(byte & 0xf) * 4);
    let Some(segment) = packet.get_mut(header..) else {
        return;
    };
    let Some(field) = segment.get_mut(at..).and_then(<[u8]>::first_chunk_mut) else {
        return;
    };
    let before = u32::from_be_bytes(core::mem::replace(field, number.to_be_bytes()));
    let Some(field) = segment
        .get_mut(CHECKSUM..)
        .and_then(<[u8]>::first_chunk_mut)
    else {
        return;
    };
    let words = |number: u32| (number >> 16) + (number & 0xffff);
    let mut sum = u32::from(!u16::from_be_bytes(*field)) + words(!before) + words(number);
    while sum > 0xffff {
        sum = words(sum);
    }
    *field = (!(sum as u16)).to_be_bytes();
}
