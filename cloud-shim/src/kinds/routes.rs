//! A route table, with its routes and the subnets that use it.

use std::collections::BTreeSet;

use ipnet::IpNet;

use super::gateways::attached;
use super::nat::available;
use super::{Context, Kind, Resource, gone_is_fine, part_of};
use crate::api::{
    AssociateRouteTable, CreateRoute, CreateRouteTable, DeleteRoute, DeleteRouteTable,
    DescribeRouteTables, DisassociateRouteTable, Filter, Id, ReplaceRoute, Route,
    RouteTable as Table, RouteTableAssociation, Target,
};
use crate::engine::{Fields, Ids, Observed, Part, State, Value};
use crate::error::{Error, Result};

/// A route table as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTable {
    /// Its VPC.
    pub vpc: Part,
    /// Subnets that use it.
    pub subnets: Vec<Part>,
    /// Destination, and the gateway, NAT gateway or interface it leads to.
    /// Local routes and those of gateway endpoints are not named here.
    pub routes: Vec<(IpNet, Part)>,
}

/// A destination as AWS writes it: without host bits. What is no block, such
/// as a prefix list, stays as it is.
fn canonical(destination: &str) -> String {
    destination.parse().map_or_else(
        |_| destination.to_owned(),
        |net: IpNet| net.trunc().to_string(),
    )
}

/// A route as its field shows it.
fn told(destination: &str, target: &str) -> String {
    format!("{} -> {target}", canonical(destination))
}

/// Whether a route is for us to make and to take away: local ones and those of
/// gateway endpoints are EC2's own.
fn is_set_by_hand(route: &Route) -> bool {
    !matches!(route.target, Target::Local | Target::Endpoint(_))
}

/// Whether the target of a route is gone. One to an interface is also a
/// blackhole while no instance has the interface, and is right all the same.
fn is_broken(route: &Route) -> bool {
    route.blackhole && !matches!(route.target, Target::Interface(_))
}

/// What a route can lead to, by the id of it.
fn target(id: &str) -> Result<Target> {
    let kind = match id.split_once('-') {
        Some(("igw", _)) => Target::InternetGateway,
        Some(("eigw", _)) => Target::EgressOnlyGateway,
        Some(("nat", _)) => Target::NatGateway,
        Some(("eni", _)) => Target::Interface,
        _ => return Err(Error::refused(format!("no route can lead to {id}"))),
    };
    Ok(kind(id.to_owned()))
}

impl Resource for RouteTable {
    const KIND: Kind = Kind::RouteTable;
    const FIXED: &'static [&'static str] = &["vpc"];

    fn needs(&self) -> Vec<Part> {
        vec![self.vpc.clone()]
    }

    fn refers_to(&self) -> Vec<Part> {
        let targets = self.routes.iter().map(|(_, target)| target);
        self.subnets.iter().chain(targets).cloned().collect()
    }

    fn fields(&self, ids: &Ids, _: &Context) -> Fields {
        let subnets = self.subnets.iter().map(|subnet| ids.told(subnet));
        let routes = self
            .routes
            .iter()
            .map(|(to, target)| told(&to.to_string(), &ids.told(target)));
        [
            ("vpc", ids.told(&self.vpc).into()),
            ("subnets", Value::set(subnets)),
            ("routes", Value::set(routes)),
        ]
        .into()
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let filters = context.ours();
        let found = context.caller.send(DescribeRouteTables { filters }).await?;
        let observed = found.into_iter().map(|table| {
            let subnets = table.associations.into_iter().filter_map(|it| it.subnet);
            let routes = table.routes.iter().filter(|it| is_set_by_hand(it));
            let routes = routes.map(|route| {
                let end = if is_broken(route) { " (blackhole)" } else { "" };
                told(&route.destination, route.target.id()) + end
            });
            Observed {
                kind: Self::KIND,
                part: part_of(&table.tags),
                id: table.id,
                state: State::Ready,
                fields: [
                    ("vpc", table.vpc.into()),
                    ("subnets", Value::set(subnets)),
                    ("routes", Value::set(routes)),
                ]
                .into(),
                tags: table.tags,
            }
        });
        Ok(observed.collect())
    }

    async fn create(&self, context: &Context, part: &Part, ids: &Ids, token: &str) -> Result<Id> {
        let request = CreateRouteTable {
            vpc: ids.told(&self.vpc),
            token: token.to_owned(),
            tags: context.tags(part),
        };
        Ok(context.caller.send(request).await?.id)
    }

    async fn change(
        &self,
        context: &Context,
        observed: &Observed,
        fields: &BTreeSet<&'static str>,
        ids: &Ids,
    ) -> Result<()> {
        let table = context
            .shown(&observed.id, async || {
                let filters = vec![Filter::new("route-table-id", &observed.id)];
                let found = context.caller.send(DescribeRouteTables { filters }).await?;
                Ok(found.into_iter().next())
            })
            .await?;
        if fields.contains("routes") {
            self.set_routes(context, &table, ids).await?;
        }
        if fields.contains("subnets") {
            self.set_subnets(context, &table, ids).await?;
        }
        Ok(())
    }

    /// One that someone made the VPC's main table stays: it goes with the VPC.
    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        let caller = &context.caller;
        let filters = vec![Filter::new("route-table-id", &observed.id)];
        for table in caller.send(DescribeRouteTables { filters }).await? {
            for association in table.associations {
                if association.subnet.is_some() {
                    release(context, association).await?;
                }
            }
            if table.is_main {
                return Ok(());
            }
        }
        let table = observed.id.clone();
        gone_is_fine(caller.send(DeleteRouteTable { table }).await)
    }
}

impl RouteTable {
    async fn set_routes(&self, context: &Context, table: &Table, ids: &Ids) -> Result<()> {
        let caller = &context.caller;
        for (destination, part) in &self.routes {
            let destination = canonical(&destination.to_string());
            let target = target(&ids.told(part))?;
            let table_id = table.id.clone();
            let there = table
                .routes
                .iter()
                .find(|route| canonical(&route.destination) == destination);
            match there {
                Some(route) if route.target == target && !is_broken(route) => continue,
                Some(_) => ready(context, table, &target).await?,
                None => {
                    ready(context, table, &target).await?;
                    let request = CreateRoute {
                        table: table_id.clone(),
                        destination: destination.clone(),
                        target: target.clone(),
                    };
                    match caller.send(request).await {
                        // Another run was faster, perhaps with another target.
                        Err(error) if error.code == "RouteAlreadyExists" => {}
                        outcome => {
                            outcome?;
                            continue;
                        }
                    }
                }
            }
            let request = ReplaceRoute {
                table: table_id,
                destination,
                target,
            };
            caller.send(request).await?;
        }
        for route in table.routes.iter().filter(|it| is_set_by_hand(it)) {
            let destination = canonical(&route.destination);
            let wanted = self
                .routes
                .iter()
                .any(|(to, _)| canonical(&to.to_string()) == destination);
            if !wanted {
                let table = table.id.clone();
                let destination = route.destination.clone();
                let request = DeleteRoute { table, destination };
                gone_is_fine(caller.send(request).await)?;
            }
        }
        Ok(())
    }

    async fn set_subnets(&self, context: &Context, table: &Table, ids: &Ids) -> Result<()> {
        let caller = &context.caller;
        let wanted: BTreeSet<Id> = self.subnets.iter().map(|it| ids.told(it)).collect();
        for association in &table.associations {
            if association
                .subnet
                .as_ref()
                .is_some_and(|it| !wanted.contains(it))
            {
                release(context, association.clone()).await?;
            }
        }
        for subnet in wanted {
            let filters = vec![Filter::new("association.subnet-id", &subnet)];
            let holders = caller.send(DescribeRouteTables { filters }).await?;
            if holders.iter().any(|holder| holder.id == table.id) {
                continue;
            }
            // A subnet has one table: it is taken from another first.
            for association in holders.into_iter().flat_map(|it| it.associations) {
                if association.subnet.as_ref() == Some(&subnet) {
                    release(context, association).await?;
                }
            }
            let table = table.id.clone();
            caller.send(AssociateRouteTable { table, subnet }).await?;
        }
        Ok(())
    }
}

/// Waits until what a route leads to takes routes: it may have been made a
/// moment ago.
async fn ready(context: &Context, table: &Table, target: &Target) -> Result<()> {
    match target {
        Target::InternetGateway(id) => attached(context, &table.vpc, Some(id)).await,
        Target::NatGateway(id) => available(context, id).await,
        _ => Ok(()),
    }
}

/// Puts a subnet back to the VPC's main table.
async fn release(context: &Context, association: RouteTableAssociation) -> Result<()> {
    let association = association.id;
    let request = DisassociateRouteTable { association };
    gone_is_fine(context.caller.send(request).await)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_known_by_its_id() {
        let id = |id: &str| id.to_owned();
        for (text, wanted) in [
            ("igw-0a", Target::InternetGateway(id("igw-0a"))),
            ("eigw-0a", Target::EgressOnlyGateway(id("eigw-0a"))),
            ("nat-0a", Target::NatGateway(id("nat-0a"))),
            ("eni-0a", Target::Interface(id("eni-0a"))),
        ] {
            assert_eq!(target(text).unwrap(), wanted);
        }
        for text in ["(nat-gateway)", "vpce-0a", "local", ""] {
            assert!(target(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_route_in_words() {
        for (destination, text) in [
            ("0.0.0.0/0", "0.0.0.0/0 -> nat-0a"),
            ("0:0::/0", "::/0 -> nat-0a"),
            ("10.1.2.3/8", "10.0.0.0/8 -> nat-0a"),
            ("pl-6da54004", "pl-6da54004 -> nat-0a"),
        ] {
            assert_eq!(told(destination, "nat-0a"), text);
        }
    }
}
