//! Which group a machine belongs to, and why it gets nothing if it does not.

use core::fmt;

use heapless::String;

use super::arena::Span;
use super::group::{Group, StoredFault};
use super::json::Value;
use super::labels::is_mac_key;
use super::problem::Place;
use super::profile::Profile;
use super::text::Text;
use super::{Labels, Template};
use crate::cut::cut;

/// Longest text of a [`Refusal`] in bytes; the rest is cut off.
pub const REFUSAL_LEN: usize = 384;

/// Why a machine gets nothing, and what to do about it.
///
/// Made for two readers: the first 32 bytes are what Talos prints on the
/// node's console, the whole is for the journal and the answer's body.
#[derive(Debug, Clone, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Refusal {
    text: String<REFUSAL_LEN>,
}

impl Refusal {
    pub(super) fn new(text: fmt::Arguments<'_>) -> Self {
        Self { text: cut(text) }
    }

    /// The HTTP status: 404 for every refusal, as in matchbox.
    pub const fn status(&self) -> u16 {
        404
    }

    /// The whole text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl core::error::Error for Refusal {}

/// Everything that was loaded, whatever the catalog's capacities.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) bytes: &'a [u8],
    /// In the order in which they are tried.
    pub(super) groups: &'a [Group],
    pub(super) profiles: &'a [Profile],
    pub(super) templates: &'a [Template],
    /// Why some of `groups/` was not even looked at.
    pub(super) unread: Option<StoredFault>,
}

impl<'a> View<'a> {
    pub(super) fn text(self, span: Span) -> &'a str {
        span.text(self.bytes)
    }

    /// The text of a JSON string.
    pub(super) fn string(self, span: Span) -> Text<'a> {
        let value = Value::checked_before(span.of(self.bytes), 0);
        value.string().map_or(Text::Plain(""), Text::Json)
    }

    /// `path:line: reason`
    pub(super) fn fault(self, path: Span, fault: StoredFault) -> impl fmt::Display {
        struct Shown<'a>(Place<'a>, &'a str);
        impl fmt::Display for Shown<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}: {}", self.0, self.1)
            }
        }
        Shown(Place(self.text(path), fault.line), self.text(fault.reason))
    }

    /// The first selector that the machine does not have.
    pub(super) fn first_difference(
        self,
        group: &'a Group,
        labels: &Labels,
    ) -> Option<(&'a str, &'a str)> {
        // A label that is absent equals an empty selector, as in Go's maps.
        let differs = |(key, value): &(&str, &str)| labels.get(key).unwrap_or_default() != *value;
        group.selectors(self.bytes).iter().find(differs)
    }

    /// The groups of which nobody knows whom they are for.
    pub(super) fn lost(self) -> impl Iterator<Item = &'a Group> {
        self.groups.iter().filter(|group| !group.selectors_known)
    }

    /// Whether a file that cannot be understood speaks of this machine: its
    /// MAC address in any spelling, or its UUID.
    pub(super) fn mentions(self, group: &Group, labels: &Labels) -> bool {
        let text = group.file.of(self.bytes);
        labels.iter().any(|(key, value)| {
            is_mac_key(key) && mentions_mac(text, value)
                || key == "uuid" && value.len() >= UUID_DIGITS && mentions_text(text, value)
        })
    }

    /// The group that a machine belongs to. Where a broken file makes that
    /// doubtful, no group at all rather than a wrong one.
    pub(super) fn group(self, labels: &Labels) -> Result<&'a Group, Refusal> {
        if let Some((group, fault)) = self
            .lost()
            .find(|group| self.mentions(group, labels))
            .and_then(|group| Some((group, group.fault?)))
        {
            return Err(Refusal::new(format_args!(
                "{}; this file speaks of this machine, which gets nothing until it is repaired",
                self.fault(group.path, fault)
            )));
        }
        let mut known = self.groups.iter().filter(|group| group.selectors_known);
        let group = known.find(|group| self.first_difference(group, labels).is_none());
        self.doubt(group)?;
        let Some(group) = group else {
            return Err(no_group(labels));
        };
        match group.fault {
            None => Ok(group),
            Some(fault) => Err(Refusal::new(format_args!(
                "{}; this is the machine's group, and it gets nothing until the file is repaired",
                self.fault(group.path, fault)
            ))),
        }
    }

    /// Refuses where a file that nobody understands could be for the machine.
    fn doubt(self, group: Option<&Group>) -> Result<(), Refusal> {
        // A group that names one machine is believed.
        if group.is_some_and(|group| self.names_a_machine(group)) {
            return Ok(());
        }
        let default = group.is_none_or(|group| group.selectors.is_empty());
        // Of a file with text it is known that it does not speak of this
        // machine, so that more general groups are safe.
        let lost = self.lost().find(|group| default || group.file.is_empty());
        if let Some((group, fault)) = lost.and_then(|group| Some((group, group.fault?))) {
            return Err(Refusal::new(format_args!(
                "{}; it could be for this machine, so that no other group is taken until it is \
                 repaired",
                self.fault(group.path, fault)
            )));
        }
        match self.unread {
            None => Ok(()),
            Some(fault) => Err(Refusal::new(format_args!(
                "groups/: {}; until then only machines that a group names by mac, uuid or \
                 serial are served",
                self.text(fault.reason)
            ))),
        }
    }

    fn names_a_machine(self, group: &Group) -> bool {
        let mut selectors = group.selectors(self.bytes).iter();
        selectors.any(|(key, value)| {
            !value.is_empty() && (is_mac_key(key) || matches!(key, "uuid" | "serial"))
        })
    }

    /// The profile of a group.
    pub(super) fn profile(self, group: &Group) -> Result<&'a Profile, Refusal> {
        let entry = group.profile_entry.map(usize::from);
        let Some(profile) = entry.and_then(|entry| self.profiles.get(entry)) else {
            let path = self.text(group.path);
            return Err(Refusal::new(format_args!("{path}: no profile")));
        };
        match profile.fault {
            None => Ok(profile),
            Some(fault) => Err(Refusal::new(format_args!(
                "{}; it is the profile of {}",
                self.fault(profile.path, fault),
                self.text(group.path)
            ))),
        }
    }
}

fn no_group(labels: &Labels) -> Refusal {
    let mac = labels.iter().find(|(key, _)| is_mac_key(key));
    match mac {
        Some((_, mac)) => Refusal::new(format_args!(
            "no group for {mac}: add one to groups/ with this \"mac\" as selector, \
             or one without selectors for every machine ({labels})"
        )),
        None => Refusal::new(format_args!(
            "no group, and no ?mac= was sent: add the label to the request, \
             or a group without selectors to groups/ ({labels})"
        )),
    }
}

/// Hexadecimal digits of a UUID.
const UUID_DIGITS: usize = 32;

fn mentions_text(text: &[u8], wanted: &str) -> bool {
    text.windows(wanted.len())
        .any(|window| window.eq_ignore_ascii_case(wanted.as_bytes()))
}

/// Looks for a hardware address with any separators or none.
fn mentions_mac(text: &[u8], mac: &str) -> bool {
    let starts = |at: usize| {
        let before = at.checked_sub(1).and_then(|at| text.get(at));
        !before.is_some_and(u8::is_ascii_alphanumeric)
    };
    (0..text.len()).any(|at| starts(at) && starts_with_mac(&text[at..], mac))
}

fn starts_with_mac(text: &[u8], mac: &str) -> bool {
    let mut text = text.iter().peekable();
    for (n, digit) in mac.bytes().filter(|b| *b != b':').enumerate() {
        if n > 0 {
            text.next_if(|b| matches!(b, b':' | b'-' | b'.'));
        }
        if !text.next().is_some_and(|b| b.eq_ignore_ascii_case(&digit)) {
            return false;
        }
    }
    !text.next().is_some_and(u8::is_ascii_alphanumeric)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_found_in_any_spelling() {
        let mac = "52:54:00:ab:cd:ef";
        let table = [
            ("\"52:54:00:ab:cd:ef\"", true),
            ("mac=52-54-00-AB-CD-EF,", true),
            ("525400abcdef", true),
            ("5254.00ab.cdef", true),
            ("x 52:54:00:ab:cd:ee 52:54:00:ab:cd:ef", true),
            ("52:54:00:ab:cd:e", false),
            ("52:54:00:ab:cd:ef0", false),
            ("a52:54:00:ab:cd:ef", false),
            ("52::54:00:ab:cd:ef", false),
            ("", false),
        ];
        for (text, want) in table {
            assert_eq!(mentions_mac(text.as_bytes(), mac), want, "{text}");
        }
    }
}
