//! The budget: a plan that comes to more in a month is refused.

use super::{Estimate, Item, usd};
use crate::config::Config;
use crate::error::{Error, Result};

/// So many of the largest items are named.
const NAMED: usize = 3;
/// What is over by less cannot be seen in what is printed.
const SLACK: f64 = 1e-6;

/// Refuses an estimate above the budget.
///
/// # Errors
///
/// [`Error::Refused`] with total, limit, the largest items and the keys that
/// change them.
pub fn check_budget(config: &Config, estimate: &Estimate) -> Result<()> {
    let limit = config.max_monthly_usd;
    if estimate.monthly <= limit + SLACK {
        return Ok(());
    }
    let mut largest: Vec<&Item> = estimate.items.iter().collect();
    largest.retain(|item| item.monthly > 0.0);
    largest.sort_by(|a, b| b.monthly.total_cmp(&a.monthly));
    largest.truncate(NAMED);
    let items: Vec<String> = largest
        .iter()
        .map(|item| format!("{} ({}) {}", item.part, item.what, usd(item.monthly)))
        .collect();
    let mut keys: Vec<&str> = Vec::new();
    for key in largest.iter().flat_map(|item| item.keys) {
        if !keys.contains(key) {
            keys.push(key);
        }
    }
    let trial = if estimate.in_trial {
        String::new()
    } else {
        format!("; the free trial ended on {}", estimate.trial_until)
    };
    Err(Error::refused(format!(
        "the plan comes to {} a month, over max_monthly_usd = {limit:.2}: {}{trial} - change {}, \
         or allow it with max_monthly_usd",
        usd(estimate.monthly),
        items.join(", "),
        keys.join(", "),
    )))
}
