//! Conversations with the server: who says what, and what comes back.

mod addresses;
mod clients;
mod netboot;
mod probing;

use core::net::Ipv4Addr;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::collections::BTreeMap;

use embassy_time::{Duration, Instant};
use ichor_hal::fake::FakeLog;

use super::{Now, Server, Transmit};
use crate::MacAddr;
use crate::dhcp::fixture::Message;
use crate::dhcp::options::{self, Options};
use crate::dhcp::wire::{MessageType, Packet, Repr};
use crate::dhcp::{Config, Meta, Mode, Owner, Pool, Reservation, Subnet};
use crate::journal::{Journal, Stage};

const SERVER: [u8; 4] = [192, 0, 2, 1];

/// A link 192.0.2.0/24 with a pool of 50 to 53, no probes.
fn config() -> Config {
    let mut link = Subnet::new(Ipv4Addr::new(192, 0, 2, 0), 24);
    link.pool = Some(Pool {
        first: Ipv4Addr::new(192, 0, 2, 50),
        last: Ipv4Addr::new(192, 0, 2, 53),
    });
    link.routers.push(Ipv4Addr::from(SERVER)).unwrap();
    let mut config = Config {
        mode: Mode::Server,
        server: Ipv4Addr::from(SERVER),
        probe: Duration::MIN,
        ..Config::default()
    };
    config.subnets.push(link).unwrap();
    config
}

fn reserve(config: &mut Config, owner: Owner, ip: [u8; 4], hostname: &str) {
    let reservation = Reservation {
        owner,
        ip: ip.into(),
        hostname: hostname.try_into().unwrap(),
    };
    config.reservations.push(reservation).unwrap();
}

fn mac(n: u8) -> MacAddr {
    MacAddr([2, 0, 0, 0, 0, n])
}

/// A server with its log and a clock.
struct Bench {
    server: Box<Server<16, 8, 4>>,
    log: FakeLog,
    journal: Journal<32, 8>,
    now: Now,
}

/// One reply, taken apart.
#[derive(Debug)]
struct Reply {
    dst_mac: MacAddr,
    dst: ([u8; 4], u16),
    src_port: u16,
    kind: MessageType,
    repr: Repr,
    file: String,
    /// In the order of their first instances.
    codes: Vec<u8>,
    options: BTreeMap<u8, Vec<u8>>,
    len: usize,
}

impl Reply {
    fn parse(bytes: &[u8], dst_mac: MacAddr, dst: ([u8; 4], u16), src_port: u16) -> Self {
        let packet = Packet::new_checked(bytes).unwrap();
        let mut codes = Vec::new();
        let mut options = BTreeMap::<u8, Vec<u8>>::new();
        for (code, value) in packet.options() {
            if !codes.contains(&code) {
                codes.push(code);
            }
            options.entry(code).or_default().extend(value);
        }
        let file = packet.file().split(|byte| *byte == 0).next().unwrap();
        Self {
            dst_mac,
            dst,
            src_port,
            kind: MessageType::from_number(options[&53][0]).unwrap(),
            repr: Repr::parse(&packet).unwrap(),
            file: String::from_utf8_lossy(file).into(),
            codes,
            options,
            len: bytes.len(),
        }
    }

    fn yiaddr(&self) -> [u8; 4] {
        self.repr.yiaddr.octets()
    }

    fn text(&self, code: u8) -> &str {
        self.options
            .get(&code)
            .map_or("", |value| std::str::from_utf8(value).unwrap())
    }

    fn seconds(&self, code: u8) -> u32 {
        u32::from_be_bytes(self.options[&code][..].try_into().unwrap())
    }
}

impl Bench {
    fn new(config: Config) -> Self {
        let mut server = Box::new(Server::new());
        server.configure(config, 42).unwrap();
        Self {
            server,
            log: FakeLog::default(),
            journal: Journal::new(),
            now: Now {
                mono: Instant::from_secs(100),
                seconds: 1_000_000,
            },
        }
    }

    fn wait(&mut self, seconds: u64) {
        self.now.seconds += seconds;
        self.now.mono += Duration::from_secs(seconds);
    }

    /// How a client's broadcast comes in.
    fn broadcast(message: &Message) -> Meta {
        Meta {
            src_mac: message.repr.station().unwrap_or_default(),
            src_ip: message.repr.ciaddr,
            src_port: 68,
            dst_ip: Ipv4Addr::BROADCAST,
            port: 67,
        }
    }

    fn unicast(message: &Message) -> Meta {
        Meta {
            dst_ip: Ipv4Addr::from(SERVER),
            ..Self::broadcast(message)
        }
    }

    fn send(&mut self, message: &Message, meta: &Meta) {
        let bytes = message.bytes();
        self.server.on_packet(self.now, meta, &bytes, &self.journal);
    }

    fn persist(&mut self) {
        block_on(self.server.persist(self.now, &mut self.log));
    }

    /// Everything that the server wants to send.
    fn transmits(&mut self) -> (Vec<Reply>, Vec<Transmit>) {
        let mut buf = [0xee; 1472];
        let (mut replies, mut probes) = (Vec::new(), Vec::new());
        self.persist();
        while let Some(transmit) = self.server.poll_transmit(self.now.mono, &mut buf) {
            let Transmit::Udp {
                dst_mac,
                dst_ip,
                src_port,
                dst_port,
                len,
            } = transmit
            else {
                probes.push(transmit);
                continue;
            };
            let dst = (dst_ip.octets(), dst_port);
            replies.push(Reply::parse(&buf[..len], dst_mac, dst, src_port));
        }
        (replies, probes)
    }

    /// Sends a message and takes the one reply to it, if any.
    fn ask_by(&mut self, message: &Message, meta: &Meta) -> Option<Reply> {
        self.send(message, meta);
        let (mut replies, probes) = self.transmits();
        assert!(replies.len() <= 1 && probes.is_empty());
        replies.pop()
    }

    fn ask(&mut self, message: &Message) -> Option<Reply> {
        self.ask_by(message, &Self::broadcast(message))
    }

    /// DISCOVER to ACK; the address bound.
    fn lease(&mut self, mac: MacAddr) -> Option<[u8; 4]> {
        let offer = self.ask(&Message::discover(mac))?;
        assert_eq!(offer.kind, MessageType::Offer);
        let ack = self.ask(&select(mac, offer.yiaddr()))?;
        assert_eq!((ack.kind, ack.yiaddr()), (MessageType::Ack, offer.yiaddr()));
        Some(ack.yiaddr())
    }

    /// The stages and details that the journal holds.
    fn story(&self) -> Vec<(Stage, String)> {
        let mut story = Vec::new();
        let mut seq = 1;
        while let Poll::Ready(event) = poll_once(self.journal.next(seq)) {
            story.push((event.stage, event.detail.as_str().into()));
            seq = event.seq + 1;
        }
        story
    }
}

fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn block_on<F: Future>(future: F) -> F::Output {
    match poll_once(future) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("fakes are always ready"),
    }
}

fn request(mac: MacAddr) -> Message {
    Message::new(MessageType::Request, mac)
}

/// DHCPREQUEST that takes our offer.
fn select(mac: MacAddr, ip: [u8; 4]) -> Message {
    request(mac).with(54, &SERVER).with(50, &ip)
}

#[test]
fn an_exchange_names_all_that_was_asked_for() {
    let mut config = config();
    config.dns.push(Ipv4Addr::new(192, 0, 2, 2)).unwrap();
    config.dns.push(Ipv4Addr::new(192, 0, 2, 3)).unwrap();
    config.ntp.push(Ipv4Addr::new(192, 0, 2, 4)).unwrap();
    config.domain = "lab.test".try_into().unwrap();
    config.search.push("lab.test".try_into().unwrap()).unwrap();
    config.search.push("test.".try_into().unwrap()).unwrap();
    config.mtu = Some(1400);
    let route = crate::dhcp::Route {
        destination: Ipv4Addr::new(198, 51, 100, 0),
        prefix: 23,
        router: Ipv4Addr::new(192, 0, 2, 9),
    };
    config.subnets[0].routes.push(route).unwrap();
    let owner = Owner::Mac(clients::MAC);
    reserve(&mut config, owner, [192, 0, 2, 7], "node7");
    let mut bench = Bench::new(config);

    let offer = bench.ask(&clients::dhclient()).unwrap();
    assert_eq!(offer.kind, MessageType::Offer);
    assert_eq!(offer.yiaddr(), [192, 0, 2, 7]);
    assert_eq!(offer.dst, ([192, 0, 2, 7], 68));
    assert_eq!((offer.dst_mac, offer.src_port), (clients::MAC, 67));
    assert_eq!(offer.repr.siaddr, Ipv4Addr::UNSPECIFIED);
    // In the client's order, but for the mask, which comes first anyway.
    assert_eq!(
        offer.codes,
        [53, 54, 51, 1, 3, 15, 6, 119, 12, 26, 121, 42, 58, 59]
    );
    let table: &[(u8, &[u8])] = &[
        (54, &SERVER),
        (1, &[255, 255, 255, 0]),
        (3, &SERVER),
        (6, &[192, 0, 2, 2, 192, 0, 2, 3]),
        (42, &[192, 0, 2, 4]),
        (15, b"lab.test"),
        (12, b"node7"),
        (26, &[5, 120]),
        (119, b"\x03lab\x04test\0\x04test\0"),
        (121, &[23, 198, 51, 100, 192, 0, 2, 9, 0, 192, 0, 2, 1]),
    ];
    for (code, value) in table {
        assert_eq!(offer.options[code], *value, "option {code}");
    }
    assert_eq!((offer.seconds(51), offer.seconds(58)), (3600, 1800));
    assert_eq!(offer.seconds(59), 3150);

    let ack = bench.ask(&select(clients::MAC, [192, 0, 2, 7])).unwrap();
    assert_eq!(ack.kind, MessageType::Ack);
    // Whoever names no options gets the usual ones.
    assert_eq!(ack.codes, [53, 54, 51, 1, 3, 6, 12, 15, 42, 58, 59]);
    let story = bench.story();
    let stages: Vec<_> = story.iter().map(|(stage, _)| *stage).collect();
    assert_eq!(stages, [Stage::Discover, Stage::Offer, Stage::Bound]);
    assert_eq!(story[2].1, "192.0.2.7");
    use crate::journal::Record;
    let bound = bench.journal.mac_of(Ipv4Addr::new(192, 0, 2, 7));
    assert_eq!(bound, Some(clients::MAC));
}

#[test]
fn replies_go_where_their_client_can_hear_them() {
    let mut config = config();
    let mut far = Subnet::new(Ipv4Addr::new(198, 51, 100, 0), 24);
    far.pool = Some(Pool {
        first: Ipv4Addr::new(198, 51, 100, 10),
        last: Ipv4Addr::new(198, 51, 100, 19),
    });
    config.subnets.push(far).unwrap();
    let mut bench = Bench::new(config);
    const RELAY: MacAddr = MacAddr([2, 9, 9, 9, 9, 9]);
    let everybody = (MacAddr::BROADCAST, ([255; 4], 68));

    let mut message = Message::discover(mac(1));
    let to = |reply: &Reply| (reply.dst_mac, reply.dst);
    let offer = bench.ask(&message).unwrap();
    assert_eq!(to(&offer), (mac(1), (offer.yiaddr(), 68)));

    message.repr.broadcast = true;
    assert_eq!(to(&bench.ask(&message).unwrap()), everybody);

    // An InfiniBand client has no address for a frame.
    let mut infiniband = Message::discover(mac(2)).with(61, &[32, 1, 2, 3]);
    (infiniband.repr.htype, infiniband.repr.hlen) = (32, 0);
    assert_eq!(to(&bench.ask(&infiniband).unwrap()), everybody);

    let relayed = Message::discover(mac(3))
        .giaddr([198, 51, 100, 1])
        .with(82, b"\x01\x02p1");
    let meta = Meta {
        src_mac: RELAY,
        src_ip: Ipv4Addr::new(198, 51, 100, 1),
        src_port: 67,
        ..Bench::unicast(&relayed)
    };
    let offer = bench.ask_by(&relayed, &meta).unwrap();
    assert_eq!(to(&offer), (RELAY, ([198, 51, 100, 1], 67)));
    assert_eq!(offer.yiaddr()[..3], [198, 51, 100]);
    assert_eq!(offer.codes.last(), Some(&82));
    assert_eq!(offer.options[&82], b"\x01\x02p1");

    // The relay names another link than its own (RFC 3527).
    let relayed = Message::discover(mac(4))
        .giaddr([203, 0, 113, 1])
        .with(82, &[5, 4, 198, 51, 100, 0]);
    let offer = bench.ask_by(&relayed, &meta).unwrap();
    assert_eq!(offer.yiaddr()[..3], [198, 51, 100]);

    // A relay that nobody configured gets no answer.
    let lost = Message::discover(mac(5)).giaddr([203, 0, 113, 1]);
    assert!(bench.ask_by(&lost, &meta).is_none());

    // A renewal goes back the way it came, even through a router.
    let ip = [198, 51, 100, 15];
    let renewal = request(mac(6)).ciaddr(ip);
    let meta = Meta {
        src_mac: RELAY,
        ..Bench::unicast(&renewal)
    };
    let ack = bench.ask_by(&renewal, &meta).unwrap();
    assert_eq!((ack.kind, to(&ack)), (MessageType::Ack, (RELAY, (ip, 68))));

    // A NAK is for everybody: the client has no address to hear it with.
    let nak = bench.ask(&select(mac(7), [192, 0, 2, 200])).unwrap();
    assert_eq!((nak.kind, to(&nak)), (MessageType::Nak, everybody));
    assert_eq!(nak.text(56), "address is not available");
    assert_eq!(nak.yiaddr(), [0; 4]);
}

#[test]
fn the_client_identifier_comes_back() {
    let mut bench = Bench::new(config());
    let id = [0xff; 200];
    let offer = bench.ask(&Message::discover(mac(1)).with(61, &id)).unwrap();
    assert_eq!(offer.options[&61], id);
    let nak = select(mac(1), [192, 0, 2, 9]).with(61, &id);
    assert_eq!(bench.ask(&nak).unwrap().options[&61], id);
}

#[test]
fn lease_times_stay_between_their_bounds() {
    let mut config = config();
    config.lease.max = 7200;
    let mut bench = Bench::new(config);
    let table = [
        (1, 120),
        (120, 120),
        (5000, 5000),
        (7201, 7200),
        (u32::MAX, 7200),
    ];
    for (wanted, granted) in table {
        let message = Message::discover(mac(1)).with(51, &wanted.to_be_bytes());
        assert_eq!(bench.ask(&message).unwrap().seconds(51), granted);
    }
    bench.server.config.lease.max = u32::MAX;
    let message = Message::discover(mac(1)).with(51, &[255; 4]);
    let offer = bench.ask(&message).unwrap();
    assert_eq!(offer.seconds(51), u32::MAX);
    assert!(!offer.codes.contains(&58));
}

#[test]
fn a_reply_fits_what_its_client_takes() {
    let mut config = config();
    config.domain = "d".repeat(63).as_str().try_into().unwrap();
    let search = format!("{0}.{0}", "s".repeat(40));
    for _ in 0..6 {
        let search = search.as_str().try_into().unwrap();
        config.search.push(search).unwrap();
    }
    let mut bench = Bench::new(config);
    let small = Message::discover(mac(1)).with(55, &[1, 3, 15, 119]);

    // Nearly 500 bytes of search list do not fit a message of 576.
    let offer = bench.ask(&small).unwrap();
    assert!(offer.len <= 548);
    assert_eq!(offer.codes, [53, 54, 51, 1, 3, 15, 58, 59]);

    // They fit a larger one, in two parts.
    let large = small.clone().with(57, &1500_u16.to_be_bytes());
    let offer = bench.ask(&large).unwrap();
    assert_eq!(offer.codes, [53, 54, 51, 1, 3, 15, 119, 58, 59]);
    assert_eq!(offer.options[&119].len(), 6 * (2 * 41 + 1));

    // What goes beyond by a little is in `file`, as nothing is to boot.
    bench.server.config.search.truncate(1);
    let tight = small.with(61, &[7; 160]);
    let offer = bench.ask(&tight).unwrap();
    assert!(offer.len <= 548);
    assert_eq!(offer.options[&52], [1]);
    assert_eq!(offer.codes, [53, 54, 51, 61, 1, 3, 15, 58, 59, 52, 119]);
}

#[test]
fn what_is_no_message_is_counted() {
    let mut bench = Bench::new(config());
    let good = Message::discover(mac(1));
    let meta = Bench::broadcast(&good);
    let bytes = good.bytes();
    let mut reply = bytes.clone();
    reply[0] = 2;
    let mut offer = bytes.clone();
    offer[242] = 2;
    let mut anonymous = bytes.clone();
    anonymous[2] = 0;
    let short = good.clone().with(50, &[1, 2, 3]).bytes();
    let mut bootp = bytes.clone();
    bootp[236..].fill(0);
    for bytes in [
        &bytes[..200],
        &reply,
        &offer,
        &anonymous,
        &short,
        &bootp,
        &[],
    ] {
        bench
            .server
            .on_packet(bench.now, &meta, bytes, &bench.journal);
    }
    assert_eq!(bench.server.counters().malformed, 7);
    assert!(bench.transmits().0.is_empty());
}

#[test]
fn nothing_is_promised_that_the_log_does_not_know() {
    let mut bench = Bench::new(config());
    let offer = bench.ask(&Message::discover(mac(1))).unwrap();
    let ip = offer.yiaddr();

    bench.send(&select(mac(1), ip), &Bench::broadcast(&select(mac(1), ip)));
    let mut buf = [0; 600];
    let early = bench.server.poll_transmit(bench.now.mono, &mut buf);
    assert_eq!(early, None, "not committed yet");

    // The log fails: the ACK is dropped, an OFFER behind it is not.
    bench.send(
        &Message::discover(mac(2)),
        &Bench::broadcast(&Message::discover(mac(2))),
    );
    bench.log.fail_next = Some(ichor_hal::LogError::Full);
    let (replies, _) = bench.transmits();
    let kinds: Vec<_> = replies.iter().map(|reply| reply.kind).collect();
    assert_eq!(kinds, [MessageType::Offer]);
    assert_eq!(bench.server.counters().dropped, 1);

    // The client asks again.
    assert_eq!(
        bench.ask(&select(mac(1), ip)).unwrap().kind,
        MessageType::Ack
    );
    assert_eq!(bench.log.commits, 1);
}

#[test]
fn a_full_queue_drops_and_counts() {
    let mut bench = Bench::new(config());
    for _ in 0..10 {
        let message = Message::discover(mac(1));
        bench.send(&message, &Bench::broadcast(&message));
    }
    assert_eq!(bench.transmits().0.len(), 8);
    assert_eq!(bench.server.counters().dropped, 2);
}

#[test]
fn other_servers_are_noticed() {
    let mut bench = Bench::new(config());
    let mut offer = Message::new(MessageType::Offer, mac(1)).with(54, &[192, 0, 2, 254]);
    offer.repr.op = crate::dhcp::wire::Op::Reply;
    let meta = Meta {
        src_ip: Ipv4Addr::new(192, 0, 2, 253),
        ..Bench::broadcast(&offer)
    };
    let mut seen =
        |meta: &Meta, bytes: &[u8]| bench.server.on_foreign_reply(bench.now, meta, bytes);
    let other = Some(Ipv4Addr::new(192, 0, 2, 254));
    assert_eq!(seen(&meta, &offer.bytes()), other);
    // What this server sent itself is no news.
    let own = Meta {
        src_ip: Ipv4Addr::from(SERVER),
        ..meta
    };
    assert_eq!(seen(&own, &offer.bytes()), None);
    assert_eq!(seen(&meta, &Message::discover(mac(1)).bytes()), None);
    assert_eq!(seen(&meta, &[0; 10]), None);

    // The DISCOVER by which a server looks for others is one itself.
    let mut buf = [0; 300];
    let len = crate::dhcp::wire::emit_discover(&mut buf, mac(9), 7).unwrap();
    let packet = Packet::new_checked(&buf[..len]).unwrap();
    let options: Options<'_> = packet.options();
    assert_eq!(options.first(options::MESSAGE_TYPE), Some(&[1][..]));
}

#[test]
fn a_server_that_is_off_says_nothing() {
    let mut config = config();
    config.mode = Mode::Off;
    let mut bench = Bench::new(config);
    assert!(bench.ask(&Message::discover(mac(1))).is_none());
}
