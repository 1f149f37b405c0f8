//! The group for the schedules that end nodes when their time is up.

use core::time::Duration;
use std::collections::BTreeSet;

use super::{Context, Kind, Resource, part_of, unless_gone};
use crate::api::{
    CreateScheduleGroup, DeleteScheduleGroup, GetScheduleGroupTags, Id, ListScheduleGroups,
};
use crate::engine::{Fields, Ids, LAB_TAG, Observed, Part, State};
use crate::error::Result;

/// How long a group and its schedules may take to go.
const GONE_WITHIN: Duration = Duration::from_secs(300);

/// A schedule group as it shall be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScheduleGroup {}

impl Resource for ScheduleGroup {
    const KIND: Kind = Kind::ScheduleGroup;
    const FIXED: &'static [&'static str] = &[];

    fn needs(&self) -> Vec<Part> {
        Vec::new()
    }

    fn fields(&self, _: &Ids, _: &Context) -> Fields {
        Fields::new()
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let caller = &context.caller;
        let prefix = format!("ichor-{}-", context.lab);
        let mut found = Vec::new();
        for name in caller.send(ListScheduleGroups { prefix }).await? {
            let request = GetScheduleGroupTags { name: name.clone() };
            let Some(tags) = unless_gone(caller.send(request).await)? else {
                continue;
            };
            if tags.get(LAB_TAG) == Some(&context.lab) {
                found.push(Observed {
                    kind: Kind::ScheduleGroup,
                    part: part_of(&tags),
                    id: name,
                    state: State::Ready,
                    fields: Fields::new(),
                    tags,
                });
            }
        }
        Ok(found)
    }

    async fn create(&self, context: &Context, part: &Part, _: &Ids, token: &str) -> Result<Id> {
        let name = context.name(part);
        let request = CreateScheduleGroup {
            name: name.clone(),
            token: token.to_owned(),
            tags: context.tags(part),
        };
        context.caller.send(request).await?;
        Ok(name)
    }

    async fn change(
        &self,
        _: &Context,
        _: &Observed,
        _: &BTreeSet<&'static str>,
        _: &Ids,
    ) -> Result<()> {
        Ok(())
    }

    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        let caller = &context.caller;
        let name = || observed.id.clone();
        match caller.send(DeleteScheduleGroup { name: name() }).await {
            Err(error) if error.is_not_found() => return Ok(()),
            // It is being deleted already.
            Err(error) if error.code != "ConflictException" => return Err(error.into()),
            _ => {}
        }
        let what = format!("schedule group {}", observed.id);
        context
            .until_gone(&what, GONE_WITHIN, async || {
                let request = GetScheduleGroupTags { name: name() };
                let there = unless_gone(caller.send(request).await)?;
                Ok(there.map(|_| "still there".to_owned()))
            })
            .await
    }
}
