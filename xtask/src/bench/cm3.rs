//! The CM3's firmware beside Debian's kernel on the same emulated Raspberry Pi
//! with the same USB adapter: how soon it is on the network, and how fast it is there.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ichor_lab::browser::fetch;
use ichor_lab::cm3::{self, Board, Built};
use ichor_lab::initrd::{self, Recipe};
use ichor_lab::lab::{Lab, SERVER};
use ichor_lab::offer::{first_discover, first_offer};
use ichor_lab::raspi::{Attach, Kernel, Parts, Raspi};
use ichor_lab::switch::Port;
use ichor_lab::tools::{Asset, Set, Tools};

use super::row::{Bench, Needs, Rig, Row, Sample, Unit};
use crate::build;

const ICHOR: &str = "ichor";
const LINUX: &str = "Linux";

/// Rows of the board that is emulated.
pub(super) static ROWS: &[Row] = &[
    row(
        "cm3-first-offer",
        "CM3 in QEMU, power-on to network: ichor's first OFFER, Linux' first DISCOVER",
        Unit::SECONDS,
        |bench| Cm3::set_up(bench, Work::Network, Place::RootPort),
    ),
    row(
        "cm3-http",
        "CM3 in QEMU, 1 MiB by HTTP: ichor serves it from RAM, Linux fetches it (wget)",
        Unit::MB_PER_SECOND,
        |bench| Cm3::set_up(bench, Work::Download, Place::RootPort),
    ),
    row(
        "cm3-http-hub",
        "the same, with the adapter behind QEMU's full-speed hub",
        Unit::MB_PER_SECOND,
        |bench| Cm3::set_up(bench, Work::Download, Place::BehindHub),
    ),
];

const fn row(
    name: &'static str,
    about: &'static str,
    unit: Unit,
    set_up: fn(&Bench) -> Result<Box<dyn Rig>>,
) -> Row {
    Row {
        name,
        about,
        unit,
        per: "",
        contenders: &[ICHOR, LINUX],
        bars: &[],
        needs: Needs {
            root: false,
            sets: &[Set::Boot, Set::Images, Set::PiLinux],
            programs: &["qemu-system-aarch64"],
            slow: true,
            once: false,
        },
        set_up,
    }
}

/// How long a boot or a download may take.
const PATIENCE: Duration = Duration::from_secs(180);
const ADAPTER: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];
const CLIENT: ([u8; 6], Ipv4Addr) = ([0x02, 0, 0, 0, 0xB, 1], Ipv4Addr::new(192, 0, 2, 200));
/// What is downloaded, in bytes. Linux takes seconds for it.
const DOWNLOAD: usize = 1024 * 1024;
const FILE: &str = "assets/bench.bin";
/// What Linux needs for the controller and the adapter.
const MODULES: [&str; 5] = ["phy_generic", "dwc2", "usbnet", "cdc_ether", "af_packet"];

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Work {
    /// Seconds from power-on to the network.
    Network,
    /// Megabytes per second of one download by HTTP.
    Download,
}

/// Where the adapter is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    RootPort,
    BehindHub,
}

struct Cm3 {
    tools: Tools,
    /// The `ichor` that Linux fetches from.
    server: PathBuf,
    built: Built,
    work: Work,
    place: Place,
}

impl Cm3 {
    fn set_up(bench: &Bench, work: Work, place: Place) -> Result<Box<dyn Rig>> {
        build::cm3()?;
        Ok(Box::new(Self {
            tools: bench.tools.clone(),
            server: bench.ichor.clone(),
            built: cm3::built()?,
            work,
            place,
        }))
    }

    fn attach<'a>(&self, wire: &'a Path) -> Attach<'a> {
        Attach::UsbNet {
            wire,
            mac: ADAPTER,
            port1: self.place == Place::RootPort,
        }
    }

    /// The firmware serves; a client on the switch asks and downloads.
    fn ichor(&self) -> Result<f64> {
        let lab = Lab::new("bench-cm3-ichor", 0)?.quiet();
        lab.data().write("ichor.toml", cm3::SETTINGS)?;
        lab.data().write(FILE, content())?;
        let card = cm3::card(&self.built, lab.data().path(), lab.folder())?;
        let wire = lab.server_wire();
        let attach = self.attach(&wire);
        let port = lab.switch().port("client");
        let mut board =
            Board::power_on(lab.tools(), &self.built, Some(&card), attach, lab.folder())?;
        let powered_on = board.raspi().powered_on()?;
        let network = first_offer(&port, CLIENT.0, powered_on, PATIENCE)?;
        if self.work == Work::Network {
            return Ok(network.as_secs_f64());
        }
        board.wait_for("serving on", PATIENCE)?;
        // Once from the card, and then as it is usually served: from RAM.
        download(&port)?;
        Ok(megabytes_per_second(download(&port)?))
    }

    /// Linux is a client; ichor as a process serves it.
    fn linux(&self) -> Result<f64> {
        let lab = Lab::new("bench-cm3-linux", 1)?.quiet();
        let mut lab = lab.with_program(&self.server);
        lab.data().write(FILE, content())?;
        lab.serve()?;
        let port = lab.switch().port("watcher");
        let wire = lab.machine_wire(1);
        let machine = self.power_on_linux(&lab, self.attach(&wire))?;
        let network = first_discover(&port, ADAPTER, machine.powered_on()?, PATIENCE)?;
        if self.work == Work::Network {
            return Ok(network.as_secs_f64());
        }
        let at = |what: &str| -> Result<Duration> {
            let found = machine.console()?.find(0, PATIENCE, |line| {
                (line.text.trim_end() == what).then_some(line.at)
            });
            let (at, _) =
                found.with_context(|| format!("no `{what}`: {}", machine.last_words(PATIENCE)))?;
            Ok(at)
        };
        let took = at("bench: end")?.saturating_sub(at("bench: begin")?);
        Ok(megabytes_per_second(took))
    }

    fn power_on_linux(&self, lab: &Lab, attach: Attach<'_>) -> Result<Raspi> {
        let initrd = lab.folder().join("initrd.gz");
        let recipe = Recipe {
            modules_of: Asset::PiModules,
            modules: &MODULES,
            init: include_bytes!("cm3.sh"),
            applets: &[],
        };
        fs::write(&initrd, initrd::build_by(&self.tools, &recipe)?)?;
        let arguments = format!(
            "console=ttyAMA0 console=ttyAMA1 quiet maxcpus=1 \
             bench.get=http://{SERVER}:8080/{FILE}"
        );
        let parts = Parts {
            name: "linux",
            kernel: Kernel::Linux {
                image: &self.tools.file(Asset::PiKernel)?,
                device_tree: &self.tools.file(Asset::Pi3DeviceTree)?,
                initrd: &initrd,
                arguments: &arguments,
            },
            card: None,
            attach,
            folder: lab.folder(),
        };
        Raspi::power_on(&self.tools, &parts, None)
    }
}

impl Rig for Cm3 {
    fn take(&mut self, contender: &str, _run: u32) -> Result<Sample> {
        let value = match contender {
            ICHOR => self.ichor()?,
            _ => self.linux()?,
        };
        Ok(Sample::of(value))
    }
}

/// Fetches the file from the board; how long it took.
fn download(port: &Port) -> Result<Duration> {
    let begun = Instant::now();
    let got = fetch(port, CLIENT, (SERVER, FILE), PATIENCE, |_| Ok(()))?;
    let took = begun.elapsed();
    ensure!(got == content(), "the download differs from the file");
    Ok(took)
}

fn content() -> Vec<u8> {
    (0..DOWNLOAD as u32)
        .map(|n| (n.wrapping_mul(n) >> 9) as u8)
        .collect()
}

fn megabytes_per_second(took: Duration) -> f64 {
    DOWNLOAD as f64 / took.as_secs_f64() / 1e6
}
