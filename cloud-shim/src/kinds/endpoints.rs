//! The two free endpoints: S3 by route, and EC2 Instance Connect for SSH.

use core::time::Duration;
use std::collections::BTreeSet;

use super::{Context, Kind, Resource, gone_is_fine, part_of, state_of};
use crate::api::{
    CreateInstanceConnectEndpoint, CreateVpcEndpoint, DeleteInstanceConnectEndpoint,
    DeleteVpcEndpoint, DescribeInstanceConnectEndpoints, DescribeVpcEndpoints, Filter, Id,
    InstanceConnectEndpoint, ModifyVpcEndpoint, VpcEndpoint,
};
use crate::engine::{Fields, Ids, Observed, Part, State, Value, Waiting};
use crate::error::{Error, Result};

/// How long an endpoint may take to go. An Instance Connect endpoint takes
/// minutes, and holds an interface in its subnet until then.
const GONE_WITHIN: Duration = Duration::from_secs(15 * 60);

/// How long an Instance Connect endpoint may take to be made.
const MADE_WITHIN: Duration = Duration::from_secs(10 * 60);

/// The gateway endpoint for S3 as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GatewayEndpoint {
    /// Its VPC.
    pub vpc: Part,
    /// Route tables that lead to it.
    pub tables: Vec<Part>,
}

/// An EC2 Instance Connect endpoint as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectEndpoint {
    /// The subnet that it stands in.
    pub subnet: Part,
    /// Its group.
    pub group: Part,
}

/// S3 in the region, as endpoints name it.
fn s3(context: &Context) -> String {
    format!("com.amazonaws.{}.s3", context.caller.region())
}

impl Resource for GatewayEndpoint {
    const KIND: Kind = Kind::GatewayEndpoint;
    const FIXED: &'static [&'static str] = &["vpc", "service", "type"];

    fn needs(&self) -> Vec<Part> {
        vec![self.vpc.clone()]
    }

    fn refers_to(&self) -> Vec<Part> {
        self.tables.clone()
    }

    fn fields(&self, ids: &Ids, context: &Context) -> Fields {
        let tables = self.tables.iter().map(|table| ids.told(table));
        [
            ("vpc", ids.told(&self.vpc).into()),
            ("service", s3(context).into()),
            ("type", "Gateway".into()),
            ("tables", Value::set(tables)),
        ]
        .into()
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let filters = context.ours();
        let request = DescribeVpcEndpoints { filters };
        let found = context.caller.send(request).await?;
        let observed = found.into_iter().filter_map(|endpoint| {
            Some(Observed {
                kind: Self::KIND,
                part: part_of(&endpoint.tags),
                id: endpoint.id,
                state: state_of(&endpoint.state, None)?,
                fields: [
                    ("vpc", endpoint.vpc.into()),
                    ("service", endpoint.service.into()),
                    ("type", endpoint.kind.into()),
                    ("tables", Value::set(endpoint.tables)),
                ]
                .into(),
                tags: endpoint.tags,
            })
        });
        Ok(observed.collect())
    }

    /// Its tables come with the first change: were they in this call, it could
    /// not be repeated with the same token after a table was made anew.
    async fn create(&self, context: &Context, part: &Part, ids: &Ids, token: &str) -> Result<Id> {
        let request = CreateVpcEndpoint {
            vpc: ids.told(&self.vpc),
            service: s3(context),
            tables: Vec::new(),
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
        if !fields.contains("tables") {
            return Ok(());
        }
        let endpoint = context
            .shown(&observed.id, async || one(context, &observed.id).await)
            .await?;
        let there: BTreeSet<Id> = endpoint.tables.into_iter().collect();
        let wanted: BTreeSet<Id> = self.tables.iter().map(|it| ids.told(it)).collect();
        if there == wanted {
            return Ok(());
        }
        let request = ModifyVpcEndpoint {
            endpoint: endpoint.id,
            add_tables: wanted.difference(&there).cloned().collect(),
            remove_tables: there.difference(&wanted).cloned().collect(),
        };
        context.caller.send(request).await?;
        Ok(())
    }

    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        let id = &observed.id;
        if observed.state != State::Going {
            let endpoint = id.clone();
            let request = DeleteVpcEndpoint { endpoint };
            gone_is_fine(context.caller.send(request).await)?;
        }
        let what = format!("endpoint {id}");
        context
            .until_gone(&what, GONE_WITHIN, async || {
                let state = one(context, id).await?.map(|endpoint| endpoint.state);
                Ok(state.filter(|state| state_of(state, None).is_some()))
            })
            .await
    }
}

/// A gateway endpoint as it is now; nothing if it is gone.
async fn one(context: &Context, endpoint: &Id) -> Result<Option<VpcEndpoint>> {
    let filters = vec![Filter::new("vpc-endpoint-id", endpoint)];
    let request = DescribeVpcEndpoints { filters };
    let found = context.caller.send(request).await?;
    Ok(found.into_iter().next())
}

impl Resource for ConnectEndpoint {
    const KIND: Kind = Kind::ConnectEndpoint;
    const FIXED: &'static [&'static str] = &["subnet", "groups"];

    fn needs(&self) -> Vec<Part> {
        vec![self.subnet.clone(), self.group.clone()]
    }

    fn fields(&self, ids: &Ids, _: &Context) -> Fields {
        [
            ("subnet", ids.told(&self.subnet).into()),
            ("groups", Value::set([ids.told(&self.group)])),
        ]
        .into()
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let filters = context.ours();
        let request = DescribeInstanceConnectEndpoints { filters };
        let found = context.caller.send(request).await?;
        let observed = found.into_iter().filter_map(|endpoint| {
            Some(Observed {
                kind: Self::KIND,
                part: part_of(&endpoint.tags),
                id: endpoint.id,
                state: state_of(&endpoint.state, endpoint.message.as_deref())?,
                fields: [
                    ("subnet", endpoint.subnet.into()),
                    ("groups", Value::set(endpoint.groups)),
                ]
                .into(),
                tags: endpoint.tags,
            })
        });
        Ok(observed.collect())
    }

    /// Does not wait: nothing refers to it, and it takes up to ten minutes. It
    /// shows as pending until then.
    async fn create(&self, context: &Context, part: &Part, ids: &Ids, token: &str) -> Result<Id> {
        let request = CreateInstanceConnectEndpoint {
            subnet: ids.told(&self.subnet),
            groups: vec![ids.told(&self.group)],
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
        // All its fields are fixed.
        Ok(())
    }

    /// One that is still being made cannot be deleted before it is there.
    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        let caller = &context.caller;
        let id = &observed.id;
        let state = async || -> Result<Option<State>> {
            let filters = vec![Filter::new("instance-connect-endpoint-id", id)];
            let request = DescribeInstanceConnectEndpoints { filters };
            let found = caller.send(request).await?;
            let state = |it: InstanceConnectEndpoint| state_of(&it.state, it.message.as_deref());
            Ok(found.into_iter().find_map(state))
        };
        let what = format!("instance connect endpoint {id} to be made");
        let made = caller.wait(&what, MADE_WITHIN, async || {
            Ok(match state().await? {
                Some(State::Pending) => Waiting::Not("pending".to_owned()),
                state => Waiting::Done(state),
            })
        });
        match made.await? {
            None => return Ok(()),
            Some(State::Going) => {}
            Some(_) => {
                let endpoint = id.clone();
                let request = DeleteInstanceConnectEndpoint { endpoint };
                match caller.send(request).await {
                    // Its answer was lost, and it goes already.
                    Err(error) if error.code == "IncorrectState" => {}
                    outcome => gone_is_fine(outcome)?,
                }
            }
        }
        let what = format!("instance connect endpoint {id}");
        context
            .until_gone(&what, GONE_WITHIN, async || {
                Ok(match state().await? {
                    Some(State::Failed(why)) => {
                        return Err(Error::refused(format!("{what} does not go: {why}")));
                    }
                    state => state.map(|state| format!("{state:?}")),
                })
            })
            .await
    }
}
