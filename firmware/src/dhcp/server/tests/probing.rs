//! Probes before the first offer of an address.

use super::*;

fn probing() -> Bench {
    let mut config = config();
    config.probe = Duration::from_millis(200);
    Bench::new(config)
}

fn discover(bench: &mut Bench, n: u8) {
    let message = Message::discover(mac(n));
    bench.send(&message, &Bench::broadcast(&message));
}

fn arp(bench: &mut Bench) -> Ipv4Addr {
    match bench.transmits() {
        (replies, probes) if replies.is_empty() => match probes[..] {
            [Transmit::Arp { ip }] => ip,
            _ => panic!("{probes:?}"),
        },
        (replies, _) => panic!("{replies:?}"),
    }
}

/// Lets the time of the probe pass.
fn silence(bench: &mut Bench) -> Option<Reply> {
    let deadline = bench.server.next_deadline().unwrap();
    assert_eq!(deadline, bench.now.mono + Duration::from_millis(200));
    bench.now.mono = deadline;
    bench.server.on_timer(bench.now, &bench.journal);
    let (mut replies, probes) = bench.transmits();
    assert!(probes.is_empty());
    replies.pop()
}

#[test]
fn silence_is_followed_by_an_offer() {
    let mut bench = probing();
    discover(&mut bench, 1);
    let ip = arp(&mut bench);
    bench.server.on_timer(bench.now, &bench.journal);
    assert!(bench.transmits().0.is_empty(), "too early");

    // The client asks again meanwhile, in a new transaction.
    let mut again = Message::discover(mac(1));
    again.repr.xid = 99;
    bench.send(&again, &Bench::broadcast(&again));
    let offer = silence(&mut bench).unwrap();
    assert_eq!((offer.repr.yiaddr, offer.repr.xid), (ip, 99));
    assert_eq!(bench.server.next_deadline(), None);

    // An address that was held is not probed again.
    bench.ask(&select(mac(1), ip.octets())).unwrap();
    bench.wait(4000);
    assert_eq!(bench.lease(mac(1)), Some(ip.octets()));
}

#[test]
fn an_address_in_use_rests_and_the_next_one_is_tried() {
    let mut bench = probing();
    discover(&mut bench, 1);
    let taken = arp(&mut bench);
    bench
        .server
        .on_neighbour(bench.now, taken, mac(77), &bench.journal);
    let next = arp(&mut bench);
    assert_ne!(next, taken);
    let offer = silence(&mut bench).unwrap();
    assert_eq!(offer.repr.yiaddr, next);
    assert_eq!(bench.server.counters().conflicts, 1);
    assert_eq!(bench.log.commits, 1, "a restart remembers the conflict");

    // A neighbour whose address nobody asked for changes nothing.
    bench
        .server
        .on_neighbour(bench.now, taken, mac(77), &bench.journal);
}

#[test]
fn the_client_itself_is_no_conflict() {
    let mut bench = probing();
    discover(&mut bench, 1);
    let ip = arp(&mut bench);
    bench
        .server
        .on_neighbour(bench.now, ip, mac(1), &bench.journal);
    let (replies, _) = bench.transmits();
    assert_eq!(replies[0].repr.yiaddr, ip);
}

#[test]
fn a_link_full_of_squatters_is_given_up() {
    let mut bench = probing();
    discover(&mut bench, 1);
    for _ in 0..4 {
        let ip = arp(&mut bench);
        bench
            .server
            .on_neighbour(bench.now, ip, mac(77), &bench.journal);
    }
    let (replies, probes) = bench.transmits();
    assert!(replies.is_empty() && probes.is_empty());
}

#[test]
fn behind_a_relay_an_echo_is_asked_for() {
    let mut bench = probing();
    let message = Message::discover(mac(1)).giaddr([192, 0, 2, 9]);
    bench.send(&message, &Bench::unicast(&message));
    let (_, probes) = bench.transmits();
    let [Transmit::Ping { ip }] = probes[..] else {
        panic!("{probes:?}")
    };
    bench.server.on_echo_reply(bench.now, ip, &bench.journal);
    let (_, probes) = bench.transmits();
    assert!(matches!(probes[..], [Transmit::Ping { ip: next }] if next != ip));
}

#[test]
fn too_many_probes_at_once_are_left_out() {
    let mut config = config();
    config.probe = Duration::from_millis(200);
    config.subnets[0].pool.as_mut().unwrap().last = Ipv4Addr::new(192, 0, 2, 99);
    let mut bench = Bench::new(config);
    for n in 1..=5 {
        discover(&mut bench, n);
    }
    // There is room for four probes.
    let (replies, probes) = bench.transmits();
    assert_eq!((replies.len(), probes.len()), (1, 4));
    assert_eq!(bench.server.counters().unprobed, 1);
}

#[test]
fn a_probe_is_forgotten_with_its_offer() {
    let mut bench = probing();
    discover(&mut bench, 1);
    arp(&mut bench);
    let other = request(mac(1))
        .with(54, &[192, 0, 2, 254])
        .with(50, &[192, 0, 2, 9]);
    assert!(bench.ask(&other).is_none());
    assert_eq!(bench.server.next_deadline(), None);
}
