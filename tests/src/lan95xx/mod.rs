//! The Ethernet function of a LAN9514 (0424:ec00) as a USB device at a socket.
//!
//! QEMU has no such chip. Plugged into an emulated board by `usb-redir` and
//! into the lab's switch by a port, this one moves frames between both. It
//! tells what a driver does wrong ([`Adapter::violations`]), and does wrong
//! itself what it is told to ([`Adapter::inject`]).
//!
//! It is proven against Linux's own `smsc95xx` (`tests/lan95xx_linux.rs`),
//! and proves our own driver (`tests/cm3_lan95xx.rs`).
//! Not modelled: the chip's hub, EEPROM, wake-up, statistics, soft reset,
//! pause frames, and the time that frames take. In [`BulkIn::Buffered`] QEMU
//! takes frames ahead of the driver, so the receive FIFO never runs full.

mod adapter;
mod chip;
pub mod descriptors;
mod fault;
mod phy;
pub mod registers;
mod rx;
mod tx;
mod violation;

use std::time::Duration;

pub use adapter::Adapter;
pub use chip::{Chip, Wire};
pub use fault::{Fault, FrameError};
pub use phy::Mode;
pub use violation::Violation;

/// How received frames reach the driver through QEMU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkIn {
    /// While `HW_CFG.BIR` is set they go to QEMU as they come, in packets. It
    /// puts them together to what the driver asks for, a multiple of 512, and
    /// NAKs while a transfer is not complete.
    Buffered,
    /// Each is an answer to a request of the driver, which stays open until
    /// there is a frame. Exact for every size, but QEMU aborts if the driver
    /// halts the channel and uses it again.
    Requested,
}

/// What a chip is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Options {
    /// How received frames reach the driver.
    pub bulk_in: BulkIn,
    /// How long a negotiation takes; on real cables one to three seconds.
    pub negotiation: Duration,
    /// What the partner at the other end of the cable can do: the bits of its
    /// base page (IEEE 802.3 §28.2.1.2).
    pub partner: u16,
}

impl Default for Options {
    /// For any driver, with a partner that can do everything.
    fn default() -> Self {
        Self {
            bulk_in: BulkIn::Buffered,
            negotiation: Duration::from_millis(500),
            partner: 0x45E1,
        }
    }
}

/// What has moved through a chip.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames that went to the driver's side.
    pub rx_frames: u64,
    /// Frames that the filter, or a receiver that is off, kept out.
    pub rx_unheard: u64,
    /// Frames lost for want of room, or discarded for errors.
    pub rx_dropped: u64,
    /// Bursts read.
    pub rx_bursts: u64,
    /// Most frames in one burst.
    pub rx_most: usize,
    /// Frames that the driver has sent.
    pub tx_frames: u64,
    /// Those among them that the chip has put a checksum in.
    pub tx_checksums: u64,
    /// Frames that the driver sent without a link.
    pub tx_dropped: u64,
    /// Packets of the interrupt endpoint.
    pub interrupts: u64,
}
