//! Whatever comes in by UDP: the parser, and a server that it is fed to.
//!
//! The input is a row of datagrams: port of ours, port of theirs, tenths of a
//! second since the one before, length, bytes.
#![no_main]

use core::net::{Ipv4Addr, SocketAddrV4};
use core::task::Poll;

use embassy_time::{Duration, Instant};
use ichor::journal::Journal;
use ichor::tftp::wire::{Packet, Repr};
use ichor::tftp::{Action, Config, LocalPort, Server};
use ichor_hal::{FileError, Metadata};
use libfuzzer_sys::fuzz_target;

/// Length of every file there is.
const FILE_LEN: u64 = 5_000;

fuzz_target!(|input: &[u8]| {
    if let Ok(packet) = Packet::new_checked(input)
        && let Ok(repr) = Repr::parse(&packet)
    {
        let mut buffer = vec![0; input.len() + 64];
        if let Ok(len) = repr.emit(&mut buffer) {
            let again = Packet::new_checked(&buffer[..len]).expect("a packet that was written");
            assert_eq!(Repr::parse(&again), Ok(repr));
        }
    }

    let journal = Journal::<16, 4>::new();
    let mut server = Server::<(), 4>::new(Config::default());
    let mut now = Instant::from_secs(1);
    let mut rest = input;
    while let [local, peer, pause, len, more @ ..] = rest {
        let (bytes, more) = more.split_at(more.len().min(usize::from(*len)));
        rest = more;
        now += Duration::from_millis(u64::from(*pause) * 100);
        let from = SocketAddrV4::new(Ipv4Addr::new(192, 0, 2, peer >> 4), u16::from(peer & 15));
        server.on_datagram(now, LocalPort(local % 9), from, bytes, &journal);
        let mut buffer = [0; 1500];
        while let Some(action) = server.poll(now, &journal) {
            match action {
                Action::Open { id, path } => {
                    assert!(path.starts_with("assets/") && !path.split('/').any(|p| p == ".."));
                    let found = Metadata {
                        len: FILE_LEN,
                        version: 0,
                    };
                    let file = if path.len() % 4 == 0 {
                        Err(FileError::NotFound)
                    } else {
                        Ok(((), found))
                    };
                    server.opened(id, file, now, &journal);
                }
                Action::Send(mut transmit) => {
                    let buffer = &mut buffer[..transmit.len];
                    let written = server.emit(&mut transmit, buffer, |(), offset, buf| {
                        let left = FILE_LEN.saturating_sub(offset) as usize;
                        let n = left.min(buf.len());
                        buf[..n].fill(b'\n');
                        Poll::Ready(Ok(n))
                    });
                    assert!(matches!(written, Poll::Ready(len) if len <= transmit.len));
                }
            }
        }
    }
});
