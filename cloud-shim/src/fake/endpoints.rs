//! Gateway endpoints, prefix lists, and EC2 Instance Connect endpoints.

use super::interfaces::Owner;
use super::shelf::{one, resource};
use super::{Account, Answer, Event, Quota, check, refuse};
use crate::api::*;

resource!(
    VpcEndpoint, "vpc-endpoint", "vpce-", "InvalidVpcEndpointId.NotFound", "Vpc Endpoint Id",
    |it| it, |name| {
        "vpc-endpoint-id" => one(&it.id),
        "vpc-id" => one(&it.vpc),
        "service-name" => one(&it.service),
        "vpc-endpoint-type" => one(&it.kind),
        "vpc-endpoint-state" => one(&it.state),
    }
);

resource!(
    InstanceConnectEndpoint, "instance-connect-endpoint", "eice-",
    "InvalidInstanceConnectEndpointId.NotFound", "Instance Connect Endpoint ID",
    |it| it, |name| {
        "instance-connect-endpoint-id" => one(&it.id),
        "state" => one(&it.state),
        "subnet-id" => one(&it.subnet),
        "vpc-id" => one(&it.vpc),
    },
    gone it.state == "delete-complete"
);

/// Services that have gateway endpoints, and their prefix lists.
const GATEWAY_SERVICES: [(&str, &str); 2] = [("s3", "pl-6da54004"), ("dynamodb", "pl-6fa54006")];

/// Seconds for which a gateway endpoint is `deleting`.
const ENDPOINT_DELETING: (u64, u64) = (5, 30);
/// Seconds until an Instance Connect endpoint is there, and until it is gone.
const CONNECT_CHANGING: (u64, u64) = (60, 300);
/// Seconds for which a deleted Instance Connect endpoint is still shown.
const CONNECT_STILL_SHOWN: (u64, u64) = (10, 60);
/// Seconds for which its interface outlives it.
const INTERFACE_STILL_THERE: (u64, u64) = (2, 30);

impl Account {
    pub(super) fn describe_prefix_lists(
        &mut self,
        c: DescribeManagedPrefixLists,
    ) -> Answer<Option<Id>> {
        Ok(self.prefix_list_of(&c.name).map(str::to_owned))
    }

    fn prefix_list_of(&self, service: &str) -> Option<&'static str> {
        let name = service.strip_prefix(&format!("com.amazonaws.{}.", self.region))?;
        let found = GATEWAY_SERVICES
            .iter()
            .find(|(service, _)| *service == name);
        found.map(|(_, list)| *list)
    }

    /// Refuses a prefix list that there is not.
    pub(super) fn prefix_list(&self, id: &str) -> Answer<()> {
        if GATEWAY_SERVICES.iter().any(|(_, list)| *list == id) {
            return Ok(());
        }
        refuse(
            "InvalidPrefixListID.NotFound",
            format!("The prefix list ID '{id}' does not exist"),
        )
    }

    pub(super) fn describe_endpoints(
        &mut self,
        c: DescribeVpcEndpoints,
    ) -> Answer<Vec<VpcEndpoint>> {
        self.endpoints.list(&c.filters, self.now)
    }

    pub(super) fn create_endpoint(&mut self, c: CreateVpcEndpoint) -> Answer<VpcEndpoint> {
        self.vpcs.get(&c.vpc, self.now)?;
        let Some(list) = self.prefix_list_of(&c.service) else {
            return refuse(
                "InvalidServiceName",
                format!("The Vpc Endpoint Service '{}' does not exist", c.service),
            );
        };
        check::tags(&c.tags)?;
        for table in &c.tables {
            self.endpoint_table(&c.vpc, table, list)?;
        }
        self.script
            .within(Quota::GatewayEndpoints, self.endpoints.all().count(), 1)?;
        let endpoint = VpcEndpoint {
            id: self.id("vpce-"),
            vpc: c.vpc,
            service: c.service,
            kind: "Gateway".to_owned(),
            state: "available".to_owned(),
            tables: c.tables,
            tags: c.tags,
        };
        for table in &endpoint.tables {
            self.lead_to_endpoint(table, list, &endpoint.id);
        }
        let birth = self.birth();
        self.endpoints.put(birth, endpoint.clone());
        Ok(endpoint)
    }

    /// Refuses a table that cannot lead to an endpoint of this prefix list.
    fn endpoint_table(&self, vpc: &str, table: &str, list: &str) -> Answer<()> {
        let it = self.tables.get(table, self.now)?;
        if it.vpc != vpc {
            return refuse(
                "InvalidParameter",
                format!("Route table {table} and network {vpc} belong to different networks"),
            );
        }
        if it.routes.iter().any(|route| route.destination == list) {
            return refuse(
                "RouteAlreadyExists",
                format!(
                    "route table {table} already has a route with destination-prefix-list-id {list}"
                ),
            );
        }
        Ok(())
    }

    fn lead_to_endpoint(&mut self, table: &str, list: &str, endpoint: &str) {
        if let Some(table) = self.tables.at_mut(table) {
            table.routes.push(Route {
                destination: list.to_owned(),
                target: Target::Endpoint(endpoint.to_owned()),
                blackhole: false,
            });
        }
    }

    pub(super) fn modify_endpoint(&mut self, c: ModifyVpcEndpoint) -> Answer<()> {
        let endpoint = self.endpoints.get(&c.endpoint, self.now)?.clone();
        if endpoint.state != "available" {
            return refuse(
                "IncorrectState",
                format!("The Vpc Endpoint {} is {}", c.endpoint, endpoint.state),
            );
        }
        let list = self.prefix_list_of(&endpoint.service).unwrap_or_default();
        for table in &c.add_tables {
            self.endpoint_table(&endpoint.vpc, table, list)?;
        }
        if let Some(table) = c
            .remove_tables
            .iter()
            .find(|it| !endpoint.tables.contains(it))
        {
            return refuse(
                "InvalidRouteTableID.NotFound",
                format!(
                    "The routeTable ID '{table}' is not associated with {}",
                    c.endpoint
                ),
            );
        }
        for table in &c.add_tables {
            self.lead_to_endpoint(table, list, &c.endpoint);
        }
        for table in &c.remove_tables {
            self.lead_no_more(table, &c.endpoint);
        }
        let endpoint = self.endpoints.get_mut(&c.endpoint, self.now)?;
        endpoint
            .tables
            .retain(|table| !c.remove_tables.contains(table));
        endpoint.tables.extend(c.add_tables);
        Ok(())
    }

    fn lead_no_more(&mut self, table: &str, endpoint: &str) {
        if let Some(table) = self.tables.at_mut(table) {
            table.routes.retain(|route| route.target.id() != endpoint);
        }
    }

    pub(super) fn delete_endpoint(&mut self, c: DeleteVpcEndpoint) -> Answer<()> {
        let endpoint = self.endpoints.get_mut(&c.endpoint, self.now)?;
        if endpoint.state == "deleting" {
            // Asked again while it goes: the reference is silent, this is strict.
            return super::shelf::not_found::<VpcEndpoint, ()>(&c.endpoint);
        }
        endpoint.state = "deleting".to_owned();
        self.later(ENDPOINT_DELETING, Event::EndpointGone(c.endpoint));
        Ok(())
    }

    pub(super) fn endpoint_is_gone(&mut self, endpoint: &str) {
        let tables = self
            .endpoints
            .take(endpoint)
            .map(|it| it.tables)
            .unwrap_or_default();
        for table in &tables {
            self.lead_no_more(table, endpoint);
        }
    }

    // ---- EC2 Instance Connect

    pub(super) fn describe_connect_endpoints(
        &mut self,
        c: DescribeInstanceConnectEndpoints,
    ) -> Answer<Vec<InstanceConnectEndpoint>> {
        self.connect_endpoints.list(&c.filters, self.now)
    }

    pub(super) fn create_connect_endpoint(
        &mut self,
        c: CreateInstanceConnectEndpoint,
    ) -> Answer<InstanceConnectEndpoint> {
        let vpc = self.subnets.get(&c.subnet, self.now)?.subnet.vpc.clone();
        let groups = self.interface_groups(&vpc, &c.groups)?;
        check::tags(&c.tags)?;
        let live = || {
            self.connect_endpoints
                .all()
                .filter(|it| it.state != "delete-complete")
        };
        // One for a VPC and a subnet; an endpoint on its way out counts.
        if live().any(|it| it.vpc == vpc) {
            return refuse(
                "ResourceLimitExceeded",
                format!("The VPC {vpc} has an EC2 Instance Connect Endpoint already"),
            );
        }
        self.script
            .within(Quota::ConnectEndpoints, live().count(), 1)?;
        let id = self.id("eice-");
        let owner = Owner::Service(
            "ec2_instance_connect_endpoint",
            format!("EC2 Instance Connect Endpoint {id}"),
        );
        self.put_interface(&c.subnet, None, groups.clone(), owner)?;
        let endpoint = InstanceConnectEndpoint {
            id,
            vpc,
            subnet: c.subnet,
            groups,
            state: "create-in-progress".to_owned(),
            message: None,
            tags: c.tags,
        };
        let birth = self.birth();
        self.connect_endpoints.put(birth, endpoint.clone());
        self.later(CONNECT_CHANGING, Event::ConnectReady(endpoint.id.clone()));
        Ok(endpoint)
    }

    pub(super) fn connect_endpoint_is_ready(&mut self, endpoint: &str) {
        if let Some(it) = self.connect_endpoints.at_mut(endpoint)
            && it.state == "create-in-progress"
        {
            it.state = "create-complete".to_owned();
        }
    }

    pub(super) fn delete_connect_endpoint(
        &mut self,
        c: DeleteInstanceConnectEndpoint,
    ) -> Answer<()> {
        let endpoint = self.connect_endpoints.get_mut(&c.endpoint, self.now)?;
        match endpoint.state.as_str() {
            "create-complete" | "create-failed" => {
                endpoint.state = "delete-in-progress".to_owned();
                self.later(CONNECT_CHANGING, Event::ConnectDeleted(c.endpoint));
                Ok(())
            }
            "delete-complete" => {
                super::shelf::not_found::<InstanceConnectEndpoint, ()>(&c.endpoint)
            }
            // Neither is documented: an endpoint in the making cannot go yet,
            // and one that goes cannot go twice.
            state => refuse(
                "IncorrectState",
                format!("The Instance Connect Endpoint {} is {state}", c.endpoint),
            ),
        }
    }

    pub(super) fn connect_endpoint_is_deleted(&mut self, endpoint: &str) {
        if let Some(it) = self.connect_endpoints.at_mut(endpoint) {
            it.state = "delete-complete".to_owned();
        }
        let interfaces: Vec<Id> = self
            .interfaces
            .all()
            .filter(|it| it.nic.description.ends_with(endpoint))
            .map(|it| it.nic.id.clone())
            .collect();
        for interface in interfaces {
            self.later(INTERFACE_STILL_THERE, Event::InterfaceGone(interface));
        }
        self.later(
            CONNECT_STILL_SHOWN,
            Event::ConnectForgotten(endpoint.to_owned()),
        );
    }
}
