//! The registry mirrors, as upstream, the nodes and the plan see them.

use std::fmt::Write as _;

use crate::config::{Config, Egress};

/// Folder of the caches on the bastion, one folder for each registry.
///
/// On a 5 GiB root about 2 GiB are left for them (an estimate): what Talos and
/// Kubernetes themselves need fits, all of CozyStack does not.
/// `ichor-make-room` empties the largest before the disk is full.
pub(super) const CACHES: &str = "/var/lib/ichor-mirrors";

/// The host that serves a registry's API.
pub(super) fn host(registry: &str) -> &str {
    match registry {
        "docker.io" => "registry-1.docker.io",
        other => other,
    }
}

/// Where a mirror gets from what it lacks.
pub fn upstream(registry: &str) -> String {
    format!("https://{}", host(registry))
}

/// The mirrors that cannot be filled under the configuration's egress, and why.
/// What they cached before they still serve, and images can come as a bundle.
pub fn unreachable_mirrors(config: &Config) -> Vec<(String, &'static str)> {
    let why = |registry: &str| match config.egress {
        Egress::None => Some("egress = \"none\": nothing outside the VPC can be reached"),
        Egress::Ipv6 if IPV4_ONLY.contains(&registry) => {
            Some("it has no IPv6, and egress = \"ipv6\" has nothing else")
        }
        Egress::Ipv6 | Egress::Ipv4Hourly | Egress::NatGateway => None,
    };
    let registries = config.mirrors.keys();
    registries
        .filter_map(|registry| Some((registry.clone(), why(registry)?)))
        .collect()
}

/// Registries without IPv6. docker.io has it since 2023; whether every layer's
/// CDN of the others does is not known.
const IPV4_ONLY: [&str; 1] = ["ghcr.io"];

/// The VPC's own time server. It needs no rule of a security group; the
/// servers on the internet that Talos asks by default are out of its reach, and
/// it starts nothing before it knows the time.
const TIME_SERVER: &str = "169.254.169.123";

/// A patch of a Talos machine config: the VPC's time, and pulls through the
/// bastion's mirrors. A node that finds a mirror silent asks the registry
/// itself, as far as its network lets it. Name servers come by DHCP.
pub fn talos_patch(config: &Config) -> String {
    let mut text = format!(
        "machine:\n  time:\n    servers:\n      - {TIME_SERVER}\n  registries:\n    mirrors:"
    );
    if config.mirrors.is_empty() {
        text.push_str(" {}");
    }
    text.push('\n');
    for (registry, port) in &config.mirrors {
        let endpoint = format!("http://{}:{port}", config.bastion.address);
        let _ = writeln!(
            text,
            "      {registry}:\n        endpoints:\n          - {endpoint}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_plan_says_which_mirrors_stay_empty() {
        let of = |egress| {
            let config = Config {
                egress,
                ..Config::default()
            };
            let all = unreachable_mirrors(&config);
            all.into_iter()
                .map(|(registry, _)| registry)
                .collect::<Vec<_>>()
        };
        assert_eq!(of(Egress::Ipv6), ["ghcr.io"]);
        assert_eq!(of(Egress::None).len(), Config::default().mirrors.len());
        assert!(of(Egress::Ipv4Hourly).is_empty() && of(Egress::NatGateway).is_empty());
    }
}
