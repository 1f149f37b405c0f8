//! What comes in: datagrams, neighbours that were seen, and time.

use core::net::Ipv4Addr;

use super::{Now, Server};
use crate::MacAddr;
use crate::dhcp::config::Mode;
use crate::dhcp::options;
use crate::dhcp::reply::Meta;
use crate::dhcp::request::{Request, message_type};
use crate::dhcp::wire::{BOOT_SERVER_PORT, MessageType, Op, Packet, Repr, WireError};
use crate::journal::Record;

impl<const LEASES: usize, const QUEUE: usize, const PROBES: usize> Server<LEASES, QUEUE, PROBES> {
    /// Takes the payload of a datagram to port 67 or 4011.
    pub fn on_packet(&mut self, now: Now, meta: &Meta, payload: &[u8], journal: &impl Record) {
        if self.config.mode == Mode::Off {
            return;
        }
        self.leases.expire(now.seconds);
        let request = match Packet::new_checked(payload).and_then(|p| Request::parse(&p)) {
            Ok(request) => request,
            Err(error) => return self.malformed(now, meta, error),
        };
        match (meta.port, self.config.mode) {
            (BOOT_SERVER_PORT, _) => self.boot_server(now, meta, request, journal),
            (_, Mode::Proxy) => self.proxy(now, meta, request, journal),
            _ => self.server(now, meta, request, journal),
        }
    }

    /// Takes the payload of a datagram to port 68 that somebody else sent, and
    /// returns the address of the DHCP server that it came from.
    ///
    /// Servers answer the DHCPDISCOVER of
    /// [`emit_discover`](crate::dhcp::wire::emit_discover), too.
    pub fn on_foreign_reply(&mut self, now: Now, meta: &Meta, payload: &[u8]) -> Option<Ipv4Addr> {
        let packet = Packet::new_checked(payload).ok()?;
        let repr = Repr::parse(&packet).ok()?;
        let options = packet.options();
        let kind = message_type(&options).ok()?;
        let named = options.address(options::SERVER_ID).ok()?;
        let server = named.unwrap_or(meta.src_ip);
        let own = server == self.config.server || meta.src_ip == self.config.server;
        let answer = matches!(
            kind,
            MessageType::Offer | MessageType::Ack | MessageType::Nak
        );
        if repr.op != Op::Reply || !answer || own {
            return None;
        }
        // A proxy needs a server beside it that gives addresses. One that
        // names boot files, too, is one too many.
        let has = |code| options.first(code).is_some();
        let file = packet.file().first().is_some_and(|first| *first != 0);
        let boots = has(options::VENDOR_CLASS)
            || has(options::BOOT_FILE)
            || (file && !has(options::OVERLOAD));
        match self.config.mode {
            Mode::Server => self.other_server(now, server),
            Mode::Proxy if boots => self.other_server(now, server),
            Mode::Proxy | Mode::Off => (),
        }
        Some(server)
    }

    /// Notes that a host was seen using an address, in any ARP packet.
    pub fn on_neighbour(&mut self, now: Now, ip: Ipv4Addr, mac: MacAddr, journal: &impl Record) {
        let Some(probe) = self.probes.take_ip(ip) else {
            return;
        };
        if probe.station == Some(mac) {
            self.unopposed(now, probe, journal);
        } else {
            self.conflict(now, &probe, Some(mac), journal);
        }
    }

    /// Notes that a host answered an ICMP echo request.
    pub fn on_echo_reply(&mut self, now: Now, ip: Ipv4Addr, journal: &impl Record) {
        if let Some(probe) = self.probes.take_ip(ip) {
            self.conflict(now, &probe, None, journal);
        }
    }

    /// Whether a machine that solicits an IPv6 router is to be told that there
    /// is none: it is iPXE, and would wait for seconds.
    pub fn on_router_solicitation(&mut self, now: Now, mac: MacAddr) -> bool {
        self.config.boot.ends_router_search && self.searches.is_in_vain(now.mono, mac)
    }

    /// Makes the offers whose probes heard nothing, as many as there is room
    /// for; the others stay due. To be called when
    /// [`next_deadline`](Self::next_deadline) has passed; more often is fine.
    pub fn on_timer(&mut self, now: Now, journal: &impl Record) {
        while self.has_room()
            && let Some(probe) = self.probes.take_silent(now.mono)
        {
            self.unopposed(now, probe, journal);
        }
    }

    pub(super) fn malformed(&mut self, now: Now, meta: &Meta, error: WireError) {
        self.counters.malformed += 1;
        if let Some(missed) = self.logged.malformed.count(now.mono) {
            warn!(
                "dhcp: ignored a packet from {} ({}): {}{}",
                meta.src_mac, meta.src_ip, error, missed
            );
        }
    }

    pub(super) fn other_server(&mut self, now: Now, server: Ipv4Addr) {
        if self.logged.other_server.count(now.mono).is_none() {
            return;
        }
        if self.config.mode == Mode::Proxy {
            warn!(
                "another server on this LAN names boot files: {}; machines may follow it: \
                 take its boot options away, or stop ichor",
                server
            );
        } else {
            warn!(
                "another DHCP server answers on this LAN: {}; machines may follow it: \
                 switch it off, or set dhcp = \"proxy\" here to leave addresses to it",
                server
            );
        }
    }
}
