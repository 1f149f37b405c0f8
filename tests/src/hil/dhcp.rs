//! A DHCP client that knows to the millisecond when it got an OFFER and an ACK.
//!
//! udhcpc and dhclient say only at their end what they got: too late to cut the
//! power right after an ACK.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4, UdpSocket};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use dhcproto::v4::{DhcpOption, Flags, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable as _, Decoder, Encodable as _};

use super::bench::Stop;
use super::station::Mac;
use crate::netns::Netns;

/// Pause between two attempts: short, since it is what a measured time may be
/// too long by.
const PAUSE: Duration = Duration::from_millis(100);
/// Largest DHCP message that is read.
const MESSAGE_LEN: usize = 1500;

/// A lease that was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bound {
    /// Who has it.
    pub(super) mac: Mac,
    /// The address.
    pub(super) address: Ipv4Addr,
    /// Length of its subnet's prefix.
    pub(super) prefix: u8,
    /// The server.
    pub(super) server: Ipv4Addr,
}

/// An OFFER.
#[derive(Debug, Clone)]
pub(super) struct Offered {
    /// When it came.
    pub(super) at: Instant,
    /// The address offered.
    pub(super) address: Ipv4Addr,
    /// The server.
    pub(super) server: Ipv4Addr,
}

/// What a client looks for.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    /// Only this server's offers count.
    pub(super) server: Option<Ipv4Addr>,
    /// The address that it would like to have.
    pub(super) address: Option<Ipv4Addr>,
    /// How long it asks.
    pub(super) patience: Duration,
    /// Ends it early.
    pub(super) stop: &'a Stop,
}

/// Asks until there is an OFFER, and takes no lease.
pub(super) fn first_offer(netns: &Netns, mac: Mac, wanted: &Wanted<'_>) -> Result<Offered> {
    inside(netns, || {
        let (offer, at) = Client::new(mac)?.offer(wanted)?;
        Ok(Offered {
            at,
            address: offer.yiaddr(),
            server: server_of(&offer)?,
        })
    })
}

/// Gets a lease. It returns as soon as the ACK was read.
pub(super) fn lease(netns: &Netns, mac: Mac, wanted: &Wanted<'_>) -> Result<Bound> {
    inside(netns, || Client::new(mac)?.lease(wanted))
}

/// Tells the server that the client is done with its address, which the
/// interface must have.
pub(super) fn release(netns: &Netns, bound: &Bound) -> Result<()> {
    inside(netns, || {
        let mut message = message(bound.mac, xid(), MessageType::Release);
        message
            .set_flags(Flags::default())
            .set_ciaddr(bound.address);
        let server = DhcpOption::ServerIdentifier(bound.server);
        message.opts_mut().insert(server);
        let socket = UdpSocket::bind(SocketAddrV4::new(bound.address, 68))?;
        socket.send_to(&message.to_vec()?, SocketAddrV4::new(bound.server, 67))?;
        // Nobody answers. The kernel may have to ask for the server's hardware
        // address first, and the next client is another station.
        thread::sleep(PAUSE);
        Ok(())
    })
}

#[cfg(target_os = "linux")]
fn inside<T: Send>(netns: &Netns, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    netns.inside(work)
}

#[cfg(not(target_os = "linux"))]
fn inside<T: Send>(_: &Netns, _: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    bail!("network namespaces need Linux")
}

/// A client in the namespace of its thread.
struct Client {
    socket: UdpSocket,
    mac: Mac,
}

impl Client {
    fn new(mac: Mac) -> Result<Self> {
        let socket = UdpSocket::bind(SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68))
            .context("cannot open the DHCP client's port")?;
        socket.set_broadcast(true)?;
        socket.set_read_timeout(Some(PAUSE))?;
        Ok(Self { socket, mac })
    }

    fn lease(&self, wanted: &Wanted<'_>) -> Result<Bound> {
        let deadline = Instant::now() + wanted.patience;
        loop {
            let (offer, _) = self.offer(&Wanted {
                patience: deadline.saturating_duration_since(Instant::now()),
                ..*wanted
            })?;
            let server = server_of(&offer)?;
            let mut request = message(self.mac, offer.xid(), MessageType::Request);
            let options = request.opts_mut();
            options.insert(DhcpOption::ServerIdentifier(server));
            options.insert(DhcpOption::RequestedIpAddress(offer.yiaddr()));
            // As often as a real client, before it starts over.
            for _ in 0..20 {
                wanted.stop.check()?;
                self.send(&request);
                let Some((answer, _)) = self.answer(offer.xid(), Some(server)) else {
                    continue;
                };
                match kind(&answer) {
                    Some(MessageType::Ack) => {
                        return Ok(Bound {
                            mac: self.mac,
                            address: answer.yiaddr(),
                            prefix: prefix_of(&answer)?,
                            server,
                        });
                    }
                    Some(MessageType::Nak) => break,
                    // An OFFER for a DISCOVER that was repeated.
                    _ => {}
                }
            }
            ensure!(
                Instant::now() < deadline,
                "{server} offered {} and never acknowledged it",
                offer.yiaddr()
            );
        }
    }

    fn offer(&self, wanted: &Wanted<'_>) -> Result<(Message, Instant)> {
        let deadline = Instant::now() + wanted.patience;
        let xid = xid();
        let mut discover = message(self.mac, xid, MessageType::Discover);
        if let Some(address) = wanted.address {
            let option = DhcpOption::RequestedIpAddress(address);
            discover.opts_mut().insert(option);
        }
        let mut others = None;
        loop {
            wanted.stop.check()?;
            self.send(&discover);
            if let Some((answer, at)) = self.answer(xid, None)
                && kind(&answer) == Some(MessageType::Offer)
            {
                let server = server_of(&answer)?;
                if wanted.server.is_none_or(|wanted| wanted == server) {
                    return Ok((answer, at));
                }
                others = Some(server);
            }
            if Instant::now() > deadline {
                let seconds = wanted.patience.as_secs_f64();
                match others {
                    Some(other) => bail!(
                        "no OFFER within {seconds:.1} s, but one of {other}: is that the board?"
                    ),
                    None => bail!("no OFFER within {seconds:.1} s"),
                }
            }
        }
    }

    /// Sends it if there is a way; a cable without signal is none.
    fn send(&self, message: &Message) {
        let Ok(bytes) = message.to_vec() else { return };
        let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
        let _ = self.socket.send_to(&bytes, everybody);
    }

    /// The next answer to this transaction within [`PAUSE`], and when it came.
    fn answer(&self, xid: u32, server: Option<Ipv4Addr>) -> Option<(Message, Instant)> {
        let deadline = Instant::now() + PAUSE;
        let mut buf = [0; MESSAGE_LEN];
        while Instant::now() < deadline {
            let len = match self.socket.recv(&mut buf) {
                Ok(len) => len,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return None,
                // The cable was pulled: not at once again.
                Err(_) => {
                    thread::sleep(Duration::from_millis(10));
                    continue;
                }
            };
            let at = Instant::now();
            let Ok(message) = Message::decode(&mut Decoder::new(&buf[..len])) else {
                continue;
            };
            let ours = message.opcode() == Opcode::BootReply && message.xid() == xid;
            let its = server.is_none_or(|server| server_of(&message).is_ok_and(|it| it == server));
            if ours && its {
                return Some((message, at));
            }
        }
        None
    }
}

/// A message of a client without an address, to be answered by broadcast.
fn message(mac: Mac, xid: u32, kind: MessageType) -> Message {
    let mut message = Message::default();
    message
        .set_opcode(Opcode::BootRequest)
        .set_xid(xid)
        .set_chaddr(&mac.0)
        .set_flags(Flags::default().set_broadcast());
    let options = message.opts_mut();
    options.insert(DhcpOption::MessageType(kind));
    options.insert(DhcpOption::ParameterRequestList(vec![
        OptionCode::SubnetMask,
        OptionCode::Router,
    ]));
    message
}

/// A number that no other transaction of this run has.
fn xid() -> u32 {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let next = NEXT.fetch_add(1, Ordering::Relaxed);
    std::process::id().rotate_left(16).wrapping_add(next)
}

fn kind(message: &Message) -> Option<MessageType> {
    message.opts().msg_type()
}

fn server_of(message: &Message) -> Result<Ipv4Addr> {
    match message.opts().get(OptionCode::ServerIdentifier) {
        Some(DhcpOption::ServerIdentifier(server)) => Ok(*server),
        _ => bail!("an answer without the server's identifier (option 54)"),
    }
}

fn prefix_of(message: &Message) -> Result<u8> {
    let Some(DhcpOption::SubnetMask(mask)) = message.opts().get(OptionCode::SubnetMask) else {
        bail!("an ACK without a subnet mask (option 1), which was asked for");
    };
    prefix_len(*mask)
}

/// How many ones a mask begins with.
pub(super) fn prefix_len(mask: Ipv4Addr) -> Result<u8> {
    let bits = mask.to_bits();
    let ones = bits.leading_ones();
    ensure!(
        bits.count_ones() == ones,
        "{mask} is no subnet mask (RFC 950)"
    );
    u8::try_from(ones).context("a mask has 32 bits")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn masks_are_read_and_holes_refused() {
        for (mask, want) in [
            ([255, 255, 255, 0], Some(24)),
            ([255, 255, 252, 0], Some(22)),
            ([0, 0, 0, 0], Some(0)),
            ([255, 255, 255, 255], Some(32)),
            ([255, 0, 255, 0], None),
        ] {
            assert_eq!(prefix_len(mask.into()).ok(), want, "{mask:?}");
        }
    }
}
