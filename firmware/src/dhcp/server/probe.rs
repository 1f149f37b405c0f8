//! Conflict probes: does somebody already use an address that is about to be
//! offered for the first time (RFC 2131 §2.2, RFC 5227 §2.1.1)?

use core::net::Ipv4Addr;

use embassy_time::{Duration, Instant};
use heapless::Vec;

use super::Query;
use crate::dhcp::ClientKey;
use crate::dhcp::leases::Slot;

/// Addresses that are tried for one DHCPDISCOVER before the client has to ask
/// again.
pub(super) const MAX_TRIES: u8 = 4;

/// An offer that waits for silence.
#[derive(Debug)]
pub(super) struct Probe {
    /// The client's latest DHCPDISCOVER.
    pub(super) query: Query,
    pub(super) slot: Slot,
    /// The address in question.
    pub(super) ip: Ipv4Addr,
    /// Which address this is of those tried for the client, from 1.
    pub(super) tries: u8,
    /// When silence was long enough; unknown until the probe is sent.
    pub(super) deadline: Option<Instant>,
}

/// All offers that wait, at most `N`.
#[derive(Debug)]
pub(super) struct Probes<const N: usize>(Vec<Probe, N>);

impl<const N: usize> Probes<N> {
    pub(super) const fn new() -> Self {
        Self(Vec::new())
    }

    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a probe; gives it back if there is no room.
    // The probe is large because it holds the client's message, which is not
    // worth a second copy.
    #[allow(clippy::result_large_err)]
    pub(super) fn push(&mut self, probe: Probe) -> Result<(), Probe> {
        self.0.push(probe)
    }

    /// The probe for a client in a subnet.
    pub(super) fn of_client(&mut self, key: &ClientKey, subnet: usize) -> Option<&mut Probe> {
        let of_client = |query: &Query| query.request.key == *key && query.subnet == subnet;
        self.0.iter_mut().find(|probe| of_client(&probe.query))
    }

    /// Removes the probe for a client.
    pub(super) fn take_client(&mut self, key: &ClientKey) -> Option<Probe> {
        self.take(|probe| probe.query.request.key == *key)
    }

    /// Removes the probe that asks about an address.
    pub(super) fn take_ip(&mut self, ip: Ipv4Addr) -> Option<Probe> {
        self.take(|probe| probe.ip == ip)
    }

    /// Removes a probe that heard nothing for long enough.
    pub(super) fn take_silent(&mut self, now: Instant) -> Option<Probe> {
        self.take(|probe| probe.deadline.is_some_and(|deadline| deadline <= now))
    }

    fn take(&mut self, which: impl Fn(&Probe) -> bool) -> Option<Probe> {
        let at = self.0.iter().position(which)?;
        Some(self.0.swap_remove(at))
    }

    /// The next probe to send; from then on it waits for `wait`.
    pub(super) fn send(&mut self, now: Instant, wait: Duration) -> Option<&Probe> {
        let probe = self.0.iter_mut().find(|p| p.deadline.is_none())?;
        probe.deadline = Some(now + wait);
        Some(probe)
    }

    /// When the first probe has waited for long enough.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.0.iter().filter_map(|probe| probe.deadline).min()
    }
}
