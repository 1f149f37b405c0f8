//! VPCs, their DHCP options and their subnets.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{
    self, AttributeBooleanValue, NewDhcpConfiguration, ResourceType, SubnetCidrBlockStateCode,
    VpcAttributeName, VpcCidrBlockStateCode,
};

use super::{list, need, tags, tags_for};
use crate::api::*;
use crate::sdk::{Answer, Explained as _, Name, plain};

fn vpc(call: Name, vpc: types::Vpc) -> Result<Vpc, ApiError> {
    let associated = |block: &types::VpcIpv6CidrBlockAssociation| {
        let state = block.ipv6_cidr_block_state.as_ref();
        state.and_then(|state| state.state.as_ref()) == Some(&VpcCidrBlockStateCode::Associated)
    };
    let ipv6 = vpc.ipv6_cidr_block_association_set.unwrap_or_default();
    Ok(Vpc {
        id: need!(call, vpc.vpc_id)?,
        cidr: need!(call, vpc.cidr_block)?,
        ipv6: ipv6
            .into_iter()
            .find(associated)
            .map(|block| {
                Ok(Ipv6Block {
                    association: need!(call, block.association_id)?,
                    cidr: need!(call, block.ipv6_cidr_block)?,
                })
            })
            .transpose()?,
        dhcp_options: need!(call, vpc.dhcp_options_id)?,
        is_default: vpc.is_default.unwrap_or(false),
        tags: tags(vpc.tags),
    })
}

list!(describe_vpcs(DescribeVpcs) -> vpc);

pub(in crate::sdk) async fn create_vpc(ec2: &Client, request: CreateVpc) -> Answer<CreateVpc> {
    let call = CreateVpc::NAME;
    let output = ec2
        .create_vpc()
        .cidr_block(request.cidr)
        .amazon_provided_ipv6_cidr_block(request.ipv6)
        .set_tag_specifications(tags_for(ResourceType::Vpc, request.tags))
        .send()
        .await
        .explained(call)?;
    vpc(call, need!(call, output.vpc)?)
}

pub(in crate::sdk) async fn describe_vpc_attribute(
    ec2: &Client,
    request: DescribeVpcAttribute,
) -> Answer<DescribeVpcAttribute> {
    let call = DescribeVpcAttribute::NAME;
    let name = match request.attribute {
        VpcAttribute::DnsSupport => VpcAttributeName::EnableDnsSupport,
        VpcAttribute::DnsHostnames => VpcAttributeName::EnableDnsHostnames,
    };
    let output = ec2
        .describe_vpc_attribute()
        .vpc_id(request.vpc)
        .attribute(name)
        .send()
        .await
        .explained(call)?;
    let attribute = match request.attribute {
        VpcAttribute::DnsSupport => need!(call, output.enable_dns_support)?,
        VpcAttribute::DnsHostnames => need!(call, output.enable_dns_hostnames)?,
    };
    need!(call, attribute.value)
}

pub(in crate::sdk) async fn modify_vpc_attribute(
    ec2: &Client,
    request: ModifyVpcAttribute,
) -> Answer<ModifyVpcAttribute> {
    let value = AttributeBooleanValue::builder()
        .value(request.value)
        .build();
    let modify = ec2.modify_vpc_attribute().vpc_id(request.vpc);
    let modify = match request.attribute {
        VpcAttribute::DnsSupport => modify.enable_dns_support(value),
        VpcAttribute::DnsHostnames => modify.enable_dns_hostnames(value),
    };
    modify.send().await.explained(ModifyVpcAttribute::NAME)?;
    Ok(())
}

plain!(Client, associate_vpc_cidr_block(request: AssociateVpcCidrBlock) {
    vpc_id: request.vpc,
    amazon_provided_ipv6_cidr_block: true,
});

plain!(Client, disassociate_vpc_cidr_block(request: DisassociateVpcCidrBlock) {
    association_id: request.association,
});

plain!(Client, delete_vpc(request: DeleteVpc) {
    vpc_id: request.vpc,
});

/// The keys of the two options that the shim sets.
const SERVERS: &str = "domain-name-servers";
const DOMAIN: &str = "domain-name";

fn dhcp_options(call: Name, options: types::DhcpOptions) -> Result<DhcpOptions, ApiError> {
    let mut servers = Vec::new();
    let mut domain = None;
    for option in options.dhcp_configurations.unwrap_or_default() {
        let values = option.values.unwrap_or_default();
        let mut values = values.into_iter().filter_map(|value| value.value);
        match option.key.as_deref() {
            Some(SERVERS) => servers.extend(values),
            Some(DOMAIN) => domain = values.next(),
            _ => {}
        }
    }
    Ok(DhcpOptions {
        id: need!(call, options.dhcp_options_id)?,
        servers,
        domain,
        tags: tags(options.tags),
    })
}

list!(describe_dhcp_options(DescribeDhcpOptions) -> dhcp_options);

pub(in crate::sdk) async fn create_dhcp_options(
    ec2: &Client,
    request: CreateDhcpOptions,
) -> Answer<CreateDhcpOptions> {
    let call = CreateDhcpOptions::NAME;
    let option = |key: &str, values| {
        NewDhcpConfiguration::builder()
            .key(key)
            .set_values(Some(values))
            .build()
    };
    let domain = request.domain.map(|domain| option(DOMAIN, vec![domain]));
    let output = ec2
        .create_dhcp_options()
        .dhcp_configurations(option(SERVERS, request.servers))
        .set_tag_specifications(tags_for(ResourceType::DhcpOptions, request.tags));
    let output = match domain {
        Some(domain) => output.dhcp_configurations(domain),
        None => output,
    };
    let output = output.send().await.explained(call)?;
    dhcp_options(call, need!(call, output.dhcp_options)?)
}

plain!(Client, associate_dhcp_options(request: AssociateDhcpOptions) {
    dhcp_options_id: request.options,
    vpc_id: request.vpc,
});

plain!(Client, delete_dhcp_options(request: DeleteDhcpOptions) {
    dhcp_options_id: request.options,
});

fn subnet(call: Name, subnet: types::Subnet) -> Result<Subnet, ApiError> {
    // A state that is not known counts as associated: moto's is garbled.
    let associated = |block: &types::SubnetIpv6CidrBlockAssociation| {
        let state = block.ipv6_cidr_block_state.as_ref();
        !matches!(
            state.and_then(|state| state.state.as_ref()),
            None | Some(
                SubnetCidrBlockStateCode::Associating
                    | SubnetCidrBlockStateCode::Disassociated
                    | SubnetCidrBlockStateCode::Disassociating
                    | SubnetCidrBlockStateCode::Failed
                    | SubnetCidrBlockStateCode::Failing
            )
        )
    };
    let ipv6 = subnet.ipv6_cidr_block_association_set.unwrap_or_default();
    Ok(Subnet {
        id: need!(call, subnet.subnet_id)?,
        vpc: need!(call, subnet.vpc_id)?,
        cidr: need!(call, subnet.cidr_block)?,
        ipv6: ipv6
            .into_iter()
            .find(associated)
            .map(|block| {
                Ok(Ipv6Block {
                    association: need!(call, block.association_id)?,
                    cidr: need!(call, block.ipv6_cidr_block)?,
                })
            })
            .transpose()?,
        zone: need!(call, subnet.availability_zone)?,
        assign_ipv6: subnet.assign_ipv6_address_on_creation.unwrap_or(false),
        map_public_ip: subnet.map_public_ip_on_launch.unwrap_or(false),
        tags: tags(subnet.tags),
    })
}

list!(describe_subnets(DescribeSubnets) -> subnet);

pub(in crate::sdk) async fn create_subnet(
    ec2: &Client,
    request: CreateSubnet,
) -> Answer<CreateSubnet> {
    let call = CreateSubnet::NAME;
    let output = ec2
        .create_subnet()
        .vpc_id(request.vpc)
        .cidr_block(request.cidr)
        .set_ipv6_cidr_block(request.ipv6_cidr)
        .availability_zone(request.zone)
        .set_tag_specifications(tags_for(ResourceType::Subnet, request.tags))
        .send()
        .await
        .explained(call)?;
    subnet(call, need!(call, output.subnet)?)
}

pub(in crate::sdk) async fn modify_subnet_attribute(
    ec2: &Client,
    request: ModifySubnetAttribute,
) -> Answer<ModifySubnetAttribute> {
    let value = AttributeBooleanValue::builder()
        .value(request.value)
        .build();
    let modify = ec2.modify_subnet_attribute().subnet_id(request.subnet);
    let modify = match request.attribute {
        SubnetAttribute::AssignIpv6 => modify.assign_ipv6_address_on_creation(value),
        SubnetAttribute::MapPublicIp => modify.map_public_ip_on_launch(value),
    };
    modify.send().await.explained(ModifySubnetAttribute::NAME)?;
    Ok(())
}

plain!(Client, associate_subnet_cidr_block(request: AssociateSubnetCidrBlock) {
    subnet_id: request.subnet,
    ipv6_cidr_block: request.ipv6_cidr,
});

plain!(Client, disassociate_subnet_cidr_block(request: DisassociateSubnetCidrBlock) {
    association_id: request.association,
});

plain!(Client, delete_subnet(request: DeleteSubnet) {
    subnet_id: request.subnet,
});
