//! DHCP: the wire format, the server, its leases and the boot policy.

pub mod boot;
mod client_key;
mod config;
#[cfg(test)]
mod fixture;
mod leases;
pub mod options;
mod record;
mod request;
pub mod wire;

pub use client_key::ClientKey;
pub use config::{
    Boot, BootFile, Config, ConfigError, LeaseTimes, Mode, Owner, Pool, Reservation, Route, Subnet,
};
pub use leases::{Lease, State};
pub use request::{Request, Vendor};

/// Capacities of [`Config`], and of what is built from it.
pub mod capacity {
    /// Longest file name or URL in bytes: what one option 67 can hold.
    pub const FILE_LEN: usize = 255;
    /// Longest domain name in its textual form (RFC 1035 §2.3.4).
    pub const DOMAIN_LEN: usize = 253;
    /// Longest host name: one DNS label (RFC 1035 §2.3.4).
    pub const HOSTNAME_LEN: usize = 63;
    /// The link's own subnet, and those behind relays.
    pub const SUBNETS: usize = 8;
    /// Routers of one subnet.
    pub const ROUTERS: usize = 4;
    /// Classless static routes of one subnet (9 bytes each at most, so that
    /// they and a default route fit a 576-byte message, RFC 3442).
    pub const ROUTES: usize = 12;
    /// DNS servers; resolvers look at three.
    pub const DNS_SERVERS: usize = 4;
    /// NTP servers.
    pub const NTP_SERVERS: usize = 4;
    /// Domains of the search list; resolvers look at six.
    pub const SEARCH_DOMAINS: usize = 6;
    /// Addresses kept for one machine each.
    pub const RESERVATIONS: usize = 256;
    /// Boot files that differ from the built-in ones.
    pub const BOOT_FILES: usize = 16;
    /// Longest client identifier that a reservation can name (RFC 4361 DUIDs
    /// with a UUID have 23 bytes).
    pub const CLIENT_ID_LEN: usize = 32;
}
