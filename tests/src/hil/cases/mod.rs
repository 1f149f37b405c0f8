//! The cases, in the order in which they are tried.

mod dhcp;
mod http;
mod power;
mod soak;
mod start;
mod tftp;

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::bench::{Bench, Missing, Stop};
use super::dhcp::{Bound, Wanted};
use super::report::{Case, Found, Report, Verdict, one_line};
use super::station::{MACS, Station};

/// How long a board that runs may take for a lease.
const LEASE: Duration = Duration::from_secs(10);

/// What to try, and how long.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How often the power is cut.
    pub cuts: u16,
    /// How long to go on in the end, if at all.
    pub soak: Option<Duration>,
    /// How long the board may take from power-on to its first OFFER.
    pub boot: Duration,
    /// Where clients keep their files.
    pub folder: PathBuf,
}

/// How a case ended that did not fail.
enum Outcome {
    Passed(Found),
    NotRun(Missing),
}

type Try = fn(&mut Run<'_>) -> Result<Outcome>;

/// Every case but the soak, which is tried when it is asked for.
const CASES: &[(&str, Try)] = &[
    ("boot", start::boot),
    ("link", start::link),
    ("link-pulled", start::link_pulled),
    ("dhcp-udhcpc", dhcp::udhcpc),
    ("dhcp-dhclient", dhcp::dhclient),
    ("tftp-octet", tftp::octet),
    ("tftp-blksize", tftp::blksize),
    ("tftp-windowsize", tftp::windowsize),
    ("tftp-missing", tftp::missing),
    ("http-status", http::status),
    ("http-boot-ipxe", http::boot_script),
    ("http-ipxe", http::profile),
    ("http-asset", http::asset),
    ("http-range", http::range),
    ("http-head", http::head),
    ("http-missing", http::missing),
    ("lease-power-cut", power::cuts),
];

/// Tries every case and tells `told` of each as soon as it ended. A failed case
/// does not keep the others from being tried.
///
/// # Errors
/// The bench itself is broken, so that nothing can be tried.
pub fn run(
    bench: &mut dyn Bench,
    plan: &Plan,
    stop: &Stop,
    told: &mut dyn FnMut(&str),
) -> Result<Report> {
    let station = Station::new(bench.lan(), &plan.folder)?;
    let mut report = Report {
        board: bench.facts().name.clone(),
        cases: Vec::new(),
        stopped: false,
    };
    let mut run = Run {
        server: bench.facts().address,
        bench,
        plan,
        stop,
        station,
        lease: None,
        no_lease: None,
        told,
    };
    let soak = plan.soak.map(|_| ("soak", soak::soak as Try));
    for (name, case) in CASES.iter().copied().chain(soak) {
        if stop.is_set() {
            break;
        }
        let begun = Instant::now();
        let outcome = case(&mut run);
        // A case that was broken off has neither passed nor failed.
        if stop.is_set() && outcome.is_err() {
            break;
        }
        let case = ended(name, outcome, begun.elapsed());
        (run.told)(&case.line());
        if case.verdict == Verdict::Failed {
            let words = run.bench.last_words();
            if !words.is_empty() {
                (run.told)(&format!("the board's last words:\n{words}"));
            }
        }
        report.cases.push(case);
    }
    run.station.release_all();
    report.stopped = stop.is_set();
    Ok(report)
}

fn ended(name: &'static str, outcome: Result<Outcome>, took: Duration) -> Case {
    let (verdict, told, values) = match outcome {
        Ok(Outcome::Passed(Found { told, values })) => (Verdict::Passed, told, values),
        Ok(Outcome::NotRun(missing)) => (Verdict::NotRun, missing.0, Vec::new()),
        Err(error) => (Verdict::Failed, format!("{error:#}"), Vec::new()),
    };
    Case {
        name,
        verdict,
        told: one_line(&told),
        values,
        took,
    }
}

/// What the cases share.
struct Run<'a> {
    bench: &'a mut dyn Bench,
    plan: &'a Plan,
    stop: &'a Stop,
    station: Station,
    /// The board's address, once it is known.
    server: Option<Ipv4Addr>,
    /// The lease of [`MACS`]' client.
    lease: Option<Bound>,
    /// Why that client has none: not every case shall wait for it.
    no_lease: Option<String>,
    told: &'a mut dyn FnMut(&str),
}

impl Run<'_> {
    /// What to ask the board for, for as long as `patience`.
    fn wanted(&self, address: Option<Ipv4Addr>, patience: Duration) -> Wanted<'_> {
        Wanted {
            server: self.server,
            address,
            patience,
            stop: self.stop,
        }
    }

    /// A lease for the station as it is.
    fn get_lease(&mut self, address: Option<Ipv4Addr>, patience: Duration) -> Result<Bound> {
        let (server, stop) = (self.server, self.stop);
        self.station.lease(&Wanted {
            server,
            address,
            patience,
            stop,
        })
    }

    /// The board's address, with the station as the client that the board
    /// knows, with a lease and its address in use.
    fn server(&mut self) -> Result<Ipv4Addr> {
        if let Some(reason) = &self.no_lease {
            return Err(anyhow!("no lease for the client: {reason}"));
        }
        if self.station.mac() != MACS.client() {
            self.station.become_client(MACS.client())?;
        }
        let lease = match self.lease {
            Some(lease) => lease,
            None => match self.get_lease(None, LEASE) {
                Ok(lease) => lease,
                Err(error) => {
                    self.no_lease = Some(format!("{error:#}"));
                    return Err(error);
                }
            },
        };
        self.settle(lease)?;
        Ok(lease.server)
    }

    /// Notes the client's lease and uses its address.
    fn settle(&mut self, lease: Bound) -> Result<()> {
        self.server = Some(lease.server);
        self.lease = Some(lease);
        self.no_lease = None;
        self.station.hold(lease);
        self.station.use_address(lease.address, lease.prefix)
    }

    /// A URL at the board.
    fn url(&self, server: Ipv4Addr, path: &str) -> String {
        format!("http://{server}:{}{path}", self.bench.facts().http_port)
    }
}
