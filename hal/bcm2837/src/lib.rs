//! Drivers for the BCM2837 of the Raspberry Pi CM3.
//!
//! Each driver is generic over [`Bus`], so that it runs on a host against a
//! fake register block that checks what an emulator does not.
#![cfg_attr(not(test), no_std)]

mod bus;
pub mod clock;
mod counter;
pub mod dma;
#[cfg(test)]
mod fake;
pub mod fdt;
pub mod gpio;
pub mod interrupts;
pub mod mailbox;
pub mod power;
pub mod provoke;
pub mod ring;
pub mod rng;
pub mod sd;
pub mod start;
pub mod uart;
pub mod usb;

#[cfg(target_os = "none")]
pub mod console;
#[cfg(target_os = "none")]
mod cpu;
#[cfg(target_os = "none")]
pub mod executor;
#[cfg(target_os = "none")]
pub mod irq;
#[cfg(target_os = "none")]
pub mod log;
#[cfg(target_os = "none")]
mod panic;
#[cfg(target_os = "none")]
mod peripherals;
#[cfg(target_os = "none")]
mod time;
#[cfg(target_os = "none")]
pub mod watchdog;

pub use bus::{Bus, Mmio};
#[cfg(target_os = "none")]
pub use start::{Board, Identity, reset};
