//! The initrd of a test node: busybox and a script that asks of the network what Talos asks.
//!
//! Talos images are large and not for redistribution; this takes their place.
//! The node loads its network driver, gets a lease, fetches `talos.config=` and
//! prints on the console, once,
//! `ichor-node: up mac=<mac> ip=<address> config=<sha256> uptime=<seconds>`.
//! `init.sh` tells the rest.

mod cpio;
mod modules;

use std::fs;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use flate2::Compression;
use flate2::write::GzEncoder;

use crate::tools::{Asset, Set, Tools};
pub use cpio::Cpio;

/// Drivers of the network card of a QEMU machine, on PCI or on MMIO.
const MODULES: [&str; 4] = ["virtio_pci", "virtio_mmio", "virtio_net", "af_packet"];

/// The programs of busybox that the scripts call.
const APPLETS: [&str; 26] = [
    "cat",
    "cut",
    "dmesg",
    "echo",
    "grep",
    "head",
    "hostname",
    "insmod",
    "ip",
    "ls",
    "mount",
    "poweroff",
    "rm",
    "sed",
    "seq",
    "sh",
    "sha256sum",
    "sleep",
    "tail",
    "tftp",
    "touch",
    "tr",
    "udhcpc",
    "wget",
    "[",
    "uname",
];

/// What an initrd holds beside busybox.
#[derive(Debug, Clone, Copy)]
pub struct Recipe<'a> {
    /// The folder of kernel modules.
    pub modules_of: Asset,
    /// The modules to put in, with what they depend on. Their names are in
    /// `/modules/order` in the order to load them.
    pub modules: &'a [&'a str],
    /// The first program: a script for busybox' shell.
    pub init: &'a [u8],
    /// Programs of busybox, beside those that the scripts here call.
    pub applets: &'a [&'a str],
}

/// Builds the initrd for [`Asset::Kernel`], a gzipped cpio archive.
///
/// # Errors
/// The set [`Set::Images`] cannot be set up, or its kernel lacks a module.
pub fn build(tools: &Tools) -> Result<Vec<u8>> {
    let node = Recipe {
        modules_of: Asset::Modules,
        modules: &MODULES,
        init: include_bytes!("init.sh"),
        applets: &[],
    };
    build_by(tools, &node)
}

/// Builds an initrd by a recipe, a gzipped cpio archive. `udhcpc` in it has
/// the script `/bin/on-lease`.
///
/// # Errors
/// The set [`Set::Images`] cannot be set up, the set that has the modules is
/// not, or the kernel lacks one.
pub fn build_by(tools: &Tools, recipe: &Recipe<'_>) -> Result<Vec<u8>> {
    tools.ensure(&[Set::Images])?;
    let busybox = tools.file(Asset::Busybox)?;
    let busybox =
        fs::read(&busybox).with_context(|| format!("cannot read {}", busybox.display()))?;
    let modules = modules::read_with_dependencies(&tools.file(recipe.modules_of)?, recipe.modules)?;

    let mut cpio = Cpio::new();
    for folder in ["bin", "dev", "etc", "modules", "proc", "sys", "tmp"] {
        cpio.directory(folder);
    }
    // The kernel opens it for the first program before devtmpfs is there.
    cpio.character_device("dev/console", 5, 1);
    cpio.file("init", 0o755, recipe.init);
    cpio.file("bin/on-lease", 0o755, include_bytes!("on-lease.sh"));
    cpio.file("bin/busybox", 0o755, &busybox);
    for applet in APPLETS.iter().chain(recipe.applets) {
        cpio.symlink(&format!("bin/{applet}"), "busybox");
    }
    let mut order = String::new();
    for module in &modules {
        cpio.file(
            &format!("modules/{}.ko", module.name),
            0o644,
            &module.content,
        );
        order += &module.name;
        order.push('\n');
    }
    cpio.file("modules/order", 0o644, order.as_bytes());

    let mut gzip = GzEncoder::new(Vec::new(), Compression::default());
    gzip.write_all(&cpio.finish())?;
    Ok(gzip.finish()?)
}

/// Builds the initrd into a file.
///
/// # Errors
/// As [`build`], or the file cannot be written.
pub fn write(tools: &Tools, path: &Path) -> Result<()> {
    let initrd = build(tools)?;
    fs::write(path, initrd).with_context(|| format!("cannot write {}", path.display()))
}
