//! What the replica costs, reckoned without asking AWS.
//!
//! [`estimate`] prices every part of a design, also those that are free;
//! [`sessions`] prices experiments with nodes, which are no part of it.

mod budget;
mod estimate;
pub mod rates;
mod sessions;
mod table;

use jiff::civil::Date;

pub use budget::check_budget;
pub use estimate::{Estimate, Item, estimate};
pub use sessions::{Sessions, sessions};

use crate::config::Config;
use crate::error::{Error, Result};

/// What a month is reckoned to hold, besides what the configuration says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Usage {
    /// The day that is asked for: in the free trial or after it.
    pub today: Date,
    /// Experiments in a month.
    pub sessions: u32,
    /// Nodes in each.
    pub nodes: u32,
    /// Hours of each.
    pub hours: u32,
    /// Hours in a month with a public IPv4 address, under
    /// `egress = "ipv4-hourly"`.
    pub ipv4_hours: u32,
}

impl Usage {
    /// The design's month: 20 sessions of 3 nodes and 3 hours; and an hour
    /// with a public address, to fill mirrors.
    pub fn of(config: &Config, today: Date) -> Self {
        Self {
            today,
            sessions: 20,
            nodes: config.nodes.max.min(3),
            hours: config.nodes.ttl_hours.min(3),
            ipv4_hours: 1,
        }
    }
}

/// Whether the trial lasts on a day.
fn in_trial(config: &Config, today: Date) -> bool {
    today <= config.free_trial_until
}

/// Hours in a month that the bastion runs.
fn bastion_hours(config: &Config) -> f64 {
    f64::from(config.bastion.schedule.hours) * rates::DAYS_A_MONTH
}

/// What instances of a type cost for so many hours.
#[derive(Debug, Clone, Copy)]
struct Compute {
    /// On the day that is asked for.
    now: f64,
    /// Once the trial is over.
    after: f64,
}

/// The price of hours, of which the trial covers as many as are `free`.
fn compute(config: &Config, today: Date, name: &str, hours: f64, free: f64) -> Result<Compute> {
    let hour = rates::instance_type(name)
        .ok_or_else(|| Error::refused(format!("no price is known for \"{name}\"")))?
        .hour;
    let covered = if in_trial(config, today) && name == rates::TRIAL_TYPE {
        free.min(hours)
    } else {
        0.0
    };
    Ok(Compute {
        now: hour * (hours - covered),
        after: hour * hours,
    })
}

/// A gp3 volume of so many GiB that is there for so many hours, in USD.
pub fn volume(gib: u32, hours: f64) -> f64 {
    f64::from(gib) * rates::GP3_GIB_MONTH * hours / rates::HOURS_A_MONTH
}

/// To the billionth of a dollar: further digits are noise.
fn rounded(usd: f64) -> f64 {
    (usd * 1e9).round() / 1e9
}

/// Dollars as people read them: `$0.0917`, `$35.04`.
pub fn usd(amount: f64) -> String {
    if amount == 0.0 {
        "$0.00".to_owned()
    } else if amount < 0.000_05 {
        "<$0.0001".to_owned()
    } else if amount < 1.0 {
        format!("${amount:.4}")
    } else {
        format!("${amount:.2}")
    }
}

#[cfg(test)]
mod tests;
