//! What a board must offer to run the ichor netboot stack.
//!
//! Six seams, each one small enough to fake:
//!
//! | trait | what crosses it |
//! | --- | --- |
//! | [`Nic`] | whole Ethernet frames (this is `embassy_net_driver::Driver`) |
//! | [`Files`] | ranges of named, read-only files: kernels, profiles, templates |
//! | [`LeaseLog`] | bytes appended to a log that outlives power loss |
//! | [`Entropy`] | random seeds |
//! | [`Updates`] | a new program or file, put in place whole |
//! | [`Watchdog`] | a sign of life |
//!
//! and [`Clock`], the time that leases are counted in. With feature `fake`
//! there is an in-memory [`fake`] of each, for tests on a host.
#![cfg_attr(not(feature = "fake"), no_std)]
#![forbid(unsafe_code)]
// The traits are used on single-threaded executors: no future need be `Send`.
#![allow(async_fn_in_trait)]

#[cfg(feature = "fake")]
pub mod fake;
mod files;
mod lease_log;
mod updates;

pub use embassy_net_driver as nic;
pub use embassy_net_driver::Driver as Nic;
pub use files::{Entry, FileError, Files, Metadata};
pub use lease_log::{LeaseLog, LogError};
pub use updates::{NoUpdates, Target, UpdateError, Updates};

/// A source of unpredictable numbers: TCP sequence numbers, ports, xids.
pub trait Entropy {
    /// 64 bits nobody on the network can guess.
    fn seed(&mut self) -> u64;
}

/// The time that leases are counted in.
pub trait Clock {
    /// Seconds since a fixed origin that survives restarts.
    ///
    /// Must never run backwards, not even across a power cut: a lease that
    /// was promised must not end early. A board with a real-time clock
    /// returns seconds since the Unix epoch; one without continues from the
    /// largest time that it finds in its lease log.
    fn seconds(&self) -> u64;
}

/// A timer that resets the board (or has the process restarted) unless fed.
pub trait Watchdog {
    /// Says that the main loop is alive. Cheap enough to call every second.
    fn feed(&mut self);
}
