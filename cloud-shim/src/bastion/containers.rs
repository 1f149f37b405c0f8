//! The bastion's containers, declared once.
//!
//! From the one declaration come `compose.yaml`, for people and for a machine
//! that has a compose program, and a systemd unit for each, which is what the
//! bastion runs: Amazon Linux has no package of a compose program, and GitHub,
//! where it could be fetched from, has no IPv6. systemd is there, restarts
//! what ends, and keeps the logs.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::Ipv4Addr;

use super::{TELL, mirrors, vpc_resolver};
use crate::config::Config;
use crate::error::{Error, Result};

/// A container. All use the host's network: nothing is forwarded or
/// translated, so the kernel need not route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    /// Its name, and that of its unit.
    pub name: String,
    /// What it is for.
    pub about: String,
    /// Image with tag.
    pub image: String,
    /// Variables of its environment.
    pub environment: BTreeMap<&'static str, String>,
    /// Files and folders of the host.
    pub volumes: Vec<Volume>,
    /// Whether it runs without any capability, on a root that it cannot write.
    pub confined: bool,
}

/// A file or folder of the host that a container sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// Where it is; a folder is made if it is not there.
    pub host: String,
    /// Where the container sees it.
    pub inside: &'static str,
    /// Whether it cannot be written.
    pub read_only: bool,
}

impl Volume {
    fn text(&self) -> String {
        let mode = if self.read_only { ":ro" } else { "" };
        format!("{}:{}{mode}", self.host, self.inside)
    }
}

/// The containers that the configuration asks for.
///
/// # Errors
///
/// A name of an image that cannot be one, or a pi-hole that is configured
/// otherwise.
pub fn containers(config: &Config) -> Result<Vec<Container>> {
    let mirrors = config.mirrors.iter();
    let mut all: Vec<Container> = mirrors
        .map(|(registry, port)| mirror(config, registry, *port))
        .collect();
    all.push(pihole(config)?);
    for container in &all {
        let valid = |c: char| c.is_ascii_alphanumeric() || "./:@_-".contains(c);
        if container.image.is_empty() || !container.image.chars().all(valid) {
            return Err(Error::refused(format!(
                "images: {:?} is no name of a container image",
                container.image
            )));
        }
    }
    Ok(all)
}

/// A pull-through cache. distribution knows one upstream in each process, so
/// there is a process for each registry.
///
/// What it cached it forgets after seven days: version 2 has that built in and
/// takes no `proxy.ttl`. The root disk lives for a day.
fn mirror(config: &Config, registry: &str, port: u16) -> Container {
    let environment = [
        (
            "REGISTRY_HTTP_ADDR",
            format!("{}:{port}", config.bastion.address),
        ),
        ("REGISTRY_LOG_LEVEL", "warn".to_owned()),
        ("REGISTRY_PROXY_REMOTEURL", mirrors::upstream(registry)),
        // Without it nothing expires.
        ("REGISTRY_STORAGE_DELETE_ENABLED", "true".to_owned()),
    ];
    // A port of the registry's own has no place in the name of a container.
    let name = registry.replace(':', "-");
    Container {
        name: format!("ichor-mirror-{name}"),
        about: format!("{registry} through a cache on port {port}"),
        image: config.images.registry.clone(),
        environment: environment.into(),
        volumes: vec![Volume {
            host: format!("{}/{name}", mirrors::CACHES),
            inside: "/var/lib/registry",
            read_only: false,
        }],
        confined: true,
    }
}

/// pi-hole answers on the bastion's address alone, and asks the VPC's
/// resolver. Its page is on the loopback: `ssh -L 8053:localhost:8053`.
fn pihole(config: &Config) -> Result<Container> {
    let image = config.images.pihole.clone();
    // The tags of version 5 are 4.…, 5.… and dates up to 2024.07.0.
    let tag = image.rsplit_once(':').map_or("latest", |(_, tag)| tag);
    let year = tag.split('.').next().and_then(|year| year.parse().ok());
    if year.is_none_or(|year: u32| year > 2024) {
        return Err(Error::refused(format!(
            "images.pihole = {image:?}: pi-hole 6 is configured otherwise; take a tag of version 5, such as 2024.07.0"
        )));
    }
    let resolver = vpc_resolver(config);
    let environment = [
        // Who may ask is for the security group to say.
        ("DNSMASQ_LISTENING", "all".to_owned()),
        ("FTLCONF_LOCAL_IPV4", config.bastion.address.to_string()),
        ("PIHOLE_DNS_", resolver.to_string()),
        ("WEBPASSWORD", String::new()),
        ("WEB_BIND_ADDR", Ipv4Addr::LOCALHOST.to_string()),
        ("WEB_PORT", "8053".to_owned()),
    ];
    Ok(Container {
        name: "ichor-pihole".to_owned(),
        about: format!("DNS on {}", config.bastion.address),
        image,
        environment: environment.into(),
        volumes: vec![
            Volume {
                host: "/var/lib/ichor-pihole".to_owned(),
                inside: "/etc/pihole",
                read_only: false,
            },
            Volume {
                host: "/srv/ichor/pihole/dnsmasq.conf".to_owned(),
                inside: "/etc/dnsmasq.d/99-ichor.conf",
                read_only: true,
            },
        ],
        confined: false,
    })
}

/// What dnsmasq in pi-hole is told besides: to leave every other address
/// alone, above all the loopback, where systemd-resolved listens.
pub(super) fn pihole_dnsmasq(config: &Config) -> String {
    format!(
        "bind-interfaces\nlisten-address={}\n",
        config.bastion.address
    )
}

/// Names that pi-hole must never block, whatever its lists say: without them
/// no node gets its images or finds its cluster.
pub(super) fn pihole_whitelist(config: &Config) -> String {
    let hosts = config.mirrors.keys().map(|registry| {
        let host = mirrors::host(registry);
        host.split_once(':').map_or(host, |(host, _)| host)
    });
    let others = ["auth.docker.io", "discovery.talos.dev", "factory.talos.dev"];
    hosts
        .chain(others)
        .fold(String::new(), |text, host| text + host + "\n")
}

/// All of them as a compose file.
pub fn compose(containers: &[Container]) -> String {
    let mut text = String::from(
        "# The bastion's containers. There each runs as a systemd unit of the same name,\n\
         # made from the same declaration: Amazon Linux has no compose program.\n\
         services:\n",
    );
    for container in containers {
        container.service(&mut text);
    }
    text
}

impl Container {
    fn service(&self, text: &mut String) {
        let mut line = |line: String| {
            text.push_str(&line);
            text.push('\n');
        };
        line(format!("  # {}", self.about));
        line(format!("  {}:", self.name));
        line(format!("    container_name: {}", self.name));
        line(format!("    image: {}", quoted(&self.image)));
        line("    network_mode: host".to_owned());
        line("    restart: always".to_owned());
        line("    healthcheck: {disable: true}".to_owned());
        if self.confined {
            line("    read_only: true".to_owned());
            line("    cap_drop: [ALL]".to_owned());
        }
        line("    environment:".to_owned());
        for (name, value) in &self.environment {
            // A lone dollar would ask for a variable.
            let value = quoted(&value.replace('$', "$$"));
            line(format!("      {name}: {value}"));
        }
        line("    volumes:".to_owned());
        for volume in &self.volumes {
            line(format!("      - {}", quoted(&volume.text())));
        }
    }

    /// It as a systemd unit. Images are loaded or pulled before.
    pub fn unit(&self) -> String {
        let mut run = String::from(
            "ExecStart=/usr/bin/docker run --rm --pull=never --network=host --no-healthcheck",
        );
        let _ = write!(run, " \\\n  --name={}", self.name);
        if self.confined {
            run.push_str(" --read-only --cap-drop=ALL");
        }
        for (name, value) in &self.environment {
            let _ = write!(run, " \\\n  {}", word(&format!("--env={name}={value}")));
        }
        for volume in &self.volumes {
            let _ = write!(
                run,
                " \\\n  {}",
                word(&format!("--volume={}", volume.text()))
            );
        }
        let _ = write!(run, " \\\n  {}", word(&self.image));
        format!(
            "[Unit]\n\
             Description={about}\n\
             Wants=docker.service\n\
             After=docker.service network-online.target\n\
             StartLimitIntervalSec=0\n\
             \n\
             [Service]\n\
             ExecStartPre=-/usr/bin/docker rm --force {name}\n\
             {run}\n\
             ExecStop=/usr/bin/docker stop {name}\n\
             # docker tells by 128 + 15 that the container was told to end.\n\
             SuccessExitStatus=143\n\
             {TELL}\n\
             Restart=always\n\
             RestartSec=10\n",
            about = self.about.replace('%', "%%"),
            name = self.name,
        )
    }
}

/// A string in YAML: JSON's quotes are YAML's too.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A word of a systemd command line.
fn word(text: &str) -> String {
    let text = text.replace('%', "%%").replace('$', "$$");
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_=+./:@,%$".contains(c);
    if text.chars().all(plain) {
        text
    } else {
        format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_mirror_has_its_upstream_port_and_folder() {
        let all = containers(&Config::default()).expect("the defaults are right");
        let told: Vec<_> = all
            .iter()
            .filter_map(|container| {
                let of = |name| container.environment.get(name).map(String::as_str);
                Some((of("REGISTRY_PROXY_REMOTEURL")?, of("REGISTRY_HTTP_ADDR")?))
            })
            .collect();
        assert_eq!(
            told,
            [
                ("https://registry-1.docker.io", "10.20.13.140:5050"),
                ("https://gcr.io", "10.20.13.140:5051"),
                ("https://ghcr.io", "10.20.13.140:5052"),
                ("https://quay.io", "10.20.13.140:5053"),
                ("https://registry.k8s.io", "10.20.13.140:5054"),
            ]
        );
        let mut folders: Vec<_> = all.iter().map(|one| &one.volumes[0].host).collect();
        folders.sort();
        folders.dedup();
        assert_eq!(folders.len(), all.len());
    }

    #[test]
    fn what_cannot_work_is_refused() {
        type Change = fn(&mut Config);
        let refusal = |change: Change| {
            let mut config = Config::default();
            change(&mut config);
            containers(&config).expect_err("it is refused").to_string()
        };
        let cases: [(Change, &str); 4] = [
            (
                |config| config.images.pihole = "pihole/pihole:2025.03.0".into(),
                "pi-hole 6",
            ),
            (
                |config| config.images.pihole = "pihole/pihole".into(),
                "pi-hole 6",
            ),
            (
                |config| config.images.registry = "registry:2 --privileged".into(),
                "no name of",
            ),
            (
                |config| config.images.registry = String::new(),
                "no name of",
            ),
        ];
        for (change, why) in cases {
            let said = refusal(change);
            assert!(said.contains(why), "{said}");
        }
    }

    #[test]
    fn words_are_quoted_where_systemd_needs_it() {
        for (text, expected) in [
            ("--env=A=10.0.0.1:53", "--env=A=10.0.0.1:53"),
            ("--env=A=a b", "\"--env=A=a b\""),
            ("--env=A=50%$x", "--env=A=50%%$$x"),
            ("--env=A=\"\\", "\"--env=A=\\\"\\\\\""),
        ] {
            assert_eq!(word(text), expected);
        }
    }
}
