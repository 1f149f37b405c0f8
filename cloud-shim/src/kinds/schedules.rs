//! The group for the schedules that end nodes when their time is up.

use super::{Context, Kind, Resource};
use crate::api::Id;
use crate::engine::{Fields, Ids, Observed, Part};
use crate::error::Result;
use std::collections::BTreeSet;

/// A schedule group as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleGroup {}

impl Resource for ScheduleGroup {
    const KIND: Kind = Kind::ScheduleGroup;
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
