//! A part of the replica, by its own name and by AWS's.

use core::fmt;
use std::borrow::Cow;
use std::collections::BTreeMap;

use super::Fields;
use crate::api::{Id, Tags};
use crate::kinds::Kind;

/// Tag with the lab's name: what carries it is ours.
pub const LAB_TAG: &str = "ichor:lab";
/// Tag with the part's name.
pub const PART_TAG: &str = "ichor:part";
/// Tag that the AWS console shows.
pub const NAME_TAG: &str = "Name";

/// Name of a part, the same in every lab: `vpc`, `private-subnet`, `bastion-sg`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part(Cow<'static, str>);

impl Part {
    /// A part of the design.
    pub const fn new(name: &'static str) -> Self {
        Self(Cow::Borrowed(name))
    }

    /// A part as a tag names it.
    pub fn tagged(name: &str) -> Self {
        Self(Cow::Owned(name.to_owned()))
    }

    /// Its name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What AWS calls the parts that are there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ids(BTreeMap<Part, Id>);

impl Ids {
    /// Notes an id.
    pub fn insert(&mut self, part: Part, id: Id) {
        self.0.insert(part, id);
    }

    /// The id of a part, if it is there.
    pub fn get(&self, part: &Part) -> Option<&Id> {
        self.0.get(part)
    }

    /// The id of a part; `(vpc)` for one that is yet to be made. For fields:
    /// no id looks like that, so such a field counts as different.
    pub fn told(&self, part: &Part) -> String {
        self.get(part)
            .cloned()
            .unwrap_or_else(|| format!("({part})"))
    }

    /// The part that has this id.
    pub fn part_of(&self, id: &str) -> Option<&Part> {
        self.0
            .iter()
            .find_map(|(part, known)| (known == id).then_some(part))
    }
}

/// How far a resource is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It can be used.
    Ready,
    /// It is still being made.
    Pending,
    /// It is being deleted.
    Going,
    /// It failed, and why: to be deleted.
    Failed(String),
}

/// A resource of ours as AWS shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// What it is.
    pub kind: Kind,
    /// Which part it is, by its tag.
    pub part: Part,
    /// What AWS calls it: what calls about it take.
    pub id: Id,
    /// How far it is.
    pub state: State,
    /// What can be compared with a [`Spec`](crate::kinds::Spec)'s fields.
    pub fields: Fields,
    /// All its tags.
    pub tags: Tags,
}
