//! A file system checker: what belongs to whom, and whether it adds up.

use std::collections::BTreeMap;
use std::process::Command;

use super::{BLOCK, FAT_BLOCKS, FAT_FIRST, FakeCard};

/// What a power cut may leave behind.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Leftovers {
    /// Clusters that are taken and belong to nobody.
    pub(crate) leaked: usize,
    /// Entries in which the copies of the table differ.
    pub(crate) unmirrored: usize,
    /// Whether the count of free clusters is wrong.
    pub(crate) miscounted: bool,
}

struct Checker {
    bytes: Vec<u8>,
    table: usize,
    table_len: usize,
    data: usize,
    cluster: usize,
    clusters: usize,
    /// Who owns a cluster.
    owners: BTreeMap<u32, String>,
}

/// Checks the FAT partition; panics at what must never be: clusters with two
/// owners, chains of the wrong length or into nowhere, broken long names.
pub(crate) fn check(card: &FakeCard) -> Leftovers {
    let bytes = card.bytes(FAT_FIRST, FAT_BLOCKS);
    let u16_at = |at: usize| usize::from(u16::from_le_bytes([bytes[at], bytes[at + 1]]));
    let table = u16_at(14) * BLOCK;
    let table_len = (u16_at(36) | u16_at(38) << 16) * BLOCK;
    let data = table + 2 * table_len;
    let cluster = usize::from(bytes[13]) * BLOCK;
    let info = u16_at(48) * BLOCK + 488;
    let root = (u16_at(44) | u16_at(46) << 16) as u32;
    let mut checker = Checker {
        clusters: (bytes.len() - data) / cluster,
        bytes,
        table,
        table_len,
        data,
        cluster,
        owners: BTreeMap::new(),
    };
    checker.folder(root, "");
    let entry = |at: usize| checker.word(at) & 0x0FFF_FFFF;
    let taken = (2..checker.clusters + 2).filter(|n| entry(table + n * 4) != 0);
    let taken: Vec<_> = taken.collect();
    let unmirrored = (0..checker.table_len / 4)
        .filter(|n| entry(table + n * 4) != entry(table + table_len + n * 4))
        .count();
    Leftovers {
        leaked: taken.len() - checker.owners.len(),
        unmirrored,
        miscounted: checker.word(info) as usize != checker.clusters - taken.len(),
    }
}

impl Checker {
    fn word(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    /// The bytes of a chain, whose clusters belong to `owner` now.
    fn chain(&mut self, first: u32, owner: &str) -> Vec<u8> {
        let mut content = Vec::new();
        let mut next = first;
        while next < 0x0FFF_FFF8 {
            let index = next as usize;
            assert!(
                (2..self.clusters + 2).contains(&index),
                "{owner}: cluster {next}"
            );
            if let Some(other) = self.owners.insert(next, owner.to_owned()) {
                panic!("cluster {next} belongs to {other} and to {owner}");
            }
            let start = self.data + (index - 2) * self.cluster;
            content.extend_from_slice(&self.bytes[start..start + self.cluster]);
            next = self.word(self.table + index * 4) & 0x0FFF_FFFF;
        }
        content
    }

    fn folder(&mut self, first: u32, path: &str) {
        let content = self.chain(first, if path.is_empty() { "/" } else { path });
        let mut parts = 0;
        let mut names = Vec::new();
        for entry in content.chunks(32) {
            match (entry[0], entry[11]) {
                (0, _) => break,
                (0xE5, _) => {
                    assert_eq!(parts, 0, "{path}: a long name without its file");
                    continue;
                }
                (number, 0x0F) => {
                    let expected = if parts == 0 { number & 0x1F } else { parts - 1 };
                    assert_eq!(number & 0x1F, expected, "{path}: parts of a long name");
                    parts = number & 0x1F;
                    continue;
                }
                _ => assert!(parts <= 1, "{path}: an incomplete long name"),
            }
            parts = 0;
            if entry[0] == b'.' || entry[11] & 8 != 0 {
                continue;
            }
            let name = format!("{path}/{}", String::from_utf8_lossy(&entry[..11]));
            assert!(!names.contains(&name), "{name} twice");
            names.push(name.clone());
            let half = |at: usize| u32::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
            let first = half(20) << 16 | half(26);
            if entry[11] & 0x10 != 0 {
                self.folder(first, &name);
                continue;
            }
            let size = (half(28) | half(30) << 16) as usize;
            let len = match first {
                0 => 0,
                first => self.chain(first, &name).len(),
            };
            assert_eq!(len, size.next_multiple_of(self.cluster), "{name}: length");
        }
    }
}

/// What `fsck.fat -n` says, where the environment names it (`ICHOR_FSCK`): the
/// lines besides those that a check of a sound file system prints.
pub(crate) fn fsck(card: &FakeCard) -> Option<Vec<String>> {
    let program = std::env::var_os("ICHOR_FSCK")?;
    let thread = std::thread::current().id();
    let name = format!("ichor-fsck-{}-{thread:?}.img", std::process::id());
    let path = std::env::temp_dir().join(name);
    std::fs::write(&path, card.bytes(FAT_FIRST, FAT_BLOCKS)).unwrap();
    let output = Command::new(program).arg("-n").arg(&path).output();
    std::fs::remove_file(&path).unwrap();
    let output = output.unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().filter(|line| {
        !line.starts_with("fsck.fat ") && !line.contains(" files, ") && !line.is_empty()
    });
    Some(lines.map(str::to_owned).collect())
}
