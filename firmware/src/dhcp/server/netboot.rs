//! Boot files beside another DHCP server: proxyDHCP on port 67 and the PXE
//! boot server on port 4011 (PXE 2.1 §2.2).

use super::{Now, Query, Server};
use crate::dhcp::boot::{self, File, NoFile};
use crate::dhcp::reply::{Body, Meta};
use crate::dhcp::request::{Request, Vendor};
use crate::dhcp::wire::MessageType;
use crate::journal::{Record, Stage, Who};

impl<const LEASES: usize, const QUEUE: usize, const PROBES: usize> Server<LEASES, QUEUE, PROBES> {
    /// Proxy mode: names a boot file to whoever says it is a PXE or an HTTP
    /// Boot client, and gives no address.
    pub(super) fn proxy(&mut self, now: Now, meta: &Meta, request: Request, journal: &impl Record) {
        if request.kind == MessageType::Request && request.repr.giaddr.is_unspecified() {
            // The other server decides, but a client seldom asks in vain: so
            // later requests by address find their machine.
            let renewed = Some(request.repr.ciaddr).filter(|ip| !ip.is_unspecified());
            if let Some(ip) = request.requested.or(renewed) {
                journal.learn(ip, request.mac());
            }
        }
        if request.kind != MessageType::Discover || request.vendor == Vendor::Other {
            return;
        }
        self.counters.discover += 1;
        let who = Who::from(request.mac());
        journal_discover(now, &request, journal);
        let Some(file) = self.boot_file(now, &request, journal) else {
            return;
        };
        if self.reply(now, query(request, meta), Body::ProxyOffer, None) {
            self.counters.offer += 1;
            journal.record(now.mono, who, Stage::Offer, format_args!("{file}"));
        }
    }

    /// Answers whoever asks the boot server, in proxy mode and beside our own
    /// DHCP service.
    pub(super) fn boot_server(
        &mut self,
        now: Now,
        meta: &Meta,
        request: Request,
        journal: &impl Record,
    ) {
        let asks = matches!(
            request.kind,
            MessageType::Request | MessageType::Inform | MessageType::Discover
        );
        if !asks || request.vendor == Vendor::Other {
            return;
        }
        self.counters.request += 1;
        let (mac, ip) = (request.mac(), meta.src_ip);
        let Some(file) = self.boot_file(now, &request, journal) else {
            return;
        };
        if !self.reply(now, query(request, meta), Body::BootAck, None) {
            return;
        }
        self.counters.ack += 1;
        let who = if ip.is_unspecified() {
            mac.into()
        } else {
            journal.learn(ip, mac);
            Who::from((mac, ip))
        };
        journal.record(now.mono, who, Stage::Bound, format_args!("{file}"));
    }

    /// The boot file of a client. Says so if there is none for its kind.
    pub(super) fn boot_file(
        &mut self,
        now: Now,
        request: &Request,
        journal: &impl Record,
    ) -> Option<File> {
        let client = match boot::choose(&self.config, request) {
            Ok(file) => return file,
            Err(NoFile(client)) => client,
        };
        let mac = request.mac();
        if let Some(missed) = self.logged.no_boot_file.count(now.mono) {
            warn!(
                "dhcp: no boot file for client architecture {} of {}: set boot.{} = \"FILE\"{}",
                client, mac, client, missed
            );
        }
        journal.record(
            now.mono,
            mac.into(),
            Stage::Refused,
            format_args!("no boot file for architecture {client}: set boot.{client} = \"FILE\""),
        );
        None
    }
}

pub(super) fn journal_discover(now: Now, request: &Request, journal: &impl Record) {
    let who = request.mac().into();
    match request.client {
        Some(client) => journal.record(now.mono, who, Stage::Discover, format_args!("{client}")),
        None => journal.record(now.mono, who, Stage::Discover, format_args!("")),
    }
}

/// A query that is about no address, so that no subnet matters.
fn query(request: Request, meta: &Meta) -> Query {
    Query {
        request,
        meta: *meta,
        subnet: 0,
        reserved: None,
    }
}
