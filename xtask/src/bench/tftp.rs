//! TFTP: block by block with two block sizes, and with windows.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::Result;
use ichor_lab::link::Offloads;
use ichor_lab::servers::{Running, Server};
use ichor_lab::tools::Set;

use super::row::{Bar, Bench, Needs, Of, Rig, Row, Sample, Unit};
use super::wire::{Wire, Work, metered, times, transfers};
use crate::steps::said;

const NEEDS: Needs = Needs {
    sets: &[Set::Clients, Set::Peers, Set::TftpdHpa, Set::Load],
    ..Needs::of_wire(&["dnsmasq", "atftpd", "tftpd-hpa", "curl"])
};
const WINDOW_NEEDS: Needs = Needs::of_wire(&["atftpd", "atftp"]);
const ALL: &[&str] = &["ichor", "dnsmasq", "atftpd", "tftpd-hpa"];
/// Those that know windows (RFC 7440).
const WITH_WINDOWS: &[&str] = &["ichor", "atftpd"];

pub(super) static ROWS: &[Row] = &[
    Row {
        name: "tftp-512",
        about: "block by block, blocks of 512 bytes (curl)",
        unit: Unit::MB_PER_SECOND,
        per: "GB",
        contenders: ALL,
        bars: &[],
        needs: NEEDS,
        set_up: |bench| Tftp::set_up(bench, 512, None),
    },
    Row {
        name: "tftp-1468",
        about: "block by block, blocks of 1,468 bytes (curl)",
        unit: Unit::MB_PER_SECOND,
        per: "GB",
        contenders: ALL,
        bars: &[Bar::at_least(Of::Ratio("dnsmasq"), 1.3)],
        needs: NEEDS,
        set_up: |bench| Tftp::set_up(bench, 1468, None),
    },
    Row {
        name: "tftp-w4",
        about: "windows of 4 blocks of 1,468 bytes (atftp)",
        unit: Unit::MB_PER_SECOND,
        per: "GB",
        contenders: WITH_WINDOWS,
        bars: &[],
        needs: WINDOW_NEEDS,
        set_up: |bench| Tftp::set_up(bench, 1468, Some(4)),
    },
    Row {
        name: "tftp-w16",
        about: "windows of 16 blocks of 1,468 bytes (atftp)",
        unit: Unit::MB_PER_SECOND,
        per: "GB",
        contenders: WITH_WINDOWS,
        bars: &[Bar::at_least(Of::Ratio("atftpd"), 1.2)],
        needs: WINDOW_NEEDS,
        set_up: |bench| Tftp::set_up(bench, 1468, Some(16)),
    },
    Row {
        name: "tftp-w64",
        about: "windows of 64 blocks of 1,468 bytes (atftp)",
        unit: Unit::MB_PER_SECOND,
        per: "GB",
        contenders: WITH_WINDOWS,
        bars: &[],
        needs: WINDOW_NEEDS,
        set_up: |bench| Tftp::set_up(bench, 1468, Some(64)),
    },
];

/// Blocks of a file: few enough that their numbers do not roll over, which is
/// beyond the standard.
const BLOCKS: usize = 45_000;
/// Block by block takes its time.
const FEW_BLOCKS: usize = 10_000;
/// For a quick look at it.
const QUICK_BLOCKS: usize = 2_500;

/// One client that fetches one file after the other.
struct Tftp {
    wire: Wire,
    block: usize,
    /// Blocks in a window; `None` asks for no window at all.
    window: Option<u8>,
    file: String,
    bytes: usize,
    quick: bool,
}

impl Tftp {
    fn set_up(bench: &Bench, block: usize, window: Option<u8>) -> Result<Box<dyn Rig>> {
        let wire = Wire::lay(bench, Offloads::Off, "tftp")?;
        let blocks = match (window, bench.quick) {
            (None, true) => QUICK_BLOCKS,
            (Some(_), false) => BLOCKS,
            _ => FEW_BLOCKS,
        };
        // The last block is not full, so that it needs no empty one behind it.
        let bytes = blocks * block - 1;
        let file = format!("blocks-{bytes}");
        wire.files(&file, 1, bytes)?;
        let contenders = if window.is_some() { WITH_WINDOWS } else { ALL };
        let tftp = Self {
            wire,
            block,
            window,
            file,
            bytes,
            quick: bench.quick,
        };
        tftp.wire
            .check(contenders, &tftp.file, |running, to| match tftp.window {
                None => tftp.curl(running, 1, to),
                Some(window) => tftp.atftp(running, window, to),
            })?;
        Ok(Box::new(tftp))
    }

    /// Fetches the file so many times; the seconds that it took.
    fn fetch(&self, running: &Running, count: usize) -> Result<f64> {
        let nowhere = Path::new("/dev/null");
        let Some(window) = self.window else {
            let mut curl = self.curl(running, count, nowhere)?;
            let transfers = transfers(&mut curl, self.bytes)?;
            return Ok(transfers.iter().map(|transfer| transfer.seconds).sum());
        };
        // atftp fetches one file and does not tell how long it took: its start counts.
        let mut seconds = 0.0;
        for _ in 0..count {
            let mut atftp = self.atftp(running, window, nowhere)?;
            let started = Instant::now();
            said(&mut atftp)?;
            seconds += started.elapsed().as_secs_f64();
        }
        Ok(seconds)
    }

    fn curl(&self, running: &Running, count: usize, to: &Path) -> Result<Command> {
        let mut curl = self.wire.curl()?;
        curl.args(["--tftp-blksize", &self.block.to_string()]);
        let url = running.server.url("tftp", &self.file);
        for _ in 0..count {
            curl.arg("--output").arg(to).arg(&url);
        }
        Ok(curl)
    }

    fn atftp(&self, running: &Running, window: u8, to: &Path) -> Result<Command> {
        let mut atftp = self.wire.client("atftp")?;
        atftp
            .args(["--option", &format!("blksize {}", self.block)])
            .args(["--option", &format!("windowsize {window}")])
            .args(["--get", "--remote-file", &format!("assets/{}", self.file)])
            .arg("--local-file")
            .arg(to)
            .arg(running.server.address().to_string());
        Ok(atftp)
    }
}

impl Rig for Tftp {
    fn take(&mut self, contender: &str, _run: u32) -> Result<Sample> {
        let running = self.wire.start(contender)?;
        let count = times(self.fetch(&running, 1)?, self.quick);
        let mut sample = metered(&running, || {
            let seconds = self.fetch(&running, count)?;
            Ok(Work::of_bytes(count * self.bytes, seconds))
        })?;
        if running.server == Server::TftpdHpa {
            // A process for each transfer, which it does not wait for: what that
            // took is lost with it.
            sample.cpu = None;
            sample.peak_memory = None;
        }
        Ok(sample)
    }
}
