//! The one buffer that holds every file of the catalog.

use core::fmt;

/// Bytes kept back from files, so that names and reasons still find room when files do not.
const RESERVE: usize = 4096;

/// A piece of the arena.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Span {
    start: u32,
    len: u32,
}

impl Span {
    const fn between(start: usize, end: usize) -> Self {
        Self {
            start: start as u32,
            len: (end - start) as u32,
        }
    }

    /// Where this piece starts, counted from the start of `whole`.
    pub(super) const fn offset_in(self, whole: Self) -> usize {
        self.start.saturating_sub(whole.start) as usize
    }

    /// The piece of this one at `at..at + len`.
    pub(super) const fn part(self, at: usize, len: usize) -> Self {
        Self {
            start: self.start + at as u32,
            len: len as u32,
        }
    }

    pub(super) const fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The bytes of this piece, out of the arena's.
    pub(super) fn of(self, bytes: &[u8]) -> &[u8] {
        let start = self.start as usize;
        bytes
            .get(start..start + self.len as usize)
            .unwrap_or_default()
    }

    /// This piece as text; empty if it is none.
    pub(super) fn text(self, bytes: &[u8]) -> &str {
        core::str::from_utf8(self.of(bytes)).unwrap_or_default()
    }
}

/// `N` bytes that are handed out from the front and given back all at once.
#[derive(Debug)]
pub(super) struct Arena<const N: usize> {
    bytes: [u8; N],
    used: usize,
}

impl<const N: usize> Arena<N> {
    pub(super) const fn new() -> Self {
        const { assert!(N <= u32::MAX as usize, "spans count in 32 bits") };
        Self {
            bytes: [0; N],
            used: 0,
        }
    }

    pub(super) const fn clear(&mut self) {
        self.used = 0;
    }

    pub(super) const fn used(&self) -> usize {
        self.used
    }

    pub(super) const fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What is in use, and the room behind it.
    pub(super) fn split(&mut self) -> (&[u8], Tail<'_>) {
        let reserve = RESERVE.min(N / 8);
        let start = self.used;
        let (head, room) = self.bytes.split_at_mut(start);
        let tail = Tail {
            start,
            room,
            reserve,
            used: &mut self.used,
        };
        (head, tail)
    }

    /// Writes text at the end; what does not fit is cut off.
    pub(super) fn push_fmt(&mut self, text: fmt::Arguments<'_>) -> Span {
        let start = self.used;
        // Cut text is the only error, and wanted.
        let _ = fmt::write(&mut self.split().1, text);
        Span::between(start, self.used)
    }
}

/// The room behind what is in use.
pub(super) struct Tail<'a> {
    start: usize,
    room: &'a mut [u8],
    reserve: usize,
    used: &'a mut usize,
}

impl Tail<'_> {
    fn free(&mut self) -> &mut [u8] {
        let at = *self.used - self.start;
        self.room.get_mut(at..).unwrap_or_default()
    }

    /// The room for a file: all but the reserve.
    pub(super) fn for_file(&mut self) -> &mut [u8] {
        let reserve = self.reserve;
        let free = self.free();
        let len = free.len().saturating_sub(reserve);
        free.get_mut(..len).unwrap_or_default()
    }

    /// Keeps the first `len` bytes of the room.
    pub(super) fn keep(&mut self, len: usize) -> Span {
        let start = *self.used;
        *self.used += len.min(self.free().len());
        Span::between(start, *self.used)
    }

    /// Writes text that must fit as a whole.
    pub(super) fn push(&mut self, text: &str) -> Option<Span> {
        let room = self.free().get_mut(..text.len())?;
        room.copy_from_slice(text.as_bytes());
        Some(self.keep(text.len()))
    }
}

impl fmt::Write for Tail<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let (kept, cut) = text.split_at(text.floor_char_boundary(self.free().len()));
        self.push(kept).ok_or(fmt::Error)?;
        if cut.is_empty() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_follow_each_other_and_are_cut_at_the_end() {
        let mut arena = Arena::<10>::new();
        let a = arena.push_fmt(format_args!("{}", 123));
        let b = arena.push_fmt(format_args!("abcdefé"));
        assert_eq!(a.text(arena.bytes()), "123");
        assert_eq!(b.text(arena.bytes()), "abcdef");
        assert_eq!(b.part(1, 2).text(arena.bytes()), "bc");
        assert!(b.part(9, 9).of(arena.bytes()).is_empty());
        arena.clear();
        assert_eq!(arena.used(), 0);
    }

    #[test]
    fn files_leave_a_reserve() {
        let mut arena = Arena::<80>::new();
        let (head, mut tail) = arena.split();
        assert!(head.is_empty());
        assert_eq!(tail.for_file().len(), 70);
        tail.for_file()[0] = b'x';
        let x = tail.keep(1);
        let y = tail.push("y").unwrap();
        assert_eq!(tail.push(&"z".repeat(79)), None);
        assert_eq!((x.text(arena.bytes()), y.text(arena.bytes())), ("x", "y"));
        assert_eq!((y.offset_in(x), arena.used()), (1, 2));
    }
}
