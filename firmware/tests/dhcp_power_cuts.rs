//! No lease is lost after its ACK, and none is given twice, wherever the
//! power fails.
#![allow(clippy::unwrap_used)]

mod dhcp_support;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use dhcp_support::{Bench, config};
use ichor::dhcp::State;
use ichor::dhcp::wire::MessageType;
use ichor_hal::fake::{FakeEntropy, FakeLog};
use ichor_hal::{Entropy, LeaseLog, LogError};

const CLIENTS: u8 = 12;
const POOL: u8 = 9;
const LEASE: u64 = 3600;

/// What clients were told and may still rely on: who has which address until
/// when.
#[derive(Debug, Clone, Default)]
struct Promises(BTreeMap<Ipv4Addr, (u8, u64)>);

impl Promises {
    fn expire(&mut self, now: u64) {
        self.0.retain(|_, (_, ends)| *ends > now);
    }

    fn acked(&mut self, client: u8, ip: Ipv4Addr, now: u64) {
        let before = self.0.insert(ip, (client, now + LEASE));
        if let Some((other, _)) = before {
            assert_eq!(other, client, "{ip} was given twice");
        }
    }

    fn of(&self, client: u8) -> Option<Ipv4Addr> {
        let (ip, _) = self.0.iter().find(|(_, (owner, _))| *owner == client)?;
        Some(*ip)
    }
}

/// One client does something.
fn step<L: LeaseLog>(bench: &mut Bench<L>, promises: &mut Promises, random: &mut FakeEntropy) {
    bench.seconds += random.seed() % 400;
    let now = bench.seconds;
    promises.expire(now);
    let client = (random.seed() % u64::from(CLIENTS)) as u8;
    match (random.seed() % 10, promises.of(client)) {
        (0, Some(ip)) => {
            promises.0.remove(&ip);
            bench.release(client, ip);
        }
        (1, Some(ip)) => {
            promises.0.remove(&ip);
            bench.decline(client, ip);
        }
        (2..7, Some(ip)) => match bench.renew(client, ip) {
            Some(MessageType::Ack) => promises.acked(client, ip, now),
            // The log is failing, and the client asks again later.
            None => (),
            other => panic!("{ip} was promised to {client}, now it is {other:?}"),
        },
        _ => {
            if let Some(ip) = bench.lease(client) {
                promises.acked(client, ip, now);
            }
        }
    }
}

/// Every promise is in the server's table.
fn check<L>(bench: &Bench<L>, promises: &Promises) {
    for (ip, (client, ends)) in &promises.0 {
        let lease = bench.server.leases().find(|lease| lease.ip == *ip);
        let lease = lease.unwrap_or_else(|| panic!("{ip} of {client} is lost"));
        assert_eq!(lease.state, State::Bound);
        assert_eq!(lease.mac, dhcp_support::mac(*client));
        assert!(lease.ends >= *ends);
    }
}

#[test]
fn a_cut_at_any_byte_of_the_log() {
    let mut random = FakeEntropy(1);
    let (mut bench, _) = Bench::start(config(POOL), FakeLog::default(), 1_000_000);
    let mut promises = Promises::default();
    // What was promised when the log had a length.
    let mut history = vec![(0, promises.clone(), bench.seconds)];
    for _ in 0..150 {
        step(&mut bench, &mut promises, &mut random);
        history.push((bench.log.bytes().len(), promises.clone(), bench.seconds));
    }
    let whole = bench.log.bytes();
    assert!(whole.len() > 5000);
    for cut in 0..=whole.len() {
        let at = history.partition_point(|(len, ..)| *len <= cut);
        // A release or a decline may have been written already although what
        // follows it was not.
        let given_up = history.get(at).map(|(_, promises, _)| promises);
        let (len, promises, seconds) = &history[at - 1];
        let mut promises = promises.clone();
        if let Some(later) = given_up {
            promises.0.retain(|ip, _| later.0.contains_key(ip));
        }
        let log = FakeLog::with(&whole[..cut]);
        let (mut bench, found) = Bench::start(config(POOL), log, *seconds);
        assert_eq!(found.damaged, 0);
        assert!(found.torn as usize <= cut - len);
        check(&bench, &promises);
        if cut % 17 == 0 {
            for client in 0..CLIENTS * 2 {
                if let Some(ip) = bench.lease(client) {
                    promises.acked(client, ip, *seconds);
                }
            }
        }
    }
}

/// A log that fails from time to time.
struct Faulty {
    log: FakeLog,
    random: FakeEntropy,
    /// One of so many operations fails.
    odds: u64,
}

impl Faulty {
    fn fails(&mut self) -> Result<(), LogError> {
        match self.random.seed() % self.odds {
            0 => Err(LogError::Io),
            _ => Ok(()),
        }
    }
}

impl LeaseLog for Faulty {
    fn len(&self) -> u64 {
        self.log.len()
    }

    async fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, LogError> {
        // A short read is none that fails.
        let short = 1 + self.random.seed() as usize % buf.len().max(1);
        let len = short.min(buf.len());
        self.log.read(offset, &mut buf[..len]).await
    }

    async fn truncate(&mut self, len: u64) -> Result<(), LogError> {
        self.log.truncate(len).await
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        if let Err(error) = self.fails() {
            // A part of it may be there all the same.
            let part = self.random.seed() as usize % bytes.len();
            self.log.append(&bytes[..part]).await?;
            return Err(error);
        }
        self.log.append(bytes).await
    }

    async fn commit(&mut self) -> Result<(), LogError> {
        self.fails()?;
        self.log.commit().await
    }

    async fn begin_rewrite(&mut self) -> Result<(), LogError> {
        self.fails()?;
        self.log.begin_rewrite().await
    }

    async fn finish_rewrite(&mut self) -> Result<(), LogError> {
        // As rewriting is rare, it fails more often.
        match self.random.seed() % 4 {
            0 => self.log.finish_rewrite().await,
            _ => Err(LogError::Full),
        }
    }
}

#[test]
fn faults_and_power_cuts_for_a_long_time() {
    let mut random = FakeEntropy(2);
    let mut promises = Promises::default();
    let mut log = FakeLog::default();
    let mut seconds = 1_000_000;
    let (mut longest, mut torn) = (0, 0);
    for epoch in 0..120 {
        let faulty = Faulty {
            log,
            random: FakeEntropy(epoch),
            odds: 20,
        };
        let (mut bench, found) = Bench::start(config(POOL), faulty, seconds);
        torn += found.torn;
        promises.expire(seconds);
        check(&bench, &promises);
        for _ in 0..random.seed() % 500 {
            step(&mut bench, &mut promises, &mut random);
            longest = longest.max(bench.log.len());
        }
        seconds = bench.seconds;
        let extra = random.seed() as usize % 80;
        log = bench.log.log.after_power_cut(extra);
    }
    assert!(torn > 0, "some cut tore a record");
    // Rewritten more than once, and never much longer than it may be.
    assert!((64 * 1024..80 * 1024).contains(&longest), "{longest}");
}

#[test]
fn damage_in_the_middle_costs_what_it_hits_and_no_more() {
    let (mut bench, _) = Bench::start(config(POOL), FakeLog::default(), 1_000_000);
    let leases: Vec<_> = (0..4).map(|n| (n, bench.lease(n).unwrap())).collect();
    let whole = bench.log.bytes().to_vec();
    let record = whole.len() / 4;
    for at in 0..whole.len() {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x55;
        let (bench, found) = Bench::start(config(POOL), FakeLog::with(&bytes), 1_000_000);
        let hit = at / record;
        assert_eq!(found.records, 3);
        // In the last record it can not be told from a torn one.
        let lost = (found.damaged + found.torn) as usize;
        assert_eq!(lost, record, "byte {at}");
        for (n, (client, ip)) in leases.iter().enumerate() {
            let known = bench
                .server
                .leases()
                .any(|lease| lease.ip == *ip && lease.mac == dhcp_support::mac(*client));
            assert_eq!(known, n != hit);
        }
    }
}

#[test]
fn time_goes_on_from_the_log() {
    let (mut bench, _) = Bench::start(config(POOL), FakeLog::default(), 5_000);
    bench.lease(1).unwrap();
    bench.seconds = 7_000;
    bench.lease(2).unwrap();
    let (_, found) = Bench::start(config(POOL), bench.log, 0);
    assert_eq!((found.records, found.latest), (2, 7_000));
}

#[test]
fn any_bytes_can_be_a_log() {
    let mut random = FakeEntropy(3);
    for _ in 0..200 {
        let len = random.seed() % 3000;
        let bytes: Vec<u8> = (0..len).map(|_| random.seed() as u8).collect();
        let (mut bench, found) = Bench::start(config(POOL), FakeLog::with(&bytes), 0);
        assert_eq!(found.records, 0);
        assert!(bench.lease(1).is_some());
        // What was damaged before does not hide what was written since.
        let (_, found) = Bench::start(config(POOL), bench.log, 0);
        assert_eq!(found.records, 1);
    }
}
