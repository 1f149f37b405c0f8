//! DHCP servers to measure side by side: each leases the same addresses, alone, to clients behind a relay.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use crate::clients::{Clients, Load};
use crate::data;
use crate::ichor::Settings;
use crate::netns::Netns;
use crate::peers;
use crate::priority;
use crate::service::Service;
use crate::tools::Tools;

/// The kernel's address at the server's side, which the peers use (RFC 2544:
/// for benchmarks).
const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 3);
/// ichor's own, on the same interface.
const ICHOR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The relay that the clients are behind.
const RELAY: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 2);
const PREFIX: u8 = 16;
/// What is leased: 49,147 addresses, more than there are clients.
const POOL: [&str; 2] = ["198.18.64.0", "198.18.255.250"];
/// A lease that no measurement outlives, in seconds.
const LEASE: u32 = 43_200;
/// Clients that take turns. Fewer than addresses, as each keeps its lease.
const CLIENTS: u32 = 30_000;

/// How long a server may take to come up.
const START: Duration = Duration::from_secs(10);

/// A program that leases addresses. All write a lease to a file before they
/// send the ACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lessor {
    /// Ours.
    Ichor {
        /// Whether the file is on the disk, too, before the ACK.
        sync: bool,
        /// Whether an address is probed before its first offer, as by default.
        /// Of the peers only dnsmasq could, and would wait for each by itself.
        probe: bool,
    },
    /// Kea with its memfile.
    Kea,
    /// dnsmasq, told not to ping.
    Dnsmasq,
}

/// A relay's namespace and a server's, joined by a cable.
#[derive(Debug)]
pub struct Ground {
    server: Netns,
    relay: Netns,
    tools: Tools,
    ichor: PathBuf,
    folder: PathBuf,
}

impl Ground {
    /// Lays the cable; the servers' files go to `folder`. `ichor` is the
    /// program to measure.
    pub fn lay(tools: &Tools, ichor: &Path, folder: &Path) -> Result<Self> {
        let ground = Self {
            server: Netns::create(tools, "server")?,
            relay: Netns::create(tools, "relay")?,
            tools: tools.clone(),
            ichor: ichor.to_owned(),
            folder: folder.to_owned(),
        };
        ground.server.join(&ground.relay)?;
        ground.server.address(HOST, PREFIX)?;
        ground.relay.address(RELAY, PREFIX)?;
        Ok(ground)
    }

    /// Starts a server that knows of no lease, and waits until it gives one.
    pub fn start(&self, lessor: Lessor) -> Result<Leasing<'_>> {
        // Leases of the one before would be renewed, which is less work.
        let folder = self.folder.join(lessor.name());
        if folder.exists() {
            fs::remove_dir_all(&folder)
                .with_context(|| format!("cannot empty {}", folder.display()))?;
        }
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let command = self.server.enter(&self.command(lessor, &folder)?)?;
        let log = folder.join("log");
        let mut leasing = Leasing {
            process: Service::start(command, &log)?,
            clients: Clients::new(&self.relay, &folder)?,
            address: lessor.address().to_string(),
        };
        let deadline = Instant::now() + START;
        while !leasing.clients.perfdhcp_is_answered(&leasing.address)? {
            ensure!(
                leasing.process.is_running() && Instant::now() < deadline,
                "{} leases nothing:\n{}",
                lessor.name(),
                leasing.last_words()
            );
            thread::sleep(Duration::from_millis(20));
        }
        priority::first(leasing.pid())?;
        Ok(leasing)
    }

    fn command(&self, lessor: Lessor, folder: &Path) -> Result<Command> {
        match lessor {
            Lessor::Ichor { sync, probe } => self.ichor(sync, probe, folder),
            Lessor::Kea => self.kea(folder),
            Lessor::Dnsmasq => self.dnsmasq(folder),
        }
    }

    fn ichor(&self, sync: bool, probe: bool, folder: &Path) -> Result<Command> {
        let mut ichor = Command::new(&self.ichor);
        let mut more = vec!["--lease".to_owned(), LEASE.to_string()];
        if sync {
            more.extend(["--sync", "true"].map(str::to_owned));
        }
        if !probe {
            more.extend(["--probe-ms", "0"].map(str::to_owned));
        }
        let settings = Settings {
            data: folder.join("data"),
            state: folder.join("state"),
            nic: "packet:eth0".to_owned(),
            address: format!("{ICHOR}/{PREFIX}"),
            dhcp: "server".to_owned(),
            pool: Some(POOL.join("-")),
            more,
        };
        data::create_empty(&settings.data)?;
        settings.apply(&mut ichor)?;
        Ok(ichor)
    }

    /// On UDP sockets, which is faster than its raw ones, and does for clients
    /// behind a relay. Leases are not tidied up meanwhile.
    fn kea(&self, folder: &Path) -> Result<Command> {
        let config = folder.join("kea.json");
        let [first, last] = POOL;
        let text = format!(
            r#"{{"Dhcp4": {{
  "interfaces-config": {{"interfaces": ["eth0"], "dhcp-socket-type": "udp"}},
  "lease-database": {{"type": "memfile", "persist": true, "lfc-interval": 0,
                     "name": "{}/leases.csv"}},
  "valid-lifetime": {LEASE},
  "subnet4": [{{"subnet": "198.18.0.0/{PREFIX}", "pools": [{{"pool": "{first}-{last}"}}]}}],
  "loggers": [{{"name": "kea-dhcp4", "severity": "ERROR", "output_options": [{{"output": "stderr"}}]}}]
}}}}
"#,
            folder.display()
        );
        fs::write(&config, text).with_context(|| format!("cannot write {}", config.display()))?;
        let mut kea = self.tools.command("kea-dhcp4")?;
        kea.arg("-c")
            .arg(config)
            .env("KEA_PIDFILE_DIR", folder)
            .env("KEA_LOCKFILE_DIR", folder);
        Ok(kea)
    }

    fn dnsmasq(&self, folder: &Path) -> Result<Command> {
        let mut dnsmasq = peers::dnsmasq(&self.tools)?;
        let [first, last] = POOL;
        let leases = folder.join("leases");
        dnsmasq
            .args(["--quiet-dhcp", "--dhcp-authoritative", "--no-ping"])
            .arg(format!("--dhcp-range={first},{last},{LEASE}"))
            .arg(format!("--dhcp-lease-max={CLIENTS}"))
            .arg(format!("--dhcp-leasefile={}", leases.display()));
        Ok(dnsmasq)
    }
}

impl Lessor {
    /// The name of its folder.
    const fn name(self) -> &'static str {
        match self {
            Self::Ichor { .. } => "ichor",
            Self::Kea => "kea",
            Self::Dnsmasq => "dnsmasq",
        }
    }

    const fn address(self) -> Ipv4Addr {
        match self {
            Self::Ichor { .. } => ICHOR,
            Self::Kea | Self::Dnsmasq => HOST,
        }
    }
}

/// A server that leases. Dropping it ends it.
#[derive(Debug)]
pub struct Leasing<'a> {
    process: Service,
    clients: Clients<'a>,
    address: String,
}

impl Leasing<'_> {
    /// Full exchanges at `rate` per second for `seconds`. Whoever has had an
    /// exchange comes again only when all others had theirs.
    pub fn load(&self, rate: u32, seconds: u32) -> Result<Load> {
        self.clients.perfdhcp(&self.address, rate, seconds, CLIENTS)
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// The end of what it said.
    pub fn last_words(&self) -> String {
        self.process.log().tail(15)
    }
}
