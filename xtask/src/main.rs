//! The one front door to the workspace: `cargo xtask setup | demo | test | build | image | flash | console | bench | count | cloud-*`.

mod bench;
mod build;
mod cloud;
mod cm3;
mod count;
mod cross;
mod demo;
mod firmware;
mod hil;
mod kernel;
mod machine;
mod push;
mod steps;
mod test;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::Result;
use clap::Parser;
use ichor_lab::tools::{Set, Tools};

/// Tasks of the ichor workspace.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
enum Task {
    /// Fetch every tool that demo, test and build use into target/tools.
    Setup {
        /// Remove what is there and fetch it anew.
        #[arg(long)]
        fresh: bool,
    },
    /// Boot emulated machines from ichor, to see it work.
    Demo(demo::Options),
    /// Check and test everything; what passes here passes in CI.
    Test(test::Options),
    /// Build for a board.
    Build(build::Options),
    /// Try a real board, or the same firmware in QEMU, with real clients. Needs root.
    Hil(hil::Options),
    /// Make a card image for a Raspberry Pi CM3 from the kernel8.img that was built.
    Image(cm3::image::Options),
    /// Write a card image onto a card or module, and read it back.
    Flash(cm3::flash::Options),
    /// Show what a board says on its serial line, log messages decoded.
    Console(cm3::console::Options),
    /// Measure ichor beside what it takes the place of.
    Bench(bench::Options),
    /// Count the instructions of the servers' inner loops, and compare with an earlier count.
    Count(count::Options),
    /// Send a new program or files to a running board over HTTP.
    Push(push::Options),
    /// AWS: show what cloud-up would do, and what it costs.
    CloudPlan(cloud::Arguments),
    /// AWS: build the lab's replica, or bring it to what cloud.toml says.
    CloudUp(cloud::Arguments),
    /// AWS: show what is there.
    CloudStatus(cloud::Arguments),
    /// AWS: show what it costs.
    CloudCost(cloud::Arguments),
    /// AWS: start, list and end nodes.
    CloudNode(cloud::Arguments),
    /// AWS: delete all of the lab, and prove that nothing is left.
    CloudDown(cloud::Arguments),
    /// Write the disk image that nodes in AWS start from into a file.
    CloudLoader(cloud::Arguments),
}

fn main() -> ExitCode {
    match run(Task::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    match task {
        Task::CloudPlan(arguments) => return cloud::run_with_content("cloud-plan", &arguments),
        Task::CloudUp(arguments) => return cloud::run_with_content("cloud-up", &arguments),
        Task::CloudCost(arguments) => return cloud::run_with_content("cloud-cost", &arguments),
        Task::CloudLoader(arguments) => return cloud::run_with_content("cloud-loader", &arguments),
        Task::CloudStatus(arguments) => return cloud::run("cloud-status", &arguments),
        Task::CloudNode(arguments) => return cloud::run("cloud-node", &arguments),
        Task::CloudDown(arguments) => return cloud::run("cloud-down", &arguments),
        Task::Setup { fresh } => setup(fresh),
        Task::Demo(options) => demo::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Build(options) => build::run(&options),
        Task::Hil(options) => hil::run(&options),
        Task::Image(options) => cm3::image::make(&options),
        Task::Flash(options) => cm3::flash::run(&options),
        Task::Console(options) => cm3::console::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Count(options) => count::run(&options),
        Task::Push(options) => push::run(&options),
    }?;
    Ok(ExitCode::SUCCESS)
}

fn setup(fresh: bool) -> Result<()> {
    let tools = Tools::here();
    if fresh {
        tools.remove(&Set::ALL)?;
    }
    tools.ensure(&Set::LAB)?;
    tools.ensure(&[Set::Capture])?;
    cross::Compiler::for_target(cross::Target::BareMetal)?;
    eprintln!("xtask: the tools are in {}", tools.folder().display());
    Ok(())
}

/// The root of the workspace.
fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// The cargo that runs this task, at the root of the workspace.
fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}
