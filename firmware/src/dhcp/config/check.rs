//! Finds what can not work in a configuration.

use core::fmt;
use core::net::Ipv4Addr;

use super::{Config, LeaseTimes, Mode, Pool, Subnet};

impl Config {
    /// Finds what can not work before a packet does.
    pub fn check(&self) -> Result<(), ConfigError> {
        use ConfigError::{
            Domain, LeaseTime, NoServerAddress, NoSubnet, PoolOrder, PoolOutside, Prefix,
            ReservationOutside, ReservedTwice, RoutePrefix, ServerOutside, SubnetsOverlap,
        };
        if self.mode == Mode::Off {
            return Ok(());
        }
        if self.server.is_unspecified() {
            return Err(NoServerAddress);
        }
        if self.mode == Mode::Proxy {
            return Ok(());
        }
        let lease = self.lease;
        if lease.seconds == 0 || lease.min > lease.seconds || lease.max < lease.seconds {
            return Err(LeaseTime(lease));
        }
        let link = self.subnets.first().ok_or(NoSubnet)?;
        if !link.contains(self.server) {
            return Err(ServerOutside(self.server, link.address, link.prefix));
        }
        for (i, subnet) in self.subnets.iter().enumerate() {
            if subnet.prefix == 0 || subnet.prefix > 31 {
                return Err(Prefix(subnet.address, subnet.prefix));
            }
            if let Some(pool) = subnet.pool {
                if pool.first > pool.last {
                    return Err(PoolOrder(pool));
                }
                if !subnet.contains(pool.first) || !subnet.contains(pool.last) {
                    return Err(PoolOutside(pool, subnet.address, subnet.prefix));
                }
            }
            let overlaps =
                |other: &Subnet| other.contains(subnet.address) || subnet.contains(other.address);
            if let Some(other) = self.subnets.iter().take(i).find(|o| overlaps(o)) {
                return Err(SubnetsOverlap(other.address, subnet.address));
            }
        }
        for route in self.subnets.iter().flat_map(|subnet| &subnet.routes) {
            if route.prefix > 32 {
                return Err(RoutePrefix(route.destination, route.prefix));
            }
        }
        if !self.domain.is_empty() && !is_domain(&self.domain) {
            return Err(Domain(0));
        }
        if let Some(at) = self.search.iter().position(|domain| !is_domain(domain)) {
            return Err(Domain(at + 1));
        }
        for (i, reservation) in self.reservations.iter().enumerate() {
            let ip = reservation.ip;
            if ip == self.server || !self.subnets.iter().any(|s| s.is_host(ip)) {
                return Err(ReservationOutside(ip));
            }
            if self.reservations.iter().take(i).any(|r| r.ip == ip) {
                return Err(ReservedTwice(ip));
            }
        }
        Ok(())
    }
}

/// Whether labels of 1 to 63 bytes stand between the dots, the last of which
/// may be at the end.
fn is_domain(text: &str) -> bool {
    let text = text.strip_suffix('.').unwrap_or(text);
    text.split('.').all(|label| (1..=63).contains(&label.len()))
}

/// Why a configuration can not work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfigError {
    /// The server has no address of its own.
    NoServerAddress,
    /// Server mode without the link's subnet.
    NoSubnet,
    /// The lease times contradict each other.
    LeaseTime(LeaseTimes),
    /// The server's address, and the link's subnet that it is not in.
    ServerOutside(Ipv4Addr, Ipv4Addr, u8),
    /// A subnet with a prefix length that hosts can not live in.
    Prefix(Ipv4Addr, u8),
    /// The ends of a pool are swapped.
    PoolOrder(Pool),
    /// A pool that is not inside its subnet.
    PoolOutside(Pool, Ipv4Addr, u8),
    /// A route with a prefix length that no address has.
    RoutePrefix(Ipv4Addr, u8),
    /// A domain with an empty or too long label: the number of its entry in
    /// the search list, or 0 for the domain name itself.
    Domain(usize),
    /// Two subnets share addresses.
    SubnetsOverlap(Ipv4Addr, Ipv4Addr),
    /// A reserved address that is in no subnet, or no host's address there.
    ReservationOutside(Ipv4Addr),
    /// An address reserved for two machines.
    ReservedTwice(Ipv4Addr),
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoServerAddress => f.write_str("DHCP needs the server's own address"),
            Self::NoSubnet => f.write_str("DHCP mode \"server\" needs the subnet of its link"),
            Self::LeaseTime(l) => write!(
                f,
                "lease times must grow from shortest to longest, found {} ≤ {} ≤ {} seconds",
                l.min, l.seconds, l.max
            ),
            Self::ServerOutside(ip, net, prefix) => {
                write!(
                    f,
                    "the server's address {ip} is not in its subnet {net}/{prefix}"
                )
            }
            Self::Prefix(net, prefix) => {
                write!(
                    f,
                    "subnet {net}/{prefix}: expected a prefix length from 1 to 31"
                )
            }
            Self::PoolOrder(pool) => write!(f, "pool {pool}: the lower address comes first"),
            Self::PoolOutside(pool, net, prefix) => {
                write!(f, "pool {pool} is not inside its subnet {net}/{prefix}")
            }
            Self::RoutePrefix(net, prefix) => {
                write!(
                    f,
                    "route {net}/{prefix}: expected a prefix length from 0 to 32"
                )
            }
            Self::Domain(0) => f.write_str("domain: expected 1 to 63 characters between dots"),
            Self::Domain(entry) => write!(
                f,
                "search list, entry {entry}: expected 1 to 63 characters between dots"
            ),
            Self::SubnetsOverlap(a, b) => {
                write!(
                    f,
                    "the subnets of {a} and {b} overlap: a relay could mean either"
                )
            }
            Self::ReservationOutside(ip) => write!(
                f,
                "reservation {ip}: not a host's address in any subnet served, or the server's own"
            ),
            Self::ReservedTwice(ip) => write!(f, "{ip} is reserved for two machines"),
        }
    }
}

impl core::error::Error for ConfigError {}

#[cfg(test)]
mod tests {
    use super::super::{Owner, Reservation, Route};
    use super::*;
    use crate::MacAddr;
    use heapless::String;

    fn lab() -> Config {
        let mut subnet = Subnet::new(Ipv4Addr::new(192, 0, 2, 0), 24);
        subnet.pool = Some(Pool {
            first: Ipv4Addr::new(192, 0, 2, 50),
            last: Ipv4Addr::new(192, 0, 2, 99),
        });
        let mut config = Config {
            mode: Mode::Server,
            server: Ipv4Addr::new(192, 0, 2, 1),
            ..Config::default()
        };
        config.subnets.push(subnet).unwrap();
        config
    }

    fn reserve(config: &mut Config, ip: [u8; 4]) {
        let reservation = Reservation {
            owner: Owner::Mac(MacAddr([2, 0, 0, 0, 0, 1])),
            ip: ip.into(),
            hostname: String::new(),
        };
        config.reservations.push(reservation).unwrap();
    }

    type Change = fn(&mut Config);

    #[test]
    fn what_can_not_work_is_found() {
        assert_eq!(lab().check(), Ok(()));
        let table: &[(Change, &str)] = &[
            (
                |c| c.server = Ipv4Addr::UNSPECIFIED,
                "DHCP needs the server's own address",
            ),
            (
                |c| c.subnets.clear(),
                "DHCP mode \"server\" needs the subnet of its link",
            ),
            (
                |c| c.lease.min = 4000,
                "lease times must grow from shortest to longest, \
                 found 4000 ≤ 3600 ≤ 86400 seconds",
            ),
            (
                |c| c.server = Ipv4Addr::new(192, 0, 3, 1),
                "the server's address 192.0.3.1 is not in its subnet 192.0.2.0/24",
            ),
            (
                |c| c.subnets[0].prefix = 26,
                "pool 192.0.2.50-192.0.2.99 is not inside its subnet 192.0.2.0/26",
            ),
            (
                |c| c.subnets[0].pool.as_mut().unwrap().last = Ipv4Addr::new(192, 0, 2, 9),
                "pool 192.0.2.50-192.0.2.9: the lower address comes first",
            ),
            (
                |c| c.subnets[0].prefix = 0,
                "subnet 192.0.2.0/0: expected a prefix length from 1 to 31",
            ),
            (
                |c| {
                    let again = Subnet::new(Ipv4Addr::new(192, 0, 2, 128), 25);
                    c.subnets.push(again).unwrap();
                },
                "the subnets of 192.0.2.0 and 192.0.2.128 overlap: a relay could mean either",
            ),
            (
                |c| c.domain = String::try_from("lab..test").unwrap(),
                "domain: expected 1 to 63 characters between dots",
            ),
            (
                |c| c.search.push(String::try_from(".").unwrap()).unwrap(),
                "search list, entry 1: expected 1 to 63 characters between dots",
            ),
            (
                |c| {
                    let route = Route {
                        destination: Ipv4Addr::UNSPECIFIED,
                        prefix: 33,
                        router: Ipv4Addr::UNSPECIFIED,
                    };
                    c.subnets[0].routes.push(route).unwrap();
                },
                "route 0.0.0.0/33: expected a prefix length from 0 to 32",
            ),
            (
                |c| reserve(c, [192, 0, 2, 255]),
                "reservation 192.0.2.255: \
                 not a host's address in any subnet served, or the server's own",
            ),
            (
                |c| {
                    reserve(c, [192, 0, 2, 7]);
                    reserve(c, [192, 0, 2, 7]);
                },
                "192.0.2.7 is reserved for two machines",
            ),
        ];
        for (change, message) in table {
            let mut config = lab();
            change(&mut config);
            assert_eq!(config.check().unwrap_err().to_string(), *message);
        }
    }
}
