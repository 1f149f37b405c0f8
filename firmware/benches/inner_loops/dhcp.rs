//! Whole exchanges: DISCOVER to OFFER and REQUEST to ACK, of as many clients
//! as a rack has, all of which have a lease already.

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use embassy_time::{Duration, Instant};
use ichor::MacAddr;
use ichor::dhcp::wire::{HEADER_LEN, MessageType, Packet, Repr};
use ichor::dhcp::{Config, Meta, Mode, Now, Pool, Server, Subnet, Transmit};
use ichor::journal::Journal;
use ichor_hal::fake::FakeLog;

use super::Turn;

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const CLIENTS: u16 = 1024;

/// What UEFI (EDK2 on arm64) sends for PXE after the message type, as
/// captured: largest message, parameters, UUID, UNDI, architecture, vendor.
const UEFI_OPTIONS: &[&[u8]] = &[
    &[57, 2, 5, 192],
    &[
        55, 35, 1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58,
        59, 60, 66, 67, 97, 128, 129, 130, 131, 132, 133, 134, 135,
    ],
    &[
        97, 17, 0, 28, 138, 61, 94, 119, 111, 75, 74, 158, 48, 1, 2, 3, 4, 5, 6,
    ],
    &[94, 3, 1, 3, 0],
    &[93, 2, 0, 11],
    &[60, 32],
    b"PXEClient:Arch:00011:UNDI:003000",
];

/// A client, and the two messages that it sends again and again.
struct Client {
    mac: MacAddr,
    discover: Vec<u8>,
    request: Vec<u8>,
}

struct Bench {
    server: Box<Server<2048, 64, 8>>,
    journal: Journal<256, 2048>,
    log: FakeLog,
    /// A second passes with each message.
    seconds: u64,
    buf: [u8; 1472],
}

/// One client's four messages.
pub(super) fn exchange() -> Turn {
    let mut bench = Bench::new();
    let clients: Vec<Client> = (0..CLIENTS).map(|n| bench.client(n)).collect();
    let mut next = 0;
    Box::new(move || {
        let client = &clients[next];
        next = (next + 1) % clients.len();
        let offered = bench.ask(client.mac, &client.discover, MessageType::Offer);
        let bound = bench.ask(client.mac, &client.request, MessageType::Ack);
        assert_eq!(offered, bound);
    })
}

impl Bench {
    /// A server of 192.0.0.0/20 without leases, that asks nobody whether an
    /// address is in use.
    fn new() -> Self {
        let mut link = Subnet::new(SERVER, 20);
        link.pool = Some(Pool {
            first: Ipv4Addr::new(192, 0, 3, 0),
            last: Ipv4Addr::new(192, 0, 9, 255),
        });
        let mut config = Config {
            mode: Mode::Server,
            server: SERVER,
            http_port: 8080,
            probe: Duration::MIN,
            ..Config::default()
        };
        config.subnets.push(link).expect("room for one subnet");
        let mut server = Box::new(Server::new());
        server.configure(config, 1).expect("a sound configuration");
        Self {
            server,
            journal: Journal::new(),
            log: FakeLog::default(),
            seconds: 0,
            buf: [0; 1472],
        }
    }

    /// A client that is given its lease here.
    fn client(&mut self, number: u16) -> Client {
        let [high, low] = number.to_be_bytes();
        let mac = MacAddr([0x52, 0x54, 0, 0, high, low]);
        let discover = message(mac, &[&[53, 1, 1]]);
        let ip = self.ask(mac, &discover, MessageType::Offer).octets();
        let [a, b, c, d] = SERVER.octets();
        let asked = [50, 4, ip[0], ip[1], ip[2], ip[3]];
        let request = message(mac, &[&[53, 1, 3], &asked, &[54, 4, a, b, c, d]]);
        self.ask(mac, &request, MessageType::Ack);
        Client {
            mac,
            discover,
            request,
        }
    }

    /// The address in the answer, which is of this type.
    fn ask(&mut self, from: MacAddr, message: &[u8], answer: MessageType) -> Ipv4Addr {
        self.seconds += 1;
        let now = Now {
            mono: Instant::from_secs(self.seconds),
            seconds: self.seconds,
        };
        let meta = Meta {
            src_mac: from,
            src_ip: Ipv4Addr::UNSPECIFIED,
            src_port: 68,
            dst_ip: Ipv4Addr::BROADCAST,
            port: 67,
        };
        self.server.on_packet(now, &meta, message, &self.journal);
        ready(self.server.persist(now, &mut self.log));
        let sent = self.server.poll_transmit(now.mono, &mut self.buf);
        let Some(Transmit::Udp { len, .. }) = sent else {
            panic!("no answer but {sent:?}");
        };
        let packet = Packet::new_checked(&self.buf[..len]).expect("an answer is DHCP");
        let kind = packet.options().first(53).expect("an answer has a type");
        assert_eq!(kind, [answer as u8]);
        packet.yiaddr()
    }
}

/// A client's message: these options first, then those of UEFI.
fn message(from: MacAddr, first: &[&[u8]]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_LEN];
    let mut packet = Packet::new_zeroed(&mut bytes[..]).expect("room for a header");
    Repr::request(from, 0x1234_5678).emit(&mut packet);
    for option in first.iter().chain(UEFI_OPTIONS) {
        bytes.extend_from_slice(option);
    }
    bytes.push(255);
    bytes
}

/// What comes of a future that waits for nothing.
pub(super) fn ready<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("nothing here is waited for"),
    }
}
