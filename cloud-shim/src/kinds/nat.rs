//! What costs by the hour: elastic addresses, and the NAT gateway.

use core::time::Duration;
use std::collections::BTreeSet;

use super::gateways::attached;
use super::interface::one;
use super::{Context, Kind, Resource, gone_is_fine, part_of, state_of};
use crate::api::{
    AllocateAddress, AssociateAddress, CreateNatGateway, DeleteNatGateway, DescribeAddresses,
    DescribeNatGateways, DescribeSubnets, DisassociateAddress, Filter, Id, ReleaseAddress,
};
use crate::engine::{Fields, Ids, Observed, Part, State, Waiting};
use crate::error::{Error, Result};

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
        let there = context
            .shown(&interface, async || one(context, &interface).await)
            .await?;
        unmap(context, &observed.id).await?;
        attached(context, &there.vpc, None).await?;
        let request = AssociateAddress {
            allocation: observed.id.clone(),
            interface,
            private: there.primary,
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
        let there = context
            .shown(&subnet, async || {
                let filters = vec![Filter::new("subnet-id", &subnet)];
                let found = caller.send(DescribeSubnets { filters }).await?;
                Ok(found.into_iter().next())
            })
            .await?;
        attached(context, &there.vpc, None).await?;
        let request = CreateNatGateway {
            subnet,
            allocation: ids.told(&self.address),
            token: token.to_owned(),
            tags: context.tags(part),
        };
        let id = caller.send(request).await?.id;
        available(context, &id).await?;
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

/// Waits until a NAT gateway is available: it takes no route before.
pub(super) async fn available(context: &Context, gateway: &Id) -> Result<()> {
    let what = format!("NAT gateway {gateway} to be available");
    context
        .caller
        .wait(&what, NAT_WITHIN, async || {
            Ok(match state(context, gateway).await? {
                Some(State::Ready) => Waiting::Done(()),
                Some(State::Failed(why)) => {
                    return Err(Error::refused(format!(
                        "NAT gateway {gateway} failed: {why}"
                    )));
                }
                // One that was just made may not be visible yet.
                state => Waiting::Not(format!("{state:?}")),
            })
        })
        .await
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
