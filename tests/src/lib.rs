//! The virtual lab: a switch with faults, machines in QEMU, real clients.

pub mod console;
pub mod faults;
pub mod initrd;
mod pcap;
pub mod qemu;
mod queue;
pub mod switch;
pub mod tools;
pub mod uboot;
pub mod uefi_store;
