//! `cloud-node`: Talos nodes, started when they are wanted, each with an hour
//! at which it ends.
//!
//! A node is an instance with the lab's tags and the part `node`. What ends it
//! is a schedule that has the instance's id for a name. Between the two calls
//! that make them a process can be stopped: so whatever looks at nodes gives
//! those without a schedule one ([`Fleet::tended`]), and the hour depends on
//! nothing but when EC2 started the instance.

mod follow;
mod launch;
mod next_steps;

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

pub use follow::{End, Followed, Reached, Step, follow, follow_command};
pub use next_steps::{next_steps, ssh, timeline_command};

use crate::api::{
    CreateSchedule, DeleteSchedule, DescribeInstances, Filter, GetRole, Id, Instance,
    ListSchedules, Schedule, TerminateInstances,
};
use crate::config::Config;
use crate::design::parts;
use crate::engine::{NAME_TAG, PART_TAG, Waiting};
use crate::error::{Error, Result};
use crate::kinds::{Context, gone_is_fine, unless_gone};

/// How long instances may take to end.
const ENDED_WITHIN: Duration = Duration::from_secs(600);
/// The nearest end that is worth a schedule: AWS refuses one in the past.
const SOONEST_END: SignedDuration = SignedDuration::from_secs(120);
/// How long a schedule may be overdue before it counts as forgotten.
const OVERDUE: SignedDuration = SignedDuration::from_mins(30);

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Node {
    /// `i-…`.
    pub id: Id,
    /// `ichor-home-node-1`.
    pub name: String,
    /// `pending`, `running`, `shutting-down`, …
    pub state: String,
    /// Its address in the private subnet.
    pub address: Option<String>,
    /// Its hardware address, by which the catalog knows it.
    pub mac: Option<String>,
    /// EC2 instance type.
    pub instance_type: String,
    /// When it was started.
    pub launched: Timestamp,
    /// When its schedule ends it.
    pub ends: Option<Timestamp>,
}

impl Node {
    fn new(instance: Instance, ends: Option<Timestamp>) -> Self {
        let mut interfaces = instance.interfaces.into_iter();
        Self {
            name: name_of(&instance.tags, &instance.id),
            id: instance.id,
            state: instance.state,
            address: instance.private,
            mac: interfaces.next().map(|interface| interface.mac),
            instance_type: instance.instance_type,
            launched: seconds(instance.launched),
            ends,
        }
    }

    /// Whether it runs or will.
    pub fn is_live(&self) -> bool {
        !matches!(self.state.as_str(), "shutting-down" | "terminated")
    }
}

/// An instance's name by its tag, or its id.
fn name_of(tags: &crate::api::Tags, id: &Id) -> String {
    tags.get(NAME_TAG).unwrap_or(id).clone()
}

/// A time as EC2 tells it.
fn seconds(since_1970: i64) -> Timestamp {
    Timestamp::from_second(since_1970).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The nodes of a lab.
#[derive(Debug, Clone, Copy)]
pub struct Fleet<'a> {
    /// The account and the lab.
    pub context: &'a Context,
    /// What nodes are to be like.
    pub config: &'a Config,
    /// The time.
    pub now: Timestamp,
}

/// Takes what is to be told as it happens, line by line.
pub type Say<'a> = &'a mut dyn FnMut(&str);

impl Fleet<'_> {
    /// The nodes that are there, and when each ends. Only looks.
    ///
    /// # Errors
    ///
    /// What a call failed with.
    pub async fn list(&self) -> Result<Vec<Node>> {
        let schedules = self.schedules().await?;
        let nodes = self.instances().await?.into_iter().map(|instance| {
            let ends = schedules.get(&instance.id).copied().flatten();
            Node::new(instance, ends)
        });
        let mut nodes: Vec<_> = nodes.filter(|node| node.state != "terminated").collect();
        nodes.sort_by(|a, b| (&a.name, &a.id).cmp(&(&b.name, &b.id)));
        Ok(nodes)
    }

    /// The nodes that are there, after each that had no end was given one, or
    /// was ended because its time is up or nothing could end it later.
    ///
    /// # Errors
    ///
    /// What a call failed with: a node may be without an end then.
    pub async fn tended(&self, say: Say<'_>) -> Result<Vec<Node>> {
        let mut nodes = self.list().await?;
        let mut over = Vec::new();
        for node in nodes.iter_mut().filter(|node| node.is_live()) {
            if node.ends.is_some_and(|ends| self.now < ends + OVERDUE) {
                continue;
            }
            let Node { id, name, .. } = &*node;
            let ends = self.end_of(node.launched);
            if ends < self.now + SOONEST_END {
                say(&format!("{name} ({id}) is past its time: it is ended"));
                over.push(node.id.clone());
            } else if self.schedule_end(id, ends).await? {
                say(&format!("{name} ({id}) had no end: it ends at {ends}"));
                node.ends = Some(ends);
            } else {
                say(&format!(
                    "{name} ({id}) has no end and nothing could end it later: it is ended"
                ));
                over.push(node.id.clone());
            }
        }
        if !over.is_empty() {
            self.end(&over).await?;
            nodes.retain(|node| !over.contains(&node.id));
        }
        Ok(nodes)
    }

    /// Ends nodes, by id or name, or all if none are named, and waits until
    /// they are gone. What is no node of this lab is refused before anything
    /// is done. Gives the ids of those that were ended.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`], or what a call failed with.
    pub async fn down(&self, named: &[String], say: Say<'_>) -> Result<Vec<Id>> {
        let instances = self.instances().await?;
        let is = |instance: &Instance, name: &String| {
            instance.id == *name || instance.tags.get(NAME_TAG) == Some(name)
        };
        let unknown: Vec<_> = named
            .iter()
            .filter(|name| !instances.iter().any(|instance| is(instance, name)))
            .map(String::as_str)
            .collect();
        if !unknown.is_empty() {
            return Err(Error::refused(format!(
                "no node of lab {}: {}; nothing was ended, `cloud-node list` shows the nodes",
                self.context.lab,
                unknown.join(", ")
            )));
        }
        let chosen = instances.into_iter().filter(|instance| {
            instance.state != "terminated"
                && (named.is_empty() || named.iter().any(|name| is(instance, name)))
        });
        let chosen: Vec<_> = chosen
            .map(|instance| {
                let name = name_of(&instance.tags, &instance.id);
                say(&format!("{name} ({}) is ended", instance.id));
                instance.id
            })
            .collect();
        if !chosen.is_empty() {
            self.end(&chosen).await?;
        }
        self.forget_ended().await?;
        Ok(chosen)
    }

    /// Ends instances, waits until they are gone, then deletes their
    /// schedules: in this order, so that a stop leaves none without an end.
    async fn end(&self, ids: &[Id]) -> Result<()> {
        let caller = &self.context.caller;
        let instances = ids.to_vec();
        caller.send(TerminateInstances { instances }).await?;
        let what = format!("{} to be terminated", ids.join(", "));
        caller
            .wait(&what, ENDED_WITHIN, async || {
                let there = self.instances().await?;
                let last = there
                    .iter()
                    .find(|instance| ids.contains(&instance.id) && instance.state != "terminated");
                let still = |it: &Instance| format!("{} is {}", it.id, it.state);
                Ok(last.map_or(Waiting::Done(()), |it| Waiting::Not(still(it))))
            })
            .await?;
        for id in ids {
            self.delete_schedule(id).await?;
        }
        Ok(())
    }

    /// Deletes the schedules of instances that EC2 shows as terminated. Of one
    /// that it does not show nothing is known: it may have just been started.
    async fn forget_ended(&self) -> Result<()> {
        let schedules = self.schedules().await?;
        for instance in self.instances().await? {
            if instance.state == "terminated" && schedules.contains_key(&instance.id) {
                self.delete_schedule(&instance.id).await?;
            }
        }
        Ok(())
    }

    /// All instances that are nodes of the lab, terminated ones for an hour.
    async fn instances(&self) -> Result<Vec<Instance>> {
        let mut filters = self.context.ours();
        filters.push(Filter::tag(PART_TAG, parts::NODE.as_str()));
        Ok(self
            .context
            .caller
            .send(DescribeInstances { filters })
            .await?)
    }

    /// Name of the schedule group.
    fn group(&self) -> String {
        self.context.name(&parts::NODES)
    }

    /// The ends of nodes by instance; none that can be read for a schedule
    /// that somebody changed.
    async fn schedules(&self) -> Result<BTreeMap<Id, Option<Timestamp>>> {
        let group = self.group();
        let schedules = self.context.caller.send(ListSchedules { group }).await;
        // Without the group there is none.
        Ok(unless_gone(schedules)?
            .unwrap_or_default()
            .into_iter()
            .map(|schedule| (schedule.name, utc(&schedule.at)))
            .collect())
    }

    /// When a node ends that was started then.
    fn end_of(&self, launched: Timestamp) -> Timestamp {
        let hours = i64::from(self.config.nodes.ttl_hours);
        launched + SignedDuration::from_hours(hours)
    }

    /// Makes the schedule that ends an instance. Says whether there is one
    /// now: not if the group or the role for it is missing.
    async fn schedule_end(&self, instance: &Id, ends: Timestamp) -> Result<bool> {
        let caller = &self.context.caller;
        let name = self.context.name(&parts::REAPER_ROLE);
        let Some(role) = unless_gone(caller.send(GetRole { name }).await)? else {
            return Ok(false);
        };
        let request = CreateSchedule {
            group: self.group(),
            schedule: Schedule {
                name: instance.clone(),
                at: ends.strftime("%Y-%m-%dT%H:%M:%S").to_string(),
                instance: instance.clone(),
                role: role.arn,
            },
            token: instance.clone(),
        };
        match caller.send(request).await {
            Err(error) if error.is_not_found() => Ok(false),
            // Another process was quicker; or the group is being deleted, with
            // all that is in it.
            Err(error) if error.code == "ConflictException" => {
                Ok(self.schedules().await?.contains_key(instance))
            }
            outcome => Ok(outcome.map(|()| true)?),
        }
    }

    async fn delete_schedule(&self, instance: &Id) -> Result<()> {
        let request = DeleteSchedule {
            group: self.group(),
            name: instance.clone(),
        };
        gone_is_fine(self.context.caller.send(request).await)
    }
}

/// A schedule's moment, which is in UTC.
fn utc(at: &str) -> Option<Timestamp> {
    let at: DateTime = at.parse().ok()?;
    Some(at.to_zoned(TimeZone::UTC).ok()?.timestamp())
}

/// Nodes as a table.
#[derive(Debug)]
pub struct Table<'a> {
    /// Which.
    pub nodes: &'a [Node],
    /// The time.
    pub now: Timestamp,
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.nodes.is_empty() {
            return writeln!(f, "no nodes");
        }
        let wide = |of: fn(&Node) -> &str, least: usize| {
            let widths = self.nodes.iter().map(|node| of(node).len());
            widths.max().unwrap_or(0).max(least)
        };
        let (id, name) = (wide(|node| &node.id, 2), wide(|node| &node.name, 4));
        writeln!(
            f,
            "{:id$}  {:name$}  {:13}  {:15}  {:10}  {:>7}  ENDS",
            "ID", "NAME", "STATE", "ADDRESS", "TYPE", "AGE"
        )?;
        for node in self.nodes {
            let age = Span(self.now.duration_since(node.launched));
            write!(
                f,
                "{:id$}  {:name$}  {:13}  {:15}  {:10}  {:>7}  ",
                node.id,
                node.name,
                node.state,
                node.address.as_deref().unwrap_or("-"),
                node.instance_type,
                age.to_string(),
            )?;
            match node.ends {
                Some(ends) => writeln!(f, "{ends} (in {})", Span(ends.duration_since(self.now)))?,
                None => writeln!(f, "no end: `cloud-node list` gives it one")?,
            }
        }
        Ok(())
    }
}

/// A span of time in hours and minutes, and seconds below that.
pub(crate) struct Span(pub(crate) SignedDuration);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs().max(0);
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        match (hours, minutes) {
            (0, 0) => write!(f, "{seconds}s"),
            (0, _) => write!(f, "{minutes}m"),
            _ => write!(f, "{hours}h{minutes:02}m"),
        }
    }
}
