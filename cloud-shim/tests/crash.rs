//! A process that is stopped after any single call: the next `up` goes on to
//! the same end, or `down` leaves nothing.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod lab;

use std::collections::BTreeMap;
use std::sync::Arc;

use ichor_cloud::down::down;
use ichor_cloud::fake::{Fake, Mishap};
use ichor_cloud::leftovers::{Found, Leftover};

/// No run takes more calls than this; one that does has lost its way.
const CALLS_AT_MOST: u64 = 5_000;

fn account() -> Arc<Fake> {
    Arc::new(Fake::new("eu-west-1", 7))
}

/// What is there, by kind: two runs may give other ids. Without what the Auto
/// Scaling group starts and ends by the clock.
fn inventory(fake: &Fake) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    let by_the_clock = |kind| ["instance", "volume"].contains(&kind);
    for left in fake.billable().iter().filter(|it| !by_the_clock(it.kind)) {
        *counts.entry(left.kind).or_default() += 1;
    }
    counts
}

/// `cloud-down` by a new process.
async fn taken_down(fake: &Arc<Fake>, seed: u64) -> Vec<Leftover> {
    let left = down(&lab::context(fake, seed)).await.unwrap();
    left.into_iter().collect()
}

/// How many calls a whole run takes.
async fn calls_of_a_run() -> (u64, BTreeMap<&'static str, usize>) {
    let fake = account();
    lab::up(&fake, 1).await.unwrap();
    let calls = fake.calls().len() as u64;
    assert!((50..CALLS_AT_MOST).contains(&calls), "{calls} calls");
    (calls, inventory(&fake))
}

/// Calls after which something is different than before: those that change
/// something, and each one's next.
async fn calls_that_matter() -> Vec<u64> {
    let fake = account();
    lab::up(&fake, 1).await.unwrap();
    let mutating = |(n, made): (usize, &ichor_cloud::fake::Made)| made.mutating.then_some(n as u64);
    let calls = fake.calls();
    let mut stops: Vec<u64> = calls.iter().enumerate().filter_map(mutating).collect();
    // Stopped before and after each.
    stops.extend(stops.clone().iter().map(|n| n + 1));
    stops.sort_unstable();
    stops.dedup();
    stops
}

#[tokio::test(start_paused = true)]
async fn up_goes_on_after_any_call() {
    let (calls, whole) = calls_of_a_run().await;
    for stop in 0..calls {
        let fake = account();
        fake.stop_after(stop);
        lab::up(&fake, 1).await.unwrap_err();
        fake.resume();
        let plan = lab::up(&fake, 2).await;
        let plan = plan.unwrap_or_else(|error| panic!("stopped after {stop}: {error}"));
        assert!(plan.is_settled(), "stopped after {stop}: {plan}");
        assert_eq!(inventory(&fake), whole, "stopped after {stop}");
    }
}

#[tokio::test(start_paused = true)]
async fn down_leaves_nothing_after_any_call_of_up() {
    for stop in calls_that_matter().await {
        let fake = account();
        fake.stop_after(stop);
        let _ = lab::up(&fake, 1).await;
        fake.resume();
        let left = taken_down(&fake, 2).await;
        assert_eq!(left, [], "stopped after {stop}");
        assert_eq!(fake.billable(), [], "stopped after {stop}");
    }
}

#[tokio::test(start_paused = true)]
async fn down_goes_on_after_any_call_of_its_own() {
    let fake = account();
    lab::up(&fake, 1).await.unwrap();
    let before = fake.calls().len();
    assert_eq!(taken_down(&fake, 2).await, []);
    let calls = fake.calls()[before..].to_vec();
    let mutating = calls.iter().enumerate().filter(|(_, made)| made.mutating);
    for (stop, _) in mutating {
        let fake = account();
        lab::up(&fake, 1).await.unwrap();
        fake.stop_after(stop as u64 + 1);
        let _ = down(&lab::context(&fake, 2)).await;
        fake.resume();
        assert_eq!(taken_down(&fake, 3).await, [], "stopped after {stop}");
        assert_eq!(fake.billable(), [], "stopped after {stop}");
    }
}

#[tokio::test(start_paused = true)]
async fn down_and_up_again_is_a_whole_lab() {
    let (_, whole) = calls_of_a_run().await;
    let fake = account();
    lab::up(&fake, 1).await.unwrap();
    assert_eq!(taken_down(&fake, 2).await, []);
    let plan = lab::up(&fake, 3).await.unwrap();
    assert!(plan.is_settled(), "{plan}");
    assert_eq!(inventory(&fake), whole);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_ours_is_not_touched() {
    let fake = account();
    {
        let mut foreign = fake.foreign();
        foreign.default_vpc().unwrap();
        foreign.untagged_vpc("10.20.0.0/16").unwrap();
        let other_lab = [("ichor:lab".to_owned(), "away".to_owned())].into();
        foreign
            .lab("ichor-away", "10.21.0.0/16", &other_lab)
            .unwrap();
        // Names that look like ours.
        foreign.bucket("ichor-home", &BTreeMap::new()).unwrap();
        foreign
            .role("ichor-homestead-bastion-role", &BTreeMap::new())
            .unwrap();
    }
    let before = fake.foreign_state();
    lab::up(&fake, 1).await.unwrap();
    assert_eq!(fake.foreign_state(), before, "after up");
    assert_eq!(taken_down(&fake, 2).await, []);
    assert_eq!(fake.foreign_state(), before, "after down");
    assert_eq!(fake.billable(), []);
}

#[tokio::test(start_paused = true)]
async fn what_somebody_put_into_our_vpc_is_named_and_stays() {
    let fake = account();
    let plan = lab::up(&fake, 1).await.unwrap();
    let subnet = plan
        .ids()
        .get(&ichor_cloud::engine::Part::new("private-subnet"))
        .unwrap();
    let interface = fake
        .foreign()
        .send(ichor_cloud::api::CreateNetworkInterface {
            subnet: subnet.clone(),
            primary: "10.20.13.77".to_owned(),
            secondary: Vec::new(),
            ipv6_count: 0,
            groups: Vec::new(),
            description: "somebody's".to_owned(),
            token: "somebody".to_owned(),
            tags: BTreeMap::new(),
        })
        .unwrap()
        .id;
    let left = taken_down(&fake, 2).await;
    let in_the_way = left
        .iter()
        .find(|left| left.found == Found::InTheWay)
        .unwrap();
    assert_eq!(in_the_way.id, interface);
    assert!(in_the_way.to_string().contains("not ours"), "{in_the_way}");
    assert!(left.iter().any(|left| left.kind == "VPC"), "{left:?}");
    // Of what costs nothing is left.
    assert!(
        fake.billable().iter().all(|left| !left.costs),
        "{:?}",
        fake.billable()
    );
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_deleted_is_named() {
    let fake = account();
    lab::up(&fake, 1).await.unwrap();
    fake.deny("s3:DeleteBucket");
    let left = taken_down(&fake, 2).await;
    let kinds: Vec<_> = left.iter().map(|left| left.kind.as_str()).collect();
    assert_eq!(kinds, ["S3 bucket"]);
    fake.heal();
    assert_eq!(taken_down(&fake, 3).await, []);
    assert_eq!(fake.billable(), []);
}

#[tokio::test(start_paused = true)]
async fn lost_answers_and_throttling_on_the_way_down() {
    let fake = account();
    lab::up(&fake, 1).await.unwrap();
    fake.throttle(0.3);
    let lost = ichor_cloud::api::Fault::Timeout;
    for call in [
        "ec2:DeleteVpc",
        "ec2:DeleteSubnet",
        "s3:DeleteBucket",
        "iam:DeleteRole",
    ] {
        fake.script(Mishap::on(call).nth(1).lose_answer(lost));
    }
    assert_eq!(taken_down(&fake, 2).await, []);
    assert_eq!(fake.billable(), []);
}

#[tokio::test(start_paused = true)]
async fn down_of_nothing_changes_nothing() {
    let fake = account();
    assert_eq!(taken_down(&fake, 1).await, []);
    assert!(fake.calls().iter().all(|made| !made.mutating));
}
