//! A server and a client, each in a namespace of its own, with one cable between them.

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::clients::Clients;
use crate::ichor::{Ichor, Settings};
use crate::lab;
use crate::netns::Netns;
use crate::tools::{Set, Tools};

/// The client's own address, outside the server's pool.
pub const CLIENT: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 2);

/// Two namespaces; see [`crate::netns`] for what they need.
#[derive(Debug)]
pub struct Site {
    // In the order in which they must end: the server before its namespace.
    ichor: Option<Ichor>,
    client: Netns,
    server: Netns,
    folder: PathBuf,
}

impl Site {
    /// The namespaces and the cable, and an empty folder `target/lab/NAME`.
    pub fn new(name: &str) -> Result<Self> {
        let tools = Tools::with(&[Set::Clients])?;
        let folder = lab::folder(name)?;
        let server = Netns::create(&tools, "server")?;
        let client = Netns::create(&tools, "client")?;
        server.join(&client)?;
        client.address(CLIENT, 24)?;
        Ok(Self {
            ichor: None,
            client,
            server,
            folder,
        })
    }

    /// Starts the server on the cable, at `address` (`host` shares the
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

    /// Clients on the other end of the cable.
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
