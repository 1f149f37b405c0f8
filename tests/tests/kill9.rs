//! A server that dies without warning, again and again, keeps every promise it made.

mod raw;

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::Result;
use dhcproto::v4::MessageType;
use ichor_lab::lab::Lab;
use ichor_lab::switch::Port;
use raw::{ask, dhcp, dhcp_frame, kind, read_dhcp, reboot, select};

/// Clients at work; the pool has room for 50 more.
const CLIENTS: u8 = 150;
/// How often the server dies.
const DEATHS: u64 = 5;
/// DISCOVERs sent per second while it dies.
const RATE: u32 = 2_000;

/// Every promise that was ever made: an ACK is one, for the whole lease time.
#[derive(Default)]
struct Promises {
    by_client: HashMap<[u8; 6], Ipv4Addr>,
    by_address: HashMap<Ipv4Addr, [u8; 6]>,
    acks: u64,
}

impl Promises {
    fn note(&mut self, mac: [u8; 6], address: Ipv4Addr) {
        self.acks += 1;
        let owner = *self.by_address.entry(address).or_insert(mac);
        assert_eq!(owner, mac, "{address} was given twice");
        let before = *self.by_client.entry(mac).or_insert(address);
        assert_eq!(before, address, "{mac:?} lost its address");
    }
}

fn mac(client: u8) -> [u8; 6] {
    [0x02, 0, 0, 0, 1, client]
}

/// Clients ask at the given rate until `end`, and take what they are offered.
/// Frames of a dead server's socket just vanish, as on a real cable.
fn load(port: &Port, promises: &mut Promises, xid: &mut u32, end: Instant) -> Result<()> {
    let pause = Duration::from_secs(1) / RATE;
    let mut next = Instant::now();
    while Instant::now() < end {
        if Instant::now() >= next {
            next += pause;
            *xid += 1;
            let mac = mac((*xid % u32::from(CLIENTS)) as u8);
            port.send(&dhcp_frame(mac, &dhcp(mac, *xid, MessageType::Discover))?);
        }
        let left = next.saturating_duration_since(Instant::now());
        let Some(answer) = port.recv(left).as_deref().and_then(read_dhcp) else {
            continue;
        };
        let mac: [u8; 6] = answer.chaddr()[..6].try_into()?;
        match kind(&answer) {
            Some(MessageType::Offer) => port.send(&dhcp_frame(mac, &select(mac, &answer)?)?),
            Some(MessageType::Ack) => promises.note(mac, answer.yiaddr()),
            _ => {}
        }
    }
    Ok(())
}

#[test]
fn no_acknowledged_lease_is_lost_or_given_twice() -> Result<()> {
    // Under a minute of load: no lease of an hour ends meanwhile.
    let flags = [
        "--lease",
        "3600",
        "--probe-ms",
        "0",
        "--pool",
        "192.0.2.20-192.0.2.219",
    ];
    let mut lab = Lab::new("kill9", 0)?;
    let mut promises = Promises::default();
    let mut xid = 0;
    let port = lab.switch().port("clients");
    for death in 0..DEATHS {
        lab.serve_with(&flags)?;
        xid += 1;
        promises.note(mac(0), raw::lease(&port, mac(0), xid)?);
        // At another point of its work each time.
        let end = Instant::now() + Duration::from_millis(300 + 137 * death);
        load(&port, &mut promises, &mut xid, end)?;
        lab.kill_ichor()?;
        // What it had sent before it died counts as well.
        let end = Instant::now() + Duration::from_millis(50);
        load(&port, &mut promises, &mut xid, end)?;
        println!(
            "death {}: {} promises made so far",
            death + 1,
            promises.acks
        );
    }
    assert!(
        promises.acks > 100,
        "only {} ACKs: no load at all",
        promises.acks
    );

    lab.serve_with(&flags)?;
    while port.recv(Duration::from_millis(50)).is_some() {}
    for (mac, address) in promises.by_client.clone() {
        xid += 1;
        // It restarts and asks for the address that it was promised.
        let ack = ask(&port, mac, &reboot(mac, xid, address), MessageType::Ack)?;
        assert_eq!(ack.yiaddr(), address);
        // It has forgotten everything and must get the same one.
        xid += 1;
        let offer = ask(
            &port,
            mac,
            &dhcp(mac, xid, MessageType::Discover),
            MessageType::Offer,
        )?;
        assert_eq!(offer.yiaddr(), address);
    }
    // Newcomers get addresses that were promised to nobody.
    for newcomer in 0..20 {
        let mac = [0x02, 0, 0, 0, 2, newcomer];
        xid += 1;
        promises.note(mac, raw::lease(&port, mac, xid)?);
    }
    assert!(lab.ichor()?.is_running());
    Ok(())
}
