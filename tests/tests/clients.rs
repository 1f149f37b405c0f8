//! The clients that people really use, each in a namespace at the end of a cable.

use std::fs;

use anyhow::Result;
use ichor_lab::checksum::sha256;
use ichor_lab::netns;
use ichor_lab::site::Site;

const SERVER: &str = "192.0.2.1";

/// A site with files of awkward lengths, or `None` where none can be made.
fn site(name: &str) -> Result<Option<Site>> {
    if !netns::possible() {
        return Ok(None);
    }
    let mut site = Site::new(name)?;
    let assets = site.data().join("assets");
    fs::create_dir_all(&assets)?;
    for (file, len) in FILES {
        let content: Vec<u8> = (0..len).map(|n| (n * 7 + n / 251) as u8).collect();
        fs::write(assets.join(file), content)?;
    }
    fs::write(assets.join("text"), TEXT)?;
    site.serve(
        "192.0.2.1/24",
        &["--gateway", "192.0.2.254", "--dns", "192.0.2.53"],
    )?;
    Ok(Some(site))
}

/// Lengths around the ends of blocks, and one that needs block numbers to
/// roll over when blocks have 512 bytes (65,536 × 512 is 33.5 MB).
const FILES: [(&str, usize); 6] = [
    ("empty", 0),
    ("less", 511),
    ("block", 512),
    ("more", 513),
    ("window", 16 * 1468),
    ("big", 34_000_001),
];

/// Line ends of every kind for netascii.
const TEXT: &str = "one\ntwo\r\nthree\rfour\n";

fn assert_same(site: &Site, file: &str, got: &[u8], client: &str) -> Result<()> {
    let want = fs::read(site.data().join("assets").join(file))?;
    assert_eq!(got.len(), want.len(), "{client} {file}: length");
    assert_eq!(sha256(got)?, sha256(&want[..])?, "{client} {file}");
    Ok(())
}

#[test]
fn dhcp_clients_get_their_leases() -> Result<()> {
    let Some(site) = site("clients_dhcp")? else {
        return Ok(());
    };
    let clients = site.clients()?;
    let lease = clients.udhcpc(&["-O", "bootfile"])?;
    assert!(lease.get("ip").starts_with("192.0.2."), "{lease:?}");
    assert_eq!(lease.get("subnet"), "255.255.255.0", "{lease:?}");
    assert_eq!(lease.get("router"), "192.0.2.254", "{lease:?}");
    assert_eq!(lease.get("dns"), "192.0.2.53", "{lease:?}");
    assert_eq!(lease.get("serverid"), SERVER, "{lease:?}");

    let again = clients.dhclient()?;
    assert_eq!(again.get("new_routers"), "192.0.2.254", "{again:?}");
    assert_eq!(
        again.get("new_domain_name_servers"),
        "192.0.2.53",
        "{again:?}"
    );
    assert_eq!(again.get("new_dhcp_server_identifier"), SERVER, "{again:?}");
    Ok(())
}

#[test]
fn tftp_clients_get_every_byte() -> Result<()> {
    let Some(site) = site("clients_tftp")? else {
        return Ok(());
    };
    let clients = site.clients()?;
    for (file, _) in FILES {
        let path = format!("assets/{file}");
        let got = clients.tftp_hpa(SERVER, &path, "octet")?;
        assert_same(&site, file, &got, "tftp-hpa")?;
        let got = clients.atftp(SERVER, &path, &[])?;
        assert_same(&site, file, &got, "atftp")?;
        let got = clients.atftp(SERVER, &path, &["blksize 1468", "windowsize 16"])?;
        assert_same(&site, file, &got, "atftp, window of 16")?;
        let got = clients.busybox_tftp(SERVER, &path, 1428)?;
        assert_same(&site, file, &got, "busybox")?;
    }
    // The client turns the network's line ends into its own: what was a line
    // feed comes back as one, and a lone carriage return survives.
    let got = clients.tftp_hpa(SERVER, "assets/text", "netascii")?;
    assert_eq!(String::from_utf8_lossy(&got), TEXT);
    assert!(
        clients
            .tftp_hpa(SERVER, "assets/absent", "octet")
            .map_or(true, |got| got.is_empty())
    );
    Ok(())
}

#[test]
fn curl_gets_what_it_asks_for() -> Result<()> {
    let Some(site) = site("clients_curl")? else {
        return Ok(());
    };
    let clients = site.clients()?;
    let url = |file: &str| format!("http://{SERVER}:8080/assets/{file}");
    for (file, len) in FILES {
        let got = clients.curl(&url(file), &[])?;
        assert_eq!(got.status, 200, "{file}");
        assert_same(&site, file, &got.body, "curl")?;
        let head = clients.curl(&url(file), &["--head"])?;
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-length"), len.to_string());
    }

    let part = clients.curl(&url("window"), &["--range", "1000-1999"])?;
    assert_eq!(part.status, 206);
    assert_eq!(part.header("content-range"), "bytes 1000-1999/23488");
    let whole = fs::read(site.data().join("assets/window"))?;
    assert_eq!(part.body, whole[1000..2000]);
    let last = clients.curl(&url("window"), &["--range", "-88"])?;
    assert_eq!(last.body, whole[23_400..]);
    let beyond = clients.curl(&url("window"), &["--range", "23488-"])?;
    assert_eq!(beyond.status, 416);
    assert_eq!(beyond.header("content-range"), "bytes */23488");

    let tag = clients.curl(&url("more"), &[])?.header("etag").to_owned();
    assert!(!tag.is_empty(), "an ETag");
    let condition = format!("If-None-Match: {tag}");
    let unchanged = clients.curl(&url("more"), &["--header", &condition])?;
    assert_eq!((unchanged.status, unchanged.body.len()), (304, 0));

    let connections = clients.curl_connections(&[&url("less"), &url("block"), &url("more")])?;
    assert_eq!(connections, [1, 0, 0], "kept alive");

    for (path, want) in [
        ("absent", 404),
        ("../groups", 404),
        ("%2e%2e/%2e%2e/etc/passwd", 404),
    ] {
        let got = clients.curl(&url(path), &[])?.status;
        assert!(got == want || got == 400 || got == 403, "{path}: {got}");
    }
    Ok(())
}
