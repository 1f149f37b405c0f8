//! The Auto Scaling group that runs the bastion by the clock.

use super::{Context, Kind, Resource};
use crate::api::Id;
use crate::engine::{Fields, Ids, Observed, Part};
use crate::error::Result;
use std::collections::BTreeSet;

use crate::api::ScheduledAction;

/// An Auto Scaling group of at most one instance as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its launch template, which has an interface of its own.
    pub template: Part,
    /// Availability zone of that interface.
    pub zone: String,
    /// How many it starts with: 1 if the clock says so now.
    pub desired: u32,
    /// Its scheduled actions.
    pub schedule: Vec<ScheduledAction>,
}

impl Resource for Group {
    const KIND: Kind = Kind::Group;
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
