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

/// An open capture file.
#[derive(Debug)]
pub(crate) struct Capture {
    file: BufWriter<File>,
    interfaces: Vec<Arc<str>>,
    block: Vec<u8>,
}

impl Capture {
    pub(crate) fn create(path: &Path) -> io::Result<Self> {
        let mut capture = Self {
            file: BufWriter::with_capacity(256 * 1024, File::create(path)?),
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
        let len = frame.len() as u32;
        self.begin(ENHANCED_PACKET);
        for word in [interface, (time >> 32) as u32, time as u32, len, len] {
            self.put(&word.to_ne_bytes());
        }
        self.put(frame);
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
        let _ = self.file.write_all(&self.block);
    }
}
