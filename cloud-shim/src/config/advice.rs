//! What is allowed, but had better be known.

use ipnet::IpNet;

use super::Config;
use super::check::{DESIGN_NODES, DESIGN_ROOT_GIB};
use crate::price::{self, rates};

impl Config {
    /// What is allowed, but not what one may expect.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (key, gib, hours) in [
            (
                "bastion.root_gib",
                self.bastion.root_gib,
                f64::from(self.bastion.schedule.hours) * rates::DAYS_A_MONTH,
            ),
            ("nodes.root_gib", self.nodes.root_gib, rates::HOURS_A_MONTH),
        ] {
            if gib > DESIGN_ROOT_GIB {
                let month = price::volume(gib, hours);
                warnings.push(format!(
                    "{key} = {gib}: more than the design's {DESIGN_ROOT_GIB}, and ${month:.3} a \
                     month for {hours:.0} hours"
                ));
            }
        }
        if self.nodes.max > DESIGN_NODES {
            warnings.push(format!(
                "nodes.max = {}: the design has {DESIGN_NODES}",
                self.nodes.max
            ));
        }
        if !self.bastion.public_interface && !self.bastion.ssh_from.is_empty() {
            warnings.push(
                "bastion.ssh_from counts with public_interface alone: at the Instance Connect \
                 endpoint it is IAM that says who may use it"
                    .to_owned(),
            );
        }
        for block in &self.bastion.ssh_from {
            if matches!(block, IpNet::V4(_)) {
                warnings.push(format!(
                    "bastion.ssh_from: {block} cannot come: the public interface has an IPv6 \
                     address alone"
                ));
            }
        }
        for (key, name) in [
            ("bastion.instance_type", &self.bastion.instance_type),
            ("nodes.instance_type", &self.nodes.instance_type),
        ] {
            if name != rates::TRIAL_TYPE {
                warnings.push(format!(
                    "{key} = \"{name}\": the free trial covers {} alone",
                    rates::TRIAL_TYPE
                ));
            }
        }
        if self.region != rates::REGION {
            warnings.push(format!(
                "region = \"{}\": the prices shown are those of {}",
                self.region,
                rates::REGION
            ));
        }
        warnings
    }
}

/// Memory in GiB that a Talos control plane asks for.
const TALOS_MEMORY_GIB: f64 = 2.0;
/// Disk in GiB that Talos asks for to be installed.
const TALOS_DISK_GIB: u32 = 10;
/// Memory in GiB of each of the three machines that CozyStack asks for.
const COZYSTACK_MEMORY_GIB: f64 = 24.0;

/// What the nodes cannot do, for whoever is about to start some.
pub fn nodes_advice(config: &Config) -> Vec<String> {
    let nodes = &config.nodes;
    let name = &nodes.instance_type;
    let mut advice = Vec::new();
    if let Some(known) = rates::instance_type(name) {
        let memory = known.memory_gib;
        if memory < TALOS_MEMORY_GIB {
            advice.push(format!(
                "{name} has {memory} GiB of memory: Talos asks for 2 GiB on a control plane, 1 GiB \
                 on a worker"
            ));
        } else if memory == TALOS_MEMORY_GIB {
            advice.push(format!(
                "{name} has {memory} GiB of memory, the least that a Talos control plane takes: \
                 it boots and joins, with little room for more"
            ));
        }
        if memory < COZYSTACK_MEMORY_GIB {
            advice.push(format!(
                "CozyStack asks for 3 machines of 24 GiB, x86-64: on {name} ({memory} GiB, arm64) \
                 expect booting and joining, not the platform"
            ));
        }
    }
    if nodes.root_gib < TALOS_DISK_GIB {
        advice.push(format!(
            "nodes.root_gib = {}: Talos asks for {TALOS_DISK_GIB} GiB to be installed; smaller \
             disks are for booting and joining",
            nodes.root_gib
        ));
    }
    advice.push(format!(
        "KubeVirt cannot start machines on {name}: EC2 gives it no nested virtualisation"
    ));
    advice
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_warned() {
        type Change = fn(&mut Config);
        let table: &[(&str, Change)] = &[
            // 8 × 0.088 × 152 / 730
            ("$0.147 a month for 152 hours", |c| c.bastion.root_gib = 8),
            ("nodes.max = 4", |c| c.nodes.max = 4),
            ("IAM", |c| {
                c.bastion.ssh_from = vec!["2001:db8::/64".parse().unwrap()];
            }),
            ("free trial", |c| {
                c.nodes.instance_type = "t4g.large".to_owned();
            }),
            ("eu-west-1", |c| c.region = "eu-west-2".to_owned()),
        ];
        for (says, change) in table {
            let mut config = Config::default();
            change(&mut config);
            let warnings = config.warnings();
            assert_eq!(warnings.len(), 1, "{warnings:?}");
            assert!(warnings[0].contains(says), "{warnings:?}");
        }
    }

    #[test]
    fn mend_10_what_nodes_cannot_do_is_said() {
        let said = |instance_type: &str| {
            let mut config = Config::default();
            config.nodes.instance_type = instance_type.to_owned();
            nodes_advice(&config).join("\n")
        };
        let small = said("t4g.small");
        for what in ["CozyStack", "KubeVirt", "2 GiB", "10 GiB"] {
            assert!(small.contains(what), "{small}");
        }
        assert!(said("t4g.micro").contains("1 GiB of memory"));
        let large = said("t4g.2xlarge");
        assert!(!large.contains("CozyStack") && large.contains("KubeVirt"));
    }
}
