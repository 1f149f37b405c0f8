//! `up` against the strict fake: once, twice, disturbed, and with others.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod lab;

use core::time::Duration;
use std::collections::BTreeMap;
use std::sync::Arc;

use ichor_cloud::api::{
    AuthorizeSecurityGroupEgress, Cloud, DescribeSecurityGroupRules, Direction, Fault, Filter,
    Peer, Protocol, RevokeSecurityGroupIngress, Rule, Tags,
};
use ichor_cloud::config::{Config, Egress};
use ichor_cloud::engine::{Action, Plan, converge};
use ichor_cloud::fake::{Fake, Mishap, Quota, Timing};
use lab::{account, context, kinds_left, plan, replica, up};

/// AWS on a bad day: half a minute until what was made is shown.
const LATE: Timing = Timing {
    latency: Duration::from_millis(200),
    known: Duration::from_secs(10),
    listed: Duration::from_secs(30),
    profile: Duration::from_secs(110),
};

fn late() -> Arc<Fake> {
    Arc::new(Fake::with_timing("eu-west-1", 7, LATE))
}

/// What a replica that went up without trouble consists of.
async fn whole() -> BTreeMap<&'static str, usize> {
    let fake = account();
    up(&fake, 1).await.unwrap();
    kinds_left(&fake)
}

async fn assert_whole(fake: &Arc<Fake>, whole: &BTreeMap<&'static str, usize>, when: &str) {
    let plan = plan(fake, &Config::default()).await;
    assert!(plan.is_settled(), "{when}\n{plan}");
    assert_eq!(kinds_left(fake), *whole, "{when}");
}

fn step(plan: &Plan, part: &str) -> (Action, String) {
    let of_part = |step: &&ichor_cloud::engine::Step| step.part.as_str() == part;
    let step = plan.steps.iter().find(of_part).unwrap();
    (step.action, step.observed.clone().unwrap().id)
}

#[tokio::test(start_paused = true)]
async fn up_twice_changes_nothing_the_second_time() {
    let fake = account();
    let empty = plan(&fake, &Config::default()).await;
    assert!(!empty.is_empty());
    assert!(empty.steps.iter().all(|step| step.action == Action::Create));
    up(&fake, 1).await.unwrap();
    let before = fake.calls().len();
    let second = plan(&fake, &Config::default()).await;
    assert!(second.is_empty() && second.is_settled(), "{second}");
    up(&fake, 2).await.unwrap();
    let calls = fake.calls().split_off(before);
    let mutating: Vec<_> = calls.iter().filter(|made| made.mutating).collect();
    assert!(mutating.is_empty(), "{mutating:?}");
}

#[tokio::test(start_paused = true)]
async fn a_drifted_rule_is_shown_and_mended() {
    let fake = account();
    up(&fake, 1).await.unwrap();
    let (_, group) = step(&plan(&fake, &Config::default()).await, "bastion-sg");
    let cloud: Arc<dyn Cloud> = fake.clone();
    let filters = vec![Filter::new("group-id", &group)];
    let rules = cloud.send(DescribeSecurityGroupRules { filters });
    let rules = rules.await.unwrap();
    let ssh = |rule: &&ichor_cloud::api::SecurityGroupRule| {
        rule.direction == Direction::Ingress && rule.rule.protocol == Protocol::Tcp(22, 22)
    };
    let ssh = rules.iter().find(ssh).unwrap().id.clone();
    let revoke = RevokeSecurityGroupIngress {
        group: group.clone(),
        rules: vec![ssh],
    };
    cloud.send(revoke).await.unwrap();
    let hole = AuthorizeSecurityGroupEgress {
        group,
        rules: vec![Rule {
            protocol: Protocol::All,
            peer: Peer::Ipv4("0.0.0.0/0".to_owned()),
            description: "just for a moment".to_owned(),
        }],
        tags: Tags::new(),
    };
    cloud.send(hole).await.unwrap();
    tokio::time::sleep(Timing::default().listed).await;

    let drifted = plan(&fake, &Config::default()).await;
    assert_eq!(step(&drifted, "bastion-sg").0, Action::Change);
    let text = drifted.to_string();
    for line in [
        "- egress all to 0.0.0.0/0: just for a moment",
        "+ ingress tcp 22 from connect-sg",
        "1 to change",
    ] {
        assert!(text.contains(line), "no `{line}` in\n{text}");
    }
    let json = serde_json::to_value(&drifted).unwrap();
    let steps = json["steps"].as_array().unwrap();
    let changed: Vec<_> = steps
        .iter()
        .filter(|step| step["action"] == "change")
        .collect();
    assert_eq!(changed.len(), 1);
    assert_eq!(changed[0]["changes"][0]["field"], "rules");
    up(&fake, 2).await.unwrap();
    assert!(plan(&fake, &Config::default()).await.is_settled());
}

#[tokio::test(start_paused = true)]
async fn every_answer_may_be_lost() {
    let whole = whole().await;
    let fake = account();
    up(&fake, 1).await.unwrap();
    let calls = fake.calls();
    let mutating = (1..).zip(&calls).filter(|(_, made)| made.mutating);
    for (nth, made) in mutating {
        let fake = account();
        let lost = Mishap::on("*").nth(nth).lose_answer(Fault::Timeout);
        fake.script(lost);
        let when = format!("answer to call {nth}, {}, lost", made.name);
        let outcome = up(&fake, 1).await;
        assert!(outcome.is_ok(), "{when}: {}", outcome.unwrap_err());
        assert_whole(&fake, &whole, &when).await;
    }
}

#[tokio::test(start_paused = true)]
async fn stopped_anywhere_the_next_run_goes_on() {
    let whole = whole().await;
    let fake = late();
    up(&fake, 1).await.unwrap();
    let calls = u64::try_from(fake.calls().len()).unwrap();
    for stop in (0..calls).step_by(17) {
        let fake = late();
        let desired = replica(&fake, &Config::default()).await.unwrap();
        fake.stop_after(stop);
        let stopped = converge(&desired, &context(&fake, 1)).await;
        fake.resume();
        let when = format!("stopped after {stop} calls, {}", stopped.is_err());
        for again in 2..4 {
            let outcome = up(&fake, again).await;
            assert!(outcome.is_ok(), "{when}: {}", outcome.unwrap_err());
            // Whatever was not shown yet is shown by now.
            tokio::time::sleep(LATE.listed).await;
        }
        assert_whole(&fake, &whole, &when).await;
    }
}

#[tokio::test(start_paused = true)]
async fn throttled_and_late_it_still_goes_up() {
    let whole = whole().await;
    for seed in 0..5 {
        let fake = late();
        fake.throttle(0.3);
        up(&fake, seed).await.unwrap();
        fake.throttle(0.0);
        assert_whole(&fake, &whole, "throttled").await;
    }
}

#[tokio::test(start_paused = true)]
async fn two_at_once_leave_one_replica() {
    let whole = whole().await;
    for (seed, apart) in [(1, 0), (2, 1), (3, 7), (4, 20)] {
        let fake = account();
        let second = async {
            tokio::time::sleep(Duration::from_secs(apart)).await;
            up(&fake, 100 + seed).await
        };
        // Each may find that the other has taken something away.
        let _ = tokio::join!(up(&fake, seed), second);
        up(&fake, 200 + seed).await.unwrap();
        assert_whole(&fake, &whole, &format!("{apart} s apart")).await;
    }
}

#[tokio::test(start_paused = true)]
async fn from_one_way_out_to_another_and_back() {
    let fake = account();
    for egress in [
        Egress::NatGateway,
        Egress::Ipv6,
        Egress::None,
        Egress::Ipv6,
        Egress::NatGateway,
        Egress::Ipv4Hourly,
        Egress::Ipv6,
    ] {
        let config = Config {
            egress,
            ..Config::default()
        };
        let desired = replica(&fake, &config).await.unwrap();
        let outcome = converge(&desired, &context(&fake, 5)).await;
        assert!(outcome.is_ok(), "{egress:?}: {}", outcome.unwrap_err());
        let plan = plan(&fake, &config).await;
        assert!(plan.is_settled(), "{egress:?}\n{plan}");
    }
    assert_eq!(kinds_left(&fake), whole().await);
}

#[tokio::test(start_paused = true)]
async fn another_block_is_refused_before_anything_is_done() {
    let fake = account();
    up(&fake, 1).await.unwrap();
    let mut config = Config::default();
    config.network.vpc = "10.0.0.0/8".parse().unwrap();
    let desired = replica(&fake, &config).await.unwrap();
    let before = fake.calls().len();
    let refused = converge(&desired, &context(&fake, 2)).await.unwrap_err();
    assert!(
        refused.to_string().contains("cloud-down, then cloud-up"),
        "{refused}"
    );
    let calls = fake.calls().split_off(before);
    assert!(calls.iter().all(|made| !made.mutating));
}

#[tokio::test(start_paused = true)]
async fn each_refusal_of_aws_is_one_clear_line() {
    type Disturb = fn(&Fake);
    let cases: [(Disturb, &str); 5] = [
        (
            |fake| fake.deny("ec2:CreateSubnet"),
            "allow ec2:CreateSubnet in IAM",
        ),
        (|fake| fake.limit(Quota::Vpcs, 0), "VPCs per Region"),
        (
            |fake| fake.expire_credentials(Duration::from_secs(3)),
            "sign in again",
        ),
        (
            |fake| fake.script(Mishap::on("*").always().lose_call(Fault::Unreachable)),
            "check the network",
        ),
        (|fake| fake.throttle(1.0), "throttled"),
    ];
    for (disturb, word) in cases {
        let fake = account();
        let desired = replica(&fake, &Config::default()).await.unwrap();
        disturb(&fake);
        let began = tokio::time::Instant::now();
        let error = converge(&desired, &context(&fake, 3)).await.unwrap_err();
        assert!(began.elapsed() < Duration::from_secs(300), "{error}");
        let text = error.to_string();
        assert!(text.contains(word), "no `{word}` in {text}");
        let mut lines: Vec<_> = text.lines().collect();
        lines.sort_unstable();
        lines.dedup();
        assert_eq!(lines.len(), text.lines().count(), "said twice:\n{text}");
    }
}

#[tokio::test(start_paused = true)]
async fn what_happens_is_told() {
    let fake = account();
    let told = Arc::new(lab::Told::default());
    let mut context = context(&fake, 1);
    context.caller = context.caller.telling(told.clone());
    let desired = replica(&fake, &Config::default()).await.unwrap();
    converge(&desired, &context).await.unwrap();
    let told = told.0.lock().unwrap().clone();
    let at = |text: &str| told.iter().position(|line| line.starts_with(text)).unwrap();
    for (part, _) in &desired {
        assert!(at(&format!("{part}: create …")) < at(&format!("{part}: create done")));
    }
    // What runs machines comes when all they need is complete.
    assert_eq!(at("bastion: create done"), told.len() - 1, "{told:?}");
}
