//! Takes a lab down to nothing, from its tags alone, and proves it.

use core::time::Duration;
use std::collections::BTreeSet;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use crate::api::{
    DeleteSnapshot, DeleteVolume, DescribeInstances, DescribeSnapshots, DescribeVolumes, Id,
    TerminateInstances,
};
use crate::engine::Waiting;
use crate::error::{Error, Result};
use crate::kinds::{Context, Kind};
use crate::leftovers::{self, Leftover};

/// AWS may show a resource late: only when so long nothing was found is
/// nothing left.
const SETTLED: Duration = Duration::from_secs(30);
/// The pause between two scans.
const SCAN_AGAIN: Duration = Duration::from_secs(6);
/// After so long it is said what is left.
const AT_MOST: Duration = Duration::from_secs(40 * 60);
/// How long instances may take to end.
const TERMINATED_WITHIN: Duration = Duration::from_secs(10 * 60);
/// How often deleting is tried when it does not get on.
const ROUNDS: usize = 3;

/// What is deleted together, one after another: what stands in a later row may
/// be held by what stands in an earlier one.
const ORDER: &[&[Step]] = &[
    &[
        Step::Parts(Kind::Group),
        Step::Instances,
        Step::Parts(Kind::ScheduleGroup),
        Step::Parts(Kind::ConnectEndpoint),
        Step::Parts(Kind::NatGateway),
        Step::Parts(Kind::GatewayEndpoint),
        Step::Parts(Kind::Bucket),
    ],
    &[
        Step::Parts(Kind::Template),
        Step::Parts(Kind::LoaderImage),
        Step::Parts(Kind::Address),
        Step::Parts(Kind::Profile),
        Step::Volumes,
    ],
    &[
        Step::Snapshots,
        Step::Parts(Kind::Interface),
        Step::Parts(Kind::Role),
    ],
    &[
        Step::Parts(Kind::SecurityGroup),
        Step::Parts(Kind::RouteTable),
    ],
    &[
        Step::Parts(Kind::InternetGateway),
        Step::Parts(Kind::EgressOnlyGateway),
        Step::Parts(Kind::Subnet),
        Step::Parts(Kind::DhcpOptions),
    ],
    &[Step::Parts(Kind::Vpc)],
];

/// What is deleted in one go.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// All parts of a kind.
    Parts(Kind),
    /// Instances with the lab's tag: nodes, and what an Auto Scaling group
    /// that is gone has left.
    Instances,
    /// Volumes with the lab's tag that are attached to nothing.
    Volumes,
    /// Snapshots with the lab's tag of no image.
    Snapshots,
}

/// What is told while it goes on.
pub trait Watch: Send + Sync {
    /// Something is being deleted.
    fn deleting(&self, kind: &str, id: &str, name: &str);
    /// It is gone.
    fn deleted(&self, kind: &str, id: &str);
    /// It could not be deleted yet.
    fn failed(&self, kind: &str, id: &str, error: &Error);
    /// Everything is gone; AWS is asked again for a while.
    fn settling(&self, span: Duration);
}

/// Deletes everything that carries the lab's tag, and looks for what is left
/// until nothing was found for a while. Gives what stays in spite of all, which
/// is empty if all went well.
///
/// # Errors
///
/// If AWS could not be asked what is left. What could not be deleted is no
/// error here: it is told to `watch`, and found by the scan.
pub async fn down(context: &Context, watch: &dyn Watch) -> Result<BTreeSet<Leftover>> {
    let until = Instant::now() + AT_MOST;
    let mut left = BTreeSet::new();
    for _ in 0..ROUNDS {
        delete_all(context, watch).await;
        left = settle(context, watch, until).await?;
        let can_be_deleted = left
            .iter()
            .any(|left| left.found != leftovers::Found::InTheWay);
        if !can_be_deleted || Instant::now() >= until {
            break;
        }
    }
    Ok(left)
}

/// Scans until nothing was found for [`SETTLED`], or something was.
async fn settle(
    context: &Context,
    watch: &dyn Watch,
    until: Instant,
) -> Result<BTreeSet<Leftover>> {
    let since = Instant::now();
    watch.settling(SETTLED);
    loop {
        let left = leftovers::scan(context).await?;
        let now = Instant::now();
        if !left.is_empty() || now - since >= SETTLED || now >= until {
            return Ok(left);
        }
        tokio::time::sleep(SCAN_AGAIN).await;
    }
}

/// Goes once through all that is to be deleted. What fails does not keep the
/// rest from going: the less is left, the less it costs.
async fn delete_all(context: &Context, watch: &dyn Watch) {
    for row in ORDER {
        let mut steps: FuturesUnordered<_> = row
            .iter()
            .map(async |step| (step, delete(context, *step, watch).await))
            .collect();
        while let Some((step, outcome)) = steps.next().await {
            if let Err(error) = outcome {
                watch.failed(&step.name(), "", &error);
            }
        }
    }
}

impl Step {
    fn name(self) -> String {
        match self {
            Self::Parts(kind) => kind.name().to_owned(),
            Self::Instances => "instance".to_owned(),
            Self::Volumes => "volume".to_owned(),
            Self::Snapshots => "snapshot".to_owned(),
        }
    }
}

async fn delete(context: &Context, step: Step, watch: &dyn Watch) -> Result<()> {
    match step {
        Step::Parts(kind) => delete_parts(context, kind, watch).await,
        Step::Instances => terminate_instances(context, watch).await,
        Step::Volumes => {
            let filters = context.ours();
            let volumes = context.caller.send(DescribeVolumes { filters }).await?;
            for volume in volumes
                .into_iter()
                .filter(|volume| volume.instance.is_none())
            {
                let volume = volume.id;
                let request = DeleteVolume {
                    volume: volume.clone(),
                };
                told(watch, "volume", &volume, context.caller.send(request)).await;
            }
            Ok(())
        }
        Step::Snapshots => {
            let filters = context.ours();
            for snapshot in context.caller.send(DescribeSnapshots { filters }).await? {
                let snapshot = snapshot.id;
                let request = DeleteSnapshot {
                    snapshot: snapshot.clone(),
                };
                told(watch, "snapshot", &snapshot, context.caller.send(request)).await;
            }
            Ok(())
        }
    }
}

/// Deletes one thing and tells how it went.
async fn told<E: Into<Error>>(
    watch: &dyn Watch,
    kind: &str,
    id: &str,
    delete: impl Future<Output = Result<(), E>>,
) {
    watch.deleting(kind, id, "");
    match delete.await.map_err(Into::into) {
        Ok(()) => watch.deleted(kind, id),
        Err(Error::Api(error)) if error.is_not_found() => watch.deleted(kind, id),
        Err(error) => watch.failed(kind, id, &error),
    }
}

async fn delete_parts(context: &Context, kind: Kind, watch: &dyn Watch) -> Result<()> {
    let observed = kind.observe(context).await?;
    let mut deletions: FuturesUnordered<_> = observed
        .iter()
        .map(async |observed| {
            watch.deleting(kind.name(), &observed.id, observed.part.as_str());
            (observed, observed.delete(context).await)
        })
        .collect();
    while let Some((observed, outcome)) = deletions.next().await {
        match outcome {
            Ok(()) => watch.deleted(kind.name(), &observed.id),
            Err(error) => watch.failed(kind.name(), &observed.id, &error),
        }
    }
    Ok(())
}

/// Terminates the lab's instances and waits until they are.
async fn terminate_instances(context: &Context, watch: &dyn Watch) -> Result<()> {
    let caller = &context.caller;
    let running = async || -> Result<Vec<Id>> {
        let filters = context.ours();
        let instances = caller.send(DescribeInstances { filters }).await?;
        let running = instances.into_iter().filter(|it| it.state != "terminated");
        Ok(running.map(|it| it.id).collect())
    };
    let instances = running().await?;
    if instances.is_empty() {
        return Ok(());
    }
    for id in &instances {
        watch.deleting("instance", id, "");
    }
    let request = TerminateInstances {
        instances: instances.clone(),
    };
    caller.send(request).await?;
    let what = format!("{} to be terminated", instances.join(", "));
    caller
        .wait(&what, TERMINATED_WITHIN, async || {
            let left = running().await?;
            let left: Vec<_> = left
                .into_iter()
                .filter(|id| instances.contains(id))
                .collect();
            Ok(if left.is_empty() {
                Waiting::Done(())
            } else {
                Waiting::Not(format!("{} still there", left.join(", ")))
            })
        })
        .await?;
    for id in &instances {
        watch.deleted("instance", id);
    }
    Ok(())
}
