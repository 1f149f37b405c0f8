//! A TAP device: an interface whose other end is the stack.

use std::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};
use rustix::io::Errno;

use super::frames::{FrameQueue, RxFrame, TxFrame};
use super::link::Link;
use super::offload::{self, ETHERNET, HEADER, LARGE_MTU};
use super::packet::offloaded_capabilities;
use super::{Burst, OpenError, derived_mac};
use crate::{Reactor, Source, sys};

/// Room for one received frame: 64 KiB as segmentation offload makes them at
/// most, and its headers.
const FRAME: usize = HEADER + ETHERNET + 64 * 1024;

/// Bytes queued before they are handed to the kernel in the midst of a burst.
const WRITE_BUFFER: usize = 1024 * 1024;

/// `TUN_F_CSUM | TUN_F_TSO4`: the kernel may leave checksums open and TCP
/// segments whole (linux/if_tun.h).
const OFFLOAD: u32 = 0x01 | 0x02;

/// The stack's end of a TAP device. Needs `CAP_NET_ADMIN`, unless the device
/// is there already and belongs to the user.
pub struct TapNic {
    device: Source,
    link: Link,
    frame: Box<[u8]>,
    tx: FrameQueue,
    mac: [u8; 6],
    mtu: usize,
    burst: Burst,
}

impl TapNic {
    /// Attaches to the device `name`, which is made if it is not there, and
    /// goes away with the process then. Without `mac` the stack's address is
    /// derived from the name.
    pub fn open(name: &str, mac: Option<[u8; 6]>, reactor: &Reactor) -> Result<Self, OpenError> {
        let doing = || format!("attaching to TAP device {name}");
        let no_permission = |errno: Errno| match errno {
            Errno::PERM | Errno::ACCESS => OpenError::NoPermission {
                capability: "CAP_NET_ADMIN",
            },
            Errno::BUSY => OpenError::TapInUse { name: name.into() },
            errno => OpenError::errno(doing())(errno),
        };
        let device = sys::open_tap(name, libc::IFF_VNET_HDR).map_err(|error| {
            no_permission(
                error
                    .raw_os_error()
                    .map_or(Errno::IO, Errno::from_raw_os_error),
            )
        })?;
        sys::set_tap_offload(&device, OFFLOAD).map_err(OpenError::io(doing()))?;
        let mut link = Link::open(name, reactor)?;
        let mtu = link.mtu()?;
        if let Err(error) = link.set_up() {
            log::warn!("cannot bring {name} up ({error}): do it with `ip link set {name} up`");
        }
        Ok(Self {
            device: reactor.register(device).map_err(OpenError::io(doing()))?,
            link,
            frame: vec![0; FRAME].into(),
            tx: FrameQueue::new(WRITE_BUFFER, HEADER, ETHERNET + LARGE_MTU),
            mac: mac.unwrap_or_else(|| derived_mac(name)),
            mtu,
            burst: Burst::default(),
        })
    }

    /// The device's MTU. The stack is told a larger one.
    pub fn interface_mtu(&self) -> usize {
        self.mtu
    }

    /// Reads the next frame that the stack can use; returns its length with
    /// the offload header.
    fn next_frame(&mut self, cx: &Context<'_>) -> Option<usize> {
        loop {
            if self.device.awaits_readable() {
                self.device.wake_on_readable(cx);
                return None;
            }
            match rustix::io::read(&self.device, &mut self.frame[..]) {
                Ok(n) => {
                    let packet = &mut self.frame[..n];
                    if let Some((header, frame)) = packet.split_first_chunk_mut::<HEADER>()
                        && offload::receive(header, frame, self.mtu)
                    {
                        return Some(n);
                    }
                }
                Err(Errno::INTR) => {}
                Err(_) => self.device.wake_on_readable(cx),
            }
        }
    }

    fn flush(&mut self, cx: &Context<'_>) {
        while let Some(frame) = self.tx.first() {
            match rustix::io::write(&self.device, frame) {
                Err(Errno::INTR) => {}
                Err(Errno::WOULDBLOCK) => return self.device.wake_on_writable(cx),
                // An interface that is down takes nothing: as if lost.
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

impl Driver for TapNic {
    type RxToken<'a> = RxFrame<'a>;
    type TxToken<'a> = TxFrame<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(RxFrame<'_>, TxFrame<'_>)> {
        if !self.has_room(cx) || self.burst.is_over(cx) {
            return None;
        }
        let length = self.next_frame(cx)?;
        Some((
            RxFrame(&mut self.frame[HEADER..length]),
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
        self.link.changed(cx);
        self.link.state()
    }

    fn capabilities(&self) -> Capabilities {
        offloaded_capabilities()
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.mac)
    }
}
