//! The embassy time driver of unit tests: time stands still.
//!
//! The servers take the time as an argument; only the socket loops ask for
//! it, and those are tested over a real reactor.

use core::task::Waker;

struct StoppedClock;

impl embassy_time_driver::Driver for StoppedClock {
    fn now(&self) -> u64 {
        0
    }

    fn schedule_wake(&self, _at: u64, _waker: &Waker) {}
}

embassy_time_driver::time_driver_impl!(static DRIVER: StoppedClock = StoppedClock);
