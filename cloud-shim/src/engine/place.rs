//! One part: made, found again where a call was lost, and brought to its
//! fields, in the face of answers that come late, twice or not at all.

use core::cell::Cell;
use core::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::{Instant, sleep};

use super::caller::LOOK_AGAIN;
use super::retry::{is_already, is_unsure};
use super::{Change, Event, Ids, Observed, State, Step, changes};
use crate::api::Id;
use crate::error::{Error, Result};
use crate::kinds::{Context, Kind, Spec};

/// How long something that was made may stay out of Describe calls.
const SEEN_WITHIN: Duration = Duration::from_secs(90);
/// How long one looks for what a call may have made whose answer was lost.
pub(super) const FOUND_WITHIN: Duration = Duration::from_secs(40);
/// How long a part may be pending: an Instance Connect endpoint takes minutes.
const READY_WITHIN: Duration = Duration::from_secs(15 * 60);
/// How long Describe calls may show a part as it was before a change.
const CHANGED_WITHIN: Duration = Duration::from_secs(45);
/// How often one part is made or changed in one go.
const ATTEMPTS: u32 = 4;

/// The work on one part.
pub(super) struct Work<'a> {
    pub(super) context: &'a Context,
    pub(super) step: &'a Step,
    pub(super) spec: &'a Spec,
    /// The parts that are there.
    pub(super) ids: Ids,
    /// What client tokens change with: see [`Work::token`].
    pub(super) incarnation: String,
    /// Another part has failed: waits end.
    pub(super) stopped: &'a Cell<bool>,
}

/// How a look for a part ended.
enum Look {
    /// It is there and can be used.
    Ready(Observed),
    /// AWS does not show it.
    Absent,
    /// Another part failed meanwhile.
    Stopped,
}

/// What one looks for.
#[derive(Clone, Copy)]
enum Wanted<'a> {
    /// This one.
    Id(&'a Id),
    /// One of this part that was not there when the plan was made.
    New,
}

impl Work<'_> {
    /// Makes the part, or waits until one that is there can be used. Nothing
    /// if another part failed meanwhile.
    pub(super) async fn place(&self) -> Result<Option<Observed>> {
        use super::Action::{Replace, Wait};
        match (self.step.action, &self.step.observed) {
            (Wait, Some(there)) => {
                return match self.look(Wanted::Id(&there.id), SEEN_WITHIN).await? {
                    Look::Ready(there) => Ok(Some(there)),
                    Look::Absent => Err(self.late("to be shown", SEEN_WITHIN, "nothing")),
                    Look::Stopped => Ok(None),
                };
            }
            (Replace, Some(old)) if !self.step.replaces_late() => {
                old.delete(self.context).await?;
            }
            _ => {}
        }
        for attempt in 0..ATTEMPTS {
            match self.make(attempt).await? {
                Look::Ready(made) => return Ok(Some(made)),
                Look::Absent => {}
                Look::Stopped => return Ok(None),
            }
        }
        Err(self.late("to be made", SEEN_WITHIN, "AWS does not show what was made"))
    }

    /// Makes it once. [`Look::Absent`] if it may be tried once more.
    async fn make(&self, attempt: u32) -> Result<Look> {
        let Self {
            context,
            step,
            spec,
            ids,
            ..
        } = self;
        let token = self.token(attempt);
        let error = match spec.create(context, &step.part, ids, &token).await {
            Ok(id) => {
                let look = self.look(Wanted::Id(&id), SEEN_WITHIN).await?;
                return match look {
                    // An old token brings back what was deleted since.
                    Look::Absent if takes_token(step.kind) => Ok(Look::Absent),
                    Look::Absent => {
                        Err(self.late(&format!("{id} to be shown"), SEEN_WITHIN, "nothing"))
                    }
                    look => Ok(look),
                };
            }
            Err(error) => error,
        };
        let Error::Api(said) = &error else {
            return Err(error);
        };
        if is_unsure(said) {
            self.look(Wanted::New, FOUND_WITHIN).await
        } else if said.code == "IdempotentParameterMismatch" {
            // The token was used when the part was to be otherwise.
            Ok(Look::Absent)
        } else if is_already(said) {
            // By one that AWS does not show yet, or by somebody else.
            match self.look(Wanted::New, SEEN_WITHIN).await? {
                Look::Absent => Err(error),
                look => Ok(look),
            }
        } else {
            Err(error)
        }
    }

    /// Looks until the part is there and ready; if AWS does not show it at
    /// all, for so long.
    async fn look(&self, wanted: Wanted<'_>, shown_within: Duration) -> Result<Look> {
        let began = Instant::now();
        loop {
            let there = self.step.kind.observe(self.context).await?;
            let found = there.into_iter().find(|one| self.is(one, wanted));
            let seen = match found {
                Some(one) => match &one.state {
                    State::Ready => return Ok(Look::Ready(one)),
                    State::Failed(why) => return Err(self.failed(&one, why)),
                    State::Going => return Ok(Look::Absent),
                    State::Pending if began.elapsed() >= READY_WITHIN => {
                        return Err(self.late("to be ready", READY_WITHIN, "pending"));
                    }
                    State::Pending => "pending",
                },
                None if began.elapsed() >= shown_within => return Ok(Look::Absent),
                None => "not shown yet",
            };
            if self.stopped.get() {
                return Ok(Look::Stopped);
            }
            let what = self.step.part.as_str();
            self.context.caller.tell(&Event::Waiting { what, seen });
            sleep(LOOK_AGAIN).await;
        }
    }

    fn is(&self, one: &Observed, wanted: Wanted<'_>) -> bool {
        match wanted {
            Wanted::Id(id) => one.id == *id,
            Wanted::New => {
                let old = self.step.observed.as_ref().map(|old| &old.id);
                let usable = matches!(one.state, State::Ready | State::Pending);
                one.part == self.step.part && Some(&one.id) != old && usable
            }
        }
    }

    /// Brings the part to its fields and looks that it is so. Nothing if
    /// another part failed meanwhile.
    pub(super) async fn change(&self, there: Option<Observed>) -> Result<Option<Observed>> {
        let Some(mut there) = there else {
            return Err(self.late("to be there", Duration::ZERO, "nothing"));
        };
        let mut failed = None;
        for _ in 0..ATTEMPTS {
            let differs = self.differs(&there);
            if differs.is_empty() {
                return Ok(Some(there));
            }
            let fields = differs.iter().map(|change| change.field).collect();
            let changed = self.spec.change(self.context, &there, &fields, &self.ids);
            failed = match changed.await {
                Ok(()) => None,
                // It is so already, or not yet known everywhere: look again.
                Err(Error::Api(error)) if is_unsure(&error) || is_already(&error) => Some(error),
                Err(error) => return Err(error),
            };
            match self.look_for_fields(&there.id).await? {
                Some(now) => there = now,
                None => return Ok(None),
            }
        }
        match (failed, self.differs(&there)) {
            (_, differs) if differs.is_empty() => Ok(Some(there)),
            (Some(error), _) => Err(error.into()),
            (None, differs) => {
                let names: Vec<_> = differs.iter().map(|change| change.field).collect();
                let last = format!("{} still differ", names.join(", "));
                Err(self.late("to be as it shall be", CHANGED_WITHIN, &last))
            }
        }
    }

    /// Looks until the fields are as they shall be, and gives what was seen
    /// last if they do not get there. Nothing if another part failed.
    async fn look_for_fields(&self, id: &Id) -> Result<Option<Observed>> {
        let began = Instant::now();
        loop {
            let there = match self.look(Wanted::Id(id), SEEN_WITHIN).await? {
                Look::Ready(there) => there,
                Look::Absent => return Err(self.late("to be shown", SEEN_WITHIN, "nothing")),
                Look::Stopped => return Ok(None),
            };
            if self.differs(&there).is_empty() || began.elapsed() >= CHANGED_WITHIN {
                return Ok(Some(there));
            }
            if self.stopped.get() {
                return Ok(None);
            }
            let (what, seen) = (self.step.part.as_str(), "as it was before the change");
            self.context.caller.tell(&Event::Waiting { what, seen });
            sleep(LOOK_AGAIN).await;
        }
    }

    fn differs(&self, there: &Observed) -> Vec<Change> {
        changes(&self.spec.fields(&self.ids, self.context), &there.fields)
    }

    /// The client token: the same in every run until the VPC is another one,
    /// so that a run that was stopped between a call and its answer is given
    /// the same resource by the next.
    fn token(&self, attempt: u32) -> String {
        let Context { lab, account, .. } = self.context;
        let (part, incarnation) = (&self.step.part, &self.incarnation);
        let text = format!("{account} {lab} {part} {incarnation} {attempt}");
        let hash = Sha256::digest(text.as_bytes());
        // 32 of the 64 characters that a token may have.
        hash[..16]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }

    fn failed(&self, there: &Observed, why: &str) -> Error {
        let (part, id) = (&self.step.part, &there.id);
        Error::Refused(format!("{part} ({id}) has failed: {why}"))
    }

    fn late(&self, to: &str, after: Duration, last: &str) -> Error {
        Error::Late {
            what: format!("{} {to}", self.step.part),
            after,
            last: last.to_owned(),
        }
    }
}

/// Kinds whose making takes a client token.
pub(super) const fn takes_token(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::EgressOnlyGateway
            | Kind::Interface
            | Kind::NatGateway
            | Kind::RouteTable
            | Kind::GatewayEndpoint
            | Kind::ConnectEndpoint
            | Kind::LoaderImage
            | Kind::Template
            | Kind::ScheduleGroup
    )
}
