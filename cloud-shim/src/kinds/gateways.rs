//! The two gateways that cost nothing: both ways for public addresses, and
//! outward only for IPv6.

use core::time::Duration;
use std::collections::BTreeSet;

use super::{Context, Kind, Resource, gone_is_fine, part_of};
use crate::api::{
    AttachInternetGateway, CreateEgressOnlyInternetGateway, CreateInternetGateway,
    DeleteEgressOnlyInternetGateway, DeleteInternetGateway, DescribeEgressOnlyInternetGateways,
    DescribeInternetGateways, DetachInternetGateway, Filter, Id,
};
use crate::engine::{Fields, Ids, LAB_TAG, Observed, Part, State, Waiting};
use crate::error::{Error, Result};

/// How long an internet gateway may take to be attached: by a change that may
/// run at the same time.
const ATTACHED_WITHIN: Duration = Duration::from_secs(120);

/// An internet gateway as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternetGateway {
    /// The VPC that it is attached to.
    pub vpc: Part,
}

/// An egress-only internet gateway as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressOnlyGateway {
    /// Its VPC.
    pub vpc: Part,
}

impl Resource for InternetGateway {
    const KIND: Kind = Kind::InternetGateway;
    const FIXED: &'static [&'static str] = &[];

    fn needs(&self) -> Vec<Part> {
        vec![self.vpc.clone()]
    }

    fn fields(&self, ids: &Ids, _: &Context) -> Fields {
        [("vpc", ids.told(&self.vpc).into())].into()
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let filters = context.ours();
        let request = DescribeInternetGateways { filters };
        let found = context.caller.send(request).await?;
        let observed = found.into_iter().map(|gateway| Observed {
            kind: Self::KIND,
            part: part_of(&gateway.tags),
            id: gateway.id,
            state: State::Ready,
            fields: [("vpc", gateway.vpc.as_deref().unwrap_or("none").into())].into(),
            tags: gateway.tags,
        });
        Ok(observed.collect())
    }

    async fn create(&self, context: &Context, part: &Part, _: &Ids, _: &str) -> Result<Id> {
        let tags = context.tags(part);
        let request = CreateInternetGateway { tags };
        Ok(context.caller.send(request).await?.id)
    }

    async fn change(
        &self,
        context: &Context,
        observed: &Observed,
        fields: &BTreeSet<&'static str>,
        ids: &Ids,
    ) -> Result<()> {
        if !fields.contains("vpc") {
            return Ok(());
        }
        let caller = &context.caller;
        let vpc = ids.told(&self.vpc);
        detach(context, &observed.id, Some(&vpc)).await?;
        // A VPC has one at most: another one of the lab makes room.
        let filters = vec![Filter::new("attachment.vpc-id", &vpc)];
        for other in caller.send(DescribeInternetGateways { filters }).await? {
            if other.id == observed.id {
                return Ok(());
            }
            if other.tags.get(LAB_TAG) != Some(&context.lab) {
                let other = other.id;
                return Err(Error::refused(format!(
                    "{vpc} has the internet gateway {other}, which is not the lab's: detach it"
                )));
            }
            detach(context, &other.id, None).await?;
        }
        let gateway = observed.id.clone();
        caller.send(AttachInternetGateway { gateway, vpc }).await?;
        Ok(())
    }

    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        detach(context, &observed.id, None).await?;
        let gateway = observed.id.clone();
        let request = DeleteInternetGateway { gateway };
        gone_is_fine(context.caller.send(request).await)
    }
}

/// Detaches a gateway from its VPC, unless that is `keep`.
async fn detach(context: &Context, gateway: &Id, keep: Option<&Id>) -> Result<()> {
    let filters = vec![Filter::new("internet-gateway-id", gateway)];
    let request = DescribeInternetGateways { filters };
    for found in context.caller.send(request).await? {
        let Some(vpc) = found.vpc.filter(|vpc| Some(vpc) != keep) else {
            continue;
        };
        let gateway = found.id;
        let request = DetachInternetGateway { gateway, vpc };
        match context.caller.send(request).await {
            Err(error) if error.code == "Gateway.NotAttached" => {}
            outcome => gone_is_fine(outcome)?,
        }
    }
    Ok(())
}

/// Waits until a VPC has an internet gateway, or this one. Without it AWS maps
/// no public address and takes no route, and a NAT gateway fails for good.
pub(super) async fn attached(context: &Context, vpc: &Id, gateway: Option<&Id>) -> Result<()> {
    let caller = &context.caller;
    let which = gateway.map_or("an internet gateway", Id::as_str);
    let what = format!("{which} to be attached to {vpc}");
    caller
        .wait(&what, ATTACHED_WITHIN, async || {
            let filters = vec![Filter::new("attachment.vpc-id", vpc)];
            let found = caller.send(DescribeInternetGateways { filters }).await?;
            let mut ids = found.into_iter().map(|there| there.id);
            Ok(
                if ids.any(|id| gateway.is_none_or(|gateway| *gateway == id)) {
                    Waiting::Done(())
                } else {
                    Waiting::Not("not attached".to_owned())
                },
            )
        })
        .await
}

impl Resource for EgressOnlyGateway {
    const KIND: Kind = Kind::EgressOnlyGateway;
    const FIXED: &'static [&'static str] = &["vpc"];

    fn needs(&self) -> Vec<Part> {
        vec![self.vpc.clone()]
    }

    fn fields(&self, ids: &Ids, _: &Context) -> Fields {
        [("vpc", ids.told(&self.vpc).into())].into()
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let filters = context.ours();
        let request = DescribeEgressOnlyInternetGateways { filters };
        let found = context.caller.send(request).await?;
        let observed = found.into_iter().map(|gateway| Observed {
            kind: Self::KIND,
            part: part_of(&gateway.tags),
            id: gateway.id,
            state: State::Ready,
            fields: [("vpc", gateway.vpc.into())].into(),
            tags: gateway.tags,
        });
        Ok(observed.collect())
    }

    async fn create(&self, context: &Context, part: &Part, ids: &Ids, token: &str) -> Result<Id> {
        let request = CreateEgressOnlyInternetGateway {
            vpc: ids.told(&self.vpc),
            token: token.to_owned(),
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
        // Its one field is fixed.
        Ok(())
    }

    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        let gateway = observed.id.clone();
        let request = DeleteEgressOnlyInternetGateway { gateway };
        gone_is_fine(context.caller.send(request).await)
    }
}
