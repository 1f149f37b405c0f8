//! DHCP: the most full exchanges per second at which no server's answer is missing.

use anyhow::{Result, bail};
use ichor_lab::clients::Load;
use ichor_lab::lessors::{Ground, Lessor};
use ichor_lab::tools::Set;

use super::row::{Bar, Cpu, Meter, Needs, Of, Rig, Row, Sample, Unit};

/// In this order: `dhcp`.
pub(super) static ROWS: &[Row] = &[Row {
    name: "dhcp",
    about: "DHCP, full exchanges per second at no drops, each lease written before its ACK",
    unit: Unit::PER_SECOND,
    per: "1,000 exchanges",
    contenders: &["ichor", "kea", "dnsmasq", "ichor, fsync", "ichor, probing"],
    bars: &[
        Bar::at_least(Of::Ratio("kea"), 2.0),
        Bar::at_least(Of::Ratio("dnsmasq"), 20.0),
    ],
    needs: Needs {
        root: true,
        sets: &[Set::Clients, Set::Peers],
        programs: &["kea-dhcp4", "dnsmasq", "perfdhcp"],
        // A search for each of five contenders.
        slow: true,
        once: false,
    },
    set_up: |bench| {
        let folder = bench.folder.join("dhcp");
        Ok(Box::new(Leases {
            ground: Ground::lay(&bench.tools, &bench.ichor, &folder)?,
            seconds: if bench.quick { 1 } else { 2 },
            last: Vec::new(),
        }))
    },
}];

fn lessor(contender: &str) -> Lessor {
    let ichor = |sync, probe| Lessor::Ichor { sync, probe };
    match contender {
        "kea" => Lessor::Kea,
        "dnsmasq" => Lessor::Dnsmasq,
        "ichor, fsync" => ichor(true, false),
        "ichor, probing" => ichor(false, true),
        _ => ichor(false, false),
    }
}

/// Where the search for a contender's rate begins, exchanges per second.
const FIRST: u32 = 250;
/// Beyond this perfdhcp itself is at its end.
const LAST: u32 = 64_000;
/// The rate is found when the next one that fails is less than this above it.
const CLOSE: f64 = 1.06;
/// A rate has failed when it failed this often: a single standstill of the
/// machine proves nothing.
const TRIES: u32 = 2;

struct Leases {
    ground: Ground,
    seconds: u32,
    /// What was found last, to begin the next search near it.
    last: Vec<(Lessor, u32)>,
}

/// A rate that a server bore.
struct Borne {
    rate: u32,
    load: Load,
    cpu: Cpu,
    peak: u64,
}

/// What came of a load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Borne,
    /// The server left some without an answer.
    Server,
    /// perfdhcp could not ask as often as told, or not take in the answers.
    Client,
}

impl Outcome {
    fn of(load: &Load, asked: u64) -> Self {
        // perfdhcp asks one time less than it is told, and its start is late.
        if load.lost() > 0 {
            Self::Server
        } else if load.discovers * 100 < asked * 98 || load.overflown * 100 > asked {
            Self::Client
        } else {
            Self::Borne
        }
    }
}

impl Rig for Leases {
    fn take(&mut self, contender: &str, _run: u32) -> Result<Sample> {
        let lessor = lessor(contender);
        let last = self.last.iter().find(|(who, _)| *who == lessor);
        let mut search = match last {
            None => Search::new(FIRST, 2.0),
            Some((_, rate)) => Search::new(rate * 9 / 10, 1.25),
        };
        let mut best: Option<Borne> = None;
        let mut stopped = Outcome::Server;
        while let Some(rate) = search.next() {
            match self.bears(lessor, rate)? {
                Ok(borne) => {
                    search.held(rate);
                    best = Some(borne);
                }
                Err(by) => {
                    search.failed(rate);
                    stopped = by;
                }
            }
        }
        let Some(borne) = best else {
            bail!("answers are missing at any rate")
        };
        let Borne {
            rate,
            load,
            cpu,
            peak,
        } = borne;
        self.last.retain(|(who, _)| *who != lessor);
        self.last.push((lessor, rate));
        Ok(Sample {
            value: load.acks as f64 / f64::from(self.seconds),
            cpu: Some(cpu),
            peak_memory: Some(peak),
            figures: vec![
                ("lost by client", load.overflown as f64),
                (
                    "client gave out",
                    f64::from(u8::from(stopped == Outcome::Client)),
                ),
            ],
        })
    }
}

impl Leases {
    /// Whether a server that starts anew bears this rate.
    fn bears(&self, lessor: Lessor, rate: u32) -> Result<std::result::Result<Borne, Outcome>> {
        let mut outcome = Outcome::Server;
        for _ in 0..TRIES {
            let leasing = self.ground.start(lessor)?;
            let meter = Meter::start(leasing.pid())?;
            let load = leasing.load(rate, self.seconds)?;
            let (cpu, peak) = meter.stop(load.acks.max(1) as f64 / 1000.0)?;
            outcome = Outcome::of(&load, u64::from(rate * self.seconds));
            if outcome == Outcome::Borne {
                return Ok(Ok(Borne {
                    rate,
                    load,
                    cpu,
                    peak,
                }));
            }
        }
        Ok(Err(outcome))
    }
}

/// Looks for the highest rate that holds: in steps until one fails (or one
/// holds), then by halving what is between.
struct Search {
    first: u32,
    step: f64,
    held: Option<u32>,
    failed: Option<u32>,
}

impl Search {
    fn new(first: u32, step: f64) -> Self {
        Self {
            first: first.clamp(1, LAST),
            step,
            held: None,
            failed: None,
        }
    }

    fn next(&self) -> Option<u32> {
        match (self.held, self.failed) {
            (None, None) => Some(self.first),
            (Some(held), None) => {
                let next = (f64::from(held) * self.step).ceil() as u32;
                (held < LAST).then_some(next.min(LAST))
            }
            (None, Some(failed)) => (failed > 1).then_some((f64::from(failed) / self.step) as u32),
            (Some(held), Some(failed)) => {
                let close = f64::from(failed) <= f64::from(held) * CLOSE;
                (!close && failed - held > 1).then(|| held.midpoint(failed))
            }
        }
    }

    fn held(&mut self, rate: u32) {
        self.held = Some(rate);
    }

    fn failed(&mut self, rate: u32) {
        self.failed = Some(rate);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_rate_is_found_from_anywhere() {
        for (first, step, limit) in [
            (250, 2.0, 7_200),
            (5_000, 2.0, 452),
            (250, 2.0, 3),
            (250, 2.0, LAST),
            (1, 2.0, 1),
            (6_480, 1.25, 7_200),
            (6_480, 1.25, 4_000),
        ] {
            let mut search = Search::new(first, step);
            let mut asked = 0;
            while let Some(rate) = search.next() {
                asked += 1;
                if rate <= limit {
                    search.held(rate);
                } else {
                    search.failed(rate);
                }
            }
            let found = search.held.unwrap();
            assert!(found <= limit && f64::from(found) * CLOSE + 1.0 > f64::from(limit));
            assert!(asked <= 16, "{asked} loads from {first} to {limit}");
        }
        let mut hopeless = Search::new(250, 2.0);
        while let Some(rate) = hopeless.next() {
            hopeless.failed(rate);
        }
        assert_eq!(hopeless.held, None);
    }

    #[test]
    fn who_ended_a_load_is_told_from_its_counts() {
        let load = |discovers, acks, overflown| Load {
            discovers,
            offers: discovers,
            requests: discovers,
            acks,
            rate: 0.0,
            overflown,
        };
        for (load, want) in [
            (load(9_999, 9_999, 0), Outcome::Borne),
            (load(9_999, 9_990, 9), Outcome::Borne),
            (load(9_999, 9_990, 8), Outcome::Server),
            (load(9_999, 9_000, 999), Outcome::Client),
            (load(9_000, 9_000, 0), Outcome::Client),
        ] {
            assert_eq!(Outcome::of(&load, 10_000), want, "{load:?}");
        }
    }
}
