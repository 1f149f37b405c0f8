//! The PL011 (BCM2835 ARM Peripherals §13; Arm DDI 0183).

use super::BAUD;
use crate::Bus;

const DR: usize = 0x00;
const FR: usize = 0x18;
const IBRD: usize = 0x24;
const FBRD: usize = 0x28;
const LCRH: usize = 0x2C;
const CR: usize = 0x30;
const IFLS: usize = 0x34;
const IMSC: usize = 0x38;
const ICR: usize = 0x44;

const FR_BUSY: u32 = 1 << 3;
const FR_RX_EMPTY: u32 = 1 << 4;
const FR_TX_FULL: u32 = 1 << 5;
/// Any of framing, parity, break and overrun errors beside a received byte.
const DR_FRAMING_PARITY_BREAK: u32 = 0b111 << 8;
const LCRH_FIFOS: u32 = 1 << 4;
const LCRH_8_BITS: u32 = 0b11 << 5;
const CR_ENABLED: u32 = 1 << 0 | 1 << 8 | 1 << 9;
/// Transmit at an eighth, receive at a half.
const LEVELS: u32 = 0b010 << 3;
const TX_INTERRUPT: u32 = 1 << 5;
const ALL_INTERRUPTS: u32 = 0x7FF;

/// The PL011, by the block at 0x3F20_1000.
#[derive(Debug)]
pub struct Pl011<B>(B);

impl<B: Bus> Pl011<B> {
    /// Sets it up; its clock runs at `clock_hz`.
    pub fn new(bus: B, clock_hz: u32) -> Self {
        bus.write(CR, 0);
        bus.write(ICR, ALL_INTERRUPTS);
        bus.write(IMSC, 0);
        let divisor = divisor(clock_hz);
        bus.write(IBRD, divisor >> 6);
        bus.write(FBRD, divisor & 0x3F);
        // Takes the divisor over, too.
        bus.write(LCRH, LCRH_8_BITS | LCRH_FIFOS);
        bus.write(IFLS, LEVELS);
        bus.write(CR, CR_ENABLED);
        bus.barrier();
        Self(bus)
    }

    /// One that is set up already.
    pub const fn resume(bus: B) -> Self {
        Self(bus)
    }

    pub(super) fn try_write(&mut self, byte: u8) -> bool {
        let room = self.0.read(FR) & FR_TX_FULL == 0;
        if room {
            self.0.write(DR, u32::from(byte));
        }
        room
    }

    pub(super) fn try_read(&mut self) -> Option<u8> {
        while self.0.read(FR) & FR_RX_EMPTY == 0 {
            let received = self.0.read(DR);
            // An open line and a wrong speed are no input.
            if received & DR_FRAMING_PARITY_BREAK == 0 {
                return Some(received as u8);
            }
        }
        None
    }

    pub(super) fn is_idle(&self) -> bool {
        self.0.read(FR) & FR_BUSY == 0
    }

    pub(super) fn interrupt_on_room(&mut self, on: bool) {
        self.0.write(IMSC, if on { TX_INTERRUPT } else { 0 });
        self.0.barrier();
    }

    pub(super) fn acknowledge(&mut self) {
        // The FIFO's level passing an eighth downwards is remembered until
        // here; the next passing interrupts again.
        self.0.write(ICR, TX_INTERRUPT);
        self.0.barrier();
    }
}

/// The divisor in 64ths: a 16th of the clock by the baud rate, rounded.
const fn divisor(clock_hz: u32) -> u32 {
    let divisor = (clock_hz as u64 * 4 + BAUD as u64 / 2) / BAUD as u64;
    // Sixteen bits and the fraction.
    if divisor < 64 {
        64
    } else if divisor > 0x3F_FFC0 {
        0x3F_FFC0
    } else {
        divisor as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Registers;

    #[test]
    fn the_clock_decides_the_divisor() {
        // Clock, integer and fractional part: 48 MHz as new firmware sets it,
        // 3 MHz as old firmware did.
        for (clock, integer, fraction) in [(48_000_000, 26, 3), (3_000_000, 1, 40), (0, 1, 0)] {
            let registers = Registers::new();
            let _ = Pl011::new(&registers, clock);
            assert_eq!(registers.read(IBRD), integer, "{clock}");
            assert_eq!(registers.read(FBRD), fraction, "{clock}");
            let order: Vec<usize> = registers.writes().iter().map(|(at, _)| *at).collect();
            let at = |register| order.iter().rposition(|at| *at == register);
            assert!(at(IBRD) < at(LCRH) && at(FBRD) < at(LCRH) && at(LCRH) < at(CR));
            assert_eq!(order[0], CR, "it is off meanwhile");
        }
    }

    #[test]
    fn a_full_fifo_takes_nothing() {
        let registers = Registers::new();
        let mut uart = Pl011::resume(&registers);
        registers.write(FR, FR_TX_FULL);
        assert!(!uart.try_write(b'a'));
        registers.write(FR, 0);
        assert!(uart.try_write(b'b'));
        let written: Vec<_> = registers
            .writes()
            .into_iter()
            .filter(|(at, _)| *at == DR)
            .collect();
        assert_eq!(written, [(DR, u32::from(b'b'))]);
    }
}
