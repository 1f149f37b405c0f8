//! Conflict probes: does somebody already use an address that is about to be
//! offered for the first time (RFC 2131 §2.2, RFC 5227 §2.1.1)?

use core::net::Ipv4Addr;

use embassy_time::{Duration, Instant};
use heapless::Vec;

use super::Query;
use crate::MacAddr;
use crate::dhcp::ClientKey;
use crate::dhcp::leases::Slot;

/// Addresses that are tried for one client before it has to ask again.
pub(super) const MAX_TRIES: u8 = 4;

/// An address that is kept for a client until silence was long enough.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) client: Client,
    /// The client's own hardware address, whose answer is no conflict.
    pub(super) station: Option<MacAddr>,
    /// Whether a relay is between us and the client.
    pub(super) relayed: bool,
    pub(super) slot: Slot,
    /// The address in question.
    pub(super) ip: Ipv4Addr,
    /// Which address this is of those tried for the client, from 1.
    pub(super) tries: u8,
    /// When silence was long enough; unknown until the probe is sent.
    deadline: Option<Instant>,
}

impl Probe {
    /// A probe that is still to be sent.
    pub(super) fn new(query: &Query, slot: Slot, ip: Ipv4Addr, tries: u8) -> Self {
        Self {
            client: Client::of(query),
            station: query.request.repr.station(),
            relayed: !query.request.repr.giaddr.is_unspecified(),
            slot,
            ip,
            tries,
            deadline: None,
        }
    }
}

/// A client, and the index of the subnet that it asks from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Client {
    pub(super) key: ClientKey,
    subnet: usize,
}

impl Client {
    fn of(query: &Query) -> Self {
        Self {
            key: query.request.key,
            subnet: query.subnet,
        }
    }
}

/// Addresses being probed, and the messages that wait for them; at most `N`
/// of each.
///
/// A client that begins another transaction before its address is known to be
/// free waits for both: which of them it still listens for, only it knows.
#[derive(Debug)]
pub(super) struct Probes<const N: usize> {
    probes: Vec<Probe, N>,
    waiting: Vec<Query, N>,
}

impl<const N: usize> Probes<N> {
    pub(super) const fn new() -> Self {
        Self {
            probes: Vec::new(),
            waiting: Vec::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.probes.clear();
        self.waiting.clear();
    }

    /// Lets a message wait for a new probe; gives it back if there is no room.
    // The query is large because it holds the client's message, which is not
    // worth a second copy.
    #[allow(clippy::result_large_err)]
    pub(super) fn start(&mut self, probe: Probe, query: Query) -> Result<(), Query> {
        if self.probes.is_full() {
            return Err(query);
        }
        self.waiting.push(query)?;
        // There is room, as was seen above.
        let _ = self.probes.push(probe);
        Ok(())
    }

    /// Lets a message wait for the probe that is under way for its client;
    /// gives it back if there is none. A message that the client only repeats
    /// takes the place of the earlier one. So does any other if there is no
    /// room: the client hears of its latest transaction.
    #[allow(clippy::result_large_err)]
    pub(super) fn join(&mut self, query: Query) -> Result<(), Query> {
        let client = Client::of(&query);
        if !self.is_under_way(&client) {
            return Err(query);
        }
        let full = self.waiting.is_full();
        let xid = query.request.repr.xid;
        let earlier = self.waiting.iter_mut().find(|earlier| {
            Client::of(earlier) == client && (full || earlier.request.repr.xid == xid)
        });
        match earlier {
            Some(earlier) => *earlier = query,
            None => self.waiting.push(query)?,
        }
        Ok(())
    }

    /// Whether an address is being probed for a client.
    pub(super) fn is_under_way(&self, client: &Client) -> bool {
        self.probes.iter().any(|probe| probe.client == *client)
    }

    /// Removes a message that waits for a client's address.
    pub(super) fn take_waiting(&mut self, client: &Client) -> Option<Query> {
        let of_client = |query: &Query| Client::of(query) == *client;
        let at = self.waiting.iter().position(of_client)?;
        Some(self.waiting.swap_remove(at))
    }

    /// Ends the probes for a client, and forgets what waits for them.
    pub(super) fn forget(&mut self, key: &ClientKey) {
        self.probes.retain(|probe| probe.client.key != *key);
        self.waiting.retain(|query| query.request.key != *key);
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
        let at = self.probes.iter().position(which)?;
        Some(self.probes.swap_remove(at))
    }

    /// Puts a probe back whose silence was long enough.
    pub(super) fn keep_due(&mut self, now: Instant, mut probe: Probe) {
        probe.deadline = Some(now);
        // There is room: it was taken out.
        let _ = self.probes.push(probe);
    }

    /// The next probe to send; from then on it waits for `wait`.
    pub(super) fn send(&mut self, now: Instant, wait: Duration) -> Option<&Probe> {
        let probe = self.probes.iter_mut().find(|p| p.deadline.is_none())?;
        probe.deadline = Some(now + wait);
        Some(probe)
    }

    /// When the first probe has waited for long enough.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.probes.iter().filter_map(|probe| probe.deadline).min()
    }
}
