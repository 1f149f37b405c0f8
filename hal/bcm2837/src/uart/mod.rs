//! The chip's two UARTs behind one face: 115,200 baud, 8 bits, no parity.

mod mini;
mod pl011;

use crate::Bus;

pub use mini::MiniUart;
pub use pl011::Pl011;

/// What every terminal program and boot loader of the Pi takes as given.
pub const BAUD: u32 = 115_200;

/// The UART that is the console.
#[derive(Debug)]
pub enum Uart<B> {
    /// The full one, on GPIO 14 and 15 by ALT0.
    Pl011(Pl011<B>),
    /// The small one, on GPIO 14 and 15 by ALT5.
    Mini(MiniUart<B>),
}

impl<B: Bus> Uart<B> {
    /// Gives a byte to the UART if it has room.
    pub fn try_write(&mut self, byte: u8) -> bool {
        match self {
            Self::Pl011(uart) => uart.try_write(byte),
            Self::Mini(uart) => uart.try_write(byte),
        }
    }

    /// Takes a byte that has come.
    pub fn try_read(&mut self) -> Option<u8> {
        match self {
            Self::Pl011(uart) => uart.try_read(),
            Self::Mini(uart) => uart.try_read(),
        }
    }

    /// Whether everything written has left the chip.
    pub fn is_idle(&self) -> bool {
        match self {
            Self::Pl011(uart) => uart.is_idle(),
            Self::Mini(uart) => uart.is_idle(),
        }
    }

    /// Quietens an interrupt. To be called before filling the UART, so that
    /// room that comes meanwhile interrupts again.
    pub fn acknowledge(&mut self) {
        if let Self::Pl011(uart) = self {
            uart.acknowledge();
        }
    }

    /// Interrupts, or not, when there is room again after there was none.
    pub fn interrupt_on_room(&mut self, on: bool) {
        match self {
            Self::Pl011(uart) => uart.interrupt_on_room(on),
            Self::Mini(uart) => uart.interrupt_on_room(on),
        }
    }
}
