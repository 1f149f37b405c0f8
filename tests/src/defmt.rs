//! What a board says on its serial line: log frames of defmt and lines of plain text, mixed.
//!
//! The board separates by zeros: an rzCOBS frame holds none and ends with one,
//! and text between frames has one before and after it. Text without any comes
//! from the VideoCore, before ichor runs. A [`Decoder`] takes bytes as they
//! come and gives whole lines; a [`Reader`] does so for [`crate::console`].

mod program;
mod stream;

use std::fmt;
use std::io::{self, Read};

pub use program::Program;
pub use stream::Decoder;

/// One thing that a board said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A line of plain text.
    Text(String),
    /// A log message.
    Log(Log),
    /// So many bytes that are neither: noise, or frames of another program.
    Lost(usize),
}

/// A log message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// `None` if it was printed whatever the level.
    pub level: Option<Level>,
    /// The board's own time, as the program formats it: usually seconds since
    /// it started, with six digits after the point.
    pub time: Option<String>,
    /// The message.
    pub message: String,
    /// File and line, if the program was built with what tells them.
    pub place: Option<String>,
}

/// How much a message matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// What helps to find an error in the program.
    Debug,
    /// What happens.
    Info,
    /// What a person may want to look at.
    Warn,
    /// What does not work.
    Error,
}

impl Level {
    /// Its name in five letters.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO ",
            Self::Warn => "WARN ",
            Self::Error => "ERROR",
        }
    }
}

/// `1.002003 WARN  message (file:line)`; text as it is.
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Log(log) => {
                if let Some(time) = &log.time {
                    write!(f, "{time} ")?;
                }
                if let Some(level) = log.level {
                    write!(f, "{} ", level.name())?;
                }
                f.write_str(&log.message)?;
                match &log.place {
                    Some(place) => write!(f, " ({place})"),
                    None => Ok(()),
                }
            }
            Self::Lost(count) => {
                write!(
                    f,
                    "({count} bytes that are no text and no frame of this program)"
                )
            }
        }
    }
}

/// Gives the lines of a board as text, so that [`crate::console::Console`]
/// records them.
#[derive(Debug)]
pub struct Reader<R> {
    output: R,
    decoder: Decoder,
    /// Lines not read yet, and how far the first of them was.
    ready: Vec<u8>,
    read: usize,
    ended: bool,
}

impl<R: Read> Reader<R> {
    /// Reads from the serial line `output`; without the program, frames are
    /// counted as lost.
    pub fn new(output: R, program: Option<Program>) -> Self {
        Self {
            output,
            decoder: Decoder::new(program),
            ready: Vec::new(),
            read: 0,
            ended: false,
        }
    }
}

impl<R: Read> Read for Reader<R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        while self.read == self.ready.len() {
            if self.ended {
                return Ok(0);
            }
            let mut bytes = [0; 4096];
            let said = match self.output.read(&mut bytes)? {
                0 => {
                    self.ended = true;
                    self.decoder.end()
                }
                count => self.decoder.push(&bytes[..count]),
            };
            self.read = 0;
            self.ready.clear();
            for said in said {
                self.ready.extend(format!("{said}\n").into_bytes());
            }
        }
        let left = &self.ready[self.read..];
        let count = left.len().min(buf.len());
        buf[..count].copy_from_slice(&left[..count]);
        self.read += count;
        Ok(count)
    }
}

#[cfg(test)]
mod tests;
