//! Network interfaces.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    self, AttributeBooleanValue, PrivateIpAddressSpecification, ResourceType,
};

use super::{list, tags, tags_for};
use crate::api::*;
use crate::sdk::{Answer, Explained as _, Name, count, need, plain};

fn network_interface(
    call: Name,
    interface: types::NetworkInterface,
) -> Result<NetworkInterface, ApiError> {
    let attachment = |attachment: types::NetworkInterfaceAttachment| {
        Ok(Attachment {
            id: need!(call, attachment.attachment_id)?,
            instance: attachment.instance_id,
        })
    };
    let addresses = interface.private_ip_addresses.unwrap_or_default();
    let ipv6 = interface.ipv6_addresses.unwrap_or_default();
    let groups = interface.groups.unwrap_or_default();
    Ok(NetworkInterface {
        id: need!(call, interface.network_interface_id)?,
        vpc: need!(call, interface.vpc_id)?,
        subnet: need!(call, interface.subnet_id)?,
        status: need!(call, interface.status)?.as_str().to_owned(),
        kind: interface
            .interface_type
            .map_or_else(|| "interface".to_owned(), |kind| kind.as_str().to_owned()),
        primary: need!(call, interface.private_ip_address)?,
        secondary: addresses
            .into_iter()
            .filter(|address| address.primary != Some(true))
            .filter_map(|address| address.private_ip_address)
            .collect(),
        ipv6: ipv6.into_iter().filter_map(|ip| ip.ipv6_address).collect(),
        groups: groups.into_iter().filter_map(|of| of.group_id).collect(),
        source_dest_check: interface.source_dest_check.unwrap_or(true),
        attachment: interface.attachment.map(attachment).transpose()?,
        description: interface.description.unwrap_or_default(),
        tags: tags(interface.tag_set),
    })
}

list!(describe_network_interfaces(DescribeNetworkInterfaces) -> network_interface);

pub(in crate::sdk) async fn create_network_interface(
    ec2: &Client,
    request: CreateNetworkInterface,
) -> Answer<CreateNetworkInterface> {
    let call = CreateNetworkInterface::NAME;
    let address = |address: String, primary| {
        PrivateIpAddressSpecification::builder()
            .private_ip_address(address)
            .primary(primary)
            .build()
    };
    let ipv6_count = (request.ipv6_count > 0).then(|| count(request.ipv6_count));
    let output = ec2
        .create_network_interface()
        .subnet_id(request.subnet)
        .private_ip_addresses(address(request.primary, true))
        .set_ipv6_address_count(ipv6_count)
        .set_groups(Some(request.groups))
        .description(request.description)
        .client_token(request.token)
        .set_tag_specifications(tags_for(ResourceType::NetworkInterface, request.tags));
    let output = request
        .secondary
        .into_iter()
        .fold(output, |output, further| {
            output.private_ip_addresses(address(further, false))
        })
        .send()
        .await
        .explained(call)?;
    network_interface(call, need!(call, output.network_interface)?)
}

pub(in crate::sdk) async fn modify_network_interface_groups(
    ec2: &Client,
    request: ModifyNetworkInterfaceGroups,
) -> Answer<ModifyNetworkInterfaceGroups> {
    ec2.modify_network_interface_attribute()
        .network_interface_id(request.interface)
        .set_groups(Some(request.groups))
        .send()
        .await
        .explained(ModifyNetworkInterfaceGroups::NAME)?;
    Ok(())
}

pub(in crate::sdk) async fn modify_network_interface_source_dest_check(
    ec2: &Client,
    request: ModifyNetworkInterfaceSourceDestCheck,
) -> Answer<ModifyNetworkInterfaceSourceDestCheck> {
    let check = AttributeBooleanValue::builder().value(request.check);
    ec2.modify_network_interface_attribute()
        .network_interface_id(request.interface)
        .source_dest_check(check.build())
        .send()
        .await
        .explained(ModifyNetworkInterfaceSourceDestCheck::NAME)?;
    Ok(())
}

plain!(Client, assign_private_ip_addresses(request: AssignPrivateIpAddresses) {
    network_interface_id: request.interface,
    set_private_ip_addresses: Some(request.addresses),
});

plain!(Client, unassign_private_ip_addresses(request: UnassignPrivateIpAddresses) {
    network_interface_id: request.interface,
    set_private_ip_addresses: Some(request.addresses),
});

plain!(Client, assign_ipv6_addresses(request: AssignIpv6Addresses) {
    network_interface_id: request.interface,
    ipv6_address_count: count(request.count),
});

plain!(Client, unassign_ipv6_addresses(request: UnassignIpv6Addresses) {
    network_interface_id: request.interface,
    set_ipv6_addresses: Some(request.addresses),
});

plain!(Client, detach_network_interface(request: DetachNetworkInterface) {
    attachment_id: request.attachment,
});

plain!(Client, delete_network_interface(request: DeleteNetworkInterface) {
    network_interface_id: request.interface,
});
