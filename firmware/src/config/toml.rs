//! Reads `ichor.toml`, one statement at a time, in bounded memory.
//!
//! Tables become prefixes (`[boot]` and `arm64-efi` make `boot.arm64-efi`), a
//! table of an array becomes one value of `name=value` pairs, as a flag would
//! have it, and an array of values becomes a list with commas.

use core::fmt::Write as _;

use heapless::{String, Vec};
use toml_parser::decoder::{Encoding, ScalarKind, StringBuilder};
use toml_parser::lexer::{Token, TokenKind};
use toml_parser::parser::{EventReceiver, parse_document};
use toml_parser::{ErrorSink, ParseError, Raw, Source, Span};

use super::reason::{ConfigError, Reason};
use super::{KEY_LEN, VALUE_LEN};
use crate::fnv::Fnv1a;

/// Most tokens in a statement: a list of about 60 values.
const TOKENS: usize = 256;
/// Most keys in a file, not counting those of `[[tables]]`.
const KEYS: usize = 96;

/// Where keys and values go.
type Set<'a> = &'a mut dyn FnMut(&str, &str) -> Result<(), Reason>;

/// Calls `set` with every key and value of the file.
pub(super) fn read(text: &str, set: Set<'_>) -> Result<(), ConfigError> {
    let source = Source::new(text);
    let mut reader = Reader {
        source,
        section: Section::Top,
        seen: Vec::new(),
        set,
    };
    let mut tokens: Vec<Token, TOKENS> = Vec::new();
    // Brackets before the `=` are a header's, and end with its line.
    let mut in_value = false;
    let mut depth = 0_usize;
    for token in source.lex() {
        if tokens.push(token).is_err() {
            let start = tokens.first().map_or(token.span(), Token::span);
            let problem = "the list does not end, or has too many values";
            let reason = Reason::wrong(format_args!("{problem}"));
            return Err(reader.error(start, "", reason));
        }
        match token.kind() {
            TokenKind::Equals => in_value = true,
            TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket if in_value => depth += 1,
            TokenKind::RightSquareBracket | TokenKind::RightCurlyBracket => {
                depth = depth.saturating_sub(1);
            }
            TokenKind::Newline if depth > 0 => {}
            TokenKind::Newline | TokenKind::Eof => {
                reader.statement(&tokens)?;
                tokens.clear();
                in_value = false;
                depth = 0;
            }
            _ => {}
        }
    }
    reader.end_section()
}

/// Which keys are being read.
#[allow(clippy::large_enum_variant)] // There is but one of it.
enum Section {
    /// Those before any header.
    Top,
    /// Those below `[name]`.
    Table(String<KEY_LEN>),
    /// Those below `[[name]]`.
    Item {
        name: String<KEY_LEN>,
        header: Span,
        /// `name=value` pairs with commas between them.
        fields: String<VALUE_LEN>,
    },
}

struct Reader<'a, 's> {
    source: Source<'a>,
    section: Section,
    /// Hashes of the keys and headers so far.
    seen: Vec<u64, KEYS>,
    set: Set<'s>,
}

impl Reader<'_, '_> {
    /// Takes one line, or several if a value has so many.
    fn statement(&mut self, tokens: &[Token]) -> Result<(), ConfigError> {
        let Some(start) = tokens.first().map(Token::span) else {
            return Ok(());
        };
        let mut statement = Statement::new(self.source);
        let mut syntax: Option<ParseError> = None;
        parse_document(tokens, &mut statement, &mut syntax);
        let key = statement.path.clone();
        if let Some((span, reason)) = statement.problem {
            return Err(self.error(span, &key, reason));
        }
        if let Some(error) = syntax {
            let span = error.unexpected().or(error.context()).unwrap_or(start);
            let reason = Reason::wrong(format_args!("{}", error.description()));
            return Err(self.error(span, &key, reason));
        }
        match statement.kind {
            Kind::Blank => Ok(()),
            Kind::Table => {
                self.end_section()?;
                self.only_once("[]", &key, start)?;
                self.section = Section::Table(key);
                Ok(())
            }
            Kind::Item => {
                self.end_section()?;
                self.section = Section::Item {
                    name: key,
                    header: start,
                    fields: String::new(),
                };
                Ok(())
            }
            Kind::Value => self.value(start, &key, &statement.value),
        }
    }

    fn value(&mut self, start: Span, key: &str, value: &str) -> Result<(), ConfigError> {
        let mut full: String<KEY_LEN> = String::new();
        match &mut self.section {
            Section::Item { name, fields, .. } => {
                let comma = if fields.is_empty() { "" } else { "," };
                let reason = if value.contains(',') {
                    Reason::expected("a single value without commas", value)
                } else if write!(fields, "{comma}{key}={value}").is_err() {
                    Reason::wrong(format_args!("all values together are too long"))
                } else {
                    return Ok(());
                };
                let _ = write!(full, "{name}.{key}");
                return Err(self.error(start, &full, reason));
            }
            Section::Table(table) if write!(full, "{table}.{key}").is_ok() => {}
            Section::Top if full.push_str(key).is_ok() => {}
            Section::Table(_) | Section::Top => {
                return Err(self.error(start, key, Reason::UnknownKey(None)));
            }
        }
        self.only_once("", &full, start)?;
        (self.set)(&full, value).map_err(|reason| self.error(start, &full, reason))
    }

    /// Hands over the values below a `[[header]]`, which are one setting.
    fn end_section(&mut self) -> Result<(), ConfigError> {
        let section = core::mem::replace(&mut self.section, Section::Top);
        let Section::Item {
            name,
            header,
            fields,
        } = section
        else {
            return Ok(());
        };
        (self.set)(&name, &fields).map_err(|reason| self.error(header, &name, reason))
    }

    /// Remembers a key, or a header, and refuses to see it twice.
    fn only_once(&mut self, kind: &str, key: &str, at: Span) -> Result<(), ConfigError> {
        // The 96 keys of a file do not collide in 64 bits.
        let mut hash = Fnv1a::new();
        hash.add(kind.as_bytes());
        hash.add(key.as_bytes());
        let hash = hash.finish();
        if self.seen.contains(&hash) {
            return Err(self.error(at, key, Reason::Twice));
        }
        let pushed = self.seen.push(hash);
        pushed.map_err(|_| self.error(at, key, Reason::TooMany(KEYS)))
    }

    fn error(&self, at: Span, key: &str, reason: Reason) -> ConfigError {
        let before = self.source.input().get(..at.start()).unwrap_or_default();
        let newlines = before.bytes().filter(|b| *b == b'\n').count();
        let mut error = ConfigError::new(key, reason);
        error.line = u32::try_from(newlines + 1).ok();
        error
    }
}

/// What a line turned out to be.
enum Kind {
    /// Nothing, or a comment.
    Blank,
    /// `[name]`
    Table,
    /// `[[name]]`
    Item,
    /// `name = value`
    Value,
}

/// A statement while it is being read.
struct Statement<'a> {
    source: Source<'a>,
    kind: Kind,
    /// The key or the header's name, with dots.
    path: String<KEY_LEN>,
    value: String<VALUE_LEN>,
    /// Values so far, if they are in a list.
    list: Option<usize>,
    /// What is valid TOML, but not for us.
    problem: Option<(Span, Reason)>,
}

impl<'a> Statement<'a> {
    fn new(source: Source<'a>) -> Self {
        Self {
            source,
            kind: Kind::Blank,
            path: String::new(),
            value: String::new(),
            list: None,
            problem: None,
        }
    }

    fn refuse(&mut self, span: Span, reason: Reason) {
        self.problem.get_or_insert((span, reason));
    }

    fn raw(&self, span: Span, encoding: Option<Encoding>) -> Raw<'a> {
        let text = self.source.input().get(span.start()..span.end());
        Raw::new_unchecked(text.unwrap_or_default(), encoding, span)
    }

    /// Adds to the value, after a comma if it is a list's.
    fn append(&mut self, text: &str, span: Span) {
        let comma = self.list.is_some_and(|values| values > 0);
        if self.list.is_some() && text.contains(',') {
            self.refuse(span, Reason::expected("values without commas", text));
        }
        let written = self
            .value
            .push_str(if comma { "," } else { "" })
            .and_then(|()| self.value.push_str(text));
        if written.is_err() {
            self.refuse(span, too_long());
        }
        if let Some(values) = &mut self.list {
            *values += 1;
        }
    }
}

fn too_long() -> Reason {
    Reason::wrong(format_args!("longer than {VALUE_LEN} bytes"))
}

impl EventReceiver for Statement<'_> {
    fn std_table_open(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.kind = Kind::Table;
    }

    fn array_table_open(&mut self, _: Span, _: &mut dyn ErrorSink) {
        self.kind = Kind::Item;
    }

    fn inline_table_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        let found = self.raw(span, None).as_str();
        let what = "a plain value (tables are written [table] or [[table]])";
        self.refuse(span, Reason::expected(what, found));
        false
    }

    fn array_open(&mut self, span: Span, _: &mut dyn ErrorSink) -> bool {
        if self.list.is_some() {
            self.refuse(span, Reason::expected("a list of plain values", "["));
            return false;
        }
        self.list = Some(0);
        true
    }

    fn simple_key(&mut self, span: Span, kind: Option<Encoding>, error: &mut dyn ErrorSink) {
        let mut part = Text::<KEY_LEN>::default();
        self.raw(span, kind).decode_key(&mut part, error);
        let dot = if self.path.is_empty() { "" } else { "." };
        if part.too_long || write!(self.path, "{dot}{}", part.text).is_err() {
            self.refuse(span, Reason::UnknownKey(None));
        }
        if matches!(self.kind, Kind::Blank) {
            self.kind = Kind::Value;
        }
    }

    fn scalar(&mut self, span: Span, kind: Option<Encoding>, error: &mut dyn ErrorSink) {
        let raw = self.raw(span, kind);
        let mut text = Text::<VALUE_LEN>::default();
        match raw.decode_scalar(&mut text, error) {
            _ if text.too_long => self.refuse(span, too_long()),
            ScalarKind::String | ScalarKind::Boolean(_) => self.append(&text.text, span),
            ScalarKind::Integer(radix) if radix.value() == 10 => self.append(&text.text, span),
            ScalarKind::Integer(_) | ScalarKind::Float | ScalarKind::DateTime => {
                let what = "text in quotes, a whole number, true or false";
                self.refuse(span, Reason::expected(what, raw.as_str()));
            }
        }
    }
}

/// Decoded text of bounded length.
#[derive(Default)]
struct Text<const N: usize> {
    text: String<N>,
    too_long: bool,
}

impl<'s, const N: usize> StringBuilder<'s> for Text<N> {
    fn clear(&mut self) {
        self.text.clear();
    }

    fn push_str(&mut self, append: &'s str) -> bool {
        self.too_long |= self.text.push_str(append).is_err();
        !self.too_long
    }

    fn push_char(&mut self, append: char) -> bool {
        self.too_long |= self.text.push(append).is_err();
        !self.too_long
    }
}
