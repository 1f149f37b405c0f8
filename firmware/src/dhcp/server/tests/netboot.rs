//! Real clients, and what they are told to boot.

use super::clients::{self, MAC, PI};
use super::*;

/// DISCOVER, OFFER, and the same message as a REQUEST.
fn boot(message: &Message) -> (Reply, Bench) {
    let mut config = config();
    config.http_port = 8080;
    let mut bench = Bench::new(config);
    let offer = bench.ask(message).unwrap();
    assert_eq!(offer.kind, MessageType::Offer);
    (offer, bench)
}

#[test]
fn uefi_pxe_gets_a_file_and_needs_no_boot_server() {
    let (offer, mut bench) = boot(&clients::edk2_pxe());
    assert_eq!(offer.file, "ipxe-arm64.efi");
    assert_eq!(offer.repr.siaddr.octets(), SERVER);
    assert_eq!(offer.text(66), "192.0.2.1");
    assert_eq!(offer.text(67), "ipxe-arm64.efi");
    assert_eq!(offer.text(60), "PXEClient");
    assert_eq!(offer.options[&43], [6, 1, 8, 255]);
    assert_eq!(offer.options[&97].len(), 17);
    assert!(!offer.codes.contains(&52), "no need to overload");

    let ack = bench
        .ask(&select(MAC, offer.yiaddr()).with(93, &[0, 11]))
        .unwrap();
    assert_eq!(ack.file, "ipxe-arm64.efi");
    let story = bench.story();
    let want = [
        (Stage::Discover, "arm64-efi".to_string()),
        (
            Stage::Offer,
            format!("{} ipxe-arm64.efi", offer.repr.yiaddr),
        ),
        (
            Stage::Bound,
            format!("{} ipxe-arm64.efi", offer.repr.yiaddr),
        ),
    ];
    assert_eq!(story, want);
}

#[test]
fn uefi_http_gets_a_url() {
    let (offer, _) = boot(&clients::edk2_http());
    let url = "http://192.0.2.1:8080/assets/ipxe-arm64.efi";
    assert_eq!((offer.text(60), offer.text(67)), ("HTTPClient", url));
    assert_eq!(offer.file, url);
    assert!(!offer.codes.contains(&43) && !offer.codes.contains(&66));
}

#[test]
fn ipxe_gets_the_script_and_need_not_wait() {
    let (offer, _) = boot(&clients::ipxe());
    assert_eq!(offer.text(67), "http://192.0.2.1:8080/boot.ipxe");
    assert_eq!(offer.file, "http://192.0.2.1:8080/boot.ipxe");
    assert_eq!(offer.options[&175], [176, 1, 1]);
}

#[test]
fn uboot_gets_its_script_in_the_header() {
    let (offer, _) = boot(&clients::uboot());
    assert_eq!(offer.file, "boot.scr.uimg");
    assert_eq!(offer.repr.siaddr.octets(), SERVER);
    assert!(!offer.codes.contains(&60) && !offer.codes.contains(&43));
}

#[test]
fn others_get_nothing_to_boot() {
    for message in [clients::udhcpc(), clients::dhclient()] {
        let (offer, _) = boot(&message);
        assert_eq!(offer.file, "");
        assert_eq!(offer.repr.siaddr, Ipv4Addr::UNSPECIFIED);
        assert!([43, 60, 66, 67].iter().all(|c| !offer.codes.contains(c)));
    }
}

#[test]
fn the_raspberry_pi_rom_is_bound_by_the_offer() {
    let (offer, bench) = boot(&clients::raspberry_pi());
    let vendor = &offer.options[&43];
    let name = b"Raspberry Pi Boot   ";
    assert!(vendor.windows(name.len()).any(|part| part == name));
    assert_eq!(offer.text(66), "192.0.2.1");
    assert_eq!(bench.log.commits, 1, "it will say nothing more");
    let lease = bench.server.leases().next().unwrap();
    assert_eq!((lease.mac, lease.state), (PI, crate::dhcp::State::Bound));
    let stages: Vec<_> = bench.story().into_iter().map(|(stage, _)| stage).collect();
    assert_eq!(stages, [Stage::Discover, Stage::Offer, Stage::Bound]);
}

#[test]
fn an_unknown_architecture_still_gets_an_address() {
    let message = Message::discover(MAC)
        .with(60, b"PXEClient")
        .with(93, &[0, 27]);
    let (offer, bench) = boot(&message);
    assert_eq!(offer.file, "");
    assert!(!offer.codes.contains(&60));
    let refused = "no boot file for architecture 27: set boot.27 = \"FILE\"";
    assert!(bench.story().contains(&(Stage::Refused, refused.into())));
}

fn proxy() -> Bench {
    Bench::new(Config {
        mode: Mode::Proxy,
        ..config()
    })
}

#[test]
fn a_proxy_names_boot_files_and_gives_no_addresses() {
    let mut bench = proxy();
    let offer = bench.ask(&clients::edk2_pxe()).unwrap();
    assert_eq!(offer.kind, MessageType::Offer);
    assert_eq!(offer.yiaddr(), [0; 4]);
    assert_eq!(
        (offer.dst_mac, offer.dst),
        (MacAddr::BROADCAST, ([255; 4], 68))
    );
    assert_eq!(offer.file, "ipxe-arm64.efi");
    assert_eq!(offer.text(60), "PXEClient");
    assert!([51, 1, 3].iter().all(|code| !offer.codes.contains(code)));

    let offer = bench.ask(&clients::edk2_http()).unwrap();
    assert_eq!(offer.text(67), "http://192.0.2.1/assets/ipxe-arm64.efi");

    for message in [
        clients::udhcpc(),
        clients::dhclient(),
        select(MAC, [192, 0, 2, 50]),
    ] {
        assert!(bench.ask(&message).is_none());
    }
    assert_eq!(bench.log.commits, 0);
}

#[test]
fn the_boot_server_answers_on_its_own_port() {
    for mut bench in [proxy(), Bench::new(config())] {
        for kind in [
            MessageType::Request,
            MessageType::Inform,
            MessageType::Discover,
        ] {
            let message = Message::new(kind, MAC)
                .ciaddr([192, 0, 2, 80])
                .with(60, b"PXEClient:Arch:00011:UNDI:003000")
                .with(93, &[0, 11])
                .with(43, &[71, 4, 0x80, 0, 0, 0, 255]);
            let meta = Meta {
                port: 4011,
                src_port: 4011,
                ..Bench::unicast(&message)
            };
            let ack = bench.ask_by(&message, &meta).unwrap();
            assert_eq!(ack.kind, MessageType::Ack);
            assert_eq!((ack.dst_mac, ack.dst), (MAC, ([192, 0, 2, 80], 4011)));
            assert_eq!(ack.src_port, 4011);
            assert_eq!(ack.file, "ipxe-arm64.efi");
            assert_eq!(ack.yiaddr(), [0; 4]);
            assert_eq!(ack.options[&43], [71, 4, 0x80, 0, 0, 0, 255]);
        }
        let plain = Message::new(MessageType::Inform, MAC).ciaddr([192, 0, 2, 80]);
        let meta = Meta {
            port: 4011,
            ..Bench::unicast(&plain)
        };
        assert!(bench.ask_by(&plain, &meta).is_none());
    }
}
