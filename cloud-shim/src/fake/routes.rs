//! Route tables, their routes, and who uses them.

use ipnet::IpNet;

use super::shelf::{Birth, Resource, one, resource};
use super::{Account, Answer, Fake, Quota, check, refuse};
use crate::api::*;

resource!(
    RouteTable, "route-table", "rtb-", "InvalidRouteTableID.NotFound", "routeTable ID",
    |it| it, |name| {
        "route-table-id" | "association.route-table-id" => one(&it.id),
        "vpc-id" => one(&it.vpc),
        "owner-id" => one(Fake::ACCOUNT),
        "association.main" => Some(it.associations.iter().map(|a| a.subnet.is_none().to_string()).collect()),
        "association.route-table-association-id" => Some(it.associations.iter().map(|a| a.id.clone()).collect()),
        "association.subnet-id" => Some(it.associations.iter().filter_map(|a| a.subnet.clone()).collect()),
        "route.destination-cidr-block" => Some(it.routes.iter().filter(|r| is_ipv4(r)).map(|r| r.destination.clone()).collect()),
        "route.destination-ipv6-cidr-block" => Some(it.routes.iter().filter(|r| r.destination.contains(':')).map(|r| r.destination.clone()).collect()),
        "route.gateway-id" => Some(it.routes.iter().filter(|r| matches!(r.target, Target::InternetGateway(_) | Target::Endpoint(_) | Target::Local)).map(|r| r.target.id().to_owned()).collect()),
        "route.nat-gateway-id" => Some(it.routes.iter().filter(|r| matches!(r.target, Target::NatGateway(_))).map(|r| r.target.id().to_owned()).collect()),
    },
    along it.is_main
);

fn is_ipv4(route: &Route) -> bool {
    route.destination.parse::<ipnet::Ipv4Net>().is_ok()
}

impl Account {
    /// A table with the VPC's local routes; its main one if it is made with it.
    pub(super) fn put_table(
        &mut self,
        birth: Birth,
        vpc: &str,
        cidr: &str,
        is_main: bool,
        tags: Tags,
    ) -> RouteTable {
        let ipv6 = self.vpcs.at(vpc).and_then(|state| state.vpc.ipv6.clone());
        let blocks = [cidr.to_owned()]
            .into_iter()
            .chain(ipv6.map(|block| block.cidr));
        let routes = blocks
            .map(|destination| Route {
                destination,
                target: Target::Local,
                blackhole: false,
            })
            .collect();
        let associations = if is_main {
            vec![RouteTableAssociation {
                id: self.id("rtbassoc-"),
                subnet: None,
            }]
        } else {
            Vec::new()
        };
        let table = RouteTable {
            id: self.id("rtb-"),
            vpc: vpc.to_owned(),
            routes,
            associations,
            is_main,
            tags,
        };
        self.tables.put(birth, table.clone());
        table
    }

    pub(super) fn describe_tables(&mut self, c: DescribeRouteTables) -> Answer<Vec<RouteTable>> {
        let mut tables = self.tables.list(&c.filters, self.now)?;
        for table in &mut tables {
            for route in &mut table.routes {
                route.blackhole = self.is_blackhole(&table.vpc, &route.target);
            }
        }
        Ok(tables)
    }

    /// Whether a route's target is no longer there.
    fn is_blackhole(&self, vpc: &str, target: &Target) -> bool {
        match target {
            Target::Local | Target::Other(_) => false,
            Target::InternetGateway(id) => self
                .internet_gateways
                .at(id)
                .is_none_or(|it| it.vpc.as_deref() != Some(vpc)),
            Target::EgressOnlyGateway(id) => self.egress_gateways.at(id).is_none(),
            Target::NatGateway(id) => self
                .nat_gateways
                .at(id)
                .is_none_or(|it| it.nat.state != "available"),
            Target::Interface(id) => self
                .interfaces
                .at(id)
                .is_none_or(|it| it.nic.attachment.is_none()),
            Target::Endpoint(id) => self.endpoints.at(id).is_none(),
        }
    }

    pub(super) fn create_table(&mut self, c: CreateRouteTable) -> Answer<RouteTable> {
        let cidr = self.vpcs.get(&c.vpc, self.now)?.vpc.cidr.clone();
        check::tags(&c.tags)?;
        let count = self.tables.all().filter(|it| it.vpc == c.vpc).count();
        self.script.within(Quota::RouteTablesPerVpc, count, 1)?;
        let birth = self.birth();
        Ok(self.put_table(birth, &c.vpc, &cidr, false, c.tags))
    }

    pub(super) fn create_route(&mut self, c: CreateRoute) -> Answer<()> {
        let table = self.tables.get(&c.table, self.now)?;
        let net = check::block(&c.destination, "destinationCidrBlock")?;
        let destination = net.to_string();
        self.route_target(table, net, &c.target)?;
        if table
            .routes
            .iter()
            .any(|route| route.destination == destination)
        {
            return refuse(
                "RouteAlreadyExists",
                format!("The route identified by {destination} already exists."),
            );
        }
        self.script
            .within(Quota::RoutesPerTable, table.routes.len(), 1)?;
        let route = Route {
            destination,
            target: c.target,
            blackhole: false,
        };
        self.tables.get_mut(&c.table, self.now)?.routes.push(route);
        Ok(())
    }

    pub(super) fn replace_route(&mut self, c: ReplaceRoute) -> Answer<()> {
        let table = self.tables.get(&c.table, self.now)?;
        let net = check::block(&c.destination, "destinationCidrBlock")?;
        let destination = net.to_string();
        self.route_target(table, net, &c.target)?;
        let table = self.tables.get_mut(&c.table, self.now)?;
        match table
            .routes
            .iter_mut()
            .find(|route| route.destination == destination)
        {
            Some(route) if route.target == Target::Local => refuse(
                "InvalidParameterValue",
                format!(
                    "cannot replace local route {destination} in route table {}",
                    c.table
                ),
            ),
            Some(route) => {
                route.target = c.target;
                Ok(())
            }
            None => refuse(
                "InvalidParameterValue",
                format!(
                    "There is no route defined for '{destination}' in the route table. \
                     Use CreateRoute instead."
                ),
            ),
        }
    }

    /// Refuses a target that a route to `net` cannot have.
    fn route_target(&self, table: &RouteTable, net: IpNet, target: &Target) -> Answer<()> {
        let now = self.now;
        let vpc = match target {
            Target::Local | Target::Endpoint(_) => {
                return refuse(
                    "InvalidParameterValue",
                    format!("A route to '{}' is EC2's own to make", target.id()),
                );
            }
            Target::Other(id) => {
                return refuse(
                    "InvalidParameterValue",
                    format!("'{id}' is no target known here"),
                );
            }
            Target::InternetGateway(id) => self.internet_gateways.get(id, now)?.vpc.clone(),
            Target::EgressOnlyGateway(id) => Some(self.egress_gateways.get(id, now)?.vpc.clone()),
            Target::NatGateway(id) => {
                // A gateway that is still pending is not known to CreateRoute.
                match self.nat_gateways.get(id, now) {
                    Ok(it) if it.nat.state == "available" => Some(it.nat.vpc.clone()),
                    _ => {
                        return refuse(
                            "InvalidNatGatewayID.NotFound",
                            format!("The natGateway ID '{id}' does not exist"),
                        );
                    }
                }
            }
            Target::Interface(id) => Some(self.interfaces.get(id, now)?.nic.vpc.clone()),
        };
        if vpc.as_ref() != Some(&table.vpc) {
            return refuse(
                "InvalidParameterValue",
                format!(
                    "route table {} and network gateway {} belong to different networks",
                    table.id,
                    target.id()
                ),
            );
        }
        let fits = match target {
            Target::EgressOnlyGateway(_) => matches!(net, IpNet::V6(_)),
            // Of IPv6 a NAT gateway takes NAT64's prefix alone.
            Target::NatGateway(_) => {
                matches!(net, IpNet::V4(_)) || net.to_string() == "64:ff9b::/96"
            }
            _ => true,
        };
        if fits {
            return Ok(());
        }
        refuse(
            "InvalidParameterValue",
            format!("The gateway {} does not route {net}", target.id()),
        )
    }

    pub(super) fn delete_route(&mut self, c: DeleteRoute) -> Answer<()> {
        let table = self.tables.get_mut(&c.table, self.now)?;
        let destination = match check::block(&c.destination, "destinationCidrBlock") {
            Ok(net) => net.to_string(),
            Err(_) if c.destination.starts_with("pl-") => c.destination,
            Err(refusal) => return Err(refusal),
        };
        let found = table
            .routes
            .iter()
            .position(|route| route.destination == destination);
        let Some(position) = found else {
            return refuse(
                "InvalidRoute.NotFound",
                format!(
                    "no route with destination-cidr-block {destination} in route table {}",
                    c.table
                ),
            );
        };
        if matches!(
            table.routes[position].target,
            Target::Local | Target::Endpoint(_)
        ) {
            return refuse(
                "InvalidParameterValue",
                format!(
                    "cannot remove local route {destination} in route table {}",
                    c.table
                ),
            );
        }
        table.routes.remove(position);
        Ok(())
    }

    pub(super) fn associate_table(&mut self, c: AssociateRouteTable) -> Answer<Id> {
        let table_vpc = self.tables.get(&c.table, self.now)?.vpc.clone();
        let subnet = self.subnets.get(&c.subnet, self.now)?;
        if subnet.subnet.vpc != table_vpc {
            return refuse(
                "InvalidParameterValue",
                format!(
                    "Route table {} and subnet {} belong to different networks",
                    c.table, c.subnet
                ),
            );
        }
        let users = self.tables.all().flat_map(|table| &table.associations);
        if users
            .into_iter()
            .any(|it| it.subnet.as_ref() == Some(&c.subnet))
        {
            return refuse(
                "Resource.AlreadyAssociated",
                format!(
                    "the specified association for route table {} conflicts with an existing \
                     association",
                    c.table
                ),
            );
        }
        let id = self.id("rtbassoc-");
        let association = RouteTableAssociation {
            id: id.clone(),
            subnet: Some(c.subnet),
        };
        self.tables
            .get_mut(&c.table, self.now)?
            .associations
            .push(association);
        Ok(id)
    }

    pub(super) fn disassociate_table(&mut self, c: DisassociateRouteTable) -> Answer<()> {
        for table in self.tables.all_mut() {
            let found = table
                .associations
                .iter()
                .position(|it| it.id == c.association);
            let Some(position) = found else { continue };
            if table.associations[position].subnet.is_none() {
                return refuse(
                    "InvalidParameterValue",
                    format!(
                        "cannot disassociate the main route table association {}",
                        c.association
                    ),
                );
            }
            table.associations.remove(position);
            return Ok(());
        }
        refuse(
            "InvalidAssociationID.NotFound",
            format!("The association ID '{}' does not exist", c.association),
        )
    }

    pub(super) fn delete_table(&mut self, c: DeleteRouteTable) -> Answer<()> {
        let table = self.tables.get(&c.table, self.now)?;
        // Whether a gateway endpoint holds its tables is not documented: it does.
        let in_use = table.comes_along()
            || !table.associations.is_empty()
            || self.endpoints.all().any(|it| it.tables.contains(&c.table));
        if in_use {
            return refuse(
                "DependencyViolation",
                format!(
                    "The routeTable '{}' has dependencies and cannot be deleted.",
                    c.table
                ),
            );
        }
        self.tables.take(&c.table);
        Ok(())
    }
}
