//! A lab in the strict fake: the default design, seen by one process.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]
#![allow(dead_code, reason = "each test uses its own share of this")]

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use ichor_cloud::Result;
use ichor_cloud::api::{BLOCK_SIZE, Body, Cloud, GetParameter};
use ichor_cloud::config::Config;
use ichor_cloud::design::{Facts, design};
use ichor_cloud::engine::{Caller, Event, Part, Plan, Progress, converge, observe_all};
use ichor_cloud::fake::Fake;
use ichor_cloud::kinds::{Content, Context, Spec};
use sha2::{Digest, Sha256};

/// Where the bastion's image is named.
const IMAGE: &str = "/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-default-arm64";

/// What was told, one line each.
#[derive(Debug, Default)]
pub(crate) struct Told(pub(crate) Mutex<Vec<String>>);

impl Progress for Told {
    fn on(&self, event: &Event<'_>) {
        self.0.lock().unwrap().push(event.to_string());
    }
}

/// The account as one process sees it.
pub(crate) fn context(fake: &Arc<Fake>, seed: u64) -> Context {
    let cloud: Arc<dyn Cloud> = fake.clone();
    Context {
        caller: Caller::seeded(cloud, seed),
        lab: "home".to_owned(),
        account: Fake::ACCOUNT.to_owned(),
    }
}

/// The replica by this config, with one object and a disk of two blocks.
pub(crate) async fn replica(fake: &Arc<Fake>, config: &Config) -> Result<Vec<(Part, Spec)>> {
    let name = IMAGE.to_owned();
    let cloud: Arc<dyn Cloud> = fake.clone();
    let bastion_image = cloud.send(GetParameter { name }).await?;
    let text = b"a boot script".to_vec();
    let object = Content {
        len: text.len() as u64,
        sha256: sha256(&text),
        body: Body::Bytes(text),
    };
    let disk = vec![7; 2 * BLOCK_SIZE];
    let facts = Facts {
        account: Fake::ACCOUNT.to_owned(),
        bastion_image,
        bastion_root_device: "/dev/xvda".to_owned(),
        user_data: "#cloud-config\n".to_owned(),
        objects: [("boot.ipxe".to_owned(), object)].into(),
        loader_sha256: sha256(&disk),
        loader_disk: Arc::from(disk),
        ipv4_wanted: false,
        now: "2026-11-25T19:00:00Z".parse().unwrap(),
    };
    design(config, &facts)
}

fn sha256(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Brings the default replica up, as a new process does.
pub(crate) async fn up(fake: &Arc<Fake>, seed: u64) -> Result<Plan> {
    let desired = replica(fake, &Config::default()).await?;
    converge(&desired, &context(fake, seed)).await
}

/// What a new process would do now.
pub(crate) async fn plan(fake: &Arc<Fake>, config: &Config) -> Plan {
    let context = context(fake, 99);
    let desired = replica(fake, config).await.unwrap();
    Plan::new(desired, observe_all(&context).await.unwrap(), &context)
}

/// An account with nothing in it.
pub(crate) fn account() -> Arc<Fake> {
    Arc::new(Fake::new("eu-west-1", 7))
}

/// How many of each kind of resource are there, but for what the Auto Scaling
/// group runs by its clock.
pub(crate) fn kinds_left(fake: &Fake) -> BTreeMap<&'static str, usize> {
    let mut kinds = BTreeMap::new();
    let by_clock = |kind| matches!(kind, "instance" | "volume");
    for left in fake.billable().iter().filter(|left| !by_clock(left.kind)) {
        *kinds.entry(left.kind).or_default() += 1;
    }
    kinds
}
