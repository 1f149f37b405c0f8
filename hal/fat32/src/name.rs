//! Names in a FAT folder: the short one that every reader finds, the long one that people see.
//!
//! After Microsoft's "FAT32 File System Specification" 1.03, sections "FAT
//! Directory Structure" and "FAT Long Directory Entries".

use std::collections::HashSet;

use anyhow::{Result, bail, ensure};

/// Bytes of a directory entry.
pub(super) const ENTRY: usize = 32;
/// The attribute of an entry that is a part of a long name.
pub(super) const ATTRIBUTE_LONG: u8 = 0x0F;
/// UTF-16 units of a long name in one entry.
const UNITS: usize = 13;
/// Where in an entry these units lie.
const UNIT_PLACES: [usize; UNITS] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];
/// Marks the entry that comes first and holds the end of the long name.
const LAST_PART: u8 = 0x40;
/// Longest name in UTF-16 units.
const MAX_UNITS: usize = 255;
/// Says in byte 12 that the name is to be shown in small letters, and that the extension is.
const SMALL_BASE: u8 = 0x08;
const SMALL_EXTENSION: u8 = 0x10;

/// What a short name is at most: eight characters and three, without the dot.
pub(super) type Short = [u8; 11];

/// A name as a folder stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    pub short: Short,
    /// Byte 12 of the short entry.
    pub case: u8,
    /// In UTF-16; empty if the short name says it all.
    long: Vec<u16>,
}

impl Name {
    /// A name of the form 8.3 in one entry, without a long name. Small letters
    /// are kept by two bits that other systems show them by.
    pub(super) fn short_only(name: &str) -> Result<Self> {
        let (base, extension) = name.split_once('.').unwrap_or((name, ""));
        let fits = |part: &str, most| part.len() <= most && part.bytes().all(is_short_character);
        ensure!(
            !base.is_empty() && fits(base, 8) && fits(extension, 3),
            "{name}: not a name of eight and three characters"
        );
        let one_case = |part: &str| {
            !part.bytes().any(|byte| byte.is_ascii_lowercase())
                || !part.bytes().any(|byte| byte.is_ascii_uppercase())
        };
        ensure!(
            one_case(base) && one_case(extension),
            "{name}: mixes small and capital letters"
        );
        let small = |part: &str| part.bytes().any(|byte| byte.is_ascii_lowercase());
        let mut case = 0;
        if small(base) {
            case |= SMALL_BASE;
        }
        if small(extension) {
            case |= SMALL_EXTENSION;
        }
        Ok(Self {
            short: pack(base.as_bytes(), extension.as_bytes()),
            case,
            long: Vec::new(),
        })
    }

    /// Any name that FAT can hold, with a short one that is not in `taken`.
    pub(super) fn any(name: &str, taken: &HashSet<Short>) -> Result<Self> {
        check(name)?;
        if let Ok(Self { short, case: 0, .. }) = Self::short_only(name)
            && !taken.contains(&short)
        {
            return Ok(Self {
                short,
                case: 0,
                long: Vec::new(),
            });
        }
        Ok(Self {
            short: alias(name, taken)?,
            case: 0,
            long: name.encode_utf16().collect(),
        })
    }

    /// How many entries it takes, the short one included.
    pub(super) fn entries(&self) -> usize {
        self.long.len().div_ceil(UNITS) + 1
    }

    /// The entries that come before the short one.
    pub(super) fn long_entries(&self) -> Vec<[u8; ENTRY]> {
        let checksum = checksum(&self.short);
        let parts: Vec<&[u16]> = self.long.chunks(UNITS).collect();
        let entries = parts.iter().enumerate().rev().map(|(index, part)| {
            let mut entry = [0; ENTRY];
            // 20 parts at most.
            entry[0] = u8::try_from(index + 1).unwrap_or(u8::MAX);
            if index + 1 == parts.len() {
                entry[0] |= LAST_PART;
            }
            entry[11] = ATTRIBUTE_LONG;
            entry[13] = checksum;
            // A zero ends a name that does not fill its entry; ones follow.
            let padded = part.iter().copied().chain([0]).chain([0xFFFF; UNITS]);
            for (place, unit) in UNIT_PLACES.into_iter().zip(padded) {
                entry[place..place + 2].copy_from_slice(&unit.to_le_bytes());
            }
            entry
        });
        entries.collect()
    }
}

/// Whether FAT, and every system that reads it, can have this name.
fn check(name: &str) -> Result<()> {
    if let Some(bad) = name
        .chars()
        .find(|c| c.is_control() || r#""*/:<>?\|"#.contains(*c))
    {
        bail!("{name:?}: {bad:?} cannot be in a name on FAT");
    }
    ensure!(
        !name.is_empty() && !name.ends_with(['.', ' ']),
        "{name:?}: a name on FAT cannot be empty or end with a dot or space"
    );
    ensure!(
        name.encode_utf16().count() <= MAX_UNITS,
        "{name:?}: longer than the {MAX_UNITS} characters that FAT has"
    );
    Ok(())
}

/// The short name to a long one: like it, and not in `taken`.
fn alias(name: &str, taken: &HashSet<Short>) -> Result<Short> {
    let trimmed = name.trim_start_matches(['.', ' ']);
    let (base, extension) = trimmed.rsplit_once('.').unwrap_or((trimmed, ""));
    let mut lost = trimmed != name;
    let mut clean = |part: &str, most: usize| {
        let mut cleaned = Vec::new();
        for c in part.chars() {
            match u8::try_from(c) {
                Ok(b' ' | b'.') => lost = true,
                Ok(byte) if is_short_character(byte) => cleaned.push(byte.to_ascii_uppercase()),
                _ => {
                    cleaned.push(b'_');
                    lost = true;
                }
            }
        }
        if cleaned.len() > most {
            cleaned.truncate(most);
            lost = true;
        }
        cleaned
    };
    let (mut base, extension) = (clean(base, 8), clean(extension, 3));
    if base.is_empty() {
        base.push(b'_');
        lost = true;
    }
    let plain = pack(&base, &extension);
    if !lost && !taken.contains(&plain) {
        return Ok(plain);
    }
    for number in 1..1_000_000_u32 {
        let tail = format!("~{number}");
        let mut numbered = base.clone();
        numbered.truncate(8 - tail.len());
        numbered.extend(tail.bytes());
        let short = pack(&numbered, &extension);
        if !taken.contains(&short) {
            return Ok(short);
        }
    }
    bail!("{name:?}: too many names like it in one folder")
}

fn is_short_character(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'()-@^_`{}~".contains(&byte)
}

fn pack(base: &[u8], extension: &[u8]) -> Short {
    let mut short = [b' '; 11];
    for (to, from) in short.iter_mut().zip(base) {
        *to = from.to_ascii_uppercase();
    }
    for (to, from) in short[8..].iter_mut().zip(extension) {
        *to = from.to_ascii_uppercase();
    }
    short
}

/// Ties the entries of a long name to their short one.
fn checksum(short: &Short) -> u8 {
    short
        .iter()
        .fold(0, |sum: u8, byte| sum.rotate_right(1).wrapping_add(*byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn any(name: &str) -> Name {
        Name::any(name, &HashSet::new()).unwrap()
    }

    #[test]
    fn boot_files_have_one_entry_and_keep_their_small_letters() {
        for (name, short, case) in [
            ("kernel8.img", b"KERNEL8 IMG", 0x18),
            ("KERNEL8.IMG", b"KERNEL8 IMG", 0x00),
            ("START.elf", b"START   ELF", 0x10),
            ("groups", b"GROUPS     ", 0x08),
        ] {
            let found = Name::short_only(name).unwrap();
            assert_eq!((&found.short, found.case), (short, case), "{name}");
            assert_eq!(found.entries(), 1);
        }
        for name in ["bcm2710-rpi-cm3.dtb", "a.b.c", "Kernel8.img", "", ".img"] {
            assert!(Name::short_only(name).is_err(), "{name}");
        }
    }

    #[test]
    fn short_names_are_like_the_long_ones_and_unique() {
        for (name, short, entries) in [
            ("README", b"README     ", 1),
            ("default.json", b"DEFAUL~1JSO", 2),
            ("groups", b"GROUPS     ", 2),
            ("vmlinuz-6.1.0-arm64", b"VMLINU~10-A", 3),
            ("käse.txt", b"K_SE~1  TXT", 2),
            (".hidden", b"HIDDEN~1   ", 2),
        ] {
            let found = any(name);
            assert_eq!(
                String::from_utf8_lossy(&found.short),
                String::from_utf8_lossy(short),
                "{name}"
            );
            assert_eq!(found.entries(), entries, "{name}");
        }
        let mut taken = HashSet::new();
        for number in 1..=12 {
            let name = Name::any(&format!("node-number-{number}.json"), &taken).unwrap();
            assert!(taken.insert(name.short));
        }
        assert!(taken.contains(b"NODE-N~9JSO") && taken.contains(b"NODE-~12JSO"));
    }

    #[test]
    fn a_long_name_is_stored_backwards_in_thirteens() {
        let entries = any("The quick brown.fox").long_entries();
        assert_eq!(entries.len(), 2);
        assert_eq!((entries[0][0], entries[1][0]), (0x42, 0x01));
        assert_eq!(&entries[1][1..11], b"T\0h\0e\0 \0q\0");
        assert_eq!(&entries[1][14..26], b"u\0i\0c\0k\0 \0b\0");
        assert_eq!(&entries[1][28..32], b"r\0o\0");
        assert_eq!(&entries[0][1..11], b"w\0n\0.\0f\0o\0");
        assert_eq!(&entries[0][14..20], b"x\0\0\0\xFF\xFF");
        assert_eq!(entries[0][13], checksum(b"THEQUI~1FOX"));
    }

    #[test]
    fn names_that_other_systems_cannot_read_are_refused() {
        for name in ["a:b", "what?", "tab\t", "dot.", "space ", ""] {
            assert!(Name::any(name, &HashSet::new()).is_err(), "{name:?}");
        }
        assert!(Name::any(&"x".repeat(255), &HashSet::new()).is_ok());
        assert!(Name::any(&"x".repeat(256), &HashSet::new()).is_err());
    }
}
