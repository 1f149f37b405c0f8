//! `cloud.toml`: what the replica is to look like. Every key has a default, and
//! the defaults are the design; unknown keys are refused.

mod advice;
mod check;
mod open;
mod read;
mod schedule;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use ipnet::{IpNet, Ipv4Net};
use serde::Deserialize;

pub use advice::nodes_advice;
pub use open::Open;
pub use schedule::Schedule;

/// The whole of `cloud.toml`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Name of the lab: the value of the tag `ichor:lab`, and part of names.
    pub lab: String,
    /// AWS region.
    pub region: String,
    /// Availability zone; the region's first if it is not set.
    pub zone: Option<String>,
    /// A plan that comes to more in a month is refused.
    pub max_monthly_usd: f64,
    /// How the private subnet reaches the internet.
    pub egress: Egress,
    /// Address blocks.
    pub network: Network,
    /// The bastion.
    pub bastion: Bastion,
    /// The Talos nodes.
    pub nodes: Nodes,
    /// Registry mirrors on the bastion: registry to port.
    pub mirrors: BTreeMap<String, u16>,
    /// Container images that the bastion runs.
    pub images: Images,
    /// When the free trial of t4g.small ends, `2026-12-31`: estimates count
    /// compute from the day after.
    pub free_trial_until: jiff::civil::Date,
}

/// How the private subnet reaches the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Egress {
    /// IPv6 through an egress-only internet gateway: free, nothing inbound.
    Ipv6,
    /// Not at all.
    None,
    /// A public IPv4 address on the bastion while it is asked for
    /// (`cloud-up --ipv4`): by the hour.
    Ipv4Hourly,
    /// The design's NAT gateway: 35 dollars a month.
    NatGateway,
}

/// Address blocks.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Network {
    /// The VPC's block.
    pub vpc: Ipv4Net,
    /// The public subnet's.
    pub public: Ipv4Net,
    /// The private subnet's.
    pub private: Ipv4Net,
}

/// The bastion.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Bastion {
    /// Its own address, for SSH and DNS and the mirrors.
    pub address: Ipv4Addr,
    /// The stack's address: a secondary one of the same interface.
    pub stack_address: Ipv4Addr,
    /// EC2 instance type, arm64.
    pub instance_type: String,
    /// Its image, `ami-…`, instead of the newest minimal Amazon Linux 2023 for
    /// arm64. Another system than that one is not set up by `cloud-up`.
    pub image: Option<String>,
    /// Root volume in GiB; 5 at most within the design's budget.
    pub root_gib: u32,
    /// When it runs.
    pub schedule: Schedule,
    /// A second, dual-stack interface in the public subnet, for SSH by IPv6.
    pub public_interface: bool,
    /// That interface's address in the public subnet.
    pub public_address: Ipv4Addr,
    /// Who may use SSH on it: IPv6 blocks. The Instance Connect endpoint does
    /// not look at addresses: IAM says who may use it.
    pub ssh_from: Vec<IpNet>,
    /// The data folder (a matchbox folder with `ichor.toml`).
    pub data: PathBuf,
    /// The static arm64 `ichor`.
    pub ichor: PathBuf,
    /// A folder of what the bastion cannot fetch itself: container images as
    /// OCI archives (`*.tar`), the compose program.
    pub bundle: Option<PathBuf>,
}

/// The Talos nodes.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Nodes {
    /// EC2 instance type, arm64.
    pub instance_type: String,
    /// Most nodes at a time.
    pub max: u32,
    /// A node is ended after so many hours.
    pub ttl_hours: u32,
    /// Root volume in GiB.
    pub root_gib: u32,
    /// What nodes may say to each other besides Talos, Kubernetes and their
    /// pod networks: `tcp 7946`, `udp 7000-7999`.
    pub open: Vec<Open>,
}

/// Container images.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Images {
    /// distribution, one container for each mirror.
    pub registry: String,
    /// pi-hole.
    pub pihole: String,
}

impl Default for Config {
    fn default() -> Self {
        let mirror = |(name, port): (&str, u16)| (name.to_owned(), port);
        Self {
            lab: "home".to_owned(),
            region: "eu-west-1".to_owned(),
            zone: None,
            max_monthly_usd: 0.10,
            egress: Egress::Ipv6,
            network: Network::default(),
            bastion: Bastion::default(),
            nodes: Nodes::default(),
            mirrors: [
                ("docker.io", 5050),
                ("gcr.io", 5051),
                ("ghcr.io", 5052),
                ("quay.io", 5053),
                ("registry.k8s.io", 5054),
            ]
            .map(mirror)
            .into(),
            images: Images::default(),
            free_trial_until: jiff::civil::date(2026, 12, 31),
        }
    }
}

const fn block(a: u8, b: u8, c: u8, d: u8, len: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(a, b, c, d), len)
}

impl Default for Network {
    fn default() -> Self {
        Self {
            vpc: block(10, 20, 0, 0, 16),
            public: block(10, 20, 1, 0, 24),
            private: block(10, 20, 13, 0, 24),
        }
    }
}

impl Default for Bastion {
    fn default() -> Self {
        Self {
            address: Ipv4Addr::new(10, 20, 13, 140),
            stack_address: Ipv4Addr::new(10, 20, 13, 141),
            instance_type: "t4g.small".to_owned(),
            image: None,
            root_gib: 5,
            schedule: Schedule::default(),
            public_interface: false,
            public_address: Ipv4Addr::new(10, 20, 1, 140),
            ssh_from: Vec::new(),
            data: "data".into(),
            ichor: "target/bastion/ichor".into(),
            bundle: None,
        }
    }
}

impl Default for Nodes {
    fn default() -> Self {
        Self {
            instance_type: "t4g.small".to_owned(),
            max: 3,
            ttl_hours: 3,
            root_gib: 2,
            open: Vec::new(),
        }
    }
}

impl Default for Images {
    fn default() -> Self {
        Self {
            registry: "docker.io/library/registry:2.8.3".to_owned(),
            pihole: "docker.io/pihole/pihole:2024.07.0".to_owned(),
        }
    }
}

impl Config {
    /// The availability zone.
    pub fn zone(&self) -> String {
        let first = || format!("{}a", self.region);
        self.zone.clone().unwrap_or_else(first)
    }
}
