//! `kernel8.img`: the bytes of an ELF file as a boot loader copies them to memory.

use std::fmt;

use anyhow::{Context, Result, bail, ensure};
use object::LittleEndian;
use object::elf::{self, FileHeader64};
use object::read::elf::{FileHeader, ProgramHeader, SectionHeader};

/// Where the Pi's firmware and QEMU put the image.
const LOAD_ADDRESS: u64 = 0x8_0000;

/// What the image may grow to.
const IMAGE_MAX: u64 = 1 << 20;
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
        for section in header.sections(endian, data)?.iter() {
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
