//! The Raspberry Pi CM3 from the operator's side: card images, flashing, its console.

pub(crate) mod console;
mod contents;
mod disks;
pub(crate) mod flash;
pub(crate) mod image;
mod key;
mod medium;
mod progress;
mod rpiboot;
