//! `cargo xtask flash`: an image onto a card or a module, and nothing else by mistake.

use std::fs::{self, File};
use std::io::{self, BufRead, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::disks::{Disk, System};
use super::progress::Progress;
use super::{image, medium, rpiboot};

/// What to write, and where to.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The card or module, as /dev/sdb, or a file. Without it, those that could be meant are listed.
    #[arg(long, value_name = "DEVICE|FILE")]
    pub to: Option<PathBuf>,
    /// Have the user's rpiboot make the eMMC of a compute module a disk first.
    #[arg(long, conflicts_with = "to")]
    pub rpiboot: bool,
    /// The image, instead of target/cm3/ichor-cm3.img.
    #[arg(long, value_name = "FILE")]
    pub image: Option<PathBuf>,
    /// Do not ask before writing.
    #[arg(long)]
    pub yes: bool,
}

/// Flashes, or lists where to.
pub(crate) fn run(options: &Options) -> Result<()> {
    let system = System::this();
    if options.to.is_none() && !options.rpiboot {
        return list(&system);
    }
    let source = options.image.clone().unwrap_or_else(image::default_image);
    let mut image = File::open(&source).with_context(|| {
        format!(
            "no image {}: `cargo xtask build --board cm3 --image` makes one",
            source.display()
        )
    })?;
    let len = image.metadata()?.len();
    ensure!(len > 0, "{}: the image is empty", source.display());
    let to = match &options.to {
        Some(to) => Target::of(&system, to)?,
        None => {
            only_on_linux()?;
            let mut rpiboot = Command::new("rpiboot");
            let disk = rpiboot::disk_of_module(&system, &mut rpiboot, rpiboot::PATIENCE)?;
            Target::Disk(PathBuf::from("/dev").join(&disk.name), disk)
        }
    };
    to.check(&source, len)?;
    if !options.yes {
        to.confirm(&mut io::stdin().lock())?;
    }
    // Time has passed while the person read and typed.
    let to = to.again(&system)?;
    to.check(&source, len)?;

    let mut file = to.open()?;
    let path = to.path();
    let mut progress = Progress::new("writing", len);
    let sums = medium::write(&mut image, len, &mut file, |bytes| progress.add(bytes))
        .with_context(|| format!("cannot write to {}", path.display()))?;
    eprintln!("xtask: waiting until everything is on the medium");
    file.sync_all()
        .with_context(|| format!("{} did not take everything", path.display()))?;
    let mut progress = Progress::new("reading back", len);
    let mut written = medium::reopen(path, &file)?;
    medium::verify(&sums, &mut written, |bytes| progress.add(bytes))
        .with_context(|| format!("{} is not written well", path.display()))?;
    println!(
        "{}: written and read back, sha256 {}",
        path.display(),
        sums.whole
    );
    Ok(())
}

/// Shows the disks that could be meant.
fn list(system: &System) -> Result<()> {
    if cfg!(target_os = "macos") {
        let mut diskutil = Command::new("diskutil");
        return crate::steps::succeed(diskutil.args(["list", "external", "physical"]));
    }
    let disks = system.removable()?;
    for disk in &disks {
        println!("{disk}");
    }
    if disks.is_empty() {
        println!("no card, stick or module is there; `--rpiboot` makes a module's eMMC a disk");
    } else {
        println!("`--to` takes one that is free; everything on it is lost");
    }
    Ok(())
}

fn only_on_linux() -> Result<()> {
    ensure!(
        cfg!(target_os = "linux"),
        "disks are written to on Linux alone; here, Raspberry Pi Imager writes the image as a custom one"
    );
    Ok(())
}

/// Where the image goes.
#[derive(Debug)]
enum Target {
    Disk(PathBuf, Disk),
    File(PathBuf),
}

impl Target {
    fn of(system: &System, path: &Path) -> Result<Self> {
        let found = match fs::metadata(path) {
            Ok(found) => found,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                // A file of that name would swallow the image in memory.
                ensure!(
                    !path.starts_with("/dev"),
                    "{} is not there: is the card in? `cargo xtask flash` lists what there is",
                    path.display()
                );
                return Ok(Self::File(path.to_owned()));
            }
            Err(error) => {
                return Err(error).with_context(|| format!("cannot look at {}", path.display()));
            }
        };
        if found.is_file() {
            return Ok(Self::File(path.to_owned()));
        }
        if !is_disk(&found) {
            bail!("{} is neither a disk nor a file", path.display());
        }
        only_on_linux()?;
        // By whatever name it was called: /dev/disk/by-id has more.
        let path = fs::canonicalize(path)?;
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let disk = system.disk(&name)?;
        Ok(Self::Disk(path, disk))
    }

    /// The same, as it is now.
    fn again(self, system: &System) -> Result<Self> {
        Ok(match self {
            Self::Disk(path, was) => {
                let disk = system.disk(&was.name)?;
                ensure!(
                    (disk.bytes, &disk.model) == (was.bytes, &was.model),
                    "{} is another disk now: {disk}",
                    was.name
                );
                Self::Disk(path, disk)
            }
            Self::File(path) => Self::File(path),
        })
    }

    fn path(&self) -> &Path {
        match self {
            Self::Disk(path, _) | Self::File(path) => path,
        }
    }

    /// Fails if the image of `len` bytes in `source` must not go there.
    fn check(&self, source: &Path, len: u64) -> Result<()> {
        match self {
            Self::Disk(_, disk) => disk.check(len),
            Self::File(path) => {
                let same = fs::canonicalize(path)
                    .is_ok_and(|path| fs::canonicalize(source).is_ok_and(|source| source == path));
                ensure!(!same, "{} is the image itself", path.display());
                Ok(())
            }
        }
    }

    /// Asks whether what is there may be lost.
    fn confirm(&self, answers: &mut impl BufRead) -> Result<()> {
        let name = match self {
            Self::Disk(_, disk) => {
                println!("{disk}\neverything on it will be lost; its name to go on:");
                &disk.name
            }
            Self::File(path) if !path.exists() => return Ok(()),
            Self::File(path) => {
                println!(
                    "{} is there and will be replaced; `yes` to go on:",
                    path.display()
                );
                "yes"
            }
        };
        io::stdout().flush()?;
        let mut answer = String::new();
        answers.read_line(&mut answer)?;
        ensure!(answer.trim() == name, "nothing was written");
        Ok(())
    }

    fn open(&self) -> Result<File> {
        match self {
            Self::Disk(path, _) => medium::claim(path),
            Self::File(path) => {
                File::create(path).with_context(|| format!("cannot write {}", path.display()))
            }
        }
    }
}

#[cfg(unix)]
fn is_disk(found: &fs::Metadata) -> bool {
    use std::os::unix::fs::FileTypeExt as _;
    found.file_type().is_block_device()
}

#[cfg(not(unix))]
fn is_disk(_: &fs::Metadata) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::super::disks::fake::Computer;
    use super::*;

    const USB: &str = "pci0000:00/usb1/1-2";

    fn with_card(name: &str, size: &str) -> Computer {
        let computer = Computer::new(name);
        let files = [
            ("size", size),
            ("removable", "1"),
            ("device/model", "Reader"),
        ];
        computer.disk(USB, "sdb", &files);
        computer
    }

    fn card(computer: &Computer) -> Target {
        let disk = computer.system().disk("sdb").unwrap();
        Target::Disk("/dev/sdb".into(), disk)
    }

    #[test]
    fn a_disk_is_written_to_only_after_its_name_was_typed() {
        let computer = with_card("confirm", "100000");
        let target = card(&computer);
        target.confirm(&mut &b"sdb\n"[..]).unwrap();
        for answer in ["", "\n", "y\n", "yes\n", "sda\n"] {
            let refused = target.confirm(&mut answer.as_bytes()).unwrap_err();
            assert!(refused.to_string().contains("nothing was written"));
        }
    }

    #[test]
    fn a_disk_that_was_exchanged_while_one_typed_is_not_written_to() {
        let computer = with_card("exchange", "100000");
        let target = card(&computer).again(&computer.system()).unwrap();
        computer.file(&format!("sys/devices/{USB}/block/sdb/size"), "200000");
        let error = target.again(&computer.system()).unwrap_err().to_string();
        assert!(error.contains("another disk"), "{error}");
    }

    #[test]
    fn what_is_neither_disk_nor_file_is_refused() {
        let computer = with_card("targets", "100000");
        let system = computer.system();
        for (path, says) in [
            ("/dev/null", "neither"),
            ("/", "neither"),
            ("/dev/no-such-card", "is the card in?"),
        ] {
            let error = Target::of(&system, Path::new(path))
                .unwrap_err()
                .to_string();
            assert!(error.contains(says), "{path}: {error}");
        }
    }

    #[test]
    fn an_image_is_not_written_onto_itself() {
        let path = std::env::temp_dir().join(format!("ichor-itself-{}", std::process::id()));
        fs::write(&path, "image").unwrap();
        let target = Target::of(&System::this(), &path).unwrap();
        let error = target.check(&path, 5).unwrap_err().to_string();
        fs::remove_file(&path).unwrap();
        assert!(error.contains("the image itself"), "{error}");
    }
}
