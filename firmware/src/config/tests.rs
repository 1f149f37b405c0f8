//! Good files, and bad ones with the exact words they are refused in.

use core::net::Ipv4Addr;

use embassy_time::Duration;

use super::{Address, Config, Key, Reason, Settings, value};
use crate::dhcp::boot::Client;
use crate::dhcp::{Mode, Owner, Pool};
use crate::{MacAddr, tftp};

fn ip(text: &str) -> Ipv4Addr {
    text.parse().unwrap()
}

/// The defaults are a constant, for boards that keep them in a static.
const DEFAULTS: Config = Config::new();

const LAB: &str = r#"
# A home lab.
address = "192.168.1.2/24"
gateway = '192.168.1.1'
dns = ["192.168.1.1", "9.9.9.9"] # two
domain = "lab.example.org"
search = [
    "lab.example.org",
    "example.org",  # trailing comma, comments
]
ntp = []
mtu = 1_500
routes = ["10.0.0.0/8 via 192.168.1.1", "0.0.0.0/0 via 192.168.1.1"]
dhcp = "server"
pool = "192.168.1.50-192.168.1.99"
lease = "12h"
probe-ms = 0
http-port = [8080, 80]
"tftp-port" = 6969
tftp-single-port = true
tftp-max-blksize = 1024
tftp-max-window = 16

[boot]
arm64-efi = "grub/grubaa64.efi"
27 = "http://192.168.1.2:8080/assets/riscv64.efi"

[[reservation]]
mac = "52:54:00:12:34:56"
address = "192.168.1.10"
hostname = "node1"

[[reservation]]
client-id = "ff:01"
address = "192.168.1.11"

[[subnet]]
address = "10.1.0.0/16"
pool = "10.1.0.10-10.1.255.9"
gateway = "10.1.0.1"
"#;

#[test]
fn a_whole_file() {
    let mut config = DEFAULTS;
    config.read(LAB).unwrap();
    config.check().unwrap();
    assert_eq!(config.address, Address::Own(ip("192.168.1.2"), 24));
    assert_eq!(config.gateway, Some(ip("192.168.1.1")));
    assert_eq!(config.http_ports, [8080, 80]);
    assert_eq!(config.tftp_port, Some(6969));
    assert_eq!(
        config.tftp(8),
        tftp::Config {
            ports: 0,
            max_blksize: 1024,
            max_window: 16
        }
    );

    let dhcp = &config.dhcp;
    assert_eq!((dhcp.mode, dhcp.http_port), (Mode::Server, 8080));
    assert_eq!(dhcp.server, ip("192.168.1.2"));
    assert_eq!(dhcp.lease.seconds, 43_200);
    assert_eq!(dhcp.probe, Duration::from_ticks(0));
    assert_eq!(dhcp.dns, [ip("192.168.1.1"), ip("9.9.9.9")]);
    assert_eq!(dhcp.domain, "lab.example.org");
    assert_eq!(dhcp.search, ["lab.example.org", "example.org"]);
    assert!(dhcp.ntp.is_empty());
    assert_eq!(dhcp.mtu, Some(1500));

    let link = &dhcp.subnets[0];
    assert_eq!((link.address, link.prefix), (ip("192.168.1.2"), 24));
    assert_eq!(link.routers, [ip("192.168.1.1")]);
    assert_eq!(link.routes.len(), 2);
    assert_eq!(
        (link.routes[0].destination, link.routes[0].prefix),
        (ip("10.0.0.0"), 8)
    );
    let pool = Pool {
        first: ip("192.168.1.50"),
        last: ip("192.168.1.99"),
    };
    assert_eq!(link.pool, Some(pool));
    assert_eq!(dhcp.subnets[1].prefix, 16);
    assert_eq!(dhcp.subnets[1].routers, [ip("10.1.0.1")]);

    let boot = &dhcp.boot.files;
    assert_eq!(boot[0].client, Client::Arm64Efi);
    assert_eq!(boot[0].file, "grub/grubaa64.efi");
    assert_eq!(boot[1].client, Client::Other(27));

    let mac = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
    assert_eq!(dhcp.reservations[0].owner, Owner::Mac(mac));
    assert_eq!(dhcp.reservations[0].hostname, "node1");
    let id = Owner::ClientId([0xff, 1].into_iter().collect());
    assert_eq!(dhcp.reservations[1].owner, id);
}

#[test]
fn small_files_do() {
    for text in [
        "address = \"192.168.1.2/24\"",
        "\u{feff}address = \"192.168.1.2/24\"\r\n\r\n# nothing else\r\n",
        "address=\"192.168.1.2/24\"\ndhcp=\"proxy\"",
        "address = \"192.168.1.2/24\"\nboot.bios = \"\"",
        "address = \"192.168.1.2/24\"\ntftp-port = 0\nhttp-port = 80",
    ] {
        let mut config = Config::new();
        config.read(text).unwrap();
        config.check().unwrap();
    }
    let mut config = Config::new();
    config.set("address", "host").unwrap();
    config.set_host(ip("10.0.0.4"), 24);
    config.check().unwrap();
    assert_eq!(config.dhcp.server, ip("10.0.0.4"));
}

#[test]
fn flags_come_after_the_file_and_win() {
    let mut config = Config::new();
    config.read(LAB).unwrap();
    for (key, value) in [
        ("dns", "1.1.1.1, 8.8.8.8"),
        ("http-port", "8081"),
        ("boot", "arm64-efi=ipxe-arm64.efi"),
        ("boot.bios", "pxelinux.0"),
        ("reservation", "client-id=node 2,address=192.168.1.12"),
        ("lease", "90"),
    ] {
        config.set(key, value).unwrap();
    }
    config.check().unwrap();
    assert_eq!(config.dhcp.dns, [ip("1.1.1.1"), ip("8.8.8.8")]);
    assert_eq!((config.dhcp.http_port, config.http_ports.len()), (8081, 1));
    assert_eq!(config.dhcp.boot.files[0].file, "ipxe-arm64.efi");
    assert_eq!(config.dhcp.boot.files.len(), 3);
    let id = Owner::ClientId(b"\0node 2".iter().copied().collect());
    assert_eq!(config.dhcp.reservations[2].owner, id);
    assert_eq!((config.dhcp.lease.seconds, config.dhcp.lease.min), (90, 90));
}

/// What stands in the file, and what is said of it.
const REFUSED: &[(&str, &str)] = &[
    // Keys.
    (
        "\n\nadress = \"192.168.1.2/24\"",
        "ichor.toml:3: unknown key \"adress\": did you mean \"address\"?",
    ),
    ("colour = 1", "ichor.toml:1: unknown key \"colour\""),
    (
        "[tftp]\nport = 69",
        "ichor.toml:2: unknown key \"tftp.port\": did you mean \"tftp-port\"?",
    ),
    (
        "[[server]]\nname = 1",
        "ichor.toml:1: unknown key \"server\"",
    ),
    (
        "[reservation]\nmac = \"\"",
        "ichor.toml:2: reservation.mac: write [[reservation]], with two brackets on either side",
    ),
    (
        "mtu = 1500\ndns = \"1.1.1.1\"\nmtu = 1400",
        "ichor.toml:3: mtu: is set twice: remove one of the two",
    ),
    (
        "[boot]\n[boot]",
        "ichor.toml:2: boot: is set twice: remove one of the two",
    ),
    (
        "[boot]\nbios = \"a\"\nbios = \"b\"",
        "ichor.toml:3: boot.bios: is set twice: remove one of the two",
    ),
    // Values.
    (
        "address = \"192.168.1.2\"",
        "ichor.toml:1: address: expected ADDRESS/PREFIX like 192.168.1.2/24, or \"host\", \
         found \"192.168.1.2\"",
    ),
    (
        "address = \"192.168.1.2/33\"",
        "ichor.toml:1: address: expected ADDRESS/PREFIX like 192.168.1.2/24, or \"host\", \
         found \"192.168.1.2/33\"",
    ),
    (
        "gateway = \"router\"",
        "ichor.toml:1: gateway: expected an IPv4 address like 192.168.1.1, found \"router\"",
    ),
    (
        "dns = [\"1.1.1.1\", \"one.one\"]",
        "ichor.toml:1: dns: expected an IPv4 address like 192.168.1.1, found \"one.one\"",
    ),
    (
        "dns = [\"1.1.1.1\", \"1.1.1.2\", \"1.1.1.3\", \"1.1.1.4\", \"1.1.1.5\"]",
        "ichor.toml:1: dns: at most 4 values",
    ),
    (
        "domain = \"-lab\"",
        "ichor.toml:1: domain: expected a domain name like lab.example.org, found \"-lab\"",
    ),
    (
        "search = \"a..b\"",
        "ichor.toml:1: search: expected a domain name like lab.example.org, found \"a..b\"",
    ),
    (
        "mtu = 9999",
        "ichor.toml:1: mtu: expected a number from 576 to 9216, found \"9999\"",
    ),
    (
        "mtu = +1500",
        "ichor.toml:1: mtu: expected a number from 576 to 9216, found \"+1500\"",
    ),
    (
        "routes = \"10.0.0.0/8\"",
        "ichor.toml:1: routes: expected NETWORK/PREFIX via ROUTER like \
         10.0.0.0/8 via 192.168.1.1, found \"10.0.0.0/8\"",
    ),
    (
        "dhcp = true",
        "ichor.toml:1: dhcp: expected server, proxy or off, found \"true\"",
    ),
    (
        "pool = \"192.168.1.50\"",
        "ichor.toml:1: pool: expected FIRST-LAST like 192.168.1.50-192.168.1.99, \
         found \"192.168.1.50\"",
    ),
    (
        "lease = \"12 hours\"",
        "ichor.toml:1: lease: expected seconds like 3600, or 45m, 12h, 7d, found \"12 hours\"",
    ),
    (
        "lease = \"99999d\"",
        "ichor.toml:1: lease: expected seconds like 3600, or 45m, 12h, 7d, found \"99999d\"",
    ),
    (
        "lease = 0",
        "ichor.toml:1: lease: expected seconds like 3600, or 45m, 12h, 7d, found \"0\"",
    ),
    (
        "probe-ms = -1",
        "ichor.toml:1: probe-ms: expected milliseconds from 0 to 10000, found \"-1\"",
    ),
    (
        "http-port = []",
        "ichor.toml:1: http-port: expected one or more ports from 1 to 65535, like 8080,80, \
         found nothing",
    ),
    (
        "http-port = 0",
        "ichor.toml:1: http-port: expected one or more ports from 1 to 65535, like 8080,80, \
         found \"0\"",
    ),
    (
        "tftp-port = 65536",
        "ichor.toml:1: tftp-port: expected a port from 0 (none) to 65535, found \"65536\"",
    ),
    (
        "tftp-single-port = \"yes\"",
        "ichor.toml:1: tftp-single-port: expected true or false, found \"yes\"",
    ),
    (
        "tftp-max-blksize = 7",
        "ichor.toml:1: tftp-max-blksize: expected a number from 8 to 65464, found \"7\"",
    ),
    (
        "tftp-max-window = 0",
        "ichor.toml:1: tftp-max-window: expected a number from 1 to 65535, found \"0\"",
    ),
    (
        "[boot]\narm64 = \"a\"",
        "ichor.toml:2: boot.arm64: expected a kind of client like arm64-efi, \
         or its number in option 93, found \"arm64\"",
    ),
    (
        "domain = \"a\\u0000b\"",
        "ichor.toml:1: domain: expected text without control characters, found \"a\\0b\"",
    ),
    // Tables.
    (
        "\n[[reservation]]\nmac = \"52:54:00:12:34\"\naddress = \"192.168.1.10\"",
        "ichor.toml:2: reservation: expected an Ethernet address like 52:54:00:12:34:56, \
         found \"52:54:00:12:34\"",
    ),
    (
        "[[reservation]]\nmac = \"ff:ff:ff:ff:ff:ff\"\naddress = \"192.168.1.10\"",
        "ichor.toml:1: reservation: ff:ff:ff:ff:ff:ff is no machine's address: \
         broadcast and multicast cannot be reserved for",
    ),
    (
        "[[reservation]]\nmac = \"52:54:00:12:34:56\"",
        "ichor.toml:1: reservation: needs an \"address\"",
    ),
    (
        "[[reservation]]\naddress = \"192.168.1.10\"",
        "ichor.toml:1: reservation: needs either \"mac\" or \"client-id\" to know its machine by",
    ),
    (
        "[[reservation]]\nip = \"192.168.1.10\"",
        "ichor.toml:1: reservation: expected mac or client-id, address, and hostname if wanted, \
         found \"ip\"",
    ),
    (
        "[[reservation]]\n",
        "ichor.toml:1: reservation: expected mac or client-id, address, and hostname if wanted, \
         found nothing",
    ),
    (
        "[[reservation]]\nmac = \"52:54:00:12:34:56\"\nmac = \"52:54:00:12:34:57\"",
        "ichor.toml:1: reservation: sets \"mac\" twice",
    ),
    (
        "[[reservation]]\nclient-id = \"a,b\"",
        "ichor.toml:2: reservation.client-id: expected a single value without commas, \
         found \"a,b\"",
    ),
    (
        "[[reservation]]\nclient-id = \"0123456789012345678901234567890123456789\"\n\
         address = \"192.168.1.10\"",
        "ichor.toml:1: reservation: expected up to 32 bytes: text, or hex like \
         01:52:54:00:12:34:56, found \"0123456789012345678901234567890123456789\"",
    ),
    (
        "[[reservation]]\nmac=\"52:54:00:12:34:56\"\naddress=\"10.0.0.1\"\nhostname=\"a.b\"",
        "ichor.toml:1: reservation: expected a host name without dots like node1, found \"a.b\"",
    ),
    (
        "[[subnet]]\npool = \"10.0.0.1-10.0.0.9\"",
        "ichor.toml:1: subnet: needs an \"address\"",
    ),
    // TOML.
    ("mtu", "ichor.toml:1: mtu: key with no value"),
    (
        "\nmtu = ",
        "ichor.toml:2: mtu: string values must be quoted",
    ),
    (
        "pool = 192.168.1.50-192.168.1.99",
        "ichor.toml:1: pool: expected text in quotes, a whole number, true or false, \
         found \"192.168.1.50-192.168.1.99\"",
    ),
    (
        "domain = \"lab",
        "ichor.toml:1: domain: invalid basic string",
    ),
    (
        "domain = \"l\\ab\"",
        "ichor.toml:1: domain: missing escaped value",
    ),
    ("[boot", "ichor.toml:1: boot: unclosed table"),
    (
        "dns = [\"1.1.1.1\"\nmtu = 1500\n",
        "ichor.toml:2: dns: missing comma between array elements",
    ),
    (
        "mtu = 1500 dns = 1",
        "ichor.toml:1: mtu: string values must be quoted",
    ),
    (
        "mtu = 0x5dc",
        "ichor.toml:1: mtu: expected text in quotes, a whole number, true or false, \
         found \"0x5dc\"",
    ),
    (
        "lease = 1.5",
        "ichor.toml:1: lease: expected text in quotes, a whole number, true or false, \
         found \"1.5\"",
    ),
    (
        "lease = 2026-01-01",
        "ichor.toml:1: lease: expected text in quotes, a whole number, true or false, \
         found \"2026-01-01\"",
    ),
    (
        "dns = [[\"1.1.1.1\"]]",
        "ichor.toml:1: dns: expected a list of plain values, found \"[\"",
    ),
    (
        "boot = { bios = \"a\" }",
        "ichor.toml:1: boot: expected a plain value (tables are written [table] or [[table]]), \
         found \"{\"",
    ),
    (
        "dns = [\"1.1.1.1,8.8.8.8\"]",
        "ichor.toml:1: dns: expected values without commas, found \"1.1.1.1,8.8.8.8\"",
    ),
];

#[test]
fn what_is_wrong_is_said_with_its_line() {
    for (text, want) in REFUSED {
        let error = Config::new().read(text).unwrap_err();
        assert_eq!(error.to_string(), *want, "{text}");
    }
    let error = Config::new().read("mtu").unwrap_err();
    let elsewhere = error.in_file("/etc/ichor.toml").to_string();
    assert_eq!(elsewhere, "/etc/ichor.toml:1: mtu: key with no value");
}

#[test]
fn files_without_measure_are_refused() {
    let endless = format!("dns = [{}", "\"1.1.1.1\",\n".repeat(500));
    // (The numbers 7 and 9 are the same kind of client.)
    let many: String = (0..200).map(|n| format!("boot.{n} = \"\"\n")).collect();
    let long = format!("domain = \"{}\"", "x".repeat(2000));
    let long_key = format!("{} = 1", "x".repeat(2000));
    let long_table = format!("[{}]\na = 1", "x".repeat(47));
    let table = [
        (
            &endless,
            "ichor.toml:1: the list does not end, or has too many values",
        ),
        (&many, "ichor.toml:18: boot.17: at most 16 values"),
        (&long, "ichor.toml:1: domain: longer than 512 bytes"),
        (&long_key, "ichor.toml:1: unknown key \"\""),
        (&long_table, "ichor.toml:2: unknown key \"a\""),
    ];
    for (text, want) in table {
        let error = Config::new().read(text).unwrap_err();
        assert_eq!(error.to_string(), want);
    }
}

/// Settings changed in a file that works, and what is said of them together.
const CONTRADICTIONS: &[(&[(&str, &str)], &str)] = &[
    (
        &[("address", "192.168.1.0/24")],
        "address: 192.168.1.0/24 is no host's address: check the prefix length",
    ),
    (
        &[("address", "192.168.1.2/32")],
        "address: 192.168.1.2/32 is no host's address: check the prefix length",
    ),
    (
        &[("address", "host")],
        "address: the host has no IPv4 address yet: give it one, or set one here",
    ),
    (
        &[("gateway", "192.168.2.1")],
        "gateway: 192.168.2.1 is not in 192.168.1.0/24, the subnet of \"address\"",
    ),
    (
        &[("gateway", "192.168.1.2")],
        "gateway: 192.168.1.2 is ichor's own address, and ichor is no router: set the router's",
    ),
    (
        &[("pool", "192.168.1.99-192.168.1.50")],
        "pool: 192.168.1.99-192.168.1.50: the lower address comes first",
    ),
    (
        &[("pool", "192.168.1.50-192.168.2.50")],
        "pool: 192.168.1.50-192.168.2.50 is not inside 192.168.1.0/24",
    ),
    (
        &[("pool", "192.168.1.1-192.168.1.50")],
        "pool: 192.168.1.1-192.168.1.50 holds ichor's own address 192.168.1.2: leave it out",
    ),
    (
        &[("dhcp", "proxy")],
        "pool: dhcp = \"proxy\" hands out no addresses: remove the pool, \
         or set dhcp = \"server\"",
    ),
    (
        &[("http-port", "80,8080,80")],
        "http-port: 80 is listed twice",
    ),
    (
        &[("tftp-max-blksize", "8192")],
        "tftp-max-blksize: 8192 does not fit packets of 1500 bytes: \
         set at most 1468, or a larger mtu",
    ),
    (
        &[("reservation", "client-id=a,address=192.168.1.2")],
        "reservation: 192.168.1.2 is ichor's own: choose another address",
    ),
    (
        &[("reservation", "client-id=a,address=192.168.9.2")],
        "reservation: 192.168.9.2 is no host's address in the subnet of \"address\", \
         nor in a [[subnet]]",
    ),
    (
        &[("reservation", "client-id=a,address=192.168.1.10")],
        "reservation: 192.168.1.10 is reserved twice: one of them must move",
    ),
    (
        &[("reservation", "mac=525400123456,address=192.168.1.20")],
        "reservation: 192.168.1.10 and 192.168.1.20 are for the same machine: remove one",
    ),
    (
        &[("subnet", "address=10.2.0.0/24,pool=10.3.0.1-10.3.0.2")],
        "subnet: 10.3.0.1-10.3.0.2 is not inside 10.2.0.0/24",
    ),
    (
        &[("subnet", "address=10.2.0.0/24,gateway=10.3.0.1")],
        "subnet: gateway 10.3.0.1 is not in 10.2.0.0/24",
    ),
    (
        &[("subnet", "address=10.2.0.0/0")],
        "subnet: 10.2.0.0/0: expected a prefix length from 1 to 30",
    ),
    (
        &[("subnet", "address=10.1.2.0/24")],
        "dhcp: the subnets of 10.1.0.0 and 10.1.2.0 overlap: a relay could mean either",
    ),
];

#[test]
fn what_does_not_go_together_is_said() {
    for (changes, want) in CONTRADICTIONS {
        let mut config = Config::new();
        config.read(LAB).unwrap();
        for (key, value) in *changes {
            config.set("tftp-max-blksize", "1468").unwrap();
            config.set(key, value).unwrap();
        }
        assert_eq!(config.check().unwrap_err().to_string(), *want);
    }
    let mut config = Config::new();
    assert_eq!(
        config.check().unwrap_err().to_string(),
        "address: is missing: set it to an address for ichor, like \"192.168.1.2/24\", \
         or to \"host\" to share the machine's"
    );
    config.set("address", "192.168.1.2/24").unwrap();
    config.set("dhcp", "server").unwrap();
    assert_eq!(
        config.check().unwrap_err().to_string(),
        "dhcp: \"server\" has no address to hand out: set a pool, or reservations"
    );
}

#[test]
fn a_board_has_keys_of_its_own() {
    #[derive(Default)]
    struct Board {
        nic: String,
        fast: bool,
    }
    const KEYS: &[Key<Board>] = &[
        Key::new("nic", "NAME", "network interface", |board, text| {
            board.nic = text.to_owned();
            Ok(())
        }),
        Key::new("fast", "true|false", "for the test", |board, text| {
            board.fast = value::boolean(text)?;
            Ok(())
        }),
    ];
    let mut config = Config::new();
    let mut board = Board::default();
    let mut settings = Settings::new(&mut config, &mut board, KEYS);
    settings.read("nic = \"eth0\"\nmtu = 1400\n").unwrap();
    settings.set("fast", "true").unwrap();
    assert_eq!(
        settings.set("nics", "eth0"),
        Err(Reason::UnknownKey(Some("nic")))
    );
    assert_eq!((board.nic.as_str(), board.fast), ("eth0", true));
    assert_eq!(config.mtu, 1400);
}

#[test]
fn every_key_is_described_and_unique() {
    for (n, key) in Config::KEYS.iter().enumerate() {
        assert!(!key.about.is_empty() && !key.value.is_empty());
        assert!(key.name.len() <= super::KEY_LEN);
        assert!(!Config::KEYS[..n].iter().any(|k| k.name == key.name));
        // Nothing is a good value everywhere but where a list may be empty.
        let lists = ["dns", "search", "ntp", "routes"];
        let empty = Config::new().set(key.name, "");
        assert_eq!(empty.is_ok(), lists.contains(&key.name), "{}", key.name);
    }
}

/// Whatever stands in a file, reading it comes to an end.
#[test]
fn broken_files_are_refused_in_peace() {
    use ichor_hal::{Entropy, fake::FakeEntropy};
    let mut random = FakeEntropy(5);
    let letters: Vec<char> = LAB.chars().chain("\\\u{0}\u{1f41f}\r{}".chars()).collect();
    for _ in 0..20_000 {
        let mut text: Vec<char> = LAB.chars().collect();
        for _ in 0..1 + random.seed() % 8 {
            let at = random.seed() as usize % text.len();
            let letter = letters[random.seed() as usize % letters.len()];
            match random.seed() % 3 {
                0 => text[at] = letter,
                1 => text.insert(at, letter),
                _ => drop(text.remove(at)),
            }
        }
        let text: String = text.into_iter().collect();
        let mut config = Config::new();
        if config.read(&text).is_ok() {
            let _ = config.check();
        }
    }
}
