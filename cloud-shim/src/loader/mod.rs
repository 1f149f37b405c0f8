//! The image that a node starts from: EC2 has no network boot, so a small disk
//! with an EFI network loader stands in for it.
//!
//! loader + script → [`Image`] (GPT, one FAT32 EFI system partition) → a
//! snapshot through the EBS direct APIs → an AMI. The loader may be
//! any arm64 EFI program; `autoexec.ipxe` is read by iPXE, the default.

pub mod ami;
mod disk;
mod efi;
mod esp;
mod gpt;
mod script;

pub use disk::{Block, Image, blocks};
pub use efi::EfiProgram;
pub use script::Script;

use crate::error::Result;

/// Where UEFI firmware on arm64 looks for a program on a disk that it has no
/// boot option for (UEFI 2.10 §3.5.1.1).
pub const LOADER_PATH: &str = "EFI/BOOT/BOOTAA64.EFI";
/// Where iPXE looks first for a script: in its own folder. The disk's root is
/// the second place.
pub const SCRIPT_PATH: &str = "EFI/BOOT/autoexec.ipxe";

/// A file of the EFI system partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct File<'a> {
    /// From the root, with `/` between folders.
    pub path: &'a str,
    /// All that is in it.
    pub content: &'a [u8],
}

/// Lays the loader and its script onto a disk, with whatever `files` another
/// loader wants besides. The same input gives the same bytes.
///
/// # Errors
/// A path of `files` cannot be, or they are too large.
pub fn image(loader: &EfiProgram, script: &Script, files: &[File<'_>]) -> Result<Image> {
    let script = script.to_string();
    let own = [
        File {
            path: LOADER_PATH,
            content: loader.bytes(),
        },
        File {
            path: SCRIPT_PATH,
            content: script.as_bytes(),
        },
    ];
    Image::with(&[&own, files].concat())
}
