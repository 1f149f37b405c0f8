//! The virtual lab: a switch with faults, machines in QEMU, real clients.

pub mod faults;
pub mod initrd;
mod pcap;
mod queue;
pub mod switch;
pub mod tools;
