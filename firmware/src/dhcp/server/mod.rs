//! The DHCP server: messages, neighbours and time in, messages out.

mod binding;
mod input;
mod netboot;
mod probe;
mod router_search;
#[cfg(test)]
mod tests;
mod text;

use core::net::Ipv4Addr;

use embassy_time::{Duration, Instant};
use heapless::Deque;
use ichor_hal::{LeaseLog, LogError};

use self::probe::Probes;
use self::router_search::RouterSearches;
use super::boot::Client;
use super::config::{Config, ConfigError};
use super::leases::{Applicant, Lease, Leases, Slot};
use super::reply::{Body, Meta, Reply};
use super::request::Request;
use super::store::{self, Replayed, Store};
use crate::{MacAddr, Throttle};

/// The present: time since the stack started, and the time leases count in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// For waiting and for logs.
    pub mono: Instant,
    /// Seconds of the board's [`Clock`](ichor_hal::Clock).
    pub seconds: u64,
}

/// What the loop is to send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transmit {
    /// A datagram whose payload is the start of the buffer. It goes to
    /// `dst_mac` as it is: a client without an address answers no ARP.
    Udp {
        /// Destination of the frame.
        dst_mac: MacAddr,
        /// Destination address.
        dst_ip: Ipv4Addr,
        /// Source port.
        src_port: u16,
        /// Destination port.
        dst_port: u16,
        /// Length of the payload in bytes.
        len: usize,
    },
    /// An ARP probe for an address of the link (RFC 5227 §1.1).
    Arp {
        /// The address asked for.
        ip: Ipv4Addr,
    },
    /// An ICMP echo request to an address behind a relay.
    Ping {
        /// Its destination.
        ip: Ipv4Addr,
    },
}

/// How often things happened since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs)] // The first ones are the names of messages.
pub struct Counters {
    pub discover: u64,
    pub offer: u64,
    pub request: u64,
    pub ack: u64,
    pub nak: u64,
    pub decline: u64,
    pub release: u64,
    pub inform: u64,
    /// Packets that were no DHCP message, or contradicted themselves.
    pub malformed: u64,
    /// Offers made without a conflict probe, because too many were under way.
    pub unprobed: u64,
    /// Addresses found in use by somebody else.
    pub conflicts: u64,
    /// Requests for an address when none was left.
    pub exhausted: u64,
    /// Replies not sent for lack of room, or because the log failed.
    pub dropped: u64,
}

/// A DHCP server, a proxyDHCP server, or neither, as configured.
///
/// It holds at most `LEASES` leases (about 92 bytes each), `QUEUE` replies
/// that wait to be sent and `PROBES` messages that wait for a conflict probe
/// (about 1 KiB each). It does no I/O itself:
///
/// ```text
/// loop {
///     // A packet came, or the deadline passed.
///     server.on_timer(now, &journal);
///     // Take more if there are more, and if server.has_room().
///     server.on_packet(now, &meta, payload, &journal);
///     // Nothing is promised before the log knows it.
///     server.persist(now, &mut log).await;
///     while let Some(transmit) = server.poll_transmit(now.mono, &mut buf) {
///         send(transmit, &buf);
///     }
///     // Wait for a packet, or until server.next_deadline().
/// }
/// ```
#[derive(Debug)]
pub struct Server<const LEASES: usize, const QUEUE: usize, const PROBES: usize> {
    config: Config,
    leases: Leases<LEASES>,
    store: Store<QUEUE>,
    outbox: Deque<Reply, QUEUE>,
    probes: Probes<PROBES>,
    searches: RouterSearches,
    counters: Counters,
    logged: Logged,
}

/// One throttle for each thing that the log mentions.
#[derive(Debug)]
struct Logged {
    malformed: Throttle,
    exhausted: Throttle,
    no_boot_file: Throttle,
    other_server: Throttle,
    unknown_relay: Throttle,
    conflict: Throttle,
    reserved_taken: Throttle,
    log_failed: Throttle,
    dropped: Throttle,
}

impl Logged {
    const fn new(interval: Duration, other_server: Duration) -> Self {
        Self {
            malformed: Throttle::new(interval),
            exhausted: Throttle::new(interval),
            no_boot_file: Throttle::new(interval),
            other_server: Throttle::new(other_server),
            unknown_relay: Throttle::new(interval),
            conflict: Throttle::new(interval),
            reserved_taken: Throttle::new(interval),
            log_failed: Throttle::new(interval),
            dropped: Throttle::new(interval),
        }
    }
}

impl<const LEASES: usize, const QUEUE: usize, const PROBES: usize> Server<LEASES, QUEUE, PROBES> {
    /// A server that is switched off until [`configure`](Self::configure)d.
    ///
    /// It is all zero bits, so that a `static` one lies in zeroed memory and
    /// needs no large temporary on a stack.
    pub const fn new() -> Self {
        Self {
            config: Config::OFF,
            leases: Leases::new(),
            store: Store::new(),
            outbox: Deque::new(),
            probes: Probes::new(),
            searches: RouterSearches::new(),
            counters: Counters {
                discover: 0,
                offer: 0,
                request: 0,
                ack: 0,
                nak: 0,
                decline: 0,
                release: 0,
                inform: 0,
                malformed: 0,
                unprobed: 0,
                conflicts: 0,
                exhausted: 0,
                dropped: 0,
            },
            logged: Logged::new(Duration::MIN, Duration::MIN),
        }
    }

    /// Takes a configuration, at the start or later. Leases stay; replies
    /// under way are forgotten, and their clients ask again. `seed` is a
    /// number that nobody on the network can guess.
    ///
    /// # Errors
    /// A configuration that can not work is refused, and the old one stays.
    pub fn configure(&mut self, config: Config, seed: u64) -> Result<(), ConfigError> {
        config.check()?;
        self.leases.configure(&config, seed);
        self.config = config;
        self.outbox.clear();
        self.probes.clear();
        self.logged = Logged::new(Duration::from_secs(10), Duration::from_secs(300));
        Ok(())
    }

    /// Reads the lease log. To be called once, after
    /// [`configure`](Self::configure) and before the first packet.
    ///
    /// # Errors
    /// That of the log. Serving without it would give addresses twice.
    pub async fn replay(&mut self, log: &mut impl LeaseLog) -> Result<Replayed, LogError> {
        let found = store::replay(&mut self.leases, &self.config, log).await?;
        if found.torn > 0 {
            warn!(
                "dhcp: lease log: cut {} bytes of a torn record off the end",
                found.torn
            );
        }
        if found.damaged > 0 {
            warn!(
                "dhcp: lease log: passed over {} damaged bytes; leases written there are lost",
                found.damaged
            );
        }
        if found.left_out > 0 {
            warn!(
                "dhcp: lease log: no room for {} records in a table of {} leases",
                found.left_out, LEASES
            );
        }
        info!(
            "dhcp: {} leases from {} records",
            self.leases.len(),
            found.records
        );
        Ok(found)
    }

    /// Whether there is room for the answer to another packet. Packets are
    /// better kept waiting than answered by nothing.
    pub fn has_room(&self) -> bool {
        !self.outbox.is_full()
    }

    /// Writes what the last packets changed to the log. Replies that depend
    /// on it are ready to be sent afterwards, or dropped if it failed: their
    /// clients ask again.
    pub async fn persist(&mut self, now: Now, log: &mut impl LeaseLog) {
        if self.store.is_dirty()
            && let Err(error) = self.store.save(&self.leases, now.seconds, log).await
        {
            self.commit_failed(now, error);
        }
        for reply in self.outbox.iter_mut() {
            reply.committed = true;
        }
    }

    fn commit_failed(&mut self, now: Now, error: LogError) {
        let before = self.outbox.len();
        self.outbox.retain(|reply| reply.committed);
        self.counters.dropped += (before - self.outbox.len()) as u64;
        if let Some(missed) = self.logged.log_failed.count(now.mono) {
            error!(
                "dhcp: {}: clients get no address until it works{}",
                error, missed
            );
        }
    }

    /// The next thing to send, if any. `buf` takes the datagram's payload and
    /// needs 576 bytes at least; 1472 let clients have all they ask for.
    pub fn poll_transmit(&mut self, now: Instant, buf: &mut [u8]) -> Option<Transmit> {
        if let Some(probe) = self.probes.send(now, self.config.probe) {
            let ip = probe.ip;
            return Some(if probe.relayed {
                Transmit::Ping { ip }
            } else {
                Transmit::Arp { ip }
            });
        }
        while self.outbox.front().is_some_and(|reply| reply.committed) {
            let reply = self.outbox.pop_front()?;
            let to = reply.destination();
            let Some(len) = reply.emit(&self.config, buf) else {
                self.drop_reply(now);
                continue;
            };
            return Some(Transmit::Udp {
                dst_mac: to.mac,
                dst_ip: to.ip,
                src_port: to.from,
                dst_port: to.port,
                len,
            });
        }
        None
    }

    /// When [`on_timer`](Self::on_timer) has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.probes.next_deadline()
    }

    /// How often things happened.
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// All leases known, in no order. What has ended since the last packet is
    /// still shown as it was.
    pub fn leases(&self) -> impl Iterator<Item = &Lease> {
        self.leases.iter()
    }

    /// The configuration in force.
    pub const fn config(&self) -> &Config {
        &self.config
    }
}

impl<const LEASES: usize, const QUEUE: usize, const PROBES: usize> Default
    for Server<LEASES, QUEUE, PROBES>
{
    fn default() -> Self {
        Self::new()
    }
}

/// A client's message, how it came, and where its client is.
#[derive(Debug)]
struct Query {
    request: Request,
    meta: Meta,
    /// Index of the client's subnet.
    subnet: usize,
    /// The address reserved for the client there.
    reserved: Option<Ipv4Addr>,
}

impl Query {
    fn applicant(&self) -> Applicant<'_> {
        Applicant {
            key: &self.request.key,
            mac: self.request.mac(),
            subnet: self.subnet,
            reserved: self.reserved,
            requested: self.request.requested,
        }
    }
}

// What goes out.
impl<const LEASES: usize, const QUEUE: usize, const PROBES: usize> Server<LEASES, QUEUE, PROBES> {
    /// Queues a reply. `changed` is the lease that the log must know before
    /// it is sent. False if there was no room.
    fn reply(&mut self, now: Now, query: Query, body: Body, changed: Option<Slot>) -> bool {
        if self.outbox.is_full() || changed.is_some_and(|slot| !self.store.mark(slot)) {
            self.drop_reply(now.mono);
            return false;
        }
        if query.request.client == Some(Client::Ipxe) {
            self.searches.ipxe_heard(now.mono, query.request.mac());
        }
        let reply = Reply {
            body,
            request: query.request,
            meta: query.meta,
            committed: changed.is_none(),
        };
        self.outbox.push_back(reply).is_ok()
    }

    fn drop_reply(&mut self, now: Instant) {
        self.counters.dropped += 1;
        if let Some(missed) = self.logged.dropped.count(now) {
            warn!(
                "dhcp: no room for a reply, its client will ask again{}",
                missed
            );
        }
    }
}
