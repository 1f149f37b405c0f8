//! Where the account keeps what is called by a name: roles, buckets, groups.

use core::fmt::Debug;
use core::time::Duration;
use std::collections::BTreeMap;

use super::shelf::{Birth, Line};

/// All things of a type, by name.
#[derive(Debug, Clone)]
pub(super) struct Named<T>(BTreeMap<String, (Birth, T)>);

impl<T> Default for Named<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Debug> Named<T> {
    pub(super) fn put(&mut self, birth: Birth, name: &str, it: T) {
        self.0.insert(name.to_owned(), (birth, it));
    }

    /// What a call that gives the name finds.
    pub(super) fn get(&self, name: &str, now: Duration) -> Option<&T> {
        self.0
            .get(name)
            .filter(|(birth, _)| birth.known <= now)
            .map(|(_, it)| it)
    }

    pub(super) fn get_mut(&mut self, name: &str, now: Duration) -> Option<&mut T> {
        self.0
            .get_mut(name)
            .filter(|(birth, _)| birth.known <= now)
            .map(|(_, it)| it)
    }

    /// What is really there: for the account itself, not for callers.
    pub(super) fn at(&self, name: &str) -> Option<&T> {
        self.0.get(name).map(|(_, it)| it)
    }

    pub(super) fn at_mut(&mut self, name: &str) -> Option<&mut T> {
        self.0.get_mut(name).map(|(_, it)| it)
    }

    pub(super) fn take(&mut self, name: &str) -> Option<T> {
        self.0.remove(name).map(|(_, it)| it)
    }

    pub(super) fn is_foreign(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|(birth, _)| birth.foreign)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = (&str, &T)> {
        self.0.iter().map(|(name, (_, it))| (name.as_str(), it))
    }

    /// What List calls show.
    pub(super) fn listed(&self, now: Duration) -> impl Iterator<Item = (&str, &T)> {
        self.0
            .iter()
            .filter(move |(_, (birth, _))| birth.listed <= now)
            .map(|(name, (_, it))| (name.as_str(), it))
    }

    pub(super) fn lines(&self, kind: &'static str) -> impl Iterator<Item = Line> {
        self.0.iter().map(move |(name, (birth, it))| Line {
            kind,
            id: name.clone(),
            foreign: birth.foreign,
            passing: false,
            text: format!("{it:?}"),
        })
    }
}
