//! Tells an arm64 EFI program from anything else, before an instance fails to
//! start from it without a word (PE/COFF as UEFI 2.10 §2.1.1 has it).

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use crate::error::{Error, Result};

/// Largest loader that is taken: iPXE has 1 MB, a unified kernel image with an
/// initrd less than 200 MB.
const MOST: u64 = 200 << 20;
/// Where the DOS header says where the PE header is.
const PE_OFFSET_AT: usize = 0x3C;
/// The optional header follows the signature and the COFF header.
const OPTIONAL: usize = 4 + 20;
/// The subsystem's place in the optional header of PE32+.
const SUBSYSTEM: usize = 68;
const ARM64: u16 = 0xAA64;
const PE32_PLUS: u16 = 0x20B;
const EFI_APPLICATION: u16 = 10;

/// An arm64 EFI program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EfiProgram(Vec<u8>);

impl EfiProgram {
    /// Reads and checks a program.
    ///
    /// # Errors
    /// The file cannot be read, or is something else.
    pub fn read(path: &Path) -> Result<Self> {
        let mut bytes = Vec::new();
        File::open(path)
            // One more shows that there is more.
            .and_then(|file| file.take(MOST + 1).read_to_end(&mut bytes))
            .map_err(|error| Error::io(path, error))?;
        Self::new(bytes).map_err(|found| {
            let path = path.display();
            Error::refused(format!("not an arm64 EFI program: {path}: {found}"))
        })
    }

    /// Checks a program.
    ///
    /// # Errors
    /// What it is instead.
    pub fn new(bytes: Vec<u8>) -> core::result::Result<Self, String> {
        match what_else(&bytes) {
            Some(found) => Err(found),
            None => Ok(Self(bytes)),
        }
    }

    /// The whole file.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// What a file is if it is no arm64 EFI program.
fn what_else(bytes: &[u8]) -> Option<String> {
    if bytes.len() as u64 > MOST {
        return Some(format!("it has more than {} MiB", MOST >> 20));
    }
    if !bytes.starts_with(b"MZ") {
        return Some("it does not begin with MZ".to_owned());
    }
    let pe = number(bytes, PE_OFFSET_AT)
        .zip(number(bytes, PE_OFFSET_AT + 2))
        .map(|(low, high)| usize::from(high) << 16 | usize::from(low));
    let header = pe.and_then(|pe| bytes.get(pe..));
    let Some(header) = header.filter(|header| header.starts_with(b"PE\0\0")) else {
        return Some("it has no PE header".to_owned());
    };
    let field = |at| number(header, at);
    let (machine, magic) = (field(4), field(OPTIONAL));
    match (machine, magic, field(OPTIONAL + SUBSYSTEM)) {
        (Some(ARM64), Some(PE32_PLUS), Some(EFI_APPLICATION)) => None,
        (Some(ARM64), Some(PE32_PLUS), Some(subsystem)) => Some(format!(
            "its subsystem is {subsystem}, not {EFI_APPLICATION} (EFI application)"
        )),
        (Some(ARM64), ..) => Some("its PE header is cut short or not PE32+".to_owned()),
        (Some(machine), ..) => {
            let name = match machine {
                0x014C => " (x86)",
                0x8664 => " (x86-64)",
                0x01C0 | 0x01C2 | 0x01C4 => " (32-bit Arm)",
                0x5064 => " (RISC-V)",
                0x6264 => " (LoongArch)",
                _ => "",
            };
            Some(format!(
                "its machine type is {machine:#06x}{name}, not {ARM64:#06x}"
            ))
        }
        (None, ..) => Some("its PE header is cut short".to_owned()),
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    let two = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_le_bytes(*two))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// As little as passes, with `code` behind it.
    pub(in super::super) fn program(code: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; 0x40 + OPTIONAL + SUBSYSTEM + 2];
        bytes[..2].copy_from_slice(b"MZ");
        bytes[PE_OFFSET_AT] = 0x40;
        bytes[0x40..0x44].copy_from_slice(b"PE\0\0");
        let mut put = |at: usize, value: u16| {
            bytes[0x40 + at..][..2].copy_from_slice(&value.to_le_bytes());
        };
        put(4, ARM64);
        put(OPTIONAL, PE32_PLUS);
        put(OPTIONAL + SUBSYSTEM, EFI_APPLICATION);
        bytes.extend(code);
        bytes
    }

    #[test]
    fn an_arm64_efi_program_is_taken_and_nothing_else() {
        let whole = program(b"code");
        assert_eq!(EfiProgram::new(whole.clone()).unwrap().bytes(), whole);

        let with = |at: usize, byte: u8| {
            let mut other = whole.clone();
            other[at] = byte;
            other
        };
        let cut = |len: usize| whole[..len].to_vec();
        let cases = [
            (Vec::new(), "it does not begin with MZ"),
            (b"\x7FELF".to_vec(), "it does not begin with MZ"),
            (cut(2), "it has no PE header"),
            (cut(0x40), "it has no PE header"),
            (with(0x3F, 0xFF), "it has no PE header"),
            (cut(0x44), "its PE header is cut short"),
            (cut(0x46), "its PE header is cut short or not PE32+"),
            (
                with(0x40 + OPTIONAL, 0x07),
                "its PE header is cut short or not PE32+",
            ),
            (
                [&whole[..0x44], &[0x64, 0x86]].concat(),
                "its machine type is 0x8664 (x86-64), not 0xaa64",
            ),
            (
                with(0x40 + OPTIONAL + SUBSYSTEM, 3),
                "its subsystem is 3, not 10 (EFI application)",
            ),
        ];
        for (bytes, want) in cases {
            assert_eq!(EfiProgram::new(bytes).unwrap_err(), want);
        }
    }

    #[test]
    fn the_error_names_the_file() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml");
        let error = EfiProgram::read(&path).unwrap_err().to_string();
        assert!(error.starts_with("not an arm64 EFI program: "), "{error}");
        assert!(
            error.ends_with("Cargo.toml: it does not begin with MZ"),
            "{error}"
        );
        let error = EfiProgram::read(Path::new("/nowhere/x.efi")).unwrap_err();
        assert!(error.to_string().starts_with("/nowhere/x.efi: "));
    }
}
