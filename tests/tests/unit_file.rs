//! The systemd unit: systemd understands every line, and it fits the program.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use ichor_lab::ichor::Ichor;
use ichor_lab::lab;

const NAME: &str = "ichor.service";

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../boards/bastion")
        .join(NAME)
}

/// The values of a key, in the order in which they stand.
fn values(text: &str, key: &str) -> Vec<String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let found = pairs.filter(|(name, _)| *name == key);
    found.map(|(_, value)| value.to_owned()).collect()
}

/// Runs `systemd-analyze`; `None`, with a word about it, where there is none.
fn analyze(arguments: &[&str]) -> Result<Option<(bool, String)>> {
    let mut command = Command::new("systemd-analyze");
    let output = command.args(arguments).stdin(Stdio::null()).output();
    let Ok(output) = output else {
        eprintln!("needs systemd-analyze; skipped");
        return Ok(None);
    };
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    if said.contains("unrecognized option") {
        eprintln!("needs a newer systemd-analyze; skipped: {said}");
        return Ok(None);
    }
    Ok(Some((output.status.success(), said)))
}

#[test]
fn systemd_has_nothing_to_say_about_it() -> Result<()> {
    // A root with little more than the unit, so that it does not matter what
    // is installed here.
    let root = lab::folder("unit-file")?;
    let units = root.join("etc/systemd/system");
    fs::create_dir_all(&units)?;
    fs::copy(unit(), units.join(NAME))?;
    for target in [
        "basic",
        "multi-user",
        "network-online",
        "shutdown",
        "sysinit",
    ] {
        fs::write(units.join(format!("{target}.target")), "[Unit]\n")?;
    }
    for program in ["usr/local/bin/ichor", "usr/bin/kill"] {
        let program = root.join(program);
        fs::create_dir_all(program.parent().context("a program in no folder")?)?;
        fs::write(&program, "#!/bin/sh\n")?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
    }
    let root = format!("--root={}", root.display());
    let Some((fine, said)) = analyze(&["verify", "--man=no", &root, NAME])? else {
        return Ok(());
    };
    // An unknown key is a mere warning to systemd.
    assert!(fine && said.is_empty(), "{said}");
    Ok(())
}

/// Whoever finds a hole in the parsers of a network server must not find much
/// else: systemd's own measure, from 0.0 (safe) to 10.0.
#[test]
fn little_is_exposed() -> Result<()> {
    let unit = unit().display().to_string();
    // Fails if the exposure is higher; in tenths.
    let check = ["security", "--offline=true", "--threshold=25", &unit];
    if let Some((fine, said)) = analyze(&check)? {
        assert!(fine, "{said}");
    }
    Ok(())
}

#[test]
fn it_fits_the_program() -> Result<()> {
    let text = fs::read_to_string(unit())?;
    let start = values(&text, "ExecStart").join(" ");
    let mut words = start.split(' ');
    assert_eq!(words.next(), Some("/usr/local/bin/ichor"));

    // Every flag exists, and every folder is made for it.
    let help = Command::new(Ichor::program()?)
        .args(["serve", "--help"])
        .output()?;
    let help = String::from_utf8(help.stdout)?;
    let made = values(&text, "StateDirectory").join(" ");
    for word in words {
        if word.starts_with("--") {
            assert!(help.contains(word), "{word}");
        } else if let Some(folder) = word.strip_prefix("/var/lib/") {
            assert!(made.split(' ').any(|one| one == folder), "{folder}: {made}");
        }
    }
    // The codes that are final are what the help says they are.
    let codes: String = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (code, meaning) in [
        ("2", "wrong flag or setting"),
        ("3", "no permission"),
        ("5", "address used by another machine"),
    ] {
        assert!(codes.contains(&format!("{code} {meaning}")), "{codes}");
        let last = values(&text, "RestartPreventExitStatus").join(" ");
        assert!(last.split(' ').any(|one| one == code), "{code}: {last}");
    }
    Ok(())
}
