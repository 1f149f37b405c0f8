//! What is wrong with a setting, in words that lead to a right one.

use core::fmt;

use heapless::String;

use crate::cut::cut;

/// Longest text of a reason in bytes; more is cut off.
pub const REASON_LEN: usize = 200;

/// How much of a wrong value is shown, in bytes.
const FOUND_LEN: usize = 60;

/// Why a setting is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// There is no such key; perhaps this one was meant.
    UnknownKey(Option<&'static str>),
    /// The value is not what the key takes.
    Expected {
        /// What it takes, with an example.
        what: &'static str,
        /// What was found instead.
        found: String<FOUND_LEN>,
    },
    /// More values than there is room for.
    TooMany(usize),
    /// The key stands in the file twice.
    Twice,
    /// The value contradicts another one, or the file is not TOML: what is
    /// wrong, and how to put it right.
    Wrong(String<REASON_LEN>),
}

impl Reason {
    /// The value is not what the key takes.
    pub fn expected(what: &'static str, found: &str) -> Self {
        Self::Expected {
            what,
            found: cut(format_args!("{found}")),
        }
    }

    /// A reason in free words.
    pub fn wrong(text: fmt::Arguments<'_>) -> Self {
        Self::Wrong(cut(text))
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnknownKey(None) => f.write_str("unknown key"),
            Self::UnknownKey(Some(nearest)) => {
                write!(f, "unknown key: did you mean {nearest:?}?")
            }
            Self::Expected { what, found } if found.is_empty() => {
                write!(f, "expected {what}, found nothing")
            }
            Self::Expected { what, found } => write!(f, "expected {what}, found {found:?}"),
            Self::TooMany(most) => write!(f, "at most {most} values"),
            Self::Twice => f.write_str("is set twice: remove one of the two"),
            Self::Wrong(text) => f.write_str(text),
        }
    }
}

impl core::error::Error for Reason {}

/// A setting that is refused, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError {
    /// The line in `ichor.toml`, from 1, if it came from there.
    pub line: Option<u32>,
    /// The key; empty if the line has none.
    pub key: String<{ super::KEY_LEN }>,
    /// What is wrong with its value.
    pub reason: Reason,
}

impl ConfigError {
    /// An error that belongs to no line: of a flag, or of several keys
    /// together.
    pub fn new(key: &str, reason: Reason) -> Self {
        Self {
            line: None,
            key: cut(format_args!("{key}")),
            reason,
        }
    }

    /// The error as it reads when the file has another name.
    pub fn in_file<'a>(&'a self, file: &'a str) -> impl fmt::Display + 'a {
        fmt::from_fn(move |f| {
            if let Some(line) = self.line {
                write!(f, "{file}:{line}: ")?;
            }
            let key = &self.key;
            match &self.reason {
                Reason::UnknownKey(None) => write!(f, "unknown key {key:?}"),
                Reason::UnknownKey(Some(nearest)) => {
                    write!(f, "unknown key {key:?}: did you mean {nearest:?}?")
                }
                reason if key.is_empty() => write!(f, "{reason}"),
                reason => write!(f, "{key}: {reason}"),
            }
        })
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.in_file(super::FILE_NAME))
    }
}

impl core::error::Error for ConfigError {}

/// The candidate that `word` was most likely meant to be: at most two letters
/// apart, fewer for short words.
pub(super) fn nearest(
    word: &str,
    candidates: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    candidates
        .filter_map(|candidate| Some((distance(word, candidate)?, candidate)))
        .filter(|(distance, candidate)| *distance <= 2.min(candidate.len() / 2))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// Levenshtein's distance, or `None` for words too long to be mistyped keys.
fn distance(a: &str, b: &str) -> Option<usize> {
    const LONGEST: usize = 32;
    if a.len() > LONGEST || b.len() > LONGEST {
        return None;
    }
    // Row of the table for the letters of `a` seen so far; one cell per
    // prefix of `b`, after the cell of the empty prefix.
    let mut row = [0_usize; LONGEST];
    for (cell, n) in row.iter_mut().zip(1..) {
        *cell = n;
    }
    for (empty, x) in a.bytes().enumerate() {
        let mut diagonal = empty;
        let mut left = empty + 1;
        for (y, cell) in b.bytes().zip(&mut row) {
            let replaced = diagonal + usize::from(x != y);
            diagonal = *cell;
            *cell = replaced.min(left + 1).min(*cell + 1);
            left = *cell;
        }
    }
    let last = b.len().checked_sub(1).and_then(|last| row.get(last));
    Some(last.copied().unwrap_or(a.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mistyped_keys_are_recognised() {
        let keys = ["address", "dhcp", "dns", "http-port", "tftp-port"];
        let table = [
            ("adress", Some("address")),
            ("addresses", Some("address")),
            ("dhpc", Some("dhcp")),
            ("http_port", Some("http-port")),
            ("tftp.port", Some("tftp-port")),
            ("dn", Some("dns")),
            ("xyz", None),
            ("a", None),
            ("", None),
        ];
        for (word, want) in table {
            assert_eq!(nearest(word, keys.into_iter()), want, "{word}");
        }
    }
}
