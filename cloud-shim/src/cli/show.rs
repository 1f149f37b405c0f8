//! How results and progress look.

use core::fmt::Display;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Write as _};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::args::Output;
use crate::api::Id;
use crate::engine::{Event, Plan, Progress};
use crate::leftovers::Leftover;
use crate::node::{Node, Table};

/// Tells what is going on, line by line, on standard error.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// What was told of each thing that is waited for: once is enough.
    waited_for: Mutex<BTreeMap<String, String>>,
}

impl Progress for Lines {
    fn on(&self, event: &Event<'_>) {
        if let Event::Waiting { what, seen } = event {
            let told = self.waited_for.lock();
            let mut told = told.unwrap_or_else(PoisonError::into_inner);
            let last = told.insert((*what).to_owned(), (*seen).to_owned());
            if last.as_deref() == Some(*seen) {
                return;
            }
        }
        eprintln!("  {event}");
    }
}

/// A line that is good to know, on standard error.
pub(super) fn note(line: &str) {
    eprintln!("note: {line}");
}

/// One JSON document.
pub(super) fn json(value: &impl Serialize) {
    let mut out = io::stdout().lock();
    // Only a closed pipe fails here; then nobody reads.
    if serde_json::to_writer_pretty(&mut out, value).is_ok() {
        let _ = writeln!(out);
    }
}

/// A result in one of the two forms.
pub(super) fn result<T: Display + Serialize>(output: Output, value: &T) {
    match output {
        Output::Text => print!("{value}"),
        Output::Json => json(value),
    }
}

/// Nodes as a table.
pub(super) fn nodes(output: Output, nodes: &[Node], now: Timestamp) {
    match output {
        Output::Text => print!("{}", Table { nodes, now }),
        Output::Json => json(&json!({ "nodes": nodes })),
    }
}

/// The ids of what was ended.
pub(super) fn ended(output: Output, ids: &[Id]) {
    match output {
        Output::Text if ids.is_empty() => println!("there was no node"),
        Output::Text => println!("ended: {}", ids.join(", ")),
        Output::Json => json(&json!({ "ended": ids })),
    }
}

/// What is there after `cloud-up`.
pub(super) fn up(output: Output, plan: &Plan) {
    match output {
        Output::Text => println!("The lab is as it shall be: {}", plan.summary()),
        Output::Json => json(plan),
    }
}

/// What is left after `cloud-down`.
pub(super) fn leftovers(output: Output, left: &BTreeSet<Leftover>) {
    match output {
        Output::Json => json(&json!({ "left": left })),
        Output::Text if left.is_empty() => println!("Nothing is left, and nothing costs."),
        Output::Text => {
            println!("{} left:", left.len());
            for leftover in left {
                println!("  {leftover}");
            }
        }
    }
}
