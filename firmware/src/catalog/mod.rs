//! Who boots what: matchbox groups, profiles, selectors and templates.
//!
//! A folder that matchbox serves is served unchanged:
//!
//! ```text
//! groups/NAME.json     which machines (selectors) get which profile and metadata
//! profiles/NAME.json   kernel, initrds, arguments, and names of templates
//! ignition/ cloud/ generic/   the templates
//! ```
//!
//! A [`Catalog`] keeps the files' text in one arena and reads from it what a
//! request needs; nothing is allocated. It differs from matchbox in these:
//!
//! - matchbox skips a broken group with a line in its log, and the machine
//!   gets the default: perhaps a fresh installation over its disk. Here a
//!   machine whose group is broken, or may be, is refused with file and line.
//! - Ignition files (`.ign`) are sent as they are, not converted to the newest
//!   version of the format, and Butane YAML is not translated.
//! - Cloud-configs are checked for their first line, not parsed as YAML.
//! - Metadata comes in the order of its keys; matchbox' order is random.
//! - Templates may use what [`template`] lists.

// Without allocation an error carries its text; it is rare and ends a request.
#![allow(clippy::result_large_err)]

mod answer;
mod arena;
mod decode;
mod explain;
mod group;
pub mod json;
mod labels;
mod link;
mod load;
mod problem;
mod profile;
mod select;
pub mod template;
mod text;
mod value;
mod window;

use core::fmt;

use heapless::Vec;

use arena::{Arena, Span};
use group::{Group, StoredFault};
use profile::Profile;
use select::View;

pub use answer::{Answer, BOOT_IPXE, Endpoint};
pub use group::{MAX_SELECTOR_LEN, MAX_SELECTORS};
pub use labels::{LABEL_BYTES, Labels, LabelsFull, MAX_LABELS};
pub use load::Summary;
pub use problem::{Fault, Problem, REASON_LEN, Severity};
pub use select::{REFUSAL_LEN, Refusal};
pub use text::Text;
pub use value::Data;
pub use window::Window;

/// A file of `ignition/`, `cloud/` or `generic/` that a profile names.
#[derive(Debug, Clone)]
struct Template {
    path: Span,
    file: Span,
    fault: Option<StoredFault>,
}

/// A loaded matchbox folder.
///
/// `ARENA` bytes hold the text of all files with their names and problems
/// (a home lab's folder is 10 to 50 KB); the other parameters are how many
/// files of each kind there is room for, at about 300 bytes a group, 100 a
/// profile and 30 a template. [`new`](Self::new) is const, so that a catalog
/// lives in a `static` and never on a stack.
#[derive(Debug)]
pub struct Catalog<
    const ARENA: usize,
    const GROUPS: usize,
    const PROFILES: usize,
    const TEMPLATES: usize,
> {
    arena: Arena<ARENA>,
    groups: Vec<Group, GROUPS>,
    profiles: Vec<Profile, PROFILES>,
    templates: Vec<Template, TEMPLATES>,
    /// Why some of `groups/` was not even looked at.
    unread: Option<StoredFault>,
}

impl<const ARENA: usize, const GROUPS: usize, const PROFILES: usize, const TEMPLATES: usize>
    Catalog<ARENA, GROUPS, PROFILES, TEMPLATES>
{
    /// An empty catalog, which refuses everyone.
    pub const fn new() -> Self {
        const {
            assert!(PROFILES <= 1 << 16, "profiles are numbered in 16 bits");
            assert!(TEMPLATES <= 1 << 16, "templates are numbered in 16 bits");
        };
        Self {
            arena: Arena::new(),
            groups: Vec::new(),
            profiles: Vec::new(),
            templates: Vec::new(),
            unread: None,
        }
    }

    fn view(&self) -> View<'_> {
        View {
            bytes: self.arena.bytes(),
            groups: &self.groups,
            profiles: &self.profiles,
            templates: &self.templates,
            unread: self.unread,
        }
    }

    /// What a machine gets at an endpoint. `raw_query` is the request's query
    /// as it came, still encoded; templates can ask for it.
    ///
    /// Whatever can go wrong goes wrong here: what is answered can be sent.
    pub fn answer<'a>(
        &'a self,
        endpoint: Endpoint,
        labels: &'a Labels,
        raw_query: &'a str,
    ) -> Result<Answer<'a>, Refusal> {
        self.view().answer(endpoint, labels, raw_query)
    }

    /// Whether a path below the data folder is some profile's kernel or
    /// initrd.
    pub fn role_of(&self, path: &str) -> Option<Role> {
        self.view().role_of(path)
    }

    /// The files that apply to a machine.
    pub fn select(&self, labels: &Labels) -> Result<Selected<'_>, Refusal> {
        let view = self.view();
        let group = view.group(labels)?;
        let profile = view.profile(group)?;
        Ok(Selected {
            group: view.text(group.path),
            profile: view.text(profile.path),
        })
    }

    /// Tells why a machine gets what it gets: the group and profile that
    /// apply, and for every other group what keeps the machine from it.
    pub fn explain(&self, labels: &Labels, out: &mut dyn fmt::Write) -> fmt::Result {
        self.view().explain(labels, out)
    }
}

impl<const ARENA: usize, const GROUPS: usize, const PROFILES: usize, const TEMPLATES: usize> Default
    for Catalog<ARENA, GROUPS, PROFILES, TEMPLATES>
{
    fn default() -> Self {
        Self::new()
    }
}

/// A catalog of any capacity.
pub trait Answers {
    /// See [`Catalog::answer`].
    fn answer<'a>(
        &'a self,
        endpoint: Endpoint,
        labels: &'a Labels,
        raw_query: &'a str,
    ) -> Result<Answer<'a>, Refusal>;

    /// See [`Catalog::role_of`].
    fn role_of(&self, path: &str) -> Option<Role>;
}

impl<const ARENA: usize, const GROUPS: usize, const PROFILES: usize, const TEMPLATES: usize> Answers
    for Catalog<ARENA, GROUPS, PROFILES, TEMPLATES>
{
    fn answer<'a>(
        &'a self,
        endpoint: Endpoint,
        labels: &'a Labels,
        raw_query: &'a str,
    ) -> Result<Answer<'a>, Refusal> {
        self.answer(endpoint, labels, raw_query)
    }

    fn role_of(&self, path: &str) -> Option<Role> {
        self.role_of(path)
    }
}

/// What a file is for, by the profiles that name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Role {
    /// A profile's kernel.
    Kernel,
    /// One of a profile's initrds.
    Initrd,
}

/// The files that apply to a machine, as paths below the data folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Selected<'a> {
    /// `groups/<name>.json`
    pub group: &'a str,
    /// `profiles/<name>.json`
    pub profile: &'a str,
}

#[cfg(test)]
mod tests;
