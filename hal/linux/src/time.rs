//! The embassy time driver: the monotonic clock, and each thread's timers.

use std::cell::RefCell;
use std::sync::OnceLock;
use std::task::Waker;
use std::time::Instant;

use embassy_time_driver::{Driver, TICK_HZ, time_driver_impl};

use crate::timers::Timers;

thread_local! {
    /// The timers of this thread's reactor. Tasks never leave their thread,
    /// so no lock is needed, and each test may run a reactor of its own.
    static TIMERS: RefCell<Timers> = RefCell::default();
}

struct MonotonicClock;

impl Driver for MonotonicClock {
    fn now(&self) -> u64 {
        static START: OnceLock<Instant> = OnceLock::new();
        let since_start = START.get_or_init(Instant::now).elapsed();
        since_start.as_secs() * TICK_HZ
            + u64::from(since_start.subsec_nanos()) * TICK_HZ / 1_000_000_000
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        TIMERS.with_borrow_mut(|timers| timers.schedule(at, waker));
    }
}

time_driver_impl!(static DRIVER: MonotonicClock = MonotonicClock);

/// Wakes every task whose timer is due, and returns how many ticks are left
/// until the next one (`None`: there is none).
pub(crate) fn wake_expired() -> Option<u64> {
    let now = DRIVER.now();
    let next = TIMERS.with_borrow_mut(|timers| timers.wake_expired(now))?;
    Some(next.saturating_sub(now))
}
