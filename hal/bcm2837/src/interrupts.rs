//! The two interrupt controllers: the BCM2835's, which collects what
//! peripherals raise, and behind it the one that each core of the BCM2836 has
//! (BCM2835 ARM Peripherals §7; BCM2836 ARM-local peripherals, QA7 §4).

use crate::Bus;

/// What raises an interrupt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The virtual timer of core 0.
    Timer,
    /// A peripheral by its number in the BCM2835's pending registers, below
    /// [`PERIPHERALS`].
    Peripheral(u8),
}

/// Peripheral interrupts there are.
pub const PERIPHERALS: usize = 64;

impl Source {
    /// The DWC2 USB controller.
    pub const USB: Self = Self::Peripheral(9);
    /// The mini UART (and two SPI masters).
    pub const AUX: Self = Self::Peripheral(29);
    /// The SDHOST controller.
    pub const SDHOST: Self = Self::Peripheral(56);
    /// The PL011.
    pub const UART: Self = Self::Peripheral(57);
    /// The Arasan SD controller.
    pub const ARASAN: Self = Self::Peripheral(62);
}

// BCM2835 controller, from 0x3F00_B200.
const PENDING: [usize; 2] = [0x04, 0x08];
const FIQ_CONTROL: usize = 0x0C;
const ENABLE: [usize; 2] = [0x10, 0x14];
const DISABLE: [usize; 2] = [0x1C, 0x20];
const DISABLE_BASIC: usize = 0x24;

// BCM2836 controller, from 0x4000_0000.
const CONTROL: usize = 0x00;
const PRESCALER: usize = 0x08;
const GPU_ROUTING: usize = 0x0C;
const CORE0_TIMERS: usize = 0x40;
const CORE0_MAILBOXES: usize = 0x50;
const CORE0_PENDING: usize = 0x60;

/// Prescaler at which the counter counts each cycle of the crystal.
const EACH_CYCLE: u32 = 0x8000_0000;
const VIRTUAL_TIMER: u32 = 1 << 3;
const GPU: u32 = 1 << 8;

/// Both controllers, as core 0 uses them.
#[derive(Debug)]
pub struct Interrupts<B> {
    peripherals: B,
    local: B,
}

impl<B: Bus> Interrupts<B> {
    /// With everything off. `peripherals` is the block at 0x3F00_B200, `local`
    /// the one at 0x4000_0000.
    pub fn new(peripherals: B, local: B) -> Self {
        for disable in DISABLE {
            peripherals.write(disable, !0);
        }
        peripherals.write(DISABLE_BASIC, !0);
        peripherals.write(FIQ_CONTROL, 0);
        local.write(CONTROL, 0);
        local.write(PRESCALER, EACH_CYCLE);
        // Peripherals interrupt core 0, by IRQ.
        local.write(GPU_ROUTING, 0);
        local.write(CORE0_TIMERS, 0);
        local.write(CORE0_MAILBOXES, 0);
        local.barrier();
        Self { peripherals, local }
    }

    /// Lets a source interrupt.
    pub fn enable(&self, source: Source) {
        match source {
            Source::Timer => self.local.write(CORE0_TIMERS, VIRTUAL_TIMER),
            Source::Peripheral(number) => {
                let (bank, bit) = place(number);
                self.peripherals.write(ENABLE[bank], bit);
            }
        }
        self.local.barrier();
    }

    /// Keeps a source from interrupting.
    pub fn disable(&self, source: Source) {
        match source {
            Source::Timer => self.local.write(CORE0_TIMERS, 0),
            Source::Peripheral(number) => {
                let (bank, bit) = place(number);
                self.peripherals.write(DISABLE[bank], bit);
            }
        }
        // The controller has taken it before interrupts are unmasked.
        self.local.barrier();
    }

    /// Hands each source that interrupts now to `each`.
    pub fn pending(&self, mut each: impl FnMut(Source)) {
        let pending = self.local.read(CORE0_PENDING);
        if pending & VIRTUAL_TIMER != 0 {
            each(Source::Timer);
        }
        if pending & GPU == 0 {
            return;
        }
        for (bank, offset) in PENDING.into_iter().enumerate() {
            let mut bits = self.peripherals.read(offset);
            // The next accesses are to another peripheral.
            self.peripherals.barrier();
            while bits != 0 {
                let number = bits.trailing_zeros() as u8;
                bits &= bits - 1;
                each(Source::Peripheral(bank as u8 * 32 + number));
            }
        }
    }
}

/// Register and bit of a peripheral. A number that is none stands for the last.
fn place(number: u8) -> (usize, u32) {
    let number = usize::from(number).min(PERIPHERALS - 1);
    (number / 32, 1 << (number % 32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Registers;

    fn pending(interrupts: &Interrupts<&Registers>) -> Vec<Source> {
        let mut sources = Vec::new();
        interrupts.pending(|source| sources.push(source));
        sources
    }

    #[test]
    fn each_source_has_its_bit() {
        let cases = [
            (Source::USB, ENABLE[0], DISABLE[0], 1 << 9),
            (Source::AUX, ENABLE[0], DISABLE[0], 1 << 29),
            (Source::SDHOST, ENABLE[1], DISABLE[1], 1 << 24),
            (Source::UART, ENABLE[1], DISABLE[1], 1 << 25),
            (Source::ARASAN, ENABLE[1], DISABLE[1], 1 << 30),
        ];
        for (source, enable, disable, bit) in cases {
            let (peripherals, local) = (Registers::new(), Registers::new());
            let interrupts = Interrupts::new(&peripherals, &local);
            assert!(peripherals.writes().contains(&(disable, !0)));
            interrupts.enable(source);
            assert_eq!(peripherals.writes().last(), Some(&(enable, bit)));
            interrupts.disable(source);
            assert_eq!(peripherals.writes().last(), Some(&(disable, bit)));
        }
        let (peripherals, local) = (Registers::new(), Registers::new());
        let interrupts = Interrupts::new(&peripherals, &local);
        assert_eq!(local.read(CORE0_TIMERS), 0);
        interrupts.enable(Source::Timer);
        assert_eq!(local.read(CORE0_TIMERS), 1 << 3);
    }

    #[test]
    fn all_that_is_pending_is_told_once() {
        let (peripherals, local) = (Registers::new(), Registers::new());
        let interrupts = Interrupts::new(&peripherals, &local);
        assert_eq!(pending(&interrupts), []);
        peripherals.write(PENDING[0], 1 << 9);
        peripherals.write(PENDING[1], 1 << 30 | 1 << 25);
        // Not for this core.
        assert_eq!(pending(&interrupts), []);
        local.write(CORE0_PENDING, GPU | VIRTUAL_TIMER);
        assert_eq!(
            pending(&interrupts),
            [Source::Timer, Source::USB, Source::UART, Source::ARASAN]
        );
    }
}
