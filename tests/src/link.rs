//! Two namespaces joined by a cable, for a server and its clients: the wire of the bench.

use std::net::Ipv4Addr;

use anyhow::Result;

use crate::lab::SERVER;
use crate::netns::Netns;
use crate::site::CLIENT;
use crate::tools::Tools;

/// What the server's kernel has as its address; ichor brings one of its own,
/// [`crate::lab::SERVER`], to the same interface.
pub const HOST: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 3);

/// The MAC address of the server's end of the cable.
const SERVER_MAC: &str = "02:00:00:00:00:01";

/// What the cable's ends spare the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Offloads {
    /// Nothing: frames of 1,500 bytes with checksums, as on a real cable.
    Off,
    /// Segments of up to 64 KiB cross it whole and unsummed, as between
    /// machines of one host.
    On,
}

/// The cable with both its namespaces. Dropping it removes them.
#[derive(Debug)]
pub struct Link {
    /// Where servers run.
    pub server: Netns,
    /// Where clients run; its `eth0` has the address [`CLIENT`].
    pub client: Netns,
}

impl Link {
    /// Lays the cable. Needs [`crate::tools::Set::Load`].
    pub fn lay(tools: &Tools, offloads: Offloads) -> Result<Self> {
        let link = Self {
            server: Netns::create(tools, "server")?,
            client: Netns::create(tools, "client")?,
        };
        link.server.join(&link.client)?;
        // So that nobody has to ask for it, before a server is there to answer:
        // Linux asks but once in a second.
        link.server
            .ip(&format!("link set eth0 address {SERVER_MAC}"))?;
        for (side, address) in [(&link.server, HOST), (&link.client, CLIENT)] {
            side.offload(offloads == Offloads::On)?;
            side.address(address, 24)?;
        }
        for address in [SERVER, HOST] {
            link.client.ip(&format!(
                "neighbour replace {address} lladdr {SERVER_MAC} dev eth0"
            ))?;
        }
        Ok(link)
    }
}
