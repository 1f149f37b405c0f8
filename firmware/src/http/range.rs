//! Byte ranges (RFC 9110 §14).

/// One range, as the client asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ByteRange {
    /// `first-last` or `first-`: from this offset up to and including `last`.
    From {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte; to the end if absent.
        last: Option<u64>,
    },
    /// `-n`: the last `n` bytes.
    Suffix(u64),
}

/// What a range means for an entity of known length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Selection {
    /// Everything: 200.
    Whole,
    /// `len` (at least 1) bytes from offset `first`: 206.
    Part {
        /// Offset of the first byte.
        first: u64,
        /// Number of bytes.
        len: u64,
    },
    /// Nothing of the entity lies in the range: 416.
    Unsatisfiable,
}

impl ByteRange {
    /// Reads the value of a `Range` field. `None` means that the field is to
    /// be ignored: another unit, malformed, or more than one range
    /// (RFC 9110 §14.2 leaves that to the server).
    pub(super) fn parse(value: &[u8]) -> Option<Self> {
        let (unit, set) = value.split_at_checked(b"bytes=".len())?;
        if !unit.eq_ignore_ascii_case(b"bytes=") {
            return None;
        }
        let dash = set.iter().position(|byte| *byte == b'-')?;
        let (first, last) = set.split_at_checked(dash)?;
        match (first, last.strip_prefix(b"-")?) {
            ([], n) => Some(Self::Suffix(decimal(n)?)),
            (first, []) => Some(Self::From {
                first: decimal(first)?,
                last: None,
            }),
            (first, last) => {
                let (first, last) = (decimal(first)?, decimal(last)?);
                (first <= last).then_some(Self::From {
                    first,
                    last: Some(last),
                })
            }
        }
    }

    /// The part of an entity of `len` bytes that this range selects
    /// (RFC 9110 §14.1.2).
    pub fn select(self, len: u64) -> Selection {
        match self {
            Self::From { first, .. } if first >= len => Selection::Unsatisfiable,
            Self::From { first, last } => {
                // first < len, so nothing here can wrap.
                let last = last.map_or(len - 1, |last| last.min(len - 1));
                Selection::Part {
                    first,
                    len: last - first + 1,
                }
            }
            Self::Suffix(0) => Selection::Unsatisfiable,
            // Satisfiable, but Content-Range has no way to say it.
            Self::Suffix(_) if len == 0 => Selection::Whole,
            Self::Suffix(n) => Selection::Part {
                first: len.saturating_sub(n),
                len: n.min(len),
            },
        }
    }
}

/// Digits only; what is past 64 bits is as good as the largest number.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0_u64, |value, digit| {
        let digit = char::from(*digit).to_digit(10)?;
        Some(value.saturating_mul(10).saturating_add(u64::from(digit)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use Selection::{Part, Unsatisfiable, Whole};

    /// How the whole server sees it: an ignored field is the whole entity.
    fn select(value: &str, len: u64) -> Selection {
        ByteRange::parse(value.as_bytes()).map_or(Whole, |range| range.select(len))
    }

    #[test]
    fn single_ranges() {
        for (value, len, want) in [
            ("bytes=0-0", 100, Part { first: 0, len: 1 }),
            ("bytes=0-99", 100, Part { first: 0, len: 100 }),
            ("bytes=0-", 100, Part { first: 0, len: 100 }),
            ("bytes=10-19", 100, Part { first: 10, len: 10 }),
            ("bytes=99-", 100, Part { first: 99, len: 1 }),
            ("bytes=90-1000", 100, Part { first: 90, len: 10 }),
            ("Bytes=1-1", 100, Part { first: 1, len: 1 }),
            ("bytes=007-8", 100, Part { first: 7, len: 2 }),
            ("bytes=-1", 100, Part { first: 99, len: 1 }),
            ("bytes=-100", 100, Part { first: 0, len: 100 }),
            ("bytes=-101", 100, Part { first: 0, len: 100 }),
            ("bytes=100-", 100, Unsatisfiable),
            ("bytes=100-200", 100, Unsatisfiable),
            ("bytes=-0", 100, Unsatisfiable),
            ("bytes=0-", 0, Unsatisfiable),
            ("bytes=0-0", 0, Unsatisfiable),
            ("bytes=-5", 0, Whole),
        ] {
            assert_eq!(select(value, len), want, "{value} of {len}");
        }
    }

    #[test]
    fn numbers_past_64_bits() {
        let max = u64::MAX;
        let part = |first, len| Part { first, len };
        for (value, len, want) in [
            ("bytes=0-99999999999999999999", 100, part(0, 100)),
            ("bytes=99999999999999999999-", 100, Unsatisfiable),
            ("bytes=-99999999999999999999", 100, part(0, 100)),
            ("bytes=0-18446744073709551615", max, part(0, max)),
            ("bytes=18446744073709551614-", max, part(max - 1, 1)),
        ] {
            assert_eq!(select(value, len), want, "{value} of {len}");
        }
    }

    #[test]
    fn everything_else_is_ignored() {
        for value in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=5",
            "bytes=2-1",
            "bytes=a-b",
            "bytes=0x1-2",
            "bytes=1 -2",
            "bytes= 1-2",
            "bytes =1-2",
            "bytes=+1-2",
            "bytes=--1",
            "bytes=1-2-3",
            "bytes=0-1,5-6",
            "bytes=0-1,",
            "lines=1-2",
            "bytes=\u{661}-2",
        ] {
            assert_eq!(select(value, 100), Whole, "{value}");
        }
    }
}
