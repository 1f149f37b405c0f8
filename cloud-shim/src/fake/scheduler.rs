//! EventBridge Scheduler: groups, and schedules that run once.

use std::collections::BTreeMap;

use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::{Account, Answer, Event, Quota, Refusal, check, refuse};
use crate::api::*;

/// A schedule group and what is in it.
#[derive(Debug, Clone, Default)]
pub(super) struct ScheduleGroupState {
    tags: Tags,
    deleting: bool,
    schedules: BTreeMap<String, Schedule>,
}

/// Seconds until a deleted group is gone.
const GROUP_DELETING: (u64, u64) = (10, 60);

impl Account {
    /// Every region has a group called `default`.
    pub(super) fn found_schedule_group(&mut self) {
        let birth = self.birth();
        self.schedules
            .put(birth, "default", ScheduleGroupState::default());
    }

    fn schedule_group(&mut self, name: &str) -> Answer<&mut ScheduleGroupState> {
        let now = self.now;
        self.schedules
            .get_mut(name, now)
            .ok_or_else(|| not_found(format!("Schedule group {name} does not exist.")))
    }

    pub(super) fn list_schedule_groups(&mut self, c: ListScheduleGroups) -> Answer<Vec<String>> {
        let groups = self.schedules.listed(self.now).map(|(name, _)| name);
        Ok(groups
            .filter(|name| name.starts_with(&c.prefix))
            .map(str::to_owned)
            .collect())
    }

    pub(super) fn create_schedule_group(&mut self, c: CreateScheduleGroup) -> Answer<()> {
        name(&c.name)?;
        check::tags(&c.tags).map_err(|it| Refusal::new(400, "ValidationException", it.message))?;
        if self.schedules.at(&c.name).is_some() {
            return conflict(format!("Schedule group {} already exists.", c.name));
        }
        self.script
            .within(Quota::ScheduleGroups, self.schedules.all().count(), 1)?;
        let birth = self.birth();
        let state = ScheduleGroupState {
            tags: c.tags,
            ..ScheduleGroupState::default()
        };
        self.schedules.put(birth, &c.name, state);
        Ok(())
    }

    pub(super) fn delete_schedule_group(&mut self, c: DeleteScheduleGroup) -> Answer<()> {
        let group = self.schedule_group(&c.name)?;
        if c.name == "default" {
            return refuse(
                "ValidationException",
                "The default schedule group cannot be deleted.",
            );
        }
        if group.deleting {
            return conflict(format!("Schedule group {} is being deleted.", c.name));
        }
        group.deleting = true;
        self.later(GROUP_DELETING, Event::ScheduleGroupGone(c.name));
        Ok(())
    }

    pub(super) fn get_schedule_group_tags(&mut self, c: GetScheduleGroupTags) -> Answer<Tags> {
        Ok(self.schedule_group(&c.name)?.tags.clone())
    }

    pub(super) fn list_schedules(&mut self, c: ListSchedules) -> Answer<Vec<Schedule>> {
        let schedules = self.schedule_group(&c.group)?.schedules.values();
        Ok(schedules
            .map(|it| Schedule {
                instance: Id::new(),
                role: Id::new(),
                ..it.clone()
            })
            .collect())
    }

    pub(super) fn create_schedule(&mut self, c: CreateSchedule) -> Answer<()> {
        let schedule = c.schedule;
        name(&schedule.name)?;
        let group = self.schedule_group(&c.group)?;
        if group.deleting {
            return conflict(format!("Schedule group {} is being deleted.", c.group));
        }
        if group.schedules.contains_key(&schedule.name) {
            return conflict(format!("Schedule {} already exists.", schedule.name));
        }
        let due = schedule
            .at
            .parse::<DateTime>()
            .ok()
            .filter(|_| schedule.at.len() == 19);
        let due = due.and_then(|due| due.to_zoned(TimeZone::UTC).ok());
        let Some(due) = due.map(|due| due.timestamp().as_second()) else {
            return refuse(
                "ValidationException",
                format!("Invalid Schedule Expression at({}).", schedule.at),
            );
        };
        // Whether a time in the past is refused is not documented: it is here.
        if due <= self.unix_time() {
            return refuse(
                "ValidationException",
                format!("Schedule Expression at({}) lies in the past.", schedule.at),
            );
        }
        if !self.is_trusted(&schedule.role, "scheduler.amazonaws.com") {
            return refuse(
                "ValidationException",
                "The execution role you provide must allow AWS EventBridge Scheduler to assume \
                 the role.",
            );
        }
        let event = Event::ScheduleDue(c.group.clone(), schedule.name.clone());
        self.schedule_group(&c.group)?
            .schedules
            .insert(schedule.name.clone(), schedule);
        self.at_unix(due, event);
        Ok(())
    }

    /// Terminates the instance, and the schedule is gone.
    pub(super) fn schedule_is_due(&mut self, group: &str, name: &str) {
        let now = self.unix_time();
        let Some(state) = self.schedules.at_mut(group) else {
            return;
        };
        // One of the same name may have come in its place, for another time.
        let is_due = |it: &Schedule| {
            let due = it
                .at
                .parse::<DateTime>()
                .ok()
                .and_then(|at| at.to_zoned(TimeZone::UTC).ok());
            due.is_some_and(|due| due.timestamp().as_second() <= now)
        };
        if !state.schedules.get(name).is_some_and(is_due) {
            return;
        }
        let Some(schedule) = state.schedules.remove(name) else {
            return;
        };
        if self.names_action(&schedule.role, "ec2:TerminateInstances") {
            self.terminate(
                &schedule.instance,
                "Client.UserInitiatedShutdown: User initiated shutdown",
            );
        }
    }

    pub(super) fn delete_schedule(&mut self, c: DeleteSchedule) -> Answer<()> {
        match self.schedule_group(&c.group)?.schedules.remove(&c.name) {
            Some(_) => Ok(()),
            None => Err(not_found(format!("Schedule {} does not exist.", c.name))),
        }
    }
}

fn not_found(message: String) -> Refusal {
    Refusal::new(404, "ResourceNotFoundException", message)
}

fn conflict<T>(message: String) -> Answer<T> {
    Err(Refusal::new(409, "ConflictException", message))
}

fn name(text: &str) -> Answer<()> {
    if check::is_text(text, 1..=64, "-_.") {
        return Ok(());
    }
    refuse(
        "ValidationException",
        format!("'{text}' must satisfy the pattern [0-9a-zA-Z-_.]+, with at most 64 characters"),
    )
}
