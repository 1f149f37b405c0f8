//! What became of each case: for people as a table, for programs as JSON.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

/// Longest line on a case in the table, in characters; the rest is in the log.
const WIDTH: usize = 300;

/// How a case ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// As it should.
    Passed,
    /// Not as it should.
    Failed,
    /// It could not be tried here.
    NotRun,
}

impl Verdict {
    /// The word for it.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "FAILED",
            Self::NotRun => "not run",
        }
    }

    /// The word for it in JSON.
    const fn key(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::NotRun => "not-run",
        }
    }
}

/// What was found in a case that passed: a line for people, and numbers by
/// name and unit (`offer_seconds`).
#[derive(Debug, Clone, Default)]
pub(super) struct Found {
    pub(super) told: String,
    pub(super) values: Vec<(&'static str, f64)>,
}

impl Found {
    pub(super) fn new(told: impl Into<String>) -> Self {
        Self {
            told: told.into(),
            values: Vec::new(),
        }
    }

    pub(super) fn value(mut self, name: &'static str, value: f64) -> Self {
        self.values.push((name, value));
        self
    }
}

/// One case and what became of it.
#[derive(Debug, Clone)]
pub struct Case {
    /// Its name: protocol and what is tried.
    pub name: &'static str,
    /// How it ended.
    pub verdict: Verdict,
    /// What was measured, what went wrong, or what is missing; one line.
    pub told: String,
    /// What was measured, by name and unit.
    pub values: Vec<(&'static str, f64)>,
    /// How long it took.
    pub took: Duration,
}

impl Case {
    /// Its line of the table.
    #[must_use]
    pub fn line(&self) -> String {
        let told: String = self.told.chars().take(WIDTH).collect();
        let seconds = self.took.as_secs_f64();
        let (word, name) = (self.verdict.word(), self.name);
        format!("{word:8}{name:20}{seconds:>7.1} s  {told}")
    }
}

/// The whole run.
#[derive(Debug, Clone)]
pub struct Report {
    /// What was tried: board and bench.
    pub board: String,
    /// Every case, in the order in which they were tried.
    pub cases: Vec<Case>,
    /// Whether somebody ended the run before its end.
    pub stopped: bool,
}

impl Report {
    /// Whether nothing failed, and the run came to its end.
    #[must_use]
    pub fn is_good(&self) -> bool {
        !self.stopped && self.count(Verdict::Failed) == 0
    }

    /// How many cases ended so.
    #[must_use]
    pub fn count(&self, verdict: Verdict) -> usize {
        let so = self.cases.iter().filter(|case| case.verdict == verdict);
        so.count()
    }

    /// A case by its name.
    #[must_use]
    pub fn case(&self, name: &str) -> Option<&Case> {
        self.cases.iter().find(|case| case.name == name)
    }

    /// For people: a line for each case, and one for all of them.
    #[must_use]
    pub fn table(&self) -> String {
        let mut table = String::new();
        for case in &self.cases {
            // Writing to a String cannot fail.
            let _ = writeln!(table, "{}", case.line());
        }
        let [passed, failed, not_run] =
            [Verdict::Passed, Verdict::Failed, Verdict::NotRun].map(|verdict| self.count(verdict));
        let ended = if self.stopped { ", stopped early" } else { "" };
        let board = &self.board;
        let _ = writeln!(
            table,
            "{board}: {passed} passed, {failed} failed, {not_run} not run{ended}"
        );
        table
    }

    /// For programs: one object.
    #[must_use]
    pub fn json(&self) -> String {
        let cases: Vec<Value> = self
            .cases
            .iter()
            .map(|case| {
                let values = case.values.iter();
                let values: serde_json::Map<String, Value> = values
                    .map(|(name, value)| ((*name).to_owned(), json!(value)))
                    .collect();
                json!({
                    "name": case.name,
                    "verdict": case.verdict.key(),
                    "told": case.told,
                    "seconds": case.took.as_secs_f64(),
                    "values": values,
                })
            })
            .collect();
        json!({
            "board": self.board,
            "passed": self.count(Verdict::Passed),
            "failed": self.count(Verdict::Failed),
            "not_run": self.count(Verdict::NotRun),
            "stopped": self.stopped,
            "cases": cases,
        })
        .to_string()
    }
}

/// A text as one line.
pub(super) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> Report {
        let case = |name, verdict, told: &str| Case {
            name,
            verdict,
            told: told.to_owned(),
            values: vec![("offer_seconds", 1.5)],
            took: Duration::from_millis(1500),
        };
        Report {
            board: "cm3".to_owned(),
            cases: vec![
                case("boot", Verdict::Passed, "OFFER after 1.5 s"),
                case("http-asset", Verdict::Failed, "a \"quoted\" error"),
                case("power-cut", Verdict::NotRun, "no --power-cmd"),
            ],
            stopped: false,
        }
    }

    #[test]
    fn the_table_has_a_line_for_each_case_and_one_for_all() {
        let table = report().table();
        let lines: Vec<_> = table.lines().collect();
        assert_eq!(lines.len(), 4, "{table}");
        assert!(lines[0].starts_with("passed  boot "), "{table}");
        assert!(lines[1].starts_with("FAILED  http-asset "), "{table}");
        assert_eq!(lines[3], "cm3: 1 passed, 1 failed, 1 not run");
        assert!(!report().is_good());
    }

    #[test]
    fn a_run_without_a_failure_is_good_unless_it_was_stopped() {
        let mut report = report();
        report.cases.remove(1);
        assert!(report.is_good());
        report.stopped = true;
        assert!(!report.is_good());
    }

    #[test]
    fn programs_read_the_same() -> serde_json::Result<()> {
        let value: Value = serde_json::from_str(&report().json())?;
        assert_eq!(value["failed"], 1);
        assert_eq!(value["cases"][1]["told"], "a \"quoted\" error");
        assert_eq!(value["cases"][2]["verdict"], "not-run");
        assert_eq!(value["cases"][0]["values"]["offer_seconds"], 1.5);
        Ok(())
    }
}
