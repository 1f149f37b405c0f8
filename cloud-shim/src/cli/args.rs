//! What the commands take.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// The home lab's replica in AWS.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
pub(super) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(super) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
#[allow(
    clippy::enum_variant_names,
    reason = "they are named as they are typed"
)]
pub(super) enum Command {
    /// Show what cloud-up would do, and what it costs. Ends with 0 if there is
    /// nothing to do, 2 if there is, 1 on an error.
    CloudPlan(Plan),
    /// Build the replica, or bring it to what cloud.toml says.
    CloudUp(Plan),
    /// Show what is there.
    CloudStatus(Common),
    /// Show what it costs: estimated offline, and what AWS says.
    CloudCost(Cost),
    /// Start, list and end Talos nodes.
    CloudNode(Node),
    /// Delete everything of the lab, and prove that nothing is left.
    CloudDown(Common),
    /// Write the disk image that nodes start from into a file.
    CloudLoader(Loader),
}

/// What every command takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Common {
    /// The description of the lab; without it ./cloud.toml, if there is one.
    #[arg(long, value_name = "FILE")]
    pub(super) config: Option<PathBuf>,
    /// Name of the lab, instead of the one in cloud.toml.
    #[arg(long, value_name = "NAME")]
    pub(super) lab: Option<String>,
    /// Ask nothing.
    #[arg(long)]
    pub(super) yes: bool,
    /// What is written to standard output.
    #[arg(long, value_enum, default_value_t = Output::Text)]
    pub(super) output: Output,
    /// AWS profile, instead of AWS_PROFILE.
    #[arg(long, value_name = "NAME")]
    pub(super) profile: Option<String>,
}

/// The form of what is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Output {
    /// For people.
    Text,
    /// One JSON document, for programs.
    Json,
}

/// What cloud-plan and cloud-up take.
#[derive(Debug, Clone, Args)]
pub(super) struct Plan {
    /// What every command takes.
    #[command(flatten)]
    pub(super) common: Common,
    /// What goes into the replica.
    #[command(flatten)]
    pub(super) content: Content,
    /// Refuse a plan that costs more than this in a month.
    #[arg(long, value_name = "USD")]
    pub(super) max_monthly_usd: Option<f64>,
    /// With egress = "ipv4-hourly": have the public address now. Without this
    /// flag it is given back.
    #[arg(long)]
    pub(super) ipv4: bool,
}

/// Files that go into the replica.
#[derive(Debug, Clone, Args)]
pub(super) struct Content {
    /// The EFI loader that nodes start with.
    #[arg(long, value_name = "FILE", env = "ICHOR_LOADER")]
    pub(super) loader: Option<PathBuf>,
    /// The static arm64 ichor, instead of the one in cloud.toml.
    #[arg(long, value_name = "FILE")]
    pub(super) ichor: Option<PathBuf>,
}

/// What cloud-cost takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Cost {
    /// What every command takes.
    #[command(flatten)]
    pub(super) common: Common,
    /// What goes into the replica.
    #[command(flatten)]
    pub(super) content: Content,
    /// Ask Cost Explorer too; each question costs $0.01.
    #[arg(long)]
    pub(super) ask_aws: bool,
}

/// What cloud-node takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Node {
    /// What to do with nodes.
    #[command(subcommand)]
    pub(super) command: NodeCommand,
}

/// What to do with nodes.
#[derive(Debug, Clone, Subcommand)]
pub(super) enum NodeCommand {
    /// Start nodes, and follow them until they are up.
    Up {
        /// How many.
        #[arg(value_name = "N", default_value_t = 1)]
        count: u32,
        /// Do not wait for them.
        #[arg(long)]
        no_follow: bool,
        /// What every command takes.
        #[command(flatten)]
        common: Common,
    },
    /// Show the nodes, and give each that has no end one.
    List(Common),
    /// Print the patch for Talos machine configs that names the mirrors.
    Patch(Common),
    /// End nodes: those named, or all.
    Down {
        /// Their instance ids.
        #[arg(value_name = "ID")]
        ids: Vec<String>,
        /// What every command takes.
        #[command(flatten)]
        common: Common,
    },
}

/// What cloud-loader takes.
#[derive(Debug, Clone, Args)]
pub(super) struct Loader {
    /// What every command takes.
    #[command(flatten)]
    pub(super) common: Common,
    /// The EFI loader that nodes start with.
    #[arg(long, value_name = "FILE", env = "ICHOR_LOADER")]
    pub(super) loader: PathBuf,
    /// Where the image goes.
    #[arg(long, value_name = "FILE", default_value = "target/cloud/loader.img")]
    pub(super) out: PathBuf,
}
