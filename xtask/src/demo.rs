//! `cargo xtask demo`: boots emulated machines from ichor and shows every step of them.

mod server;

use std::fmt::Write as _;
use std::io::{self, IsTerminal as _, Write as _};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use ichor_lab::journal::Event;
use ichor_lab::lab::Lab;
use ichor_lab::node;
use ichor_lab::qemu::{Machine, Via};

use self::server::{News, Server};
use crate::cargo;
use crate::steps::succeed;

/// What to boot, and how.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Who serves: this machine, or a virtual Raspberry Pi.
    #[arg(long, value_enum, default_value_t = Board::Bastion)]
    pub board: Board,
    /// How many machines to boot; by default 3, or 1 from a Pi.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=50))]
    pub nodes: Option<u8>,
    /// The way the machines' firmware boots: pxe, http, uboot or ipxe.
    #[arg(long, default_value_t = Via::Pxe)]
    pub via: Via,
}

/// Who serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Board {
    /// The `ichor` binary on this machine.
    Bastion,
    /// The CM3's kernel8.img and card, on a Raspberry Pi in QEMU.
    Cm3,
}

/// How long the machines may take for each two of them.
const PATIENCE: Duration = Duration::from_secs(180);
/// How often the picture is drawn anew.
const TICK: Duration = Duration::from_millis(100);
/// Widest line drawn over itself; a wrapped line could not be taken back.
const WIDTH: usize = 79;
/// Stages of the closing table, as the journal calls them. The node itself
/// says the last one.
const STAGES: [&str; 7] = [
    "discover",
    "boot-file",
    "script",
    "kernel",
    "initrd",
    "config",
    "up",
];

/// Runs the demo.
pub(crate) fn run(options: &Options) -> Result<()> {
    // Ctrl-C ends server and machines as well: they are in our process group.
    let nodes = options.nodes.unwrap_or(match options.board {
        Board::Bastion => 3,
        Board::Cm3 => 1,
    });
    if options.board == Board::Bastion {
        succeed(cargo().args(["build", "--quiet", "--package", "ichor-bastion"]))?;
    }
    let mut lab = Lab::new("demo", nodes)?.quiet();
    let (who, mut server) = match options.board {
        Board::Bastion => ("ichor", Server::process(&mut lab)?),
        Board::Cm3 => ("ichor on a virtual Pi", Server::pi(&lab)?),
    };
    println!(
        "{who} serves {} to {nodes} {}, booting by {}",
        lab.data().path().display(),
        if nodes == 1 { "machine" } else { "machines" },
        options.via
    );
    let machines: Result<Vec<Machine>> = (1..=nodes)
        .map(|number| lab.power_on_at_once(number, options.via))
        .collect();
    let mut show = Show::new(machines?, server.powered_on()?);
    let patience = PATIENCE * u32::from(nodes.div_ceil(2));
    let outcome = watch(&mut lab, &mut server, &mut show, patience);
    let folder = lab.folder().display();
    println!("\n{}", show.table());
    println!("Consoles, journal, log and wire.pcapng are in {folder}");
    if let Err(error) = outcome {
        let log = server.last_words(&mut lab)?;
        bail!("{error}\n{}ichor's log ends:\n{log}", show.last_words());
    }
    Ok(())
}

/// Follows server and machines until all are up.
fn watch(lab: &mut Lab, server: &mut Server, show: &mut Show, patience: Duration) -> Result<()> {
    let deadline = Instant::now() + patience;
    loop {
        for news in server.news(lab)? {
            match news {
                News::Own(at, stage, detail) => show.own(at, stage, detail),
                News::Machine(at, event) => show.journal(&event, at),
            }
        }
        show.consoles();
        show.draw();
        if show.nodes.iter().all(Node::is_up) {
            return Ok(());
        }
        if let Some(node) = show.nodes.iter().find(|node| node.has_given_up()) {
            bail!("{} ended before it was up", node.machine.name());
        }
        if Instant::now() > deadline {
            bail!("not all machines are up after {} s", patience.as_secs());
        }
        thread::sleep(TICK);
    }
}

/// One machine and what became of it.
struct Node {
    machine: Machine,
    steps: Vec<Step>,
    /// Lines of its console that were read.
    read: usize,
    failed: bool,
}

/// A machine came this far.
struct Step {
    /// From power-on.
    at: Duration,
    stage: String,
    detail: String,
}

impl Node {
    fn is_up(&self) -> bool {
        self.reached("up").is_some()
    }

    fn has_given_up(&self) -> bool {
        !self.is_up() && (self.failed || self.machine.console().has_ended())
    }

    /// When it first came as far as `stage`.
    fn reached(&self, stage: &str) -> Option<Duration> {
        let step = self.steps.iter().find(|step| step.stage == stage);
        step.map(|step| step.at)
    }

    /// Seconds in each stage, and in all.
    fn row(&self) -> String {
        let mut row = format!("{:8}", self.machine.name());
        let mut before = Duration::ZERO;
        for stage in STAGES {
            // Writing to a String cannot fail.
            let _ = match self.reached(stage) {
                Some(at) => {
                    let took = at.saturating_sub(before);
                    before = at;
                    write!(row, "{:>10.1}", took.as_secs_f64())
                }
                None => write!(row, "{:>10}", "-"),
            };
        }
        let _ = write!(row, "{:>10.1}", before.as_secs_f64());
        row
    }
}

/// A Pi that serves, and how far it came.
struct Pi {
    powered_on: Instant,
    steps: Vec<Step>,
}

impl Pi {
    fn note(&mut self, terminal: bool, at: Instant, stage: String, detail: String) {
        // A link that comes again is told by the log.
        if self.steps.iter().any(|step| step.stage == stage) {
            return;
        }
        let at = at.saturating_duration_since(self.powered_on);
        if !terminal {
            println!("{:7.1} s  {:8} {stage:10} {detail}", at.as_secs_f64(), "pi");
        }
        self.steps.push(Step { at, stage, detail });
    }

    /// Seconds from power-on to each step, in one line.
    fn row(&self) -> String {
        let steps = self.steps.iter();
        let steps: Vec<String> = steps
            .map(|step| format!("{} {:.1} s", step.stage, step.at.as_secs_f64()))
            .collect();
        format!("{:8}power-on → {}", "pi", steps.join(" → "))
    }
}

/// The machines, as a picture in a terminal or as plain lines elsewhere.
struct Show {
    /// The Pi that serves, if one does.
    pi: Option<Pi>,
    nodes: Vec<Node>,
    terminal: bool,
    drawn: bool,
}

impl Show {
    fn new(machines: Vec<Machine>, pi: Option<Instant>) -> Self {
        let nodes = machines.into_iter().map(|machine| Node {
            machine,
            steps: Vec::new(),
            read: 0,
            failed: false,
        });
        Self {
            pi: pi.map(|powered_on| Pi {
                powered_on,
                steps: Vec::new(),
            }),
            nodes: nodes.collect(),
            terminal: io::stdout().is_terminal(),
            drawn: false,
        }
    }

    /// Takes what the Pi tells of itself.
    fn own(&mut self, at: Instant, stage: String, detail: String) {
        if let Some(pi) = &mut self.pi {
            pi.note(self.terminal, at, stage, detail);
        }
    }

    /// Takes an event of the server's journal.
    fn journal(&mut self, event: &Event, at: Instant) {
        if event.stage == "offer" {
            let mac = event.mac.clone().unwrap_or_default();
            self.own(at, "OFFER".to_owned(), format!("to {mac}"));
        }
        let node = self
            .nodes
            .iter_mut()
            .find(|node| event.mac.as_deref() == Some(node.machine.mac().as_str()));
        if let Some(node) = node {
            let at = at.saturating_duration_since(node.machine.powered_on());
            let (stage, detail) = (event.stage.clone(), event.detail.clone());
            note(node, self.terminal, Step { at, stage, detail });
        }
    }

    /// Reads what the machines said since.
    fn consoles(&mut self) {
        for node in &mut self.nodes {
            let lines = node.machine.console().lines_from(node.read);
            node.read += lines.len();
            for line in lines {
                let Some(says) = node::says(&line.text) else {
                    continue;
                };
                let (stage, detail) = if let Some(detail) = says.strip_prefix("up ") {
                    ("up", detail)
                } else if let Some(detail) = says.strip_prefix("failed: ") {
                    node.failed = true;
                    ("failed", detail)
                } else {
                    continue;
                };
                let (stage, detail) = (stage.to_owned(), detail.to_owned());
                note(
                    node,
                    self.terminal,
                    Step {
                        at: line.at,
                        stage,
                        detail,
                    },
                );
            }
        }
    }

    /// Draws the picture over the one before.
    fn draw(&mut self) {
        if !self.terminal {
            return;
        }
        let mut picture = String::new();
        if self.drawn {
            let _ = write!(
                picture,
                "\x1b[{}A",
                self.nodes.len() + usize::from(self.pi.is_some())
            );
        }
        self.drawn = true;
        if let Some(pi) = &self.pi {
            let line: String = pi.row().chars().take(WIDTH).collect();
            let _ = writeln!(picture, "\x1b[2K{line}");
        }
        for node in &self.nodes {
            let now = node
                .reached("up")
                .unwrap_or_else(|| node.machine.powered_on().elapsed());
            let (stage, detail) = match node.steps.last() {
                Some(step) => (&*step.stage, &*step.detail),
                None => ("power on", ""),
            };
            let name = node.machine.name();
            let line = format!("{name:8}{:7.1} s  {stage:10} {detail}", now.as_secs_f64());
            let line: String = line.chars().take(WIDTH).collect();
            let _ = writeln!(picture, "\x1b[2K{line}");
        }
        // A picture that cannot be drawn is not worth ending the demo for.
        let _ = io::stdout().write_all(picture.as_bytes());
        let _ = io::stdout().flush();
    }

    /// Seconds per stage and machine.
    fn table(&self) -> String {
        let mut table = String::new();
        if let Some(pi) = &self.pi {
            let _ = writeln!(table, "{}", pi.row());
        }
        let _ = write!(table, "{:8}", "seconds");
        for stage in STAGES.into_iter().chain(["in all"]) {
            let _ = write!(table, "{stage:>10}");
        }
        for node in &self.nodes {
            let _ = write!(table, "\n{}", node.row());
        }
        table
    }

    /// How far the machines came that are not up, and what they said last.
    fn last_words(&self) -> String {
        let mut words = String::new();
        for node in self.nodes.iter().filter(|node| !node.is_up()) {
            let name = node.machine.name();
            let _ = match node.steps.last() {
                Some(step) => writeln!(
                    words,
                    "{name} came as far as {} ({}), {:.1} s after power-on; its console ends:",
                    step.stage,
                    step.detail,
                    step.at.as_secs_f64()
                ),
                None => writeln!(
                    words,
                    "{name} never asked for an address; its console ends:"
                ),
            };
            words.push_str(&node.machine.console().tail(15));
        }
        words
    }
}

fn note(node: &mut Node, terminal: bool, step: Step) {
    if !terminal {
        let at = step.at.as_secs_f64();
        println!(
            "{at:7.1} s  {:8} {:10} {}",
            node.machine.name(),
            step.stage,
            step.detail
        );
    }
    node.steps.push(step);
}
