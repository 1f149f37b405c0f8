//! Server mode: what each of a client's messages does to its binding
//! (RFC 2131 §4.3).

use core::net::Ipv4Addr;

use super::netboot::journal_discover;
use super::probe::{MAX_TRIES, Probe};
use super::text::{Detail, Host, Span};
use super::{Now, Query, Server};
use crate::MacAddr;
use crate::dhcp::client_key::ClientKey;
use crate::dhcp::config::{Owner, Reservation};
use crate::dhcp::leases::{Found, NoAddress, Slot, State};
use crate::dhcp::reply::{Body, Grant, Meta};
use crate::dhcp::request::Request;
use crate::dhcp::wire::{MessageType, Repr};
use crate::journal::{Record, Stage, Who};

// Reasons of a DHCPNAK (option 56).
const WRONG_NETWORK: &str = "address is not of this network";
const NOT_YOURS: &str = "address belongs to another client";
const NOT_AVAILABLE: &str = "address is not available";

/// What is to be said to a client that believes an address to be its own.
enum Notion {
    /// It is right, as far as is known here.
    Right,
    /// It is wrong, and why.
    Wrong(&'static str),
    /// Nothing is known of it.
    Unknown,
}

impl<const LEASES: usize, const QUEUE: usize, const PROBES: usize> Server<LEASES, QUEUE, PROBES> {
    pub(super) fn server(
        &mut self,
        now: Now,
        meta: &Meta,
        mut request: Request,
        journal: &impl Record,
    ) {
        let Some(subnet) = self.subnet_of(&request, meta) else {
            if let Some(missed) = self.logged.unknown_relay.count(now.mono) {
                let link = request.link.unwrap_or(request.repr.giaddr);
                warn!("dhcp: relay {} is in no subnet configured{}", link, missed);
            }
            return;
        };
        let reservation = self.reservation(&request, subnet);
        let reserved = reservation.map(|r| r.ip);
        if let Some(Owner::Mac(mac)) = reservation.map(|r| &r.owner) {
            // Firmware and operating system may send different identifiers;
            // the machine that the address is kept for is one all the same.
            request.key = ClientKey::from_mac(*mac);
        }
        let query = Query {
            request,
            meta: *meta,
            subnet,
            reserved,
        };
        match query.request.kind {
            MessageType::Discover => self.discover(now, query, journal),
            MessageType::Request => self.request(now, query, journal),
            MessageType::Decline => self.decline(now, &query, journal),
            MessageType::Release => self.release(now, &query),
            MessageType::Inform => self.inform(now, query),
            // No client's messages: parsing has refused them.
            MessageType::Offer | MessageType::Ack | MessageType::Nak => (),
        }
    }

    /// The subnet that a client is in: its relay says so (RFC 2131 §4.3.1,
    /// RFC 3527), or the address it already uses, or it is on our link.
    fn subnet_of(&self, request: &Request, meta: &Meta) -> Option<usize> {
        let Repr { giaddr, ciaddr, .. } = request.repr;
        if !giaddr.is_unspecified() {
            return self.config.subnet_of(request.link.unwrap_or(giaddr));
        }
        let unicast = meta.dst_ip == self.config.server && !ciaddr.is_unspecified();
        let by_ciaddr = self.config.subnet_of(ciaddr).filter(|_| unicast);
        Some(by_ciaddr.unwrap_or(0))
    }

    fn reservation(&self, request: &Request, subnet: usize) -> Option<&Reservation> {
        let subnet = self.config.subnets.get(subnet)?;
        let station = request.repr.station();
        self.config.reservations.iter().find(|reservation| {
            subnet.contains(reservation.ip)
                && match &reservation.owner {
                    Owner::Mac(mac) => station == Some(*mac),
                    Owner::ClientId(id) => !id.is_empty() && *id == request.client_id,
                }
        })
    }

    fn discover(&mut self, now: Now, query: Query, journal: &impl Record) {
        self.counters.discover += 1;
        journal_discover(now, &query.request, journal);
        self.propose(now, query, 1, journal);
    }

    /// Finds an address for a client and offers it, at once or after a probe.
    fn propose(&mut self, now: Now, query: Query, tries: u8, journal: &impl Record) {
        let query = match self.probes.join(query) {
            Ok(()) => return,
            Err(query) => query,
        };
        let Found { slot, fresh } = match self.leases.choose(&self.config, &query.applicant()) {
            Ok(found) => found,
            Err(error) => return self.refuse(now, &query, error, journal),
        };
        self.leases.offer(slot, now.seconds);
        let ip = self.leases.get(slot).ip;
        self.warn_if_reservation_is_taken(now, &query, ip);
        if !fresh || self.config.probe.as_ticks() == 0 {
            return self.offer(now, slot, query, journal);
        }
        let probe = Probe::new(&query, slot, ip, tries);
        if let Err(query) = self.probes.start(probe, query) {
            self.counters.unprobed += 1;
            self.offer(now, slot, query, journal);
        }
    }

    /// Nobody else uses the address, as far as is known. Offers that there is
    /// no room for are made by the timer.
    pub(super) fn unopposed(&mut self, now: Now, probe: Probe, journal: &impl Record) {
        while self.has_room() {
            let Some(query) = self.probes.take_waiting(&probe.client) else {
                return;
            };
            // Or it is bound already: the client took the offer of another
            // transaction meanwhile.
            if matches!(self.state_of(&probe), Some(State::Offered | State::Bound)) {
                self.offer(now, probe.slot, query, journal);
            }
        }
        self.probes.keep_due(now.mono, probe);
    }

    /// Somebody else uses the address: the client is offered another one.
    pub(super) fn conflict(
        &mut self,
        now: Now,
        probe: &Probe,
        by: Option<MacAddr>,
        journal: &impl Record,
    ) {
        self.counters.conflicts += 1;
        if let Some(missed) = self.logged.conflict.count(now.mono) {
            warn!(
                "dhcp: {} is in use by {}, not offered for {}{}",
                probe.ip,
                Host(by),
                Span(u64::from(self.config.lease.quarantine)),
                missed
            );
        }
        let wanted = self.state_of(probe) == Some(State::Offered);
        if wanted {
            self.quarantine(now, probe.slot);
        }
        // The next probe is for all that wait; without one each goes its way.
        while !self.probes.is_under_way(&probe.client)
            && let Some(query) = self.probes.take_waiting(&probe.client)
        {
            if wanted && probe.tries < MAX_TRIES {
                self.propose(now, query, probe.tries + 1, journal);
            }
        }
    }

    /// What became of the address, if it is still the client's.
    fn state_of(&self, probe: &Probe) -> Option<State> {
        let lease = self.leases.get(probe.slot);
        let own = lease.ip == probe.ip && lease.key == probe.client.key;
        own.then_some(lease.state)
    }

    fn offer(&mut self, now: Now, slot: Slot, query: Query, journal: &impl Record) {
        let grant = self.grant(slot, &query);
        let file = self.boot_file(now, &query.request, journal);
        // The Raspberry Pi boot ROM takes the first offer without a word.
        let changed = query.request.rom.then(|| {
            self.leases.bind(slot, now.seconds, grant.seconds);
            slot
        });
        let mac = query.request.mac();
        let who = Who::from((mac, grant.ip));
        if !self.reply(now, query, Body::Offer(grant), changed) {
            return;
        }
        self.counters.offer += 1;
        let detail = Detail(grant.ip, file);
        journal.record(now.mono, who, Stage::Offer, format_args!("{detail}"));
        if changed.is_some() {
            journal.learn(grant.ip, mac);
            journal.record(now.mono, who, Stage::Bound, format_args!("{detail}"));
        }
    }

    fn grant(&self, slot: Slot, query: &Query) -> Grant {
        let times = &self.config.lease;
        let seconds = query.request.lease_seconds;
        Grant {
            ip: self.leases.get(slot).ip,
            seconds: seconds.map_or(times.seconds, |wanted| wanted.clamp(times.min, times.max)),
            subnet: query.subnet,
        }
    }

    /// DHCPREQUEST, told apart by what the client fills in (RFC 2131 table 4).
    fn request(&mut self, now: Now, query: Query, journal: &impl Record) {
        self.counters.request += 1;
        let Request {
            server_id,
            requested,
            repr,
            ..
        } = query.request;
        let ciaddr = Some(repr.ciaddr).filter(|ip| !ip.is_unspecified());
        match (server_id, ciaddr, requested) {
            (Some(server), ..) if server != self.config.server => {
                self.other_chosen(now, &query, server);
            }
            (Some(_), _, Some(ip)) | (Some(_), Some(ip), None) => {
                self.selecting(now, query, ip, journal);
            }
            (None, None, Some(ip)) => self.init_reboot(now, query, ip, journal),
            (None, Some(ip), _) => self.renew(now, query, ip, journal),
            // Which address it means is written nowhere.
            (_, None, None) => self.nak(now, query, NOT_AVAILABLE, journal),
        }
    }

    /// The client took another server's offer; ours is free again.
    fn other_chosen(&mut self, now: Now, query: &Query, server: Ipv4Addr) {
        if query.request.repr.giaddr.is_unspecified() {
            self.other_server(now, server);
        }
        self.probes.forget(&query.request.key);
        if let Some(slot) = self.leases.current(&self.config, &query.applicant()) {
            self.leases.withdraw(slot, now.seconds);
        }
    }

    /// SELECTING: the client takes our offer.
    fn selecting(&mut self, now: Now, query: Query, ip: Ipv4Addr, journal: &impl Record) {
        match self.leases.claim(&self.config, &query.applicant(), ip) {
            Some(slot) => self.ack(now, slot, query, journal),
            None => self.nak(now, query, NOT_AVAILABLE, journal),
        }
    }

    /// INIT-REBOOT: the client remembers an address. Whoever is not known
    /// here may be another server's client, and gets no answer, unless the
    /// address can not be right.
    fn init_reboot(&mut self, now: Now, query: Query, ip: Ipv4Addr, journal: &impl Record) {
        match self.notion(&query, ip) {
            Notion::Right => self.selecting(now, query, ip, journal),
            Notion::Wrong(reason) => self.nak(now, query, reason, journal),
            Notion::Unknown => (),
        }
    }

    /// RENEWING (unicast to us) or REBINDING (broadcast to any server).
    fn renew(&mut self, now: Now, query: Query, ip: Ipv4Addr, journal: &impl Record) {
        match self.notion(&query, ip) {
            Notion::Right => self.selecting(now, query, ip, journal),
            Notion::Wrong(reason) => self.nak(now, query, reason, journal),
            // It has the lease from us, so the log was lost: as nobody else
            // has the address, the lease goes on.
            Notion::Unknown if query.meta.dst_ip == self.config.server => {
                self.selecting(now, query, ip, journal);
            }
            Notion::Unknown => (),
        }
    }

    fn notion(&self, query: &Query, ip: Ipv4Addr) -> Notion {
        let subnet = self.config.subnets.get(query.subnet);
        if !subnet.is_some_and(|subnet| subnet.contains(ip)) {
            return Notion::Wrong(WRONG_NETWORK);
        }
        let of_client = |slot: Slot| self.leases.get(slot).key == query.request.key;
        let known = self
            .leases
            .by_ip(ip)
            .map(|slot| (slot, self.leases.get(slot)));
        let current = self.leases.current(&self.config, &query.applicant());
        match known {
            Some((slot, lease)) if of_client(slot) && lease.held => Notion::Right,
            Some((_, lease)) if lease.state != State::Free => Notion::Wrong(NOT_YOURS),
            _ if current.is_some_and(|slot| self.leases.get(slot).held) => {
                Notion::Wrong(NOT_AVAILABLE)
            }
            _ => Notion::Unknown,
        }
    }

    fn ack(&mut self, now: Now, slot: Slot, query: Query, journal: &impl Record) {
        let grant = self.grant(slot, &query);
        self.leases.bind(slot, now.seconds, grant.seconds);
        let mac = query.request.mac();
        let file = self.boot_file(now, &query.request, journal);
        if !self.reply(now, query, Body::Ack(grant), Some(slot)) {
            return;
        }
        self.counters.ack += 1;
        journal.learn(grant.ip, mac);
        let who = Who::from((mac, grant.ip));
        let detail = Detail(grant.ip, file);
        journal.record(now.mono, who, Stage::Bound, format_args!("{detail}"));
    }

    fn nak(&mut self, now: Now, query: Query, reason: &'static str, journal: &impl Record) {
        let who = Who::from(query.request.mac());
        let asked = query.request.requested.unwrap_or(query.request.repr.ciaddr);
        if self.reply(now, query, Body::Nak(reason), None) {
            self.counters.nak += 1;
            journal.record(
                now.mono,
                who,
                Stage::Refused,
                format_args!("{asked}: {reason}"),
            );
        }
    }

    /// The client found somebody else at the address it was given.
    fn decline(&mut self, now: Now, query: &Query, journal: &impl Record) {
        let Some(slot) = self.own_lease(query, query.request.requested) else {
            return;
        };
        self.counters.decline += 1;
        let (ip, mac) = (self.leases.get(slot).ip, query.request.mac());
        if let Some(missed) = self.logged.conflict.count(now.mono) {
            warn!(
                "dhcp: {} declined {}: somebody else uses it; not offered for {}{}",
                mac,
                ip,
                Span(u64::from(self.config.lease.quarantine)),
                missed
            );
        }
        journal.record(
            now.mono,
            Who::from((mac, ip)),
            Stage::Refused,
            format_args!("declined {ip}: somebody else uses it"),
        );
        self.quarantine(now, slot);
    }

    fn release(&mut self, now: Now, query: &Query) {
        let Some(slot) = self.own_lease(query, Some(query.request.repr.ciaddr)) else {
            return;
        };
        self.counters.release += 1;
        self.leases.release(slot, now.seconds);
        // If there is no room, the lease comes back after a restart, and ends
        // in its time.
        let _ = self.store.mark(slot);
    }

    /// The lease of this address, if the client has it from us.
    fn own_lease(&self, query: &Query, ip: Option<Ipv4Addr>) -> Option<Slot> {
        let ours = query
            .request
            .server_id
            .is_none_or(|id| id == self.config.server);
        let slot = self.leases.by_ip(ip.filter(|_| ours)?)?;
        let lease = self.leases.get(slot);
        let held = matches!(lease.state, State::Offered | State::Bound);
        (held && lease.key == query.request.key).then_some(slot)
    }

    fn quarantine(&mut self, now: Now, slot: Slot) {
        let until = now.seconds + u64::from(self.config.lease.quarantine);
        self.leases.quarantine(slot, until);
        // If there is no room, a restart forgets it and a probe finds it.
        let _ = self.store.mark(slot);
    }

    fn inform(&mut self, now: Now, query: Query) {
        self.counters.inform += 1;
        let Query { request, meta, .. } = &query;
        if request.repr.ciaddr.is_unspecified() && meta.src_ip.is_unspecified() {
            // Nowhere to send an answer to.
            return;
        }
        let subnet = self.config.subnet_of(request.repr.ciaddr);
        let subnet = subnet.unwrap_or(query.subnet);
        if self.reply(now, query, Body::Inform { subnet }, None) {
            self.counters.ack += 1;
        }
    }

    fn warn_if_reservation_is_taken(&mut self, now: Now, query: &Query, ip: Ipv4Addr) {
        let Some(reserved) = query.reserved.filter(|reserved| *reserved != ip) else {
            return;
        };
        if let Some(missed) = self.logged.reserved_taken.count(now.mono) {
            warn!(
                "dhcp: {} is reserved for {}, but somebody else has it until their lease ends; \
                 offering {} meanwhile{}",
                reserved,
                query.request.mac(),
                ip,
                missed
            );
        }
    }

    /// There is no address for a client.
    fn refuse(&mut self, now: Now, query: &Query, error: NoAddress, journal: &impl Record) {
        self.counters.exhausted += 1;
        let mac = query.request.mac();
        let why = match error {
            NoAddress::NoPool => "the subnet has no pool, and nothing is reserved for it",
            NoAddress::PoolEmpty(_) => "the pool is empty",
            NoAddress::TableFull => "the table of leases is full",
        };
        journal.record(
            now.mono,
            mac.into(),
            Stage::Refused,
            format_args!("no address: {why}"),
        );
        let Some(missed) = self.logged.exhausted.count(now.mono) else {
            return;
        };
        let (taken, next) = self.leases.usage(query.subnet, now.seconds);
        match error {
            NoAddress::PoolEmpty(pool) => warn!(
                "dhcp: pool {} is empty: {} leases, next expires in {}; \
                 widen --pool or shorten --lease{}",
                pool,
                taken,
                Span(next),
                missed
            ),
            NoAddress::NoPool | NoAddress::TableFull => {
                warn!("dhcp: no address for {}: {}{}", mac, why, missed);
            }
        }
    }
}
