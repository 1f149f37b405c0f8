//! Bytes on their way to a slow reader, in frames that go in whole or not at
//! all.

/// A ring of `N` bytes. Its initial value is all zero bits.
#[derive(Debug)]
pub struct Ring<const N: usize> {
    bytes: [u8; N],
    /// Where the oldest byte lies.
    start: usize,
    /// Bytes of whole frames.
    len: usize,
    /// Bytes of the frame being written.
    open: usize,
    /// The frame being written did not fit.
    burst: bool,
    lost: u32,
}

impl<const N: usize> Ring<N> {
    /// An empty ring.
    pub const fn new() -> Self {
        Self {
            bytes: [0; N],
            start: 0,
            len: 0,
            open: 0,
            burst: false,
            lost: 0,
        }
    }

    /// Starts a frame; one that was not ended is forgotten.
    pub fn begin(&mut self) {
        self.open = 0;
        self.burst = false;
    }

    /// Adds bytes to the frame.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.burst || bytes.len() > N - self.len - self.open {
            self.burst = true;
            return;
        }
        let at = (self.start + self.len + self.open) % N;
        let (first, second) = bytes.split_at(bytes.len().min(N - at));
        self.bytes[at..at + first.len()].copy_from_slice(first);
        self.bytes[..second.len()].copy_from_slice(second);
        self.open += bytes.len();
    }

    /// Ends the frame: it can be read now, or is lost and counted.
    pub fn end(&mut self) {
        if self.burst {
            self.lost = self.lost.saturating_add(1);
        } else {
            self.len += self.open;
        }
        self.begin();
    }

    /// The oldest byte of a whole frame.
    pub fn front(&self) -> Option<u8> {
        (self.len > 0).then(|| self.bytes[self.start])
    }

    /// Removes the oldest byte.
    pub fn advance(&mut self) {
        if self.len > 0 {
            self.start = (self.start + 1) % N;
            self.len -= 1;
        }
    }

    /// Frames lost since the last call.
    pub fn take_lost(&mut self) -> u32 {
        core::mem::take(&mut self.lost)
    }
}

impl<const N: usize> Default for Ring<N> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame<const N: usize>(ring: &mut Ring<N>, parts: &[&[u8]]) {
        ring.begin();
        for part in parts {
            ring.push(part);
        }
        ring.end();
    }

    fn take<const N: usize>(ring: &mut Ring<N>, count: usize) -> Vec<u8> {
        let mut taken = Vec::new();
        while let Some(byte) = ring.front().filter(|_| taken.len() < count) {
            taken.push(byte);
            ring.advance();
        }
        taken
    }

    #[test]
    fn frames_come_out_in_order_around_the_end() {
        let mut ring = Ring::<8>::new();
        for _ in 0..10 {
            frame(&mut ring, &[b"ab", b"cde"]);
            assert_eq!(take(&mut ring, 3), b"abc");
            frame(&mut ring, &[b"fgh"]);
            assert_eq!(take(&mut ring, 99), b"defgh");
        }
        assert_eq!(ring.take_lost(), 0);
    }

    #[test]
    fn a_frame_that_does_not_fit_is_dropped_whole_and_counted() {
        let mut ring = Ring::<8>::new();
        frame(&mut ring, &[b"abcdef"]);
        frame(&mut ring, &[b"gh", b"i", b"j"]);
        // A later, shorter one fits again.
        frame(&mut ring, &[b"kl"]);
        assert_eq!(take(&mut ring, 99), b"abcdefkl");
        assert_eq!(ring.take_lost(), 1);
        assert_eq!(ring.take_lost(), 0);
    }

    #[test]
    fn a_frame_that_was_left_open_is_not_read() {
        let mut ring = Ring::<8>::new();
        ring.begin();
        ring.push(b"abc");
        assert_eq!(ring.front(), None);
        frame(&mut ring, &[b"de"]);
        assert_eq!(take(&mut ring, 99), b"de");
    }
}
