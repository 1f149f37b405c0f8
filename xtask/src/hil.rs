//! `cargo xtask hil`: one suite against a real board, or against the same firmware in QEMU.

use std::fmt;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use clap::{Args, ValueEnum};
use ichor_lab::hil::{
    self, Bench, Emulated, EmulatedParts, Facts, Nic, Plan, Power, Real, RealParts, Report, Stop,
    Usb,
};
use ichor_lab::lab;
use ichor_lab::netns;
use ichor_lab::tools::{Set, Tools};

use crate::steps::succeed;
use crate::workspace;

/// Real benches: how long a board may take from power-on to its first OFFER.
const BOOT: Duration = Duration::from_secs(60);

/// What to try, and where the board is.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The board.
    #[arg(long, value_enum, default_value_t = Board::Cm3)]
    board: Board,
    /// Write what the suite needs into the board's data folder, and do nothing
    /// else: do this first, then put the folder onto the card.
    #[arg(long, value_name = "DIR")]
    prepare: Option<PathBuf>,
    /// Try the firmware in QEMU and not a real board.
    #[arg(long, conflicts_with_all = ["nic", "address", "port", "power_cmd", "power_on_cmd"])]
    r#virtual: bool,
    /// With --virtual: the program, instead of building it.
    #[arg(long, value_name = "FILE", requires = "virtual")]
    kernel: Option<PathBuf>,
    /// With --virtual: QEMU's network adapter behind a hub, not in the root port.
    #[arg(long, requires = "virtual")]
    behind_hub: bool,
    /// The network card of this machine on the board's LAN (Ethernet, not Wi-Fi).
    #[arg(long, value_name = "IFACE")]
    nic: Option<String>,
    /// The board's address; without it the first DHCP server that answers is it.
    #[arg(long, value_name = "A.B.C.D")]
    address: Option<Ipv4Addr>,
    /// The addresses that the board hands out, to check the leases by.
    #[arg(long, value_name = "FIRST-LAST", value_parser = hil::parse_pool)]
    pool: Option<(Ipv4Addr, Ipv4Addr)>,
    /// The board's port for HTTP.
    #[arg(long, value_name = "PORT", default_value_t = 8080)]
    http_port: u16,
    /// The serial port at the board's console.
    #[arg(long, value_name = "TTY")]
    port: Option<PathBuf>,
    /// Its speed in bits per second.
    #[arg(long, value_name = "BAUD", default_value_t = 115_200)]
    baud: u32,
    /// A shell command that switches the board's power: {on|off} in it, or a
    /// word after it, becomes `on` or `off`.
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["power_on_cmd", "power_off_cmd"])]
    power_cmd: Option<String>,
    /// A shell command that switches it on, where there are two.
    #[arg(long, value_name = "COMMAND", requires = "power_off_cmd")]
    power_on_cmd: Option<String>,
    /// A shell command that switches it off.
    #[arg(long, value_name = "COMMAND", requires = "power_on_cmd")]
    power_off_cmd: Option<String>,
    /// How often to cut the power right after an ACK.
    #[arg(long, value_name = "N", default_value_t = 3)]
    cuts: u16,
    /// Go on in the end for as long as this: 90s, 30m, 1h.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    soak: Option<Duration>,
    /// Nobody is there to pull the cable.
    #[arg(long)]
    unattended: bool,
    /// How to print the result; progress goes to standard error.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

/// A board that the suite is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Board {
    /// The Raspberry Pi CM3.
    Cm3,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    /// A table for people.
    Text,
    /// One JSON object for programs.
    Json,
}

impl fmt::Display for Board {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cm3 => "cm3",
        })
    }
}

/// Prepares a folder, or runs the suite.
pub(crate) fn run(options: &Options) -> Result<()> {
    if let Some(folder) = &options.prepare {
        return prepare(folder.clone());
    }
    ensure!(
        netns::permitted(),
        "the clients need a network namespace, which only root can make: use sudo"
    );
    let stop = Stop::default();
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop.0)).context("cannot catch signals")?;
    }
    // Of its own for each, so that both may run at the same time.
    let folder = lab::folder(match (options.r#virtual, options.behind_hub) {
        (false, _) => "hil",
        (true, false) => "hil-virtual",
        (true, true) => "hil-virtual-hub",
    })?;
    let mut bench = bench(options, &folder)?;
    let plan = Plan {
        cuts: options.cuts,
        soak: options.soak,
        boot: BOOT,
        folder: folder.join("clients"),
    };
    let outcome = hil::run(bench.as_mut(), &plan, &stop, &mut |line| {
        eprintln!("{line}");
    });
    // Before anything is told: what was made for the run must be gone by then.
    drop(bench);
    let report = outcome?;
    print(&report, options.output);
    eprintln!("xtask: logs are in {}", folder.display());
    match (report.stopped, report.is_good()) {
        (true, _) => bail!("stopped before the end"),
        (_, false) => bail!("{} is not as it should be", report.board),
        _ => Ok(()),
    }
}

fn prepare(folder: PathBuf) -> Result<()> {
    let prepared = hil::prepare(&folder)?;
    for path in &prepared.written {
        println!("{}", path.display());
    }
    if !prepared.has_settings {
        println!(
            "{} has no ichor.toml: the board needs one with `address`, `dhcp = \"server\"` and `pool`",
            folder.display()
        );
    }
    Ok(())
}

fn print(report: &Report, output: Output) {
    match output {
        Output::Text => print!("\n{}", report.table()),
        Output::Json => println!("{}", report.json()),
    }
}

fn bench(options: &Options, folder: &Path) -> Result<Box<dyn Bench>> {
    if options.r#virtual {
        return emulated(options, folder);
    }
    let nic = options.nic.as_deref().context(
        "say which network card of this machine is on the board's LAN (--nic eth0), or --virtual",
    )?;
    let tools = Tools::with(&[Set::Clients])?;
    let power = match (&options.power_on_cmd, &options.power_off_cmd) {
        (Some(on), Some(off)) => Some(Power {
            on: on.clone(),
            off: off.clone(),
        }),
        _ => options.power_cmd.as_deref().map(Power::from_one),
    };
    let real = Real::new(
        &tools,
        RealParts {
            nic: Nic {
                name: nic,
                within: None,
            },
            facts: Facts {
                name: format!("{} at {nic}", options.board),
                address: options.address,
                pool: options.pool,
                router: None,
                http_port: options.http_port,
                banner: "ichor",
            },
            port: options.port.as_deref().map(|port| (port, options.baud)),
            power,
            attended: !options.unattended,
            folder,
        },
    )?;
    Ok(Box::new(real))
}

/// Builds the program and a card for it, and puts both into QEMU.
fn emulated(options: &Options, folder: &Path) -> Result<Box<dyn Bench>> {
    let tools = Tools::with(&[Set::Clients, Set::Boot])?;
    let data = folder.join("data");
    hil::fill_data(&data)?;
    let kernel = match &options.kernel {
        Some(kernel) => kernel.clone(),
        None => {
            task(|task| task.args(["build", "--board", "cm3"]))?;
            workspace().join("target/cm3/kernel8.img")
        }
    };
    let card = folder.join("new-card.img");
    task(|task| {
        task.arg("image").arg("--data").arg(&data);
        task.arg("--kernel").arg(&kernel).arg("--out").arg(&card)
    })?;
    let usb = if options.behind_hub {
        Usb::Hub
    } else {
        Usb::Port
    };
    let emulated = Emulated::new(
        &tools,
        &EmulatedParts {
            kernel: &kernel,
            card: &card,
            usb,
            folder,
        },
    )?;
    Ok(Box::new(emulated))
}

/// Runs another task of ours. What it prints is progress here, and goes to
/// standard error.
fn task(arguments: impl FnOnce(&mut Command) -> &mut Command) -> Result<()> {
    let this = std::env::current_exe().context("cannot tell where this program is")?;
    let mut command = Command::new(this);
    command.stdout(Stdio::from(std::io::stderr()));
    succeed(arguments(&mut command))
}

/// Reads `90s`, `30m` or `1h`.
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || "expected a time such as 90s, 30m or 1h".to_owned();
    let unit = text.chars().last().ok_or_else(wrong)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3600,
        _ => return Err(wrong()),
    };
    let number: u64 = text[..text.len() - 1].parse().map_err(|_| wrong())?;
    let seconds = number.checked_mul(seconds).filter(|seconds| *seconds > 0);
    seconds.map(Duration::from_secs).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        for (text, want) in [
            ("90s", Some(90)),
            ("30m", Some(1800)),
            ("1h", Some(3600)),
            ("0s", None),
            ("90", None),
            ("h", None),
            ("", None),
            ("1d", None),
            ("-1s", None),
            ("9999999999999999999h", None),
            ("1µ", None),
        ] {
            let got = duration(text).ok().map(|time| time.as_secs());
            assert_eq!(got, want, "{text:?}");
        }
    }
}
