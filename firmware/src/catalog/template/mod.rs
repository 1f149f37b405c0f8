//! The part of Go's `text/template` that matchbox folders use.
//!
//! Text, `{{.a.b}}`, `{{- trimming -}}`, comments, `if`, `else if`, `with`,
//! `range` over lists and maps, variables, parentheses, pipelines, and the
//! functions in [`functions`]. Everything else is refused when a file is
//! loaded, by name. A key that is not there is an error, as matchbox sets
//! `missingkey=error`.
//!
//! A template is run from its text, without a tree: a branch that is not
//! taken is walked "dead", which parses everything and evaluates nothing.
//! Walking a whole template dead is how it is checked.

mod expression;
mod functions;

use core::fmt;

use heapless::Vec;

use super::json::line_of;
use super::problem::Fault;
use super::value::{Data, Map, Value};

/// Deepest nesting of blocks and parentheses together. Bounds the recursion.
pub const MAX_DEPTH: u32 = 16;

/// Most variables that exist at one time.
pub const MAX_VARIABLES: usize = 16;

/// Most actions of one rendering, loops counted as often as they run. Bounds the time.
pub const MAX_STEPS: u32 = 100_000;

/// Why rendering stopped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RenderError {
    /// The template is broken or does not fit its data.
    Fault(Fault),
    /// The sink takes no more.
    Sink,
}

impl From<fmt::Error> for RenderError {
    fn from(_: fmt::Error) -> Self {
        Self::Sink
    }
}

/// Checks the syntax of a template.
pub fn check(source: &str) -> Result<(), Fault> {
    match Walk::new(source, Value::Nil, None).whole(false) {
        Ok(()) | Err(RenderError::Sink) => Ok(()),
        Err(RenderError::Fault(fault)) => Err(fault),
    }
}

/// Renders a template. The same input gives the same output every time.
pub fn render(source: &str, data: &Data<'_>, out: &mut dyn fmt::Write) -> Result<(), RenderError> {
    Walk::new(source, Value::Map(Map::Root(data)), Some(out)).whole(true)
}

/// What ended a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    End,
    Else,
    Eof,
}

/// A place to come back to.
#[derive(Debug, Clone, Copy)]
struct Mark {
    at: usize,
    trim: bool,
}

/// One walk through a template.
struct Walk<'a, 'o> {
    source: &'a str,
    at: usize,
    /// The action before ended in `-}}`.
    trim: bool,
    depth: u32,
    steps: u32,
    root: Value<'a>,
    variables: Vec<(&'a str, Value<'a>), MAX_VARIABLES>,
    out: Option<&'o mut dyn fmt::Write>,
    /// Why the walk halted; nothing where the sink took no more.
    fault: Option<Fault>,
}

/// The walk is over. Why, it keeps to itself until [`Walk::whole`] tells: a
/// walk recurses, and a reason in words is large.
#[derive(Debug, Clone, Copy)]
struct Halt;

impl From<fmt::Error> for Halt {
    fn from(_: fmt::Error) -> Self {
        Self
    }
}

type Walked<T> = Result<T, Halt>;

impl<'a, 'o> Walk<'a, 'o> {
    fn new(source: &'a str, root: Value<'a>, out: Option<&'o mut dyn fmt::Write>) -> Self {
        Self {
            source,
            at: 0,
            trim: false,
            depth: 0,
            steps: 0,
            root,
            variables: Vec::new(),
            out,
            fault: None,
        }
    }

    fn whole(mut self, live: bool) -> Result<(), RenderError> {
        let result = self.block(self.root, live).and_then(|stop| match stop {
            Stop::Eof => Ok(()),
            Stop::End => self.halt(format_args!("{{{{end}}}} without if, range or with")),
            Stop::Else => self.halt(format_args!("{{{{else}}}} without if, range or with")),
        });
        match (result, self.fault) {
            (Ok(()), _) => Ok(()),
            (Err(Halt), Some(fault)) => Err(RenderError::Fault(fault)),
            (Err(Halt), None) => Err(RenderError::Sink),
        }
    }

    fn halt<T>(&mut self, reason: fmt::Arguments<'_>) -> Walked<T> {
        let line = line_of(self.source.as_bytes(), self.at);
        self.fault = Some(Fault::new(line, reason));
        Err(Halt)
    }

    fn rest(&self) -> &'a str {
        self.source.get(self.at..).unwrap_or_default()
    }

    fn mark(&self) -> Mark {
        Mark {
            at: self.at,
            trim: self.trim,
        }
    }

    fn go_to(&mut self, mark: Mark) {
        self.at = mark.at;
        self.trim = mark.trim;
    }

    /// Counts one more level around `inner`.
    fn deeper<T>(&mut self, inner: impl FnOnce(&mut Self) -> Walked<T>) -> Walked<T> {
        if self.depth == MAX_DEPTH {
            return self.halt(format_args!("nested deeper than {MAX_DEPTH} levels"));
        }
        self.depth += 1;
        let result = inner(self);
        self.depth -= 1;
        result
    }

    fn step(&mut self, live: bool) -> Walked<()> {
        self.steps += u32::from(live);
        if self.steps > MAX_STEPS {
            return self.halt(format_args!("more than {MAX_STEPS} steps: too many loops"));
        }
        Ok(())
    }

    /// Walks text and actions up to the end of the block or file.
    fn block(&mut self, dot: Value<'a>, live: bool) -> Walked<Stop> {
        let variables = self.variables.len();
        let stop = self.deeper(|walk| {
            while walk.text(live)? {
                walk.step(live)?;
                if walk.comment()? {
                    continue;
                }
                let word = walk.word();
                match word {
                    "end" => {
                        walk.at += word.len();
                        walk.close()?;
                        return Ok(Stop::End);
                    }
                    "else" => {
                        walk.at += word.len();
                        return Ok(Stop::Else);
                    }
                    "if" | "with" => {
                        walk.at += word.len();
                        walk.branches(word, dot, live)?;
                    }
                    "range" => {
                        walk.at += word.len();
                        walk.range(dot, live)?;
                    }
                    "template" | "define" | "block" | "break" | "continue" => {
                        return walk.halt(format_args!("not supported: {word}"));
                    }
                    _ => walk.print(dot, live)?,
                }
            }
            Ok(Stop::Eof)
        })?;
        self.variables.truncate(variables);
        Ok(stop)
    }

    /// Emits text up to the next action and enters that; `false` at the end.
    fn text(&mut self, live: bool) -> Walked<bool> {
        let rest = self.rest();
        let (mut text, action) = match rest.split_once("{{") {
            Some((text, action)) => (text, Some(action)),
            None => (rest, None),
        };
        self.at += text.len() + if action.is_some() { 2 } else { 0 };
        if core::mem::take(&mut self.trim) {
            text = text.trim_start_matches(SPACE);
        }
        if let Some(action) = action
            && action
                .strip_prefix('-')
                .is_some_and(|a| a.starts_with(SPACE))
        {
            text = text.trim_end_matches(SPACE);
            self.at += 1;
        }
        self.emit(format_args!("{text}"), live)?;
        if action.is_some() {
            self.space();
        }
        Ok(action.is_some())
    }

    fn emit(&mut self, text: fmt::Arguments<'_>, live: bool) -> Walked<()> {
        match &mut self.out {
            Some(out) if live => Ok(out.write_fmt(text)?),
            _ => Ok(()),
        }
    }

    /// Passes a comment, if one stands here.
    fn comment(&mut self) -> Walked<bool> {
        let Some(comment) = self.rest().strip_prefix("/*") else {
            return Ok(false);
        };
        match comment.split_once("*/") {
            Some((comment, _)) => self.at += comment.len() + 4,
            None => return self.halt(format_args!("comment without */")),
        }
        self.close()?;
        Ok(true)
    }

    /// `{{pipeline}}`; prints its value unless it was given to a variable.
    fn print(&mut self, dot: Value<'a>, live: bool) -> Walked<()> {
        let named = self.declaration()?;
        let value = self.pipeline(dot, live)?;
        self.close()?;
        match named {
            Some(named) => self.set(named, value),
            None => self.emit(format_args!("{value}"), live),
        }
    }

    /// `{{if}}` and `{{with}}`, with all of their branches.
    fn branches(&mut self, keyword: &str, dot: Value<'a>, live: bool) -> Walked<()> {
        let variables = self.variables.len();
        // A branch was taken already, or none may be.
        let mut done = !live;
        loop {
            let named = self.declaration()?;
            let value = self.pipeline(dot, !done)?;
            self.close()?;
            if let Some(named) = named {
                self.set(named, value)?;
            }
            let taken = !done && value.is_true();
            let inner = if taken && keyword == "with" {
                value
            } else {
                dot
            };
            let stop = self.block(inner, taken)?;
            done |= taken;
            if stop == Stop::Else {
                self.space();
                if self.word() == keyword {
                    self.at += keyword.len();
                    continue;
                }
            }
            self.rest_of_block(stop, keyword, dot, !done)?;
            break;
        }
        self.variables.truncate(variables);
        Ok(())
    }

    /// `{{range}}` over a list or, in the order of its keys, a map.
    fn range(&mut self, dot: Value<'a>, live: bool) -> Walked<()> {
        let variables = self.variables.len();
        let (key, element) = self.range_variables()?;
        let over = self.pipeline(dot, live)?;
        self.close()?;
        let body = self.mark();
        let mut stop = None;
        let mut turn = |walk: &mut Self, index: Value<'a>, item: Value<'a>| {
            walk.go_to(body);
            walk.step(true)?;
            walk.variables.truncate(variables);
            for (name, value) in [(key, index), (element, item)] {
                if let Some(name) = name {
                    walk.declare(name, value)?;
                }
            }
            stop = Some(walk.block(item, true)?);
            Ok::<(), Halt>(())
        };
        match over {
            Value::List(list) if live => {
                for (index, item) in (0..).zip(list.items()) {
                    turn(self, Value::Int(index), item.into())?;
                }
            }
            Value::Map(map) if live => {
                for (key, item) in map.sorted() {
                    turn(self, Value::Text(key), item)?;
                }
            }
            Value::Nil => {}
            _ if !live => {}
            other => {
                let kind = other.type_name();
                return self.halt(format_args!("range needs a list or a map, not {kind}"));
            }
        }
        let ran = stop.is_some();
        let stop = match stop {
            Some(stop) => stop,
            None => {
                self.variables.truncate(variables);
                for name in [key, element].into_iter().flatten() {
                    self.declare(name, Value::Nil)?;
                }
                self.block(dot, false)?
            }
        };
        self.variables.truncate(variables);
        self.rest_of_block(stop, "range", dot, live && !ran)
    }

    /// Walks a last `{{else}}`, if there is one, up to `{{end}}`.
    fn rest_of_block(
        &mut self,
        stop: Stop,
        keyword: &str,
        dot: Value<'a>,
        live: bool,
    ) -> Walked<()> {
        let stop = match stop {
            Stop::Else => {
                self.close()?;
                self.block(dot, live)?
            }
            stop => stop,
        };
        match stop {
            Stop::End => Ok(()),
            Stop::Else => self.halt(format_args!("a second {{{{else}}}} for one {keyword}")),
            Stop::Eof => self.halt(format_args!("{keyword} without {{{{end}}}}")),
        }
    }
}

/// What may be trimmed and what separates words, as in Go.
const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

#[cfg(test)]
mod tests;
