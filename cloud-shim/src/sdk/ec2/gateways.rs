//! Internet gateways, egress-only ones and NAT gateways.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{self, ConnectivityType, ResourceType};

use super::{list, tags, tags_for};
use crate::api::*;
use crate::sdk::{Answer, Explained as _, Name, need, plain};

/// The VPC of the first attachment; a gateway has one at most.
fn attached(attachments: Option<Vec<types::InternetGatewayAttachment>>) -> Option<Id> {
    attachments?.into_iter().find_map(|to| to.vpc_id)
}

fn internet_gateway(
    call: Name,
    gateway: types::InternetGateway,
) -> Result<InternetGateway, ApiError> {
    Ok(InternetGateway {
        id: need!(call, gateway.internet_gateway_id)?,
        vpc: attached(gateway.attachments),
        tags: tags(gateway.tags),
    })
}

list!(describe_internet_gateways(DescribeInternetGateways) -> internet_gateway);

pub(in crate::sdk) async fn create_internet_gateway(
    ec2: &Client,
    request: CreateInternetGateway,
) -> Answer<CreateInternetGateway> {
    let call = CreateInternetGateway::NAME;
    let output = ec2
        .create_internet_gateway()
        .set_tag_specifications(tags_for(ResourceType::InternetGateway, request.tags))
        .send()
        .await
        .explained(call)?;
    internet_gateway(call, need!(call, output.internet_gateway)?)
}

plain!(Client, attach_internet_gateway(request: AttachInternetGateway) {
    internet_gateway_id: request.gateway,
    vpc_id: request.vpc,
});

plain!(Client, detach_internet_gateway(request: DetachInternetGateway) {
    internet_gateway_id: request.gateway,
    vpc_id: request.vpc,
});

plain!(Client, delete_internet_gateway(request: DeleteInternetGateway) {
    internet_gateway_id: request.gateway,
});

fn egress_only(
    call: Name,
    gateway: types::EgressOnlyInternetGateway,
) -> Result<EgressOnlyGateway, ApiError> {
    Ok(EgressOnlyGateway {
        id: need!(call, gateway.egress_only_internet_gateway_id)?,
        vpc: attached(gateway.attachments)
            .ok_or_else(|| ApiError::not_understood(call, "the answer lacks attachments"))?,
        tags: tags(gateway.tags),
    })
}

list!(describe_egress_only_internet_gateways(DescribeEgressOnlyInternetGateways) -> egress_only);

pub(in crate::sdk) async fn create_egress_only_internet_gateway(
    ec2: &Client,
    request: CreateEgressOnlyInternetGateway,
) -> Answer<CreateEgressOnlyInternetGateway> {
    let call = CreateEgressOnlyInternetGateway::NAME;
    let output = ec2
        .create_egress_only_internet_gateway()
        .vpc_id(request.vpc)
        .client_token(request.token)
        .set_tag_specifications(tags_for(
            ResourceType::EgressOnlyInternetGateway,
            request.tags,
        ))
        .send()
        .await
        .explained(call)?;
    egress_only(call, need!(call, output.egress_only_internet_gateway)?)
}

plain!(Client, delete_egress_only_internet_gateway(request: DeleteEgressOnlyInternetGateway) {
    egress_only_internet_gateway_id: request.gateway,
});

fn nat_gateway(call: Name, gateway: types::NatGateway) -> Result<NatGateway, ApiError> {
    let addresses = gateway.nat_gateway_addresses.unwrap_or_default();
    Ok(NatGateway {
        id: need!(call, gateway.nat_gateway_id)?,
        vpc: need!(call, gateway.vpc_id)?,
        subnet: need!(call, gateway.subnet_id)?,
        state: need!(call, gateway.state)?.as_str().to_owned(),
        allocations: addresses
            .into_iter()
            .filter_map(|address| address.allocation_id)
            .collect(),
        failure: gateway.failure_message,
        tags: tags(gateway.tags),
    })
}

pub(in crate::sdk) async fn describe_nat_gateways(
    ec2: &Client,
    request: DescribeNatGateways,
) -> Answer<DescribeNatGateways> {
    // The one Describe call that names its filters in the singular.
    let pages = ec2
        .describe_nat_gateways()
        .set_filter(super::filters(request.filters))
        .into_paginator()
        .items()
        .send();
    crate::sdk::all(DescribeNatGateways::NAME, pages, nat_gateway).await
}

pub(in crate::sdk) async fn create_nat_gateway(
    ec2: &Client,
    request: CreateNatGateway,
) -> Answer<CreateNatGateway> {
    let call = CreateNatGateway::NAME;
    let output = ec2
        .create_nat_gateway()
        .subnet_id(request.subnet)
        .allocation_id(request.allocation)
        .connectivity_type(ConnectivityType::Public)
        .client_token(request.token)
        .set_tag_specifications(tags_for(ResourceType::Natgateway, request.tags))
        .send()
        .await
        .explained(call)?;
    nat_gateway(call, need!(call, output.nat_gateway)?)
}

plain!(Client, delete_nat_gateway(request: DeleteNatGateway) {
    nat_gateway_id: request.gateway,
});
