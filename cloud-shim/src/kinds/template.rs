//! A launch template.

use super::{Context, Kind, Resource};
use crate::api::Id;
use crate::engine::{Fields, Ids, Observed, Part};
use crate::error::Result;
use std::collections::BTreeSet;

/// A launch template as it shall be. A change is a new version, which becomes
/// the default.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    /// What instances start from.
    pub image: ImageSource,
    /// EC2 instance type.
    pub instance_type: String,
    /// Instance profile.
    pub profile: Option<Part>,
    /// Its network interface.
    pub interface: TemplateInterface,
    /// A second one, which exists: one instance at a time.
    pub second_interface: Option<Part>,
    /// Root volume in GiB.
    pub root_gib: u32,
    /// Plain text.
    pub user_data: Option<String>,
    /// The part that its instances are, for their tags: `bastion`, `node`.
    pub instance: Part,
    /// Whether a shutdown from inside terminates the instance.
    pub terminate_on_shutdown: bool,
}

/// Where an image comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageSource {
    /// One of ours.
    Ours(Part),
    /// One of AWS: its id and the name of its root device.
    Public {
        /// `ami-…`.
        id: Id,
        /// Such as `/dev/xvda`.
        root_device: String,
    },
}

/// The interface of a template's instances.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TemplateInterface {
    /// One that exists: one instance at a time.
    Existing(Part),
    /// A new one for each instance.
    New {
        /// In this subnet.
        subnet: Part,
        /// With these groups.
        groups: Vec<Part>,
        /// With an IPv6 address.
        ipv6: bool,
    },
}

impl Resource for Template {
    const KIND: Kind = Kind::Template;
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
