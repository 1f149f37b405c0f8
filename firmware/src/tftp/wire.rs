//! TFTP packets: RFC 1350, with the options of RFC 2347, 2348, 2349 and 7440.
//!
//! [`Packet`] gives checked access to the fields of a datagram, [`Repr`] is
//! what a datagram means.

use core::fmt::{self, Write as _};

/// The port that requests are sent to.
pub const PORT: u16 = 69;
/// Length of the header of DATA, ACK and ERROR: opcode and block number (or
/// error code).
pub const HEADER_LEN: usize = 4;
/// Bytes in a block when no block size was agreed on (RFC 1350 §2).
pub const BLKSIZE_DEFAULT: u16 = 512;
/// Smallest block size that may be asked for (RFC 2348).
pub const BLKSIZE_MIN: u16 = 8;
/// Largest block size that may be asked for (RFC 2348).
pub const BLKSIZE_MAX: u16 = 65464;

/// Why a datagram is no TFTP packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// It ends before its fixed fields do.
    Truncated,
    /// RFC 1350 knows no such opcode.
    Opcode(u16),
    /// A file name or mode is not ended by NUL, or is not UTF-8.
    Text,
    /// The transfer mode is neither octet nor netascii nor mail.
    Mode,
    /// The buffer to write into is too small.
    NoRoom,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => f.write_str("packet too short"),
            Self::Opcode(code) => write!(f, "opcode {code} is not TFTP"),
            Self::Text => f.write_str("file name or mode is not NUL-terminated text"),
            Self::Mode => f.write_str("unknown transfer mode: ask for octet"),
            Self::NoRoom => f.write_str("packet does not fit its buffer"),
        }
    }
}

impl core::error::Error for Error {}

/// What a packet is for (RFC 1350 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u16)]
pub enum Opcode {
    /// RRQ
    Read = 1,
    /// WRQ
    Write = 2,
    /// DATA
    Data = 3,
    /// ACK
    Ack = 4,
    /// ERROR
    Error = 5,
    /// OACK (RFC 2347)
    OptionAck = 6,
}

impl Opcode {
    /// The opcode with this number.
    const fn from_wire(code: u16) -> Result<Self, Error> {
        Ok(match code {
            1 => Self::Read,
            2 => Self::Write,
            3 => Self::Data,
            4 => Self::Ack,
            5 => Self::Error,
            6 => Self::OptionAck,
            _ => return Err(Error::Opcode(code)),
        })
    }

    /// Bytes before the variable part.
    const fn fixed_len(self) -> usize {
        match self {
            Self::Read | Self::Write | Self::OptionAck => 2,
            Self::Data | Self::Ack | Self::Error => HEADER_LEN,
        }
    }
}

/// The number in an ERROR packet (RFC 1350 §5, RFC 2347).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ErrorCode(pub u16);

impl ErrorCode {
    /// Not defined: the message says what is wrong.
    pub const UNDEFINED: Self = Self(0);
    /// File not found.
    pub const NOT_FOUND: Self = Self(1);
    /// Access violation.
    pub const ACCESS: Self = Self(2);
    /// Illegal TFTP operation.
    pub const ILLEGAL: Self = Self(4);
    /// Unknown transfer ID.
    pub const UNKNOWN_TRANSFER: Self = Self(5);
    /// The options of the OACK are not acceptable (RFC 2347).
    pub const OPTIONS: Self = Self(8);
}

/// How the bytes of a file are sent (RFC 1350 §1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mode {
    /// As they are.
    Octet,
    /// As lines of text that end with CR LF (RFC 764).
    Netascii,
    /// To a user's mailbox: obsolete.
    Mail,
}

impl Mode {
    const fn name(self) -> &'static str {
        match self {
            Self::Octet => "octet",
            Self::Netascii => "netascii",
            Self::Mail => "mail",
        }
    }

    fn from_wire(text: &str) -> Result<Self, Error> {
        [Self::Octet, Self::Netascii, Self::Mail]
            .into_iter()
            .find(|mode| mode.name().eq_ignore_ascii_case(text))
            .ok_or(Error::Mode)
    }
}

/// The options of a request or of its OACK.
///
/// Options that this crate does not know, and values that no RFC allows, are
/// left out as if they had not been sent (RFC 2347 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Options {
    /// Bytes in a block, 8–65464 (RFC 2348). More than that is read as the
    /// most.
    pub blksize: Option<u16>,
    /// Seconds before a packet is sent again, 1–255 (RFC 2349).
    pub timeout: Option<u8>,
    /// Length of the file in bytes; 0 in a read request (RFC 2349).
    pub tsize: Option<u64>,
    /// Blocks sent before an ACK is awaited, 1–65535 (RFC 7440). More than
    /// that is read as the most.
    pub windowsize: Option<u16>,
}

impl Options {
    /// Whether there is nothing to acknowledge.
    pub const fn is_empty(&self) -> bool {
        matches!(
            self,
            Self {
                blksize: None,
                timeout: None,
                tsize: None,
                windowsize: None,
            }
        )
    }

    /// Reads name and value pairs up to the end, or to the first that is cut
    /// off: some ROMs pad requests or lose the last NUL. Of an option sent
    /// twice the first counts.
    fn parse(mut bytes: &[u8]) -> Self {
        let mut options = Self::default();
        while let Some((name, rest)) = split_nul(bytes)
            && let Some((value, rest)) = split_nul(rest)
        {
            bytes = rest;
            let Some(number) = decimal(value) else {
                continue;
            };
            let at_most = |most: u16| u16::try_from(number).unwrap_or(most).min(most);
            if name.eq_ignore_ascii_case(b"blksize") {
                if number >= u64::from(BLKSIZE_MIN) {
                    options.blksize.get_or_insert(at_most(BLKSIZE_MAX));
                }
            } else if name.eq_ignore_ascii_case(b"timeout") {
                if let Ok(seconds @ 1..) = u8::try_from(number) {
                    options.timeout.get_or_insert(seconds);
                }
            } else if name.eq_ignore_ascii_case(b"tsize") {
                options.tsize.get_or_insert(number);
            } else if name.eq_ignore_ascii_case(b"windowsize") && number > 0 {
                options.windowsize.get_or_insert(at_most(u16::MAX));
            }
        }
        options
    }

    fn emit(&self, out: &mut Writer<'_>) -> Result<(), Error> {
        let pairs = [
            ("blksize", self.blksize.map(u64::from)),
            ("timeout", self.timeout.map(u64::from)),
            ("tsize", self.tsize),
            ("windowsize", self.windowsize.map(u64::from)),
        ];
        for (name, value) in pairs {
            if let Some(value) = value {
                out.text(name)?;
                write!(out, "{value}\0").map_err(|_| Error::NoRoom)?;
            }
        }
        Ok(())
    }
}

/// A read or write request (RFC 1350 §5, RFC 2347 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Request<'a> {
    /// The file, as the client spells it.
    pub filename: &'a str,
    /// How it is to be sent.
    pub mode: Mode,
    /// What the client would like to agree on.
    pub options: Options,
}

impl<'a> Request<'a> {
    fn parse(body: &'a [u8]) -> Result<Self, Error> {
        let text = |bytes| core::str::from_utf8(bytes).map_err(|_| Error::Text);
        let (filename, rest) = split_nul(body).ok_or(Error::Text)?;
        let (mode, rest) = split_nul(rest).ok_or(Error::Text)?;
        Ok(Self {
            filename: text(filename)?,
            mode: Mode::from_wire(text(mode)?)?,
            options: Options::parse(rest),
        })
    }
}

/// A datagram whose fixed fields are known to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<T: AsRef<[u8]>> {
    buffer: T,
    opcode: Opcode,
}

impl<T: AsRef<[u8]>> Packet<T> {
    /// Checks opcode and length.
    pub fn new_checked(buffer: T) -> Result<Self, Error> {
        let bytes = buffer.as_ref();
        let opcode = Opcode::from_wire(u16_at(bytes, 0).ok_or(Error::Truncated)?)?;
        if bytes.len() < opcode.fixed_len() {
            return Err(Error::Truncated);
        }
        Ok(Self { buffer, opcode })
    }

    /// What the packet is for.
    pub fn opcode(&self) -> Opcode {
        self.opcode
    }

    /// The block number of DATA and ACK, the error code of ERROR, 0 of others.
    pub fn number(&self) -> u16 {
        match self.opcode {
            Opcode::Data | Opcode::Ack | Opcode::Error => {
                u16_at(self.buffer.as_ref(), 2).unwrap_or_default()
            }
            Opcode::Read | Opcode::Write | Opcode::OptionAck => 0,
        }
    }
}

impl<'a, T: AsRef<[u8]> + ?Sized> Packet<&'a T> {
    /// What follows the fixed fields.
    pub fn body(&self) -> &'a [u8] {
        let bytes = self.buffer.as_ref();
        bytes.get(self.opcode.fixed_len()..).unwrap_or_default()
    }
}

/// What a packet means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Repr<'a> {
    /// RRQ: send me a file.
    Read(Request<'a>),
    /// WRQ: take a file from me.
    Write(Request<'a>),
    /// DATA
    Data {
        /// Counts from 1, and past 65535 from 0 again.
        block: u16,
        /// A whole block, or less in the last one.
        payload: &'a [u8],
    },
    /// ACK
    Ack {
        /// The last block received in order.
        block: u16,
    },
    /// ERROR: the transfer is over.
    Error {
        /// What kind of error.
        code: ErrorCode,
        /// Text for people, up to the first byte that is none.
        message: &'a str,
    },
    /// OACK: the options that the server agrees to (RFC 2347 §4).
    OptionAck(Options),
}

impl<'a> Repr<'a> {
    /// Reads a checked packet.
    pub fn parse<T: AsRef<[u8]> + ?Sized>(packet: &Packet<&'a T>) -> Result<Self, Error> {
        let body = packet.body();
        Ok(match packet.opcode() {
            Opcode::Read => Self::Read(Request::parse(body)?),
            Opcode::Write => Self::Write(Request::parse(body)?),
            Opcode::Data => Self::Data {
                block: packet.number(),
                payload: body,
            },
            Opcode::Ack => Self::Ack {
                block: packet.number(),
            },
            Opcode::Error => Self::Error {
                code: ErrorCode(packet.number()),
                message: readable(body),
            },
            Opcode::OptionAck => Self::OptionAck(Options::parse(body)),
        })
    }

    /// Writes the packet and returns its length.
    pub fn emit(&self, buffer: &mut [u8]) -> Result<usize, Error> {
        let mut out = Writer { buffer, len: 0 };
        match self {
            Self::Read(request) | Self::Write(request) => {
                out.u16(match self {
                    Self::Read(_) => Opcode::Read,
                    _ => Opcode::Write,
                } as u16)?;
                out.text(request.filename)?;
                out.text(request.mode.name())?;
                request.options.emit(&mut out)?;
            }
            Self::Data { block, payload } => {
                out.u16(Opcode::Data as u16)?;
                out.u16(*block)?;
                out.bytes(payload)?;
            }
            Self::Ack { block } => {
                out.u16(Opcode::Ack as u16)?;
                out.u16(*block)?;
            }
            Self::Error { code, message } => {
                out.u16(Opcode::Error as u16)?;
                out.u16(code.0)?;
                out.text(message)?;
            }
            Self::OptionAck(options) => {
                out.u16(Opcode::OptionAck as u16)?;
                options.emit(&mut out)?;
            }
        }
        Ok(out.len)
    }
}

/// Writes the header of a DATA packet, for a payload that is read from a file
/// straight into the rest of the buffer.
pub fn emit_data_header(block: u16, buffer: &mut [u8]) -> Result<(), Error> {
    let payload = &[];
    Repr::Data { block, payload }.emit(buffer).map(drop)
}

/// Writes an ERROR packet and returns its length. The text is cut to fit, and
/// what a console could trip over is replaced by `?`.
pub fn emit_error(
    code: ErrorCode,
    message: fmt::Arguments<'_>,
    buffer: &mut [u8],
) -> Result<usize, Error> {
    let Some(end) = buffer.len().checked_sub(1) else {
        return Err(Error::NoRoom);
    };
    // The last byte is kept for the NUL.
    let room = buffer.get_mut(..end).unwrap_or_default();
    let mut text = Printable(Writer {
        buffer: room,
        len: 0,
    });
    text.0.u16(Opcode::Error as u16)?;
    text.0.u16(code.0)?;
    // Cut text is the only error, and wanted.
    let _ = text.write_fmt(message);
    let len = text.0.len;
    let nul = buffer.get_mut(len).ok_or(Error::NoRoom)?;
    *nul = 0;
    Ok(len + 1)
}

/// Bytes written one after the other into a buffer that may be too small.
struct Writer<'a> {
    buffer: &'a mut [u8],
    len: usize,
}

impl Writer<'_> {
    fn bytes(&mut self, bytes: &[u8]) -> Result<(), Error> {
        let free = self.buffer.get_mut(self.len..).unwrap_or_default();
        let room = free.get_mut(..bytes.len()).ok_or(Error::NoRoom)?;
        room.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }

    fn u16(&mut self, number: u16) -> Result<(), Error> {
        self.bytes(&number.to_be_bytes())
    }

    /// Text and its NUL.
    fn text(&mut self, text: &str) -> Result<(), Error> {
        self.bytes(text.as_bytes())?;
        self.bytes(&[0])
    }
}

impl fmt::Write for Writer<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.bytes(text.as_bytes()).map_err(|_| fmt::Error)
    }
}

/// Text of which only printable ASCII survives.
struct Printable<'a>(Writer<'a>);

impl fmt::Write for Printable<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for c in text.chars() {
            let byte = u8::try_from(c).ok().filter(|b| matches!(b, b' '..=b'~'));
            self.0
                .bytes(&[byte.unwrap_or(b'?')])
                .map_err(|_| fmt::Error)?;
        }
        Ok(())
    }
}

/// What stands before the next NUL, and what follows it.
fn split_nul(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = bytes.iter().position(|b| *b == 0)?;
    let (text, rest) = bytes.split_at_checked(end)?;
    Some((text, rest.get(1..)?))
}

/// A number in ASCII digits; one that is too large becomes the largest.
fn decimal(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0_u64, |number, digit| {
        let digit = digit.checked_sub(b'0').filter(|d| *d < 10)?;
        Some(number.saturating_mul(10).saturating_add(u64::from(digit)))
    })
}

/// The printable ASCII text at the start of `bytes`.
fn readable(bytes: &[u8]) -> &str {
    let end = bytes
        .iter()
        .position(|b| !matches!(b, b' '..=b'~'))
        .unwrap_or(bytes.len());
    let text = bytes.get(..end).unwrap_or_default();
    core::str::from_utf8(text).unwrap_or_default()
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_be_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(bytes: &[u8]) -> Result<Repr<'_>, Error> {
        Repr::parse(&Packet::new_checked(bytes)?)
    }

    const NONE: Options = Options {
        blksize: None,
        timeout: None,
        tsize: None,
        windowsize: None,
    };

    fn read(filename: &str, mode: Mode, options: Options) -> Repr<'_> {
        Repr::Read(Request {
            filename,
            mode,
            options,
        })
    }

    #[test]
    fn packets_as_clients_spell_them() {
        let table: &[(&str, &[u8], Repr<'_>)] = &[
            (
                "EDK2",
                b"\x00\x01ipxe-arm64.efi\0octet\0tsize\x000\0blksize\x001468\0windowsize\x004\0",
                read(
                    "ipxe-arm64.efi",
                    Mode::Octet,
                    Options {
                        blksize: Some(1468),
                        tsize: Some(0),
                        windowsize: Some(4),
                        ..NONE
                    },
                ),
            ),
            (
                "tftp-hpa in its default mode",
                b"\x00\x01boot.cfg\0netascii\0",
                read("boot.cfg", Mode::Netascii, NONE),
            ),
            (
                "U-Boot",
                b"\x00\x01Image\0octet\0timeout\x005\0blksize\x001468\0",
                read(
                    "Image",
                    Mode::Octet,
                    Options {
                        blksize: Some(1468),
                        timeout: Some(5),
                        ..NONE
                    },
                ),
            ),
            (
                "Raspberry Pi 3 ROM",
                b"\x00\x01bootcode.bin\0octet\0tsize\x000\0blksize\x001024\0",
                read(
                    "bootcode.bin",
                    Mode::Octet,
                    Options {
                        blksize: Some(1024),
                        tsize: Some(0),
                        ..NONE
                    },
                ),
            ),
            (
                "atftp",
                b"\x00\x01a\0octet\0tsize\x000\0blksize\x001428\0windowsize\x0016\0",
                read(
                    "a",
                    Mode::Octet,
                    Options {
                        blksize: Some(1428),
                        tsize: Some(0),
                        windowsize: Some(16),
                        ..NONE
                    },
                ),
            ),
            ("ack", &[0, 4, 0x12, 0x34], Repr::Ack { block: 0x1234 }),
            (
                "data",
                &[0, 3, 0, 1, 9, 8],
                Repr::Data {
                    block: 1,
                    payload: &[9, 8],
                },
            ),
            (
                "EDK2 only wanted the size",
                b"\x00\x05\x00\x00User aborted the transfer in progress\0",
                Repr::Error {
                    code: ErrorCode(0),
                    message: "User aborted the transfer in progress",
                },
            ),
            (
                "option acknowledgement",
                b"\x00\x06blksize\x001468\0tsize\x0012345678901\0",
                Repr::OptionAck(Options {
                    blksize: Some(1468),
                    tsize: Some(12_345_678_901),
                    ..NONE
                }),
            ),
        ];
        for (client, bytes, want) in table {
            assert_eq!(parse(bytes), Ok(*want), "{client}");
            let mut buffer = [0; 128];
            let len = want.emit(&mut buffer).unwrap();
            assert_eq!(parse(&buffer[..len]), Ok(*want), "{client}, written");
        }
    }

    #[test]
    fn options_that_no_rfc_allows_are_not_seen() {
        let table: &[(&[u8], Options)] = &[
            (b"blksize\x007\0", NONE),
            (
                b"blksize\x0099999999999999999999999\0",
                Options {
                    blksize: Some(65464),
                    ..NONE
                },
            ),
            (b"blksize\0-1\0", NONE),
            (b"blksize\0\0", NONE),
            (b"timeout\x000\0timeout\x00256\0", NONE),
            (b"windowsize\x000\0", NONE),
            (b"multicast\0\0hang\x001\0", NONE),
            (
                b"BlkSize\x00512\0blksize\x001024\0",
                Options {
                    blksize: Some(512),
                    ..NONE
                },
            ),
            // Cut off, padded.
            (b"blksize\x001024", NONE),
            (
                b"timeout\x003\0\0\0\0\0\0\0",
                Options {
                    timeout: Some(3),
                    ..NONE
                },
            ),
        ];
        for (bytes, want) in table {
            assert_eq!(Options::parse(bytes), *want, "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn what_is_no_packet() {
        let table: &[(&[u8], Error)] = &[
            (b"", Error::Truncated),
            (b"\x00", Error::Truncated),
            (b"\x00\x03\x00", Error::Truncated),
            (b"\x00\x04\x00", Error::Truncated),
            (b"\x00\x07", Error::Opcode(7)),
            (b"\x00\x01", Error::Text),
            (b"\x00\x01file", Error::Text),
            (b"\x00\x01file\0octet", Error::Text),
            (b"\x00\x01\xff\xfe\0octet\0", Error::Text),
            (b"\x00\x01file\0binary\0", Error::Mode),
        ];
        for (bytes, want) in table {
            assert_eq!(parse(bytes), Err(*want), "{}", bytes.escape_ascii());
        }
    }

    #[test]
    fn error_text_is_cut_and_made_printable() {
        let mut buffer = [0xaa; 16];
        let name = "ä\n\x1b[0m/long-name";
        let len = emit_error(ErrorCode::NOT_FOUND, format_args!("{name}"), &mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"\x00\x05\x00\x01???[0m/long\0");
        assert_eq!(
            emit_error(ErrorCode::NOT_FOUND, format_args!("x"), &mut buffer[..4]),
            Err(Error::NoRoom)
        );
        assert_eq!(
            emit_error(ErrorCode::NOT_FOUND, format_args!("x"), &mut []),
            Err(Error::NoRoom)
        );
    }
}
