//! A mirror as the bastion has it, run for real: Debian's build of distribution, with another in
//! front of it as upstream, and skopeo that pulls.

use std::fs;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use flate2::Compression;
use flate2::write::GzEncoder;
use ichor_cloud::bastion;
use ichor_cloud::config::Config;
use ichor_lab::checksum::sha256;
use ichor_lab::lab;
use ichor_lab::service::Service;
use ichor_lab::tools::{Set, Tools};
use serde_json::json;

use crate::{run, said};

const PATIENCE: Duration = Duration::from_secs(30);

/// As the image `registry:2` has it; the rest is said by its environment.
fn config_file(root: &Path) -> String {
    format!(
        "version: 0.1\n\
         log: {{fields: {{service: registry}}}}\n\
         storage:\n  cache: {{blobdescriptor: inmemory}}\n  filesystem: {{rootdirectory: {:?}}}\n\
         http:\n  addr: :5000\n  headers: {{X-Content-Type-Options: [nosniff]}}\n",
        root.display().to_string()
    )
}

/// distribution, listening on the loopback. Dropping it ends it.
struct Registry {
    service: Service,
    address: SocketAddr,
    storage: PathBuf,
}

impl Registry {
    fn start(tools: &Tools, folder: &Path, environment: &[(&str, String)]) -> Result<Self> {
        let storage = folder.join("storage");
        fs::create_dir_all(&storage)?;
        let config = folder.join("config.yml");
        fs::write(&config, config_file(&storage))?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let mut registry = tools.command("docker-registry")?;
        registry.arg("serve").arg(&config);
        registry.envs(environment.iter().map(|(name, value)| (*name, value)));
        // The bastion's address is not this machine's.
        registry.env("REGISTRY_HTTP_ADDR", address.to_string());
        let mut service = Service::start(registry, &folder.join("registry.log"))?;
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            ensure!(
                service.is_running() && started.elapsed() < PATIENCE,
                "no registry on {address}: {}",
                service.log().tail(5)
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(Self {
            service,
            address,
            storage,
        })
    }

    fn image(&self, name: &str) -> String {
        format!("docker://{}/lab/{name}:1", self.address)
    }

    /// Waits until the content with this checksum is in its storage: it is written beside the
    /// answer, not before.
    fn wait_for(&self, digest: &str) -> Result<()> {
        let blobs = self.storage.join("docker/registry/v2/blobs/sha256");
        let blob = blobs.join(&digest[..2]).join(digest).join("data");
        let started = Instant::now();
        while !blob.is_file() {
            ensure!(
                started.elapsed() < PATIENCE,
                "{} was not kept",
                blob.display()
            );
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

/// An OCI layout with an image of one layer, and the checksums of its parts.
fn image(folder: &Path, content: &str) -> Result<Vec<String>> {
    let blobs = folder.join("blobs/sha256");
    fs::create_dir_all(&blobs)?;
    let mut digests = Vec::new();
    let mut blob = |bytes: &[u8]| -> Result<String> {
        let digest = sha256(bytes)?;
        fs::write(blobs.join(&digest), bytes)?;
        digests.push(digest.clone());
        Ok(digest)
    };
    // To a registry any bytes are a layer.
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(content.as_bytes())?;
    let layer = gzip.finish()?;
    let diff = sha256(content.as_bytes())?;
    let config = json!({
        "architecture": "arm64", "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{diff}")]},
    })
    .to_string();
    let of = |kind: &str, digest: String, len: usize| {
        let kind = format!("application/vnd.oci.image.{kind}");
        json!({"mediaType": kind, "digest": format!("sha256:{digest}"), "size": len})
    };
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": of("config.v1+json", blob(config.as_bytes())?, config.len()),
        "layers": [of("layer.v1.tar+gzip", blob(&layer)?, layer.len())],
    })
    .to_string();
    let digest = blob(manifest.as_bytes())?;
    let mut entry = of("manifest.v1+json", digest, manifest.len());
    entry["annotations"] = json!({"org.opencontainers.image.ref.name": "1"});
    let index = json!({"schemaVersion": 2, "manifests": [entry]});
    fs::write(folder.join("index.json"), index.to_string())?;
    fs::write(
        folder.join("oci-layout"),
        r#"{"imageLayoutVersion":"1.0.0"}"#,
    )?;
    Ok(digests)
}

/// Copies an image; whether it could, and what skopeo said.
fn copy(tools: &Tools, from: &str, to: &str) -> Result<(bool, String)> {
    let mut skopeo = tools.command("skopeo")?;
    skopeo
        .args(["--insecure-policy", "copy", "--retry-times=0"])
        .args(["--src-tls-verify=false", "--dest-tls-verify=false"])
        .args([from, to])
        .env("XDG_RUNTIME_DIR", std::env::temp_dir());
    let output = run(&mut skopeo)?;
    Ok((output.status.success(), said(&output)))
}

#[test]
fn a_mirror_serves_what_its_upstream_had() -> Result<()> {
    let tools = Tools::with(&[Set::Bastion])?;
    let folder = lab::folder("cloud-mirrors")?;
    let layout = folder.join("image");
    let digests = image(&layout, "a layer")?;
    let layout = format!("oci:{}:1", layout.display());

    let upstream = Registry::start(&tools, &folder.join("upstream"), &[])?;
    for name in ["pulled", "other"] {
        let (done, told) = copy(&tools, &layout, &upstream.image(name))?;
        ensure!(done, "{told}");
    }

    // The mirror's own environment, save for where upstream is.
    let containers = bastion::containers(&Config::default())?;
    let container = containers
        .into_iter()
        .find(|container| container.name == "ichor-mirror-quay.io")
        .context("no mirror of quay.io")?;
    let mut environment = container.environment;
    let remote = environment.insert(
        "REGISTRY_PROXY_REMOTEURL",
        format!("http://{}", upstream.address),
    );
    assert_eq!(remote.as_deref(), Some("https://quay.io"));
    let environment: Vec<_> = environment.into_iter().collect();
    let mirror = Registry::start(&tools, &folder.join("mirror"), &environment)?;

    let pull = |name: &str, to: &str| {
        let to = folder.join(to);
        copy(
            &tools,
            &mirror.image(name),
            &format!("dir:{}", to.display()),
        )
    };
    let (done, told) = pull("pulled", "first")?;
    ensure!(done, "{told}");
    for digest in &digests {
        mirror.wait_for(digest)?;
    }

    // Upstream is gone: what was pulled once is there, what was not is not.
    drop(upstream);
    let (done, told) = pull("pulled", "second")?;
    ensure!(done, "{told}\n{}", mirror.service.log().tail(5));
    for digest in &digests[..2] {
        let kept = fs::File::open(folder.join("second").join(digest))?;
        assert_eq!(sha256(kept)?, *digest);
    }
    let (done, _) = pull("other", "third")?;
    assert!(
        !done,
        "an image that no one pulled came from a mirror without upstream"
    );

    // distribution knows every variable that it is given.
    let log = mirror.service.log().tail(1000);
    assert!(!log.contains("unrecognized"), "{log}");
    Ok(())
}

/// What the README tells to make a bundle with.
#[test]
fn a_bundle_is_what_skopeo_writes_for_docker() -> Result<()> {
    let tools = Tools::with(&[Set::Bastion])?;
    let folder = lab::folder("cloud-bundle")?;
    image(&folder.join("image"), "a layer")?;
    let layout = format!("oci:{}:1", folder.join("image").display());
    let bundle = folder.join("bundle");
    fs::create_dir_all(&bundle)?;
    let mut config = Config::default();
    config.bastion.bundle = Some(bundle.clone());

    let archive = bundle.join("registry.tar");
    let name = &config.images.registry;
    let to = format!("docker-archive:{}:{name}", archive.display());
    let (done, told) = copy(&tools, &layout, &to)?;
    ensure!(done, "{told}");
    assert_eq!(
        bastion::images_to_pull(&config)?,
        [config.images.pihole.clone()]
    );

    // docker cannot load OCI's own format.
    fs::remove_file(&archive)?;
    let (done, told) = copy(
        &tools,
        &layout,
        &format!("oci-archive:{}", archive.display()),
    )?;
    ensure!(done, "{told}");
    let refused = bastion::images_to_pull(&config).expect_err("no docker archive");
    assert!(refused.to_string().contains("docker-archive:"), "{refused}");
    Ok(())
}
