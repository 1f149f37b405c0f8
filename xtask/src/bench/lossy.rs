//! Bad cables: HTTP and TFTP where frames are lost, and where they take their time.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ichor_lab::cable::Cable;
use ichor_lab::checksum::sha256;
use ichor_lab::faults::Fault;
use ichor_lab::link::Link;
use ichor_lab::servers::{Ground, Running, Server, write_files};

use super::row::{Bar, Bench, Needs, Rig, Row, Sample, Unit};
use super::wire::{SMALL, Work, ground, metered};

const NEEDS: Needs = Needs::of_wire(&["nginx", "atftpd", "curl", "atftp"]);
/// Where the peer waits five seconds for each loss.
const SLOW: Needs = Needs {
    slow: true,
    ..NEEDS
};

/// In this order: `lossy`.
pub(super) static ROWS: &[Row] = &[
    row(
        "lossy-http-1",
        "HTTP, one stream, 1 % of the frames lost each way (curl)",
        HTTP,
        NEEDS,
        |bench| Lossy::set_up(bench, Way::Http, Trouble::Loss(0.01)),
    ),
    row(
        "lossy-http-5",
        "HTTP, one stream, 5 % of the frames lost each way (curl)",
        HTTP,
        NEEDS,
        |bench| Lossy::set_up(bench, Way::Http, Trouble::Loss(0.05)),
    ),
    row(
        "lossy-http-20ms",
        "HTTP, one stream, a round trip of 20 ms (curl)",
        HTTP,
        NEEDS,
        |bench| Lossy::set_up(bench, Way::Http, Trouble::RoundTrip(20)),
    ),
    row(
        "lossy-w1-1",
        "TFTP block by block, 1 % of the frames lost each way (curl)",
        TFTP,
        SLOW,
        |bench| Lossy::set_up(bench, Way::Tftp, Trouble::Loss(0.01)),
    ),
    row(
        "lossy-w1-5",
        "TFTP block by block, 5 % of the frames lost each way (curl)",
        TFTP,
        SLOW,
        |bench| Lossy::set_up(bench, Way::Tftp, Trouble::Loss(0.05)),
    ),
    row(
        "lossy-w1-20ms",
        "TFTP block by block, a round trip of 20 ms (curl)",
        TFTP,
        NEEDS,
        |bench| Lossy::set_up(bench, Way::Tftp, Trouble::RoundTrip(20)),
    ),
    row(
        "lossy-w16-1",
        "TFTP in windows of 16, 1 % of the frames lost each way (atftp)",
        TFTP,
        SLOW,
        |bench| Lossy::set_up(bench, Way::Windows, Trouble::Loss(0.01)),
    ),
    row(
        "lossy-w16-5",
        "TFTP in windows of 16, 5 % of the frames lost each way (atftp)",
        TFTP,
        SLOW,
        |bench| Lossy::set_up(bench, Way::Windows, Trouble::Loss(0.05)),
    ),
    row(
        "lossy-w16-20ms",
        "TFTP in windows of 16, a round trip of 20 ms (atftp)",
        TFTP,
        NEEDS,
        |bench| Lossy::set_up(bench, Way::Windows, Trouble::RoundTrip(20)),
    ),
];

const HTTP: &[&str] = &["ichor", "nginx"];
const TFTP: &[&str] = &["ichor", "atftpd"];
/// Nothing is asked of these rows but that they are shown.
const BARS: &[Bar] = &[];

const fn row(
    name: &'static str,
    about: &'static str,
    contenders: &'static [&'static str],
    needs: Needs,
    set_up: fn(&Bench) -> Result<Box<dyn Rig>>,
) -> Row {
    Row {
        name,
        about,
        unit: Unit::MB_PER_SECOND,
        per: "GB",
        contenders,
        bars: BARS,
        needs,
        set_up,
    }
}

/// How a file is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Http,
    /// Block by block.
    Tftp,
    /// In windows of 16 blocks.
    Windows,
}

/// What is wrong with the cable.
#[derive(Debug, Clone, Copy)]
enum Trouble {
    /// The chance of each frame to get lost.
    Loss(f64),
    /// Milliseconds, half of it each way.
    RoundTrip(u64),
}

impl Trouble {
    /// The faults of one run: the same dice for all contenders.
    fn faults(self, run: u32) -> Fault {
        match self {
            Self::Loss(chance) => Fault::drop(chance).seed(u64::from(run)),
            Self::RoundTrip(ms) => Fault::delay(1.0, Duration::from_micros(ms * 500)),
        }
    }
}

struct Lossy {
    // Before the namespaces that its ends are in.
    cable: Cable,
    link: Link,
    ground: Ground,
    way: Way,
    trouble: Trouble,
    file: String,
    bytes: u64,
    /// What is there by then counts.
    deadline: Duration,
}

impl Lossy {
    fn set_up(bench: &Bench, way: Way, trouble: Trouble) -> Result<Box<dyn Rig>> {
        let ground = ground(bench)?;
        let bytes = match way {
            Way::Http => 100_000_000,
            Way::Tftp | Way::Windows => 2_000_000,
        };
        let file = format!("lossy-{bytes}");
        write_files(&ground.data, &file, 1, bytes)?;
        let (link, cable) = Cable::lay(&bench.tools)?;
        Ok(Box::new(Self {
            cable,
            link,
            ground,
            way,
            trouble,
            file,
            bytes: bytes as u64,
            deadline: Duration::from_secs(if bench.quick { 2 } else { 20 }),
        }))
    }

    fn client(&self, running: &Running, to: &Path) -> Result<Command> {
        let client = |program| self.link.client.command(program);
        let curl = |scheme| -> Result<Command> {
            let mut curl = client("curl")?;
            curl.args(["--silent", "--fail", "--tftp-blksize", "1468", "--output"])
                .arg(to)
                .arg(running.server.url(scheme, &self.file));
            Ok(curl)
        };
        match self.way {
            Way::Http => curl("http"),
            Way::Tftp => curl("tftp"),
            Way::Windows => {
                let mut atftp = client("atftp")?;
                atftp
                    .args(["--option", "blksize 1468", "--option", "windowsize 16"])
                    .args(["--get", "--remote-file"])
                    .arg(format!("assets/{}", self.file))
                    .arg("--local-file")
                    .arg(to)
                    .arg(running.server.address().to_string());
                Ok(atftp)
            }
        }
    }

    /// Where the client puts the file.
    fn fetched(&self) -> PathBuf {
        self.ground.folder.join("fetched")
    }

    /// What was fetched must be what is served, whatever the cable did to it.
    fn compare(&self) -> Result<()> {
        let served = self.ground.data.join("assets").join(&self.file);
        let hash = |path: &Path| -> Result<String> {
            let file = File::open(path).with_context(|| format!("cannot open {}", path.display()));
            Ok(sha256(file?)?)
        };
        let right = hash(&served)? == hash(&self.fetched())?;
        ensure!(right, "{} came with wrong bytes", self.file);
        Ok(())
    }

    /// Seconds and bytes of one fetch, which ends at the deadline at the latest.
    fn fetch(&self, running: &Running) -> Result<(f64, u64)> {
        let to = self.fetched();
        if to.exists() {
            fs::remove_file(&to).with_context(|| format!("cannot remove {}", to.display()))?;
        }
        let mut client = self
            .client(running, &to)?
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .context("cannot run the client")?;
        let started = Instant::now();
        // It may also give up before: what it has got by then counts, too.
        while client.try_wait()?.is_none() {
            if started.elapsed() > self.deadline {
                client.kill()?;
                client.wait()?;
                break;
            }
            thread::sleep(Duration::from_millis(2));
        }
        let seconds = started.elapsed().as_secs_f64();
        Ok((seconds, fs::metadata(&to).map_or(0, |file| file.len())))
    }
}

impl Rig for Lossy {
    fn take(&mut self, contender: &str, run: u32) -> Result<Sample> {
        // A server comes up on a good cable.
        self.cable.order(&[]);
        let scheme = if self.way == Way::Http {
            "http"
        } else {
            "tftp"
        };
        let server = Server::named(contender)?;
        let running = server.start(&self.ground, &self.link, (scheme, SMALL))?;
        self.cable.order(&[self.trouble.faults(run)]);
        let mut fetched = 0;
        let sample = metered(&running, || {
            let (seconds, bytes) = self.fetch(&running)?;
            fetched = bytes;
            let whole = f64::from(u8::from(bytes == self.bytes));
            // Of nothing, a cost for each GB cannot be told.
            let work = Work::of_bytes(bytes.max(1) as usize, seconds);
            let figures = vec![("fetched whole", whole)];
            Ok(Work { figures, ..work })
        })?;
        if fetched == self.bytes {
            self.compare().with_context(|| contender.to_owned())?;
        }
        Ok(sample)
    }
}
