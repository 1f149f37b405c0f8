//! The server under test: starts `ichor serve`, reads its journal, ends it.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

use crate::console::Console;
use crate::journal::Event;
use crate::switch::Switch;

/// How long the server may take to come up; it takes milliseconds.
const START: Duration = Duration::from_secs(10);
/// What the readiness probe calls itself: a locally administered address, and
/// one of RFC 5737 that no lab gives away.
const PROBE_MAC: [u8; 6] = [0x02, 0, 0, 0, 0, 0xFE];
const PROBE_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);

/// How to run the server.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data folder.
    pub data: PathBuf,
    /// Where it keeps its leases.
    pub state: PathBuf,
    /// `wire:PATH`, `packet:IFACE` or `tap:NAME`.
    pub nic: String,
    /// Its address with the prefix length, or `host`.
    pub address: String,
    /// `server`, `proxy` or `off`.
    pub dhcp: String,
    /// First and last address to give out, if any.
    pub pool: Option<String>,
    /// Further flags.
    pub more: Vec<String>,
}

impl Settings {
    /// Adds these settings to the command line of an `ichor`, and makes the
    /// folder for its leases.
    pub fn apply(&self, command: &mut Command) -> Result<()> {
        fs::create_dir_all(&self.state)
            .with_context(|| format!("cannot create {}", self.state.display()))?;
        command.args(self.flags());
        Ok(())
    }

    fn flags(&self) -> Vec<String> {
        let mut flags = vec!["serve".to_owned(), "--log".to_owned(), "json".to_owned()];
        let mut flag = |name: &str, value: String| flags.extend([name.to_owned(), value]);
        flag("--data", self.data.display().to_string());
        flag("--state", self.state.display().to_string());
        flag("--nic", self.nic.clone());
        flag("--address", self.address.clone());
        flag("--dhcp", self.dhcp.clone());
        if let Some(pool) = &self.pool {
            flag("--pool", pool.clone());
        }
        flags.extend(self.more.iter().cloned());
        flags
    }
}

/// A running server; dropping it ends it.
#[derive(Debug)]
pub struct Ichor {
    process: Child,
    journal: Console,
    log: Console,
}

impl Ichor {
    /// The program that this workspace builds: `$ICHOR`, or the one beside
    /// the running test or task.
    pub fn program() -> Result<PathBuf> {
        if let Some(given) = std::env::var_os("ICHOR") {
            return Ok(given.into());
        }
        let this = std::env::current_exe().context("cannot tell where this program is")?;
        let found = this
            .ancestors()
            .skip(1)
            .take(2)
            .map(|folder| folder.join("ichor"));
        found
            .into_iter()
            .find(|path| path.is_file())
            .with_context(|| {
                format!(
                    "no `ichor` beside {}: run `cargo build -p ichor-bastion`",
                    this.display()
                )
            })
    }

    /// Starts the server with `command` (which may enter a namespace first).
    /// Its log and its journal go to `folder`.
    pub fn start(mut command: Command, settings: &Settings, folder: &Path) -> Result<Self> {
        settings.apply(&mut command)?;
        Self::run(command, folder)
    }

    /// Starts `command` as it is, with all its arguments.
    pub fn run(mut command: Command, folder: &Path) -> Result<Self> {
        let mut process = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {:?}", command.get_program()))?;
        let stdout = process.stdout.take().context("no output")?;
        let stderr = process.stderr.take().context("no error output")?;
        Ok(Self {
            process,
            journal: Console::record(stdout, &folder.join("ichor.journal"))?,
            log: Console::record(stderr, &folder.join("ichor.log"))?,
        })
    }

    /// Waits until the server answers ARP for `address` on the switch.
    pub fn wait_on_switch(&mut self, switch: &Switch, address: Ipv4Addr) -> Result<()> {
        let port = switch.port("probe");
        let question = arp_request(address);
        self.wait_until("answer ARP", || {
            port.send(&question);
            let wait = Duration::from_millis(100);
            port.find(wait, |frame| is_arp_reply(frame, address).then_some(()))
                .is_some()
        })
    }

    /// Waits until `ready` says so; an end of the process ends the wait.
    pub fn wait_until(&mut self, what: &str, mut ready: impl FnMut() -> bool) -> Result<()> {
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                bail!(
                    "ichor ended ({status}) before it could {what}:\n{}",
                    self.log.tail(20)
                );
            }
            if ready() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        bail!(
            "ichor did not {what} within {START:?}:\n{}",
            self.log.tail(20)
        );
    }

    /// Whether the process is alive.
    pub fn is_running(&mut self) -> bool {
        matches!(self.process.try_wait(), Ok(None))
    }

    /// All events so far.
    pub fn events(&self) -> Vec<Event> {
        let lines = self.journal.lines();
        lines
            .iter()
            .filter_map(|line| Event::parse(&line.text))
            .collect()
    }

    /// The events of one machine, oldest first.
    pub fn events_of(&self, mac: &str) -> Vec<Event> {
        let mut events = self.events();
        events.retain(|event| event.mac.as_deref() == Some(mac));
        events
    }

    /// Waits for an event, also among those that were.
    pub fn wait_for(
        &self,
        timeout: Duration,
        mut wanted: impl FnMut(&Event) -> bool,
    ) -> Option<Event> {
        let found = self.journal.find(0, timeout, |line| {
            Event::parse(&line.text).filter(|event| wanted(event))
        });
        found.map(|(event, _)| event)
    }

    /// What it printed for people.
    pub fn log(&self) -> &Console {
        &self.log
    }

    /// What it printed for programs.
    pub fn journal(&self) -> &Console {
        &self.journal
    }

    /// The process, for signals.
    pub fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Sends the process a signal.
    pub fn signal(&self, signal: Signal) -> Result<()> {
        kill_process(Pid::from_child(&self.process), signal).context("cannot send a signal")
    }

    /// Waits until the process ends by itself. Its log is complete then.
    pub fn wait_for_end(&mut self, timeout: Duration) -> Result<ExitStatus> {
        let deadline = Instant::now() + timeout;
        while Instant::now() < deadline {
            if let Some(status) = self.process.try_wait()? {
                self.log.find(usize::MAX, timeout, |_| None::<()>);
                return Ok(status);
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        bail!(
            "ichor is still there after {timeout:?}:\n{}",
            self.log.tail(20)
        );
    }

    /// Ends it without any warning, as a power cut does (SIGKILL).
    pub fn kill(mut self) -> Result<()> {
        self.process.kill()?;
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Ichor {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Who has `address`?
fn arp_request(address: Ipv4Addr) -> Vec<u8> {
    let mut frame = vec![0xFF; 6];
    frame.extend(PROBE_MAC);
    frame.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    frame.extend(PROBE_MAC);
    frame.extend(PROBE_ADDRESS.octets());
    frame.extend([0; 6]);
    frame.extend(address.octets());
    frame.resize(60, 0);
    frame
}

fn is_arp_reply(frame: &[u8], address: Ipv4Addr) -> bool {
    frame.get(12..14) == Some(&[8, 6])
        && frame.get(20..22) == Some(&[0, 2])
        && frame.get(28..32) == Some(&address.octets())
}
