//! Reading a matchbox folder into the catalog, and saying what is wrong with it.

use core::fmt;
use core::future::poll_fn;

use heapless::String;
use ichor_hal::{FileError, Files};

use super::Catalog;
use super::arena::{Arena, Span};
use super::group::{Group, StoredFault};
use super::problem::{Fault, Problem, Severity};
use super::profile::Profile;
use crate::cut::cut;

/// Longest path below the data folder in bytes.
pub(super) const MAX_PATH: usize = 255;

/// What a load brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Summary {
    /// Files of `groups/`, broken ones included.
    pub groups: usize,
    /// Files of `profiles/`, broken and missing ones included.
    pub profiles: usize,
    /// Templates that profiles name, broken and missing ones included.
    pub templates: usize,
    /// Problems by which some machine is refused.
    pub errors: usize,
    /// Problems by which none is.
    pub warnings: usize,
    /// Bytes in use, of the catalog's `ARENA`.
    pub bytes: usize,
}

impl fmt::Display for Summary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} groups, {} profiles, {} templates ({} bytes); {} errors, {} warnings",
            self.groups, self.profiles, self.templates, self.bytes, self.errors, self.warnings
        )
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Summary {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", defmt::Display2Format(self));
    }
}

/// Passes problems on and counts them.
pub(super) struct Report<'r> {
    to: &'r mut dyn FnMut(Problem<'_>),
    errors: usize,
    warnings: usize,
}

impl Report<'_> {
    fn tell(&mut self, severity: Severity, path: &str, line: u32, reason: &str) {
        match severity {
            Severity::Error => self.errors += 1,
            Severity::Warning => self.warnings += 1,
        }
        (self.to)(Problem {
            severity,
            path,
            line,
            reason,
        });
    }

    pub(super) fn stored(
        &mut self,
        severity: Severity,
        bytes: &[u8],
        path: Span,
        fault: StoredFault,
    ) {
        self.tell(
            severity,
            path.text(bytes),
            fault.line,
            fault.reason.text(bytes),
        );
    }
}

impl<const ARENA: usize, const GROUPS: usize, const PROFILES: usize, const TEMPLATES: usize>
    Catalog<ARENA, GROUPS, PROFILES, TEMPLATES>
{
    /// Forgets everything.
    pub fn clear(&mut self) {
        self.arena.clear();
        self.groups.clear();
        self.profiles.clear();
        self.templates.clear();
        self.unread = None;
    }

    /// Reads the folder anew and reports every problem in it.
    ///
    /// Nothing stops a load: what is broken stays in the catalog as broken,
    /// so that its machines are refused with the reason.
    pub async fn load(
        &mut self,
        files: &impl Files,
        report: &mut dyn FnMut(Problem<'_>),
    ) -> Summary {
        let mut report = Report {
            to: report,
            errors: 0,
            warnings: 0,
        };
        self.clear();
        self.list_groups(files, &mut report).await;
        self.read_groups(files, &mut report).await;
        self.list_profiles(files, &mut report).await;
        for index in 0..self.profiles.len() {
            self.read_profile(files, index).await;
        }
        self.link_profiles(files, &mut report).await;
        self.report_profiles(&mut report);
        self.link_templates(files, &mut report).await;
        let bytes = self.arena.bytes();
        self.groups.sort_unstable_by(|a, b| a.order(b, bytes));
        self.report_repetitions(&mut report);
        Summary {
            groups: self.groups.len(),
            profiles: self.profiles.len(),
            templates: self.templates.len(),
            errors: report.errors,
            warnings: report.warnings,
            bytes: self.arena.used(),
        }
    }

    async fn list_groups(&mut self, files: &impl Files, report: &mut Report<'_>) {
        let Self { arena, groups, .. } = self;
        let mut left_out = 0;
        let listed = files
            .list("groups", &mut |entry| {
                if entry.folder {
                    let reason = "folders inside groups/ are not read";
                    let path: String<MAX_PATH> = cut(format_args!("groups/{}", entry.name));
                    report.tell(Severity::Warning, &path, 0, reason);
                } else if entry.name.ends_with(".json") {
                    let path: String<MAX_PATH> = cut(format_args!("groups/{}", entry.name));
                    let group = arena.split().1.push(&path).map(Group::unread);
                    left_out += usize::from(group.is_none_or(|g| groups.push(g).is_err()));
                }
                true
            })
            .await;
        let Err(fault) = listing(listed, left_out, GROUPS, "groups") else {
            return;
        };
        report.tell(Severity::Error, "groups/", 0, &fault.reason);
        self.unread = Some(StoredFault::store(&fault, &mut self.arena));
    }

    async fn read_groups(&mut self, files: &impl Files, report: &mut Report<'_>) {
        let Self { arena, groups, .. } = self;
        for group in groups.iter_mut() {
            let result = match read(arena, files, group.path).await {
                Ok(file) => {
                    group.file = file;
                    group.decode(arena)
                }
                Err(fault) => Err(fault),
            };
            let Err(fault) = result else { continue };
            let fault = StoredFault::store(&fault, arena);
            let bytes = arena.bytes();
            if group.path.text(bytes).starts_with("groups/.") {
                // What editors and file managers leave behind must not
                // refuse anybody. Dropped below.
                report.stored(Severity::Warning, bytes, group.path, fault);
                group.path = Span::default();
            } else {
                report.stored(Severity::Error, bytes, group.path, fault);
                group.fault = Some(fault);
            }
        }
        groups.retain(|group| !group.path.is_empty());
    }

    async fn list_profiles(&mut self, files: &impl Files, report: &mut Report<'_>) {
        let Self {
            arena, profiles, ..
        } = self;
        let mut left_out = 0;
        let listed = files
            .list("profiles", &mut |entry| {
                if !entry.folder && entry.name.ends_with(".json") && !entry.name.starts_with('.') {
                    let path: String<MAX_PATH> = cut(format_args!("profiles/{}", entry.name));
                    let profile = arena.split().1.push(&path).map(Profile::unread);
                    left_out += usize::from(profile.is_none_or(|p| profiles.push(p).is_err()));
                }
                true
            })
            .await;
        if let Err(fault) = listing(listed, left_out, PROFILES, "profiles") {
            report.tell(Severity::Error, "profiles/", 0, &fault.reason);
        }
    }

    async fn read_profile(&mut self, files: &impl Files, index: usize) {
        let Self {
            arena, profiles, ..
        } = self;
        let Some(profile) = profiles.get_mut(index) else {
            return;
        };
        let result = match read(arena, files, profile.path).await {
            Ok(file) => {
                profile.file = file;
                profile.decode(arena.bytes())
            }
            Err(fault) => Err(fault),
        };
        profile.fault = result.err().map(|fault| StoredFault::store(&fault, arena));
    }

    fn report_repetitions(&self, report: &mut Report<'_>) {
        let bytes = self.arena.bytes();
        let known = || self.groups.iter().filter(|g| g.selectors_known);
        for (first, second) in known().zip(known().skip(1)) {
            if first.same_selectors(second, bytes) {
                let what = if second.selectors.is_empty() {
                    "default group, too"
                } else {
                    "for the same machines"
                };
                let reason = Fault::whole(format_args!(
                    "{} is {what}, and comes first",
                    first.path.text(bytes)
                ));
                report.tell(
                    Severity::Warning,
                    second.path.text(bytes),
                    0,
                    &reason.reason,
                );
            }
        }
        for (n, group) in self.groups.iter().enumerate() {
            let id = group.id.of(bytes);
            let mut before = self.groups.iter().take(n);
            if id.len() > 2
                && let Some(first) = before.find(|g| g.id.of(bytes) == id)
            {
                let first = first.path.text(bytes);
                let reason = Fault::whole(format_args!("{first} has the same \"id\""));
                report.tell(Severity::Warning, group.path.text(bytes), 0, &reason.reason);
            }
        }
    }
}

/// What is wrong with a listed folder.
fn listing(
    listed: Result<(), FileError>,
    left_out: usize,
    room: usize,
    what: &str,
) -> Result<(), Fault> {
    let reason = match listed {
        Ok(()) if left_out == 0 => return Ok(()),
        Ok(()) => {
            format_args!("no room for {left_out} more files: the catalog holds {room} {what}")
        }
        Err(FileError::NotFound) => format_args!("no such folder: create it for your {what}"),
        Err(error) => return Err(Fault::whole(format_args!("{error}"))),
    };
    Err(Fault::whole(reason))
}

/// Copies a file to the end of the arena.
pub(super) async fn read<const N: usize>(
    arena: &mut Arena<N>,
    files: &impl Files,
    path: Span,
) -> Result<Span, Fault> {
    let used = arena.used();
    let (head, mut tail) = arena.split();
    let failed = |error: FileError| Fault::whole(format_args!("{error}"));
    let (file, _) = files.open(path.text(head)).await.map_err(failed)?;
    let room = tail.for_file();
    let mut probe = [0];
    let mut len = 0;
    loop {
        let free = room.get_mut(len..).unwrap_or_default();
        let full = free.is_empty();
        let buf = if full { &mut probe } else { free };
        let read = poll_fn(|cx| files.poll_read_at(cx, &file, len as u64, buf));
        match read.await.map_err(failed)? {
            0 => return Ok(tail.keep(len)),
            _ if full => break,
            n => len += n,
        }
    }
    Err(Fault::whole(format_args!(
        "no room: the catalog holds {N} bytes and {used} are taken; remove files"
    )))
}
