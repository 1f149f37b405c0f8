//! From what shall be and what is there to a plan, and from a plan to calls.
//!
//! A [`Part`] of the replica is described by a [`Spec`](crate::kinds::Spec);
//! what AWS has of it is [`Observed`]. Both come down to [`Fields`], which are
//! compared one by one. Making a part is one call that also tags it; all else
//! about it is a change of fields. So a run that stopped after any call finds
//! a part that is there or not there, and goes on from it.

mod advice;
mod apply;
mod caller;
mod converge;
mod fields;
mod part;
mod place;
mod plan;
mod progress;
mod retry;
mod show;

pub use advice::advice;
pub use apply::apply;
pub use caller::{Caller, Waiting};
pub use converge::converge;
pub use fields::{Change, Fields, Value, changes};
pub use part::{Ids, LAB_TAG, NAME_TAG, Observed, PART_TAG, Part, State};
pub use plan::{Action, Plan, Step, observe_all};
pub use progress::{Event, Progress, Silent};
