//! The CM3's firmware on a virtual Raspberry Pi: its program, its card, and what its console tells.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use crate::defmt::{Decoder, Program, Said};
use crate::raspi::{Attach, Kernel, Parts, Raspi};
use crate::tools::Tools;

/// `ichor.toml` of a board that serves a lab, at the lab's usual address.
pub const SETTINGS: &str = "address = \"192.0.2.1/24\"\n\
    dhcp = \"server\"\n\
    pool = \"192.0.2.50-192.0.2.99\"\n";

/// How often the console is looked at.
const LOOK: Duration = Duration::from_millis(20);

/// What `cargo xtask build --board cm3` made.
#[derive(Debug, Clone)]
pub struct Built {
    /// `kernel8.img`.
    pub kernel: PathBuf,
    /// The ELF file of the same build, which decodes its log.
    pub elf: PathBuf,
}

/// The program as it was built last.
///
/// # Errors
/// It was not built.
pub fn built() -> Result<Built> {
    let folder = workspace().join("target/cm3");
    let built = Built {
        kernel: folder.join("kernel8.img"),
        elf: folder.join("ichor-cm3.elf"),
    };
    for file in [&built.kernel, &built.elf] {
        ensure!(
            file.is_file(),
            "no {}: run `cargo xtask build --board cm3`",
            file.display()
        );
    }
    Ok(built)
}

/// Makes the image of a card in `folder`, with the data folder `data` on it.
/// The key for updates is beside it, as `push.key`.
///
/// # Errors
/// Those of `cargo xtask image`.
pub fn card(built: &Built, data: &Path, folder: &Path) -> Result<PathBuf> {
    let image = folder.join("card.img");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["xtask", "image", "--data"])
        .arg(data)
        .arg("--kernel")
        .arg(&built.kernel)
        .arg("--out")
        .arg(&image)
        .current_dir(workspace())
        .output()
        .context("cannot run cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo xtask image failed: {said}");
    Ok(image)
}

fn workspace() -> PathBuf {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    package.parent().unwrap_or(package).to_owned()
}

/// A virtual Pi with the CM3's firmware; dropping it pulls the plug.
#[derive(Debug)]
pub struct Board {
    raspi: Raspi,
    elf: Vec<u8>,
}

impl Board {
    /// Builds a board and powers it on.
    ///
    /// # Errors
    /// QEMU does not start, or a file cannot be read.
    pub fn power_on(
        tools: &Tools,
        built: &Built,
        card: Option<&Path>,
        attach: Attach<'_>,
        folder: &Path,
    ) -> Result<Self> {
        let elf = std::fs::read(&built.elf)
            .with_context(|| format!("cannot read {}", built.elf.display()))?;
        let parts = Parts {
            name: "pi",
            kernel: Kernel::Raw(&built.kernel),
            card,
            attach,
            folder,
        };
        // It is idle most of the time: no machine waits for its turn.
        let raspi = Raspi::power_on(tools, &parts, None)?;
        Ok(Self { raspi, elf })
    }

    /// The machine.
    pub fn raspi(&mut self) -> &mut Raspi {
        &mut self.raspi
    }

    /// What it logged so far, decoded, line by line.
    ///
    /// # Errors
    /// It is off, or its program has no log messages.
    pub fn log(&self) -> Result<Vec<String>> {
        let bytes = self.raspi.serial()?.bytes_from(0);
        let mut decoder = Decoder::new(Some(Program::parse(&self.elf)?));
        let said = decoder.push(&bytes);
        Ok(said.iter().map(Said::to_string).collect())
    }

    /// Waits for a line of its log with `text` in it.
    ///
    /// # Errors
    /// It does not come within `patience`; the log so far is told.
    pub fn wait_for(&self, text: &str, patience: Duration) -> Result<String> {
        let deadline = Instant::now() + patience;
        loop {
            let log = self.log()?;
            if let Some(line) = log.iter().find(|line| line.contains(text)) {
                return Ok(line.clone());
            }
            if Instant::now() > deadline {
                let words = self.raspi.last_words(patience);
                bail!("no `{text}` in the log:\n{}\n{words}", log.join("\n"));
            }
            thread::sleep(LOOK);
        }
    }
}
