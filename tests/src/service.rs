//! A program of others that serves something for as long as a test needs it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use crate::console::Console;

/// A running service; dropping it ends it.
#[derive(Debug)]
pub struct Service {
    process: Child,
    log: Console,
}

impl Service {
    /// Starts `command`, which must stay in the foreground. What it says on
    /// its error output also goes to the file `log`.
    pub fn start(mut command: Command, log: &Path) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let stderr = process.stderr.take().context("no error output")?;
        let log = Console::record(stderr, log)?;
        Ok(Self { process, log })
    }

    /// What it said on its error output.
    pub fn log(&self) -> &Console {
        &self.log
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Whether the process is alive.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
