//! A subnet.

use core::time::Duration;
use std::collections::BTreeSet;
use std::net::Ipv6Addr;

use ipnet::{Ipv4Net, Ipv6Net};

use super::interface::{described, give_up_ipv6};
use super::{Context, Kind, Resource, gone_is_fine, part_of};
use crate::api::{
    AssociateSubnetCidrBlock, CreateSubnet, DeleteSubnet, DescribeSubnets, DescribeVpcs,
    DisassociateSubnetCidrBlock, Filter, Id, Ipv6Block, ModifySubnetAttribute, SubnetAttribute,
};
use crate::engine::{Fields, Ids, Observed, Part, State, Waiting};
use crate::error::{Error, Result};

/// How long an IPv6 block may take to come or go, and addresses of it to be
/// given up.
const IPV6_WITHIN: Duration = Duration::from_secs(180);

/// A subnet as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// Its VPC.
    pub vpc: Part,
    /// Its block.
    pub cidr: Ipv4Net,
    /// The number of its /64 in the VPC's /56, if it has IPv6; its machines
    /// are then given addresses of it.
    pub ipv6: Option<u8>,
    /// Availability zone.
    pub zone: String,
}

/// What the field `ipv6` says: the VPC's block is known to AWS alone, so the
/// number of the /64 in it is compared.
fn told(number: Option<u8>) -> String {
    number.map_or_else(
        || "none".to_owned(),
        |number| format!("/64 number {number}"),
    )
}

/// The /64 with this number in a VPC's /56.
fn nth_64(vpc: &str, number: u8) -> Result<Ipv6Net> {
    let block: Ipv6Net = vpc
        .parse()
        .ok()
        .filter(|block: &Ipv6Net| block.prefix_len() == 56)
        .ok_or_else(|| {
            Error::refused(format!(
                "the VPC's IPv6 block is {vpc}, and not a /56 of Amazon's"
            ))
        })?;
    let network = block.network().to_bits() | u128::from(number) << 64;
    Ok(Ipv6Net::new_assert(Ipv6Addr::from_bits(network), 64))
}

/// The number of a subnet's /64 in its VPC's /56.
fn number_of(subnet: &str) -> Option<u8> {
    let block: Ipv6Net = subnet.parse().ok()?;
    let [.., number] = (block.network().to_bits() >> 64).to_be_bytes();
    Some(number)
}

impl Resource for Subnet {
    const KIND: Kind = Kind::Subnet;
    const FIXED: &'static [&'static str] = &["vpc", "cidr", "zone"];

    fn needs(&self) -> Vec<Part> {
        vec![self.vpc.clone()]
    }

    fn fields(&self, ids: &Ids, _: &Context) -> Fields {
        [
            ("vpc", ids.told(&self.vpc).into()),
            ("cidr", self.cidr.into()),
            ("zone", self.zone.as_str().into()),
            ("ipv6", told(self.ipv6).into()),
            ("assign-ipv6", self.ipv6.is_some().into()),
            ("map-public-ip", false.into()),
        ]
        .into()
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let filters = context.ours();
        let found = context.caller.send(DescribeSubnets { filters }).await?;
        let observed = found.into_iter().map(|subnet| Observed {
            kind: Self::KIND,
            part: part_of(&subnet.tags),
            id: subnet.id,
            state: State::Ready,
            fields: [
                ("vpc", subnet.vpc.into()),
                ("cidr", subnet.cidr.into()),
                ("zone", subnet.zone.into()),
                (
                    "ipv6",
                    told(subnet.ipv6.and_then(|it| number_of(&it.cidr))).into(),
                ),
                ("assign-ipv6", subnet.assign_ipv6.into()),
                ("map-public-ip", subnet.map_public_ip.into()),
            ]
            .into(),
            tags: subnet.tags,
        });
        Ok(observed.collect())
    }

    /// Its /64 comes with the first change: the VPC's block may not be there
    /// yet.
    async fn create(&self, context: &Context, part: &Part, ids: &Ids, _: &str) -> Result<Id> {
        let request = CreateSubnet {
            vpc: ids.told(&self.vpc),
            cidr: self.cidr.to_string(),
            ipv6_cidr: None,
            zone: self.zone.clone(),
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
        let set = async |attribute, value| {
            let subnet = observed.id.clone();
            let request = ModifySubnetAttribute {
                subnet,
                attribute,
                value,
            };
            context.caller.send(request).await
        };
        if fields.contains("map-public-ip") {
            set(SubnetAttribute::MapPublicIp, false).await?;
        }
        // Only a subnet that has a /64 can give out addresses of it.
        let assign = self.ipv6.is_some();
        if fields.contains("assign-ipv6") && !assign {
            set(SubnetAttribute::AssignIpv6, false).await?;
        }
        if fields.contains("ipv6") {
            set_ipv6(context, &observed.id, &ids.told(&self.vpc), self.ipv6).await?;
        }
        if fields.contains("assign-ipv6") && assign {
            set(SubnetAttribute::AssignIpv6, true).await?;
        }
        Ok(())
    }

    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        let subnet = observed.id.clone();
        gone_is_fine(context.caller.send(DeleteSubnet { subnet }).await)
    }
}

/// Gives a subnet the /64 with this number, or takes away what it has.
async fn set_ipv6(context: &Context, subnet: &Id, vpc: &Id, number: Option<u8>) -> Result<()> {
    let caller = &context.caller;
    let wanted = match number {
        Some(number) => Some(nth_64(&vpc_block(context, vpc).await?, number)?.to_string()),
        None => None,
    };
    let there = block_of(context, subnet).await?;
    if there.as_ref().map(|block| &block.cidr) == wanted.as_ref() {
        return Ok(());
    }
    if let Some(block) = there {
        take_ipv6(context, subnet, block).await?;
    }
    let Some(ipv6_cidr) = wanted else {
        return Ok(());
    };
    let request = AssociateSubnetCidrBlock {
        subnet: subnet.clone(),
        ipv6_cidr: ipv6_cidr.clone(),
    };
    // A block shows only once it is associated. One that a stopped run asked
    // for is in the way of itself.
    let refusal = match caller.send(request).await {
        Err(error) if error.code == "InvalidSubnet.Conflict" => Some(error),
        outcome => {
            outcome?;
            None
        }
    };
    let what = format!("{subnet} to have {ipv6_cidr}");
    let there = caller.wait(&what, IPV6_WITHIN, async || {
        let there = block_of(context, subnet).await?.map(|block| block.cidr);
        Ok(match there {
            Some(there) if there == ipv6_cidr => Waiting::Done(()),
            there => Waiting::Not(there.unwrap_or_else(|| "none".to_owned())),
        })
    });
    match (there.await, refusal) {
        (Err(Error::Late { .. }), Some(refusal)) => Err(refusal.into()),
        (outcome, _) => outcome,
    }
}

/// Takes a subnet's /64 away, after the lab's interfaces have given up their
/// addresses of it.
pub(super) async fn take_ipv6(context: &Context, subnet: &Id, block: Ipv6Block) -> Result<()> {
    let Ipv6Block { association, cidr } = block;
    let in_subnet = Filter::new("subnet-id", subnet);
    let ours = [context.ours(), vec![in_subnet.clone()]].concat();
    for interface in described(context, ours).await? {
        give_up_ipv6(context, &interface).await?;
    }
    let what = format!("the addresses of {cidr}");
    context
        .until_gone(&what, IPV6_WITHIN, async || {
            let there = described(context, vec![in_subnet.clone()]).await?;
            let users: Vec<_> = there
                .into_iter()
                .filter(|interface| !interface.ipv6.is_empty())
                .map(|interface| format!("{} has {}", interface.id, interface.ipv6.join(", ")))
                .collect();
            Ok((!users.is_empty()).then(|| users.join("; ")))
        })
        .await?;
    let request = DisassociateSubnetCidrBlock { association };
    gone_is_fine(context.caller.send(request).await)?;
    let what = format!("{cidr} of {subnet}");
    context
        .until_gone(&what, IPV6_WITHIN, async || {
            Ok(block_of(context, subnet).await?.map(|block| block.cidr))
        })
        .await
}

/// The /64 that a subnet has.
async fn block_of(context: &Context, subnet: &Id) -> Result<Option<Ipv6Block>> {
    let filters = vec![Filter::new("subnet-id", subnet)];
    let found = context.caller.send(DescribeSubnets { filters }).await?;
    Ok(found.into_iter().find_map(|subnet| subnet.ipv6))
}

/// Waits for the VPC's IPv6 block: it comes with a change of the VPC, which
/// may run at the same time.
async fn vpc_block(context: &Context, vpc: &Id) -> Result<String> {
    let what = format!("the IPv6 block of {vpc}");
    context
        .caller
        .wait(&what, IPV6_WITHIN, async || {
            let filters = vec![Filter::new("vpc-id", vpc)];
            let found = context.caller.send(DescribeVpcs { filters }).await?;
            Ok(match found.into_iter().find_map(|vpc| vpc.ipv6) {
                Some(block) => Waiting::Done(block.cidr),
                None => Waiting::Not("none".to_owned()),
            })
        })
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slash_64_by_its_number() {
        for (vpc, number, subnet) in [
            ("2a05:d018:12:3400::/56", 0, "2a05:d018:12:3400::/64"),
            ("2a05:d018:12:3400::/56", 13, "2a05:d018:12:340d::/64"),
            ("2a05:d018:12:3400::/56", 255, "2a05:d018:12:34ff::/64"),
            ("2600:1f18:0:ff00::/56", 1, "2600:1f18:0:ff01::/64"),
        ] {
            assert_eq!(nth_64(vpc, number).unwrap().to_string(), subnet);
            assert_eq!(number_of(subnet), Some(number), "{subnet}");
        }
    }

    #[test]
    fn only_a_slash_56_is_cut_up() {
        for vpc in ["2a05:d018::/48", "10.20.0.0/16", "", "2a05::/64"] {
            let why = nth_64(vpc, 1).unwrap_err().to_string();
            assert!(why.contains("not a /56"), "{why}");
        }
    }
}
