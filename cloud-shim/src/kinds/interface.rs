//! A network interface that outlives the instance that uses it.

use super::{Context, Kind, Resource};
use crate::api::Id;
use crate::engine::{Fields, Ids, Observed, Part};
use crate::error::Result;
use std::collections::BTreeSet;

use std::net::Ipv4Addr;

/// A network interface as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its subnet.
    pub subnet: Part,
    /// Its first address.
    pub primary: Ipv4Addr,
    /// Its further addresses.
    pub secondary: Vec<Ipv4Addr>,
    /// Whether it has an IPv6 address.
    pub ipv6: bool,
    /// Its groups.
    pub groups: Vec<Part>,
    /// Whether packets of other addresses are dropped.
    pub source_dest_check: bool,
}

impl Resource for Interface {
    const KIND: Kind = Kind::Interface;
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
