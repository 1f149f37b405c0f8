//! Netascii: text whose lines end with CR LF, block by block (RFC 1350 §1,
//! RFC 764).
//!
//! A file's LF becomes CR LF and its CR becomes CR NUL, so a block's place in
//! the file follows only from all blocks before it. A [`Cursor`] remembers
//! one such place, and encoding can go on from there.

use core::task::{Poll, ready};

use ichor_hal::FileError;

const CR: u8 = b'\r';
const LF: u8 = b'\n';
const NUL: u8 = 0;

/// A place in the encoded text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Cursor {
    /// The block being filled, from 1.
    pub(super) block: u64,
    /// The byte of the file to be encoded next.
    offset: u64,
    /// The second byte of a pair whose first one was the last of a block.
    pending: Option<u8>,
    /// Bytes of the block already encoded.
    filled: usize,
}

impl Cursor {
    /// The start of the file.
    pub(super) const START: Self = Self {
        block: 1,
        offset: 0,
        pending: None,
        filled: 0,
    };

    /// Encodes one block into `block` and moves on to the next. Returns the
    /// block's length: less than `block` holds only at the end of the file.
    ///
    /// After `Pending` the call may be repeated with the same buffer.
    pub(super) fn encode(
        &mut self,
        block: &mut [u8],
        file_len: u64,
        mut read: impl FnMut(u64, &mut [u8]) -> Poll<Result<usize, FileError>>,
    ) -> Poll<Result<usize, FileError>> {
        while let Some(room) = block.get_mut(self.filled..).filter(|room| !room.is_empty()) {
            let mut out = Out { room, len: 0 };
            if let Some(byte) = self.pending.take() {
                out.put(byte);
            } else {
                let left = file_len.saturating_sub(self.offset);
                if left == 0 {
                    return Poll::Ready(Ok(self.finish()));
                }
                let mut raw = [0; 256];
                let ask = out
                    .free()
                    .min(raw.len())
                    .min(usize::try_from(left).unwrap_or(usize::MAX));
                let raw = raw.get_mut(..ask).unwrap_or_default();
                let n = ready!(read(self.offset, raw))?;
                if n == 0 {
                    // Shorter than it was when it was opened.
                    return Poll::Ready(Err(FileError::Io));
                }
                for byte in raw.iter().take(n) {
                    if out.free() == 0 {
                        break;
                    }
                    self.offset += 1;
                    let second = match *byte {
                        LF => Some(LF),
                        CR => Some(NUL),
                        _ => None,
                    };
                    out.put(if second.is_some() { CR } else { *byte });
                    if let Some(second) = second
                        && !out.put(second)
                    {
                        self.pending = Some(second);
                    }
                }
            }
            self.filled += out.len;
        }
        Poll::Ready(Ok(self.finish()))
    }

    fn finish(&mut self) -> usize {
        self.block += 1;
        core::mem::take(&mut self.filled)
    }
}

struct Out<'a> {
    room: &'a mut [u8],
    len: usize,
}

impl Out<'_> {
    fn free(&self) -> usize {
        self.room.len() - self.len
    }

    /// Whether there was room for it.
    fn put(&mut self, byte: u8) -> bool {
        let Some(place) = self.room.get_mut(self.len) else {
            return false;
        };
        *place = byte;
        self.len += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of which at most three bytes are at hand, every other time.
    fn dribble(file: &[u8]) -> impl FnMut(u64, &mut [u8]) -> Poll<Result<usize, FileError>> {
        let mut turn = false;
        move |offset, buf| {
            turn = !turn;
            if turn {
                return Poll::Pending;
            }
            let rest = &file[offset as usize..];
            let n = rest.len().min(buf.len()).min(3);
            buf[..n].copy_from_slice(&rest[..n]);
            Poll::Ready(Ok(n))
        }
    }

    fn blocks(file: &[u8], blksize: usize) -> Vec<Vec<u8>> {
        let mut cursor = Cursor::START;
        let mut read = dribble(file);
        let mut blocks = Vec::new();
        loop {
            let mut block = vec![0xee; blksize];
            let len = loop {
                if let Poll::Ready(len) = cursor.encode(&mut block, file.len() as u64, &mut read) {
                    break len.unwrap();
                }
            };
            block.truncate(len);
            blocks.push(block);
            assert_eq!(cursor.block, blocks.len() as u64 + 1);
            if len < blksize {
                return blocks;
            }
        }
    }

    #[test]
    fn lines_end_with_cr_lf_and_blocks_anywhere() {
        let table: &[(&[u8], &[u8])] = &[
            (b"", b""),
            (b"one\ntwo\n", b"one\r\ntwo\r\n"),
            (b"dos\r\n", b"dos\r\0\r\n"),
            (b"\n\n\n\n\n", b"\r\n\r\n\r\n\r\n\r\n"),
            (b"a\rb", b"a\r\0b"),
            (b"12345678", b"12345678"),
            (b"1234567\n", b"1234567\r\n"),
        ];
        for (file, want) in table {
            for blksize in [8, 9, 512] {
                let blocks = blocks(file, blksize);
                assert_eq!(blocks.concat(), *want, "{}", file.escape_ascii());
                assert_eq!(blocks.len(), want.len() / blksize + 1);
            }
        }
    }

    #[test]
    fn a_file_that_shrank_is_an_error() {
        let mut block = [0; 8];
        let mut cursor = Cursor::START;
        let got = cursor.encode(&mut block, 4, |_, _| Poll::Ready(Ok(0)));
        assert_eq!(got, Poll::Ready(Err(FileError::Io)));
    }
}
