//! What is on the card: the VideoCore's files, our program, the operator's folder.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use ichor_fat32::{Content, Folder};

/// The program. An update keeps the one before it as `kernel8.old`.
const KERNEL: &str = "kernel8.img";
/// What `cargo xtask build --board cm3` holds the program to, in bytes.
const KERNEL_MAX: usize = 1 << 20;
/// Files without which a Pi with our `config.txt` does not start.
const NEEDED: [&str; 3] = ["bootcode.bin", "start_cd.elf", "fixup_cd.dat"];
/// Files for other settings of `gpu_mem`, and the device tree of a CM3.
const WANTED: [&str; 3] = ["start.elf", "fixup.dat", "bcm2710-rpi-cm3.dtb"];
const CONFIG: &str = include_str!("config.txt");
const CONFIG_NAME: &str = "config.txt";
/// Folders that an empty card has, to show where files belong.
const FOLDERS: [&str; 3] = ["assets", "groups", "profiles"];

/// Where everything comes from.
#[derive(Debug)]
pub(super) struct Sources<'a> {
    pub kernel: &'a Path,
    /// `bootcode.bin` and the like.
    pub firmware: &'a Path,
    /// The data folder, if there is one yet.
    pub data: Option<&'a Path>,
    /// As it stands in `ichor.key`.
    pub key: &'a str,
}

/// The root folder of a card.
pub(super) fn root(sources: &Sources) -> Result<Folder> {
    let mut root = Folder::default();
    root.add_short(KERNEL, Content::Bytes(kernel(sources.kernel)?))?;
    add_firmware(&mut root, sources.firmware)?;
    let own = sources.data.map(|data| data.join(CONFIG_NAME));
    let config = match own.filter(|path| path.exists()) {
        Some(path) => Content::file(path)?,
        None => Content::Bytes(CONFIG.into()),
    };
    root.add_short(CONFIG_NAME, config)?;
    let key = format!("{}\n", sources.key);
    root.add_file("ichor.key", Content::Bytes(key.into_bytes()))?;
    if let Some(data) = sources.data {
        add_folder(&mut root, data, true)?;
    }
    for name in FOLDERS {
        if !root.has(name) {
            root.add_folder(name, Folder::default())?;
        }
    }
    Ok(root)
}

fn kernel(path: &Path) -> Result<Vec<u8>> {
    let kernel = fs::read(path).with_context(|| {
        format!(
            "cannot read {}: `cargo xtask build --board cm3` makes it",
            path.display()
        )
    })?;
    ensure!(
        (1..=KERNEL_MAX).contains(&kernel.len()),
        "{}: {} bytes, and a program for the board has 1 to {KERNEL_MAX}",
        path.display(),
        kernel.len()
    );
    Ok(kernel)
}

fn add_firmware(root: &mut Folder, folder: &Path) -> Result<()> {
    let missing: Vec<&str> = NEEDED
        .into_iter()
        .filter(|name| !folder.join(name).is_file())
        .collect();
    ensure!(
        missing.is_empty(),
        "{}: no {}; the folder `boot` of Raspberry Pi's firmware has them",
        folder.display(),
        missing.join(", ")
    );
    for name in NEEDED.into_iter().chain(WANTED) {
        let path = folder.join(name);
        if !path.is_file() {
            continue;
        }
        let content = Content::file(path)?;
        if name.len() <= "12345678.123".len() {
            root.add_short(name, content)?;
        } else {
            root.add_file(name, content)?;
        }
    }
    // Whoever passes the card on must pass the licence on with it.
    let licence = [
        folder.join("LICENCE.broadcom"),
        folder.join("../../share/doc/raspi-firmware/copyright"),
    ];
    if let Some(path) = licence.into_iter().find(|path| path.is_file()) {
        root.add_file("LICENCE.broadcom", Content::file(path)?)?;
    }
    Ok(())
}

/// Adds what is in `folder`, in byte order. Names that begin with a dot stay
/// behind: they are of version control and of file managers.
fn add_folder(to: &mut Folder, folder: &Path, is_root: bool) -> Result<()> {
    let cannot = || format!("cannot read {}", folder.display());
    let mut entries: Vec<PathBuf> = folder
        .read_dir()
        .with_context(cannot)?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<_>>()
        .with_context(cannot)?;
    entries.sort();
    for path in entries {
        let name = path.file_name().unwrap_or_default();
        let name = name
            .to_str()
            .with_context(|| format!("{}: not a name in UTF-8", path.display()))?;
        // config.txt has its place already.
        if name.starts_with('.') || is_root && name == CONFIG_NAME {
            continue;
        }
        let kind = fs::metadata(&path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .file_type();
        let outcome = if kind.is_dir() {
            let mut inside = Folder::default();
            add_folder(&mut inside, &path, false)?;
            to.add_folder(name, inside)
        } else if kind.is_file() {
            to.add_file(name, Content::file(path.clone())?)
        } else {
            bail!("{}: neither a file nor a folder", path.display());
        };
        outcome.with_context(|| format!("{} cannot be on the card", path.display()))?;
    }
    Ok(())
}
