//! A unix socket that carries whole Ethernet frames, as QEMU's
//! `-netdev stream` does: an Ethernet cable that needs no privileges.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};
use embassy_time::{Duration, Instant};
use rustix::io::Errno;

use super::frames::{Deframer, FrameQueue, MAX_WIRE_FRAME, RxFrame, TxFrame};
use super::{Burst, ETHERNET_FRAME, OpenError, derived_mac, ethernet_capabilities};
use crate::{Reactor, Source};

/// Bytes read ahead: one system call for up to 170 full frames.
const READ_BUFFER: usize = 256 * 1024;
const _: () = assert!(READ_BUFFER > 2 * MAX_WIRE_FRAME);

/// Bytes queued before the stack has to wait; about what a socket takes.
const WRITE_BUFFER: usize = 128 * 1024;

/// First and longest pause between attempts to reach a peer that went away.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// How often two processes that start at once may get in each other's way.
const START_ATTEMPTS: u32 = 3;

/// One end of a wire.
///
/// If something listens at the path, this end connects to it, and again
/// whenever it comes back after going away. If nothing does, this end listens
/// and serves one peer at a time. Without a peer the link is down.
pub struct Wire {
    path: PathBuf,
    reactor: Reactor,
    role: Role,
    peer: Option<Peer>,
    rx: Deframer,
    tx: FrameQueue,
    mac: [u8; 6],
    burst: Burst,
}

enum Role {
    Listens(Source),
    Connects { at: Instant, pause: Duration },
}

struct Peer {
    stream: Source,
    /// The last read emptied the socket.
    drained: bool,
}

impl Wire {
    /// Opens the wire at `path`. Without `mac` the address is derived from
    /// the path.
    pub fn open(path: &Path, mac: Option<[u8; 6]>, reactor: &Reactor) -> Result<Self, OpenError> {
        let (role, peer) = connect_or_listen(path, reactor)?;
        let mac = mac.unwrap_or_else(|| match role {
            Role::Listens(_) => derived_mac(&format!("listens at {}", path.display())),
            Role::Connects { .. } => derived_mac(&format!("connects to {}", path.display())),
        });
        Ok(Self {
            path: path.to_owned(),
            reactor: *reactor,
            role,
            peer,
            rx: Deframer::new(READ_BUFFER),
            tx: FrameQueue::new(WRITE_BUFFER, 0, ETHERNET_FRAME),
            mac,
            burst: Burst::default(),
        })
    }

    /// Looks for a peer unless there is one. Returns whether there is one; if
    /// not, the task is woken when it is worth another look.
    fn find_peer(&mut self, cx: &Context<'_>) -> bool {
        if self.peer.is_some() {
            return true;
        }
        let found = match &mut self.role {
            Role::Listens(listener) => if listener.awaits_readable() {
                Err(Errno::WOULDBLOCK)
            } else {
                rustix::net::accept(&*listener)
            }
            .inspect_err(|_| listener.wake_on_readable(cx)),
            Role::Connects { at, pause } => if Instant::now() < *at {
                Err(Errno::WOULDBLOCK)
            } else {
                *at = Instant::now() + *pause;
                *pause = (*pause * 2).min(RETRY.1);
                connect(&self.path)
            }
            .inspect_err(|_| embassy_time_driver::schedule_wake(at.as_ticks(), cx.waker())),
        };
        let Ok(found) = found else { return false };
        match Peer::new(found, &self.reactor) {
            Ok(peer) => {
                log::info!("wire {}: peer connected", self.path.display());
                self.peer = Some(peer);
                if let Role::Connects { pause, .. } = &mut self.role {
                    *pause = RETRY.0;
                }
                true
            }
            Err(error) => {
                log::warn!("wire {}: {error}", self.path.display());
                cx.waker().wake_by_ref();
                false
            }
        }
    }

    fn lose_peer(&mut self, why: &dyn std::fmt::Display) {
        log::info!("wire {}: peer gone: {why}", self.path.display());
        self.peer = None;
        self.rx.clear();
        self.tx.clear();
        if let Role::Connects { at, .. } = &mut self.role {
            *at = Instant::now() + RETRY.0;
        }
    }

    /// Reads until a whole frame is there, and returns its length.
    fn fill(&mut self, cx: &Context<'_>) -> Option<usize> {
        loop {
            if !self.find_peer(cx) {
                return None;
            }
            match self.rx.next_len() {
                Ok(Some(len)) => return Some(len),
                Ok(None) => {}
                Err(bad) => {
                    self.lose_peer(&bad);
                    continue;
                }
            }
            let peer = self.peer.as_mut()?;
            if peer.drained || peer.stream.awaits_readable() {
                peer.drained = false;
                peer.stream.wake_on_readable(cx);
                return None;
            }
            let spare = self.rx.spare();
            let room = spare.len();
            match rustix::io::read(&peer.stream, spare) {
                Ok(0) => self.lose_peer(&"closed by the other end"),
                Ok(n) => {
                    peer.drained = n < room;
                    self.rx.filled(n);
                }
                Err(Errno::WOULDBLOCK) => peer.drained = true,
                Err(Errno::INTR) => {}
                Err(error) => self.lose_peer(&error),
            }
        }
    }

    /// Hands what is queued to the kernel. What it does not take stays, and
    /// the task is woken when it may take more.
    fn flush(&mut self, cx: &Context<'_>) {
        while !self.tx.is_empty() {
            let Some(peer) = &self.peer else {
                // An unplugged cable.
                self.tx.clear();
                return;
            };
            match rustix::io::write(&peer.stream, self.tx.bytes()) {
                Ok(n) => self.tx.consume(n),
                Err(Errno::WOULDBLOCK) => return peer.stream.wake_on_writable(cx),
                Err(Errno::INTR) => {}
                Err(error) => {
                    self.lose_peer(&error);
                    // Go and look for another one.
                    cx.waker().wake_by_ref();
                }
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

impl Driver for Wire {
    type RxToken<'a> = RxFrame<'a>;
    type TxToken<'a> = TxFrame<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(RxFrame<'_>, TxFrame<'_>)> {
        if !self.has_room(cx) {
            return None;
        }
        let len = self.fill(cx)?;
        if self.burst.is_over(cx) {
            return None;
        }
        Some((RxFrame(self.rx.take(len)), TxFrame::plain(&mut self.tx)))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<TxFrame<'_>> {
        self.has_room(cx).then_some(TxFrame::plain(&mut self.tx))
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        self.flush(cx);
        self.burst.end();
        match self.peer {
            Some(_) => LinkState::Up,
            None => LinkState::Down,
        }
    }

    fn capabilities(&self) -> Capabilities {
        ethernet_capabilities()
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.mac)
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Role::Listens(_) = self.role {
            // Gone already, or no longer ours to remove: either is fine.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

impl Peer {
    fn new(stream: OwnedFd, reactor: &Reactor) -> io::Result<Self> {
        rustix::io::ioctl_fionbio(&stream, true)?;
        Ok(Self {
            stream: reactor.register(stream)?,
            drained: false,
        })
    }
}

fn connect(path: &Path) -> Result<OwnedFd, Errno> {
    // Connecting to a unix socket does not wait for the other end to accept.
    UnixStream::connect(path)
        .map(OwnedFd::from)
        .map_err(|e| e.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error))
}

fn connect_or_listen(path: &Path, reactor: &Reactor) -> Result<(Role, Option<Peer>), OpenError> {
    let mut attempt = 0;
    loop {
        attempt += 1;
        match connect(path) {
            Ok(stream) => {
                let peer = Peer::new(stream, reactor)
                    .map_err(OpenError::io(format!("watching {}", path.display())))?;
                let role = Role::Connects {
                    at: Instant::now(),
                    pause: RETRY.0,
                };
                return Ok((role, Some(peer)));
            }
            Err(Errno::NOENT) => {}
            Err(Errno::CONNREFUSED) => remove_dead_socket(path)?,
            Err(error) => {
                return Err(OpenError::errno(format!(
                    "connecting to {}",
                    path.display()
                ))(error));
            }
        }
        match UnixListener::bind(path) {
            Ok(listener) => {
                let doing = || format!("listening at {}", path.display());
                listener
                    .set_nonblocking(true)
                    .map_err(OpenError::io(doing()))?;
                let listener = reactor.register(listener).map_err(OpenError::io(doing()))?;
                return Ok((Role::Listens(listener), None));
            }
            // Another process was faster: connect to it.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && attempt < START_ATTEMPTS => {}
            Err(error) => {
                return Err(OpenError::io(format!("listening at {}", path.display()))(
                    error,
                ));
            }
        }
    }
}

/// Removes a socket that a process left behind when it died, but nothing else.
pub(super) fn remove_dead_socket(path: &Path) -> Result<(), OpenError> {
    let Ok(meta) = std::fs::symlink_metadata(path) else {
        return Ok(());
    };
    if !meta.file_type().is_socket() {
        return Err(OpenError::NotASocket { path: path.into() });
    }
    std::fs::remove_file(path).map_err(OpenError::io(format!(
        "removing the dead socket {}",
        path.display()
    )))
}
