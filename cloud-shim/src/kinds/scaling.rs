//! The Auto Scaling group that runs the bastion by the clock.

use core::time::Duration;
use std::collections::BTreeSet;

use super::{Context, Kind, Resource, gone_is_fine, part_of};
use crate::api::{
    CreateAutoScalingGroup, DeleteAutoScalingGroup, DeleteScheduledAction,
    DescribeAutoScalingGroups, DescribeInstances, DescribeScheduledActions, Filter, GroupSettings,
    Id, PutScheduledUpdateGroupAction, ScheduledAction, SetDesiredCapacity, UpdateAutoScalingGroup,
};
use crate::engine::{Fields, Ids, LAB_TAG, Observed, Part, State, Value};
use crate::error::Result;

/// Tag that Auto Scaling sets on the instances of a group.
const GROUP_TAG: &str = "aws:autoscaling:groupName";
/// Fewest and most instances: two could not share the interface. The actions
/// of the schedule have the same, and change between them how many there are.
const BOUNDS: (u32, u32) = (0, 1);
/// How long a group may take to go: its instance is shut down first.
const GONE_WITHIN: Duration = Duration::from_secs(600);

/// An Auto Scaling group of at most one instance as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its launch template, which has an interface of its own.
    pub template: Part,
    /// Availability zone of that interface.
    pub zone: String,
    /// How many it starts with: 1 if the clock says so now.
    pub desired: u32,
    /// Its scheduled actions.
    pub schedule: Vec<ScheduledAction>,
}

impl Group {
    /// What it is to do.
    fn settings(&self, ids: &Ids) -> GroupSettings {
        GroupSettings {
            template: ids.told(&self.template),
            zone: self.zone.clone(),
            min: BOUNDS.0,
            max: BOUNDS.1,
            desired: self.desired,
        }
    }
}

/// The fields of a group. How many instances it is to have is not among them:
/// that is the clock's.
fn fields(settings: &GroupSettings, schedule: &[ScheduledAction]) -> Fields {
    [
        ("template", settings.template.clone().into()),
        ("zone", settings.zone.clone().into()),
        (
            "bounds",
            format!("{} to {}", settings.min, settings.max).into(),
        ),
        ("schedule", Value::set(schedule.iter().map(line))),
    ]
    .into()
}

/// A scheduled action in a line.
fn line(action: &ScheduledAction) -> String {
    let ScheduledAction {
        name,
        recurrence,
        time_zone,
        min,
        max,
        desired,
    } = action;
    format!("{name}: at {recurrence} {time_zone} to {desired} of {min}-{max}")
}

impl Resource for Group {
    const KIND: Kind = Kind::Group;
    const FIXED: &'static [&'static str] = &[];

    fn needs(&self) -> Vec<Part> {
        vec![self.template.clone()]
    }

    fn fields(&self, ids: &Ids, _: &Context) -> Fields {
        fields(&self.settings(ids), &self.schedule)
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let caller = &context.caller;
        let names = Vec::new();
        let mut found = Vec::new();
        for group in caller.send(DescribeAutoScalingGroups { names }).await? {
            if group.tags.get(LAB_TAG) != Some(&context.lab) {
                continue;
            }
            let schedule = scheduled(context, &group.name).await?;
            found.push(Observed {
                kind: Kind::Group,
                part: part_of(&group.tags),
                id: group.name,
                // The one status that there is: `Delete in progress`.
                state: group.status.map_or(State::Ready, |_| State::Going),
                fields: fields(&group.settings, &schedule),
                tags: group.tags,
            });
        }
        Ok(found)
    }

    async fn create(&self, context: &Context, part: &Part, ids: &Ids, _: &str) -> Result<Id> {
        let name = context.name(part);
        let request = CreateAutoScalingGroup {
            name: name.clone(),
            settings: self.settings(ids),
            tags: context.tags(part),
        };
        context.caller.send(request).await?;
        Ok(name)
    }

    async fn change(
        &self,
        context: &Context,
        observed: &Observed,
        fields: &BTreeSet<&'static str>,
        ids: &Ids,
    ) -> Result<()> {
        let settings = ["template", "zone", "bounds"];
        if settings.iter().any(|field| fields.contains(field)) {
            let request = UpdateAutoScalingGroup {
                name: observed.id.clone(),
                settings: self.settings(ids),
            };
            context.caller.send(request).await?;
        }
        if fields.contains("schedule") {
            // Without a schedule no later action says how many.
            if self.schedule.is_empty() {
                let request = SetDesiredCapacity {
                    name: observed.id.clone(),
                    desired: self.desired,
                };
                context.caller.send(request).await?;
            }
            self.set_schedule(context, &observed.id).await?;
        }
        Ok(())
    }

    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        let caller = &context.caller;
        let name = || observed.id.clone();
        if observed.state != State::Going {
            let request = DeleteAutoScalingGroup { name: name() };
            gone_is_fine(caller.send(request).await)?;
        }
        let what = format!("Auto Scaling group {} with its instances", observed.id);
        context
            .until_gone(&what, GONE_WITHIN, async || {
                let names = vec![name()];
                let groups = caller.send(DescribeAutoScalingGroups { names }).await?;
                if let Some(group) = groups.first() {
                    let status = group.status.as_deref().unwrap_or("still there");
                    return Ok(Some(status.to_owned()));
                }
                running(context, &observed.id).await
            })
            .await
    }
}

impl Group {
    /// Puts what is missing or different, then deletes what is not wanted.
    async fn set_schedule(&self, context: &Context, group: &Id) -> Result<()> {
        let caller = &context.caller;
        let there = scheduled(context, group).await?;
        for action in self.schedule.iter().filter(|&it| !there.contains(it)) {
            let request = PutScheduledUpdateGroupAction {
                group: group.clone(),
                action: action.clone(),
            };
            caller.send(request).await?;
        }
        let wanted: BTreeSet<_> = self.schedule.iter().map(|action| &action.name).collect();
        for action in there {
            if !wanted.contains(&action.name) {
                let request = DeleteScheduledAction {
                    group: group.clone(),
                    name: action.name,
                };
                gone_is_fine(caller.send(request).await)?;
            }
        }
        Ok(())
    }
}

async fn scheduled(context: &Context, group: &Id) -> Result<Vec<ScheduledAction>> {
    let group = group.clone();
    let request = DescribeScheduledActions { group };
    Ok(context.caller.send(request).await?)
}

/// The first instance of a group that is not terminated, and its state.
async fn running(context: &Context, group: &Id) -> Result<Option<String>> {
    let filters = vec![Filter::tag(GROUP_TAG, group)];
    let found = context.caller.send(DescribeInstances { filters }).await?;
    Ok(found
        .into_iter()
        .find(|instance| instance.state != "terminated")
        .map(|instance| format!("{} is {}", instance.id, instance.state)))
}
