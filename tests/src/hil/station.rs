//! One network card that plays several clients in turn.

use std::fmt;
use std::fs;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::dhcp::{self, Bound, Wanted};
use crate::clients::Clients;
use crate::netns::Netns;

/// The addresses of the suite's clients: locally administered, and the same in
/// every run, so that a board with few addresses does not run out of them.
pub(super) const MACS: Macs = Macs;

/// See [`MACS`].
#[derive(Debug, Clone, Copy)]
pub(super) struct Macs;

impl Macs {
    /// The one that `groups/hil.json` knows.
    pub(super) const fn client(self) -> Mac {
        Mac::numbered(1)
    }

    /// dhclient's.
    pub(super) const fn second(self) -> Mac {
        Mac::numbered(2)
    }

    /// The one that waits for the first OFFER.
    pub(super) const fn watcher(self) -> Mac {
        Mac::numbered(3)
    }

    /// Of power cut `round`: who gets a lease before it, and who wants its
    /// address after it.
    pub(super) const fn around_cut(self, round: u16) -> (Mac, Mac) {
        let first = 0x100 + (round % 0x1000) * 2;
        (Mac::numbered(first), Mac::numbered(first + 1))
    }
}

/// An Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mac(pub(super) [u8; 6]);

impl Mac {
    const fn numbered(number: u16) -> Self {
        let [high, low] = number.to_be_bytes();
        // "hil" after the bit for locally administered addresses.
        Self([0x02, b'h', b'i', b'l', high, low])
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// The namespace's `eth0`, and the files of the clients that use it.
#[derive(Debug)]
pub(super) struct Station {
    netns: Arc<Netns>,
    folder: PathBuf,
    mac: Mac,
    /// Leases to give back at the end.
    held: Vec<Bound>,
}

impl Station {
    /// The station as [`MACS`]' client, without an address.
    pub(super) fn new(netns: Arc<Netns>, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        // An interface without an address must hear who has no route to it.
        #[cfg(target_os = "linux")]
        netns.inside(|| {
            for scope in ["all", "eth0"] {
                let path = format!("/proc/sys/net/ipv4/conf/{scope}/rp_filter");
                fs::write(&path, "0").with_context(|| format!("cannot write {path}"))?;
            }
            Ok(())
        })?;
        let mut station = Self {
            netns,
            folder: folder.to_owned(),
            mac: MACS.client(),
            held: Vec::new(),
        };
        station.netns.ip("link set eth0 up")?;
        station.become_client(MACS.client())?;
        Ok(station)
    }

    /// Whether there is a signal on the cable.
    pub(super) fn has_carrier(&self) -> Result<bool> {
        let output = self
            .netns
            .command("ip")?
            .args(["-oneline", "link", "show", "dev", "eth0"])
            .output()
            .context("cannot run ip")?;
        let told = String::from_utf8_lossy(&output.stdout);
        Ok(told.contains("LOWER_UP"))
    }

    /// Goes on as another client that has no address.
    pub(super) fn become_client(&mut self, mac: Mac) -> Result<()> {
        self.forget_address()?;
        self.netns.ip(&format!("link set dev eth0 address {mac}"))?;
        self.mac = mac;
        Ok(())
    }

    /// Takes the address from the interface, as a client's restart does.
    pub(super) fn forget_address(&self) -> Result<()> {
        self.netns.ip("address flush dev eth0")?;
        // Without an address the kernel would know no way for a broadcast.
        self.netns
            .ip("route replace 255.255.255.255/32 dev eth0 scope link")
    }

    /// Gives the interface an address, and every other address of the LAN a way.
    pub(super) fn use_address(&self, address: Ipv4Addr, prefix: u8) -> Result<()> {
        self.forget_address()?;
        self.netns
            .ip(&format!("address add {address}/{prefix} dev eth0"))
    }

    /// The namespace.
    pub(super) fn netns(&self) -> &Netns {
        &self.netns
    }

    /// Who it is.
    pub(super) fn mac(&self) -> Mac {
        self.mac
    }

    /// The clients that people use.
    pub(super) fn clients(&self) -> Result<Clients<'_>> {
        Clients::new(&self.netns, &self.folder)
    }

    /// Gets a lease by a client of our own, which knows when it got what.
    pub(super) fn lease(&mut self, wanted: &Wanted<'_>) -> Result<Bound> {
        self.forget_address()?;
        let bound = dhcp::lease(&self.netns, self.mac, wanted)?;
        self.hold(bound);
        Ok(bound)
    }

    /// Notes a lease that is to be given back in the end.
    pub(super) fn hold(&mut self, bound: Bound) {
        self.held.retain(|held| held.mac != bound.mac);
        self.held.push(bound);
    }

    /// Gives a lease back (RFC 2131 §4.4.6).
    pub(super) fn release(&mut self, bound: &Bound) -> Result<()> {
        self.netns
            .ip(&format!("link set dev eth0 address {}", bound.mac))?;
        self.mac = bound.mac;
        self.use_address(bound.address, bound.prefix)?;
        dhcp::release(&self.netns, bound)?;
        self.held.retain(|held| held.mac != bound.mac);
        self.forget_address()
    }

    /// Gives back all that is still held. Nobody is told whether it worked: the
    /// board may be off.
    pub(super) fn release_all(&mut self) {
        for bound in std::mem::take(&mut self.held) {
            let _ = self.release(&bound);
        }
    }
}
