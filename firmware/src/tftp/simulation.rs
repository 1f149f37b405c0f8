//! A client that is strict about the RFCs, and a link that loses, doubles and
//! reorders packets: every combination of options must deliver the file.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::rc::Rc;
use std::task::Poll;

use core::net::{Ipv4Addr, SocketAddrV4};
use embassy_time::{Duration, Instant};
use ichor_hal::{Entropy, FileError, Metadata, fake::FakeEntropy};

use super::wire::{Mode, Options, Packet, Repr, Request};
use super::{Action, Config, LocalPort, Server};
use crate::journal::{Journal, Record};

pub(super) type File = Rc<[u8]>;
pub(super) type TestServer = Server<File, 8>;
pub(super) type TestJournal = Journal<64, 4>;

pub(super) const CLIENT: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, 7), 2070);

/// Chances of mishaps per packet, in percent.
#[derive(Debug, Clone, Copy, Default)]
struct Faults {
    lost: u64,
    doubled: u64,
    late: u64,
}

/// A packet on its way: arrival, order, and what.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct InFlight {
    at: u64,
    seq: u64,
    to_server: bool,
    local: u8,
    bytes: Vec<u8>,
}

struct Link {
    faults: Faults,
    random: FakeEntropy,
    queue: BinaryHeap<Reverse<InFlight>>,
    seq: u64,
}

impl Link {
    fn chance(&mut self, percent: u64) -> bool {
        self.random.seed() % 100 < percent
    }

    fn send(&mut self, now: Instant, to_server: bool, local: LocalPort, bytes: &[u8]) {
        if self.chance(self.faults.lost) {
            return;
        }
        let copies = 1 + u64::from(self.chance(self.faults.doubled));
        for _ in 0..copies {
            let late = self.chance(self.faults.late);
            let micros = 500 + if late { self.random.seed() % 5_000 } else { 0 };
            self.seq += 1;
            self.queue.push(Reverse(InFlight {
                at: (now + Duration::from_micros(micros)).as_micros(),
                seq: self.seq,
                to_server,
                local: local.0,
                bytes: bytes.to_vec(),
            }));
        }
    }
}

/// How a client answers a block that is not the one it waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Complains {
    /// With an ACK each time, as EDK2 does.
    Always,
    /// With an ACK once per gap.
    Once,
}

struct Client {
    request: Vec<u8>,
    asked: Options,
    complains: Complains,
    patience: Duration,

    server: Option<LocalPort>,
    agreed: Options,
    received: Vec<u8>,
    /// Blocks received in order.
    blocks: u64,
    since_ack: u16,
    complained: bool,
    done: bool,
    error: Option<String>,
    deadline: Instant,
}

impl Client {
    fn new(name: &str, mode: Mode, asked: Options, complains: Complains) -> Self {
        Self {
            request: request(name, mode, asked),
            asked,
            complains,
            patience: Duration::from_millis(1_700),
            server: None,
            agreed: Options::default(),
            received: Vec::new(),
            blocks: 0,
            since_ack: 0,
            complained: false,
            done: false,
            error: None,
            deadline: Instant::MIN,
        }
    }

    fn ack(&mut self, now: Instant, link: &mut Link) {
        let mut bytes = [0; 4];
        let block = self.blocks as u16;
        Repr::Ack { block }.emit(&mut bytes).unwrap();
        self.since_ack = 0;
        self.deadline = now + self.patience;
        link.send(now, true, self.server.unwrap(), &bytes);
    }

    fn on_timeout(&mut self, now: Instant, link: &mut Link) {
        if self.server.is_some() {
            self.ack(now, link);
        } else {
            self.deadline = now + self.patience;
            link.send(now, true, LocalPort::REQUESTS, &self.request);
        }
    }

    fn on_packet(&mut self, now: Instant, local: LocalPort, bytes: &[u8], link: &mut Link) {
        if *self.server.get_or_insert(local) != local {
            return;
        }
        match Repr::parse(&Packet::new_checked(bytes).unwrap()).unwrap() {
            Repr::OptionAck(options) => {
                if self.blocks == 0 {
                    self.check(options);
                    self.agreed = options;
                    self.ack(now, link);
                }
            }
            Repr::Data { block, payload } => self.on_data(now, block, payload, link),
            Repr::Error { code, message } => {
                if !self.done {
                    self.error = Some(format!("{}: {message}", code.0));
                }
            }
            other => panic!("no packet for a client: {other:?}"),
        }
    }

    /// Nothing was granted that was not asked for.
    fn check(&self, got: Options) {
        let asked = self.asked;
        assert!(got.blksize.is_none_or(|n| n <= asked.blksize.unwrap()));
        assert!(
            got.windowsize
                .is_none_or(|n| n <= asked.windowsize.unwrap())
        );
        assert!(got.timeout.is_none() || got.timeout == asked.timeout);
        assert!(got.tsize.is_none() || asked.tsize.is_some());
        assert!(!got.is_empty());
    }

    fn on_data(&mut self, now: Instant, block: u16, payload: &[u8], link: &mut Link) {
        if self.done || block != (self.blocks + 1) as u16 {
            if self.complains == Complains::Always || !self.complained {
                self.complained = true;
                self.ack(now, link);
            }
            return;
        }
        self.blocks += 1;
        self.complained = false;
        self.since_ack += 1;
        self.deadline = now + self.patience;
        self.received.extend_from_slice(payload);
        self.done = payload.len() < usize::from(self.agreed.blksize.unwrap_or(512));
        if self.done || self.since_ack >= self.agreed.windowsize.unwrap_or(1) {
            self.ack(now, link);
        }
    }
}

pub(super) fn request(filename: &str, mode: Mode, options: Options) -> Vec<u8> {
    let mut bytes = vec![0; 300];
    let request = Request {
        filename,
        mode,
        options,
    };
    let len = Repr::Read(request).emit(&mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

/// Carries out everything the server wants now. `files` are by path; reads
/// are short or late if `random` says so.
pub(super) fn drive<J: Record>(
    server: &mut TestServer,
    now: Instant,
    journal: &J,
    file: Option<(&str, &File)>,
    (random, buffer): (&mut FakeEntropy, &mut [u8]),
    mut sent: impl FnMut(LocalPort, SocketAddrV4, &[u8]),
) {
    for _ in 0..1_000_000 {
        match server.poll(now, journal) {
            None => return,
            Some(Action::Open { id, path }) => {
                let found = file.filter(|(name, _)| *name == path);
                let result = found
                    .map(|(_, file)| {
                        let len = file.len() as u64;
                        (Rc::clone(file), Metadata { len, version: 0 })
                    })
                    .ok_or(FileError::NotFound);
                server.opened(id, result, now, journal);
            }
            Some(Action::Send(mut transmit)) => {
                let len = loop {
                    let buffer = &mut buffer[..transmit.len];
                    let written = server.emit(&mut transmit, buffer, |file, offset, buf| {
                        match random.seed() % 8 {
                            0 => return Poll::Pending,
                            1 => (),
                            _ => return Poll::Ready(Ok(read(file, offset, buf))),
                        }
                        let half = buf.len().div_ceil(2);
                        Poll::Ready(Ok(read(file, offset, &mut buf[..half])))
                    });
                    if let Poll::Ready(len) = written {
                        break len;
                    }
                };
                if len > 0 {
                    sent(transmit.local, transmit.to, &buffer[..len]);
                }
            }
        }
    }
    panic!("poll never comes to an end");
}

fn read(file: &File, offset: u64, buf: &mut [u8]) -> usize {
    let rest = &file[(offset as usize).min(file.len())..];
    let n = rest.len().min(buf.len());
    buf[..n].copy_from_slice(&rest[..n]);
    n
}

/// What a simulated transfer came to.
struct Outcome {
    received: Vec<u8>,
    error: Option<String>,
    /// DATA packets that the server sent.
    data: u64,
    took: Duration,
    stats: super::Stats,
}

fn simulate(config: Config, faults: Faults, seed: u64, mut client: Client, file: &File) -> Outcome {
    let mut server = TestServer::new(config);
    let journal = TestJournal::new();
    let mut link = Link {
        faults,
        random: FakeEntropy(seed),
        queue: BinaryHeap::new(),
        seq: 0,
    };
    let mut random = FakeEntropy(!seed);
    let mut buffer = vec![0; 0x1_0000];
    let start = Instant::from_secs(1);
    let mut now = start;
    let mut data = 0;
    client.on_timeout(now, &mut link);
    for _ in 0..10_000_000 {
        if client.error.is_some() || client.done && server.active() == 0 {
            break;
        }
        let arrival = link.queue.peek().map(|p| Instant::from_micros(p.0.at));
        // A client that has it all only answers.
        let patience = (!client.done).then_some(client.deadline);
        let next = [arrival, server.next_deadline(), patience];
        now = next.into_iter().flatten().min().unwrap().max(now);
        if arrival == Some(now) {
            let Reverse(packet) = link.queue.pop().unwrap();
            let local = LocalPort(packet.local);
            if packet.to_server {
                server.on_datagram(now, local, CLIENT, &packet.bytes, &journal);
            } else {
                client.on_packet(now, local, &packet.bytes, &mut link);
            }
        } else if patience == Some(now) {
            client.on_timeout(now, &mut link);
        }
        let named = ("assets/file", file);
        drive(
            &mut server,
            now,
            &journal,
            Some(named),
            (&mut random, &mut buffer),
            |local, to, bytes| {
                assert_eq!(to, CLIENT);
                data += u64::from(bytes[1] == 3);
                link.send(now, false, local, bytes);
            },
        );
    }
    Outcome {
        received: client.received,
        error: client.error,
        data,
        took: now - start,
        stats: server.stats(),
    }
}

fn text(len: usize, seed: u64) -> File {
    let mut random = FakeEntropy(seed);
    (0..len)
        .map(|_| match random.seed() % 8 {
            0 => b'\n',
            1 => b'\r',
            n => b'a' + n as u8,
        })
        .collect()
}

fn netascii(file: &[u8]) -> Vec<u8> {
    file.iter()
        .flat_map(|byte| match byte {
            b'\n' => b"\r\n".to_vec(),
            b'\r' => b"\r\0".to_vec(),
            other => vec![*other],
        })
        .collect()
}

fn expected(mode: Mode, file: &File) -> Vec<u8> {
    match mode {
        Mode::Netascii => netascii(file),
        _ => file.to_vec(),
    }
}

const FAULTS: [Faults; 5] = [
    Faults {
        lost: 0,
        doubled: 0,
        late: 0,
    },
    Faults {
        lost: 5,
        doubled: 0,
        late: 0,
    },
    Faults {
        lost: 0,
        doubled: 30,
        late: 0,
    },
    Faults {
        lost: 0,
        doubled: 0,
        late: 20,
    },
    Faults {
        lost: 10,
        doubled: 10,
        late: 10,
    },
];

#[test]
fn all_options_over_all_faults() {
    let mut seed = 0;
    for mode in [Mode::Octet, Mode::Netascii] {
        for blksize in [None, Some(8), Some(512), Some(1468), Some(65464)] {
            for windowsize in [None, Some(1), Some(3), Some(16), Some(64), Some(65535)] {
                for (timeout, tsize) in [(None, None), (Some(1), Some(0))] {
                    for faults in FAULTS {
                        seed += 1;
                        let asked = Options {
                            blksize,
                            timeout,
                            tsize,
                            windowsize,
                        };
                        let config = Config {
                            ports: (seed % 2) as u8 * 4,
                            max_blksize: if seed % 3 == 0 { 65464 } else { 1468 },
                            ..Config::default()
                        };
                        let complains = if seed % 5 < 3 {
                            Complains::Always
                        } else {
                            Complains::Once
                        };
                        let block = usize::from(blksize.unwrap_or(512).min(1468));
                        let len = block * 20 + [0, 1, block - 1][seed as usize % 3];
                        let file = text(len, seed);
                        let client = Client::new("file", mode, asked, complains);
                        let got = simulate(config, faults, seed, client, &file);
                        let case = format!("{mode:?} {asked:?} {faults:?} seed {seed}");
                        assert_eq!(got.error, None, "{case}");
                        assert!(got.received == expected(mode, &file), "{case}");
                        assert!(got.took < Duration::from_secs(90), "{case}: {}", got.took);
                        if faults.lost + faults.doubled + faults.late == 0 {
                            assert_eq!(got.stats.resent, 0, "{case}");
                        }
                    }
                }
            }
        }
    }
}

#[test]
fn block_numbers_roll_over_under_loss() {
    for (mode, windowsize) in [(Mode::Octet, Some(64)), (Mode::Netascii, Some(16))] {
        let file = text(70_000 * 8 + 3, 1);
        let asked = Options {
            blksize: Some(8),
            windowsize,
            ..Options::default()
        };
        let faults = Faults {
            lost: 1,
            doubled: 1,
            late: 1,
        };
        let client = Client::new("file", mode, asked, Complains::Always);
        let got = simulate(Config::default(), faults, 7, client, &file);
        assert_eq!(got.error, None);
        assert!(got.received == expected(mode, &file));
    }
}

/// The Sorcerer's Apprentice: doubled packets must not breed.
#[test]
fn doubled_packets_do_not_double_the_traffic() {
    for windowsize in [None, Some(4), Some(16)] {
        for complains in [Complains::Always, Complains::Once] {
            let file = text(512 * 2_000, 1);
            let asked = Options {
                windowsize,
                ..Options::default()
            };
            let faults = Faults {
                doubled: 5,
                ..Faults::default()
            };
            let client = Client::new("file", Mode::Octet, asked, complains);
            let got = simulate(Config::default(), faults, 3, client, &file);
            assert!(got.received == *file);
            let most = if windowsize.is_none() { 2_001 } else { 3_001 };
            assert!(
                got.data <= most,
                "window {windowsize:?}, {complains:?}: {} packets",
                got.data
            );
        }
    }
}

#[test]
fn a_file_that_is_not_there() {
    let client = Client::new(
        "missing",
        Mode::Octet,
        Options::default(),
        Complains::Always,
    );
    let got = simulate(Config::default(), Faults::default(), 1, client, &text(1, 1));
    let want = "1: not found: assets/missing - put it in the data folder's assets/";
    assert_eq!(got.error.as_deref(), Some(want));
    assert_eq!(got.stats.refused, 1);
}
