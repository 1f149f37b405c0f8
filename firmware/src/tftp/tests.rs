//! The server as clients see it: packets in, packets out, at given times.

use core::net::{Ipv4Addr, SocketAddrV4};
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::rc::Rc;

use embassy_time::{Duration, Instant};
use ichor_hal::{Entropy, fake::FakeEntropy};

use super::simulation::{CLIENT, File, TestJournal, TestServer, drive, request};
use super::transfer::Transfer;
use super::wire::{Mode, Options, Packet, Repr};
use super::{Action, Config, LocalPort};
use crate::journal::{Event, Stage};

const NONE: Options = Options {
    blksize: None,
    timeout: None,
    tsize: None,
    windowsize: None,
};
const WINDOW: Options = Options {
    windowsize: Some(4),
    ..NONE
};
const ALL: Options = Options {
    blksize: Some(1468),
    timeout: Some(2),
    tsize: Some(0),
    windowsize: Some(16),
};

struct Bench {
    server: TestServer,
    journal: TestJournal,
    now: Instant,
    file: (&'static str, File),
}

impl Bench {
    fn new(config: Config, name: &'static str, len: usize) -> Self {
        Self {
            server: TestServer::new(config),
            journal: TestJournal::new(),
            now: Instant::from_secs(100),
            file: (name, (0..len).map(|n| n as u8).collect()),
        }
    }

    /// What the server sends now, as text.
    fn sent(&mut self) -> Vec<String> {
        let mut out = Vec::new();
        let mut buffer = vec![0; 0x1_0000];
        let Self {
            server,
            journal,
            now,
            file: (name, file),
        } = self;
        let io = (&mut FakeEntropy(1), &mut buffer[..]);
        drive(
            server,
            *now,
            journal,
            Some((name, file)),
            io,
            |local, to, bytes| {
                let from = local.0;
                let what = show(bytes);
                out.push(if to == CLIENT {
                    format!("{from} {what}")
                } else {
                    format!("{from} {what} to {to}")
                });
            },
        );
        out
    }

    fn put(&mut self, local: u8, from: SocketAddrV4, bytes: &[u8]) {
        let local = LocalPort(local);
        self.server
            .on_datagram(self.now, local, from, bytes, &self.journal);
    }

    fn get(&mut self, local: u8, from: SocketAddrV4, bytes: &[u8]) -> Vec<String> {
        self.put(local, from, bytes);
        self.sent()
    }

    fn read(&mut self, name: &str, options: Options) -> Vec<String> {
        self.get(0, CLIENT, &request(name, Mode::Octet, options))
    }

    fn ack(&mut self, local: u8, block: u16) -> Vec<String> {
        self.get(local, CLIENT, &ack(block))
    }

    /// Waits for the server's next deadline; returns the pause.
    fn wait(&mut self) -> Duration {
        let at = self.server.next_deadline().unwrap();
        let pause = at - self.now;
        self.now = at;
        pause
    }

    /// Leaves the server alone until its transfers are over.
    fn vanish(&mut self) -> Vec<String> {
        let mut last = Vec::new();
        while self.server.active() > 0 {
            self.wait();
            let sent = self.sent();
            if !sent.is_empty() {
                last = sent;
            }
        }
        last
    }

    fn events(&self) -> Vec<(Stage, String)> {
        let mut events = Vec::new();
        let mut context = Context::from_waker(Waker::noop());
        let mut seq = 1;
        while let Poll::Ready(event) = pin!(self.journal.next(seq)).poll(&mut context) {
            let Event { stage, detail, .. } = event;
            events.push((stage, detail.as_str().to_owned()));
            seq = event.seq + 1;
        }
        events
    }
}

fn show(bytes: &[u8]) -> String {
    match Repr::parse(&Packet::new_checked(bytes).unwrap()).unwrap() {
        Repr::Data { block, payload } => format!("data {block} {}", payload.len()),
        Repr::OptionAck(o) => {
            let mut text = String::from("oack");
            let pairs = [
                ("blksize", o.blksize.map(u64::from)),
                ("timeout", o.timeout.map(u64::from)),
                ("tsize", o.tsize),
                ("windowsize", o.windowsize.map(u64::from)),
            ];
            for (name, value) in pairs {
                if let Some(value) = value {
                    text += &format!(" {name}={value}");
                }
            }
            text
        }
        Repr::Error { code, message } => format!("error {} {message}", code.0),
        other => panic!("not for a client: {other:?}"),
    }
}

fn ack(block: u16) -> [u8; 4] {
    let mut bytes = [0; 4];
    Repr::Ack { block }.emit(&mut bytes).unwrap();
    bytes
}

fn bench(len: usize) -> Bench {
    Bench::new(Config::default(), "assets/a", len)
}

#[test]
fn options_are_granted_as_far_as_they_fit() {
    let table: &[(Options, Mode, &str)] = &[
        (
            ALL,
            Mode::Octet,
            "1 oack blksize=1468 timeout=2 tsize=3000 windowsize=16",
        ),
        (
            Options {
                blksize: Some(65464),
                windowsize: Some(65535),
                ..NONE
            },
            Mode::Octet,
            "1 oack blksize=1468 windowsize=64",
        ),
        (
            Options {
                blksize: Some(8),
                timeout: Some(255),
                ..NONE
            },
            Mode::Octet,
            "1 oack blksize=8 timeout=255",
        ),
        // The length of the text once encoded is not known.
        (
            ALL,
            Mode::Netascii,
            "1 oack blksize=1468 timeout=2 windowsize=16",
        ),
        (
            Options {
                tsize: Some(0),
                ..NONE
            },
            Mode::Netascii,
            "1 data 1 512",
        ),
        (NONE, Mode::Octet, "1 data 1 512"),
    ];
    for (options, mode, want) in table {
        let mut bench = bench(3000);
        let got = bench.get(0, CLIENT, &request("a", *mode, *options));
        assert_eq!(got, [*want], "{options:?} {mode:?}");
    }
}

#[test]
fn a_client_that_only_wants_the_size_is_no_failure() {
    let mut bench = bench(3000);
    bench.read("a", ALL);
    let abort = b"\x00\x05\x00\x00User aborted the transfer in progress\0";
    assert!(bench.get(1, CLIENT, abort).is_empty());
    assert_eq!(bench.server.active(), 0);
    assert!(bench.events().is_empty());
    assert_eq!(bench.server.stats().failed, 0);
}

#[test]
fn the_journal_tells_how_it_went() {
    let mut bench = Bench::new(Config::default(), "assets/ipxe.efi", 600);
    bench.read("ipxe.efi", NONE);
    assert_eq!(bench.ack(1, 1), ["1 data 2 88"]);
    bench.ack(1, 2);
    bench.read("/assets/vmlinuz", NONE);
    bench.read("groups/cp1.json", NONE);
    bench.read("12345678/start.elf", NONE);
    bench.read("ipxe.efi", NONE);
    bench.ack(5, 1);
    bench.get(5, CLIENT, b"\x00\x05\x00\x03disk full\0");
    let want = [
        (Stage::BootFile, "assets/ipxe.efi"),
        (
            Stage::Refused,
            "not found: assets/vmlinuz - put it in the data folder's assets/",
        ),
        (
            Stage::Refused,
            "not found: assets/groups/cp1.json - put it in the data folder's assets/",
        ),
        (
            Stage::Failed,
            "assets/ipxe.efi: the client says: disk full (error 3)",
        ),
    ];
    assert_eq!(bench.events(), want.map(|(s, t)| (s, t.to_owned())));
}

#[test]
fn packets_that_get_an_error_and_such_that_do_not() {
    let table: &[(u8, &[u8], &[&str])] = &[
        (
            0,
            b"\x00\x02a\0octet\0",
            &["0 error 2 read-only: this server takes no files"],
        ),
        (
            0,
            b"\x00\x01a\0mail\0",
            &["0 error 4 mail mode is obsolete: ask for octet"],
        ),
        (
            0,
            b"\x00\x01a\0binary\0",
            &["0 error 4 malformed request: unknown transfer mode: ask for octet"],
        ),
        (
            0,
            b"\x00\x01../ichor.toml\0octet\0",
            &["0 error 2 `..` in a file name is refused"],
        ),
        (
            0,
            b"\x00\x01/\0octet\0",
            &["0 error 2 the request names no file"],
        ),
        (
            3,
            b"\x00\x04\x00\x07",
            &["3 error 5 unknown transfer: ask again on port 69"],
        ),
        (
            0,
            b"\x00\x03\x00\x01data",
            &["0 error 4 not for a server: it takes RRQ, ACK and ERROR"],
        ),
        (
            2,
            b"\x00\x01a\0octet\0",
            &["2 error 4 not for a server: it takes RRQ, ACK and ERROR"],
        ),
        (0, b"\x00\x05\x00\x00what?\0", &[]),
        (0, b"\x00\x09\x00\x00", &[]),
        (0, b"", &[]),
    ];
    for (local, bytes, want) in table {
        let got = bench(9).get(*local, CLIENT, bytes);
        assert_eq!(got, *want, "{}", bytes.escape_ascii());
    }
    let nobody = SocketAddrV4::new(Ipv4Addr::BROADCAST, 69);
    let rrq = request("a", Mode::Octet, NONE);
    assert!(bench(9).get(0, nobody, &rrq).is_empty());
}

#[test]
fn a_repeated_request_is_no_second_transfer() {
    let mut bench = bench(3000);
    assert_eq!(bench.read("a", WINDOW), ["1 oack windowsize=4"]);
    assert_eq!(bench.read("a", WINDOW), ["1 oack windowsize=4"]);
    assert_eq!(bench.ack(1, 0).len(), 4);
    // A stray copy from the network.
    assert!(bench.read("a", WINDOW).is_empty());
    assert_eq!(bench.ack(1, 4), ["1 data 5 512", "1 data 6 440"]);
    assert_eq!(bench.server.active(), 1);
    // The client was reset: no copy is this late.
    bench.now += Duration::from_secs(3);
    let started_over = bench.read("a", WINDOW);
    assert_eq!(started_over.last().unwrap(), "2 oack windowsize=4");
    assert_eq!(bench.server.active(), 1);
    // Another port is another transfer.
    let other = SocketAddrV4::new(*CLIENT.ip(), 9);
    let got = bench.get(0, other, &request("a", Mode::Octet, NONE));
    assert_eq!(got, ["3 data 1 512 to 192.0.2.7:9"]);
    assert_eq!(bench.server.active(), 2);
}

#[test]
fn transfers_go_round_the_ports_or_stay_on_one() {
    for (ports, want) in [(0, [0, 0, 0]), (2, [1, 2, 1])] {
        let config = Config {
            ports,
            ..Config::default()
        };
        let mut bench = Bench::new(config, "assets/a", 9);
        for port in want {
            assert_eq!(bench.read("a", NONE), [format!("{port} data 1 9")]);
            assert!(bench.ack(port, 1).is_empty());
            assert_eq!(bench.server.active(), 0);
        }
    }
}

#[test]
fn transfers_take_turns() {
    let mut bench = bench(9000);
    let other = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 8), 1);
    let rrq = request("a", Mode::Octet, WINDOW);
    bench.get(0, CLIENT, &rrq);
    bench.get(0, other, &rrq);
    bench.put(1, CLIENT, &ack(0));
    bench.put(2, other, &ack(0));
    let got = bench.sent();
    let ports: Vec<_> = got.iter().map(|packet| &packet[..8]).collect();
    assert_eq!(
        ports,
        [
            "1 data 1", "2 data 1", "1 data 2", "2 data 2", "1 data 3", "2 data 3", "1 data 4",
            "2 data 4"
        ]
    );
}

#[test]
fn pauses_double_and_end() {
    let pauses = [500, 1000, 2000, 4000, 8000, 8000, 6500];
    for options in [NONE, ALL] {
        let mut bench = bench(3000);
        let first = bench.read("a", options);
        for (n, pause) in pauses.iter().enumerate() {
            assert_eq!(bench.wait(), Duration::from_millis(*pause), "{options:?}");
            let sent = bench.sent();
            if n + 1 < pauses.len() {
                assert_eq!(sent, first);
            } else {
                assert_eq!(
                    sent,
                    ["1 error 0 gave up: no answer while sending assets/a"]
                );
            }
        }
        assert_eq!(bench.server.active(), 0);
        assert_eq!(bench.server.next_deadline(), None);
        assert_eq!(bench.events()[0].0, Stage::Failed);
    }
}

/// U-Boot over a bad cable: its last ACK is lost, and it is on to the next file.
#[test]
fn who_asks_for_another_file_has_the_last_one() {
    let missing = |stage| (stage, "assets/a (the last ACK is missing)".to_owned());
    let mut bench = bench(100);
    bench.read("a", WINDOW);
    assert_eq!(bench.ack(1, 0), ["1 data 1 100"]);
    let other_port = SocketAddrV4::new(*CLIENT.ip(), CLIENT.port() + 1);
    let other_file = request("b", Mode::Octet, NONE);
    bench.get(0, other_port, &other_file);
    assert_eq!(bench.events()[0], missing(Stage::File));
    assert_eq!(bench.server.stats().completed, 1);
    // Should it still want the block, it gets it; it is counted once.
    bench.wait();
    assert!(bench.sent().contains(&"1 data 1 100".to_owned()));
    assert!(bench.ack(1, 1).is_empty());
    let told = |events: &[(Stage, String)]| events.iter().filter(|e| e.0 == Stage::File).count();
    assert_eq!(told(&bench.events()), 1);
    assert_eq!(bench.server.stats().completed, 1);
}

#[test]
fn a_lost_last_ack_is_no_failure() {
    let mut bench = bench(100);
    bench.read("a", WINDOW);
    bench.ack(1, 0);
    assert_eq!(bench.vanish(), ["1 data 1 100"]);
    let want = "assets/a (the last ACK is missing)".to_owned();
    assert_eq!(bench.events(), [(Stage::File, want)]);
    assert_eq!(bench.server.stats().failed, 0);
}

#[test]
fn a_quick_client_is_not_kept_waiting_for_a_lost_packet() {
    let mut bench = bench(9000);
    bench.read("a", ALL);
    bench.put(1, CLIENT, &ack(0));
    let lost = bench.sent();
    assert_eq!(bench.wait(), Duration::from_millis(40));
    assert_eq!(bench.sent(), lost);
    assert_eq!(bench.wait(), Duration::from_millis(80));
}

#[test]
fn who_keeps_failing_is_offered_less() {
    let mut bench = bench(9000);
    let asked = Options {
        timeout: None,
        ..ALL
    };
    for want in [
        "oack blksize=1468 tsize=9000 windowsize=16",
        "oack blksize=1468 tsize=9000 windowsize=16",
        "oack blksize=1468 tsize=9000",
        "oack blksize=512 tsize=9000",
        "data 1 512",
    ] {
        let got = bench.read("a", asked);
        assert_eq!(got[0][2..], *want);
        let gave_up = bench.vanish();
        assert!(gave_up[0].contains("gave up"), "{gave_up:?}");
    }
    // Another client does not suffer.
    let other = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 8), 1);
    let got = bench.get(0, other, &request("a", Mode::Octet, asked));
    assert!(got[0].contains("windowsize=16"));
}

#[test]
fn a_full_house_lets_nobody_in_until_somebody_is_silent() {
    let mut bench = bench(9000);
    let peer = |n| SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, n), 1);
    let rrq = request("a", Mode::Octet, NONE);
    for n in 0..8 {
        assert_eq!(bench.get(0, peer(n), &rrq).len(), 1);
        bench.now += Duration::from_millis(10);
    }
    assert!(bench.get(0, peer(8), &rrq).is_empty());
    assert_eq!(bench.server.stats().overloaded, 1);
    bench.now += Duration::from_secs(5);
    let got = bench.get(0, peer(8), &rrq);
    assert!(got.last().unwrap().ends_with("to 192.0.2.8:1"), "{got:?}");
    assert_eq!(bench.server.active(), 8);
    assert_eq!(bench.server.stats().failed, 1);
    // It was the one silent longest.
    let got = bench.get(1, peer(0), &ack(1));
    assert_eq!(
        got,
        ["1 error 5 unknown transfer: ask again on port 69 to 192.0.2.0:1"]
    );
}

#[test]
fn a_file_that_shrinks_ends_with_an_error() {
    let mut bench = bench(0);
    let empty: File = Rc::new([]);
    bench.put(0, CLIENT, &request("a", Mode::Octet, NONE));
    let Some(Action::Open { id, path }) = bench.server.poll(bench.now, &bench.journal) else {
        panic!("nothing to open");
    };
    assert_eq!(path, "assets/a");
    let metadata = ichor_hal::Metadata {
        len: 4000,
        version: 0,
    };
    let opened = Ok((empty, metadata));
    bench.server.opened(id, opened, bench.now, &bench.journal);
    assert_eq!(bench.sent(), ["1 error 0 read error: assets/a"]);
    assert_eq!(bench.server.active(), 0);
    assert_eq!(
        bench.events(),
        [(Stage::Failed, "read error: assets/a".to_owned())]
    );
}

/// An answer to `Open` that comes after the client changed its mind.
#[test]
fn a_late_answer_finds_nobody() {
    let mut bench = bench(9);
    bench.put(0, CLIENT, &request("a", Mode::Octet, NONE));
    let Some(Action::Open { id, .. }) = bench.server.poll(bench.now, &bench.journal) else {
        panic!("nothing to open");
    };
    assert_eq!(bench.read("a", WINDOW), ["2 oack windowsize=4"]);
    let metadata = ichor_hal::Metadata { len: 0, version: 0 };
    let opened = Ok((Rc::from([]), metadata));
    bench.server.opened(id, opened, bench.now, &bench.journal);
    assert!(bench.sent().is_empty());
    assert_eq!(bench.ack(2, 0), ["2 data 1 9"]);
}

#[test]
fn nothing_that_arrives_does_harm() {
    let mut random = FakeEntropy(99);
    let mut bench = bench(3000);
    let seeds: Vec<Vec<u8>> = vec![
        request("a", Mode::Octet, ALL),
        request("assets/a", Mode::Netascii, WINDOW),
        request("b", Mode::Octet, NONE),
        ack(0).to_vec(),
        ack(1).to_vec(),
        ack(4).to_vec(),
        b"\x00\x05\x00\x00gone\0".to_vec(),
        b"\x00\x06blksize\x00512\0".to_vec(),
    ];
    for round in 0..100_000_u32 {
        let pick = random.seed() as usize;
        let mut bytes = seeds[pick % seeds.len()].clone();
        for _ in 0..random.seed() % 4 {
            let at = random.seed() as usize % bytes.len();
            match random.seed() % 4 {
                0 => bytes[at] = random.seed() as u8,
                1 => bytes[at] ^= 1 << (random.seed() % 8),
                2 => bytes.truncate(at.max(1)),
                _ => bytes.insert(at, random.seed() as u8),
            }
        }
        let host = Ipv4Addr::new(192, 0, 2, random.seed() as u8 % 12);
        let from = SocketAddrV4::new(host, random.seed() as u16 % 3);
        bench.put(random.seed() as u8 % 9, from, &bytes);
        if round % 3 == 0 {
            bench.now += Duration::from_millis(random.seed() % 900);
            bench.sent();
        }
    }
    assert!(bench.server.stats().malformed > 0);
    bench.vanish();
    assert_eq!(bench.server.next_deadline(), None);
}

#[test]
fn a_transfer_takes_little_memory() {
    // Of which the path is 136: 1,024 transfers fit in 400 KiB.
    assert!(size_of::<Transfer<()>>() <= 416);
}
