//! Wall-clock seconds that never run backwards.

use std::cell::Cell;
use std::time::{SystemTime, UNIX_EPOCH};

use ichor_hal::Clock;

/// Seconds since the Unix epoch, held still while the system's clock is
/// behind what was already said.
#[derive(Debug)]
pub struct UnixClock {
    last: Cell<u64>,
}

impl UnixClock {
    /// A clock that never says less than `seconds`: the largest time that the
    /// lease log knows. Compare with [`behind`](Self::behind) and tell the
    /// operator if the system's clock is wrong.
    pub fn at_least(seconds: u64) -> Self {
        Self {
            last: Cell::new(seconds),
        }
    }

    /// How many seconds the system's clock is behind this one: 0 if all is
    /// well.
    pub fn behind(&self) -> u64 {
        self.last.get().saturating_sub(system_seconds())
    }
}

impl Default for UnixClock {
    fn default() -> Self {
        Self::at_least(0)
    }
}

impl Clock for UnixClock {
    fn seconds(&self) -> u64 {
        let now = self.last.get().max(system_seconds());
        self.last.set(now);
        now
    }
}

fn system_seconds() -> u64 {
    // A clock before 1970 counts as 1970.
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_system_clock_that_is_behind_is_told_and_not_followed() {
        let far = system_seconds() + 1000;
        let clock = UnixClock::at_least(far);
        assert_eq!(clock.seconds(), far);
        assert!((990..=1000).contains(&clock.behind()));
        assert_eq!(UnixClock::default().behind(), 0);
        assert!(UnixClock::default().seconds() > 1_700_000_000);
    }
}
