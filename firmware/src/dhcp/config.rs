//! What an operator decides about DHCP: plain values, checked once.

use core::fmt;
use core::net::Ipv4Addr;

use embassy_time::Duration;
use heapless::{String, Vec};

use super::boot::Client;
use super::capacity::{
    BOOT_FILES, CLIENT_ID_LEN, DNS_SERVERS, DOMAIN_LEN, FILE_LEN, HOSTNAME_LEN, NTP_SERVERS,
    RESERVATIONS, ROUTERS, ROUTES, SEARCH_DOMAINS, SUBNETS,
};
use crate::MacAddr;

/// Everything the DHCP server is told by its operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Which part of DHCP is served.
    pub mode: Mode,
    /// The server's own address: server identifier (54), next server (siaddr)
    /// and the host of every URL.
    pub server: Ipv4Addr,
    /// Port of the HTTP server, for the URLs handed out.
    pub http_port: u16,
    /// The link's own subnet first, then those behind relays (chosen by
    /// giaddr). Proxy mode needs none.
    pub subnets: Vec<Subnet, SUBNETS>,
    /// Addresses kept for one machine each.
    pub reservations: Vec<Reservation, RESERVATIONS>,
    /// How long a binding lasts.
    pub lease: LeaseTimes,
    /// How long to listen for another user of an address before it is offered
    /// for the first time; zero offers at once.
    pub probe: Duration,
    /// DNS servers (option 6).
    pub dns: Vec<Ipv4Addr, DNS_SERVERS>,
    /// NTP servers (option 42).
    pub ntp: Vec<Ipv4Addr, NTP_SERVERS>,
    /// Domain name (option 15); empty sends none.
    pub domain: String<DOMAIN_LEN>,
    /// Domain search list (option 119, RFC 3397).
    pub search: Vec<String<DOMAIN_LEN>, SEARCH_DOMAINS>,
    /// Interface MTU in bytes (option 26).
    pub mtu: Option<u16>,
    /// What boots.
    pub boot: Boot,
}

impl Config {
    /// What holds before anything is configured: nothing is served. All zero
    /// bits, so that a static server takes no room in a board's image.
    pub(super) const OFF: Self = Self {
        mode: Mode::Off,
        server: Ipv4Addr::UNSPECIFIED,
        http_port: 0,
        subnets: Vec::new(),
        reservations: Vec::new(),
        lease: LeaseTimes {
            seconds: 0,
            min: 0,
            max: 0,
            quarantine: 0,
        },
        probe: Duration::MIN,
        dns: Vec::new(),
        ntp: Vec::new(),
        domain: String::new(),
        search: Vec::new(),
        mtu: None,
        boot: Boot {
            enabled: false,
            files: Vec::new(),
        },
    };

    /// The usual settings, with DHCP switched off.
    pub const fn new() -> Self {
        let mut config = Self::OFF;
        config.http_port = 80;
        config.lease = LeaseTimes::new();
        config.probe = Duration::from_millis(200);
        config.boot.enabled = true;
        config
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}

/// Which part of DHCP is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Mode {
    /// Nothing: every packet is ignored.
    #[default]
    Off,
    /// Addresses and boot files.
    Server,
    /// Boot files only, beside the LAN's own DHCP server (proxyDHCP, PXE 2.1
    /// §2.2).
    Proxy,
}

/// How long a binding lasts, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseTimes {
    /// For a client that does not ask (option 51).
    pub seconds: u32,
    /// The least that a client gets who asks for less.
    pub min: u32,
    /// The most that a client gets who asks for more; never less than
    /// `seconds`.
    pub max: u32,
    /// How long an address rests that a client declined, or that was seen in
    /// use by somebody else.
    pub quarantine: u32,
}

impl LeaseTimes {
    /// One hour, as asked down to two minutes and up to a day; ten minutes of
    /// quarantine.
    pub const fn new() -> Self {
        Self {
            seconds: 3600,
            min: 120,
            max: 86_400,
            quarantine: 600,
        }
    }
}

impl Default for LeaseTimes {
    fn default() -> Self {
        Self::new()
    }
}

/// A subnet, and what its clients are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// Any address of the subnet.
    pub address: Ipv4Addr,
    /// Prefix length in bits (the mask of option 1).
    pub prefix: u8,
    /// Addresses for whoever asks; without one only reservations are served.
    pub pool: Option<Pool>,
    /// Routers, best first (option 3).
    pub routers: Vec<Ipv4Addr, ROUTERS>,
    /// Classless static routes (option 121, RFC 3442). A default route by the
    /// first router is added when there is none.
    pub routes: Vec<Route, ROUTES>,
}

impl Subnet {
    /// A subnet without pool, routers and routes.
    pub const fn new(address: Ipv4Addr, prefix: u8) -> Self {
        Self {
            address,
            prefix,
            pool: None,
            routers: Vec::new(),
            routes: Vec::new(),
        }
    }

    /// The mask that belongs to the prefix.
    pub const fn mask(&self) -> Ipv4Addr {
        Ipv4Addr::from_bits(mask_bits(self.prefix))
    }

    /// Whether `ip` belongs to the subnet.
    pub const fn contains(&self, ip: Ipv4Addr) -> bool {
        let mask = mask_bits(self.prefix);
        ip.to_bits() & mask == self.address.to_bits() & mask
    }

    /// Whether `ip` is an address of the subnet that a host can have.
    pub const fn is_host(&self, ip: Ipv4Addr) -> bool {
        let host = ip.to_bits() & !mask_bits(self.prefix);
        self.contains(ip) && (self.prefix >= 31 || (host != 0 && host != !mask_bits(self.prefix)))
    }
}

const fn mask_bits(prefix: u8) -> u32 {
    match prefix {
        0 => 0,
        1..=31 => u32::MAX << (32 - prefix),
        _ => u32::MAX,
    }
}

/// A range of addresses, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// The lowest address.
    pub first: Ipv4Addr,
    /// The highest address.
    pub last: Ipv4Addr,
}

impl Pool {
    /// Whether `ip` is in the range.
    pub const fn contains(self, ip: Ipv4Addr) -> bool {
        self.first.to_bits() <= ip.to_bits() && ip.to_bits() <= self.last.to_bits()
    }
}

impl fmt::Display for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}–{}", self.first, self.last)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Pool {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}–{}", self.first, self.last);
    }
}

/// Traffic for `destination/prefix` goes by `router`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Destination network.
    pub destination: Ipv4Addr,
    /// Its prefix length in bits; 0 is the default route.
    pub prefix: u8,
    /// The next hop; 0.0.0.0 means on-link.
    pub router: Ipv4Addr,
}

/// An address kept for one machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reservation {
    /// Whose it is.
    pub owner: Owner,
    /// The address, in a configured subnet, inside or outside of its pool.
    pub ip: Ipv4Addr,
    /// Host name (option 12); empty sends none.
    pub hostname: String<HOSTNAME_LEN>,
}

/// How a reservation knows its machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Owner {
    /// By hardware address, whatever client identifier its firmware and its
    /// operating system send.
    Mac(MacAddr),
    /// By client identifier (option 61) with its type byte.
    ClientId(Vec<u8, CLIENT_ID_LEN>),
}

/// What boots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// Whether boot files are handed out at all.
    pub enabled: bool,
    /// Files that replace the built-in ones of [`boot`](super::boot), or add
    /// architectures it has no file for. The first match counts.
    pub files: Vec<BootFile, BOOT_FILES>,
}

impl Default for Boot {
    fn default() -> Self {
        Self {
            enabled: true,
            files: Vec::new(),
        }
    }
}

/// The boot file of one kind of client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootFile {
    /// Which clients: `boot.arm64-efi`, or by number `boot.27`.
    pub client: Client,
    /// A path for TFTP (for HTTP clients: below `/assets/`), or a whole URL
    /// starting `http://` or `tftp://`. Empty hands out no file.
    pub file: String<FILE_LEN>,
}

impl Config {
    /// The subnet that `ip` belongs to.
    pub fn subnet_of(&self, ip: Ipv4Addr) -> Option<usize> {
        self.subnets.iter().position(|subnet| subnet.contains(ip))
    }

    /// The subnet whose pool may give `ip` to anybody.
    pub fn pool_of(&self, ip: Ipv4Addr) -> Option<usize> {
        let at = self.subnet_of(ip)?;
        let subnet = self.subnets.get(at)?;
        let free_for_all = subnet.pool.is_some_and(|pool| pool.contains(ip))
            && subnet.is_host(ip)
            && ip != self.server
            && !subnet.routers.contains(&ip)
            && !self.reservations.iter().any(|r| r.ip == ip);
        free_for_all.then_some(at)
    }

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
    use super::*;

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
                "pool 192.0.2.50–192.0.2.99 is not inside its subnet 192.0.2.0/26",
            ),
            (
                |c| c.subnets[0].pool.as_mut().unwrap().last = Ipv4Addr::new(192, 0, 2, 9),
                "pool 192.0.2.50–192.0.2.9: the lower address comes first",
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
