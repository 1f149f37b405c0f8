//! `cargo xtask count`: how many instructions the servers' inner loops take, and
//! whether a change made it more.
//!
//! The loops are those that `cargo bench -p ichor` times. Under callgrind, which
//! emulates the processor, the same program takes the same instructions whatever
//! else the machine does: a second count that differs is an error. In another
//! checkout the stack may lie elsewhere, and copies be aligned differently: that
//! was seen to change a count by 1 %.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use clap::Args;
use ichor_lab::lab;
use ichor_lab::tools::{Set, Tools};
use serde_json::{Map, Value, json};

use crate::steps::said;
use crate::{cargo, machine};

/// What to compare with.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// Write the counts to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Compare with the counts in this file, and fail if a loop takes more.
    #[arg(long, value_name = "FILE")]
    pub against: Option<PathBuf>,
    /// How many percent more are no failure.
    #[arg(
        long,
        default_value_t = 5.0,
        value_name = "PERCENT",
        requires = "against"
    )]
    pub tolerance: f64,
}

/// How many turns of a loop are counted: each of its clients has one turn at
/// least, and as many turns as all others.
const TURNS: u64 = 1024;
/// The name of the bench target with the loops.
const LOOPS: &str = "inner_loops";

/// Instructions that a turn of each loop takes, by the loop's name.
type Counts = BTreeMap<String, f64>;

/// What the loops were built with and counted by: under other conditions counts
/// may differ though the sources do not.
type Conditions = BTreeMap<String, String>;

/// Counts, prints, and compares.
pub(crate) fn run(options: &Options) -> Result<()> {
    let before = options.against.as_deref().map(read).transpose()?;
    let counter = Counter::new()?;
    let conditions = counter.conditions()?;
    let mut counts = Counts::new();
    for name in counter.loops()? {
        let count = counter
            .count(&name)
            .with_context(|| format!("cannot count {name}"))?;
        counts.insert(name, count);
    }
    if let Some(path) = &options.json {
        let text = format!("{:#}\n", to_json(&counts, &conditions));
        fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    let Some((counts_before, conditions_before)) = before else {
        print!("{}", table(&counts, None));
        counter.tell_profiles();
        return Ok(());
    };
    print!("{}", table(&counts, Some(&counts_before)));
    counter.tell_profiles();
    for (what, now) in &conditions {
        let then = conditions_before
            .get(what)
            .map_or("unknown", String::as_str);
        if then != now && what != "commit" {
            println!("{what} was {then} and is {now}: counts may differ by that alone");
        }
    }
    let worse = worse(&counts, &counts_before, options.tolerance);
    ensure!(
        worse.is_empty(),
        "more than {} % over {}: {}",
        options.tolerance,
        options
            .against
            .as_deref()
            .unwrap_or(Path::new(""))
            .display(),
        worse.join(", ")
    );
    Ok(())
}

/// Runs the loops under callgrind.
struct Counter {
    tools: Tools,
    /// The program with the loops.
    program: PathBuf,
    /// Where profiles are left.
    folder: PathBuf,
}

impl Counter {
    fn new() -> Result<Self> {
        let tools = Tools::with(&[Set::Valgrind])?;
        Ok(Self {
            tools,
            program: built()?,
            folder: lab::folder("count")?,
        })
    }

    fn loops(&self) -> Result<Vec<String>> {
        let text = said(Command::new(&self.program).arg("list"))?;
        Ok(text.lines().map(str::to_owned).collect())
    }

    /// Instructions that a turn of a loop takes, without what comes before the
    /// first: that is the same for any number of turns.
    fn count(&self, name: &str) -> Result<f64> {
        let once = self.total(name, TURNS)?;
        let again = self.total(name, TURNS)?;
        ensure!(
            once == again,
            "{once} instructions and then {again}: something in it is random"
        );
        let twice = self.total(name, 2 * TURNS)?;
        let turns = twice.checked_sub(once);
        let turns = turns.context("more turns took fewer instructions")?;
        Ok(turns as f64 / TURNS as f64)
    }

    /// Instructions of a whole run.
    fn total(&self, name: &str, turns: u64) -> Result<u64> {
        let profile = self.folder.join(format!("{name}.callgrind"));
        let (folder, program) = (self.program.parent(), self.program.file_name());
        let (folder, program) = folder.zip(program).context("the program has no name")?;
        let mut command = self.tools.command("valgrind")?;
        let library = command.get_envs().find(|(name, _)| *name == "VALGRIND_LIB");
        let library = library.map(|(name, value)| (name.to_owned(), value.map(ToOwned::to_owned)));
        // Where the stack begins depends on the environment and on the program's
        // path, and the paths of memcpy depend on that.
        command.env_clear();
        if let Some((name, Some(value))) = library {
            command.env(name, value);
        }
        command
            .current_dir(folder)
            .args(["--tool=callgrind", "--quiet"])
            .arg(format!("--callgrind-out-file={}", profile.display()))
            .arg(Path::new(".").join(program))
            .args(["count", name, &turns.to_string()]);
        said(&mut command)?;
        let text = fs::read_to_string(&profile)
            .with_context(|| format!("cannot read {}", profile.display()))?;
        let total = text.lines().find_map(|line| line.strip_prefix("totals:"));
        let total = total.and_then(|total| total.trim().parse().ok());
        total.with_context(|| format!("{} tells no total", profile.display()))
    }

    fn conditions(&self) -> Result<Conditions> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let (commit, dirty) = machine::commit();
        let changes = if dirty { " and changes" } else { "" };
        Ok([
            ("processor", machine::processor()),
            ("rustc", said(Command::new(rustc).arg("--version"))?),
            (
                "valgrind",
                said(self.tools.command("valgrind")?.arg("--version"))?,
            ),
            ("commit", commit + changes),
        ]
        .map(|(what, value)| (what.to_owned(), value.trim().to_owned()))
        .into())
    }

    fn tell_profiles(&self) {
        println!(
            "Profiles for callgrind_annotate and KCachegrind are in {}",
            self.folder.display()
        );
    }
}

/// Builds the loops as a release, and returns the program.
fn built() -> Result<PathBuf> {
    let mut command = cargo();
    command
        .args(["bench", "--quiet", "--package", "ichor", "--bench", LOOPS])
        .args(["--no-run", "--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit());
    let messages = said(&mut command)?;
    executable(&messages).with_context(|| format!("cargo tells no program for {LOOPS}"))
}

/// The loops' program, by what cargo says of what it built.
fn executable(messages: &str) -> Option<PathBuf> {
    messages
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == LOOPS)
        .find_map(|message| message["executable"].as_str().map(PathBuf::from))
}

/// The counts for people, beside those from before.
fn table(counts: &Counts, before: Option<&Counts>) -> String {
    let mut table = format!("{:20}{:>16}", "loop", "instructions");
    if before.is_some() {
        let _ = write!(table, "{:>16}{:>12}", "before", "change");
    }
    table.push('\n');
    for (name, count) in counts {
        let _ = write!(table, "{name:20}{count:16.1}");
        let then = before.and_then(|before| before.get(name));
        // Writing to a String cannot fail.
        let _ = match (before, then) {
            (None, _) => Ok(()),
            (Some(_), None) => write!(table, "{:>16}{:>12}", "-", "new"),
            (Some(_), Some(then)) => {
                write!(table, "{then:16.1}{:+10.1} %", change(*count, *then))
            }
        };
        table.push('\n');
    }
    let gone = before.into_iter().flatten();
    for (name, then) in gone.filter(|(name, _)| !counts.contains_key(*name)) {
        let _ = writeln!(table, "{name:20}{:>16}{then:16.1}{:>12}", "-", "gone");
    }
    table
}

/// The loops that take more than `tolerance` percent more than before.
fn worse(counts: &Counts, before: &Counts, tolerance: f64) -> Vec<String> {
    counts
        .iter()
        .filter_map(|(name, count)| Some((name, change(*count, *before.get(name)?))))
        .filter(|(_, change)| *change > tolerance)
        .map(|(name, change)| format!("{name} {change:+.1} %"))
        .collect()
}

/// In percent.
fn change(now: f64, then: f64) -> f64 {
    (now - then) / then * 100.0
}

fn to_json(counts: &Counts, conditions: &Conditions) -> Value {
    json!({ "instructions": counts, "conditions": conditions })
}

fn read(path: &Path) -> Result<(Counts, Conditions)> {
    let text = fs::read_to_string(path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    from_json(&text).with_context(|| {
        let path = path.display();
        format!("{path} holds no counts: write it with `cargo xtask count --json {path}`")
    })
}

fn from_json(text: &str) -> Result<(Counts, Conditions)> {
    let value: Value = serde_json::from_str(text)?;
    let object = |key: &str| -> Result<&Map<String, Value>> {
        let object = value[key].as_object();
        object.with_context(|| format!("no {key:?}"))
    };
    let counts = object("instructions")?.iter().map(|(name, count)| {
        let count = count.as_f64().filter(|count| *count > 0.0);
        let count = count.with_context(|| format!("{name:?} is no count"))?;
        Ok((name.clone(), count))
    });
    let conditions = object("conditions")?.iter().filter_map(|(what, value)| {
        let value = value.as_str()?;
        Some((what.clone(), value.to_owned()))
    });
    Ok((counts.collect::<Result<_>>()?, conditions.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts<const N: usize>(counts: [(&str, f64); N]) -> Counts {
        counts.map(|(name, count)| (name.to_owned(), count)).into()
    }

    #[test]
    fn only_more_than_the_tolerance_is_worse() {
        let before = counts([("a", 1000.0), ("b", 1000.0), ("c", 1000.0), ("gone", 1.0)]);
        let now = counts([("a", 1050.0), ("b", 1051.0), ("c", 10.0), ("new", 9.0)]);
        assert_eq!(worse(&now, &before, 5.0), ["b +5.1 %"]);
        assert_eq!(
            table(&now, Some(&before)),
            "loop                    instructions          before      change\n\
             a                             1050.0          1000.0      +5.0 %\n\
             b                             1051.0          1000.0      +5.1 %\n\
             c                               10.0          1000.0     -99.0 %\n\
             new                              9.0               -         new\n\
             gone                               -             1.0        gone\n"
        );
    }

    #[test]
    fn what_is_written_is_read_again() {
        let counts = counts([("tftp-block", 834.026)]);
        let conditions = Conditions::from([("rustc".to_owned(), "rustc 1.95.0".to_owned())]);
        let text = to_json(&counts, &conditions).to_string();
        assert_eq!(from_json(&text).unwrap(), (counts, conditions));
        for broken in [
            "",
            "[]",
            r#"{"instructions":{"a":"x"},"conditions":{}}"#,
            r#"{"instructions":{"a":0},"conditions":{}}"#,
            r#"{"instructions":{"a":1}}"#,
        ] {
            assert!(from_json(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn the_program_is_found_among_cargos_messages() {
        let messages = r#"{"reason":"compiler-artifact","target":{"name":"ichor"},"executable":null}
{"reason":"compiler-artifact","target":{"name":"inner_loops"},"executable":"/t/inner_loops-1"}
{"reason":"build-finished","success":true}"#;
        assert_eq!(executable(messages), Some("/t/inner_loops-1".into()));
        assert_eq!(executable("warning: no JSON"), None);
    }
}
