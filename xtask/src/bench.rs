//! `cargo xtask bench`: ichor beside what it takes the place of, on this machine.

mod boot;
mod load;
mod summary;

use anyhow::Result;
use clap::Subcommand;

/// What to measure.
#[derive(Debug, Subcommand)]
pub(crate) enum Row {
    /// From power-on to init: a machine boots by UEFI PXE, iPXE and HTTP, in turn
    /// from ichor and from dnsmasq with nginx. Needs root.
    Boot(boot::Options),
}

/// Measures one row and prints it.
pub(crate) fn run(row: &Row) -> Result<()> {
    match row {
        Row::Boot(options) => boot::run(options),
    }
}
