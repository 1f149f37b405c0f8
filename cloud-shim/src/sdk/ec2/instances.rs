//! Instances and volumes.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    self, InstanceCreditSpecificationRequest, LaunchTemplateSpecification, ResourceType,
};

use super::templates::DEFAULT;
use super::{each, filters, list, tags, tags_for};
use crate::api::*;
use crate::sdk::{Answer, Explained as _, Name, all, count, need, plain, size, unsuccessful};

fn instance(call: Name, instance: types::Instance) -> Result<Instance, ApiError> {
    let mut interfaces = instance.network_interfaces.unwrap_or_default();
    interfaces.sort_by_key(|interface| {
        let attachment = interface.attachment.as_ref();
        attachment.and_then(|attachment| attachment.device_index)
    });
    let volumes = instance.block_device_mappings.unwrap_or_default();
    let state = need!(call, instance.state)?;
    Ok(Instance {
        id: need!(call, instance.instance_id)?,
        state: need!(call, state.name)?.as_str().to_owned(),
        state_reason: instance.state_reason.and_then(|reason| reason.message),
        instance_type: need!(call, instance.instance_type)?.as_str().to_owned(),
        image: need!(call, instance.image_id)?,
        vpc: instance.vpc_id,
        subnet: instance.subnet_id,
        private: instance.private_ip_address,
        public: instance.public_ip_address,
        interfaces: each(call, Some(interfaces), interface)?,
        volumes: volumes
            .into_iter()
            .filter_map(|mapping| mapping.ebs?.volume_id)
            .collect(),
        launched: need!(call, instance.launch_time)?.secs(),
        tags: tags(instance.tags),
    })
}

fn interface(
    call: Name,
    interface: types::InstanceNetworkInterface,
) -> Result<InstanceInterface, ApiError> {
    Ok(InstanceInterface {
        id: need!(call, interface.network_interface_id)?,
        mac: need!(call, interface.mac_address)?,
    })
}

pub(in crate::sdk) async fn describe_instances(
    ec2: &Client,
    request: DescribeInstances,
) -> Answer<DescribeInstances> {
    let pages = ec2
        .describe_instances()
        .set_filters(filters(request.filters))
        .into_paginator()
        .items()
        .send();
    let reservations = all(
        DescribeInstances::NAME,
        pages,
        |call, reservation: types::Reservation| each(call, reservation.instances, instance),
    );
    Ok(reservations.await?.into_iter().flatten().collect())
}

pub(in crate::sdk) async fn run_instances(
    ec2: &Client,
    request: RunInstances,
) -> Answer<RunInstances> {
    let call = RunInstances::NAME;
    let template = LaunchTemplateSpecification::builder()
        .launch_template_id(request.template)
        .version(DEFAULT);
    let output = ec2
        .run_instances()
        .launch_template(template.build())
        .min_count(count(request.count))
        .max_count(count(request.count))
        .client_token(request.token)
        .set_tag_specifications(tags_for(ResourceType::Instance, request.tags))
        .send()
        .await
        .explained(call)?;
    each(call, output.instances, instance)
}

plain!(Client, terminate_instances(request: TerminateInstances) {
    set_instance_ids: Some(request.instances),
});

pub(in crate::sdk) async fn modify_instance_credit_specification(
    ec2: &Client,
    request: ModifyInstanceCreditSpecification,
) -> Answer<ModifyInstanceCreditSpecification> {
    let call = ModifyInstanceCreditSpecification::NAME;
    let credits = if request.unlimited {
        "unlimited"
    } else {
        "standard"
    };
    let output = ec2
        .modify_instance_credit_specification()
        .instance_credit_specifications(
            InstanceCreditSpecificationRequest::builder()
                .instance_id(request.instance)
                .cpu_credits(credits)
                .build(),
        )
        .send()
        .await
        .explained(call)?;
    let refused = output.unsuccessful_instance_credit_specifications;
    let refused = refused.unwrap_or_default().into_iter().next();
    match refused.and_then(|item| item.error) {
        Some(error) => Err(unsuccessful(
            call,
            error.code.map(|code| code.as_str().to_owned()),
            error.message,
        )),
        None => Ok(()),
    }
}

fn volume(call: Name, volume: types::Volume) -> Result<Volume, ApiError> {
    let attachments = volume.attachments.unwrap_or_default();
    Ok(Volume {
        id: need!(call, volume.volume_id)?,
        size_gib: size(call, volume.size)?,
        state: need!(call, volume.state)?.as_str().to_owned(),
        encrypted: volume.encrypted.unwrap_or(false),
        kind: need!(call, volume.volume_type)?.as_str().to_owned(),
        instance: attachments.into_iter().find_map(|at| at.instance_id),
        snapshot: volume.snapshot_id.filter(|id| !id.is_empty()),
        tags: tags(volume.tags),
    })
}

list!(describe_volumes(DescribeVolumes) -> volume);

plain!(Client, delete_volume(request: DeleteVolume) {
    volume_id: request.volume,
});
