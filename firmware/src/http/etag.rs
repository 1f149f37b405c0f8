//! Entity tags and the conditions made of them (RFC 9110 §8.8.3, §13.1).

use core::fmt;

use heapless::Vec;

/// Most tags of one condition that are remembered. Clients send the one that
/// they hold. Tags beyond are forgotten, which is safe: the condition then
/// matches less often, and the worst is a whole answer or a 412.
pub const MAX_TAGS: usize = 4;

/// A strong entity tag of this server: 64 bits that change whenever the bytes
/// of the entity do. Displays as `"0123456789abcdef"`, quotes included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ETag(u64);

impl ETag {
    /// The tag of one version of one entity.
    pub const fn new(version: u64) -> Self {
        Self(version)
    }

    /// Reads the text between the quotes; `None` if this server cannot have
    /// made it (then it matches nothing here).
    fn from_opaque(opaque: &[u8]) -> Option<Self> {
        if opaque.len() != 16 {
            return None;
        }
        let mut version = 0;
        for byte in opaque {
            let digit = match byte {
                b'0'..=b'9' => byte - b'0',
                b'a'..=b'f' => byte - b'a' + 10,
                _ => return None,
            };
            version = version << 4 | u64::from(digit);
        }
        Some(Self(version))
    }

    /// Reads a field value that is one strong tag of this server.
    pub(super) fn parse_strong(value: &[u8]) -> Option<Self> {
        let opaque = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
        Self::from_opaque(opaque)
    }
}

impl fmt::Display for ETag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{:016x}\"", self.0)
    }
}

/// The value of `If-None-Match` or `If-Match` (RFC 9110 §13.1.1, §13.1.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ETagCondition {
    /// `*`: whatever exists.
    Any,
    /// The tags of this server that were listed, and whether each was weak.
    Tags(Vec<(ETag, bool), MAX_TAGS>),
}

impl ETagCondition {
    /// Reads one field line.
    pub(super) fn parse(value: &[u8]) -> Self {
        let mut condition = Self::Tags(Vec::new());
        condition.add(value);
        condition
    }

    /// Adds another line of the same field: lines are one list (RFC 9110 §5.3).
    pub(super) fn add(&mut self, value: &[u8]) {
        if value == b"*" {
            *self = Self::Any;
        }
        let Self::Tags(tags) = self else { return };
        for (opaque, weak) in (List { rest: value }) {
            if let Some(tag) = ETag::from_opaque(opaque) {
                // More than fit are forgotten, see MAX_TAGS.
                let _ = tags.push((tag, weak));
            }
        }
    }

    /// The weak comparison, for `If-None-Match` (RFC 9110 §8.8.3.2).
    pub fn matches_weak(&self, etag: Option<ETag>) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|(tag, _)| Some(*tag) == etag),
        }
    }

    /// The strong comparison, for `If-Match`.
    pub fn matches_strong(&self, etag: Option<ETag>) -> bool {
        match self {
            Self::Any => true,
            Self::Tags(tags) => tags.iter().any(|(tag, weak)| !weak && Some(*tag) == etag),
        }
    }
}

/// The elements of an entity tag list: text between the quotes, and whether
/// the tag was weak. A comma may stand inside the quotes. Ends at the first
/// thing that is no tag.
struct List<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for List<'a> {
    type Item = (&'a [u8], bool);

    fn next(&mut self) -> Option<Self::Item> {
        let mut rest = self.rest;
        while let [b' ' | b'\t' | b',', tail @ ..] = rest {
            rest = tail;
        }
        let (rest, weak) = match rest {
            [b'W', b'/', tail @ ..] => (tail, true),
            _ => (rest, false),
        };
        let rest = rest.strip_prefix(b"\"")?;
        let end = rest.iter().position(|byte| *byte == b'"')?;
        let (opaque, tail) = rest.split_at_checked(end)?;
        self.rest = tail.strip_prefix(b"\"")?;
        Some((opaque, weak))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: ETag = ETag::new(0x0123_4567_89ab_cdef);

    #[test]
    fn displays_as_a_quoted_string() {
        assert_eq!(TAG.to_string(), "\"0123456789abcdef\"");
        assert_eq!(ETag::parse_strong(TAG.to_string().as_bytes()), Some(TAG));
    }

    #[test]
    fn lists_any_and_weak_tags() {
        // value, weak comparison, strong comparison
        for (value, weak, strong) in [
            ("*", true, true),
            ("\"0123456789abcdef\"", true, true),
            ("W/\"0123456789abcdef\"", true, false),
            ("\"x\", \"0123456789abcdef\"", true, true),
            ("\"a,b\",,\tW/\"y\" , \"0123456789abcdef\"", true, true),
            ("\"0123456789abcdee\"", false, false),
            ("\"0123456789ABCDEF\"", false, false),
            ("0123456789abcdef", false, false),
            ("\"0123456789abcdef", false, false),
            ("\"a\" junk \"0123456789abcdef\"", false, false),
            ("w/\"0123456789abcdef\"", false, false),
            ("", false, false),
            ("W/", false, false),
        ] {
            let condition = ETagCondition::parse(value.as_bytes());
            assert_eq!(condition.matches_weak(Some(TAG)), weak, "{value}");
            assert_eq!(condition.matches_strong(Some(TAG)), strong, "{value}");
            assert_eq!(condition.matches_weak(None), value == "*", "{value}");
        }
    }

    #[test]
    fn lines_add_up_and_too_many_tags_are_forgotten() {
        let mut condition = ETagCondition::parse(b"\"0000000000000000\"");
        condition.add(b"\"0123456789abcdef\"");
        assert!(condition.matches_strong(Some(TAG)));
        for _ in 0..MAX_TAGS {
            condition.add(b"\"00000000000000ff\"");
        }
        assert!(condition.matches_strong(Some(ETag::new(0xff))));
        condition.add(b"\"00000000000000fe\"");
        assert!(!condition.matches_strong(Some(ETag::new(0xfe))));
        condition.add(b"*");
        assert!(condition.matches_strong(Some(ETag::new(0xfe))));
    }
}
