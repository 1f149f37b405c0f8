//! What ichor takes the place of: dnsmasq for DHCP and TFTP, and an HTTP server.
//!
//! nginx gives the answers of matchbox as files: this leaves out the time that
//! matchbox would take to make them.

use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::data::{DataFolder, Node};
use crate::lab::SERVER;
use crate::netns::Netns;
use crate::service::Service;
use crate::tools::Tools;

/// dnsmasq and nginx, serving machines. Dropping them ends both.
#[derive(Debug)]
pub struct Peers {
    dnsmasq: Service,
    nginx: Service,
}

impl Peers {
    /// Starts both on `eth0` of `netns`, which has the address [`SERVER`]. They
    /// serve `nodes` from `data`, and keep their files in `folder`. dnsmasq pings an
    /// address before it offers it if `probe` says so, as it does by itself.
    pub fn start(
        tools: &Tools,
        netns: &Netns,
        (data, nodes): (&DataFolder, &[Node]),
        folder: &Path,
        probe: bool,
    ) -> Result<Self> {
        fs::create_dir_all(folder)
            .with_context(|| format!("cannot create {}", folder.display()))?;
        let mut dnsmasq = dnsmasq(tools)?;
        dnsmasq
            .arg("--log-dhcp")
            .args(["--dhcp-authoritative", "--dhcp-range=192.0.2.50,192.0.2.99"])
            .args(["--enable-tftp", "--dhcp-match=set:ipxe,175"])
            // Tells iPXE not to wait for a proxyDHCP server.
            .arg("--dhcp-option=tag:ipxe,encap:175,176,1b")
            .arg("--dhcp-boot=tag:!ipxe,assets/ipxe-arm64.efi")
            .arg(format!(
                "--dhcp-boot=tag:ipxe,http://{SERVER}:8080/boot.ipxe"
            ))
            .arg(option("tftp-root", data.path()))
            .arg(option("dhcp-leasefile", &fresh(folder, "dnsmasq.leases")?));
        if !probe {
            dnsmasq.arg("--no-ping");
        }
        let dnsmasq = Service::start(netns.enter(&dnsmasq)?, &folder.join("dnsmasq.log"))?;
        write_answers(data, nodes, folder)?;
        let nginx = nginx(tools, SERVER, (folder, data.path()), folder)?;
        let nginx = Service::start(netns.enter(&nginx)?, &folder.join("nginx.log"))?;
        Ok(Self { dnsmasq, nginx })
    }

    /// Whether both are alive.
    pub fn are_running(&mut self) -> bool {
        self.dnsmasq.is_running() && self.nginx.is_running()
    }

    /// dnsmasq with all that it says about each message.
    pub fn dnsmasq(&self) -> &Service {
        &self.dnsmasq
    }

    /// Their processes.
    pub fn pids(&self) -> [u32; 2] {
        [self.dnsmasq.pid(), self.nginx.pid()]
    }

    /// The end of what both said.
    pub fn last_words(&self) -> String {
        self.dnsmasq.log().tail(15) + &self.nginx.log().tail(5)
    }
}

/// Writes into `folder` what matchbox would answer.
fn write_answers(data: &DataFolder, nodes: &[Node], folder: &Path) -> Result<()> {
    let args = data.kernel_args().join(" ");
    write(
        &folder.join("boot.ipxe"),
        &format!("#!ipxe\nkernel /assets/vmlinuz {args}\ninitrd /assets/initramfs\nboot\n"),
    )?;
    for node in nodes {
        let path = folder.join(format!("generic-{}", node.mac));
        write(&path, &DataFolder::config_of(node))?;
    }
    Ok(())
}

/// dnsmasq in the foreground of `eth0`'s namespace, without any configuration of
/// the machine and without DNS.
pub(crate) fn dnsmasq(tools: &Tools) -> Result<Command> {
    let mut dnsmasq = tools.command("dnsmasq")?;
    dnsmasq
        .args(["--keep-in-foreground", "--log-facility=-"])
        .args(["--conf-file=/dev/null", "--user=root", "--pid-file="])
        .args(["--port=0", "--interface=eth0", "--bind-interfaces"]);
    Ok(dnsmasq)
}

/// nginx as one process, which ends when it is told to. It listens on port 8080
/// of `address`, serves `root`, and `/assets/` out of `assets`; its own files go to
/// `folder`.
pub(crate) fn nginx(
    tools: &Tools,
    address: Ipv4Addr,
    (root, assets): (&Path, &Path),
    folder: &Path,
) -> Result<Command> {
    let (here, root, assets) = (folder.display(), root.display(), assets.display());
    let config = folder.join("nginx.conf");
    write(
        &config,
        &format!(
            r#"daemon off;
master_process off;
user root;
pid "{here}/nginx.pid";
worker_rlimit_nofile 8192;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush on;
    default_type application/octet-stream;
    client_body_temp_path "{here}/body";
    proxy_temp_path "{here}/proxy";
    fastcgi_temp_path "{here}/fastcgi";
    uwsgi_temp_path "{here}/uwsgi";
    scgi_temp_path "{here}/scgi";
    server {{
        listen {address}:8080 backlog=4096;
        root "{root}";
        location /assets/ {{ root "{assets}"; }}
        location = /generic {{ try_files /generic-$arg_mac =404; }}
    }}
}}
"#
        ),
    )?;
    let mut nginx = tools.command("nginx")?;
    nginx.args(["-e", "stderr", "-p"]).arg(folder).arg("-c");
    nginx.arg(config);
    Ok(nginx)
}

fn write(path: &Path, content: &str) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}

/// A path in `folder` where nothing is.
fn fresh(folder: &Path, name: &str) -> Result<std::path::PathBuf> {
    let path = folder.join(name);
    if path.exists() {
        fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
    }
    Ok(path)
}

fn option(name: &str, path: &Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(format!("--{name}="));
    option.push(path);
    option
}
