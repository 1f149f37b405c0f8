//! VPC endpoints, and those of EC2 Instance Connect.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{self, ResourceType, VpcEndpointType};

use super::{list, tags, tags_for};
use crate::api::*;
use crate::sdk::{Answer, Explained as _, Name, need, plain, unsuccessful};

fn vpc_endpoint(call: Name, endpoint: types::VpcEndpoint) -> Result<VpcEndpoint, ApiError> {
    Ok(VpcEndpoint {
        id: need!(call, endpoint.vpc_endpoint_id)?,
        vpc: need!(call, endpoint.vpc_id)?,
        service: endpoint.service_name.unwrap_or_default(),
        kind: need!(call, endpoint.vpc_endpoint_type)?.as_str().to_owned(),
        // The answers have `available`, the documentation `Available`.
        state: need!(call, endpoint.state)?.as_str().to_ascii_lowercase(),
        tables: endpoint.route_table_ids.unwrap_or_default(),
        tags: tags(endpoint.tags),
    })
}

list!(describe_vpc_endpoints(DescribeVpcEndpoints) -> vpc_endpoint);

pub(in crate::sdk) async fn create_vpc_endpoint(
    ec2: &Client,
    request: CreateVpcEndpoint,
) -> Answer<CreateVpcEndpoint> {
    let call = CreateVpcEndpoint::NAME;
    let output = ec2
        .create_vpc_endpoint()
        .vpc_endpoint_type(VpcEndpointType::Gateway)
        .vpc_id(request.vpc)
        .service_name(request.service)
        .set_route_table_ids(Some(request.tables))
        .client_token(request.token)
        .set_tag_specifications(tags_for(ResourceType::VpcEndpoint, request.tags))
        .send()
        .await
        .explained(call)?;
    vpc_endpoint(call, need!(call, output.vpc_endpoint)?)
}

plain!(Client, modify_vpc_endpoint(request: ModifyVpcEndpoint) {
    vpc_endpoint_id: request.endpoint,
    set_add_route_table_ids: Some(request.add_tables),
    set_remove_route_table_ids: Some(request.remove_tables),
});

pub(in crate::sdk) async fn delete_vpc_endpoint(
    ec2: &Client,
    request: DeleteVpcEndpoint,
) -> Answer<DeleteVpcEndpoint> {
    let call = DeleteVpcEndpoint::NAME;
    let output = ec2
        .delete_vpc_endpoints()
        .vpc_endpoint_ids(request.endpoint)
        .send()
        .await
        .explained(call)?;
    let refused = output.unsuccessful.unwrap_or_default().into_iter().next();
    match refused.and_then(|item| item.error) {
        Some(error) => Err(unsuccessful(call, error.code, error.message)),
        None => Ok(()),
    }
}

fn instance_connect_endpoint(
    call: Name,
    endpoint: types::Ec2InstanceConnectEndpoint,
) -> Result<InstanceConnectEndpoint, ApiError> {
    Ok(InstanceConnectEndpoint {
        id: need!(call, endpoint.instance_connect_endpoint_id)?,
        vpc: need!(call, endpoint.vpc_id)?,
        subnet: need!(call, endpoint.subnet_id)?,
        groups: endpoint.security_group_ids.unwrap_or_default(),
        state: need!(call, endpoint.state)?.as_str().to_owned(),
        message: endpoint.state_message.filter(|text| !text.is_empty()),
        tags: tags(endpoint.tags),
    })
}

list!(describe_instance_connect_endpoints(DescribeInstanceConnectEndpoints) -> instance_connect_endpoint);

pub(in crate::sdk) async fn create_instance_connect_endpoint(
    ec2: &Client,
    request: CreateInstanceConnectEndpoint,
) -> Answer<CreateInstanceConnectEndpoint> {
    let call = CreateInstanceConnectEndpoint::NAME;
    let output = ec2
        .create_instance_connect_endpoint()
        .subnet_id(request.subnet)
        .set_security_group_ids(Some(request.groups))
        .client_token(request.token)
        .set_tag_specifications(tags_for(
            ResourceType::InstanceConnectEndpoint,
            request.tags,
        ))
        .send()
        .await
        .explained(call)?;
    instance_connect_endpoint(call, need!(call, output.instance_connect_endpoint)?)
}

plain!(Client, delete_instance_connect_endpoint(request: DeleteInstanceConnectEndpoint) {
    instance_connect_endpoint_id: request.endpoint,
});
