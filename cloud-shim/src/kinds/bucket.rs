//! The bucket with what the bastion needs at its first boot.

use super::{Context, Kind, Resource};
use crate::api::Id;
use crate::engine::{Fields, Ids, Observed, Part};
use crate::error::Result;
use std::collections::BTreeSet;

use std::collections::BTreeMap;

use crate::api::Body;

/// A bucket as it shall be. Its name has the account's number: bucket names
/// are unique in all of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its objects by key: these and no others.
    pub objects: BTreeMap<String, Content>,
}

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Its bytes.
    pub body: Body,
    /// How many.
    pub len: u64,
    /// Their SHA-256 in hex.
    pub sha256: String,
}

impl Resource for Bucket {
    const KIND: Kind = Kind::Bucket;
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
