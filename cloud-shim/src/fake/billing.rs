//! Whose account it is, and what it costs.

use super::{Account, Answer, Fake, refuse};
use crate::api::*;

/// What a test says of the bill.
#[derive(Debug, Default)]
pub(super) struct Bill {
    free_tier: Vec<FreeTierUsage>,
    costs: Vec<ServiceCost>,
}

impl Fake {
    /// Sets what the free-tier API answers; at first nothing is used.
    pub fn set_free_tier(&self, usage: Vec<FreeTierUsage>) {
        self.lock().bill.free_tier = usage;
    }

    /// Sets what Cost Explorer answers for any span; at first nothing.
    pub fn set_costs(&self, costs: Vec<ServiceCost>) {
        self.lock().bill.costs = costs;
    }
}

impl Account {
    pub(super) fn caller_identity(&mut self, _: GetCallerIdentity) -> Answer<Identity> {
        Ok(Identity {
            account: Fake::ACCOUNT.to_owned(),
            arn: format!("arn:aws:iam::{}:user/operator", Fake::ACCOUNT),
        })
    }

    pub(super) fn free_tier_usage(&mut self, _: GetFreeTierUsage) -> Answer<Vec<FreeTierUsage>> {
        Ok(self.bill.free_tier.clone())
    }

    pub(super) fn cost_and_usage(&mut self, c: GetCostAndUsage) -> Answer<Vec<ServiceCost>> {
        let day = |text: &str| {
            text.parse::<jiff::civil::Date>()
                .ok()
                .filter(|_| text.len() == 10)
        };
        match (day(&c.from), day(&c.until)) {
            (Some(from), Some(until)) if from < until => Ok(self.bill.costs.clone()),
            (Some(_), Some(_)) => refuse(
                "ValidationException",
                "Start date (and hour) should be before end date (and hour)",
            ),
            _ => refuse("ValidationException", "Days are written as 2026-11-01"),
        }
    }
}
