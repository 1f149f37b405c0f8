//! Power-on to init of machines that boot at once, from ichor and from dnsmasq with nginx.
//!
//! Both serve the same files to the same machines over the same wire: a bridge
//! between a namespace's `eth0` and the machines' TAPs. Each boot has namespaces
//! and leases of its own. What counts is the last machine: its owner waits for
//! all of them.

mod stages;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, anyhow, ensure};
use ichor_lab::bridge::Bridge;
use ichor_lab::checksum::sha256;
use ichor_lab::clients::Clients;
use ichor_lab::data::{DataFolder, Node};
use ichor_lab::ichor::{Ichor, Settings};
use ichor_lab::lab::{self, POOL, SERVER};
use ichor_lab::netns::Netns;
use ichor_lab::node;
use ichor_lab::peers::Peers;
use ichor_lab::qemu::{Disk, Machine, Parts, Turn, Via};
use ichor_lab::site::CLIENT;
use ichor_lab::tools::{Set, Tools};
use ichor_lab::usage::{Memory, processor_time};

use self::stages::{Boot, Span, asked_dnsmasq, asked_ichor, table};
use super::load::{self, Load};
use super::row::{Bar, Bench, Cpu, Needs, Of, Rig, Row, Sample, Unit};

const ICHOR: &str = "ichor";
const PEERS: &str = "dnsmasq+nginx";

/// Rows of machines that boot at once.
pub(super) static ROWS: &[Row] = &[
    row(
        "boot-1",
        "power-on to init of one arm64 machine: UEFI PXE, iPXE, HTTP",
        &[],
        |bench| Boots::set_up(bench, ("boot-1", 1), true),
    ),
    row(
        "boot-1-no-probe",
        "the same, while nobody looks whether an address is in use before it is offered",
        &[],
        |bench| Boots::set_up(bench, ("boot-1-no-probe", 1), false),
    ),
    row(
        "boot-2",
        "power-on to init of two machines at once, until the last is there",
        &[],
        |bench| Boots::set_up(bench, ("boot-2", 2), true),
    ),
    row(
        "boot-4",
        "power-on to init of four machines at once, until the last is there",
        &[Bar::at_most(Of::Ratio(PEERS), 1.0)],
        |bench| Boots::set_up(bench, ("boot-4", 4), true),
    ),
];

const fn row(
    name: &'static str,
    about: &'static str,
    bars: &'static [Bar],
    set_up: fn(&Bench) -> Result<Box<dyn Rig>>,
) -> Row {
    Row {
        name,
        about,
        unit: Unit::SECONDS,
        per: "machine",
        contenders: &[ICHOR, PEERS],
        bars,
        needs: Needs {
            root: true,
            sets: &[Set::Boot, Set::Images, Set::Clients, Set::Peers],
            programs: &["qemu-system-aarch64", "dnsmasq", "nginx"],
            slow: true,
            once: false,
        },
        set_up,
    }
}

/// How long a boot may take, on a computer that is busy with four of them.
const PATIENCE: Duration = Duration::from_secs(300);
/// How long to wait for a quiet machine before each boot.
const QUIET_WITHIN: Duration = Duration::from_secs(60);
/// More processors at work for others than the kernel takes for the wire: the
/// boot was disturbed.
const DISTURBED: f64 = 0.25;
/// How often a boot is taken before a disturbed one counts.
const ATTEMPTS: u8 = 3;

/// What all boots of a row share.
struct Boots {
    tools: Tools,
    ichor: PathBuf,
    folder: PathBuf,
    nodes: Vec<Node>,
    data: DataFolder,
    probe: bool,
    quick: bool,
    /// The machines that ichor booted, and those that the peers did.
    taken: [Vec<Boot>; 2],
}

/// Machines that booted at once.
struct Together {
    boots: Vec<Boot>,
    /// Processors at work for others meanwhile.
    others: f64,
    cpu: Cpu,
    peak_memory: u64,
}

impl Boots {
    fn set_up(bench: &Bench, (name, count): (&str, u8), probe: bool) -> Result<Box<dyn Rig>> {
        let folder = bench.folder.join(name);
        let nodes = lab::nodes(count);
        let data = DataFolder::build(&folder.join("data"), &bench.tools, SERVER, &nodes)?;
        Ok(Box::new(Self {
            tools: bench.tools.clone(),
            ichor: bench.ichor.clone(),
            folder,
            nodes,
            data,
            probe,
            quick: bench.quick,
            taken: Default::default(),
        }))
    }

    /// Boots the machines once.
    fn boot(&self, contender: &str, folder: &Path) -> Result<Together> {
        let server_side = Netns::create(&self.tools, "server")?;
        let client_side = Netns::create(&self.tools, "client")?;
        let count = self.nodes.len() as u8;
        let bridge = Bridge::join(&self.tools, count, &[&server_side, &client_side])?;
        client_side.address(CLIENT, 24)?;
        let clients = Clients::new(&client_side, &folder.join("client"))?;
        let server = self.serve(contender, &server_side, &clients, folder)?;

        // In this order, so as to keep no machine of others waiting meanwhile.
        if !self.quick {
            load::wait_for_quiet(QUIET_WITHIN)?;
        }
        let _turn = Turn::alone()?;
        let (load, begun) = (Load::now()?, Instant::now());
        let before = (
            server.processor_time()?,
            processor_time(std::process::id())?,
        );
        let machines: Vec<Machine> = bridge
            .wires()
            .zip(&self.nodes)
            .zip(1..)
            .map(|((wire, node), number)| {
                let parts = Parts {
                    name: &node.hostname,
                    mac: [0x52, 0x54, 0, 0, 0, number],
                    via: Via::Pxe,
                    wire,
                    folder,
                    disk: Disk::Absent,
                };
                Machine::power_on(&self.tools, &parts, None)
            })
            .collect::<Result<_>>()?;
        let boots: Vec<Result<Boot>> = thread::scope(|scope| {
            let threads: Vec<_> = machines
                .into_iter()
                .zip(&self.nodes)
                .map(|(machine, node)| scope.spawn(|| follow(machine, node, &server)))
                .collect();
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread
                    .join()
                    .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
            };
            threads.into_iter().map(join).collect()
        });
        let boots = boots.into_iter().collect::<Result<_>>();
        let boots = boots.map_err(|error| {
            let last_words = server.last_words();
            anyhow!("{error:#}\nThe server's last words:\n{last_words}")
        })?;

        let seconds = begun.elapsed().as_secs_f64();
        let all = Load::now()?.processors_since(load) * seconds;
        let served = (server.processor_time()? - before.0).as_secs_f64();
        let own = (own_processor_time()? - before.1).as_secs_f64();
        Ok(Together {
            boots,
            others: (all - own) / seconds,
            cpu: Cpu {
                server: served / f64::from(count),
                machine: all / f64::from(count),
            },
            peak_memory: server.peak_memory()?,
        })
    }

    /// Starts a server and waits until it answers HTTP.
    fn serve(
        &self,
        contender: &str,
        netns: &Netns,
        clients: &Clients<'_>,
        folder: &Path,
    ) -> Result<Server> {
        let script = format!("http://{SERVER}:8080/boot.ipxe");
        let answers = || {
            let response = clients.curl(&script, &["--max-time", "1"]);
            response.is_ok_and(|response| response.status == 200)
        };
        if contender == ICHOR {
            let no_probe = ["--probe-ms", "0"].map(str::to_owned).to_vec();
            let settings = Settings {
                data: self.data.path().to_owned(),
                state: folder.join("state"),
                nic: "packet:eth0".to_owned(),
                address: format!("{SERVER}/24"),
                dhcp: "server".to_owned(),
                pool: Some(POOL.to_owned()),
                more: if self.probe { Vec::new() } else { no_probe },
            };
            let command = netns.enter(&Command::new(&self.ichor))?;
            let mut ichor = Ichor::start(command, &settings, folder)?;
            ichor.wait_until("answer HTTP", answers)?;
            return Ok(Server::Ichor(ichor));
        }
        netns.address(SERVER, 24)?;
        let served = (&self.data, &self.nodes[..]);
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
}

impl Rig for Boots {
    /// Boots the machines, again if other work of this computer came between.
    fn take(&mut self, contender: &str, run: u32) -> Result<Sample> {
        let attempts = if self.quick { 1 } else { ATTEMPTS };
        let mut attempt = 1;
        let together = loop {
            let folder = format!("{run}-{contender}");
            let together = self.boot(contender, &self.folder.join(folder))?;
            if together.others <= DISTURBED {
                break together;
            }
            let again = attempt < attempts;
            print!(
                "   {contender} disturbed by {:.2} processors at other work{}",
                together.others,
                if again { ", taken again" } else { ":" }
            );
            let _ = std::io::stdout().flush();
            if !again {
                break together;
            }
            attempt += 1;
        };
        let init = Span::to_init(&together.boots);
        let mut figures = vec![
            ("to up, last", Span::to_up(&together.boots).last),
            ("others' processors", together.others),
        ];
        if self.nodes.len() > 1 {
            figures.insert(0, ("to init, first", init.first));
        }
        self.taken[usize::from(contender != ICHOR)].extend(together.boots);
        Ok(Sample {
            value: init.last,
            cpu: Some(together.cpu),
            peak_memory: Some(together.peak_memory),
            figures,
        })
    }

    fn remarks(&self) -> Option<String> {
        let [ours, theirs] = &self.taken;
        Some(table([ICHOR, PEERS], [ours, theirs]))
    }
}

/// Waits until a machine is up as it should be. Pulls its plug then, so that what
/// it does next keeps no other waiting.
fn follow(machine: Machine, node: &Node, server: &Server) -> Result<Boot> {
    let name = machine.name();
    let report = node::report(&machine, 0, PATIENCE)?;
    let config = sha256(DataFolder::config_of(node).as_bytes())?;
    ensure!(
        report.config == config,
        "{name} got the configuration of another"
    );
    let asked = server.asked(&node.mac);
    let asked = asked.with_context(|| format!("no DHCPDISCOVER of {name} in the server's log"))?;
    Boot::of(&machine, asked)
}

/// Processor time of this process and its children: servers, machines, clients.
fn own_processor_time() -> Result<Duration> {
    processor_time(std::process::id())
}

/// A server at work; dropping it ends it.
enum Server {
    Ichor(Ichor),
    Peers(Peers),
}

impl Server {
    fn pids(&self) -> Vec<u32> {
        match self {
            Self::Ichor(ichor) => vec![ichor.pid()],
            Self::Peers(peers) => peers.pids().to_vec(),
        }
    }

    fn processor_time(&self) -> Result<Duration> {
        self.pids().into_iter().map(processor_time).sum()
    }

    /// The most that it had in memory, in bytes.
    fn peak_memory(&self) -> Result<u64> {
        let peak = |pid| Ok(Memory::of(pid)?.peak);
        self.pids().into_iter().map(peak).sum()
    }

    /// When a machine's first DHCPDISCOVER came in.
    fn asked(&self, mac: &str) -> Option<Instant> {
        let (log, asked) = match self {
            Self::Ichor(ichor) => {
                let log = ichor.journal();
                (log, asked_ichor(&log.lines(), mac))
            }
            Self::Peers(peers) => {
                let log = peers.dnsmasq().log();
                (log, asked_dnsmasq(&log.lines(), mac))
            }
        };
        asked.map(|at| log.start() + at)
    }

    fn last_words(&self) -> String {
        match self {
            Self::Ichor(ichor) => ichor.log().tail(15),
            Self::Peers(peers) => peers.last_words(),
        }
    }
}
