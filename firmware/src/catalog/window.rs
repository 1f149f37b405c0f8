//! A sink that keeps one window of what is rendered.

use core::fmt;

/// Counts every byte and copies those from `skip` on, as many as there is room for.
///
/// An answer is rendered as often as a small buffer needs to carry it whole:
/// rendering is repeatable, and memory for a whole answer is not there.
///
/// ```
/// use core::fmt::Write;
/// let mut room = [0; 3];
/// let mut window = ichor::catalog::Window::new(2, &mut room);
/// write!(window, "ab{}", "cdef").unwrap();
/// assert_eq!((window.bytes(), window.total()), (&b"cde"[..], 6));
/// ```
#[derive(Debug)]
pub struct Window<'b> {
    skip: usize,
    room: &'b mut [u8],
    total: usize,
}

impl<'b> Window<'b> {
    /// A window of `room.len()` bytes after the first `skip`.
    pub const fn new(skip: usize, room: &'b mut [u8]) -> Self {
        Self {
            skip,
            room,
            total: 0,
        }
    }

    /// Bytes written so far, inside the window and outside.
    pub const fn total(&self) -> usize {
        self.total
    }

    /// What was written inside the window.
    pub fn bytes(&self) -> &[u8] {
        let filled = self.total.saturating_sub(self.skip).min(self.room.len());
        self.room.get(..filled).unwrap_or_default()
    }
}

impl fmt::Write for Window<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // Where text and window overlap, counted from the start of either.
        let from = self.skip.saturating_sub(self.total);
        let to = self.total.saturating_sub(self.skip);
        if let Some(text) = text.as_bytes().get(from..)
            && let Some(room) = self.room.get_mut(to..)
        {
            let len = text.len().min(room.len());
            room[..len].copy_from_slice(&text[..len]);
        }
        self.total = self.total.saturating_add(text.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::fmt::Write as _;

    #[test]
    fn every_window_of_every_size_fits_together() {
        let pieces = ["", "a", "bcd", "é", "", "fghij", "k"];
        let whole = pieces.concat();
        for size in 1..whole.len() + 2 {
            let mut joined = Vec::new();
            while joined.len() < whole.len() {
                let mut room = vec![0; size];
                let mut window = Window::new(joined.len(), &mut room);
                for piece in pieces {
                    window.write_str(piece).unwrap();
                }
                assert_eq!(window.total(), whole.len());
                joined.extend_from_slice(window.bytes());
            }
            assert_eq!(joined, whole.as_bytes());
        }
    }
}
