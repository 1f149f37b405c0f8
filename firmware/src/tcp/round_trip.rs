//! How long an answer takes, and how long to wait for one.

use embassy_time::Duration;

/// The least time without an acknowledgement after which everything under way
/// is taken for lost: what Linux waits (its `TCP_RTO_MIN`).
const MIN_TIMEOUT: Duration = Duration::from_millis(200);

/// The most: the servers are on the LAN of those they serve, and a machine
/// that boots has nothing else to do than to wait.
const MAX_TIMEOUT: Duration = Duration::from_secs(2);

/// The timeout until a round trip was seen (RFC 6298 §2.1).
const FIRST_TIMEOUT: Duration = Duration::from_secs(1);

/// A peer may wait this long for a second segment before it acknowledges one
/// (Linux does at least).
const DELAYED_ACK: Duration = Duration::from_millis(40);

/// The least time without an acknowledgement after which a loss is probed for.
const MIN_PROBE: Duration = Duration::from_millis(2);

/// Round trips that were seen (RFC 6298 §2).
#[derive(Debug, Clone, Copy)]
pub(super) struct RoundTrip {
    smoothed: Duration,
    variation: Duration,
    least: Duration,
    latest: Duration,
}

impl RoundTrip {
    /// None was seen.
    pub(super) const fn new() -> Self {
        let none = Duration::from_ticks(0);
        Self {
            smoothed: none,
            variation: none,
            least: none,
            latest: none,
        }
    }

    pub(super) fn saw(&mut self, took: Duration) {
        let took = took.max(Duration::from_ticks(1));
        if self.is_unknown() {
            self.smoothed = took;
            self.variation = took / 2;
            self.least = took;
        } else {
            let off = if took > self.smoothed {
                took - self.smoothed
            } else {
                self.smoothed - took
            };
            self.variation = (self.variation * 3 + off) / 4;
            self.smoothed = (self.smoothed * 7 + took) / 8;
            self.least = self.least.min(took);
        }
        self.latest = took;
    }

    fn is_unknown(&self) -> bool {
        self.smoothed.as_ticks() == 0
    }

    pub(super) fn least(&self) -> Duration {
        self.least
    }

    /// How long after its transmission a segment is lost that others overtook
    /// (RFC 8985 §6.2).
    pub(super) fn reordering_wait(&self) -> Duration {
        self.latest + (self.least / 4).max(Duration::from_micros(100))
    }

    /// The retransmission timeout after so many in vain.
    pub(super) fn timeout(&self, in_vain: u8) -> Duration {
        let timeout = if self.is_unknown() {
            FIRST_TIMEOUT
        } else {
            (self.smoothed + self.variation * 4).max(MIN_TIMEOUT)
        };
        (timeout * (1 << in_vain.min(8))).min(MAX_TIMEOUT)
    }

    /// When to probe for a loss (RFC 8985 §7.2). A single segment may be
    /// acknowledged late.
    pub(super) fn probe(&self, is_single: bool) -> Duration {
        let delay = if is_single {
            DELAYED_ACK
        } else {
            Duration::from_ticks(0)
        };
        (self.smoothed * 2).max(MIN_PROBE) + delay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn micros(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    fn seen(took: &[u64]) -> RoundTrip {
        let mut round_trip = RoundTrip::new();
        for took in took {
            round_trip.saw(micros(*took));
        }
        round_trip
    }

    #[test]
    fn the_timeout_is_bounded_and_doubles() {
        // Seen in microseconds, timeouts in vain, milliseconds.
        let cases: [(&[u64], u8, u64); 9] = [
            (&[], 0, 1_000),
            (&[], 1, 2_000),
            (&[], 255, 2_000),
            (&[0], 0, 200),
            (&[200], 0, 200),
            (&[200], 1, 400),
            (&[200], 3, 1_600),
            (&[200], 4, 2_000),
            (&[100_000], 0, 300),
        ];
        for (took, in_vain, millis) in cases {
            let timeout = seen(took).timeout(in_vain);
            assert_eq!(timeout, Duration::from_millis(millis), "{took:?}");
        }
    }

    #[test]
    fn smoothing_is_that_of_the_rfc() {
        let got = seen(&[80_000, 160_000]);
        assert_eq!(got.smoothed, micros(90_000));
        assert_eq!(got.variation, micros(50_000));
        assert_eq!(got.least(), micros(80_000));
        assert_eq!(got.timeout(0), micros(290_000));
        assert_eq!(seen(&[80_000, 0]).variation, micros(49_999));
    }

    #[test]
    fn what_was_overtaken_is_waited_for() {
        // The latest, and a quarter of the least or 100 us.
        for (took, wait) in [
            (&[200, 300][..], 400),
            (&[4_000, 6_000], 7_000),
            (&[6_000, 4_000], 5_000),
        ] {
            assert_eq!(seen(took).reordering_wait(), micros(wait), "{took:?}");
        }
    }

    #[test]
    fn a_probe_waits_for_two_round_trips_and_a_late_ack() {
        for (took, is_single, wait) in [
            (200, false, 2_000),
            (200, true, 42_000),
            (10_000, false, 20_000),
            (10_000, true, 60_000),
        ] {
            let got = seen(&[took]).probe(is_single);
            assert_eq!(got, micros(wait), "{took} {is_single}");
        }
    }
}
