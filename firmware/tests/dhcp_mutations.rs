//! Whatever arrives, the server neither panics nor sends nonsense.
#![allow(clippy::unwrap_used)]

mod dhcp_support;

use std::net::Ipv4Addr;

use dhcp_support::{SERVER, block_on, config, mac, message};
use embassy_time::{Duration, Instant};
use ichor::dhcp::wire::{MessageType, Packet, Repr};
use ichor::dhcp::{Config, Meta, Mode, Now, Server, Transmit};
use ichor::journal::Journal;
use ichor_hal::Entropy;
use ichor_hal::fake::{FakeEntropy, FakeLog};

/// Damage as it happens, and as it is made.
fn mutate(bytes: &mut Vec<u8>, random: &mut FakeEntropy) {
    for _ in 0..random.seed() % 4 {
        let at = random.seed() as usize % bytes.len().max(1);
        match random.seed() % 7 {
            0 => bytes.truncate(at),
            1 => {
                let end = bytes.len().min(at + random.seed() as usize % 40);
                let part = bytes[at.min(end)..end].to_vec();
                bytes.splice(at..at, part);
            }
            2 => bytes.extend(std::iter::repeat_n(random.seed() as u8, 700)),
            3 => {
                // An option where the end was.
                let code = random.seed() as u8;
                if let Some(end) = bytes.iter().rposition(|byte| *byte == 255) {
                    bytes.splice(end..end, [code, 1, random.seed() as u8]);
                }
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = random.seed() as u8;
                }
            }
        }
    }
}

fn seeds() -> Vec<Vec<u8>> {
    use MessageType::{Decline, Discover, Inform, Release, Request};
    let none = Ipv4Addr::UNSPECIFIED;
    let ip = Ipv4Addr::new(192, 0, 2, 51);
    let pxe: &[(u8, &[u8])] = &[
        (
            55,
            &[1, 3, 6, 12, 15, 26, 42, 43, 60, 66, 67, 97, 119, 121, 175],
        ),
        (57, &[5, 192]),
        (60, b"PXEClient:Arch:00011:UNDI:003000"),
        (93, &[0, 11]),
        (97, &[0; 17]),
        (61, &[255, 1, 2, 3]),
    ];
    let relayed: &[(u8, &[u8])] = &[(82, b"\x01\x02p1\x05\x04\xc0\x00\x02\x00"), (51, &[0; 4])];
    let ours: &[(u8, &[u8])] = &[(54, &SERVER.octets()), (50, &ip.octets())];
    let ipxe: &[(u8, &[u8])] = &[(77, b"\x04iPXE"), (175, &[1, 1, 1]), (52, &[3])];
    let menu: &[(u8, &[u8])] = &[
        (60, b"PXEClient"),
        (93, &[0, 0]),
        (43, &[71, 4, 0, 0, 0, 0]),
    ];
    vec![
        message(Discover, mac(1), none, pxe),
        message(Discover, mac(2), none, relayed),
        message(Discover, mac(3), none, ipxe),
        message(Request, mac(1), none, ours),
        message(Request, mac(1), ip, &[]),
        message(Request, mac(1), ip, menu),
        message(Decline, mac(1), none, ours),
        message(Release, mac(1), ip, &[]),
        message(Inform, mac(4), ip, pxe),
    ]
}

fn torture(config: Config, seed: u64, packets: usize) {
    let mut random = FakeEntropy(seed);
    let mut server = Box::new(Server::<48, 8, 4>::new());
    let probe = config.probe;
    server.configure(config, seed).unwrap();
    let journal = Journal::<8, 8>::new();
    let mut log = FakeLog::default();
    let seeds = seeds();
    let (mut sent, mut now) = (0, 1_000_000_u64);
    let mut buf = [0; 1472];
    for _ in 0..packets {
        let mut bytes = seeds[random.seed() as usize % seeds.len()].clone();
        mutate(&mut bytes, &mut random);
        now += random.seed() % 3;
        let at = Now {
            mono: Instant::from_secs(now),
            seconds: now,
        };
        let meta = Meta {
            src_mac: mac(random.seed() as u8),
            src_ip: Ipv4Addr::from_bits(random.seed() as u32 & 0xc000_02ff),
            src_port: 68,
            dst_ip: [SERVER, Ipv4Addr::BROADCAST][random.seed() as usize % 2],
            port: [67, 67, 67, 4011][random.seed() as usize % 4],
        };
        server.on_packet(at, &meta, &bytes, &journal);
        server.on_foreign_reply(at, &meta, &bytes);
        match random.seed() % 16 {
            0 => server.on_neighbour(at, Ipv4Addr::new(192, 0, 2, 51), mac(9), &journal),
            1 => server.on_echo_reply(at, Ipv4Addr::new(192, 0, 2, 52), &journal),
            2..8 => {
                let later = Now {
                    mono: at.mono + probe,
                    ..at
                };
                server.on_timer(later, &journal);
            }
            _ => (),
        }
        if random.seed().is_multiple_of(3) {
            continue;
        }
        block_on(server.persist(at, &mut log));
        while let Some(transmit) = server.poll_transmit(at.mono, &mut buf) {
            let Transmit::Udp { len, .. } = transmit else {
                continue;
            };
            sent += 1;
            let packet = Packet::new_checked(&buf[..len]).unwrap();
            let repr = Repr::parse(&packet).unwrap();
            assert!(repr.yiaddr.is_unspecified() || repr.yiaddr.octets()[..3] == [192, 0, 2]);
            assert_ne!(repr.yiaddr, SERVER);
            assert_eq!(packet.options().address(54), Ok(Some(SERVER)));
        }
    }
    assert!(
        sent > packets / 20,
        "{sent} replies: most packets came to nothing"
    );
    assert!(server.counters().malformed > 0);
}

#[test]
fn a_server_among_vandals() {
    torture(config(20), 1, 60_000);
}

#[test]
fn a_server_that_probes() {
    let config = Config {
        probe: Duration::from_millis(200),
        ..config(20)
    };
    torture(config, 2, 20_000);
}

#[test]
fn a_proxy_among_vandals() {
    let config = Config {
        mode: Mode::Proxy,
        ..config(20)
    };
    torture(config, 3, 20_000);
}
