//! A node of the cloud starts from a small disk and gets all else from ichor:
//! the disk that `ichor_cloud` makes, looked at and booted.

mod raw;
mod story;
mod vpc;

use std::fs::{self, File};
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use ichor_cloud::loader::{self, EfiProgram, Image, LOADER_PATH, SCRIPT_PATH, Script};
use ichor_lab::console::Console;
use ichor_lab::lab::{self, Lab, SERVER};
use ichor_lab::node;
use ichor_lab::qemu::Machine;
use ichor_lab::tools::{Asset, Set, Tools};
use story::{comes_in_order, has_what_the_server_has};
use vpc::{LEASED, Vpc};

/// What ichor sees of it: the disk has the loader, and somebody else gives the
/// addresses.
const STAGES: [&str; 4] = ["script", "kernel", "initrd", "config"];
const PATIENCE: Duration = Duration::from_secs(120);
/// The smallest volume of EBS: what is made of the image in the cloud.
const VOLUME: u64 = 1 << 30;

const SCRIPT: Script = Script::new(SERVER);

fn made(tools: &Tools, script: &Script) -> Result<Image> {
    let ipxe = EfiProgram::read(&tools.file(Asset::IpxeArm64)?)?;
    Ok(loader::image(&ipxe, script, &[])?)
}

/// A volume made of the image: larger, and zeros behind it.
fn volume(lab: &Lab, script: &Script) -> Result<PathBuf> {
    let path = lab.folder().join("volume");
    made(lab.tools(), script)?.write(&path)?;
    File::options().write(true).open(&path)?.set_len(VOLUME)?;
    Ok(path)
}

fn output(command: &mut Command) -> Result<Vec<u8>> {
    let output = command.output()?;
    let told = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?}: {told}{errors}");
    Ok(output.stdout)
}

#[test]
fn the_disk_is_what_others_call_sound() -> Result<()> {
    let tools = Tools::with(&[Set::Filesystems, Set::Images])?;
    let folder = lab::folder("loader_image_disk")?;
    let path = folder.join("loader.img");
    let image = made(&tools, &SCRIPT)?;
    image.write(&path)?;
    let disk = fs::read(&path)?;
    ensure!(disk == image.bytes(), "the file is the image");

    let told = output(
        tools
            .command("sgdisk")?
            .args(["-v", "-p", "-i", "1"])
            .arg(&path),
    )?;
    let told = String::from_utf8(told)?;
    for line in [
        "No problems found.",
        "C12A7328-F81F-11D2-BA4B-00A0C93EC93B (EFI system partition)",
        "Partition name: 'ichor loader'",
        "First sector: 2048 (at 1024.0 KiB)",
    ] {
        ensure!(told.contains(line), "no {line:?} in:\n{told}");
    }

    let esp = folder.join("esp");
    fs::write(&esp, &disk[1 << 20..disk.len() - (1 << 20)])?;
    // It would end with an error if it found any.
    let told = output(tools.command("fsck.fat")?.args(["-n", "-v"]).arg(&esp))?;
    let told = String::from_utf8(told)?;
    ensure!(told.contains("FATs, 32 bit entries"), "{told}");

    let file = |name: &str| -> Result<Vec<u8>> {
        let mut mcopy = tools.command("mcopy")?;
        mcopy.arg("-i").arg(&esp).args([&format!("::{name}"), "-"]);
        output(&mut mcopy)
    };
    ensure!(file(LOADER_PATH)? == fs::read(tools.file(Asset::IpxeArm64)?)?);
    ensure!(file(SCRIPT_PATH)? == SCRIPT.to_string().into_bytes());
    println!(
        "{} MiB, of which {} blocks of 512 KiB go to AWS",
        disk.len() >> 20,
        loader::blocks(&disk).count()
    );
    Ok(())
}

/// The machine is up, has what the server has, and the server saw it come.
fn comes_up(lab: &mut Lab, machine: &Machine) -> Result<()> {
    let report = node::report(machine, 2, PATIENCE)?;
    println!("up after {:.1} s", report.up_after.as_secs_f64());
    has_what_the_server_has(lab, &report)?;
    ensure!(report.ip == LEASED.to_string(), "{}", report.ip);
    let events = lab.ichor()?.events_of(&machine.mac());
    let told: Vec<&str> = events.iter().map(|event| event.stage.as_str()).collect();
    comes_in_order(&told, &STAGES)?;
    let own = ["discover", "offer", "bound", "boot-file"];
    ensure!(!told.iter().any(|stage| own.contains(stage)), "{told:?}");
    Ok(())
}

#[test]
fn a_node_boots_from_it_where_dhcp_says_nothing_of_booting() -> Result<()> {
    let mut lab = Lab::new("loader_image", 1)?;
    let _vpc = Vpc::join(lab.switch(), 0);
    lab.serve_without_dhcp()?;
    let machine = lab.power_on_from(1, &volume(&lab, &SCRIPT)?)?;
    comes_up(&mut lab, &machine)
}

/// The script's own words.
fn says(console: &Console, words: &str) -> Result<()> {
    let said = console.find(0, PATIENCE, |line| line.text.contains(words).then_some(()));
    let tail = || format!("no {words:?}:\n{}", console.tail(25));
    said.with_context(tail).map(drop)
}

/// DHCP stalls at first, and the bastion wakes up after its node.
#[test]
fn a_node_waits_for_what_is_not_there_yet() -> Result<()> {
    let mut lab = Lab::new("loader_image_late", 1)?;
    // As many as iPXE sends in one try, so that the first one fails.
    let _vpc = Vpc::join(lab.switch(), 5);
    let machine = lab.power_on_from(1, &volume(&lab, &SCRIPT)?)?;
    says(machine.console(), "ichor: NO ADDRESS.")?;
    says(
        machine.console(),
        "ichor: NO BOOT from http://192.0.2.1:8080",
    )?;
    lab.serve_without_dhcp()?;
    comes_up(&mut lab, &machine)
}

/// What it costs is bounded, and its network card begins anew.
#[test]
fn a_node_resets_itself_after_the_last_try() -> Result<()> {
    let lab = Lab::new("loader_image_alone", 1)?;
    let script = Script {
        tries: NonZeroU16::MIN,
        ..SCRIPT
    };
    let machine = lab.power_on_from(1, &volume(&lab, &script)?)?;
    says(machine.console(), "ichor: GIVING UP after 1 tries")?;
    // QEMU ends where a machine would start anew.
    let nothing_more = machine.console().find(usize::MAX, PATIENCE, |_| None::<()>);
    ensure!(nothing_more.is_none() && machine.console().has_ended());
    Ok(())
}

/// A loader for another processor would only show as a node that never comes.
#[test]
fn a_loader_of_another_machine_is_refused() -> Result<()> {
    let tools = Tools::with(&[Set::Images])?;
    let refused = |path: &Path| {
        let refused = EfiProgram::read(path).err();
        refused
            .context("it was taken")
            .map(|error| error.to_string())
    };
    let told = refused(&tools.file(Asset::IpxeX64)?)?;
    ensure!(
        told.starts_with("not an arm64 EFI program: ")
            && told.ends_with("its machine type is 0x8664 (x86-64), not 0xaa64"),
        "{told}"
    );
    let told = refused(&tools.file(Asset::IpxeBios)?)?;
    ensure!(told.contains("not an arm64 EFI program: "), "{told}");
    // A kernel is one, too: it has an EFI stub.
    EfiProgram::read(&tools.file(Asset::Kernel)?)?;
    Ok(())
}
