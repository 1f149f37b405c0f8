//! Hundreds of nodes, each with an address of its own, that fetch the same file at once.

use std::fmt::Write as _;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::link::{Link, Offloads};
use crate::netns::Netns;
use crate::peers;
use crate::servers::{Ground, Server};
use crate::service::Service;

/// The kernel's address at the server's side, which nginx uses (RFC 2544: for
/// benchmarks).
const HOST: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 3);
/// ichor's own, on the same interface.
const ICHOR: Ipv4Addr = Ipv4Addr::new(198, 18, 0, 1);
/// The first node's; the others follow.
const FIRST: Ipv4Addr = Ipv4Addr::new(198, 18, 16, 1);
const PREFIX: u8 = 16;
/// The most nodes that have room between [`FIRST`] and the network's end.
pub const MOST: u16 = 4096;

/// `curl`s that share the nodes between them. Each could do 300 transfers, but
/// looks at all of them whenever one has news, and would be what is measured.
/// They are as many for few nodes as for a thousand: the kernel bills to the
/// server what it costs to wake them.
const CURLS: usize = 32;
/// No fetch of all may take longer, in seconds.
const PATIENCE: u32 = 1_800;

/// The nodes on one cable, and the server's side of it.
#[derive(Debug)]
pub struct Crowd {
    link: Link,
    ground: Ground,
    nodes: u16,
}

/// What a fetch of all nodes took.
#[derive(Debug, Clone, PartialEq)]
pub struct Fetched {
    /// From the first node's start to the last one's end, in seconds.
    pub total: f64,
    /// Each node's own time, in seconds.
    pub each: Vec<f64>,
}

impl Crowd {
    /// Lays the cable, with as many nodes at most.
    pub fn gather(ground: Ground, nodes: u16) -> Result<Self> {
        ensure!(nodes <= MOST, "room for {MOST} nodes, not for {nodes}");
        let link = Link::lay(&ground.tools, Offloads::On)?;
        link.server.address(HOST, PREFIX)?;
        let addresses = (0..nodes).map(node);
        addresses_at_once(&link.client, &ground, addresses)?;
        Ok(Self {
            link,
            ground,
            nodes,
        })
    }

    /// Starts ichor or nginx, and waits until it serves `file`; with its URL.
    pub fn start(&self, server: Server, file: &str) -> Result<(Service, String)> {
        let ground = &self.ground;
        let (command, address) = match server {
            Server::Ichor => {
                let mut ichor = server.command(ground)?;
                // The last one counts.
                ichor.args(["--address", &format!("{ICHOR}/{PREFIX}")]);
                (ichor, ICHOR)
            }
            Server::Nginx => {
                let served = (&*ground.data, &*ground.data);
                let nginx = peers::nginx(&ground.tools, HOST, served, &ground.folder)?;
                (nginx, HOST)
            }
            other => bail!("{} does not serve HTTP", other.name()),
        };
        let log = ground.folder.join(format!("{}.log", server.name()));
        let mut service = Service::start(self.link.server.enter(&command)?, &log)?;
        let url = format!("http://{address}:8080/assets/{file}");
        let mut probe = self.link.client.command("curl")?;
        probe
            .args(["--silent", "--fail", "--head", "--max-time", "10"])
            .args(["--retry", "20", "--retry-connrefused", "--retry-delay", "1"])
            .args(["--output", "/dev/null", &url])
            .stdin(Stdio::null());
        ensure!(
            probe.status().context("cannot run curl")?.success() && service.is_running(),
            "{} does not serve {file}:\n{}",
            server.name(),
            service.log().tail(15)
        );
        Ok((service, url))
    }

    /// Has the first `nodes` fetch `url`, all at once. Each must get `bytes`.
    pub fn fetch(&self, nodes: u16, url: &str, bytes: u64) -> Result<Fetched> {
        ensure!(nodes <= self.nodes, "there are {} nodes", self.nodes);
        let all: Vec<Ipv4Addr> = (0..nodes).map(node).collect();
        let mut curls = Vec::new();
        let of_each = all.len().div_ceil(CURLS).max(1);
        for (number, some) in all.chunks(of_each).enumerate() {
            let path = self.ground.folder.join(format!("crowd-{number}.curl"));
            fs::write(&path, config(some, url))
                .with_context(|| format!("cannot write {}", path.display()))?;
            curls.push(path);
        }
        let started = Instant::now();
        let running: Vec<Curl> = curls
            .iter()
            .map(|config| self.curl(config, of_each))
            .collect::<Result<_>>()?;
        let mut each = Vec::new();
        for curl in running {
            for line in curl.finish()?.lines() {
                let (seconds, got) =
                    transfer(line).with_context(|| format!("curl printed {line:?}"))?;
                ensure!(got == bytes, "a node got {got} of {bytes} bytes");
                each.push(seconds);
            }
        }
        let total = started.elapsed().as_secs_f64();
        ensure!(
            each.len() == all.len(),
            "{} of {} nodes were done",
            each.len(),
            all.len()
        );
        Ok(Fetched { total, each })
    }

    fn curl(&self, config: &PathBuf, transfers: usize) -> Result<Curl> {
        let mut curl = self.link.client.command("curl")?;
        curl.args(["--parallel", "--parallel-immediate"])
            .args(["--parallel-max", &transfers.to_string()])
            .args(["--no-progress-meter", "--config"])
            .arg(config)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(Curl(Some(curl.spawn().context("cannot run curl")?)))
    }
}

impl Fetched {
    /// The slowest node's time divided by the fastest one's.
    pub fn spread(&self) -> f64 {
        let slowest = self.each.iter().copied().fold(0.0, f64::max);
        let fastest = self.each.iter().copied().fold(f64::INFINITY, f64::min);
        slowest / fastest
    }
}

/// A running `curl`, which ends with this.
struct Curl(Option<Child>);

impl Curl {
    /// What it printed, once all its transfers are done.
    fn finish(mut self) -> Result<String> {
        let curl = self.0.take().context("curl was waited for")?;
        let output = curl.wait_with_output()?;
        let complaint = String::from_utf8_lossy(&output.stderr);
        // One line for each node that failed: the first says enough.
        let first = complaint.lines().next().unwrap_or_default();
        ensure!(
            output.status.success(),
            "curl ended with {}: {first}",
            output.status
        );
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Curl {
    fn drop(&mut self) {
        if let Some(mut curl) = self.0.take() {
            let _ = curl.kill();
            let _ = curl.wait();
        }
    }
}

fn node(number: u16) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(FIRST) + u32::from(number))
}

/// One call for all: a thousand would take seconds.
fn addresses_at_once(
    netns: &Netns,
    ground: &Ground,
    addresses: impl Iterator<Item = Ipv4Addr>,
) -> Result<()> {
    let batch: String = addresses.fold(String::new(), |mut batch, address| {
        // Writing to a String cannot fail.
        let _ = writeln!(batch, "address add {address}/{PREFIX} dev eth0");
        batch
    });
    let path = ground.folder.join("crowd.ip");
    fs::write(&path, batch).with_context(|| format!("cannot write {}", path.display()))?;
    let output = netns.command("ip")?.arg("-batch").arg(&path).output()?;
    ensure!(
        output.status.success(),
        "cannot give the nodes their addresses: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

/// `curl`'s options for a transfer of each of these nodes.
fn config(nodes: &[Ipv4Addr], url: &str) -> String {
    let one = |node: &Ipv4Addr| {
        format!(
            "url = \"{url}\"\ninterface = \"{node}\"\noutput = \"/dev/null\"\n\
             fail\nmax-time = {PATIENCE}\n\
             write-out = \"%{{time_total}} %{{size_download}}\\n\"\n"
        )
    };
    nodes.iter().map(one).collect::<Vec<_>>().join("next\n")
}

fn transfer(line: &str) -> Option<(f64, u64)> {
    let (seconds, bytes) = line.split_once(' ')?;
    Some((seconds.parse().ok()?, bytes.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_follow_each_other_over_the_end_of_a_byte() {
        assert_eq!(node(0), FIRST);
        assert_eq!(node(255), Ipv4Addr::new(198, 18, 17, 0));
        assert_eq!(node(MOST - 1), Ipv4Addr::new(198, 18, 32, 0));
    }

    #[test]
    fn each_node_has_a_transfer_of_its_own() {
        let text = config(&[node(0), node(1)], "http://192.0.2.1/x");
        assert_eq!(text.matches("next\n").count(), 1);
        assert!(text.contains("interface = \"198.18.16.2\"\n"));
        assert!(text.contains("%{size_download}\\n\"\n"));
        assert_eq!(transfer("1.5 100"), Some((1.5, 100)));
    }

    #[test]
    fn the_slowest_is_compared_with_the_fastest() {
        let each = vec![2.0, 1.0, 3.0];
        assert_eq!(Fetched { total: 3.0, each }.spread(), 3.0);
    }
}
