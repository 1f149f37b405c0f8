//! Schedules that end an instance, in groups that carry the tags.

use aws_sdk_scheduler::Client;
use aws_sdk_scheduler::types::{
    self, ActionAfterCompletion, FlexibleTimeWindow, FlexibleTimeWindowMode, Tag, Target,
};

use super::{Answer, Explained as _, all, need, plain};
use crate::api::*;

/// The target of a schedule: the call `ec2:TerminateInstances`.
const TERMINATE: &str = "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances";

pub(super) async fn list_schedule_groups(
    scheduler: &Client,
    request: ListScheduleGroups,
) -> Answer<ListScheduleGroups> {
    let pages = scheduler
        .list_schedule_groups()
        .name_prefix(request.prefix)
        .into_paginator()
        .items()
        .send();
    all(
        ListScheduleGroups::NAME,
        pages,
        |call, group: types::ScheduleGroupSummary| need!(call, group.name),
    )
    .await
}

pub(super) async fn create_schedule_group(
    scheduler: &Client,
    request: CreateScheduleGroup,
) -> Answer<CreateScheduleGroup> {
    let call = CreateScheduleGroup::NAME;
    let tags = request
        .tags
        .into_iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect::<Result<_, _>>()
        .map_err(|error| super::incomplete(call, &error))?;
    scheduler
        .create_schedule_group()
        .name(request.name)
        .client_token(request.token)
        .set_tags(Some(tags))
        .send()
        .await
        .explained(call)?;
    Ok(())
}

plain!(Client, delete_schedule_group(request: DeleteScheduleGroup) {
    name: request.name,
});

/// Two calls: the tags are asked for by ARN, which only the group itself knows.
pub(super) async fn get_schedule_group_tags(
    scheduler: &Client,
    request: GetScheduleGroupTags,
) -> Answer<GetScheduleGroupTags> {
    let call = GetScheduleGroupTags::NAME;
    let group = scheduler
        .get_schedule_group()
        .name(request.name)
        .send()
        .await
        .explained(call)?;
    let output = scheduler
        .list_tags_for_resource()
        .resource_arn(need!(call, group.arn)?)
        .send()
        .await
        .explained(call)?;
    let tags = output.tags.unwrap_or_default();
    Ok(tags.into_iter().map(|tag| (tag.key, tag.value)).collect())
}

/// The list itself does not say when; each schedule is asked.
pub(super) async fn list_schedules(
    scheduler: &Client,
    request: ListSchedules,
) -> Answer<ListSchedules> {
    let call = ListSchedules::NAME;
    let pages = scheduler
        .list_schedules()
        .group_name(&request.group)
        .into_paginator()
        .items()
        .send();
    let names = all(call, pages, |call, schedule: types::ScheduleSummary| {
        need!(call, schedule.name)
    });
    let mut schedules = Vec::new();
    for name in names.await? {
        let answer = scheduler
            .get_schedule()
            .group_name(&request.group)
            .name(&name)
            .send()
            .await
            .explained(call);
        let expression = match answer {
            Ok(schedule) => need!(call, schedule.schedule_expression)?,
            // Run, and gone, since it was listed.
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error),
        };
        schedules.push(Schedule {
            name,
            at: moment(&expression).to_owned(),
            instance: Id::new(),
            role: Id::new(),
        });
    }
    Ok(schedules)
}

/// The moment in `at(2026-11-25T22:05:00)`; another expression as it is.
fn moment(expression: &str) -> &str {
    expression
        .strip_prefix("at(")
        .and_then(|rest| rest.strip_suffix(')'))
        .unwrap_or(expression)
}

pub(super) async fn create_schedule(
    scheduler: &Client,
    request: CreateSchedule,
) -> Answer<CreateSchedule> {
    let call = CreateSchedule::NAME;
    let Schedule {
        name,
        at,
        instance,
        role,
    } = request.schedule;
    let target = Target::builder()
        .arn(TERMINATE)
        .role_arn(role)
        .input(serde_json::json!({ "InstanceIds": [instance] }).to_string())
        .build();
    let on_time = FlexibleTimeWindow::builder()
        .mode(FlexibleTimeWindowMode::Off)
        .build();
    scheduler
        .create_schedule()
        .group_name(request.group)
        .name(name)
        .schedule_expression(format!("at({at})"))
        .schedule_expression_timezone("UTC")
        .flexible_time_window(on_time.map_err(|error| super::incomplete(call, &error))?)
        .target(target.map_err(|error| super::incomplete(call, &error))?)
        .action_after_completion(ActionAfterCompletion::Delete)
        .client_token(request.token)
        .send()
        .await
        .explained(call)?;
    Ok(())
}

plain!(Client, delete_schedule(request: DeleteSchedule) {
    group_name: request.group,
    name: request.name,
});
