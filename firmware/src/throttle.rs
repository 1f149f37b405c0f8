//! Counts what keeps happening and lets only some of it into the log.

use core::fmt;

use embassy_time::{Duration, Instant};

/// A counter that allows one log line per interval.
///
/// A host that sends rubbish must not fill the log, but what it did must
/// still be countable:
///
/// ```text
/// if let Some(missed) = self.malformed.count(now) {
///     warn!("dhcp: malformed packet from {}: {}{}", from, error, missed);
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

    /// Counts one event. `Some` means: log it now, and say at the end of the
    /// line how many since the last one were not shown.
    pub fn count(&mut self, now: Instant) -> Option<Missed> {
        self.total += 1;
        let due = self
            .last
            .is_none_or(|last| now.saturating_duration_since(last) >= self.interval);
        if due {
            self.last = Some(now);
            return Some(Missed(core::mem::take(&mut self.unseen)));
        }
        self.unseen = self.unseen.saturating_add(1);
        None
    }

    /// How many events were counted in all.
    pub const fn total(&self) -> u64 {
        self.total
    }
}

/// How many events had no line of their own. Displays as ` (3 more not shown)`
/// to be put at the end of a line, and as nothing if there were none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missed(pub u32);

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            missed => write!(f, " ({missed} more not shown)"),
        }
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Missed {
    fn format(&self, f: defmt::Formatter<'_>) {
        if self.0 > 0 {
            defmt::write!(f, " ({=u32} more not shown)", self.0);
        }
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
        assert_eq!(throttle.count(at(0)), Some(Missed(0)));
        assert_eq!(throttle.count(at(1)), None);
        assert_eq!(throttle.count(at(9)), None);
        assert_eq!(throttle.count(at(10)), Some(Missed(2)));
        assert_eq!(throttle.total(), 4);
        assert_eq!(Missed(0).to_string(), "");
        assert_eq!(Missed(2).to_string(), " (2 more not shown)");
    }
}
