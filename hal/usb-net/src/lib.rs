//! Ethernet over USB: LAN95xx and CDC-ECM behind the `embassy-usb` host traits.
//!
//! Any controller with those traits will do. The bus is looked through, hubs
//! included, for the first Ethernet adapter; what comes of it is one
//! [`Device`] for embassy-net, which stays the same while adapters are pulled
//! and plugged in:
//!
//! ```
//! # use embassy_usb_driver::host::UsbHostController;
//! # use embassy_usb_host::BusState;
//! # use ichor_hal_usb_net::{Buffers, Event};
//! # async fn ethernet<C: UsbHostController<'static>>(
//! #     dwc2: C, buffers: &'static mut Buffers, mac: [u8; 6], log: fn(&Event),
//! # ) {
//! static BUS: BusState = BusState::new();
//!
//! // `buffers` is in a static; `nic` goes to `embassy_net::new`.
//! let (nic, runner) = ichor_hal_usb_net::new(buffers, Some(mac));
//! let counters = runner.counters();
//! // In a task of its own; it never returns.
//! let (mut controller, bus) = embassy_usb_host::bus(dwc2, &BUS);
//! runner.run(&mut controller, &bus, &|event| log(&event)).await
//! # }
//! ```
//!
//! | module | what it does |
//! | --- | --- |
//! | [`Runner`] | device comes, is served, goes; the bus is reset if all else fails |
//! | walk, hub | root device, hubs, ports, enumeration |
//! | [`UsbNic`] | which driver; starts it again when it fails |
//! | pump | frames both ways, the same for every driver |
//! | [`lan95xx`], [`cdc_ecm`] | initialisation, link, framing |
//!
//! It keeps to what the netboot server needs. Not there: pause frames,
//! checksum offload, VLAN tags (a tagged frame of full length is too long),
//! RNDIS and CDC-NCM, more than one adapter at a time.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
// Like those of embassy-usb: used on single-threaded executors.
#![allow(async_fn_in_trait)]

pub mod cdc_ecm;
mod control;
mod counters;
mod descriptors;
mod event;
mod hub;
pub mod lan95xx;
mod nic;
mod pump;
mod runner;
mod walk;

use embassy_net_driver::HardwareAddress;
use embassy_net_driver_channel as channel;

pub use counters::{Counters, Snapshot};
pub use event::{DriverName, Event, Identity, Link, Place, StartError, Why};
pub use nic::{ProbeError, UsbNic};
pub use runner::Runner;

/// Bytes of the longest frame: 1,500 of payload after a header of 14; the FCS
/// stays in the NIC.
pub const FRAME: usize = 1514;

/// Bytes asked for by a bulk IN request of the LAN95xx: its longest burst, 37
/// packets of 512, which its FIFO of 20 KiB can fill. A controller must take
/// requests of this size.
pub const BURST: usize = 37 * 512;

/// Bytes asked for by a bulk IN request of CDC-ECM: one frame and some more,
/// in whole packets of every speed. QEMU's controller handles requests of
/// more than 1,536 bytes at once, and smaller ones packet by packet off a
/// timer.
pub const ECM_REQUEST: usize = 2048;

/// Received frames that wait for the stack. Two bursts of full frames, or one
/// of 24 short ones; while there is no room the NIC's FIFO takes the rest.
pub const RX_QUEUE: usize = 32;

/// Frames of the stack that wait for the NIC: a TCP window's worth (22 full
/// segments are 32 KiB) does not make the stack wait.
pub const TX_QUEUE: usize = 32;

/// Hubs that are followed: the one beside the LAN9514's Ethernet function,
/// and a few that a person may plug in.
pub const HUBS: usize = 4;

/// Last of all device addresses (USB 2.0 §9.4.6).
const LAST_ADDRESS: u8 = 127;

/// Bytes for a configuration descriptor. Adapters have 80 to 150; devices
/// with longer ones (cameras) are of no interest.
const CONFIGURATION: usize = 1024;

/// Room for what is sent for one frame, command words included.
const TX_ROOM: usize = lan95xx::TX_HEADER + FRAME;

/// What a NIC needs of memory, about 117 KiB: for a static.
pub struct Buffers {
    channel: channel::State<FRAME, RX_QUEUE, TX_QUEUE>,
    burst: [u8; BURST],
    configuration: [u8; CONFIGURATION],
    counters: Counters,
}

impl Buffers {
    /// Empty buffers.
    pub const fn new() -> Self {
        Self {
            channel: channel::State::new(),
            burst: [0; BURST],
            configuration: [0; CONFIGURATION],
            counters: Counters::new(),
        }
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// The side of the NIC that embassy-net drives.
pub type Device<'d> = channel::Device<'d, FRAME>;

/// A NIC without hardware yet, and the [`Runner`] that gives it some.
///
/// With `mac` every adapter answers to it: a LAN95xx by its address register,
/// CDC-ECM by being promiscuous if its own address is another. Without, each
/// one's own is used, and a LAN95xx without EEPROM cannot be.
pub fn new(buffers: &mut Buffers, mac: Option<[u8; 6]>) -> (Device<'_>, Runner<'_>) {
    let Buffers {
        channel: state,
        burst,
        configuration,
        counters,
    } = buffers;
    // Until an adapter tells: nobody's, administered locally.
    let first = HardwareAddress::Ethernet(mac.unwrap_or([2, 0, 0, 0, 0, 0]));
    let (stack, device) = channel::new(state, first);
    (
        device,
        Runner {
            stack,
            burst,
            configuration,
            counters,
            mac,
        },
    )
}

/// `mac` if it can be one station's address.
fn station_address(mac: [u8; 6]) -> Option<[u8; 6]> {
    (mac[0] & 1 == 0 && mac != [0; 6]).then_some(mac)
}
