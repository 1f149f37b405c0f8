//! Many nodes that fetch the same file at once, as a rack does after a power cut.

use anyhow::Result;
use ichor_lab::crowd::Crowd;
use ichor_lab::servers::{Server, write_files};

use super::row::{Bar, Bench, Meter, Needs, Of, Rig, Row, Sample, Unit};
use super::wire::{Work, ground};

const NEEDS: Needs = Needs::of_wire(&["nginx", "curl"]);
/// A hundred gigabytes for each contender take minutes.
const LARGE: Needs = Needs {
    slow: true,
    once: true,
    ..NEEDS
};
const CONTENDERS: &[&str] = &["ichor", "nginx"];

/// A server's processor time for a node of the row, divided by that for one of
/// [`FEW`].
const COST: &str = "CPU ÷ at 64 nodes";
/// What the cost of a node is compared with: so many at once, as often before
/// and after. Once takes a few seconds, and what a processor does in them
/// differs by a fifth for no other reason than the machine's neighbours.
const FEW: u16 = 64;
const TIMES: u16 = 4;

/// In this order: `nodes`.
pub(super) static ROWS: &[Row] = &[
    row(
        "nodes-16",
        "16 nodes fetch 100 MB at once by HTTP, offloads on",
        NEEDS,
        &[],
        |bench| Nodes::set_up(bench, 16),
    ),
    row(
        "nodes-64",
        "64 nodes fetch 100 MB at once by HTTP, offloads on",
        NEEDS,
        &[],
        |bench| Nodes::set_up(bench, 64),
    ),
    row(
        "nodes-256",
        "256 nodes fetch 100 MB at once by HTTP, offloads on",
        LARGE,
        &[Bar::at_most(Of::Figure(COST), 1.2)],
        |bench| Nodes::set_up(bench, 256),
    ),
    row(
        "nodes-1024",
        "1,024 nodes fetch 100 MB at once by HTTP, offloads on",
        LARGE,
        &[
            Bar::at_most(Of::PeakMemory, 256.0),
            Bar::at_most(Of::Figure(COST), 1.2),
        ],
        |bench| Nodes::set_up(bench, 1024),
    ),
];

const fn row(
    name: &'static str,
    about: &'static str,
    needs: Needs,
    bars: &'static [Bar],
    set_up: fn(&Bench) -> Result<Box<dyn Rig>>,
) -> Row {
    Row {
        name,
        about,
        unit: Unit::MB_PER_SECOND,
        per: "node",
        contenders: CONTENDERS,
        bars,
        needs,
        set_up,
    }
}

struct Nodes {
    crowd: Crowd,
    nodes: u16,
    file: String,
    bytes: usize,
}

impl Nodes {
    fn set_up(bench: &Bench, nodes: u16) -> Result<Box<dyn Rig>> {
        let bytes = if bench.quick { 10_000_000 } else { 100_000_000 };
        let file = format!("image-{bytes}");
        let ground = ground(bench)?;
        write_files(&ground.data, &file, 1, bytes)?;
        Ok(Box::new(Self {
            crowd: Crowd::gather(ground, nodes)?,
            nodes,
            file,
            bytes,
        }))
    }
}

impl Rig for Nodes {
    fn take(&mut self, contender: &str, _run: u32) -> Result<Sample> {
        let (server, url) = self.crowd.start(Server::named(contender)?, &self.file)?;
        let fetch = |nodes: u16| {
            let meter = Meter::start(server.pid())?;
            let fetched = self.crowd.fetch(nodes, &url, self.bytes as u64)?;
            let (cpu, peak) = meter.stop(f64::from(nodes))?;
            anyhow::Ok((fetched, cpu, peak))
        };
        let of_few = || -> Result<f64> {
            let costs = (0..TIMES).map(|_| Ok(fetch(FEW)?.1.server));
            Ok(costs.sum::<Result<f64>>()? / f64::from(TIMES))
        };
        let is_many = self.nodes > FEW;
        let before = is_many.then(of_few).transpose()?;
        let (fetched, cpu, peak) = fetch(self.nodes)?;
        let after = is_many.then(of_few).transpose()?;
        let mut figures = vec![
            ("seconds for all", fetched.total),
            ("slowest ÷ fastest", fetched.spread()),
        ];
        let few = before.zip(after);
        figures.extend(few.map(|(before, after)| (COST, 2.0 * cpu.server / (before + after))));
        Ok(Sample {
            value: Work::of_bytes(usize::from(self.nodes) * self.bytes, fetched.total).value,
            cpu: Some(cpu),
            peak_memory: Some(peak),
            figures,
        })
    }
}
