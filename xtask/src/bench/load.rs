//! How busy this machine is: a measurement beside other work says little.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// Fewer processors than this at work count as a quiet machine.
const QUIET: f64 = 0.15;
const SAMPLE: Duration = Duration::from_secs(1);

/// Time of all processors since the machine started, in ticks (proc_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Load {
    busy: u64,
    all: u64,
    processors: u32,
}

impl Load {
    /// The time until now.
    pub(super) fn now() -> Result<Self> {
        let text = fs::read_to_string("/proc/stat").context("cannot read /proc/stat")?;
        Self::parse(&text).context("/proc/stat has no line `cpu`")
    }

    /// How many processors were at work since then, on average.
    pub(super) fn processors_since(self, then: Self) -> f64 {
        let all = self.all.saturating_sub(then.all).max(1);
        let busy = self.busy.saturating_sub(then.busy);
        busy as f64 / all as f64 * f64::from(self.processors)
    }

    fn parse(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let total = lines.next()?.strip_prefix("cpu ")?;
        // The last two, time of guests, are part of the first two.
        let ticks: Vec<u64> = total
            .split_whitespace()
            .take(8)
            .map_while(|ticks| ticks.parse().ok())
            .collect();
        let [_, _, _, idle, waiting, ..] = ticks[..] else {
            return None;
        };
        let all = ticks.iter().sum();
        Some(Self {
            busy: all - idle - waiting,
            all,
            processors: lines.take_while(|line| line.starts_with("cpu")).count() as u32,
        })
    }
}

/// Waits until the machine has nothing else to do, but not beyond `patience`.
/// Returns how many processors are still at work.
pub(super) fn wait_for_quiet(patience: Duration) -> Result<f64> {
    let deadline = Instant::now() + patience;
    loop {
        let before = Load::now()?;
        thread::sleep(SAMPLE);
        let busy = Load::now()?.processors_since(before);
        if busy < QUIET || Instant::now() > deadline {
            return Ok(busy);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_ticks_are_read() {
        let stat = |user: u64, idle: u64| {
            let text = format!(
                "cpu  {user} 0 10 {idle} 5 0 0 0 7 0\ncpu0 1 0 0 0 0 0 0 0 0 0\ncpu1 1\nintr 9\n"
            );
            Load::parse(&text)
        };
        let (then, now) = (stat(100, 1_000).unwrap(), stat(175, 1_025).unwrap());
        assert_eq!(now.processors_since(then), 1.5);
        assert_eq!(Load::parse("intr 9\n"), None);
    }
}
