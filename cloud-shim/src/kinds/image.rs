//! The image that nodes start from: a small disk with an EFI loader.

use super::{Context, Kind, Resource};
use crate::api::Id;
use crate::engine::{Fields, Ids, Observed, Part};
use crate::error::Result;
use std::collections::BTreeSet;

/// An image of ours as it shall be, by content. Another content is another
/// image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderImage {
    /// The raw disk.
    pub disk: std::sync::Arc<[u8]>,
    /// SHA-256 of the disk in hex.
    pub sha256: String,
    /// Size of the volume in GiB.
    pub size_gib: u32,
}

impl Resource for LoaderImage {
    const KIND: Kind = Kind::LoaderImage;
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
