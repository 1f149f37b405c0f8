//! The exception vectors, and the report that a fault ends in.

use core::arch::global_asm;
use core::fmt::Write as _;
use core::sync::atomic::{AtomicBool, Ordering};

use super::fault::{self, Syndrome};
use super::layout::{self, Stack};
use crate::console::Emergency;
use crate::{irq, start};

global_asm!(
    include_str!("vectors.s"),
    interrupt = sym irq::interrupt,
    fault = sym report,
);

/// What `take_fault` saves.
#[repr(C)]
struct Frame {
    x: [u64; 31],
    /// The stack pointer of ordinary code.
    sp: u64,
    /// The stack pointer of interrupt handlers.
    handler_sp: u64,
    elr: u64,
    spsr: u64,
    esr: u64,
    far: u64,
    vector: u64,
}

const _: () = assert!(size_of::<Frame>() == 38 * 8);

/// Tells on the console what happened and where, and resets.
extern "C" fn report(frame: &Frame) -> ! {
    static REPORTING: AtomicBool = AtomicBool::new(false);
    if !REPORTING.swap(true, Ordering::Relaxed) {
        let mut console = Emergency::new();
        let _ = write(frame, &mut console);
        console.finish();
    }
    // A fault in the report of one ends here, too.
    start::reset();
}

fn write(frame: &Frame, console: &mut Emergency) -> core::fmt::Result {
    let syndrome = Syndrome(frame.esr);
    let in_handler = frame.vector >= 4;
    let sp = if in_handler {
        frame.handler_sp
    } else {
        frame.sp
    };
    writeln!(
        console,
        "\nFAULT: {}: {syndrome}",
        fault::vector(frame.vector)
    )?;
    if syndrome.has_address() {
        writeln!(console, "  address {:#x}", frame.far)?;
        if let Some(stack) = Stack::guarded_by(frame.far) {
            writeln!(console, "  the {stack} stack overflowed")?;
        }
    }
    writeln!(
        console,
        "  pc {:#x}  sp {sp:#x}  esr {:#x}  spsr {:#x}",
        frame.elr, frame.esr, frame.spsr
    )?;
    for (row, registers) in frame.x.chunks(4).enumerate() {
        for (column, value) in registers.iter().enumerate() {
            write!(console, "  x{:<2} {value:016x}", row * 4 + column)?;
        }
        writeln!(console)?;
    }
    if layout::holds_code(frame.elr) {
        writeln!(
            console,
            "  the board resets; look pc and x30 up in ichor-cm3.elf"
        )
    } else {
        writeln!(
            console,
            "  pc is not in the program: x30 is where it came from; the board resets"
        )
    }
}
