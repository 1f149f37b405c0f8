//! `cargo xtask bench`: ichor beside what it takes the place of, on this machine.

mod boot;
mod cm3;
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
    /// The CM3's firmware beside Linux on the same emulated board: time to the
    /// network, and HTTP through its USB adapter.
    Cm3(cm3::Options),
}

/// Measures one row and prints it.
pub(crate) fn run(row: &Row) -> Result<()> {
    match row {
        Row::Boot(options) => boot::run(options),
        Row::Cm3(options) => cm3::run(options),
    }
}
