//! A run of named steps: each timed, tests counted, a summary at the end.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

/// Tests counted from the closing lines of libtest.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub passed: u64,
    pub failed: u64,
    pub ignored: u64,
}

impl Tally {
    /// Adds `test result: ok. 3 passed; 0 failed; 1 ignored; ...`; other lines add nothing.
    fn add_line(&mut self, line: &str) {
        let Some((_, counts)) = line.split_once("test result: ") else {
            return;
        };
        let counts = counts.split_once(". ").map_or(counts, |(_, counts)| counts);
        for count in counts.split(';') {
            let mut words = count.split_whitespace();
            let Some(number) = words.next().and_then(|word| word.parse::<u64>().ok()) else {
                continue;
            };
            match words.next() {
                Some("passed") => self.passed += number,
                Some("failed") => self.failed += number,
                Some("ignored") => self.ignored += number,
                _ => {}
            }
        }
    }
}

struct Taken {
    name: String,
    time: Duration,
    passed: bool,
}

/// The steps of a run so far.
#[derive(Default)]
pub(crate) struct Steps {
    taken: Vec<Taken>,
    tally: Tally,
}

impl Steps {
    /// Runs one step and notes its time.
    pub(crate) fn run(&mut self, name: &str, step: impl FnOnce() -> Result<()>) -> Result<()> {
        self.take(name, |_| step())
    }

    /// Runs a command as a step; it fails if the command does.
    pub(crate) fn command(&mut self, name: &str, command: &mut Command) -> Result<()> {
        self.take(name, |_| succeed(command))
    }

    /// Runs a test command as a step and counts its tests, shown as they come.
    pub(crate) fn tests(&mut self, name: &str, command: &mut Command) -> Result<()> {
        self.take(name, |tally| {
            let mut child = command
                .stdout(Stdio::piped())
                .spawn()
                .with_context(|| told(command))?;
            let output = child.stdout.take().context("the output is piped")?;
            for line in BufReader::new(output).split(b'\n') {
                let line = line.context("cannot read what the tests print")?;
                let line = String::from_utf8_lossy(&line);
                println!("{line}");
                tally.add_line(&line);
            }
            if !child.wait()?.success() {
                bail!("{} failed", told(command));
            }
            Ok(())
        })
    }

    fn take(&mut self, name: &str, step: impl FnOnce(&mut Tally) -> Result<()>) -> Result<()> {
        eprintln!("\nxtask: {name}");
        let started = Instant::now();
        let outcome = step(&mut self.tally);
        self.taken.push(Taken {
            name: name.to_owned(),
            time: started.elapsed(),
            passed: outcome.is_ok(),
        });
        outcome.with_context(|| format!("step `{name}`"))
    }

    /// Prints each step's time and, last, the tests in one plain line. A failed
    /// step that counts no failed test counts as one.
    pub(crate) fn summarise(&self) {
        println!();
        for Taken { name, time, passed } in &self.taken {
            let mark = if *passed { "" } else { "  FAILED" };
            println!("{:>7.1} s  {name}{mark}", time.as_secs_f64());
        }
        let total: Duration = self.taken.iter().map(|step| step.time).sum();
        println!("{:>7.1} s  in all", total.as_secs_f64());
        let Tally {
            passed,
            failed,
            ignored,
        } = self.tally;
        if ignored > 0 {
            println!("{ignored} ignored");
        }
        let broken = self.taken.iter().any(|step| !step.passed);
        println!("{passed} passed, {} failed", failed.max(u64::from(broken)));
    }
}

/// Runs a command to its end, its output shown.
pub(crate) fn succeed(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| told(command))?;
    if !status.success() {
        bail!("{} failed ({status})", told(command));
    }
    Ok(())
}

/// Runs a command to its end; what it printed, or an error with what it said.
pub(crate) fn said(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output();
    let output = output.with_context(|| format!("cannot run {command:?}"))?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    ensure!(
        output.status.success(),
        "{command:?} ended with {}: {}{printed}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(printed)
}

/// The command as one would type it, without its folders.
fn told(command: &Command) -> String {
    let program = std::path::Path::new(command.get_program());
    let program = program
        .file_name()
        .unwrap_or(command.get_program())
        .to_string_lossy();
    let arguments = command
        .get_args()
        .map(|argument| argument.to_string_lossy());
    std::iter::once(program)
        .chain(arguments)
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn closing_lines_of_tests_are_counted() {
        let mut tally = Tally::default();
        for line in [
            "running 16 tests",
            "test result: ok. 16 passed; 0 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
            "test result: FAILED. 2 passed; 3 failed; 0 ignored; 0 measured; 9 filtered out; finished in 1.50s",
            "test tally::passed ... ok",
        ] {
            tally.add_line(line);
        }
        assert_eq!(
            tally,
            Tally {
                passed: 18,
                failed: 3,
                ignored: 1
            }
        );
    }

    #[test]
    fn a_failed_step_stays_in_the_record() {
        let mut steps = Steps::default();
        assert!(steps.run("good", || Ok(())).is_ok());
        assert!(steps.run("bad", || bail!("broken")).is_err());
        let passed: Vec<bool> = steps.taken.iter().map(|step| step.passed).collect();
        assert_eq!(passed, [true, false]);
    }
}
