//! The VPC, with its DNS attributes, IPv6 block and DHCP options.

use core::time::Duration;
use std::collections::BTreeSet;

use ipnet::Ipv4Net;

use super::subnet::take_ipv6;
use super::{Context, Kind, Resource, gone_is_fine, part_of};
use crate::api::{
    AssociateDhcpOptions, AssociateVpcCidrBlock, CreateVpc, DeleteVpc, DescribeSubnets,
    DescribeVpcAttribute, DescribeVpcs, DisassociateVpcCidrBlock, Filter, Id, Ipv6Block,
    ModifyVpcAttribute, VpcAttribute,
};
use crate::engine::{Fields, Ids, Observed, Part, State, Waiting};
use crate::error::{Error, Result};

/// How long an Amazon-provided IPv6 block may take.
const IPV6_WITHIN: Duration = Duration::from_secs(180);
/// How long one that was asked for before may take to show; seconds are usual.
const IPV6_ON_ITS_WAY: Duration = Duration::from_secs(30);

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
            let dns_support = attribute(VpcAttribute::DnsSupport).await?;
            let dns_hostnames = attribute(VpcAttribute::DnsHostnames).await?;
            let fields = [
                ("cidr", vpc.cidr.into()),
                ("ipv6", vpc.ipv6.is_some().into()),
                ("dhcp-options", vpc.dhcp_options.into()),
                ("dns-support", dns_support.into()),
                ("dns-hostnames", dns_hostnames.into()),
            ];
            found.push(Observed {
                kind: Kind::Vpc,
                part: part_of(&vpc.tags),
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
        gone_is_fine(context.caller.send(DeleteVpc { vpc }).await)
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
    if !wanted {
        let Some(Ipv6Block { association, cidr }) = block().await? else {
            return Ok(());
        };
        take_subnets_ipv6(context, vpc).await?;
        let request = DisassociateVpcCidrBlock { association };
        gone_is_fine(caller.send(request).await)?;
        let what = format!("{cidr} of {vpc}");
        return context
            .until_gone(&what, IPV6_WITHIN, async || {
                Ok(block().await?.map(|block| block.cidr))
            })
            .await;
    }
    let what = format!("the IPv6 block of {vpc}");
    let there = async || {
        Ok(match block().await? {
            Some(_) => Waiting::Done(()),
            None => Waiting::Not("none".to_owned()),
        })
    };
    // A block shows only once it is associated: one may be on its way, asked
    // for as the VPC was made or by a run that was stopped. Asking again then
    // would give the VPC a second one.
    match caller.wait(&what, IPV6_ON_ITS_WAY, there).await {
        Err(Error::Late { .. }) => {}
        outcome => return outcome,
    }
    let request = AssociateVpcCidrBlock { vpc: vpc.clone() };
    caller.send(request).await?;
    caller.wait(&what, IPV6_WITHIN, there).await
}

/// Takes the /64 of each subnet of the lab away, and waits until none is left:
/// the VPC's block cannot go before.
async fn take_subnets_ipv6(context: &Context, vpc: &Id) -> Result<()> {
    let in_vpc = Filter::new("vpc-id", vpc);
    let filters = [context.ours(), vec![in_vpc.clone()]].concat();
    for subnet in context.caller.send(DescribeSubnets { filters }).await? {
        if let Some(block) = subnet.ipv6 {
            take_ipv6(context, &subnet.id, block).await?;
        }
    }
    let what = format!("the IPv6 blocks of the subnets of {vpc}");
    context
        .until_gone(&what, IPV6_WITHIN, async || {
            let filters = vec![in_vpc.clone()];
            let found = context.caller.send(DescribeSubnets { filters }).await?;
            let users: Vec<_> = found
                .into_iter()
                .filter_map(|subnet| Some(format!("{} has {}", subnet.id, subnet.ipv6?.cidr)))
                .collect();
            Ok((!users.is_empty()).then(|| users.join("; ")))
        })
        .await
}
