//! `cargo xtask bench`: ichor beside what it takes the place of, on this machine.
//!
//! A [`Row`] says what is compared; its [`row::Rig`] takes the samples, one
//! contender after the other, round by round, so that whatever else happens on
//! the machine meets all of them alike.

mod boot;
mod cm3;
mod dhcp;
mod http;
mod load;
mod lossy;
mod nodes;
mod process;
mod report;
mod row;
mod summary;
mod table;
mod tftp;
mod wire;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context as _, Result, bail, ensure};
use clap::Args;
use ichor_lab::tools::{Set, Tools};
use ichor_lab::{lab, netns};
use signal_hook::consts::{SIGINT, SIGTERM};

use self::report::Conditions;
use self::row::{Bench, Row, Taken};
use self::table::{range, table, with_unit};
use crate::steps::succeed;
use crate::{cargo, workspace};

/// All rows, kind by kind.
static ROWS: &[&[Row]] = &[
    http::ROWS,
    tftp::ROWS,
    lossy::ROWS,
    dhcp::ROWS,
    nodes::ROWS,
    process::ROWS,
    boot::ROWS,
    cm3::ROWS,
];

/// What to measure, and how.
#[derive(Debug, Args)]
pub(crate) struct Options {
    /// The rows to measure, by name or by how their names begin; all if none is given.
    #[arg(value_name = "ROW")]
    pub rows: Vec<String>,
    /// How often each contender is measured [default: 5; with --quick 2].
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100))]
    pub runs: Option<u32>,
    /// A look in a minute or two: smaller amounts, and no slow row unless named.
    #[arg(long)]
    pub quick: bool,
    /// Write all samples, with machine, versions and commit, to this file.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Show the rows and measure nothing.
    #[arg(long)]
    pub list: bool,
}

const RUNS: u32 = 5;
const QUICK_RUNS: u32 = 2;

/// Measures the rows and prints a table of them.
pub(crate) fn run(options: &Options) -> Result<()> {
    let rows = chosen(&options.rows, options.quick)?;
    if options.list {
        for row in rows {
            println!("{:18} {}", row.name, row.about);
        }
        return Ok(());
    }
    let need_root: Vec<&str> = rows
        .iter()
        .filter(|row| row.needs.root)
        .map(|row| row.name)
        .collect();
    ensure!(
        need_root.is_empty() || netns::permitted(),
        "these rows need root, for network namespaces: {}",
        need_root.join(" ")
    );
    // Before minutes of work, not after them.
    if let Some(path) = &options.json {
        std::fs::write(path, "").with_context(|| format!("cannot write {}", path.display()))?;
    }
    let bench = bench(options, &rows)?;
    let programs: BTreeSet<&str> = rows
        .iter()
        .flat_map(|row| row.needs.programs)
        .copied()
        .collect();
    let programs: Vec<&str> = programs.into_iter().collect();
    let conditions = Conditions::now(&bench, &programs)?;
    println!("{}", conditions.told());

    let interrupted = Interrupt::watch()?;
    let default = if options.quick { QUICK_RUNS } else { RUNS };
    let runs = options.runs.unwrap_or(default);
    let mut taken = Vec::new();
    for row in rows {
        taken.push(measure(&bench, row, runs, &interrupted));
        if interrupted.is_set() {
            break;
        }
    }
    println!("\n{}", table(&taken));
    if let Some(path) = &options.json {
        report::write(path, &report::json(&conditions, options.quick, &taken))?;
        println!("All samples are in {}", path.display());
    }
    println!("Logs are in {}", bench.folder.display());
    ensure!(
        !interrupted.is_set(),
        "interrupted: the rest was not measured"
    );
    let failed: Vec<&str> = taken
        .iter()
        .filter(|taken| taken.error.is_some())
        .map(|taken| taken.row.name)
        .collect();
    ensure!(
        failed.is_empty(),
        "could not be measured: {}",
        failed.join(" ")
    );
    Ok(())
}

/// The rows of these names; a name that no row has stands for all that begin with it.
fn chosen(names: &[String], quick: bool) -> Result<Vec<&'static Row>> {
    let all = || ROWS.iter().copied().flatten();
    if names.is_empty() {
        return Ok(all().filter(|row| !(quick && row.needs.slow)).collect());
    }
    for name in names {
        if !all().any(|row| row.name.starts_with(name.as_str())) {
            let known: Vec<&str> = all().map(|row| row.name).collect();
            bail!("no row is called {name:?}; there are: {}", known.join(" "));
        }
    }
    let exact = |name: &str| all().any(|row| row.name == name);
    let is_named = |row: &Row| {
        names
            .iter()
            .any(|name| row.name == name || (!exact(name) && row.name.starts_with(name.as_str())))
    };
    Ok(all().filter(|row| is_named(row)).collect())
}

/// Fetches the tools, builds the server and makes the folder.
fn bench(options: &Options, rows: &[&Row]) -> Result<Bench> {
    let mut sets: Vec<Set> = Vec::new();
    for set in rows.iter().flat_map(|row| row.needs.sets) {
        if !sets.contains(set) {
            sets.push(*set);
        }
    }
    let tools = Tools::with(&sets)?;
    let ichor = match std::env::var_os("ICHOR") {
        Some(given) => PathBuf::from(given),
        None => {
            let arguments = [
                "build",
                "--quiet",
                "--release",
                "--package",
                "ichor-bastion",
            ];
            succeed(cargo().args(arguments))?;
            workspace().join("target/release/ichor")
        }
    };
    Ok(Bench {
        tools,
        ichor,
        folder: lab::folder("bench")?,
        quick: options.quick,
    })
}

/// Takes the samples of one row. An error ends the row, not the bench.
fn measure(bench: &Bench, row: &'static Row, runs: u32, interrupted: &Interrupt) -> Taken {
    println!("\n{}: {} ({})", row.name, row.about, row.unit.symbol);
    let mut taken = Taken::new(row);
    if let Err(error) = take_samples(bench, &mut taken, runs, interrupted) {
        println!("\n  {error:#}");
        taken.error = Some(format!("{error:#}"));
    }
    taken
}

fn take_samples(
    bench: &Bench,
    taken: &mut Taken,
    runs: u32,
    interrupted: &Interrupt,
) -> Result<()> {
    let row = taken.row;
    let mut rig = (row.set_up)(bench).context("cannot be set up")?;
    let runs = if row.needs.once { 1 } else { runs };
    for run in 1..=runs {
        print!("  run {run}");
        for (number, contender) in row.contenders.iter().enumerate() {
            let _ = std::io::stdout().flush();
            if interrupted.is_set() {
                println!();
                return Ok(());
            }
            let sample = rig
                .take(contender, run)
                .with_context(|| (*contender).to_owned())?;
            print!(
                "   {contender} {}",
                with_unit(sample.value, row.unit.symbol)
            );
            taken.samples[number].push(sample);
        }
        println!();
    }
    for (number, contender) in row.contenders.iter().enumerate().skip(1) {
        println!("  ichor ÷ {contender}: {}", range(&taken.ratios(number)));
    }
    if let Some(remarks) = rig.remarks() {
        println!("{remarks}");
    }
    Ok(())
}

/// Ctrl-C: what was set up must be taken down. A second one ends it at once.
struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    fn watch() -> Result<Self> {
        let flag = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // In this order: only a flag that is set already ends the program.
            signal_hook::flag::register_conditional_shutdown(signal, 1, flag.clone())
                .and_then(|_| signal_hook::flag::register(signal, flag.clone()))
                .context("cannot watch for signals")?;
        }
        Ok(Self(flag))
    }

    fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str], quick: bool) -> Vec<&'static str> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let rows = chosen(&names, quick).unwrap();
        rows.iter().map(|row| row.name).collect()
    }

    #[test]
    fn rows_are_chosen_by_name_or_by_how_they_begin() {
        assert_eq!(names(&["http-one"], false), ["http-one"]);
        assert_eq!(names(&["http-o"], false), ["http-one", "http-one-offload"]);
        let windows = ["tftp-w4", "tftp-w16", "tftp-w64"];
        assert_eq!(names(&["tftp-w", "tftp-w16"], false), windows);
        assert_eq!(names(&["size"], true), ["size"], "slow, but named");
        let all = names(&[], false);
        let quick = names(&[], true);
        assert!(all.contains(&"size") && !quick.contains(&"size"));
        assert!(quick.contains(&"http-one"));
    }

    #[test]
    fn a_name_that_no_row_has_is_told_with_those_that_there_are() {
        let error = chosen(&["httpd".to_owned()], false).err().unwrap();
        let error = error.to_string();
        assert!(
            error.contains("\"httpd\"") && error.contains("http-one "),
            "{error}"
        );
    }

    #[test]
    fn rows_have_names_of_their_own_and_bars_that_look_at_something() {
        let rows: Vec<&Row> = ROWS.iter().copied().flatten().collect();
        let names: BTreeSet<&str> = rows.iter().map(|row| row.name).collect();
        assert_eq!(names.len(), rows.len());
        for row in rows {
            assert_eq!(row.contenders.first(), Some(&"ichor"), "{}", row.name);
            for bar in row.bars {
                if let row::Of::Ratio(to) = bar.of {
                    assert!(row.contenders[1..].contains(&to), "{}: {to}", row.name);
                }
            }
        }
    }
}
