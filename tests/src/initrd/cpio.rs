//! A writer for cpio archives of the `newc` kind, which Linux takes as initramfs.
//!
//! Format: Linux, Documentation/driver-api/early-userspace/buffer-format.rst.

use std::fmt::Write as _;

const DIRECTORY: u32 = 0o040_000;
const FILE: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive under construction. Everything belongs to root and is dated 1970,
/// so that the same content gives the same bytes.
#[derive(Debug, Default)]
pub struct Cpio {
    bytes: Vec<u8>,
    entries: u32,
}

impl Cpio {
    /// An empty archive.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory; its parent must have been added before.
    pub fn directory(&mut self, path: &str) {
        self.entry(path, DIRECTORY | 0o755, (0, 0), &[]);
    }

    /// Adds a file with permissions such as `0o755`.
    pub fn file(&mut self, path: &str, permissions: u32, content: &[u8]) {
        self.entry(path, FILE | permissions, (0, 0), content);
    }

    /// Adds a symbolic link at `path` that points to `target`.
    pub fn symlink(&mut self, path: &str, target: &str) {
        self.entry(path, SYMLINK | 0o777, (0, 0), target.as_bytes());
    }

    /// Adds a character device node.
    pub fn character_device(&mut self, path: &str, major: u32, minor: u32) {
        self.entry(path, CHARACTER_DEVICE | 0o600, (major, minor), &[]);
    }

    /// The finished archive.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        // The trailer has inode 0 in practice, but any value is taken.
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    fn entry(&mut self, path: &str, mode: u32, device: (u32, u32), content: &[u8]) {
        let path = path.trim_start_matches('/');
        self.entries += 1;
        let links = if mode & DIRECTORY == DIRECTORY { 2 } else { 1 };
        // A file of an initrd is far below the 4 GiB that the format can say.
        let size = u32::try_from(content.len()).unwrap_or(u32::MAX);
        let name_size = u32::try_from(path.len() + 1).unwrap_or(u32::MAX);
        let fields = [
            self.entries, // inode
            mode,
            0, // owner
            0, // group
            links,
            0, // modification time
            size,
            0, // device holding the file, major and minor
            0,
            device.0,
            device.1,
            name_size,
            0, // checksum, unused in this kind
        ];
        let mut header = String::from("070701");
        for field in fields {
            let _ = write!(header, "{field:08x}");
        }
        self.bytes.extend_from_slice(header.as_bytes());
        self.bytes.extend_from_slice(path.as_bytes());
        self.bytes.push(0);
        self.align();
        self.bytes.extend_from_slice(content);
        self.align();
    }

    fn align(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Path, mode, device numbers, content.
    type Entry = (String, u32, (u32, u32), Vec<u8>);

    /// Reads an archive back.
    fn parse(mut bytes: &[u8]) -> Vec<Entry> {
        let mut entries = Vec::new();
        loop {
            assert_eq!(&bytes[..6], b"070701");
            let field = |index: usize| {
                let at = 6 + 8 * index;
                u32::from_str_radix(std::str::from_utf8(&bytes[at..at + 8]).unwrap(), 16).unwrap()
            };
            let (size, name_size) = (field(6) as usize, field(11) as usize);
            let name = String::from_utf8(bytes[110..110 + name_size - 1].to_vec()).unwrap();
            assert_eq!(bytes[110 + name_size - 1], 0, "names end with NUL");
            let data = (110 + name_size).next_multiple_of(4);
            if name == "TRAILER!!!" {
                assert_eq!(bytes.len(), data, "nothing follows the trailer");
                return entries;
            }
            let content = bytes[data..data + size].to_vec();
            entries.push((name, field(1), (field(9), field(10)), content));
            bytes = &bytes[(data + size).next_multiple_of(4)..];
        }
    }

    #[test]
    fn every_kind_of_entry_reads_back() {
        let mut cpio = Cpio::new();
        cpio.directory("dev");
        cpio.character_device("/dev/console", 5, 1);
        cpio.file("init", 0o755, b"#!/bin/sh\n");
        cpio.symlink("bin/sh", "busybox");
        cpio.file("empty", 0o644, b"");
        assert_eq!(
            parse(&cpio.finish()),
            [
                ("dev".to_owned(), 0o040_755, (0, 0), vec![]),
                ("dev/console".to_owned(), 0o020_600, (5, 1), vec![]),
                (
                    "init".to_owned(),
                    0o100_755,
                    (0, 0),
                    b"#!/bin/sh\n".to_vec()
                ),
                ("bin/sh".to_owned(), 0o120_777, (0, 0), b"busybox".to_vec()),
                ("empty".to_owned(), 0o100_644, (0, 0), vec![]),
            ]
        );
    }

    #[test]
    fn names_and_contents_of_any_length_stay_aligned() {
        for length in 0..9 {
            let mut cpio = Cpio::new();
            let name = "n".repeat(length + 1);
            cpio.file(&name, 0o600, &vec![7; length]);
            cpio.file("next", 0o600, b"x");
            let bytes = cpio.finish();
            assert_eq!(bytes.len() % 4, 0);
            let entries = parse(&bytes);
            assert_eq!((&entries[0].0, entries[0].3.len()), (&name, length));
            assert_eq!(entries[1].0, "next");
        }
    }
}
