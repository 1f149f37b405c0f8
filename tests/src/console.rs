//! A program's output, line by line with the time, in memory and in a file.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// Longest line kept; a firmware that draws menus never ends its lines.
const MAX_LINE: usize = 4096;

/// Bytes read at once, as many as a pipe holds on Linux.
const BATCH: usize = 64 * 1024;

/// One line, without escape sequences and without its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When its end came, counted from the start of the program.
    pub at: Duration,
    /// The text.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:8.3} {}", self.at.as_secs_f64(), self.text)
    }
}

/// What a program has printed so far. Clones watch the same program.
#[derive(Debug, Clone)]
pub struct Console {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    start: Instant,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    lines: Vec<Line>,
    ended: bool,
}

impl Console {
    /// Reads `output` in a thread until it ends, and writes it to the file
    /// `log` with the times in front.
    pub fn record(mut output: impl Read + Send + 'static, log: &Path) -> io::Result<Self> {
        let mut log = File::create(log)?;
        let start = Instant::now();
        let console = Self {
            shared: Arc::new(Shared {
                start,
                state: Mutex::default(),
                changed: Condvar::new(),
            }),
        };
        let recorder = console.clone();
        thread::spawn(move || {
            let mut splitter = Splitter::default();
            // A server under load must not wait for us: whole batches at once.
            let mut buf = vec![0; BATCH];
            // An error ends the output just as its end does.
            while let Ok(n @ 1..) = output.read(&mut buf) {
                let at = start.elapsed();
                let lines = splitter.lines(&buf[..n]);
                let lines: Vec<Line> = lines.into_iter().map(|text| Line { at, text }).collect();
                let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
                // The log is for people; the test goes on without it.
                let _ = log.write_all(text.as_bytes());
                recorder.lock().lines.extend(lines);
                recorder.shared.changed.notify_all();
            }
            recorder.lock().ended = true;
            recorder.shared.changed.notify_all();
        });
        Ok(console)
    }

    /// The first line, from number `from` on, that `wanted` turns into
    /// something, with the number of the line after it. Waits for it up to
    /// `timeout`, or until the program ends.
    pub fn find<T>(
        &self,
        from: usize,
        timeout: Duration,
        mut wanted: impl FnMut(&Line) -> Option<T>,
    ) -> Option<(T, usize)> {
        let deadline = Instant::now() + timeout;
        let mut next = from;
        let mut state = self.lock();
        loop {
            while let Some(line) = state.lines.get(next) {
                next += 1;
                if let Some(found) = wanted(line) {
                    return Some((found, next));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if state.ended || left.is_zero() {
                return None;
            }
            state = self
                .shared
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }

    /// When the program started, from which lines count their time.
    pub fn start(&self) -> Instant {
        self.shared.start
    }

    /// Everything printed so far.
    pub fn lines(&self) -> Vec<Line> {
        self.lines_from(0)
    }

    /// Everything printed so far, from line number `from` on.
    pub fn lines_from(&self, from: usize) -> Vec<Line> {
        let state = self.lock();
        state.lines.get(from..).unwrap_or_default().to_vec()
    }

    /// Whether the program has closed its output.
    pub fn has_ended(&self) -> bool {
        self.lock().ended
    }

    /// The last `count` lines, as text.
    pub fn tail(&self, count: usize) -> String {
        let state = self.lock();
        let skip = state.lines.len().saturating_sub(count);
        let lines = state.lines[skip..].iter();
        lines.map(|line| format!("  {line}\n")).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        let state = self.shared.state.lock();
        state.unwrap_or_else(PoisonError::into_inner)
    }
}

/// Cuts a byte stream into lines and takes the terminal control out.
#[derive(Debug, Default)]
struct Splitter {
    line: Vec<u8>,
    escape: Escape,
}

/// Where in an escape sequence (ECMA-48 §5.4) the stream is.
#[derive(Debug, Default, Clone, Copy)]
enum Escape {
    #[default]
    Outside,
    Started,
    Control,
}

impl Splitter {
    fn lines(&mut self, bytes: &[u8]) -> Vec<String> {
        let mut lines = Vec::new();
        for &byte in bytes {
            self.escape = match (self.escape, byte) {
                (Escape::Outside, 0x1B) => Escape::Started,
                (Escape::Started, b'[') => Escape::Control,
                (Escape::Started, _) => Escape::Outside,
                (Escape::Control, b'@'..=b'~') => {
                    // Moving the cursor up or down, or to a place, begins
                    // something new as far as a log is concerned.
                    if matches!(byte, b'H' | b'f' | b'J') {
                        self.end_line(&mut lines);
                    }
                    Escape::Outside
                }
                (Escape::Control, _) => Escape::Control,
                (Escape::Outside, b'\n') => {
                    self.end_line(&mut lines);
                    Escape::Outside
                }
                (Escape::Outside, _) => {
                    if byte >= b' ' || byte == b'\t' {
                        self.line.push(byte);
                    }
                    if self.line.len() >= MAX_LINE {
                        self.end_line(&mut lines);
                    }
                    Escape::Outside
                }
            };
        }
        lines
    }

    fn end_line(&mut self, lines: &mut Vec<String>) {
        let line = String::from_utf8_lossy(&self.line);
        let text = line.trim_end();
        if !text.is_empty() {
            lines.push(text.to_owned());
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_come_without_terminal_control() {
        let mut splitter = Splitter::default();
        for (bytes, want) in [
            (&b"U-Boot 2023"[..], &[][..]),
            (b".01\r\n\r\nDRAM\n", &["U-Boot 2023.01", "DRAM"]),
            (b"\x1b[2J\x1b[01;01HUEFI\x1b[0m fw\x1b[3", &[]),
            (b"7m.\r\n", &["UEFI fw."]),
        ] {
            assert_eq!(splitter.lines(bytes), want);
        }
    }

    #[test]
    fn one_can_wait_for_a_line() {
        let log = std::env::temp_dir().join(format!("ichor-console-{}", std::process::id()));
        let console = Console::record(&b"one\ntwo\nthree\n"[..], &log).unwrap();
        let soon = Duration::from_secs(5);
        let found = console.find(0, soon, |line| (line.text == "two").then_some(2));
        assert_eq!(found, Some((2, 2)));
        let none = console.find(2, soon, |line| (line.text == "two").then_some(()));
        assert_eq!(none, None, "the end of the output ends the wait");
        assert!(console.tail(1).ends_with("three\n"));
        assert_eq!(std::fs::read_to_string(&log).unwrap().lines().count(), 3);
        std::fs::remove_file(&log).unwrap();
    }
}
