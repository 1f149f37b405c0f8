//! Memory between a CPU and a device that do not see each other's writes until
//! there was a barrier.

use crate::dma::Buffer;

/// What the CPU finds where a device is going to write, until it did.
const POISON: u8 = 0xEE;

/// The DMA buffers of a driver, from the device's side.
#[derive(Debug, Default)]
pub(super) struct Memory {
    regions: Vec<Region>,
}

#[derive(Debug)]
struct Region {
    bytes: *mut u8,
    len: usize,
    bus: u32,
    /// What was there at the last barrier: all that the device can see.
    visible: Vec<u8>,
}

impl Memory {
    /// A buffer of `len` bytes that this memory knows.
    pub(super) fn buffer(&mut self, len: usize, bus: u32) -> Buffer {
        let bytes = Box::leak(vec![0; len].into_boxed_slice()).as_mut_ptr();
        self.regions.push(Region {
            bytes,
            len,
            bus,
            visible: vec![0; len],
        });
        // SAFETY: the bytes were leaked just now, so they stay. The fake device
        // touches them only while the driver holds no reference: a buffer's
        // accesses are copies that end before the next register access.
        Buffer::fake(unsafe { std::slice::from_raw_parts_mut(bytes, len) }, bus)
    }

    fn at(&self, bus: u32, len: usize) -> (usize, usize) {
        let found = self.regions.iter().enumerate().find_map(|(n, region)| {
            let offset = bus.checked_sub(region.bus)? as usize;
            (offset + len <= region.len).then_some((n, offset))
        });
        found.unwrap_or_else(|| panic!("{len} bytes at {bus:#010x} are in no DMA buffer"))
    }

    /// Panics unless the device may use the range.
    pub(super) fn check(&self, bus: u32, len: usize) {
        self.at(bus, len);
    }

    /// What the device finds.
    pub(super) fn read(&self, bus: u32, len: usize) -> Vec<u8> {
        let (region, offset) = self.at(bus, len);
        self.regions[region].visible[offset..offset + len].to_vec()
    }

    /// Makes a device's write visible to the CPU.
    pub(super) fn publish(&mut self, bus: u32, bytes: &[u8]) {
        let (region, offset) = self.at(bus, bytes.len());
        for (n, byte) in bytes.iter().enumerate() {
            // SAFETY: `at` keeps it inside the region, which is leaked memory
            // of this size.
            let to = unsafe { self.regions[region].bytes.add(offset + n) };
            // SAFETY: as above; for the aliasing see `buffer`.
            unsafe { to.write(*byte) };
        }
    }

    /// Spoils what a transfer is going to fill.
    pub(super) fn poison(&mut self, bus: u32, len: usize) {
        self.publish(bus, &vec![POISON; len]);
    }

    /// Shows the device what the CPU wrote so far.
    pub(super) fn barrier(&mut self) {
        for region in &mut self.regions {
            // SAFETY: the region is leaked memory of this size; for the
            // aliasing see `buffer`.
            let live = unsafe { std::slice::from_raw_parts(region.bytes, region.len) };
            region.visible.copy_from_slice(live);
        }
    }
}
