//! An open file that is read ahead for who reads it in small pieces.
//!
//! A TFTP block is 1,468 bytes, and a system call for each costs as much as the
//! copying of ten.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes read at once, and kept for as long as the file is open: a thousand
/// transfers need 16 MiB.
const AHEAD: usize = 16 * 1024;

/// The largest piece that counts as small. Larger ones go straight to the
/// reader's buffer.
const SMALL: usize = 4096;

/// A file that one reader reads, mostly from start to end. What somebody else
/// writes to it meanwhile may be seen later than elsewhere.
#[derive(Debug)]
pub struct OpenFile {
    file: File,
    ahead: RefCell<Ahead>,
}

/// What was read ahead.
#[derive(Debug, Default)]
struct Ahead {
    /// [`AHEAD`] bytes once something was.
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    offset: u64,
    /// How much of it is filled.
    len: usize,
}

impl Ahead {
    /// What is known of the file from `offset` on.
    fn at(&self, offset: u64) -> &[u8] {
        offset
            .checked_sub(self.offset)
            .and_then(|skip| self.buffer[..self.len].get(usize::try_from(skip).ok()?..))
            .unwrap_or_default()
    }

    fn fill(&mut self, file: &File, offset: u64) -> io::Result<()> {
        self.buffer.resize(AHEAD, 0);
        self.len = 0;
        self.len = read_at(file, &mut self.buffer, offset)?;
        self.offset = offset;
        Ok(())
    }
}

impl OpenFile {
    pub(crate) fn new(file: File) -> Self {
        Self {
            file,
            ahead: RefCell::default(),
        }
    }

    /// Reads up to `buf.len()` bytes from the page cache, or waits for the
    /// disk. Fewer come not only at the end of the file; none only there.
    pub(crate) fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        if buf.len() > SMALL {
            return read_at(&self.file, buf, offset);
        }
        let mut ahead = self.ahead.borrow_mut();
        if ahead.at(offset).is_empty() {
            ahead.fill(&self.file, offset)?;
        }
        let known = ahead.at(offset);
        let n = known.len().min(buf.len());
        buf[..n].copy_from_slice(&known[..n]);
        Ok(n)
    }
}

fn read_at(file: &File, buf: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buf, offset) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_of_any_size_from_anywhere_are_the_files_own() {
        let path = std::env::temp_dir().join(format!("ichor-ahead-{}", std::process::id()));
        let bytes: Vec<u8> = (0..3 * AHEAD + 1000).map(|n| (n / 7 % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let file = OpenFile::new(File::open(&path).unwrap());
        std::fs::remove_file(&path).unwrap();
        for size in [1, 511, 1468, SMALL, SMALL + 1, AHEAD + 1] {
            // From start to end, with a step back now and then.
            let (mut at, mut read, mut longest) = (0, 0, 0);
            let mut piece = vec![0; size];
            loop {
                let n = file.read_at(&mut piece, at as u64).unwrap();
                assert_eq!(piece[..n], bytes[at..at + n], "{size} bytes at {at}");
                if n == 0 {
                    break;
                }
                longest = longest.max(n);
                read += 1;
                at += n;
                if read % 20 == 19 && size > 1 {
                    at -= n.min(700);
                }
            }
            assert_eq!((at, longest), (bytes.len(), size));
        }
        assert!(file.read_at(&mut [0; 10], u64::MAX).is_err());
        assert_eq!(file.read_at(&mut [0; 10], bytes.len() as u64).unwrap(), 0);
        let at_end = file.read_at(&mut [0; 10], bytes.len() as u64 - 3);
        assert_eq!(at_end.unwrap(), 3);
    }
}
