//! Files, a RAM cache, updates and the lease log on a card of 512-byte blocks.
//!
//! ```text
//!            ┌ CardFiles ──┐                      a FAT32 partition:
//! Blocks ─ Card ─ Volume ──┤ RAM cache of pages   the user's, read from RAM,
//!            │   └ CardUpdates                    written by updates alone
//!            └ CardLog                            a partition of its own (0xDA)
//! ```
//!
//! Nothing here waits for a card while others could work: whoever reads what
//! is not in RAM yet leaves a demand and is woken. The board runs
//! [`Volume::run`] beside its servers; it answers demands first and fills the
//! cache with the rest of the data folder when there are none.
//!
//! All of it is for one thread: a board's executor.
#![no_std]
#![forbid(unsafe_code)]
#![allow(async_fn_in_trait)]

#[cfg(test)]
extern crate std;

mod blocks;
mod cache;
mod card;
mod crc;
mod edit;
mod error;
mod fat;
mod files;
mod fill;
mod lease_log;
mod partitions;
mod ram_log;
mod updates;
mod volume;

pub use blocks::{BLOCK, BlockError, Blocks};
pub use card::Card;
pub use error::{MountError, Trouble};
pub use files::{CardFiles, OpenFile};
pub use lease_log::{CardLog, Log, OpenLogError};
pub use partitions::{Partition, Partitions};
pub use ram_log::RamLog;
pub use updates::CardUpdates;
pub use volume::{MIN_MEMORY, Status, Volume};
