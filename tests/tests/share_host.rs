//! A server on the host's only address: it serves, and the host's own services still answer.

use std::fs;

use anyhow::{Context as _, Result};
use ichor_lab::checksum::sha256;
use ichor_lab::host::Host;
use ichor_lab::lab::SERVER;
use ichor_lab::netns;
use ichor_lab::site::Site;

#[test]
fn one_address_serves_both() -> Result<()> {
    if !netns::possible() {
        return Ok(());
    }
    let mut site = Site::new("share_host")?;
    let assets = site.data().join("assets");
    fs::create_dir_all(&assets)?;
    let content: Vec<u8> = (0..3_000_000_u32).map(|n| ((n * 31) >> 3) as u8).collect();
    fs::write(assets.join("file"), &content)?;
    let want = sha256(&content[..])?;

    let host = Host::start(&site)?;
    site.serve("host", &[])?;
    host.answers(&site).context("before")?;

    let clients = site.clients()?;
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
        host.answers(&site).context("between")?;
    }
    Ok(())
}
