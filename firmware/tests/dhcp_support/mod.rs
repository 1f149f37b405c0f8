//! A server with its log and its clients, for tests through the public API.

// Each test uses its own part of this.
#![allow(dead_code, clippy::unwrap_used)]

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use embassy_time::{Duration, Instant};
use ichor::MacAddr;
use ichor::dhcp::wire::{HEADER_LEN, MIN_LEN, MessageType, Packet, Repr};
use ichor::dhcp::{Config, Meta, Mode, Now, Pool, Replayed, Server, Subnet, Transmit};
use ichor::journal::Journal;
use ichor_hal::LeaseLog;

pub(crate) const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// A link 192.0.2.0/24 with a pool of `size` addresses from 50 on, no probes.
pub(crate) fn config(size: u8) -> Config {
    let mut link = Subnet::new(SERVER, 24);
    link.pool = Some(Pool {
        first: Ipv4Addr::new(192, 0, 2, 50),
        last: Ipv4Addr::new(192, 0, 2, 49 + size),
    });
    let mut config = Config {
        mode: Mode::Server,
        server: SERVER,
        probe: Duration::MIN,
        ..Config::default()
    };
    config.subnets.push(link).unwrap();
    config
}

pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("fakes are always ready"),
    }
}

pub(crate) fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n])
}

/// A client's message with these options.
pub(crate) fn message(
    kind: MessageType,
    from: MacAddr,
    ciaddr: Ipv4Addr,
    options: &[(u8, &[u8])],
) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN];
    let mut packet = Packet::new_zeroed(&mut bytes[..]).unwrap();
    Repr {
        ciaddr,
        ..Repr::request(from, 0x1234)
    }
    .emit(&mut packet);
    bytes.extend([53, 1, kind as u8]);
    for (code, value) in options {
        bytes.extend([*code, value.len().try_into().unwrap()]);
        bytes.extend(*value);
    }
    bytes.push(255);
    bytes.resize(bytes.len().max(MIN_LEN), 0);
    bytes
}

pub(crate) struct Bench<L> {
    pub(crate) server: Box<Server<64, 16, 8>>,
    pub(crate) journal: Journal<16, 16>,
    pub(crate) log: L,
    pub(crate) seconds: u64,
}

impl<L: LeaseLog> Bench<L> {
    /// A server that starts with what is in the log.
    pub(crate) fn start(config: Config, mut log: L, seconds: u64) -> (Self, Replayed) {
        let mut server = Box::new(Server::new());
        server.configure(config, seconds).unwrap();
        let found = block_on(server.replay(&mut log)).unwrap();
        let bench = Self {
            server,
            journal: Journal::new(),
            log,
            seconds,
        };
        (bench, found)
    }

    pub(crate) fn now(&self) -> Now {
        Now {
            mono: Instant::from_secs(self.seconds),
            seconds: self.seconds,
        }
    }

    /// What the server answers, as type and address.
    pub(crate) fn ask(&mut self, from: MacAddr, bytes: &[u8]) -> Option<(MessageType, Ipv4Addr)> {
        let meta = Meta {
            src_mac: from,
            src_ip: Ipv4Addr::UNSPECIFIED,
            src_port: 68,
            dst_ip: SERVER,
            port: 67,
        };
        self.server
            .on_packet(self.now(), &meta, bytes, &self.journal);
        block_on(self.server.persist(self.now(), &mut self.log));
        let mut buf = [0; 1472];
        let transmit = self.server.poll_transmit(self.now().mono, &mut buf)?;
        let Transmit::Udp { len, .. } = transmit else {
            panic!("{transmit:?}")
        };
        let packet = Packet::new_checked(&buf[..len]).unwrap();
        let kind = packet.options().first(53).unwrap()[0];
        Some((MessageType::from_number(kind).unwrap(), packet.yiaddr()))
    }

    pub(crate) fn discover(&mut self, client: u8) -> Option<Ipv4Addr> {
        let from = mac(client);
        let bytes = message(MessageType::Discover, from, Ipv4Addr::UNSPECIFIED, &[]);
        self.ask(from, &bytes).map(|(_, ip)| ip)
    }

    /// DISCOVER to ACK.
    pub(crate) fn lease(&mut self, client: u8) -> Option<Ipv4Addr> {
        let ip = self.discover(client)?;
        let options: &[(u8, &[u8])] = &[(54, &SERVER.octets()), (50, &ip.octets())];
        let from = mac(client);
        let bytes = message(MessageType::Request, from, Ipv4Addr::UNSPECIFIED, options);
        let (kind, ip) = self.ask(from, &bytes)?;
        (kind == MessageType::Ack).then_some(ip)
    }

    /// Whether the lease goes on.
    pub(crate) fn renew(&mut self, client: u8, ip: Ipv4Addr) -> Option<MessageType> {
        let from = mac(client);
        let bytes = message(MessageType::Request, from, ip, &[]);
        self.ask(from, &bytes).map(|(kind, _)| kind)
    }

    pub(crate) fn release(&mut self, client: u8, ip: Ipv4Addr) {
        let from = mac(client);
        let bytes = message(MessageType::Release, from, ip, &[]);
        assert!(self.ask(from, &bytes).is_none());
    }

    pub(crate) fn decline(&mut self, client: u8, ip: Ipv4Addr) {
        let from = mac(client);
        let options: &[(u8, &[u8])] = &[(54, &SERVER.octets()), (50, &ip.octets())];
        let none = Ipv4Addr::UNSPECIFIED;
        let bytes = message(MessageType::Decline, from, none, options);
        assert!(self.ask(from, &bytes).is_none());
    }
}
