//! The embassy time driver: the generic timer's virtual counter and its alarm.

use core::cell::RefCell;
use core::sync::atomic::{AtomicU64, Ordering};
use core::task::Waker;

use critical_section::{CriticalSection, Mutex};
use embassy_time_driver::{Driver, time_driver_impl};
use embassy_time_queue_utils::queue_generic::ConstGenericQueue;

use crate::{counter, cpu, watchdog};

// The driver's ticks are the counter's microseconds.
const _: () = assert!(embassy_time_driver::TICK_HZ == 1_000_000);

/// Timers that may run at once. Each task needs one; a full queue fires a
/// timer early, which costs time but nothing else.
const MAX_TIMERS: usize = 256;

struct GenericTimer {
    timers: Mutex<RefCell<ConstGenericQueue<MAX_TIMERS>>>,
}

impl Driver for GenericTimer {
    fn now(&self) -> u64 {
        counter::micros()
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            if self.timers.borrow_ref_mut(cs).schedule_wake(at, waker) {
                self.arm(cs);
            }
        });
    }
}

impl GenericTimer {
    /// Wakes every task whose timer is due and sets the alarm for the next, or
    /// for the deadline.
    fn arm(&self, cs: CriticalSection<'_>) {
        let next = self.timers.borrow_ref_mut(cs).next_expiration(self.now());
        match next.min(DEADLINE.load(Ordering::Relaxed)) {
            u64::MAX => cpu::clear_alarm(),
            // An alarm that is due already rings at once.
            next => cpu::set_alarm(counter::scale().count(next)),
        }
    }
}

time_driver_impl!(static DRIVER: GenericTimer = GenericTimer {
    timers: Mutex::new(RefCell::new(ConstGenericQueue::new())),
});

/// When the watchdog has waited too long.
static DEADLINE: AtomicU64 = AtomicU64::new(u64::MAX);

/// Has the watchdog report in `wait` microseconds, unless this is called again.
pub(crate) fn set_deadline(wait: u64) {
    let deadline = counter::micros().saturating_add(wait);
    // An alarm for an earlier deadline is soon enough: it sets the next one.
    if DEADLINE.swap(deadline, Ordering::Relaxed) == u64::MAX {
        critical_section::with(|cs| DRIVER.arm(cs));
    }
}

/// The timer's interrupt handler.
pub(crate) fn on_interrupt() {
    if counter::micros() >= DEADLINE.load(Ordering::Relaxed) {
        watchdog::on_deadline();
    }
    critical_section::with(|cs| DRIVER.arm(cs));
}
