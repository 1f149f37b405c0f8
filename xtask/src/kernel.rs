//! `kernel8.img`: the bytes of an ELF file as a boot loader copies them to memory.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

/// Where the Pi's firmware and QEMU put the image.
const LOAD_ADDRESS: u64 = 0x8_0000;

/// What the image may grow to: half as much again as it has. A table that does not
/// start as zeros is in it and makes it larger than that.
const IMAGE_MAX: u64 = 960 << 10;
/// What data, stacks and DMA memory may take, the cache of files apart.
const STATIC_RAM_MAX: u64 = 16 << 20;

/// A program that lies in memory as it does in its file.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// The file's bytes.
    pub image: Vec<u8>,
    /// Bytes of memory that are written to: data, stacks, DMA memory.
    pub static_ram: u64,
}

impl Kernel {
    /// What a linked program becomes.
    ///
    /// # Errors
    /// It is no such program, does not start at its first byte, or is too large.
    pub(crate) fn of_elf(data: &[u8]) -> Result<Self> {
        let header = FileHeader64::<LittleEndian>::parse(data).context("not an ELF file")?;
        let endian = header.endian()?;
        ensure!(
            header.e_machine(endian) == elf::EM_AARCH64,
            "not a program for aarch64"
        );
        ensure!(
            header.e_entry(endian) == LOAD_ADDRESS,
            "the program starts at {:#x}, but is entered at {LOAD_ADDRESS:#x}",
            header.e_entry(endian)
        );
        let mut image = Vec::new();
        for segment in header.program_headers(endian, data)? {
            if segment.p_type(endian) == elf::PT_LOAD {
                let bytes = segment.data(endian, data);
                let bytes = bytes.map_err(|()| anyhow::anyhow!("a segment is cut short"))?;
                lay(&mut image, segment.p_paddr(endian), bytes)?;
            }
        }
        let mut static_ram = 0;
        for section in header.section_headers(endian, data)? {
            let flags = section.sh_flags(endian);
            if flags & u64::from(elf::SHF_ALLOC) != 0 && flags & u64::from(elf::SHF_WRITE) != 0 {
                static_ram += section.sh_size(endian);
            }
        }
        let kernel = Self { image, static_ram };
        let size = kernel.image.len() as u64;
        ensure!(
            size <= IMAGE_MAX,
            "kernel8.img would have {size} bytes; {IMAGE_MAX} are the limit"
        );
        ensure!(
            static_ram <= STATIC_RAM_MAX,
            "static RAM would be {static_ram} bytes; {STATIC_RAM_MAX} are the limit"
        );
        Ok(kernel)
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let image = self.image.len() as f64 / 1024.0;
        let ram = self.static_ram as f64 / f64::from(1 << 20);
        write!(
            f,
            "kernel8.img {image:.0} KiB of {} KiB, static RAM {ram:.2} MiB of {} MiB",
            IMAGE_MAX >> 10,
            STATIC_RAM_MAX >> 20
        )
    }
}

/// Puts a segment where it belongs; gaps are zeros.
fn lay(image: &mut Vec<u8>, address: u64, bytes: &[u8]) -> Result<()> {
    if bytes.is_empty() {
        return Ok(());
    }
    let Some(start) = address.checked_sub(LOAD_ADDRESS) else {
        bail!("a segment lies at {address:#x}, before {LOAD_ADDRESS:#x}");
    };
    let start = usize::try_from(start)?;
    let end = start + bytes.len();
    // A segment far away would make a file of gigabytes.
    ensure!(
        end as u64 <= 16 * IMAGE_MAX,
        "a segment lies at {address:#x}, far from {LOAD_ADDRESS:#x}"
    );
    if image.len() < end {
        image.resize(end, 0);
    }
    image[start..end].copy_from_slice(bytes);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRITE_ALLOC: u64 = (elf::SHF_WRITE | elf::SHF_ALLOC) as u64;

    struct Program {
        entry: u64,
        machine: u16,
        /// Physical address and bytes of each segment.
        segments: Vec<(u64, Vec<u8>)>,
        /// Flags and size of each section.
        sections: Vec<(u64, u64)>,
    }

    impl Default for Program {
        fn default() -> Self {
            Self {
                entry: LOAD_ADDRESS,
                machine: elf::EM_AARCH64,
                segments: vec![
                    (LOAD_ADDRESS, vec![1, 2, 3, 4]),
                    (LOAD_ADDRESS + 8, vec![5]),
                ],
                sections: vec![
                    (0, 0),
                    (u64::from(elf::SHF_ALLOC), 0x1000),
                    (WRITE_ALLOC, 0x100),
                    (WRITE_ALLOC, 0x20_0000),
                    (0, 0x1_0000_0000),
                ],
            }
        }
    }

    impl Program {
        /// The ELF file (System V ABI, chapters 4 and 5).
        fn elf(&self) -> Vec<u8> {
            let segments_at = 64;
            let sections_at = segments_at + 56 * self.segments.len();
            let mut bytes_at = sections_at + 64 * self.sections.len();
            let mut elf = b"\x7FELF\x02\x01\x01\0\0\0\0\0\0\0\0\0".to_vec();
            elf.extend(2_u16.to_le_bytes());
            elf.extend(self.machine.to_le_bytes());
            elf.extend(1_u32.to_le_bytes());
            for word in [self.entry, segments_at as u64, sections_at as u64] {
                elf.extend(word.to_le_bytes());
            }
            elf.extend([0; 4]);
            let (segments, sections) = (self.segments.len() as u16, self.sections.len() as u16);
            for half in [64, 56, segments, 64, sections, 0] {
                elf.extend(half.to_le_bytes());
            }
            for (address, bytes) in &self.segments {
                elf.extend(elf::PT_LOAD.to_le_bytes());
                elf.extend([0; 4]);
                let len = bytes.len() as u64;
                for word in [bytes_at as u64, *address, *address, len, len, 1] {
                    elf.extend(word.to_le_bytes());
                }
                bytes_at += bytes.len();
            }
            for (flags, size) in &self.sections {
                elf.extend([0; 8]);
                for word in [*flags, 0, 0, *size, 0, 0, 0] {
                    elf.extend(word.to_le_bytes());
                }
            }
            for (_, bytes) in &self.segments {
                elf.extend(bytes);
            }
            elf
        }

        fn kernel(&self) -> Result<Kernel> {
            Kernel::of_elf(&self.elf())
        }
    }

    #[test]
    fn segments_lie_in_the_image_as_in_memory() -> Result<()> {
        let kernel = Program::default().kernel()?;
        assert_eq!(kernel.image, [1, 2, 3, 4, 0, 0, 0, 0, 5]);
        assert_eq!(kernel.static_ram, 0x20_0100);
        assert_eq!(
            kernel.to_string(),
            "kernel8.img 0 KiB of 960 KiB, static RAM 2.00 MiB of 16 MiB"
        );
        Ok(())
    }

    #[test]
    fn what_cannot_boot_is_refused() {
        let large = vec![1; IMAGE_MAX as usize + 1];
        let cases = [
            (
                Program {
                    entry: LOAD_ADDRESS + 4,
                    ..Program::default()
                },
                "starts at 0x80004",
            ),
            (
                Program {
                    machine: elf::EM_X86_64,
                    ..Program::default()
                },
                "not a program for aarch64",
            ),
            (
                Program {
                    segments: vec![(0x1000, vec![1])],
                    ..Program::default()
                },
                "before 0x80000",
            ),
            (
                Program {
                    segments: vec![(1 << 40, vec![1])],
                    ..Program::default()
                },
                "far from",
            ),
            (
                Program {
                    segments: vec![(LOAD_ADDRESS, large)],
                    ..Program::default()
                },
                "kernel8.img would have 983041 bytes",
            ),
            (
                Program {
                    sections: vec![(0, 0), (WRITE_ALLOC, STATIC_RAM_MAX + 1)],
                    ..Program::default()
                },
                "static RAM would be 16777217 bytes",
            ),
        ];
        for (program, reason) in cases {
            let error = program.kernel().expect_err(reason).to_string();
            assert!(error.contains(reason), "{error}");
        }
        assert!(Kernel::of_elf(b"no ELF file").is_err());
    }
}
