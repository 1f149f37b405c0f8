//! `cloud-status`: what is there, whether the bastion runs or when it will,
//! and which nodes there are.

use core::fmt;
use std::collections::BTreeMap;

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _, Zoned};
use serde::Serialize;

use crate::api::{
    DescribeAutoScalingGroups, DescribeInstances, DescribeScalingActivities,
    DescribeScheduledActions, Filter, Id, Instance, ScheduledAction,
};
use crate::config::Config;
use crate::design::parts;
use crate::engine::{LAB_TAG, Observed, PART_TAG, Part, State};
use crate::error::Result;
use crate::kinds::{Context, unless_gone};
use crate::node::{Fleet, Node, Span, Table};

/// How the replica is.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Name of the lab.
    pub lab: String,
    /// AWS region.
    pub region: String,
    /// The account's number.
    pub account: String,
    /// When this was so.
    pub at: Timestamp,
    /// What is there.
    pub parts: Vec<PartStatus>,
    /// Parts of the design that are not.
    pub missing: Vec<String>,
    /// The bastion.
    pub bastion: Bastion,
    /// The nodes.
    pub nodes: Vec<Node>,
    /// What it all costs in an hour as it is now, in USD, if that was reckoned.
    pub usd_per_hour: Option<f64>,
    /// What is left of the lab without being part of it, if that was looked
    /// for.
    pub leftovers: Option<Vec<String>>,
}

/// A part that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PartStatus {
    /// Its name.
    pub part: String,
    /// What it is.
    pub kind: &'static str,
    /// What AWS calls it.
    pub id: Id,
    /// `ready`, `pending`, `going`, or why it failed.
    pub state: String,
}

/// The bastion and its clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bastion {
    /// Its instance, if it has one now.
    pub instance: Option<BastionInstance>,
    /// Whether there is a group to start one.
    pub group: bool,
    /// When the clock starts it next.
    pub next_start: Option<Zoned>,
    /// When the clock ends it next.
    pub next_stop: Option<Zoned>,
    /// Why it was not started last time, if it was not.
    pub failure: Option<String>,
}

/// The bastion's instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BastionInstance {
    /// `i-…`.
    pub id: Id,
    /// `pending`, `running`, `shutting-down`, …
    pub state: String,
    /// EC2 instance type.
    pub instance_type: String,
    /// Its first private address.
    pub address: Option<String>,
    /// Its public address, which costs.
    pub public: Option<String>,
    /// When it was started.
    pub launched: Timestamp,
}

impl Status {
    /// Looks at everything, without changing it. `observed` is what there is
    /// of the kinds of resources, `design` the parts that there shall be.
    ///
    /// # Errors
    ///
    /// What a call failed with.
    pub async fn look(
        context: &Context,
        config: &Config,
        now: Timestamp,
        observed: &[Observed],
        design: &[Part],
    ) -> Result<Self> {
        let fleet = Fleet {
            context,
            config,
            now,
        };
        let there = |part: &&Part| !observed.iter().any(|observed| observed.part == **part);
        Ok(Self {
            lab: context.lab.clone(),
            region: context.caller.region().to_owned(),
            account: context.account.clone(),
            at: now,
            parts: observed.iter().map(PartStatus::new).collect(),
            missing: design.iter().filter(there).map(Part::to_string).collect(),
            bastion: Bastion::look(context, now).await?,
            nodes: fleet.list().await?,
            usd_per_hour: None,
            leftovers: None,
        })
    }
}

impl PartStatus {
    fn new(observed: &Observed) -> Self {
        Self {
            part: observed.part.to_string(),
            kind: observed.kind.name(),
            id: observed.id.clone(),
            state: match &observed.state {
                State::Ready => "ready".to_owned(),
                State::Pending => "pending".to_owned(),
                State::Going => "going".to_owned(),
                State::Failed(why) => format!("failed: {why}"),
            },
        }
    }
}

impl Bastion {
    /// Looks at its group and its instance.
    ///
    /// # Errors
    ///
    /// What a call failed with.
    pub async fn look(context: &Context, now: Timestamp) -> Result<Self> {
        let caller = &context.caller;
        let name = context.name(&parts::BASTION);
        let names = vec![name.clone()];
        let groups = caller.send(DescribeAutoScalingGroups { names }).await?;
        let group = groups
            .iter()
            .any(|group| group.tags.get(LAB_TAG) == Some(&context.lab));
        let (mut actions, mut failure) = (Vec::new(), None);
        if group {
            let group = name.clone();
            let request = DescribeScheduledActions { group };
            actions = unless_gone(caller.send(request).await)?.unwrap_or_default();
            let request = DescribeScalingActivities { group: name };
            let activities = unless_gone(caller.send(request).await)?.unwrap_or_default();
            // The last one counts: what failed before it was made good.
            failure = activities
                .into_iter()
                .next()
                .filter(|last| last.status == "Failed")
                .map(|last| last.message.unwrap_or(last.description));
        }
        let next = |starts: bool| {
            let actions = actions.iter().filter(|it| (it.desired > 0) == starts);
            actions.filter_map(|action| next(action, now)).min()
        };
        let mut filters = context.ours();
        filters.push(Filter::tag(PART_TAG, parts::BASTION.as_str()));
        let instances = caller.send(DescribeInstances { filters }).await?;
        let instance = instances
            .into_iter()
            .filter(|instance| instance.state != "terminated")
            .max_by_key(|instance| instance.launched);
        Ok(Self {
            instance: instance.map(BastionInstance::new),
            group,
            next_start: next(true),
            next_stop: next(false),
            failure,
        })
    }

    /// Whether it runs.
    pub fn is_running(&self) -> bool {
        let running = |instance: &BastionInstance| instance.state == "running";
        self.instance.as_ref().is_some_and(running)
    }

    /// Why it does not run, and how to start it, in a line.
    pub fn why_off(&self, context: &Context) -> String {
        if let Some(BastionInstance { id, state, .. }) = &self.instance {
            return format!("the bastion ({id}) is {state}; try again in a minute or two");
        }
        if !self.group {
            return "there is no bastion; build the replica with `cargo xtask cloud-up` first"
                .to_owned();
        }
        let mut why = "the bastion is off".to_owned();
        if let Some(start) = &self.next_start {
            why += &format!(" until {}", clock(start));
        }
        if let Some(failure) = &self.failure {
            why += &format!(" (it could not be started last time: {failure})");
        }
        why + &format!(
            "; to start it now: aws autoscaling set-desired-capacity --region {} \
             --auto-scaling-group-name {} --desired-capacity 1",
            context.caller.region(),
            context.name(&parts::BASTION)
        )
    }
}

impl BastionInstance {
    fn new(instance: Instance) -> Self {
        Self {
            id: instance.id,
            state: instance.state,
            instance_type: instance.instance_type,
            address: instance.private,
            public: instance.public,
            launched: Timestamp::from_second(instance.launched).unwrap_or(Timestamp::UNIX_EPOCH),
        }
    }
}

/// When a daily action comes next; nothing for any other recurrence, which
/// nobody but a person can have set.
fn next(action: &ScheduledAction, now: Timestamp) -> Option<Zoned> {
    let mut fields = action.recurrence.split_ascii_whitespace();
    let minute: i8 = fields.next()?.parse().ok()?;
    let hour: i8 = fields.next()?.parse().ok()?;
    if fields.any(|field| field != "*") {
        return None;
    }
    let zone = TimeZone::get(&action.time_zone).ok()?;
    let now = now.to_zoned(zone.clone());
    let time = Time::new(hour, minute, 0, 0).ok()?;
    let today = now.date();
    [today, today.checked_add(1.day()).ok()?]
        .into_iter()
        .filter_map(|day| day.to_datetime(time).to_zoned(zone.clone()).ok())
        .find(|at| *at > now)
}

/// A time as the clock of its zone shows it.
fn clock(at: &Zoned) -> String {
    at.strftime("%Y-%m-%d %H:%M %Q").to_string()
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            lab,
            region,
            account,
            at,
            parts,
            ..
        } = self;
        writeln!(f, "lab {lab} in account {account}, {region}")?;
        if parts.is_empty() {
            writeln!(f, "nothing of it is there")?;
        }
        let mut kinds = BTreeMap::<_, Vec<_>>::new();
        for part in parts {
            kinds.entry(part.state == "ready").or_default().push(part);
        }
        // What is not as it should be comes first.
        for part in kinds.into_values().flatten() {
            let PartStatus {
                part,
                kind,
                id,
                state,
            } = part;
            writeln!(f, "  {part:20}  {kind:27}  {id}  {state}")?;
        }
        if !self.missing.is_empty() {
            writeln!(f, "missing: {}", self.missing.join(", "))?;
        }
        write!(f, "{}", self.bastion.told(*at))?;
        write!(
            f,
            "{}",
            Table {
                nodes: &self.nodes,
                now: *at
            }
        )?;
        if let Some(usd) = self.usd_per_hour {
            writeln!(
                f,
                "costs ${usd:.4} an hour as it is now, before the free trial of nodes"
            )?;
        }
        match self.leftovers.as_deref() {
            None => {}
            Some([]) => writeln!(f, "no leftovers")?,
            Some(leftovers) => {
                writeln!(f, "leftovers, which `cargo xtask cloud-down` removes:")?;
                for line in leftovers {
                    writeln!(f, "  {line}")?;
                }
            }
        }
        Ok(())
    }
}

impl Bastion {
    /// In a line or two.
    fn told(&self, now: Timestamp) -> String {
        let mut text = match &self.instance {
            Some(instance) => {
                let BastionInstance {
                    id,
                    state,
                    instance_type,
                    address,
                    public,
                    launched,
                } = instance;
                let address = address.as_deref().unwrap_or("no address yet");
                let public = public.as_ref().map_or_else(String::new, |public| {
                    format!(", public {public} (costs by the hour)")
                });
                let age = Span(now.duration_since(*launched));
                format!("bastion: {id} {state} for {age}, {instance_type}, {address}{public}")
            }
            None if self.group => "bastion: off".to_owned(),
            None => "bastion: none".to_owned(),
        };
        let next = [("starts", &self.next_start), ("ends", &self.next_stop)];
        for (what, at) in next {
            if let Some(at) = at {
                text += &format!(", {what} next at {}", clock(at));
            }
        }
        text.push('\n');
        if let Some(failure) = &self.failure {
            text += &format!("  its last start failed: {failure}\n");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_time_by_the_clock_of_the_zone() {
        for (recurrence, zone, now, expected) in [
            (
                "0 18 * * *",
                "Europe/Dublin",
                "2026-11-25T17:59:59Z",
                "2026-11-25T18:00:00Z",
            ),
            (
                "0 18 * * *",
                "Europe/Dublin",
                "2026-11-25T18:00:00Z",
                "2026-11-26T18:00:00Z",
            ),
            // Summer time begins on the 28th, at 01:00.
            (
                "30 18 * * *",
                "Europe/Dublin",
                "2027-03-27T20:00:00Z",
                "2027-03-28T17:30:00Z",
            ),
            (
                "15 0 * * *",
                "Asia/Tokyo",
                "2026-11-25T15:20:00Z",
                "2026-11-26T15:15:00Z",
            ),
        ] {
            let action = ScheduledAction {
                name: "start".to_owned(),
                recurrence: recurrence.to_owned(),
                time_zone: zone.to_owned(),
                min: 0,
                max: 1,
                desired: 1,
            };
            let at = next(&action, now.parse().unwrap()).unwrap();
            assert_eq!(
                at.timestamp(),
                expected.parse().unwrap(),
                "{recurrence} {zone}"
            );
        }
    }

    #[test]
    fn what_is_not_daily_has_no_next_time() {
        for (recurrence, zone) in [
            ("0 18 * * 1", "Europe/Dublin"),
            ("*/5 18 * * *", "Europe/Dublin"),
            ("0 25 * * *", "Europe/Dublin"),
            ("0 18 * * *", "Europe/Dubln"),
            ("", "Europe/Dublin"),
        ] {
            let action = ScheduledAction {
                name: "start".to_owned(),
                recurrence: recurrence.to_owned(),
                time_zone: zone.to_owned(),
                min: 0,
                max: 1,
                desired: 1,
            };
            assert_eq!(
                next(&action, Timestamp::UNIX_EPOCH),
                None,
                "{recurrence} {zone}"
            );
        }
    }
}
