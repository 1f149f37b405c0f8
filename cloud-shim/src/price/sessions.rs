//! What an experiment costs: some nodes for some hours.

use serde::Serialize;

use super::{Estimate, Usage, bastion_hours, compute, rates, rounded, volume};
use crate::config::Config;
use crate::error::Result;

/// A month's experiments. They come on top of the plan; the bastion runs in
/// its own hours anyway.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Sessions {
    /// How many in a month.
    pub count: u32,
    /// Nodes in each.
    pub nodes: u32,
    /// Hours of each.
    pub hours: u32,
    /// USD for each.
    pub each: f64,
    /// USD for each without the free trial.
    pub each_after_trial: f64,
    /// USD for a month of them.
    pub monthly: f64,
    /// USD for a month of them without the free trial.
    pub monthly_after_trial: f64,
    /// Hours of the trial's type in a month, the bastion's with them.
    pub trial_hours: f64,
    /// Of so many that are free while the trial lasts.
    pub trial_limit: f64,
    /// So many a month stay within the budget together with the plan, and
    /// within the trial while it lasts.
    pub within_budget: u32,
}

/// Prices a month's experiments.
///
/// # Errors
///
/// An instance type whose price is not known.
pub fn sessions(config: &Config, plan: &Estimate, usage: &Usage) -> Result<Sessions> {
    let node_type = &config.nodes.instance_type;
    let each_hours = f64::from(usage.nodes) * f64::from(usage.hours);
    let all_hours = each_hours * f64::from(usage.sessions);
    let trial = |name: &str, hours| {
        if name == rates::TRIAL_TYPE {
            hours
        } else {
            0.0
        }
    };
    let of_bastion = trial(&config.bastion.instance_type, bastion_hours(config));
    let free = (rates::TRIAL_HOURS - of_bastion).max(0.0);

    let disks = f64::from(usage.nodes) * volume(config.nodes.root_gib, f64::from(usage.hours));
    let price = |hours| compute(config, usage.today, node_type, hours, free);
    let (one, all) = (price(each_hours)?, price(all_hours)?);
    let all_disks = disks * f64::from(usage.sessions);

    let each = one.now + disks;
    let left = (config.max_monthly_usd - plan.monthly).max(0.0);
    let by_trial = if one.now < one.after {
        free / each_hours
    } else {
        f64::INFINITY
    };
    // Beyond u32 is no longer a count.
    let within_budget = (left / each).min(by_trial).floor() as u32;
    Ok(Sessions {
        count: usage.sessions,
        nodes: usage.nodes,
        hours: usage.hours,
        each: rounded(each),
        each_after_trial: rounded(one.after + disks),
        monthly: rounded(all.now + all_disks),
        monthly_after_trial: rounded(all.after + all_disks),
        trial_hours: (of_bastion + trial(node_type, all_hours)).round(),
        trial_limit: rates::TRIAL_HOURS,
        within_budget,
    })
}
