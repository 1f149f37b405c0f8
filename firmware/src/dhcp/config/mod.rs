//! What an operator decides about DHCP: plain values, checked once.

mod check;

use core::fmt;
use core::net::Ipv4Addr;

use embassy_time::Duration;
use heapless::{String, Vec};

pub use self::check::ConfigError;
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
            ends_router_search: false,
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
        config.boot.ends_router_search = true;
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
        write!(f, "{}-{}", self.first, self.last)
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Pool {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}-{}", self.first, self.last);
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
    /// Whether iPXE is told that there is no IPv6 router when none answers it:
    /// it waits for four seconds otherwise.
    pub ends_router_search: bool,
    /// Files that replace the built-in ones of [`boot`](super::boot), or add
    /// architectures it has no file for. The first match counts.
    pub files: Vec<BootFile, BOOT_FILES>,
}

impl Default for Boot {
    fn default() -> Self {
        Self {
            enabled: true,
            ends_router_search: true,
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
}
