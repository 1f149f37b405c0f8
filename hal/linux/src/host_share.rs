//! Serving on the address that the machine itself uses.
//!
//! The kernel keeps its address, and goes on answering ARP, ping and every
//! port that is not ours. On our ports it must keep silent, or it would refuse
//! with RST and port-unreachable what the stack accepts. So each port is bound
//! by a socket whose filter drops everything: the kernel believes that
//! somebody serves it, and no firewall rule is needed. The stack's packet
//! socket sees the frames before that.
//!
//! The stack answers no ARP requests here; it learns neighbours by its own.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use crate::nic::{Admission, Ports, bpf};
use crate::sys;

/// An interface's IPv4 address as the kernel has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostAddress {
    /// The address.
    pub address: Ipv4Addr,
    /// Length of the network's prefix, 0 to 32.
    pub prefix: u8,
    /// The default gateway, if there is one on this interface.
    pub gateway: Option<Ipv4Addr>,
}

/// Ports of the machine's own address, held for the stack while this lives.
#[derive(Debug)]
pub struct HostShare {
    admission: Admission,
    /// Open, and never read.
    _holders: Vec<OwnedFd>,
}

/// Why an address cannot be shared. Displays what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum ShareError {
    /// The interface has no IPv4 address.
    NoAddress {
        /// Its name.
        interface: String,
    },
    /// A program of this machine serves a port already.
    PortInUse {
        /// `tcp` or `udp`.
        protocol: &'static str,
        /// The port.
        port: u16,
    },
    /// Ports below 1024 are for the privileged.
    NoPermission {
        /// The port.
        port: u16,
    },
    /// A system call failed.
    Io {
        /// What was being done.
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl fmt::Display for ShareError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress { interface } => write!(
                f,
                "interface {interface} has no IPv4 address to share: give it one, or give ichor its own with `--address`"
            ),
            Self::PortInUse { protocol, port } => write!(
                f,
                "a program on this machine serves {protocol} port {port} already (`ss -lnp sport = {port}` names it): stop it, choose another port, or give ichor its own address"
            ),
            Self::NoPermission { port } => write!(
                f,
                "port {port} needs CAP_NET_BIND_SERVICE: run as root or from the systemd unit"
            ),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
        }
    }
}

impl std::error::Error for ShareError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

impl HostAddress {
    /// The first IPv4 address of `interface`.
    pub fn of(interface: &str) -> Result<Self, ShareError> {
        let failed = |source| ShareError::Io {
            doing: format!("asking for the address of {interface}"),
            source,
        };
        let socket = socket(SocketType::DGRAM).map_err(|errno| failed(errno.into()))?;
        let (address, mask) = match sys::interface_address(&socket, interface) {
            Ok(both) => both,
            Err(error) if error.kind() == io::ErrorKind::AddrNotAvailable => {
                return Err(ShareError::NoAddress {
                    interface: interface.into(),
                });
            }
            Err(error) => return Err(failed(error)),
        };
        let routes = std::fs::read_to_string("/proc/thread-self/net/route").map_err(failed)?;
        Ok(Self {
            address,
            prefix: mask.to_bits().leading_ones() as u8,
            gateway: default_gateway(&routes, interface),
        })
    }

    /// The network's broadcast address, if it has one (RFC 3021 §2.2).
    pub fn broadcast(&self) -> Option<Ipv4Addr> {
        let host_bits = u32::MAX.checked_shr(self.prefix.into()).unwrap_or(0);
        (self.prefix < 31).then(|| Ipv4Addr::from_bits(self.address.to_bits() | host_bits))
    }
}

impl HostShare {
    /// Takes `ports` of `host`. Do so before frames are read, and give
    /// [`admission`](Self::admission) to the NIC.
    pub fn claim(host: HostAddress, ports: Ports) -> Result<Self, ShareError> {
        let mut holders = Vec::new();
        for &port in &ports.tcp {
            holders.push(hold(SocketType::STREAM, "tcp", host.address, port)?);
        }
        for &port in &ports.udp {
            holders.push(hold(SocketType::DGRAM, "udp", host.address, port)?);
        }
        Ok(Self {
            admission: Admission {
                address: Some(host.address),
                broadcast: host.broadcast(),
                shared: Some(ports),
            },
            _holders: holders,
        })
    }

    /// What the stack's packet socket must let in.
    pub fn admission(&self) -> &Admission {
        &self.admission
    }
}

fn socket(kind: SocketType) -> Result<OwnedFd, Errno> {
    rustix::net::socket_with(AddressFamily::INET, kind, SocketFlags::CLOEXEC, None)
}

/// A socket that has a port and drops everything that comes to it.
fn hold(
    kind: SocketType,
    protocol: &'static str,
    address: Ipv4Addr,
    port: u16,
) -> Result<OwnedFd, ShareError> {
    let failed = |errno: Errno| match errno {
        Errno::ADDRINUSE => ShareError::PortInUse { protocol, port },
        Errno::ACCESS => ShareError::NoPermission { port },
        errno => ShareError::Io {
            doing: format!("holding {protocol} port {port} of {address}"),
            source: errno.into(),
        },
    };
    let holder = socket(kind).map_err(failed)?;
    // Before it can receive anything.
    sys::attach_filter(&holder, &bpf::drop_all()).map_err(|source| ShareError::Io {
        doing: format!("keeping the kernel from answering on {protocol} port {port}"),
        source,
    })?;
    rustix::net::bind(&holder, &SocketAddrV4::new(address, port)).map_err(failed)?;
    if kind == SocketType::STREAM {
        rustix::net::listen(&holder, 1).map_err(failed)?;
    }
    Ok(holder)
}

/// Finds the default route of an interface in the kernel's table.
fn default_gateway(routes: &str, interface: &str) -> Option<Ipv4Addr> {
    routes.lines().skip(1).find_map(|route| {
        let mut fields = route.split_whitespace();
        let (name, destination, gateway) = (fields.next()?, fields.next()?, fields.next()?);
        let mask = fields.nth(4)?;
        // Addresses are hexadecimal numbers in the machine's byte order.
        let gateway = u32::from_str_radix(gateway, 16).ok()?.to_ne_bytes();
        let is_default = name == interface && destination == "00000000" && mask == "00000000";
        (is_default && gateway != [0; 4]).then(|| gateway.into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn the_default_gateway_is_found_among_routes() {
        let routes = "\
Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t000200C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
eth1\t00000000\tFE3364CB\t0003\t0\t0\t0\t00000000\t0\t0\t0
eth0\t00000000\tFE0200C0\t0003\t0\t0\t100\t00000000\t0\t0\t0
";
        for (interface, want) in [
            ("eth0", Some(Ipv4Addr::new(192, 0, 2, 254))),
            ("eth1", Some(Ipv4Addr::new(203, 100, 51, 254))),
            ("eth2", None),
        ] {
            assert_eq!(default_gateway(routes, interface), want);
        }
        assert_eq!(default_gateway("", "eth0"), None);
    }

    #[test]
    fn broadcast_addresses_follow_from_the_prefix() {
        let of = |prefix| {
            let host = HostAddress {
                address: Ipv4Addr::new(192, 0, 2, 9),
                prefix,
                gateway: None,
            };
            host.broadcast()
        };
        assert_eq!(of(24), Some(Ipv4Addr::new(192, 0, 2, 255)));
        assert_eq!(of(29), Some(Ipv4Addr::new(192, 0, 2, 15)));
        assert_eq!(of(0), Some(Ipv4Addr::BROADCAST));
        assert_eq!(of(31), None);
        assert_eq!(of(32), None);
    }
}
