//! `cloud-plan` and `cloud-up`: what is to be done and what it costs, and then
//! the doing.

use std::process::ExitCode;

use serde::Serialize;

use super::account::Account;
use super::args::{Output, Plan as Options};
use super::{ask, gather, show};
use crate::bastion;
use crate::config::{Config, Egress};
use crate::design::design;
use crate::engine::{Part, Plan, converge, observe_all};
use crate::error::Result;
use crate::kinds::Spec;
use crate::price::{self, Estimate, Usage, usd};

/// A plan with its price.
#[derive(Debug, Serialize)]
pub(super) struct Planned {
    #[serde(skip)]
    account: Account,
    #[serde(skip)]
    desired: Vec<(Part, Spec)>,
    region: String,
    #[serde(flatten)]
    pub(super) plan: Plan,
    estimate: Estimate,
    max_monthly_usd: f64,
    /// Mirrors that cannot be filled with this egress, and why.
    unreachable_mirrors: Vec<(String, &'static str)>,
    /// Container images that the bastion lacks and cannot pull.
    missing_images: Vec<String>,
}

/// Compares what `cloud.toml` says with what is there.
pub(super) async fn plan(options: &Options) -> Result<Planned> {
    let mut account = Account::open(&options.common).await?;
    if let Some(limit) = options.max_monthly_usd {
        account.config.max_monthly_usd = limit;
        account.config.check()?;
    }
    let facts = gather::facts(&account, &options.content, options.ipv4).await?;
    let config = &account.config;
    let desired = design(config, &facts)?;
    let usage = Usage::of(config, jiff::Zoned::now().date());
    let estimate = price::estimate(config, &desired, &usage)?;
    let missing_images = match config.egress {
        Egress::None => bastion::images_to_pull(config)?,
        _ => Vec::new(),
    };
    let observed = observe_all(&account.context).await?;
    Ok(Planned {
        region: account.context.caller.region().to_owned(),
        plan: Plan::new(desired.clone(), observed, &account.context),
        estimate,
        max_monthly_usd: config.max_monthly_usd,
        unreachable_mirrors: bastion::unreachable_mirrors(config),
        missing_images,
        desired,
        account,
    })
}

/// Shows the plan, asks, and carries it out.
pub(super) async fn up(options: &Options) -> Result<ExitCode> {
    let planned = plan(options).await?;
    if options.common.output == Output::Text {
        planned.print(Output::Text);
    }
    planned.within_budget()?;
    planned.plan.allowed()?;
    if !planned.plan.is_settled() {
        let estimate = &planned.estimate;
        let what = format!(
            "{}; {} an hour while all runs, {} a month",
            planned.plan.summary(),
            usd(estimate.per_hour),
            usd(estimate.monthly)
        );
        ask::before(&planned.account, &options.common, &what)?;
    }
    let done = converge(&planned.desired, &planned.account.context).await?;
    show::up(options.common.output, &done);
    Ok(ExitCode::SUCCESS)
}

impl Planned {
    /// Prints it in one of the two forms.
    pub(super) fn print(&self, output: Output) {
        match output {
            Output::Json => show::json(self),
            Output::Text => {
                print!("{}\n{}", self.plan, self.estimate);
                for (registry, why) in &self.unreachable_mirrors {
                    println!("The mirror of {registry} cannot be filled: {why}");
                }
                for image in &self.missing_images {
                    println!("{image} cannot be pulled: put it into bastion.bundle");
                }
            }
        }
    }

    /// Refuses it if it costs too much.
    pub(super) fn within_budget(&self) -> Result<()> {
        price::check_budget(self.config(), &self.estimate)
    }

    const fn config(&self) -> &Config {
        &self.account.config
    }
}
