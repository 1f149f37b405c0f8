//! The TFTP server's sockets.

use core::future::poll_fn;
use core::task::Poll;

use embassy_futures::select::select;
use embassy_net::IpAddress;
use embassy_net::udp::UdpSocket;
use embassy_time::{Instant, Timer};
use ichor_hal::{FileError, Files};

use crate::journal::Record;
use crate::tftp::{Action, LocalPort, Server};
use crate::update::is_private;

/// Datagrams sent before ACKs get a look again: two of the largest windows.
const BURST: usize = 128;

/// Datagrams of a window that go out before the others are read, so that the
/// client has something to do meanwhile.
const FIRST: usize = 4;

/// Serves TFTP for ever: `sockets[0]` is bound to port 69, the others to
/// ports for transfers. `buffer` holds one datagram.
pub async fn serve<F: Files, const TRANSFERS: usize>(
    server: &mut Server<F::File, TRANSFERS>,
    sockets: &mut [UdpSocket<'_>],
    files: &F,
    buffer: &mut [u8],
    journal: &impl Record,
) -> ! {
    loop {
        receive_all(server, sockets, journal).await;
        let mut idle = false;
        for n in 0..BURST {
            if n == FIRST {
                // The stack's task sends what there is; it may be polled after
                // this one.
                embassy_futures::yield_now().await;
                embassy_futures::yield_now().await;
            }
            let Some(action) = server.poll(Instant::now(), journal) else {
                idle = true;
                break;
            };
            match action {
                Action::Open { id, path } => {
                    let result = match path {
                        path if is_private(path) => Err(FileError::NotFound),
                        path => files.open(path).await,
                    };
                    server.opened(id, result, Instant::now(), journal);
                }
                Action::Send(mut transmit) => {
                    let len = poll_fn(|cx| {
                        server.emit(&mut transmit, buffer, |file, offset, bytes| {
                            files.poll_read_at(cx, file, offset, bytes)
                        })
                    })
                    .await;
                    if len == 0 {
                        continue;
                    }
                    let (Some(socket), Some(datagram)) = (
                        sockets.get(usize::from(transmit.local.0)),
                        buffer.get(..len),
                    ) else {
                        continue;
                    };
                    if socket.send_to(datagram, transmit.to).await.is_err() {
                        // No route back: the transfer times out by itself.
                        debug!("tftp: no route to {}", transmit.to);
                    }
                }
            }
        }
        if idle {
            wait(sockets, server.next_deadline()).await;
        }
    }
}

/// Hands everything that has arrived to the server.
async fn receive_all<F, const TRANSFERS: usize>(
    server: &mut Server<F, TRANSFERS>,
    sockets: &mut [UdpSocket<'_>],
    journal: &impl Record,
) {
    for (port, socket) in sockets.iter_mut().enumerate() {
        let local = LocalPort(port as u8);
        loop {
            let received = socket.recv_from_with(|datagram, from| {
                let IpAddress::Ipv4(ip) = from.endpoint.addr;
                let from = core::net::SocketAddrV4::new(ip, from.endpoint.port);
                server.on_datagram(Instant::now(), local, from, datagram, journal);
            });
            if embassy_futures::poll_once(received).is_pending() {
                break;
            }
        }
    }
}

/// Sleeps until a datagram is there or the deadline has come.
async fn wait(sockets: &[UdpSocket<'_>], deadline: Option<Instant>) {
    let readable = poll_fn(|cx| {
        let ready = sockets
            .iter()
            .filter(|socket| socket.poll_recv_ready(cx).is_ready())
            .count();
        if ready > 0 {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    });
    match deadline {
        Some(at) => {
            select(readable, Timer::at(at)).await;
        }
        None => readable.await,
    }
}
