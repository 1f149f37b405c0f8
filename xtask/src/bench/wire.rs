//! What the rows of HTTP and TFTP share: a cable, files, and servers that run one at a time.

use std::fs::{self, File};
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ichor_lab::checksum::sha256;
use ichor_lab::data::create_empty;
use ichor_lab::link::{Link, Offloads};
use ichor_lab::servers::{Ground, Running, Server, write_files};

use super::row::{Bench, Meter, Sample};
use crate::steps::said;

const GB: f64 = 1e9;
const MB: f64 = 1e6;

/// How often a transfer of `seconds` goes into one sample, so that starts and ends
/// hardly count in it.
pub(super) fn times(seconds: f64, quick: bool) -> usize {
    let sample = if quick { 0.4 } else { 1.5 };
    // At most what goes onto curl's command line.
    (sample / seconds.max(1e-3)).ceil().clamp(1.0, 200.0) as usize
}

/// What every server has to answer before it is measured.
pub(super) const SMALL: &str = "ready";

/// What the servers of all rows share, and [`SMALL`] for them to serve.
pub(super) fn ground(bench: &Bench) -> Result<Ground> {
    let ground = Ground {
        tools: bench.tools.clone(),
        ichor: bench.ichor.clone(),
        data: bench.folder.join("data"),
        folder: bench.folder.join("servers"),
    };
    fs::create_dir_all(&ground.folder)
        .with_context(|| format!("cannot create {}", ground.folder.display()))?;
    create_empty(&ground.data)?;
    write_files(&ground.data, SMALL, 1, 512)?;
    Ok(ground)
}

/// A cable between the servers' side and the clients', and what they serve.
pub(super) struct Wire {
    link: Link,
    ground: Ground,
    scheme: &'static str,
}

impl Wire {
    /// Lays it; files are served by `scheme`, `http` or `tftp`.
    pub(super) fn lay(bench: &Bench, offloads: Offloads, scheme: &'static str) -> Result<Self> {
        let ground = ground(bench)?;
        Ok(Self {
            link: Link::lay(&bench.tools, offloads)?,
            ground,
            scheme,
        })
    }

    /// Writes files to serve, unless an earlier row did: `name`, or `name/0` and so on.
    pub(super) fn files(&self, name: &str, count: usize, bytes: usize) -> Result<()> {
        if self.ground.data.join("assets").join(name).exists() {
            return Ok(());
        }
        write_files(&self.ground.data, name, count, bytes)
    }

    /// Starts one of the contenders and waits until it serves.
    pub(super) fn start(&self, contender: &str) -> Result<Running> {
        let server = Server::named(contender)?;
        server.start(&self.ground, &self.link, (self.scheme, SMALL))
    }

    /// Starts one of the contenders and waits for nothing.
    pub(super) fn launch(&self, contender: &str) -> Result<Running> {
        Server::named(contender)?.launch(&self.ground, &self.link)
    }

    /// Runs `work` on a thread whose sockets are the clients'.
    pub(super) fn as_client<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        self.link.client.inside(work)
    }

    /// Fetches a file once from each contender, by the client that `fetch` makes to
    /// write it to a path, and compares every byte.
    pub(super) fn check(
        &self,
        contenders: &[&str],
        file: &str,
        fetch: impl Fn(&Running, &Path) -> Result<Command>,
    ) -> Result<()> {
        let sum = |path: &Path| -> Result<String> {
            let cannot = || format!("cannot read {}", path.display());
            sha256(File::open(path).with_context(cannot)?).with_context(cannot)
        };
        let want = sum(&self.ground.data.join("assets").join(file))?;
        let fetched = self.ground.folder.join("fetched");
        for contender in contenders {
            let running = self.start(contender)?;
            let last_words = || format!("{contender}'s last words:\n{}", running.last_words());
            said(&mut fetch(&running, &fetched)?).with_context(last_words)?;
            ensure!(
                sum(&fetched)? == want,
                "{contender} serves {file} wrong; {}",
                last_words()
            );
            fs::remove_file(&fetched)?;
        }
        Ok(())
    }

    /// A client's program, to be run at its end of the cable.
    pub(super) fn client(&self, program: &str) -> Result<Command> {
        self.link.client.command(program)
    }

    /// A `curl` that prints, for each transfer, its seconds and its bytes.
    pub(super) fn curl(&self) -> Result<Command> {
        let mut curl = self.client("curl")?;
        curl.args(["--silent", "--show-error", "--fail", "--max-time", "300"])
            .args(["--write-out", "%{time_total} %{size_download}\\n"]);
        Ok(curl)
    }
}

/// One transfer as curl saw it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Transfer {
    pub seconds: f64,
    pub bytes: u64,
}

/// Runs a [`Wire::curl`] to its end. Every transfer must bring `bytes`.
pub(super) fn transfers(curl: &mut Command, bytes: usize) -> Result<Vec<Transfer>> {
    let printed = said(curl)?;
    let transfers: Option<Vec<Transfer>> = printed.lines().map(transfer).collect();
    let transfers = transfers.with_context(|| format!("curl printed {printed:?}"))?;
    let short = transfers.iter().find(|it| it.bytes != bytes as u64);
    ensure!(
        short.is_none() && !transfers.is_empty(),
        "curl fetched {short:?} and not {bytes} bytes"
    );
    Ok(transfers)
}

fn transfer(line: &str) -> Option<Transfer> {
    let (seconds, bytes) = line.split_once(' ')?;
    Some(Transfer {
        seconds: seconds.parse().ok()?,
        bytes: bytes.parse().ok()?,
    })
}

/// What a client did with a server.
#[derive(Debug, Clone, Default)]
pub(super) struct Work {
    /// In the row's unit.
    pub value: f64,
    /// How much of [`super::row::Row::per`] it was.
    pub amount: f64,
    pub figures: Vec<(&'static str, f64)>,
}

impl Work {
    /// So many bytes in so many seconds.
    pub(super) fn of_bytes(bytes: usize, seconds: f64) -> Self {
        let bytes = bytes as f64;
        Self {
            value: bytes / MB / seconds,
            amount: bytes / GB,
            figures: Vec::new(),
        }
    }
}

/// Runs `work` with a server and counts what it takes.
pub(super) fn metered(running: &Running, work: impl FnOnce() -> Result<Work>) -> Result<Sample> {
    let meter = Meter::start(running.pid())?;
    let work = work().with_context(|| format!("its last words:\n{}", running.last_words()))?;
    let (cpu, peak) = meter.stop(work.amount)?;
    Ok(Sample {
        value: work.value,
        cpu: Some(cpu),
        peak_memory: Some(peak),
        figures: work.figures,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn curls_lines_are_read() {
        let want = Transfer {
            seconds: 0.25,
            bytes: 100,
        };
        assert_eq!(transfer("0.250000 100"), Some(want));
        assert_eq!(transfer("0.25"), None);
    }
}
