//! Interrupt handlers: who is called when a device interrupts.

use core::cell::{Cell, RefCell};

use critical_section::Mutex;

use crate::interrupts::{Interrupts, PERIPHERALS, Source};
use crate::{Mmio, cpu, time};

struct SingleCore;
critical_section::set_impl!(SingleCore);

// SAFETY: one core runs, and with its interrupts masked nothing else does.
unsafe impl critical_section::Impl for SingleCore {
    unsafe fn acquire() -> bool {
        cpu::mask_interrupts()
    }

    unsafe fn release(were_unmasked: bool) {
        if were_unmasked {
            // SAFETY: the outermost critical section ends here.
            unsafe { cpu::unmask_interrupts() };
        }
    }
}

static CONTROLLER: Mutex<RefCell<Option<Interrupts<Mmio>>>> = Mutex::new(RefCell::new(None));
static HANDLERS: Mutex<[Cell<Option<fn()>>; PERIPHERALS]> =
    Mutex::new([const { Cell::new(None) }; PERIPHERALS]);

/// Takes the controllers, lets the timer interrupt, and unmasks interrupts.
pub(crate) fn init(controller: Interrupts<Mmio>) {
    critical_section::with(|cs| {
        controller.enable(Source::Timer);
        CONTROLLER.borrow_ref_mut(cs).replace(controller);
    });
    // SAFETY: start-up is in no critical section.
    unsafe { cpu::unmask_interrupts() };
}

/// Calls `handler` whenever `source` interrupts, from now on. It runs with
/// interrupts masked, so it should be short: quieten the device, wake a task.
///
/// The timer has its handler already.
pub fn enable(source: Source, handler: fn()) {
    critical_section::with(|cs| {
        if let Source::Peripheral(number) = source
            && let Some(slot) = HANDLERS.borrow(cs).get(usize::from(number))
        {
            slot.set(Some(handler));
            if let Some(controller) = &*CONTROLLER.borrow_ref(cs) {
                controller.enable(source);
            }
        }
    });
}

/// Stops calling the handler of `source`.
pub fn disable(source: Source) {
    critical_section::with(|cs| {
        if let Some(controller) = &*CONTROLLER.borrow_ref(cs) {
            controller.disable(source);
        }
    });
}

/// Called by the interrupt vector.
pub(crate) extern "C" fn interrupt() {
    critical_section::with(|cs| {
        let controller = CONTROLLER.borrow_ref(cs);
        let Some(controller) = &*controller else {
            return;
        };
        controller.pending(|source| match source {
            Source::Timer => time::on_interrupt(),
            Source::Peripheral(number) => {
                let handler = HANDLERS.borrow(cs).get(usize::from(number));
                match handler.and_then(Cell::get) {
                    Some(handler) => handler(),
                    // It would interrupt for ever.
                    None => {
                        controller.disable(source);
                        defmt::warn!("nobody handles interrupt {}: it is off now", number);
                    }
                }
            }
        });
    });
}
