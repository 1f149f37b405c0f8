//! The binding state machine: which address belongs to whom, until when.
//!
//! ```text
//!            offer            bind            release, end
//!   free ───────────▶ offered ─────▶ bound ─────────────────▶ free
//!    ▲                  │  │           │
//!    │     not taken    │  └─────┬─────┘ declined, or seen in use
//!    └──────────────────┘        ▼
//!    └──────────────────── quarantined
//! ```
//!
//! A free address remembers its last client, who gets it again.

mod table;

use core::net::Ipv4Addr;

pub(crate) use self::table::Slot;
pub use self::table::{Lease, State};
use self::table::{Queue, Table};
use super::capacity::SUBNETS;
use super::client_key::ClientKey;
use super::config::{Config, Pool};
use super::record::{Kind, Record};
use crate::MacAddr;

/// How long an offered address is kept for its client, in seconds. PXE
/// firmware waits for all offers before it answers one.
const OFFER_HOLD: u64 = 60;

/// The leases of all subnets, at most `N`.
#[derive(Debug)]
pub(super) struct Leases<const N: usize> {
    table: Table<N>,
    /// Per pool: every address below this one was given out before (is in the
    /// table), or may not be.
    untouched: [u32; SUBNETS],
}

/// Who asks for an address.
#[derive(Debug, Clone, Copy)]
pub(super) struct Applicant<'a> {
    pub(super) key: &'a ClientKey,
    pub(super) mac: MacAddr,
    /// Index of the subnet it is in.
    pub(super) subnet: usize,
    /// The address reserved for it there.
    pub(super) reserved: Option<Ipv4Addr>,
    /// The address it would like.
    pub(super) requested: Option<Ipv4Addr>,
}

/// The address found for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) slot: Slot,
    /// Whether the client never held it: somebody else may use it unknown to
    /// us.
    pub(super) fresh: bool,
}

/// Why no address was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NoAddress {
    /// The subnet has no pool, and nothing is reserved for the client.
    NoPool,
    /// Every address of the pool is taken.
    PoolEmpty(Pool),
    /// The table can not hold another lease.
    TableFull,
}

impl<const N: usize> Leases<N> {
    pub(super) const fn new() -> Self {
        Self {
            table: Table::new(),
            untouched: [0; SUBNETS],
        }
    }

    /// Adapts to a new configuration; `seed` is what clients can not guess.
    pub(super) fn configure(&mut self, config: &Config, seed: u64) {
        self.table.set_seed(seed);
        self.untouched = [0; SUBNETS];
        for slot in self.table.slots() {
            let queue = queue_of(config, self.table.get(slot).ip);
            self.table.set_queue(slot, queue);
        }
    }

    pub(super) fn get(&self, slot: Slot) -> &Lease {
        self.table.get(slot)
    }

    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.table.iter()
    }

    pub(super) fn by_ip(&self, ip: Ipv4Addr) -> Option<Slot> {
        self.table.by_ip(ip)
    }

    /// Frees what has ended.
    pub(super) fn expire(&mut self, now: u64) {
        while let Some(slot) = self.table.due(now) {
            let Lease {
                state, held, ends, ..
            } = *self.table.get(slot);
            match state {
                State::Offered if !held => self.table.set_unused(slot, ends),
                _ => self.table.set(slot, State::Free, ends),
            }
        }
    }

    /// The address that `client` has in its subnet, or is offered.
    pub(super) fn current(&self, config: &Config, client: &Applicant<'_>) -> Option<Slot> {
        let mut best: Option<Slot> = None;
        for slot in self.table.by_client(client.key) {
            let lease = self.table.get(slot);
            let usable = self.may_have(config, client, lease.ip);
            let rank = |lease: &Lease| match lease.state {
                State::Bound => 3,
                State::Offered => 2,
                State::Free => 1,
                State::Quarantined => 0,
            };
            let better = best.is_none_or(|best| rank(lease) > rank(self.table.get(best)));
            if usable && lease.state != State::Quarantined && better {
                best = Some(slot);
            }
        }
        best
    }

    /// Chooses an address: the reserved one; what the client has or had; what
    /// it asks for; one that nobody had, starting where the client's hash
    /// points; the one that is free for longest (RFC 2131 §4.3.1).
    ///
    /// The lease is the client's from here on, but its state is unchanged.
    pub(super) fn choose(
        &mut self,
        config: &Config,
        client: &Applicant<'_>,
    ) -> Result<Found, NoAddress> {
        if let Some(ip) = client.reserved
            && let Some(found) = self.take(config, client, ip)
        {
            return Ok(found);
        }
        if let Some(slot) = self.current(config, client) {
            let fresh = !self.table.get(slot).held;
            return Ok(Found { slot, fresh });
        }
        let queue = Queue::pool(client.subnet);
        if let Some(ip) = client.requested
            && queue_of(config, ip) == queue
            && let Some(found) = self.take(config, client, ip)
        {
            return Ok(found);
        }
        let pool = config
            .subnets
            .get(client.subnet)
            .and_then(|subnet| subnet.pool)
            .ok_or(NoAddress::NoPool)?;
        let oldest = self.table.oldest_free(queue);
        if oldest.is_none() || !self.table.is_full() {
            let unused = self.unused(config, client, pool);
            match unused.map(|ip| self.take(config, client, ip)) {
                Some(Some(found)) => return Ok(found),
                Some(None) => return Err(NoAddress::TableFull),
                None => (),
            }
        }
        let slot = oldest.ok_or(NoAddress::PoolEmpty(pool))?;
        self.table.rekey(slot, *client.key, client.mac);
        Ok(Found { slot, fresh: true })
    }

    /// Takes this very address for the client, if nobody else has it.
    fn take(&mut self, config: &Config, client: &Applicant<'_>, ip: Ipv4Addr) -> Option<Found> {
        if !self.is_open(client, ip) {
            return None;
        }
        let slot = match self.table.by_ip(ip) {
            Some(slot) => slot,
            None => self.add(config, ip)?,
        };
        self.table.rekey(slot, *client.key, client.mac);
        let fresh = !self.table.get(slot).held;
        Some(Found { slot, fresh })
    }

    /// Puts an address into the table; if that is full, in the place of one
    /// that is free.
    fn add(&mut self, config: &Config, ip: Ipv4Addr) -> Option<Slot> {
        let queue = queue_of(config, ip);
        if let Some(slot) = self.table.insert(ip, queue) {
            return Some(slot);
        }
        let slot = self.table.any_free()?;
        let gone = self.table.get(slot);
        if let Some(untouched) = self.untouched.get_mut(gone.queue.subnet()) {
            *untouched = gone.ip.to_bits().min(*untouched);
        }
        self.table.replace(slot, ip, queue);
        Some(slot)
    }

    /// An address of the pool that is not in the table.
    fn unused(&mut self, config: &Config, client: &Applicant<'_>, pool: Pool) -> Option<Ipv4Addr> {
        let queue = Queue::pool(client.subnet);
        let (first, last) = (pool.first.to_bits(), pool.last.to_bits());
        let size = u64::from(last - first) + 1;
        let unused = |table: &Table<N>, ip: Ipv4Addr| {
            queue_of(config, ip) == queue && table.by_ip(ip).is_none()
        };
        let pointed = first + (client.key.stable_hash() % size) as u32;
        let pointed = Ipv4Addr::from_bits(pointed);
        if unused(&self.table, pointed) {
            return Some(pointed);
        }
        let untouched = self.untouched.get_mut(client.subnet)?;
        let mut ips = (first.max(*untouched)..=last).map(Ipv4Addr::from_bits);
        let found = ips.find(|ip| unused(&self.table, *ip));
        *untouched = found.map_or(last.saturating_add(1), Ipv4Addr::to_bits);
        found
    }

    /// Whether a client may have an address: the one reserved for it, or, as
    /// long as that is not to be had, any of the pool where it is.
    fn may_have(&self, config: &Config, client: &Applicant<'_>, ip: Ipv4Addr) -> bool {
        match client.reserved {
            Some(reserved) if reserved == ip => true,
            Some(reserved) if self.is_open(client, reserved) => false,
            _ => queue_of(config, ip) == Queue::pool(client.subnet),
        }
    }

    /// Whether nobody else has an address.
    fn is_open(&self, client: &Applicant<'_>, ip: Ipv4Addr) -> bool {
        self.table.by_ip(ip).is_none_or(|slot| {
            let lease = self.table.get(slot);
            match lease.state {
                State::Free => true,
                State::Offered | State::Bound => lease.key == *client.key,
                State::Quarantined => false,
            }
        })
    }

    /// Keeps the address for its client until the client decides, unless it
    /// is bound already.
    pub(super) fn offer(&mut self, slot: Slot, now: u64) {
        if self.table.get(slot).state != State::Bound {
            self.table.set(slot, State::Offered, now + OFFER_HOLD);
        }
    }

    /// The client chose another server.
    pub(super) fn withdraw(&mut self, slot: Slot, now: u64) {
        let lease = self.table.get(slot);
        match (lease.state, lease.held) {
            (State::Offered, true) => self.table.set(slot, State::Free, now),
            (State::Offered, false) => self.table.set_unused(slot, now),
            _ => (),
        }
    }

    /// Binds the address to its client for `seconds`; `u32::MAX` is for ever.
    pub(super) fn bind(&mut self, slot: Slot, now: u64, seconds: u32) {
        let ends = match seconds {
            u32::MAX => u64::MAX,
            seconds => now.saturating_add(u64::from(seconds)),
        };
        self.table.set(slot, State::Bound, ends);
        self.table.set_held(slot);
    }

    /// The client gives the address back.
    pub(super) fn release(&mut self, slot: Slot, now: u64) {
        self.table.set(slot, State::Free, now);
    }

    /// Takes an address out of use that somebody has without our leave.
    pub(super) fn quarantine(&mut self, slot: Slot, until: u64) {
        self.table
            .rekey(slot, ClientKey::NOBODY, MacAddr::default());
        self.table.set(slot, State::Quarantined, until);
    }

    /// Whether the address could be bound to the client as it stands: it may
    /// have it, and nobody else has it. For a client that renews a lease this
    /// server has forgotten.
    pub(super) fn claim(
        &mut self,
        config: &Config,
        client: &Applicant<'_>,
        ip: Ipv4Addr,
    ) -> Option<Slot> {
        if !self.may_have(config, client, ip) {
            return None;
        }
        self.take(config, client, ip).map(|found| found.slot)
    }

    /// Leases of a pool that are not free, and the seconds until the first of
    /// them ends.
    pub(super) fn usage(&self, subnet: usize, now: u64) -> (usize, u64) {
        let taken = || {
            self.iter()
                .filter(|lease| lease.queue == Queue::pool(subnet) && lease.state != State::Free)
        };
        let ends = taken().map(|lease| lease.ends).min();
        (taken().count(), ends.unwrap_or(now).saturating_sub(now))
    }
}

// The log's view.
impl<const N: usize> Leases<N> {
    /// What must be remembered of a lease across a restart, if anything.
    pub(super) fn record(&self, slot: Slot, now: u64) -> Option<Record> {
        let lease = self.table.get(slot);
        let kind = match lease.state {
            State::Bound => Kind::Bound,
            State::Quarantined => Kind::Quarantined,
            // An offer binds nobody, but the client may have held the address.
            State::Free | State::Offered if lease.held => Kind::Free,
            State::Free | State::Offered => return None,
        };
        let ends = match lease.state {
            State::Offered => now,
            _ => lease.ends,
        };
        Some(Record {
            kind,
            at: now,
            ends,
            ip: lease.ip,
            mac: lease.mac,
            key: lease.key,
        })
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + use<N> {
        self.table.slots()
    }

    /// Repeats what a record says. False if the table has no room for it.
    pub(super) fn replay(&mut self, config: &Config, record: &Record) -> bool {
        if self.table.is_full() {
            self.expire(record.at);
        }
        let slot = match self.table.by_ip(record.ip) {
            Some(slot) => slot,
            None => match self.add(config, record.ip) {
                Some(slot) => slot,
                None => return false,
            },
        };
        self.table.rekey(slot, record.key, record.mac);
        // What has ended is scheduled too, so that all of it becomes free in
        // the order in which it ended.
        let state = match record.kind {
            Kind::Bound | Kind::Free => State::Bound,
            Kind::Quarantined => State::Quarantined,
        };
        self.table.set(slot, state, record.ends);
        if record.kind != Kind::Quarantined {
            self.table.set_held(slot);
        }
        true
    }
}

/// The queue that an address waits in when it is free.
fn queue_of(config: &Config, ip: Ipv4Addr) -> Queue {
    config.pool_of(ip).map_or(Queue::STRAY, Queue::pool)
}
