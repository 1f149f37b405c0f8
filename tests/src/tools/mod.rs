//! The programs and boot files of the lab, fetched without root and without touching the system.
//!
//! On Debian and Ubuntu a [`Set`] of packages is downloaded by a private apt
//! and unpacked under `target/tools/<set>/`; nothing is installed. Elsewhere the
//! programs on `PATH` are used, and files laid into [`Tools::by_hand`].
//!
//! ```no_run
//! use ichor_lab::tools::{Asset, Set, Tools};
//!
//! let tools = Tools::with(&[Set::Boot, Set::Images])?;
//! let mut qemu = tools.command("qemu-system-aarch64")?;
//! qemu.arg("-kernel").arg(tools.file(Asset::Kernel)?);
//! # anyhow::Ok(())
//! ```

mod apt;
mod manifest;
mod programs;
mod sets;
mod sources;

use std::env;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, ensure};

use crate::checksum::sha256;
use apt::{Apt, Distribution};
use manifest::{Deb, Manifest};
use programs::{LIBRARY_PATH, command_under, library_path, on_path, program_under};
use sets::{Origin, Probe, Spec, Wanted};

pub use sets::{Asset, Set};

/// Never unpacked: a C library other than the running loader's crashes every program.
const NOT_UNPACKED: [&str; 3] = ["libc6", "libc-bin", "libc6-i386"];

/// The folder of tools, and how to run what is in it.
#[derive(Debug, Clone)]
pub struct Tools {
    /// Usually `target/tools`.
    folder: PathBuf,
}

impl Tools {
    /// The workspace's tools, as far as they are set up: `$ICHOR_TOOLS`, or
    /// `target/tools` in the workspace. Nothing is fetched.
    #[must_use]
    pub fn here() -> Self {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let workspace = package.parent().unwrap_or(package);
        let folder = env::var_os("ICHOR_TOOLS")
            .map_or_else(|| workspace.join("target/tools"), PathBuf::from);
        Self {
            folder: std::path::absolute(&folder).unwrap_or(folder),
        }
    }

    /// The workspace's tools with `sets` ready to use.
    ///
    /// # Errors
    /// As [`Tools::ensure`].
    pub fn with(sets: &[Set]) -> Result<Self> {
        let tools = Self::here();
        tools.ensure(sets)?;
        Ok(tools)
    }

    /// The folder all sets lie in.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where a person may lay files that cannot be fetched on their system,
    /// named by [`Asset::by_hand`]. They come before fetched ones.
    #[must_use]
    pub fn by_hand(&self) -> PathBuf {
        self.folder.join("by-hand")
    }

    /// Fetches and unpacks what is missing of `sets`; at once if nothing is.
    /// Says what it does on standard error, one line per step.
    ///
    /// # Errors
    /// The network is missing, a package does not exist or does not run, or the
    /// system has no apt and something is neither on `PATH` nor laid in by hand.
    pub fn ensure(&self, sets: &[Set]) -> Result<()> {
        let Some(distribution) = Distribution::detect() else {
            return self.expect_on_system(sets);
        };
        let missing: Vec<_> = sets
            .iter()
            .filter(|set| !self.is_ready(set.spec(), &distribution))
            .collect();
        if missing.is_empty() {
            return Ok(());
        }
        // Tests run in parallel, and so may a `cargo xtask` beside them.
        let _lock = self.lock()?;
        for set in missing {
            let spec = set.spec();
            if !self.is_ready(spec, &distribution) {
                self.set_up(spec, &distribution)
                    .with_context(|| format!("cannot set up the tools `{}`", spec.name))?;
            }
        }
        Ok(())
    }

    /// Removes `sets`, so that the next [`Tools::ensure`] fetches them anew.
    ///
    /// # Errors
    /// A file cannot be removed.
    pub fn remove(&self, sets: &[Set]) -> Result<()> {
        let _lock = self.lock()?;
        for set in sets {
            remove_folder(&self.set_folder(set.spec()))?;
        }
        Ok(())
    }

    /// A command that runs `program` from the tools, with its libraries and
    /// data; else the one on `PATH`.
    ///
    /// # Errors
    /// The program is in no set that is set up, and not on `PATH`.
    pub fn command(&self, program: &str) -> Result<Command> {
        // The compiler of `Cross` is run by its full path alone: it must not
        // stand in for the user's own.
        let lab = [
            Set::Boot,
            Set::Clients,
            Set::Peers,
            Set::Load,
            Set::Capture,
            Set::Filesystems,
            Set::Bastion,
            Set::Valgrind,
        ];
        for root in lab.map(|set| self.root(set)) {
            if let Some(path) = program_under(&root, program) {
                return Ok(command_under(&root, &path));
            }
        }
        on_path(program).map(Command::new).ok_or_else(|| {
            anyhow!("program {program} not found: run `cargo xtask setup`, or install it")
        })
    }

    /// The path of a boot file.
    ///
    /// # Errors
    /// It is neither laid in by hand nor in a set that is set up.
    pub fn file(&self, asset: Asset) -> Result<PathBuf> {
        let by_hand = self.by_hand().join(asset.by_hand());
        if by_hand.exists() {
            return Ok(by_hand);
        }
        let (set, place) = asset.place();
        let root = self.root(set);
        match_path(&root, place)
            // Firmware may be installed on the system, where apt leaves it out.
            .or_else(|| match_path(Path::new("/"), place).filter(|_| set == Set::Boot))
            .ok_or_else(|| {
                anyhow!(
                    "{asset:?} not found as {}: run `cargo xtask setup`, or lay it at {}",
                    root.join(place).display(),
                    by_hand.display()
                )
            })
    }

    /// The folder that stands for `/` to the packages of a set.
    #[must_use]
    pub fn root(&self, set: Set) -> PathBuf {
        self.set_folder(set.spec()).join("root")
    }

    /// A command that runs a program of the first of `sets`. What it starts by
    /// full path from the others finds its libraries too.
    ///
    /// # Errors
    /// The set is not set up or has no such program.
    pub fn command_in(&self, sets: &[Set], program: &str) -> Result<Command> {
        let set = sets.first().context("no set to take a program from")?;
        let roots: Vec<PathBuf> = sets.iter().map(|set| self.root(*set)).collect();
        let roots: Vec<&Path> = roots.iter().map(PathBuf::as_path).collect();
        let mut command = Command::new(self.program_in(*set, program)?);
        command.env(LIBRARY_PATH, library_path(&roots));
        Ok(command)
    }

    /// The full path of a program of this very set.
    ///
    /// # Errors
    /// The set is not set up or has no such program.
    pub fn program_in(&self, set: Set, program: &str) -> Result<PathBuf> {
        let root = self.root(set);
        program_under(&root, program)
            .ok_or_else(|| anyhow!("no program {program} under {}", root.display()))
    }

    fn set_folder(&self, spec: &Spec) -> PathBuf {
        self.folder.join(spec.name)
    }

    fn manifest_path(&self, spec: &Spec) -> PathBuf {
        self.set_folder(spec).join("manifest")
    }

    fn is_ready(&self, spec: &Spec, distribution: &Distribution) -> bool {
        // What the machine had is not unpacked, and may be gone by now.
        let root = self.set_folder(spec).join("root");
        let is_there = |program| program_under(&root, program).or_else(|| on_path(program));
        Manifest::read(&self.manifest_path(spec)).satisfies(&wanted_line(spec, distribution))
            && spec
                .probes
                .iter()
                .all(|probe| is_there(probe.program).is_some())
    }

    fn lock(&self) -> Result<File> {
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot create {}", self.folder.display()))?;
        let file = File::create(self.folder.join("lock"))?;
        if file.try_lock().is_err() {
            say("waiting for another process that sets tools up");
            file.lock()?;
        }
        Ok(file)
    }

    fn set_up(&self, spec: &Spec, distribution: &Distribution) -> Result<()> {
        let name = spec.name;
        let folder = self.set_folder(spec);
        let root = folder.join("root");
        let started = Instant::now();
        say(&format!("{name}: reading package lists"));
        let apt_root = self
            .folder
            .join("apt")
            .join(release_of(spec, distribution).replace(' ', "-"));
        let apt = match spec.origin {
            Origin::Machine => Apt::for_machine(apt_root, distribution)?,
            Origin::MachineArm64 => Apt::for_release(apt_root, &distribution.on_arm64())?,
            Origin::DebianArm64(release) => {
                Apt::for_debian_arm64(&apt_root, distribution, release)?
            }
        };
        apt.update(false)?;
        let resolved = resolve(&apt, spec)?;

        let mut manifest = Manifest::read(&self.manifest_path(spec));
        if manifest.is_stale(&resolved) {
            remove_folder(&folder)?;
            manifest = Manifest::default();
        }
        manifest.wanted = wanted_line(spec, distribution);
        manifest.complete = false;
        let missing: Vec<&Deb> = resolved
            .iter()
            .filter(|deb| !manifest.debs.contains(deb))
            .collect();
        let bytes: u64 = missing.iter().map(|deb| deb.bytes).sum();
        let took = started.elapsed().as_secs_f64();
        say(&format!(
            "{name}: {} packages to fetch, {} ({took:.1} s)",
            missing.len(),
            mb(bytes)
        ));

        let archives = folder.join("archives");
        fs::create_dir_all(&root).with_context(|| format!("cannot create {}", root.display()))?;
        if !missing.is_empty() {
            let started = Instant::now();
            fetch(&apt, &missing, &archives)?;
            let took = started.elapsed().as_secs_f64();
            say(&format!("{name}: fetched {} ({took:.1} s)", mb(bytes)));
        }

        let started = Instant::now();
        for deb in missing {
            let package = archives.join(deb.file_name());
            check_sha256(&package, &deb.sha256)?;
            apt::unpack(&package, &root)?;
            manifest.debs.push(deb.clone());
            manifest.write(&self.manifest_path(spec))?;
            fs::remove_file(&package)?;
        }
        remove_folder(&archives)?;
        for probe in spec.probes {
            self.check_runs(&root, probe)?;
        }
        manifest.complete = true;
        manifest.write(&self.manifest_path(spec))?;
        let took = started.elapsed().as_secs_f64();
        let programs: Vec<&str> = spec.probes.iter().map(|probe| probe.program).collect();
        let ready = if programs.is_empty() {
            "ready".to_owned()
        } else {
            programs.join(", ") + " run"
        };
        say(&format!("{name}: unpacked, {ready} ({took:.1} s)"));
        Ok(())
    }

    /// Runs the program once: a missing library shows here and not in a test.
    fn check_runs(&self, root: &Path, probe: &Probe) -> Result<()> {
        let mut command = match program_under(root, probe.program) {
            Some(path) => command_under(root, &path),
            None => self.command(probe.program)?,
        };
        let output = command.arg(probe.argument).stdin(Stdio::null()).output();
        let output = output.with_context(|| format!("cannot run {}", probe.program))?;
        let told = [output.stdout, output.stderr].concat();
        let told = String::from_utf8_lossy(&told);
        ensure!(
            told.contains(probe.expected),
            "{} does not run: `{} {}` printed: {}",
            probe.program,
            command.get_program().display(),
            probe.argument,
            told.lines().next().unwrap_or("nothing"),
        );
        Ok(())
    }

    /// Without apt: everything of the sets must be there already.
    fn expect_on_system(&self, sets: &[Set]) -> Result<()> {
        let mut lacks = String::new();
        for set in sets {
            let spec = set.spec();
            let programs = spec.probes.iter().map(|probe| probe.program);
            let programs: Vec<&str> = programs.filter(|name| on_path(name).is_none()).collect();
            if !programs.is_empty() {
                lacks += &format!("\n{}: not on PATH: {}", spec.name, programs.join(" "));
                for (system, command) in spec.elsewhere {
                    lacks += &format!("\n    {system}: {command}");
                }
            }
            let files: Vec<&str> = Asset::ALL
                .into_iter()
                .filter(|asset| asset.place().0 == *set && self.file(*asset).is_err())
                .map(Asset::by_hand)
                .collect();
            if !files.is_empty() {
                let packages: Vec<&str> = spec.packages.iter().map(Wanted::name).collect();
                lacks += &format!(
                    "\n{}: not in {}: {}\n    from Debian's packages {}",
                    spec.name,
                    self.by_hand().display(),
                    files.join(" "),
                    packages.join(" "),
                );
            }
        }
        ensure!(
            lacks.is_empty(),
            "tools are fetched on Debian and Ubuntu alone; on this system these are missing:{lacks}"
        );
        Ok(())
    }
}

/// Release and architecture of a set's packages.
fn release_of(spec: &Spec, distribution: &Distribution) -> String {
    match spec.origin {
        Origin::Machine => distribution.label(),
        Origin::MachineArm64 => distribution.on_arm64().label() + " alone",
        Origin::DebianArm64(release) => format!("{release} arm64 alone"),
    }
}

/// What a complete manifest says was asked for.
fn wanted_line(spec: &Spec, distribution: &Distribution) -> String {
    let names: Vec<&str> = spec.packages.iter().map(Wanted::name).collect();
    format!("{} {}", release_of(spec, distribution), names.join(" "))
}

fn resolve(apt: &Apt, spec: &Spec) -> Result<Vec<Deb>> {
    let names = spec
        .packages
        .iter()
        .map(|wanted| match wanted {
            Wanted::Package(name) => Ok((*name).to_owned()),
            Wanted::Behind(name) => apt.behind(name),
        })
        .collect::<Result<Vec<String>>>()?;
    let mut debs = match spec.origin {
        Origin::Machine => apt.resolve_closure(&names)?,
        Origin::DebianArm64(_) | Origin::MachineArm64 => apt.resolve_exact(&names)?,
    };
    debs.retain(|deb| !NOT_UNPACKED.contains(&deb.name.as_str()));
    Ok(debs)
}

/// Downloads packages; once more with new lists if the mirror has moved on.
fn fetch(apt: &Apt, debs: &[&Deb], folder: &Path) -> Result<()> {
    if debs.is_empty() || apt.download(debs, folder).is_ok() {
        return Ok(());
    }
    apt.update(true)?;
    apt.download(debs, folder).context("cannot fetch packages")
}

fn check_sha256(path: &Path, expected: &str) -> Result<()> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let found = sha256(file).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(
        found == expected,
        "{}: sha256 is {found}, not {expected}",
        path.display()
    );
    Ok(())
}

/// The first path under `root` that matches `pattern`, where `*` stands for any
/// text within a component.
fn match_path(root: &Path, pattern: &str) -> Option<PathBuf> {
    let mut path = root.to_owned();
    for component in pattern.split('/') {
        let Some((start, end)) = component.split_once('*') else {
            path.push(component);
            continue;
        };
        let mut names: Vec<String> = path
            .read_dir()
            .ok()?
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| name.starts_with(start) && name.ends_with(end))
            .collect();
        names.sort();
        path.push(names.pop()?);
    }
    path.exists().then_some(path)
}

fn remove_folder(folder: &Path) -> Result<()> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", folder.display()))
        }
        _ => Ok(()),
    }
}

fn mb(bytes: u64) -> String {
    format!("{}.{} MB", bytes / 1_000_000, bytes / 100_000 % 10)
}

fn say(line: &str) {
    eprintln!("tools: {line}");
}
