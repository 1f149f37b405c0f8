//! What a host serves besides ichor: a TCP service, a name server, and the kernel's answer to pings.

use std::fs;

use anyhow::{Context as _, Result, ensure};

use crate::lab::SERVER;
use crate::service::Service;
use crate::site::Site;

/// Where SSH would be: any program that answers will do.
const TCP_PORT: u16 = 22;
const PAGE: &str = "the host's own page\n";
const NAME: &str = "host.test";
const ADDRESS_OF_NAME: &str = "192.0.2.77";

/// A site's server as a host of its own, which has [`SERVER`] as its address.
/// Dropping it ends its services.
#[derive(Debug)]
pub struct Host {
    _httpd: Service,
    _dnsmasq: Service,
}

impl Host {
    /// Gives the site's server its address and starts the services.
    pub fn start(site: &Site) -> Result<Self> {
        let (side, folder) = (site.server_side(), site.folder());
        side.address(SERVER, 24)?;
        let pages = folder.join("pages");
        fs::create_dir_all(&pages)
            .and_then(|()| fs::write(pages.join("index.html"), PAGE))
            .with_context(|| format!("cannot fill {}", pages.display()))?;
        let mut httpd = side.command("busybox")?;
        httpd
            .args(["httpd", "-f", "-p", &TCP_PORT.to_string(), "-h"])
            .arg(&pages);
        let mut dnsmasq = side.command("dnsmasq")?;
        dnsmasq.args([
            "--keep-in-foreground",
            "--log-facility=-",
            "--conf-file=/dev/null",
            "--user=root",
            "--pid-file=",
            "--no-resolv",
            "--no-hosts",
            &format!("--address=/{NAME}/{ADDRESS_OF_NAME}"),
        ]);
        Ok(Self {
            _httpd: Service::start(httpd, &folder.join("httpd.log"))?,
            _dnsmasq: Service::start(dnsmasq, &folder.join("dnsmasq.log"))?,
        })
    }

    /// Asks each service once, as the site's client. The first that does not
    /// answer, and answer right, is an error.
    pub fn answers(&self, site: &Site) -> Result<()> {
        let url = format!("http://{SERVER}:{TCP_PORT}/index.html");
        let page = site.clients()?.curl(&url, &["--max-time", "5"])?;
        ensure!(
            page.body == PAGE.as_bytes(),
            "TCP port {TCP_PORT}: {page:?}"
        );
        let server = SERVER.to_string();
        let ask = |arguments: &[&str]| -> Result<(bool, String)> {
            let output = site
                .client_side()
                .command("busybox")?
                .args(arguments)
                .output()?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            Ok((output.status.success(), said))
        };
        let (_, said) = ask(&["nslookup", NAME, &server])?;
        ensure!(said.contains(ADDRESS_OF_NAME), "UDP port 53: {said}");
        let (answered, said) = ask(&["ping", "-c", "1", "-W", "2", &server])?;
        ensure!(answered, "ping: {said}");
        Ok(())
    }
}
