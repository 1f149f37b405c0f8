//! Network namespaces joined by virtual cables, for clients that need a kernel's own stack.
//!
//! Linux and root only. Nothing here touches the namespace that the tests
//! themselves run in: both ends of every cable lie in namespaces of ours.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write as _};
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt as _;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Context, Result, ensure};

use crate::tools::Tools;

/// Whether namespaces can be made; says so if not.
///
/// A test that needs them begins with `if !netns::possible() { return Ok(()) }`.
pub fn possible() -> bool {
    let permitted = permitted();
    if !permitted {
        // Not by a macro: the harness hides what those print in tests that pass.
        let _ = writeln!(
            io::stderr(),
            "skipped, needs root: network namespaces for real clients"
        );
    }
    permitted
}

/// Whether this is root, who alone may make namespaces.
pub fn permitted() -> bool {
    // Nobody but root owns root's own processes.
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A network namespace; dropping it removes it, with all interfaces inside.
#[derive(Debug)]
pub struct Netns {
    name: String,
    tools: Tools,
}

impl Netns {
    /// A namespace with nothing but its loopback interface. `label` is for people.
    pub fn create(tools: &Tools, label: &str) -> Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("ichor-{}-{count}-{label}", std::process::id());
        run(tools.command("ip")?.args(["netns", "add", &name]))?;
        let netns = Self {
            name,
            tools: tools.clone(),
        };
        netns.ip("link set lo up")?;
        Ok(netns)
    }

    /// Joins two namespaces by a cable whose ends are called `eth0`.
    pub fn join(&self, other: &Self) -> Result<()> {
        let (here, there) = (&self.name, &other.name);
        self.root_ip(&format!(
            "link add eth0 netns {here} type veth peer name eth0 netns {there}"
        ))?;
        self.ip("link set eth0 up")?;
        other.ip("link set eth0 up")
    }

    /// Gives `eth0` an address.
    pub fn address(&self, address: Ipv4Addr, prefix: u8) -> Result<()> {
        self.ip(&format!("address add {address}/{prefix} dev eth0"))
    }

    /// Lets `eth0` carry segments larger than a frame and leave checksums to a
    /// card, as between machines of one host; or not, as on a real cable.
    pub fn offload(&self, on: bool) -> Result<()> {
        let to = if on { "on" } else { "off" };
        let mut ethtool = self.command("ethtool")?;
        ethtool.args(["-K", "eth0"]);
        for feature in ["tx", "rx", "tso", "gso", "gro"] {
            ethtool.args([feature, to]);
        }
        run(&mut ethtool)
    }

    /// Runs `ip` inside, with its arguments separated by spaces.
    pub fn ip(&self, arguments: &str) -> Result<()> {
        self.root_ip(&format!("-n {} {arguments}", self.name))
    }

    /// `command`, to be run inside.
    pub fn enter(&self, command: &Command) -> Result<Command> {
        let mut entered = self.tools.command("ip")?;
        // `env` sets what the command needs: set here, it would keep `ip`
        // from its own libraries.
        entered.args(["netns", "exec", &self.name, "env"]);
        // Its options come before its assignments.
        for (key, _) in command.get_envs().filter(|(_, value)| value.is_none()) {
            entered.arg("-u").arg(key);
        }
        for (key, value) in command.get_envs() {
            let Some(value) = value else { continue };
            let mut assignment = key.to_owned();
            assignment.extend([OsStr::new("="), value]);
            entered.arg(assignment);
        }
        entered.arg(command.get_program()).args(command.get_args());
        Ok(entered)
    }

    /// A program of the lab's tools, or of the system, to be run inside.
    pub fn command(&self, program: &str) -> Result<Command> {
        self.enter(&self.tools.command(program)?)
    }

    /// Its name, for arguments of [`Netns::ip`].
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    /// No system but Linux has namespaces.
    #[cfg(not(target_os = "linux"))]
    pub fn inside<T: Send>(&self, _work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        anyhow::bail!("network namespaces need Linux")
    }

    /// Runs `work` on a thread of its own whose sockets are this namespace's.
    #[cfg(target_os = "linux")]
    pub fn inside<T: Send>(&self, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
        use std::os::fd::AsFd as _;

        use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

        // Where iproute2 keeps them.
        let path = format!("/run/netns/{}", self.name);
        let link = fs::File::open(&path).with_context(|| format!("cannot open {path}"))?;
        std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                move_into_link_name_space(link.as_fd(), Some(LinkNameSpaceType::Network))
                    .with_context(|| format!("cannot enter {path}"))?;
                work()
            });
            thread
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    fn root_ip(&self, arguments: &str) -> Result<()> {
        run(self.tools.command("ip")?.args(arguments.split_whitespace()))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        if let Ok(mut ip) = self.tools.command("ip") {
            let _ = run(ip.args(["netns", "delete", &self.name]));
        }
    }
}

fn run(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}
