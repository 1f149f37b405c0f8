//! Nodes in a replica that is up: each has an hour at which it ends, wherever
//! a process was stopped, and nothing of others is touched.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ichor_cloud::Result;
use ichor_cloud::api::*;
use ichor_cloud::config::Config;
use ichor_cloud::design::{Facts, design, parts};
use ichor_cloud::engine::{Caller, Part, converge, observe_all};
use ichor_cloud::fake::{Fake, Mishap, Timing};
use ichor_cloud::kinds::{Context, Spec};
use ichor_cloud::node::{Fleet, Node};
use ichor_cloud::status::{Bastion, Status};
use jiff::Timestamp;
use sha2::{Digest as _, Sha256};

/// The bastion runs from 18:00 to 23:00 in Dublin, which is UTC then.
const EVENING: &str = "2026-11-25T19:00:00Z";
const MORNING: &str = "2026-11-25T09:00:00Z";
const IMAGE: &str = "/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-default-arm64";

/// A process that works on the lab.
struct Process {
    fake: Arc<Fake>,
    context: Context,
    config: Config,
}

impl Process {
    fn new(fake: &Arc<Fake>) -> Self {
        let cloud: Arc<dyn Cloud> = fake.clone();
        Self {
            fake: fake.clone(),
            context: Context {
                caller: Caller::seeded(cloud, 1),
                lab: "home".to_owned(),
                account: Fake::ACCOUNT.to_owned(),
            },
            config: Config::default(),
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::from_second(self.fake.unix_time()).unwrap()
    }

    fn fleet(&self) -> Fleet<'_> {
        Fleet {
            context: &self.context,
            config: &self.config,
            now: self.now(),
        }
    }

    async fn up(&self, count: u32) -> Result<Vec<Node>> {
        self.fleet().up(count, &mut |_| {}).await
    }

    async fn tended(&self) -> Result<Vec<Node>> {
        self.fleet().tended(&mut |_| {}).await
    }

    async fn down(&self, named: &[&str]) -> Result<Vec<Id>> {
        let named: Vec<_> = named.iter().map(|name| (*name).to_owned()).collect();
        self.fleet().down(&named, &mut |_| {}).await
    }
}

/// The whole design.
async fn replica(fake: &Fake) -> Vec<(Part, Spec)> {
    let cloud: &dyn Cloud = fake;
    let name = IMAGE.to_owned();
    let disk = vec![1; BLOCK_SIZE];
    let facts = Facts {
        account: Fake::ACCOUNT.to_owned(),
        bastion_image: cloud.send(GetParameter { name }).await.unwrap(),
        bastion_root_device: "/dev/xvda".to_owned(),
        user_data: "#cloud-config\n".to_owned(),
        objects: BTreeMap::new(),
        loader_sha256: format!("{:x}", Sha256::digest(&disk)),
        loader_disk: disk.into(),
        ipv4_wanted: false,
        now: Timestamp::from_second(fake.unix_time()).unwrap(),
    };
    design(&Config::default(), &facts).unwrap()
}

/// A replica that is up at this time.
async fn replica_at(time: &str, timing: Timing) -> Arc<Fake> {
    let fake = Arc::new(Fake::with_timing("eu-west-1", 3, timing));
    let time: Timestamp = time.parse().unwrap();
    fake.set_unix_time(time.as_second());
    let process = Process::new(&fake);
    converge(&replica(&fake).await, &process.context)
        .await
        .unwrap();
    fake
}

/// A replica whose bastion runs.
async fn evening() -> Arc<Fake> {
    let fake = replica_at(EVENING, Timing::PROMPT).await;
    let process = Process::new(&fake);
    for _ in 0..60 {
        let bastion = Bastion::look(&process.context, process.now())
            .await
            .unwrap();
        if bastion.is_running() {
            return fake;
        }
        tokio::time::sleep(Duration::from_secs(5)).await;
    }
    panic!("the bastion does not run");
}

async fn schedules(fake: &Fake) -> Vec<String> {
    let cloud: &dyn Cloud = fake;
    let group = "ichor-home-nodes".to_owned();
    let schedules = cloud.send(ListSchedules { group }).await.unwrap();
    schedules
        .into_iter()
        .map(|schedule| schedule.name)
        .collect()
}

/// Ids of the instances that are nodes and not on their way out.
async fn live(fake: &Fake) -> Vec<Id> {
    let cloud: &dyn Cloud = fake;
    let filters = vec![Filter::tag("ichor:part", "node")];
    let instances = cloud.send(DescribeInstances { filters }).await.unwrap();
    let live = instances
        .into_iter()
        .filter(|it| !matches!(it.state.as_str(), "shutting-down" | "terminated"));
    live.map(|it| it.id).collect()
}

fn names(nodes: &[Node]) -> Vec<&str> {
    nodes.iter().map(|node| node.name.as_str()).collect()
}

#[tokio::test(start_paused = true)]
async fn nodes_come_and_go() {
    let fake = evening().await;
    let process = Process::new(&fake);
    let nodes = process.up(3).await.unwrap();
    assert_eq!(
        names(&nodes),
        [
            "ichor-home-node-1",
            "ichor-home-node-2",
            "ichor-home-node-3"
        ]
    );
    for node in &nodes {
        assert_eq!(node.state, "running");
        assert!(node.address.as_ref().unwrap().starts_with("10.20.13."));
        assert!(node.mac.is_some());
        let three_hours = node.launched + Duration::from_secs(3 * 3600);
        assert_eq!(node.ends, Some(three_hours));
    }
    let error = process.up(1).await.unwrap_err().to_string();
    assert!(error.contains("nodes.max is 3"), "{error}");
    // By name, by id, and the free number is taken again.
    let ended = process.down(&["ichor-home-node-2"]).await.unwrap();
    assert_eq!(ended, [nodes[1].id.clone()]);
    assert!(!schedules(&fake).await.contains(&nodes[1].id));
    assert_eq!(names(&process.up(1).await.unwrap()), ["ichor-home-node-2"]);
    process.down(&[&nodes[0].id]).await.unwrap();
    assert_eq!(live(&fake).await.len(), 2);
    process.down(&[]).await.unwrap();
    assert_eq!(process.fleet().list().await.unwrap(), []);
    assert!(schedules(&fake).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_node_ends_when_its_time_is_up() {
    let fake = evening().await;
    let process = Process::new(&fake);
    process.up(2).await.unwrap();
    tokio::time::sleep(Duration::from_secs(3 * 3600 - 60)).await;
    assert_eq!(live(&fake).await.len(), 2);
    tokio::time::sleep(Duration::from_secs(10 * 60)).await;
    assert!(live(&fake).await.is_empty());
    assert!(schedules(&fake).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn eventual_consistency_changes_nothing() {
    let fake = replica_at(EVENING, Timing::default()).await;
    tokio::time::sleep(Duration::from_secs(300)).await;
    let process = Process::new(&fake);
    let nodes = process.up(2).await.unwrap();
    assert_eq!(names(&nodes), ["ichor-home-node-1", "ichor-home-node-2"]);
    assert_eq!(process.down(&[]).await.unwrap().len(), 2);
    assert!(live(&fake).await.is_empty());
}

/// Wherever `up` is stopped: the next look gives each node an end, which comes.
#[tokio::test(start_paused = true)]
async fn no_node_is_left_without_an_end_after_any_call() {
    /// Far more calls than it takes.
    const MOST: u64 = 200;
    let mut without = 0;
    for calls in 0..MOST {
        let fake = evening().await;
        fake.stop_after(calls);
        let done = Process::new(&fake).up(2).await.is_ok();
        fake.resume();
        let there = live(&fake).await;
        let scheduled = schedules(&fake).await;
        without += usize::from(there.iter().any(|id| !scheduled.contains(id)));
        let process = Process::new(&fake);
        let tended = process.tended().await.unwrap();
        assert_eq!(tended.len(), there.len());
        assert!(tended.iter().all(|node| node.ends.is_some()), "{tended:#?}");
        let scheduled = schedules(&fake).await;
        assert!(there.iter().all(|id| scheduled.contains(id)));
        if done {
            assert!(without > 0, "no run was stopped between start and schedule");
            return;
        }
        // Half of them the other way: ended by hand, from whatever state.
        if calls % 2 == 0 {
            tokio::time::sleep(Duration::from_secs(3 * 3600 + 600)).await;
        } else {
            process.down(&[]).await.unwrap();
        }
        assert!(live(&fake).await.is_empty());
        assert!(schedules(&fake).await.is_empty());
    }
    panic!("there was no end of calls");
}

#[tokio::test(start_paused = true)]
async fn down_goes_on_after_any_call() {
    /// Far more calls than it takes.
    const MOST: u64 = 200;
    for calls in 0..MOST {
        let fake = evening().await;
        Process::new(&fake).up(2).await.unwrap();
        fake.stop_after(calls);
        let done = Process::new(&fake).down(&[]).await.is_ok();
        fake.resume();
        Process::new(&fake).down(&[]).await.unwrap();
        assert!(live(&fake).await.is_empty());
        assert!(schedules(&fake).await.is_empty());
        if done {
            return;
        }
    }
    panic!("there was no end of calls");
}

#[tokio::test(start_paused = true)]
async fn a_node_that_cannot_have_an_end_is_ended() {
    let fake = evening().await;
    let process = Process::new(&fake);
    fake.deny("scheduler:CreateSchedule");
    let error = process.up(2).await.unwrap_err().to_string();
    assert!(error.contains("was ended again"), "{error}");
    assert!(live(&fake).await.is_empty());
    // Not even that.
    fake.script(Mishap::on("ec2:TerminateInstances").always().refuse(
        403,
        "UnauthorizedOperation",
        "You are not authorized to perform this operation.",
    ));
    let error = process.up(1).await.unwrap_err().to_string();
    let there = live(&fake).await;
    assert!(error.contains("RUNS WITHOUT AN END"), "{error}");
    assert!(
        error.contains(&format!("cloud-node down {}", there[0])),
        "{error}"
    );
    fake.heal();
    // The group for schedules is gone, too: nothing could end it later.
    let cloud: &dyn Cloud = &*fake;
    let name = "ichor-home-nodes".to_owned();
    cloud.send(DeleteScheduleGroup { name }).await.unwrap();
    assert_eq!(process.tended().await.unwrap(), []);
    assert!(live(&fake).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_starts_no_second_node() {
    let fake = evening().await;
    for fault in [Fault::Timeout, Fault::Unreachable] {
        fake.script(Mishap::on("ec2:RunInstances").lose_answer(fault));
        fake.script(Mishap::on("scheduler:CreateSchedule").lose_answer(fault));
        let process = Process::new(&fake);
        let nodes = process.up(1).await.unwrap();
        assert_eq!(live(&fake).await, [nodes[0].id.clone()]);
        assert_eq!(schedules(&fake).await, [nodes[0].id.clone()]);
        process.down(&[]).await.unwrap();
        fake.heal();
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_no_node_of_the_lab_is_refused_before_anything_is_done() {
    let fake = evening().await;
    let process = Process::new(&fake);
    let other = Tags::from([
        ("ichor:lab".to_owned(), "other".to_owned()),
        ("ichor:part".to_owned(), "node".to_owned()),
    ]);
    fake.foreign().lab("other", "10.99.0.0/16", &other).unwrap();
    let foreign = fake.foreign_state();
    let nodes = process.up(1).await.unwrap();
    let bastion = Bastion::look(&process.context, process.now())
        .await
        .unwrap();
    let bastion = bastion.instance.unwrap().id;
    let cloud: &dyn Cloud = &*fake;
    let filters = vec![Filter::tag("ichor:lab", "other")];
    let theirs = cloud.send(DescribeInstances { filters }).await.unwrap();
    assert!(!theirs.is_empty());
    for other in [
        theirs[0].id.as_str(),
        &bastion,
        "i-0123456789abcdef0",
        "node",
    ] {
        let error = process.down(&[&nodes[0].id, other]).await.unwrap_err();
        let error = error.to_string();
        assert!(
            error.contains(other) && error.contains("nothing was ended"),
            "{error}"
        );
    }
    assert_eq!(live(&fake).await.len(), 1 + theirs.len());
    process.down(&[]).await.unwrap();
    assert_eq!(fake.foreign_state(), foreign);
}

#[tokio::test(start_paused = true)]
async fn without_a_bastion_no_node_is_started() {
    let fake = replica_at(MORNING, Timing::PROMPT).await;
    let process = Process::new(&fake);
    let error = process.up(1).await.unwrap_err().to_string();
    assert!(
        error.contains("the bastion is off until 2026-11-25 18:00 Europe/Dublin"),
        "{error}"
    );
    assert!(
        error.contains("--auto-scaling-group-name ichor-home-bastion"),
        "{error}"
    );
    assert!(live(&fake).await.is_empty());
    let nothing = Arc::new(Fake::with_timing("eu-west-1", 3, Timing::PROMPT));
    let error = Process::new(&nothing).up(1).await.unwrap_err().to_string();
    assert!(
        error.contains("no node-template") && error.contains("cloud-up"),
        "{error}"
    );
}

#[tokio::test(start_paused = true)]
async fn the_status_tells_what_is_there_and_what_is_next() {
    let fake = evening().await;
    let process = Process::new(&fake);
    let nodes = process.up(1).await.unwrap();
    let observed = observe_all(&process.context).await.unwrap();
    let design: Vec<_> = replica(&fake)
        .await
        .into_iter()
        .map(|(part, _)| part)
        .collect();
    let status = Status::look(
        &process.context,
        &process.config,
        process.now(),
        &observed,
        &design,
    )
    .await
    .unwrap();
    assert!(status.missing.is_empty(), "{:?}", status.missing);
    assert_eq!(status.parts.len(), design.len());
    assert_eq!(status.nodes, nodes);
    let text = status.to_string();
    for line in [
        "lab home in account 123456789012, eu-west-1",
        "running for ",
        "t4g.small, 10.20.13.140",
        "starts next at 2026-11-26 18:00 Europe/Dublin, ends next at 2026-11-25 23:00",
        "ichor-home-node-1",
    ] {
        assert!(text.contains(line), "no {line:?} in\n{text}");
    }
    let json = serde_json::to_value(&status).unwrap();
    assert_eq!(json["nodes"][0]["name"], "ichor-home-node-1");
    // Somebody took the template and the bastion away.
    let cloud: &dyn Cloud = &*fake;
    let bastion = status.bastion.instance.unwrap().id;
    cloud
        .send(TerminateInstances {
            instances: vec![bastion],
        })
        .await
        .unwrap();
    let without = observed
        .into_iter()
        .filter(|there| there.part != parts::NODE_TEMPLATE)
        .collect::<Vec<_>>();
    let status = Status::look(
        &process.context,
        &process.config,
        process.now(),
        &without,
        &design,
    )
    .await
    .unwrap();
    assert_eq!(status.missing, ["node-template"]);
    assert!(!status.bastion.is_running());
}
