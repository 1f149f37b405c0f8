//! A group file: which machines, which profile, which metadata.

use core::cmp::Ordering;
use core::fmt::Write as _;

use heapless::{String, Vec};

use super::arena::{Arena, Span};
use super::decode::{Types, each_member};
use super::json::{Kind, Str, Value, line_of};
use super::labels::{is_mac_key, normal_mac};
use super::problem::Fault;
use super::value::{Pair, Selectors};

/// Most selectors of one group.
pub const MAX_SELECTORS: usize = 8;

/// Longest key or value of a selector in bytes.
pub const MAX_SELECTOR_LEN: usize = 255;

/// A [`Fault`] whose reason stays in the arena.
#[derive(Debug, Clone, Copy)]
pub(super) struct StoredFault {
    pub(super) line: u32,
    pub(super) reason: Span,
}

impl StoredFault {
    pub(super) fn store<const N: usize>(fault: &Fault, arena: &mut Arena<N>) -> Self {
        Self {
            line: fault.line,
            reason: arena.push_fmt(format_args!("{}", fault.reason)),
        }
    }
}

/// One file of `groups/`.
#[derive(Debug, Clone)]
pub(super) struct Group {
    /// `groups/<name>.json`
    pub(super) path: Span,
    /// The file; empty where it could not be read.
    pub(super) file: Span,
    /// JSON strings with their quotes; empty where absent.
    pub(super) id: Span,
    pub(super) profile: Span,
    /// A JSON object; empty where absent.
    pub(super) metadata: Span,
    /// Sorted by `key=value`.
    pub(super) selectors: Vec<Pair, MAX_SELECTORS>,
    /// Whether `selectors` is what the file says. If not, nobody knows which
    /// machines the group is for.
    pub(super) selectors_known: bool,
    /// Index of the profile.
    pub(super) profile_entry: Option<u16>,
    pub(super) fault: Option<StoredFault>,
}

impl Group {
    /// A group of which only the name is known.
    pub(super) fn unread(path: Span) -> Self {
        Self {
            path,
            file: Span::default(),
            id: Span::default(),
            profile: Span::default(),
            metadata: Span::default(),
            selectors: Vec::new(),
            selectors_known: false,
            profile_entry: None,
            fault: None,
        }
    }

    /// Reads the file at `self.file`; in spite of a fault, whatever can be read.
    pub(super) fn decode<const N: usize>(&mut self, arena: &mut Arena<N>) -> Result<(), Fault> {
        let file = self.file;
        let text = file.of(arena.bytes());
        let span = |value: Value<'_>| file.part(value.at(), value.raw().len());
        let mut types = Types::new(text);
        let mut selector = None;
        let mut twice = false;
        let syntax = each_member(text, |key, value| {
            if key.is_key("id") && types.fits("id", value, Kind::String) {
                self.id = span(value);
            } else if key.is_key("name") {
                types.fits("name", value, Kind::String);
            } else if key.is_key("profile") && types.fits("profile", value, Kind::String) {
                self.profile = span(value);
            } else if key.is_key("metadata") && types.fits("metadata", value, Kind::Object) {
                if !self.metadata.is_empty() {
                    types.fault(value, format_args!("a second \"metadata\": make it one"));
                }
                self.metadata = span(value);
            } else if key.is_key("selector") {
                if !types.fits("selector", value, Kind::Object) {
                    twice |= value.kind() != Kind::Null;
                } else if selector.is_some() {
                    types.fault(value, format_args!("a second \"selector\": make it one"));
                    twice = true;
                }
                selector = Some(span(value));
            }
        });
        let types = types.result();
        // A file without a selector must be whole to show that it has none.
        let clear = !twice && (selector.is_some() || syntax.is_ok());
        let selectors = self.decode_selectors(selector.unwrap_or_default(), arena);
        self.selectors_known = clear && selectors.is_ok();
        if !self.selectors_known {
            self.selectors.clear();
        }
        syntax.and(types).and(selectors)?;
        if self.profile.of(arena.bytes()).len() <= 2 {
            let reason = format_args!("\"profile\" is missing: name a file of profiles/");
            return Err(Fault::whole(reason));
        }
        Ok(())
    }

    fn decode_selectors<const N: usize>(
        &mut self,
        selector: Span,
        arena: &mut Arena<N>,
    ) -> Result<(), Fault> {
        let (head, mut tail) = arena.split();
        let text = self.file.of(head);
        let object = Value::checked_before(selector.of(head), selector.offset_in(self.file));
        let mut types = Types::new(text);
        for (key, value) in object.members() {
            let line = line_of(text, value.at());
            let (Some(name), Some(wanted)) = (bounded(key), bounded_value(value)) else {
                let reason = format_args!("selector longer than {MAX_SELECTOR_LEN} bytes");
                return Err(Fault::new(line, reason));
            };
            if value.kind() != Kind::Null && !types.fits(&name, value, Kind::String) {
                continue;
            }
            let mac = is_mac_key(&name).then(|| normal_mac(&wanted));
            let wanted = match &mac {
                None => wanted.as_str(),
                Some(Some(mac)) => mac.as_str(),
                Some(None) => {
                    types.fault(
                        value,
                        format_args!(
                            "\"{wanted}\" is no MAC address: write it like 52:54:00:12:34:56"
                        ),
                    );
                    continue;
                }
            };
            let mut lower: String<MAX_SELECTOR_LEN> = String::new();
            for c in name.chars() {
                // What grows in lower case stays as it is.
                let _ = lower.push(one(c.to_lowercase()).unwrap_or(c));
            }
            let mut push = |text: &str| {
                let room = tail.push(text);
                room.ok_or_else(|| Fault::new(line, format_args!("no room left for selectors")))
            };
            let key = push(&name)?;
            let pair = Pair {
                key,
                value: push(wanted)?,
                lower: if lower == name { key } else { push(&lower)? },
            };
            if self.selectors.push(pair).is_err() {
                let reason = format_args!("more than {MAX_SELECTORS} selectors in one group");
                return Err(Fault::new(line, reason));
            }
        }
        let types = types.result();
        self.sort_selectors(arena.bytes());
        types
    }

    /// Sorts by `key=value`, and keeps the last of repeated keys.
    fn sort_selectors(&mut self, bytes: &[u8]) {
        let all = self.selectors.clone();
        let mut place = 0;
        self.selectors.retain(|pair| {
            place += 1;
            let mut later = all.iter().skip(place);
            !later.any(|l| l.key.of(bytes) == pair.key.of(bytes))
        });
        self.selectors
            .sort_unstable_by(|a, b| pair_bytes(a, bytes).cmp(pair_bytes(b, bytes)));
    }

    pub(super) fn selectors<'a>(&'a self, bytes: &'a [u8]) -> Selectors<'a> {
        Selectors {
            bytes,
            pairs: &self.selectors,
        }
    }

    /// The order in which groups are tried: most selectors first, then the
    /// selectors as one text `k=v,k=v` in descending order, then file names.
    pub(super) fn order(&self, other: &Self, bytes: &[u8]) -> Ordering {
        let count = other.selectors.len().cmp(&self.selectors.len());
        count
            .then_with(|| other.selector_bytes(bytes).cmp(self.selector_bytes(bytes)))
            .then_with(|| self.path.of(bytes).cmp(other.path.of(bytes)))
    }

    /// Whether both groups are for exactly the same machines.
    pub(super) fn same_selectors(&self, other: &Self, bytes: &[u8]) -> bool {
        self.selector_bytes(bytes).eq(other.selector_bytes(bytes))
    }

    fn selector_bytes<'a>(&'a self, bytes: &'a [u8]) -> impl Iterator<Item = u8> + 'a {
        let pairs = self.selectors.iter().enumerate();
        pairs.flat_map(move |(n, pair)| {
            let comma = (n > 0).then_some(b',');
            comma.into_iter().chain(pair_bytes(pair, bytes))
        })
    }
}

fn pair_bytes<'a>(pair: &Pair, bytes: &'a [u8]) -> impl Iterator<Item = u8> + 'a {
    let (key, value) = (pair.key.of(bytes), pair.value.of(bytes));
    key.iter().chain(b"=").chain(value).copied()
}

fn one(mut chars: impl Iterator<Item = char>) -> Option<char> {
    let first = chars.next();
    if chars.next().is_some() { None } else { first }
}

fn bounded(text: Str<'_>) -> Option<String<MAX_SELECTOR_LEN>> {
    let mut out = String::new();
    write!(out, "{text}").ok()?;
    Some(out)
}

/// The text of a selector; `null` is empty text to Go.
fn bounded_value(value: Value<'_>) -> Option<String<MAX_SELECTOR_LEN>> {
    value.string().map_or(Some(String::new()), bounded)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Selectors as `k=v,k=v` (or "?" where unknown), and the fault.
    fn read(text: &str) -> (std::string::String, std::string::String) {
        let mut arena = Arena::<4096>::new();
        let mut group = Group::unread(Span::default());
        group.file = arena.push_fmt(format_args!("{text}"));
        let fault = group.decode(&mut arena).err();
        let mut selectors: Vec<u8, 4096> = group.selector_bytes(arena.bytes()).collect();
        if !group.selectors_known {
            assert!(selectors.is_empty());
            selectors.push(b'?').unwrap();
        }
        (
            std::string::String::from_utf8(selectors.to_vec()).unwrap(),
            fault.map(|f| f.to_string()).unwrap_or_default(),
        )
    }

    #[test]
    fn selectors_and_faults() {
        let profile = "\"profile\" is missing: name a file of profiles/";
        let table = [
            // Whole files.
            (r#"{"profile":"p"}"#, "", ""),
            (
                r#"{"Profile":"p","SELECTOR":{"b":"2","a":"1"},"x":[{}]}"#,
                "a=1,b=2",
                "",
            ),
            (
                r#"{"profile":"p","selector":{"mac":"52-54-00-AB-CD-EF"}}"#,
                "mac=52:54:00:ab:cd:ef",
                "",
            ),
            (
                r#"{"profile":"p","selector":{"MAC":"52-54-00-AB-CD-EF"}}"#,
                "MAC=52:54:00:ab:cd:ef",
                "",
            ),
            (
                r#"{"profile":"p","selector":{"a":"1","b":null,"a":"2"}}"#,
                "a=2,b=",
                "",
            ),
            (
                r#"{"profile":"p","selector":null,"metadata":null,"name":null}"#,
                "",
                "",
            ),
            (
                r#"{"profile":"p","selector":{"a":"x,b=y","a-b":"z"}}"#,
                "a-b=z,a=x,b=y",
                "",
            ),
            // Selectors recovered in spite of a fault.
            (r#"{"selector":{"os":"x"}}"#, "os=x", profile),
            (
                r#"{"selector":{"os":"x"},"profile":3}"#,
                "os=x",
                "line 1: \"profile\" must be a string, not a number",
            ),
            (
                "{\"id\":{},\n\"selector\":{\"os\":\"x\"},\"profile\":\"p\"}",
                "os=x",
                "line 1: \"id\" must be a string, not an object",
            ),
            (
                "{\"selector\":{\"os\":\"x\"},\n\"profile\":\"p\",}",
                "os=x",
                "line 2: remove the comma before this bracket",
            ),
            (
                "{\"selector\":{\"os\":\"x\"}\n\"profile\":\"p\"}",
                "os=x",
                "line 2: expected ',' or '}', found '\"'",
            ),
            (
                r#"{"profile":"p","selector":{"os":"x"}"#,
                "os=x",
                "line 1: expected ',' or '}', but the file ends",
            ),
            (
                "{\"profile\":\"p\"}\n x",
                "?",
                "line 2: expected the end of the file, found 'x'",
            ),
            (
                r#"{"profile":"p","metadata":[]}"#,
                "",
                "line 1: \"metadata\" must be an object, not an array",
            ),
            (
                r#"{"profile":"p","metadata":{},"metadata":{}}"#,
                "",
                "line 1: a second \"metadata\": make it one",
            ),
            // Selectors lost.
            ("", "?", "line 1: expected '{', but the file ends"),
            ("[]", "?", "line 1: expected '{', found '['"),
            (
                "{\"profile\":\"p\"\n\"selector\":{\"os\":\"x\"}}",
                "?",
                "line 2: expected ',' or '}', found '\"'",
            ),
            (
                "{\"selector\":{\"os\":\"x\",}}",
                "?",
                "line 1: remove the comma before this bracket",
            ),
            (
                r#"{"profile":"p","selector":"os"}"#,
                "?",
                "line 1: \"selector\" must be an object, not a string",
            ),
            (
                "{\"profile\":\"p\",\"selector\":{\"a\":\"1\",\n\"n\":3}}",
                "?",
                "line 2: \"n\" must be a string, not a number",
            ),
            (
                r#"{"profile":"p","selector":{"mac":"525400abcdef"}}"#,
                "?",
                "line 1: \"525400abcdef\" is no MAC address: write it like 52:54:00:12:34:56",
            ),
            (
                r#"{"profile":"p","selector":{"a":"1"},"selector":{"b":"2"}}"#,
                "?",
                "line 1: a second \"selector\": make it one",
            ),
            (
                r#"{"selector":{"1":"","2":"","3":"","4":"","5":"","6":"","7":"","8":"","9":""}}"#,
                "?",
                "line 1: more than 8 selectors in one group",
            ),
        ];
        for (text, selectors, fault) in table {
            assert_eq!(
                read(text),
                (selectors.to_owned(), fault.to_owned()),
                "{text}"
            );
        }
        let long = format!(r#"{{"selector":{{"a":"{}"}}}}"#, "x".repeat(256));
        assert_eq!(read(&long).1, "line 1: selector longer than 255 bytes");
    }

    #[test]
    fn the_order_is_that_of_matchbox() {
        let mut arena = Arena::<4096>::new();
        let mut groups = std::vec::Vec::new();
        let files = [
            r#"{}"#,
            r#"{"selector":{"region":"a"}}"#,
            r#"{"selector":{"uuid":"1"}}"#,
            r#"{"selector":{"region":"a","zone":"z"}}"#,
            r#"{"selector":{"zone":"z","region":"b"}}"#,
            r#"{"selector":{"uuid":"1","mac":"52:da:00:89:d8:10"}}"#,
            r#"{"selector":{"region":"a"}}"#,
        ];
        for (n, text) in files.iter().enumerate() {
            let mut group = Group::unread(arena.push_fmt(format_args!("{n}")));
            group.file = arena.push_fmt(format_args!("{text}"));
            let _ = group.decode(&mut arena);
            groups.push(group);
        }
        groups.sort_unstable_by(|a, b| a.order(b, arena.bytes()));
        let order: std::vec::Vec<_> = groups.iter().map(|g| g.path.text(arena.bytes())).collect();
        assert_eq!(order, ["4", "3", "5", "2", "1", "6", "0"]);
        assert!(groups[4].same_selectors(&groups[5], arena.bytes()));
        assert!(!groups[0].same_selectors(&groups[1], arena.bytes()));
    }
}
