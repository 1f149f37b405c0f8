//! Starting nodes: each with its schedule before the next is begun.

use core::time::Duration;
use std::collections::BTreeSet;

use super::{Fleet, Node, Say, seconds};
use crate::api::{
    ApiError, CreateTags, DescribeLaunchTemplates, Filter, GetRole, GetScheduleGroupTags, Id,
    Instance, Request as _, RunInstances, TerminateInstances,
};
use crate::design::parts;
use crate::engine::{NAME_TAG, PART_TAG, Part, Waiting};
use crate::error::{Error, Result};
use crate::kinds::unless_gone;
use crate::status::Bastion;

/// How long an instance may take to run.
const RUNNING_WITHIN: Duration = Duration::from_secs(300);

impl Fleet<'_> {
    /// Starts so many nodes, and waits until they run. Gives those that were
    /// started.
    ///
    /// # Errors
    ///
    /// [`Error::Refused`] if the replica is not up, its bastion is off or there
    /// would be too many nodes; what a call failed with otherwise. Nodes that
    /// were started before that stay, and each has an end.
    pub async fn up(&self, count: u32, say: Say<'_>) -> Result<Vec<Node>> {
        if count == 0 {
            return Err(Error::refused("cloud-node up takes how many: 1 or more"));
        }
        let template = self.ground().await?;
        let there = self.tended(say).await?;
        let live = there.iter().filter(|node| node.is_live()).count();
        let max = self.config.nodes.max;
        if live + count as usize > max as usize {
            return Err(Error::refused(format!(
                "{live} nodes are there and {count} more are asked for, but nodes.max is {max}: \
                 end some with `cloud-node down`, or raise it in cloud.toml"
            )));
        }
        let taken: BTreeSet<_> = there.into_iter().map(|node| node.name).collect();
        let prefix = self.context.name(&parts::NODE);
        let names = (1_u32..)
            .map(|number| format!("{prefix}-{number}"))
            .filter(|name| !taken.contains(name));
        let run = token()?;
        let mut started = Vec::new();
        for name in names.take(count as usize) {
            let node = self
                .start(&template, &name, format!("{run}-{name}"))
                .await?;
            say(&told(&node));
            started.push(node);
        }
        for node in &mut started {
            self.until_running(node).await?;
        }
        Ok(started)
    }

    /// Whether all is there that a node needs; gives the template.
    async fn ground(&self) -> Result<Id> {
        let caller = &self.context.caller;
        let missing = |part: &Part| {
            Error::refused(format!(
                "lab {} has no {part}: build the replica with `cargo xtask cloud-up` first",
                self.context.lab
            ))
        };
        let mut filters = self.context.ours();
        filters.push(Filter::tag(PART_TAG, parts::NODE_TEMPLATE.as_str()));
        let request = DescribeLaunchTemplates { filters };
        let template = caller.send(request).await?.pop();
        let template = template.ok_or_else(|| missing(&parts::NODE_TEMPLATE))?;
        let name = self.context.name(&parts::REAPER_ROLE);
        unless_gone(caller.send(GetRole { name }).await)?
            .ok_or_else(|| missing(&parts::REAPER_ROLE))?;
        let name = self.group();
        unless_gone(caller.send(GetScheduleGroupTags { name }).await)?
            .ok_or_else(|| missing(&parts::NODES))?;
        let bastion = Bastion::look(self.context, self.now).await?;
        if bastion.is_running() {
            Ok(template.id)
        } else {
            Err(Error::refused(format!(
                "no node is started, as nothing would answer it: {}",
                bastion.why_off(self.context)
            )))
        }
    }

    /// Starts one node and gives it its end; if it cannot have one, it is
    /// ended again.
    async fn start(&self, template: &Id, name: &str, token: String) -> Result<Node> {
        let caller = &self.context.caller;
        let mut tags = self.context.tags(&parts::NODE);
        tags.insert(NAME_TAG.to_owned(), name.to_owned());
        let request = RunInstances {
            template: template.clone(),
            count: 1,
            token,
            tags: tags.clone(),
        };
        let Some(mut instance) = caller.send(request).await?.pop() else {
            return Err(ApiError::not_understood(RunInstances::NAME, "no instance").into());
        };
        let ends = self.end_of(seconds(instance.launched));
        let scheduled = self.schedule_end(&instance.id, ends).await;
        if !matches!(scheduled, Ok(true)) {
            return Err(self.undo(&instance, scheduled.err()).await);
        }
        // The template has a name, too, and its tags come on top.
        if instance.tags.get(NAME_TAG).map(String::as_str) != Some(name) {
            let request = CreateTags {
                resource: instance.id.clone(),
                tags: tags.clone(),
            };
            caller.send(request).await?;
            instance.tags = tags;
        }
        Ok(Node::new(instance, Some(ends)))
    }

    /// Ends an instance that could not be given an end, and says how that went.
    async fn undo(&self, instance: &Instance, why: Option<Error>) -> Error {
        let id = &instance.id;
        let group = self.group();
        let why = why.map_or_else(
            || format!("the reaper's role or the schedule group {group} is gone"),
            |why| why.to_string(),
        );
        let instances = vec![id.clone()];
        let request = TerminateInstances { instances };
        Error::refused(match self.context.caller.send(request).await {
            Ok(()) => format!("{id} was ended again, as it could not be given an end: {why}"),
            Err(error) => format!(
                "{id} RUNS WITHOUT AN END ({why}) and could not be ended ({error}): \
                 run `cloud-node down {id}`"
            ),
        })
    }

    /// Waits until a node runs, and reads what is known of it only then.
    async fn until_running(&self, node: &mut Node) -> Result<()> {
        let Node { id, name, ends, .. } = &*node;
        let what = format!("{name} ({id}) to run");
        let running = self
            .context
            .caller
            .wait(&what, RUNNING_WITHIN, async || {
                let found = self.instances().await?;
                let Some(instance) = found.into_iter().find(|instance| instance.id == *id) else {
                    return Ok(Waiting::Not("not seen yet".to_owned()));
                };
                match instance.state.as_str() {
                    "running" => Ok(Waiting::Done(instance)),
                    "pending" => Ok(Waiting::Not(instance.state)),
                    state => Err(Error::refused(format!(
                        "{name} ({id}) is {state}: {}",
                        instance
                            .state_reason
                            .as_deref()
                            .unwrap_or("AWS gives no reason")
                    ))),
                }
            })
            .await?;
        *node = Node::new(running, *ends);
        Ok(())
    }
}

/// A node that was started, in a line.
fn told(node: &Node) -> String {
    let Node { id, name, .. } = node;
    let ends = node.ends.map_or_else(String::new, |ends| ends.to_string());
    format!("{name} ({id}) is started and ends at {ends}")
}

/// Makes the client tokens of one `up` different from those of another.
fn token() -> Result<String> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes)
        .map_err(|error| Error::refused(format!("no random numbers to be had: {error}")))?;
    Ok(format!("{:016x}", u64::from_be_bytes(bytes)))
}
