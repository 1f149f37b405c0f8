//! A compiler for targets the host is not: the user's own, or one fetched as Debian packages.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use ichor_lab::tools::{Set, Tools};

use crate::steps::succeed;
use crate::{cargo, workspace};

/// What to build for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// aarch64 without an operating system: the CM3.
    BareMetal,
    /// arm64 Linux, linked statically: the bastion.
    Linux,
}

impl Target {
    /// The target that the user's toolchain may have, by `rustup target add`.
    const fn own_triple(self) -> &'static str {
        match self {
            Self::BareMetal => "aarch64-unknown-none",
            // Brings its own C library, so that no C compiler is needed.
            Self::Linux => "aarch64-unknown-linux-musl",
        }
    }

    const fn fetched_triple(self) -> &'static str {
        match self {
            Self::BareMetal => "aarch64-unknown-none",
            Self::Linux => "aarch64-unknown-linux-gnu",
        }
    }
}

/// Keeps multiply-accumulate instructions away from loads and stores: behind
/// one, a Cortex-A53 up to r0p4, which the CM3 has, may compute a wrong result.
/// rustc passes the feature on to LLVM, but says that it does not know it. (The
/// linker's part, erratum 843419, comes with the target.)
const ERRATUM_835769: &str = "-Ctarget-feature=+fix-cortex-a53-835769";

/// A cargo that builds for one target.
#[derive(Debug)]
pub(crate) struct Compiler {
    triple: &'static str,
    /// The fetched toolchain, if it is not the user's own.
    fetched: Option<Tools>,
    environment: Vec<(String, OsString)>,
    arguments: Vec<&'static str>,
}

impl Compiler {
    /// The user's toolchain if it has the target, else the fetched one.
    pub(crate) fn for_target(target: Target) -> Result<Self> {
        let triple = target.own_triple();
        if own_sysroot()?
            .join("lib/rustlib")
            .join(triple)
            .join("lib")
            .is_dir()
        {
            return Self::own(target);
        }
        Self::fetched(target).with_context(|| {
            format!("no compiler for {triple}; `rustup target add {triple}` brings one")
        })
    }

    fn own(target: Target) -> Result<Self> {
        let mut compiler = Self {
            triple: target.own_triple(),
            fetched: None,
            environment: Vec::new(),
            arguments: Vec::new(),
        };
        match target {
            Target::BareMetal => compiler.compile_with(ERRATUM_835769.into()),
            Target::Linux => {
                compiler.link_with(rust_lld()?);
                compiler.compile_with("-Clink-self-contained=yes".into());
            }
        }
        Ok(compiler)
    }

    fn fetched(target: Target) -> Result<Self> {
        let tools = Tools::with(&[Set::Cross])?;
        let rustc = tools.program_in(Set::Cross, "rustc")?;
        let mut compiler = Self {
            triple: target.fetched_triple(),
            environment: vec![("RUSTC".to_owned(), rustc.into())],
            arguments: Vec::new(),
            fetched: None,
        };
        match target {
            Target::BareMetal => {
                // Meant for nightly compilers. With `core` alone, a dependency
                // that allocates does not build.
                compiler
                    .environment
                    .push(("RUSTC_BOOTSTRAP".to_owned(), "1".into()));
                compiler.arguments.push("-Zbuild-std=core");
                // Debian's compiler comes without the linker it names.
                compiler.link_with(rust_lld()?);
                compiler.compile_with(ERRATUM_835769.into());
            }
            Target::Linux => {
                tools.ensure(&[Set::CrossLinker, Set::CrossStd])?;
                let gcc = tools.program_in(Set::CrossLinker, "aarch64-linux-gnu-gcc")?;
                let std = tools.root(Set::CrossStd).join("usr/lib/rustlib");
                let mut flags = OsString::from("-Ctarget-feature=+crt-static\u{1f}-L");
                flags.push(std.join(compiler.triple).join("lib"));
                compiler.link_with(gcc);
                compiler.compile_with(flags);
            }
        }
        compiler.fetched = Some(tools);
        Ok(compiler)
    }

    fn link_with(&mut self, linker: PathBuf) {
        let name = self.triple.replace('-', "_").to_uppercase();
        self.environment
            .push((format!("CARGO_TARGET_{name}_LINKER"), linker.into()));
    }

    /// Sets flags for rustc, separated by the unit separator.
    fn compile_with(&mut self, flags: OsString) {
        self.environment
            .push(("CARGO_ENCODED_RUSTFLAGS".to_owned(), flags));
    }

    /// `cargo <subcommand>` for the target, in a target folder of its own.
    pub(crate) fn cargo(&self, subcommand: &str) -> Result<Command> {
        let mut command = match &self.fetched {
            None => cargo(),
            Some(tools) => {
                let mut command = tools.command_in(&[Set::Cross, Set::CrossLinker], "cargo")?;
                // Both would lead back to the user's toolchain.
                command.env_remove("RUSTUP_TOOLCHAIN").env_remove("RUSTDOC");
                command.current_dir(workspace());
                command
            }
        };
        command
            .arg(subcommand)
            .args(&self.arguments)
            .args(["--target", self.triple, "--target-dir"])
            .arg(self.folder());
        for (name, value) in &self.environment {
            command.env(name, value);
        }
        Ok(command)
    }

    /// Where a build puts `program`.
    pub(crate) fn artifact(&self, profile: &str, program: &str) -> PathBuf {
        self.folder().join(self.triple).join(profile).join(program)
    }

    /// Copies a program to `to` without symbols and debug information.
    pub(crate) fn strip(&self, program: &Path, to: &Path) -> Result<()> {
        let mut strip = match &self.fetched {
            Some(tools) => tools.command_in(&[Set::CrossLinker], "aarch64-linux-gnu-objcopy")?,
            None => {
                let mut objcopy = Command::new(beside_rust_lld("rust-objcopy")?);
                objcopy.env("LD_LIBRARY_PATH", own_sysroot()?.join("lib"));
                objcopy
            }
        };
        succeed(strip.arg("--strip-all").args([program, to]))
    }

    /// One per target: builds with different settings would undo each other.
    fn folder(&self) -> PathBuf {
        workspace().join("target/cross").join(self.triple)
    }
}

/// The linker inside the user's toolchain: it links for every target.
fn rust_lld() -> Result<PathBuf> {
    beside_rust_lld("rust-lld")
}

/// A program inside the user's toolchain.
fn beside_rust_lld(program: &str) -> Result<PathBuf> {
    let rustlib = own_sysroot()?.join("lib/rustlib");
    let hosts = rustlib.read_dir().into_iter().flatten().flatten();
    hosts
        .map(|host| {
            host.path()
                .join("bin")
                .join(format!("{program}{}", std::env::consts::EXE_SUFFIX))
        })
        .find(|path| path.exists())
        .with_context(|| format!("no {program} in {}", rustlib.display()))
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
