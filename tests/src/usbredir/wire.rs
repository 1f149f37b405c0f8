//! The messages of the usb-redir protocol as bytes: little-endian, no padding.
//!
//! A message is a header (type, length of what follows, id), a part that its
//! type rules, and for some types data. Some lengths depend on the
//! capabilities that both sides have said hello with: [`Format`].

mod message;

use std::fmt;

pub use message::Message;

/// Endpoints in the tables of [`Message::EndpointInfo`]: 16 OUT, then 16 IN.
pub const ENDPOINTS: usize = 32;
/// Bytes of the version text in a hello.
const VERSION_LEN: usize = 64;
/// Longest message taken: bulk lengths are 16 bits wide, and the rest is small.
pub const MAX_LENGTH: usize = 128 * 1024;

/// What a side can do, as bits of its hello.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Capabilities(pub u32);

impl Capabilities {
    /// `device_connect` carries the device's version.
    pub const CONNECT_VERSION: Self = Self(1 << 1);
    /// A device may be rejected with a message.
    pub const FILTER: Self = Self(1 << 2);
    /// `ep_info` carries packet sizes.
    pub const MAX_PACKET_SIZE: Self = Self(1 << 4);
    /// Ids have 64 bits.
    pub const LONG_IDS: Self = Self(1 << 5);
    /// Bulk lengths have 32 bits. QEMU combines bulk IN requests when a device
    /// has this, and its DWC2 does not expect that.
    pub const LONG_BULK: Self = Self(1 << 6);

    /// Those of both sets.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Those that both sides have.
    #[must_use]
    pub const fn common(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    /// Whether all of `other` are in it.
    #[must_use]
    pub const fn has(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }
}

/// How long the parts of a message are, which follows from what both sides can do.
///
/// The default is the format of a hello, before anything is agreed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Format(pub Capabilities);

impl Format {
    /// Bytes of a header.
    #[must_use]
    pub const fn header_len(self) -> usize {
        if self.0.has(Capabilities::LONG_IDS) {
            16
        } else {
            12
        }
    }
}

/// Why bytes are not a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Error {
    /// No type of the protocol, or one that only this side may send.
    Unknown(u32),
    /// The length in the header does not fit the type.
    Length {
        /// The type.
        kind: u32,
        /// The length.
        length: usize,
    },
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown(kind) => write!(f, "usb-redir message of unknown type {kind}"),
            Self::Length { kind, length } => {
                write!(f, "usb-redir message of type {kind} with {length} bytes")
            }
        }
    }
}

impl std::error::Error for Error {}

/// How a transfer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// As it should.
    Success,
    /// It was taken back.
    Cancelled,
    /// It was not possible by this configuration.
    Invalid,
    /// The device did not answer, or garbled.
    IoError,
    /// STALL.
    Stall,
    /// The device took too long.
    Timeout,
    /// The device sent more than it was asked for.
    Babble,
}

impl Status {
    const ALL: [Self; 7] = [
        Self::Success,
        Self::Cancelled,
        Self::Invalid,
        Self::IoError,
        Self::Stall,
        Self::Timeout,
        Self::Babble,
    ];

    fn code(self) -> u8 {
        self as u8
    }

    /// An unknown failure is still a failure.
    fn of(code: u8) -> Self {
        let known = Self::ALL.get(usize::from(code));
        known.copied().unwrap_or(Self::IoError)
    }
}

/// An endpoint's type (USB 2.0 §9.6.6).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum EndpointType {
    /// Control.
    Control = 0,
    /// Isochronous.
    Isochronous = 1,
    /// Bulk.
    Bulk = 2,
    /// Interrupt.
    Interrupt = 3,
    /// There is no such endpoint.
    #[default]
    None = 255,
}

impl EndpointType {
    fn of(code: u8) -> Self {
        match code {
            0 => Self::Control,
            1 => Self::Isochronous,
            2 => Self::Bulk,
            3 => Self::Interrupt,
            _ => Self::None,
        }
    }
}

/// A device's speed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Speed {
    /// 1.5 Mbit/s.
    Low = 0,
    /// 12 Mbit/s.
    Full = 1,
    /// 480 Mbit/s.
    High = 2,
}

/// One row of [`Message::EndpointInfo`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct EndpointRow {
    /// Its type.
    pub kind: EndpointType,
    /// `bInterval`.
    pub interval: u8,
    /// The interface that has it.
    pub interface: u8,
    /// `wMaxPacketSize`.
    pub max_packet: u16,
}

/// Where an endpoint's row is.
#[must_use]
pub const fn row_of(address: u8) -> usize {
    ((address & 0x80) >> 3 | address & 0x0F) as usize
}

/// The header of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its type.
    pub kind: u32,
    /// Bytes that follow.
    pub length: usize,
    /// Names a request, and its answer after it.
    pub id: u64,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` means: read more.
    pub fn parse(bytes: &[u8], format: Format) -> Result<Option<Self>, Error> {
        if bytes.len() < format.header_len() {
            return Ok(None);
        }
        let mut fields = Fields(bytes);
        let (kind, length) = (fields.u32()?, fields.u32()?);
        let id = if format.0.has(Capabilities::LONG_IDS) {
            u64::from(fields.u32()?) | u64::from(fields.u32()?) << 32
        } else {
            fields.u32()?.into()
        };
        match usize::try_from(length) {
            Ok(length) if length <= MAX_LENGTH => Ok(Some(Self { kind, length, id })),
            _ => Err(Error::Length {
                kind,
                length: usize::MAX,
            }),
        }
    }
}

/// What is left of a message's bytes. Too few are reported as the wrong
/// length by [`Message::parse`], so the error here needs no detail.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8], Error> {
        let (taken, rest) = self.0.split_at_checked(n).ok_or(Error::Length {
            kind: 0,
            length: self.0.len(),
        })?;
        self.0 = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    fn u8(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    fn u16(&mut self) -> Result<u16, Error> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, Error> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn status(&mut self) -> Result<Status, Error> {
        Ok(Status::of(self.u8()?))
    }

    fn rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0).to_vec()
    }
}

#[cfg(test)]
mod tests;
