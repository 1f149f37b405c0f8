//! The program's commands: each asks the account, shows what it found, and
//! does what it was told to do after a yes.
//!
//! Standard output has the result, as text or as one JSON document; progress,
//! questions and errors go to standard error.

mod account;
mod args;
mod ask;
mod gather;
mod plan;
mod show;

use std::process::ExitCode;

use clap::Parser as _;
use jiff::Timestamp;

use self::account::Account;
use self::args::{Cli, Command, Common, Cost as CostOptions, Loader, Node, NodeCommand, Output};
use crate::config::{Config, nodes_advice};
use crate::cost::Cost;
use crate::design::{design, parts};
use crate::down;
use crate::error::{Error, Result};
use crate::leftovers::{self, Found};
use crate::node;
use crate::price::rates::instance_type;
use crate::price::{self, Usage, usd};
use crate::status::{Bastion, Status};
use crate::{bastion, engine};

/// What a program ends with if a plan has something to do.
const SOMETHING_TO_DO: u8 = 2;

/// Runs the command that was asked for.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            let _ = error.print();
            // Not clap's 2: with that, `cloud-plan` says something else.
            return ExitCode::from(u8::from(error.use_stderr()));
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let outcome = match runtime {
        Ok(runtime) => runtime.block_on(until_interrupted(cli.command)),
        Err(error) => Err(Error::io("the runtime", error)),
    };
    match outcome {
        Ok(code) => code,
        Err(error) => {
            for line in error.to_string().lines() {
                eprintln!("error: {line}");
            }
            ExitCode::FAILURE
        }
    }
}

/// Runs a command until it ends or Ctrl-C is pressed. Stopping loses nothing:
/// the next command goes on from what is there.
async fn until_interrupted(command: Command) -> Result<ExitCode> {
    tokio::select! {
        outcome = execute(command) => outcome,
        _ = tokio::signal::ctrl_c() => Err(Error::refused(
            "stopped; what was done stays: run the command again to go on, or cloud-down",
        )),
    }
}

async fn execute(command: Command) -> Result<ExitCode> {
    match command {
        Command::CloudPlan(options) => {
            let planned = plan::plan(&options).await?;
            planned.print(options.common.output);
            planned.within_budget()?;
            Ok(if planned.plan.is_empty() {
                ExitCode::SUCCESS
            } else {
                ExitCode::from(SOMETHING_TO_DO)
            })
        }
        Command::CloudUp(options) => plan::up(&options).await,
        Command::CloudStatus(common) => show_status(&common).await,
        Command::CloudCost(options) => show_cost(&options).await,
        Command::CloudNode(Node { command }) => nodes(command).await,
        Command::CloudDown(common) => take_down(&common).await,
        Command::CloudLoader(options) => write_loader(&options),
    }
}

async fn show_status(common: &Common) -> Result<ExitCode> {
    let account = Account::open(common).await?;
    let (context, config) = (&account.context, &account.config);
    let observed = engine::observe_all(context).await?;
    let design = gather::design_without_content(config)?;
    let parts: Vec<_> = design.iter().map(|(part, _)| part.clone()).collect();
    let now = Timestamp::now();
    let mut status = Status::look(context, config, now, &observed, &parts).await?;
    let usage = Usage::of(config, jiff::Zoned::now().date());
    status.usd_per_hour = Some(hourly(&status, &price::estimate(config, &design, &usage)?));
    let left = leftovers::scan(context).await?;
    let strangers = left.iter().filter(|left| left.found != Found::Tagged);
    status.leftovers = Some(strangers.map(ToString::to_string).collect());
    show::result(common.output, &status);
    Ok(ExitCode::SUCCESS)
}

/// What costs now: parts that are there, the bastion if it runs, and nodes.
fn hourly(status: &Status, estimate: &price::Estimate) -> f64 {
    let there = |item: &&price::Item| {
        let is_there = status.parts.iter().any(|part| part.part == item.part);
        is_there && (item.part != parts::BASTION.as_str() || status.bastion.is_running())
    };
    let of_parts: f64 = estimate
        .items
        .iter()
        .filter(there)
        .map(|it| it.per_hour)
        .sum();
    let live = status.nodes.iter().filter(|node| node.is_live());
    let of_nodes = live.filter_map(|node| instance_type(&node.instance_type));
    of_parts + of_nodes.map(|kind| kind.hour).sum::<f64>()
}

async fn show_cost(options: &CostOptions) -> Result<ExitCode> {
    let usage = |config| Usage::of(config, jiff::Zoned::now().date());
    let cost = match Account::open(&options.common).await {
        Ok(account) => {
            let facts = gather::facts(&account, &options.content, false).await?;
            let config = &account.config;
            let parts = design(config, &facts)?;
            let caller = &account.context.caller;
            Cost::look(caller, config, &parts, &usage(config), options.ask_aws).await?
        }
        // What AWS would add is nice to have, unless it was asked for.
        Err(Error::Api(error)) if !options.ask_aws => {
            let config = Config::read(options.common.config.as_deref())?;
            let parts = design(&config, &gather::offline(&config, &options.content)?)?;
            Cost::offline(&config, &parts, &usage(&config), error.to_string())?
        }
        Err(error) => return Err(error),
    };
    show::result(options.common.output, &cost);
    Ok(ExitCode::SUCCESS)
}

async fn nodes(command: NodeCommand) -> Result<ExitCode> {
    let mut say = |line: &str| eprintln!("{line}");
    match command {
        NodeCommand::List(common) => {
            let account = Account::open(&common).await?;
            let fleet = account.fleet();
            let nodes = fleet.tended(&mut say).await?;
            show::nodes(common.output, &nodes, fleet.now);
            Ok(ExitCode::SUCCESS)
        }
        NodeCommand::Down { ids, common } => {
            let account = Account::open(&common).await?;
            let what = if ids.is_empty() {
                "all nodes".to_owned()
            } else {
                ids.join(", ")
            };
            ask::before(&account, &common, &format!("end {what}"))?;
            let ended = account.fleet().down(&ids, &mut say).await?;
            show::ended(common.output, &ended);
            Ok(ExitCode::SUCCESS)
        }
        NodeCommand::Patch(common) => {
            print!("{}", bastion::talos_patch(&account::config(&common)?));
            Ok(ExitCode::SUCCESS)
        }
        NodeCommand::Up {
            count,
            no_follow,
            common,
        } => {
            let account = Account::open(&common).await?;
            let advice = nodes_advice(&account.config);
            for line in &advice {
                show::note(line);
            }
            let node = &account.config.nodes;
            let hour = instance_type(&node.instance_type).map_or(0.0, |it| it.hour);
            let what = format!(
                "start {count} × {} for {} h, {} an hour unless the free trial covers it",
                node.instance_type,
                node.ttl_hours,
                usd(hour * f64::from(count))
            );
            ask::before(&account, &common, &what)?;
            let fleet = account.fleet();
            let since = fleet.now;
            let nodes = fleet.up(count, &mut say).await?;
            let bastion = Bastion::look(&account.context, since).await?;
            let bastion = bastion
                .instance
                .map(|instance| instance.id)
                .unwrap_or_default();
            if !no_follow {
                let region = account.context.caller.region();
                let command = node::timeline_command(region, &bastion, since);
                let followed = node::follow_command(&nodes, &command, FOLLOW_FOR, &mut say).await?;
                eprintln!("{followed}");
            }
            show::nodes(common.output, &nodes, Timestamp::now());
            if common.output == Output::Text {
                let (context, config) = (&account.context, &account.config);
                print!(
                    "\n{}",
                    node::next_steps(context, config, &bastion, &nodes, &advice)
                );
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// How long nodes are followed: a machine of this size boots in two or three
/// minutes.
const FOLLOW_FOR: core::time::Duration = core::time::Duration::from_secs(900);

async fn take_down(common: &Common) -> Result<ExitCode> {
    let account = Account::open(common).await?;
    let context = &account.context;
    let left = leftovers::scan(context).await?;
    if !left.is_empty() {
        for leftover in &left {
            eprintln!("  {leftover}");
        }
        let ours = left.iter().filter(|it| it.found != Found::InTheWay).count();
        let cost = left.iter().filter(|it| it.costs).count();
        let what = format!("delete {ours} resources, {cost} of which cost money");
        ask::before(&account, common, &what)?;
    }
    let left = down::down(context).await?;
    show::leftovers(common.output, &left);
    Ok(if left.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn write_loader(options: &Loader) -> Result<ExitCode> {
    let config = account::config(&options.common)?;
    let image = gather::loader(&config, &options.loader)?;
    if let Some(folder) = options.out.parent() {
        std::fs::create_dir_all(folder).map_err(|error| Error::io(folder, error))?;
    }
    image.write(&options.out)?;
    println!("{}", options.out.display());
    Ok(ExitCode::SUCCESS)
}
