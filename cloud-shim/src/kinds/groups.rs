//! A security group with its rules.

use super::{Context, Kind, Resource};
use crate::api::Id;
use crate::engine::{Fields, Ids, Observed, Part};
use crate::error::Result;
use ipnet::IpNet;
use std::collections::BTreeSet;

use crate::api::{Direction, Protocol};

/// A security group as it shall be: these rules and no others.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityGroup {
    /// Its VPC.
    pub vpc: Part,
    /// What it is for.
    pub description: String,
    /// Its rules.
    pub rules: Vec<GroupRule>,
}

/// A rule of a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupRule {
    /// Which way it looks.
    pub direction: Direction,
    /// What passes.
    pub protocol: Protocol,
    /// From or to whom.
    pub peer: GroupPeer,
    /// What it is for.
    pub why: &'static str,
}

/// The other side of a rule.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GroupPeer {
    /// An address block.
    Block(IpNet),
    /// Whoever has this group.
    Group(Part),
    /// S3 in this region, by Amazon's prefix list.
    S3,
}

impl Resource for SecurityGroup {
    const KIND: Kind = Kind::SecurityGroup;
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
