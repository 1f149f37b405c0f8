//! What a person or a script reads: the log on standard error, the machines'
//! timelines on standard output.

use std::fmt::{self, Write as _};
use std::io::{self, Write as _};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};

use ichor::journal::Event;
use log::{Level, LevelFilter, Log, Metadata, Record};

use crate::cli::LogFormat;

/// A logger that writes one line per record to standard error.
///
/// Under systemd the line starts with its priority (`sd-daemon(3)`) and the
/// journal adds the time; elsewhere it starts with the level.
struct Stderr {
    systemd: bool,
}

/// Installs the logger. `RUST_LOG=debug` (or `trace`) shows more.
pub(crate) fn init() {
    let level = std::env::var("RUST_LOG")
        .ok()
        .and_then(|text| text.parse::<LevelFilter>().ok())
        .unwrap_or(LevelFilter::Info);
    let logger = Stderr {
        systemd: std::env::var_os("JOURNAL_STREAM").is_some(),
    };
    log::set_max_level(level);
    // Fails only when called twice.
    let _ = log::set_boxed_logger(Box::new(logger));
}

impl Log for Stderr {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        // The event loop's own crates are of no interest below a warning.
        metadata.target().starts_with("ichor") || metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut line = String::new();
        let (priority, word) = match record.level() {
            Level::Error => (3, "error: "),
            Level::Warn => (4, "warning: "),
            Level::Info => (6, ""),
            Level::Debug => (7, "debug: "),
            Level::Trace => (7, "trace: "),
        };
        // Writing to a String cannot fail.
        let _ = if self.systemd {
            writeln!(line, "<{priority}>{}", record.args())
        } else {
            writeln!(line, "{word}{}", record.args())
        };
        // With nowhere to write to, there is nobody to tell.
        let _ = io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

/// A thread that writes lines to standard output, so that whoever reads them
/// cannot hold up the stack.
pub(crate) struct Printer {
    batches: SyncSender<String>,
}

/// Batches of lines that wait for the thread.
const BATCHES: usize = 16;

impl Printer {
    /// Starts the thread. It ends with the process, or when nobody reads any
    /// more.
    pub(crate) fn start() -> io::Result<Self> {
        let (batches, waiting) = sync_channel::<String>(BATCHES);
        std::thread::Builder::new()
            .name("printer".into())
            .spawn(move || {
                let mut stdout = io::stdout();
                while let Ok(lines) = waiting.recv() {
                    if stdout
                        .write_all(lines.as_bytes())
                        .and_then(|()| stdout.flush())
                        .is_err()
                    {
                        return;
                    }
                }
            })?;
        Ok(Self { batches })
    }

    /// Prints some lines; gives them back if the thread is too far behind
    /// just now.
    pub(crate) fn print(&self, lines: String) -> Result<(), String> {
        match self.batches.try_send(lines) {
            Err(TrySendError::Full(lines)) => Err(lines),
            // With nobody to read them, there is nothing to wait for.
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }
}

/// One event as a line of the chosen format, with its newline.
pub(crate) fn line(format: LogFormat, event: &Event) -> String {
    let mut line = String::new();
    // Writing to a String cannot fail.
    let _ = match format {
        LogFormat::Text => writeln!(
            line,
            "{:>5}.{:03} {event}",
            event.at.as_millis() / 1000,
            event.at.as_millis() % 1000,
        ),
        LogFormat::Json => writeln!(
            line,
            r#"{{"seq":{},"ms":{},"mac":{},"ip":{},"stage":"{}","detail":{}}}"#,
            event.seq,
            event.at.as_millis(),
            Json(event.mac),
            Json(event.ip),
            event.stage,
            Json(Some(&event.detail))
        ),
    };
    line
}

/// A value as a JSON string, or `null` (RFC 8259 §7).
struct Json<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for Json<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(value) = &self.0 else {
            return f.write_str("null");
        };
        f.write_char('"')?;
        for c in value.to_string().chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                c if u32::from(c) < 0x20 => write!(f, "\\u{:04x}", u32::from(c))?,
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use embassy_time::Instant;
    use ichor::MacAddr;
    use ichor::journal::Stage;
    use std::net::Ipv4Addr;

    fn event() -> Event {
        Event {
            seq: 3,
            at: Instant::from_millis(12_034),
            mac: Some(MacAddr([0x52, 0x54, 0, 0, 0, 1])),
            ip: Some(Ipv4Addr::new(192, 0, 2, 50)),
            stage: Stage::Kernel,
            detail: "a \"quoted\" path".try_into().unwrap(),
        }
    }

    #[test]
    fn an_event_is_a_line_of_text() {
        assert_eq!(
            line(LogFormat::Text, &event()),
            "   12.034 52:54:00:00:00:01 192.0.2.50      kernel    a \"quoted\" path\n"
        );
    }

    #[test]
    fn an_event_is_a_line_of_json() {
        let unknown = Event {
            mac: None,
            ip: None,
            ..event()
        };
        assert_eq!(
            line(LogFormat::Json, &unknown),
            "{\"seq\":3,\"ms\":12034,\"mac\":null,\"ip\":null,\"stage\":\"kernel\",\
             \"detail\":\"a \\\"quoted\\\" path\"}\n"
        );
    }
}
