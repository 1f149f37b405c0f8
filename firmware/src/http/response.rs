//! Response heads, and the short texts that say why there is no file.

use core::fmt::{self, Write as _};

use heapless::String;

use crate::cut::cut;

/// Room that every head and every whole text reply of this module fits into:
/// the longest head is about 320 bytes, the longest reply 200 and its text.
pub const RESPONSE_HEAD_LEN: usize = 512;

/// Longest text of a reply in bytes; the rest is cut off.
pub const TEXT_LEN: usize = 256;

/// A Talos node prints this many bytes of an error's body on its console, and
/// nothing else of it: the headline of a [`Refusal`] must fit.
pub const HEADLINE_LEN: usize = 32;

/// Tells a client that waits for it to send the body of its request
/// (RFC 9110 §15.2.1).
pub(crate) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Status codes that are sent (RFC 9110 §15; 507: RFC 4918 §11.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u16)]
#[allow(missing_docs)]
pub enum Status {
    Ok = 200,
    PartialContent = 206,
    NotModified = 304,
    BadRequest = 400,
    Forbidden = 403,
    NotFound = 404,
    MethodNotAllowed = 405,
    RequestTimeout = 408,
    LengthRequired = 411,
    PreconditionFailed = 412,
    UriTooLong = 414,
    RangeNotSatisfiable = 416,
    ExpectationFailed = 417,
    TooManyRequests = 429,
    HeaderFieldsTooLarge = 431,
    InternalServerError = 500,
    NotImplemented = 501,
    ServiceUnavailable = 503,
    VersionNotSupported = 505,
    InsufficientStorage = 507,
}

impl Status {
    /// The three digits.
    pub const fn code(self) -> u16 {
        self as u16
    }

    /// The reason phrase.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::PartialContent => "Partial Content",
            Self::NotModified => "Not Modified",
            Self::BadRequest => "Bad Request",
            Self::Forbidden => "Forbidden",
            Self::NotFound => "Not Found",
            Self::MethodNotAllowed => "Method Not Allowed",
            Self::RequestTimeout => "Request Timeout",
            Self::LengthRequired => "Length Required",
            Self::PreconditionFailed => "Precondition Failed",
            Self::UriTooLong => "URI Too Long",
            Self::RangeNotSatisfiable => "Range Not Satisfiable",
            Self::ExpectationFailed => "Expectation Failed",
            Self::TooManyRequests => "Too Many Requests",
            Self::HeaderFieldsTooLarge => "Request Header Fields Too Large",
            Self::InternalServerError => "Internal Server Error",
            Self::NotImplemented => "Not Implemented",
            Self::ServiceUnavailable => "Service Unavailable",
            Self::VersionNotSupported => "HTTP Version Not Supported",
            Self::InsufficientStorage => "Insufficient Storage",
        }
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.code(), self.reason())
    }
}

/// The buffer for a response head is too small, or a field value holds a
/// control character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "response head does not fit: give the buffer {RESPONSE_HEAD_LEN} bytes"
        )
    }
}

impl core::error::Error for TooLong {}

/// What the request alone decides about any response to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Framing {
    /// Whether a body may follow the head (not after HEAD).
    pub body: bool,
    /// Whether the connection stays open for another request.
    pub keep_alive: bool,
}

/// Writes a response head into a buffer of fixed size.
///
/// Errors are kept until [`finish`](Self::finish), so that fields can be
/// written one after the other.
#[derive(Debug)]
pub struct ResponseHead<'a> {
    out: &'a mut [u8],
    len: usize,
    failed: bool,
}

impl<'a> ResponseHead<'a> {
    /// Starts with the status line and the `Connection` field.
    ///
    /// The version is always 1.1, that of the server (RFC 9112 §2.3); a
    /// client of version 1.0 learns from `Connection` what follows.
    pub fn new(out: &'a mut [u8], status: Status, framing: Framing) -> Self {
        let mut head = Self {
            out,
            len: 0,
            failed: false,
        };
        head.line(format_args!("HTTP/1.1 {status}"));
        let connection = if framing.keep_alive {
            "keep-alive"
        } else {
            "close"
        };
        head.field("Connection", connection);
        head
    }

    /// Adds one field.
    pub fn field(&mut self, name: &str, value: impl fmt::Display) -> &mut Self {
        self.line(format_args!("{name}: {value}"));
        self
    }

    /// Ends the head and returns its length in bytes.
    pub fn finish(mut self) -> Result<usize, TooLong> {
        self.line(format_args!(""));
        if self.failed {
            return Err(TooLong);
        }
        Ok(self.len)
    }

    fn line(&mut self, line: fmt::Arguments<'_>) {
        let written = self.write_fmt(line).is_ok() && self.append(b"\r\n").is_ok();
        self.failed |= !written;
    }

    fn append(&mut self, bytes: &[u8]) -> fmt::Result {
        let room = self.out.get_mut(self.len..).unwrap_or_default();
        let room = room.get_mut(..bytes.len()).ok_or(fmt::Error)?;
        room.copy_from_slice(bytes);
        self.len += bytes.len();
        Ok(())
    }
}

impl fmt::Write for ResponseHead<'_> {
    /// Refuses control characters: a value must not begin a line of its own.
    fn write_str(&mut self, s: &str) -> fmt::Result {
        if s.bytes().any(|byte| byte.is_ascii_control()) {
            return Err(fmt::Error);
        }
        self.append(s.as_bytes())
    }
}

/// Why a request gets no entity: status, what is wrong, and what to do.
///
/// The body of the reply is the headline, a newline and the advice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Refusal {
    /// The status to answer with.
    pub status: Status,
    /// What is wrong, in at most [`HEADLINE_LEN`] bytes.
    pub headline: &'static str,
    /// What to do about it, in a sentence or two.
    pub advice: &'static str,
}

impl Refusal {
    /// The answer to a path that is a folder or nothing.
    pub const NOT_A_FILE: Self = Self::new(
        Status::NotFound,
        "not a file",
        "Folders are not listed: ask for a file by its whole path.",
    );

    /// A refusal. Use in constants: a headline that is too long does not
    /// compile there.
    ///
    /// # Panics
    /// If the headline does not fit the console of a Talos node, or headline
    /// and advice do not fit a reply.
    pub const fn new(status: Status, headline: &'static str, advice: &'static str) -> Self {
        assert!(headline.len() <= HEADLINE_LEN, "headline too long");
        assert!(headline.len() + advice.len() + 2 <= TEXT_LEN);
        Self {
            status,
            headline,
            advice,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.headline)
    }
}

/// A whole response made of a refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Reply {
    /// What it says.
    pub refusal: Refusal,
    /// What the request allows.
    pub framing: Framing,
}

impl Reply {
    /// Writes head and body; returns their length in bytes.
    pub fn write(&self, out: &mut [u8]) -> Result<usize, TooLong> {
        let Refusal {
            status,
            headline,
            advice,
        } = self.refusal;
        write_text(
            out,
            status,
            self.framing,
            format_args!("{headline}\n{advice}\n"),
        )
    }
}

/// Writes a whole response with a body of plain text: for errors that name
/// what was asked for. Returns its length in bytes.
///
/// Say what is wrong in the first [`HEADLINE_LEN`] bytes. Text past
/// [`TEXT_LEN`] is cut off at a character. 405 gets its `Allow` field.
pub fn write_text(
    out: &mut [u8],
    status: Status,
    framing: Framing,
    text: fmt::Arguments<'_>,
) -> Result<usize, TooLong> {
    let body: String<TEXT_LEN> = cut(text);
    let body = body.as_bytes();

    let mut head = ResponseHead::new(out, status, framing);
    head.field("Content-Type", "text/plain; charset=utf-8")
        .field("Content-Length", body.len());
    if status == Status::MethodNotAllowed {
        head.field("Allow", "GET, HEAD");
    }
    let head_len = head.finish()?;
    if !framing.body {
        return Ok(head_len);
    }
    let room = out.get_mut(head_len..).unwrap_or_default();
    room.get_mut(..body.len())
        .ok_or(TooLong)?
        .copy_from_slice(body);
    Ok(head_len + body.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN: Framing = Framing {
        body: true,
        keep_alive: true,
    };

    #[test]
    fn a_reply_begins_with_what_is_wrong() {
        let reply = Reply {
            refusal: Refusal::NOT_A_FILE,
            framing: OPEN,
        };
        let mut out = [0; RESPONSE_HEAD_LEN];
        let len = reply.write(&mut out).unwrap();
        assert_eq!(
            str::from_utf8(&out[..len]).unwrap(),
            "HTTP/1.1 404 Not Found\r\n\
             Connection: keep-alive\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 69\r\n\r\n\
             not a file\nFolders are not listed: ask for a file by its whole path.\n"
        );
    }

    #[test]
    fn head_only_replies_still_tell_the_length() {
        let framing = Framing {
            body: false,
            keep_alive: false,
        };
        let mut out = [0; RESPONSE_HEAD_LEN];
        let len = write_text(
            &mut out,
            Status::MethodNotAllowed,
            framing,
            format_args!("no"),
        )
        .unwrap();
        assert_eq!(
            str::from_utf8(&out[..len]).unwrap(),
            "HTTP/1.1 405 Method Not Allowed\r\n\
             Connection: close\r\n\
             Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: 2\r\n\
             Allow: GET, HEAD\r\n\r\n"
        );
    }

    #[test]
    fn long_texts_are_cut_and_fit() {
        let mut out = [0; RESPONSE_HEAD_LEN];
        let long = "é".repeat(TEXT_LEN);
        for status in [Status::MethodNotAllowed, Status::HeaderFieldsTooLarge] {
            let len = write_text(&mut out, status, OPEN, format_args!("x{long}")).unwrap();
            let text = str::from_utf8(&out[..len]).unwrap();
            assert!(text.contains("Content-Length: 255\r\n"));
            assert!(text.ends_with('é'));
        }
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let mut out = [0; RESPONSE_HEAD_LEN];
        let whole = write_text(&mut out, Status::NotFound, OPEN, format_args!("no")).unwrap();
        for len in 0..whole {
            let out = &mut out[..len];
            let written = write_text(out, Status::NotFound, OPEN, format_args!("no"));
            assert_eq!(written, Err(TooLong), "{len}");
        }
    }

    #[test]
    fn a_value_cannot_begin_another_field() {
        let mut out = [0; RESPONSE_HEAD_LEN];
        for value in ["a\r\nSet-Cookie: x", "a\nb", "\0"] {
            let mut head = ResponseHead::new(&mut out, Status::Ok, OPEN);
            head.field("ETag", value);
            assert_eq!(head.finish(), Err(TooLong), "{value:?}");
        }
    }
}
