//! Drivers for the BCM2837 of the Raspberry Pi CM3.
//!
//! Each driver is generic over [`Bus`], so that it runs on a host against a
//! fake register block that checks what an emulator does not.
#![cfg_attr(not(test), no_std)]

mod bus;
pub mod dma;
pub mod sd;
pub mod usb;

pub use bus::{Bus, Mmio};
