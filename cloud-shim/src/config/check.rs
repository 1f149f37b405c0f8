//! What `cloud.toml` must not say, and what one had better know.

use core::fmt;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::Ipv4Net;

use super::Config;
use crate::design::STACK_HTTP;
use crate::error::Error;
use crate::price::rates;

/// Longest name of a lab: with `ichor-` and a part's name it must fit a role's
/// 64 letters, with the account's number a bucket's 63.
const LAB_MOST: usize = 20;
/// The snapshot of the bastion's operating system.
const BASTION_IMAGE_GIB: u32 = 2;
/// The snapshot of the nodes' loader: the smallest volume that EBS has.
const LOADER_IMAGE_GIB: u32 = 1;
/// What the design has room for.
pub(super) const DESIGN_ROOT_GIB: u32 = 5;
/// The most that EBS has in a gp3 volume.
const GP3_MOST_GIB: u32 = 16 * 1024;
/// The nodes of the design.
pub(super) const DESIGN_NODES: u32 = 3;
/// More are a slip.
const NODES_MOST: u32 = 20;
/// A group takes 60 rules a direction.
const MIRRORS_MOST: usize = 20;
/// The same for blocks and for ports.
const LIST_MOST: usize = 20;
/// Ports of the bastion that something else listens on.
const TAKEN: &[(u16, &str)] = &[
    (22, "SSH"),
    (53, "DNS"),
    (69, "TFTP"),
    (80, "pi-hole"),
    (STACK_HTTP, "the netboot stack"),
];

/// What is wrong with a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Problem {
    /// Its path: `bastion.schedule.hours`.
    pub(super) key: String,
    /// What was found, and what was expected.
    pub(super) why: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.key, self.why)
    }
}

/// Problems as they are found.
#[derive(Default)]
struct Problems(Vec<Problem>);

impl Problems {
    /// Notes one, unless all is well.
    fn unless(&mut self, well: bool, key: &str, why: impl FnOnce() -> String) {
        if !well {
            let key = key.to_owned();
            self.0.push(Problem { key, why: why() });
        }
    }
}

impl Config {
    /// All that is wrong.
    pub(super) fn problems(&self) -> Vec<Problem> {
        let mut problems = Problems::default();
        self.check_names(&mut problems);
        self.check_network(&mut problems);
        self.check_bastion(&mut problems);
        self.check_nodes(&mut problems);
        self.check_mirrors(&mut problems);
        problems.0
    }

    fn check_names(&self, problems: &mut Problems) {
        let lab = &self.lab;
        let letter = |c: char| c.is_ascii_lowercase();
        let letter_or_digit = |c: char| letter(c) || c.is_ascii_digit();
        let well = lab.len() <= LAB_MOST
            && lab.starts_with(letter)
            && lab.ends_with(letter_or_digit)
            && lab.chars().all(|c| letter_or_digit(c) || c == '-');
        problems.unless(well, "lab", || {
            format!(
                "\"{lab}\": expected lower-case letters, digits and hyphens, a letter first and \
                 no hyphen last, {LAB_MOST} at most"
            )
        });
        let region = &self.region;
        let parts: Vec<&str> = region.split('-').collect();
        let well = matches!(parts.as_slice(), [first, middle @ .., last]
            if first.len() == 2
                && !middle.is_empty()
                && parts.iter().all(|part| !part.is_empty())
                && [*first].iter().chain(middle).all(|part| part.chars().all(letter))
                && last.chars().all(|c| c.is_ascii_digit()));
        problems.unless(well, "region", || {
            format!("\"{region}\" is no region; expected one such as \"eu-west-1\"")
        });
        let foreign =
            region.starts_with("cn-") || region.contains("-gov-") || region.contains("-iso");
        problems.unless(!foreign, "region", || {
            format!("\"{region}\" is not of the commercial partition, the only one built for")
        });
        let zone = self.zone();
        let well = zone
            .strip_prefix(region.as_str())
            .is_some_and(|rest| rest.len() == 1 && rest.chars().all(letter));
        problems.unless(well, "zone", || {
            format!("\"{zone}\" is no zone of {region}; expected one such as \"{region}a\"")
        });
        let limit = self.max_monthly_usd;
        problems.unless(limit.is_finite() && limit >= 0.0, "max_monthly_usd", || {
            format!("{limit}: expected dollars, 0 or more")
        });
    }

    fn check_network(&self, problems: &mut Problems) {
        let network = &self.network;
        for (key, block) in [
            ("network.vpc", network.vpc),
            ("network.public", network.public),
            ("network.private", network.private),
        ] {
            let net = block.trunc();
            problems.unless(block == net, key, || {
                format!("{block} has bits beside its prefix; expected {net}")
            });
            let well = (16..=28).contains(&block.prefix_len());
            problems.unless(well, key, || {
                format!("{block}: a VPC's and its subnets' blocks are /16 to /28")
            });
        }
        for (key, block) in [
            ("network.public", network.public),
            ("network.private", network.private),
        ] {
            problems.unless(network.vpc.contains(&block), key, || {
                format!("{block} is not in the VPC's {}", network.vpc)
            });
        }
        let (public, private) = (network.public, network.private);
        let apart = !public.contains(&private.network()) && !private.contains(&public.network());
        problems.unless(apart, "network.private", || {
            format!("{private} overlaps the public subnet's {public}")
        });
    }

    fn check_bastion(&self, problems: &mut Problems) {
        let bastion = &self.bastion;
        let (public, private) = (self.network.public, self.network.private);
        let mut address = |key, address, name, block| {
            if let Some(why) = unusable(address, name, block) {
                problems.unless(false, key, || why);
            }
        };
        address("bastion.address", bastion.address, "private", private);
        let stack = bastion.stack_address;
        address("bastion.stack_address", stack, "private", private);
        if bastion.public_interface {
            let key = "bastion.public_address";
            address(key, bastion.public_address, "public", public);
        }
        problems.unless(stack != bastion.address, "bastion.stack_address", || {
            format!("{stack} is bastion.address too; the stack needs one of its own")
        });
        check_type(problems, "bastion.instance_type", &bastion.instance_type);
        let key = "bastion.root_gib";
        check_root(problems, key, bastion.root_gib, BASTION_IMAGE_GIB);

        let schedule = &bastion.schedule;
        let hours = schedule.hours;
        let well = (1..=24).contains(&hours);
        problems.unless(well, "bastion.schedule.hours", || {
            format!("{hours}: expected 1 to 24, which is always")
        });
        let start = schedule.start;
        let whole = start.second() == 0 && start.subsec_nanosecond() == 0;
        problems.unless(whole, "bastion.schedule.start", || {
            format!("{start}: expected hours and minutes, such as \"18:00\"")
        });
        if let Err(Error::Config(why)) = schedule.zone() {
            problems.unless(false, "bastion.schedule.time_zone", || why);
        }

        let key = "bastion.ssh_from";
        let from = &bastion.ssh_from;
        let needed = bastion.public_interface && from.is_empty();
        problems.unless(!needed, key, || {
            "empty: expected the blocks that may use SSH on the public interface, such as \
             [\"2001:db8:1:2::/64\"]"
                .to_owned()
        });
        problems.unless(from.len() <= LIST_MOST, key, || {
            format!("{} blocks: expected {LIST_MOST} at most", from.len())
        });
        for block in from {
            let net = block.trunc();
            problems.unless(*block == net, key, || {
                format!("{block} has bits beside its prefix; expected {net}")
            });
            problems.unless(block.prefix_len() > 0, key, || {
                format!("{block} is everyone; expected your own block")
            });
        }
    }

    fn check_nodes(&self, problems: &mut Problems) {
        let nodes = &self.nodes;
        check_type(problems, "nodes.instance_type", &nodes.instance_type);
        let max = nodes.max;
        problems.unless((1..=NODES_MOST).contains(&max), "nodes.max", || {
            format!("{max}: expected 1 to {DESIGN_NODES}, and never more than {NODES_MOST}")
        });
        let hours = nodes.ttl_hours;
        problems.unless((1..=24).contains(&hours), "nodes.ttl_hours", || {
            format!("{hours}: expected 1 to 24; a node ends itself when they are over")
        });
        check_root(problems, "nodes.root_gib", nodes.root_gib, LOADER_IMAGE_GIB);
        let open = nodes.open.len();
        problems.unless(open <= LIST_MOST, "nodes.open", || {
            format!("{open} entries: expected {LIST_MOST} at most")
        });
    }

    fn check_mirrors(&self, problems: &mut Problems) {
        let count = self.mirrors.len();
        problems.unless(count <= MIRRORS_MOST, "mirrors", || {
            format!("{count} mirrors: expected {MIRRORS_MOST} at most")
        });
        let mut by_port: BTreeMap<u16, &str> = BTreeMap::new();
        for (registry, port) in &self.mirrors {
            let key = format!("mirrors.\"{registry}\"");
            let letter =
                |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.:".contains(c);
            let well = registry.contains('.') && registry.chars().all(letter);
            problems.unless(well, &key, || {
                "expected a registry's host name, such as \"docker.io\"".to_owned()
            });
            problems.unless(*port != 0, &key, || "0 is no port".to_owned());
            if let Some((_, what)) = TAKEN.iter().find(|(taken, _)| taken == port) {
                problems.unless(false, &key, || format!("port {port} is {what}'s"));
            }
            if let Some(other) = by_port.insert(*port, registry) {
                problems.unless(false, &key, || format!("port {port} is {other}'s too"));
            }
        }
    }
}

/// Why an address cannot be used in a subnet: AWS keeps the first four and the
/// last.
fn unusable(address: Ipv4Addr, name: &str, block: Ipv4Net) -> Option<String> {
    if !block.contains(&address) {
        return Some(format!("{address} is not in the {name} subnet's {block}"));
    }
    let offset = u32::from(address) - u32::from(block.network());
    (offset < 4 || address == block.broadcast())
        .then(|| format!("{address} is kept by AWS, as the first four and the last of {block} are"))
}

fn check_root(problems: &mut Problems, key: &str, gib: u32, image: u32) {
    let well = (image..=GP3_MOST_GIB).contains(&gib);
    problems.unless(well, key, || {
        format!("{gib}: expected GiB, {image} at least: the image is that large")
    });
}

fn check_type(problems: &mut Problems, key: &str, name: &str) {
    problems.unless(is_arm64(name), key, || {
        format!(
            "\"{name}\" is not arm64, as bastion and nodes are; expected one such as \"t4g.small\""
        )
    });
    let priced = !is_arm64(name) || rates::instance_type(name).is_some();
    problems.unless(priced, key, || {
        let known: Vec<&str> = rates::INSTANCE_TYPES
            .iter()
            .map(|known| known.name)
            .collect();
        format!(
            "no price is known for \"{name}\"; expected one of {}",
            known.join(", ")
        )
    });
}

/// Whether a type is of AWS's own arm64 processors: `a1`, and those with a `g`
/// after the generation's number.
fn is_arm64(name: &str) -> bool {
    let Some((family, size)) = name.split_once('.') else {
        return false;
    };
    let series = family.trim_start_matches(|c: char| c.is_ascii_lowercase());
    let options = series.trim_start_matches(|c: char| c.is_ascii_digit());
    !size.is_empty() && series != options && (family == "a1" || options.contains('g'))
}

#[cfg(test)]
mod tests;
