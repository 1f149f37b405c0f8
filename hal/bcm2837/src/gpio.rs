//! What each pin is wired to inside the chip (BCM2835 ARM Peripherals §6).

use crate::{Bus, counter};

const SELECT: usize = 0x00;
const PULL: usize = 0x94;
const PULL_CLOCK: usize = 0x98;

/// Pins the chip has.
pub const PINS: u8 = 54;

/// How long a pull's control signal is set up and held: 150 cycles of a clock
/// that is 100 MHz at least.
const PULL_SETTLE_US: u64 = 2;

/// What drives a pin. The table of alternate functions is §6.2 of the manual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
#[repr(u32)]
pub enum Function {
    Input = 0b000,
    Output = 0b001,
    Alt0 = 0b100,
    Alt1 = 0b101,
    Alt2 = 0b110,
    Alt3 = 0b111,
    Alt4 = 0b011,
    Alt5 = 0b010,
}

/// The resistor inside a pin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
#[repr(u32)]
pub enum Pull {
    Off = 0,
    Down = 1,
    Up = 2,
}

/// The pins, by the block at 0x3F20_0000.
#[derive(Debug)]
pub struct Gpio<B>(B);

impl<B: Bus> Gpio<B> {
    /// The pins as they are.
    pub const fn new(bus: B) -> Self {
        Self(bus)
    }

    /// Wires a pin to one of its functions.
    ///
    /// # Panics
    /// If the chip has no such pin.
    pub fn set_function(&mut self, pin: u8, function: Function) {
        assert!(pin < PINS);
        let register = SELECT + usize::from(pin / 10) * 4;
        let shift = u32::from(pin % 10) * 3;
        self.0
            .modify(register, 0b111 << shift, (function as u32) << shift);
        self.0.barrier();
    }

    /// Sets the resistor of a pin.
    ///
    /// # Panics
    /// If the chip has no such pin.
    pub fn set_pull(&mut self, pin: u8, pull: Pull) {
        assert!(pin < PINS);
        let clock = PULL_CLOCK + usize::from(pin / 32) * 4;
        self.0.write(PULL, pull as u32);
        counter::wait_until(PULL_SETTLE_US, || false);
        self.0.write(clock, 1 << (pin % 32));
        counter::wait_until(PULL_SETTLE_US, || false);
        self.0.write(PULL, 0);
        self.0.write(clock, 0);
        self.0.barrier();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Registers;

    #[test]
    fn a_pin_changes_alone() {
        let registers = Registers::new();
        registers.write(0x04, 0xFFFF_FFFF);
        let mut gpio = Gpio::new(&registers);
        gpio.set_function(14, Function::Alt0);
        assert_eq!(registers.read(0x04), 0xFFFF_CFFF);
        gpio.set_function(53, Function::Alt3);
        assert_eq!(registers.read(0x14), 0b111 << 9);
    }

    #[test]
    fn a_pull_is_clocked_into_its_pin() {
        let registers = Registers::new();
        Gpio::new(&registers).set_pull(48, Pull::Up);
        assert_eq!(
            registers.writes(),
            [(0x94, 2), (0x9C, 1 << 16), (0x94, 0), (0x9C, 0)]
        );
    }
}
