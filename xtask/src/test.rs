//! `cargo xtask test`: every check of the workspace, the quick ones first.

use anyhow::Result;
use clap::Args;
use ichor_lab::tools::{Set, Tools};

use crate::steps::Steps;
use crate::{build, cargo, cloud, firmware};

/// How far to test.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Leave out what fetches tools: the cross builds, the cloud shim (whose SDK
    /// takes minutes to compile) and the end-to-end tests.
    #[arg(long)]
    pub quick: bool,
}

/// Runs all checks up to the first that fails, and sums them up.
pub(crate) fn run(options: &Options) -> Result<()> {
    let mut steps = Steps::default();
    let outcome = take_all(&mut steps, options);
    steps.summarise();
    outcome
}

fn take_all(steps: &mut Steps, options: &Options) -> Result<()> {
    steps.command("format", cargo().args(["fmt", "--all", "--check"]))?;
    steps.run("firmware without unsafe, std or alloc", firmware::check)?;
    steps.command(
        "lints",
        cargo()
            .args(["clippy", "--workspace", "--exclude", "ichor-cloud"])
            .args(["--all-targets", "--quiet", "--", "-D", "warnings"]),
    )?;
    steps.command(
        "the ichor binary",
        cargo().args(["build", "--package", "ichor-bastion"]),
    )?;
    // All but the lab's own tests, which boot machines and come last. Some of
    // these need root, as they make network namespaces; they say so.
    let mut unit = cargo();
    unit.args([
        "test",
        "--workspace",
        "--exclude",
        "ichor-lab",
        "--exclude",
        "ichor-cloud",
        "--no-fail-fast",
    ]);
    if !options.quick {
        // What an update leaves on a card is looked at with it, too.
        steps.run("tools", || {
            Tools::here().ensure(&Set::LAB)?;
            let fsck = Tools::with(&[Set::Filesystems])?;
            unit.env("ICHOR_FSCK", fsck.program_in(Set::Filesystems, "fsck.fat")?);
            Ok(())
        })?;
    }
    steps.tests("unit tests", &mut unit)?;
    let lab = ["test", "--package", "ichor-lab", "--lib", "--no-fail-fast"];
    steps.tests("unit tests of the lab", cargo().args(lab))?;
    if options.quick {
        return Ok(());
    }
    let mut cloud = cloud::linted_tests();
    steps.tests(
        "lints and tests of the cloud shim",
        cloud.arg("--no-fail-fast"),
    )?;
    steps.run("firmware for bare metal", build::firmware_for_bare_metal)?;
    steps.run("kernel8.img for the CM3", || build::cm3().map(drop))?;
    let lab = [
        "test",
        "--package",
        "ichor-lab",
        "--test",
        "*",
        "--no-fail-fast",
    ];
    steps.tests("end-to-end tests", cargo().args(lab))
}
