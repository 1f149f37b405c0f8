//! Request targets: splitting, percent-decoding, and what a path may hold.

use core::{slice, str};

use heapless::Vec;

use super::response::{Refusal, Status};

/// Longest decoded path in bytes: a file name of 255 bytes in a folder does
/// not fit, the paths of boot assets are a fifth of this.
pub const PATH_LEN: usize = 256;

/// The path of a request, decoded.
pub(super) type PathBuf = Vec<u8, PATH_LEN>;

const NOT_A_TARGET: Refusal = Refusal::new(
    Status::BadRequest,
    "malformed request target",
    "Expected a path like /assets/vmlinuz or a URL that starts with http://.",
);
const BAD_ESCAPE: Refusal = Refusal::new(
    Status::BadRequest,
    "bad percent-escape in the path",
    "Each % must be followed by two hex digits; write %25 for the sign itself.",
);
const BAD_PATH: Refusal = Refusal::new(
    Status::BadRequest,
    "path has a forbidden character",
    "Paths are UTF-8 without control characters, NUL and backslashes.",
);
const DOT_DOT: Refusal = Refusal::new(
    Status::BadRequest,
    "path contains '..'",
    "Ask for the file by its path from the root; '..' is never followed.",
);
const PATH_TOO_LONG: Refusal = Refusal::new(
    Status::UriTooLong,
    "path too long",
    "At most 256 bytes after percent-decoding.",
);

/// A request target in its parts, still encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Target<'a> {
    /// Host and port of an absolute-form target.
    pub(super) authority: Option<&'a str>,
    /// Starts with `/`.
    pub(super) path: &'a str,
    /// What follows the first `?`.
    pub(super) query: &'a str,
}

impl<'a> Target<'a> {
    /// Splits origin-form and absolute-form (RFC 9112 §3.2.1, §3.2.2).
    pub(super) fn parse(target: &'a str) -> Result<Self, Refusal> {
        if target.contains('#') {
            return Err(NOT_A_TARGET);
        }
        let (authority, rest) = if target.starts_with('/') {
            (None, target)
        } else {
            let (scheme, rest) = target.split_once("://").ok_or(NOT_A_TARGET)?;
            if !scheme.eq_ignore_ascii_case("http") {
                return Err(NOT_A_TARGET);
            }
            let end = rest.find(['/', '?']).unwrap_or(rest.len());
            let (authority, rest) = rest.split_at_checked(end).ok_or(NOT_A_TARGET)?;
            if authority.is_empty() {
                return Err(NOT_A_TARGET);
            }
            (Some(authority), rest)
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        Ok(Self {
            authority,
            path: if path.is_empty() { "/" } else { path },
            query,
        })
    }
}

/// Decodes a path and cleans it: no empty and no `.` segments are left, so
/// that it can be handed to `Files` without its first `/`. A `/` at the end
/// stays.
pub(super) fn decode_path<'b>(raw: &str, path: &'b mut PathBuf) -> Result<&'b str, Refusal> {
    path.clear();
    for byte in Decoded::of(raw, Plus::IsPlus) {
        let byte = byte.map_err(|BadEscape| BAD_ESCAPE)?;
        if byte.is_ascii_control() || byte == b'\\' {
            return Err(BAD_PATH);
        }
        if byte == b'/' {
            end_segment(path)?;
            if path.last() == Some(&b'/') {
                continue;
            }
        }
        path.push(byte).map_err(|_| PATH_TOO_LONG)?;
    }
    end_segment(path)?;
    str::from_utf8(path).map_err(|_| BAD_PATH)
}

fn end_segment(path: &mut PathBuf) -> Result<(), Refusal> {
    match path.rsplit(|byte| *byte == b'/').next() {
        Some(b"..") => Err(DOT_DOT),
        Some(b".") => {
            path.pop();
            Ok(())
        }
        _ => Ok(()),
    }
}

/// The parameters of a query, in order, repeated ones included.
#[derive(Debug, Clone, Copy)]
pub struct Query<'a> {
    rest: &'a str,
}

impl<'a> Query<'a> {
    pub(super) fn new(raw: &'a str) -> Self {
        Self { rest: raw }
    }
}

/// One `name=value`, still encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// What stands before the `=`.
    pub name: Encoded<'a>,
    /// What stands behind it; empty if there is none.
    pub value: Encoded<'a>,
}

impl<'a> Iterator for Query<'a> {
    type Item = Parameter<'a>;

    fn next(&mut self) -> Option<Parameter<'a>> {
        while !self.rest.is_empty() {
            let (pair, rest) = self.rest.split_once('&').unwrap_or((self.rest, ""));
            self.rest = rest;
            if !pair.is_empty() {
                let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
                return Some(Parameter {
                    name: Encoded(name),
                    value: Encoded(value),
                });
            }
        }
        None
    }
}

/// Text of a query as it came: percent-escapes, and `+` for a space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Encoded<'a>(&'a str);

impl<'a> Encoded<'a> {
    /// The text as it came.
    pub const fn raw(self) -> &'a str {
        self.0
    }

    /// Decodes into `buf`. Any character may come out, control characters
    /// included: the text is a stranger's.
    pub fn decode(self, buf: &mut [u8]) -> Result<&str, DecodeError> {
        let mut len = 0;
        for byte in Decoded::of(self.0, Plus::IsSpace) {
            let byte = byte.map_err(|BadEscape| DecodeError::Escape)?;
            *buf.get_mut(len).ok_or(DecodeError::TooLong)? = byte;
            len += 1;
        }
        let text = buf.get(..len).ok_or(DecodeError::TooLong)?;
        str::from_utf8(text).map_err(|_| DecodeError::NotUtf8)
    }

    /// Whether the decoded text is `plain`.
    pub fn is(self, plain: &str) -> bool {
        Decoded::of(self.0, Plus::IsSpace).eq(plain.bytes().map(Ok))
    }
}

/// Why a name or value of a query cannot be read.
///
/// Go's `net/url`, which matchbox users are used to, drops such a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DecodeError {
    /// A `%` without two hex digits.
    Escape,
    /// More than the buffer holds.
    TooLong,
    /// Not UTF-8.
    NotUtf8,
}

impl core::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Escape => "bad percent-escape: expected % and two hex digits",
            Self::TooLong => "too long",
            Self::NotUtf8 => "not UTF-8",
        })
    }
}

impl core::error::Error for DecodeError {}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct BadEscape;

/// What `+` means: itself in a path, a space in a form's query.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Plus {
    IsPlus,
    IsSpace,
}

/// The bytes that an encoded text stands for (RFC 3986 §2.1).
struct Decoded<'a> {
    encoded: slice::Iter<'a, u8>,
    plus: Plus,
}

impl<'a> Decoded<'a> {
    fn of(text: &'a str, plus: Plus) -> Self {
        Self {
            encoded: text.as_bytes().iter(),
            plus,
        }
    }

    fn hex_digit(&mut self) -> Result<u8, BadEscape> {
        let digit = self.encoded.next().ok_or(BadEscape)?;
        let value = char::from(*digit).to_digit(16).ok_or(BadEscape)?;
        Ok(value as u8)
    }
}

impl Iterator for Decoded<'_> {
    type Item = Result<u8, BadEscape>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self.encoded.next()? {
            b'%' => self
                .hex_digit()
                .and_then(|high| Ok(high << 4 | self.hex_digit()?)),
            b'+' if self.plus == Plus::IsSpace => Ok(b' '),
            byte => Ok(*byte),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(raw: &str) -> Result<String, Refusal> {
        decode_path(raw, &mut PathBuf::new()).map(str::to_owned)
    }

    #[test]
    fn targets() {
        let origin = |path, query| Target {
            authority: None,
            path,
            query,
        };
        let absolute = |host, path, query| Target {
            authority: Some(host),
            path,
            query,
        };
        for (target, want) in [
            ("/", Some(origin("/", ""))),
            ("/ipxe?mac=a&b=c?d", Some(origin("/ipxe", "mac=a&b=c?d"))),
            ("/?", Some(origin("/", ""))),
            ("//host/x", Some(origin("//host/x", ""))),
            ("http://h:8080/a?b", Some(absolute("h:8080", "/a", "b"))),
            ("HTTP://h", Some(absolute("h", "/", ""))),
            ("http://h?q", Some(absolute("h", "/", "q"))),
            ("http:///a", None),
            ("https://h/a", None),
            ("h:443", None),
            ("*", None),
            ("a/b", None),
            ("/a#b", None),
            ("", None),
        ] {
            assert_eq!(Target::parse(target).ok(), want, "{target}");
        }
    }

    #[test]
    fn paths_are_decoded_and_cleaned() {
        for (raw, want) in [
            ("/", "/"),
            ("/assets/vmlinuz", "/assets/vmlinuz"),
            ("/a%20b%2Bc+d%25", "/a b+c+d%"),
            ("/%c3%A9", "/é"),
            ("/é", "/é"),
            ("//a///b//", "/a/b/"),
            ("/./a/./b/.", "/a/b/"),
            ("/a%2fb", "/a/b"),
            ("/a/...", "/a/..."),
            ("/.hidden/x..y", "/.hidden/x..y"),
            ("/%2e", "/"),
        ] {
            assert_eq!(path(raw).as_deref(), Ok(want), "{raw}");
        }
    }

    #[test]
    fn paths_that_are_refused() {
        for (raw, want) in [
            ("/..", DOT_DOT),
            ("/a/../b", DOT_DOT),
            ("/a/..", DOT_DOT),
            ("/%2e%2E/etc/passwd", DOT_DOT),
            ("/a%2f..%2fb", DOT_DOT),
            ("/.%2e/x", DOT_DOT),
            ("/a\\b", BAD_PATH),
            ("/..%5c..%5cx", BAD_PATH),
            ("/a%00.efi", BAD_PATH),
            ("/a%0d%0ab", BAD_PATH),
            ("/%7f", BAD_PATH),
            ("/%ff", BAD_PATH),
            ("/%c3", BAD_PATH),
            ("/%", BAD_ESCAPE),
            ("/%2", BAD_ESCAPE),
            ("/%zz", BAD_ESCAPE),
            ("/%+1", BAD_ESCAPE),
        ] {
            assert_eq!(path(raw), Err(want), "{raw}");
        }
        let longest = format!("/{}", "x".repeat(PATH_LEN - 1));
        assert_eq!(path(&longest).as_ref(), Ok(&longest));
        assert_eq!(path(&format!("{longest}x")), Err(PATH_TOO_LONG));
    }

    #[test]
    fn queries() {
        let decoded = |raw| -> std::vec::Vec<(String, String)> {
            Query::new(raw)
                .map(|p| {
                    let (mut name, mut value) = ([0; 64], [0; 64]);
                    (
                        p.name.decode(&mut name).unwrap().to_owned(),
                        p.value.decode(&mut value).unwrap().to_owned(),
                    )
                })
                .collect()
        };
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(
            decoded("mac=52-54-00-12-34-56&uuid=&arch=arm64"),
            [
                pair("mac", "52-54-00-12-34-56"),
                pair("uuid", ""),
                pair("arch", "arm64")
            ]
        );
        assert_eq!(
            decoded("&&a+b=%20c%3d=d&&x&"),
            [pair("a b", " c==d"), pair("x", "")]
        );
        assert_eq!(decoded("u=${uuid}"), [pair("u", "${uuid}")]);
        assert_eq!(decoded(""), []);
    }

    #[test]
    fn values_that_cannot_be_decoded() {
        for (raw, want) in [
            ("%", DecodeError::Escape),
            ("a%4", DecodeError::Escape),
            ("%ff", DecodeError::NotUtf8),
            ("12345", DecodeError::TooLong),
        ] {
            assert_eq!(Encoded(raw).decode(&mut [0; 4]), Err(want), "{raw}");
        }
        assert!(Encoded("m%61c").is("mac"));
        assert!(!Encoded("mac").is("ma"));
        assert!(!Encoded("ma").is("mac"));
        assert!(!Encoded("mac%").is("mac"));
    }
}
