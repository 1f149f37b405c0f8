//! A compute module's eMMC as a disk of this computer, by Raspberry Pi's own `rpiboot`.

use std::io;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::disks::{Disk, System};

/// Where to get the program.
const MISSING: &str = "no program rpiboot: Raspberry Pi OS has it as package rpiboot; \
    elsewhere build it from github.com/raspberrypi/usbboot";
/// How long the module may take to show its eMMC; it takes a few seconds.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(200);

/// Runs `rpiboot` and returns the disk that appears.
pub(super) fn disk_of_module(
    system: &System,
    rpiboot: &mut Command,
    patience: Duration,
) -> Result<Disk> {
    let before = system.removable()?;
    println!("xtask: fit EMMC-DISABLE, connect the module's USB, and switch it on");
    let status = rpiboot.status().map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => anyhow::Error::msg(MISSING),
        _ => anyhow::Error::new(error).context("cannot run rpiboot"),
    })?;
    ensure!(
        status.success(),
        "rpiboot failed ({status}): it needs to be root to speak to the module"
    );
    let deadline = Instant::now() + patience;
    loop {
        let mut new = system.removable().context("cannot look for the module")?;
        new.retain(|disk| !before.iter().any(|old| old.name == disk.name));
        if new.len() > 1 {
            let names: Vec<String> = new.into_iter().map(|disk| disk.name).collect();
            bail!(
                "several new disks appeared ({}): name the module's with --to",
                names.join(", ")
            );
        }
        if let Some(disk) = new.pop() {
            return Ok(disk);
        }
        ensure!(
            Instant::now() < deadline,
            "rpiboot ended well, but no new disk appeared in {} s",
            patience.as_secs()
        );
        thread::sleep(TICK);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::super::disks::fake::Computer;
    use super::*;

    const EMMC: &str = "pci0000:00/usb2/2-1/host7/7:0:0:0";

    fn shell(script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        command
    }

    #[test]
    fn the_disk_that_appears_is_the_module() {
        let computer = Computer::new("rpiboot");
        computer.disk(
            "pci0000:00/usb1/1-1",
            "sdb",
            &[("size", "100"), ("removable", "1")],
        );
        // Like the kernel: first without a medium, then with one.
        let folder = computer.root.join("sys/block/sdc");
        computer.disk(EMMC, "sdc", &[("size", "0"), ("removable", "1")]);
        let script = format!("(sleep 0.3; echo 7634944 > {}/size) &", folder.display());
        let disk = disk_of_module(
            &computer.system(),
            &mut shell(&script),
            Duration::from_secs(10),
        )
        .unwrap();
        assert_eq!((&*disk.name, disk.bytes), ("sdc", 3_909_091_328));
    }

    #[test]
    fn what_goes_wrong_says_what_to_do() {
        let computer = Computer::new("no-rpiboot");
        let system = computer.system();
        let soon = Duration::from_millis(1);
        let says = |command: &mut Command| {
            disk_of_module(&system, command, soon)
                .unwrap_err()
                .to_string()
        };
        let missing = says(&mut Command::new("no-such-rpiboot"));
        assert!(missing.contains("usbboot"), "{missing}");
        let failed = says(&mut shell("exit 3"));
        assert!(failed.contains("root"), "{failed}");
        let nothing = says(&mut shell("true"));
        assert!(nothing.contains("no new disk"), "{nothing}");
    }
}
