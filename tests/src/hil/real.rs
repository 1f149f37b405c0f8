//! A board on the desk: its LAN is behind a network card of this machine.

use std::fs::File;
use std::io::{self, BufRead as _, IsTerminal as _, Write as _};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::bench::{Bench, Facts, Missing, Stop};
use crate::console::Console;
use crate::netns::Netns;
use crate::tools::Tools;

/// How long a board stays without power: its capacitors keep it alive a while.
const OFF: Duration = Duration::from_secs(2);
/// How long a command that switches the power may take.
const SWITCHING: Duration = Duration::from_secs(60);

/// The network card that is on the board's LAN.
#[derive(Debug, Clone, Copy)]
pub struct Nic<'a> {
    /// Its name. It must carry addresses other than its own, as Ethernet does
    /// and Wi-Fi does not.
    pub name: &'a str,
    /// The namespace that it is in, if it is not this process' own.
    pub within: Option<&'a Netns>,
}

/// Shell commands that switch the board's power.
#[derive(Debug, Clone)]
pub struct Power {
    /// Switches it on.
    pub on: String,
    /// Switches it off.
    pub off: String,
}

/// What a bench with a real board is made of.
#[derive(Debug)]
pub struct RealParts<'a> {
    /// The card on the board's LAN.
    pub nic: Nic<'a>,
    /// What is known of the board.
    pub facts: Facts,
    /// The serial port at the board's console, and its speed in bits per second.
    pub port: Option<(&'a Path, u32)>,
    /// How to switch its power.
    pub power: Option<Power>,
    /// Whether somebody is there who can pull a cable.
    pub attended: bool,
    /// Where logs go.
    pub folder: &'a Path,
}

/// A board on the desk.
#[derive(Debug)]
pub struct Real {
    lan: Arc<Netns>,
    facts: Facts,
    console: Option<Console>,
    /// Lines of the console that are older than the last power-on.
    old_lines: usize,
    power: Option<Power>,
    cut_at: Option<Instant>,
    attended: bool,
    folder: PathBuf,
}

impl Real {
    /// Makes the namespace with an `eth0` on the LAN, and opens the console.
    ///
    /// The `eth0` is a macvlan: the LAN sees another machine, and neither the
    /// card's own addresses nor its traffic change.
    ///
    /// # Errors
    /// The card or the serial port is not there, or this is not root.
    pub fn new(tools: &Tools, parts: RealParts<'_>) -> Result<Self> {
        let lan = Netns::create(tools, "hil")?;
        join(tools, &lan, parts.nic)?;
        let console = parts.port.map(|(port, speed)| {
            let opened = open_serial(port, speed);
            let output = opened.with_context(|| format!("cannot open {}", port.display()))?;
            let log = parts.folder.join("console.log");
            Console::record(output, &log).with_context(|| format!("cannot write {}", log.display()))
        });
        Ok(Self {
            lan: Arc::new(lan),
            facts: parts.facts,
            console: console.transpose()?,
            old_lines: 0,
            power: parts.power,
            cut_at: None,
            attended: parts.attended,
            folder: parts.folder.to_owned(),
        })
    }

    /// Runs a command that switches the power.
    fn switch(&self, command: &str) -> Result<()> {
        let log = self.folder.join("power.log");
        let output =
            File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let mut process = Command::new("sh")
            .args(["-c", command])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("cannot run sh")?;
        let begun = Instant::now();
        let status = loop {
            if let Some(status) = process.try_wait()? {
                break status;
            }
            if begun.elapsed() > SWITCHING {
                let _ = process.kill();
                let _ = process.wait();
                bail!("`{command}` takes longer than {} s", SWITCHING.as_secs());
            }
            thread::sleep(Duration::from_millis(5));
        };
        let said = || std::fs::read_to_string(&log).unwrap_or_default();
        ensure!(status.success(), "`{command}`: {status}: {}", said().trim());
        Ok(())
    }

    fn power(&self) -> Result<&Power> {
        self.power.as_ref().context("nothing switches the power")
    }
}

impl Bench for Real {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn lan(&self) -> Arc<Netns> {
        Arc::clone(&self.lan)
    }

    fn no_power(&self) -> Option<Missing> {
        let missing = "nothing switches the board's power: --power-cmd 'COMMAND {on|off}'";
        self.power.is_none().then(|| Missing(missing.to_owned()))
    }

    fn power_on(&mut self) -> Result<Instant> {
        if let Some(cut_at) = self.cut_at {
            thread::sleep(OFF.saturating_sub(cut_at.elapsed()));
        }
        if let Some(console) = &self.console {
            self.old_lines = console.lines().len();
        }
        let on = self.power()?.on.clone();
        let begun = Instant::now();
        self.switch(&on)?;
        Ok(begun)
    }

    fn power_cut(&mut self) -> Result<()> {
        let off = self.power()?.off.clone();
        self.switch(&off)?;
        self.cut_at = Some(Instant::now());
        Ok(())
    }

    fn console(&self) -> Option<(&Console, usize)> {
        let console = self.console.as_ref()?;
        Some((console, self.old_lines))
    }

    fn plug(&mut self, in_place: bool, stop: &Stop) -> Result<Result<(), Missing>> {
        let missing = |why: &str| Ok(Err(Missing(format!("{why}, so nobody pulls the cable"))));
        if !self.attended {
            return missing("--unattended");
        }
        if !io::stdin().is_terminal() {
            return missing("standard input is no terminal");
        }
        ask(
            if in_place {
                "Put the board's network cable back, then press Enter: "
            } else {
                "Pull the board's network cable, then press Enter: "
            },
            stop,
        )?;
        Ok(Ok(()))
    }
}

/// Gives `lan` an `eth0` on the LAN of `nic`.
fn join(tools: &Tools, lan: &Netns, nic: Nic<'_>) -> Result<()> {
    let mut ip = tools.command("ip")?;
    if let Some(within) = nic.within {
        ip.args(["-n", within.name()]);
    }
    ip.args(["link", "add", "link", nic.name, "name", "eth0"])
        .args(["netns", lan.name(), "type", "macvlan", "mode", "bridge"]);
    let output = ip.output().context("cannot run ip")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.success(),
        "no macvlan on {}: {}",
        nic.name,
        said.trim()
    );
    Ok(())
}

/// Asks a person to do something, and waits until it is done.
fn ask(what: &str, stop: &Stop) -> Result<()> {
    eprint!("{what}");
    io::stderr().flush()?;
    let (done, answer) = mpsc::channel();
    // Reading a terminal cannot be broken off, waiting for a thread can.
    thread::spawn(move || {
        let mut line = String::new();
        let read = io::stdin().lock().read_line(&mut line);
        let _ = done.send(read);
    });
    loop {
        stop.check()?;
        match answer.recv_timeout(Duration::from_millis(100)) {
            Ok(read) => {
                ensure!(read? > 0, "standard input ended");
                return Ok(());
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => bail!("cannot read standard input"),
        }
    }
}

/// Opens a serial port: 8 data bits, no parity, no flow control, nothing changed
/// on the way.
fn open_serial(port: &Path, speed: u32) -> Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;

    use rustix::fs::{OFlags, fcntl_setfl};
    use rustix::termios::{ControlModes, OptionalActions, tcgetattr, tcsetattr};

    // Without waiting for a modem that no board has, and without letting the
    // port become the terminal that sends us signals.
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let file = File::options()
        .read(true)
        .write(true)
        .custom_flags(i32::try_from(flags.bits())?)
        .open(port)?;
    let mut settings = tcgetattr(&file).context("it is no serial port")?;
    settings.make_raw();
    settings.control_modes |= ControlModes::CLOCAL | ControlModes::CREAD;
    settings.control_modes &= !ControlModes::CRTSCTS;
    let cannot = || format!("it cannot do {speed} bits per second");
    settings.set_speed(speed).with_context(cannot)?;
    tcsetattr(&file, OptionalActions::Flush, &settings).with_context(cannot)?;
    fcntl_setfl(&file, OFlags::empty())?;
    Ok(file)
}

/// The address range `FIRST-LAST`.
///
/// # Errors
/// It is none.
pub fn parse_pool(text: &str) -> Result<(Ipv4Addr, Ipv4Addr), String> {
    let ends = text.split_once('-').and_then(|(first, last)| {
        let (first, last) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        (first <= last).then_some((first, last))
    });
    ends.ok_or_else(|| "expected FIRST-LAST, such as 192.168.1.100-192.168.1.199".to_owned())
}

impl Power {
    /// From one command with a place for `on` and `off`: `{on|off}` in it, or
    /// its end.
    #[must_use]
    pub fn from_one(command: &str) -> Self {
        const PLACE: &str = "{on|off}";
        let with = |word: &str| {
            if command.contains(PLACE) {
                command.replace(PLACE, word)
            } else {
                format!("{command} {word}")
            }
        };
        Self {
            on: with("on"),
            off: with("off"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_command_becomes_two() {
        let power = Power::from_one("ssh hub port 3 {on|off} --now");
        assert_eq!(power.on, "ssh hub port 3 on --now");
        assert_eq!(power.off, "ssh hub port 3 off --now");
        assert_eq!(Power::from_one("relay").off, "relay off");
    }

    #[test]
    fn a_pool_has_a_first_and_a_last_address() {
        let pool = parse_pool("192.0.2.10-192.0.2.20").unwrap();
        assert_eq!(pool, ([192, 0, 2, 10].into(), [192, 0, 2, 20].into()));
        for bad in ["", "192.0.2.10", "192.0.2.20-192.0.2.10", "a-b"] {
            assert!(parse_pool(bad).is_err(), "{bad}");
        }
    }
}
