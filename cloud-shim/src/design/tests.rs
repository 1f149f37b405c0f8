//! The design by its modes, and what mends its contradictions.

use std::collections::BTreeSet;

use super::rules::{AMONG_NODES, HTTPS, ranges};
use super::*;
use crate::api::{Direction, Protocol};
use crate::kinds::GroupPeer;

/// The evening of the facts: 19:00 in Dublin.
fn facts() -> Facts {
    Facts {
        account: "123456789012".to_owned(),
        bastion_image: "ami-0a".to_owned(),
        bastion_root_device: "/dev/xvda".to_owned(),
        user_data: "#cloud-config\n".to_owned(),
        objects: BTreeMap::new(),
        loader_disk: Arc::from(vec![0; 3 << 20]),
        loader_sha256: "ab".repeat(32),
        ipv4_wanted: false,
        now: "2026-11-25T19:00:00Z".parse().unwrap(),
    }
}

fn with(egress: Egress) -> Config {
    Config {
        egress,
        ..Config::default()
    }
}

fn designed(config: &Config, facts: &Facts) -> BTreeMap<Part, Spec> {
    let parts = design(config, facts).unwrap();
    let count = parts.len();
    let parts: BTreeMap<Part, Spec> = parts.into_iter().collect();
    assert_eq!(parts.len(), count, "two parts of one name");
    parts
}

/// Every shape that the design can take.
fn shapes() -> Vec<(String, BTreeMap<Part, Spec>)> {
    let mut shapes = Vec::new();
    for egress in [
        Egress::Ipv6,
        Egress::None,
        Egress::Ipv4Hourly,
        Egress::NatGateway,
    ] {
        for public_interface in [false, true] {
            for ipv4_wanted in [false, true] {
                if ipv4_wanted && egress != Egress::Ipv4Hourly {
                    continue;
                }
                let mut config = with(egress);
                config.bastion.public_interface = public_interface;
                config.bastion.ssh_from = vec!["2001:db8::/56".parse().unwrap()];
                let facts = Facts {
                    ipv4_wanted,
                    ..facts()
                };
                let name = format!("{egress:?} public {public_interface} ipv4 {ipv4_wanted}");
                shapes.push((name, designed(&config, &facts)));
            }
        }
    }
    shapes
}

fn names(parts: &BTreeMap<Part, Spec>) -> BTreeSet<String> {
    parts.keys().map(ToString::to_string).collect()
}

/// A group's rules, one a line: `> tcp 22 bastion-sg`, `<` for ingress.
fn rules(parts: &BTreeMap<Part, Spec>, part: &Part) -> BTreeSet<String> {
    let Spec::SecurityGroup(group) = &parts[part] else {
        panic!("{part} is no group");
    };
    let told: Vec<String> = group
        .rules
        .iter()
        .map(|rule| {
            let way = match rule.direction {
                Direction::Ingress => '<',
                Direction::Egress => '>',
            };
            let peer = match &rule.peer {
                GroupPeer::Block(block) => block.to_string(),
                GroupPeer::Group(part) => part.to_string(),
                GroupPeer::S3 => "s3".to_owned(),
            };
            format!("{way} {} {peer}", rule.protocol)
        })
        .collect();
    let set: BTreeSet<String> = told.iter().cloned().collect();
    assert_eq!(set.len(), told.len(), "a rule twice in {part}");
    set
}

fn routes(parts: &BTreeMap<Part, Spec>, part: &Part) -> Vec<String> {
    let Spec::RouteTable(table) = &parts[part] else {
        panic!("{part} is no route table");
    };
    let told = table.routes.iter();
    told.map(|(block, to)| format!("{block} {to}")).collect()
}

fn set(items: &[&str]) -> BTreeSet<String> {
    items.iter().map(|item| (*item).to_owned()).collect()
}

const DEFAULT_PARTS: &[&str] = &[
    "bastion",
    "bastion-interface",
    "bastion-profile",
    "bastion-role",
    "bastion-sg",
    "bastion-template",
    "bucket",
    "connect-endpoint",
    "connect-sg",
    "dhcp-options",
    "egress-gateway",
    "internet-gateway",
    "loader-image",
    "node-template",
    "nodes",
    "private-routes",
    "private-subnet",
    "public-routes",
    "public-subnet",
    "reaper-role",
    "s3-endpoint",
    "talos-nodes-sg",
    "vpc",
];

#[test]
fn the_default_design() {
    let config = Config::default();
    let parts = designed(&config, &facts());
    assert_eq!(names(&parts), set(DEFAULT_PARTS));
    assert_eq!(
        rules(&parts, &parts::BASTION_SG),
        set(&[
            "< tcp 22 connect-sg",
            "< udp 53 10.20.0.0/16",
            "< tcp 53 10.20.0.0/16",
            "< tcp 8080 talos-nodes-sg",
            "< tcp 5050-5054 talos-nodes-sg",
            "< icmp talos-nodes-sg",
            "> tcp 50000 talos-nodes-sg",
            "> tcp 6443 talos-nodes-sg",
            "> icmp talos-nodes-sg",
            "> tcp 443 s3",
            "> tcp 443 ::/0",
        ])
    );
    let among = |way: &str| {
        let among = AMONG_NODES.iter();
        among
            .map(|(protocol, _)| format!("{way} {protocol} talos-nodes-sg"))
            .collect::<Vec<_>>()
    };
    let mut nodes = set(&[
        "< tcp 50000 bastion-sg",
        "< tcp 6443 bastion-sg",
        "< icmp bastion-sg",
        "> udp 53 10.20.13.140/32",
        "> tcp 53 10.20.13.140/32",
        "> tcp 8080 bastion-sg",
        "> tcp 5050-5054 bastion-sg",
        "> icmp bastion-sg",
        "> tcp 443 ::/0",
    ]);
    nodes.extend(among("<"));
    nodes.extend(among(">"));
    assert_eq!(rules(&parts, &parts::TALOS_NODES_SG), nodes);
    assert_eq!(
        rules(&parts, &parts::CONNECT_SG),
        set(&["> tcp 22 bastion-sg"])
    );
    assert_eq!(
        routes(&parts, &parts::PUBLIC_ROUTES),
        ["0.0.0.0/0 internet-gateway"]
    );
}

#[test]
fn each_mode_adds_what_it_needs_and_no_more() {
    let asked = Facts {
        ipv4_wanted: true,
        ..facts()
    };
    for (egress, facts, more, less, private_routes, bastion_out) in [
        (
            Egress::Ipv6,
            &facts(),
            &[][..],
            &[][..],
            &["::/0 egress-gateway"][..],
            &["> tcp 443 ::/0"][..],
        ),
        (Egress::None, &facts(), &[], &["egress-gateway"], &[], &[]),
        (
            Egress::Ipv4Hourly,
            &facts(),
            &[],
            &["egress-gateway"],
            &[],
            &[],
        ),
        (
            Egress::Ipv4Hourly,
            &asked,
            &["bastion-address"],
            &["egress-gateway"],
            &["0.0.0.0/0 internet-gateway"],
            &["> tcp 443 0.0.0.0/0"],
        ),
        (
            Egress::NatGateway,
            &facts(),
            &["nat-address", "nat-gateway"],
            &["egress-gateway"],
            &["0.0.0.0/0 nat-gateway"],
            &["> tcp 443 0.0.0.0/0"],
        ),
    ] {
        let parts = designed(&with(egress), facts);
        let mut wanted = &set(DEFAULT_PARTS) | &set(more);
        wanted.retain(|name| !less.contains(&name.as_str()));
        assert_eq!(names(&parts), wanted, "{egress:?}");
        assert_eq!(
            routes(&parts, &parts::PRIVATE_ROUTES),
            private_routes,
            "{egress:?}"
        );
        let out: BTreeSet<String> = rules(&parts, &parts::BASTION_SG)
            .into_iter()
            .filter(|rule| rule.ends_with("/0"))
            .collect();
        assert_eq!(out, set(bastion_out), "{egress:?}");
        let Spec::Vpc(vpc) = &parts[&parts::VPC] else {
            panic!("the VPC is none");
        };
        assert_eq!(vpc.ipv6, egress == Egress::Ipv6);
    }
}

#[test]
fn a_public_address_is_refused_where_a_mode_has_none() {
    let asked = Facts {
        ipv4_wanted: true,
        ..facts()
    };
    for egress in [Egress::Ipv6, Egress::None, Egress::NatGateway] {
        let error = design(&with(egress), &asked).unwrap_err();
        assert!(error.to_string().contains("ipv4-hourly"), "{error}");
    }
}

#[test]
fn whatever_a_part_speaks_of_is_a_part() {
    for (shape, parts) in shapes() {
        for (part, spec) in &parts {
            for other in spec.needs().into_iter().chain(spec.refers_to()) {
                assert!(
                    parts.contains_key(&other),
                    "{shape}: {part} speaks of {other}"
                );
            }
        }
        for part in parts.keys() {
            let table = matches!(parts[part], Spec::RouteTable(_));
            for route in table.then(|| routes(&parts, part)).into_iter().flatten() {
                let to = route.rsplit(' ').next().unwrap();
                assert!(parts.contains_key(&Part::tagged(to)), "{shape}: {route}");
            }
        }
    }
}

#[test]
fn no_part_waits_for_itself() {
    for (shape, parts) in shapes() {
        let mut there: BTreeSet<Part> = BTreeSet::new();
        while there.len() < parts.len() {
            let before = there.len();
            for (part, spec) in &parts {
                if spec.needs().iter().all(|need| there.contains(need)) {
                    there.insert(part.clone());
                }
            }
            assert!(there.len() > before, "{shape}: only {there:?} can be made");
        }
    }
}

#[test]
fn what_rules_are_for_is_text_that_ec2_takes() {
    for (shape, parts) in shapes() {
        for spec in parts.values() {
            let Spec::SecurityGroup(group) = spec else {
                continue;
            };
            let whys = group.rules.iter().map(|rule| rule.why);
            for text in whys.chain([group.description.as_str()]) {
                let allowed =
                    |c: char| c.is_ascii_alphanumeric() || " ._-:/()#,@[]+=&;{}!$*".contains(c);
                assert!(
                    text.len() <= 255 && text.chars().all(allowed),
                    "{shape}: {text}"
                );
            }
        }
    }
}

#[test]
fn mirrors_become_ranges() {
    let ranges = |ports: &[u16]| ranges(ports.iter().copied());
    assert_eq!(ranges(&[]), []);
    assert_eq!(ranges(&[5051, 5050, 5060]), [(5050, 5051), (5060, 5060)]);
    assert_eq!(ranges(&[65535, 65534]), [(65534, 65535)]);
}

#[test]
fn more_is_opened_among_nodes_alone() {
    let mut config = Config::default();
    config.nodes.open = vec!["udp 7946".parse().unwrap()];
    let parts = designed(&config, &facts());
    let with_7946 = |part: &Part| {
        let rules = rules(&parts, part).into_iter();
        rules.filter(|rule| rule.contains("7946")).count()
    };
    assert_eq!(with_7946(&parts::TALOS_NODES_SG), 2);
    assert_eq!(with_7946(&parts::BASTION_SG), 0);
}

#[test]
fn the_bastion_may_read_its_bucket_and_the_reaper_end_nodes() {
    let parts = designed(&Config::default(), &facts());
    let policy = |part: &Part| match &parts[part] {
        Spec::Role(role) => role.policy["Statement"].clone(),
        _ => panic!("{part} is no role"),
    };
    assert_eq!(
        policy(&parts::BASTION_ROLE),
        json!([
            {"Effect": "Allow", "Action": "s3:ListBucket",
             "Resource": "arn:aws:s3:::ichor-home-123456789012"},
            {"Effect": "Allow", "Action": "s3:GetObject",
             "Resource": "arn:aws:s3:::ichor-home-123456789012/*"},
        ])
    );
    assert_eq!(
        policy(&parts::REAPER_ROLE),
        json!([{
            "Effect": "Allow",
            "Action": "ec2:TerminateInstances",
            "Resource": "arn:aws:ec2:eu-west-1:123456789012:instance/*",
            "Condition": {"StringEquals": {
                "ec2:ResourceTag/ichor:lab": "home",
                "ec2:ResourceTag/ichor:part": "node",
            }},
        }])
    );
}

// The places where the design contradicts itself, by their number in the
// README. 6 is `down` and `leftovers`, 7, 8 and 10 are `price` and `config`.

#[test]
fn mend_1_no_nat_gateway_unless_asked_for() {
    for (shape, parts) in shapes() {
        let nat = parts.contains_key(&parts::NAT_GATEWAY);
        assert_eq!(nat, shape.starts_with("NatGateway"), "{shape}");
    }
}

#[test]
fn mend_2_ssh_through_the_endpoint_or_a_public_interface() {
    for (shape, parts) in shapes() {
        let into_bastion = rules(&parts, &parts::BASTION_SG);
        let ssh: Vec<&String> = into_bastion
            .iter()
            .filter(|rule| rule.starts_with("< tcp 22 "))
            .collect();
        assert_eq!(ssh, ["< tcp 22 connect-sg"], "{shape}");
        assert!(parts.contains_key(&parts::CONNECT_ENDPOINT), "{shape}");
        let public = shape.contains("public true");
        assert_eq!(
            parts.contains_key(&parts::PUBLIC_INTERFACE),
            public,
            "{shape}"
        );
        if public {
            assert_eq!(
                rules(&parts, &parts::PUBLIC_SG),
                set(&["< tcp 22 2001:db8::/56"]),
                "{shape}"
            );
            let routes = routes(&parts, &parts::PUBLIC_ROUTES);
            assert!(routes.contains(&"::/0 internet-gateway".to_owned()));
        }
    }
}

#[test]
fn mend_3_the_address_outlives_the_instance() {
    let parts = designed(&Config::default(), &facts());
    let Spec::Interface(interface) = &parts[&parts::BASTION_INTERFACE] else {
        panic!("no interface");
    };
    assert_eq!(interface.primary.to_string(), "10.20.13.140");
    let secondary = interface.secondary.iter().map(ToString::to_string);
    assert_eq!(secondary.collect::<Vec<_>>(), ["10.20.13.141"]);
    let Spec::Template(template) = &parts[&parts::BASTION_TEMPLATE] else {
        panic!("no template");
    };
    let existing = TemplateInterface::Existing(parts::BASTION_INTERFACE);
    assert_eq!(template.interface, existing);
}

#[test]
fn mend_4_dns_has_a_second_resolver() {
    let parts = designed(&Config::default(), &facts());
    let Spec::DhcpOptions(options) = &parts[&parts::DHCP_OPTIONS] else {
        panic!("no options");
    };
    assert_eq!(options.servers, ["10.20.13.140", "AmazonProvidedDNS"]);
}

#[test]
fn mend_5_every_rule_names_its_ports() {
    for (shape, parts) in shapes() {
        let groups = parts.iter().filter_map(|(part, spec)| match spec {
            Spec::SecurityGroup(group) => Some((part, group)),
            _ => None,
        });
        for (part, group) in groups {
            for rule in &group.rules {
                assert_ne!(rule.protocol, Protocol::All, "{shape}: {part}");
                let out_to_all =
                    matches!(rule.peer, GroupPeer::Block(block) if block.prefix_len() == 0);
                if out_to_all {
                    assert_eq!(rule.direction, Direction::Egress, "{shape}: {part}");
                    assert_eq!(rule.protocol, HTTPS, "{shape}: {part}");
                }
            }
        }
    }
}

#[test]
fn mend_9_the_schedule_has_a_time_zone() {
    let group = |config: &Config, now: &str| {
        let facts = Facts {
            now: now.parse().unwrap(),
            ..facts()
        };
        match designed(config, &facts).remove(&parts::BASTION) {
            Some(Spec::Group(group)) => group,
            _ => panic!("no group"),
        }
    };
    let mut config = Config::default();
    let evening = group(&config, "2026-11-25T19:00:00Z");
    let told: Vec<_> = evening
        .schedule
        .iter()
        .map(|a| (a.recurrence.as_str(), a.time_zone.as_str(), a.desired))
        .collect();
    assert_eq!(
        told,
        [
            ("0 18 * * *", "Europe/Dublin", 1),
            ("0 23 * * *", "Europe/Dublin", 0)
        ]
    );
    assert_eq!(evening.desired, 1);
    assert_eq!(group(&config, "2026-11-25T08:00:00Z").desired, 0);
    config.bastion.schedule.hours = 24;
    let always = group(&config, "2026-11-25T08:00:00Z");
    assert_eq!((always.desired, always.schedule.len()), (1, 0));
}

#[test]
fn mend_11_ipv6_alone_has_no_way_to_ipv4() {
    let parts = designed(&Config::default(), &facts());
    let routes = routes(&parts, &parts::PRIVATE_ROUTES);
    assert!(!routes.iter().any(|route| route.starts_with("0.0.0.0/0")));
}
