//! `cargo xtask cloud-*`: hands the command to the program `ichor-cloud`, which
//! alone is built with the AWS SDK.

use std::ffi::OsString;
use std::fs;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result};
use clap::Args;
use ichor_lab::tools::{Asset, Set, Tools};

use crate::build;
use crate::steps::succeed;
use crate::{cargo, workspace};

/// What the program takes: see `cargo xtask cloud-plan --help`.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(crate) struct Arguments {
    #[arg(
        trailing_var_arg = true,
        allow_hyphen_values = true,
        value_name = "ARGUMENTS"
    )]
    arguments: Vec<OsString>,
}

/// Runs a command that only asks AWS and the files at hand.
pub(crate) fn run(command: &str, arguments: &Arguments) -> Result<ExitCode> {
    go(program(command, arguments)?)
}

/// Runs a command that also looks at what goes into the replica: the arm64
/// `ichor`, and the EFI loader of Debian's iPXE unless another one is named.
pub(crate) fn run_with_content(command: &str, arguments: &Arguments) -> Result<ExitCode> {
    let mut program = program(command, arguments)?;
    let only_asks = |argument: &OsString| argument == "--help" || argument == "-h";
    if !arguments.arguments.iter().any(only_asks) {
        bastion()?;
        const LOADER: &str = "ICHOR_LOADER";
        if std::env::var_os(LOADER).is_none() {
            let tools = Tools::with(&[Set::Images])?;
            program.env(LOADER, tools.file(Asset::IpxeArm64)?);
        }
    }
    go(program)
}

/// Puts the bastion's program where `cloud.toml` has it by default.
fn bastion() -> Result<()> {
    let built = build::bastion_for_arm64("release")?;
    let folder = workspace().join("target/bastion");
    let place = folder.join("ichor");
    fs::create_dir_all(&folder)
        .and_then(|()| fs::copy(&built, &place))
        .with_context(|| format!("cannot write {}", place.display()))?;
    Ok(())
}

/// The built program with its command.
fn program(command: &str, arguments: &Arguments) -> Result<Command> {
    succeed(cargo_for_cloud("build").arg("--quiet"))?;
    let mut program = Command::new(workspace().join(TARGET).join("debug/ichor-cloud"));
    program.arg(command).args(&arguments.arguments);
    Ok(program)
}

fn go(mut program: Command) -> Result<ExitCode> {
    let status = program.status().context("cannot run ichor-cloud")?;
    // Ended by a signal: as a shell tells it.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(1)))
}

/// Crates of the AWS SDK that have a function for each of hundreds of calls, of
/// which the shim makes a few.
const SERVICES: [&str; 12] = [
    "aws-sdk-autoscaling",
    "aws-sdk-costexplorer",
    "aws-sdk-ebs",
    "aws-sdk-ec2",
    "aws-sdk-freetier",
    "aws-sdk-iam",
    "aws-sdk-s3",
    "aws-sdk-scheduler",
    "aws-sdk-ssm",
    "aws-sdk-sso",
    "aws-sdk-ssooidc",
    "aws-sdk-sts",
];

/// Where it is built. In the folder of all others a cargo without
/// `RUSTC_BOOTSTRAP` would have proc-macro2 built anew, and with it the SDK.
const TARGET: &str = "target/cloud";

/// A cargo for the package with the AWS SDK. Whatever is done with that package
/// goes through here: with other flags all of the SDK is built again.
///
/// `hint-mostly-unused` leaves the machine code of the SDK's functions to who
/// calls them. It is not stable yet. In Cargo.toml it makes every stable cargo
/// warn; on the command line, with `RUSTC_BOOTSTRAP` for this one command, it
/// does not. A cargo that no longer knows it fails here and says so: then it
/// goes, and the build only takes longer.
pub(crate) fn cargo_for_cloud(subcommand: &str) -> Command {
    let mut command = cargo();
    command.env("RUSTC_BOOTSTRAP", "1");
    command.args(["-Zprofile-hint-mostly-unused", subcommand]);
    for service in SERVICES {
        command.arg("--config");
        command.arg(format!(
            "profile.dev.package.{service}.hint-mostly-unused=true"
        ));
    }
    command.args(["--package", "ichor-cloud", "--target-dir", TARGET]);
    command
}

/// Tests of that package, all of it linted on the way: Clippy takes the
/// compiler's place for it, and finds the SDK built. A `cargo clippy` would
/// check the SDK once more, for minutes.
pub(crate) fn linted_tests() -> Command {
    let mut command = cargo_for_cloud("test");
    command.env("RUSTC_WORKSPACE_WRAPPER", "clippy-driver");
    // Arguments as `cargo clippy` hands them on.
    command.env(
        "CLIPPY_ARGS",
        "-D__CLIPPY_HACKERY__warnings__CLIPPY_HACKERY__",
    );
    command
}
