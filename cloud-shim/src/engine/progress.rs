//! What is told while calls are made and waited for.

use core::fmt;
use core::time::Duration;

use super::{Action, Part};
use crate::api::ApiError;
use crate::error::Error;

/// Something that the person in front of it wants to see.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// Work on a part has begun.
    Started {
        /// Which.
        part: &'a Part,
        /// What is done to it.
        action: Action,
    },
    /// Something is waited for.
    Waiting {
        /// What.
        what: &'a str,
        /// What is there instead.
        seen: &'a str,
    },
    /// A call is made again after a pause.
    Again {
        /// How it failed.
        error: &'a ApiError,
        /// For so long.
        pause: Duration,
    },
    /// Work on a part is done.
    Done {
        /// Which.
        part: &'a Part,
        /// What was done to it.
        action: Action,
        /// In so much time.
        took: Duration,
    },
    /// Work on a part has failed.
    Failed {
        /// Which.
        part: &'a Part,
        /// Why.
        error: &'a Error,
    },
    /// Something that is there is being deleted, a part or not.
    Deleting {
        /// What it is, as people call it.
        kind: &'a str,
        /// What AWS calls it.
        id: &'a str,
    },
    /// It is gone.
    Deleted {
        /// What it was.
        kind: &'a str,
        /// What AWS called it.
        id: &'a str,
    },
    /// It is still there.
    NotDeleted {
        /// What it is.
        kind: &'a str,
        /// What AWS calls it.
        id: &'a str,
        /// Why.
        error: &'a Error,
    },
}

impl fmt::Display for Event<'_> {
    /// One line.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started { part, action } => write!(f, "{part}: {action} …"),
            Self::Waiting { what, seen } => write!(f, "waiting for {what} ({seen})"),
            Self::Again { error, pause } => {
                write!(f, "again in {:.1} s: {error}", pause.as_secs_f32())
            }
            Self::Done { part, action, took } => {
                write!(f, "{part}: {action} done in {:.1} s", took.as_secs_f32())
            }
            Self::Failed { part, error } => write!(f, "{part}: {error}"),
            Self::Deleting { kind, id } => write!(f, "{kind} {id}: delete …"),
            Self::Deleted { kind, id } => write!(f, "{kind} {id}: gone"),
            Self::NotDeleted { kind, id, error } => write!(f, "{kind} {id}: {error}"),
        }
    }
}

/// Who is told.
pub trait Progress: fmt::Debug + Send + Sync {
    /// Something happened.
    fn on(&self, event: &Event<'_>);
}

/// Tells nobody.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn on(&self, _: &Event<'_>) {}
}
