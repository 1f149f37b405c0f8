//! Each key just beyond its bounds.

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
            c.network.public = block("10.20.1.1/24");
        }),
        ("network.public", |c| {
            c.network.public = block("10.20.1.0/29");
        }),
        ("network.public", |c| {
            c.network.public = block("10.21.1.0/24");
        }),
        ("network.private", |c| {
            c.network.public = block("10.20.12.0/22");
        }),
        ("network.private", |c| {
            c.network.public = block("10.20.13.0/25");
        }),
        ("network.vpc", |c| c.network.vpc = block("10.0.0.0/8")),
        ("bastion.address", |c| {
            c.bastion.address = block("10.20.13.3");
        }),
        ("bastion.address", |c| {
            c.bastion.address = block("10.20.13.255");
        }),
        ("bastion.address", |c| {
            c.bastion.address = block("10.20.1.140");
        }),
        ("bastion.stack_address", |c| {
            c.bastion.stack_address = c.bastion.address;
        }),
        ("bastion.stack_address", |c| {
            c.bastion.stack_address = block("10.20.13.0");
        }),
        ("bastion.root_gib", |c| c.bastion.root_gib = 1),
        ("bastion.schedule.hours", |c| c.bastion.schedule.hours = 0),
        ("bastion.schedule.start", |c| {
            c.bastion.schedule.start = block("18:00:01");
        }),
        ("bastion.schedule.time_zone", |c| {
            c.bastion.schedule.time_zone.clear();
        }),
        ("bastion.ssh_from", |c| c.bastion.public_interface = true),
        ("bastion.ssh_from", |c| {
            c.bastion.ssh_from = vec![block("::/0")];
        }),
        ("bastion.ssh_from", |c| {
            c.bastion.ssh_from = vec![block("2001:db8::1/64")];
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
