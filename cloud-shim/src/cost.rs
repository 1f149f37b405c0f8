//! `cloud-cost`: what the replica costs by reckoning, and what AWS says.
//!
//! The reckoning needs nobody. The free tier's balance is asked for, and its
//! lack is told and no error; Cost Explorer takes a cent, and is asked only if
//! the operator says so.

use core::fmt;
use core::time::Duration;

use jiff::ToSpan as _;
use jiff::civil::Date;
use serde::Serialize;

use crate::api::{FreeTierUsage, GetCostAndUsage, GetFreeTierUsage};
use crate::config::Config;
use crate::engine::{Caller, Part};
use crate::error::{Error, Result};
use crate::kinds::Spec;
use crate::price::{self, Estimate, Sessions, Usage, rates, usd};

/// How long the balance may take: it is no more than good to know.
const BALANCE_WITHIN: Duration = Duration::from_secs(15);

/// What the replica costs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Cost {
    /// Name of the lab.
    pub lab: String,
    /// AWS region.
    pub region: String,
    /// The day, `2026-11-25`.
    pub today: String,
    /// The budget.
    pub max_monthly_usd: f64,
    /// What is allowed, but had better be known.
    pub warnings: Vec<String>,
    /// The design, part by part.
    pub plan: Estimate,
    /// Experiments with nodes.
    pub sessions: Sessions,
    /// What is used of the free trial.
    pub free_tier: FreeTier,
    /// What Cost Explorer says, if it was asked.
    pub spent: Option<Spent>,
}

/// What is used of the free trial this month.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FreeTier {
    /// By AWS.
    Known(Vec<Balance>),
    /// AWS did not say, and why.
    Unknown(String),
}

/// An allowance, and how much of it is used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Balance {
    /// AWS's name for it: `Global-BoxUsage:freetrial`.
    pub usage_type: String,
    /// Used so far this month.
    pub used: f64,
    /// What the month will come to.
    pub forecast: f64,
    /// The allowance.
    pub limit: f64,
    /// Such as `Hrs`.
    pub unit: String,
}

/// What was spent this month, in the whole account.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Spent {
    /// First day.
    pub from: String,
    /// The day after the last.
    pub until: String,
    /// USD by service, the dearest first.
    pub services: Vec<(String, f64)>,
    /// USD in all.
    pub total: f64,
}

impl Cost {
    /// Reckons, and asks AWS for what only AWS knows.
    ///
    /// # Errors
    ///
    /// A type without a known price, and what Cost Explorer failed with if it
    /// was to be asked.
    pub async fn look(
        caller: &Caller,
        config: &Config,
        parts: &[(Part, Spec)],
        usage: &Usage,
        ask_aws: bool,
    ) -> Result<Self> {
        let mut cost = Self::offline(config, parts, usage, String::new())?;
        cost.free_tier = FreeTier::ask(caller).await;
        if ask_aws {
            cost.spent = Some(Spent::ask(caller, usage.today).await?);
        }
        Ok(cost)
    }

    /// Reckons without asking AWS; `why` it is not asked.
    ///
    /// # Errors
    ///
    /// A type without a known price.
    pub fn offline(
        config: &Config,
        parts: &[(Part, Spec)],
        usage: &Usage,
        why: String,
    ) -> Result<Self> {
        let plan = price::estimate(config, parts, usage)?;
        let sessions = price::sessions(config, &plan, usage)?;
        Ok(Self {
            lab: config.lab.clone(),
            region: config.region.clone(),
            today: usage.today.to_string(),
            max_monthly_usd: config.max_monthly_usd,
            warnings: config.warnings(),
            plan,
            sessions,
            free_tier: FreeTier::Unknown(why),
            spent: None,
        })
    }
}

impl FreeTier {
    async fn ask(caller: &Caller) -> Self {
        let asked = tokio::time::timeout(BALANCE_WITHIN, caller.send(GetFreeTierUsage {}));
        match asked.await {
            Ok(Ok(usage)) => Self::of(usage),
            Ok(Err(error)) => Self::Unknown(Error::from(error).to_string()),
            Err(_) => {
                let seconds = BALANCE_WITHIN.as_secs();
                Self::Unknown(format!(
                    "the free-tier API did not answer within {seconds} s"
                ))
            }
        }
    }

    /// The balances that are about the trial's type.
    fn of(usage: Vec<FreeTierUsage>) -> Self {
        let ours: Vec<Balance> = usage
            .into_iter()
            .filter(is_trial)
            .map(|usage| Balance {
                usage_type: usage.usage_type,
                used: usage.used,
                forecast: usage.forecast,
                limit: usage.limit,
                unit: usage.unit,
            })
            .collect();
        if ours.is_empty() {
            let name = rates::TRIAL_TYPE;
            Self::Unknown(format!(
                "AWS names no allowance for {name}: nothing used yet this month, or no trial"
            ))
        } else {
            Self::Known(ours)
        }
    }
}

/// Whether an allowance is the trial's. Its usage type is
/// `Global-BoxUsage:freetrial`; the words about it name the type.
fn is_trial(usage: &FreeTierUsage) -> bool {
    let family = |text: &str| text.contains("t4g");
    family(&usage.usage_type)
        || family(&usage.description)
        || usage.usage_type.ends_with("BoxUsage:freetrial")
}

impl Spent {
    /// Asks Cost Explorer for this month.
    async fn ask(caller: &Caller, today: Date) -> Result<Self> {
        let from = today.first_of_month().to_string();
        let until = today.saturating_add(1.day()).to_string();
        let request = GetCostAndUsage {
            from: from.clone(),
            until: until.clone(),
        };
        let costs = caller.send(request).await?;
        let mut services: Vec<(String, f64)> = costs
            .into_iter()
            .map(|cost| (cost.service, cost.usd))
            .collect();
        services.sort_by(|a, b| b.1.total_cmp(&a.1));
        Ok(Self {
            from,
            until,
            total: services.iter().map(|(_, usd)| usd).sum(),
            services,
        })
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "lab {}, {}, {}: by the prices of {}, without asking AWS",
            self.lab,
            self.region,
            self.today,
            rates::REGION
        )?;
        write!(f, "{}", self.plan)?;
        let limit = self.max_monthly_usd;
        writeln!(f, "budget: max_monthly_usd = {limit:.2}")?;
        for warning in &self.warnings {
            writeln!(f, "note: {warning}")?;
        }
        write!(f, "{}", self.sessions)?;
        let last = &self.plan.trial_until;
        match &self.free_tier {
            FreeTier::Known(balances) => {
                for balance in balances {
                    let Balance {
                        usage_type,
                        used,
                        forecast,
                        limit,
                        unit,
                    } = balance;
                    writeln!(
                        f,
                        "free trial until {last}: {used:.1} of {limit:.0} {unit} used this \
                         month, {forecast:.1} by its end ({usage_type})"
                    )?;
                }
            }
            FreeTier::Unknown(why) => {
                writeln!(
                    f,
                    "free trial until {last}: what is used is not known: {why}"
                )?;
            }
        }
        match &self.spent {
            Some(spent) => write!(f, "{spent}"),
            None => writeln!(
                f,
                "spent: --ask-aws asks Cost Explorer, for {} a page",
                usd(rates::COST_EXPLORER_PAGE)
            ),
        }
    }
}

impl fmt::Display for Spent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "spent in the whole account from {} until {}: {}",
            self.from,
            self.until,
            usd(self.total)
        )?;
        for (service, amount) in &self.services {
            writeln!(f, "  {service}: {}", usd(*amount))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use jiff::civil::date;

    use super::*;
    use crate::api::ServiceCost;
    use crate::fake::{Fake, Mishap};

    async fn cost(fake: &Arc<Fake>, ask_aws: bool) -> Cost {
        let config = Config::default();
        let usage = Usage::of(&config, date(2026, 11, 25));
        let caller = Caller::new(fake.clone());
        Cost::look(&caller, &config, &[], &usage, ask_aws)
            .await
            .unwrap()
    }

    fn calls(fake: &Fake) -> Vec<String> {
        let calls = fake.calls().into_iter();
        calls.map(|made| made.name.to_owned()).collect()
    }

    fn usage(usage_type: &str, description: &str) -> FreeTierUsage {
        FreeTierUsage {
            service: "Amazon Elastic Compute Cloud".to_owned(),
            usage_type: usage_type.to_owned(),
            description: description.to_owned(),
            used: 120.5,
            forecast: 332.0,
            limit: 750.0,
            unit: "Hrs".to_owned(),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn mend_8_cost_explorer_is_asked_only_if_it_shall_be() {
        let fake = Arc::new(Fake::new("eu-west-1", 1));
        fake.set_costs(vec![
            ServiceCost {
                service: "Amazon Simple Storage Service".to_owned(),
                usd: 0.01,
            },
            ServiceCost {
                service: "EC2 - Other".to_owned(),
                usd: 0.25,
            },
        ]);
        let offline = cost(&fake, false).await;
        assert_eq!(offline.spent, None);
        assert_eq!(calls(&fake), ["freetier:GetFreeTierUsage"]);

        let asked = cost(&fake, true).await;
        let spent = asked.spent.unwrap();
        assert_eq!(
            (spent.from.as_str(), spent.until.as_str()),
            ("2026-11-01", "2026-11-26")
        );
        assert_eq!(usd(spent.total), "$0.2600");
        assert_eq!(spent.services[0].0, "EC2 - Other");
        assert_eq!(
            calls(&fake).last().map(String::as_str),
            Some("ce:GetCostAndUsage")
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_trials_balance_is_found_among_others() {
        let fake = Arc::new(Fake::new("eu-west-1", 1));
        fake.set_free_tier(vec![
            usage(
                "Global-BoxUsage:freetier.micro",
                "750 hours of t2.micro or t3.micro",
            ),
            usage("EU-TimedStorage-ByteHrs", "5 GB of storage"),
            usage("Global-BoxUsage:freetrial", "750 hours of t4g.small"),
        ]);
        let cost = cost(&fake, false).await;
        let FreeTier::Known(balances) = &cost.free_tier else {
            panic!("{:?}", cost.free_tier);
        };
        assert_eq!(balances.len(), 1);
        let text = cost.to_string();
        assert!(
            text.contains("120.5 of 750 Hrs used this month, 332.0 by its end"),
            "{text}"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_balance_that_is_not_told_is_no_error() {
        let fake = Arc::new(Fake::new("eu-west-1", 1));
        let nothing = cost(&fake, false).await.free_tier;
        assert!(matches!(&nothing, FreeTier::Unknown(why) if why.contains("t4g.small")));

        let mishap = Mishap::on("freetier:GetFreeTierUsage").always();
        fake.script(mishap.refuse(400, "AccessDeniedException", "not allowed"));
        let denied = cost(&fake, false).await;
        let text = denied.to_string();
        assert!(
            text.contains("is not known: ") && text.contains("not allowed"),
            "{text}"
        );
    }
}
