//! A board in QEMU: `raspi3b` with its firmware, its card, and a USB network adapter on a TAP.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::bench::{Bench, Facts, Missing, Stop};
use super::content::prepare;
use crate::console::Console;
use crate::lab::SERVER;
use crate::netns::Netns;
use crate::qemu::Turn;
use crate::tools::Tools;

/// The addresses that the board hands out.
const POOL: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(192, 0, 2, 50), Ipv4Addr::new(192, 0, 2, 99));
/// The router that it tells.
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
/// The adapter's address, in QEMU's own range.
const ADAPTER: &str = "52:54:00:68:69:6c";
/// How long QEMU's monitor may take to answer.
const MONITOR: Duration = Duration::from_secs(5);
/// What the monitor says when it is ready for a command.
const PROMPT: &[u8] = b"(qemu) ";

/// Where the adapter is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usb {
    /// In the only root port.
    Port,
    /// Behind the full-speed hub that QEMU puts between.
    Hub,
}

/// What an emulated board is made of.
#[derive(Debug, Clone, Copy)]
pub struct EmulatedParts<'a> {
    /// Its program, `kernel8.img`.
    pub kernel: &'a Path,
    /// The image of its card, made with what [`fill_data`] writes. It is copied
    /// and not changed.
    pub card: &'a Path,
    /// Where its adapter is.
    pub usb: Usb,
    /// Where its card and its logs go.
    pub folder: &'a Path,
}

/// A board in QEMU, on or off.
#[derive(Debug)]
pub struct Emulated {
    // The machine must end before its namespace does.
    run: Option<Run>,
    lan: Arc<Netns>,
    qemu: Command,
    monitor: PathBuf,
    folder: PathBuf,
    power_ons: u32,
    facts: Facts,
    _turn: Turn,
}

/// The time between power-on and power cut.
#[derive(Debug)]
struct Run {
    qemu: Child,
    console: Console,
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

/// Writes the data folder of an emulated board: what the suite needs, and settings.
///
/// # Errors
/// A file cannot be written.
pub fn fill_data(folder: &Path) -> Result<()> {
    prepare(folder)?;
    let (first, last) = POOL;
    let path = folder.join("ichor.toml");
    let settings = format!(
        "address = \"{SERVER}/24\"\ngateway = \"{ROUTER}\"\ndhcp = \"server\"\n\
         pool = \"{first}-{last}\"\n"
    );
    fs::write(&path, settings).with_context(|| format!("cannot write {}", path.display()))
}

impl Emulated {
    /// A board that is off, on a LAN of its own. It waits for its turn among
    /// emulated machines.
    ///
    /// # Errors
    /// A file is missing, or this is not root.
    pub fn new(tools: &Tools, parts: &EmulatedParts<'_>) -> Result<Self> {
        let card = parts.folder.join("card.img");
        fs::copy(parts.card, &card)
            .with_context(|| format!("cannot copy {}", parts.card.display()))?;
        let lan = Netns::create(tools, "hil")?;
        lan.ip("tuntap add dev eth0 mode tap")?;
        // A socket's path has room for 107 bytes, and a workspace may lie deep.
        let monitor = std::env::temp_dir().join(format!("{}.monitor", lan.name()));
        let mut qemu = tools.command("qemu-system-aarch64")?;
        machine(&mut qemu, parts, &card, &monitor);
        Ok(Self {
            run: None,
            qemu: lan.enter(&qemu)?,
            lan: Arc::new(lan),
            monitor,
            folder: parts.folder.to_owned(),
            power_ons: 0,
            facts: Facts {
                name: match parts.usb {
                    Usb::Port => "cm3 in QEMU, usb-net in the root port",
                    Usb::Hub => "cm3 in QEMU, usb-net behind a hub",
                }
                .to_owned(),
                address: Some(SERVER),
                pool: Some(POOL),
                router: Some(ROUTER),
                http_port: 8080,
                banner: "ichor",
            },
            _turn: Turn::wait()?,
        })
    }

    /// Gives QEMU's monitor a command, and waits until it was carried out.
    fn command(&self, command: &str) -> Result<()> {
        let path = self.monitor.display();
        let cannot = || format!("no answer of QEMU's monitor at {path}");
        let mut stream = UnixStream::connect(&self.monitor).with_context(cannot)?;
        stream.set_read_timeout(Some(MONITOR))?;
        until_prompt(&mut stream).with_context(cannot)?;
        writeln!(stream, "{command}").with_context(cannot)?;
        let said = until_prompt(&mut stream).with_context(cannot)?;
        if said.contains("Error") {
            bail!("QEMU's monitor on `{command}`: {}", said.trim());
        }
        Ok(())
    }
}

impl Drop for Emulated {
    fn drop(&mut self) {
        self.run = None;
        let _ = fs::remove_file(&self.monitor);
    }
}

impl Bench for Emulated {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn lan(&self) -> Arc<Netns> {
        Arc::clone(&self.lan)
    }

    fn no_power(&self) -> Option<Missing> {
        None
    }

    fn power_on(&mut self) -> Result<Instant> {
        self.power_ons += 1;
        let number = self.power_ons;
        let file = |what: &str| self.folder.join(format!("board.{number}.{what}"));
        let on = Instant::now();
        let mut qemu = self
            .qemu
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(file("qemu.log"))?)
            .spawn()
            .context("cannot start qemu-system-aarch64")?;
        let output = qemu.stdout.take().context("QEMU has no output")?;
        let console = Console::record(output, &file("console.log"))?;
        self.run = Some(Run { qemu, console });
        Ok(on)
    }

    fn power_cut(&mut self) -> Result<()> {
        // What the board wrote to its card until now is in the host's memory,
        // which outlives QEMU; what QEMU still held is lost, as in a card.
        self.run = None;
        Ok(())
    }

    fn console(&self) -> Option<(&Console, usize)> {
        self.run.as_ref().map(|run| (&run.console, 0))
    }

    fn plug(&mut self, in_place: bool, _: &Stop) -> Result<Result<(), Missing>> {
        let state = if in_place { "on" } else { "off" };
        self.command(&format!("set_link wire {state}"))?;
        Ok(Ok(()))
    }

    fn last_words(&self) -> String {
        let Some(run) = &self.run else {
            return String::new();
        };
        // Empty, unless QEMU itself had something to say.
        let errors = self
            .folder
            .join(format!("board.{}.qemu.log", self.power_ons));
        let errors = fs::read_to_string(errors).unwrap_or_default();
        errors + &run.console.tail(15)
    }
}

/// The whole command line.
fn machine(qemu: &mut Command, parts: &EmulatedParts<'_>, card: &Path, monitor: &Path) {
    let port = match parts.usb {
        Usb::Port => ",port=1",
        Usb::Hub => "",
    };
    qemu.args(["-nodefaults", "-no-user-config", "-display", "none"])
        .args(["-machine", "raspi3b", "-serial", "stdio", "-kernel"])
        .arg(parts.kernel)
        .arg("-drive")
        .arg(format!("if=sd,format=raw,file={}", card.display()))
        .args(["-netdev", "tap,id=wire,ifname=eth0,script=no,downscript=no"])
        .arg("-device")
        .arg(format!("usb-net,netdev=wire,mac={ADAPTER}{port}"))
        .arg("-monitor")
        .arg(format!("unix:{},server=on,wait=off", monitor.display()));
}

/// Reads what the monitor says up to its prompt.
fn until_prompt(stream: &mut UnixStream) -> Result<String> {
    let mut said = Vec::new();
    let mut buf = [0; 256];
    while !said.ends_with(PROMPT) {
        match stream.read(&mut buf)? {
            0 => bail!("it hung up"),
            n => said.extend_from_slice(&buf[..n]),
        }
    }
    Ok(String::from_utf8_lossy(&said).into_owned())
}
