//! What `cloud.toml` must not say, and what one had better know.

use core::fmt;
use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use ipnet::{IpNet, Ipv4Net};

use super::Config;
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
const DESIGN_ROOT_GIB: u32 = 5;
/// The most that EBS has in a gp3 volume.
const GP3_MOST_GIB: u32 = 16 * 1024;
/// The nodes of the design.
const DESIGN_NODES: u32 = 3;
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
    (8080, "the netboot stack"),
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
                let month = crate::price::volume(gib, hours);
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
mod tests {
    use super::*;

    /// The keys of what is wrong once `break_it` was done.
    fn wrong(break_it: impl FnOnce(&mut Config)) -> Vec<String> {
        let mut config = Config::default();
        break_it(&mut config);
        config
            .problems()
            .into_iter()
            .map(|problem| problem.key)
            .collect()
    }

    #[test]
    fn the_design_is_well() {
        assert_eq!(Config::default().problems(), []);
        assert_eq!(Config::default().warnings(), Vec::<String>::new());
    }

    #[test]
    fn names() {
        for (lab, well) in [
            ("home", true),
            ("a", true),
            ("third-star-2", true),
            ("twenty-letters-are-ok", false),
            ("twenty-letters-is-ok", true),
            ("", false),
            ("Home", false),
            ("2nd", false),
            ("home-", false),
            ("home.lab", false),
        ] {
            let wrong = wrong(|config| config.lab = lab.to_owned());
            assert_eq!(wrong.is_empty(), well, "{lab}");
        }
        for (region, well) in [
            ("eu-west-1", true),
            ("ap-southeast-2", true),
            ("eu-west", false),
            ("eu-west-1a", false),
            ("cn-north-1", false),
            ("us-gov-west-1", false),
            ("us-iso-east-1", false),
            ("", false),
            ("-", false),
        ] {
            let wrong = wrong(|config| config.region = region.to_owned());
            assert_eq!(!wrong.contains(&"region".to_owned()), well, "{region}");
        }
        for (zone, well) in [("eu-west-1c", true), ("eu-west-2a", false), ("a", false)] {
            let wrong = wrong(|config| config.zone = Some(zone.to_owned()));
            assert_eq!(wrong.is_empty(), well, "{zone}");
        }
    }

    #[test]
    fn types() {
        for (name, key) in [
            ("t4g.small", None),
            ("t4g.2xlarge", None),
            // arm64, but of no known price.
            ("m7gd.large", Some("no price")),
            ("a1.medium", Some("no price")),
            ("t3.small", Some("not arm64")),
            ("g4dn.xlarge", Some("not arm64")),
            ("t4g", Some("not arm64")),
            ("t4g.", Some("not arm64")),
            ("", Some("not arm64")),
        ] {
            let mut config = Config::default();
            config.nodes.instance_type = name.to_owned();
            let problems = config.problems();
            let why = problems.first().map_or("", |problem| problem.why.as_str());
            assert_eq!(problems.len(), usize::from(key.is_some()), "{name}");
            assert!(why.contains(key.unwrap_or("")), "{name}: {why}");
        }
    }

    #[test]
    fn each_key_is_held_to_its_bounds() {
        fn block<T: core::str::FromStr<Err: fmt::Debug>>(text: &str) -> T {
            text.parse().unwrap()
        }
        type Break = fn(&mut Config);
        let table: &[(&str, Break)] = &[
            ("max_monthly_usd", |c| c.max_monthly_usd = f64::NAN),
            ("max_monthly_usd", |c| c.max_monthly_usd = f64::INFINITY),
            ("network.public", |c| {
                c.network.public = block("10.20.1.1/24")
            }),
            ("network.public", |c| {
                c.network.public = block("10.20.1.0/29")
            }),
            ("network.public", |c| {
                c.network.public = block("10.21.1.0/24")
            }),
            ("network.private", |c| {
                c.network.public = block("10.20.12.0/22")
            }),
            ("network.private", |c| {
                c.network.public = block("10.20.13.0/25")
            }),
            ("network.vpc", |c| c.network.vpc = block("10.0.0.0/8")),
            ("bastion.address", |c| {
                c.bastion.address = block("10.20.13.3")
            }),
            ("bastion.address", |c| {
                c.bastion.address = block("10.20.13.255")
            }),
            ("bastion.address", |c| {
                c.bastion.address = block("10.20.1.140")
            }),
            ("bastion.stack_address", |c| {
                c.bastion.stack_address = c.bastion.address
            }),
            ("bastion.stack_address", |c| {
                c.bastion.stack_address = block("10.20.13.0")
            }),
            ("bastion.root_gib", |c| c.bastion.root_gib = 1),
            ("bastion.schedule.hours", |c| c.bastion.schedule.hours = 0),
            ("bastion.schedule.start", |c| {
                c.bastion.schedule.start = block("18:00:01")
            }),
            ("bastion.schedule.time_zone", |c| {
                c.bastion.schedule.time_zone.clear()
            }),
            ("bastion.ssh_from", |c| c.bastion.public_interface = true),
            ("bastion.ssh_from", |c| {
                c.bastion.ssh_from = vec![block("::/0")]
            }),
            ("bastion.ssh_from", |c| {
                c.bastion.ssh_from = vec![block("2001:db8::1/64")]
            }),
            ("bastion.public_address", |c| {
                c.bastion.public_interface = true;
                c.bastion.ssh_from = vec![block("2001:db8::/64")];
                c.bastion.public_address = block("10.20.13.7");
            }),
            ("nodes.max", |c| c.nodes.max = 0),
            ("nodes.max", |c| c.nodes.max = 21),
            ("nodes.ttl_hours", |c| c.nodes.ttl_hours = 25),
            ("nodes.root_gib", |c| c.nodes.root_gib = 0),
            ("mirrors.\"docker.io\"", |c| {
                c.mirrors.insert("docker.io".to_owned(), 8080);
            }),
            // The later of the two, by name.
            ("mirrors.\"gcr.io\"", |c| {
                c.mirrors.insert("docker.io".to_owned(), 5051);
            }),
            ("mirrors.\"https://quay.io\"", |c| {
                c.mirrors.insert("https://quay.io".to_owned(), 6000);
            }),
        ];
        for (number, (key, break_it)) in table.iter().enumerate() {
            assert_eq!(wrong(break_it), [*key], "row {number}");
        }
    }

    #[test]
    fn one_is_warned() {
        type Change = fn(&mut Config);
        let table: &[(&str, Change)] = &[
            // 8 × 0.088 × 152 / 730
            ("$0.147 a month for 152 hours", |c| c.bastion.root_gib = 8),
            ("nodes.max = 4", |c| c.nodes.max = 4),
            ("IAM", |c| {
                c.bastion.ssh_from = vec!["2001:db8::/64".parse().unwrap()]
            }),
            ("free trial", |c| {
                c.nodes.instance_type = "t4g.large".to_owned()
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
