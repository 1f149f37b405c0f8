//! The program that runs on a board, as far as its log messages are concerned.

use std::fmt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use defmt_decoder::{Encoding, Locations, Table};

use super::{Level, Log};

/// The most zeros that an rzCOBS frame may carry after its content, since it
/// counts in sevens.
const PADDING: usize = 6;

/// The messages of a program, read from its ELF file.
pub struct Program {
    table: Table,
    places: Locations,
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let messages = self.table.indices().count();
        f.debug_struct("Program")
            .field("messages", &messages)
            .finish_non_exhaustive()
    }
}

impl Program {
    /// Reads an ELF file.
    ///
    /// # Errors
    /// It cannot be read, or as [`Program::parse`].
    pub fn read(path: &Path) -> Result<Self> {
        let elf = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&elf).with_context(|| format!("cannot decode logs with {}", path.display()))
    }

    /// Takes the messages from the content of an ELF file.
    ///
    /// # Errors
    /// It is no ELF file, logs nothing through defmt, in a version unknown
    /// here or not framed by rzCOBS.
    pub fn parse(elf: &[u8]) -> Result<Self> {
        let table = Table::parse(elf)?.context("the program has no messages of defmt in it")?;
        if table.encoding() != Encoding::Rzcobs {
            bail!("the program does not frame its messages: it needs defmt's encoding-rzcobs");
        }
        // Places are a comfort: a program without debug information has none.
        let places = table.get_locations(elf).unwrap_or_default();
        Ok(Self { table, places })
    }

    /// The message in a frame, without the zero that ends it; `None` if it is
    /// none of this program.
    pub(super) fn decode(&self, frame: &[u8]) -> Option<Log> {
        let content = rzcobs::decode(frame).ok()?;
        let (frame, len) = self.table.decode(&content).ok()?;
        // Text and noise may look like a message for a while.
        let rest = &content[len..];
        if rest.len() > PADDING || rest.iter().any(|byte| *byte != 0) {
            return None;
        }
        let level = frame.level().map(|level| match level.as_str() {
            "trace" => Level::Trace,
            "debug" => Level::Debug,
            "info" => Level::Info,
            "warn" => Level::Warn,
            _ => Level::Error,
        });
        let place = self.places.get(&frame.index()).map(|place| {
            let file = place.file.file_name().unwrap_or_default();
            format!("{}:{}", file.to_string_lossy(), place.line)
        });
        Some(Log {
            level,
            time: frame.display_timestamp().map(|time| time.to_string()),
            message: frame.display_message().to_string(),
            place,
        })
    }
}
