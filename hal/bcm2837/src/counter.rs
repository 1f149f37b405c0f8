//! The counter of the generic timer, and how its counts become microseconds.

/// Turns counts into ticks of another rate and back, without overflow for
/// centuries: the ratio is kept as a reduced fraction.
#[cfg(any(test, target_os = "none"))]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scale {
    /// Ticks in `counts` counts.
    ticks: u32,
    counts: u32,
}

#[cfg(any(test, target_os = "none"))]
impl Scale {
    /// From counts at `count_hz` to ticks at `tick_hz`; both are at least 1.
    pub(crate) const fn new(count_hz: u32, tick_hz: u32) -> Self {
        let (mut a, mut b) = (count_hz, tick_hz);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Self {
            ticks: tick_hz / a,
            counts: count_hz / a,
        }
    }

    /// Ticks that have passed at a count, rounded down.
    pub(crate) const fn ticks(self, count: u64) -> u64 {
        let (ticks, counts) = (self.ticks as u64, self.counts as u64);
        (count / counts)
            .saturating_mul(ticks)
            .saturating_add(count % counts * ticks / counts)
    }

    /// The first count at which `tick` has passed.
    pub(crate) const fn count(self, tick: u64) -> u64 {
        let (ticks, counts) = (self.ticks as u64, self.counts as u64);
        (tick / ticks)
            .saturating_mul(counts)
            .saturating_add((tick % ticks * counts).div_ceil(ticks))
    }
}

#[cfg(target_os = "none")]
mod here {
    use core::sync::atomic::{AtomicU32, Ordering};

    use super::Scale;
    use crate::cpu;

    /// What the Pi's firmware sets, should it have set nothing.
    const CRYSTAL_HZ: u32 = 19_200_000;

    static TICKS: AtomicU32 = AtomicU32::new(1);
    static COUNTS: AtomicU32 = AtomicU32::new(1);

    /// Learns the counter's rate. To be called before time is asked for.
    pub(crate) fn init() {
        let hz = match cpu::counter_hz() {
            0 => CRYSTAL_HZ,
            hz => hz,
        };
        let scale = Scale::new(hz, 1_000_000);
        TICKS.store(scale.ticks, Ordering::Relaxed);
        COUNTS.store(scale.counts, Ordering::Relaxed);
    }

    pub(crate) fn scale() -> Scale {
        Scale {
            ticks: TICKS.load(Ordering::Relaxed),
            counts: COUNTS.load(Ordering::Relaxed),
        }
    }

    pub(crate) fn micros() -> u64 {
        scale().ticks(cpu::counter())
    }
}

#[cfg(not(target_os = "none"))]
mod here {
    use core::sync::atomic::{AtomicU64, Ordering};

    /// On a host each look at the clock takes a microsecond, so that waits for
    /// a fake device that says nothing come to their end.
    pub(crate) fn micros() -> u64 {
        static LOOKS: AtomicU64 = AtomicU64::new(0);
        LOOKS.fetch_add(1, Ordering::Relaxed)
    }
}

pub(crate) use here::*;

/// Waits until `done`, at most `limit` microseconds; returns whether it was.
/// For the start and for reports of a dying system: nothing else runs.
pub(crate) fn wait_until(limit: u64, mut done: impl FnMut() -> bool) -> bool {
    let start = micros();
    loop {
        if done() {
            return true;
        }
        if micros().wrapping_sub(start) > limit {
            return false;
        }
        core::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_become_microseconds() {
        // The Pi's crystal, QEMU's counter, a rate that shares no factor.
        for hz in [19_200_000, 62_500_000, 54_000_001] {
            let scale = Scale::new(hz, 1_000_000);
            assert_eq!(scale.ticks(0), 0);
            assert_eq!(scale.ticks(u64::from(hz)), 1_000_000);
            assert_eq!(scale.ticks(u64::from(hz) - 1), 999_999);
            // A hundred years.
            let century = 100 * 365 * 86_400;
            assert_eq!(scale.ticks(century * u64::from(hz)), century * 1_000_000);
        }
    }

    #[test]
    fn an_alarm_never_rings_early() {
        for hz in [19_200_000, 62_500_000, 54_000_001, 1_000_000, 32_768] {
            let scale = Scale::new(hz, 1_000_000);
            for tick in [0, 1, 2, 3, 5, 96, 125, 999_999, 1_000_001, 123_456_789_012] {
                let count = scale.count(tick);
                assert!(scale.ticks(count) >= tick, "{hz} {tick}");
                assert!(
                    count == 0 || scale.ticks(count - 1) < tick,
                    "{hz} {tick}: later than need be"
                );
            }
            assert!(scale.count(u64::MAX) > u64::MAX / 1_000_000);
        }
    }

    #[test]
    fn waiting_ends() {
        let mut looks = 0;
        assert!(wait_until(100, || {
            looks += 1;
            looks == 3
        }));
        assert!(!wait_until(100, || false));
    }
}
