//! A bounded table of leases, found by address and by client in constant
//! time, expiring in order, and free ones queued by age.

use core::net::Ipv4Addr;
use core::num::NonZeroU32;

use heapless::Vec;

use crate::MacAddr;
use crate::dhcp::capacity::SUBNETS;
use crate::dhcp::client_key::{ClientKey, fold};

/// What is known of one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The address.
    pub ip: Ipv4Addr,
    /// What became of it.
    pub state: State,
    /// When the state ends, or for a free address ended: seconds of the
    /// [`Clock`](ichor_hal::Clock).
    pub ends: u64,
    /// Who has it, or had it last.
    pub key: ClientKey,
    /// That client's hardware address.
    pub mac: MacAddr,
    /// Whether that client was ever told it may use the address.
    pub held: bool,
    /// Whose queue the address joins when it is free.
    pub(super) queue: Queue,
    /// Position in `Table::timed`, unless free.
    at: u32,
    /// Neighbours in the queue, if free.
    before: Link,
    after: Link,
    next_of_client: Link,
    next_of_ip: Link,
}

/// State of an address (RFC 2131 knows the first three).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum State {
    /// Nobody may use it; its last client is remembered.
    Free,
    /// Kept for a client that was, or is about to be, offered it.
    Offered,
    /// A client may use it.
    Bound,
    /// Somebody uses it without asking.
    Quarantined,
}

/// A queue of free addresses: one for each subnet's pool, and one for
/// addresses that no pool may give out (any more).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Queue(u8);

const QUEUES: usize = SUBNETS + 1;

impl Queue {
    pub(super) const STRAY: Self = Self(SUBNETS as u8);

    pub(super) fn pool(subnet: usize) -> Self {
        Self(subnet.min(SUBNETS) as u8)
    }

    pub(super) const fn subnet(self) -> usize {
        self.0 as usize
    }
}

/// Names a lease as long as it is in the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(u32);

impl Slot {
    const fn index(self) -> usize {
        self.0 as usize
    }

    const fn link(self) -> Link {
        // A table of 2^32 leases would not fit any memory.
        NonZeroU32::new(self.0 + 1)
    }
}

/// A slot's number plus one. The empty link is all zero bits, so that an empty
/// table lies in zeroed memory.
type Link = Option<NonZeroU32>;

const fn slot(link: Link) -> Option<Slot> {
    match link {
        Some(number) => Some(Slot(number.get() - 1)),
        None => None,
    }
}

#[derive(Debug, Clone, Copy)]
struct Ends {
    first: Link,
    last: Link,
}

/// At most `N` leases. Takes about 92 bytes for each.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    leases: Vec<Lease, N>,
    /// Chains of leases whose clients' hashes are equal modulo `N`.
    clients: [Link; N],
    /// Chains of leases whose addresses' hashes are equal modulo `N`.
    ips: [Link; N],
    /// A binary heap of all that are not free: the first to end is on top.
    timed: Vec<Slot, N>,
    free: [Ends; QUEUES],
    seed: u64,
}

impl<const N: usize> Table<N> {
    pub(super) const fn new() -> Self {
        const { assert!(N > 0 && N < u32::MAX as usize) };
        Self {
            leases: Vec::new(),
            clients: [None; N],
            ips: [None; N],
            timed: Vec::new(),
            free: [Ends {
                first: None,
                last: None,
            }; QUEUES],
            seed: 0,
        }
    }

    /// Sets what clients can not guess, so that none can choose identifiers
    /// that all share a chain.
    pub(super) fn set_seed(&mut self, seed: u64) {
        self.seed = seed;
        self.clients.fill(None);
        for index in 0..self.leases.len() {
            self.link_client(Slot(index as u32));
        }
    }

    pub(super) fn is_full(&self) -> bool {
        self.leases.is_full()
    }

    pub(super) fn len(&self) -> usize {
        self.leases.len()
    }

    pub(super) fn get(&self, slot: Slot) -> &Lease {
        &self.leases[slot.index()]
    }

    fn get_mut(&mut self, slot: Slot) -> &mut Lease {
        &mut self.leases[slot.index()]
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Lease> {
        self.leases.iter()
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> + use<N> {
        (0..self.leases.len() as u32).map(Slot)
    }

    pub(super) fn by_ip(&self, ip: Ipv4Addr) -> Option<Slot> {
        let mut at = slot(self.ips[bucket::<N>(ip_hash(ip))]);
        while let Some(found) = at {
            let lease = self.get(found);
            if lease.ip == ip {
                return Some(found);
            }
            at = slot(lease.next_of_ip);
        }
        None
    }

    pub(super) fn by_client(&self, key: &ClientKey) -> impl Iterator<Item = Slot> {
        let chain = slot(self.clients[bucket::<N>(key.hash(self.seed))]);
        core::iter::successors(chain, |at| slot(self.get(*at).next_of_client))
            .filter(move |at| self.get(*at).key == *key)
    }

    /// Adds a free address that is in no queue yet: [`set`](Self::set) its
    /// state next. `None` if the table is full.
    pub(super) fn insert(&mut self, ip: Ipv4Addr, queue: Queue) -> Option<Slot> {
        let slot = Slot(self.leases.len() as u32);
        let lease = Lease {
            ip,
            state: State::Free,
            ends: 0,
            key: ClientKey::NOBODY,
            mac: MacAddr::default(),
            held: false,
            queue,
            at: 0,
            before: None,
            after: None,
            next_of_client: None,
            next_of_ip: None,
        };
        self.leases.push(lease).ok()?;
        self.link_ip(slot);
        self.link_client(slot);
        self.enqueue(slot, false);
        Some(slot)
    }

    /// Gives the place of a lease to another address, which then is free.
    pub(super) fn replace(&mut self, slot: Slot, ip: Ipv4Addr, queue: Queue) {
        self.rekey(slot, ClientKey::NOBODY, MacAddr::default());
        self.leave(slot);
        self.unlink_ip(slot);
        let lease = self.get_mut(slot);
        lease.ip = ip;
        lease.queue = queue;
        lease.state = State::Free;
        self.link_ip(slot);
        self.enqueue(slot, false);
    }

    /// Gives the lease to another client, who has not held it.
    pub(super) fn rekey(&mut self, slot: Slot, key: ClientKey, mac: MacAddr) {
        if self.get(slot).key != key {
            self.unlink_client(slot);
            let lease = self.get_mut(slot);
            lease.key = key;
            lease.held = false;
            self.link_client(slot);
        }
        self.get_mut(slot).mac = mac;
    }

    /// Changes the state until `ends`. A free address goes to the end of its
    /// queue.
    pub(super) fn set(&mut self, slot: Slot, state: State, ends: u64) {
        self.leave(slot);
        let lease = self.get_mut(slot);
        lease.state = state;
        lease.ends = ends;
        match state {
            State::Free => self.enqueue(slot, false),
            State::Offered | State::Bound | State::Quarantined => self.schedule(slot),
        }
    }

    /// Frees an address that goes to the head of its queue.
    pub(super) fn set_unused(&mut self, slot: Slot, ends: u64) {
        self.leave(slot);
        let lease = self.get_mut(slot);
        lease.state = State::Free;
        lease.ends = ends;
        self.enqueue(slot, true);
    }

    pub(super) fn set_held(&mut self, slot: Slot) {
        self.get_mut(slot).held = true;
    }

    /// Moves the lease to the end of another queue, at once if it is free.
    pub(super) fn set_queue(&mut self, slot: Slot, queue: Queue) {
        let free = self.get(slot).state == State::Free;
        if free {
            self.leave(slot);
        }
        self.get_mut(slot).queue = queue;
        if free {
            self.enqueue(slot, false);
        }
    }

    /// The lease that ends first, if it has ended by `now`.
    pub(super) fn due(&self, now: u64) -> Option<Slot> {
        let first = *self.timed.first()?;
        (self.get(first).ends <= now).then_some(first)
    }

    /// The address that has been free for longest.
    pub(super) fn oldest_free(&self, queue: Queue) -> Option<Slot> {
        slot(self.free[queue.subnet()].first)
    }

    /// A free address that the table can do without, from any queue.
    pub(super) fn any_free(&self) -> Option<Slot> {
        let stray = self.oldest_free(Queue::STRAY);
        stray.or_else(|| self.free.iter().find_map(|queue| slot(queue.first)))
    }

    fn leave(&mut self, slot: Slot) {
        match self.get(slot).state {
            State::Free => self.dequeue(slot),
            State::Offered | State::Bound | State::Quarantined => self.unschedule(slot),
        }
    }
}

// Chains of leases with equal hashes.
impl<const N: usize> Table<N> {
    fn link_ip(&mut self, slot: Slot) {
        let bucket = bucket::<N>(ip_hash(self.get(slot).ip));
        self.get_mut(slot).next_of_ip = self.ips[bucket];
        self.ips[bucket] = slot.link();
    }

    fn unlink_ip(&mut self, gone: Slot) {
        let Lease { ip, next_of_ip, .. } = *self.get(gone);
        let bucket = bucket::<N>(ip_hash(ip));
        match slot(self.ips[bucket]) {
            Some(first) if first != gone => {
                let mut at = first;
                while let Some(next) = slot(self.get(at).next_of_ip) {
                    if next == gone {
                        self.get_mut(at).next_of_ip = next_of_ip;
                        return;
                    }
                    at = next;
                }
            }
            _ => self.ips[bucket] = next_of_ip,
        }
    }

    fn link_client(&mut self, slot: Slot) {
        // All that belong to nobody would share one chain.
        if self.get(slot).key == ClientKey::NOBODY {
            return;
        }
        let bucket = bucket::<N>(self.get(slot).key.hash(self.seed));
        self.get_mut(slot).next_of_client = self.clients[bucket];
        self.clients[bucket] = slot.link();
    }

    fn unlink_client(&mut self, gone: Slot) {
        let Lease {
            key,
            next_of_client,
            ..
        } = *self.get(gone);
        if key == ClientKey::NOBODY {
            return;
        }
        let bucket = bucket::<N>(key.hash(self.seed));
        match slot(self.clients[bucket]) {
            Some(first) if first != gone => {
                let mut at = first;
                while let Some(next) = slot(self.get(at).next_of_client) {
                    if next == gone {
                        self.get_mut(at).next_of_client = next_of_client;
                        return;
                    }
                    at = next;
                }
            }
            _ => self.clients[bucket] = next_of_client,
        }
    }
}

const fn bucket<const N: usize>(hash: u64) -> usize {
    (hash % N as u64) as usize
}

fn ip_hash(ip: Ipv4Addr) -> u64 {
    fold(0, u64::from(ip.to_bits()))
}

// Queues of free addresses.
impl<const N: usize> Table<N> {
    fn enqueue(&mut self, new: Slot, at_head: bool) {
        let queue = self.get(new).queue.subnet();
        let Ends { first, last } = self.free[queue];
        let (before, after) = if at_head { (None, first) } else { (last, None) };
        let lease = self.get_mut(new);
        lease.before = before;
        lease.after = after;
        self.join(queue, before, new.link());
        self.join(queue, new.link(), after);
    }

    fn dequeue(&mut self, gone: Slot) {
        let Lease {
            before,
            after,
            queue,
            ..
        } = *self.get(gone);
        self.join(queue.subnet(), before, after);
    }

    /// Makes two neighbours of each other; an empty link is the queue's end.
    fn join(&mut self, queue: usize, before: Link, after: Link) {
        match slot(before) {
            Some(before) => self.get_mut(before).after = after,
            None => self.free[queue].first = after,
        }
        match slot(after) {
            Some(after) => self.get_mut(after).before = before,
            None => self.free[queue].last = before,
        }
    }
}

// The heap of what ends.
impl<const N: usize> Table<N> {
    fn schedule(&mut self, slot: Slot) {
        let at = self.timed.len();
        // As many places as leases.
        let _ = self.timed.push(slot);
        self.place(slot, at);
        self.rise(at);
    }

    fn unschedule(&mut self, slot: Slot) {
        let at = self.get(slot).at as usize;
        let Some(last) = self.timed.pop() else { return };
        if last != slot {
            self.place(last, at);
            self.rise(at);
            self.sink(self.get(last).at as usize);
        }
    }

    fn place(&mut self, slot: Slot, at: usize) {
        self.timed[at] = slot;
        self.get_mut(slot).at = at as u32;
    }

    fn ends_at(&self, at: usize) -> Option<u64> {
        self.timed.get(at).map(|slot| self.get(*slot).ends)
    }

    fn rise(&mut self, mut at: usize) {
        while at > 0 {
            let parent = (at - 1) / 2;
            if self.ends_at(parent) <= self.ends_at(at) {
                return;
            }
            self.exchange(at, parent);
            at = parent;
        }
    }

    fn sink(&mut self, mut at: usize) {
        while let Some(left) = self.ends_at(2 * at + 1) {
            let (mut child, mut ends) = (2 * at + 1, left);
            if let Some(right) = self.ends_at(child + 1)
                && right < left
            {
                (child, ends) = (child + 1, right);
            }
            if self.ends_at(at) <= Some(ends) {
                return;
            }
            self.exchange(at, child);
            at = child;
        }
    }

    fn exchange(&mut self, a: usize, b: usize) {
        let (slot_a, slot_b) = (self.timed[a], self.timed[b]);
        self.place(slot_a, b);
        self.place(slot_b, a);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ichor_hal::Entropy;
    use ichor_hal::fake::FakeEntropy;
    use std::collections::BTreeMap;

    fn ip(n: u32) -> Ipv4Addr {
        Ipv4Addr::from_bits(0x0a00_0000 + n)
    }

    fn key(n: u64) -> ClientKey {
        ClientKey::from_id(&n.to_be_bytes())
    }

    /// Everything that must hold between the table's parts.
    fn check<const N: usize>(table: &Table<N>) {
        for at in table.slots() {
            let lease = table.get(at);
            assert_eq!(table.by_ip(lease.ip), Some(at));
            if lease.key != ClientKey::NOBODY {
                assert!(table.by_client(&lease.key).any(|found| found == at));
            }
            if lease.state != State::Free {
                assert_eq!(table.timed[lease.at as usize], at);
            }
        }
        for i in 1..table.timed.len() {
            assert!(table.ends_at((i - 1) / 2) <= table.ends_at(i));
        }
        let mut free = 0;
        for (number, ends) in table.free.iter().enumerate() {
            let (mut at, mut before) = (ends.first, None);
            while let Some(found) = slot(at) {
                let lease = table.get(found);
                assert_eq!((lease.state, lease.before), (State::Free, before));
                assert_eq!(lease.queue.subnet(), number);
                (before, at) = (at, lease.after);
                free += 1;
            }
            assert_eq!(ends.last, before);
        }
        assert_eq!(table.timed.len() + free, table.len());
    }

    #[test]
    fn all_parts_agree_after_any_sequence_of_changes() {
        let mut random = FakeEntropy(1);
        let mut table = Table::<24>::new();
        table.set_seed(7);
        let mut model = BTreeMap::new();
        for _ in 0..20_000 {
            let n = (random.seed() % 40) as u32;
            let queue = Queue::pool((random.seed() % 3) as usize);
            let at = match table.by_ip(ip(n)) {
                Some(at) => at,
                None if !table.is_full() => table.insert(ip(n), queue).unwrap(),
                None => match table.any_free() {
                    Some(at) => {
                        model.remove(&table.get(at).ip);
                        table.replace(at, ip(n), queue);
                        at
                    }
                    None => continue,
                },
            };
            let ends = random.seed() % 1000;
            let state = match random.seed() % 6 {
                0 | 1 => State::Free,
                2 => State::Offered,
                3 => State::Quarantined,
                _ => State::Bound,
            };
            table.rekey(at, key(random.seed() % 9), MacAddr::default());
            table.set(at, state, ends);
            match random.seed() % 7 {
                0 => table.set_unused(at, ends),
                1 => table.set_queue(at, queue),
                _ => (),
            }
            let lease = table.get(at);
            model.insert(ip(n), (lease.state, ends, lease.key));
            while let Some(due) = table.due(ends.saturating_sub(700)) {
                table.set(due, State::Free, 0);
                let lease = table.get(due);
                model.insert(lease.ip, (State::Free, 0, lease.key));
            }
        }
        check(&table);
        let found = table.iter().map(|l| (l.ip, (l.state, l.ends, l.key)));
        assert!(found.map(|(ip, _)| ip).all(|ip| model.contains_key(&ip)));
        for (ip, (state, ends, key)) in model {
            let lease = table.get(table.by_ip(ip).unwrap());
            assert_eq!((lease.state, lease.ends, &lease.key), (state, ends, &key));
        }
    }

    #[test]
    fn a_lease_costs_less_than_a_hundred_bytes() {
        assert!(size_of::<Table<1024>>() < 100 * 1024);
    }
}
