//! A strict JSON reader (RFC 8259) over bytes: nothing is copied, and errors name the line.
//!
//! A [`Reader`] pulls the members of one object, each value whole; that is
//! how a file with an error in line 20 still tells what stood in line 3. A
//! [`Value`] is a checked piece of the text that is read again wherever it is
//! needed, so a catalog keeps files as they are and no tree.

mod string;

use core::fmt;

pub use string::{Chars, Str};

/// Deepest nesting of objects and arrays. Bounds the recursion.
pub const MAX_DEPTH: u32 = 32;

/// Why a text is not JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Error {
    /// Line of the text, from 1.
    pub line: u32,
    /// What is wrong there.
    pub reason: Reason,
}

/// What is wrong with a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// Something else should stand here; `None` is the end of the text.
    Expected(&'static str, Option<u8>),
    /// A comma before `}` or `]`.
    TrailingComma,
    /// `//`, `/*` or `#`.
    Comment,
    /// A byte below 0x20 inside a string; mostly the end of the line.
    ControlCharacter,
    /// A backslash with something after it that JSON does not know.
    Escape,
    /// Digits in an order that JSON does not allow, such as `01` or `1.`.
    Number,
    /// A number that no double can hold.
    NumberRange,
    /// More than [`MAX_DEPTH`] levels.
    TooDeep,
    /// UTF-8's byte order mark before the text.
    ByteOrderMark,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Expected(what, None) => write!(f, "expected {what}, but the file ends"),
            Self::Expected(what, Some(found)) if found.is_ascii_graphic() => {
                write!(f, "expected {what}, found '{}'", char::from(*found))
            }
            Self::Expected(what, Some(found)) => {
                write!(f, "expected {what}, found byte 0x{found:02x}")
            }
            Self::TrailingComma => f.write_str("remove the comma before this bracket"),
            Self::Comment => f.write_str("JSON has no comments: remove it"),
            Self::ControlCharacter => {
                f.write_str("line end or control character in a string: write \\n or close it")
            }
            Self::Escape => f.write_str("unknown escape after \\ in a string"),
            Self::Number => f.write_str("malformed number"),
            Self::NumberRange => f.write_str("number out of range"),
            Self::TooDeep => write!(f, "nested deeper than {MAX_DEPTH} levels"),
            Self::ByteOrderMark => f.write_str("byte order mark: save as UTF-8 without BOM"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.reason)
    }
}

impl core::error::Error for Error {}

/// Checks that `text` is one JSON value and nothing else.
pub fn parse(text: &[u8]) -> Result<Value<'_>, Error> {
    let mut reader = Reader::new(text);
    let value = reader.value()?;
    reader.end()?;
    Ok(value)
}

/// The line, from 1, that byte `at` of `text` stands in.
pub fn line_of(text: &[u8], at: usize) -> u32 {
    let breaks = text.iter().take(at).filter(|&&b| b == b'\n').count();
    u32::try_from(breaks).unwrap_or(u32::MAX).saturating_add(1)
}

/// Pulls values out of a text.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    /// No member or item of the open object or array was read yet.
    first: bool,
}

impl<'a> Reader<'a> {
    /// A reader at the start of `text`.
    pub const fn new(text: &'a [u8]) -> Self {
        Self {
            text,
            at: 0,
            first: true,
        }
    }

    /// Reads and checks the next value, whatever it contains.
    pub fn value(&mut self) -> Result<Value<'a>, Error> {
        self.space();
        let at = self.at;
        self.skip(MAX_DEPTH)?;
        Ok(Value {
            raw: self.text.get(at..self.at).unwrap_or_default(),
            at,
        })
    }

    /// Enters an object; [`key`](Self::key) and [`value`](Self::value) follow in turns.
    pub fn begin_object(&mut self) -> Result<(), Error> {
        self.space();
        self.first = true;
        self.expect(b'{', "'{'")
    }

    /// The next key of the object, or `None` after its last member.
    pub fn key(&mut self) -> Result<Option<Str<'a>>, Error> {
        if !self.next_in(b'}', "',' or '}'")? {
            return Ok(None);
        }
        if self.peek() != Some(b'"') {
            return Err(self.expected("a key in double quotes"));
        }
        let key = self.string()?;
        self.space();
        self.expect(b':', "':'")?;
        Ok(Some(key))
    }

    /// Makes sure that nothing follows.
    pub fn end(&mut self) -> Result<(), Error> {
        self.space();
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.expected("the end of the file")),
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.at).copied()
    }

    fn space(&mut self) {
        while let Some(b' ' | b'\t' | b'\r' | b'\n') = self.peek() {
            self.at += 1;
        }
    }

    fn fail(&self, reason: Reason) -> Error {
        Error {
            line: line_of(self.text, self.at),
            reason,
        }
    }

    fn expected(&self, what: &'static str) -> Error {
        let found = self.peek();
        self.fail(match found {
            Some(b'/' | b'#') => Reason::Comment,
            Some(0xef) if self.at == 0 => Reason::ByteOrderMark,
            _ => Reason::Expected(what, found),
        })
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Error> {
        if self.peek() != Some(byte) {
            return Err(self.expected(what));
        }
        self.at += 1;
        Ok(())
    }

    /// Goes to the next member or item; `false` after passing `close`.
    fn next_in(&mut self, close: u8, what: &'static str) -> Result<bool, Error> {
        self.space();
        let first = core::mem::replace(&mut self.first, false);
        if self.peek() == Some(close) {
            self.at += 1;
            return Ok(false);
        }
        if !first {
            self.expect(b',', what)?;
            self.space();
            if self.peek() == Some(close) {
                return Err(self.fail(Reason::TrailingComma));
            }
        }
        Ok(true)
    }

    fn skip(&mut self, depth: u32) -> Result<(), Error> {
        self.space();
        match self.peek() {
            Some(b'{' | b'[') if depth == 0 => Err(self.fail(Reason::TooDeep)),
            Some(b'{') => {
                self.begin_object()?;
                while self.key()?.is_some() {
                    self.skip(depth - 1)?;
                }
                Ok(())
            }
            Some(b'[') => {
                self.at += 1;
                self.first = true;
                while self.next_in(b']', "',' or ']'")? {
                    self.skip(depth - 1)?;
                }
                Ok(())
            }
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => self.word(b"null"),
            _ => Err(self.expected("a value")),
        }
    }

    fn word(&mut self, word: &[u8]) -> Result<(), Error> {
        match self.text.get(self.at..).unwrap_or_default() {
            rest if rest.starts_with(word) => {
                self.at += word.len();
                Ok(())
            }
            _ => Err(self.expected("true, false, null or a quoted string")),
        }
    }

    fn string(&mut self) -> Result<Str<'a>, Error> {
        self.at += 1;
        let start = self.at;
        loop {
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => {
                    self.at += 1;
                    match self.peek() {
                        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {}
                        Some(b'u') => {
                            let digits = self.text.get(self.at + 1..self.at + 5);
                            if !digits.is_some_and(|d| d.iter().all(u8::is_ascii_hexdigit)) {
                                return Err(self.fail(Reason::Escape));
                            }
                            self.at += 4;
                        }
                        _ => return Err(self.fail(Reason::Escape)),
                    }
                    self.at += 1;
                }
                Some(0..=0x1f) => return Err(self.fail(Reason::ControlCharacter)),
                Some(_) => self.at += 1,
                None => return Err(self.expected("a closing '\"'")),
            }
        }
        let raw = self.text.get(start..self.at).unwrap_or_default();
        self.at += 1;
        Ok(Str::checked_before(raw))
    }

    fn digits(&mut self) -> Result<(), Error> {
        let start = self.at;
        while let Some(b'0'..=b'9') = self.peek() {
            self.at += 1;
        }
        if self.at == start {
            return Err(self.fail(Reason::Number));
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Error> {
        let start = self.at;
        if self.peek() == Some(b'-') {
            self.at += 1;
        }
        if self.peek() == Some(b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.peek() == Some(b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.at += 1;
            if let Some(b'+' | b'-') = self.peek() {
                self.at += 1;
            }
            self.digits()?;
        }
        if let Some(b'0'..=b'9' | b'.' | b'a'..=b'z' | b'A'..=b'Z') = self.peek() {
            return Err(self.fail(Reason::Number));
        }
        let raw = self.text.get(start..self.at).unwrap_or_default();
        match to_f64(raw) {
            Some(number) if number.is_finite() => Ok(()),
            _ => Err(self.fail(Reason::NumberRange)),
        }
    }
}

fn to_f64(raw: &[u8]) -> Option<f64> {
    core::str::from_utf8(raw).ok()?.parse().ok()
}

/// The six kinds of JSON values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `null`
    Null,
    /// `true` or `false`
    Bool,
    /// A number.
    Number,
    /// A string.
    String,
    /// An array.
    Array,
    /// An object.
    Object,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Null => "null",
            Self::Bool => "true or false",
            Self::Number => "a number",
            Self::String => "a string",
            Self::Array => "an array",
            Self::Object => "an object",
        })
    }
}

/// One checked value: a piece of the text it was read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Value<'a> {
    raw: &'a [u8],
    at: usize,
}

impl<'a> Value<'a> {
    /// A value that was checked before and starts at `at` of its text.
    /// Anything else reads as some value, but never goes wrong.
    pub(in crate::catalog) const fn checked_before(raw: &'a [u8], at: usize) -> Self {
        Self { raw, at }
    }

    /// Its text, without space around.
    pub const fn raw(self) -> &'a [u8] {
        self.raw
    }

    /// Where it starts in the text that was read.
    pub const fn at(self) -> usize {
        self.at
    }

    const fn moved(mut self, by: usize) -> Self {
        self.at += by;
        self
    }

    /// What kind of value it is.
    pub fn kind(self) -> Kind {
        match self.raw.first() {
            Some(b'{') => Kind::Object,
            Some(b'[') => Kind::Array,
            Some(b'"') => Kind::String,
            Some(b't' | b'f') => Kind::Bool,
            Some(b'-' | b'0'..=b'9') => Kind::Number,
            _ => Kind::Null,
        }
    }

    /// The string, if it is one.
    pub fn string(self) -> Option<Str<'a>> {
        match self.raw {
            [b'"', raw @ .., b'"'] => Some(Str::checked_before(raw)),
            _ => None,
        }
    }

    /// The number, if it is one.
    pub fn number(self) -> Option<f64> {
        match self.kind() {
            Kind::Number => to_f64(self.raw),
            _ => None,
        }
    }

    /// The truth value, if it is one.
    pub fn bool(self) -> Option<bool> {
        match self.kind() {
            Kind::Bool => Some(self.raw.starts_with(b"t")),
            _ => None,
        }
    }

    /// The members of an object in the order of the text, repeated keys
    /// included; nothing for any other kind.
    pub fn members(self) -> Members<'a> {
        let mut reader = Reader::new(self.raw);
        let open = reader.begin_object().is_ok();
        Members {
            reader,
            base: self.at,
            open,
        }
    }

    /// The items of an array; nothing for any other kind.
    pub fn items(self) -> Items<'a> {
        let mut reader = Reader::new(self.raw);
        let open = reader.expect(b'[', "'['").is_ok();
        Items {
            reader,
            base: self.at,
            open,
        }
    }
}

/// Iterates over an object.
#[derive(Debug, Clone)]
pub struct Members<'a> {
    reader: Reader<'a>,
    base: usize,
    open: bool,
}

impl<'a> Iterator for Members<'a> {
    type Item = (Str<'a>, Value<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        if !self.open {
            return None;
        }
        let key = self.reader.key().ok().flatten();
        let member = key.and_then(|key| Some((key, self.reader.value().ok()?.moved(self.base))));
        self.open = member.is_some();
        member
    }
}

/// Iterates over an array.
#[derive(Debug, Clone)]
pub struct Items<'a> {
    reader: Reader<'a>,
    base: usize,
    open: bool,
}

impl<'a> Iterator for Items<'a> {
    type Item = Value<'a>;

    fn next(&mut self) -> Option<Self::Item> {
        if !self.open {
            return None;
        }
        let item = match self.reader.next_in(b']', "',' or ']'") {
            Ok(true) => self.reader.value().ok(),
            _ => None,
        };
        self.open = item.is_some();
        Some(item?.moved(self.base))
    }
}

#[cfg(test)]
mod tests;
