//! The home lab's replica in AWS: built, shown, priced and removed again, with
//! no state kept but the tags on the resources themselves.
//!
//! `cloud.toml` → [`config`] → the resources that shall be → compared with what
//! is there → a plan → calls through [`api::Cloud`], the one door to AWS.

#![forbid(unsafe_code)]

pub mod api;
#[cfg(feature = "sdk")]
pub mod sdk;
