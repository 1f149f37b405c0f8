//! Launch templates: what they say, into EC2's words and back.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    self, CreditSpecificationRequest, LaunchTemplateBlockDeviceMappingRequest,
    LaunchTemplateEbsBlockDeviceRequest, LaunchTemplateHttpTokensState,
    LaunchTemplateIamInstanceProfileSpecificationRequest,
    LaunchTemplateInstanceMetadataEndpointState, LaunchTemplateInstanceMetadataOptionsRequest,
    LaunchTemplateInstanceNetworkInterfaceSpecificationRequest,
    LaunchTemplateTagSpecificationRequest, RequestLaunchTemplateData, ResourceType,
    ResponseLaunchTemplateData, ShutdownBehavior, VolumeType,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{filters, tag_list, tags, tags_for};
use crate::api::*;
use crate::sdk::{Answer, Explained as _, Name, all, count, need, plain};

/// The version that counts; EC2 resolves it at each use.
pub(in crate::sdk) const DEFAULT: &str = "$Default";

/// The credit mode that never costs more than the instance.
const STANDARD: &str = "standard";

/// A template's data as EC2 takes it.
fn encode(data: LaunchData) -> RequestLaunchTemplateData {
    let profile = data.profile.map(|name| {
        LaunchTemplateIamInstanceProfileSpecificationRequest::builder()
            .name(name)
            .build()
    });
    let metadata = LaunchTemplateInstanceMetadataOptionsRequest::builder()
        .http_endpoint(LaunchTemplateInstanceMetadataEndpointState::Enabled)
        .http_tokens(LaunchTemplateHttpTokensState::Required)
        .http_put_response_hop_limit(data.metadata_hops.into())
        .build();
    let credits = data.standard_credits.then(|| {
        CreditSpecificationRequest::builder()
            .cpu_credits(STANDARD)
            .build()
    });
    let second = data.second_interface.map(|id| {
        LaunchTemplateInstanceNetworkInterfaceSpecificationRequest::builder()
            .device_index(1)
            .network_interface_id(id)
            .build()
    });
    let attached = data.attached_tags;
    let mut tagged = vec![
        (ResourceType::Instance, data.instance_tags),
        (ResourceType::Volume, attached.clone()),
    ];
    // An interface that exists has its own tags; EC2 creates none to be tagged.
    if matches!(data.interface, LaunchInterface::New { .. }) {
        tagged.push((ResourceType::NetworkInterface, attached));
    }
    let tagged = tagged
        .into_iter()
        .filter(|(_, tags)| !tags.is_empty())
        .map(|(kind, tags)| {
            LaunchTemplateTagSpecificationRequest::builder()
                .resource_type(kind)
                .set_tags(Some(tag_list(tags)))
                .build()
        })
        .collect();
    RequestLaunchTemplateData::builder()
        .image_id(data.image)
        .instance_type(data.instance_type.as_str().into())
        .set_iam_instance_profile(profile)
        .set_network_interfaces(Some(
            [encode_interface(data.interface)]
                .into_iter()
                .chain(second)
                .collect(),
        ))
        .block_device_mappings(encode_root(data.root))
        .set_user_data(data.user_data.map(|text| BASE64_STANDARD.encode(text)))
        .metadata_options(metadata)
        .set_credit_specification(credits)
        .set_instance_initiated_shutdown_behavior(
            data.terminate_on_shutdown
                .then_some(ShutdownBehavior::Terminate),
        )
        .set_tag_specifications(Some(tagged).filter(|tagged: &Vec<_>| !tagged.is_empty()))
        .build()
}

fn encode_interface(
    interface: LaunchInterface,
) -> LaunchTemplateInstanceNetworkInterfaceSpecificationRequest {
    let first =
        LaunchTemplateInstanceNetworkInterfaceSpecificationRequest::builder().device_index(0);
    match interface {
        LaunchInterface::Existing(id) => first.network_interface_id(id),
        LaunchInterface::New {
            subnet,
            groups,
            ipv6_count,
        } => first
            .subnet_id(subnet)
            .set_groups(Some(groups))
            .set_ipv6_address_count((ipv6_count > 0).then(|| count(ipv6_count)))
            .delete_on_termination(true),
    }
    .build()
}

fn encode_root(root: RootVolume) -> LaunchTemplateBlockDeviceMappingRequest {
    let volume = LaunchTemplateEbsBlockDeviceRequest::builder()
        .volume_size(count(root.size_gib))
        .volume_type(VolumeType::Gp3)
        .encrypted(true)
        .delete_on_termination(true);
    LaunchTemplateBlockDeviceMappingRequest::builder()
        .device_name(root.device)
        .ebs(volume.build())
        .build()
}

/// A template's data out of an answer.
///
/// A template that somebody else made or changed may say what [`LaunchData`]
/// has no words for. Then the field in question comes out empty, which no
/// template of this program has: so it shows as a difference, and stops nothing.
fn decode(data: ResponseLaunchTemplateData) -> LaunchData {
    let metadata_hops = data
        .metadata_options
        .filter(|options| options.http_tokens == Some(LaunchTemplateHttpTokensState::Required))
        .and_then(|options| options.http_put_response_hop_limit)
        .and_then(|hops| u8::try_from(hops).ok());
    let (interface, second_interface) =
        decode_interfaces(data.network_interfaces.unwrap_or_default());
    let tags_of = |kind: ResourceType| {
        data.tag_specifications
            .iter()
            .flatten()
            .find(|specification| specification.resource_type.as_ref() == Some(&kind))
            .map_or_else(Tags::new, |specification| tags(specification.tags.clone()))
    };
    let mut attached_tags = tags_of(ResourceType::Volume);
    if matches!(interface, LaunchInterface::New { .. })
        && attached_tags != tags_of(ResourceType::NetworkInterface)
    {
        attached_tags = Tags::new();
    }
    LaunchData {
        image: data.image_id.unwrap_or_default(),
        instance_type: data
            .instance_type
            .map_or_else(String::new, |kind| kind.as_str().to_owned()),
        profile: data.iam_instance_profile.and_then(|profile| profile.name),
        instance_tags: tags_of(ResourceType::Instance),
        attached_tags,
        interface,
        second_interface,
        root: decode_root(data.block_device_mappings.unwrap_or_default()),
        user_data: data.user_data.map(plain_text),
        metadata_hops: metadata_hops.unwrap_or(0),
        standard_credits: data
            .credit_specification
            .is_some_and(|credits| credits.cpu_credits.as_deref() == Some(STANDARD)),
        terminate_on_shutdown: data.instance_initiated_shutdown_behavior
            == Some(ShutdownBehavior::Terminate),
    }
}

/// User data as it was before base64; as it is if it is not text.
fn plain_text(encoded: String) -> String {
    BASE64_STANDARD
        .decode(&encoded)
        .ok()
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or(encoded)
}

/// The first interface, and the second if that one exists already.
fn decode_interfaces(
    mut interfaces: Vec<types::LaunchTemplateInstanceNetworkInterfaceSpecification>,
) -> (LaunchInterface, Option<Id>) {
    interfaces.sort_by_key(|interface| interface.device_index);
    let mut interfaces = interfaces.into_iter();
    let (first, second, None) = (interfaces.next(), interfaces.next(), interfaces.next()) else {
        return Default::default();
    };
    let second = second.map(|second| second.network_interface_id.unwrap_or_default());
    (first.map(decode_interface).unwrap_or_default(), second)
}

fn decode_interface(
    interface: types::LaunchTemplateInstanceNetworkInterfaceSpecification,
) -> LaunchInterface {
    if let Some(id) = interface.network_interface_id {
        return LaunchInterface::Existing(id);
    }
    match interface.subnet_id {
        Some(subnet) if interface.delete_on_termination == Some(true) => LaunchInterface::New {
            subnet,
            groups: interface.groups.unwrap_or_default(),
            ipv6_count: interface
                .ipv6_address_count
                .and_then(|count| u32::try_from(count).ok())
                .unwrap_or(0),
        },
        _ => LaunchInterface::default(),
    }
}

fn decode_root(mappings: Vec<types::LaunchTemplateBlockDeviceMapping>) -> RootVolume {
    let mut mappings = mappings.into_iter();
    let (Some(only), None) = (mappings.next(), mappings.next()) else {
        return RootVolume::default();
    };
    let volume = only.ebs.filter(|volume| {
        volume.volume_type == Some(VolumeType::Gp3)
            && volume.encrypted == Some(true)
            && volume.delete_on_termination == Some(true)
    });
    let size = volume.and_then(|volume| volume.volume_size);
    match (only.device_name, size.map(u32::try_from)) {
        (Some(device), Some(Ok(size_gib))) => RootVolume { device, size_gib },
        _ => RootVolume::default(),
    }
}

fn version_number(call: Name, number: Option<i64>) -> Result<u64, ApiError> {
    number
        .and_then(|number| u64::try_from(number).ok())
        .ok_or_else(|| ApiError::not_understood(call, "the answer lacks a version's number"))
}

fn launch_template(
    call: Name,
    template: types::LaunchTemplate,
    data: LaunchData,
) -> Result<LaunchTemplate, ApiError> {
    Ok(LaunchTemplate {
        id: need!(call, template.launch_template_id)?,
        name: need!(call, template.launch_template_name)?,
        default_version: version_number(call, template.default_version_number)?,
        latest_version: version_number(call, template.latest_version_number)?,
        data,
        tags: tags(template.tags),
    })
}

pub(in crate::sdk) async fn describe_launch_templates(
    ec2: &Client,
    request: DescribeLaunchTemplates,
) -> Answer<DescribeLaunchTemplates> {
    let call = DescribeLaunchTemplates::NAME;
    let pages = ec2
        .describe_launch_templates()
        .set_filters(filters(request.filters))
        .into_paginator()
        .items()
        .send();
    let listed = all(call, pages, |_, template| Ok(template)).await?;
    let mut templates = Vec::with_capacity(listed.len());
    for template in listed {
        match default_data(ec2, template.launch_template_id.as_deref()).await {
            Ok(data) => templates.push(launch_template(call, template, data)?),
            // Deleted since it was listed.
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
    }
    Ok(templates)
}

/// What a template's default version says.
async fn default_data(ec2: &Client, template: Option<&str>) -> Result<LaunchData, ApiError> {
    let call = DescribeLaunchTemplates::NAME;
    let output = ec2
        .describe_launch_template_versions()
        .set_launch_template_id(template.map(str::to_owned))
        .versions(DEFAULT)
        .send()
        .await
        .explained(call)?;
    let versions = output.launch_template_versions.unwrap_or_default();
    let data = versions
        .into_iter()
        .next()
        .and_then(|version| version.launch_template_data)
        .ok_or_else(|| ApiError::not_understood(call, "a template has no default version"))?;
    Ok(decode(data))
}

pub(in crate::sdk) async fn create_launch_template(
    ec2: &Client,
    request: CreateLaunchTemplate,
) -> Answer<CreateLaunchTemplate> {
    let call = CreateLaunchTemplate::NAME;
    let output = ec2
        .create_launch_template()
        .launch_template_name(request.name)
        .launch_template_data(encode(request.data.clone()))
        .client_token(request.token)
        .set_tag_specifications(tags_for(ResourceType::LaunchTemplate, request.tags))
        .send()
        .await
        .explained(call)?;
    // The answer does not repeat the data.
    launch_template(call, need!(call, output.launch_template)?, request.data)
}

pub(in crate::sdk) async fn create_launch_template_version(
    ec2: &Client,
    request: CreateLaunchTemplateVersion,
) -> Answer<CreateLaunchTemplateVersion> {
    let call = CreateLaunchTemplateVersion::NAME;
    let output = ec2
        .create_launch_template_version()
        .launch_template_id(request.template)
        .launch_template_data(encode(request.data))
        .client_token(request.token)
        .send()
        .await
        .explained(call)?;
    let version = need!(call, output.launch_template_version)?;
    version_number(call, version.version_number)
}

plain!(Client, modify_launch_template(request: ModifyLaunchTemplate) {
    launch_template_id: request.template,
    default_version: request.default_version.to_string(),
});

plain!(Client, delete_launch_template(request: DeleteLaunchTemplate) {
    launch_template_id: request.template,
});
