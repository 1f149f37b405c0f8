//! What a machine gets at each of matchbox's endpoints, byte for byte as matchbox writes it.

use core::fmt::{self, Write};

use heapless::String;

use super::arena::Span;
use super::group::Group;
use super::json::Value as Json;
use super::link::{butane, is_ignition};
use super::problem::{Fault, Place};
use super::profile::{Folder, Profile};
use super::select::{Refusal, View};
use super::text::Text;
use super::value::{Data, Map, Value};
use super::{Labels, Role, template};

/// What `/boot.ipxe` answers to everyone: send your labels to `/ipxe`.
pub const BOOT_IPXE: &str = "#!ipxe
chain ipxe?uuid=${uuid}&mac=${mac:hexhyp}&domain=${domain}&hostname=${hostname}&serial=${serial}&arch=${buildarch:uristring}
";

/// The endpoints of matchbox that need the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Endpoint {
    /// `/boot.ipxe` and, for dnsmasq, `/boot.ipxe.0`
    BootIpxe,
    /// `/ipxe`
    Ipxe,
    /// `/grub`
    Grub,
    /// `/ignition`
    Ignition,
    /// `/cloud`
    Cloud,
    /// `/generic`
    Generic,
    /// `/metadata`
    Metadata,
}

impl Endpoint {
    /// The endpoint at a path.
    pub fn from_path(path: &str) -> Option<Self> {
        Some(match path {
            "/boot.ipxe" | "/boot.ipxe.0" => Self::BootIpxe,
            "/ipxe" => Self::Ipxe,
            "/grub" => Self::Grub,
            "/ignition" => Self::Ignition,
            "/cloud" => Self::Cloud,
            "/generic" => Self::Generic,
            "/metadata" => Self::Metadata,
            _ => return None,
        })
    }
}

/// What a machine gets. Rendering cannot fail but by its sink, and gives the
/// same bytes every time.
#[derive(Debug, Clone, Copy)]
pub struct Answer<'a> {
    view: View<'a>,
    group: Option<&'a Group>,
    profile: Option<&'a Profile>,
    body: Body<'a>,
    len: usize,
}

#[derive(Debug, Clone, Copy)]
enum Body<'a> {
    Plain(&'a str),
    Ignition(&'a str),
    Ipxe(&'a Profile),
    Grub(&'a Profile),
    Metadata(Data<'a>),
    Template {
        folder: Folder,
        path: &'a str,
        source: &'a str,
        data: Data<'a>,
    },
}

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

impl<'a> View<'a> {
    /// What a machine with these labels gets.
    pub(super) fn answer(
        self,
        endpoint: Endpoint,
        labels: &'a Labels,
        raw_query: &'a str,
    ) -> Result<Answer<'a>, Refusal> {
        let mut answer = Answer {
            view: self,
            group: None,
            profile: None,
            body: Body::Plain(BOOT_IPXE),
            len: BOOT_IPXE.len(),
        };
        if endpoint == Endpoint::BootIpxe {
            return Ok(answer);
        }
        let group = self.group(labels)?;
        answer.group = Some(group);
        let metadata = group.metadata.of(self.bytes);
        let data = Data {
            metadata: (!metadata.is_empty()).then(|| Json::checked_before(metadata, 0)),
            selectors: group.selectors(self.bytes),
            labels,
            raw_query,
        };
        if endpoint == Endpoint::Metadata {
            // As in matchbox, the profile does not matter here.
            answer.body = Body::Metadata(data);
        } else {
            let profile = self.profile(group)?;
            answer.profile = Some(profile);
            answer.body = match endpoint {
                Endpoint::Ignition => self.template(profile, Folder::Ignition, data)?,
                Endpoint::Cloud => self.template(profile, Folder::Cloud, data)?,
                Endpoint::Generic => self.template(profile, Folder::Generic, data)?,
                Endpoint::Grub => Body::Grub(self.bootable(profile)?),
                _ => Body::Ipxe(self.bootable(profile)?),
            };
        }
        answer.len = self.measure(&answer, group)?;
        Ok(answer)
    }

    /// What a file is for. Profiles name files by path or whole URL, and
    /// initrds with iPXE's options before it: the end is what counts.
    pub(super) fn role_of(self, path: &str) -> Option<Role> {
        let len = path.chars().count();
        let is_path = |text: Text<'_>| {
            let skipped = text.chars().count().checked_sub(len);
            skipped.is_some_and(|n| text.chars().skip(n).eq(path.chars()))
        };
        self.profiles.iter().find_map(|profile| {
            if is_path(self.string(profile.kernel)) {
                Some(Role::Kernel)
            } else if strings(self, profile.initrd).any(is_path) {
                Some(Role::Initrd)
            } else {
                None
            }
        })
    }

    fn bootable(self, profile: &'a Profile) -> Result<&'a Profile, Refusal> {
        if self.string(profile.kernel).is_empty() {
            let path = self.text(profile.path);
            return Err(Refusal::new(format_args!(
                "{path}: no \"kernel\" in \"boot\""
            )));
        }
        Ok(profile)
    }

    fn template(
        self,
        profile: &'a Profile,
        folder: Folder,
        data: Data<'a>,
    ) -> Result<Body<'a>, Refusal> {
        let named = profile.template(folder);
        let entry = named
            .entry
            .and_then(|entry| self.templates.get(usize::from(entry)));
        let (path, field) = (self.text(profile.path), folder.field());
        if let Some(fault) = named.fault {
            return Err(Refusal::new(format_args!(
                "{}",
                self.fault(profile.path, fault)
            )));
        }
        let Some(template) = entry else {
            let folder = folder.name();
            return Err(Refusal::new(format_args!(
                "{path}: no \"{field}\": name a file of {folder}/"
            )));
        };
        if let Some(fault) = template.fault {
            let fault = self.fault(template.path, fault);
            return Err(Refusal::new(format_args!(
                "{fault}; {path} names it as {field}"
            )));
        }
        let path = self.text(template.path);
        let source = self.text(template.file);
        if folder == Folder::Ignition && is_ignition(path) {
            return Ok(Body::Ignition(source));
        }
        Ok(Body::Template {
            folder,
            path,
            source,
            data,
        })
    }

    /// Renders for the length alone. This is where a template shows whether
    /// it fits its data, before the first byte is sent.
    fn measure(self, answer: &Answer<'_>, group: &Group) -> Result<usize, Refusal> {
        let mut start = Start::default();
        let result = answer.write(&mut start);
        let fault = match result {
            Err(template::RenderError::Fault(fault)) => Some(fault),
            _ => answer.wrong_start(&start),
        };
        let Some(Fault { line, reason }) = fault else {
            return Ok(start.total);
        };
        let Body::Template { path, .. } = answer.body else {
            return Ok(start.total);
        };
        let group = self.text(group.path);
        let advice = if reason.starts_with("no value for .request.query") {
            "; the request does not send it"
        } else if reason.starts_with("no value for") {
            "; add it to \"metadata\""
        } else {
            ""
        };
        let place = Place(path, line);
        Err(Refusal::new(format_args!(
            "{place}: {reason}{advice} (group {group})"
        )))
    }
}

impl<'a> Answer<'a> {
    /// Its length in bytes.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no bytes at all.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value of the `Content-Type` header.
    pub const fn content_type(&self) -> &'static str {
        match self.body {
            Body::Plain(_) | Body::Ipxe(_) | Body::Grub(_) => TEXT,
            Body::Ignition(_) => JSON,
            Body::Template {
                folder: Folder::Ignition,
                ..
            } => JSON,
            Body::Template { .. } => TEXT,
            // Sic: matchbox has it this way around.
            Body::Metadata(_) => "plain/text",
        }
    }

    /// The group file that applied.
    pub fn group(&self) -> Option<&'a str> {
        self.group.map(|group| self.view.text(group.path))
    }

    /// The profile file that applied.
    pub fn profile(&self) -> Option<&'a str> {
        self.profile.map(|profile| self.view.text(profile.path))
    }

    /// The kernel that a boot script names.
    pub fn kernel(&self) -> Option<Text<'a>> {
        let profile = self.script()?;
        Some(self.view.string(profile.kernel))
    }

    /// The initrds that a boot script names, with their iPXE options if they have any.
    pub fn initrds(&self) -> impl Iterator<Item = Text<'a>> + use<'a> {
        let view = self.view;
        let profile = self.script().into_iter();
        profile.flat_map(move |profile| strings(view, profile.initrd))
    }

    fn script(&self) -> Option<&'a Profile> {
        match self.body {
            Body::Ipxe(profile) | Body::Grub(profile) => Some(profile),
            _ => None,
        }
    }

    /// Writes the answer.
    pub fn render(&self, out: &mut dyn Write) -> fmt::Result {
        self.write(out).map_err(|_| fmt::Error)
    }

    fn write(&self, out: &mut dyn Write) -> Result<(), template::RenderError> {
        match &self.body {
            Body::Plain(text) | Body::Ignition(text) => out.write_str(text)?,
            Body::Ipxe(profile) => write_ipxe(self.view, profile, out)?,
            Body::Grub(profile) => write_grub(self.view, profile, out)?,
            Body::Metadata(data) => write_metadata(Map::Root(data), None, out)?,
            Body::Template { source, data, .. } => template::render(source, data, out)?,
        }
        Ok(())
    }

    /// matchbox looks at what it rendered before it sends it, and so does this.
    fn wrong_start(&self, start: &Start) -> Option<Fault> {
        match self.body {
            Body::Template { folder, .. } => match folder {
                Folder::Ignition if !start.head.trim_start().starts_with('{') => Some(butane()),
                Folder::Cloud if !start.is_cloud() => Some(Fault::new(
                    1,
                    format_args!("a cloud-config must start with #cloud-config or #!"),
                )),
                _ => None,
            },
            _ => None,
        }
    }
}

/// Counts what is rendered and remembers how it starts.
#[derive(Debug, Default)]
struct Start {
    total: usize,
    head: String<64>,
}

impl Start {
    fn is_cloud(&self) -> bool {
        let line = self.head.split('\n').next().unwrap_or_default();
        line.starts_with("#!") || line.trim_end() == "#cloud-config"
    }
}

impl Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.total += text.len();
        for c in text.chars() {
            if self.head.push(c).is_err() {
                break;
            }
        }
        Ok(())
    }
}

fn strings<'a>(view: View<'a>, list: Span) -> impl Iterator<Item = Text<'a>> {
    let list = Json::checked_before(list.of(view.bytes), 0);
    // `null` in a list is empty text to Go.
    list.items()
        .map(|item| item.string().map_or(Text::Plain(""), Text::Json))
}

fn write_ipxe(view: View<'_>, profile: &Profile, out: &mut dyn Write) -> fmt::Result {
    write!(out, "#!ipxe\nkernel {}", view.string(profile.kernel))?;
    for arg in strings(view, profile.args) {
        write!(out, " {arg}")?;
    }
    for initrd in strings(view, profile.initrd) {
        write!(out, "\ninitrd {initrd}")?;
    }
    out.write_str("\nboot\n")
}

fn write_grub(view: View<'_>, profile: &Profile, out: &mut dyn Write) -> fmt::Result {
    out.write_str("default=0\nfallback=1\ntimeout=1\n")?;
    for (title, end) in [("EFI", "efi"), ("BIOS", "")] {
        let kernel = view.string(profile.kernel);
        write!(
            out,
            "menuentry \"CoreOS ({title})\" {{\necho \"Loading kernel\"\n"
        )?;
        write!(out, "linux{end} \"{kernel}\"")?;
        for arg in strings(view, profile.args) {
            write!(out, " {arg}")?;
        }
        write!(out, "\necho \"Loading initrd\"\ninitrd{end} ")?;
        for initrd in strings(view, profile.initrd) {
            write!(out, " \"{initrd}\"")?;
        }
        out.write_str("\n}\n")?;
    }
    Ok(())
}

/// The keys that lead to a value in the metadata.
struct Path<'p> {
    parent: Option<&'p Self>,
    key: Text<'p>,
}

impl fmt::Display for Path<'_> {
    /// `OUTER_INNER`
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(parent) = self.parent {
            write!(f, "{parent}_")?;
        }
        for c in self.key.chars() {
            // What grows in upper case stays as it is, as in Go.
            let mut upper = c.to_uppercase();
            let one = upper.next().filter(|_| upper.next().is_none());
            f.write_char(one.unwrap_or(c))?;
        }
        Ok(())
    }
}

/// `KEY=value` lines in the order of the keys; lists and null have none.
fn write_metadata(map: Map<'_>, parent: Option<&Path<'_>>, out: &mut dyn Write) -> fmt::Result {
    for (key, value) in map.sorted() {
        let path = Path { parent, key };
        match value {
            Value::Nil | Value::List(_) => {}
            Value::Map(inner) => write_metadata(inner, Some(&path), out)?,
            value => writeln!(out, "{path}={value}")?,
        }
    }
    Ok(())
}
