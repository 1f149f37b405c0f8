//! A pair of unix datagram sockets, one frame per datagram, as QEMU's
//! `-netdev dgram` uses them.

use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};
use embassy_time::{Duration, Instant};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketAddrUnix};

use super::frames::{FrameQueue, MAX_WIRE_FRAME, RxFrame, TxFrame};
use super::{Burst, ETHERNET_FRAME, OpenError, derived_mac, ethernet_capabilities};
use crate::{Reactor, Source};

/// Bytes queued before the stack has to wait.
const WRITE_BUFFER: usize = 128 * 1024;

/// Pause before trying again what the peer had no room for: an unconnected
/// datagram socket cannot be polled for that.
const RETRY: Duration = Duration::from_micros(100);

/// One end of a wire made of datagrams. It cannot see whether the other end
/// is there, so the link is always up.
pub struct DgramWire {
    local: PathBuf,
    remote: SocketAddrUnix,
    socket: Source,
    frame: Box<[u8]>,
    tx: FrameQueue,
    mac: [u8; 6],
    burst: Burst,
}

impl DgramWire {
    /// Binds `local` and exchanges frames with whoever is bound to `remote`.
    /// Without `mac` the address is derived from `local`.
    pub fn open(
        local: &Path,
        remote: &Path,
        mac: Option<[u8; 6]>,
        reactor: &Reactor,
    ) -> Result<Self, OpenError> {
        let doing = || format!("binding {}", local.display());
        let probe = UnixDatagram::unbound().map_err(OpenError::io(doing()))?;
        if probe.connect(local).is_ok() {
            return Err(OpenError::WireInUse { path: local.into() });
        }
        super::wire::remove_dead_socket(local)?;
        let socket = UnixDatagram::bind(local).map_err(OpenError::io(doing()))?;
        socket
            .set_nonblocking(true)
            .map_err(OpenError::io(doing()))?;
        Ok(Self {
            local: local.into(),
            remote: SocketAddrUnix::new(remote)
                .map_err(OpenError::errno(format!("naming {}", remote.display())))?,
            socket: reactor.register(socket).map_err(OpenError::io(doing()))?,
            frame: vec![0; MAX_WIRE_FRAME].into(),
            tx: FrameQueue::new(WRITE_BUFFER, 0, ETHERNET_FRAME),
            mac: mac.unwrap_or_else(|| derived_mac(&local.to_string_lossy())),
            burst: Burst::default(),
        })
    }

    fn flush(&mut self, cx: &Context<'_>) {
        while let Some(frame) = self.tx.first() {
            match rustix::net::sendto(&self.socket, frame, SendFlags::DONTWAIT, &self.remote) {
                Err(Errno::INTR) => continue,
                Err(Errno::WOULDBLOCK | Errno::NOBUFS) => {
                    let at = Instant::now() + RETRY;
                    embassy_time_driver::schedule_wake(at.as_ticks(), cx.waker());
                    return;
                }
                // Nobody at the other end: the frame is lost, as on a cable.
                Ok(_) | Err(_) => self.tx.consume_frames(1),
            }
        }
    }

    fn has_room(&mut self, cx: &Context<'_>) -> bool {
        if !self.tx.has_room() {
            self.flush(cx);
        }
        self.tx.has_room()
    }
}

impl Driver for DgramWire {
    type RxToken<'a> = RxFrame<'a>;
    type TxToken<'a> = TxFrame<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(RxFrame<'_>, TxFrame<'_>)> {
        if !self.has_room(cx) || self.burst.is_over(cx) {
            return None;
        }
        if self.socket.awaits_readable() {
            self.socket.wake_on_readable(cx);
            return None;
        }
        match rustix::net::recv(&self.socket, &mut self.frame[..], RecvFlags::DONTWAIT) {
            Ok((n, _)) => Some((RxFrame(&mut self.frame[..n]), TxFrame::plain(&mut self.tx))),
            // Whatever it was, the next datagram is another one.
            Err(_) => {
                self.socket.wake_on_readable(cx);
                None
            }
        }
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<TxFrame<'_>> {
        self.has_room(cx).then_some(TxFrame::plain(&mut self.tx))
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        self.flush(cx);
        self.burst.end();
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        ethernet_capabilities()
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.mac)
    }
}

impl Drop for DgramWire {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.local);
    }
}
