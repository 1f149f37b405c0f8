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

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds a blob.
    #[derive(Default)]
    struct Builder {
        structure: Vec<u8>,
        strings: Vec<u8>,
    }

    impl Builder {
        fn word(&mut self, word: u32) {
            self.structure.extend(word.to_be_bytes());
        }

        fn padded(&mut self, bytes: &[u8]) {
            self.structure.extend(bytes);
            self.structure
                .resize(self.structure.len().next_multiple_of(4), 0);
        }

        fn begin(mut self, name: &str) -> Self {
            self.word(BEGIN_NODE);
            self.padded(format!("{name}\0").as_bytes());
            self
        }

        fn end(mut self) -> Self {
            self.word(END_NODE);
            self
        }

        fn property(mut self, name: &str, value: &[u8]) -> Self {
            self.word(PROPERTY);
            self.word(value.len() as u32);
            self.word(self.strings.len() as u32);
            self.strings.extend(format!("{name}\0").as_bytes());
            self.padded(value);
            self
        }

        fn nop(mut self) -> Self {
            self.word(NOP);
            self
        }

        fn blob(mut self) -> Vec<u8> {
            self.word(9);
            let structure_at = HEADER_LEN + 16;
            let strings_at = structure_at + self.structure.len();
            let header = [
                MAGIC,
                (strings_at + self.strings.len()) as u32,
                structure_at as u32,
                strings_at as u32,
                HEADER_LEN as u32,
                17,
                16,
                0,
                self.strings.len() as u32,
                self.structure.len() as u32,
            ];
            let mut blob: Vec<u8> = header.into_iter().flat_map(u32::to_be_bytes).collect();
            blob.resize(structure_at, 0);
            blob.extend(self.structure);
            blob.extend(self.strings);
            blob
        }
    }

    fn words(words: &[u32]) -> Vec<u8> {
        words.iter().flat_map(|word| word.to_be_bytes()).collect()
    }

    /// As the Pi's firmware leaves it, much shortened.
    fn pi() -> Vec<u8> {
        Builder::default()
            .begin("")
            .property("#address-cells", &words(&[1]))
            .property("#size-cells", &words(&[1]))
            .property("model", b"Raspberry Pi Compute Module 3 Rev 1.0\0")
            .begin("aliases")
            .property("serial0", b"/soc/serial@7e201000\0")
            .property("serial1", b"/soc/serial@7e215040\0")
            .end()
            .nop()
            .begin("chosen")
            .property("bootargs", b"console=serial0,115200\0")
            .end()
            .begin("soc")
            .property("#address-cells", &words(&[2]))
            .begin("memory@0")
            .property("reg", &words(&[7, 7]))
            .end()
            .end()
            .begin("memory@0")
            .property("device_type", b"memory\0")
            .property("reg", &words(&[0, 0x3B40_0000]))
            .end()
            .end()
            .blob()
    }

    #[test]
    fn what_a_board_needs_is_found() {
        let blob = pi();
        let tree = Fdt::new(&blob).unwrap();
        assert_eq!(tree.model(), Some("Raspberry Pi Compute Module 3 Rev 1.0"));
        assert_eq!(tree.boot_arguments(), Some("console=serial0,115200"));
        assert_eq!(tree.memory(), Some((0, 0x3B40_0000)));
        assert_eq!(tree.console(), Some("/soc/serial@7e201000"));
        assert_eq!(tree.property("/soc/memory@0", "reg").unwrap()[3], 7);
        assert_eq!(tree.property("/memory@0", "reg").unwrap().len(), 8);
        // A part of a name is another name.
        assert_eq!(tree.property("/mem", "reg"), None);
        assert_eq!(tree.property("/memory/soc", "reg"), None);
        assert_eq!(tree.property("/soc", "reg"), None);
    }

    #[test]
    fn the_console_is_what_chosen_says() {
        let cases: [(&[u8], _); 4] = [
            (b"serial1:115200n8\0", Some("/soc/serial@7e215040")),
            (b"/soc/serial@1\0", Some("/soc/serial@1")),
            (b"serial9\0", None),
            (b"\xFF\xFE\0", None),
        ];
        for (stdout, console) in cases {
            let blob = Builder::default()
                .begin("")
                .begin("aliases")
                .property("serial1", b"/soc/serial@7e215040\0")
                .end()
                .begin("chosen")
                .property("stdout-path", stdout)
                .end()
                .end()
                .blob();
            assert_eq!(Fdt::new(&blob).unwrap().console(), console);
        }
    }

    #[test]
    fn memory_above_4_gib_has_two_cells() {
        let blob = Builder::default()
            .begin("")
            .property("#address-cells", &words(&[2]))
            .property("#size-cells", &words(&[1]))
            .begin("memory@0")
            .property("reg", &words(&[1, 0x10, 0x2000]))
            .end()
            .end()
            .blob();
        let tree = Fdt::new(&blob).unwrap();
        assert_eq!(tree.memory(), Some((0x1_0000_0010, 0x2000)));
    }

    #[test]
    fn a_broken_blob_reads_as_absent_and_never_panics() {
        let blob = pi();
        let look = |blob: &[u8]| {
            let tree = Fdt::new(blob)?;
            tree.model()?;
            tree.console()?;
            tree.memory()?;
            tree.property("/no/such", "thing").map(<[u8]>::len)
        };
        for len in 0..blob.len() {
            assert!(Fdt::new(&blob[..len]).is_none(), "cut at {len}");
        }
        for at in 0..blob.len() {
            for value in [0, 1, 3, 0x7F, 0xFF] {
                let mut broken = blob.clone();
                broken[at] = value;
                look(&broken);
            }
        }
        assert!(Fdt::new(&[0xFF; 64]).is_none());
    }
}
