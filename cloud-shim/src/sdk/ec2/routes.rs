//! Route tables and their routes.

use aws_sdk_ec2::Client;
use aws_sdk_ec2::types::{self, ResourceType, RouteState};

use super::{each, list, tags, tags_for};
use crate::api::*;
use crate::sdk::{Answer, Explained as _, Name, need, plain};

fn route_table(call: Name, table: types::RouteTable) -> Result<RouteTable, ApiError> {
    let associations = each(call, table.associations, association)?;
    Ok(RouteTable {
        id: need!(call, table.route_table_id)?,
        vpc: need!(call, table.vpc_id)?,
        routes: each(call, table.routes, route)?,
        is_main: associations.iter().any(|(is_main, _)| *is_main),
        associations: associations.into_iter().map(|(_, of)| of).collect(),
        tags: tags(table.tags),
    })
}

/// An association, and whether it makes the table the main one.
fn association(
    call: Name,
    association: types::RouteTableAssociation,
) -> Result<(bool, RouteTableAssociation), ApiError> {
    let of = RouteTableAssociation {
        id: need!(call, association.route_table_association_id)?,
        subnet: association.subnet_id,
    };
    Ok((association.main.unwrap_or(false), of))
}

fn route(call: Name, route: types::Route) -> Result<Route, ApiError> {
    let destination = route
        .destination_cidr_block
        .or(route.destination_ipv6_cidr_block)
        .or(route.destination_prefix_list_id)
        .ok_or_else(|| ApiError::not_understood(call, "a route has no destination"))?;
    let gateway = |id: Id| match id.split_once('-').map(|(kind, _)| kind) {
        None if id == "local" => Target::Local,
        Some("igw") => Target::InternetGateway(id),
        Some("vpce") => Target::Endpoint(id),
        _ => Target::Other(id),
    };
    let others = [
        route.vpc_peering_connection_id,
        route.transit_gateway_id,
        route.local_gateway_id,
        route.carrier_gateway_id,
        route.core_network_arn,
        route.odb_network_arn,
        route.instance_id,
    ];
    // A route through an interface may name the interface's instance as well.
    let target = None
        .or(route.nat_gateway_id.map(Target::NatGateway))
        .or(route
            .egress_only_internet_gateway_id
            .map(Target::EgressOnlyGateway))
        .or(route.network_interface_id.map(Target::Interface))
        .or(route.gateway_id.map(gateway))
        .or(others.into_iter().flatten().next().map(Target::Other))
        .ok_or_else(|| {
            ApiError::not_understood(call, format!("the route to {destination} leads nowhere"))
        })?;
    Ok(Route {
        destination,
        target,
        blackhole: route.state == Some(RouteState::Blackhole),
    })
}

list!(describe_route_tables(DescribeRouteTables) -> route_table);

pub(in crate::sdk) async fn create_route_table(
    ec2: &Client,
    request: CreateRouteTable,
) -> Answer<CreateRouteTable> {
    let call = CreateRouteTable::NAME;
    let output = ec2
        .create_route_table()
        .vpc_id(request.vpc)
        .client_token(request.token)
        .set_tag_specifications(tags_for(ResourceType::RouteTable, request.tags))
        .send()
        .await
        .explained(call)?;
    route_table(call, need!(call, output.route_table)?)
}

/// Sets where a route goes and through what, on either of the two requests
/// that have the same setters.
macro_rules! lead {
    ($call:expr, $builder:expr, $request:ident) => {{
        let builder = $builder.route_table_id($request.table);
        let builder = if $request.destination.starts_with("pl-") {
            builder.destination_prefix_list_id($request.destination)
        } else if $request.destination.contains(':') {
            builder.destination_ipv6_cidr_block($request.destination)
        } else {
            builder.destination_cidr_block($request.destination)
        };
        match $request.target {
            Target::InternetGateway(id) => builder.gateway_id(id),
            Target::EgressOnlyGateway(id) => builder.egress_only_internet_gateway_id(id),
            Target::NatGateway(id) => builder.nat_gateway_id(id),
            Target::Interface(id) => builder.network_interface_id(id),
            made @ (Target::Endpoint(_) | Target::Local | Target::Other(_)) => {
                return Err(not_ours($call, &made));
            }
        }
    }};
}

fn not_ours(call: Name, target: &Target) -> ApiError {
    let message = format!("routes to {} are not for this program to set", target.id());
    ApiError::local(call, Fault::Invalid, message)
}

pub(in crate::sdk) async fn create_route(
    ec2: &Client,
    request: CreateRoute,
) -> Answer<CreateRoute> {
    let call = CreateRoute::NAME;
    let create = lead!(call, ec2.create_route(), request);
    create.send().await.explained(call)?;
    Ok(())
}

pub(in crate::sdk) async fn replace_route(
    ec2: &Client,
    request: ReplaceRoute,
) -> Answer<ReplaceRoute> {
    let call = ReplaceRoute::NAME;
    let replace = lead!(call, ec2.replace_route(), request);
    replace.send().await.explained(call)?;
    Ok(())
}

pub(in crate::sdk) async fn delete_route(
    ec2: &Client,
    request: DeleteRoute,
) -> Answer<DeleteRoute> {
    let delete = ec2.delete_route().route_table_id(request.table);
    let delete = if request.destination.starts_with("pl-") {
        delete.destination_prefix_list_id(request.destination)
    } else if request.destination.contains(':') {
        delete.destination_ipv6_cidr_block(request.destination)
    } else {
        delete.destination_cidr_block(request.destination)
    };
    delete.send().await.explained(DeleteRoute::NAME)?;
    Ok(())
}

pub(in crate::sdk) async fn associate_route_table(
    ec2: &Client,
    request: AssociateRouteTable,
) -> Answer<AssociateRouteTable> {
    let call = AssociateRouteTable::NAME;
    let output = ec2
        .associate_route_table()
        .route_table_id(request.table)
        .subnet_id(request.subnet)
        .send()
        .await
        .explained(call)?;
    need!(call, output.association_id)
}

plain!(Client, disassociate_route_table(request: DisassociateRouteTable) {
    association_id: request.association,
});

plain!(Client, delete_route_table(request: DeleteRouteTable) {
    route_table_id: request.table,
});
