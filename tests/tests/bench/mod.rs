//! Servers on a virtual switch, with as little around them as can be: needs
//! neither root nor tools.
#![allow(dead_code, reason = "each test uses its own part")]

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use ichor_lab::ichor::{Ichor, Settings};
use ichor_lab::lab;
use ichor_lab::switch::Switch;

/// How long the server may take for anything, also on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A switch, an empty data folder, and places for state and sockets.
pub(crate) struct Bench {
    // Before the folder that its sockets lie in.
    pub(crate) switch: Switch,
    sockets: Sockets,
    folder: PathBuf,
}

impl Bench {
    /// The data folder, with `groups/` and `profiles/`, is at `target/lab/NAME`.
    pub(crate) fn new(name: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let folder = lab::folder(name)?;
        for part in ["data/groups", "data/profiles"] {
            fs::create_dir_all(folder.join(part))?;
        }
        // A socket's path must be short.
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let sockets = format!("ichor-bench-{}-{count}", std::process::id());
        let sockets = std::env::temp_dir().join(sockets);
        fs::create_dir_all(&sockets)?;
        let switch = Switch::new();
        switch.capture(&folder.join("wire.pcapng"))?;
        Ok(Self {
            switch,
            sockets: Sockets(sockets),
            folder,
        })
    }

    /// Where data, logs and state are.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The data folder.
    pub(crate) fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// A path for a unix socket.
    pub(crate) fn socket(&self, name: &str) -> PathBuf {
        self.sockets.0.join(name)
    }

    /// Settings of a server called `name`, plugged into the switch, with
    /// state of its own. No DHCP unless `dhcp` and `pool` are set.
    pub(crate) fn settings(&mut self, name: &str, address: Ipv4Addr) -> Result<Settings> {
        let socket = self.socket(name);
        self.switch.listen(&socket, name)?;
        Ok(Settings {
            data: self.data(),
            state: self.folder.join(format!("state-{name}")),
            nic: format!("wire:{}", socket.display()),
            address: format!("{address}/24"),
            dhcp: "off".to_owned(),
            pool: None,
            more: Vec::new(),
        })
    }

    /// Starts a server. Its logs go to the folder `name`.
    pub(crate) fn start(&self, name: &str, settings: &Settings) -> Result<Ichor> {
        self.start_as(Command::new(Ichor::program()?), name, settings)
    }

    /// As [`start`](Self::start), by `command`.
    pub(crate) fn start_as(
        &self,
        command: Command,
        name: &str,
        settings: &Settings,
    ) -> Result<Ichor> {
        Ichor::start(command, settings, &self.logs(name)?)
    }

    /// Starts a server and waits until it serves.
    pub(crate) fn serve(&self, name: &str, settings: &Settings) -> Result<Ichor> {
        let ichor = self.start(name, settings)?;
        wait_for_line(&ichor, "serving on")?;
        Ok(ichor)
    }

    /// Runs `ichor` with these arguments, which must make it end by itself:
    /// its exit code and what it said.
    pub(crate) fn run(&self, arguments: &[&str]) -> Result<(i32, String)> {
        let mut command = Command::new(Ichor::program()?);
        command.args(arguments);
        self.run_command(command)
    }

    /// As [`run`](Self::run), by a whole command.
    pub(crate) fn run_command(&self, command: Command) -> Result<(i32, String)> {
        end_of(&mut Ichor::run(command, &self.logs("run")?)?)
    }

    fn logs(&self, name: &str) -> Result<PathBuf> {
        let folder = self.folder.join(name);
        fs::create_dir_all(&folder)?;
        Ok(folder)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        println!("logs and capture: {}", self.folder.display());
    }
}

/// A folder for sockets, and only as long as they are needed.
struct Sockets(PathBuf);

impl Drop for Sockets {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Waits for the end of a server: its exit code and what it said.
pub(crate) fn end_of(ichor: &mut Ichor) -> Result<(i32, String)> {
    let status = ichor.wait_for_end(SOON)?;
    let lines = ichor.log().lines();
    let said: Vec<String> = lines.into_iter().map(|line| line.text).collect();
    let said = said.join("\n");
    let code = status.code();
    let code = code.with_context(|| format!("ichor ended by a signal ({status}): {said}"))?;
    Ok((code, said))
}

/// Waits for a line of the log that contains `text`, also among those that were.
pub(crate) fn wait_for_line(ichor: &Ichor, text: &str) -> Result<String> {
    let found = ichor.log().find(0, SOON, |line| {
        line.text.contains(text).then(|| line.text.clone())
    });
    let (line, _) =
        found.with_context(|| format!("no line with {text:?} came:\n{}", ichor.log().tail(20)))?;
    Ok(line)
}
