//! The raw disk: its partition table, its one partition, and its blocks.

use std::fs::File as DiskFile;
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use super::File;
use super::esp::Esp;
use super::gpt::{self, Guids, SECTOR};
use crate::api::BLOCK_SIZE;
use crate::error::{Error, Result};

const MIB: usize = 1 << 20;
/// In front of the partition and behind it: the copies of the GPT, and the
/// alignment that every partitioning tool keeps.
const MARGIN: usize = MIB;
/// Of all files together. The image is made in memory, and what is larger
/// should come over the network anyway.
const MOST: usize = 256 * MIB;

/// A raw disk image of whole MiB.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    bytes: Arc<[u8]>,
    sha256: [u8; 32],
}

/// A block of [`BLOCK_SIZE`] bytes that is not all zeros.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block<'a> {
    /// Which one, from 0.
    pub index: u32,
    /// Its bytes, all [`BLOCK_SIZE`] of them: an image has whole blocks.
    pub data: &'a [u8],
}

/// The blocks of a disk that are not all zeros, in order: a snapshot, like a
/// sparse file, reads as zeros where nothing was written.
pub fn blocks(disk: &[u8]) -> impl Iterator<Item = Block<'_>> {
    let blocks = (0..).zip(disk.chunks(BLOCK_SIZE));
    blocks
        .filter(|(_, data)| data.iter().any(|byte| *byte != 0))
        .map(|(index, data)| Block { index, data })
}

impl Image {
    /// A disk with these files.
    pub(super) fn with(files: &[File<'_>]) -> Result<Self> {
        let content: usize = files.iter().map(|file| file.content.len()).sum();
        if content > MOST {
            return Err(Error::refused(format!(
                "the loader's files have {content} bytes; {MOST} are the most: \
                 leave large ones to the boot server"
            )));
        }
        let seal = seal(files);
        let esp = Esp::with(files)?;
        let partition = esp.size() as usize;
        let mut bytes = vec![0; MARGIN + partition + MARGIN];
        let serial = u32::from_le_bytes([seal[0], seal[1], seal[2], seal[3]]);
        esp.write(&mut bytes, MARGIN as u64, serial)?;
        let sector = |at: usize| (at / SECTOR) as u64;
        let guids = Guids {
            disk: guid(&seal[..16]),
            partition: guid(&seal[16..]),
        };
        let place = sector(MARGIN)..=sector(MARGIN + partition) - 1;
        gpt::write(&mut bytes, place, guids);
        Ok(Self {
            sha256: Sha256::digest(&bytes).into(),
            bytes: bytes.into(),
        })
    }

    /// The whole disk.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// SHA-256 of the whole disk in hex, as `sha256sum` prints it for the file.
    pub fn sha256(&self) -> String {
        let hex = |byte: &u8| format!("{byte:02x}");
        self.sha256.iter().map(hex).collect()
    }

    /// Writes the image into a file, which takes no more room than its blocks
    /// where the file system has sparse files. A file that is there is replaced
    /// once the new one is whole.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = Path::new(&part);
        let write = || {
            let mut file = DiskFile::create(part)?;
            for Block { index, data } in blocks(&self.bytes) {
                file.seek(SeekFrom::Start(u64::from(index) * BLOCK_SIZE as u64))?;
                file.write_all(data)?;
            }
            file.set_len(self.bytes.len() as u64)?;
            file.sync_all()?;
            std::fs::rename(part, path)
        };
        write().map_err(|error| {
            // It may not even exist; the error that counts is the first.
            let _ = std::fs::remove_file(part);
            Error::io(path, error)
        })
    }
}

/// A digest of all that the image is made of, from which everything on it
/// comes that only has to be unlike that of others.
fn seal(files: &[File<'_>]) -> [u8; 32] {
    let mut digest = Sha256::new_with_prefix("ichor loader image");
    for file in files {
        for part in [file.path.as_bytes(), file.content] {
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
    }
    digest.finalize().into()
}

/// A GUID of version 8, whose bytes may come from anywhere (RFC 9562 §5.8),
/// as a GPT stores it.
fn guid(from: &[u8]) -> [u8; 16] {
    let mut guid = [0; 16];
    guid.copy_from_slice(from);
    // The third field is little-endian on disk: its upper byte comes second.
    guid[7] = 0x80 | guid[7] & 0x0F;
    guid[8] = 0x80 | guid[8] & 0x3F;
    guid
}

#[cfg(test)]
mod tests {
    use super::super::efi::tests::program;
    use super::super::{EfiProgram, LOADER_PATH, SCRIPT_PATH, Script, image};
    use super::*;

    fn small(script: &Script, files: &[File<'_>]) -> Image {
        let loader = EfiProgram::new(program(&[7; 70_000])).unwrap();
        image(&loader, script, files).unwrap()
    }

    #[test]
    fn the_same_input_gives_the_same_bytes_and_another_gives_another_disk() {
        let script = Script::new([192, 0, 2, 1].into());
        let one = small(&script, &[]);
        assert_eq!(one, small(&script, &[]));
        let other = small(&Script::new([192, 0, 2, 2].into()), &[]);
        assert_ne!(one.sha256(), other.sha256());
        let disk_guid = |image: &Image| image.bytes()[SECTOR + 56..SECTOR + 72].to_vec();
        assert_ne!(disk_guid(&one), disk_guid(&other));
        assert_eq!(disk_guid(&one)[7] >> 4, 8, "version");
        assert_eq!(disk_guid(&one)[8] >> 6, 0b10, "variant");
    }

    #[test]
    fn its_blocks_are_few_and_make_up_the_whole() {
        let image = small(&Script::new([192, 0, 2, 1].into()), &[]);
        assert_eq!(image.bytes().len() % MIB, 0);
        let mut disk = vec![0; image.bytes().len()];
        for Block { index, data } in blocks(image.bytes()) {
            assert_eq!(data.len(), BLOCK_SIZE);
            disk[index as usize * BLOCK_SIZE..][..BLOCK_SIZE].copy_from_slice(data);
        }
        assert!(disk == image.bytes());
        // Both copies of the GPT, and the partition's beginning with all files.
        let count = blocks(image.bytes()).count();
        assert!(count <= 5, "{count}");
    }

    #[test]
    fn the_file_is_the_image() {
        let folder = std::env::temp_dir().join(format!("ichor-loader-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let path = folder.join("loader.img");
        std::fs::write(&path, "an older one").unwrap();
        let image = small(&Script::new([192, 0, 2, 1].into()), &[]);
        image.write(&path).unwrap();
        assert!(std::fs::read(&path).unwrap() == image.bytes());
        let left = std::fs::read_dir(&folder).unwrap().count();
        assert_eq!(left, 1, "nothing else is left");
        let error = image.write(&folder.join("no/loader.img")).unwrap_err();
        assert!(error.to_string().contains("no/loader.img: "), "{error}");
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn more_files_make_a_larger_disk_up_to_a_limit() {
        let script = Script::new([192, 0, 2, 1].into());
        let large = vec![1; 34 * MIB];
        let file = |path, content| File { path, content };
        let image = small(&script, &[file("EFI/Linux/big.efi", &large)]);
        assert!(image.bytes().len() > 34 * MIB);
        let loader = EfiProgram::new(program(&[])).unwrap();
        let larger = vec![1; MOST + 1];
        let error = super::super::image(&loader, &script, &[file("x", &larger)]).unwrap_err();
        assert!(error.to_string().contains("are the most"), "{error}");
        assert_eq!(
            [LOADER_PATH, SCRIPT_PATH].map(|path| path.rsplit_once('/').unwrap().0),
            ["EFI/BOOT"; 2]
        );
    }
}
