//! The virtual lab.

pub mod tools;
