//! A client on a port of the switch that fetches files by HTTP.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Error, Result, bail, ensure};
use smoltcp::iface::{Config, Interface, SocketSet, SocketStorage};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp::{Socket, SocketBuffer, State};
use smoltcp::time::Instant as StackInstant;
use smoltcp::wire::{EthernetAddress, IpCidr};

use crate::switch::Port;

const HTTP: u16 = 8080;
const RECEIVE: usize = 32 * 1024;
/// How long the port is listened to before timers are looked at again.
const LOOK: Duration = Duration::from_millis(5);

/// Fetches `path` from `server` and gives its body. `progress` hears how much
/// of it has come whenever there is more.
///
/// # Errors
/// It does not come whole within `patience`, or `progress` fails.
pub fn fetch(
    port: &Port,
    (mac, address): ([u8; 6], Ipv4Addr),
    (server, path): (Ipv4Addr, &str),
    patience: Duration,
    mut progress: impl FnMut(usize) -> Result<()>,
) -> Result<Vec<u8>> {
    let begun = Instant::now();
    let now = || StackInstant::from_millis(begun.elapsed().as_millis() as i64);
    let mut wire = Wire(port, None);
    // Every connection from a port of its own.
    let own_port = 49_152 + (random() % 16_000) as u16;
    let mut config = Config::new(EthernetAddress(mac).into());
    config.random_seed = random();
    let mut stack = Interface::new(config, &mut wire, now());
    stack.update_ip_addrs(|addresses| {
        // There is room: it is the first.
        let _ = addresses.push(IpCidr::new(address.into(), 24));
    });
    let (mut receive, mut send) = ([0; RECEIVE], [0; 1024]);
    let mut storage = [SocketStorage::EMPTY];
    let mut sockets = SocketSet::new(&mut storage[..]);
    let tcp = sockets.add(Socket::new(
        SocketBuffer::new(&mut receive[..]),
        SocketBuffer::new(&mut send[..]),
    ));
    let socket = sockets.get_mut::<Socket<'_>>(tcp);
    socket
        .connect(stack.context(), (server, HTTP), own_port)
        .map_err(Error::msg)?;
    let mut request = Some(format!(
        "GET /{path} HTTP/1.1\r\nHost: {server}:{HTTP}\r\nConnection: close\r\n\r\n"
    ));

    let mut answer = Answer::default();
    while !answer.is_whole()? {
        ensure!(
            begun.elapsed() < patience,
            "{} of {path} came in {patience:?}",
            answer.body().len()
        );
        stack.poll(now(), &mut wire, &mut sockets);
        let socket = sockets.get_mut::<Socket<'_>>(tcp);
        if socket.may_send()
            && let Some(request) = request.take()
        {
            socket.send_slice(request.as_bytes()).map_err(Error::msg)?;
        }
        let before = answer.body().len();
        while socket.can_recv() {
            let taken = socket.recv(|bytes| {
                answer.0.extend_from_slice(bytes);
                (bytes.len(), ())
            });
            taken.map_err(Error::msg)?;
        }
        let after = answer.body().len();
        if after > before {
            progress(after)?;
        }
        if socket.state() == State::Closed {
            ensure!(
                answer.is_whole()?,
                "the connection ended after {after} bytes of {path}"
            );
        }
        stack.poll(now(), &mut wire, &mut sockets);
        wire.1 = port.recv(LOOK);
    }
    // The server hears that it is over.
    sockets.get_mut::<Socket<'_>>(tcp).abort();
    stack.poll(now(), &mut wire, &mut sockets);
    Ok(answer.body().to_vec())
}

/// A number that differs from call to call.
fn random() -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0)
}

/// What came through the connection.
#[derive(Default)]
struct Answer(Vec<u8>);

impl Answer {
    /// Head and body, once the head is there.
    fn parts(&self) -> Option<(&[u8], &[u8])> {
        let end = self.0.windows(4).position(|bytes| bytes == b"\r\n\r\n")?;
        Some((&self.0[..end], &self.0[end + 4..]))
    }

    fn body(&self) -> &[u8] {
        self.parts().map_or(&[], |(_, body)| body)
    }

    fn is_whole(&self) -> Result<bool> {
        let Some((head, body)) = self.parts() else {
            return Ok(false);
        };
        let head = String::from_utf8_lossy(head);
        if !head.starts_with("HTTP/1.1 200 ") {
            bail!("the server answers {head}");
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length")
                .then(|| value.trim().parse::<usize>())
        });
        Ok(body.len() >= length.context("no length in the answer")??)
    }
}

/// The port as the stack's NIC, and the frame that came last.
struct Wire<'a>(&'a Port, Option<Vec<u8>>);

impl Device for Wire<'_> {
    type RxToken<'a>
        = Incoming
    where
        Self: 'a;
    type TxToken<'a>
        = Outgoing<'a>
    where
        Self: 'a;

    fn receive(&mut self, _: StackInstant) -> Option<(Incoming, Outgoing<'_>)> {
        let frame = self.1.take().or_else(|| self.0.recv(Duration::ZERO))?;
        Some((Incoming(frame), Outgoing(self.0)))
    }

    fn transmit(&mut self, _: StackInstant) -> Option<Outgoing<'_>> {
        Some(Outgoing(self.0))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

struct Incoming(Vec<u8>);

impl RxToken for Incoming {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct Outgoing<'a>(&'a Port);

impl TxToken for Outgoing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut frame = vec![0; len];
        let result = write(&mut frame);
        self.0.send(&frame);
        result
    }
}
