//! New files and a new program for a running CM3, sent as a person sends them.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use ichor_lab::clients::Clients;
use ichor_lab::hil::{Bench as _, Emulated, EmulatedParts, Usb, fill_data};
use ichor_lab::netns::{self, Netns};
use ichor_lab::tools::{Set, Tools};
use ichor_lab::{cm3, lab};

const BOARD: &str = "192.0.2.1";
const PERSON: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 200);
/// For the board to start, also on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// `cargo xtask push` from a machine on the board's LAN: what it says.
fn push(lan: &Netns, key: &Path, more: &[&str]) -> Result<Result<String, String>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(["xtask", "push", "--to", BOARD, "--key"])
        .arg(key)
        .args(more);
    let output = lan.enter(&command)?.output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok(match output.status.success() {
        true => Ok(said),
        false => Err(said),
    })
}

/// Waits until the board serves HTTP.
fn wait_until_up(clients: &Clients<'_>) -> Result<()> {
    let deadline = Instant::now() + SOON;
    while clients
        .curl(&format!("http://{BOARD}:8080/status"), &["--max-time", "2"])
        .is_err()
    {
        ensure!(Instant::now() < deadline, "no status page within {SOON:?}");
        thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

/// A file in the root of the card's FAT.
fn on_card(tools: &Tools, card: &Path, name: &str, folder: &Path) -> Result<Vec<u8>> {
    let to = folder.join(name);
    let output = tools
        .command_in(&[Set::Filesystems], "mcopy")?
        .env("MTOOLS_SKIP_CHECK", "1")
        .arg("-n")
        .arg("-i")
        .arg(format!("{}@@1M", card.display()))
        .arg(format!("::{name}"))
        .arg(&to)
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "mcopy of {name}: {said}");
    fs::read(&to).with_context(|| format!("no {name}"))
}

#[test]
fn a_board_takes_files_and_a_program_from_who_has_its_key() -> Result<()> {
    if !netns::possible() {
        return Ok(());
    }
    let tools = Tools::with(&[Set::Boot, Set::Clients, Set::Filesystems])?;
    let folder = lab::folder("cm3_push")?;
    let data = folder.join("data");
    fs::create_dir_all(&data)?;
    fill_data(&data)?;
    let built = cm3::built()?;
    let made = folder.join("made");
    fs::create_dir_all(&made)?;
    let card = cm3::card(&built, &data, &made)?;
    let parts = EmulatedParts {
        kernel: &built.kernel,
        card: &card,
        usb: Usb::Port,
        folder: &folder,
    };
    let mut board = Emulated::new(&tools, &parts)?;
    board.power_on()?;
    let lan = board.lan();
    lan.ip("link set eth0 up")?;
    lan.address(PERSON, 24)?;
    let clients = Clients::new(&lan, &folder.join("person"))?;
    wait_until_up(&clients)?;

    // A file, while the board runs.
    let key = made.join("push.key");
    let content: Vec<u8> = (0..300_001_u32).map(|at| (at / 7 % 251) as u8).collect();
    let local = folder.join("new.bin");
    fs::write(&local, &content)?;
    let file = [
        "--file",
        &local.display().to_string(),
        "assets/new/file.bin",
    ];
    let said = push(&lan, &key, &file)?;
    ensure!(said.is_ok(), "{said:?}");
    let url = format!("http://{BOARD}:8080/assets/new/file.bin");
    assert!(clients.curl(&url, &[])?.body == content);

    // Somebody without the key changes nothing.
    let forged = folder.join("forged.key");
    fs::write(&forged, "00".repeat(32))?;
    fs::write(&local, "changed")?;
    let said = push(&lan, &forged, &file)?;
    ensure!(said.is_err(), "a forged signature was taken: {said:?}");
    assert!(clients.curl(&url, &[])?.body == content);

    // A program: the old one is kept, and the board comes back.
    let old = fs::read(&built.kernel)?;
    let new = [&old[..], b"and a little more"].concat();
    let image = folder.join("new.img");
    fs::write(&image, &new)?;
    let firmware = ["--firmware", &image.display().to_string()];
    let said = push(&lan, &key, &firmware)?;
    ensure!(said.is_ok(), "{said:?}");
    wait_until_up(&clients)?;
    assert!(
        clients.curl(&url, &[])?.body == content,
        "the file is still there"
    );
    board.power_cut()?;
    let card = folder.join("card.img");
    let kept = on_card(&tools, &card, "kernel8.old", &folder)?;
    assert!(kept.starts_with(&old), "kernel8.old");
    let runs = on_card(&tools, &card, "kernel8.img", &folder)?;
    assert!(runs.starts_with(&new), "kernel8.img");
    Ok(())
}
