//! The embassy time driver: the generic timer's virtual counter and its alarm.

use core::cell::RefCell;
use core::task::Waker;

use critical_section::Mutex;
use embassy_time_driver::{Driver, time_driver_impl};
use embassy_time_queue_utils::queue_generic::ConstGenericQueue;

use crate::{counter, cpu};

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
    /// Wakes every task whose timer is due and sets the alarm for the next.
    fn arm(&self, cs: critical_section::CriticalSection<'_>) {
        match self.timers.borrow_ref_mut(cs).next_expiration(self.now()) {
            u64::MAX => cpu::clear_alarm(),
            // An alarm that is due already rings at once.
            next => cpu::set_alarm(counter::scale().count(next)),
        }
    }
}

time_driver_impl!(static DRIVER: GenericTimer = GenericTimer {
    timers: Mutex::new(RefCell::new(ConstGenericQueue::new())),
});

/// The timer's interrupt handler.
pub(crate) fn on_interrupt() {
    critical_section::with(|cs| DRIVER.arm(cs));
}
