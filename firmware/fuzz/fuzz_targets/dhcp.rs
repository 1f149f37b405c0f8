//! Arbitrary packets to a DHCP server, and arbitrary bytes as its lease log.
//!
//! The input is cut into packets by their lengths; what follows the last one
//! is the log of a second server.
#![no_main]

use std::future::Future;
use std::net::Ipv4Addr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use embassy_time::{Duration, Instant};
use ichor::MacAddr;
use ichor::dhcp::wire::Packet;
use ichor::dhcp::{Config, Meta, Mode, Now, Pool, Server, Subnet, Transmit};
use ichor::journal::Journal;
use ichor_hal::fake::FakeLog;
use libfuzzer_sys::fuzz_target;

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

fn config(choice: u8) -> Config {
    let mut link = Subnet::new(SERVER, 24);
    link.pool = Some(Pool {
        first: Ipv4Addr::new(192, 0, 2, 50),
        last: Ipv4Addr::new(192, 0, 2, 59),
    });
    let mut config = Config {
        mode: if choice & 1 == 0 {
            Mode::Server
        } else {
            Mode::Proxy
        },
        server: SERVER,
        probe: Duration::from_millis(if choice & 2 == 0 { 0 } else { 200 }),
        ..Config::default()
    };
    config.subnets.push(link).expect("there is room for one");
    config
}

fn block_on<F: Future>(future: F) -> F::Output {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => unreachable!("fakes are always ready"),
    }
}

/// A server of its own for each input.
fn server(choice: u8) -> Box<Server<8, 4, 2>> {
    let mut server = Box::new(Server::new());
    server
        .configure(config(choice), 7)
        .expect("the configuration is sound");
    server
}

fuzz_target!(|data: &[u8]| {
    let Some((choice, mut rest)) = data.split_first() else {
        return;
    };
    let mut server = server(*choice);
    let journal = Journal::<4, 4>::new();
    let mut log = FakeLog::default();
    let mut buf = [0; 1472];
    let mut seconds = 1000;
    while let [ports, high, low, packets @ ..] = rest {
        let len = usize::from(u16::from_be_bytes([*high, *low]));
        let Some((packet, after)) = packets.split_at_checked(len) else {
            break;
        };
        rest = after;
        seconds += u64::from(*ports);
        let now = Now {
            mono: Instant::from_secs(seconds),
            seconds,
        };
        let meta = Meta {
            src_mac: MacAddr([2, 0, 0, 0, 0, 1]),
            src_ip: Ipv4Addr::UNSPECIFIED,
            src_port: 68,
            dst_ip: SERVER,
            port: if ports & 1 == 0 { 67 } else { 4011 },
        };
        server.on_packet(now, &meta, packet, &journal);
        server.on_foreign_reply(now, &meta, packet);
        server.on_timer(now, &journal);
        if ports & 2 != 0 {
            let ip = Ipv4Addr::new(192, 0, 2, 50 + ports % 10);
            server.on_neighbour(now, ip, MacAddr([2, 0, 0, 0, 0, 9]), &journal);
        }
        block_on(server.persist(now, &mut log));
        while let Some(transmit) = server.poll_transmit(now.mono, &mut buf) {
            if let Transmit::Udp { len, .. } = transmit {
                Packet::new_checked(&buf[..len]).expect("replies are sound");
            }
        }
    }
    let found = block_on(self::server(0).replay(&mut FakeLog::with(rest)));
    assert!(found.is_ok());
    // What a server wrote, another one reads without loss.
    let found = block_on(self::server(0).replay(&mut log)).expect("fakes do not fail");
    assert_eq!((found.damaged, found.torn), (0, 0));
});
