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
fn silence(bench: &mut Bench) -> Vec<Reply> {
    let deadline = bench.server.next_deadline().unwrap();
    assert_eq!(deadline, bench.now.mono + Duration::from_millis(200));
    bench.now.mono = deadline;
    due(bench)
}

/// The offers that the timer makes.
fn due(bench: &mut Bench) -> Vec<Reply> {
    bench.server.on_timer(bench.now, &bench.journal);
    let (replies, probes) = bench.transmits();
    assert!(probes.is_empty());
    replies
}

/// A client asks once in each of these transactions.
fn discover_in(bench: &mut Bench, n: u8, xids: &[u32]) {
    for xid in xids {
        let mut message = Message::discover(mac(n));
        message.repr.xid = *xid;
        bench.send(&message, &Bench::broadcast(&message));
    }
}

fn xids(offers: &[Reply]) -> Vec<u32> {
    let mut xids: Vec<u32> = offers.iter().map(|offer| offer.repr.xid).collect();
    xids.sort_unstable();
    xids
}

#[test]
fn silence_is_followed_by_an_offer() {
    let mut bench = probing();
    discover(&mut bench, 1);
    let ip = arp(&mut bench);
    bench.server.on_timer(bench.now, &bench.journal);
    assert!(bench.transmits().0.is_empty(), "too early");

    // The client asks again meanwhile.
    discover(&mut bench, 1);
    let offers = silence(&mut bench);
    assert_eq!(offers.len(), 1, "one answer to one question");
    assert_eq!(offers[0].repr.yiaddr, ip);
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
    let offers = silence(&mut bench);
    assert_eq!(offers[0].repr.yiaddr, next);
    assert_eq!(bench.server.counters().conflicts, 1);
    assert_eq!(bench.log.commits, 1, "a restart remembers the conflict");

    // A neighbour whose address nobody asked for changes nothing.
    bench
        .server
        .on_neighbour(bench.now, taken, mac(77), &bench.journal);
}

#[test]
fn each_transaction_of_a_client_gets_its_offer() {
    let mut bench = probing();
    discover_in(&mut bench, 1, &[7, 8, 7, 9]);
    let ip = arp(&mut bench);
    let offers = silence(&mut bench);
    assert_eq!(xids(&offers), [7, 8, 9]);
    assert!(offers.iter().all(|offer| offer.repr.yiaddr == ip));
    assert_eq!(bench.server.next_deadline(), None);
}

#[test]
fn a_client_that_was_bound_meanwhile_still_gets_its_offer() {
    let mut bench = probing();
    discover_in(&mut bench, 1, &[7]);
    let ip = arp(&mut bench);
    assert_eq!(xids(&silence(&mut bench)), [7]);
    // It begins anew, and then takes the first offer all the same.
    discover_in(&mut bench, 1, &[8]);
    assert_eq!(arp(&mut bench), ip);
    bench.ask(&select(mac(1), ip.octets())).unwrap();
    let offers = silence(&mut bench);
    assert_eq!((xids(&offers), offers[0].repr.yiaddr), (vec![8], ip));
    assert_eq!(bench.lease(mac(1)), Some(ip.octets()));
}

#[test]
fn all_transactions_move_on_to_the_next_address() {
    let mut bench = probing();
    discover_in(&mut bench, 1, &[7, 8]);
    let taken = arp(&mut bench);
    bench
        .server
        .on_neighbour(bench.now, taken, mac(77), &bench.journal);
    let next = arp(&mut bench);
    assert_ne!(next, taken);
    let offers = silence(&mut bench);
    assert_eq!(xids(&offers), [7, 8]);
    assert!(offers.iter().all(|offer| offer.repr.yiaddr == next));
}

#[test]
fn a_client_with_too_many_transactions_hears_of_the_latest() {
    let mut bench = probing();
    discover_in(&mut bench, 1, &[1, 2, 3, 4, 5]);
    arp(&mut bench);
    let offers = silence(&mut bench);
    // There is room for four messages.
    assert_eq!(xids(&offers), [2, 3, 4, 5]);
    assert_eq!(bench.server.counters().unprobed, 0);
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

#[test]
fn offers_that_there_is_no_room_for_are_made_later() {
    let mut config = config();
    config.probe = Duration::from_millis(200);
    config.subnets[0].pool.as_mut().unwrap().last = Ipv4Addr::new(192, 0, 2, 99);
    let mut bench = Bench::new(config);
    discover_in(&mut bench, 1, &[1, 2, 3, 4]);
    arp(&mut bench);
    bench.now.mono = bench.server.next_deadline().unwrap();
    // Nothing else can wait for a probe, and six of eight replies are taken.
    for n in 2..=7 {
        discover(&mut bench, n);
    }
    bench.server.on_timer(bench.now, &bench.journal);
    assert!(!bench.server.has_room());
    assert_eq!(bench.transmits().0.len(), 8);
    assert_eq!(bench.server.next_deadline(), Some(bench.now.mono));
    let rest = due(&mut bench);
    assert_eq!((rest.len(), bench.server.next_deadline()), (2, None));
    assert_eq!(bench.server.counters().dropped, 0);
}
