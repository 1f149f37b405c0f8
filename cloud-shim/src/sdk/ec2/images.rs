//! Images (AMIs) and snapshots.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    self, ArchitectureValues, BlockDeviceMapping, BootModeValues, EbsBlockDevice, ResourceType,
    VolumeType,
};

use super::{filters, tags, tags_for};
use crate::api::*;
use crate::sdk::{Answer, Explained as _, Name, all, count, need, plain, size};

/// What the root volume of an image of ours is called.
const ROOT_DEVICE: &str = "/dev/xvda";

fn image(call: Name, image: types::Image) -> Result<Image, ApiError> {
    let mappings = image.block_device_mappings.unwrap_or_default();
    Ok(Image {
        id: need!(call, image.image_id)?,
        name: need!(call, image.name)?,
        state: need!(call, image.state)?.as_str().to_owned(),
        // moto drops that of a registered image.
        architecture: image
            .architecture
            .map_or_else(String::new, |of| of.as_str().to_owned()),
        boot_mode: image.boot_mode.map(|mode| mode.as_str().to_owned()),
        ena: image.ena_support.unwrap_or(false),
        // An image that failed may have none.
        root_device: image.root_device_name.unwrap_or_default(),
        snapshots: mappings
            .into_iter()
            .filter_map(|mapping| mapping.ebs?.snapshot_id)
            .collect(),
        created: need!(call, image.creation_date)?,
        tags: tags(image.tags),
    })
}

pub(in crate::sdk) async fn describe_images(
    ec2: &Client,
    request: DescribeImages,
) -> Answer<DescribeImages> {
    let pages = ec2
        .describe_images()
        .owners(request.owner)
        .set_filters(filters(request.filters))
        .into_paginator()
        .items()
        .send();
    all(DescribeImages::NAME, pages, image).await
}

pub(in crate::sdk) async fn register_image(
    ec2: &Client,
    request: RegisterImage,
) -> Answer<RegisterImage> {
    let call = RegisterImage::NAME;
    let volume = EbsBlockDevice::builder()
        .snapshot_id(request.snapshot)
        .volume_size(count(request.size_gib))
        .volume_type(VolumeType::Gp3)
        .delete_on_termination(true);
    let root = BlockDeviceMapping::builder()
        .device_name(ROOT_DEVICE)
        .ebs(volume.build());
    let output = ec2
        .register_image()
        .name(request.name)
        .description(request.description)
        .architecture(ArchitectureValues::Arm64)
        .boot_mode(BootModeValues::Uefi)
        .virtualization_type("hvm")
        .ena_support(true)
        .root_device_name(ROOT_DEVICE)
        .block_device_mappings(root.build())
        .set_tag_specifications(tags_for(ResourceType::Image, request.tags))
        .send()
        .await
        .explained(call)?;
    need!(call, output.image_id)
}

plain!(Client, deregister_image(request: DeregisterImage) {
    image_id: request.image,
});

fn snapshot(call: Name, snapshot: types::Snapshot) -> Result<Snapshot, ApiError> {
    Ok(Snapshot {
        id: need!(call, snapshot.snapshot_id)?,
        state: need!(call, snapshot.state)?.as_str().to_owned(),
        size_gib: size(call, snapshot.volume_size)?,
        description: snapshot.description.unwrap_or_default(),
        tags: tags(snapshot.tags),
    })
}

pub(in crate::sdk) async fn describe_snapshots(
    ec2: &Client,
    request: DescribeSnapshots,
) -> Answer<DescribeSnapshots> {
    // Without an owner this lists every public snapshot of the region.
    let pages = ec2
        .describe_snapshots()
        .owner_ids("self")
        .set_filters(filters(request.filters))
        .into_paginator()
        .items()
        .send();
    all(DescribeSnapshots::NAME, pages, snapshot).await
}

plain!(Client, delete_snapshot(request: DeleteSnapshot) {
    snapshot_id: request.snapshot,
});
