//! JSON strings, unescaped while they are read.
//!
//! As in Go's `encoding/json`, bytes that are not UTF-8 and lone surrogates
//! become U+FFFD.

use core::fmt::{self, Write as _};

/// A string as it stands between its quotes, escapes and all.
#[derive(Debug, Clone, Copy)]
pub struct Str<'a> {
    raw: &'a [u8],
}

impl<'a> Str<'a> {
    /// A string from text between quotes that was checked before.
    pub(in crate::catalog) const fn checked_before(raw: &'a [u8]) -> Self {
        Self { raw }
    }

    /// Its characters, unescaped.
    pub const fn chars(self) -> Chars<'a> {
        Chars { rest: self.raw }
    }

    /// The text itself where nothing needs unescaping.
    pub fn plain(self) -> Option<&'a str> {
        if self.raw.contains(&b'\\') {
            return None;
        }
        core::str::from_utf8(self.raw).ok()
    }

    /// Whether it has no characters.
    pub const fn is_empty(self) -> bool {
        self.raw.is_empty()
    }

    /// Equality as Go matches keys to fields: without regard to ASCII case.
    pub fn is_key(self, key: &str) -> bool {
        self.chars()
            .map(|c| c.to_ascii_lowercase())
            .eq(key.chars().map(|c| c.to_ascii_lowercase()))
    }

    /// Unescapes into `out`; `None` if it does not fit.
    pub fn unescape(self, out: &mut [u8]) -> Option<&str> {
        let mut len = 0;
        for c in self.chars() {
            let room = out.get_mut(len..len + c.len_utf8())?;
            len += c.encode_utf8(room).len();
        }
        core::str::from_utf8(out.get(..len)?).ok()
    }
}

impl PartialEq<str> for Str<'_> {
    fn eq(&self, other: &str) -> bool {
        self.chars().eq(other.chars())
    }
}

impl fmt::Display for Str<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.plain() {
            Some(text) => f.write_str(text),
            None => self.chars().try_for_each(|c| f.write_char(c)),
        }
    }
}

/// The characters of a [`Str`].
#[derive(Debug, Clone)]
pub struct Chars<'a> {
    rest: &'a [u8],
}

impl Iterator for Chars<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        let (c, rest) = match self.rest {
            [] => return None,
            [b'\\', b'u', rest @ ..] => unicode_escape(rest),
            [b'\\', c, rest @ ..] => {
                let c = match c {
                    b'b' => '\u{8}',
                    b'f' => '\u{c}',
                    b'n' => '\n',
                    b'r' => '\r',
                    b't' => '\t',
                    c => char::from(*c),
                };
                (c, rest)
            }
            bytes => first_char(bytes),
        };
        self.rest = rest;
        Some(c)
    }
}

/// What follows `\u`: one escape, or two that are a surrogate pair.
fn unicode_escape(rest: &[u8]) -> (char, &[u8]) {
    const LOST: char = char::REPLACEMENT_CHARACTER;
    let Some((high, rest)) = hex4(rest) else {
        return (LOST, &[]);
    };
    if let Some(c) = char::from_u32(high) {
        return (c, rest);
    }
    if let [b'\\', b'u', low @ ..] = rest
        && let Some((low, after)) = hex4(low)
        && (0xd800..0xdc00).contains(&high)
        && (0xdc00..0xe000).contains(&low)
    {
        let pair = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
        return (char::from_u32(pair).unwrap_or(LOST), after);
    }
    (LOST, rest)
}

fn hex4(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (digits, rest) = bytes.split_at_checked(4)?;
    let digits = core::str::from_utf8(digits).ok()?;
    Some((u32::from_str_radix(digits, 16).ok()?, rest))
}

/// The first character; a byte that belongs to none counts as U+FFFD.
fn first_char(bytes: &[u8]) -> (char, &[u8]) {
    let len = match bytes.first() {
        Some(0xf0..) => 4,
        Some(0xe0..) => 3,
        Some(0xc0..) => 2,
        _ => 1,
    };
    bytes
        .split_at_checked(len)
        .and_then(|(c, rest)| Some((core::str::from_utf8(c).ok()?.chars().next()?, rest)))
        .unwrap_or((
            char::REPLACEMENT_CHARACTER,
            bytes.get(1..).unwrap_or_default(),
        ))
}
