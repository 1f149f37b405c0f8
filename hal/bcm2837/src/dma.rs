//! Memory shared with devices: mapped non-cacheable, so that nothing has to be
//! cleaned or invalidated, and named to devices by its bus address.
//!
//! The linker script sets such memory apart, start-up maps it and makes a
//! [`Pool`] of it, and the board hands out its [`Buffer`]s. The CPU's and the
//! device's accesses are put in order by [`Bus::barrier`](crate::Bus::barrier).

use core::ptr::NonNull;

/// Where devices see SDRAM without the VideoCore's L2 cache (BCM2835 ARM
/// Peripherals §1.2.3).
pub const SDRAM_ALIAS: u32 = 0xC000_0000;

/// Buffers start at a multiple of this: more than any device here asks for,
/// and a line of the cache, should the memory ever be cached.
const ALIGNMENT: usize = 64;

/// Memory that no buffer has yet. What is taken is never given back: drivers
/// live as long as the system.
#[derive(Debug)]
pub struct Pool {
    next: usize,
    end: usize,
}

impl Pool {
    /// A pool of the memory from `start` up to `end`.
    ///
    /// # Safety
    /// The memory is mapped non-cacheable, lies below 1 GiB of SDRAM, is an
    /// address to devices by [`SDRAM_ALIAS`], and belongs to the pool alone
    /// for ever.
    pub const unsafe fn new(start: usize, end: usize) -> Self {
        Self {
            next: start.next_multiple_of(ALIGNMENT),
            end,
        }
    }

    /// Takes a zeroed buffer of `len` bytes, if so much is left.
    pub fn take(&mut self, len: usize) -> Option<Buffer> {
        let start = self.next;
        let end = start.checked_add(len)?;
        if end > self.end {
            return None;
        }
        self.next = end.next_multiple_of(ALIGNMENT);
        let memory = NonNull::new(start as *mut u8)?;
        // SAFETY: `new` was promised the memory, and `next` has moved past it.
        unsafe { memory.write_bytes(0, len) };
        Some(Buffer {
            start: memory,
            len,
            bus: start as u32 | SDRAM_ALIAS,
        })
    }

    /// Bytes left.
    pub const fn left(&self) -> usize {
        self.end.saturating_sub(self.next)
    }
}

/// Bytes that a device reads and writes, too. Nobody holds a reference to
/// them: they are copied in and out.
#[derive(Debug)]
pub struct Buffer {
    start: NonNull<u8>,
    len: usize,
    bus: u32,
}

// SAFETY: the buffer is the one owner of its bytes.
unsafe impl Send for Buffer {}

impl Buffer {
    /// A buffer for tests on a host: `bytes` under any bus address that a fake
    /// device knows to be theirs.
    pub fn fake(bytes: &'static mut [u8], bus: u32) -> Self {
        Self {
            len: bytes.len(),
            start: NonNull::from(bytes).cast(),
            bus,
        }
    }

    /// Length in bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no room at all.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The address that a device is told for the byte at `offset`.
    pub const fn bus_address(&self, offset: usize) -> u32 {
        self.bus + offset as u32
    }

    /// Copies bytes in.
    ///
    /// # Panics
    /// If they do not fit.
    pub fn write(&mut self, offset: usize, bytes: &[u8]) {
        assert!(offset <= self.len && bytes.len() <= self.len - offset);
        // SAFETY: the assertion keeps it inside.
        let to = unsafe { self.start.add(offset) };
        // SAFETY: the range is ours alone, as far as the CPU is concerned, and
        // `bytes` cannot overlap it, since nobody holds a reference to it.
        unsafe { to.copy_from_nonoverlapping(NonNull::from(bytes).cast(), bytes.len()) }
    }

    /// Copies bytes out.
    ///
    /// # Panics
    /// If there are not so many.
    pub fn read(&self, offset: usize, bytes: &mut [u8]) {
        assert!(offset <= self.len && bytes.len() <= self.len - offset);
        // SAFETY: the assertion keeps it inside.
        let from = unsafe { self.start.add(offset) };
        let len = bytes.len();
        // SAFETY: as in `write`.
        unsafe { from.copy_to_nonoverlapping(NonNull::from(bytes).cast(), len) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_go_in_and_out_at_their_place() {
        let mut buffer = Buffer::fake(Box::leak(Box::new([0; 8])), 0xC000_1000);
        buffer.write(2, &[1, 2, 3]);
        let mut out = [0; 4];
        buffer.read(1, &mut out);
        assert_eq!(out, [0, 1, 2, 3]);
        assert_eq!(buffer.bus_address(2), 0xC000_1002);
    }

    #[test]
    fn buffers_share_no_line_and_a_pool_ends() {
        #[repr(align(64))]
        struct Room(#[allow(dead_code)] [u8; 256]);
        let room = Box::leak(Box::new(Room([0xFF; 256])));
        let start = core::ptr::from_mut(room) as usize;
        // SAFETY: the room is leaked, and no device will be told of it.
        let mut pool = unsafe { Pool::new(start, start + 256) };
        let first = pool.take(65).unwrap();
        let second = pool.take(64).unwrap();
        assert_eq!(first.bus_address(0), start as u32 | SDRAM_ALIAS);
        assert_eq!(second.bus_address(0), first.bus_address(128));
        let mut bytes = [1; 65];
        first.read(0, &mut bytes);
        assert_eq!(bytes, [0; 65]);
        assert_eq!(pool.left(), 64);
        assert!(pool.take(65).is_none());
        assert!(pool.take(64).is_some());
        assert!(pool.take(1).is_none());
    }

    #[test]
    #[should_panic(expected = "assertion failed")]
    fn nothing_is_written_past_the_end() {
        Buffer::fake(Box::leak(Box::new([0; 8])), 0).write(7, &[1, 2]);
    }
}
