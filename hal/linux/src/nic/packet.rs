//! An AF_PACKET socket: the stack beside the kernel's own on one interface.
//!
//! One `recvmmsg` takes up to [`BATCH`] frames and one `sendmmsg` sends as
//! many. TCP is sent in large segments that the kernel cuts up, and so are runs
//! of UDP datagrams: see [`offload`](super::offload) and [`run`](super::run).

use std::io::{self, IoSlice};
use std::task::Context;

use embassy_net_driver::{Capabilities, Checksum, Driver, HardwareAddress, LinkState};
use embassy_time::{Duration, Instant};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, MMsgHdr, SendAncillaryBuffer, SendFlags, SocketFlags, SocketType,
};

use super::bpf;
use super::frames::{FrameQueue, RxFrame, TxFrame};
use super::link::Link;
use super::offload::{self, ETHERNET, HEADER, LARGE_MTU};
use super::run::{self, Run};
use super::{Admission, Burst, OpenError};
use crate::{Reactor, Source, sys};

/// Messages per system call.
const BATCH: usize = 32;

/// Pieces that the messages of one system call are gathered from: a frame each,
/// or the headers of a run and each payload in it.
const PIECES: usize = 4 * BATCH;

/// Room for one received frame: 64 KiB as segmentation offload makes them at
/// most, and its headers.
const SLOT: usize = HEADER + ETHERNET + 64 * 1024;

/// Bytes queued before they are handed to the kernel in the midst of a burst.
const WRITE_BUFFER: usize = 1024 * 1024;

/// What the kernel keeps for the stack while it is busy.
const KERNEL_RECEIVE_BUFFER: usize = 8 * 1024 * 1024;

/// What the kernel may have on its way out: about 400 full frames, which is
/// less than the queue of an interface (1,000).
const KERNEL_SEND_BUFFER: usize = 1024 * 1024;

/// The group that machines look for IPv6 routers in (RFC 4291 §2.7.1), as an
/// Ethernet address (RFC 2464 §7).
const ALL_ROUTERS: [u8; 6] = [0x33, 0x33, 0, 0, 0, 2];

/// Pause when the interface's queue is full, which cannot be polled for.
const RETRY: Duration = Duration::from_micros(100);

/// A NIC on an interface of this machine. Needs `CAP_NET_RAW` to open.
///
/// The stack uses the interface's own hardware address, so that this works
/// where a second one would not: on Wi-Fi, and on a cloud's virtual card. It
/// has an IP address of its own there, or shares the kernel's (see
/// [`HostShare`](crate::HostShare)).
///
/// With an own address, note:
/// - The machine itself cannot reach that address by this interface: what the
///   kernel sends does not come back in.
/// - The machine's firewall does not apply: the stack sees frames before it.
/// - If the machine forwards packets (`net.ipv4.ip_forward = 1`, as Docker
///   sets it), the kernel tries to forward what is meant for the stack.
///   `ip route add blackhole ADDRESS` keeps it from that.
pub struct PacketNic {
    socket: Source,
    link: Link,
    /// The interface's number that the socket is bound to.
    bound: u32,
    rx: Received,
    tx: FrameQueue,
    mac: [u8; 6],
    mtu: usize,
    burst: Burst,
    /// Whether the kernel takes runs of datagrams, until it says otherwise.
    cuts_datagrams: bool,
}

/// The frames that the last system call brought.
struct Received {
    buffer: Box<[u8]>,
    lengths: [usize; BATCH],
    next: usize,
    count: usize,
    /// There were fewer than asked for.
    drained: bool,
}

impl PacketNic {
    /// Opens a NIC on `interface`. It sees ARP and IPv4 until
    /// [`admit`](Self::admit) says more closely what it wants.
    pub fn open(interface: &str, reactor: &Reactor) -> Result<Self, OpenError> {
        let link = Link::open(interface, reactor)?;
        let (mac, mtu) = (link.mac()?, link.mtu()?);
        let doing = || format!("opening a packet socket on {interface}");
        let socket = rustix::net::socket_with(
            AddressFamily::PACKET,
            SocketType::RAW,
            SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
            // No protocol: nothing comes in before the filter is there.
            None,
        )
        .map_err(|errno| match errno {
            Errno::PERM | Errno::ACCESS => OpenError::NoPermission {
                capability: "CAP_NET_RAW",
            },
            errno => OpenError::errno(doing())(errno),
        })?;
        sys::set_option(&socket, libc::SOL_PACKET, libc::PACKET_VNET_HDR, 1)
            .map_err(OpenError::io(doing()))?;
        // Since Linux 4.20. The filter says it again.
        let _ = sys::set_option(&socket, libc::SOL_PACKET, libc::PACKET_IGNORE_OUTGOING, 1);
        // PACKET_QDISC_BYPASS stays off: without a queue, a burst would be
        // lost instead of waiting for the card.
        //
        // Larger than the system's limit if we may, else what it allows.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, KERNEL_RECEIVE_BUFFER);
        let _ =
            rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, KERNEL_RECEIVE_BUFFER);
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, KERNEL_SEND_BUFFER);
        let _ =
            rustix::net::sockopt::set_socket_send_buffer_size_force(&socket, KERNEL_SEND_BUFFER);
        sys::attach_filter(&socket, &bpf::admit(&Admission::default()))
            .map_err(OpenError::io(doing()))?;
        let bound = link.index().map_err(OpenError::io(doing()))?;
        sys::bind_packet(&socket, bound).map_err(OpenError::io(doing()))?;
        // Not every interface filters groups; iPXE waits longer if this fails.
        let _ = sys::join_group(&socket, bound, ALL_ROUTERS);
        Ok(Self {
            socket: reactor.register(socket).map_err(OpenError::io(doing()))?,
            link,
            bound,
            rx: Received {
                buffer: vec![0; BATCH * SLOT].into(),
                lengths: [0; BATCH],
                next: 0,
                count: 0,
                drained: false,
            },
            tx: FrameQueue::new(WRITE_BUFFER, HEADER, ETHERNET + LARGE_MTU),
            mac,
            mtu,
            burst: Burst::default(),
            cuts_datagrams: true,
        })
    }

    /// Has the kernel drop what the stack does not answer for.
    pub fn admit(&self, admission: &Admission) -> io::Result<()> {
        if let (Some(own), None) = (admission.address, &admission.shared)
            && self.link.kernel_forwards()
        {
            log::warn!(
                "this machine forwards packets, and would do so with those for {own}: keep it from that with `ip route add blackhole {own}`"
            );
        }
        sys::attach_filter(&self.socket, &bpf::admit(admission))
    }

    /// The interface's MTU. The stack is told a larger one.
    pub fn interface_mtu(&self) -> usize {
        self.mtu
    }

    /// Finds the next frame that the stack can use: its place in the buffer.
    fn next_frame(&mut self, cx: &Context<'_>) -> Option<std::ops::Range<usize>> {
        loop {
            while self.rx.next < self.rx.count {
                let slot = self.rx.next;
                self.rx.next += 1;
                let (start, length) = (slot * SLOT, self.rx.lengths[slot]);
                let packet = &mut self.rx.buffer[start..start + length];
                if let Some((header, frame)) = packet.split_first_chunk_mut::<HEADER>()
                    && offload::receive(header, frame, self.mtu)
                {
                    return Some(start + HEADER..start + length);
                }
            }
            if self.rx.drained || self.socket.awaits_readable() {
                self.rx.drained = false;
                self.socket.wake_on_readable(cx);
                return None;
            }
            let rx = &mut self.rx;
            (rx.next, rx.count) = (0, 0);
            match sys::receive_batch(&self.socket, &mut rx.buffer, SLOT, &mut rx.lengths) {
                Ok(count) => {
                    rx.count = count;
                    rx.drained = count < BATCH;
                }
                Err(Errno::INTR) => {}
                // Nothing there, or the interface went down: `Link` tells.
                Err(_) => rx.drained = true,
            }
        }
    }

    /// Hands what is queued to the kernel. What it does not take stays, and
    /// the task is woken when it may take more.
    fn flush(&mut self, cx: &Context<'_>) {
        if self.tx.first().is_some_and(run::is_datagram) {
            // TFTP, where a client says that it is ready for more. TCP has more
            // under way when an answer comes.
            self.socket.expect_answer();
        }
        while !self.tx.is_empty() {
            match self.send_batch() {
                Ok(sent) => self.tx.consume_frames(sent.max(1)),
                Err(Errno::INTR) => {}
                Err(Errno::INVAL) if self.cuts_datagrams => {
                    log::debug!("datagrams go out one by one: runs need Linux 6.2");
                    self.cuts_datagrams = false;
                }
                Err(Errno::WOULDBLOCK) => return self.socket.wake_on_writable(cx),
                Err(Errno::NOBUFS) => {
                    let at = Instant::now() + RETRY;
                    return embassy_time_driver::schedule_wake(at.as_ticks(), cx.waker());
                }
                Err(error) => {
                    // Down, gone, or a frame it does not take: as if lost.
                    log::debug!("a frame was not sent: {error}");
                    self.tx.consume_frames(1);
                }
            }
        }
    }

    /// Sends the frames at the front of the queue, and returns how many the
    /// kernel took.
    fn send_batch(&mut self) -> Result<usize, Errno> {
        let mut runs: heapless::Vec<Run, BATCH> = heapless::Vec::new();
        let mut slices: heapless::Vec<IoSlice<'_>, PIECES> = heapless::Vec::new();
        let mut no_control: [SendAncillaryBuffer<'_, '_, '_>; BATCH] = Default::default();
        let mut messages: heapless::Vec<MMsgHdr<'_>, BATCH> = heapless::Vec::new();

        let (mut frames, mut room) = (self.tx.frames(), PIECES);
        while room > 0 && !runs.is_full() {
            let limit = if self.cuts_datagrams { room - 1 } else { 1 };
            let Some(run) = Run::first(frames.clone(), limit) else {
                break;
            };
            frames.nth(run.frames - 1);
            room -= run.pieces();
            // Not full.
            let _ = runs.push(run);
        }
        let mut frames = self.tx.frames();
        for run in &runs {
            // Room for all these pieces was counted.
            let payload_from = run.headers().map_or(0, |headers| {
                let _ = slices.push(IoSlice::new(headers));
                headers.len()
            });
            for frame in frames.by_ref().take(run.frames) {
                let _ = slices.push(IoSlice::new(&frame[payload_from..]));
            }
        }
        let mut rest = &slices[..];
        for (run, control) in runs.iter().zip(&mut no_control) {
            let (pieces, others) = rest.split_at(run.pieces());
            rest = others;
            let _ = messages.push(MMsgHdr::new(pieces, control));
        }
        let sent = rustix::net::sendmmsg(&self.socket, &mut messages, SendFlags::DONTWAIT)?;
        Ok(runs.iter().take(sent).map(|run| run.frames).sum())
    }

    fn has_room(&mut self, cx: &Context<'_>) -> bool {
        if !self.tx.has_room() {
            self.flush(cx);
        }
        self.tx.has_room()
    }
}

impl Driver for PacketNic {
    type RxToken<'a> = RxFrame<'a>;
    type TxToken<'a> = TxFrame<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(RxFrame<'_>, TxFrame<'_>)> {
        if !self.has_room(cx) || self.burst.is_over(cx) {
            return None;
        }
        let place = self.next_frame(cx)?;
        Some((
            RxFrame(&mut self.rx.buffer[place]),
            TxFrame::offloaded(&mut self.tx, self.mtu),
        ))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<TxFrame<'_>> {
        self.has_room(cx)
            .then_some(TxFrame::offloaded(&mut self.tx, self.mtu))
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        self.flush(cx);
        self.burst.end();
        if self.link.changed(cx)
            && let Ok(index) = self.link.index()
            && index != self.bound
        {
            // The interface was removed and made again.
            match sys::bind_packet(&self.socket, index) {
                Ok(()) => {
                    self.bound = index;
                    let _ = sys::join_group(&self.socket, index, ALL_ROUTERS);
                }
                Err(error) => log::error!("binding to the new interface: {error}"),
            }
        }
        self.link.state()
    }

    fn capabilities(&self) -> Capabilities {
        offloaded_capabilities()
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.mac)
    }
}

/// Large frames, and checksums left to the kernel.
pub(super) fn offloaded_capabilities() -> Capabilities {
    let mut capabilities = Capabilities::default();
    capabilities.max_transmission_unit = ETHERNET + LARGE_MTU;
    capabilities.checksum.tcp = Checksum::Rx;
    capabilities.checksum.udp = Checksum::Rx;
    capabilities
}
