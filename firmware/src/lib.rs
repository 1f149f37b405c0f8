//! ichor: a netboot stack for bare metal and for Linux.
//!
//! DHCP, TFTP, HTTP and the matchbox catalog as one `no_std` library without
//! allocation or `unsafe`. It knows no board: frames, files and leases come
//! through the traits of `ichor-hal`.
//!
//! A boot flows through the modules from left to right:
//!
//! ```text
//! frame → net (mux, embassy-net, socket loops) → dhcp | tftp | http → reply
//!                                                 │      │      │
//!                                          boot policy  files  catalog
//! ```
//!
//! The servers are state machines that do no I/O: bytes and time in, bytes
//! out. So is [`tcp`], which sends what HTTP answers. Only [`net`] awaits
//! anything.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![allow(async_fn_in_trait)]

#[macro_use]
mod fmt;

pub mod catalog;
pub mod config;
mod cut;
pub mod dhcp;
mod fnv;
pub mod http;
pub mod journal;
mod mac;
pub mod net;
#[cfg(test)]
mod stopped_clock;
pub mod tcp;
pub mod tftp;
mod throttle;
pub mod update;

pub use mac::{MacAddr, ParseMacError};
pub use throttle::{Missed, Throttle};
