//! Power-on to init of one machine, from ichor and from dnsmasq with nginx.
//!
//! Both serve the same files to the same machine over the same wire: a bridge
//! between a namespace's `eth0` and the machine's TAP. Each boot has namespaces
//! and leases of its own.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use ichor_lab::bridge::Bridge;
use ichor_lab::clients::Clients;
use ichor_lab::console::Console;
use ichor_lab::data::{DataFolder, Node};
use ichor_lab::ichor::{Ichor, Settings};
use ichor_lab::lab::{self, POOL, SERVER};
use ichor_lab::netns::{self, Netns};
use ichor_lab::node;
use ichor_lab::peers::Peers;
use ichor_lab::qemu::{Disk, Machine, Parts, Turn, Via};
use ichor_lab::site::CLIENT;
use ichor_lab::tools::{Set, Tools};

use super::load::{self, Load};
use super::summary::{median, ratios, spread};
use crate::steps::succeed;
use crate::{cargo, workspace};

/// How to measure.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many pairs of boots: one from ichor, one from the peers.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u8).range(1..=50))]
    pub runs: u8,
    /// Let neither server look whether an address is in use before it offers it.
    #[arg(long)]
    pub no_probe: bool,
}

/// How long one boot may take.
const PATIENCE: Duration = Duration::from_secs(180);
/// How long to wait for a quiet machine before each boot.
const QUIET_WITHIN: Duration = Duration::from_secs(60);
/// More processors at work than the machine and its server take, about one
/// together: something else ran.
const DISTURBED: f64 = 1.25;
/// How often a boot is taken before a disturbed one counts.
const ATTEMPTS: u8 = 3;
const MAC: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contender {
    Ichor,
    Peers,
}

impl Contender {
    const BOTH: [Self; 2] = [Self::Ichor, Self::Peers];

    const fn name(self) -> &'static str {
        match self {
            Self::Ichor => "ichor",
            Self::Peers => "dnsmasq+nginx",
        }
    }
}

/// How far the machine has come, and the text on its console that tells. The
/// server tells of the first: the firmware is silent until it has an address.
const STAGES: [(&str, &str); 11] = [
    ("firmware asks (DHCP)", ""),
    ("it has an address (DHCP)", "Station IP address is"),
    ("it has iPXE (TFTP)", "NBP file downloaded"),
    ("iPXE started", "Press Ctrl-B"),
    ("iPXE has an address (DHCP)", "Configuring (net0"),
    ("script (HTTP)", "boot.ipxe : "),
    ("kernel (HTTP)", "vmlinuz..."),
    ("initrd (HTTP)", "initramfs..."),
    ("Linux started", "Booting Linux on"),
    ("init", INIT),
    ("up (DHCP, config by HTTP)", "ichor-node: up"),
];
const INIT: &str = "Run /init as init process";

/// One boot: seconds from power-on to each stage.
#[derive(Debug)]
struct Boot {
    reached: [f64; STAGES.len()],
    /// Processors at work before it and during it.
    busy: (f64, f64),
}

impl Boot {
    fn to_init(&self) -> f64 {
        let init = STAGES.iter().position(|(_, text)| *text == INIT);
        init.map_or(0.0, |init| self.reached[init])
    }

    fn to_up(&self) -> f64 {
        self.reached[STAGES.len() - 1]
    }

    /// Seconds that each stage took.
    fn took(&self, stage: usize) -> f64 {
        let before = stage.checked_sub(1).map_or(0.0, |last| self.reached[last]);
        self.reached[stage] - before
    }
}

/// Measures and prints.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        netns::permitted(),
        "bench boot needs root: it makes network namespaces and a TAP in them"
    );
    succeed(cargo().args([
        "build",
        "--quiet",
        "--release",
        "--package",
        "ichor-bastion",
    ]))?;
    let bench = Bench::new(options)?;
    println!("{}", bench.conditions()?);
    let mut boots: [Vec<Boot>; 2] = Default::default();
    for pair in 1..=options.runs {
        for (contender, boots) in Contender::BOTH.into_iter().zip(&mut boots) {
            boots.push(bench.undisturbed(contender, pair)?);
        }
    }
    println!("\n{}\n{}", stages(&boots), totals(&boots));
    println!("Consoles and logs are in {}", bench.folder.display());
    Ok(())
}

/// What all boots share.
struct Bench {
    tools: Tools,
    folder: PathBuf,
    node: Node,
    data: DataFolder,
    ichor: PathBuf,
    probe: bool,
}

/// A server at work; dropping it ends it.
enum Server {
    Ichor(Ichor),
    Peers(Peers),
}

impl Server {
    /// Where it tells of a DHCPDISCOVER when it comes in, and what it says then.
    fn discovers(&self) -> (&Console, &'static str) {
        match self {
            Self::Ichor(ichor) => (ichor.journal(), r#""stage":"discover""#),
            // Before it looks for an address, which is when it names the message.
            Self::Peers(peers) => (peers.dnsmasq().log(), "available DHCP"),
        }
    }

    fn last_words(&self) -> String {
        match self {
            Self::Ichor(ichor) => ichor.log().tail(15),
            Self::Peers(peers) => peers.last_words(),
        }
    }
}

impl Bench {
    fn new(options: &Options) -> Result<Self> {
        let tools = Tools::with(&[Set::Boot, Set::Images, Set::Clients, Set::Peers])?;
        let folder = lab::folder("bench-boot")?;
        let node = Node {
            mac: "52:54:00:00:00:01".to_owned(),
            hostname: lab::node_name(1),
        };
        let nodes = [node.clone()];
        let data = DataFolder::build(&folder.join("data"), &tools, SERVER, &nodes)?;
        let ichor = workspace().join("target/release/ichor");
        Ok(Self {
            tools,
            folder,
            node,
            data,
            ichor,
            probe: !options.no_probe,
        })
    }

    /// Boots the machine, again if other work of this computer came between.
    fn undisturbed(&self, contender: Contender, pair: u8) -> Result<Boot> {
        let mut attempt = 1;
        loop {
            let boot = self
                .boot(contender, pair)
                .with_context(|| format!("boot {pair} from {}", contender.name()))?;
            let again = boot.busy.1 > DISTURBED && attempt < ATTEMPTS;
            println!(
                "pair {pair}  {:14} init {:6.2} s  up {:6.2} s  processors at work: {:.2} before, {:.2} meanwhile{}",
                contender.name(),
                boot.to_init(),
                boot.to_up(),
                boot.busy.0,
                boot.busy.1,
                if again {
                    ": disturbed, taken again"
                } else {
                    ""
                },
            );
            if !again {
                return Ok(boot);
            }
            attempt += 1;
        }
    }

    /// Boots the machine once.
    fn boot(&self, contender: Contender, pair: u8) -> Result<Boot> {
        let folder = self.folder.join(format!("{pair}-{}", contender.name()));
        let server_side = Netns::create(&self.tools, "server")?;
        let client_side = Netns::create(&self.tools, "client")?;
        let bridge = Bridge::join(&self.tools, &[&server_side, &client_side])?;
        client_side.address(CLIENT, 24)?;
        let clients = Clients::new(&client_side, &folder.join("client"))?;
        let server = self.serve(contender, &server_side, &clients, &folder)?;

        // In this order, so as to keep no machine of others waiting meanwhile.
        let busy_before = load::wait_for_quiet(QUIET_WITHIN)?;
        let _turn = Turn::alone()?;
        let load = Load::now()?;
        let parts = Parts {
            name: &self.node.hostname,
            mac: MAC,
            via: Via::Pxe,
            wire: bridge.wire(),
            folder: &folder,
            disk: Disk::Absent,
        };
        let machine = Machine::power_on(&self.tools, &parts, None)?;
        node::report(&machine, 0, PATIENCE).with_context(|| server.last_words())?;
        let busy_meanwhile = Load::now()?.processors_since(load);

        Ok(Boot {
            reached: reached(&machine, &server)?,
            busy: (busy_before, busy_meanwhile),
        })
    }

    /// Starts a server and waits until it answers HTTP.
    fn serve(
        &self,
        contender: Contender,
        netns: &Netns,
        clients: &Clients<'_>,
        folder: &std::path::Path,
    ) -> Result<Server> {
        let script = format!("http://{SERVER}:8080/boot.ipxe");
        let answers = || {
            let response = clients.curl(&script, &["--max-time", "1"]);
            response.is_ok_and(|response| response.status == 200)
        };
        if contender == Contender::Ichor {
            let settings = Settings {
                data: self.data.path().to_owned(),
                state: folder.join("state"),
                nic: "packet:eth0".to_owned(),
                address: format!("{SERVER}/24"),
                dhcp: "server".to_owned(),
                pool: Some(POOL.to_owned()),
                more: if self.probe {
                    Vec::new()
                } else {
                    vec!["--probe-ms".to_owned(), "0".to_owned()]
                },
            };
            let command = netns.enter(&Command::new(&self.ichor))?;
            let mut ichor = Ichor::start(command, &settings, folder)?;
            ichor.wait_until("answer HTTP", answers)?;
            return Ok(Server::Ichor(ichor));
        }
        netns.address(SERVER, 24)?;
        let served = (&self.data, &self.node);
        let mut peers = Peers::start(&self.tools, netns, served, folder, self.probe)?;
        let deadline = Instant::now() + Duration::from_secs(10);
        while !answers() {
            ensure!(
                peers.are_running() && Instant::now() < deadline,
                "dnsmasq and nginx do not serve:\n{}",
                peers.last_words()
            );
        }
        Ok(Server::Peers(peers))
    }

    /// What was measured, on what, and with what.
    fn conditions(&self) -> Result<String> {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let cpuinfo = read("/proc/cpuinfo");
        let model = cpuinfo
            .lines()
            .find_map(|line| line.strip_prefix("model name")?.split_once(": "))
            .map_or("unknown processor", |(_, model)| model);
        let processors = std::thread::available_parallelism()?;
        let linux = read("/proc/sys/kernel/osrelease");
        let ichor = version(Command::new(&self.ichor).arg("--version"))?;
        let qemu = self.version("qemu-system-aarch64", "--version")?;
        let dnsmasq = self.version("dnsmasq", "--version")?;
        let nginx = self.version("nginx", "-v")?;
        let probe = if self.probe {
            "as by default: ichor asks by ARP, dnsmasq by ping"
        } else {
            "not at all"
        };
        Ok(format!(
            "{processors} × {model}, Linux {}\n{qemu}: arm64 emulated, cortex-a57, 512 MB, virtio-net on a TAP\n\
             {ichor} (release) against {dnsmasq} and {nginx}\n\
             before its first offer an address is probed {probe}\n",
            linux.trim()
        ))
    }

    fn version(&self, program: &str, flag: &str) -> Result<String> {
        version(self.tools.command(program)?.arg(flag))
    }
}

/// The first line that a program says of itself, without its copyright.
fn version(command: &mut Command) -> Result<String> {
    let output = command.output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let line = text.lines().next().unwrap_or_default();
    let line = line.split("Copyright").next().unwrap_or_default();
    Ok(line.replace("version: nginx/", "").trim().to_owned())
}

/// Seconds from power-on to each stage.
fn reached(machine: &Machine, server: &Server) -> Result<[f64; STAGES.len()]> {
    let power_on = machine.powered_on();
    let (log, says) = server.discovers();
    let asked = log
        .lines()
        .iter()
        .find(|line| line.text.contains(says))
        .map(|line| log.start() + line.at)
        .context("the server tells of no DHCPDISCOVER")?;
    let console = machine.console();
    let lines = console.lines();
    let mut reached = [0.0; STAGES.len()];
    for (reached, (stage, text)) in reached.iter_mut().zip(STAGES) {
        let at = if text.is_empty() {
            asked
        } else {
            let line = lines.iter().find(|line| line.text.contains(text));
            let line = line.with_context(|| format!("no sign of stage `{stage}`: {text}"))?;
            console.start() + line.at
        };
        *reached = at.saturating_duration_since(power_on).as_secs_f64();
    }
    Ok(reached)
}

/// Medians of what each stage took.
fn stages(boots: &[Vec<Boot>; 2]) -> String {
    let [ours, theirs] = Contender::BOTH.map(Contender::name);
    let mut table = format!(
        "{:28}{ours:>14}{theirs:>16}{:>12}\n",
        "seconds until, median", "difference"
    );
    for (stage, (name, _)) in STAGES.iter().enumerate() {
        let [ours, theirs] = [&boots[0], &boots[1]].map(|boots| {
            let took: Vec<f64> = boots.iter().map(|boot| boot.took(stage)).collect();
            median(&took)
        });
        let difference = ours - theirs;
        // Writing to a String cannot fail.
        let _ = writeln!(table, "{name:28}{ours:14.2}{theirs:16.2}{difference:+12.2}");
    }
    table
}

/// Medians, spreads and ratios of the whole.
fn totals(boots: &[Vec<Boot>; 2]) -> String {
    let mut table = format!(
        "{:16}{:16}{:>8}{:>18}\n",
        "from power-on", "", "median", "least–greatest"
    );
    for (name, measure) in [
        ("to init", Boot::to_init as fn(&Boot) -> f64),
        ("to up", Boot::to_up),
    ] {
        let values = [&boots[0], &boots[1]].map(|boots| boots.iter().map(measure).collect());
        let [ours, theirs]: [Vec<f64>; 2] = values;
        for (contender, values) in Contender::BOTH.into_iter().zip([&ours, &theirs]) {
            let (least, greatest) = spread(values);
            let _ = writeln!(
                table,
                "{name:16}{:16}{:8.2}{:>18}",
                contender.name(),
                median(values),
                format!("{least:.2}–{greatest:.2}")
            );
        }
        let ratios = ratios(&ours, &theirs);
        let each: Vec<String> = ratios.iter().map(|ratio| format!("{ratio:.3}")).collect();
        let _ = writeln!(
            table,
            "{name:16}{:16}{:8.3}  by pair: {}",
            "ratio",
            median(&ratios),
            each.join(" ")
        );
    }
    table
}
