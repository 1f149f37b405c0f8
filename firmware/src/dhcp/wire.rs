//! The DHCP message on the wire: checked access to a packet, and the meaning
//! of its fixed fields (RFC 2131 §2).

use core::fmt;
use core::net::Ipv4Addr;

use super::options::{self, Options};
use crate::MacAddr;

/// UDP port of servers and relays.
pub const SERVER_PORT: u16 = 67;
/// UDP port of clients.
pub const CLIENT_PORT: u16 = 68;
/// UDP port of PXE boot servers (PXE 2.1 §2.2).
pub const BOOT_SERVER_PORT: u16 = 4011;

/// Length of the fixed fields and the magic cookie: where options start.
pub const HEADER_LEN: usize = 240;
/// Length of the `file` field.
pub const FILE_LEN: usize = 128;
/// Length of the `sname` field.
pub const SNAME_LEN: usize = 64;
/// Old relays drop shorter messages: a BOOTP packet had this length (RFC 951).
pub const MIN_LEN: usize = 300;
/// IPv4 and UDP headers, which the maximum message size (57) includes.
pub const IP_UDP_LEN: usize = 28;
/// Every client takes a datagram of this size (RFC 2131 §2).
pub const MIN_MAX_MESSAGE: u16 = 576;
/// No reply is longer than what one Ethernet frame carries.
pub const MAX_LEN: usize = 1500 - IP_UDP_LEN;

/// "DHCP": what sets options apart from a BOOTP vendor area (RFC 2131 §3).
const MAGIC: [u8; 4] = [99, 130, 83, 99];

mod field {
    use core::ops::Range;

    pub(super) const OP: usize = 0;
    pub(super) const HTYPE: usize = 1;
    pub(super) const HLEN: usize = 2;
    pub(super) const HOPS: usize = 3;
    pub(super) const XID: usize = 4;
    pub(super) const SECS: usize = 8;
    pub(super) const FLAGS: usize = 10;
    pub(super) const CIADDR: usize = 12;
    pub(super) const YIADDR: usize = 16;
    pub(super) const SIADDR: usize = 20;
    pub(super) const GIADDR: usize = 24;
    pub(super) const CHADDR: usize = 28;
    pub(super) const SNAME: Range<usize> = 44..108;
    pub(super) const FILE: Range<usize> = 108..236;
    pub(super) const MAGIC: usize = 236;
}

/// Direction of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Op {
    /// From a client.
    Request,
    /// From a server.
    Reply,
}

/// Type of a message (option 53, RFC 2132 §9.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[allow(missing_docs)] // The names are the RFC's.
pub enum MessageType {
    Discover = 1,
    Offer = 2,
    Request = 3,
    Decline = 4,
    Ack = 5,
    Nak = 6,
    Release = 7,
    Inform = 8,
}

impl MessageType {
    /// The type with this number.
    pub const fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            1 => Self::Discover,
            2 => Self::Offer,
            3 => Self::Request,
            4 => Self::Decline,
            5 => Self::Ack,
            6 => Self::Nak,
            7 => Self::Release,
            8 => Self::Inform,
            _ => return None,
        })
    }
}

/// Why a packet is no DHCP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum WireError {
    /// Shorter than the fixed fields; its length in bytes.
    Truncated(usize),
    /// The options do not start with the magic cookie: plain BOOTP.
    Magic,
    /// Neither BOOTREQUEST nor BOOTREPLY.
    Op(u8),
    /// A hardware address longer than its field.
    HardwareLength(u8),
    /// An option reaches past the end of its area.
    OptionTruncated(u8),
    /// An option's value has a wrong length: code and length in bytes.
    OptionLength(u8, usize),
    /// No message type, or an unknown one.
    MessageType,
    /// Neither a client identifier nor a station's hardware address.
    NoClient,
}

impl fmt::Display for WireError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated(len) => write!(f, "{len} bytes, expected at least {HEADER_LEN}"),
            Self::Magic => f.write_str("no magic cookie: plain BOOTP is not served"),
            Self::Op(op) => write!(f, "op {op}, expected 1 or 2"),
            Self::HardwareLength(len) => {
                write!(f, "hardware address of {len} bytes, expected at most 16")
            }
            Self::OptionTruncated(code) => write!(f, "option {code} reaches past the end"),
            Self::OptionLength(code, len) => write!(f, "option {code} has a length of {len}"),
            Self::MessageType => f.write_str("no known message type in option 53"),
            Self::NoClient => f.write_str("neither client identifier nor hardware address"),
        }
    }
}

impl core::error::Error for WireError {}

/// A read/write wrapper around a DHCP message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<T: AsRef<[u8]>> {
    buffer: T,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Wraps a message of at least [`HEADER_LEN`] bytes whose options all end
    /// inside of their areas, so that no accessor can fail.
    pub fn new_checked(buffer: T) -> Result<Self, WireError> {
        let packet = Self { buffer };
        let len = packet.buffer.as_ref().len();
        if len < HEADER_LEN {
            return Err(WireError::Truncated(len));
        }
        if packet.bytes(field::MAGIC) != MAGIC {
            return Err(WireError::Magic);
        }
        packet.options().check()?;
        Ok(packet)
    }

    fn header(&self) -> &[u8; HEADER_LEN] {
        const EMPTY: &[u8; HEADER_LEN] = &[0; HEADER_LEN];
        // Every constructor has checked the length.
        self.buffer.as_ref().first_chunk().unwrap_or(EMPTY)
    }

    fn bytes<const N: usize>(&self, at: usize) -> [u8; N] {
        let mut bytes = [0; N];
        bytes.copy_from_slice(&self.header()[at..at + N]);
        bytes
    }

    fn address(&self, at: usize) -> Ipv4Addr {
        Ipv4Addr::from(self.bytes::<4>(at))
    }

    /// Direction as a number: 1 request, 2 reply.
    pub fn op(&self) -> u8 {
        self.header()[field::OP]
    }

    /// Hardware type (RFC 1700): 1 is Ethernet.
    pub fn htype(&self) -> u8 {
        self.header()[field::HTYPE]
    }

    /// Length of the hardware address in bytes.
    pub fn hlen(&self) -> u8 {
        self.header()[field::HLEN]
    }

    /// Transaction id.
    pub fn xid(&self) -> u32 {
        u32::from_be_bytes(self.bytes(field::XID))
    }

    /// Seconds since the client began.
    pub fn secs(&self) -> u16 {
        u16::from_be_bytes(self.bytes(field::SECS))
    }

    /// Whether the client can not receive unicast yet.
    pub fn broadcast(&self) -> bool {
        self.header()[field::FLAGS] & 0x80 != 0
    }

    /// The client's address, if it may be used already.
    pub fn ciaddr(&self) -> Ipv4Addr {
        self.address(field::CIADDR)
    }

    /// "Your" address: what the server gives.
    pub fn yiaddr(&self) -> Ipv4Addr {
        self.address(field::YIADDR)
    }

    /// The next server: where the boot file is.
    pub fn siaddr(&self) -> Ipv4Addr {
        self.address(field::SIADDR)
    }

    /// The relay that passed this on.
    pub fn giaddr(&self) -> Ipv4Addr {
        self.address(field::GIADDR)
    }

    /// The field of the client's hardware address.
    pub fn chaddr(&self) -> [u8; 16] {
        self.bytes(field::CHADDR)
    }

    /// The field of the server's name.
    pub fn sname(&self) -> &[u8] {
        &self.header()[field::SNAME]
    }

    /// The field of the boot file's name.
    pub fn file(&self) -> &[u8] {
        &self.header()[field::FILE]
    }

    /// All options, from every area that carries some.
    pub fn options(&self) -> Options<'_> {
        let main = self.buffer.as_ref().get(HEADER_LEN..).unwrap_or_default();
        Options::new(main, self.file(), self.sname())
    }
}

impl<T: AsRef<[u8]> + AsMut<[u8]>> Packet<T> {
    /// Wraps an empty message: all zero but for the magic cookie.
    pub fn new_zeroed(mut buffer: T) -> Result<Self, WireError> {
        let bytes = buffer.as_mut();
        let len = bytes.len();
        let Some(header) = bytes.first_chunk_mut::<HEADER_LEN>() else {
            return Err(WireError::Truncated(len));
        };
        header.fill(0);
        header[field::MAGIC..].copy_from_slice(&MAGIC);
        Ok(Self { buffer })
    }

    fn set(&mut self, at: usize, value: &[u8]) {
        // The constant offsets lie inside of the header that was checked.
        if let Some(bytes) = self.buffer.as_mut().get_mut(at..at + value.len()) {
            bytes.copy_from_slice(value);
        }
    }

    /// Writes the boot file's name, which must leave room for its final NUL.
    pub fn set_file(&mut self, name: &[u8]) {
        if name.len() < FILE_LEN {
            self.set(field::FILE.start, name);
        }
    }

    /// The three areas that options can be written to: after the header,
    /// `file` and `sname`.
    pub fn option_areas(&mut self) -> (&mut [u8], &mut [u8], &mut [u8]) {
        let buffer = self.buffer.as_mut();
        let (header, main) = buffer.split_at_mut(HEADER_LEN.min(buffer.len()));
        let (head, file) = header.split_at_mut(field::FILE.start.min(header.len()));
        let sname = head.get_mut(field::SNAME).unwrap_or_default();
        let file = file.get_mut(..FILE_LEN).unwrap_or_default();
        (main, file, sname)
    }
}

/// The meaning of the fixed fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Repr {
    /// Direction.
    pub op: Op,
    /// Hardware type (RFC 1700).
    pub htype: u8,
    /// Length of the hardware address, at most 16 bytes.
    pub hlen: u8,
    /// Relays passed.
    pub hops: u8,
    /// Transaction id.
    pub xid: u32,
    /// Seconds since the client began.
    pub secs: u16,
    /// Whether the reply must be broadcast.
    pub broadcast: bool,
    /// The client's address, if it may be used already.
    pub ciaddr: Ipv4Addr,
    /// The address given.
    pub yiaddr: Ipv4Addr,
    /// The next server.
    pub siaddr: Ipv4Addr,
    /// The relay.
    pub giaddr: Ipv4Addr,
    /// Hardware address, `hlen` bytes of it.
    pub chaddr: [u8; 16],
}

/// Hardware type of Ethernet (RFC 1700).
const ETHERNET: u8 = 1;

impl Repr {
    /// The fixed fields of a request by an Ethernet station.
    pub const fn request(mac: MacAddr, xid: u32) -> Self {
        let [a, b, c, d, e, f] = mac.0;
        Self {
            op: Op::Request,
            htype: ETHERNET,
            hlen: 6,
            hops: 0,
            xid,
            secs: 0,
            broadcast: true,
            ciaddr: Ipv4Addr::UNSPECIFIED,
            yiaddr: Ipv4Addr::UNSPECIFIED,
            siaddr: Ipv4Addr::UNSPECIFIED,
            giaddr: Ipv4Addr::UNSPECIFIED,
            chaddr: [a, b, c, d, e, f, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        }
    }

    /// Understands the fixed fields.
    pub fn parse<T: AsRef<[u8]>>(packet: &Packet<T>) -> Result<Self, WireError> {
        let op = match packet.op() {
            1 => Op::Request,
            2 => Op::Reply,
            other => return Err(WireError::Op(other)),
        };
        let hlen = packet.hlen();
        if hlen > 16 {
            return Err(WireError::HardwareLength(hlen));
        }
        Ok(Self {
            op,
            htype: packet.htype(),
            hlen,
            hops: packet.header()[field::HOPS],
            xid: packet.xid(),
            secs: packet.secs(),
            broadcast: packet.broadcast(),
            ciaddr: packet.ciaddr(),
            yiaddr: packet.yiaddr(),
            siaddr: packet.siaddr(),
            giaddr: packet.giaddr(),
            chaddr: packet.chaddr(),
        })
    }

    /// Writes the fixed fields.
    pub fn emit<T: AsRef<[u8]> + AsMut<[u8]>>(&self, packet: &mut Packet<T>) {
        let op = match self.op {
            Op::Request => 1,
            Op::Reply => 2,
        };
        let flags = if self.broadcast { 0x8000_u16 } else { 0 };
        packet.set(field::OP, &[op, self.htype, self.hlen, self.hops]);
        packet.set(field::XID, &self.xid.to_be_bytes());
        packet.set(field::SECS, &self.secs.to_be_bytes());
        packet.set(field::FLAGS, &flags.to_be_bytes());
        packet.set(field::CIADDR, &self.ciaddr.octets());
        packet.set(field::YIADDR, &self.yiaddr.octets());
        packet.set(field::SIADDR, &self.siaddr.octets());
        packet.set(field::GIADDR, &self.giaddr.octets());
        packet.set(field::CHADDR, &self.chaddr);
    }

    /// The hardware address as far as it is one.
    pub fn hardware(&self) -> &[u8] {
        self.chaddr.get(..usize::from(self.hlen)).unwrap_or(&[])
    }

    /// The station's Ethernet address, if it has one that can be sent to.
    pub fn station(&self) -> Option<MacAddr> {
        let mac = MacAddr(*self.chaddr.first_chunk()?);
        (self.htype == ETHERNET && self.hlen == 6 && mac.is_unicast()).then_some(mac)
    }
}

/// Writes a DHCPDISCOVER by which a server looks for others on its LAN, and
/// returns its length.
///
/// # Errors
/// [`WireError::Truncated`] if `buf` holds less than [`MIN_LEN`] bytes.
pub fn emit_discover(buf: &mut [u8], mac: MacAddr, xid: u32) -> Result<usize, WireError> {
    let len = buf.len();
    let buf = buf.get_mut(..MIN_LEN).ok_or(WireError::Truncated(len))?;
    let mut packet = Packet::new_zeroed(buf)?;
    Repr::request(mac, xid).emit(&mut packet);
    let (main, _, _) = packet.option_areas();
    main.fill(options::PAD);
    let discover = [
        options::MESSAGE_TYPE,
        1,
        MessageType::Discover as u8,
        options::END,
    ];
    if let Some(start) = main.first_chunk_mut() {
        *start = discover;
    }
    Ok(MIN_LEN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_emitted_is_parsed_again() {
        let repr = Repr {
            op: Op::Reply,
            hops: 3,
            secs: 0x1234,
            broadcast: false,
            ciaddr: Ipv4Addr::new(1, 2, 3, 4),
            yiaddr: Ipv4Addr::new(5, 6, 7, 8),
            siaddr: Ipv4Addr::new(9, 10, 11, 12),
            giaddr: Ipv4Addr::new(13, 14, 15, 16),
            ..Repr::request(MacAddr([2, 0, 0, 0, 0, 9]), 0xdead_beef)
        };
        let mut bytes = [0xaa; 300];
        let mut packet = Packet::new_zeroed(&mut bytes[..]).unwrap();
        repr.emit(&mut packet);
        packet.set_file(b"ipxe.efi");
        packet.option_areas().0.fill(options::PAD);
        let packet = Packet::new_checked(&bytes[..]).unwrap();
        assert_eq!(Repr::parse(&packet), Ok(repr));
        assert_eq!(&packet.file()[..9], b"ipxe.efi\0");
        assert_eq!(repr.station(), Some(MacAddr([2, 0, 0, 0, 0, 9])));
    }

    #[test]
    fn what_is_no_message_says_why() {
        let mut bytes = [0; 300];
        emit_discover(&mut bytes, MacAddr([2, 0, 0, 0, 0, 1]), 7).unwrap();
        type Damage = fn(&mut [u8]);
        let table: [(Damage, usize, WireError); 5] = [
            (|_| (), 239, WireError::Truncated(239)),
            (|b| b[236] = 0, 300, WireError::Magic),
            (|b| b[0] = 3, 300, WireError::Op(3)),
            (|b| b[2] = 17, 300, WireError::HardwareLength(17)),
            (|b| b[241] = 200, 300, WireError::OptionTruncated(53)),
        ];
        for (damage, len, error) in table {
            let mut bytes = bytes;
            damage(&mut bytes);
            let parsed = Packet::new_checked(&bytes[..len]).and_then(|p| Repr::parse(&p));
            assert_eq!(parsed, Err(error));
        }
    }

    #[test]
    fn only_stations_can_be_sent_to() {
        let station = |htype, hlen, first| {
            Repr {
                htype,
                hlen,
                ..Repr::request(MacAddr([first, 0, 0, 0, 0, 1]), 0)
            }
            .station()
        };
        assert!(station(1, 6, 2).is_some());
        assert!(station(32, 6, 2).is_none(), "InfiniBand");
        assert!(station(1, 16, 2).is_none(), "too long");
        assert!(station(1, 6, 0xff).is_none(), "a group");
    }
}
