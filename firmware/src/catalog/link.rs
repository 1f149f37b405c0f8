//! From names to files: the profile of every group, the templates of every profile.

use heapless::String;
use ichor_hal::Files;

use super::arena::Span;
use super::group::{Group, StoredFault};
use super::json::{self, Value};
use super::load::{MAX_PATH, Report, read};
use super::problem::{Fault, Severity};
use super::profile::{Folder, Profile};
use super::{Catalog, Template, template};

impl<const ARENA: usize, const GROUPS: usize, const PROFILES: usize, const TEMPLATES: usize>
    Catalog<ARENA, GROUPS, PROFILES, TEMPLATES>
{
    /// Gives every group its profile.
    pub(super) async fn link_profiles(&mut self, files: &impl Files, report: &mut Report<'_>) {
        for index in 0..self.groups.len() {
            let Some(group) = self.groups.get(index) else {
                break;
            };
            if group.fault.is_some() {
                continue;
            }
            let asks = group.path;
            let name = group.profile;
            let linked = match self.path_of("profiles", name, ".json") {
                Ok(path) => self.profile_at(files, &path, asks).await,
                Err(fault) => Err(fault),
            };
            let Some(group) = self.groups.get_mut(index) else {
                break;
            };
            match linked {
                Ok(entry) => group.profile_entry = Some(entry),
                Err(fault) => {
                    let text = group.file.of(self.arena.bytes());
                    let line = json::line_of(text, name.offset_in(group.file));
                    let fault = StoredFault::store(&Fault { line, ..fault }, &mut self.arena);
                    report.stored(Severity::Error, self.arena.bytes(), asks, fault);
                    group.fault = Some(fault);
                }
            }
        }
    }

    /// The profile with this path. One that was not listed may lie in a
    /// folder inside `profiles/`; one that is not there at all gets an entry
    /// that says so.
    async fn profile_at(
        &mut self,
        files: &impl Files,
        path: &str,
        asks: Span,
    ) -> Result<u16, Fault> {
        let bytes = self.arena.bytes();
        let mut known = self.profiles.iter();
        if let Some(index) = known.position(|p| p.path.text(bytes) == path) {
            return Ok(index as u16);
        }
        let full = || {
            let reason = format_args!("no room for {path}: the catalog holds {PROFILES} profiles");
            Fault::whole(reason)
        };
        let span = self.arena.split().1.push(path).ok_or_else(full)?;
        let mut profile = Profile::unread(span);
        let result = match read(&mut self.arena, files, span).await {
            Ok(file) => {
                profile.file = file;
                profile.decode(self.arena.bytes())
            }
            Err(fault) => Err(self.asked_for(&fault, asks)),
        };
        profile.fault = self.store(result);
        self.profiles.push(profile).map_err(|_| full())?;
        Ok((self.profiles.len() - 1) as u16)
    }

    /// Adds to a fault of opening a file who needs that file.
    fn asked_for(&self, fault: &Fault, asks: Span) -> Fault {
        let asks = asks.text(self.arena.bytes());
        Fault::whole(format_args!("{}, but {asks} asks for it", fault.reason))
    }

    fn store(&mut self, result: Result<(), Fault>) -> Option<StoredFault> {
        let fault = result.err()?;
        Some(StoredFault::store(&fault, &mut self.arena))
    }

    pub(super) fn report_profiles(&self, report: &mut Report<'_>) {
        for (index, profile) in self.profiles.iter().enumerate() {
            let Some(fault) = profile.fault else { continue };
            let used = |g: &Group| g.profile_entry.map(usize::from) == Some(index);
            let severity = if self.groups.iter().any(used) {
                Severity::Error
            } else {
                Severity::Warning
            };
            report.stored(severity, self.arena.bytes(), profile.path, fault);
        }
    }

    /// Gives every profile its templates.
    pub(super) async fn link_templates(&mut self, files: &impl Files, report: &mut Report<'_>) {
        for index in 0..self.profiles.len() {
            for folder in Folder::ALL {
                let Some(profile) = self.profiles.get(index) else {
                    break;
                };
                let (asks, file) = (profile.path, profile.file);
                let id = profile.template(folder).id;
                // Go's empty string is as good as no name.
                if profile.fault.is_some() || id.of(self.arena.bytes()).len() <= 2 {
                    continue;
                }
                let linked = match self.path_of(folder.name(), id, "") {
                    Ok(path) => self.template_at(files, folder, &path, asks, report).await,
                    Err(fault) => Err(fault),
                };
                let profile = self.profiles.get_mut(index);
                let Some(named) = profile.and_then(|p| p.template_mut(folder)) else {
                    break;
                };
                match linked {
                    Ok(entry) => named.entry = Some(entry),
                    Err(fault) => {
                        let text = file.of(self.arena.bytes());
                        let line = json::line_of(text, id.offset_in(file));
                        let fault = StoredFault::store(&Fault { line, ..fault }, &mut self.arena);
                        report.stored(Severity::Error, self.arena.bytes(), asks, fault);
                        named.fault = Some(fault);
                    }
                }
            }
        }
    }

    async fn template_at(
        &mut self,
        files: &impl Files,
        folder: Folder,
        path: &str,
        asks: Span,
        report: &mut Report<'_>,
    ) -> Result<u16, Fault> {
        let bytes = self.arena.bytes();
        let mut known = self.templates.iter();
        if let Some(index) = known.position(|t| t.path.text(bytes) == path) {
            return Ok(index as u16);
        }
        let full = || {
            let reason =
                format_args!("no room for {path}: the catalog holds {TEMPLATES} templates");
            Fault::whole(reason)
        };
        let span = self.arena.split().1.push(path).ok_or_else(full)?;
        let mut template = Template {
            path: span,
            file: Span::default(),
            fault: None,
        };
        let result = match read(&mut self.arena, files, span).await {
            Ok(file) => {
                template.file = file;
                check_template(folder, path, file.of(self.arena.bytes()))
            }
            Err(fault) => Err(self.asked_for(&fault, asks)),
        };
        template.fault = self.store(result);
        if let Some(fault) = template.fault {
            report.stored(Severity::Error, self.arena.bytes(), span, fault);
        }
        self.templates.push(template).map_err(|_| full())?;
        Ok((self.templates.len() - 1) as u16)
    }

    /// `folder/<name><end>` for a name out of a file.
    fn path_of(&self, folder: &str, name: Span, end: &str) -> Result<String<MAX_PATH>, Fault> {
        let quoted = Value::checked_before(name.of(self.arena.bytes()), 0);
        let mut plain = [0; MAX_PATH];
        let name = quoted.string().and_then(|name| name.unescape(&mut plain));
        let name = name.ok_or_else(|| Fault::whole(format_args!("file name too long")))?;
        let bad = || Fault::whole(format_args!("\"{name}\" is no file of {folder}/"));
        let mut path = String::new();
        path.push_str(folder).map_err(|_| bad())?;
        for part in name.split('/').filter(|part| !matches!(*part, "" | ".")) {
            if part == ".." || part.contains(['\\', '\0']) {
                return Err(bad());
            }
            path.push('/').map_err(|_| bad())?;
            path.push_str(part).map_err(|_| bad())?;
        }
        path.push_str(end).map_err(|_| bad())?;
        Ok(path)
    }
}

/// What can be known of a template before there is a machine to render it for.
fn check_template(folder: Folder, path: &str, file: &[u8]) -> Result<(), Fault> {
    let text = core::str::from_utf8(file).map_err(|error| {
        let line = json::line_of(file, error.valid_up_to());
        Fault::new(line, format_args!("not UTF-8: save the file as UTF-8"))
    })?;
    if folder != Folder::Ignition {
        return template::check(text);
    }
    if is_ignition(path) {
        json::parse(file)?;
        return Ok(());
    }
    if !text.trim_start().starts_with('{') {
        return Err(butane());
    }
    template::check(text)
}

/// Whether matchbox serves this file of `ignition/` as it is, without rendering.
pub(super) fn is_ignition(path: &str) -> bool {
    path.ends_with(".ign") || path.ends_with(".ignition")
}

pub(super) fn butane() -> Fault {
    let reason = format_args!(
        "Butane YAML is not translated here: convert it with `butane` to a .ign file and name that"
    );
    Fault::whole(reason)
}
