//! A network interface that outlives the instance that uses it.

use core::time::Duration;
use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use super::{Context, Kind, Resource, gone_is_fine, part_of};
use crate::api::{
    ApiError, AssignIpv6Addresses, AssignPrivateIpAddresses, Attachment, CreateNetworkInterface,
    DeleteNetworkInterface, DescribeInstances, DescribeNetworkInterfaces, DescribeSubnets,
    DetachNetworkInterface, Filter, Id, ModifyNetworkInterfaceGroups,
    ModifyNetworkInterfaceSourceDestCheck, NetworkInterface, UnassignIpv6Addresses,
    UnassignPrivateIpAddresses,
};
use crate::engine::{Fields, Ids, Observed, PART_TAG, Part, State, Value, Waiting};
use crate::error::{Error, Result};

/// How long its subnet may take to have IPv6: by a change that may run at the
/// same time.
const IPV6_WITHIN: Duration = Duration::from_secs(180);
/// How long it may take to be free of an instance that is ending or that it
/// was detached from.
const FREE_WITHIN: Duration = Duration::from_secs(5 * 60);

/// A network interface as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Interface {
    /// Its subnet.
    pub subnet: Part,
    /// Its first address.
    pub primary: Ipv4Addr,
    /// Its further addresses.
    pub secondary: Vec<Ipv4Addr>,
    /// Whether it has an IPv6 address.
    pub ipv6: bool,
    /// Its groups.
    pub groups: Vec<Part>,
    /// Whether packets of other addresses are dropped.
    pub source_dest_check: bool,
}

impl Resource for Interface {
    const KIND: Kind = Kind::Interface;
    const FIXED: &'static [&'static str] = &["subnet", "primary"];

    fn needs(&self) -> Vec<Part> {
        let mut needs = self.groups.clone();
        needs.push(self.subnet.clone());
        needs
    }

    fn fields(&self, ids: &Ids, _: &Context) -> Fields {
        let groups = self.groups.iter().map(|group| ids.told(group));
        [
            ("subnet", ids.told(&self.subnet).into()),
            ("primary", self.primary.into()),
            ("secondary", Value::set(self.secondary())),
            ("ipv6", self.ipv6.into()),
            ("groups", Value::set(groups)),
            ("source-dest-check", self.source_dest_check.into()),
        ]
        .into()
    }

    /// Those without a part's tag are not parts: they come and go with the
    /// nodes.
    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let found = described(context, context.ours()).await?;
        let parts = found
            .into_iter()
            .filter(|it| it.tags.contains_key(PART_TAG));
        let observed = parts.map(|interface| Observed {
            kind: Self::KIND,
            part: part_of(&interface.tags),
            id: interface.id,
            state: State::Ready,
            fields: [
                ("subnet", interface.subnet.into()),
                ("primary", interface.primary.into()),
                ("secondary", Value::set(interface.secondary)),
                ("ipv6", (!interface.ipv6.is_empty()).into()),
                ("groups", Value::set(interface.groups)),
                ("source-dest-check", interface.source_dest_check.into()),
            ]
            .into(),
            tags: interface.tags,
        });
        Ok(observed.collect())
    }

    /// Its IPv6 address comes with the first change: the subnet's block may
    /// not be there yet.
    async fn create(&self, context: &Context, part: &Part, ids: &Ids, token: &str) -> Result<Id> {
        let request = CreateNetworkInterface {
            subnet: ids.told(&self.subnet),
            primary: self.primary.to_string(),
            secondary: self.secondary().collect(),
            ipv6_count: 0,
            groups: self.groups.iter().map(|group| ids.told(group)).collect(),
            description: context.name(part),
            token: token.to_owned(),
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
        let there = context
            .shown(&observed.id, async || one(context, &observed.id).await)
            .await?;
        let interface = || observed.id.clone();
        if fields.contains("groups") {
            let request = ModifyNetworkInterfaceGroups {
                interface: interface(),
                groups: self.groups.iter().map(|group| ids.told(group)).collect(),
            };
            caller.send(request).await?;
        }
        if fields.contains("source-dest-check") {
            let request = ModifyNetworkInterfaceSourceDestCheck {
                interface: interface(),
                check: self.source_dest_check,
            };
            caller.send(request).await?;
        }
        if fields.contains("secondary") {
            self.set_secondary(context, observed, &there).await?;
        }
        if fields.contains("ipv6") {
            self.set_ipv6(context, &there).await?;
        }
        Ok(())
    }

    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        let id = &observed.id;
        let Some(there) = one(context, id).await? else {
            return Ok(());
        };
        if let Some(attachment) = there.attachment {
            free(context, id, attachment).await?;
        }
        let interface = id.clone();
        let request = DeleteNetworkInterface { interface };
        gone_is_fine(context.caller.send(request).await)
    }
}

impl Interface {
    fn secondary(&self) -> impl Iterator<Item = String> {
        self.secondary.iter().map(ToString::to_string)
    }

    /// Takes away no address but those that were seen when it was decided.
    async fn set_secondary(
        &self,
        context: &Context,
        observed: &Observed,
        there: &NetworkInterface,
    ) -> Result<()> {
        let caller = &context.caller;
        let seen = |address: &String| match observed.fields.get("secondary") {
            Some(Value::Set(seen)) => seen.contains(address),
            _ => false,
        };
        let wanted: BTreeSet<String> = self.secondary().collect();
        let found: BTreeSet<String> = there.secondary.iter().cloned().collect();
        let interface = || there.id.clone();
        let extra = found.difference(&wanted).filter(|it| seen(it));
        let addresses: Vec<_> = extra.cloned().collect();
        if !addresses.is_empty() {
            let request = UnassignPrivateIpAddresses {
                interface: interface(),
                addresses: addresses.clone(),
            };
            let outcome = caller.send(request).await;
            unassigned(context, &there.id, &addresses, outcome).await?;
        }
        let addresses: Vec<_> = wanted.difference(&found).cloned().collect();
        if !addresses.is_empty() {
            let request = AssignPrivateIpAddresses {
                interface: interface(),
                addresses,
            };
            caller.send(request).await?;
        }
        Ok(())
    }

    async fn set_ipv6(&self, context: &Context, there: &NetworkInterface) -> Result<()> {
        let caller = &context.caller;
        if !self.ipv6 {
            give_up_ipv6(context, there).await?;
        } else if there.ipv6.is_empty() {
            let interface = there.id.clone();
            let subnet = &there.subnet;
            let what = format!("the IPv6 block of {subnet}");
            caller
                .wait(&what, IPV6_WITHIN, async || {
                    let filters = vec![Filter::new("subnet-id", subnet)];
                    let found = caller.send(DescribeSubnets { filters }).await?;
                    Ok(if found.iter().any(|subnet| subnet.ipv6.is_some()) {
                        Waiting::Done(())
                    } else {
                        Waiting::Not("none".to_owned())
                    })
                })
                .await?;
            let count = 1;
            let request = AssignIpv6Addresses { interface, count };
            caller.send(request).await?;
        }
        Ok(())
    }
}

/// Takes all IPv6 addresses of an interface away.
pub(super) async fn give_up_ipv6(context: &Context, there: &NetworkInterface) -> Result<()> {
    if there.ipv6.is_empty() {
        return Ok(());
    }
    let request = UnassignIpv6Addresses {
        interface: there.id.clone(),
        addresses: there.ipv6.clone(),
    };
    let outcome = context.caller.send(request).await;
    unassigned(context, &there.id, &there.ipv6, outcome).await
}

/// What taking addresses away came to. AWS refuses to take away what is not
/// there, which is so if another change was faster or an answer was lost.
async fn unassigned(
    context: &Context,
    interface: &Id,
    addresses: &[String],
    outcome: Result<(), ApiError>,
) -> Result<()> {
    let Err(error) = outcome else {
        return Ok(());
    };
    let there = one(context, interface).await?;
    let has = |address| {
        there
            .iter()
            .any(|it| it.secondary.contains(address) || it.ipv6.contains(address))
    };
    if error.code == "InvalidParameterValue" && !addresses.iter().any(has) {
        return Ok(());
    }
    Err(error.into())
}

/// Detaches an interface from what it hangs on, and waits until it is free.
async fn free(context: &Context, interface: &Id, attachment: Attachment) -> Result<()> {
    let caller = &context.caller;
    let instance = match &attachment.instance {
        Some(instance) => {
            let filters = vec![Filter::new("instance-id", instance)];
            let found = caller.send(DescribeInstances { filters }).await?;
            found.into_iter().next()
        }
        None => None,
    };
    let ending = instance
        .as_ref()
        .is_none_or(|it| ["shutting-down", "terminated"].contains(&it.state.as_str()));
    if let Some(instance) = instance.filter(|_| !ending) {
        let first = instance.interfaces.first();
        if first.is_some_and(|first| first.id == *interface) {
            let instance = instance.id;
            return Err(Error::refused(format!(
                "{interface} is the first interface of {instance}: terminate that first"
            )));
        }
        let attachment = attachment.id;
        let request = DetachNetworkInterface { attachment };
        gone_is_fine(caller.send(request).await)?;
    }
    let what = format!("{interface} to be free");
    caller
        .wait(&what, FREE_WITHIN, async || {
            let there = one(context, interface).await?;
            Ok(match there.and_then(|there| there.attachment) {
                None => Waiting::Done(()),
                Some(Attachment { instance, .. }) => {
                    let instance = instance.unwrap_or_default();
                    Waiting::Not(format!("attached to {instance}"))
                }
            })
        })
        .await
}

/// An interface as it is now; nothing if it is gone.
pub(super) async fn one(context: &Context, interface: &Id) -> Result<Option<NetworkInterface>> {
    let filters = vec![Filter::new("network-interface-id", interface)];
    Ok(described(context, filters).await?.into_iter().next())
}

/// Interfaces that pass.
pub(super) async fn described(
    context: &Context,
    filters: Vec<Filter>,
) -> Result<Vec<NetworkInterface>> {
    let request = DescribeNetworkInterfaces { filters };
    Ok(context.caller.send(request).await?)
}
