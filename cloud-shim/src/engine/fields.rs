//! What is compared between a part that shall be and one that is there.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

/// The fields of a part by name. References are ids.
pub type Fields = BTreeMap<&'static str, Value>;

/// A field's value.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
#[serde(untagged)]
pub enum Value {
    /// One.
    One(String),
    /// Any number, in no order: rules, routes, objects. Shown one by one.
    Set(BTreeSet<String>),
}

impl Value {
    /// A set.
    pub fn set<T: Into<String>>(items: impl IntoIterator<Item = T>) -> Self {
        Self::Set(items.into_iter().map(Into::into).collect())
    }
}

impl<T: fmt::Display> From<T> for Value {
    fn from(value: T) -> Self {
        Self::One(value.to_string())
    }
}

/// What is different about a field.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Change {
    /// Its name.
    pub field: &'static str,
    /// As it is; nothing if AWS does not say.
    pub was: Option<Value>,
    /// As it shall be.
    pub will_be: Value,
}

/// The fields of `desired` that are otherwise in `observed`. A field that is
/// only observed does not count.
pub fn changes(desired: &Fields, observed: &Fields) -> Vec<Change> {
    desired
        .iter()
        .filter(|(name, value)| observed.get(*name) != Some(*value))
        .map(|(name, value)| Change {
            field: name,
            was: observed.get(name).cloned(),
            will_be: value.clone(),
        })
        .collect()
}
