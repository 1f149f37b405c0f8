//! Which address, and the four states of a client (RFC 2131 §4.3.2).

use super::*;

fn kind(reply: Option<Reply>) -> Option<MessageType> {
    reply.map(|reply| reply.kind)
}

const ACK: Option<MessageType> = Some(MessageType::Ack);
const NAK: Option<MessageType> = Some(MessageType::Nak);
const SILENCE: Option<MessageType> = None;

#[test]
fn a_client_gets_its_address_again() {
    let mut bench = Bench::new(config());
    let first = bench.lease(mac(1)).unwrap();
    assert_eq!(bench.lease(mac(1)), Some(first), "bound");
    bench.wait(4000);
    assert_eq!(bench.lease(mac(1)), Some(first), "expired");
    let release = Message::new(MessageType::Release, mac(1)).ciaddr(first);
    assert!(bench.ask(&release).is_none());
    assert_eq!(bench.lease(mac(1)), Some(first), "released");
    assert_eq!(bench.server.counters().release, 1);

    // Its firmware sent an identifier of the usual form.
    let id = [1, 2, 0, 0, 0, 0, 1];
    let offer = bench.ask(&Message::discover(mac(1)).with(61, &id)).unwrap();
    assert_eq!(offer.yiaddr(), first);
}

#[test]
fn the_pool_is_used_up_before_an_old_address_is_given_away() {
    let mut bench = Bench::new(config());
    let mut all: Vec<_> = (1..=4).map(|n| bench.lease(mac(n)).unwrap()).collect();
    let second = all[1];
    all.sort_unstable();
    let pool: Vec<_> = (50..=53).map(|n| [192, 0, 2, n]).collect();
    assert_eq!(all, pool);

    assert_eq!(bench.lease(mac(5)), None);
    assert_eq!(bench.server.counters().exhausted, 1);
    let story = bench.story();
    let last = story.last().unwrap();
    assert_eq!(
        last,
        &(Stage::Refused, "no address: the pool is empty".into())
    );

    // The second client's address has been free for longest.
    let release = |n, ip| Message::new(MessageType::Release, mac(n)).ciaddr(ip);
    bench.ask(&release(2, second));
    bench.wait(1);
    let fourth = bench.lease(mac(4)).unwrap();
    bench.ask(&release(4, fourth));
    assert_eq!(bench.lease(mac(5)), Some(second));
    assert_eq!(bench.lease(mac(4)), Some(fourth));
}

#[test]
fn an_address_asked_for_is_given_if_it_is_free() {
    let mut bench = Bench::new(config());
    let discover = |n, ip: [u8; 4]| Message::discover(mac(n)).with(50, &ip);
    let offer = bench.ask(&discover(1, [192, 0, 2, 52])).unwrap();
    assert_eq!(offer.yiaddr(), [192, 0, 2, 52]);
    let offer = bench.ask(&discover(2, [192, 0, 2, 52])).unwrap();
    assert_ne!(offer.yiaddr(), [192, 0, 2, 52]);
    let offer = bench.ask(&discover(3, [192, 0, 2, 80])).unwrap();
    assert_ne!(offer.yiaddr(), [192, 0, 2, 80], "not in the pool");
}

#[test]
fn offers_end_and_are_used_again_first() {
    let mut bench = Bench::new(config());
    let held = bench.lease(mac(1)).unwrap();
    bench.wait(4000);
    let offers: Vec<_> = (2..=4)
        .map(|n| bench.ask(&Message::discover(mac(n))).unwrap().yiaddr())
        .collect();
    assert!(!offers.contains(&held));
    bench.wait(61);
    let again = bench.lease(mac(5)).unwrap();
    assert!(
        offers.contains(&again),
        "not the one that a client has held"
    );
}

#[test]
fn selecting() {
    let mut bench = Bench::new(config());
    let ip = bench.ask(&Message::discover(mac(1))).unwrap().yiaddr();
    let mut take = |message: &Message| kind(bench.ask(message));
    assert_eq!(take(&select(mac(2), ip)), NAK, "offered to somebody else");
    assert_eq!(take(&select(mac(1), [192, 0, 2, 40])), NAK, "not served");
    assert_eq!(take(&select(mac(1), ip)), ACK);
    assert_eq!(take(&select(mac(1), ip)), ACK, "repeated");
    // Old clients name the address in the wrong place.
    assert_eq!(take(&request(mac(1)).with(54, &SERVER).ciaddr(ip)), ACK);
    assert_eq!(take(&request(mac(1)).with(54, &SERVER)), NAK, "none at all");
}

#[test]
fn an_offer_not_taken_is_free_for_others() {
    let mut bench = Bench::new(config());
    let ip = bench.ask(&Message::discover(mac(1))).unwrap().yiaddr();
    let other = request(mac(1))
        .with(54, &[192, 0, 2, 254])
        .with(50, &[192, 0, 2, 9]);
    assert_eq!(kind(bench.ask(&other)), SILENCE);
    let discover = Message::discover(mac(2)).with(50, &ip);
    assert_eq!(bench.ask(&discover).unwrap().yiaddr(), ip);
    // A lease that is bound stays bound.
    let bound = bench.lease(mac(3)).unwrap();
    let other = request(mac(3)).with(54, &[192, 0, 2, 254]).with(50, &bound);
    assert_eq!(kind(bench.ask(&other)), SILENCE);
    assert_eq!(kind(bench.ask(&select(mac(4), bound))), NAK);
}

#[test]
fn init_reboot() {
    let mut bench = Bench::new(config());
    let ip = bench.lease(mac(1)).unwrap();
    let mut reboot = |n, ip: [u8; 4]| kind(bench.ask(&request(mac(n)).with(50, &ip)));
    assert_eq!(reboot(1, ip), ACK);
    assert_eq!(reboot(1, [192, 0, 2, 60]), NAK, "it has another address");
    assert_eq!(
        reboot(9, [192, 0, 2, 60]),
        SILENCE,
        "nothing is known of it"
    );
    assert_eq!(reboot(9, ip), NAK, "somebody else's");
    assert_eq!(reboot(9, [198, 51, 100, 7]), NAK, "another network's");
    bench.wait(4000);
    let message = request(mac(1)).with(50, &ip);
    assert_eq!(kind(bench.ask(&message)), ACK, "expired, but still free");
}

#[test]
fn renewing_and_rebinding() {
    let mut bench = Bench::new(config());
    let ip = bench.lease(mac(1)).unwrap();
    bench.wait(1800);
    let renewal = request(mac(1)).ciaddr(ip);
    let ack = bench.ask_by(&renewal, &Bench::unicast(&renewal)).unwrap();
    assert_eq!((ack.kind, ack.seconds(51)), (MessageType::Ack, 3600));
    assert_eq!(ack.repr.ciaddr.octets(), ip);
    bench.wait(3500);
    assert_eq!(kind(bench.ask(&renewal)), ACK, "rebinding");

    let stranger = |ip| request(mac(9)).ciaddr(ip);
    assert_eq!(kind(bench.ask(&stranger(ip))), NAK, "somebody else's");
    let free = (50..=53).map(|n| [192, 0, 2, n]).find(|free| *free != ip);
    let unknown = stranger(free.unwrap());
    assert_eq!(kind(bench.ask(&unknown)), SILENCE);
    assert_eq!(kind(bench.ask(&stranger([198, 51, 100, 7]))), NAK);
    // By unicast it says that the lease is ours: the log was lost.
    assert_eq!(kind(bench.ask_by(&unknown, &Bench::unicast(&unknown))), ACK);
    let outside = stranger([192, 0, 2, 80]);
    assert_eq!(kind(bench.ask_by(&outside, &Bench::unicast(&outside))), NAK);
}

#[test]
fn a_declined_address_rests() {
    let mut bench = Bench::new(config());
    let ip = bench.lease(mac(1)).unwrap();
    let decline = |n, ip: [u8; 4]| {
        Message::new(MessageType::Decline, mac(n))
            .with(54, &SERVER)
            .with(50, &ip)
    };
    assert!(bench.ask(&decline(2, ip)).is_none());
    assert_eq!(bench.lease(mac(1)), Some(ip), "not the decliner's own");
    assert!(bench.ask(&decline(1, ip)).is_none());
    assert_eq!(bench.server.counters().decline, 1);
    for n in [1, 2, 3] {
        assert_ne!(bench.lease(mac(n)), Some(ip));
    }
    assert_eq!(bench.lease(mac(4)), None);
    bench.wait(600);
    assert_eq!(bench.lease(mac(4)), Some(ip));
}

#[test]
fn inform_tells_parameters_only() {
    let mut bench = Bench::new(config());
    let inform = Message::new(MessageType::Inform, mac(1)).ciaddr([192, 0, 2, 80]);
    let ack = bench.ask(&inform).unwrap();
    assert_eq!(ack.kind, MessageType::Ack);
    assert_eq!((ack.dst_mac, ack.dst), (mac(1), ([192, 0, 2, 80], 68)));
    assert_eq!(ack.codes, [53, 54, 1, 3]);
    assert_eq!(ack.yiaddr(), [0; 4]);
    assert_eq!(bench.log.commits, 0, "nothing to remember");
    let lost = Message::new(MessageType::Inform, mac(1));
    assert!(bench.ask(&lost).is_none());
}

#[test]
fn reserved_addresses_are_their_machines_alone() {
    let mut config = config();
    reserve(&mut config, Owner::Mac(mac(1)), [192, 0, 2, 51], "one");
    let id = heapless::Vec::from_slice(b"\x00two").unwrap();
    reserve(&mut config, Owner::ClientId(id), [192, 0, 2, 7], "two");
    let mut bench = Bench::new(config);

    let two = Message::discover(mac(2)).with(61, b"\x00two");
    let offer = bench.ask(&two).unwrap();
    assert_eq!((offer.yiaddr(), offer.text(12)), ([192, 0, 2, 7], "two"));

    for n in 3..=5 {
        assert_ne!(bench.lease(mac(n)), Some([192, 0, 2, 51]));
    }
    assert_eq!(bench.lease(mac(6)), None);
    assert_eq!(kind(bench.ask(&select(mac(6), [192, 0, 2, 51]))), NAK);

    // Firmware and operating system differ in their identifiers.
    assert_eq!(bench.lease(mac(1)), Some([192, 0, 2, 51]));
    let duid = Message::discover(mac(1)).with(61, &[255, 1, 2, 3]);
    assert_eq!(bench.ask(&duid).unwrap().yiaddr(), [192, 0, 2, 51]);
}

#[test]
fn a_new_reservation_waits_for_the_lease_that_is_in_its_way() {
    let mut bench = Bench::new(config());
    let theirs = bench.lease(mac(1)).unwrap();
    let own = bench.lease(mac(2)).unwrap();
    let mut config = config();
    reserve(&mut config, Owner::Mac(mac(2)), theirs, "");
    bench.server.configure(config, 42).unwrap();

    let renew = |n, ip| request(mac(n)).ciaddr(ip);
    assert_eq!(kind(bench.ask(&renew(2, own))), ACK, "not yet");
    assert_eq!(kind(bench.ask(&renew(1, theirs))), NAK, "no longer");
    bench.wait(4000);
    assert_eq!(kind(bench.ask(&renew(2, own))), NAK, "now");
    assert_eq!(bench.lease(mac(2)), Some(theirs));
}

#[test]
fn a_full_table_forgets_who_is_gone() {
    let mut config = config();
    config.subnets[0].pool.as_mut().unwrap().last = Ipv4Addr::new(192, 0, 2, 249);
    let mut bench = Bench::new(config);
    // The table holds 16.
    for n in 1..=16 {
        assert!(bench.lease(mac(n)).is_some());
    }
    assert_eq!(bench.lease(mac(17)), None);
    bench.wait(4000);
    for n in 17..=200 {
        assert!(bench.lease(mac(n)).is_some(), "{n}");
        bench.wait(400);
    }
}
