//! The time that leases are counted in, on a board without a clock that runs
//! while the power is off.

use ichor_hal::Clock;

use crate::counter;

/// Seconds that go on from where they were before the power went.
///
/// The time without power is not counted, so a lease may last that much longer
/// than its client was told: never shorter.
#[derive(Debug)]
pub struct MonotonicClock {
    origin: u64,
}

impl MonotonicClock {
    /// A clock that says at least `seconds`: the largest time that the lease
    /// log knows.
    pub const fn from(seconds: u64) -> Self {
        Self { origin: seconds }
    }
}

impl Clock for MonotonicClock {
    fn seconds(&self) -> u64 {
        self.origin.saturating_add(counter::micros() / 1_000_000)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_goes_on_from_the_log() {
        let clock = MonotonicClock::from(1_000_000);
        let first = clock.seconds();
        assert!(first >= 1_000_000);
        assert!(first < 1_001_000, "it counts from the start of the board");
        // A look takes a microsecond here.
        while clock.seconds() == first {}
        assert_eq!(clock.seconds(), first + 1);
        assert_eq!(MonotonicClock::from(u64::MAX).seconds(), u64::MAX);
    }
}
