//! The data that templates see, and how Go prints it.
//!
//! matchbox hands its templates one map: the group's metadata, over it the
//! selectors with lower-case keys, over that `request`. Nothing is built
//! here; a [`Value`] points into the files and the request.

use core::fmt::{self, Write as _};

use heapless::String;

use super::Labels;
use super::arena::Span;
use super::json::{self, Kind};
use super::text::Text;

/// One selector of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) key: Span,
    pub(super) value: Span,
    /// The key in lower case: its name in templates.
    pub(super) lower: Span,
}

/// The selectors of a group, sorted.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Selectors<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) pairs: &'a [Pair],
}

impl<'a> Selectors<'a> {
    pub(super) fn iter(self) -> impl Iterator<Item = (&'a str, &'a str)> {
        let text = move |span: Span| span.text(self.bytes);
        self.pairs.iter().map(move |p| (text(p.key), text(p.value)))
    }
}

/// What a template is rendered with.
#[derive(Debug, Clone, Copy)]
pub struct Data<'a> {
    pub(super) metadata: Option<json::Value<'a>>,
    pub(super) selectors: Selectors<'a>,
    pub(super) labels: &'a Labels,
    pub(super) raw_query: &'a str,
}

impl<'a> Data<'a> {
    /// The data of a group without selectors.
    pub fn new(metadata: json::Value<'a>, labels: &'a Labels, raw_query: &'a str) -> Self {
        Self {
            metadata: Some(metadata),
            selectors: Selectors::default(),
            labels,
            raw_query,
        }
    }
}

/// A value in a template.
#[derive(Debug, Clone, Copy)]
pub(super) enum Value<'a> {
    /// JSON's `null` and what `index` finds for a key that is not there.
    Nil,
    /// A truth value.
    Bool(bool),
    /// A whole number written in the template, or a length.
    Int(i64),
    /// Any number that comes from JSON.
    Float(f64),
    /// Text.
    Text(Text<'a>),
    /// A JSON array.
    List(json::Value<'a>),
    /// Something with keys.
    Map(Map<'a>),
}

/// The maps there are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Map<'a> {
    /// Metadata, selectors and `request`.
    Root(&'a Data<'a>),
    /// `request`
    Request(&'a Data<'a>),
    /// `request.query`
    Query(&'a Labels),
    /// An object in the metadata.
    Json(json::Value<'a>),
}

impl<'a> From<json::Value<'a>> for Value<'a> {
    fn from(value: json::Value<'a>) -> Self {
        match value.kind() {
            Kind::Null => Self::Nil,
            Kind::Bool => Self::Bool(value.bool().unwrap_or_default()),
            Kind::Number => Self::Float(value.number().unwrap_or_default()),
            Kind::String => value
                .string()
                .map_or(Self::Nil, |s| Self::Text(Text::Json(s))),
            Kind::Array => Self::List(value),
            Kind::Object => Self::Map(Map::Json(value)),
        }
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(Text::Plain(text))
    }
}

impl<'a> Value<'a> {
    /// Go's truth: everything but zero, empty and nil.
    pub(super) fn is_true(self) -> bool {
        match self {
            Self::Nil => false,
            Self::Bool(value) => value,
            Self::Int(value) => value != 0,
            Self::Float(value) => value != 0.0,
            Self::Text(value) => !value.is_empty(),
            Self::List(value) => value.items().next().is_some(),
            Self::Map(value) => !value.is_empty(),
        }
    }

    /// What an operator calls this type.
    pub(super) const fn type_name(self) -> &'static str {
        match self {
            Self::Nil => "null",
            Self::Bool(_) => "true or false",
            Self::Int(_) => "a whole number",
            Self::Float(_) => "a JSON number (a float)",
            Self::Text(_) => "text",
            Self::List(_) => "a list",
            Self::Map(_) => "a map",
        }
    }

    fn print(self, f: &mut fmt::Formatter<'_>, nil: &str) -> fmt::Result {
        match self {
            Self::Nil => f.write_str(nil),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(value) => write!(f, "{value}"),
            Self::Float(value) => print_float(f, value),
            Self::Text(value) => fmt::Display::fmt(&value, f),
            Self::List(value) => {
                f.write_char('[')?;
                for (n, item) in value.items().enumerate() {
                    if n > 0 {
                        f.write_char(' ')?;
                    }
                    Self::from(item).print(f, "<nil>")?;
                }
                f.write_char(']')
            }
            Self::Map(map) => {
                f.write_str("map[")?;
                let mut space = "";
                for (key, value) in map.sorted() {
                    write!(f, "{space}{key}:")?;
                    value.print(f, "<nil>")?;
                    space = " ";
                }
                f.write_char(']')
            }
        }
    }
}

impl fmt::Display for Value<'_> {
    /// As Go's `%v` prints it, and its templates do.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.print(f, "<no value>")
    }
}

/// The shortest digits that read back as the same number, as Go's `%v`
/// lays them out: with an exponent below 1e-04 and from 1e+06.
fn print_float(f: &mut fmt::Formatter<'_>, value: f64) -> fmt::Result {
    let mut text = String::<32>::new();
    write!(text, "{value:e}")?;
    let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
    let exponent: i32 = exponent.parse().map_err(|_| fmt::Error)?;
    if (-4..6).contains(&exponent) {
        return write!(f, "{value}");
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(f, "{digits}e{sign}{:02}", exponent.unsigned_abs())
}

impl<'a> Map<'a> {
    /// Calls `visit` for every entry. Where a key is repeated, the last one counts.
    fn each(self, visit: &mut dyn FnMut(Text<'a>, Value<'a>)) {
        match self {
            Self::Root(data) => {
                for (key, value) in data.metadata.into_iter().flat_map(json::Value::members) {
                    visit(Text::Json(key), value.into());
                }
                let Selectors { bytes, pairs } = data.selectors;
                for pair in pairs {
                    visit(pair.lower.text(bytes).into(), pair.value.text(bytes).into());
                }
                visit("request".into(), Value::Map(Map::Request(data)));
            }
            Self::Request(data) => {
                visit("query".into(), Value::Map(Map::Query(data.labels)));
                visit("raw_query".into(), data.raw_query.into());
            }
            Self::Query(labels) => {
                for (key, value) in labels.iter() {
                    visit(key.into(), value.into());
                }
            }
            Self::Json(object) => {
                for (key, value) in object.members() {
                    visit(Text::Json(key), value.into());
                }
            }
        }
    }

    /// The value of a key.
    pub(super) fn get(self, key: Text<'_>) -> Option<Value<'a>> {
        let mut found = None;
        self.each(&mut |k, value| {
            if k == key {
                found = Some(value);
            }
        });
        found
    }

    /// Whether it has no entries.
    pub(super) fn is_empty(self) -> bool {
        let mut empty = true;
        self.each(&mut |_, _| empty = false);
        empty
    }

    /// The entries in ascending order of their keys, each key once.
    ///
    /// Looks through the whole map for every entry, as there is no room to
    /// sort it in.
    pub(super) fn sorted(self) -> impl Iterator<Item = (Text<'a>, Value<'a>)> {
        let mut last: Option<Text<'a>> = None;
        core::iter::from_fn(move || {
            let mut next: Option<(Text<'a>, Value<'a>)> = None;
            self.each(&mut |key, value| {
                let new = last.is_none_or(|last| key > last);
                if new && next.is_none_or(|(best, _)| key <= best) {
                    next = Some((key, value));
                }
            });
            last = next.map(|(key, _)| key);
            next
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(text: &str) -> std::string::String {
        Value::from(json::parse(text.as_bytes()).unwrap()).to_string()
    }

    #[test]
    fn prints_as_go_does() {
        let table = [
            ("null", "<no value>"),
            ("true", "true"),
            ("\"a\\\"b\"", "a\"b"),
            ("[]", "[]"),
            ("[1, \"a b\", null, [true]]", "[1 a b <nil> [true]]"),
            ("{}", "map[]"),
            (
                "{\"b\":{\"x\":null},\"a\":[1,2],\"b\":2}",
                "map[a:[1 2] b:2]",
            ),
        ];
        for (text, want) in table {
            assert_eq!(printed(text), want, "{text}");
        }
    }

    #[test]
    fn floats_as_go_prints_them() {
        let table = [
            ("0", "0"),
            ("-0", "-0"),
            ("1.0", "1"),
            ("8080", "8080"),
            ("-8.5", "-8.5"),
            ("0.1", "0.1"),
            ("999999", "999999"),
            ("1000000", "1e+06"),
            ("1234567", "1.234567e+06"),
            ("9007199254740993", "9.007199254740992e+15"),
            ("0.0001", "0.0001"),
            ("0.00001", "1e-05"),
            ("1.5e-7", "1.5e-07"),
            ("1e100", "1e+100"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
        ];
        for (text, want) in table {
            assert_eq!(printed(text), want, "{text}");
        }
    }

    #[test]
    fn selectors_cover_metadata_and_request_covers_both() {
        let bytes = b"OSoscore";
        let span = |at, len| Span::default().part(at, len);
        let pairs = [Pair {
            key: span(0, 2),
            value: span(4, 4),
            lower: span(2, 2),
        }];
        let labels = Labels::from_query([("x", "1")]).unwrap();
        let metadata = br#"{"os":"m","request":"m","z":0,"a":[],"a":1}"#;
        let data = Data {
            metadata: Some(json::parse(metadata).unwrap()),
            selectors: Selectors {
                bytes,
                pairs: &pairs,
            },
            labels: &labels,
            raw_query: "x=1",
        };
        assert_eq!(
            Value::Map(Map::Root(&data)).to_string(),
            "map[a:1 os:core request:map[query:map[x:1] raw_query:x=1] z:0]"
        );
        let get = |key: &'static str| Map::Root(&data).get(key.into()).map(|v| v.to_string());
        assert_eq!(get("os").as_deref(), Some("core"));
        assert_eq!(get("OS"), None);
    }
}
