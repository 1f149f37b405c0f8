//! Why a machine gets what it gets.

use core::fmt::{self, Write};

use super::Labels;
use super::group::Group;
use super::profile::Folder;
use super::select::View;

impl View<'_> {
    /// Tells the whole decision for a machine with these labels, in the
    /// order in which it is made.
    pub(super) fn explain(self, labels: &Labels, out: &mut dyn Write) -> fmt::Result {
        writeln!(out, "machine: {labels}")?;
        let chosen = self.group(labels);
        match &chosen {
            Ok(group) => {
                write!(out, "group:   {}", self.text(group.path))?;
                self.selectors(group, out)?;
                self.explain_profile(group, out)?;
            }
            Err(refusal) => writeln!(out, "refused: {refusal}")?,
        }
        let chosen = chosen.ok().map(|group| group.path);
        writeln!(out, "groups, in the order in which they are tried:")?;
        for group in self.groups.iter().filter(|group| group.selectors_known) {
            write!(out, "  {}", self.text(group.path))?;
            self.selectors(group, out)?;
            if chosen == Some(group.path) {
                writeln!(out, "    taken")?;
            } else if let Some((key, wanted)) = self.first_difference(group, labels) {
                write!(out, "    wants {key}={wanted}, machine has ")?;
                match labels.get(key) {
                    Some(had) => writeln!(out, "{key}={had}")?,
                    None => writeln!(out, "no {key}")?,
                }
            } else {
                writeln!(out, "    fits, too")?;
            }
            if let Some(fault) = group.fault {
                writeln!(out, "    broken: {}", self.fault(group.path, fault))?;
            }
        }
        for group in self.lost() {
            if let Some(fault) = group.fault {
                writeln!(out, "  {}", self.fault(group.path, fault))?;
                let about = match self.mentions(group, labels) {
                    true => "speaks of this machine",
                    false => "could be for any machine",
                };
                writeln!(out, "    broken, and {about}")?;
            }
        }
        if let Some(fault) = self.unread {
            writeln!(out, "  groups/: {}", self.text(fault.reason))?;
        }
        Ok(())
    }

    fn selectors(self, group: &Group, out: &mut dyn Write) -> fmt::Result {
        if group.selectors.is_empty() {
            return writeln!(out, " (default)");
        }
        let mut between = " (";
        for (key, value) in group.selectors(self.bytes).iter() {
            write!(out, "{between}{key}={value}")?;
            between = ", ";
        }
        writeln!(out, ")")
    }

    fn explain_profile(self, group: &Group, out: &mut dyn Write) -> fmt::Result {
        let profile = match self.profile(group) {
            Ok(profile) => profile,
            Err(refusal) => return writeln!(out, "refused: {refusal}"),
        };
        writeln!(out, "profile: {}", self.text(profile.path))?;
        writeln!(out, "kernel:  {}", self.string(profile.kernel))?;
        for folder in Folder::ALL {
            let named = profile.template(folder);
            let entry = named
                .entry
                .and_then(|entry| self.templates.get(usize::from(entry)));
            match entry {
                Some(template) => match template.fault {
                    None => writeln!(out, "{}: {}", folder.field(), self.text(template.path))?,
                    Some(fault) => {
                        let fault = self.fault(template.path, fault);
                        writeln!(out, "{}: broken: {fault}", folder.field())?;
                    }
                },
                None => {
                    if let Some(fault) = named.fault {
                        let fault = self.fault(profile.path, fault);
                        writeln!(out, "{}: broken: {fault}", folder.field())?;
                    }
                }
            }
        }
        Ok(())
    }
}
