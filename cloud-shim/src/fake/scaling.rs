//! Auto Scaling: groups that launch, replace and terminate, and what they did.

use std::collections::BTreeMap;

use jiff::tz::TimeZone;

use super::cron::Cron;
use super::instances::existing;
use super::{Account, Answer, Event, Quota, check, refuse};
use crate::api::*;

/// A group, its scheduled actions and its history.
#[derive(Debug, Clone)]
pub(super) struct GroupState {
    group: AutoScalingGroup,
    actions: BTreeMap<String, Planned>,
    activities: Vec<Activity>,
}

/// A scheduled action, and which version of it.
#[derive(Debug, Clone)]
struct Planned {
    action: ScheduledAction,
    version: u64,
}

/// Seconds until a group acts.
const ACTING: (u64, u64) = (2, 20);
/// Seconds until it tries a failed launch again.
const TRYING_AGAIN: (u64, u64) = (30, 90);
/// Seconds from its last instance's end until it is gone.
const GOING: (u64, u64) = (5, 30);
/// Activities that are remembered.
const MAX_ACTIVITIES: usize = 100;

impl Account {
    pub(super) fn describe_scaling_groups(
        &mut self,
        c: DescribeAutoScalingGroups,
    ) -> Answer<Vec<AutoScalingGroup>> {
        let groups = self.scaling.listed(self.now);
        Ok(groups
            .filter(|(name, _)| c.names.is_empty() || c.names.iter().any(|it| it == name))
            .map(|(_, state)| state.group.clone())
            .collect())
    }

    pub(super) fn create_scaling_group(&mut self, c: CreateAutoScalingGroup) -> Answer<()> {
        if let Some(other) = self.scaling.at(&c.name) {
            let how = if other.group.status.is_some() {
                " and is pending delete"
            } else {
                ""
            };
            return refuse(
                "AlreadyExists",
                format!(
                    "AutoScalingGroup by this name already exists{how}: {}",
                    c.name
                ),
            );
        }
        if c.name.is_empty() || c.name.len() > 255 || c.name.contains(':') {
            return invalid("The group's name has 1 to 255 characters and no colon");
        }
        if check::tags(&c.tags).is_err() {
            return invalid("The tags are not valid");
        }
        let GroupSettings {
            min, max, desired, ..
        } = c.settings;
        self.settings(&c.settings)?;
        within(min, max, desired)?;
        self.script
            .within(Quota::AutoScalingGroups, self.scaling.all().count(), 1)?;
        let group = AutoScalingGroup {
            name: c.name.clone(),
            settings: c.settings,
            instances: Vec::new(),
            status: None,
            tags: c.tags,
        };
        let birth = self.birth();
        let state = GroupState {
            group,
            actions: BTreeMap::new(),
            activities: Vec::new(),
        };
        self.scaling.put(birth, &c.name, state);
        self.later(ACTING, Event::Scale(c.name));
        Ok(())
    }

    fn settings(&self, settings: &GroupSettings) -> Answer<()> {
        let Ok(template) = self.template(&settings.template) else {
            return invalid(format!(
                "You must use a valid fully-formed launch template. The specified launch \
                 template, with template ID {}, does not exist.",
                settings.template
            ));
        };
        if self.zone(&settings.zone).is_err() {
            return invalid(format!(
                "{} is not a valid Availability Zone",
                settings.zone
            ));
        }
        // "If you specify an existing network interface, set the maximum to 1."
        if existing(&template.data()).next().is_some() && settings.max > 1 {
            return invalid(
                "A launch template with an existing network interface is for one instance at most",
            );
        }
        Ok(())
    }

    /// The group that a call may work on: it exists and is not going.
    fn scaling_group(&mut self, name: &str) -> Answer<&mut GroupState> {
        let now = self.now;
        match self.scaling.get_mut(name, now) {
            None => invalid(format!(
                "AutoScalingGroup name not found - AutoScalingGroup '{name}' not found"
            )),
            Some(state) if state.group.status.is_some() => refuse(
                "ScalingActivityInProgress",
                format!("AutoScalingGroup {name} is pending delete"),
            ),
            Some(state) => Ok(state),
        }
    }

    pub(super) fn update_scaling_group(&mut self, c: UpdateAutoScalingGroup) -> Answer<()> {
        self.scaling_group(&c.name)?;
        self.settings(&c.settings)?;
        let GroupSettings { min, max, .. } = c.settings;
        within(min, max, min)?;
        let settings = &mut self.scaling_group(&c.name)?.group.settings;
        // What is wanted stays, but for what the new bounds forbid.
        let desired = settings.desired.clamp(min, max);
        *settings = GroupSettings {
            desired,
            ..c.settings
        };
        self.later(ACTING, Event::Scale(c.name));
        Ok(())
    }

    pub(super) fn set_desired(&mut self, c: SetDesiredCapacity) -> Answer<()> {
        let settings = &mut self.scaling_group(&c.name)?.group.settings;
        within(settings.min, settings.max, c.desired)?;
        settings.desired = c.desired;
        self.later(ACTING, Event::Scale(c.name));
        Ok(())
    }

    pub(super) fn delete_scaling_group(&mut self, c: DeleteAutoScalingGroup) -> Answer<()> {
        let group = &mut self.scaling_group(&c.name)?.group;
        group.status = Some("Delete in progress".to_owned());
        group.settings.min = 0;
        group.settings.desired = 0;
        self.later(ACTING, Event::Scale(c.name));
        Ok(())
    }

    pub(super) fn describe_actions(
        &mut self,
        c: DescribeScheduledActions,
    ) -> Answer<Vec<ScheduledAction>> {
        let Some(state) = self.scaling.get(&c.group, self.now) else {
            return invalid(format!("Group {} not found", c.group));
        };
        Ok(state.actions.values().map(|it| it.action.clone()).collect())
    }

    pub(super) fn put_action(&mut self, c: PutScheduledUpdateGroupAction) -> Answer<()> {
        self.scaling_group(&c.group)?;
        let action = c.action;
        if action.name.is_empty() || action.name.len() > 255 {
            return invalid("A scheduled action's name has 1 to 255 characters");
        }
        if Cron::parse(&action.recurrence).is_none() {
            return invalid(format!(
                "Given recurrence string: {} is invalid",
                action.recurrence
            ));
        }
        if TimeZone::get(&action.time_zone).is_err() {
            return invalid(format!("Given time zone: {} is invalid", action.time_zone));
        }
        // A size may be left as it is; what is left is checked when it is known.
        if ![action.min, action.max, action.desired].contains(&u32::MAX) {
            within(action.min, action.max, action.desired)?;
        }
        self.event_serial += 1;
        let version = self.event_serial;
        let name = action.name.clone();
        let planned = Planned { action, version };
        self.scaling_group(&c.group)?
            .actions
            .insert(name.clone(), planned);
        self.plan_action(&c.group, &name);
        Ok(())
    }

    /// Lets the action happen when it comes due next.
    fn plan_action(&mut self, group: &str, name: &str) {
        let planned = self
            .scaling
            .at(group)
            .and_then(|state| state.actions.get(name));
        let Some(Planned { action, version }) = planned else {
            return;
        };
        let cron = Cron::parse(&action.recurrence);
        let zone = TimeZone::get(&action.time_zone);
        let (Some(cron), Ok(zone)) = (cron, zone) else {
            return;
        };
        let event = Event::ScheduledAction(group.to_owned(), name.to_owned(), *version);
        if let Some(second) = cron.next(self.unix_time(), &zone) {
            self.at_unix(second, event);
        }
    }

    pub(super) fn action_is_due(&mut self, group: &str, name: &str, version: u64) {
        let Some(state) = self.scaling.at_mut(group) else {
            return;
        };
        let Some(planned) = state.actions.get(name) else {
            return;
        };
        if planned.version != version || state.group.status.is_some() {
            return;
        }
        let ScheduledAction {
            min, max, desired, ..
        } = planned.action;
        let settings = &mut state.group.settings;
        let put = |size: &mut u32, to: u32| {
            if to != u32::MAX {
                *size = to;
            }
        };
        put(&mut settings.min, min);
        put(&mut settings.max, max);
        put(&mut settings.desired, desired);
        settings.desired = settings.desired.max(settings.min).min(settings.max);
        self.plan_action(group, name);
        self.later(ACTING, Event::Scale(group.to_owned()));
    }

    pub(super) fn delete_action(&mut self, c: DeleteScheduledAction) -> Answer<()> {
        match self.scaling_group(&c.group)?.actions.remove(&c.name) {
            Some(_) => Ok(()),
            None => invalid(format!("Scheduled action {} not found", c.name)),
        }
    }

    pub(super) fn describe_activities(
        &mut self,
        c: DescribeScalingActivities,
    ) -> Answer<Vec<Activity>> {
        match self.scaling.get(&c.group, self.now) {
            // The newest first.
            Some(state) => Ok(state.activities.iter().rev().cloned().collect()),
            None => invalid(format!("Group {} not found", c.group)),
        }
    }

    /// Brings a group one step nearer to what is wanted.
    pub(super) fn scale(&mut self, name: &str) {
        let Some(mut state) = self.scaling.at(name).cloned() else {
            return;
        };
        let whose = core::mem::replace(&mut self.foreign, self.scaling.is_foreign(name));
        state.group.instances.retain(|id| {
            self.instances
                .at(id)
                .is_some_and(|it| it.instance.state != "terminated")
        });
        let live: Vec<Id> = state
            .group
            .instances
            .iter()
            .filter(|id| self.instances.at(id).is_some_and(|it| !it.is_over()))
            .cloned()
            .collect();
        let wanted = state.group.settings.desired as usize;
        let going = state.group.status.is_some();
        for id in live.iter().skip(wanted) {
            self.terminate(id, "Server.ScheduledStop: terminated by Auto Scaling");
            state.note(
                "Successful",
                format!("Terminating EC2 instance: {id}"),
                None,
            );
        }
        if live.len() < wanted && !going {
            self.launch_for(name, &mut state);
        }
        let gone = going && state.group.instances.is_empty();
        if let Some(it) = self.scaling.at_mut(name) {
            *it = state;
        }
        if gone {
            self.later(GOING, Event::ScalingGroupGone(name.to_owned()));
        }
        self.foreign = whose;
    }

    fn launch_for(&mut self, name: &str, state: &mut GroupState) {
        match self.launch_in_zone(name, &state.group.settings) {
            Ok(instances) => {
                for instance in instances {
                    let words = format!("Launching a new EC2 instance: {}", instance.id);
                    state.note("Successful", words, None);
                    state.group.instances.push(instance.id);
                }
                self.later(ACTING, Event::Scale(name.to_owned()));
            }
            Err(refusal) => {
                let message = format!("{} Launching EC2 instance failed.", refusal.message);
                state.note(
                    "Failed",
                    "Launching a new EC2 instance.".to_owned(),
                    Some(message),
                );
                // Never at once, not even for foreigners: it would fail without end.
                let wait = core::time::Duration::from_secs(TRYING_AGAIN.0);
                let wait = wait + self.part_of(wait);
                self.at(self.now + wait, Event::Scale(name.to_owned()));
            }
        }
    }

    fn launch_in_zone(&mut self, name: &str, settings: &GroupSettings) -> Answer<Vec<Instance>> {
        let data = self.template(&settings.template)?.data();
        let subnet = match &data.interface {
            LaunchInterface::Existing(id) => &self.interfaces.get(id, self.now)?.nic.subnet,
            LaunchInterface::New { subnet, .. } => subnet,
        };
        let zone = &self.subnets.get(subnet, self.now)?.subnet.zone;
        if *zone != settings.zone {
            return refuse(
                "InvalidParameterValue",
                format!(
                    "The subnet {subnet} is in {zone}, the group in {}.",
                    settings.zone
                ),
            );
        }
        self.launch(&data, 1, &Tags::new(), Some(name))
    }
}

impl GroupState {
    fn note(&mut self, status: &str, description: String, message: Option<String>) {
        if self.activities.len() == MAX_ACTIVITIES {
            self.activities.remove(0);
        }
        self.activities.push(Activity {
            status: status.to_owned(),
            description,
            message,
        });
    }
}

fn within(min: u32, max: u32, desired: u32) -> Answer<()> {
    if min > max {
        return invalid("Max bound must be greater than or equal to min bound");
    }
    if (min..=max).contains(&desired) {
        return Ok(());
    }
    invalid(format!(
        "Desired capacity:{desired} must be between the specified min size:{min} and max \
         size:{max}"
    ))
}

fn invalid<T>(message: impl Into<String>) -> Answer<T> {
    refuse("ValidationError", message)
}
