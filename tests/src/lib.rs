//! The virtual lab.

pub mod checksum;
pub mod initrd;
pub mod tools;
