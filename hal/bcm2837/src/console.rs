//! The console: log frames and lines of text leave through a ring in RAM, which
//! the UART empties by interrupt.
//!
//! Nobody waits for the UART but [`flush`] and the reports of a dying system.

use core::cell::RefCell;
use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU8, Ordering};

use critical_section::{CriticalSection, Mutex};

use crate::gpio::{Function, Gpio, Pull};
use crate::interrupts::Source;
use crate::peripherals as at;
use crate::ring::Ring;
use crate::uart::{MiniUart, Pl011, Uart};
use crate::{Mmio, counter, irq};

/// Room for what is logged in a burst: 1.4 s of the line's time.
const RING_LEN: usize = 16 << 10;

/// A byte takes 87 µs on the line, and a FIFO of 16 bytes 1.4 ms: a UART that
/// has no room for longer is stuck.
const STUCK_US: u64 = 10_000;

static RING: Mutex<RefCell<Ring<RING_LEN>>> = Mutex::new(RefCell::new(Ring::new()));
static UART: Mutex<RefCell<Option<Uart<Mmio>>>> = Mutex::new(RefCell::new(None));
/// Which UART is the console, for reports that cannot wait for a lock.
static CHOSEN: AtomicU8 = AtomicU8::new(UNSET);

const UNSET: u8 = 0;
const PL011: u8 = 1;
const MINI: u8 = 2;

/// Which UART is the console.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pl011,
    Mini,
}

/// Takes the UART over; its clock runs at `clock_hz`.
pub(crate) fn init(kind: Kind, gpio: &mut Gpio<Mmio>, clock_hz: u32) {
    wire(kind, gpio);
    let (uart, chosen, source) = match kind {
        // SAFETY: the block is mapped, and whoever else knows of it is dying.
        Kind::Pl011 => (unsafe { Mmio::new(at::PL011) }, PL011, Source::UART),
        // SAFETY: as above.
        Kind::Mini => (unsafe { Mmio::new(at::AUX) }, MINI, Source::AUX),
    };
    let uart = match kind {
        Kind::Pl011 => Uart::Pl011(Pl011::new(uart, clock_hz)),
        Kind::Mini => Uart::Mini(MiniUart::new(uart, clock_hz)),
    };
    critical_section::with(|cs| {
        UART.borrow_ref_mut(cs).replace(uart);
        CHOSEN.store(chosen, Ordering::Relaxed);
        pump(cs);
    });
    irq::enable(source, on_interrupt);
}

fn wire(kind: Kind, gpio: &mut Gpio<Mmio>) {
    let function = match kind {
        Kind::Pl011 => Function::Alt0,
        Kind::Mini => Function::Alt5,
    };
    gpio.set_function(14, function);
    gpio.set_function(15, function);
    gpio.set_pull(14, Pull::Off);
    // A line that nobody drives is quiet.
    gpio.set_pull(15, Pull::Up);
}

fn on_interrupt() {
    critical_section::with(|cs| {
        if let Some(uart) = &mut *UART.borrow_ref_mut(cs) {
            uart.acknowledge();
        }
        pump(cs);
    });
}

/// Gives the UART what it has room for.
pub(crate) fn pump(cs: CriticalSection<'_>) {
    let mut uart = UART.borrow_ref_mut(cs);
    let Some(uart) = &mut *uart else {
        return;
    };
    let mut ring = RING.borrow_ref_mut(cs);
    while let Some(byte) = ring.front() {
        if !uart.try_write(byte) {
            return uart.interrupt_on_room(true);
        }
        ring.advance();
    }
    uart.interrupt_on_room(false);
}

/// Runs `write` on the ring, for one frame or a part of it.
pub(crate) fn with_ring(cs: CriticalSection<'_>, write: impl FnOnce(&mut Ring<RING_LEN>)) {
    write(&mut RING.borrow_ref_mut(cs));
}

/// Prints a line of plain text between the log's frames: for a person whose
/// terminal decodes none.
pub fn print(line: fmt::Arguments<'_>) {
    critical_section::with(|cs| {
        with_ring(cs, |ring| {
            ring.begin();
            // Ends what a decoder may take for the start of a frame.
            ring.push(&[0]);
            let _ = Text(|bytes: &[u8]| ring.push(bytes)).write_fmt(line);
            ring.push(b"\r\n\0");
            ring.end();
        });
        pump(cs);
    });
}

/// Takes a byte that was typed.
pub fn read() -> Option<u8> {
    critical_section::with(|cs| UART.borrow_ref_mut(cs).as_mut()?.try_read())
}

/// Log frames that were dropped since the last call, since the line was slower.
pub fn take_lost() -> u32 {
    critical_section::with(|cs| RING.borrow_ref_mut(cs).take_lost())
}

/// Whether the UART is set up.
pub(crate) fn is_open() -> bool {
    CHOSEN.load(Ordering::Relaxed) != UNSET
}

/// Waits until everything is out on the line, or the UART is stuck. It keeps
/// interrupts off only from byte to byte.
pub fn flush() {
    loop {
        let sent = counter::wait_until(STUCK_US, || {
            critical_section::with(|cs| {
                let mut ring = RING.borrow_ref_mut(cs);
                let Some(byte) = ring.front() else {
                    return true;
                };
                let mut uart = UART.borrow_ref_mut(cs);
                let sent = uart.as_mut().is_some_and(|uart| uart.try_write(byte));
                if sent {
                    ring.advance();
                }
                sent
            })
        });
        let empty = critical_section::with(|cs| RING.borrow_ref(cs).front().is_none());
        if !sent || empty {
            break;
        }
    }
    counter::wait_until(STUCK_US, || {
        critical_section::with(|cs| UART.borrow_ref(cs).as_ref().is_none_or(Uart::is_idle))
    });
}

/// Writes past every lock and buffer, for reports of a system that is about to
/// be reset. Interrupts are masked for good.
pub(crate) struct Emergency(Uart<Mmio>);

impl Emergency {
    /// What was logged last goes out first: it tells most.
    pub(crate) fn new() -> Self {
        // SAFETY: the blocks are mapped. Their owner will not run again.
        let pl011 = || unsafe { Mmio::new(at::PL011) };
        let mut emergency = Self(match CHOSEN.load(Ordering::Relaxed) {
            // SAFETY: as above.
            MINI => Uart::Mini(MiniUart::resume(unsafe { Mmio::new(at::AUX) })),
            PL011 => Uart::Pl011(Pl011::resume(pl011())),
            _ => {
                // SAFETY: as above.
                let mut gpio = Gpio::new(unsafe { Mmio::new(at::GPIO) });
                wire(Kind::Pl011, &mut gpio);
                Uart::Pl011(Pl011::new(pl011(), USUAL_UART_HZ))
            }
        });
        // SAFETY: with interrupts masked nothing else runs on the one core.
        let cs = unsafe { CriticalSection::new() };
        // It cannot be borrowed if it is what failed.
        if let Ok(mut ring) = RING.borrow(cs).try_borrow_mut() {
            while ring.front().is_some_and(|byte| emergency.bytes(&[byte])) {
                ring.advance();
            }
        }
        emergency.bytes(&[0]);
        emergency
    }

    /// Returns whether all were written: a UART that is stuck takes none.
    fn bytes(&mut self, bytes: &[u8]) -> bool {
        bytes
            .iter()
            .all(|byte| counter::wait_until(STUCK_US, || self.0.try_write(*byte)))
    }

    /// Waits until the text is out.
    pub(crate) fn finish(mut self) {
        self.bytes(&[0]);
        counter::wait_until(STUCK_US, || self.0.is_idle());
    }
}

/// The PL011's clock unless config.txt says otherwise.
pub(crate) const USUAL_UART_HZ: u32 = 48_000_000;

impl Write for Emergency {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        Text(|bytes: &[u8]| {
            self.bytes(bytes);
        })
        .write_str(text)
    }
}

/// Text for a terminal: a line starts at the left.
struct Text<F>(F);

impl<F: FnMut(&[u8])> Write for Text<F> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (index, line) in text.split('\n').enumerate() {
            if index > 0 {
                (self.0)(b"\r\n");
            }
            (self.0)(line.as_bytes());
        }
        Ok(())
    }
}
