//! `cargo xtask build`: what each board runs.

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::cargo;
use crate::cross::{BARE_METAL, Compiler};
use crate::steps::succeed;

/// What to build.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The board to build for.
    #[arg(long, value_enum)]
    pub board: Board,
    /// Optimise, as for use.
    #[arg(long)]
    pub release: bool,
}

/// A board, or a check that a board will be possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Board {
    /// The `ichor` binary for this machine.
    Bastion,
    /// The netboot stack as a library for bare-metal aarch64, with and without defmt.
    FirmwareCheck,
}

/// Builds for a board.
pub(crate) fn run(options: &Options) -> Result<()> {
    match options.board {
        Board::Bastion => {
            let mut command = cargo();
            command.args(["build", "--package", "ichor-bastion"]);
            if options.release {
                command.arg("--release");
            }
            succeed(&mut command)
        }
        Board::FirmwareCheck => firmware_for_bare_metal(),
    }
}

/// Builds the netboot stack for a machine without an operating system, logging
/// through defmt and not logging.
pub(crate) fn firmware_for_bare_metal() -> Result<()> {
    let compiler = Compiler::for_target(BARE_METAL)?;
    for features in [&[][..], &["--features", "defmt"]] {
        succeed(
            compiler
                .cargo("build")?
                .args(["--package", "ichor"])
                .args(features),
        )?;
    }
    Ok(())
}
