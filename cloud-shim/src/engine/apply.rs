//! Carries out a plan: what does not depend on each other at the same time.
//!
//! A part is *placed* once AWS has it and it can be used, and *done* once all
//! its fields are as they shall be. A part is made when all that it needs is
//! placed. It is changed when all that it refers to is done: a gateway is
//! attached before a route leads to it. Only parts of its own kind need not be
//! more than placed, so two groups whose rules speak of each other work. What
//! runs machines (the Auto Scaling group) comes when all else is done. Deletes
//! come last, backwards.
//!
//! Nothing is kept outside AWS: stopped anywhere, the next plan goes on from
//! what is there.

use core::cell::Cell;
use core::future::Future;
use core::pin::Pin;
use std::collections::BTreeSet;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use tokio::time::Instant;

use super::place::{Work, takes_token};
use super::{Action, Event, Ids, Observed, Part, Plan, Step};
use crate::error::{Error, Result};
use crate::kinds::{Context, Kind, Spec};

/// Carries out a plan, and tells the caller's [`Progress`](super::Progress).
///
/// # Errors
///
/// Why the plan is refused; or what failed first, and whatever else failed
/// while that was running. What was done stays.
pub async fn apply(plan: &Plan, context: &Context) -> Result<()> {
    plan.allowed()?;
    if let Some(unseen) = plan.unseen.first() {
        return Err(Error::refused(unseen));
    }
    build(plan, context).await?;
    clear(plan, context).await
}

/// How far a part is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Idle,
    Placing,
    Placed,
    Changing,
    Done,
}

type Running<'a> = Pin<Box<dyn Future<Output = (usize, Result<Option<Observed>>)> + 'a>>;

/// A part that is made or changed, and how far it is.
struct Site<'a> {
    step: &'a Step,
    spec: &'a Spec,
    stage: Stage,
    there: Option<Observed>,
    began: Instant,
}

impl Site<'_> {
    fn is(&self, part: &Part) -> bool {
        self.step.part == *part
    }

    fn is_done(&self) -> bool {
        self.stage == Stage::Done
    }
}

/// All parts that are made or changed.
struct Sites<'a> {
    sites: Vec<Site<'a>>,
    ids: Ids,
}

impl<'a> Sites<'a> {
    fn new(plan: &'a Plan) -> Self {
        let site = |step: &'a Step| {
            let stage = match step.action {
                Action::Keep => Stage::Done,
                Action::Change => Stage::Placed,
                _ => Stage::Idle,
            };
            Some(Site {
                step,
                spec: step.spec.as_ref()?,
                stage,
                there: step.observed.clone(),
                began: Instant::now(),
            })
        };
        Self {
            sites: plan.steps.iter().filter_map(site).collect(),
            ids: plan.ids().clone(),
        }
    }

    fn is_placed(&self, part: &Part) -> bool {
        let placed = |site: &Site<'_>| site.is(part) && site.stage >= Stage::Placed;
        self.sites.iter().any(placed)
    }

    /// Whether a part of this kind may speak of another part.
    fn is_ready_for(&self, kind: Kind, part: &Part) -> bool {
        let done = |site: &Site<'_>| site.is(part) && site.is_done();
        let alike = |site: &Site<'_>| site.is(part) && site.step.kind == kind;
        self.sites.iter().any(done) || (self.is_placed(part) && self.sites.iter().any(alike))
    }

    fn of_kind(&self, kind: Kind) -> impl Iterator<Item = &Site<'a>> {
        self.sites.iter().filter(move |site| site.step.kind == kind)
    }

    /// Whether a part can go to its next stage.
    fn is_free(&self, at: usize) -> bool {
        let Site {
            step, spec, stage, ..
        } = &self.sites[at];
        let placed = || spec.needs().iter().all(|part| self.is_placed(part));
        // Public addresses work only in a VPC with an attached gateway.
        let public = matches!(step.kind, Kind::Address | Kind::NatGateway);
        match stage {
            Stage::Placing | Stage::Changing | Stage::Done => false,
            _ if step.kind == Kind::Group && !self.is_last(at) => false,
            Stage::Idle if step.action == Action::Wait => true,
            _ if public && !self.of_kind(Kind::InternetGateway).all(Site::is_done) => false,
            Stage::Idle => placed() && self.has_token(step.kind),
            Stage::Placed => {
                let ready = |part| self.is_ready_for(step.kind, part);
                placed() && spec.refers_to().iter().all(ready)
            }
        }
    }

    /// Whether all others are done.
    fn is_last(&self, at: usize) -> bool {
        let done = |(other, site): (usize, &Site<'_>)| other == at || site.is_done();
        self.sites.iter().enumerate().all(done)
    }

    /// Whether a kind's client tokens can be told: they speak of the VPC, and
    /// must be the same in a run that goes on where this one stopped.
    fn has_token(&self, kind: Kind) -> bool {
        let placed = |site: &Site<'_>| site.stage >= Stage::Placed;
        !takes_token(kind) || self.of_kind(Kind::Vpc).all(placed)
    }

    /// The VPC's id, which is another one after `down` and `up`.
    fn incarnation(&self) -> String {
        self.of_kind(Kind::Vpc)
            .find_map(|site| self.ids.get(&site.step.part))
            .cloned()
            .unwrap_or_default()
    }

    /// Takes a part to its next stage.
    fn begin(&mut self, at: usize, context: &'a Context, stopped: &'a Cell<bool>) -> Running<'a> {
        let (ids, incarnation) = (self.ids.clone(), self.incarnation());
        let site = &mut self.sites[at];
        let Site { step, spec, .. } = *site;
        let work = Work {
            context,
            step,
            spec,
            ids,
            incarnation,
            stopped,
        };
        let first = site.stage == Stage::Idle;
        if first || step.action == Action::Change {
            let Step { part, action, .. } = step;
            let action = *action;
            context.caller.tell(&Event::Started { part, action });
            site.began = Instant::now();
        }
        if first {
            site.stage = Stage::Placing;
            return Box::pin(async move { (at, work.place().await) });
        }
        site.stage = Stage::Changing;
        let there = site.there.clone();
        Box::pin(async move { (at, work.change(there).await) })
    }

    /// Notes that a part has come to its next stage.
    fn note(&mut self, at: usize, there: Observed, context: &Context) {
        let site = &mut self.sites[at];
        let Step { part, action, .. } = site.step;
        self.ids.insert(part.clone(), there.id.clone());
        site.there = Some(there);
        if site.stage == Stage::Placing {
            site.stage = Stage::Placed;
            return;
        }
        site.stage = Stage::Done;
        let (action, took) = (*action, site.began.elapsed());
        context.caller.tell(&Event::Done { part, action, took });
    }
}

/// Makes and changes.
async fn build(plan: &Plan, context: &Context) -> Result<()> {
    // Once something has failed, nothing new is begun, and waits end.
    let stopped = Cell::new(false);
    let mut all = Sites::new(plan);
    let mut running = FuturesUnordered::new();
    let mut errors = Vec::new();
    loop {
        for at in 0..all.sites.len() {
            if !stopped.get() && all.is_free(at) {
                running.push(all.begin(at, context, &stopped));
            }
        }
        match running.next().await {
            None => break,
            Some((at, Ok(Some(there)))) => all.note(at, there, context),
            // It saw that another has failed.
            Some((_, Ok(None))) => {}
            Some((at, Err(error))) => {
                stopped.set(true);
                fail(&all.sites[at].step.part, error, context, &mut errors);
            }
        }
    }
    let open = all.sites.iter().filter(|site| !site.is_done());
    let open: Vec<_> = open.map(|site| site.step.part.as_str()).collect();
    if errors.is_empty() && !open.is_empty() {
        let open = open.join(", ");
        let why = format!("these need parts that are not there, or each other: {open}");
        return Err(Error::Refused(why));
    }
    several(errors)
}

/// Deletes, kind by kind from the last to the first.
async fn clear(plan: &Plan, context: &Context) -> Result<()> {
    let goes = |step: &&Step| {
        step.action == Action::Delete || (step.action == Action::Replace && step.replaces_late())
    };
    let gone: Vec<_> = plan
        .steps
        .iter()
        .filter(goes)
        .filter_map(|step| Some((step, step.observed.as_ref()?)))
        .collect();
    for kind in Kind::ALL.iter().rev() {
        let mut errors = Vec::new();
        let of_kind = gone.iter().filter(|(step, _)| step.kind == *kind);
        let deletes = of_kind.map(async |(step, old)| (*step, delete(step, old, context).await));
        for (step, outcome) in join_all(deletes).await {
            if let Err(error) = outcome {
                fail(&step.part, error, context, &mut errors);
            }
        }
        // What comes after may need this to be gone.
        several(errors)?;
    }
    Ok(())
}

async fn delete(step: &Step, old: &Observed, context: &Context) -> Result<()> {
    let (part, action) = (&step.part, Action::Delete);
    let began = Instant::now();
    context.caller.tell(&Event::Started { part, action });
    old.delete(context).await?;
    let took = began.elapsed();
    context.caller.tell(&Event::Done { part, action, took });
    Ok(())
}

fn fail(part: &Part, error: Error, context: &Context, errors: &mut Vec<Error>) {
    let told = &error;
    context.caller.tell(&Event::Failed { part, error: told });
    errors.push(error);
}

/// Nothing, the one error, or all of them, each said once.
fn several(mut errors: Vec<Error>) -> Result<()> {
    let mut said = BTreeSet::new();
    errors.retain(|error| said.insert(error.to_string()));
    match errors.len() {
        0 => Ok(()),
        1 => Err(errors.remove(0)),
        _ => Err(Error::Several(errors)),
    }
}
