//! HTTP: one stream, many at once, and many small files.

use anyhow::Result;
use ichor_lab::link::Offloads;
use ichor_lab::tools::Set;

use super::row::{Bar, Bench, Needs, Of, Rig, Row, Sample, Unit};
use super::wire::{Wire, metered, transfers};

const NEEDS: Needs = Needs {
    root: true,
    sets: &[Set::Clients, Set::Peers, Set::Load],
    programs: &["nginx", "curl"],
    slow: false,
    once: false,
};

/// In this order: `http`.
pub(super) static ROWS: &[Row] = &[
    Row {
        name: "http-one",
        about: "HTTP, one stream of 100 MB files, frames of 1,500 bytes (offloads off)",
        unit: Unit::MB_PER_SECOND,
        per: "GB",
        contenders: &["ichor", "nginx"],
        bars: &[Bar::at_least(Of::Ratio("nginx"), 1.0)],
        needs: NEEDS,
        set_up: |bench| One::set_up(bench, Offloads::Off),
    },
    Row {
        name: "http-one-offload",
        about: "HTTP, one stream of 100 MB files, offloads on",
        unit: Unit::MB_PER_SECOND,
        per: "GB",
        contenders: &["ichor", "nginx"],
        bars: &[Bar::at_least(Of::Ratio("nginx"), 0.5)],
        needs: NEEDS,
        set_up: |bench| One::set_up(bench, Offloads::On),
    },
];

const BIG: &str = "big";
const BIG_BYTES: usize = 100_000_000;
const GB: f64 = 1e9;
const MB: f64 = 1e6;

/// How long a sample is to take, so that starts and ends do not count.
fn aim(quick: bool) -> f64 {
    if quick { 0.4 } else { 1.5 }
}

/// How often a transfer of `seconds` fits into a sample.
fn times(seconds: f64, quick: bool) -> usize {
    // At most what goes onto curl's command line.
    (aim(quick) / seconds.max(1e-3)).ceil().clamp(1.0, 200.0) as usize
}

/// One client that fetches one file after the other over one connection.
struct One {
    wire: Wire,
    quick: bool,
}

impl One {
    fn set_up(bench: &Bench, offloads: Offloads) -> Result<Box<dyn Rig>> {
        let wire = Wire::lay(bench, offloads, "http")?;
        wire.files(BIG, 1, BIG_BYTES)?;
        wire.check(&["ichor", "nginx"], BIG)?;
        Ok(Box::new(Self {
            wire,
            quick: bench.quick,
        }))
    }
}

impl Rig for One {
    fn take(&mut self, contender: &str, _run: u32) -> Result<Sample> {
        let running = self.wire.start(contender)?;
        let url = running.server.url("http", BIG);
        let fetch = |count: usize| -> Result<f64> {
            let mut curl = self.wire.curl()?;
            for _ in 0..count {
                curl.args(["--output", "/dev/null", &url]);
            }
            let transfers = transfers(&mut curl, BIG_BYTES)?;
            Ok(transfers.iter().map(|transfer| transfer.seconds).sum())
        };
        let count = times(fetch(1)?, self.quick);
        metered(&running, || {
            let seconds = fetch(count)?;
            let bytes = (count * BIG_BYTES) as f64;
            Ok((bytes / MB / seconds, bytes / GB, Vec::new()))
        })
    }
}
