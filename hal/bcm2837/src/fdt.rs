//! The device tree that the boot loader leaves in memory (Devicetree
//! Specification v0.4, chapter 5).
//!
//! It reads what a board needs of one: properties by path. Nothing in a blob
//! is trusted; what is cut short or broken reads as absent.

const MAGIC: u32 = 0xD00D_FEED;
/// Bytes of the header that are read here.
pub const HEADER_LEN: usize = 40;
/// A blob longer than this is none: the Pi's have about 32 KiB.
pub const LEN_MAX: usize = 1 << 20;

const BEGIN_NODE: u32 = 1;
const END_NODE: u32 = 2;
const PROPERTY: u32 = 3;
const NOP: u32 = 4;

/// Levels of nodes that are followed.
const DEPTH_MAX: usize = 16;

/// A device tree blob.
#[derive(Debug, Clone, Copy)]
pub struct Fdt<'a> {
    structure: &'a [u8],
    strings: &'a [u8],
}

impl<'a> Fdt<'a> {
    /// How long the blob is whose first [`HEADER_LEN`] bytes these are; `None`
    /// if they are no blob's.
    pub fn len_by_header(header: &[u8]) -> Option<usize> {
        let len = word(header, 4)? as usize;
        let is_blob = word(header, 0)? == MAGIC && (HEADER_LEN..=LEN_MAX).contains(&len);
        is_blob.then_some(len)
    }

    /// The tree in a blob, if it is one.
    pub fn new(blob: &'a [u8]) -> Option<Self> {
        let len = Self::len_by_header(blob)?;
        let blob = blob.get(..len)?;
        let part = |start: usize, len: usize| {
            let start = word(blob, start)? as usize;
            let len = word(blob, len)? as usize;
            blob.get(start..start.checked_add(len)?)
        };
        Some(Self {
            structure: part(8, 36)?,
            strings: part(12, 32)?,
        })
    }

    /// A property's value. A name in the path stands for the node with or
    /// without a unit address: `/memory` for `/memory@0`.
    pub fn property(&self, path: &str, name: &str) -> Option<&'a [u8]> {
        let mut at = 0;
        let mut depth = 0;
        // How many levels of the open nodes agree with the path.
        let mut agreed = 0;
        let wanted = path.split('/').filter(|name| !name.is_empty()).count();
        loop {
            let token = word(self.structure, at)?;
            at += 4;
            match token {
                BEGIN_NODE => {
                    let node = text(self.structure.get(at..)?)?;
                    at = (at + node.len() + 1).next_multiple_of(4);
                    depth += 1;
                    if depth > DEPTH_MAX {
                        return None;
                    }
                    // The first node is the root, which has no name.
                    let expected = (depth > 1).then(|| component(path, depth - 2)).flatten();
                    let agrees = depth == 1 || expected.is_some_and(|name| is_named(node, name));
                    if agreed == depth - 1 && agrees {
                        agreed = depth;
                    }
                }
                END_NODE => {
                    depth = usize::checked_sub(depth, 1)?;
                    agreed = agreed.min(depth);
                }
                PROPERTY => {
                    let len = word(self.structure, at)? as usize;
                    let name_at = word(self.structure, at + 4)? as usize;
                    let value = self.structure.get(at + 8..)?.get(..len)?;
                    at = (at + 8 + len).next_multiple_of(4);
                    let here = agreed == depth && depth == wanted + 1;
                    if here && text(self.strings.get(name_at..)?)? == name {
                        return Some(value);
                    }
                }
                NOP => {}
                _ => return None,
            }
        }
    }

    /// A property that is text; the first, if it is a list.
    pub fn text(&self, path: &str, name: &str) -> Option<&'a str> {
        text(self.property(path, name)?)
    }

    /// What the board calls itself.
    pub fn model(&self) -> Option<&'a str> {
        self.text("/", "model")
    }

    /// What `cmdline.txt` holds, with the firmware's additions.
    pub fn boot_arguments(&self) -> Option<&'a str> {
        self.text("/chosen", "bootargs")
    }

    /// Address and length of the first range of memory.
    pub fn memory(&self) -> Option<(u64, u64)> {
        let cells = |name| {
            self.property("/", name)
                .and_then(|value| word(value, 0))
                .map_or(1, |cells| cells as usize)
        };
        let reg = self.property("/memory", "reg")?;
        let (address, size) = (cells("#address-cells"), cells("#size-cells"));
        Some((number(reg, 0, address)?, number(reg, address, size)?))
    }

    /// The path of the node that is the console: `stdout-path`, else the first
    /// serial port.
    pub fn console(&self) -> Option<&'a str> {
        let chosen = self.text("/chosen", "stdout-path").unwrap_or("serial0");
        // Behind a colon is the speed.
        let name = chosen.split(':').next()?;
        if name.starts_with('/') {
            Some(name)
        } else {
            self.text("/aliases", name)
        }
    }
}

/// The name at a level of a path.
fn component(path: &str, level: usize) -> Option<&str> {
    path.split('/').filter(|name| !name.is_empty()).nth(level)
}

fn is_named(node: &str, name: &str) -> bool {
    match node.strip_prefix(name) {
        Some(rest) => rest.is_empty() || rest.starts_with('@'),
        None => false,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_be_bytes(*bytes))
}

/// A number of `cells` words, from the word `at` on.
fn number(bytes: &[u8], at: usize, cells: usize) -> Option<u64> {
    match cells {
        1 => word(bytes, at * 4).map(u64::from),
        2 => {
            let high = u64::from(word(bytes, at * 4)?);
            Some(high << 32 | u64::from(word(bytes, at * 4 + 4)?))
        }
        _ => None,
    }
}

fn text(bytes: &[u8]) -> Option<&str> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    core::str::from_utf8(&bytes[..end]).ok()
}
