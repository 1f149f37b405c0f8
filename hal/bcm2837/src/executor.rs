//! One executor on core 0 that sleeps when no task is ready.

use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, Ordering};

use embassy_executor::{Spawner, raw};

use crate::cpu;

/// A task is ready to run.
static READY: AtomicBool = AtomicBool::new(true);
static RUNNING: AtomicBool = AtomicBool::new(false);
static EXECUTOR: Room = Room(UnsafeCell::new(MaybeUninit::uninit()));

struct Room(UnsafeCell<MaybeUninit<raw::Executor>>);

// SAFETY: `run` goes past its guard once, and nothing else looks.
unsafe impl Sync for Room {}

/// Called by embassy-executor when a task becomes ready, from tasks and from
/// interrupt handlers.
#[unsafe(export_name = "__pender")]
fn pender(_context: *mut ()) {
    READY.store(true, Ordering::Release);
}

/// Runs tasks for ever; `init` spawns the first ones.
///
/// # Panics
/// When it runs already.
pub fn run(init: impl FnOnce(Spawner)) -> ! {
    assert!(
        !RUNNING.swap(true, Ordering::AcqRel),
        "the executor runs already"
    );
    let room = EXECUTOR.0.get();
    // SAFETY: the guard above lets one call come here, ever.
    let room: &'static mut MaybeUninit<raw::Executor> = unsafe { &mut *room };
    let executor = room.write(raw::Executor::new(core::ptr::null_mut()));
    init(executor.spawner());
    loop {
        READY.store(false, Ordering::Release);
        // SAFETY: the executor lives for ever, is polled here alone, and this
        // loop is not entered again.
        unsafe { executor.poll() };
        let were_unmasked = cpu::mask_interrupts();
        // A task that becomes ready from here on is noticed: its interrupt
        // stays pending, and ends the sleep although it is masked.
        if !READY.load(Ordering::Acquire) {
            cpu::wait_for_interrupt();
        }
        if were_unmasked {
            // SAFETY: masked three lines above, and no critical section since.
            unsafe { cpu::unmask_interrupts() };
        }
    }
}
