//! The HAL of a hosted board: what `ichor` needs from Linux, as one thread.
//!
//! [`Reactor`] runs the stack's tasks and sleeps until a file descriptor, a
//! timer or a signal has news. Around it stand one implementation of each
//! trait of `ichor-hal`:
//!
//! | trait | here |
//! | --- | --- |
//! | `Nic` | [`nic::AnyNic`]: `packet:IFACE`, `tap:NAME`, `wire:PATH` |
//! | `Files` | [`DataFolder`] |
//! | `LeaseLog` | [`LogFile`] |
//! | `Clock` | [`UnixClock`] |
//! | `Entropy` | [`OsEntropy`] |
//! | `Watchdog` | [`ServiceManager`] |
//!
//! `packet:`, `tap:`, host sharing and dropping privileges exist on Linux
//! only; the rest builds on any Unix, so that the operator's own machine may
//! run the virtual lab.
//!
//! The crate links the embassy time driver and the executor's pender: a
//! program has exactly one of each, so do not combine it with the `std` or
//! `platform-std` features of embassy-time and embassy-executor.
#![cfg_attr(not(unix), doc = "Only Unix systems are supported.")]
#[cfg(not(unix))]
compile_error!("ichor-hal-linux needs a Unix system");

mod clock;
mod entropy;
mod files;
#[cfg(target_os = "linux")]
mod host_share;
mod lease_log;
pub mod nic;
mod open_file;
#[cfg(target_os = "linux")]
mod privileges;
mod reactor;
mod service;
mod signals;
#[cfg(target_os = "linux")]
mod sys;
#[cfg(target_os = "linux")]
mod tap_device;
mod time;
mod timers;
mod vigil;
mod watch;

pub use clock::UnixClock;
pub use entropy::OsEntropy;
pub use files::{DataFolder, Symlinks};
#[cfg(target_os = "linux")]
pub use host_share::{HostAddress, HostShare, ShareError};
pub use lease_log::{LogFile, OpenLogError};
#[cfg(target_os = "linux")]
pub use privileges::{PrivilegeError, User, drop_privileges};
pub use reactor::{Reactor, Source};
pub use service::ServiceManager;
pub use signals::{Signal, Signals};
#[cfg(target_os = "linux")]
pub use tap_device::open_tap;
