//! The DWC2 USB host controller, behind the `embassy-usb-driver` host traits.
//!
//! [`Host`] is the hardware, in a static: tasks and the interrupt handler share
//! it. [`Controller`] starts it and watches the root port; its [`Allocator`]
//! makes [`Pipe`]s, which move data:
//!
//! ```text
//! Pipe ─ transfer (packets, toggles, retries, splits) ─ Channel ─ registers
//!                                                          │
//!                                        pool: 8 channels, each with its buffer
//! ```
//!
//! Data always passes through a channel's own DMA buffer and is copied, so a
//! transfer may be dropped at any time: the controller never writes into a
//! caller's memory. Everything that waits for the hardware has a time limit,
//! except what by its nature may last for ever: a bulk transfer that the device
//! refuses, an interrupt endpoint with nothing to say, an empty port.
//!
//! Not done: isochronous transfers, more than one transaction per microframe,
//! descriptor DMA, suspend, being a device.

mod channel;
mod counts;
#[cfg(test)]
mod fake;
mod host;
mod kind;
mod pipe;
mod pool;
mod port;
mod regs;
mod start;
#[cfg(test)]
mod tests;
mod transfer;

pub use counts::Counts;
pub use host::Host;
pub use kind::Kind;
pub use pipe::{Allocator, Pipe};
pub use port::Controller;

/// Host channels of the BCM2837's DWC2.
pub const CHANNELS: usize = 8;

/// DMA memory that each channel should have: the largest burst of a LAN95xx at
/// high speed (37 packets of 512 bytes), rounded up.
pub const CHANNEL_BYTES: usize = 20 * 1024;

/// The least a channel can work with: the largest packet.
const CHANNEL_MINIMUM: usize = 1024;

/// Where the registers are on the BCM2837.
pub const BASE: usize = 0x3F98_0000;

/// Why the controller does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// GSNPSID is not that of a DWC2. 0 or all ones: not powered.
    NotDwc2(u32),
    /// A channel's buffer is shorter than the largest packet (1,024 bytes) or
    /// not aligned to 4 bytes.
    BadBuffer {
        /// Its length in bytes.
        len: usize,
        /// Its bus address.
        bus: u32,
    },
    /// The controller did not become idle or did not come out of its reset.
    ResetTimeout,
    /// It cannot be made a host.
    NotHost,
}

impl core::fmt::Display for StartError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::NotDwc2(id) => write!(
                f,
                "USB: found id {id:#010x} instead of a DWC2's 0x4f54....; is it powered?"
            ),
            Self::BadBuffer { len, bus } => write!(
                f,
                "USB: a channel's buffer of {len} bytes at {bus:#010x} is too short or not aligned"
            ),
            Self::ResetTimeout => f.write_str("USB: the controller does not finish its reset"),
            Self::NotHost => f.write_str("USB: the controller stays in device mode"),
        }
    }
}

impl core::error::Error for StartError {}
