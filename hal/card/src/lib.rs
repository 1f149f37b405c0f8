//! Files, a RAM cache and the lease log on a card of 512-byte blocks.
#![cfg_attr(not(test), no_std)]
#![forbid(unsafe_code)]
#![allow(async_fn_in_trait)]

mod blocks;

pub use blocks::{BLOCK, BlockError, Blocks};
