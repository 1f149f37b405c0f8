//! `ichor.toml`: every setting, its default, and how it is written.
//!
//! Every key of the file is a flag of `ichor serve` too, so all values come
//! in as text, through [`Config::set`]. A later value replaces an earlier
//! one; lists are given whole, with commas. A file looks like this:
//!
//! ```toml
//! address = "192.168.1.2/24"
//! gateway = "192.168.1.1"
//! dns = ["192.168.1.1", "9.9.9.9"]
//! dhcp = "server"
//! pool = "192.168.1.50-192.168.1.99"
//! lease = "12h"
//!
//! [boot]
//! arm64-efi = "ipxe-arm64.efi"
//!
//! [[reservation]]
//! mac = "52:54:00:12:34:56"
//! address = "192.168.1.10"
//! hostname = "node1"
//! ```

// Errors carry their text, for want of a heap. They are made once, at start.
#![allow(clippy::result_large_err)]

mod check;
mod keys;
mod reason;
#[cfg(test)]
mod tests;
mod toml;
mod value;

use core::net::Ipv4Addr;

use embassy_time::Duration;
use heapless::Vec;

pub use keys::{Key, Settings};
pub use reason::{ConfigError, REASON_LEN, Reason};

use crate::dhcp::{self, Subnet};
use crate::tftp;

/// What the file is called in the data folder.
pub const FILE_NAME: &str = "ichor.toml";
/// Longest key in bytes.
pub const KEY_LEN: usize = 48;
/// Longest value in bytes: a boot file, or all fields of a reservation.
pub const VALUE_LEN: usize = 512;
/// How many ports HTTP can listen on.
pub const HTTP_PORTS: usize = 4;

/// Ethernet's, in bytes.
const MTU: u16 = 1500;

/// Which address ichor has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Address {
    /// None was given.
    Unset,
    /// That of the host it runs on, which the board finds out and tells
    /// ([`Config::set_host`]).
    Host,
    /// One of its own, and the prefix length of its subnet in bits.
    Own(Ipv4Addr, u8),
}

/// All that an operator decides, for every board.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Which address ichor has.
    pub address: Address,
    /// The router to other subnets: ichor's own, and that of DHCP clients.
    pub gateway: Option<Ipv4Addr>,
    /// Largest IP packet in bytes.
    pub mtu: u16,
    /// Where HTTP listens. The first is the one in URLs.
    pub http_ports: Vec<u16, HTTP_PORTS>,
    /// Where TFTP requests are awaited; `None` switches TFTP off.
    pub tftp_port: Option<u16>,
    /// Whether TFTP transfers stay on that port.
    pub tftp_single_port: bool,
    /// Largest TFTP block in bytes; by default what the MTU has room for.
    pub tftp_max_blksize: Option<u16>,
    /// Most TFTP blocks per ACK.
    pub tftp_max_window: u16,
    /// DHCP, ready to be served from. The first subnet is the link's own.
    pub dhcp: dhcp::Config,
}

impl Config {
    /// The defaults: everything that needs no decision.
    pub const fn new() -> Self {
        const HTTP_PORT: u16 = 8080;
        let mut dhcp = dhcp::Config::new();
        dhcp.http_port = HTTP_PORT;
        let link = Vec::from_array([Subnet::new(Ipv4Addr::UNSPECIFIED, 0)]);
        // An empty vector has nothing to drop, and constants must not try.
        core::mem::forget(core::mem::replace(&mut dhcp.subnets, link));
        Self {
            address: Address::Unset,
            gateway: None,
            mtu: MTU,
            http_ports: Vec::from_array([HTTP_PORT]),
            tftp_port: Some(tftp::wire::PORT),
            tftp_single_port: false,
            tftp_max_blksize: None,
            tftp_max_window: 64,
            dhcp,
        }
    }

    /// Tells the address of the host, for `address = "host"`.
    pub fn set_host(&mut self, ip: Ipv4Addr, prefix: u8) {
        self.dhcp.server = ip;
        if let Some(link) = self.link() {
            link.address = ip;
            link.prefix = prefix;
        }
    }

    /// TFTP on a board that has this many ports for transfers.
    pub fn tftp(&self, ports: u8) -> tftp::Config {
        tftp::Config {
            ports: if self.tftp_single_port { 0 } else { ports },
            max_blksize: self
                .tftp_max_blksize
                .unwrap_or(tftp::Config::blksize_for_mtu(self.mtu)),
            max_window: self.tftp_max_window,
        }
    }

    /// Sets one key to what its text says.
    ///
    /// `boot.CLIENT` may be written as a key of its own (`boot.arm64-efi`), as
    /// in the file, or as `boot` with the value `CLIENT=FILE`, as for a flag.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Reason> {
        Settings::new(self, &mut (), &[]).set(key, value)
    }

    /// Takes over what a file says, given as its whole text.
    ///
    /// Stops at the first thing that is wrong: what is set by then stays.
    pub fn read(&mut self, text: &str) -> Result<(), ConfigError> {
        Settings::new(self, &mut (), &[]).read(text)
    }

    /// The link's own subnet.
    fn link(&mut self) -> Option<&mut Subnet> {
        // `new` puts it there.
        self.dhcp.subnets.first_mut()
    }

    fn set_address(&mut self, text: &str) -> Result<(), Reason> {
        if text == "host" {
            self.address = Address::Host;
            self.set_host(Ipv4Addr::UNSPECIFIED, 0);
            return Ok(());
        }
        let what = "ADDRESS/PREFIX like 192.168.1.2/24, or \"host\"";
        let (ip, prefix) = value::interface(text).map_err(|_| Reason::expected(what, text))?;
        self.address = Address::Own(ip, prefix);
        self.set_host(ip, prefix);
        Ok(())
    }

    fn set_gateway(&mut self, text: &str) -> Result<(), Reason> {
        let gateway = value::address(text)?;
        self.gateway = Some(gateway);
        if let Some(link) = self.link() {
            link.routers.clear();
            // It was just emptied.
            let _ = link.routers.push(gateway);
        }
        Ok(())
    }

    fn set_mtu(&mut self, text: &str) -> Result<(), Reason> {
        // Less than 576 no host need accept (RFC 791), and DHCP counts on it.
        self.mtu = value::number(text, 576..=9216, "a number from 576 to 9216")?;
        self.dhcp.mtu = Some(self.mtu);
        Ok(())
    }

    fn set_lease(&mut self, text: &str) -> Result<(), Reason> {
        let seconds = value::seconds(text)?;
        let usual = dhcp::LeaseTimes::new();
        self.dhcp.lease = dhcp::LeaseTimes {
            seconds,
            min: usual.min.min(seconds),
            max: usual.max.max(seconds),
            ..usual
        };
        Ok(())
    }

    fn set_dhcp(&mut self, text: &str) -> Result<(), Reason> {
        self.dhcp.mode = match text {
            "server" => dhcp::Mode::Server,
            "proxy" => dhcp::Mode::Proxy,
            "off" => dhcp::Mode::Off,
            _ => return Err(Reason::expected("server, proxy or off", text)),
        };
        Ok(())
    }

    fn set_probe(&mut self, text: &str) -> Result<(), Reason> {
        let what = "milliseconds from 0 to 10000";
        let ms = value::number(text, 0..=10_000_u64, what)?;
        self.dhcp.probe = Duration::from_millis(ms);
        Ok(())
    }

    fn set_http_ports(&mut self, text: &str) -> Result<(), Reason> {
        let what = "one or more ports from 1 to 65535, like 8080,80";
        let ports: Vec<u16, HTTP_PORTS> =
            value::list(text, |port| value::number(port, 1..=u16::MAX, what))?;
        let first = ports.first().ok_or_else(|| Reason::expected(what, text))?;
        self.dhcp.http_port = *first;
        self.http_ports = ports;
        Ok(())
    }

    fn set_boot(&mut self, text: &str) -> Result<(), Reason> {
        let what = "CLIENT=FILE like arm64-efi=ipxe-arm64.efi";
        let (client, file) = text
            .split_once('=')
            .ok_or_else(|| Reason::expected(what, text))?;
        self.set_boot_file(client.trim(), file.trim())
    }

    fn set_boot_file(&mut self, client: &str, file: &str) -> Result<(), Reason> {
        let client = client.parse().map_err(|_| {
            let what = "a kind of client like arm64-efi, or its number in option 93";
            Reason::expected(what, client)
        })?;
        let file = heapless::String::try_from(file)
            .map_err(|_| Reason::expected("a file name or URL of up to 255 bytes", file))?;
        let files = &mut self.dhcp.boot.files;
        if let Some(known) = files.iter_mut().find(|boot| boot.client == client) {
            known.file = file;
            return Ok(());
        }
        let most = files.capacity();
        files
            .push(dhcp::BootFile { client, file })
            .map_err(|_| Reason::TooMany(most))
    }

    fn add_reservation(&mut self, text: &str) -> Result<(), Reason> {
        let reservation = value::reservation(text)?;
        let most = self.dhcp.reservations.capacity();
        let added = self.dhcp.reservations.push(reservation);
        added.map_err(|_| Reason::TooMany(most))
    }

    fn add_subnet(&mut self, text: &str) -> Result<(), Reason> {
        let subnet = value::subnet(text)?;
        // One place is taken by the link's own.
        let most = self.dhcp.subnets.capacity().saturating_sub(1);
        let added = self.dhcp.subnets.push(subnet);
        added.map_err(|_| Reason::TooMany(most))
    }
}

impl Default for Config {
    fn default() -> Self {
        Self::new()
    }
}
