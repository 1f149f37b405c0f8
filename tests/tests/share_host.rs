//! A server on the host's only address: it serves, and the host's own services still answer.

use std::fs;
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};
use ichor_lab::checksum::sha256;
use ichor_lab::lab::SERVER;
use ichor_lab::netns;
use ichor_lab::site::Site;

/// A service of the host itself; dropping it ends it.
struct Service(Child);

impl Service {
    fn start(command: &mut Command) -> Result<Self> {
        let command = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Ok(Self(
            command.spawn().context("cannot start the host's service")?,
        ))
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn one_address_serves_both() -> Result<()> {
    if !netns::possible() {
        return Ok(());
    }
    let mut site = Site::new("share_host")?;
    site.server_side().address(SERVER, 24)?;
    let assets = site.data().join("assets");
    fs::create_dir_all(&assets)?;
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| ((n * 31) >> 3) as u8).collect();
    fs::write(assets.join("file"), &content)?;
    let want = sha256(&content[..])?;

    // The host has a TCP service and a name server of its own.
    let pages = site.folder().join("pages");
    fs::create_dir_all(&pages)?;
    fs::write(pages.join("index.html"), "the host's own page\n")?;
    let mut httpd = site.server_side().command("busybox")?;
    let _httpd = Service::start(httpd.args(["httpd", "-f", "-p", "8022", "-h"]).arg(&pages))?;
    let mut dnsmasq = site.server_side().command("dnsmasq")?;
    let _dnsmasq = Service::start(dnsmasq.args([
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--user=root",
        "--pid-file=",
        "--no-resolv",
        "--no-hosts",
        "--address=/host.test/192.0.2.77",
    ]))?;

    site.serve("host", &[])?;
    let clients = site.clients()?;
    let host_answers = |when: &str| -> Result<()> {
        let page = clients.curl(&format!("http://{SERVER}:8022/index.html"), &[])?;
        assert_eq!(page.body, b"the host's own page\n", "{when}");
        let mut nslookup = site.client_side().command("busybox")?;
        let found = nslookup
            .args(["nslookup", "host.test", &SERVER.to_string()])
            .output()?;
        let found = String::from_utf8_lossy(&found.stdout).into_owned();
        assert!(found.contains("192.0.2.77"), "{when}: {found}");
        let mut ping = site.client_side().command("busybox")?;
        let pinged = ping
            .args(["ping", "-c", "1", "-W", "2", &SERVER.to_string()])
            .output()?;
        assert!(pinged.status.success(), "{when}: no answer to a ping");
        Ok(())
    };
    host_answers("before")?;

    let lease = clients.udhcpc(&[])?;
    assert_eq!(lease.get("serverid"), SERVER.to_string(), "{lease:?}");
    for round in 1..=3 {
        let got = clients.atftp(
            &SERVER.to_string(),
            "assets/file",
            &["blksize 1468", "windowsize 16"],
        )?;
        assert_eq!(sha256(&got[..])?, want, "TFTP, round {round}");
        let got = clients.curl(&format!("http://{SERVER}:8080/assets/file"), &[])?;
        assert_eq!(sha256(&got.body[..])?, want, "HTTP, round {round}");
        host_answers("between")?;
    }
    Ok(())
}
