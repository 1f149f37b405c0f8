//! The largest table a board has, full, expired and full again.

#![allow(clippy::unwrap_used)]

mod dhcp_support;

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::sync::Mutex;

use dhcp_support::{SERVER, block_on, config, message};
use embassy_time::Instant;
use ichor::MacAddr;
use ichor::dhcp::wire::{MessageType, Packet};
use ichor::dhcp::{Config, Meta, Now, Pool, Server, Subnet, Transmit};
use ichor::journal::Journal;
use ichor_hal::fake::FakeLog;

const LEASES: usize = 32_768;

// As on a board: no stack would hold it.
static LARGE: Mutex<Server<LEASES, 64, 8>> = Mutex::new(Server::new());

fn large() -> Config {
    let mut config = config(1);
    let mut subnet = Subnet::new(SERVER, 16);
    subnet.pool = Some(Pool {
        first: Ipv4Addr::new(192, 0, 4, 0),
        last: Ipv4Addr::new(192, 0, 131, 255),
    });
    config.subnets[0] = subnet;
    config
}

#[test]
fn every_client_gets_an_address_of_its_own() {
    let mut server = LARGE.lock().unwrap();
    server.configure(large(), 1).unwrap();
    let journal = Journal::<4, 4>::new();
    let mut log = FakeLog::default();
    let mut buf = [0; 1472];
    for generation in 0..2_u8 {
        let now = Now {
            mono: Instant::from_secs(1),
            seconds: 10_000 * u64::from(generation + 1),
        };
        let mut seen = BTreeSet::new();
        for client in 0..LEASES {
            let [.., a, b] = client.to_be_bytes();
            let from = MacAddr([2, generation, 0, 0, a, b]);
            let meta = Meta {
                src_mac: from,
                src_ip: Ipv4Addr::UNSPECIFIED,
                src_port: 68,
                dst_ip: Ipv4Addr::BROADCAST,
                port: 67,
            };
            let none = Ipv4Addr::UNSPECIFIED;
            let mut ask = |kind, options: &[(u8, &[u8])]| {
                let bytes = message(kind, from, none, options);
                server.on_packet(now, &meta, &bytes, &journal);
                block_on(server.persist(now, &mut log));
                match server.poll_transmit(now.mono, &mut buf) {
                    Some(Transmit::Udp { len, .. }) => {
                        Packet::new_checked(&buf[..len]).unwrap().yiaddr()
                    }
                    other => panic!("{other:?}"),
                }
            };
            let ip = ask(MessageType::Discover, &[]);
            let options: &[(u8, &[u8])] = &[(54, &SERVER.octets()), (50, &ip.octets())];
            assert_eq!(ask(MessageType::Request, options), ip);
            assert!(seen.insert(ip), "{ip} was given twice");
        }
    }
    assert_eq!(server.counters().ack, 2 * LEASES as u64);
    assert_eq!(server.leases().count(), LEASES);
}
