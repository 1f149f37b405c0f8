//! A server and a client, each in a namespace of its own, and perhaps a machine in QEMU.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::bridge::Bridge;
use crate::clients::Clients;
use crate::data::{DataFolder, Node};
use crate::ichor::{Ichor, Settings};
use crate::lab;
use crate::netns::Netns;
use crate::qemu::{Disk, Machine, Parts, Turn, Via};
use crate::tools::{Set, Tools};

/// The client's own address, outside the server's pool.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// The machine's network card.
const MACHINE: [u8; 6] = [0x52, 0x54, 0, 0, 0, 1];

/// Two namespaces; see [`crate::netns`] for what they need.
#[derive(Debug)]
pub struct Site {
    // In the order in which they must end: the server before its namespace.
    ichor: Option<Ichor>,
    bridge: Option<Bridge>,
    client: Netns,
    server: Netns,
    tools: Tools,
    folder: PathBuf,
}

impl Site {
    /// The namespaces with a cable between them, and an empty folder
    /// `target/lab/NAME`.
    pub fn new(name: &str) -> Result<Self> {
        let site = Self::apart(name, Tools::with(&[Set::Clients])?)?;
        site.server.join(&site.client)?;
        site.client.address(CLIENT, 24)?;
        Ok(site)
    }

    /// The same with a bridge in place of the cable, for a machine besides.
    pub fn with_machine(name: &str) -> Result<Self> {
        let tools = Tools::with(&[Set::Clients, Set::Boot, Set::Images])?;
        let mut site = Self::apart(name, tools)?;
        site.bridge = Some(Bridge::join(&site.tools, 1, &[&site.server, &site.client])?);
        site.client.address(CLIENT, 24)?;
        Ok(site)
    }

    fn apart(name: &str, tools: Tools) -> Result<Self> {
        Ok(Self {
            ichor: None,
            bridge: None,
            client: Netns::create(&tools, "client")?,
            server: Netns::create(&tools, "server")?,
            folder: lab::folder(name)?,
            tools,
        })
    }

    /// Builds the data folder, which knows the machine, and returns both.
    pub fn fill(&self) -> Result<(DataFolder, Node)> {
        let [a, b, c, d, e, f] = MACHINE;
        let node = Node {
            mac: format!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"),
            hostname: lab::node_name(1),
        };
        let nodes = std::slice::from_ref(&node);
        let data = DataFolder::build(&self.data(), &self.tools, lab::SERVER, nodes)?;
        Ok((data, node))
    }

    /// Powers the machine on, once it is its turn. It boots by PXE.
    pub fn power_on(&self) -> Result<Machine> {
        let wire = self
            .bridge
            .as_ref()
            .and_then(|bridge| bridge.wires().next());
        let parts = Parts {
            name: &lab::node_name(1),
            mac: MACHINE,
            via: Via::Pxe,
            wire: wire.context("this site has no machine")?,
            folder: &self.folder,
            disk: Disk::Absent,
        };
        Machine::power_on(&self.tools, &parts, Some(Turn::wait()?))
    }

    /// Starts the server on its `eth0`, at `address` (`host` shares the
    /// kernel's), and waits until it answers HTTP.
    pub fn serve(&mut self, address: &str, more: &[&str]) -> Result<()> {
        let settings = Settings {
            data: self.data(),
            state: self.folder.join("state"),
            nic: "packet:eth0".to_owned(),
            address: address.to_owned(),
            dhcp: "server".to_owned(),
            pool: Some("192.0.2.10-192.0.2.250".to_owned()),
            more: more.iter().map(|flag| (*flag).to_owned()).collect(),
        };
        std::fs::create_dir_all(&settings.data)?;
        let command = self.server.enter(&Command::new(Ichor::program()?))?;
        let mut ichor = Ichor::start(command, &settings, &self.folder)?;
        let clients = self.clients()?;
        let root = format!("http://{}:8080/", lab::SERVER);
        ichor.wait_until("answer HTTP", || {
            clients.curl(&root, &["--max-time", "1"]).is_ok()
        })?;
        self.ichor = Some(ichor);
        Ok(())
    }

    /// The server.
    pub fn ichor(&mut self) -> Result<&mut Ichor> {
        self.ichor.as_mut().context("the server was not started")
    }

    /// Clients at the client's `eth0`.
    pub fn clients(&self) -> Result<Clients<'_>> {
        Clients::new(&self.client, &self.folder.join("client"))
    }

    /// The namespace of the server.
    pub fn server_side(&self) -> &Netns {
        &self.server
    }

    /// The namespace of the client.
    pub fn client_side(&self) -> &Netns {
        &self.client
    }

    /// The folder that the server serves.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// Where logs go.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        println!("logs: {}", self.folder.display());
        if let Some(ichor) = &self.ichor {
            println!("ichor's journal:\n{}", ichor.journal().tail(20));
            println!("ichor's log:\n{}", ichor.log().tail(20));
        }
    }
}
