//! What is sent to a client: decided when its message comes in, written when
//! the loop has room for it.

use core::fmt::Write as _;
use core::net::Ipv4Addr;

use heapless::{String, Vec};

use super::boot::{self, File};
use super::capacity::{DOMAIN_LEN, ROUTES, SEARCH_DOMAINS};
use super::config::{Config, Subnet};
use super::options::{self as option, Measure, Sink, Writer};
use super::request::{Request, Vendor};
use super::wire::{
    BOOT_SERVER_PORT, CLIENT_PORT, FILE_LEN, IP_UDP_LEN, MAX_LEN, MIN_LEN, MessageType, Op, Packet,
    Repr, SERVER_PORT,
};
use crate::MacAddr;

/// How a message reached the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Source of the frame: the client, its relay, or the router before them.
    pub src_mac: MacAddr,
    /// Source address, 0.0.0.0 for a client without one.
    pub src_ip: Ipv4Addr,
    /// Source port.
    pub src_port: u16,
    /// Destination address: ours, or a broadcast.
    pub dst_ip: Ipv4Addr,
    /// Destination port: 67, or 4011 of the PXE boot server.
    pub port: u16,
}

/// A reply that waits to be sent.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) body: Body,
    pub(super) request: Request,
    pub(super) meta: Meta,
    /// Whether the log remembers what the reply promises.
    pub(super) committed: bool,
}

/// What a reply says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// An address is offered (DHCPOFFER).
    Offer(Grant),
    /// An address is bound (DHCPACK).
    Ack(Grant),
    /// Only parameters, to a client that has an address (DHCPACK).
    Inform {
        /// Index of the client's subnet.
        subnet: usize,
    },
    /// The client's notion of its address is wrong (DHCPNAK), and why.
    Nak(&'static str),
    /// A boot file offered by a proxy (DHCPOFFER).
    ProxyOffer,
    /// A boot file named by a boot server (DHCPACK).
    BootAck,
}

/// An address for some time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) ip: Ipv4Addr,
    /// Lease time in seconds; `u32::MAX` is for ever.
    pub(super) seconds: u32,
    /// Index of its subnet.
    pub(super) subnet: usize,
}

/// Where a reply goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Destination {
    pub(super) mac: MacAddr,
    pub(super) ip: Ipv4Addr,
    pub(super) port: u16,
    /// The port it comes from.
    pub(super) from: u16,
}

/// Options that a client gets which names none.
const UNASKED: [u8; 6] = [
    option::SUBNET_MASK,
    option::ROUTER,
    option::DNS,
    option::HOSTNAME,
    option::DOMAIN,
    option::NTP,
];

impl Reply {
    /// Where the reply goes (RFC 2131 §4.1; PXE 2.1 §2.2.3 for boot servers).
    pub(super) fn destination(&self) -> Destination {
        let (meta, repr) = (&self.meta, &self.request.repr);
        let to = |mac, ip, port| Destination {
            mac,
            ip,
            port,
            from: SERVER_PORT,
        };
        if meta.port == BOOT_SERVER_PORT && !meta.src_ip.is_unspecified() {
            return Destination {
                from: BOOT_SERVER_PORT,
                ..to(meta.src_mac, meta.src_ip, meta.src_port)
            };
        }
        // Who answers the frame's sender needs no ARP: it is the relay, the
        // client, or the router on the way to them.
        if !repr.giaddr.is_unspecified() {
            return to(meta.src_mac, repr.giaddr, SERVER_PORT);
        }
        let everybody = to(MacAddr::BROADCAST, Ipv4Addr::BROADCAST, CLIENT_PORT);
        match self.body {
            Body::Nak(_) => everybody,
            _ if !repr.ciaddr.is_unspecified() => to(meta.src_mac, repr.ciaddr, CLIENT_PORT),
            Body::Inform { .. } if !meta.src_ip.is_unspecified() => {
                to(meta.src_mac, meta.src_ip, CLIENT_PORT)
            }
            Body::Offer(grant) | Body::Ack(grant) if !repr.broadcast => match repr.station() {
                Some(station) => to(station, grant.ip, CLIENT_PORT),
                None => everybody,
            },
            _ => everybody,
        }
    }

    /// Writes the message into `buf`, within what the client takes, and
    /// returns its length. `None` if `buf` is too small for any reply.
    pub(super) fn emit(&self, config: &Config, buf: &mut [u8]) -> Option<usize> {
        let limit = usize::from(self.request.max_message)
            .saturating_sub(IP_UDP_LEN)
            .min(MAX_LEN)
            .min(buf.len());
        let buf = buf.get_mut(..limit).filter(|_| limit >= MIN_LEN)?;
        buf.fill(0);
        let contents = self.contents(config);
        let file = contents.file.as_bytes();
        let in_header = !file.is_empty() && file.len() < FILE_LEN;

        let mut packet = Packet::new_zeroed(buf).ok()?;
        contents.repr.emit(&mut packet);
        if in_header {
            packet.set_file(file);
        }
        let mut measure = Measure::default();
        contents.put_options(&mut measure);
        let (main, file_area, sname) = packet.option_areas();
        let file_area = if in_header { &mut [] } else { file_area };
        let agent = &self.request.agent;
        let mut writer = Writer::new((main, file_area, sname), measure.0, agent);
        contents.put_options(&mut writer);
        let (used, left_out) = writer.finish();
        if left_out > 0 {
            debug!(
                "dhcp: {} options do not fit what {} takes",
                left_out,
                self.request.mac()
            );
        }
        Some((super::wire::HEADER_LEN + used).max(MIN_LEN))
    }

    fn contents<'a>(&'a self, config: &'a Config) -> Contents<'a> {
        let request = &self.request;
        let unset = Ipv4Addr::UNSPECIFIED;
        let (kind, grant, subnet) = match self.body {
            Body::Offer(grant) => (MessageType::Offer, Some(grant), Some(grant.subnet)),
            Body::Ack(grant) => (MessageType::Ack, Some(grant), Some(grant.subnet)),
            Body::Inform { subnet } => (MessageType::Ack, None, Some(subnet)),
            Body::Nak(_) => (MessageType::Nak, None, None),
            Body::ProxyOffer => (MessageType::Offer, None, None),
            Body::BootAck => (MessageType::Ack, None, None),
        };
        let file = match self.body {
            Body::Nak(_) => None,
            _ => boot::choose(config, request).unwrap_or(None),
        }
        .unwrap_or_default();
        let ip = grant.map_or(request.repr.ciaddr, |grant| grant.ip);
        let hostname = config.reservations.iter().find(|r| r.ip == ip);
        let siaddr = match self.body {
            _ if file.is_empty() => unset,
            _ => boot::next_server(config, &file),
        };
        let repr = Repr {
            op: Op::Reply,
            hops: 0,
            secs: 0,
            // So that the relay, too, broadcasts what the client can not
            // receive otherwise (RFC 2131 §4.3.2).
            broadcast: request.repr.broadcast || matches!(self.body, Body::Nak(_)),
            ciaddr: match kind {
                MessageType::Ack => request.repr.ciaddr,
                _ => unset,
            },
            yiaddr: grant.map_or(unset, |grant| grant.ip),
            siaddr,
            ..request.repr
        };
        Contents {
            config,
            request,
            repr,
            kind,
            message: match self.body {
                Body::Nak(message) => message,
                _ => "",
            },
            seconds: grant.map(|grant| grant.seconds),
            subnet: subnet.and_then(|at| config.subnets.get(at)),
            hostname: hostname.map_or("", |r| r.hostname.as_str()),
            file,
        }
    }
}

/// All that one reply says.
struct Contents<'a> {
    config: &'a Config,
    request: &'a Request,
    repr: Repr,
    kind: MessageType,
    message: &'static str,
    seconds: Option<u32>,
    subnet: Option<&'a Subnet>,
    hostname: &'a str,
    /// Empty if there is nothing to boot.
    file: File,
}

impl Contents<'_> {
    /// Most important first: what comes last is left out if a client's
    /// messages are too small for all.
    fn put_options(&self, out: &mut impl Sink) {
        out.put(option::MESSAGE_TYPE, &[self.kind as u8]);
        out.put(option::SERVER_ID, &self.config.server.octets());
        if let Some(seconds) = self.seconds {
            out.put(option::LEASE_TIME, &seconds.to_be_bytes());
        }
        if !self.message.is_empty() {
            out.put(option::MESSAGE, self.message.as_bytes());
        }
        if !self.request.client_id.is_empty() {
            out.put(option::CLIENT_ID, &self.request.client_id);
        }
        if self.kind == MessageType::Nak {
            return;
        }
        self.put_boot(out);
        if let Some(subnet) = self.subnet {
            self.put_parameters(subnet, out);
        }
    }

    fn put_boot(&self, out: &mut impl Sink) {
        let Request {
            vendor, machine_id, ..
        } = self.request;
        if !machine_id.is_empty() {
            out.put(option::MACHINE_ID, machine_id);
        }
        if self.file.is_empty() {
            // A PXE client that reads "PXEClient" here would turn to our boot
            // server, which has no file for it either.
            return;
        }
        if let Some(name) = vendor.name() {
            out.put(option::VENDOR_CLASS, name.as_bytes());
        }
        if *vendor == Vendor::Pxe {
            out.put(option::VENDOR, &boot::vendor_options(self.request));
        }
        let asked = |code| self.request.wants(code);
        if asked(option::BOOT_FILE) || *vendor == Vendor::Http || self.file.len() >= FILE_LEN {
            out.put(option::BOOT_FILE, self.file.as_bytes());
        }
        if asked(option::TFTP_SERVER) && !self.file.starts_with("http://") {
            let mut server = String::<15>::new();
            // The longest address has 15 characters.
            let _ = write!(server, "{}", self.repr.siaddr);
            out.put(option::TFTP_SERVER, server.as_bytes());
        }
    }

    /// What the client asked to know, in its own order, but for the mask,
    /// which must come before the router (RFC 2132 §3.3).
    fn put_parameters(&self, subnet: &Subnet, out: &mut impl Sink) {
        let wanted = self.request.parameters.as_deref().unwrap_or(&UNASKED);
        if wanted.contains(&option::SUBNET_MASK) {
            out.put(option::SUBNET_MASK, &subnet.mask().octets());
        }
        for code in wanted {
            self.put_parameter(*code, subnet, out);
        }
        // Half of the lease and seven eighths of it (RFC 2131 §4.4.5).
        if let Some(seconds) = self.seconds.filter(|seconds| *seconds != u32::MAX) {
            out.put(option::T1, &(seconds / 2).to_be_bytes());
            out.put(option::T2, &(seconds - seconds / 8).to_be_bytes());
        }
    }

    fn put_parameter(&self, code: u8, subnet: &Subnet, out: &mut impl Sink) {
        let config = self.config;
        match code {
            option::ROUTER => put_addresses(code, &subnet.routers, out),
            option::DNS => put_addresses(code, &config.dns, out),
            option::NTP => put_addresses(code, &config.ntp, out),
            option::HOSTNAME => put_text(code, self.hostname, out),
            option::DOMAIN => put_text(code, &config.domain, out),
            option::MTU => {
                if let Some(mtu) = config.mtu {
                    out.put(code, &mtu.to_be_bytes());
                }
            }
            option::SEARCH => put_search(config, out),
            option::ROUTES => put_routes(subnet, out),
            // iPXE need not wait for a proxyDHCP server's offer: this one has
            // the boot file (sub-option 176, "no-pxedhcp").
            option::IPXE if !self.file.is_empty() => out.put(code, &[176, 1, 1]),
            // Put elsewhere, or not at all.
            _ => (),
        }
    }
}

fn put_text(code: u8, text: &str, out: &mut impl Sink) {
    if !text.is_empty() {
        out.put(code, text.as_bytes());
    }
}

fn put_addresses<const N: usize>(code: u8, addresses: &Vec<Ipv4Addr, N>, out: &mut impl Sink) {
    let mut value = Vec::<u8, 32>::new();
    for address in addresses {
        // No list has more than eight.
        let _ = value.extend_from_slice(&address.octets());
    }
    if !value.is_empty() {
        out.put(code, &value);
    }
}

/// The search list as uncompressed names (RFC 3397 §2).
fn put_search(config: &Config, out: &mut impl Sink) {
    let mut value = Vec::<u8, { SEARCH_DOMAINS * (DOMAIN_LEN + 2) }>::new();
    for domain in &config.search {
        for label in domain.split('.').filter(|label| !label.is_empty()) {
            // Labels are at most 63 bytes, which `Config::check` has seen to,
            // and all names together fit the capacity.
            let _ = value.push(label.len() as u8);
            let _ = value.extend_from_slice(label.as_bytes());
        }
        let _ = value.push(0);
    }
    if !value.is_empty() {
        out.put(option::SEARCH, &value);
    }
}

/// Classless routes (RFC 3442). A client that takes them ignores the router
/// option, so the default route is among them.
fn put_routes(subnet: &Subnet, out: &mut impl Sink) {
    if subnet.routes.is_empty() {
        return;
    }
    let mut value = Vec::<u8, { (ROUTES + 1) * 9 }>::new();
    let mut put = |destination: Ipv4Addr, prefix: u8, router: Ipv4Addr| {
        let significant = usize::from(prefix).div_ceil(8).min(4);
        let octets = destination.octets();
        // Nine bytes for each route and the default one.
        let _ = value.push(prefix);
        let _ = value.extend_from_slice(octets.get(..significant).unwrap_or_default());
        let _ = value.extend_from_slice(&router.octets());
    };
    for route in &subnet.routes {
        put(route.destination, route.prefix, route.router);
    }
    let has_default = subnet.routes.iter().any(|route| route.prefix == 0);
    if let Some(router) = subnet.routers.first().filter(|_| !has_default) {
        put(Ipv4Addr::UNSPECIFIED, 0, *router);
    }
    out.put(option::ROUTES, &value);
}
