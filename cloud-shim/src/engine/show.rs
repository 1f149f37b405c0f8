//! A plan as text: what is done to which part, field by field.

use core::fmt;
use std::collections::BTreeSet;

use super::{Action, Change, Ids, Plan, Step, Value};

/// Longer values are cut: policies and user data.
const WIDEST: usize = 300;

impl fmt::Display for Plan {
    /// One block for each part that is not kept, and a line of sums. Ids of
    /// parts are shown as the parts' names.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in &self.steps {
            if step.action != Action::Keep {
                show_step(f, step, self.ids())?;
            }
        }
        for refusal in &self.refused {
            writeln!(f, "! {refusal}")?;
        }
        let count = |action| {
            self.steps
                .iter()
                .filter(|step| step.action == action)
                .count()
        };
        let sums: Vec<_> = [
            ("to create", Action::Create),
            ("to change", Action::Change),
            ("to replace", Action::Replace),
            ("to delete", Action::Delete),
            ("to wait for", Action::Wait),
            ("as they shall be", Action::Keep),
        ]
        .into_iter()
        .map(|(what, action)| (count(action), what))
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
        writeln!(f, "{}: {}", self.lab, sums.join(", "))
    }
}

fn show_step(f: &mut fmt::Formatter<'_>, step: &Step, ids: &Ids) -> fmt::Result {
    let sign = match step.action {
        Action::Keep => '=',
        Action::Wait => '.',
        Action::Create => '+',
        Action::Change => '~',
        Action::Replace => '±',
        Action::Delete => '-',
    };
    let Step {
        part, action, kind, ..
    } = step;
    write!(f, "{sign} {action} {part} ({}", kind.name())?;
    if let Some(there) = &step.observed {
        write!(f, " {}", there.id)?;
    }
    f.write_str(")")?;
    if let Some(why) = &step.why {
        write!(f, ": {why}")?;
    }
    f.write_str("\n")?;
    for change in &step.changes {
        show_change(f, step, change, ids)?;
    }
    Ok(())
}

fn show_change(f: &mut fmt::Formatter<'_>, step: &Step, change: &Change, ids: &Ids) -> fmt::Result {
    let Change {
        field,
        was,
        will_be,
    } = change;
    let new = step.action == Action::Create;
    let nothing = BTreeSet::new();
    match (was, will_be) {
        (Some(Value::Set(was)), Value::Set(will_be)) => show_set(f, field, was, will_be, ids),
        (None, Value::Set(will_be)) => show_set(f, field, &nothing, will_be, ids),
        (was, will_be) => {
            let will_be = told(will_be, ids);
            match was {
                None if new => writeln!(f, "    {field}: {will_be}"),
                None => writeln!(f, "    {field}: not set -> {will_be}"),
                Some(was) => writeln!(f, "    {field}: {} -> {will_be}", told(was, ids)),
            }
        }
    }
}

fn show_set(
    f: &mut fmt::Formatter<'_>,
    field: &str,
    was: &BTreeSet<String>,
    will_be: &BTreeSet<String>,
    ids: &Ids,
) -> fmt::Result {
    if was.is_empty() && will_be.is_empty() {
        return writeln!(f, "    {field}: none");
    }
    writeln!(f, "    {field}:")?;
    for (sign, items) in [
        ('-', was.difference(will_be)),
        ('+', will_be.difference(was)),
    ] {
        for item in items {
            writeln!(f, "      {sign} {}", cut(&by_name(item, ids)))?;
        }
    }
    Ok(())
}

fn told(value: &Value, ids: &Ids) -> String {
    match value {
        Value::One(one) if one.is_empty() => "\"\"".to_owned(),
        Value::One(one) => cut(&by_name(one, ids)),
        Value::Set(items) => {
            let items: Vec<_> = items.iter().map(|item| by_name(item, ids)).collect();
            cut(&items.join(", "))
        }
    }
}

/// Puts the parts' names for their ids.
fn by_name(text: &str, ids: &Ids) -> String {
    let mut shown = String::with_capacity(text.len());
    let mut rest = text;
    for word in words(text) {
        // `words` gives slices of `text` in their order.
        if let Some((before, after)) = rest.split_once(word) {
            shown.push_str(before);
            shown.push_str(ids.part_of(word).map_or(word, |part| part.as_str()));
            rest = after;
        }
    }
    shown + rest
}

/// The words of a text that may be ids.
pub(super) fn words(text: &str) -> impl Iterator<Item = &str> {
    let part_of_id = |c: char| c.is_ascii_alphanumeric() || "-_./:".contains(c);
    text.split(move |c| !part_of_id(c))
        .map(|word| word.trim_end_matches([':', '.']))
        .filter(|word| !word.is_empty())
}

/// In one line of bounded length.
fn cut(text: &str) -> String {
    let line = text.replace('\n', "\\n");
    match line.char_indices().nth(WIDEST) {
        Some((at, _)) => format!("{}… ({} characters)", &line[..at], line.chars().count()),
        None => line,
    }
}
