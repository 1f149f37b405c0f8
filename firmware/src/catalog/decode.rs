//! From JSON to fields, by the rules of Go's `encoding/json`.
//!
//! Keys match without regard to case, unknown keys are ignored, `null` leaves
//! a field as it is, the last of repeated keys counts.

use super::json::{self, Kind, Reader, Str, Value, line_of};
use super::problem::Fault;

impl From<json::Error> for Fault {
    fn from(error: json::Error) -> Self {
        Self::new(error.line, format_args!("{}", error.reason))
    }
}

/// Calls `visit` for every member of the object that `text` is, up to an
/// error if there is one.
pub(super) fn each_member<'a>(
    text: &'a [u8],
    mut visit: impl FnMut(Str<'a>, Value<'a>),
) -> Result<(), Fault> {
    let mut reader = Reader::new(text);
    reader.begin_object()?;
    while let Some(key) = reader.key()? {
        visit(key, reader.value()?);
    }
    Ok(reader.end()?)
}

/// Checks the types of fields and remembers the first that is wrong.
pub(super) struct Types<'a> {
    text: &'a [u8],
    first: Option<Fault>,
}

impl<'a> Types<'a> {
    pub(super) const fn new(text: &'a [u8]) -> Self {
        Self { text, first: None }
    }

    /// Whether `value` is of this kind. `null` is not, and no fault either.
    pub(super) fn fits(&mut self, name: &str, value: Value<'_>, kind: Kind) -> bool {
        let found = value.kind();
        if found != kind && found != Kind::Null {
            self.fault(
                value,
                format_args!("\"{name}\" must be {kind}, not {found}"),
            );
        }
        found == kind
    }

    pub(super) fn fault(&mut self, value: Value<'_>, reason: core::fmt::Arguments<'_>) {
        let line = line_of(self.text, value.at());
        self.first.get_or_insert_with(|| Fault::new(line, reason));
    }

    pub(super) fn result(self) -> Result<(), Fault> {
        self.first.map_or(Ok(()), Err)
    }
}
