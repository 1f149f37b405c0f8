//! `up` against the strict fake: once, twice, disturbed, and with others.

mod lab;

use core::time::Duration;
use std::sync::Arc;

use ichor_cloud::config::Config;
use ichor_cloud::fake::{Fake, Timing};

fn account() -> Arc<Fake> {
    Arc::new(Fake::new("eu-west-1", 7))
}

#[tokio::test(start_paused = true)]
async fn up_twice_changes_nothing_the_second_time() {
    let fake = account();
    let made = lab::up(&fake, 1).await.unwrap();
    assert!(made.is_settled());
    let before = fake.calls().len();
    let plan = lab::plan(&fake, &Config::default()).await;
    assert!(plan.is_settled(), "{plan}");
    lab::up(&fake, 2).await.unwrap();
    let mutating: Vec<_> = fake.calls()[before..]
        .iter()
        .filter(|made| made.mutating)
        .cloned()
        .collect();
    assert_eq!(mutating, []);
}
