//! What the suite needs of the place where a board stands: its LAN, its power, its console.

use std::fmt;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use anyhow::{Result, bail};

use crate::console::Console;
use crate::netns::Netns;

/// A place where a board stands. Dropping it puts everything back that was made
/// for it.
pub trait Bench {
    /// What is known about the board beforehand.
    fn facts(&self) -> &Facts;

    /// A namespace whose `eth0` is on the board's LAN and has no address yet.
    fn lan(&self) -> Arc<Netns>;

    /// Why power cannot be switched here, if it cannot.
    fn no_power(&self) -> Option<Missing>;

    /// Switches the board's power on, and tells when.
    fn power_on(&mut self) -> Result<Instant>;

    /// Takes the board's power away, without any warning. It may be off already.
    fn power_cut(&mut self) -> Result<()>;

    /// What the board says on its console, and the number of the first line
    /// since it was last powered on.
    fn console(&self) -> Option<(&Console, usize)>;

    /// Pulls the board's network cable (`false`) or puts it back; what is
    /// missing if nobody can.
    fn plug(&mut self, in_place: bool, stop: &Stop) -> Result<Result<(), Missing>>;

    /// The end of what the board said, for whoever must find out why a case failed.
    fn last_words(&self) -> String {
        match self.console() {
            Some((console, _)) => console.tail(15),
            None => String::new(),
        }
    }
}

/// What is known about a board before it is asked.
#[derive(Debug, Clone)]
pub struct Facts {
    /// What it is, for the report.
    pub name: String,
    /// Its address; without one the first server that makes an offer is it.
    pub address: Option<Ipv4Addr>,
    /// First and last address that it hands out, if known.
    pub pool: Option<(Ipv4Addr, Ipv4Addr)>,
    /// The router that it must tell clients, if known.
    pub router: Option<Ipv4Addr>,
    /// The port of HTTP.
    pub http_port: u16,
    /// What a line has in it that the board says early on its console, if it
    /// has one.
    pub banner: &'static str,
}

/// What a case would need and the bench does not have, in one line that also
/// says how to get it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub String);

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Set once somebody wants the run to end, by Ctrl-C for example. Clones are
/// the same.
#[derive(Debug, Clone, Default)]
pub struct Stop(pub Arc<AtomicBool>);

impl Stop {
    /// An error if the run is to end.
    ///
    /// # Errors
    /// It is.
    pub fn check(&self) -> Result<()> {
        if self.is_set() {
            bail!("stopped");
        }
        Ok(())
    }

    /// Whether the run is to end.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}
