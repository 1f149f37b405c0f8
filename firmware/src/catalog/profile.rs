//! A profile file: what a machine boots, and which templates configure it.

use heapless::Vec;

use super::arena::Span;
use super::decode::{Types, each_member};
use super::group::StoredFault;
use super::json::{Kind, Value};
use super::problem::Fault;

/// The three folders of templates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Folder {
    Ignition,
    Cloud,
    Generic,
}

impl Folder {
    pub(super) const ALL: [Self; 3] = [Self::Ignition, Self::Cloud, Self::Generic];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Ignition => "ignition",
            Self::Cloud => "cloud",
            Self::Generic => "generic",
        }
    }

    /// The field of a profile that names a template in this folder.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Ignition => "ignition_id",
            Self::Cloud => "cloud_id",
            Self::Generic => "generic_id",
        }
    }
}

/// A template as a profile names it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Named {
    /// A JSON string with its quotes; empty where the profile names none.
    pub(super) id: Span,
    /// Index of the template.
    pub(super) entry: Option<u16>,
    /// Why there is no index.
    pub(super) fault: Option<StoredFault>,
}

/// One file of `profiles/`, or one that a group asks for in vain.
#[derive(Debug, Clone)]
pub(super) struct Profile {
    /// `profiles/<name>.json`
    pub(super) path: Span,
    pub(super) file: Span,
    /// A JSON string with its quotes; empty where absent.
    pub(super) kernel: Span,
    /// JSON arrays of strings; empty where absent.
    pub(super) initrd: Span,
    pub(super) args: Span,
    /// In the order of [`Folder::ALL`].
    pub(super) templates: [Named; 3],
    pub(super) fault: Option<StoredFault>,
}

impl Profile {
    pub(super) fn unread(path: Span) -> Self {
        Self {
            path,
            file: Span::default(),
            kernel: Span::default(),
            initrd: Span::default(),
            args: Span::default(),
            templates: [Named::default(); 3],
            fault: None,
        }
    }

    pub(super) fn template(&self, folder: Folder) -> Named {
        let mut all = Folder::ALL.into_iter().zip(self.templates);
        all.find(|(which, _)| *which == folder)
            .map_or_else(Named::default, |(_, named)| named)
    }

    pub(super) fn template_mut(&mut self, folder: Folder) -> Option<&mut Named> {
        let mut all = Folder::ALL.into_iter().zip(&mut self.templates);
        all.find(|(which, _)| *which == folder)
            .map(|(_, named)| named)
    }

    /// Reads the file at `self.file` of the arena's `bytes`.
    pub(super) fn decode(&mut self, bytes: &[u8]) -> Result<(), Fault> {
        let file = self.file;
        let text = file.of(bytes);
        let span = |value: Value<'_>| file.part(value.at(), value.raw().len());
        let mut types = Types::new(text);
        let mut has_id = false;
        let mut boots: Vec<Value<'_>, 4> = Vec::new();
        each_member(text, |key, value| {
            if key.is_key("id") && types.fits("id", value, Kind::String) {
                has_id = value.string().is_some_and(|id| !id.is_empty());
            } else if key.is_key("name") {
                types.fits("name", value, Kind::String);
            } else if key.is_key("boot") {
                if value.kind() == Kind::Null {
                    boots.clear();
                } else if types.fits("boot", value, Kind::Object) && boots.push(value).is_err() {
                    types.fault(value, format_args!("too many \"boot\": make it one"));
                }
            } else {
                for (folder, named) in Folder::ALL.into_iter().zip(&mut self.templates) {
                    let field = folder.field();
                    if key.is_key(field) && types.fits(field, value, Kind::String) {
                        named.id = span(value);
                    }
                }
            }
        })?;
        for (key, value) in boots.into_iter().flat_map(Value::members) {
            if key.is_key("kernel") && types.fits("kernel", value, Kind::String) {
                self.kernel = span(value);
            } else if key.is_key("initrd") && types.fits("initrd", value, Kind::Array) {
                self.initrd = span(value);
                each_is_text(&mut types, "initrd[]", value);
            } else if key.is_key("args") && types.fits("args", value, Kind::Array) {
                self.args = span(value);
                each_is_text(&mut types, "args[]", value);
            }
        }
        types.result()?;
        if !has_id {
            return Err(Fault::whole(format_args!(
                "\"id\" is missing, and matchbox wants one"
            )));
        }
        Ok(())
    }
}

fn each_is_text(types: &mut Types<'_>, name: &str, list: Value<'_>) {
    for item in list.items() {
        types.fits(name, item, Kind::String);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::arena::Arena;

    #[test]
    fn fields_and_faults() {
        let table = [
            (r#"{"id":"p"}"#, "|||", ""),
            (
                r#"{"id":"p","BOOT":{"Kernel":"k","initrd":["i"],"args":["a","b"]},"generic_id":"g"}"#,
                "\"k\"|[\"i\"]|[\"a\",\"b\"]|\"g\"",
                "",
            ),
            (
                r#"{"id":"p","boot":{"kernel":"k","args":null},"boot":{"kernel":"l"}}"#,
                "\"l\"|||",
                "",
            ),
            (r#"{"id":"p","boot":{"kernel":"k"},"boot":null}"#, "|||", ""),
            (
                r#"{"boot":{}}"#,
                "|||",
                "\"id\" is missing, and matchbox wants one",
            ),
            (
                "{\"id\":\"p\",\n\"boot\":[]}",
                "|||",
                "line 2: \"boot\" must be an object, not an array",
            ),
            (
                "{\"id\":\"p\",\"boot\":{\n\"kernel\":1}}",
                "|||",
                "line 2: \"kernel\" must be a string, not a number",
            ),
            (
                "{\"id\":\"p\",\"boot\":{\n\"args\":[\n\"a\",\n2]}}",
                "||[\n\"a\",\n2]|",
                "line 4: \"args[]\" must be a string, not a number",
            ),
            (
                "{\"id\":\"p\",\n\"generic_id\":1}",
                "|||",
                "line 2: \"generic_id\" must be a string, not a number",
            ),
            (
                "{\"id\":\"p\",}",
                "|||",
                "line 1: remove the comma before this bracket",
            ),
        ];
        for (text, want, fault) in table {
            let mut arena = Arena::<4096>::new();
            let mut profile = Profile::unread(Span::default());
            profile.file = arena.push_fmt(format_args!("{text}"));
            let result = profile.decode(arena.bytes());
            let text_of = |span: Span| span.text(arena.bytes());
            let got = [
                text_of(profile.kernel),
                text_of(profile.initrd),
                text_of(profile.args),
                text_of(profile.template(Folder::Generic).id),
            ];
            assert_eq!(got.join("|"), want, "{text}");
            assert_eq!(
                result.err().map(|f| f.to_string()).unwrap_or_default(),
                fault,
                "{text}"
            );
        }
    }
}
