//! The CM3's firmware beside Debian's kernel on the same emulated Raspberry Pi
//! with the same USB adapter: how soon it is on the network, and how fast it is there.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use ichor_lab::browser::fetch;
use ichor_lab::cm3::{self, Board, Built};
use ichor_lab::initrd::{self, Recipe};
use ichor_lab::lab::{Lab, SERVER};
use ichor_lab::offer::{first_discover, first_offer};
use ichor_lab::raspi::{Attach, Kernel, Parts, Raspi};
use ichor_lab::tools::{Asset, Set, Tools};

use super::summary::{median, ratios, spread};
use crate::build;
use crate::cargo;
use crate::steps::succeed;

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many pairs of runs: one of ichor, one of Linux.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
    pub runs: u8,
    /// Put QEMU's full-speed hub between the board and its adapter.
    #[arg(long)]
    pub behind_hub: bool,
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

/// One run of either.
#[derive(Debug, Clone, Copy)]
struct Run {
    /// Seconds from power-on to the network: ichor's first OFFER, Linux' first
    /// DISCOVER.
    network: f64,
    /// Megabytes per second of one download by HTTP.
    speed: f64,
}

/// Measures in pairs and prints medians and ratios.
pub(crate) fn run(options: &Options) -> Result<()> {
    build::cm3()?;
    succeed(cargo().args(["build", "--quiet", "--package", "ichor-bastion"]))?;
    let built = cm3::built()?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for number in 1..=options.runs {
        let run = ichor(&built, !options.behind_hub)?;
        tell(number, "ichor", run);
        ours.push(run);
        let run = linux(!options.behind_hub)?;
        tell(number, "Linux", run);
        theirs.push(run);
    }
    println!(
        "\nQEMU raspi3b, usb-net {}; medians, least–greatest; ratio pair by pair",
        if options.behind_hub {
            "behind a hub"
        } else {
            "in the root port"
        }
    );
    let network = |run: &Run| run.network;
    let speed = |run: &Run| run.speed;
    row("power-on to network", "s", &ours, &theirs, network);
    row("HTTP download", "MB/s", &ours, &theirs, speed);
    println!(
        "network: ichor answers its first DISCOVER with an OFFER; Linux sends its own first DISCOVER"
    );
    println!("download of {DOWNLOAD} bytes: ichor serves it from RAM; Linux fetches it (wget)");
    Ok(())
}

fn tell(number: u8, who: &str, run: Run) {
    println!(
        "pair {number}  {who:5}  network {:6.2} s  download {:6.3} MB/s",
        run.network, run.speed
    );
}

fn row(what: &str, unit: &str, ours: &[Run], theirs: &[Run], of: impl Fn(&Run) -> f64) {
    let values = |runs: &[Run]| runs.iter().map(&of).collect::<Vec<f64>>();
    let (ours, theirs) = (values(ours), values(theirs));
    let text = |values: &[f64]| {
        let (least, greatest) = spread(values);
        format!("{:.2} ({least:.2}–{greatest:.2})", median(values))
    };
    println!(
        "{what:20}  ichor {} {unit}  Linux {} {unit}  ratio {:.2}",
        text(&ours),
        text(&theirs),
        median(&ratios(&ours, &theirs))
    );
}

/// The firmware serves; a client on the switch asks and downloads.
fn ichor(built: &Built, port1: bool) -> Result<Run> {
    let lab = Lab::new("bench-cm3-ichor", 0)?.quiet();
    lab.data().write("ichor.toml", cm3::SETTINGS)?;
    lab.data().write(FILE, content())?;
    let card = cm3::card(built, lab.data().path(), lab.folder())?;
    let wire = lab.server_wire();
    let attach = Attach::UsbNet {
        wire: &wire,
        mac: ADAPTER,
        port1,
    };
    let port = lab.switch().port("client");
    let mut board = Board::power_on(lab.tools(), built, Some(&card), attach, lab.folder())?;
    let powered_on = board.raspi().powered_on()?;
    let network = first_offer(&port, CLIENT.0, powered_on, PATIENCE)?;
    board.wait_for("serving on", PATIENCE)?;
    // Once from the card, and then as it is usually served: from RAM.
    let mut took = Duration::ZERO;
    for _ in 0..2 {
        let begun = std::time::Instant::now();
        let got = fetch(&port, CLIENT, (SERVER, FILE), PATIENCE, |_| Ok(()))?;
        took = begun.elapsed();
        ensure!(got == content(), "the download differs from the file");
    }
    Ok(Run {
        network: network.as_secs_f64(),
        speed: megabytes_per_second(took),
    })
}

/// Linux is a client; ichor as a process serves it.
fn linux(port1: bool) -> Result<Run> {
    let tools = Tools::with(&[Set::Boot, Set::Images, Set::PiLinux])?;
    let mut lab = Lab::new("bench-cm3-linux", 1)?.quiet();
    lab.data().write(FILE, content())?;
    lab.serve()?;
    let initrd = lab.folder().join("initrd.gz");
    let recipe = Recipe {
        modules_of: Asset::PiModules,
        modules: &MODULES,
        init: include_bytes!("cm3.sh"),
        applets: &[],
    };
    fs::write(&initrd, initrd::build_by(&tools, &recipe)?)?;
    let port = lab.switch().port("watcher");
    let wire = lab.machine_wire(1);
    let machine = power_on_linux(&tools, &lab, &initrd, &wire, port1)?;
    let network = first_discover(&port, ADAPTER, machine.powered_on()?, PATIENCE)?;
    let at = |what: &str| -> Result<Duration> {
        let found = machine.console()?.find(0, PATIENCE, |line| {
            (line.text.trim_end() == what).then_some(line.at)
        });
        let (at, _) =
            found.with_context(|| format!("no `{what}`: {}", machine.last_words(PATIENCE)))?;
        Ok(at)
    };
    let took = at("bench: end")?.saturating_sub(at("bench: begin")?);
    Ok(Run {
        network: network.as_secs_f64(),
        speed: megabytes_per_second(took),
    })
}

fn power_on_linux(
    tools: &Tools,
    lab: &Lab,
    initrd: &Path,
    wire: &Path,
    port1: bool,
) -> Result<Raspi> {
    let arguments = format!(
        "console=ttyAMA0 console=ttyAMA1 quiet maxcpus=1 \
         bench.get=http://{SERVER}:8080/{FILE}"
    );
    let parts = Parts {
        name: "linux",
        kernel: Kernel::Linux {
            image: &tools.file(Asset::PiKernel)?,
            device_tree: &tools.file(Asset::Pi3DeviceTree)?,
            initrd,
            arguments: &arguments,
        },
        card: None,
        attach: Attach::UsbNet {
            wire,
            mac: ADAPTER,
            port1,
        },
        folder: lab.folder(),
    };
    Raspi::power_on(tools, &parts, None)
}

fn content() -> Vec<u8> {
    (0..DOWNLOAD as u32)
        .map(|n| (n.wrapping_mul(n) >> 9) as u8)
        .collect()
}

fn megabytes_per_second(took: Duration) -> f64 {
    DOWNLOAD as f64 / took.as_secs_f64() / 1e6
}
