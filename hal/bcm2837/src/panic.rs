//! What a panic does: it says its message and place, and resets the board.

use core::fmt::Write as _;
use core::panic::PanicInfo;
use core::sync::atomic::{AtomicBool, Ordering};

use crate::console::{self, Emergency};
use crate::{cpu, log, start};

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    static PANICKING: AtomicBool = AtomicBool::new(false);
    cpu::mask_interrupts();
    if PANICKING.swap(true, Ordering::Relaxed) || !console::is_open() {
        // The log itself is what fails, or it is too early for one.
        let mut console = Emergency::new();
        let _ = writeln!(console, "\nPANIC: {info}");
        console.finish();
    } else {
        log::abandon();
        defmt::error!("{}; the board resets", defmt::Display2Format(info));
        console::flush();
    }
    start::reset();
}
