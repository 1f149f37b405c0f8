//! Text from a file or a request, unescaped only when it is read.

use core::cmp::Ordering;
use core::fmt;

use super::json::{self, Str};

/// A string that is either plain or still written as in JSON.
#[derive(Debug, Clone, Copy)]
pub enum Text<'a> {
    /// As it is.
    Plain(&'a str),
    /// With JSON's escapes.
    Json(Str<'a>),
}

impl<'a> Text<'a> {
    /// Its characters.
    pub fn chars(self) -> Chars<'a> {
        match self {
            Self::Plain(text) => Chars::Plain(text.chars()),
            Self::Json(text) => Chars::Json(text.chars()),
        }
    }

    /// Whether it has no characters.
    pub const fn is_empty(self) -> bool {
        match self {
            Self::Plain(text) => text.is_empty(),
            Self::Json(text) => text.is_empty(),
        }
    }

    /// Length in bytes of UTF-8.
    pub fn len(self) -> usize {
        self.chars().map(char::len_utf8).sum()
    }
}

impl<'a> From<&'a str> for Text<'a> {
    fn from(text: &'a str) -> Self {
        Self::Plain(text)
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Plain(a), Self::Plain(b)) => a == b,
            _ => self.chars().eq(other.chars()),
        }
    }
}

impl PartialOrd for Text<'_> {
    /// The order of the bytes of UTF-8, which is that of the characters.
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.chars().cmp(other.chars()))
    }
}

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plain(text) => f.write_str(text),
            Self::Json(text) => text.fmt(f),
        }
    }
}

/// The characters of a [`Text`].
#[derive(Debug, Clone)]
pub enum Chars<'a> {
    /// Of plain text.
    Plain(core::str::Chars<'a>),
    /// Of a JSON string.
    Json(json::Chars<'a>),
}

impl Iterator for Chars<'_> {
    type Item = char;

    fn next(&mut self) -> Option<char> {
        match self {
            Self::Plain(chars) => chars.next(),
            Self::Json(chars) => chars.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_one_text() {
        let json = |raw| Text::Json(Str::checked_before(raw));
        assert!(Text::Plain("é\n") == json(b"\\u00e9\\n"));
        assert!(Text::Plain("a") < json(b"\\u0062"));
        assert!(json(b"b") > Text::Plain("ab"));
        assert_eq!(json(b"\\u00e9").len(), 2);
        assert_eq!(json(b"a\\tb").to_string(), "a\tb");
        assert!(json(b"").is_empty());
    }
}
