//! `cargo xtask build`: what each board runs.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::cm3::image;
use crate::cross::{Compiler, Target};
use crate::kernel::Kernel;
use crate::steps::succeed;
use crate::{cargo, workspace};

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
    /// Make a card image with it as well (cm3).
    #[arg(long = "image")]
    pub with_image: bool,
    /// What else is on the card.
    #[command(flatten)]
    pub card: Option<image::Options>,
}

/// A board, or a check that a board will be possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Board {
    /// The `ichor` binary.
    Bastion,
    /// `kernel8.img` for a Raspberry Pi CM3; always optimised.
    Cm3,
    /// The netboot stack as a library for bare-metal aarch64, with and without defmt.
    FirmwareCheck,
}

/// Builds for a board.
pub(crate) fn run(options: &Options) -> Result<()> {
    ensure!(
        options.with_image || options.card.is_none(),
        "only a card image has data, files of the VideoCore, a size, a key or an --out: add --image"
    );
    ensure!(
        !options.with_image || options.board == Board::Cm3,
        "only the cm3 starts from a card image"
    );
    match options.board {
        Board::Bastion => bastion(options),
        Board::Cm3 => {
            let built = cm3()?;
            println!("{}", built.image.display());
            if options.with_image {
                image::make(&options.card.clone().unwrap_or_default())?;
            }
            Ok(())
        }
        Board::FirmwareCheck => firmware_for_bare_metal(),
    }
}

fn bastion(options: &Options) -> Result<()> {
    let profile = if options.release { "release" } else { "dev" };
    if !options.arm64 {
        let arguments = ["build", "--package", "ichor-bastion", "--profile", profile];
        return succeed(cargo().args(arguments));
    }
    println!("{}", bastion_for_arm64(profile)?.display());
    Ok(())
}

/// Builds the static arm64 `ichor` with a profile of cargo's.
pub(crate) fn bastion_for_arm64(profile: &str) -> Result<PathBuf> {
    let compiler = Compiler::for_target(Target::Linux)?;
    let arguments = ["--package", "ichor-bastion", "--profile", profile];
    succeed(compiler.cargo("build")?.args(arguments))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(compiler.artifact(folder, "ichor"))
}

/// What a build for the CM3 leaves.
#[derive(Debug)]
pub(crate) struct Cm3 {
    /// `kernel8.img`, as the boot loader loads it.
    pub image: PathBuf,
    /// The same program with its symbols and the texts of its log messages.
    pub elf: PathBuf,
}

/// Builds `kernel8.img`, and keeps the ELF file beside it that its log is
/// decoded with.
pub(crate) fn cm3() -> Result<Cm3> {
    const PROGRAM: &str = "ichor-cm3";
    let compiler = Compiler::for_target(Target::BareMetal)?;
    let mut build = compiler.cargo("build")?;
    build.args(["--package", PROGRAM, "--profile", "kernel"]);
    // What defmt leaves out it leaves out of the image.
    if std::env::var_os("DEFMT_LOG").is_none() {
        build.env("DEFMT_LOG", "info");
    }
    succeed(&mut build)?;
    let folder = workspace().join("target/cm3");
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let linked = compiler.artifact("kernel", PROGRAM);
    let program = fs::read(&linked).with_context(|| format!("cannot read {}", linked.display()))?;
    let kernel = Kernel::of_elf(&program).with_context(|| format!("{}", linked.display()))?;
    let built = Cm3 {
        image: folder.join("kernel8.img"),
        elf: folder.join("ichor-cm3.elf"),
    };
    for (path, bytes) in [(&built.image, &kernel.image), (&built.elf, &program)] {
        fs::write(path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    eprintln!("xtask: {kernel}");
    Ok(built)
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
