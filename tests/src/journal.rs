//! Reads ichor's journal as it prints it: one flat JSON object per line.

use std::iter::Peekable;
use std::str::Chars;

/// One step of one machine.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Event {
    /// Counts up by one.
    pub seq: u64,
    /// Milliseconds since ichor started.
    pub ms: u64,
    /// The machine's hardware address, if known.
    pub mac: Option<String>,
    /// Its IPv4 address, if known.
    pub ip: Option<String>,
    /// `discover`, `offer`, `bound`, `boot-file`, `script`, `kernel`,
    /// `initrd`, `file`, `config`, `ready`, `refused` or `failed`.
    pub stage: String,
    /// For people.
    pub detail: String,
}

impl Event {
    /// Reads a line; `None` if it is not an event.
    pub fn parse(line: &str) -> Option<Self> {
        let mut event = Self::default();
        let mut seen_stage = false;
        for (key, value) in members(line)? {
            match (&*key, value) {
                ("seq", Value::Number(seq)) => event.seq = seq,
                ("ms", Value::Number(ms)) => event.ms = ms,
                ("mac", Value::Text(mac)) => event.mac = Some(mac),
                ("ip", Value::Text(ip)) => event.ip = Some(ip),
                ("detail", Value::Text(detail)) => event.detail = detail,
                ("stage", Value::Text(stage)) => {
                    event.stage = stage;
                    seen_stage = true;
                }
                // Fields to come, and fields without a value.
                _ => {}
            }
        }
        seen_stage.then_some(event)
    }
}

#[derive(Debug, PartialEq)]
enum Value {
    Text(String),
    Number(u64),
    Null,
}

/// The members of an object without objects or arrays inside (RFC 8259).
fn members(line: &str) -> Option<Vec<(String, Value)>> {
    let mut chars = line
        .trim()
        .strip_prefix('{')?
        .strip_suffix('}')?
        .chars()
        .peekable();
    let mut members = Vec::new();
    while chars.peek().is_some() {
        let key = string(&mut chars)?;
        (chars.next()? == ':').then_some(())?;
        members.push((key, value(&mut chars)?));
        match chars.next() {
            None => break,
            Some(',') => {}
            Some(_) => return None,
        }
    }
    Some(members)
}

fn value(chars: &mut Peekable<Chars<'_>>) -> Option<Value> {
    if chars.peek() == Some(&'"') {
        return string(chars).map(Value::Text);
    }
    let mut word = String::new();
    while let Some(c) = chars.next_if(|c| *c != ',') {
        word.push(c);
    }
    match word.trim() {
        "null" => Some(Value::Null),
        number => number.parse().ok().map(Value::Number),
    }
}

fn string(chars: &mut Peekable<Chars<'_>>) -> Option<String> {
    (chars.next()? == '"').then_some(())?;
    let mut text = String::new();
    loop {
        match chars.next()? {
            '"' => return Some(text),
            '\\' => match chars.next()? {
                'u' => {
                    let digits: String = chars.by_ref().take(4).collect();
                    let unit = u32::from_str_radix(&digits, 16).ok()?;
                    text.push(char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER));
                }
                'n' => text.push('\n'),
                't' => text.push('\t'),
                c => text.push(c),
            },
            c => text.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_ichor_writes_them() {
        let line = r#"{"seq":3,"ms":12034,"mac":"52:54:00:00:00:01","ip":null,"stage":"kernel","detail":"a \"b\" \u0007, {c}"}"#;
        let want = Event {
            seq: 3,
            ms: 12_034,
            mac: Some("52:54:00:00:00:01".to_owned()),
            ip: None,
            stage: "kernel".to_owned(),
            detail: "a \"b\" \u{7}, {c}".to_owned(),
        };
        assert_eq!(Event::parse(line), Some(want));
    }

    #[test]
    fn other_lines_are_no_events() {
        for line in [
            "",
            "{",
            "{}",
            "warning: x",
            r#"{"seq":1}"#,
            r#"{"stage":"x""#,
            r#"{"a":[1]}"#,
        ] {
            assert_eq!(Event::parse(line), None, "{line}");
        }
    }
}
