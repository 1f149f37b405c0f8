//! The EFI system partition: FAT32, as UEFI 2.10 §13.3 wants it on a fixed disk.

use core::fmt;
use std::io::Cursor;

use ichor_fat32::{Content, Folder, SECTOR, Volume};

use super::File;
use crate::error::{Error, Result};

const MIB: u64 = 1 << 20;
/// The smallest FAT32.
const SMALLEST: u64 = 34 * MIB;
/// Both tables have at most this: there are less than twice as many clusters
/// as FAT32 needs.
const TABLES: u64 = 2 * MIB;
const LABEL: [u8; 11] = *b"ICHOR      ";

/// The files of a partition that is yet to be written.
#[derive(Debug)]
pub(super) struct Esp(Folder);

impl Esp {
    /// Takes the files, if FAT can have them.
    pub(super) fn with(files: &[File<'_>]) -> Result<Self> {
        folder(files).map(Self)
    }

    /// Bytes of a partition that has room for them, in whole MiB.
    pub(super) fn size(&self) -> u64 {
        (self.0.room() + TABLES).next_multiple_of(MIB).max(SMALLEST)
    }

    /// Writes the partition onto `disk`, from byte `start` on, where all is
    /// zero. `serial` tells it from others.
    pub(super) fn write(self, disk: &mut [u8], start: u64, serial: u32) -> Result<()> {
        let sectors = |bytes: u64| (bytes / u64::from(SECTOR)) as u32;
        let volume = Volume {
            first_sector: sectors(start),
            sectors: sectors(self.size()),
            label: LABEL,
            serial,
        };
        let written = volume.write(self.0, &mut Cursor::new(disk));
        written.map(drop).map_err(|error| refused(&error))
    }
}

fn folder(files: &[File<'_>]) -> Result<Folder> {
    let mut folder = Folder::default();
    let mut below: Vec<(&str, Vec<File<'_>>)> = Vec::new();
    for &File { path, content } in files {
        let Some((name, path)) = path.split_once('/') else {
            let content = Content::Bytes(content.to_vec());
            folder
                .add_file(path, content)
                .map_err(|error| refused(&error))?;
            continue;
        };
        let file = File { path, content };
        match below.iter_mut().find(|(known, _)| *known == name) {
            Some((_, files)) => files.push(file),
            None => below.push((name, vec![file])),
        }
    }
    for (name, files) in below {
        let inner = self::folder(&files)?;
        folder
            .add_folder(name, inner)
            .map_err(|error| refused(&error))?;
    }
    Ok(folder)
}

fn refused(error: &dyn fmt::Display) -> Error {
    Error::refused(format!("the loader's disk: {error:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file<'a>(path: &'a str, content: &'a [u8]) -> File<'a> {
        File { path, content }
    }

    #[test]
    fn there_is_room_for_what_was_asked() {
        let large = vec![1; 30 << 20];
        let mut files = vec![file("large", &large), file("larger", &large)];
        let names: Vec<String> = (0..200).map(|n| format!("{n:0>250}/file")).collect();
        files.extend(names.iter().map(|name| file(name, b"content")));
        for count in [0, 1, 2, 202] {
            let esp = Esp::with(&files[..count]).unwrap();
            let size = esp.size();
            assert_eq!(size % MIB, 0);
            let mut disk = vec![0; (MIB + size) as usize];
            esp.write(&mut disk, MIB, 7).unwrap();
            assert!(disk[..1 << 20].iter().all(|byte| *byte == 0));
        }
    }

    #[test]
    fn what_fat_cannot_have_is_refused() {
        let cases = [
            (
                "",
                "\"\": a name on FAT cannot be empty or end with a dot or space",
            ),
            (
                "/x",
                "\"\": a name on FAT cannot be empty or end with a dot or space",
            ),
            (
                "a/../x",
                "\"..\": a name on FAT cannot be empty or end with a dot or space",
            ),
            ("what?", "\"what?\": '?' cannot be in a name on FAT"),
            (
                "efi/ONE.efi",
                "ONE.efi is there twice: FAT does not tell small from capital letters",
            ),
            (
                "EFI/two.efi",
                "EFI is there twice: FAT does not tell small from capital letters",
            ),
        ];
        for (path, want) in cases {
            let error = Esp::with(&[file("efi/one.efi", b"1"), file(path, b"2")]).unwrap_err();
            assert_eq!(error.to_string(), format!("the loader's disk: {want}"));
        }
    }
}
