//! A bridge in a namespace of its own, for namespaces and machines in QEMU on one Ethernet.
//!
//! Linux and root only, as [`crate::netns`].

use anyhow::Result;

use crate::netns::Netns;
use crate::qemu::Wire;
use crate::tools::Tools;

/// The only machine's port.
const TAP: &str = "tap0";

/// A bridge with room for one machine; dropping it unplugs everybody.
#[derive(Debug)]
pub struct Bridge {
    netns: Netns,
}

impl Bridge {
    /// A bridge with the machine's port, and the `eth0` of each of `stations`.
    pub fn join(tools: &Tools, stations: &[&Netns]) -> Result<Self> {
        let netns = Netns::create(tools, "bridge")?;
        // Without the delay that a spanning tree would need to find loops.
        netns.ip("link add br0 type bridge stp_state 0 forward_delay 0")?;
        netns.ip("link set br0 up")?;
        netns.ip(&format!("tuntap add dev {TAP} mode tap"))?;
        let bridge = Self { netns };
        bridge.port(TAP)?;
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

    /// Where the machine is plugged in.
    pub fn wire(&self) -> Wire<'_> {
        Wire::Tap(TAP, &self.netns)
    }

    fn port(&self, name: &str) -> Result<()> {
        self.netns.ip(&format!("link set {name} master br0 up"))
    }
}
