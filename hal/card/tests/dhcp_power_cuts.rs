//! ichor's DHCP server on a card whose power fails a thousand times: no lease
//! is lost after its ACK, and none is given twice.
#![allow(clippy::unwrap_used)]

mod common;
#[path = "../../../firmware/tests/dhcp_support/mod.rs"]
mod dhcp_support;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use common::{FAT_BLOCKS, FAT_FIRST, LEASES_BLOCKS, LEASES_FIRST, block_on, image, noise};
use dhcp_support::{Bench, config, mac};
use ichor::dhcp::State;
use ichor::dhcp::wire::MessageType;
use ichor_hal::Entropy;
use ichor_hal::fake::FakeEntropy;
use ichor_hal_card::{BlockError, Card, CardLog, Partition};

const CUTS: u64 = 1000;
const CLIENTS: u64 = 12;
const POOL: u8 = 9;
const LEASE: u64 = 3600;

/// Who was told to have which address, and until when.
type Promises = BTreeMap<Ipv4Addr, (u8, u64)>;

fn acked(promises: &mut Promises, client: u8, ip: Ipv4Addr, now: u64) {
    if let Some((other, _)) = promises.insert(ip, (client, now + LEASE)) {
        assert_eq!(other, client, "{ip} was given twice");
    }
}

/// One client does something.
fn step<L: ichor_hal::LeaseLog>(
    bench: &mut Bench<L>,
    promises: &mut Promises,
    random: &mut FakeEntropy,
) {
    bench.seconds += random.seed() % 100;
    let now = bench.seconds;
    promises.retain(|_, (_, ends)| *ends > now);
    let client = (random.seed() % CLIENTS) as u8;
    let own = promises.iter().find(|(_, (owner, _))| *owner == client);
    match (random.seed() % 10, own.map(|(ip, _)| *ip)) {
        (0, Some(ip)) => {
            promises.remove(&ip);
            bench.release(client, ip);
        }
        (1..8, Some(ip)) => match bench.renew(client, ip) {
            Some(MessageType::Ack) => acked(promises, client, ip, now),
            // The power is gone: nobody answers.
            None => (),
            other => panic!("{ip} was promised to {client}, now it is {other:?}"),
        },
        _ => {
            if let Some(ip) = bench.lease(client) {
                acked(promises, client, ip, now);
            }
        }
    }
}

#[test]
fn a_thousand_cuts_lose_no_lease_and_give_none_twice() {
    let partition = Partition {
        first: LEASES_FIRST,
        count: LEASES_BLOCKS,
    };
    let card = image(|disk| common::put(disk, "assets/vmlinuz", &noise(1, 100_000)));
    let users = card.bytes(0, FAT_FIRST + FAT_BLOCKS);
    let mut random = FakeEntropy(11);
    let mut promises = Promises::new();
    let (mut seconds, mut cuts, mut blocks, mut kept) = (1_000_000, 0, 0, 0);
    let mut epoch = 0;
    while cuts < CUTS {
        epoch += 1;
        let shared = Card::new(card.clone());
        // Mostly soon, since opening the log writes, too; at times late.
        let budget = random.seed() % if epoch % 4 == 0 { 400 } else { 25 };
        card.cut_after(budget, epoch);
        let Ok(log) = block_on(CardLog::open(&shared, partition)) else {
            cuts += 1;
            card.power_on();
            continue;
        };
        let config = config(POOL);
        let mut server = Box::new(ichor::dhcp::Server::new());
        server.configure(config, seconds).unwrap();
        let mut log = log;
        let Ok(_) = block_on(server.replay(&mut log)) else {
            // Cut while a torn record was being cut off.
            cuts += 1;
            card.power_on();
            continue;
        };
        let mut bench = Bench {
            server,
            journal: ichor::journal::Journal::new(),
            log,
            seconds,
        };
        promises.retain(|_, (_, ends)| *ends > seconds);
        for (ip, (client, ends)) in &promises {
            let lease = bench.server.leases().find(|lease| lease.ip == *ip);
            let lease = lease.unwrap_or_else(|| panic!("{ip} of {client} is lost"));
            assert_eq!((lease.state, lease.mac), (State::Bound, mac(*client)));
            assert!(lease.ends >= *ends);
            kept += 1;
        }
        while card.0.borrow().error.is_none() {
            step(&mut bench, &mut promises, &mut random);
        }
        assert_eq!(card.0.borrow().error, Some(BlockError::Absent));
        // What clients ask of a board without power does not matter.
        seconds = bench.seconds;
        blocks += budget;
        cuts += 1;
        card.power_on();
    }
    assert!(card.bytes(0, FAT_FIRST + FAT_BLOCKS) == users);
    // Enough to fill the log's areas many times.
    assert!(blocks > 20 * u64::from(LEASES_BLOCKS), "{blocks}");
    assert!(kept > CUTS, "{kept}");
}
