//! Elastic addresses, and the prefix lists of AWS's own addresses.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{self, DomainType, ResourceType};

use super::{each, filters, tags, tags_for};
use crate::api::*;
use crate::sdk::{Answer, Explained as _, Name, need, plain};

fn address(call: Name, address: types::Address) -> Result<Address, ApiError> {
    Ok(Address {
        id: need!(call, address.allocation_id)?,
        public: need!(call, address.public_ip)?,
        association: address.association_id,
        interface: address.network_interface_id,
        tags: tags(address.tags),
    })
}

/// The one Describe call of ours without pages.
pub(in crate::sdk) async fn describe_addresses(
    ec2: &Client,
    request: DescribeAddresses,
) -> Answer<DescribeAddresses> {
    let call = DescribeAddresses::NAME;
    let output = ec2
        .describe_addresses()
        .set_filters(filters(request.filters))
        .send()
        .await
        .explained(call)?;
    each(call, output.addresses, address)
}

pub(in crate::sdk) async fn allocate_address(
    ec2: &Client,
    request: AllocateAddress,
) -> Answer<AllocateAddress> {
    let call = AllocateAddress::NAME;
    // The answer does not repeat them.
    let tags = request.tags.clone();
    let output = ec2
        .allocate_address()
        .domain(DomainType::Vpc)
        .set_tag_specifications(tags_for(ResourceType::ElasticIp, request.tags))
        .send()
        .await
        .explained(call)?;
    Ok(Address {
        id: need!(call, output.allocation_id)?,
        public: need!(call, output.public_ip)?,
        association: None,
        interface: None,
        tags,
    })
}

plain!(Client, associate_address(request: AssociateAddress) {
    allocation_id: request.allocation,
    network_interface_id: request.interface,
    private_ip_address: request.private,
});

plain!(Client, disassociate_address(request: DisassociateAddress) {
    association_id: request.association,
});

plain!(Client, release_address(request: ReleaseAddress) {
    allocation_id: request.allocation,
});

pub(in crate::sdk) async fn describe_managed_prefix_lists(
    ec2: &Client,
    request: DescribeManagedPrefixLists,
) -> Answer<DescribeManagedPrefixLists> {
    let call = DescribeManagedPrefixLists::NAME;
    let by_name = Filter::new("prefix-list-name", request.name);
    let pages = ec2
        .describe_managed_prefix_lists()
        .set_filters(filters(vec![by_name]))
        .into_paginator()
        .items()
        .send();
    let ids = crate::sdk::all(call, pages, |call, list: types::ManagedPrefixList| {
        need!(call, list.prefix_list_id)
    });
    Ok(ids.await?.into_iter().next())
}
