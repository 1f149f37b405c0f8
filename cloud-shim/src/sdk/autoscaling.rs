//! Auto Scaling groups, their scheduled actions and what they did.

use aws_sdk_autoscaling::Client;
use aws_sdk_autoscaling::types::{self, LaunchTemplateSpecification, Tag};

use super::ec2::templates::DEFAULT;
use super::{Answer, Explained as _, Name, all, count, need, plain};
use crate::api::*;

fn template(id: Id) -> LaunchTemplateSpecification {
    LaunchTemplateSpecification::builder()
        .launch_template_id(id)
        .version(DEFAULT)
        .build()
}

/// The template of a group; with a version other than the default one, which
/// only somebody else sets, in words that fit no template of ours.
fn template_of(group: Option<LaunchTemplateSpecification>) -> Id {
    let Some(template) = group else {
        return Id::new();
    };
    let id = template.launch_template_id.unwrap_or_default();
    match template.version.as_deref() {
        None | Some(DEFAULT) => id,
        Some(version) => format!("{id} version {version}"),
    }
}

fn bound(number: Option<i32>) -> u32 {
    number.map_or(u32::MAX, |number| u32::try_from(number).unwrap_or(u32::MAX))
}

fn group(call: Name, group: types::AutoScalingGroup) -> Result<AutoScalingGroup, ApiError> {
    let instances = group.instances.unwrap_or_default();
    let tags = group.tags.unwrap_or_default();
    Ok(AutoScalingGroup {
        name: need!(call, group.auto_scaling_group_name)?,
        settings: GroupSettings {
            template: template_of(group.launch_template),
            zone: group.availability_zones.unwrap_or_default().join(","),
            min: bound(Some(need!(call, group.min_size)?)),
            max: bound(Some(need!(call, group.max_size)?)),
            desired: bound(Some(need!(call, group.desired_capacity)?)),
        },
        instances: instances
            .into_iter()
            .map(|instance| need!(call, instance.instance_id))
            .collect::<Result<_, _>>()?,
        status: group.status,
        tags: tags
            .into_iter()
            .filter_map(|tag| Some((tag.key?, tag.value.unwrap_or_default())))
            .collect(),
    })
}

pub(super) async fn describe_auto_scaling_groups(
    client: &Client,
    request: DescribeAutoScalingGroups,
) -> Answer<DescribeAutoScalingGroups> {
    let names = Some(request.names).filter(|names| !names.is_empty());
    let pages = client
        .describe_auto_scaling_groups()
        .set_auto_scaling_group_names(names)
        .into_paginator()
        .items()
        .send();
    all(DescribeAutoScalingGroups::NAME, pages, group).await
}

pub(super) async fn create_auto_scaling_group(
    client: &Client,
    request: CreateAutoScalingGroup,
) -> Answer<CreateAutoScalingGroup> {
    let CreateAutoScalingGroup {
        name,
        settings,
        tags,
    } = request;
    let tags = tags
        .into_iter()
        .map(|(key, value)| {
            Tag::builder()
                .resource_id(&name)
                .resource_type("auto-scaling-group")
                .key(key)
                .value(value)
                // Instances have theirs from the template.
                .propagate_at_launch(false)
                .build()
        })
        .collect();
    client
        .create_auto_scaling_group()
        .auto_scaling_group_name(&name)
        .launch_template(template(settings.template))
        .availability_zones(settings.zone)
        .min_size(count(settings.min))
        .max_size(count(settings.max))
        .desired_capacity(count(settings.desired))
        .set_tags(Some(tags))
        .send()
        .await
        .explained(CreateAutoScalingGroup::NAME)?;
    Ok(())
}

plain!(Client, update_auto_scaling_group(request: UpdateAutoScalingGroup) {
    auto_scaling_group_name: request.name,
    launch_template: template(request.settings.template),
    availability_zones: request.settings.zone,
    min_size: count(request.settings.min),
    max_size: count(request.settings.max),
});

plain!(Client, set_desired_capacity(request: SetDesiredCapacity) {
    auto_scaling_group_name: request.name,
    desired_capacity: count(request.desired),
    honor_cooldown: false,
});

plain!(Client, delete_auto_scaling_group(request: DeleteAutoScalingGroup) {
    auto_scaling_group_name: request.name,
    force_delete: true,
});

fn scheduled_action(
    call: Name,
    action: types::ScheduledUpdateGroupAction,
) -> Result<ScheduledAction, ApiError> {
    Ok(ScheduledAction {
        name: need!(call, action.scheduled_action_name)?,
        // What happens once has no recurrence.
        recurrence: action.recurrence.unwrap_or_default(),
        time_zone: action.time_zone.unwrap_or_else(|| "UTC".to_owned()),
        min: bound(action.min_size),
        max: bound(action.max_size),
        desired: bound(action.desired_capacity),
    })
}

pub(super) async fn describe_scheduled_actions(
    client: &Client,
    request: DescribeScheduledActions,
) -> Answer<DescribeScheduledActions> {
    let pages = client
        .describe_scheduled_actions()
        .auto_scaling_group_name(request.group)
        .into_paginator()
        .items()
        .send();
    all(DescribeScheduledActions::NAME, pages, scheduled_action).await
}

plain!(Client, put_scheduled_update_group_action(request: PutScheduledUpdateGroupAction) {
    auto_scaling_group_name: request.group,
    scheduled_action_name: request.action.name,
    recurrence: request.action.recurrence,
    time_zone: request.action.time_zone,
    min_size: count(request.action.min),
    max_size: count(request.action.max),
    desired_capacity: count(request.action.desired),
});

plain!(Client, delete_scheduled_action(request: DeleteScheduledAction) {
    auto_scaling_group_name: request.group,
    scheduled_action_name: request.name,
});

/// The newest activities, one page of them: a group keeps six weeks' worth.
pub(super) async fn describe_scaling_activities(
    client: &Client,
    request: DescribeScalingActivities,
) -> Answer<DescribeScalingActivities> {
    let call = DescribeScalingActivities::NAME;
    let output = client
        .describe_scaling_activities()
        .auto_scaling_group_name(request.group)
        .send()
        .await
        .explained(call)?;
    let activities = output.activities.unwrap_or_default();
    activities
        .into_iter()
        .map(|activity| {
            Ok(Activity {
                status: need!(call, activity.status_code)?.as_str().to_owned(),
                description: activity.description.unwrap_or_default(),
                message: activity.status_message.filter(|text| !text.is_empty()),
            })
        })
        .collect()
}
