//! The model of the LAN9514, proven: Linux' own driver binds to it and moves traffic.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ichor_lab::checksum::sha256;
use ichor_lab::initrd::{self, Recipe};
use ichor_lab::lab::{Lab, SERVER};
use ichor_lab::lan95xx::{Adapter, Fault, FrameError, Options};
use ichor_lab::qemu::Turn;
use ichor_lab::raspi::{Attach, Kernel, Parts, Raspi};
use ichor_lab::tools::{Asset, Set, Tools};
use ichor_lab::usbredir::Status;

#[path = "lan95xx/station.rs"]
mod station;

mod raw;

use station::Station;

const STATION: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
/// An emulated boot takes 20 s on an idle machine.
const BOOT: Duration = Duration::from_secs(180);
/// A round takes 10 s on an idle machine.
const ROUND: Duration = Duration::from_secs(180);
/// What Linux needs for the controller, the chip and its PHY.
const MODULES: [&str; 5] = ["phy_generic", "dwc2", "smsc", "smsc95xx", "af_packet"];
const DOWNLOAD: usize = 5 * 1024 * 1024;

/// The Linux in the machine, as its console tells of it.
struct Linux {
    machine: Raspi,
    read: usize,
}

impl Linux {
    /// Waits for a line that says `what`, and gives the rest of it.
    fn expect(&mut self, what: &str, patience: Duration) -> Result<String> {
        let prefix = format!("lan: {what}");
        let found = self.machine.console()?.find(self.read, patience, |line| {
            line.text.strip_prefix(&prefix).map(str::to_owned)
        });
        let (rest, next) = found
            .with_context(|| format!("no `{prefix}`: {}", self.machine.last_words(patience)))?;
        self.read = next;
        Ok(rest.trim().to_owned())
    }
}

#[test]
fn linux_drives_the_model() -> Result<()> {
    let tools = Tools::with(&[Set::Boot, Set::Images, Set::PiLinux])?;
    let mut lab = Lab::new("lan95xx-linux", 0)?;
    let blob: Vec<u8> = (0..DOWNLOAD as u32)
        .map(|n| (n.wrapping_mul(n) >> 7) as u8)
        .collect();
    lab.data().write("assets/blob", &blob)?;
    lab.serve()?;
    let station = Station::new(lab.switch(), STATION);

    let socket = std::env::temp_dir().join(format!("ichor-{}-lan95xx", std::process::id()));
    let adapter = Adapter::new(lab.switch(), "adapter", &socket, Options::default())?;
    let initrd = lab.folder().join("initrd.gz");
    let recipe = Recipe {
        modules_of: Asset::PiModules,
        modules: &MODULES,
        init: include_bytes!("lan95xx/init.sh"),
        applets: &["dd", "ping", "readlink"],
    };
    std::fs::write(&initrd, initrd::build_by(&tools, &recipe)?)?;
    let arguments = format!(
        "console=ttyAMA0 console=ttyAMA1 maxcpus=1 \
         lan.get=http://{SERVER}:8080/assets/blob lan.ping={SERVER} lan.put={STATION}"
    );
    let machine = Raspi::power_on(
        &tools,
        &Parts {
            name: "pi",
            kernel: Kernel::Linux {
                image: &tools.file(Asset::PiKernel)?,
                device_tree: &tools.file(Asset::Pi3DeviceTree)?,
                initrd: &initrd,
                arguments: &arguments,
            },
            card: None,
            attach: Attach::Redir(&socket),
            folder: lab.folder(),
        },
        Some(Turn::wait()?),
    )?;
    let mut linux = Linux { machine, read: 0 };

    let bound = linux.expect("driver", BOOT)?;
    let mac = bound.strip_prefix("smsc95xx mac ");
    let mac = mac.with_context(|| format!("the driver is {bound}"))?;
    let uploaded = linux.expect("upload", ROUND)?;
    assert_eq!(sum_of(&blob)?.len(), uploaded.len());
    let ours: Vec<String> = adapter.mac().iter().map(|b| format!("{b:02x}")).collect();
    assert_eq!(ours.join(":"), mac, "the address in the chip's registers");

    // As it is.
    a_round(&mut linux, &station, 1, &blob, &uploaded)?;
    // The cable is pulled and put back, twice; then nothing is as it should be.
    another_cable(&mut linux, &adapter, 1)?;
    a_round(&mut linux, &station, 2, &blob, &uploaded)?;
    another_cable(&mut linux, &adapter, 2)?;
    adapter.inject([
        Fault::SlowMii(20),
        Fault::Frame(FrameError::Crc),
        Fault::LoseBurst,
        Fault::Frame(FrameError::TooLong),
        Fault::CutBurst(70),
        Fault::Claims(9000),
        Fault::BulkIn(Status::Stall),
        Fault::BulkOut(Status::Stall),
    ]);
    a_round(&mut linux, &station, 3, &blob, &uploaded)?;
    assert_eq!(adapter.faults_left(), 0, "all faults have hit");

    let counters = adapter.counters();
    println!("{counters:?}");
    assert_eq!(adapter.violations(), [], "what the driver did wrong");
    assert_eq!(adapter.usb().fault(), None);
    assert_eq!(station.damaged(), 0, "datagrams with a wrong checksum");
    assert!(counters.rx_most > 1, "several frames in a burst");
    assert!(counters.tx_checksums > 0, "checksums by the chip");
    let console = linux.machine.console()?.lines();
    let complaints: Vec<_> = console
        .iter()
        .filter(|line| line.text.starts_with("lan: kernel:"))
        .collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    Ok(())
}

/// Link, lease, download, ping, upload.
fn a_round(
    linux: &mut Linux,
    station: &Station,
    number: u32,
    blob: &[u8],
    uploaded: &str,
) -> Result<()> {
    let begun = Instant::now();
    let line = |what: &str| format!("round {number}: {what}");
    linux.expect(&line("link"), ROUND)?;
    let address = linux.expect(&line("address"), ROUND)?;
    ensure!(address.starts_with("192.0.2."), "address {address}");
    let got = linux.expect(&line("got"), ROUND)?;
    let (sum, times) = got.split_once(' ').context("a sum and times")?;
    assert_eq!(sum, sum_of(blob)?, "the download of round {number}");
    println!("round {number}: {} bytes down {times}", blob.len());
    for size in [1, 56, 471, 1472] {
        let answers = linux.expect(&line(&format!("ping {size}")), ROUND)?;
        let expected = if number == 3 { "23" } else { "3" };
        ensure!(expected.contains(&answers), "pings of {size}: {answers}");
    }
    let times = linux.expect(&line("put"), ROUND)?;
    let file = station.file(&format!("upload-{number}"));
    let file = file.context("nothing was uploaded")?;
    assert_eq!(sum_of(&file)?, uploaded, "the upload of round {number}");
    println!("round {number}: {} bytes up {times}", file.len());
    let errors = linux.expect(&line("errors"), ROUND)?;
    println!("round {number}: errors {errors}");
    if number < 3 {
        let all_zero = errors.split(' ').all(|counter| counter.ends_with("=0"));
        ensure!(all_zero, "errors in round {number}: {errors}");
    }
    linux.expect(&line("done"), ROUND)?;
    println!("round {number} took {:.1} s", begun.elapsed().as_secs_f64());
    Ok(())
}

/// Pulls the cable, waits until Linux has noticed, and puts it back.
fn another_cable(linux: &mut Linux, adapter: &Adapter, round: u32) -> Result<()> {
    adapter.plug_cable(false);
    assert_eq!(adapter.link(), None);
    linux.expect(&format!("round {round}: link lost"), ROUND)?;
    adapter.plug_cable(true);
    Ok(())
}

fn sum_of(bytes: &[u8]) -> Result<String> {
    Ok(sha256(bytes)?)
}
