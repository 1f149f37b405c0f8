//! Blocks of transfers that many clients have under way at once: an ACK in,
//! DATA out.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::task::Poll;

use embassy_time::Instant;
use ichor::journal::Journal;
use ichor::tftp::wire::{HEADER_LEN, Mode, Options, Repr, Request};
use ichor::tftp::{Action, Config, LocalPort, Server};
use ichor_hal::Metadata;

use super::Turn;

const CLIENTS: u16 = 64;
const BLKSIZE: usize = 1468;
/// More than anybody waits for to be transferred.
const FILE_LEN: u64 = 1 << 50;
const NOW: Instant = Instant::from_secs(1);

/// A client and the last block that it has.
struct Client {
    address: SocketAddrV4,
    /// The server's port for it.
    local: LocalPort,
    block: u16,
}

struct Bench {
    server: Box<Server<(), 128>>,
    journal: Journal<256, 128>,
    buffer: [u8; 2048],
}

/// One client's ACK and the next block, in lock-step.
pub(super) fn block() -> Turn {
    transfers(1)
}

/// One client's ACK and the next sixteen blocks.
pub(super) fn window() -> Turn {
    transfers(16)
}

fn transfers(windowsize: u16) -> Turn {
    let mut bench = Bench {
        server: Box::new(Server::new(Config::default())),
        journal: Journal::new(),
        buffer: [0; 2048],
    };
    let mut clients: Vec<Client> = (0..CLIENTS).map(|n| bench.client(n, windowsize)).collect();
    let mut next = 0;
    Box::new(move || {
        let client = &mut clients[next];
        next = (next + 1) % usize::from(CLIENTS);
        let ack = Repr::Ack {
            block: client.block,
        };
        let (blocks, bytes, _) = bench.send(client.address, client.local, &ack);
        let sent = (blocks, bytes);
        assert_eq!(
            sent,
            (windowsize, (HEADER_LEN + BLKSIZE) * usize::from(blocks))
        );
        client.block = client.block.wrapping_add(blocks);
    })
}

impl Bench {
    /// A client whose transfer is open: the OACK went out to it.
    fn client(&mut self, number: u16, windowsize: u16) -> Client {
        let [high, low] = number.to_be_bytes();
        let address = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2 + high, low), 40_000 + number);
        let request = Repr::Read(Request {
            filename: "ipxe-arm64.efi",
            mode: Mode::Octet,
            options: Options {
                blksize: Some(BLKSIZE as u16),
                windowsize: (windowsize > 1).then_some(windowsize),
                ..Options::default()
            },
        });
        let (packets, _, local) = self.send(address, LocalPort::REQUESTS, &request);
        assert_eq!(packets, 1, "an OACK");
        Client {
            address,
            local,
            block: 0,
        }
    }

    /// Hands a packet to the server and carries out all it wants then. Returns
    /// how many packets went out, their bytes, and the port of the last.
    fn send(
        &mut self,
        from: SocketAddrV4,
        local: LocalPort,
        packet: &Repr<'_>,
    ) -> (u16, usize, LocalPort) {
        let len = packet.emit(&mut self.buffer).expect("a packet is short");
        let packet = &self.buffer[..len];
        self.server
            .on_datagram(NOW, local, from, packet, &self.journal);
        let (mut packets, mut bytes, mut port) = (0, 0, local);
        while let Some(action) = self.server.poll(NOW, &self.journal) {
            match action {
                Action::Open { id, .. } => {
                    let metadata = Metadata {
                        len: FILE_LEN,
                        version: 0,
                    };
                    self.server
                        .opened(id, Ok(((), metadata)), NOW, &self.journal);
                }
                Action::Send(mut transmit) => {
                    port = transmit.local;
                    packets += 1;
                    let Poll::Ready(len) =
                        self.server
                            .emit(&mut transmit, &mut self.buffer, |(), _, buf| {
                                buf.copy_from_slice(&CONTENT[..buf.len()]);
                                Poll::Ready(Ok(buf.len()))
                            })
                    else {
                        panic!("the file is always at hand");
                    };
                    bytes += len;
                }
            }
        }
        (packets, bytes, port)
    }
}

/// What the file holds, again and again.
static CONTENT: [u8; BLKSIZE] = [0x5a; BLKSIZE];
