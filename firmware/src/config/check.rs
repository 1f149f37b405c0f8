//! What only the settings together can get wrong, found before a packet is.

use core::net::Ipv4Addr;

use super::reason::{ConfigError, Reason};
use super::{Address, Config};
use crate::dhcp::{Mode, Pool, Subnet};
use crate::tftp;

/// `Err` with a key and a sentence about it.
macro_rules! wrong {
    ($key:literal, $($text:tt)*) => {
        return Err(ConfigError::new($key, Reason::wrong(format_args!($($text)*))))
    };
}

impl Config {
    /// Finds settings that cannot work together, and says which to change.
    pub fn check(&self) -> Result<(), ConfigError> {
        let Some(link) = self.dhcp.subnets.first() else {
            wrong!("address", "the link's own subnet is missing");
        };
        let own = self.dhcp.server;
        match self.address {
            Address::Unset => wrong!(
                "address",
                "is missing: set it to an address for ichor, like \"192.168.1.2/24\", \
                 or to \"host\" to share the machine's"
            ),
            Address::Host if own.is_unspecified() => {
                wrong!(
                    "address",
                    "the host has no IPv4 address yet: give it one, or set one here"
                );
            }
            Address::Host | Address::Own(..) => {}
        }
        if !(1..=30).contains(&link.prefix) || !link.is_host(own) {
            wrong!(
                "address",
                "{own}/{} is no host's address: check the prefix length",
                link.prefix
            );
        }
        if let Some(gateway) = self.gateway {
            check_gateway(gateway, link, own)?;
        }
        self.check_ports()?;
        match self.dhcp.mode {
            Mode::Off => return Ok(()),
            Mode::Proxy if link.pool.is_some() => wrong!(
                "pool",
                "dhcp = \"proxy\" hands out no addresses: remove the pool, \
                 or set dhcp = \"server\""
            ),
            Mode::Proxy => {}
            Mode::Server => self.check_server(link, own)?,
        }
        let checked = self.dhcp.check();
        checked.map_err(|error| ConfigError::new("dhcp", Reason::wrong(format_args!("{error}"))))
    }

    fn check_ports(&self) -> Result<(), ConfigError> {
        let ports = &self.http_ports;
        if let Some((_, twice)) = ports
            .iter()
            .enumerate()
            .find(|(n, port)| ports.iter().take(*n).any(|other| other == *port))
        {
            wrong!("http-port", "{twice} is listed twice");
        }
        let most = tftp::Config::blksize_for_mtu(self.mtu);
        if let Some(size) = self.tftp_max_blksize.filter(|size| *size > most) {
            wrong!(
                "tftp-max-blksize",
                "{size} does not fit packets of {} bytes: set at most {most}, or a larger mtu",
                self.mtu
            );
        }
        Ok(())
    }

    fn check_server(&self, link: &Subnet, own: Ipv4Addr) -> Result<(), ConfigError> {
        let pools = self.dhcp.subnets.iter().any(|subnet| subnet.pool.is_some());
        if !pools && self.dhcp.reservations.is_empty() {
            wrong!(
                "dhcp",
                "\"server\" has no address to hand out: set a pool, or reservations"
            );
        }
        if let Some(pool) = link.pool {
            check_pool("pool", pool, link, own)?;
        }
        for subnet in self.dhcp.subnets.iter().skip(1) {
            if !(1..=30).contains(&subnet.prefix) {
                wrong!(
                    "subnet",
                    "{}/{}: expected a prefix length from 1 to 30",
                    subnet.address,
                    subnet.prefix
                );
            }
            if let Some(pool) = subnet.pool {
                check_pool("subnet", pool, subnet, own)?;
            }
            if let Some(gateway) = subnet.routers.iter().find(|ip| !subnet.is_host(**ip)) {
                wrong!(
                    "subnet",
                    "gateway {gateway} is not in {}/{}",
                    network(subnet),
                    subnet.prefix
                );
            }
        }
        self.check_reservations(own)
    }

    fn check_reservations(&self, own: Ipv4Addr) -> Result<(), ConfigError> {
        let all = &self.dhcp.reservations;
        for (n, reservation) in all.iter().enumerate() {
            let ip = reservation.ip;
            if ip == own {
                wrong!("reservation", "{ip} is ichor's own: choose another address");
            }
            if !self.dhcp.subnets.iter().any(|subnet| subnet.is_host(ip)) {
                wrong!(
                    "reservation",
                    "{ip} is no host's address in the subnet of \"address\", nor in a [[subnet]]"
                );
            }
            for earlier in all.iter().take(n) {
                if earlier.ip == ip {
                    wrong!(
                        "reservation",
                        "{ip} is reserved twice: one of them must move"
                    );
                }
                if earlier.owner == reservation.owner
                    && self.dhcp.subnet_of(earlier.ip) == self.dhcp.subnet_of(ip)
                {
                    wrong!(
                        "reservation",
                        "{} and {ip} are for the same machine: remove one",
                        earlier.ip
                    );
                }
            }
        }
        Ok(())
    }
}

fn check_gateway(gateway: Ipv4Addr, link: &Subnet, own: Ipv4Addr) -> Result<(), ConfigError> {
    if gateway == own {
        wrong!(
            "gateway",
            "{gateway} is ichor's own address, and ichor is no router: set the router's"
        );
    }
    if !link.is_host(gateway) {
        wrong!(
            "gateway",
            "{gateway} is not in {}/{}, the subnet of \"address\"",
            network(link),
            link.prefix
        );
    }
    Ok(())
}

fn check_pool(key: &str, pool: Pool, subnet: &Subnet, own: Ipv4Addr) -> Result<(), ConfigError> {
    let wrong = |text| Err(ConfigError::new(key, Reason::wrong(text)));
    let Pool { first, last } = pool;
    if first > last {
        return wrong(format_args!(
            "{first}-{last}: the lower address comes first"
        ));
    }
    if !subnet.contains(first) || !subnet.contains(last) {
        let (network, prefix) = (network(subnet), subnet.prefix);
        return wrong(format_args!(
            "{first}-{last} is not inside {network}/{prefix}"
        ));
    }
    if pool.contains(own) {
        return wrong(format_args!(
            "{first}-{last} holds ichor's own address {own}: leave it out"
        ));
    }
    Ok(())
}

fn network(subnet: &Subnet) -> Ipv4Addr {
    Ipv4Addr::from_bits(subnet.address.to_bits() & subnet.mask().to_bits())
}
