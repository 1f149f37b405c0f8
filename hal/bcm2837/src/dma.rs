//! Memory shared with devices: mapped non-cacheable, so that nothing has to be
//! cleaned or invalidated, and named to devices by its bus address.
//!
//! The board places [`Storage`] in the linker section `.dma`, which start-up
//! maps as Normal non-cacheable. The CPU's and the device's accesses are put in
//! order by [`Bus::barrier`](crate::Bus::barrier).

use core::cell::UnsafeCell;
use core::ptr::NonNull;

/// Where devices see SDRAM without the VideoCore's L2 cache (BCM2835 ARM
/// Peripherals §1.2.3).
pub const SDRAM_ALIAS: u32 = 0xC000_0000;

/// Room for one [`Buffer`]. A multiple of a cache line, so that it shares none
/// with anything else.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Storage<const N: usize>(UnsafeCell<[u8; N]>);

// SAFETY: only the one `Buffer` made of it reaches the bytes.
unsafe impl<const N: usize> Sync for Storage<N> {}

impl<const N: usize> Storage<N> {
    /// Zeroed room.
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; N]))
    }

    /// The buffer in this room.
    ///
    /// # Safety
    /// To be called once, for a static in memory that is mapped non-cacheable
    /// and lies below 1 GiB of SDRAM.
    pub unsafe fn take(&'static self) -> Buffer {
        let start = self.0.get().cast::<u8>();
        Buffer {
            // SAFETY: the address of a static is not null.
            start: unsafe { NonNull::new_unchecked(start) },
            len: N,
            bus: (start as usize as u32) | SDRAM_ALIAS,
        }
    }
}

impl<const N: usize> Default for Storage<N> {
    fn default() -> Self {
        Self::new()
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
    #[should_panic(expected = "assertion failed")]
    fn nothing_is_written_past_the_end() {
        Buffer::fake(Box::leak(Box::new([0; 8])), 0).write(7, &[1, 2]);
    }
}
