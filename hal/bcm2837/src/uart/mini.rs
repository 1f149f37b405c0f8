//! The mini UART, which a Pi with Bluetooth has as its console (BCM2835 ARM
//! Peripherals §2, with the errata of its interrupt register).

use super::BAUD;
use crate::Bus;

const ENABLES: usize = 0x04;
const IO: usize = 0x40;
/// Bit 0 is the receive interrupt and bit 1 the transmit interrupt; the manual
/// has them the other way round.
const IER: usize = 0x44;
const IIR: usize = 0x48;
const LCR: usize = 0x4C;
const MCR: usize = 0x50;
const LSR: usize = 0x54;
const CNTL: usize = 0x60;
const DIVISOR: usize = 0x68;

const ENABLE_UART: u32 = 1;
const CLEAR_FIFOS: u32 = 0b110;
const LCR_8_BITS: u32 = 0b11;
const LSR_RECEIVED: u32 = 1 << 0;
const LSR_ROOM: u32 = 1 << 5;
const LSR_IDLE: u32 = 1 << 6;
const TRANSMIT_AND_RECEIVE: u32 = 0b11;
const TX_INTERRUPT: u32 = 1 << 1;

/// The mini UART, by the block of auxiliary devices at 0x3F21_5000.
#[derive(Debug)]
pub struct MiniUart<B>(B);

impl<B: Bus> MiniUart<B> {
    /// Sets it up; the VideoCore's core clock, which drives it, runs at
    /// `core_hz`. It must stay there: `enable_uart=1` in config.txt sees to it.
    pub fn new(bus: B, core_hz: u32) -> Self {
        bus.modify(ENABLES, 0, ENABLE_UART);
        bus.write(CNTL, 0);
        bus.write(IER, 0);
        bus.write(LCR, LCR_8_BITS);
        bus.write(MCR, 0);
        bus.write(IIR, CLEAR_FIFOS);
        bus.write(DIVISOR, divisor(core_hz));
        bus.write(CNTL, TRANSMIT_AND_RECEIVE);
        bus.barrier();
        Self(bus)
    }

    /// One that is set up already.
    pub const fn resume(bus: B) -> Self {
        Self(bus)
    }

    pub(super) fn try_write(&mut self, byte: u8) -> bool {
        let room = self.0.read(LSR) & LSR_ROOM != 0;
        if room {
            self.0.write(IO, u32::from(byte));
        }
        room
    }

    pub(super) fn try_read(&mut self) -> Option<u8> {
        let received = self.0.read(LSR) & LSR_RECEIVED != 0;
        received.then(|| self.0.read(IO) as u8)
    }

    pub(super) fn is_idle(&self) -> bool {
        self.0.read(LSR) & LSR_IDLE != 0
    }

    pub(super) fn interrupt_on_room(&mut self, on: bool) {
        // It interrupts while its FIFO is empty.
        self.0.write(IER, if on { TX_INTERRUPT } else { 0 });
        self.0.barrier();
    }
}

/// An eighth of the clock by the baud rate, less one, rounded.
const fn divisor(core_hz: u32) -> u32 {
    let eighths = BAUD as u64 * 8;
    let divisor = (core_hz as u64 + eighths / 2) / eighths;
    match divisor {
        0 => 0,
        1..=0x1_0000 => divisor as u32 - 1,
        _ => 0xFFFF,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Registers;

    #[test]
    fn the_core_clock_decides_the_divisor() {
        for (clock, expected) in [(250_000_000, 270), (400_000_000, 433), (0, 0)] {
            let registers = Registers::new();
            let _ = MiniUart::new(&registers, clock);
            assert_eq!(registers.read(DIVISOR), expected, "{clock}");
            assert_eq!(registers.read(ENABLES), ENABLE_UART);
        }
    }

    #[test]
    fn bytes_move_when_the_line_status_says_so() {
        let registers = Registers::new();
        let mut uart = MiniUart::resume(&registers);
        assert!(!uart.try_write(b'a'));
        assert_eq!(uart.try_read(), None);
        registers.write(LSR, LSR_ROOM | LSR_RECEIVED);
        assert!(uart.try_write(b'b'));
        assert_eq!(uart.try_read(), Some(b'b'));
        assert!(!uart.is_idle());
    }
}
