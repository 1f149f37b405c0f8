//! `cargo xtask build`: what each board runs.

use anyhow::Result;
use clap::{Args, ValueEnum};

use crate::cargo;
use crate::cross::{Compiler, Target};
use crate::steps::succeed;

/// What to build.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The board to build for.
    #[arg(long, value_enum)]
    pub board: Board,
    /// Build for arm64 Linux, statically linked, and not for this machine (bastion).
    #[arg(long)]
    pub arm64: bool,
    /// Optimise, as for use.
    #[arg(long)]
    pub release: bool,
}

/// A board, or a check that a board will be possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Board {
    /// The `ichor` binary.
    Bastion,
    /// The netboot stack as a library for bare-metal aarch64, with and without defmt.
    FirmwareCheck,
}

/// Builds for a board.
pub(crate) fn run(options: &Options) -> Result<()> {
    match options.board {
        Board::Bastion => bastion(options),
        Board::FirmwareCheck => firmware_for_bare_metal(),
    }
}

fn bastion(options: &Options) -> Result<()> {
    let profile = if options.release { "release" } else { "dev" };
    let arguments = ["--package", "ichor-bastion", "--profile", profile];
    if !options.arm64 {
        return succeed(cargo().arg("build").args(arguments));
    }
    let compiler = Compiler::for_target(Target::Linux)?;
    succeed(compiler.cargo("build")?.args(arguments))?;
    let folder = if options.release { "release" } else { "debug" };
    println!("{}", compiler.artifact(folder, "ichor").display());
    Ok(())
}

/// Builds the netboot stack for a machine without an operating system, logging
/// through defmt and not logging.
pub(crate) fn firmware_for_bare_metal() -> Result<()> {
    let compiler = Compiler::for_target(Target::BareMetal)?;
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
