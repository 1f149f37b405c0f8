//! arm64 machines in QEMU that boot from the network and know no other one.

use std::fmt;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::str::FromStr;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::console::Console;
use crate::tools::{Asset, Tools};
use crate::uefi_store::{FLASH_LEN, First, variable_store};

/// Machines at work at once, whoever started them: two emulated processors
/// keep two real ones busy.
const MAX_RUNNING: usize = 2;
/// How long a machine waits for others to finish before it gives up.
const MAX_QUEUED: Duration = Duration::from_secs(600);
/// Enough for kernel, initrd and iPXE's copy of both.
const MEMORY_MIB: u32 = 512;
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

/// What to build a machine from.
#[derive(Debug, Clone)]
pub struct Parts<'a> {
    /// Its name in logs, captures and faults.
    pub name: &'a str,
    /// Its network card's address.
    pub mac: [u8; 6],
    /// How it boots.
    pub via: Via,
    /// The switch's socket.
    pub wire: &'a Path,
    /// Where its disk and its logs go.
    pub folder: &'a Path,
    /// Where a script on its own disk finds the server ([`Via::Ipxe`]).
    pub script_url: &'a str,
}

/// A running machine; dropping it pulls the plug.
#[derive(Debug)]
pub struct Machine {
    name: String,
    mac: [u8; 6],
    console: Console,
    log: PathBuf,
    powered_on: Instant,
    qemu: Child,
    /// Its variable store, which is large and of no further use.
    store: Option<PathBuf>,
    _turn: Option<Turn>,
}

impl Machine {
    /// Builds a machine and powers it on. It keeps `turn` as long as it runs.
    pub fn power_on(tools: &Tools, parts: &Parts<'_>, turn: Option<Turn>) -> Result<Self> {
        let file = |suffix: &str| parts.folder.join(format!("{}{suffix}", parts.name));
        let mut command = tools.command("qemu-system-aarch64")?;
        command
            .args(["-nodefaults", "-no-user-config", "-display", "none"])
            .args(["-machine", "virt", "-cpu", "cortex-a57", "-smp", "1"])
            .args([
                "-m",
                &MEMORY_MIB.to_string(),
                "-serial",
                "stdio",
                "-no-reboot",
            ])
            // The kernel's random numbers: without them it waits for its own.
            .args(["-device", "virtio-rng-pci,addr=0x7"])
            .args([
                "-netdev",
                &format!(
                    "stream,id=wire,server=off,addr.type=unix,addr.path={}",
                    parts.wire.display()
                ),
            ])
            // No option ROM: PXE is the firmware's own, as on real boards. No
            // legacy interface: U-Boot misreads the card's address there.
            .args([
                "-device",
                &format!(
                    "virtio-net-pci,netdev=wire,mac={},addr={NIC_SLOT:#x},disable-legacy=on,romfile=",
                    MacText(parts.mac)
                ),
            ]);

        let mut store = None;
        match parts.via {
            Via::Uboot => {
                command.arg("-bios").arg(tools.file(Asset::UBoot)?);
            }
            Via::Pxe | Via::Http | Via::Ipxe => {
                let first = match parts.via {
                    Via::Http => First::Http,
                    _ => First::Pxe,
                };
                let path = file(".vars");
                write_flash(&path, &variable_store(first, parts.mac, NIC_SLOT))?;
                command
                    .args(["-drive", &flash(&tools.file(Asset::UefiCode)?, true)])
                    .args(["-drive", &flash(&path, false)])
                    // No waiting for somebody to press a key.
                    .args(["-boot", "menu=on,splash-time=0"]);
                store = Some(path);
            }
        }
        if parts.via == Via::Ipxe {
            let disk = file(".disk");
            ipxe_disk(&disk, &tools.file(Asset::IpxeArm64)?, parts.script_url)?;
            command
                .args([
                    "-drive",
                    &format!(
                        "if=none,id=disk,format=raw,readonly=on,file=fat:{}",
                        disk.display()
                    ),
                ])
                .args(["-device", "virtio-blk-pci,drive=disk,addr=0x2,bootindex=0"]);
        }

        let errors = file(".qemu.log");
        let mut qemu = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&errors)?)
            .spawn()
            .context("cannot start qemu-system-aarch64")?;
        let log = file(".console.log");
        let output = qemu.stdout.take().context("QEMU has no output")?;
        let console = Console::record(output, &log)?;
        Ok(Self {
            name: parts.name.to_owned(),
            mac: parts.mac,
            console,
            log,
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
        let how = if self.console.has_ended() {
            "it powered off".to_owned()
        } else {
            format!("not within {} s", timeout.as_secs())
        };
        let (log, tail) = (self.log.display(), self.console.tail(25));
        format!("{how}. Its console, whole in {log}:\n{tail}")
    }
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
        let deadline = Instant::now() + MAX_QUEUED;
        let folder = std::env::temp_dir();
        loop {
            for place in 0..MAX_RUNNING {
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
                bail!("{MAX_RUNNING} other machines have been running for {MAX_QUEUED:?}");
            }
            thread::sleep(Duration::from_millis(100));
        }
    }
}

/// An EFI system partition, as a folder that QEMU shows as a FAT disk.
fn ipxe_disk(folder: &Path, ipxe: &Path, script_url: &str) -> Result<()> {
    let boot = folder.join("EFI/BOOT");
    fs::create_dir_all(&boot).with_context(|| format!("cannot create {}", boot.display()))?;
    fs::copy(ipxe, boot.join("BOOTAA64.EFI"))
        .with_context(|| format!("cannot copy {}", ipxe.display()))?;
    let script = format!("#!ipxe\ndhcp\nchain {script_url}\n");
    fs::write(folder.join("autoexec.ipxe"), script)?;
    Ok(())
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

fn flash(file: &Path, read_only: bool) -> String {
    let read_only = if read_only { "on" } else { "off" };
    format!(
        "if=pflash,format=raw,readonly={read_only},file={}",
        file.display()
    )
}

/// An Ethernet address as `52:54:00:00:00:01`.
struct MacText([u8; 6]);

impl fmt::Display for MacText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
