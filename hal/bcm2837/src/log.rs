//! The global defmt logger: frames go into the console's ring. One that does
//! not fit is lost, whole; nobody waits for the line.

use core::cell::{Cell, RefCell};
use core::sync::atomic::{AtomicBool, Ordering};

use critical_section::{CriticalSection, Mutex, RestoreState};
use defmt::Encoder;
use embassy_time::{Duration, Ticker};

use crate::console;

#[defmt::global_logger]
struct Logger;

/// A frame is being written.
static OPEN: AtomicBool = AtomicBool::new(false);
static ENCODER: Mutex<RefCell<Encoder>> = Mutex::new(RefCell::new(Encoder::new()));
static RESTORE: Mutex<Cell<RestoreState>> = Mutex::new(Cell::new(RestoreState::invalid()));

defmt::timestamp!("{=u64:us}", crate::counter::micros());

/// The critical section of the frame that is open.
fn section() -> CriticalSection<'static> {
    // SAFETY: defmt calls the logger between `acquire` and `release` alone,
    // which hold a critical section.
    unsafe { CriticalSection::new() }
}

// SAFETY: frames do not interleave, since each is written within a critical
// section on the one core that runs.
unsafe impl defmt::Logger for Logger {
    fn acquire() {
        // SAFETY: released in `release`.
        let restore = unsafe { critical_section::acquire() };
        assert!(
            !OPEN.swap(true, Ordering::Relaxed),
            "a message is logged while another one is formatted"
        );
        RESTORE.borrow(section()).set(restore);
        console::with_ring(section(), |ring| {
            ring.begin();
            ENCODER
                .borrow_ref_mut(section())
                .start_frame(|bytes| ring.push(bytes));
        });
    }

    unsafe fn flush() {
        console::flush();
    }

    unsafe fn release() {
        console::with_ring(section(), |ring| {
            ENCODER
                .borrow_ref_mut(section())
                .end_frame(|bytes| ring.push(bytes));
            ring.end();
        });
        console::pump(section());
        let restore = RESTORE.borrow(section()).get();
        OPEN.store(false, Ordering::Relaxed);
        // SAFETY: acquired in `acquire`.
        unsafe { critical_section::release(restore) };
    }

    unsafe fn write(bytes: &[u8]) {
        console::with_ring(section(), |ring| {
            ENCODER
                .borrow_ref_mut(section())
                .write(bytes, |bytes| ring.push(bytes));
        });
    }
}

/// Forgets a frame that was left open, for a panic within one. Interrupts stay
/// masked.
pub(crate) fn abandon() {
    OPEN.store(false, Ordering::Relaxed);
}

/// Says every few seconds how many messages were lost, if any were. To be run
/// as a task.
pub async fn report_lost() -> ! {
    let mut ticker = Ticker::every(Duration::from_secs(5));
    loop {
        ticker.next().await;
        let lost = console::take_lost();
        if lost > 0 {
            defmt::warn!("{} log messages lost: the console is slower", lost);
        }
    }
}
