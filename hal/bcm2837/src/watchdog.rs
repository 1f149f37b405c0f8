//! The watchdog: a board that hangs says where, and is reset.
//!
//! It bites in two stages. When it was not fed for ten seconds the timer's
//! interrupt reports where the board hangs and resets it. If not even
//! interrupts run any more, the hardware resets it five seconds later.

use core::fmt::Write as _;

use crate::console::Emergency;
use crate::power::Power;
use crate::{Mmio, cpu, start, time};

/// Without food for so long a board hangs. Longer than the slowest thing that
/// keeps tasks from running, the console's [`flush`](crate::console::flush) of
/// a full ring.
const REPORT_SECONDS: u64 = 10;
/// The most that the hardware can count.
const RESET_SECONDS: u32 = 15;

/// The watchdog of the main loop.
#[derive(Debug)]
pub struct Watchdog {
    power: Power<Mmio>,
    emulated: bool,
}

impl Watchdog {
    pub(crate) const fn new(power: Power<Mmio>, emulated: bool) -> Self {
        Self { power, emulated }
    }
}

impl ichor_hal::Watchdog for Watchdog {
    fn feed(&mut self) {
        time::set_deadline(REPORT_SECONDS * 1_000_000);
        // QEMU would reset at once.
        if !self.emulated {
            self.power.reset_in(RESET_SECONDS);
        }
    }
}

/// Called by the timer's interrupt when nobody fed the watchdog.
pub(crate) fn on_deadline() -> ! {
    let (pc, sp) = cpu::interrupted_at();
    let mut console = Emergency::new();
    let _ = writeln!(
        console,
        "\nHUNG: the main loop did not run for {REPORT_SECONDS} s\n  pc {pc:#x}  sp {sp:#x}\n  \
         the board resets; look pc up in ichor-cm3.elf"
    );
    console.finish();
    start::reset();
}
