//! The home lab's replica in AWS: built, shown, priced and removed again, with
//! no state kept but the tags on the resources themselves.
//!
//! `cloud.toml` → [`config`] → the resources that shall be → compared with what
//! is there → a plan → calls through [`api::Cloud`], the one door to AWS.

#![forbid(unsafe_code)]

pub mod api;
pub mod bastion;
pub mod cli;
pub mod config;
pub mod cost;
pub mod design;
pub mod down;
pub mod engine;
mod error;
pub mod fake;
pub mod kinds;
pub mod leftovers;
pub mod loader;
pub mod node;
pub mod price;
#[cfg(feature = "sdk")]
pub mod sdk;
pub mod status;

pub use error::{Error, Result};
