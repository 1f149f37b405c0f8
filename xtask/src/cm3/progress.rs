//! How far a long copy is: a bar on a terminal, a line now and then elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

const MIB: u64 = 1 << 20;
/// Width of the bar.
const WIDTH: usize = 30;
/// How often the bar is drawn.
const TICK: Duration = Duration::from_millis(200);
/// Lines in a log: one for each of so many parts.
const PARTS: u64 = 4;

/// One copy's progress, told on standard error.
#[derive(Debug)]
pub(super) struct Progress {
    work: &'static str,
    total: u64,
    done: u64,
    started: Instant,
    terminal: bool,
    /// When the bar was drawn last, and how many parts were told.
    drawn: Option<Instant>,
    told: u64,
}

impl Progress {
    pub(super) fn new(work: &'static str, total: u64) -> Self {
        Self {
            work,
            total,
            done: 0,
            started: Instant::now(),
            terminal: io::stderr().is_terminal(),
            drawn: None,
            told: 0,
        }
    }

    /// Notes that so many bytes more are done.
    pub(super) fn add(&mut self, bytes: u64) {
        self.done += bytes;
        let ended = self.done >= self.total;
        let parts = self.done * PARTS / self.total.max(1);
        let due = if self.terminal {
            ended || self.drawn.is_none_or(|drawn| drawn.elapsed() >= TICK)
        } else {
            parts > self.told
        };
        if !due {
            return;
        }
        self.drawn = Some(Instant::now());
        self.told = parts;
        let line = line(self.work, self.done, self.total, self.started.elapsed());
        // A bar that cannot be drawn is not worth ending the work for.
        let _ = if self.terminal {
            let end = if ended { "\n" } else { "" };
            write!(
                io::stderr(),
                "\r\x1b[2K{} {line}{end}",
                bar(self.done, self.total)
            )
        } else {
            writeln!(io::stderr(), "xtask: {line}")
        };
    }
}

fn bar(done: u64, total: u64) -> String {
    // No more than WIDTH.
    let full = usize::try_from(done * WIDTH as u64 / total.max(1)).unwrap_or(WIDTH);
    format!("[{:WIDTH$}]", "#".repeat(full))
}

fn line(work: &str, done: u64, total: u64, took: Duration) -> String {
    let percent = done * 100 / total.max(1);
    let speed = (done / MIB) as f64 / took.as_secs_f64().max(0.001);
    format!(
        "{work} {percent:3} %  {} of {} MiB  {speed:.0} MiB/s",
        done / MIB,
        total / MIB
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_share_amount_and_speed() {
        let line = line("writing", 32 * MIB, 128 * MIB, Duration::from_secs(2));
        assert_eq!(line, "writing  25 %  32 of 128 MiB  16 MiB/s");
        assert_eq!(bar(0, 128), format!("[{}]", " ".repeat(WIDTH)));
        assert_eq!(bar(64, 128).matches('#').count(), WIDTH / 2);
        assert_eq!(bar(128, 128), format!("[{}]", "#".repeat(WIDTH)));
        assert_eq!(bar(0, 0).len(), WIDTH + 2);
    }
}
