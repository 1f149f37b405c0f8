//! The VPC, with its DNS attributes, IPv6 block and DHCP options.

use core::time::Duration;
use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::{Context, Kind, Resource};
use crate::api::{
    AssociateDhcpOptions, AssociateVpcCidrBlock, CreateVpc, DeleteVpc, DescribeVpcAttribute,
    DescribeVpcs, DisassociateVpcCidrBlock, Filter, Id, Ipv6Block, ModifyVpcAttribute,
    VpcAttribute,
};
use crate::engine::{Fields, Ids, Observed, PART_TAG, Part, State, Waiting};
use crate::error::Result;

/// How long an Amazon-provided IPv6 block may take.
const IPV6_WITHIN: Duration = Duration::from_secs(120);

/// A VPC as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vpc {
    /// Its block.
    pub cidr: Ipv4Net,
    /// Whether it has an Amazon-provided IPv6 block.
    pub ipv6: bool,
    /// Its DHCP option set.
    pub dhcp_options: Part,
}

impl Resource for Vpc {
    const KIND: Kind = Kind::Vpc;
    const FIXED: &'static [&'static str] = &["cidr"];

    fn needs(&self) -> Vec<Part> {
        Vec::new()
    }

    fn refers_to(&self) -> Vec<Part> {
        vec![self.dhcp_options.clone()]
    }

    fn fields(&self, ids: &Ids, _: &Context) -> Fields {
        [
            ("cidr", self.cidr.into()),
            ("ipv6", self.ipv6.into()),
            ("dhcp-options", ids.told(&self.dhcp_options).into()),
            ("dns-support", true.into()),
            ("dns-hostnames", true.into()),
        ]
        .into()
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let filters = context.ours();
        let mut found = Vec::new();
        for vpc in context.caller.send(DescribeVpcs { filters }).await? {
            let attribute = async |attribute| {
                let vpc = vpc.id.clone();
                let request = DescribeVpcAttribute { vpc, attribute };
                context.caller.send(request).await
            };
            let fields = [
                ("cidr", vpc.cidr.clone().into()),
                ("ipv6", vpc.ipv6.is_some().into()),
                ("dhcp-options", vpc.dhcp_options.clone().into()),
                (
                    "dns-support",
                    attribute(VpcAttribute::DnsSupport).await?.into(),
                ),
                (
                    "dns-hostnames",
                    attribute(VpcAttribute::DnsHostnames).await?.into(),
                ),
            ];
            found.push(Observed {
                kind: Kind::Vpc,
                part: Part::tagged(vpc.tags.get(PART_TAG).map_or("", String::as_str)),
                id: vpc.id,
                state: State::Ready,
                fields: fields.into(),
                tags: vpc.tags,
            });
        }
        Ok(found)
    }

    async fn create(&self, context: &Context, part: &Part, _: &Ids, _: &str) -> Result<Id> {
        let request = CreateVpc {
            cidr: self.cidr.to_string(),
            ipv6: self.ipv6,
            tags: context.tags(part),
        };
        Ok(context.caller.send(request).await?.id)
    }

    async fn change(
        &self,
        context: &Context,
        observed: &Observed,
        fields: &BTreeSet<&'static str>,
        ids: &Ids,
    ) -> Result<()> {
        let caller = &context.caller;
        let vpc = || observed.id.clone();
        for (field, attribute) in [
            ("dns-support", VpcAttribute::DnsSupport),
            ("dns-hostnames", VpcAttribute::DnsHostnames),
        ] {
            if fields.contains(field) {
                let request = ModifyVpcAttribute {
                    vpc: vpc(),
                    attribute,
                    value: true,
                };
                caller.send(request).await?;
            }
        }
        if fields.contains("dhcp-options") {
            let options = ids.told(&self.dhcp_options);
            let request = AssociateDhcpOptions {
                options,
                vpc: vpc(),
            };
            caller.send(request).await?;
        }
        if fields.contains("ipv6") {
            set_ipv6(context, &observed.id, self.ipv6).await?;
        }
        Ok(())
    }

    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        let vpc = observed.id.clone();
        match context.caller.send(DeleteVpc { vpc }).await {
            Err(error) if !error.is_not_found() => Err(error.into()),
            _ => Ok(()),
        }
    }
}

/// Gives a VPC an IPv6 block or takes it away, and waits until it is so.
async fn set_ipv6(context: &Context, vpc: &Id, wanted: bool) -> Result<()> {
    let caller = &context.caller;
    let block = async || -> Result<Option<Ipv6Block>> {
        let filters = vec![Filter::new("vpc-id", vpc)];
        let found = caller.send(DescribeVpcs { filters }).await?;
        Ok(found.into_iter().find_map(|vpc| vpc.ipv6))
    };
    match block().await? {
        Some(block) if !wanted => {
            let association = block.association;
            caller
                .send(DisassociateVpcCidrBlock { association })
                .await?;
        }
        None if wanted => {
            let vpc = vpc.clone();
            caller.send(AssociateVpcCidrBlock { vpc }).await?;
        }
        _ => {}
    }
    let what = format!("the IPv6 block of {vpc}");
    caller
        .wait(&what, IPV6_WITHIN, async || {
            let there = block().await?.is_some();
            Ok(if there == wanted {
                Waiting::Done(())
            } else {
                Waiting::Not(if there { "still there" } else { "not there" }.to_owned())
            })
        })
        .await
}
