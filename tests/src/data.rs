//! Makes the data folder that the lab's machines boot from: a matchbox folder.

use std::fs::{self, File};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::checksum::sha256;
use crate::tools::{Asset, Tools};
use crate::{initrd, uboot};

/// The template of the machine configuration, in matchbox's language.
const TEMPLATE: &str = "\
version: v1alpha1
cluster: {{.cluster}}
machine:
  type: {{.type}}
  hostname: {{.hostname}}
  mac: {{.request.query.mac}}
";

/// A machine that the folder knows by its address.
#[derive(Debug, Clone)]
pub struct Node {
    /// As `52:54:00:00:00:01`.
    pub mac: String,
    /// Its name, which its configuration carries.
    pub hostname: String,
}

/// A data folder with boot files, kernel, initrd and one configuration per machine.
#[derive(Debug)]
pub struct DataFolder {
    path: PathBuf,
    server: Ipv4Addr,
}

/// Makes the folder of a matchbox that knows no machine: without these two,
/// ichor complains.
pub fn create_empty(path: &Path) -> Result<()> {
    for part in ["groups", "profiles"] {
        let part = path.join(part);
        fs::create_dir_all(&part).with_context(|| format!("cannot create {}", part.display()))?;
    }
    Ok(())
}

impl DataFolder {
    /// Makes the folder at `path` for a server at `server` with the default
    /// ports. Machines that are not in `nodes` get the default group.
    pub fn build(path: &Path, tools: &Tools, server: Ipv4Addr, nodes: &[Node]) -> Result<Self> {
        let folder = Self {
            path: path.to_owned(),
            server,
        };
        for (asset, name) in [
            (Asset::IpxeArm64, "ipxe-arm64.efi"),
            (Asset::Kernel, "vmlinuz"),
        ] {
            let bytes = fs::read(tools.file(asset)?)?;
            folder.write(&format!("assets/{name}"), bytes)?;
        }
        folder.write("assets/initramfs", initrd::build(tools)?)?;
        let args = folder.kernel_args();
        let script = uboot::boot_script("assets/vmlinuz", "assets/initramfs", &args.join(" "));
        folder.write(&format!("assets/{}", uboot::SCRIPT), script)?;

        let quoted: Vec<String> = args.iter().map(|arg| format!("\"{arg}\"")).collect();
        folder.write(
            "profiles/node.json",
            format!(
                r#"{{"id":"node","name":"Lab node","generic_id":"node.yaml",
"boot":{{"kernel":"/assets/vmlinuz","initrd":["/assets/initramfs"],"args":[{}]}}}}"#,
                quoted.join(",")
            ),
        )?;
        folder.write("generic/node.yaml", TEMPLATE)?;
        folder.write("groups/default.json", group("default", "", "stranger"))?;
        for (number, node) in nodes.iter().enumerate() {
            let id = format!("node-{}", number + 1);
            let selector = format!(r#""mac":"{}""#, node.mac);
            let file = format!("groups/{id}.json");
            folder.write(&file, group(&id, &selector, &node.hostname))?;
        }
        Ok(folder)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The configuration that a machine must get.
    pub fn config_of(node: &Node) -> String {
        TEMPLATE
            .replace("{{.cluster}}", "lab")
            .replace("{{.type}}", "controlplane")
            .replace("{{.hostname}}", &node.hostname)
            .replace("{{.request.query.mac}}", &node.mac)
    }

    /// The SHA-256 of a file in the folder, as `sha256sum` prints it.
    pub fn sha256_of(&self, file: &str) -> Result<String> {
        let path = self.path.join(file);
        let cannot = || format!("cannot read {}", path.display());
        sha256(File::open(&path).with_context(cannot)?).with_context(cannot)
    }

    /// Writes a file into the folder, with the folders above it.
    pub fn write(&self, file: &str, content: impl AsRef<[u8]>) -> Result<()> {
        let path = self.path.join(file);
        let cannot = || format!("cannot write {}", path.display());
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).with_context(cannot)?;
        }
        fs::write(&path, content).with_context(cannot)
    }

    /// The kernel's arguments: what Talos' own profile says, and what the test node is to fetch and hash.
    pub fn kernel_args(&self) -> Vec<String> {
        let server = self.server;
        [
            "initrd=initramfs",
            "console=ttyAMA0",
            "talos.platform=metal",
            &format!("talos.config=http://{server}:8080/generic?mac=${{mac}}"),
            &format!(
                "ichor.hash=http://{server}:8080/assets/vmlinuz,tftp://{server}/assets/initramfs"
            ),
            "ichor.poweroff",
        ]
        .map(str::to_owned)
        .to_vec()
    }
}

fn group(id: &str, selector: &str, hostname: &str) -> String {
    format!(
        r#"{{"id":"{id}","profile":"node","selector":{{{selector}}},
"metadata":{{"cluster":"lab","type":"controlplane","hostname":"{hostname}"}}}}"#
    )
}
