//! SD cards and eMMC on the Arasan SD host controller.
//!
//! GPIO 48–53 can be led to two controllers: SDHOST (ALT0) or Arasan (ALT3).
//! Arasan it is: it is a standard SDHCI, on the CM3 nothing else uses it, and
//! QEMU's card sits there unless all six pins are set to ALT0.
//!
//! Words are moved by the CPU, a block at a time, and every wait lets other
//! tasks run and has an end. The system's DMA engine would save the CPU some
//! work, but QEMU's does not wait for the controller (it knows no DREQ).
//!
//! Sources: BCM2835 ARM Peripherals §5 (registers), SD Physical Layer
//! Simplified Specification 3.01, JESD84-B50 (eMMC), SD Host Controller
//! Simplified Specification 3.00.

mod card;
mod host;
mod pins;
#[cfg(test)]
mod tests;

pub use card::{Kind, Sd};
pub use pins::route_pins;
