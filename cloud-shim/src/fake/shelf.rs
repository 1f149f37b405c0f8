//! Where the account keeps its resources of one type, and who sees them when.

use core::fmt;
use core::time::Duration;
use std::collections::BTreeMap;

use super::{Answer, refuse};
use crate::api::{Filter, Id, TagLine, Tags};

/// What all resources of EC2 have in common.
pub(super) trait Resource: Clone + fmt::Debug + Send {
    /// As EC2 names the type in tags: `vpc`, `security-group`.
    const KIND: &'static str;
    /// The code for an id that is not known.
    const NOT_FOUND: &'static str;
    /// What an id starts with.
    const PREFIX: &'static str;
    /// What the message calls an id.
    const WORD: &'static str;

    fn id(&self) -> &str;
    fn tags(&self) -> &Tags;
    fn tags_mut(&mut self) -> &mut Tags;
    /// What a filter of this name looks at; `None` where the Describe call
    /// documents no such filter.
    fn field(&self, name: &str) -> Option<Vec<String>>;
    /// Whether it is on its way out or gone, and only still shown.
    fn is_gone(&self) -> bool {
        false
    }
    /// Whether it goes with its VPC and is nobody's to delete.
    fn comes_along(&self) -> bool {
        false
    }
}

/// When a new resource shows up, and whose it is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Birth {
    /// From then on a call may name its id.
    pub(super) known: Duration,
    /// From then on Describe calls list it.
    pub(super) listed: Duration,
    /// Whether somebody else made it.
    pub(super) foreign: bool,
}

#[derive(Debug, Clone)]
struct Kept<T> {
    it: T,
    birth: Birth,
}

/// All resources of a type, by id.
#[derive(Debug, Clone)]
pub(super) struct Shelf<T>(BTreeMap<Id, Kept<T>>);

impl<T> Default for Shelf<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T: Resource> Shelf<T> {
    pub(super) fn put(&mut self, birth: Birth, it: T) {
        self.0.insert(it.id().to_owned(), Kept { it, birth });
    }

    /// What a call that names the id finds.
    pub(super) fn get(&self, id: &str, now: Duration) -> Answer<&T> {
        well_formed::<T>(id)?;
        match self.0.get(id) {
            Some(kept) if kept.birth.known <= now => Ok(&kept.it),
            _ => not_found::<T, _>(id),
        }
    }

    pub(super) fn get_mut(&mut self, id: &str, now: Duration) -> Answer<&mut T> {
        well_formed::<T>(id)?;
        match self.0.get_mut(id) {
            Some(kept) if kept.birth.known <= now => Ok(&mut kept.it),
            _ => not_found::<T, _>(id),
        }
    }

    /// What is really there: for the account itself, not for callers.
    pub(super) fn at(&self, id: &str) -> Option<&T> {
        self.0.get(id).map(|kept| &kept.it)
    }

    pub(super) fn at_mut(&mut self, id: &str) -> Option<&mut T> {
        self.0.get_mut(id).map(|kept| &mut kept.it)
    }

    pub(super) fn is_foreign(&self, id: &str) -> bool {
        self.0.get(id).is_some_and(|kept| kept.birth.foreign)
    }

    pub(super) fn take(&mut self, id: &str) -> Option<T> {
        self.0.remove(id).map(|kept| kept.it)
    }

    pub(super) fn all(&self) -> impl Iterator<Item = &T> {
        self.0.values().map(|kept| &kept.it)
    }

    pub(super) fn all_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.0.values_mut().map(|kept| &mut kept.it)
    }

    /// What a Describe call with these filters lists.
    pub(super) fn list(&self, filters: &[Filter], now: Duration) -> Answer<Vec<T>> {
        let mut passed = Vec::new();
        for kept in self.0.values() {
            let mut passes = kept.birth.listed <= now;
            for filter in filters {
                passes &= matches(filter, kept.it.tags(), |name| kept.it.field(name))?;
            }
            if passes {
                passed.push(kept.it.clone());
            }
        }
        Ok(passed)
    }
}

fn well_formed<T: Resource>(id: &str) -> Answer<()> {
    let hex = id.strip_prefix(T::PREFIX).unwrap_or("-");
    if hex.len() == 17 && hex.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    let code = malformed(T::NOT_FOUND);
    refuse(
        &code,
        format!("Invalid id: \"{id}\" (expecting \"{}...\")", T::PREFIX),
    )
}

/// The code for an id that is none: often, not always, spelt like the one for
/// an id that is not known.
fn malformed(not_found: &str) -> String {
    match not_found {
        "InvalidGroup.NotFound" => "InvalidGroupId.Malformed",
        "InvalidSnapshot.NotFound" => "InvalidSnapshotID.Malformed",
        "InvalidVolume.NotFound" => "InvalidVolumeID.Malformed",
        "NatGatewayNotFound" => "NatGatewayMalformed",
        "InvalidGatewayID.NotFound" => "InvalidEgressOnlyInternetGatewayId.Malformed",
        "InvalidDhcpOptionID.NotFound" => "InvalidDhcpOptionsId.Malformed",
        "InvalidInternetGatewayID.NotFound" => "InvalidInternetGatewayId.Malformed",
        "InvalidNetworkInterfaceID.NotFound" => "InvalidNetworkInterfaceId.Malformed",
        "InvalidRouteTableID.NotFound" => "InvalidRouteTableId.Malformed",
        other => return other.replace(".NotFound", ".Malformed"),
    }
    .to_owned()
}

pub(super) fn not_found<T: Resource, A>(id: &str) -> Answer<A> {
    refuse(
        T::NOT_FOUND,
        format!("The {} '{id}' does not exist", T::WORD),
    )
}

/// Whether a resource passes a filter.
fn matches(
    filter: &Filter,
    tags: &Tags,
    field: impl Fn(&str) -> Option<Vec<String>>,
) -> Answer<bool> {
    if filter.values.is_empty() {
        return refuse(
            "InvalidParameterValue",
            format!("The filter '{}' has no values", filter.name),
        );
    }
    let found = if let Some(key) = filter.name.strip_prefix("tag:") {
        tags.get(key).cloned().into_iter().collect()
    } else if filter.name == "tag-key" {
        tags.keys().cloned().collect()
    } else if let Some(found) = field(&filter.name) {
        found
    } else {
        return refuse(
            "InvalidParameterValue",
            format!("The filter '{}' is invalid", filter.name),
        );
    };
    Ok(found.iter().any(|text| {
        filter
            .values
            .iter()
            .any(|pattern| fits(pattern.as_bytes(), text.as_bytes()))
    }))
}

/// Whether a text fits a filter's value, where `*` stands for any text and
/// `?` for any character.
fn fits(pattern: &[u8], text: &[u8]) -> bool {
    let (mut p, mut t) = (0, 0);
    // Where the last star stood, and how much of the text it has taken.
    let mut star = None;
    while t < text.len() {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(&c) if c == b'?' || c == text[t] => {
                p += 1;
                t += 1;
            }
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    p = at + 1;
                    t = taken + 1;
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|&c| c == b'*')
}

/// A resource in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) kind: &'static str,
    pub(super) id: Id,
    pub(super) foreign: bool,
    /// Gone, or goes with its VPC: nothing that anyone has left behind.
    pub(super) passing: bool,
    pub(super) text: String,
}

/// A shelf of whatever type: for tags, and for looking at all that is there.
pub(super) trait AnyShelf {
    fn lines(&self) -> Vec<Line>;
    fn tag_lines(&self, filters: &[Filter], now: Duration) -> Answer<Vec<TagLine>>;
    /// `None` if the id is of another type.
    fn tags_mut(&mut self, id: &str, now: Duration) -> Option<Answer<&mut Tags>>;
}

impl<T: Resource> AnyShelf for Shelf<T> {
    fn lines(&self) -> Vec<Line> {
        self.0
            .iter()
            .map(|(id, Kept { it, birth })| Line {
                kind: T::KIND,
                id: id.clone(),
                foreign: birth.foreign,
                passing: it.is_gone() || it.comes_along(),
                text: format!("{it:?}"),
            })
            .collect()
    }

    fn tag_lines(&self, filters: &[Filter], now: Duration) -> Answer<Vec<TagLine>> {
        let mut lines = Vec::new();
        for (id, Kept { it, birth }) in &self.0 {
            if birth.listed > now {
                continue;
            }
            for (key, value) in it.tags() {
                let one = Tags::from([(key.clone(), value.clone())]);
                let mut passes = true;
                for filter in filters {
                    passes &= matches(filter, &one, |name| match name {
                        "key" => Some(vec![key.clone()]),
                        "value" => Some(vec![value.clone()]),
                        "resource-id" => Some(vec![id.clone()]),
                        "resource-type" => Some(vec![T::KIND.to_owned()]),
                        _ => None,
                    })?;
                }
                if passes {
                    lines.push(TagLine {
                        resource: id.clone(),
                        kind: T::KIND.to_owned(),
                        key: key.clone(),
                        value: value.clone(),
                    });
                }
            }
        }
        Ok(lines)
    }

    fn tags_mut(&mut self, id: &str, now: Duration) -> Option<Answer<&mut Tags>> {
        let rest = id.strip_prefix(T::PREFIX)?;
        // `i-` is also how nothing else starts, but `eni-` and `eni-attach-` do.
        if rest.contains('-') {
            return None;
        }
        Some(self.get_mut(id, now).map(T::tags_mut))
    }
}

/// A filter's field with one value.
pub(super) fn one(value: impl ToString) -> Option<Vec<String>> {
    Some(vec![value.to_string()])
}

/// A filter's field that may have no value.
pub(super) fn maybe(value: Option<&String>) -> Option<Vec<String>> {
    Some(value.cloned().into_iter().collect())
}

/// Implements [`Resource`] for a type that has `id` and `tags` at `$at`.
macro_rules! resource {
    (
        $type:ty, $kind:literal, $prefix:literal, $not_found:literal, $word:literal,
        |$it:ident| $at:expr, |$name:ident| { $($field:tt)* }
        $(, gone $gone:expr)? $(, along $along:expr)?
    ) => {
        impl $crate::fake::shelf::Resource for $type {
            const KIND: &'static str = $kind;
            const NOT_FOUND: &'static str = $not_found;
            const PREFIX: &'static str = $prefix;
            const WORD: &'static str = $word;

            fn id(&self) -> &str {
                let $it = self;
                &$at.id
            }
            fn tags(&self) -> &$crate::api::Tags {
                let $it = self;
                &$at.tags
            }
            fn tags_mut(&mut self) -> &mut $crate::api::Tags {
                let $it = self;
                &mut $at.tags
            }
            fn field(&self, $name: &str) -> Option<Vec<String>> {
                let $it = self;
                match $name { $($field)* _ => None }
            }
            $(fn is_gone(&self) -> bool {
                let $it = self;
                $gone
            })?
            $(fn comes_along(&self) -> bool {
                #[allow(unused_variables, reason = "some types all come along")]
                let $it = self;
                $along
            })?
        }
    };
}
pub(super) use resource;

#[cfg(test)]
mod tests {
    use super::fits;

    #[test]
    fn a_filters_stars_stand_for_any_text() {
        for (pattern, text, expected) in [
            ("home", "home", true),
            ("home", "homes", false),
            ("ho*", "home", true),
            ("*", "", true),
            ("", "", true),
            ("?", "", false),
            ("h?me", "home", true),
            ("*me*", "home", true),
            ("*a*b*c", "xxaxxbxxbc", true),
            ("*a*b*c", "xxaxxbxxbcd", false),
        ] {
            assert_eq!(
                fits(pattern.as_bytes(), text.as_bytes()),
                expected,
                "{pattern} {text}"
            );
        }
    }
}
