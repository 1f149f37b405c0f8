//! HTTP: one stream, many at once, and many small files.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, ensure};
use ichor_lab::link::Offloads;
use ichor_lab::servers::Running;

use super::row::{Bar, Bench, Needs, Of, Rig, Row, Sample, Unit};
use super::wire::{Transfer, Wire, Work, metered, times, transfers};
use crate::steps::said;

const NEEDS: Needs = Needs::of_wire(&["nginx", "curl"]);
const BOTH: &[&str] = &["ichor", "nginx"];
/// What many streams are compared with, beside nginx. nginx' own shows how much of
/// the difference is the client's, which has them all at its end.
const ONE_STREAM: &str = "ichor, one stream";
const WITH_ONE_STREAM: &[&str] = &["ichor", "nginx", ONE_STREAM, "nginx, one stream"];
/// The time of the last stream to end, divided by that of the first.
const FAIRNESS: &str = "slowest/fastest";
const MANY_BARS: &[Bar] = &[
    Bar::at_least(Of::Ratio(ONE_STREAM), 0.9),
    Bar::at_most(Of::Figure(FAIRNESS), 1.5),
];

pub(super) static ROWS: &[Row] = &[
    Row {
        name: "http-one",
        about: "one stream of 100 MB files, frames of 1,500 bytes",
        unit: Unit::MB_PER_SECOND,
        per: "GB",
        contenders: BOTH,
        bars: &[Bar::at_least(Of::Ratio("nginx"), 1.0)],
        needs: NEEDS,
        set_up: |bench| One::set_up(bench, Offloads::Off),
    },
    Row {
        name: "http-one-offload",
        about: "one stream of 100 MB files, offloads on",
        unit: Unit::MB_PER_SECOND,
        per: "GB",
        contenders: BOTH,
        bars: &[Bar::at_least(Of::Ratio("nginx"), 0.5)],
        needs: NEEDS,
        set_up: |bench| One::set_up(bench, Offloads::On),
    },
    Row {
        name: "http-64",
        about: "64 streams at once, frames of 1,500 bytes, all together",
        unit: Unit::MB_PER_SECOND,
        per: "GB",
        contenders: WITH_ONE_STREAM,
        bars: MANY_BARS,
        needs: NEEDS,
        set_up: |bench| Many::set_up(bench, Offloads::Off),
    },
    Row {
        name: "http-64-offload",
        about: "64 streams at once, offloads on, all together",
        unit: Unit::MB_PER_SECOND,
        per: "GB",
        contenders: WITH_ONE_STREAM,
        bars: MANY_BARS,
        needs: NEEDS,
        set_up: |bench| Many::set_up(bench, Offloads::On),
    },
    Row {
        name: "http-small",
        about: "1,000 files of 4 KiB one after the other on one connection, frames of 1,500 bytes",
        unit: Unit::PER_SECOND,
        per: "1,000 requests",
        contenders: BOTH,
        bars: &[],
        needs: NEEDS,
        set_up: Small::set_up,
    },
    Row {
        name: "http-small-64",
        about: "1,000 files of 4 KiB over and over on 64 connections, frames of 1,500 bytes",
        unit: Unit::PER_SECOND,
        per: "1,000 requests",
        contenders: BOTH,
        bars: &[],
        needs: Needs {
            programs: &["nginx", "wrk"],
            ..NEEDS
        },
        set_up: Crowd::set_up,
    },
];

const BIG: &str = "big";
const BIG_BYTES: usize = 100_000_000;
/// Each of the many streams.
const STREAM: &str = "stream";
const STREAM_BYTES: usize = 16_000_000;
const STREAMS: usize = 64;
const SMALL: &str = "small";
const SMALL_BYTES: usize = 4096;
const SMALL_FILES: usize = 1000;

/// Whether ichor and nginx serve every byte of a file.
fn check(wire: &Wire, file: &str) -> Result<()> {
    wire.check(BOTH, file, |running, to| {
        let mut curl = wire.curl()?;
        curl.arg("--output")
            .arg(to)
            .arg(running.server.url("http", file));
        Ok(curl)
    })
}

/// One client that fetches the big file over and over on one connection.
struct One {
    wire: Wire,
    quick: bool,
}

impl One {
    fn set_up(bench: &Bench, offloads: Offloads) -> Result<Box<dyn Rig>> {
        let wire = Wire::lay(bench, offloads, "http")?;
        wire.files(BIG, 1, BIG_BYTES)?;
        check(&wire, BIG)?;
        Ok(Box::new(Self {
            wire,
            quick: bench.quick,
        }))
    }
}

impl Rig for One {
    fn take(&mut self, contender: &str, _run: u32) -> Result<Sample> {
        one_stream(&self.wire, contender, self.quick)
    }
}

fn one_stream(wire: &Wire, contender: &str, quick: bool) -> Result<Sample> {
    let running = wire.start(contender)?;
    let urls = |count| vec![running.server.url("http", BIG); count];
    let once = one_after_the_other(wire, &urls(1), BIG_BYTES)?;
    let count = times(once, quick);
    metered(&running, || {
        let seconds = one_after_the_other(wire, &urls(count), BIG_BYTES)?;
        Ok(Work::of_bytes(count * BIG_BYTES, seconds))
    })
}

/// Fetches with one curl on one connection; the seconds that the transfers took.
/// A URL may stand for several, as `[0-999]` does.
fn one_after_the_other(wire: &Wire, urls: &[String], bytes: usize) -> Result<f64> {
    let mut curl = wire.curl()?;
    for url in urls {
        curl.args(["--output", "/dev/null", url]);
    }
    let transfers = transfers(&mut curl, bytes)?;
    Ok(transfers.iter().map(|transfer| transfer.seconds).sum())
}

/// One client with [`STREAMS`] connections, on which as many transfers begin together.
struct Many {
    wire: Wire,
    quick: bool,
    bytes: usize,
}

impl Many {
    fn set_up(bench: &Bench, offloads: Offloads) -> Result<Box<dyn Rig>> {
        let wire = Wire::lay(bench, offloads, "http")?;
        wire.files(BIG, 1, BIG_BYTES)?;
        let bytes = if bench.quick {
            STREAM_BYTES / 4
        } else {
            STREAM_BYTES
        };
        wire.files(STREAM, 1, bytes)?;
        check(&wire, STREAM)?;
        Ok(Box::new(Self {
            wire,
            quick: bench.quick,
            bytes,
        }))
    }

    fn at_once(&self, running: &Running) -> Result<Vec<Transfer>> {
        let mut curl = self.wire.curl()?;
        let streams = STREAMS.to_string();
        curl.args(["--parallel", "--parallel-immediate", "--parallel-max"])
            .arg(streams);
        let url = running.server.url("http", STREAM);
        for _ in 0..STREAMS {
            curl.args(["--output", "/dev/null", &url]);
        }
        let transfers = transfers(&mut curl, self.bytes)?;
        ensure!(
            transfers.len() == STREAMS,
            "{} streams of {STREAMS} came to their end",
            transfers.len()
        );
        Ok(transfers)
    }
}

impl Rig for Many {
    fn take(&mut self, contender: &str, _run: u32) -> Result<Sample> {
        if let Some(server) = contender.strip_suffix(", one stream") {
            return one_stream(&self.wire, server, self.quick);
        }
        let running = self.wire.start(contender)?;
        metered(&running, || {
            let transfers = self.at_once(&running)?;
            let seconds = transfers.iter().map(|transfer| transfer.seconds);
            let slowest = seconds.clone().fold(0.0, f64::max);
            let fastest = seconds.fold(f64::INFINITY, f64::min);
            let figures = vec![(FAIRNESS, slowest / fastest)];
            let work = Work::of_bytes(STREAMS * self.bytes, slowest);
            Ok(Work { figures, ..work })
        })
    }
}

/// One client that fetches many small files on one connection.
struct Small {
    wire: Wire,
    quick: bool,
}

impl Small {
    fn set_up(bench: &Bench) -> Result<Box<dyn Rig>> {
        Ok(Box::new(Self {
            wire: with_small_files(bench)?,
            quick: bench.quick,
        }))
    }
}

impl Rig for Small {
    fn take(&mut self, contender: &str, _run: u32) -> Result<Sample> {
        let running = self.wire.start(contender)?;
        let all = format!("{SMALL}/[0-{}]", SMALL_FILES - 1);
        let urls = |count| vec![running.server.url("http", &all); count];
        let fetch = |count| one_after_the_other(&self.wire, &urls(count), SMALL_BYTES);
        let count = times(fetch(1)?, self.quick);
        metered(&running, || {
            let seconds = fetch(count)?;
            let requests = (count * SMALL_FILES) as f64;
            Ok(of_requests(requests, requests / seconds))
        })
    }
}

fn with_small_files(bench: &Bench) -> Result<Wire> {
    let wire = Wire::lay(bench, Offloads::Off, "http")?;
    wire.files(SMALL, SMALL_FILES, SMALL_BYTES)?;
    let last = format!("{SMALL}/{}", SMALL_FILES - 1);
    check(&wire, &last)?;
    Ok(wire)
}

/// Many clients that fetch many small files: wrk.
struct Crowd {
    wire: Wire,
    script: PathBuf,
    seconds: u32,
}

impl Crowd {
    fn set_up(bench: &Bench) -> Result<Box<dyn Rig>> {
        let wire = with_small_files(bench)?;
        let script = bench.folder.join("small.lua");
        // Requests are made once, after wrk knows whom it asks.
        let text = format!(
            "local requests, n = {{}}, 0\n\
             init = function()\n\
             for i = 0, {last} do requests[i] = wrk.format(nil, \"/assets/{SMALL}/\" .. i) end\n\
             end\n\
             request = function() n = (n + 1) % {SMALL_FILES}; return requests[n] end\n",
            last = SMALL_FILES - 1
        );
        fs::write(&script, text).with_context(|| format!("cannot write {}", script.display()))?;
        Ok(Box::new(Self {
            wire,
            script,
            seconds: if bench.quick { 1 } else { 3 },
        }))
    }
}

impl Rig for Crowd {
    fn take(&mut self, contender: &str, _run: u32) -> Result<Sample> {
        let running = self.wire.start(contender)?;
        metered(&running, || {
            let mut wrk = self.wire.client("wrk")?;
            wrk.args(["--threads", "1", "--connections", "64", "--duration"])
                .arg(format!("{}s", self.seconds))
                .arg("--script")
                .arg(&self.script)
                .arg(running.server.url("http", SMALL));
            let printed = said(&mut wrk)?;
            let (requests, rate) =
                wrk_result(&printed).with_context(|| format!("wrk printed:\n{printed}"))?;
            Ok(of_requests(requests, rate))
        })
    }
}

fn of_requests(requests: f64, per_second: f64) -> Work {
    Work {
        value: per_second,
        amount: requests / 1000.0,
        figures: Vec::new(),
    }
}

/// How many requests wrk made, and how many in a second; none if some went wrong.
fn wrk_result(printed: &str) -> Option<(f64, f64)> {
    if printed.contains("Non-2xx") || printed.contains("Socket errors") {
        return None;
    }
    let (before, after) = printed.split_once(" requests in ")?;
    let requests = before.split_whitespace().last()?.parse().ok()?;
    let (_, rate) = after.split_once("Requests/sec:")?;
    let rate = rate.split_whitespace().next()?.parse().ok()?;
    Some((requests, rate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrks_report_is_read() {
        let report = "Running 1s test @ http://192.0.2.1:8080/\n  1 threads and 64 connections\n  \
            Thread Stats   Avg      Stdev     Max   +/- Stdev\n    Latency     1.02ms  0.31ms\n  \
            51234 requests in 1.00s, 210.51MB read\nRequests/sec:  51119.47\nTransfer/sec:    210.04MB\n";
        assert_eq!(wrk_result(report), Some((51_234.0, 51_119.47)));
        let errors = report.replace(
            "Requests/sec",
            "  Socket errors: connect 0, read 9, write 0, timeout 0\nRequests/sec",
        );
        assert_eq!(wrk_result(&errors), None);
        assert_eq!(wrk_result(""), None);
    }
}
