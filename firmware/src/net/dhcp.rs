//! The DHCP task: frames from the mux to the server and back, leases to the log.

use core::net::Ipv4Addr;

use embassy_futures::select::select;
use embassy_time::{Duration, Instant, Timer, with_deadline};
use ichor_hal::{Clock, LeaseLog};

use super::frames::{Arp, Datagram, FRAME_LEN, UDP_HEADERS, emit_echo_request, parse_echo_reply};
use super::mux::{Divert, Filter};
use super::ndp::{emit_no_router, parse_solicitation};
use super::neighbours::Neighbours;
use super::status::Health;
use crate::MacAddr;
use crate::dhcp::wire::{BOOT_SERVER_PORT, CLIENT_PORT, SERVER_PORT, emit_discover};
use crate::dhcp::{Lease, Meta, Mode, Now, Server, State, Transmit};
use crate::journal::Record;

/// Packets handled before leases are written and replies sent: one commit of
/// the log then serves them all.
const BATCH: usize = 64;

/// How often the leases in use are counted.
const COUNT_EVERY: Duration = Duration::from_secs(10);

/// An own address is asked for this often before it is used, this far apart
/// (RFC 5227 §2.1.1 takes three probes and up to seven seconds; a server that
/// is waited for takes less).
const OWN_PROBES: u32 = 3;
const OWN_PROBE_INTERVAL: Duration = Duration::from_millis(100);

/// Who we are on this link.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Own {
    /// The NIC's address.
    pub mac: MacAddr,
    /// The stack's address.
    pub ip: Ipv4Addr,
    /// Its netmask.
    pub netmask: Ipv4Addr,
    /// Where packets for other networks go.
    pub gateway: Option<Ipv4Addr>,
}

impl Own {
    /// Whether `ip` is on this link.
    fn on_link(&self, ip: Ipv4Addr) -> bool {
        ip & self.netmask == self.ip & self.netmask
    }
}

/// The DHCP task's world.
pub struct Task<'a, L, K, J, const IN: usize, const OUT: usize> {
    /// Frames.
    pub divert: &'a Divert<IN, OUT>,
    /// Machines of this link.
    pub neighbours: &'a Neighbours,
    /// Where leases are kept.
    pub log: L,
    /// What time it is.
    pub clock: &'a K,
    /// Where it is noted who got what.
    pub journal: &'a J,
    /// Where it is told how many leases are in use.
    pub health: &'a Health,
    /// Who we are.
    pub own: Own,
}

impl<L: LeaseLog, K: Clock, J: Record, const IN: usize, const OUT: usize>
    Task<'_, L, K, J, IN, OUT>
{
    fn now(&self) -> Now {
        Now {
            mono: Instant::now(),
            seconds: self.clock.seconds(),
        }
    }

    /// Serves DHCP for ever.
    pub async fn serve<const LEASES: usize, const QUEUE: usize, const PROBES: usize>(
        &mut self,
        server: &mut Server<LEASES, QUEUE, PROBES>,
    ) -> ! {
        let dhcp = server.config().mode != Mode::Off;
        let mut next_count = Instant::now() + COUNT_EVERY;
        self.tell_leases(server);
        loop {
            let probes = server.next_deadline().is_some();
            self.divert.set_filter(Filter { dhcp, probes });
            let deadline = server
                .next_deadline()
                .map_or(next_count, |at| at.min(next_count));
            let readable = core::future::poll_fn(|cx| self.divert.inbound.poll_readable(cx));
            select(readable, Timer::at(deadline)).await;

            if Instant::now() >= next_count {
                next_count = Instant::now() + COUNT_EVERY;
                self.tell_leases(server);
            }
            let now = self.now();
            server.on_timer(now, self.journal);
            for _ in 0..BATCH {
                // What there is no room for waits in the ring.
                if !server.has_room()
                    || self
                        .divert
                        .inbound
                        .pop_with(|frame| self.take(server, now, frame))
                        .is_none()
                {
                    break;
                }
            }
            let lost = self.divert.inbound.take_dropped();
            if lost > 0 {
                warn!(
                    "dhcp: {} packets lost: they came faster than they could be answered",
                    lost
                );
            }
            server.persist(now, &mut self.log).await;
            self.send_all(server).await;
        }
    }

    /// Counts the leases in use, where leases are given.
    fn tell_leases<const LEASES: usize, const QUEUE: usize, const PROBES: usize>(
        &self,
        server: &Server<LEASES, QUEUE, PROBES>,
    ) {
        if server.config().mode == Mode::Server {
            let now = self.now().seconds;
            let in_use = |lease: &&Lease| lease.state == State::Bound && lease.ends > now;
            self.health
                .set_leases(server.leases().filter(in_use).count());
        }
    }

    /// One frame that the mux diverted.
    fn take<const LEASES: usize, const QUEUE: usize, const PROBES: usize>(
        &self,
        server: &mut Server<LEASES, QUEUE, PROBES>,
        now: Now,
        frame: &[u8],
    ) {
        if let Some(datagram) = Datagram::parse(frame) {
            let Datagram {
                src_mac,
                src_ip,
                src_port,
                dst_ip,
                dst_port,
                payload,
                ..
            } = datagram;
            let meta = Meta {
                src_mac,
                src_ip,
                src_port,
                dst_ip,
                port: dst_port,
            };
            match dst_port {
                CLIENT_PORT => {
                    server.on_foreign_reply(now, &meta, payload);
                }
                SERVER_PORT | BOOT_SERVER_PORT if self.is_for_us(dst_ip) => {
                    server.on_packet(now, &meta, payload, self.journal);
                }
                _ => {}
            }
        } else if let Some(arp) = Arp::parse(frame) {
            server.on_neighbour(now, arp.ip, arp.mac, self.journal);
        } else if let Some((ip, _)) = parse_echo_reply(frame) {
            server.on_echo_reply(now, ip, self.journal);
        } else if let Some(asker) = parse_solicitation(frame)
            && server.on_router_solicitation(now, asker.0)
        {
            let answer = |frame: &mut [u8; FRAME_LEN]| emit_no_router(self.own.mac, asker, frame);
            // If there is no room, it asks again.
            self.divert.outbound.push_with(answer);
        }
    }

    fn is_for_us(&self, ip: Ipv4Addr) -> bool {
        ip == self.own.ip || ip.is_broadcast() || ip == self.own.ip | !self.own.netmask
    }

    /// Sends what the server has to say; waits when the ring is full.
    async fn send_all<const LEASES: usize, const QUEUE: usize, const PROBES: usize>(
        &self,
        server: &mut Server<LEASES, QUEUE, PROBES>,
    ) {
        loop {
            core::future::poll_fn(|cx| self.divert.outbound.poll_writable(cx)).await;
            let mut done = false;
            self.divert.outbound.push_with(|frame| {
                let transmit = server.poll_transmit(Instant::now(), &mut frame[UDP_HEADERS..]);
                done = transmit.is_none();
                transmit.map_or(0, |transmit| self.emit(transmit, frame))
            });
            self.divert.flush();
            if done {
                return;
            }
        }
    }

    /// Turns what the server wants sent into a frame; a datagram's payload
    /// stands in it already.
    fn emit(&self, transmit: Transmit, frame: &mut [u8; FRAME_LEN]) -> usize {
        let Own {
            mac,
            ip: own_ip,
            gateway,
            ..
        } = self.own;
        match transmit {
            Transmit::Udp {
                dst_mac,
                dst_ip,
                src_port,
                dst_port,
                len,
            } => Datagram {
                src_mac: mac,
                dst_mac,
                src_ip: own_ip,
                dst_ip,
                src_port,
                dst_port,
                payload: &[],
            }
            .emit_headers(frame, len),
            // With our address as the sender, the reply comes to us alone.
            Transmit::Arp { ip } => Arp {
                reply: false,
                mac,
                ip: own_ip,
                target: ip,
            }
            .emit(MacAddr::BROADCAST, frame),
            Transmit::Ping { ip } => {
                // By whom the request came that this is about.
                let hop = if self.own.on_link(ip) {
                    Some(ip)
                } else {
                    gateway
                };
                match hop.and_then(|hop| self.neighbours.mac_of(hop)) {
                    Some(hop) => emit_echo_request((mac, own_ip), (hop, ip), ECHO_IDENT, frame),
                    None => 0,
                }
            }
        }
    }

    /// Asks whether somebody else on the link uses our address, and who.
    pub async fn find_conflict(&self) -> Option<MacAddr> {
        let Own { mac, ip, .. } = self.own;
        self.divert.set_filter(Filter {
            dhcp: false,
            probes: true,
        });
        for _ in 0..OWN_PROBES {
            self.divert.outbound.push_with(|frame| {
                Arp {
                    reply: false,
                    mac,
                    ip: Ipv4Addr::UNSPECIFIED,
                    target: ip,
                }
                .emit(MacAddr::BROADCAST, frame)
            });
            self.divert.flush();
            let answer = self.inbound_until(Instant::now() + OWN_PROBE_INTERVAL, |frame| {
                // Who uses it, or probes for it at the same time
                // (RFC 5227 §2.1.1).
                let claims = |arp: &Arp| {
                    let probes = !arp.reply && arp.ip.is_unspecified() && arp.target == ip;
                    arp.mac != mac && (arp.ip == ip || probes)
                };
                Arp::parse(frame).filter(claims)
            });
            if let Some(arp) = answer.await {
                return Some(arp.mac);
            }
        }
        None
    }

    /// Asks for an address as a client would. Other DHCP servers show
    /// themselves by their answers, which [`serve`](Self::serve) warns of.
    pub fn ask_for_other_servers(&self, xid: u32) {
        let mac = self.own.mac;
        self.divert.outbound.push_with(|frame| {
            let payload = &mut frame[UDP_HEADERS..];
            emit_discover(payload, mac, xid).map_or(0, |len| {
                Datagram {
                    src_mac: mac,
                    dst_mac: MacAddr::BROADCAST,
                    src_ip: Ipv4Addr::UNSPECIFIED,
                    dst_ip: Ipv4Addr::BROADCAST,
                    src_port: CLIENT_PORT,
                    dst_port: SERVER_PORT,
                    payload: &[],
                }
                .emit_headers(frame, len)
            })
        });
        self.divert.flush();
    }

    /// The first inbound frame that `pick` takes, until the deadline.
    async fn inbound_until<T>(
        &self,
        deadline: Instant,
        mut pick: impl FnMut(&[u8]) -> Option<T>,
    ) -> Option<T> {
        let picked = async {
            loop {
                core::future::poll_fn(|cx| self.divert.inbound.poll_readable(cx)).await;
                if let Some(Some(found)) = self.divert.inbound.pop_with(&mut pick) {
                    return found;
                }
            }
        };
        with_deadline(deadline, picked).await.ok()
    }
}

/// Marks our echo requests: "ic".
const ECHO_IDENT: u16 = 0x6963;
