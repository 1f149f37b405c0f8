//! The one front door: setup.

use anyhow::Result;
use clap::Parser;
use ichor_lab::tools::{Set, Tools};

/// The tasks of the workspace.
#[derive(Parser)]
enum Task {
    /// Fetch the tools of the lab into target/tools.
    Setup,
}

fn main() -> Result<()> {
    match Task::parse() {
        Task::Setup => Tools::with(&Set::ALL).map(drop),
    }
}
