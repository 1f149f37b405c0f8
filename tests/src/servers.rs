//! Servers to measure side by side: each serves the same folder, alone, by HTTP or TFTP.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::ichor::{Ichor, Settings};
use crate::lab::SERVER;
use crate::link::{HOST, Link};
use crate::peers;
use crate::service::Service;
use crate::tools::{Set, Tools};

/// How long a server may take to come up.
const START: Duration = Duration::from_secs(10);

/// A program that serves files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Server {
    /// HTTP and TFTP.
    Ichor,
    /// HTTP, as one process with sendfile and without a log of requests.
    Nginx,
    /// TFTP.
    Dnsmasq,
    /// TFTP.
    Atftpd,
    /// TFTP.
    TftpdHpa,
}

/// What all servers share.
#[derive(Debug, Clone)]
pub struct Ground {
    /// The lab's tools, which the peers come from.
    pub tools: Tools,
    /// The `ichor` to run.
    pub ichor: PathBuf,
    /// What they serve: `assets/` in it, under that name.
    pub data: PathBuf,
    /// Where their configurations and logs go.
    pub folder: PathBuf,
}

impl Server {
    /// Its name to people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ichor => "ichor",
            Self::Nginx => "nginx",
            Self::Dnsmasq => "dnsmasq",
            Self::Atftpd => "atftpd",
            Self::TftpdHpa => "tftpd-hpa",
        }
    }

    /// The server of that name.
    pub fn named(name: &str) -> Result<Self> {
        let all = [
            Self::Ichor,
            Self::Nginx,
            Self::Dnsmasq,
            Self::Atftpd,
            Self::TftpdHpa,
        ];
        let found = all.into_iter().find(|server| server.name() == name);
        found.with_context(|| format!("no server is called {name}"))
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(self) -> Ipv4Addr {
        match self {
            Self::Ichor => SERVER,
            _ => HOST,
        }
    }

    /// The URL of a file in `assets/`; `scheme` is `http` or `tftp`.
    #[must_use]
    pub fn url(self, scheme: &str, file: &str) -> String {
        let port = if scheme == "http" { 8080 } else { 69 };
        format!("{scheme}://{}:{port}/assets/{file}", self.address())
    }

    /// The command that runs it in the foreground, outside of any namespace.
    pub fn command(self, ground: &Ground) -> Result<Command> {
        let (tools, data) = (&ground.tools, &ground.data);
        let mut command = match self {
            Self::Ichor => return self.ichor(ground),
            Self::Nginx => return peers::nginx(tools, HOST, (data, data), &ground.folder),
            Self::Dnsmasq => {
                let mut dnsmasq = peers::dnsmasq(tools)?;
                dnsmasq.args(["--enable-tftp", "--tftp-root"]);
                dnsmasq
            }
            Self::Atftpd => {
                let mut atftpd = tools.command("atftpd")?;
                atftpd
                    .args(["--daemon", "--no-fork", "--user", "root.root"])
                    .args(["--logfile", "/dev/null", "--verbose=1"])
                    .args(["--bind-address", &HOST.to_string()]);
                atftpd
            }
            Self::TftpdHpa => {
                let mut tftpd = tftpd_hpa(tools);
                tftpd
                    .args(["--foreground", "--user", "root", "--secure"])
                    .args(["--address", &format!("{HOST}:69")]);
                tftpd
            }
        };
        command.arg(data);
        Ok(command)
    }

    fn ichor(self, ground: &Ground) -> Result<Command> {
        let mut ichor = Command::new(&ground.ichor);
        let settings = Settings {
            data: ground.data.clone(),
            state: ground.folder.join("state"),
            nic: "packet:eth0".to_owned(),
            address: format!("{SERVER}/24"),
            dhcp: "off".to_owned(),
            pool: None,
            more: Vec::new(),
        };
        settings.apply(&mut ichor)?;
        Ok(ichor)
    }

    /// Starts it at the link's server side, and waits for nothing.
    pub fn launch(self, ground: &Ground, link: &Link) -> Result<Running> {
        let command = self.command(ground)?;
        let log = ground.folder.join(format!("{}.log", self.name()));
        // Not by way of `ip`: what the bench counts begins with this very program.
        let process = link.server.inside(|| {
            Ok(if self == Self::Ichor {
                Process::Ichor(Box::new(Ichor::run(command, &ground.folder)?))
            } else {
                Process::Peer(Service::start(command, &log)?)
            })
        })?;
        Ok(Running {
            server: self,
            process,
        })
    }

    /// The same, and waits until it has served `file` by `http` or `tftp`.
    pub fn start(
        self,
        ground: &Ground,
        link: &Link,
        (scheme, file): (&str, &str),
    ) -> Result<Running> {
        let mut running = self.launch(ground, link)?;
        let mut probe = link.client.command("curl")?;
        probe
            .args(["--silent", "--fail", "--max-time", "1", "--output"])
            .args(["/dev/null", &self.url(scheme, file)])
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let deadline = Instant::now() + START;
        while !probe.status().context("cannot run curl")?.success() {
            ensure!(
                running.is_running() && Instant::now() < deadline,
                "{} does not serve {file} by {scheme}:\n{}",
                self.name(),
                running.last_words()
            );
            thread::sleep(Duration::from_millis(10));
        }
        Ok(running)
    }
}

/// A server at work. Dropping it ends it.
#[derive(Debug)]
pub struct Running {
    /// Which.
    pub server: Server,
    process: Process,
}

#[derive(Debug)]
enum Process {
    Ichor(Box<Ichor>),
    Peer(Service),
}

impl Running {
    /// Its process.
    #[must_use]
    pub fn pid(&self) -> u32 {
        match &self.process {
            Process::Ichor(ichor) => ichor.pid(),
            Process::Peer(peer) => peer.pid(),
        }
    }

    /// Whether it is alive.
    pub fn is_running(&mut self) -> bool {
        match &mut self.process {
            Process::Ichor(ichor) => ichor.is_running(),
            Process::Peer(peer) => peer.is_running(),
        }
    }

    /// The end of what it said.
    #[must_use]
    pub fn last_words(&self) -> String {
        match &self.process {
            Process::Ichor(ichor) => ichor.log().tail(15),
            Process::Peer(peer) => peer.log().tail(15),
        }
    }
}

/// tftpd-hpa's program, without arguments. atftpd's has the same name.
#[must_use]
pub fn tftpd_hpa(tools: &Tools) -> Command {
    const PROGRAM: &str = "in.tftpd";
    // Not among the tools if the system has it: then it is the one on `PATH`.
    tools
        .command_in(&[Set::TftpdHpa], PROGRAM)
        .unwrap_or_else(|_| Command::new(PROGRAM))
}

/// Writes `count` files of `bytes` each into `assets/` of `data`: bytes without a
/// pattern, so that one block in the place of another is noticed. One file is
/// called `name`; several are `name/0`, `name/1` ….
pub fn write_files(data: &Path, name: &str, count: usize, bytes: usize) -> Result<()> {
    let assets = data.join("assets");
    let cannot = |path: &Path| format!("cannot write {}", path.display());
    for number in 0..count {
        let path = match count {
            1 => assets.join(name),
            _ => assets.join(name).join(number.to_string()),
        };
        let parent = path.parent().unwrap_or(&assets);
        fs::create_dir_all(parent).with_context(|| cannot(parent))?;
        fs::write(&path, noise(number as u64 + 1, bytes)).with_context(|| cannot(&path))?;
    }
    Ok(())
}

/// Bytes without a pattern, the same for the same seed (xorshift64).
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut noise = Vec::with_capacity(bytes + 8);
    while noise.len() < bytes {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        noise.extend(state.to_le_bytes());
    }
    noise.truncate(bytes);
    noise
}
