//! The figures that the README shows, and the budget's refusals.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::civil::date;

use super::*;
use crate::api::Body;
use crate::config::Egress;
use crate::design::{Facts, design};
use crate::kinds::Content;

const MIB: u64 = 1 << 20;

/// What a lab's bucket holds by the facts' estimates: the program, kernel and
/// initramfs of Talos, and a few small files.
fn objects(bundle_mib: u64) -> BTreeMap<String, Content> {
    let sizes = [
        ("ichor", 4 * MIB),
        ("data/assets/vmlinuz", 20 * MIB),
        ("data/assets/initramfs.xz", 90 * MIB),
        ("data/profiles/talos.json", 700),
        ("bundle/images.tar", bundle_mib * MIB),
    ];
    let content = |len| Content {
        body: Body::Bytes(Vec::new()),
        len,
        sha256: String::new(),
    };
    sizes
        .into_iter()
        .filter(|(_, len)| *len > 0)
        .map(|(key, len)| (key.to_owned(), content(len)))
        .collect()
}

/// A loader disk of 3 MiB of which 1 MiB has content.
fn disk() -> Arc<[u8]> {
    let mut disk = vec![0; 3 << 20];
    disk[..1 << 20].fill(1);
    disk.into()
}

const IN_TRIAL: Date = date(2026, 11, 25);
const AFTER_TRIAL: Date = date(2027, 1, 1);

fn estimated(config: &Config, bundle_mib: u64, today: Date) -> Estimate {
    let facts = Facts {
        account: "123456789012".to_owned(),
        bastion_image: "ami-0a".to_owned(),
        bastion_root_device: "/dev/xvda".to_owned(),
        user_data: String::new(),
        objects: objects(bundle_mib),
        loader_disk: disk(),
        loader_sha256: String::new(),
        ipv4_wanted: config.egress == Egress::Ipv4Hourly,
        now: "2026-11-25T19:00:00Z".parse().unwrap(),
    };
    let parts = design(config, &facts).unwrap();
    estimate(config, &parts, &Usage::of(config, today)).unwrap()
}

fn with(egress: Egress) -> Config {
    Config {
        egress,
        ..Config::default()
    }
}

/// `part what` and its price in a month, of all that is not free.
fn priced(estimate: &Estimate) -> Vec<(String, String)> {
    let items = estimate.items.iter().filter(|item| item.monthly > 0.0);
    items
        .map(|item| (format!("{} {}", item.part, item.what), usd(item.monthly)))
        .collect()
}

#[test]
fn mend_7_the_default_plan_fits_its_budget_while_the_trial_lasts() {
    let config = Config::default();
    let plan = estimated(&config, 0, IN_TRIAL);
    let line = |what: &str, usd: &str| (what.to_owned(), usd.to_owned());
    assert_eq!(
        priced(&plan),
        [
            // 114 MiB / 1024 × 0.023, and 4 objects × 30.4 × 0.0000004
            line("bucket S3, 114.0 MiB", "$0.0026"),
            // 1 MiB / 1024 × 0.05
            line("loader-image snapshot, 1.0 MiB", "<$0.0001"),
            // 5 × 0.088 × 152.08 / 730
            line("bastion root volume, 5 GiB gp3", "$0.0917"),
        ]
    );
    assert_eq!(usd(plan.monthly), "$0.0943");
    assert_eq!(usd(plan.per_hour), "$0.0006");
    check_budget(&config, &plan).unwrap();

    // 8 GiB, as the design has it, do not fit.
    let mut literal = config;
    literal.bastion.root_gib = 8;
    let plan = estimated(&literal, 0, IN_TRIAL);
    assert_eq!(usd(plan.monthly), "$0.1493");
    check_budget(&literal, &plan).unwrap_err();
}

#[test]
fn there_is_room_for_the_images_of_the_containers() {
    let config = Config::default();
    for (bundle_mib, fits) in [(200, true), (250, true), (300, false)] {
        let plan = estimated(&config, bundle_mib, IN_TRIAL);
        assert_eq!(
            check_budget(&config, &plan).is_ok(),
            fits,
            "{bundle_mib} MiB: {}",
            plan.monthly
        );
    }
    // A GiB less on the root volume is worth 800 MiB in the bucket.
    let mut smaller = Config::default();
    smaller.bastion.root_gib = 4;
    check_budget(&smaller, &estimated(&smaller, 1000, IN_TRIAL)).unwrap();
}

#[test]
fn every_part_has_a_line() {
    for egress in [
        Egress::Ipv6,
        Egress::None,
        Egress::Ipv4Hourly,
        Egress::NatGateway,
    ] {
        let plan = estimated(&with(egress), 0, IN_TRIAL);
        let has = |part: &str| plan.items.iter().any(|item| item.part == part);
        for part in [
            "vpc",
            "nodes",
            "connect-endpoint",
            "node-template",
            "traffic",
        ] {
            assert!(has(part), "{egress:?}: {part}");
        }
        assert_eq!(has("nat-gateway"), egress == Egress::NatGateway);
        for item in &plan.items {
            assert!(!item.note.is_empty(), "{item:?}");
            assert_eq!(item.monthly > 0.0, item.per_hour > 0.0, "{item:?}");
        }
    }
}

#[test]
fn a_nat_gateway_is_refused_until_the_budget_allows_it() {
    let mut config = with(Egress::NatGateway);
    let plan = estimated(&config, 0, IN_TRIAL);
    let cost = |part: &str| {
        let item = plan.items.iter().find(|item| item.part == part);
        usd(item.unwrap().monthly)
    };
    assert_eq!(cost("nat-gateway"), "$35.04");
    assert_eq!(cost("nat-address"), "$3.65");
    let error = check_budget(&config, &plan).unwrap_err().to_string();
    for says in [
        "$38.78",
        "max_monthly_usd = 0.10",
        "nat-gateway (NAT gateway) $35.04",
        "change egress",
    ] {
        assert!(error.contains(says), "{error}");
    }
    config.max_monthly_usd = 40.0;
    check_budget(&config, &plan).unwrap();
}

#[test]
fn a_public_address_costs_while_it_is_asked_for() {
    let config = with(Egress::Ipv4Hourly);
    let plan = estimated(&config, 0, IN_TRIAL);
    let item = plan
        .items
        .iter()
        .find(|item| item.part == "bastion-address");
    let item = item.unwrap();
    assert_eq!((item.per_hour, item.monthly), (0.005, 0.005));
    assert!(item.note.contains("$3.65"), "{}", item.note);
    check_budget(&config, &plan).unwrap();
}

#[test]
fn after_the_trial_compute_counts() {
    let config = Config::default();
    let before = estimated(&config, 0, date(2026, 12, 31));
    let after = estimated(&config, 0, AFTER_TRIAL);
    assert!(before.in_trial && !after.in_trial);
    // 152.08 × 0.0184 more.
    assert_eq!(usd(after.monthly), "$2.89");
    assert_eq!(before.monthly_after_trial, after.monthly);
    assert_eq!(before.items.len(), after.items.len());
    let error = check_budget(&config, &after).unwrap_err().to_string();
    assert!(
        error.contains("the free trial ended on 2026-12-31"),
        "{error}"
    );
}

#[test]
fn another_type_is_not_in_the_trial() {
    let mut config = Config::default();
    config.bastion.instance_type = "t4g.micro".to_owned();
    let plan = estimated(&config, 0, IN_TRIAL);
    // 152.08 × 0.0092
    assert_eq!(
        usd(plan.monthly - estimated(&Config::default(), 0, IN_TRIAL).monthly),
        "$1.40"
    );
    config.bastion.instance_type = "t3.small".to_owned();
    let usage = Usage::of(&config, IN_TRIAL);
    let group = crate::kinds::Spec::Group(crate::kinds::Group {
        template: crate::design::parts::BASTION_TEMPLATE,
        zone: String::new(),
        desired: 1,
        schedule: Vec::new(),
    });
    let parts = [(crate::design::parts::BASTION, group)];
    let error = estimate(&config, &parts, &usage).unwrap_err();
    assert!(error.to_string().contains("t3.small"), "{error}");
}

#[test]
fn the_designs_sessions() {
    let config = Config::default();
    let usage = Usage::of(&config, IN_TRIAL);
    let plan = estimated(&config, 0, IN_TRIAL);
    let month = sessions(&config, &plan, &usage).unwrap();
    assert_eq!((month.count, month.nodes, month.hours), (20, 3, 3));
    // 3 × 2 GiB × 0.088 × 3 / 730
    assert_eq!(usd(month.each), "$0.0022");
    assert_eq!(usd(month.monthly), "$0.0434");
    // And 9 × 0.0184.
    assert_eq!(usd(month.each_after_trial), "$0.1678");
    assert_eq!(usd(month.monthly_after_trial), "$3.36");
    assert_eq!((month.trial_hours, month.trial_limit), (332.0, 750.0));
    assert_eq!(month.within_budget, 2);

    // The design's 8 GiB disks: its own "~$0.001" a session is $0.0087.
    let mut literal = config;
    literal.nodes.root_gib = 8;
    let month = sessions(&literal, &plan, &usage).unwrap();
    assert_eq!(usd(month.each), "$0.0087");
    assert_eq!(usd(month.monthly), "$0.1736");
}

#[test]
fn beyond_the_trials_hours_nodes_cost() {
    let mut config = Config::default();
    config.bastion.schedule.hours = 24;
    let plan = estimated(&config, 0, IN_TRIAL);
    let usage = Usage::of(&config, IN_TRIAL);
    let month = sessions(&config, &plan, &usage).unwrap();
    // 730 h are the bastion's: 20 of 180 are free.
    assert_eq!(month.trial_hours, 910.0);
    assert_eq!(usd(month.monthly), "$2.99");
    assert_eq!(month.within_budget, 0);
}

#[test]
fn dollars_as_people_read_them() {
    for (amount, text) in [
        (0.0, "$0.00"),
        (0.000_01, "<$0.0001"),
        (0.0916, "$0.0916"),
        (35.04, "$35.04"),
    ] {
        assert_eq!(usd(amount), text);
    }
}
