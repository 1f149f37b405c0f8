//! The DHCP options of the VPC: which resolvers its machines are told of.

use std::collections::BTreeSet;

use super::{Context, Kind, Resource, gone_is_fine, part_of};
use crate::api::{
    AssociateDhcpOptions, CreateDhcpOptions, DeleteDhcpOptions, DescribeDhcpOptions, DescribeVpcs,
    Filter, Id,
};
use crate::engine::{Fields, Ids, Observed, Part, State};
use crate::error::Result;

/// A DHCP option set as it shall be. A set cannot be changed: another takes
/// its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpOptions {
    /// `domain-name-servers`, in order: addresses, or `AmazonProvidedDNS`.
    pub servers: Vec<String>,
    /// `domain-name`.
    pub domain: Option<String>,
}

fn fields(servers: &[String], domain: Option<&str>) -> Fields {
    [
        ("servers", servers.join(", ").into()),
        ("domain", domain.unwrap_or("none").into()),
    ]
    .into()
}

impl Resource for DhcpOptions {
    const KIND: Kind = Kind::DhcpOptions;
    const FIXED: &'static [&'static str] = &["servers", "domain"];

    fn needs(&self) -> Vec<Part> {
        Vec::new()
    }

    fn fields(&self, _: &Ids, _: &Context) -> Fields {
        fields(&self.servers, self.domain.as_deref())
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let filters = context.ours();
        let found = context.caller.send(DescribeDhcpOptions { filters }).await?;
        let observed = found.into_iter().map(|options| Observed {
            kind: Self::KIND,
            part: part_of(&options.tags),
            id: options.id,
            state: State::Ready,
            fields: fields(&options.servers, options.domain.as_deref()),
            tags: options.tags,
        });
        Ok(observed.collect())
    }

    async fn create(&self, context: &Context, part: &Part, _: &Ids, _: &str) -> Result<Id> {
        let request = CreateDhcpOptions {
            servers: self.servers.clone(),
            domain: self.domain.clone(),
            tags: context.tags(part),
        };
        Ok(context.caller.send(request).await?.id)
    }

    async fn change(
        &self,
        _: &Context,
        _: &Observed,
        _: &BTreeSet<&'static str>,
        _: &Ids,
    ) -> Result<()> {
        // All its fields are fixed.
        Ok(())
    }

    /// VPCs of this lab that use it are given Amazon's own options first.
    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        let caller = &context.caller;
        let mut filters = context.ours();
        filters.push(Filter::new("dhcp-options-id", &observed.id));
        for vpc in caller.send(DescribeVpcs { filters }).await? {
            let request = AssociateDhcpOptions {
                options: "default".to_owned(),
                vpc: vpc.id,
            };
            gone_is_fine(caller.send(request).await)?;
        }
        let options = observed.id.clone();
        gone_is_fine(caller.send(DeleteDhcpOptions { options }).await)
    }
}
