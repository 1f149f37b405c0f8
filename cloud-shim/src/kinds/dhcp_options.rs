//! The DHCP options of the VPC: which resolvers its machines are told of.

use super::{Context, Kind, Resource};
use crate::api::Id;
use crate::engine::{Fields, Ids, Observed, Part};
use crate::error::Result;
use std::collections::BTreeSet;

/// A DHCP option set as it shall be. A set cannot be changed: another takes
/// its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpOptions {
    /// `domain-name-servers`, in order: addresses, or `AmazonProvidedDNS`.
    pub servers: Vec<String>,
    /// `domain-name`.
    pub domain: Option<String>,
}

impl Resource for DhcpOptions {
    const KIND: Kind = Kind::DhcpOptions;
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
