//! A route table, with its routes and the subnets that use it.

use super::{Context, Kind, Resource};
use crate::api::Id;
use crate::engine::{Fields, Ids, Observed, Part};
use crate::error::Result;
use ipnet::IpNet;
use std::collections::BTreeSet;

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

impl Resource for RouteTable {
    const KIND: Kind = Kind::RouteTable;
    const FIXED: &'static [&'static str] = &[];
    fn needs(&self) -> Vec<Part> {
        unimplemented!()
    }
    fn fields(&self, _: &Ids, _: &Context) -> Fields {
        unimplemented!()
    }
    async fn observe(_: &Context) -> Result<Vec<Observed>> {
        unimplemented!()
    }
    async fn create(&self, _: &Context, _: &Part, _: &Ids, _: &str) -> Result<Id> {
        unimplemented!()
    }
    async fn change(
        &self,
        _: &Context,
        _: &Observed,
        _: &BTreeSet<&'static str>,
        _: &Ids,
    ) -> Result<()> {
        unimplemented!()
    }
    async fn delete(_: &Context, _: &Observed) -> Result<()> {
        unimplemented!()
    }
}
