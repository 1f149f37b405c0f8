//! What costs by the hour: elastic addresses, and the NAT gateway.

use core::time::Duration;
use std::collections::BTreeSet;

use super::{Context, Kind, Resource, gone_is_fine, part_of, state_of};
use crate::api::{
    AllocateAddress, AssociateAddress, CreateNatGateway, DeleteNatGateway, DescribeAddresses,
    DescribeInternetGateways, DescribeNatGateways, DescribeNetworkInterfaces, DescribeSubnets,
    DisassociateAddress, Filter, Id, ReleaseAddress,
};
use crate::engine::{Fields, Ids, Observed, Part, State, Waiting};
use crate::error::{Error, Result};

/// How long an internet gateway may take to be attached: by a change that may
/// run at the same time.
const ATTACHED_WITHIN: Duration = Duration::from_secs(120);
/// How long a NAT gateway may take to come or go; minutes are usual.
const NAT_WITHIN: Duration = Duration::from_secs(10 * 60);

/// An elastic address as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The interface whose first address it is mapped to, if not to a NAT
    /// gateway.
    pub interface: Option<Part>,
}

/// A NAT gateway as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatGateway {
    /// The subnet that it stands in.
    pub subnet: Part,
    /// Its elastic address.
    pub address: Part,
}

impl Resource for Address {
    const KIND: Kind = Kind::Address;
    const FIXED: &'static [&'static str] = &[];

    /// It costs from the moment it is there: not before its interface is.
    fn needs(&self) -> Vec<Part> {
        self.interface.iter().cloned().collect()
    }

    /// One that is not for an interface is mapped by its NAT gateway, which
    /// says so in its own fields.
    fn fields(&self, ids: &Ids, _: &Context) -> Fields {
        let interface = self.interface.as_ref();
        interface
            .map(|interface| ("interface", ids.told(interface).into()))
            .into_iter()
            .collect()
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let filters = context.ours();
        let found = context.caller.send(DescribeAddresses { filters }).await?;
        let observed = found.into_iter().map(|address| {
            let interface = address.interface.as_deref().unwrap_or("none");
            Observed {
                kind: Self::KIND,
                part: part_of(&address.tags),
                id: address.id,
                state: State::Ready,
                fields: [
                    ("interface", interface.into()),
                    ("public", address.public.into()),
                ]
                .into(),
                tags: address.tags,
            }
        });
        Ok(observed.collect())
    }

    async fn create(&self, context: &Context, part: &Part, _: &Ids, _: &str) -> Result<Id> {
        let tags = context.tags(part);
        Ok(context.caller.send(AllocateAddress { tags }).await?.id)
    }

    async fn change(
        &self,
        context: &Context,
        observed: &Observed,
        fields: &BTreeSet<&'static str>,
        ids: &Ids,
    ) -> Result<()> {
        let Some(interface) = self.interface.as_ref().map(|part| ids.told(part)) else {
            return Ok(());
        };
        if !fields.contains("interface") {
            return Ok(());
        }
        let filters = vec![Filter::new("network-interface-id", &interface)];
        let request = DescribeNetworkInterfaces { filters };
        let found = context.caller.send(request).await?;
        let Some(found) = found.into_iter().next() else {
            return Err(Error::refused(format!("{interface} is not there any more")));
        };
        unmap(context, &observed.id).await?;
        attached(context, &found.vpc).await?;
        let request = AssociateAddress {
            allocation: observed.id.clone(),
            interface,
            private: found.primary,
        };
        context.caller.send(request).await?;
        Ok(())
    }

    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        unmap(context, &observed.id).await?;
        let allocation = observed.id.clone();
        gone_is_fine(context.caller.send(ReleaseAddress { allocation }).await)
    }
}

/// Takes the mapping of an elastic address away, if it has one.
async fn unmap(context: &Context, allocation: &Id) -> Result<()> {
    let filters = vec![Filter::new("allocation-id", allocation)];
    let found = context.caller.send(DescribeAddresses { filters }).await?;
    for association in found.into_iter().filter_map(|address| address.association) {
        let request = DisassociateAddress { association };
        gone_is_fine(context.caller.send(request).await)?;
    }
    Ok(())
}

/// Waits until the VPC has an internet gateway: without one AWS maps no public
/// address, and a NAT gateway fails for good.
async fn attached(context: &Context, vpc: &Id) -> Result<()> {
    let caller = &context.caller;
    let what = format!("an internet gateway attached to {vpc}");
    caller
        .wait(&what, ATTACHED_WITHIN, async || {
            let filters = vec![Filter::new("attachment.vpc-id", vpc)];
            let found = caller.send(DescribeInternetGateways { filters }).await?;
            Ok(if found.is_empty() {
                Waiting::Not("none".to_owned())
            } else {
                Waiting::Done(())
            })
        })
        .await
}

impl Resource for NatGateway {
    const KIND: Kind = Kind::NatGateway;
    const FIXED: &'static [&'static str] = &["subnet", "address"];

    fn needs(&self) -> Vec<Part> {
        vec![self.subnet.clone(), self.address.clone()]
    }

    fn fields(&self, ids: &Ids, _: &Context) -> Fields {
        [
            ("subnet", ids.told(&self.subnet).into()),
            ("address", ids.told(&self.address).into()),
        ]
        .into()
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let filters = context.ours();
        let found = context.caller.send(DescribeNatGateways { filters }).await?;
        let observed = found.into_iter().filter_map(|gateway| {
            Some(Observed {
                kind: Self::KIND,
                part: part_of(&gateway.tags),
                id: gateway.id,
                state: state_of(&gateway.state, gateway.failure.as_deref())?,
                fields: [
                    ("subnet", gateway.subnet.into()),
                    ("address", gateway.allocations.join(", ").into()),
                ]
                .into(),
                tags: gateway.tags,
            })
        });
        Ok(observed.collect())
    }

    /// Routes to it work once it is available, so that is waited for.
    async fn create(&self, context: &Context, part: &Part, ids: &Ids, token: &str) -> Result<Id> {
        let caller = &context.caller;
        let subnet = ids.told(&self.subnet);
        let filters = vec![Filter::new("subnet-id", &subnet)];
        for subnet in caller.send(DescribeSubnets { filters }).await? {
            attached(context, &subnet.vpc).await?;
        }
        let request = CreateNatGateway {
            subnet,
            allocation: ids.told(&self.address),
            token: token.to_owned(),
            tags: context.tags(part),
        };
        let id = caller.send(request).await?.id;
        let what = format!("NAT gateway {id} to be available");
        caller
            .wait(&what, NAT_WITHIN, async || {
                Ok(match state(context, &id).await? {
                    Some(State::Ready) => Waiting::Done(()),
                    Some(State::Failed(why)) => {
                        return Err(Error::refused(format!("NAT gateway {id} failed: {why}")));
                    }
                    // One that was just made may not be visible yet.
                    state => Waiting::Not(format!("{state:?}")),
                })
            })
            .await?;
        Ok(id)
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

    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        let id = &observed.id;
        if observed.state != State::Going {
            let gateway = id.clone();
            let request = DeleteNatGateway { gateway };
            gone_is_fine(context.caller.send(request).await)?;
        }
        let what = format!("NAT gateway {id}");
        context
            .until_gone(&what, NAT_WITHIN, async || {
                Ok(match state(context, id).await? {
                    // AWS itself removes one that failed, within the hour; it
                    // holds no address and costs nothing.
                    None | Some(State::Failed(_)) => None,
                    Some(state) => Some(format!("{state:?}")),
                })
            })
            .await
    }
}

/// How far a NAT gateway is; nothing if it is gone.
async fn state(context: &Context, gateway: &Id) -> Result<Option<State>> {
    let filters = vec![Filter::new("nat-gateway-id", gateway)];
    let request = DescribeNatGateways { filters };
    let found = context.caller.send(request).await?;
    Ok(found
        .into_iter()
        .find_map(|it| state_of(&it.state, it.failure.as_deref())))
}
