//! Boots emulated machines from ichor.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};

/// What to boot, and how.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// How many machines to boot.
    #[arg(long, default_value_t = 3)]
    pub nodes: usize,
    /// The way the machines' firmware boots.
    #[arg(long, value_enum, default_value_t = Via::Pxe)]
    pub via: Via,
}

/// A way to boot from the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Via {
    /// UEFI PXE: DHCP, TFTP, then iPXE over HTTP.
    Pxe,
    /// UEFI HTTP Boot.
    Http,
    /// U-Boot: DHCP and TFTP.
    Uboot,
}

/// Runs the demo.
pub(crate) fn run(options: &Options) -> Result<()> {
    bail!(
        "no demo of {} nodes via {:?} yet",
        options.nodes,
        options.via
    )
}
