//! What stands inside `{{ }}`: pipelines, operands, variables.

use heapless::Vec;

use super::functions::{Function, MAX_ARGUMENTS};
use super::{SPACE, Walk, Walked};
use crate::catalog::json::Str;
use crate::catalog::text::Text;
use crate::catalog::value::Value;

/// `$name :=` or `$name =`
#[derive(Debug, Clone, Copy)]
pub(super) struct Named<'a> {
    name: &'a str,
    new: bool,
}

fn in_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

impl<'a> Walk<'a, '_> {
    pub(super) fn space(&mut self) {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start_matches(SPACE).len();
    }

    /// The word that starts here, if any; it is not passed.
    pub(super) fn word(&self) -> &'a str {
        let rest = self.rest();
        let end = rest.find(|c| !in_word(c)).unwrap_or(rest.len());
        rest.get(..end).unwrap_or_default()
    }

    fn take(&mut self, prefix: &str) -> bool {
        let here = self.rest().starts_with(prefix);
        if here {
            self.at += prefix.len();
        }
        here
    }

    /// Whether `}}` or, after a space, `-}}` stands here.
    fn at_close(&self) -> bool {
        let before = self.source.get(..self.at).unwrap_or_default();
        let rest = self.rest();
        rest.starts_with("}}") || rest.starts_with("-}}") && before.ends_with(SPACE)
    }

    /// Passes the end of the action.
    pub(super) fn close(&mut self) -> Walked<()> {
        self.space();
        if !self.at_close() {
            return self.unexpected("}}");
        }
        self.trim = self.take("-");
        self.at += 2;
        Ok(())
    }

    fn unexpected<T>(&mut self, wanted: &str) -> Walked<T> {
        match self.rest().chars().next() {
            Some(c) => self.halt(format_args!("expected {wanted}, found '{c}'")),
            None => self.halt(format_args!("action without }}}}")),
        }
    }

    /// `$name :=` or `$name =` before a pipeline.
    pub(super) fn declaration(&mut self) -> Walked<Option<Named<'a>>> {
        let start = self.mark();
        self.space();
        if self.take("$") {
            let name = self.word();
            self.at += name.len();
            self.space();
            let new = self.take(":=");
            if new || self.take("=") {
                return Ok(Some(Named { name, new }));
            }
        }
        self.go_to(start);
        Ok(None)
    }

    /// The variables of `range`: key and element.
    pub(super) fn range_variables(&mut self) -> Walked<(Option<&'a str>, Option<&'a str>)> {
        let start = self.mark();
        self.space();
        if self.take("$") {
            let first = self.word();
            self.at += first.len();
            self.space();
            let mut names = (None, Some(first));
            if self.take(",") {
                self.space();
                if !self.take("$") {
                    return self.unexpected("a second variable");
                }
                let second = self.word();
                self.at += second.len();
                self.space();
                names = (Some(first), Some(second));
            }
            if self.take(":=") {
                return Ok(names);
            }
            if self.rest().starts_with('=') || names.0.is_some() {
                return self.unexpected(":=");
            }
        }
        self.go_to(start);
        Ok((None, None))
    }

    pub(super) fn declare(&mut self, name: &'a str, value: Value<'a>) -> Walked<()> {
        let full = self.variables.push((name, value)).is_err();
        if full {
            let most = super::MAX_VARIABLES;
            return self.halt(format_args!("more than {most} variables at one time"));
        }
        Ok(())
    }

    pub(super) fn set(&mut self, named: Named<'a>, value: Value<'a>) -> Walked<()> {
        let Named { name, new } = named;
        if new {
            return self.declare(name, value);
        }
        match self.variables.iter_mut().rev().find(|(n, _)| *n == name) {
            Some((_, old)) => {
                *old = value;
                Ok(())
            }
            None => self.halt(format_args!("variable ${name} is not declared")),
        }
    }

    /// Commands with `|` between them.
    pub(super) fn pipeline(&mut self, dot: Value<'a>, live: bool) -> Walked<Value<'a>> {
        let mut value = None;
        loop {
            value = Some(self.command(dot, live, value)?);
            self.space();
            match (value, self.take("|")) {
                (Some(value), false) => return Ok(value),
                _ => continue,
            }
        }
    }

    fn ends_command(&mut self) -> bool {
        self.space();
        let rest = self.rest();
        rest.is_empty() || rest.starts_with(['|', ')']) || self.at_close()
    }

    fn command(
        &mut self,
        dot: Value<'a>,
        live: bool,
        piped: Option<Value<'a>>,
    ) -> Walked<Value<'a>> {
        self.space();
        let word = self.word();
        if word.starts_with(|c: char| c == '_' || c.is_alphabetic())
            && !matches!(word, "true" | "false" | "nil")
        {
            return self.call(word, dot, live, piped);
        }
        if self.ends_command() {
            return self.unexpected("a value");
        }
        let value = self.operand(dot, live)?;
        if !self.ends_command() || piped.is_some() {
            return self.halt(format_args!("only functions take arguments"));
        }
        if word == "nil" {
            return self.halt(format_args!("nil cannot stand alone"));
        }
        Ok(value)
    }

    fn call(
        &mut self,
        word: &'a str,
        dot: Value<'a>,
        live: bool,
        piped: Option<Value<'a>>,
    ) -> Walked<Value<'a>> {
        let Some(function) = Function::named(word) else {
            return self.halt(format_args!("not supported: function {word}"));
        };
        self.at += word.len();
        let mut arguments: Vec<Value<'a>, MAX_ARGUMENTS> = Vec::new();
        // `and` and `or` look no further than they must.
        let mut decided = false;
        while !self.ends_command() {
            let argument = self.operand(dot, live && !decided)?;
            decided |= function.decides(argument);
            self.push(&mut arguments, argument)?;
        }
        if let Some(piped) = piped {
            self.push(&mut arguments, piped)?;
        }
        if !function.takes(arguments.len()) {
            let count = arguments.len();
            return self.halt(format_args!(
                "wrong number of arguments for {word}: {count}"
            ));
        }
        if !live {
            return Ok(Value::Nil);
        }
        match function.apply(&arguments) {
            Ok(value) => Ok(value),
            Err(reason) => self.halt(format_args!("{word}: {reason}")),
        }
    }

    fn push(
        &mut self,
        arguments: &mut Vec<Value<'a>, MAX_ARGUMENTS>,
        argument: Value<'a>,
    ) -> Walked<()> {
        match arguments.push(argument) {
            Ok(()) => Ok(()),
            Err(_) => self.halt(format_args!("more than {MAX_ARGUMENTS} arguments")),
        }
    }

    /// A value: literal, field, variable or something in parentheses.
    fn operand(&mut self, dot: Value<'a>, live: bool) -> Walked<Value<'a>> {
        let start = self.at;
        let mut next = self.rest().chars();
        let value = match (next.next(), next.next()) {
            (Some('.'), Some(c)) if !c.is_ascii_digit() && in_word(c) => {
                self.chain(dot, start, live)?
            }
            (Some('.'), c) if !c.is_some_and(|c| c.is_ascii_digit()) => {
                self.at += 1;
                dot
            }
            (Some('$'), _) => {
                let value = self.variable()?;
                self.chain(value, start, live)?
            }
            (Some('('), _) => {
                self.at += 1;
                let value = self.deeper(|walk| walk.pipeline(dot, live))?;
                self.space();
                if !self.take(")") {
                    return self.unexpected("')'");
                }
                self.chain(value, start, live)?
            }
            (Some('"'), _) => self.quoted()?,
            (Some('`'), _) => self.raw_quoted()?,
            (Some('.' | '+' | '-' | '0'..='9'), _) => self.number()?,
            _ => self.constant()?,
        };
        match self.rest().chars().next() {
            None | Some('|' | ')' | '}' | ' ' | '\t' | '\r' | '\n') => Ok(value),
            Some(c) => self.halt(format_args!(
                "unexpected '{c}' (a key with '-' in it is written: index . \"a-key\")"
            )),
        }
    }

    fn constant(&mut self) -> Walked<Value<'a>> {
        let word = self.word();
        let value = match word {
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            "nil" => Value::Nil,
            "" => return self.unexpected("a value"),
            _ => return self.halt(format_args!("put the call of {word} in parentheses")),
        };
        self.at += word.len();
        Ok(value)
    }

    fn variable(&mut self) -> Walked<Value<'a>> {
        self.at += 1;
        let name = self.word();
        self.at += name.len();
        if name.is_empty() {
            return Ok(self.root);
        }
        match self.variables.iter().rev().find(|(n, _)| *n == name) {
            Some((_, value)) => Ok(*value),
            None => self.halt(format_args!("variable ${name} is not declared")),
        }
    }

    /// Follows `.a.b` from `value`; `start` is where the operand began.
    fn chain(&mut self, mut value: Value<'a>, start: usize, live: bool) -> Walked<Value<'a>> {
        while self
            .rest()
            .strip_prefix('.')
            .is_some_and(|name| name.starts_with(in_word))
        {
            self.at += 1;
            let name = self.word();
            self.at += name.len();
            if !live {
                continue;
            }
            let whole = self.source.get(start..self.at).unwrap_or_default();
            value = match value {
                Value::Map(map) => match map.get(name.into()) {
                    Some(value) => value,
                    None => return self.halt(format_args!("no value for {whole}")),
                },
                other => {
                    let kind = other.type_name();
                    let reason = format_args!("no value for {whole}: .{name} of {kind}");
                    return self.halt(reason);
                }
            };
        }
        Ok(value)
    }

    /// `"..."` with the escapes that Go and JSON share.
    fn quoted(&mut self) -> Walked<Value<'a>> {
        let rest = self.rest().get(1..).unwrap_or_default();
        let mut escaped = false;
        for (at, c) in rest.char_indices() {
            match c {
                '\n' => break,
                '"' if !escaped => {
                    self.at += at + 2;
                    let text = rest.get(..at).unwrap_or_default();
                    return Ok(Value::Text(Text::Json(Str::checked_before(
                        text.as_bytes(),
                    ))));
                }
                c if escaped && !matches!(c, '"' | '\\' | 'n' | 't' | 'r' | 'b' | 'f' | 'u') => {
                    return self.halt(format_args!("not supported: \\{c} in a string"));
                }
                c => escaped = c == '\\' && !escaped,
            }
        }
        self.halt(format_args!("string without closing '\"'"))
    }

    fn raw_quoted(&mut self) -> Walked<Value<'a>> {
        match self.rest().get(1..).unwrap_or_default().split_once('`') {
            Some((text, _)) => {
                self.at += text.len() + 2;
                Ok(text.into())
            }
            None => self.halt(format_args!("string without closing '`'")),
        }
    }

    /// A decimal number: whole, or with one of `.`, `e`, `E` a float.
    fn number(&mut self) -> Walked<Value<'a>> {
        let rest = self.rest();
        let mut before = ' ';
        let end = rest.find(|c: char| {
            let inside = c == '.' || in_word(c) || "+-".contains(c) && " eE".contains(before);
            before = c;
            !inside
        });
        let text = rest.get(..end.unwrap_or(rest.len())).unwrap_or_default();
        let digits = text.trim_start_matches(['+', '-']);
        let value = if digits.contains(['.', 'e', 'E']) {
            text.parse()
                .ok()
                .filter(|v: &f64| v.is_finite())
                .map(Value::Float)
        } else if digits.len() > 1 && digits.starts_with('0') {
            None
        } else {
            text.parse().ok().map(Value::Int)
        };
        match value {
            Some(value) => {
                self.at += text.len();
                Ok(value)
            }
            None => self.halt(format_args!("not supported: the number {text}")),
        }
    }
}
