//! Writes frames to a pcapng file, one interface per port, for Wireshark and tshark.
//!
//! Only the three block types that this needs, in the writer's byte order
//! (draft-ietf-opsawg-pcapng §4.1–4.3).

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

const SECTION_HEADER: u32 = 0x0A0D_0D0A;
const INTERFACE: u32 = 1;
const ENHANCED_PACKET: u32 = 6;
const LINKTYPE_ETHERNET: u16 = 1;
/// `opt_comment` of a packet, and the first of an interface's own options.
const COMMENT: u16 = 1;
const INTERFACE_NAME: u16 = 2;

/// Bytes of whole frames in a file; beyond them data gives way, so that a
/// transfer which never ends does not fill the disk.
const WHOLE_FRAMES: u64 = 128 * 1024 * 1024;
/// What is kept of each frame then: the headers.
const HEADERS: usize = 96;

/// An open capture file.
#[derive(Debug)]
pub(crate) struct Capture {
    file: BufWriter<File>,
    written: u64,
    interfaces: Vec<Arc<str>>,
    block: Vec<u8>,
}

impl Capture {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut capture = Self {
            file: BufWriter::with_capacity(256 * 1024, File::create(path)?),
            written: 0,
            interfaces: Vec::new(),
            block: Vec::new(),
        };
        capture.begin(SECTION_HEADER);
        capture.put(&0x1A2B_3C4D_u32.to_ne_bytes()); // byte-order magic
        capture.put(&1_u16.to_ne_bytes()); // version 1.0
        capture.put(&0_u16.to_ne_bytes());
        capture.put(&u64::MAX.to_ne_bytes()); // section of unknown length
        capture.end();
        capture.file.flush()?;
        Ok(capture)
    }

    /// Writes a frame that came in at `port`. A full disk ends the capture's
    /// worth, not the test: errors are left to whoever reads the file.
    pub(crate) fn frame(&mut self, port: &Arc<str>, frame: &[u8], comment: &str) {
        let interface = self.interface(port);
        let time = SystemTime::now()
            .duration_since(SystemTime::UNIX_EPOCH)
            .map_or(0, |since| since.as_micros() as u64);
        let kept = match self.written {
            ..WHOLE_FRAMES => frame,
            _ => &frame[..frame.len().min(HEADERS)],
        };
        let (kept_len, len) = (kept.len() as u32, frame.len() as u32);
        self.begin(ENHANCED_PACKET);
        for word in [interface, (time >> 32) as u32, time as u32, kept_len, len] {
            self.put(&word.to_ne_bytes());
        }
        self.put(kept);
        self.pad();
        if !comment.is_empty() {
            self.option(COMMENT, comment);
        }
        self.end();
    }

    pub(crate) fn flush(&mut self) {
        let _ = self.file.flush();
    }

    fn interface(&mut self, port: &Arc<str>) -> u32 {
        if let Some(known) = self.interfaces.iter().position(|name| name == port) {
            return known as u32;
        }
        self.begin(INTERFACE);
        self.put(&LINKTYPE_ETHERNET.to_ne_bytes());
        self.put(&[0; 2]);
        self.put(&0_u32.to_ne_bytes()); // no length limit
        self.option(INTERFACE_NAME, port);
        self.end();
        self.interfaces.push(Arc::clone(port));
        self.interfaces.len() as u32 - 1
    }

    fn begin(&mut self, kind: u32) {
        self.block.clear();
        self.put(&kind.to_ne_bytes());
        self.put(&[0; 4]); // the length, known at the end
    }

    fn put(&mut self, bytes: &[u8]) {
        self.block.extend_from_slice(bytes);
    }

    fn pad(&mut self) {
        self.block.resize(self.block.len().next_multiple_of(4), 0);
    }

    fn option(&mut self, code: u16, text: &str) {
        let text = &text.as_bytes()[..text.len().min(usize::from(u16::MAX))];
        self.put(&code.to_ne_bytes());
        self.put(&(text.len() as u16).to_ne_bytes());
        self.put(text);
        self.pad();
    }

    fn end(&mut self) {
        let len = (self.block.len() as u32 + 4).to_ne_bytes();
        self.block[4..8].copy_from_slice(&len);
        self.put(&len);
        self.written += self.block.len() as u64;
        let _ = self.file.write_all(&self.block);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_follow_each_other_and_name_the_port() {
        let path = std::env::temp_dir().join(format!("ichor-pcap-{}", std::process::id()));
        let mut capture = Capture::create(&path).unwrap();
        let port = Arc::from("node-1");
        capture.frame(&port, &[7; 61], "dropped");
        capture.frame(&port, &[7; 60], "");
        capture.flush();
        let file = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let word = |at: usize| u32::from_ne_bytes(file[at..at + 4].try_into().unwrap());
        let (mut at, mut kinds) = (0, Vec::new());
        while at < file.len() {
            let len = word(at + 4);
            assert_eq!(len % 4, 0);
            kinds.push((word(at), len));
            at += len as usize;
            assert_eq!(word(at - 4), len, "the length stands at both ends");
        }
        let comment = 4 + "dropped".len().next_multiple_of(4) as u32;
        let want = [
            (SECTION_HEADER, 28),
            (INTERFACE, 16 + 4 + 8 + 4),
            (ENHANCED_PACKET, 28 + 64 + comment + 4),
            (ENHANCED_PACKET, 28 + 60 + 4),
        ];
        assert_eq!(kinds, want);
        assert!(file.windows(6).any(|text| text == b"node-1"));
    }
}
