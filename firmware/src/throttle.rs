//! Counts what keeps happening and lets only some of it into the log.

use embassy_time::{Duration, Instant};

/// A counter that allows one log line per interval.
///
/// A host that sends rubbish must not fill the log, but what it did must
/// still be countable:
///
/// ```text
/// if let Some(missed) = self.malformed.count(now) {
///     warn!("dhcp: malformed packet from {}: {} ({} more not shown)", from, error, missed);
/// }
/// ```
#[derive(Debug, Clone)]
pub struct Throttle {
    interval: Duration,
    last: Option<Instant>,
    unseen: u32,
    total: u64,
}

impl Throttle {
    /// At most one line per `interval`.
    pub const fn new(interval: Duration) -> Self {
        Self {
            interval,
            last: None,
            unseen: 0,
            total: 0,
        }
    }

    /// Counts one event. `Some(n)` means: log it now, and say that `n` events
    /// since the last line were not shown.
    pub fn count(&mut self, now: Instant) -> Option<u32> {
        self.total += 1;
        let due = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= self.interval);
        if due {
            self.last = Some(now);
            return Some(core::mem::take(&mut self.unseen));
        }
        self.unseen = self.unseen.saturating_add(1);
        None
    }

    /// How many events were counted in all.
    pub const fn total(&self) -> u64 {
        self.total
    }
}

impl Default for Throttle {
    /// One line every ten seconds.
    fn default() -> Self {
        Self::new(Duration::from_secs(10))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_per_interval_and_nothing_uncounted() {
        let mut throttle = Throttle::default();
        let at = Instant::from_secs;
        assert_eq!(throttle.count(at(0)), Some(0));
        assert_eq!(throttle.count(at(1)), None);
        assert_eq!(throttle.count(at(9)), None);
        assert_eq!(throttle.count(at(10)), Some(2));
        assert_eq!(throttle.total(), 4);
    }
}
