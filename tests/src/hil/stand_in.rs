//! The Linux process in the place of a board: by it the suite itself is tested.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

use super::bench::{Bench, Facts, Missing, Stop};
use super::content::{ASSET, prepare};
use crate::console::Console;
use crate::ichor::{Ichor, Settings};
use crate::lab::SERVER;
use crate::netns::Netns;
use crate::tools::Tools;

/// The addresses that it hands out.
const POOL: (Ipv4Addr, Ipv4Addr) = (Ipv4Addr::new(192, 0, 2, 50), Ipv4Addr::new(192, 0, 2, 99));
/// The router that it tells.
const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 254);
/// How long the kernel may take to see a signal on the cable.
const SIGNAL: Duration = Duration::from_millis(200);

/// What is wrong with a stand-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Break {
    /// Nothing.
    Nothing,
    /// It has no TFTP.
    Tftp,
    /// Its leases do not outlive its power.
    Leases,
    /// One bit of its large file is wrong.
    Content,
}

/// `ichor serve` at the end of a cable between two namespaces.
#[derive(Debug)]
pub struct StandIn {
    // In the order in which they must end: the server before its namespace.
    ichor: Option<Ichor>,
    server: Netns,
    client: Arc<Netns>,
    folder: PathBuf,
    broken: Break,
    facts: Facts,
}

impl StandIn {
    /// A stand-in that keeps its files in `folder` and is off.
    ///
    /// # Errors
    /// No namespaces (see [`crate::netns::possible`]).
    pub fn new(tools: &Tools, folder: &Path, broken: Break) -> Result<Self> {
        let client = Netns::create(tools, "client")?;
        let server = Netns::create(tools, "board")?;
        server.join(&client)?;
        let data = folder.join("data");
        prepare(&data)?;
        if broken == Break::Content {
            let path = data.join(ASSET.path);
            let mut bytes = ASSET.bytes();
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 1;
            }
            fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
        }
        Ok(Self {
            ichor: None,
            server,
            client: Arc::new(client),
            folder: folder.to_owned(),
            broken,
            facts: Facts {
                name: "ichor on Linux".to_owned(),
                address: Some(SERVER),
                pool: Some(POOL),
                router: Some(ROUTER),
                http_port: 8080,
                banner: "serving on",
            },
        })
    }

    fn state(&self) -> PathBuf {
        self.folder.join("state")
    }
}

impl Bench for StandIn {
    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn lan(&self) -> Arc<Netns> {
        Arc::clone(&self.client)
    }

    fn no_power(&self) -> Option<Missing> {
        None
    }

    fn power_on(&mut self) -> Result<Instant> {
        let (first, last) = POOL;
        let mut more = vec!["--gateway".to_owned(), ROUTER.to_string()];
        if self.broken == Break::Tftp {
            more.extend(["--tftp-port", "0"].map(str::to_owned));
        }
        let settings = Settings {
            data: self.folder.join("data"),
            state: self.state(),
            nic: "packet:eth0".to_owned(),
            address: format!("{SERVER}/24"),
            dhcp: "server".to_owned(),
            pool: Some(format!("{first}-{last}")),
            more,
        };
        let command = self.server.enter(&Command::new(Ichor::program()?))?;
        let on = Instant::now();
        self.ichor = Some(Ichor::start(command, &settings, &self.folder)?);
        Ok(on)
    }

    fn power_cut(&mut self) -> Result<()> {
        if let Some(ichor) = self.ichor.take() {
            ichor.kill()?;
        }
        let state = self.state();
        if self.broken == Break::Leases && state.exists() {
            fs::remove_dir_all(&state)
                .with_context(|| format!("cannot remove {}", state.display()))?;
        }
        Ok(())
    }

    fn console(&self) -> Option<(&Console, usize)> {
        self.ichor.as_ref().map(|ichor| (ichor.log(), 0))
    }

    fn plug(&mut self, in_place: bool, _: &Stop) -> Result<Result<(), Missing>> {
        let state = if in_place { "up" } else { "down" };
        self.server.ip(&format!("link set eth0 {state}"))?;
        std::thread::sleep(SIGNAL);
        Ok(Ok(()))
    }
}
