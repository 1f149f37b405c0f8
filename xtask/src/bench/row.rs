//! What a row of the bench is: who is measured, in which unit, and what it must show.

use std::path::PathBuf;
use std::time::Instant;

use anyhow::Result;
use ichor_lab::tools::{Set, Tools};
use ichor_lab::usage::{Memory, processor_time};

use super::load::Load;

/// A row: a measurement of ichor and of what it is compared with.
pub(crate) struct Row {
    /// As on the command line; rows of one kind begin alike: `http-one`, `http-64`.
    pub name: &'static str,
    /// One line for people.
    pub about: &'static str,
    pub unit: Unit,
    /// What processor time is told for: `GB`, `1,000 requests`. Each sample says
    /// how many of these it took.
    pub per: &'static str,
    /// Who is measured, ichor first.
    pub contenders: &'static [&'static str],
    pub bars: &'static [Bar],
    /// What it takes from the machine.
    pub needs: Needs,
    /// Prepares what all its samples share. Called once; what it returns is
    /// dropped when the row is done.
    pub set_up: fn(&Bench) -> Result<Box<dyn Rig>>,
}

/// What a row takes from the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    /// Root, for namespaces.
    pub root: bool,
    /// The tools to have ready.
    pub sets: &'static [Set],
    /// Programs whose versions belong beside the figures.
    pub programs: &'static [&'static str],
    /// It takes minutes, as when machines boot in it: `--quick` leaves it out
    /// unless it is named.
    pub slow: bool,
    /// One sample says all, as it comes out the same each time.
    pub once: bool,
}

impl Needs {
    /// Those of servers and clients at the two ends of a cable.
    pub(crate) const fn of_wire(programs: &'static [&'static str]) -> Self {
        Self {
            root: true,
            sets: &[Set::Clients, Set::Peers, Set::Load],
            programs,
            slow: false,
            once: false,
        }
    }
}

/// What a row has set up. Dropping it takes it down.
pub(crate) trait Rig {
    /// Measures `contender` once, by itself: no other may run meanwhile. `run`
    /// counts from 1 and is the same for all contenders of one round.
    fn take(&mut self, contender: &str, run: u32) -> Result<Sample>;

    /// What to say below the row when all samples were taken, such as a table
    /// of stages.
    fn remarks(&self) -> Option<String> {
        None
    }
}

/// What all rows share.
pub(crate) struct Bench {
    pub tools: Tools,
    /// The `ichor` to measure.
    pub ichor: PathBuf,
    /// An empty folder for data and logs, `target/lab/bench`.
    pub folder: PathBuf,
    /// Smaller amounts, for a look in a minute.
    pub quick: bool,
}

/// One measurement of one contender.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Sample {
    /// In the row's unit.
    pub value: f64,
    pub cpu: Option<Cpu>,
    /// The most memory that the server had in RAM, in bytes.
    pub peak_memory: Option<u64>,
    /// What else was measured, by name: always the same names in a row.
    pub figures: Vec<(&'static str, f64)>,
}

impl Sample {
    /// A sample that is a value alone.
    pub(crate) fn of(value: f64) -> Self {
        Self {
            value,
            ..Self::default()
        }
    }
}

/// Processor time of one sample, in seconds for each [`Row::per`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Cpu {
    /// Of the server's process, with threads and children, in user and kernel.
    pub server: f64,
    /// Of the whole machine: of the clients as well, and what the kernel bills to
    /// nobody. On one machine the kernel may bill the receiver's work to the sender.
    pub machine: f64,
}

/// Counts processor time while a sample is taken.
pub(crate) struct Meter {
    pid: u32,
    server: f64,
    machine: Load,
    started: Instant,
}

impl Meter {
    /// Starts to count for the server `pid`.
    pub(crate) fn start(pid: u32) -> Result<Self> {
        Ok(Self {
            pid,
            server: processor_time(pid)?.as_secs_f64(),
            machine: Load::now()?,
            started: Instant::now(),
        })
    }

    /// What the server and the machine took since then for `amount` of
    /// [`Row::per`], and the server's peak memory.
    pub(crate) fn stop(self, amount: f64) -> Result<(Cpu, u64)> {
        let elapsed = self.started.elapsed().as_secs_f64();
        let busy = Load::now()?.processors_since(self.machine);
        let server = processor_time(self.pid)?.as_secs_f64() - self.server;
        let cpu = Cpu {
            server: server / amount,
            machine: busy * elapsed / amount,
        };
        Ok((cpu, Memory::of(self.pid)?.peak))
    }
}

/// A unit, and whether more of it is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Unit {
    pub symbol: &'static str,
    pub more_is_better: bool,
}

impl Unit {
    pub(crate) const MB_PER_SECOND: Self = Self::more("MB/s");
    pub(crate) const PER_SECOND: Self = Self::more("1/s");
    pub(crate) const SECONDS: Self = Self::less("s");
    pub(crate) const MILLISECONDS: Self = Self::less("ms");
    pub(crate) const MIB: Self = Self::less("MiB");

    pub(crate) const fn more(symbol: &'static str) -> Self {
        Self {
            symbol,
            more_is_better: true,
        }
    }

    pub(crate) const fn less(symbol: &'static str) -> Self {
        Self {
            symbol,
            more_is_better: false,
        }
    }
}

/// What a row must show: a median of ichor's, or of its ratio to another.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Bar {
    pub of: Of,
    pub limit: Limit,
}

/// What a bar looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Of {
    /// ichor's value.
    Value,
    /// ichor's value divided by that of this contender, pair by pair.
    Ratio(&'static str),
    /// One of ichor's [`Sample::figures`].
    Figure(&'static str),
    /// ichor's peak memory, in MiB.
    PeakMemory,
}

/// How far it must come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Limit {
    AtLeast(f64),
    AtMost(f64),
}

impl Bar {
    pub(crate) const fn at_least(of: Of, limit: f64) -> Self {
        Self {
            of,
            limit: Limit::AtLeast(limit),
        }
    }

    pub(crate) const fn at_most(of: Of, limit: f64) -> Self {
        Self {
            of,
            limit: Limit::AtMost(limit),
        }
    }
}

impl Limit {
    pub(crate) fn is_met_by(self, value: f64) -> bool {
        match self {
            Self::AtLeast(limit) => value >= limit,
            Self::AtMost(limit) => value <= limit,
        }
    }
}

/// The samples of one row.
pub(crate) struct Taken {
    pub row: &'static Row,
    /// For each of [`Row::contenders`].
    pub samples: Vec<Vec<Sample>>,
    /// Why there are no more of them.
    pub error: Option<String>,
}

impl Taken {
    /// Nothing yet.
    pub(crate) fn new(row: &'static Row) -> Self {
        Self {
            row,
            samples: vec![Vec::new(); row.contenders.len()],
            error: None,
        }
    }

    /// The values of one contender.
    pub(crate) fn values(&self, contender: usize) -> Vec<f64> {
        self.of(contender, |sample| Some(sample.value))
    }

    /// What `pick` finds in the samples of one contender.
    pub(crate) fn of(&self, contender: usize, pick: impl Fn(&Sample) -> Option<f64>) -> Vec<f64> {
        let samples = self.samples.get(contender);
        samples.into_iter().flatten().filter_map(pick).collect()
    }

    /// Everything that a bar looks at, run by run.
    pub(crate) fn looked_at(&self, of: Of) -> Vec<f64> {
        match of {
            Of::Value => self.values(0),
            Of::Ratio(to) => {
                let to = self.row.contenders.iter().position(|name| *name == to);
                to.map_or_else(Vec::new, |to| self.ratios(to))
            }
            Of::Figure(name) => self.of(0, |sample| {
                let mut figures = sample.figures.iter();
                figures
                    .find(|(figure, _)| *figure == name)
                    .map(|(_, it)| *it)
            }),
            Of::PeakMemory => self.of(0, |sample| {
                sample.peak_memory.map(|bytes| bytes as f64 / MIB)
            }),
        }
    }

    /// ichor's value divided by the contender's, pair by pair.
    pub(crate) fn ratios(&self, contender: usize) -> Vec<f64> {
        super::summary::ratios(&self.values(0), &self.values(contender))
    }
}

/// Bytes in a MiB.
pub(crate) const MIB: f64 = 1_048_576.0;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    static ROW: Row = Row {
        name: "row-a",
        about: "a row",
        unit: Unit::MB_PER_SECOND,
        per: "GB",
        contenders: &["ichor", "peer"],
        bars: &[
            Bar::at_least(Of::Ratio("peer"), 2.0),
            Bar::at_most(Of::Figure("slowest/fastest"), 1.2),
            Bar::at_most(Of::PeakMemory, 2.0),
        ],
        needs: Needs {
            root: false,
            sets: &[],
            programs: &[],
            slow: false,
            once: false,
        },
        set_up: |_| anyhow::bail!("only its samples are looked at"),
    };

    /// A row with these values of ichor and of its peer.
    pub(in crate::bench) fn taken(ours: &[f64], theirs: &[f64]) -> Taken {
        let samples = |values: &[f64]| {
            let sample = |value: &f64| Sample {
                value: *value,
                cpu: Some(Cpu {
                    server: 0.5,
                    machine: 1.5,
                }),
                peak_memory: Some(2 << 20),
                figures: vec![("slowest/fastest", 1.25)],
            };
            values.iter().map(sample).collect()
        };
        Taken {
            samples: vec![samples(ours), samples(theirs)],
            ..Taken::new(&ROW)
        }
    }

    #[test]
    fn bars_look_at_values_ratios_and_figures() {
        let row = taken(&[4.0, 6.0], &[2.0, 2.0]);
        for (of, want) in [
            (Of::Value, [4.0, 6.0]),
            (Of::Ratio("peer"), [2.0, 3.0]),
            (Of::Figure("slowest/fastest"), [1.25, 1.25]),
            (Of::PeakMemory, [2.0, 2.0]),
        ] {
            assert_eq!(row.looked_at(of), want, "{of:?}");
        }
        assert!(row.looked_at(Of::Ratio("nobody")).is_empty());
        assert!(row.looked_at(Of::Figure("nothing")).is_empty());
        // A round that was broken off gives no ratio.
        assert_eq!(taken(&[4.0, 6.0], &[2.0]).ratios(1), [2.0]);
    }

    #[test]
    fn limits_include_themselves() {
        assert!(Limit::AtLeast(1.0).is_met_by(1.0) && !Limit::AtLeast(1.0).is_met_by(0.99));
        assert!(Limit::AtMost(1.5).is_met_by(1.5) && !Limit::AtMost(1.5).is_met_by(1.51));
    }
}
