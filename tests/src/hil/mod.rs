//! The suite that a board has to pass, with real clients on its LAN: `cargo xtask hil`.
//!
//! It is the same for a board on the desk, for one in QEMU, and for the Linux
//! process as a stand-in: what differs is a [`Bench`], which says where the
//! board is and how to cut its power.
//!
//! What it does not see: the frames themselves, and what the board does to
//! other networks. It takes addresses of the board's pool and gives them back.

mod bench;
mod cases;
mod content;
mod dhcp;
mod emulated;
mod real;
mod report;
mod stand_in;
mod station;

pub use bench::{Bench, Facts, Missing, Stop};
pub use cases::{Plan, run};
pub use content::{ASSET, Prepared, prepare};
pub use emulated::{Emulated, EmulatedParts, Usb, fill_data};
pub use real::{Nic, Power, Real, RealParts, parse_pool};
pub use report::{Report, Verdict};
pub use stand_in::{Break, StandIn};
