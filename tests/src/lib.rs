//! The virtual lab: a switch with faults, machines in QEMU, real clients.

pub mod bridge;
pub mod checksum;
pub mod clients;
pub mod console;
pub mod data;
pub mod faults;
pub mod hil;
pub mod host;
pub mod ichor;
pub mod initrd;
pub mod journal;
pub mod lab;
pub mod netns;
pub mod node;
mod pcap;
pub mod peers;
pub mod push;
pub mod qemu;
mod queue;
pub mod service;
pub mod site;
pub mod switch;
pub mod tools;
pub mod uboot;
pub mod uefi_store;
