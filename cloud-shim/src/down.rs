//! Takes a lab down to nothing, from its tags alone, and proves it.

use core::time::Duration;
use std::collections::BTreeSet;

use futures_util::future::join_all;
use tokio::time::Instant;

use crate::api::{DeleteVolume, DescribeInstances, DescribeVolumes, Id, TerminateInstances};
use crate::engine::{Event, Waiting};
use crate::error::{Error, Result};
use crate::kinds::{Context, Kind, gone_is_fine};
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
    &[Step::Parts(Kind::Interface), Step::Parts(Kind::Role)],
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
}

/// Deletes everything that carries the lab's tag, and looks for what is left
/// until nothing was found for a while. Gives what stays in spite of all, which
/// is empty if all went well.
///
/// # Errors
///
/// If AWS could not be asked what is left. What could not be deleted is no
/// error here: it is told as an [`Event`], and found by the scan.
pub async fn down(context: &Context) -> Result<BTreeSet<Leftover>> {
    let until = Instant::now() + AT_MOST;
    let mut left = BTreeSet::new();
    for _ in 0..ROUNDS {
        delete_all(context).await;
        left = settle(context, until).await?;
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
async fn settle(context: &Context, until: Instant) -> Result<BTreeSet<Leftover>> {
    let since = Instant::now();
    loop {
        let left = leftovers::scan(context).await?;
        let now = Instant::now();
        if !left.is_empty() || now - since >= SETTLED || now >= until {
            return Ok(left);
        }
        context.caller.tell(&Event::Waiting {
            what: "what AWS may yet show",
            seen: "nothing left",
        });
        tokio::time::sleep(SCAN_AGAIN).await;
    }
}

/// Goes once through all that is to be deleted. What fails does not keep the
/// rest from going: the less is left, the less it costs.
async fn delete_all(context: &Context) {
    for row in ORDER {
        let steps = row.iter().map(async |step| {
            if let Err(error) = delete(context, *step).await {
                not_deleted(context, step.name(), "", &error);
            }
        });
        join_all(steps).await;
    }
}

impl Step {
    const fn name(self) -> &'static str {
        match self {
            Self::Parts(kind) => kind.name(),
            Self::Instances => "instance",
            Self::Volumes => "volume",
        }
    }
}

async fn delete(context: &Context, step: Step) -> Result<()> {
    match step {
        Step::Parts(kind) => delete_parts(context, kind).await,
        Step::Instances => terminate_instances(context).await,
        Step::Volumes => delete_volumes(context).await,
    }
}

fn not_deleted(context: &Context, kind: &str, id: &str, error: &Error) {
    context.caller.tell(&Event::NotDeleted { kind, id, error });
}

/// Deletes one thing and tells how it went.
async fn told(context: &Context, kind: &str, id: &str, deletion: impl Future<Output = Result<()>>) {
    context.caller.tell(&Event::Deleting { kind, id });
    match deletion.await {
        Ok(()) => context.caller.tell(&Event::Deleted { kind, id }),
        Err(error) => not_deleted(context, kind, id, &error),
    }
}

async fn delete_parts(context: &Context, kind: Kind) -> Result<()> {
    let observed = kind.observe(context).await?;
    let deletions = observed
        .iter()
        .map(|observed| told(context, kind.name(), &observed.id, observed.delete(context)));
    join_all(deletions).await;
    Ok(())
}

async fn delete_volumes(context: &Context) -> Result<()> {
    let filters = context.ours();
    let volumes = context.caller.send(DescribeVolumes { filters }).await?;
    let free = volumes
        .into_iter()
        .filter(|volume| volume.instance.is_none());
    let deletions = free.map(async |volume| {
        let id = volume.id.clone();
        let deletion = async {
            let volume = volume.id;
            gone_is_fine(context.caller.send(DeleteVolume { volume }).await)
        };
        told(context, "volume", &id, deletion).await;
    });
    join_all(deletions).await;
    Ok(())
}

/// Terminates the lab's instances and waits until they are.
async fn terminate_instances(context: &Context) -> Result<()> {
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
    let kind = "instance";
    for id in &instances {
        caller.tell(&Event::Deleting { kind, id });
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
        caller.tell(&Event::Deleted { kind, id });
    }
    Ok(())
}
