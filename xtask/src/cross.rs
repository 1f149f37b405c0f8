//! A compiler for targets the host is not: the user's own, or one fetched as Debian packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use ichor_lab::tools::{Set, Tools};

use crate::{cargo, workspace};

/// aarch64 without an operating system: the CM3.
pub(crate) const BARE_METAL: &str = "aarch64-unknown-none";

/// A compiler that can build for `target`.
#[derive(Debug)]
pub(crate) struct Compiler {
    target: &'static str,
    source: Source,
}

#[derive(Debug)]
enum Source {
    /// The user's toolchain has the target's `core`.
    Own,
    /// The fetched toolchain builds `core` from its sources first.
    Fetched(Tools),
}

/// Whether bare-metal builds need the fetched compiler.
pub(crate) fn needs_tools() -> bool {
    !own_toolchain_has(BARE_METAL).unwrap_or(false)
}

impl Compiler {
    /// The user's compiler if `rustup target add` has brought the target, else
    /// the fetched one.
    pub(crate) fn for_target(target: &'static str) -> Result<Self> {
        if own_toolchain_has(target)? {
            return Ok(Self {
                target,
                source: Source::Own,
            });
        }
        let tools = Tools::with(&[Set::Cross]).with_context(|| {
            format!("no compiler for {target}: try `rustup target add {target}`")
        })?;
        Ok(Self {
            target,
            source: Source::Fetched(tools),
        })
    }

    /// `cargo <subcommand>` for the target, in a target folder of its own.
    pub(crate) fn cargo(&self, subcommand: &str) -> Result<Command> {
        let mut command = match &self.source {
            Source::Own => {
                let mut command = cargo();
                command.arg(subcommand);
                command
            }
            Source::Fetched(tools) => {
                let mut command = tools.command_in(Set::Cross, "cargo")?;
                let rustc = tools.command_in(Set::Cross, "rustc")?;
                command
                    .current_dir(workspace())
                    .env("RUSTC", rustc.get_program())
                    // Both belong to the user's toolchain.
                    .env_remove("RUSTUP_TOOLCHAIN")
                    .env_remove("RUSTDOC")
                    // `-Zbuild-std` is for nightly compilers; with `core` alone,
                    // a dependency that allocates does not build.
                    .env("RUSTC_BOOTSTRAP", "1")
                    .args([subcommand, "-Zbuild-std=core"]);
                if let Some(linker) = rust_lld()? {
                    // Debian's compiler comes without the linker it names.
                    let name = self.target.replace('-', "_").to_uppercase();
                    command.env(format!("CARGO_TARGET_{name}_LINKER"), linker);
                }
                command
            }
        };
        let folder = workspace().join("target/cross");
        command
            .args(["--target", self.target, "--target-dir"])
            .arg(folder);
        Ok(command)
    }
}

/// Whether the user's toolchain has a standard library for `target`, however it came.
fn own_toolchain_has(target: &str) -> Result<bool> {
    Ok(own_sysroot()?
        .join("lib/rustlib")
        .join(target)
        .join("lib")
        .is_dir())
}

fn rust_lld() -> Result<Option<PathBuf>> {
    let rustlib = own_sysroot()?.join("lib/rustlib");
    let hosts = rustlib.read_dir().into_iter().flatten().flatten();
    Ok(hosts
        .map(|host| host.path().join("bin/rust-lld"))
        .find(|linker| linker.exists()))
}

fn own_sysroot() -> Result<PathBuf> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let output = Command::new(rustc)
        .args(["--print", "sysroot"])
        .current_dir(workspace())
        .output()
        .context("cannot run rustc")?;
    if !output.status.success() {
        bail!(
            "rustc does not tell its sysroot: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(Path::new(String::from_utf8_lossy(&output.stdout).trim()).to_owned())
}
