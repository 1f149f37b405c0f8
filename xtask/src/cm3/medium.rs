//! Writing an image to a medium, and reading back what the medium itself holds.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

/// How much is written, read and compared at once.
pub(super) const CHUNK: usize = 1 << 20;
/// What reading past the cache wants buffers to begin on.
const PAGE: usize = 4096;

/// The checksums of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sums {
    /// Of all of it.
    pub whole: String,
    /// Of each [`CHUNK`], to tell where a medium is bad.
    chunks: Vec<[u8; 32]>,
    len: u64,
}

/// Copies `len` bytes of an image, and returns their checksums. `done` is told
/// of every so many bytes.
pub(super) fn write(
    image: &mut impl Read,
    len: u64,
    to: &mut impl Write,
    mut done: impl FnMut(u64),
) -> Result<Sums> {
    let mut sums = Summing::default();
    let mut buffer = Buffer::new();
    while sums.len < len {
        let chunk = buffer.fill(image).context("cannot read the image")?;
        ensure!(
            !chunk.is_empty(),
            "the image became shorter while it was read"
        );
        to.write_all(chunk)
            .with_context(|| format!("cannot write MiB {}", sums.chunks.len() + 1))?;
        sums.add(chunk);
        done(chunk.len() as u64);
    }
    Ok(sums.end())
}

/// Compares a medium with the checksums of what was written to it. `done` is
/// told of every so many bytes.
pub(super) fn verify(sums: &Sums, medium: &mut impl Read, mut done: impl FnMut(u64)) -> Result<()> {
    let mut found = Summing::default();
    let mut buffer = Buffer::new();
    let mut medium = medium.take(sums.len);
    for (index, wanted) in sums.chunks.iter().enumerate() {
        let chunk = buffer
            .fill(&mut medium)
            .with_context(|| format!("cannot read back MiB {}", index + 1))?;
        found.add(chunk);
        if found.chunks.last() != Some(wanted) {
            bail!(
                "MiB {} does not hold what was written to it: the medium is bad, or smaller \
                 than it says; nothing on it can be relied on",
                index + 1
            );
        }
        done(chunk.len() as u64);
    }
    ensure!(found.end() == *sums, "the medium ends before the image");
    Ok(())
}

#[derive(Default)]
struct Summing {
    whole: Sha256,
    chunks: Vec<[u8; 32]>,
    len: u64,
}

impl Summing {
    fn add(&mut self, chunk: &[u8]) {
        self.whole.update(chunk);
        self.chunks.push(Sha256::digest(chunk).into());
        self.len += chunk.len() as u64;
    }

    fn end(self) -> Sums {
        let whole = self.whole.finalize();
        Sums {
            whole: whole.iter().map(|byte| format!("{byte:02x}")).collect(),
            chunks: self.chunks,
            len: self.len,
        }
    }
}

/// A chunk of memory that begins on a page.
struct Buffer {
    memory: Vec<u8>,
    start: usize,
}

impl Buffer {
    fn new() -> Self {
        let memory = vec![0; CHUNK + PAGE];
        let start = memory.as_ptr().align_offset(PAGE).min(PAGE);
        Self { memory, start }
    }

    /// The next chunk; shorter at the end alone.
    fn fill(&mut self, from: &mut impl Read) -> io::Result<&[u8]> {
        let chunk = &mut self.memory[self.start..self.start + CHUNK];
        let mut filled = 0;
        while filled < CHUNK {
            match from.read(&mut chunk[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(&chunk[..filled])
    }
}

/// Opens a disk for writing, if nothing else has it open for itself: a mount
/// in another namespace, a volume group, a pool.
pub(super) fn claim(device: &Path) -> Result<File> {
    let mut options = OpenOptions::new();
    options.write(true);
    #[cfg(target_os = "linux")]
    {
        use std::os::unix::fs::OpenOptionsExt as _;
        options.custom_flags(flags(rustix::fs::OFlags::EXCL));
    }
    options.open(device).map_err(|error| {
        let says = match error.kind() {
            io::ErrorKind::ResourceBusy => ": something uses it that the mount table does not show",
            io::ErrorKind::PermissionDenied => ": run the task as root",
            _ => "",
        };
        anyhow::Error::new(error).context(format!("cannot write to {}{says}", device.display()))
    })
}

/// Opens what was written such that the medium answers and not the computer's
/// memory. `file` is what it was written through, and synced.
pub(super) fn reopen(path: &Path, file: &File) -> Result<File> {
    let cannot = || format!("cannot read back {}", path.display());
    #[cfg(target_os = "linux")]
    {
        use rustix::fs::{Advice, OFlags, fadvise};
        use std::os::unix::fs::OpenOptionsExt as _;

        // Both are asked for: some file systems know one, some the other. One
        // that knows neither is in memory itself.
        let _ = fadvise(file, 0, None, Advice::DontNeed);
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(flags(OFlags::DIRECT));
        if let Ok(direct) = options.open(path)
            && reads_directly(&direct)
        {
            return Ok(direct);
        }
    }
    let _ = file;
    File::open(path).with_context(cannot)
}

/// Whether a file opened for reading past the cache can be read so, from its
/// beginning, where it is left.
#[cfg(target_os = "linux")]
fn reads_directly(file: &File) -> bool {
    use std::os::unix::fs::FileExt as _;
    let mut buffer = Buffer::new();
    let chunk = buffer.start..buffer.start + CHUNK;
    file.read_at(&mut buffer.memory[chunk], 0).is_ok()
}

#[cfg(target_os = "linux")]
fn flags(flags: rustix::fs::OFlags) -> i32 {
    flags.bits().cast_signed()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(_: u64) {}

    fn image(len: usize) -> Vec<u8> {
        (0..len).map(|at| (at / 7 % 251) as u8).collect()
    }

    fn written(image: &[u8]) -> (Vec<u8>, Sums) {
        let mut medium = Vec::new();
        let sums = write(&mut &image[..], image.len() as u64, &mut medium, quiet).unwrap();
        (medium, sums)
    }

    #[test]
    fn what_was_written_is_read_back() {
        for len in [0, 1, CHUNK - 1, CHUNK, 3 * CHUNK + 512] {
            let image = image(len);
            let (mut medium, sums) = written(&image);
            assert_eq!(medium, image);
            assert_eq!(sums.whole, ichor_lab::checksum::sha256(&image[..]).unwrap());
            // A card is larger than the image.
            medium.extend([0xFF; 4096]);
            verify(&sums, &mut &medium[..], quiet).unwrap();
        }
    }

    #[test]
    fn one_wrong_bit_is_found_and_its_place_told() {
        let (mut medium, sums) = written(&image(3 * CHUNK + 512));
        for (at, place) in [
            (0, "MiB 1 "),
            (2 * CHUNK, "MiB 3 "),
            (3 * CHUNK + 511, "MiB 4 "),
        ] {
            medium[at] ^= 0x10;
            let error = verify(&sums, &mut &medium[..], quiet)
                .unwrap_err()
                .to_string();
            assert!(error.contains(place), "{error}");
            medium[at] ^= 0x10;
        }
        let error = verify(&sums, &mut &medium[..2 * CHUNK], quiet)
            .unwrap_err()
            .to_string();
        assert!(error.contains("MiB 3 "), "{error}");
    }

    #[test]
    fn a_shrinking_image_and_a_full_medium_are_errors() {
        let image = image(CHUNK);
        let error = write(&mut &image[..], 2 * CHUNK as u64, &mut Vec::new(), quiet).unwrap_err();
        assert!(error.to_string().contains("shorter"), "{error}");
        let mut full = [0; 100];
        let error = write(&mut &image[..], CHUNK as u64, &mut &mut full[..], quiet).unwrap_err();
        assert!(error.to_string().contains("MiB 1"), "{error}");
    }

    #[test]
    fn a_file_is_read_back_from_where_it_lies() {
        let path = std::env::temp_dir().join(format!("ichor-medium-{}", std::process::id()));
        let image = image(2 * CHUNK + 512);
        let mut file = File::create(&path).unwrap();
        let sums = write(&mut &image[..], image.len() as u64, &mut file, quiet).unwrap();
        file.sync_all().unwrap();
        verify(&sums, &mut reopen(&path, &file).unwrap(), quiet).unwrap();
        std::fs::remove_file(&path).unwrap();
    }
}
