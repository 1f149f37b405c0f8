//! A bridge in a namespace of its own, for namespaces and machines in QEMU on one Ethernet.
//!
//! Linux and root only, as [`crate::netns`].

use anyhow::Result;

use crate::netns::Netns;
use crate::qemu::Wire;
use crate::tools::Tools;

/// A bridge with ports for machines; dropping it unplugs everybody.
#[derive(Debug)]
pub struct Bridge {
    netns: Netns,
    /// A TAP for each machine.
    taps: Vec<String>,
}

impl Bridge {
    /// A bridge with ports for so many machines, and the `eth0` of each of `stations`.
    pub fn join(tools: &Tools, machines: u8, stations: &[&Netns]) -> Result<Self> {
        let netns = Netns::create(tools, "bridge")?;
        // Without the delay that a spanning tree would need to find loops.
        netns.ip("link add br0 type bridge stp_state 0 forward_delay 0")?;
        netns.ip("link set br0 up")?;
        let taps = (0..machines).map(|number| format!("tap{number}")).collect();
        let bridge = Self { netns, taps };
        for tap in &bridge.taps {
            bridge.netns.ip(&format!("tuntap add dev {tap} mode tap"))?;
            bridge.port(tap)?;
        }
        for (number, station) in stations.iter().enumerate() {
            let (port, there) = (format!("port{number}"), station.name());
            bridge.netns.ip(&format!(
                "link add {port} type veth peer name eth0 netns {there}"
            ))?;
            bridge.port(&port)?;
            station.ip("link set eth0 up")?;
        }
        Ok(bridge)
    }

    /// Where each machine is plugged in.
    pub fn wires(&self) -> impl Iterator<Item = Wire<'_>> {
        self.taps.iter().map(|tap| Wire::Tap(tap, &self.netns))
    }

    fn port(&self, name: &str) -> Result<()> {
        self.netns.ip(&format!("link set {name} master br0 up"))
    }
}
