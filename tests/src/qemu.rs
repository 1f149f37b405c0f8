//! arm64 machines in QEMU that boot from the network and know no other one.

use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::console::Console;
use crate::netns::Netns;
use crate::tools::{Asset, Tools};
use crate::uefi_store::{FLASH_LEN, First, variable_store};

/// Machines at work at once, whoever started them: two emulated processors
/// keep two real ones busy.
const MAX_RUNNING: usize = 2;
/// How long a machine waits for others to finish before it gives up.
const MAX_QUEUED: Duration = Duration::from_secs(600);
/// In MiB: enough for kernel, initrd and iPXE's copy of both.
const MEMORY: &str = "512";
/// The network card's place on the PCI bus, named by its boot option.
const NIC_SLOT: u8 = 1;

/// By which way a machine comes to its kernel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// UEFI PXE: DHCP architecture 11, iPXE by TFTP, then HTTP.
    Pxe,
    /// UEFI HTTP Boot: DHCP architecture 19, iPXE by HTTP, then HTTP.
    Http,
    /// U-Boot: DHCP architecture 22, script, kernel and initrd by TFTP.
    Uboot,
    /// iPXE from the machine's own disk, whose script names the server: DHCP
    /// tells an address and no more, as in a cloud.
    Ipxe,
}

impl Via {
    /// Every way.
    pub const ALL: [Self; 4] = [Self::Pxe, Self::Http, Self::Uboot, Self::Ipxe];

    /// The word for it on command lines.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pxe => "pxe",
            Self::Http => "http",
            Self::Uboot => "uboot",
            Self::Ipxe => "ipxe",
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Via {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|via| via.name() == text);
        known.ok_or_else(|| "expected pxe, http, uboot or ipxe".to_owned())
    }
}

/// The other end of a machine's network cable.
#[derive(Debug, Clone, Copy)]
pub enum Wire<'a> {
    /// A socket of the lab's switch.
    Switch(&'a Path),
    /// A TAP by its name, and the namespace that has it: the machine runs there.
    Tap(&'a str, &'a Netns),
}

/// The disk of a machine that boots by [`Via::Ipxe`].
#[derive(Debug, Clone, Copy)]
pub enum Disk<'a> {
    /// None: what else boots, boots from the network.
    Absent,
    /// Made on the spot, with iPXE and a script that asks this URL.
    Script(&'a str),
    /// This raw image, unchanged, as NVMe: as EC2 shows volumes.
    Image(&'a Path),
}

/// What to build a machine from.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    /// Its name in logs, captures and faults.
    pub name: &'a str,
    /// Its network card's address.
    pub mac: [u8; 6],
    /// How it boots.
    pub via: Via,
    /// What its network card is plugged into.
    pub wire: Wire<'a>,
    /// Where its disk and its logs go.
    pub folder: &'a Path,
    /// What it boots from, if not from the network.
    pub disk: Disk<'a>,
}

impl Parts<'_> {
    /// A file of this machine's own.
    fn file(&self, what: &str) -> PathBuf {
        self.folder.join(format!("{}.{what}", self.name))
    }
}

/// A running machine; dropping it pulls the plug.
#[derive(Debug)]
pub struct Machine {
    name: String,
    mac: [u8; 6],
    console: Console,
    log: PathBuf,
    errors: PathBuf,
    powered_on: Instant,
    qemu: Child,
    /// Its variable store, which is large and of no further use.
    store: Option<PathBuf>,
    _turn: Option<Turn>,
}

impl Machine {
    /// Builds a machine and powers it on. It keeps `turn` as long as it runs.
    pub fn power_on(tools: &Tools, parts: &Parts<'_>, turn: Option<Turn>) -> Result<Self> {
        let mut command = tools.command("qemu-system-aarch64")?;
        board(&mut command, parts);
        let store = firmware(&mut command, tools, parts)?;
        match parts.disk {
            Disk::Absent => {}
            Disk::Script(url) => script_disk(&mut command, tools, parts, url)?,
            Disk::Image(image) => image_disk(&mut command, image),
        }
        if let Wire::Tap(_, netns) = parts.wire {
            command = netns.enter(&command)?;
        }

        let errors = parts.file("qemu.log");
        let mut qemu = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors)?)
            .spawn()
            .context("cannot start qemu-system-aarch64")?;
        let log = parts.file("console.log");
        let output = qemu.stdout.take().context("QEMU has no output")?;
        let console = Console::record(output, &log)?;
        Ok(Self {
            name: parts.name.to_owned(),
            mac: parts.mac,
            console,
            log,
            errors,
            powered_on: Instant::now(),
            qemu,
            store,
            _turn: turn,
        })
    }

    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its network card's address, as ichor's journal writes it.
    pub fn mac(&self) -> String {
        MacText(self.mac).to_string()
    }

    /// What its serial line said.
    pub fn console(&self) -> &Console {
        &self.console
    }

    /// When it was powered on.
    pub fn powered_on(&self) -> Instant {
        self.powered_on
    }

    /// Why it is not where it should be after `timeout`: the end of its
    /// console, and where the rest is.
    pub fn last_words(&self, timeout: Duration) -> String {
        last_words(&self.console, &self.log, &self.errors, timeout)
    }
}

/// Why a machine is not where it should be after `timeout`: what QEMU wrote to
/// `errors`, the end of its console, and where the rest is.
pub(crate) fn last_words(
    console: &Console,
    log: &Path,
    errors: &Path,
    timeout: Duration,
) -> String {
    let how = if console.has_ended() {
        // Empty, unless QEMU itself had something to say.
        let qemu = fs::read_to_string(errors).unwrap_or_default();
        format!("it powered off {}", qemu.trim())
    } else {
        format!("not within {} s", timeout.as_secs())
    };
    let (log, tail) = (log.display(), console.tail(25));
    format!("{how}. Its console, whole in {log}:\n{tail}")
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
        if let Some(store) = &self.store {
            let _ = fs::remove_file(store);
        }
    }
}

/// One of two places for running machines, shared by all tests of all
/// processes: an exclusive lock on a file, which ends with its holder.
#[derive(Debug)]
pub struct Turn {
    _lock: File,
}

impl Turn {
    /// Waits until a place is free.
    pub fn wait() -> Result<Self> {
        Self::wait_for_one_of(0..MAX_RUNNING)
    }

    /// Waits until no other machine runs, and takes every place.
    pub fn alone() -> Result<Vec<Self>> {
        // In order: two who want to be alone must not wait for each other.
        (0..MAX_RUNNING)
            .map(|place| Self::wait_for_one_of(place..place + 1))
            .collect()
    }

    fn wait_for_one_of(places: Range<usize>) -> Result<Self> {
        let deadline = Instant::now() + MAX_QUEUED;
        let folder = std::env::temp_dir();
        loop {
            for place in places.clone() {
                let path = folder.join(format!("ichor-lab-machine-{place}.lock"));
                let lock = File::options()
                    .create(true)
                    .truncate(false)
                    .write(true)
                    .open(&path)
                    .with_context(|| format!("cannot open {}", path.display()))?;
                if lock.try_lock().is_ok() {
                    return Ok(Self { _lock: lock });
                }
            }
            if Instant::now() > deadline {
                bail!("other machines have been running for {MAX_QUEUED:?}");
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// Processor, memory, serial line, random numbers and the one network card.
fn board(command: &mut Command, parts: &Parts<'_>) {
    let netdev = match parts.wire {
        Wire::Switch(socket) => {
            let path = socket.display();
            format!("stream,id=wire,server=off,addr.type=unix,addr.path={path}")
        }
        Wire::Tap(name, _) => format!("tap,id=wire,ifname={name},script=no,downscript=no"),
    };
    // No option ROM: PXE is the firmware's own, as on real boards. No legacy
    // interface: there U-Boot misreads the card's address.
    let mac = MacText(parts.mac);
    let card =
        format!("virtio-net-pci,netdev=wire,mac={mac},addr={NIC_SLOT},disable-legacy=on,romfile=");
    command
        .args([
            "-nodefaults",
            "-no-user-config",
            "-no-reboot",
            "-display",
            "none",
        ])
        .args([
            "-machine",
            "virt",
            "-cpu",
            "cortex-a57",
            "-smp",
            "1",
            "-m",
            MEMORY,
        ])
        .args(["-serial", "stdio", "-netdev", &netdev, "-device", &card])
        .args(["-device", "virtio-rng-pci"]);
}

/// The firmware, and the variable store if it has one.
fn firmware(command: &mut Command, tools: &Tools, parts: &Parts<'_>) -> Result<Option<PathBuf>> {
    let first = match parts.via {
        Via::Uboot => {
            command.arg("-bios").arg(tools.file(Asset::UBoot)?);
            return Ok(None);
        }
        Via::Http => First::Http,
        Via::Pxe | Via::Ipxe => First::Pxe,
    };
    let store = parts.file("vars");
    write_flash(&store, &variable_store(first, parts.mac, NIC_SLOT))?;
    let code = tools.file(Asset::UefiCode)?;
    let flash = |file: &Path, read_only: &str| {
        let file = file.display();
        format!("if=pflash,format=raw,readonly={read_only},file={file}")
    };
    command
        .args([
            "-drive",
            &flash(&code, "on"),
            "-drive",
            &flash(&store, "off"),
        ])
        // No waiting for somebody to press a key.
        .args(["-boot", "menu=on,splash-time=0"]);
    Ok(Some(store))
}

/// An EFI system partition with iPXE and its script: a folder that QEMU shows
/// as a FAT disk.
fn script_disk(command: &mut Command, tools: &Tools, parts: &Parts<'_>, url: &str) -> Result<()> {
    let folder = parts.file("disk");
    let boot = folder.join("EFI/BOOT");
    let script = format!("#!ipxe\ndhcp\nchain {url}\n");
    let ipxe = tools.file(Asset::IpxeArm64)?;
    fs::create_dir_all(&boot)
        .and_then(|()| fs::copy(ipxe, boot.join("BOOTAA64.EFI")))
        .and_then(|_| fs::write(folder.join("autoexec.ipxe"), script))
        .with_context(|| format!("cannot fill {}", folder.display()))?;
    let drive = format!(
        "if=none,id=disk,format=raw,readonly=on,file=fat:{}",
        folder.display()
    );
    command.args([
        "-drive",
        &drive,
        "-device",
        "virtio-blk-pci,drive=disk,bootindex=0",
    ]);
    Ok(())
}

/// The image on NVMe, before everything else that could be booted.
fn image_disk(command: &mut Command, image: &Path) {
    let image = image.display();
    let drive = format!("if=none,id=disk,format=raw,readonly=on,file={image}");
    let device = "nvme,drive=disk,serial=vol0123456789abcdef0,bootindex=0";
    command.args(["-drive", &drive, "-device", device]);
}

/// Writes what stands at the beginning of a flash; the rest takes no disk space.
fn write_flash(path: &Path, content: &[u8]) -> Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.write_all(content)?;
        file.set_len(FLASH_LEN)
    };
    write().with_context(|| format!("cannot write {}", path.display()))
}

/// An Ethernet address as `52:54:00:00:00:01`.
pub(crate) struct MacText(pub [u8; 6]);

impl fmt::Display for MacText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
