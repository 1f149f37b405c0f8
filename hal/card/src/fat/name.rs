//! Names as FAT stores them: eleven characters, and long ones in UTF-16 beside them.

use core::char::decode_utf16;

use heapless::{String, Vec};

/// Bytes of the longest name in UTF-8, as on Linux. Longer ones are known by
/// their short name only.
pub(crate) const MAX_NAME: usize = 255;
/// UTF-16 units in one entry of a long name.
pub(crate) const UNITS: usize = 13;
/// Entries of the longest name.
pub(crate) const MAX_PARTS: usize = 20;
/// Where the units lie in an entry.
pub(crate) const UNIT_PLACES: [usize; UNITS] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
/// Names for which all units and the short entry fit into one block of 16
/// entries, so that one write makes a file appear.
pub(crate) const MAX_NEW_UNITS: usize = 15 * UNITS;

/// A name of a file or folder.
pub(crate) type Name = String<MAX_NAME>;

/// The checksum of a short name that its long name carries.
pub(crate) fn checksum(short: &[u8; 11]) -> u8 {
    short
        .iter()
        .fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

/// A short name as people write it. `flags` is byte 12 of its entry: which
/// part is in small letters (Windows NT and Linux).
pub(crate) fn display_short(short: &[u8; 11], flags: u8) -> Name {
    let mut name = Name::new();
    let mut part = |bytes: &[u8], small: bool, dot: bool| {
        let len = bytes
            .iter()
            .rposition(|b| *b != b' ')
            .map_or(0, |at| at + 1);
        if dot && len > 0 {
            let _ = name.push('.');
        }
        for (at, byte) in bytes[..len].iter().enumerate() {
            let byte = match (byte, at) {
                // A first byte 0xE5 would mark a free entry.
                (0x05, 0) if !dot => 0xE5,
                _ => *byte,
            };
            let c = match byte {
                0..0x80 if small => char::from(byte.to_ascii_lowercase()),
                0..0x80 => char::from(byte),
                // Nobody can know the code page.
                _ => char::REPLACEMENT_CHARACTER,
            };
            // Eleven characters always fit.
            let _ = name.push(c);
        }
    };
    part(&short[..8], flags & 0x08 != 0, false);
    part(&short[8..], flags & 0x10 != 0, true);
    name
}

/// A long name of UTF-16 units; `None` if it is longer than [`MAX_NAME`] or no
/// text.
pub(crate) fn decode(units: &[u16]) -> Option<Name> {
    let len = units.iter().position(|unit| *unit == 0);
    let units = units.get(..len.unwrap_or(units.len()))?;
    let mut name = Name::new();
    for c in decode_utf16(units.iter().copied()) {
        name.push(c.ok()?).ok()?;
    }
    (!name.is_empty()).then_some(name)
}

/// Whether FAT takes two names for one.
pub(crate) fn same(a: &str, b: &str) -> bool {
    let upper = |name: &str| -> bool {
        let mut other = b.chars().flat_map(char::to_uppercase);
        name.chars()
            .flat_map(char::to_uppercase)
            .all(|c| other.next() == Some(c))
            && other.next().is_none()
    };
    a == b || upper(a)
}

/// A name to be given to a new file, as UTF-16. `None` if FAT cannot store it.
pub(crate) fn encode(name: &str) -> Option<Vec<u16, MAX_NEW_UNITS>> {
    let forbidden = |c: char| c < ' ' || "\"*/:<>?\\|\u{7f}".contains(c);
    // Windows drops dots and spaces at the end.
    if name.is_empty() || name.ends_with(['.', ' ']) || name.contains(forbidden) {
        return None;
    }
    let mut units = Vec::new();
    for unit in name.encode_utf16() {
        units.push(unit).ok()?;
    }
    Some(units)
}

/// Whether a name is a short one as it is.
pub(crate) fn as_short(name: &str) -> Option<[u8; 11]> {
    let (base, extension) = name.rsplit_once('.').unwrap_or((name, ""));
    let fits = |part: &str, len| part.len() <= len && part.bytes().all(is_short);
    if base.is_empty() || name.ends_with('.') || !fits(base, 8) || !fits(extension, 3) {
        return None;
    }
    Some(fill(base.bytes(), extension.bytes()))
}

/// A short name for a long one: the `attempt`-th, until one is free. The first
/// ones are numbered, then they are mixed from the whole name.
pub(crate) fn shorten(name: &str, attempt: u32) -> [u8; 11] {
    let (base, extension) = match name.rsplit_once('.') {
        Some((base, extension)) if !base.is_empty() => (base, extension),
        _ => (name, ""),
    };
    let clean = |part: &str| -> Vec<u8, 8> {
        let upper = part.chars().map(|c| c.to_ascii_uppercase());
        let kept = upper.filter(|c| !matches!(c, '.' | ' '));
        kept.map(|c| match u8::try_from(c) {
            Ok(byte) if is_short(byte) => byte,
            _ => b'_',
        })
        .take(8)
        .collect()
    };
    let (base, extension) = (clean(base), clean(extension));
    let mut short: Vec<u8, 8> = Vec::new();
    let tail = if attempt < 4 {
        let _ = short.extend_from_slice(&base[..base.len().min(6)]);
        attempt + 1
    } else {
        let mixed = crate::crc::crc32(name.as_bytes()).wrapping_add(attempt / 4);
        let _ = short.extend_from_slice(&base[..base.len().min(2)]);
        for nibble in (0..4).rev() {
            let digit = (mixed >> (4 * nibble)) & 0xF;
            let digit = char::from_digit(digit, 16).unwrap_or('0');
            let _ = short.push(digit.to_ascii_uppercase() as u8);
        }
        attempt % 4 + 1
    };
    let _ = short.push(b'~');
    let _ = short.push(b'0' + tail as u8);
    fill(short.iter().copied(), extension.iter().copied())
}

/// Characters of short names that every system takes.
fn is_short(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte.is_ascii_digit() || b"!#$%&'()-@^_`{}~".contains(&byte)
}

fn fill(base: impl Iterator<Item = u8>, extension: impl Iterator<Item = u8>) -> [u8; 11] {
    let mut short = [b' '; 11];
    for (to, from) in short[..8].iter_mut().zip(base) {
        *to = from;
    }
    for (to, from) in short[8..].iter_mut().zip(extension) {
        *to = from;
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_are_shown_as_they_are_written() {
        let cases: [(&[u8; 11], u8, &str); 6] = [
            (b"KERNEL8 IMG", 0, "KERNEL8.IMG"),
            (b"KERNEL8 IMG", 0x18, "kernel8.img"),
            (b"VMLINUZ    ", 0x08, "vmlinuz"),
            (b"README  TXT", 0x10, "README.txt"),
            (b"A B        ", 0, "A B"),
            (b"\x05BC     \xC4  ", 0, "\u{FFFD}BC.\u{FFFD}"),
        ];
        for (short, flags, shown) in cases {
            assert_eq!(display_short(short, flags), shown);
        }
    }

    #[test]
    fn names_that_differ_in_case_alone_are_the_same() {
        for (a, b, expected) in [
            ("vmlinuz", "VMLINUZ", true),
            ("Größe", "GRÖSSE", true),
            ("a", "ab", false),
            ("ab", "a", false),
            ("", "", true),
        ] {
            assert_eq!(same(a, b), expected, "{a} {b}");
        }
    }

    #[test]
    fn only_names_in_capitals_need_no_long_one() {
        assert_eq!(as_short("KERNEL8.OLD"), Some(*b"KERNEL8 OLD"));
        assert_eq!(as_short("README"), Some(*b"README     "));
        for name in [
            "kernel8.old",
            "TOOLONGNAME",
            "A.LONG",
            ".X",
            "A.",
            "A B",
            "A.B.C",
        ] {
            assert_eq!(as_short(name), None, "{name}");
        }
    }

    #[test]
    fn long_names_get_short_ones() {
        let cases: [(&str, u32, &[u8; 11]); 6] = [
            ("vmlinuz", 0, b"VMLINU~1   "),
            ("vmlinuz", 3, b"VMLINU~4   "),
            ("talos-1.7.initramfs.xz", 0, b"TALOS-~1XZ "),
            (".hidden", 0, b"HIDDEN~1   "),
            ("größe.json", 1, b"GR__E~2 JSO"),
            ("ab cd+.x", 0, b"ABCD_~1 X  "),
        ];
        for (name, attempt, short) in cases {
            assert_eq!(shorten(name, attempt), *short, "{name}");
        }
        let mixed = shorten("vmlinuz", 4);
        assert_eq!((&mixed[..2], &mixed[6..8]), (&b"VM"[..], &b"~1"[..]));
        assert_ne!(mixed, shorten("vmlinuz", 8));
    }

    #[test]
    fn names_that_fat_cannot_store_are_refused() {
        for name in [
            "",
            "a.",
            "a ",
            "a:b",
            "a?b",
            "a\\b",
            "a\nb",
            &"x".repeat(196),
        ] {
            assert_eq!(encode(name), None, "{name}");
        }
        assert_eq!(encode("𝄞").unwrap().as_slice(), [0xD834, 0xDD1E]);
        assert_eq!(decode(&[0xD834, 0xDD1E, 0, 0xFFFF]).unwrap(), "𝄞");
        assert_eq!(decode(&[0xD834]), None);
    }

    #[test]
    fn the_checksum_is_the_one_of_the_specification() {
        // Computed by hand for one byte: the rest rotates it.
        assert_eq!(checksum(b"FILENAMETXT"), {
            let mut sum: u8 = 0;
            for byte in b"FILENAMETXT" {
                sum = (if sum & 1 == 1 { 0x80_u8 } else { 0 })
                    .wrapping_add(sum >> 1)
                    .wrapping_add(*byte);
            }
            sum
        });
    }
}
