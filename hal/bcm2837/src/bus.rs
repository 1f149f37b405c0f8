//! Device registers, and the order between them and memory.

/// One device's block of 32-bit registers.
///
/// Drivers reach hardware through nothing else, so a fake of this trait is a
/// fake of the device.
pub trait Bus {
    /// Reads the register at `offset` bytes from the block's start.
    fn read(&self, offset: usize) -> u32;

    /// Writes the register at `offset` bytes from the block's start.
    fn write(&self, offset: usize, value: u32);

    /// Orders memory and registers: what was written to [DMA
    /// memory](crate::dma) before is seen by the device that is told to start
    /// after, and what a device wrote before it said so is seen by reads after.
    ///
    /// The peripherals of the BCM2835 family also need it between accesses to
    /// two different ones (BCM2835 ARM Peripherals §1.3).
    fn barrier(&self);

    /// Changes some bits of a register: those in `clear` to 0, then those in
    /// `set` to 1.
    fn modify(&self, offset: usize, clear: u32, set: u32) {
        self.write(offset, (self.read(offset) & !clear) | set);
    }
}

impl<B: Bus> Bus for &B {
    fn read(&self, offset: usize) -> u32 {
        (**self).read(offset)
    }

    fn write(&self, offset: usize, value: u32) {
        (**self).write(offset, value);
    }

    fn barrier(&self) {
        (**self).barrier();
    }
}

/// Registers in the address space.
#[derive(Debug)]
pub struct Mmio {
    base: usize,
}

impl Mmio {
    /// The block at `base`.
    ///
    /// # Safety
    /// `base` must be the address of a register block that is mapped as device
    /// memory, and this its one owner. Offsets up to the end of the block are
    /// the driver's to access.
    pub const unsafe fn new(base: usize) -> Self {
        Self { base }
    }
}

impl Bus for Mmio {
    fn read(&self, offset: usize) -> u32 {
        let register = (self.base + offset) as *const u32;
        // SAFETY: `new` was promised a mapped block with one owner.
        unsafe { register.read_volatile() }
    }

    fn write(&self, offset: usize, value: u32) {
        let register = (self.base + offset) as *mut u32;
        // SAFETY: `new` was promised a mapped block with one owner.
        unsafe { register.write_volatile(value) }
    }

    fn barrier(&self) {
        #[cfg(target_arch = "aarch64")]
        // SAFETY: a barrier changes nothing.
        unsafe {
            core::arch::asm!("dsb sy", options(nostack, preserves_flags));
        }
        #[cfg(not(target_arch = "aarch64"))]
        core::sync::atomic::fence(core::sync::atomic::Ordering::SeqCst);
    }
}
