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

/// The parts that are made or changed, and how far they are.
struct Site<'a> {
    steps: Vec<(&'a Step, &'a Spec)>,
    stages: Vec<Stage>,
    there: Vec<Option<Observed>>,
    began: Vec<Option<Instant>>,
    ids: Ids,
}

impl<'a> Site<'a> {
    fn new(plan: &'a Plan) -> Self {
        let steps: Vec<_> = plan
            .steps
            .iter()
            .filter_map(|step| Some((step, step.spec.as_ref()?)))
            .collect();
        let start = |(step, _): &(&Step, _)| match step.action {
            Action::Keep => Stage::Done,
            Action::Change => Stage::Placed,
            _ => Stage::Idle,
        };
        Self {
            stages: steps.iter().map(start).collect(),
            there: steps
                .iter()
                .map(|(step, _)| step.observed.clone())
                .collect(),
            began: vec![None; steps.len()],
            ids: plan.ids().clone(),
            steps,
        }
    }

    fn is_placed(&self, part: &Part) -> bool {
        self.of_part(part).any(|(_, stage)| stage >= Stage::Placed)
    }

    /// Whether a part of this kind may speak of another part.
    fn is_ready_for(&self, kind: Kind, part: &Part) -> bool {
        self.of_part(part)
            .any(|(of, stage)| stage == Stage::Done || (of == kind && stage >= Stage::Placed))
    }

    fn of_part(&self, part: &Part) -> impl Iterator<Item = (Kind, Stage)> {
        let both = self.steps.iter().zip(&self.stages);
        both.filter(move |((step, _), _)| step.part == *part)
            .map(|((step, _), stage)| (step.kind, *stage))
    }

    /// Whether all parts of a kind are done.
    fn is_done(&self, kind: Kind) -> bool {
        let mut both = self.steps.iter().zip(&self.stages);
        both.all(|((step, _), stage)| step.kind != kind || *stage == Stage::Done)
    }

    /// Whether a part can go to its next stage.
    fn is_free(&self, at: usize) -> bool {
        let (step, spec) = self.steps[at];
        let placed = |parts: Vec<Part>| parts.iter().all(|part| self.is_placed(part));
        match self.stages[at] {
            _ if step.kind == Kind::Group && !self.is_last(at) => false,
            Stage::Idle if step.action == Action::Wait => true,
            // Public addresses work only in a VPC with an attached gateway.
            _ if matches!(step.kind, Kind::Address | Kind::NatGateway)
                && !self.is_done(Kind::InternetGateway) =>
            {
                false
            }
            Stage::Idle => placed(spec.needs()) && self.has_token(step.kind),
            Stage::Placed => {
                let ready = |part| self.is_ready_for(step.kind, part);
                placed(spec.needs()) && spec.refers_to().iter().all(ready)
            }
            _ => false,
        }
    }

    /// Whether all others are done.
    fn is_last(&self, at: usize) -> bool {
        let done = |(other, stage): (usize, &Stage)| other == at || *stage == Stage::Done;
        self.stages.iter().enumerate().all(done)
    }

    /// Whether a kind's client tokens can be told: they speak of the VPC, and
    /// must be the same in a run that goes on where this one stopped.
    fn has_token(&self, kind: Kind) -> bool {
        let mut vpcs = self.steps.iter().filter(|(step, _)| step.kind == Kind::Vpc);
        !takes_token(kind) || vpcs.all(|(step, _)| self.is_placed(&step.part))
    }

    /// The VPC's id, which is another one after `down` and `up`.
    fn incarnation(&self) -> String {
        self.steps
            .iter()
            .filter(|(step, _)| step.kind == Kind::Vpc)
            .find_map(|(step, _)| self.ids.get(&step.part))
            .cloned()
            .unwrap_or_default()
    }

    /// Takes a part to its next stage.
    fn begin(&mut self, at: usize, context: &'a Context, stopped: &'a Cell<bool>) -> Running<'a> {
        let (step, spec) = self.steps[at];
        if self.began[at].is_none() {
            let Step { part, action, .. } = step;
            let action = *action;
            context.caller.tell(&Event::Started { part, action });
            self.began[at] = Some(Instant::now());
        }
        let work = Work {
            context,
            step,
            spec,
            ids: self.ids.clone(),
            incarnation: self.incarnation(),
            stopped,
        };
        if self.stages[at] == Stage::Idle {
            self.stages[at] = Stage::Placing;
            return Box::pin(async move { (at, work.place().await) });
        }
        self.stages[at] = Stage::Changing;
        let there = self.there[at].clone();
        Box::pin(async move { (at, work.change(there).await) })
    }

    /// Notes that a part has come to its next stage.
    fn note(&mut self, at: usize, there: Observed, context: &Context) {
        let (step, _) = self.steps[at];
        self.ids.insert(step.part.clone(), there.id.clone());
        self.there[at] = Some(there);
        if self.stages[at] == Stage::Placing {
            self.stages[at] = Stage::Placed;
            return;
        }
        self.stages[at] = Stage::Done;
        let Step { part, action, .. } = step;
        let (action, took) = (*action, self.took(at));
        context.caller.tell(&Event::Done { part, action, took });
    }

    fn took(&self, at: usize) -> core::time::Duration {
        self.began[at].map_or_else(Default::default, |began| began.elapsed())
    }
}

/// Makes and changes.
async fn build(plan: &Plan, context: &Context) -> Result<()> {
    // Once something has failed, nothing new is begun, and waits end.
    let stopped = Cell::new(false);
    let mut site = Site::new(plan);
    let mut running = FuturesUnordered::new();
    let mut errors = Vec::new();
    loop {
        for at in 0..site.steps.len() {
            if !stopped.get() && site.is_free(at) {
                running.push(site.begin(at, context, &stopped));
            }
        }
        match running.next().await {
            None => break,
            Some((at, Ok(Some(there)))) => site.note(at, there, context),
            // It saw that another has failed.
            Some((_, Ok(None))) => {}
            Some((at, Err(error))) => {
                stopped.set(true);
                fail(&site.steps[at].0.part, error, context, &mut errors);
            }
        }
    }
    let open = site.stages.iter().zip(&site.steps);
    let open: Vec<_> = open
        .filter(|(stage, _)| **stage != Stage::Done)
        .map(|(_, (step, _))| step.part.as_str())
        .collect();
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
