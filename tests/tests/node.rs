//! The test node alone: kernel and initrd boot in QEMU and report what they fetched.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use ichor_lab::checksum::sha256;
use ichor_lab::initrd;
use ichor_lab::tools::{Asset, Set, Tools};

/// An emulated boot takes 4 s on an idle machine.
const BOOT_LIMIT: Duration = Duration::from_secs(120);

/// Reads a request before it answers: to close a connection with a request
/// unread resets it, and the node may lose the answer.
const SERVER: &str = "while IFS= read -r line && [ ${#line} -gt 1 ]; do :; done; cat answer\n";

/// QEMU's own user network answers DHCP; with `restrict=on` nothing leaves it.
/// `guestfwd` stands for a web server: it runs a script for each connection.
#[test]
fn a_node_fetches_its_config_and_reports_it_once() -> Result<()> {
    let tools = Tools::with(&[Set::Boot, Set::Images])?;
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("node");
    fs::create_dir_all(&folder)?;
    let config = "machine:\n  type: worker\n";
    let answer = format!("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{config}");
    fs::write(folder.join("answer"), answer)?;
    fs::write(folder.join("server.sh"), SERVER)?;
    initrd::write(&tools, &folder.join("initrd.gz"))?;

    let mut qemu = tools.command("qemu-system-aarch64")?;
    qemu.args([
        "-M",
        "virt",
        "-cpu",
        "cortex-a57",
        "-m",
        "512",
        "-no-reboot",
    ])
    .args([
        "-display", "none", "-monitor", "none", "-serial", "stdio", "-kernel",
    ])
    .arg(tools.file(Asset::Kernel)?)
    .args(["-initrd", "initrd.gz", "-append"])
    .arg(
        "console=ttyAMA0 quiet ichor.poweroff ichor.hash=http://10.0.2.100/again \
             talos.config=http://10.0.2.100/config?m=${mac}&n=${unknown}",
    )
    .args([
        "-device",
        "virtio-net-pci,netdev=n,mac=52:54:00:00:00:2a",
        "-netdev",
    ])
    .arg("user,id=n,restrict=on,guestfwd=tcp:10.0.2.100:80-cmd:sh server.sh")
    .current_dir(&folder)
    .stdin(Stdio::null())
    .stdout(Stdio::piped());
    let mut machine = qemu.spawn().context("cannot start QEMU")?;
    let mut output = machine.stdout.take().context("the console is piped")?;
    let console = thread::spawn(move || {
        let mut text = Vec::new();
        output
            .read_to_end(&mut text)
            .map(|_| String::from_utf8_lossy(&text).into_owned())
    });
    let started = Instant::now();
    while machine.try_wait()?.is_none() {
        if started.elapsed() > BOOT_LIMIT {
            machine.kill()?;
        }
        thread::sleep(Duration::from_millis(50));
    }
    let console = console.join().expect("the reader does not panic")?;

    let told: Vec<&str> = console
        .lines()
        .filter_map(|line| line.trim().strip_prefix("ichor-node: "))
        .collect();
    let up: Vec<&str> = told
        .iter()
        .filter_map(|line| line.strip_prefix("up "))
        .collect();
    assert_eq!(up.len(), 1, "one report of being up in:\n{console}");
    let sum = sha256(config.as_bytes())?;
    let expected = format!("mac=52:54:00:00:00:2a ip=10.0.2.15 config={sum} uptime=");
    assert!(up[0].starts_with(&expected), "{expected} in:\n{console}");
    assert!(
        told.contains(
            &"config from http://10.0.2.100/config?m=52%3A54%3A00%3A00%3A00%3A2a&n=${unknown}"
        ),
        "the variables filled in, in:\n{console}"
    );
    assert!(
        console
            .replace('\r', "")
            .contains(&format!("config begins\n{config}")),
        "the config in:\n{console}"
    );
    assert_eq!(
        told.last(),
        Some(&&*format!("sha256 {sum} http://10.0.2.100/again")),
        "the sum last, in:\n{console}"
    );
    Ok(())
}
