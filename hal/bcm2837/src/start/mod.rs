//! From the boot loader's jump to the board's `main`.

pub mod fault;
pub mod memory;
pub mod mmu;

#[cfg(target_os = "none")]
mod exceptions;
#[cfg(target_os = "none")]
mod layout;
#[cfg(target_os = "none")]
mod sequence;

#[cfg(target_os = "none")]
pub use sequence::{Board, Identity, reset};
