//! A whole lab for one test: folder, switch, server and machines.

use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result};

use crate::data::{DataFolder, Node};
use crate::ichor::{Ichor, Settings};
use crate::qemu::{Disk, Machine, Parts, Turn, Via, Wire};
use crate::switch::Switch;
use crate::tools::{Set, Tools};

/// The server's address in every lab (RFC 5737: no real network has it).
pub const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
/// Addresses for machines.
pub const POOL: &str = "192.0.2.50-192.0.2.99";
/// The server's name on the switch.
pub const ICHOR: &str = "ichor";

/// A lab. What happened in it stays in its folder, which a failing test names.
#[derive(Debug)]
pub struct Lab {
    // In the order in which they must end: the server before its switch.
    ichor: Option<Ichor>,
    switch: Switch,
    tools: Tools,
    folder: PathBuf,
    sockets: SocketFolder,
    data: DataFolder,
    nodes: Vec<Node>,
    /// The `ichor` to run, if not [`Ichor::program`].
    program: Option<PathBuf>,
    quiet: bool,
}

impl Lab {
    /// An empty lab called `name` with `count` machines that are known to the
    /// data folder and still off.
    pub fn new(name: &str, count: u8) -> Result<Self> {
        let tools = Tools::with(&[Set::Boot, Set::Images])?;
        let folder = folder(name)?;
        let nodes = nodes(count);
        let data = DataFolder::build(&folder.join("data"), &tools, SERVER, &nodes)?;
        let sockets = SocketFolder::create()?;
        let mut switch = Switch::new();
        switch.capture(&folder.join("wire.pcapng"))?;
        switch.listen(&sockets.path(ICHOR), ICHOR)?;
        for number in 1..=count {
            let name = node_name(number);
            switch.listen(&sockets.path(&name), &name)?;
        }
        Ok(Self {
            ichor: None,
            switch,
            tools,
            folder,
            sockets,
            data,
            nodes,
            program: None,
            quiet: false,
        })
    }

    /// Says nothing at its end: whoever runs it tells where the logs are.
    #[must_use]
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// Runs this `ichor` as its server, and not the one that this workspace builds.
    #[must_use]
    pub fn with_program(mut self, program: &Path) -> Self {
        self.program = Some(program.to_owned());
        self
    }

    /// Starts the server and waits until it is there.
    pub fn serve(&mut self) -> Result<()> {
        self.serve_with(&[])
    }

    /// Starts the server with further flags; `--pool` takes the place of [`POOL`].
    pub fn serve_with(&mut self, more: &[&str]) -> Result<()> {
        let pool = (!more.contains(&"--pool")).then(|| POOL.to_owned());
        self.start("server", pool, more)
    }

    /// Starts the server as in a cloud: somebody else gives the addresses.
    pub fn serve_without_dhcp(&mut self) -> Result<()> {
        self.start("off", None, &[])
    }

    fn start(&mut self, dhcp: &str, pool: Option<String>, more: &[&str]) -> Result<()> {
        self.ichor = None;
        let settings = Settings {
            data: self.data.path().to_owned(),
            state: self.folder.join("state"),
            nic: format!("wire:{}", self.sockets.path(ICHOR).display()),
            address: format!("{SERVER}/24"),
            dhcp: dhcp.to_owned(),
            pool,
            more: more.iter().map(|flag| (*flag).to_owned()).collect(),
        };
        let program = match &self.program {
            Some(program) => program.clone(),
            None => Ichor::program()?,
        };
        let mut ichor = Ichor::start(Command::new(program), &settings, &self.folder)?;
        ichor.wait_on_switch(&self.switch, SERVER)?;
        self.ichor = Some(ichor);
        Ok(())
    }

    /// The server.
    pub fn ichor(&mut self) -> Result<&mut Ichor> {
        self.ichor.as_mut().context("the server was not started")
    }

    /// Ends the server without any warning.
    pub fn kill_ichor(&mut self) -> Result<()> {
        self.ichor
            .take()
            .context("the server was not started")?
            .kill()
    }

    /// Powers machine `number` (from 1) on, once it is its turn.
    pub fn power_on(&self, number: u8, via: Via) -> Result<Machine> {
        self.build(number, via, Some(Turn::wait()?))
    }

    /// Powers machine `number` (from 1) on, once it is its turn. It boots from
    /// the raw disk `image` and changes nothing on it.
    pub fn power_on_from(&self, number: u8, image: &Path) -> Result<Machine> {
        let turn = Some(Turn::wait()?);
        self.build_with(number, Via::Ipxe, Disk::Image(image), turn)
    }

    /// Powers machine `number` (from 1) on, however many others run.
    pub fn power_on_at_once(&self, number: u8, via: Via) -> Result<Machine> {
        self.build(number, via, None)
    }

    fn build(&self, number: u8, via: Via, turn: Option<Turn>) -> Result<Machine> {
        let url = format!("http://{SERVER}:8080/boot.ipxe");
        let disk = match via {
            Via::Ipxe => Disk::Script(&url),
            _ => Disk::Absent,
        };
        self.build_with(number, via, disk, turn)
    }

    fn build_with(
        &self,
        number: u8,
        via: Via,
        disk: Disk<'_>,
        turn: Option<Turn>,
    ) -> Result<Machine> {
        let name = node_name(number);
        let parts = Parts {
            name: &name,
            mac: [0x52, 0x54, 0, 0, 0, number],
            via,
            wire: Wire::Switch(&self.sockets.path(&name)),
            folder: &self.folder,
            disk,
        };
        Machine::power_on(&self.tools, &parts, turn)
    }

    /// The switch, to order faults and to plug ports in.
    pub fn switch(&self) -> &Switch {
        &self.switch
    }

    /// The socket of the switch that the server is plugged into, for a server
    /// that is a machine itself.
    pub fn server_wire(&self) -> PathBuf {
        self.sockets.path(ICHOR)
    }

    /// The socket of the switch that machine `number` is plugged into, for a
    /// machine of another kind.
    pub fn machine_wire(&self, number: u8) -> PathBuf {
        self.sockets.path(&node_name(number))
    }

    /// The tools that machines are built with.
    pub fn tools(&self) -> &Tools {
        &self.tools
    }

    /// The folder that the server serves.
    pub fn data(&self) -> &DataFolder {
        &self.data
    }

    /// What the data folder knows of machine `number` (from 1).
    pub fn node(&self, number: u8) -> Result<&Node> {
        let index = usize::from(number).wrapping_sub(1);
        self.nodes.get(index).context("there is no such machine")
    }

    /// Where logs and capture go.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.quiet {
            return;
        }
        // The test's harness shows this when the test failed.
        println!("logs and capture: {}", self.folder.display());
        if let Some(ichor) = &self.ichor {
            println!("ichor's journal:\n{}", ichor.journal().tail(40));
            println!("ichor's log:\n{}", ichor.log().tail(20));
        }
    }
}

/// Machines 1 to `count`, as a data folder knows them.
pub fn nodes(count: u8) -> Vec<Node> {
    (1..=count)
        .map(|number| Node {
            mac: format!("52:54:00:00:00:{number:02x}"),
            hostname: node_name(number),
        })
        .collect()
}

/// The name of machine `number`, on the switch and as a host name.
pub fn node_name(number: u8) -> String {
    format!("node-{number}")
}

/// An empty folder for logs: `target/lab/NAME`.
pub fn folder(name: &str) -> Result<PathBuf> {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let workspace = package.parent().unwrap_or(package);
    let folder = workspace.join("target/lab").join(name);
    if folder.exists() {
        fs::remove_dir_all(&folder)
            .with_context(|| format!("cannot empty {}", folder.display()))?;
    }
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    Ok(folder)
}

/// A folder with a short name: a socket's path has room for 107 bytes on
/// Linux and 103 on macOS.
#[derive(Debug)]
struct SocketFolder(PathBuf);

impl SocketFolder {
    fn create() -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ichor-{}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(Self(path))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for SocketFolder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
