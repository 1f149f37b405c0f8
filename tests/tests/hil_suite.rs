//! The suite for boards, against the Linux process in the place of a board: it
//! passes a good one, and finds what is wrong with a broken one.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result};
use ichor_lab::hil::{
    self, Bench, Break, Facts, Nic, Plan, Power, Real, RealParts, Report, StandIn, Stop, Verdict,
};
use ichor_lab::ichor::Ichor;
use ichor_lab::lab::{self, SERVER};
use ichor_lab::netns::{self, Netns};
use ichor_lab::tools::{Set, Tools};

fn plan(folder: &Path) -> Plan {
    Plan {
        cuts: 2,
        soak: Some(Duration::from_secs(3)),
        boot: Duration::from_secs(20),
        folder: folder.join("clients"),
    }
}

/// Runs the suite; what it said is shown if the test fails.
fn run(bench: &mut dyn Bench, plan: &Plan) -> Result<Report> {
    hil::run(bench, plan, &Stop::default(), &mut |line| {
        println!("{line}");
    })
}

fn against(name: &str, broken: Break, soak: bool) -> Result<Option<Report>> {
    if !netns::possible() {
        return Ok(None);
    }
    let tools = Tools::with(&[Set::Clients])?;
    let folder = lab::folder(name)?;
    let mut bench = StandIn::new(&tools, &folder, broken)?;
    let mut plan = plan(&folder);
    if !soak {
        plan.soak = None;
    }
    run(&mut bench, &plan).map(Some)
}

fn names(report: &Report, verdict: Verdict) -> BTreeSet<&str> {
    let cases = report.cases.iter().filter(|case| case.verdict == verdict);
    cases.map(|case| case.name).collect()
}

#[test]
fn a_good_board_passes() -> Result<()> {
    let Some(report) = against("hil_good", Break::Nothing, true)? else {
        return Ok(());
    };
    assert!(report.is_good(), "{}", report.table());
    assert_eq!(names(&report, Verdict::NotRun), BTreeSet::new());
    assert_eq!(report.cases.len(), 18, "{}", report.table());
    Ok(())
}

#[test]
fn a_board_without_tftp_fails_where_there_is_tftp() -> Result<()> {
    let Some(report) = against("hil_no_tftp", Break::Tftp, false)? else {
        return Ok(());
    };
    let want = [
        "tftp-octet",
        "tftp-blksize",
        "tftp-windowsize",
        "tftp-missing",
    ];
    let failed = names(&report, Verdict::Failed);
    assert_eq!(failed, want.into(), "{}", report.table());
    assert!(!report.is_good());
    Ok(())
}

#[test]
fn a_board_that_forgets_its_leases_fails_after_a_power_cut() -> Result<()> {
    let Some(report) = against("hil_no_leases", Break::Leases, false)? else {
        return Ok(());
    };
    let failed = names(&report, Verdict::Failed);
    assert_eq!(failed, ["lease-power-cut"].into(), "{}", report.table());
    let told = &report.case("lease-power-cut").context("it was tried")?.told;
    assert!(told.contains("given to"), "{told}");
    Ok(())
}

#[test]
fn a_board_with_one_wrong_bit_fails_where_the_file_is_read() -> Result<()> {
    let Some(report) = against("hil_wrong_bit", Break::Content, true)? else {
        return Ok(());
    };
    let want = ["tftp-blksize", "tftp-windowsize", "http-asset", "soak"];
    let failed = names(&report, Verdict::Failed);
    assert_eq!(failed, want.into(), "{}", report.table());
    let told = &report.case("http-asset").context("it was tried")?.told;
    assert!(told.contains("SHA-256"), "{told}");
    Ok(())
}

/// The bench for a real board, with an operator's machine and a board that are
/// namespaces: macvlan, commands for the power, no console.
#[test]
fn the_real_bench_reaches_a_board_behind_a_network_card() -> Result<()> {
    if !netns::possible() {
        return Ok(());
    }
    let tools = Tools::with(&[Set::Clients])?;
    let folder = lab::folder("hil_real")?;
    let (operator, board) = (
        Netns::create(&tools, "operator")?,
        Netns::create(&tools, "board")?,
    );
    operator.join(&board)?;
    hil::prepare(&folder.join("data"))?;
    let power = switch(&folder, &board)?;
    let mut bench = Real::new(
        &tools,
        RealParts {
            nic: Nic {
                name: "eth0",
                within: Some(&operator),
            },
            facts: Facts {
                name: "a board behind a card".to_owned(),
                address: Some(SERVER),
                pool: None,
                router: None,
                http_port: 8080,
                banner: "ichor",
            },
            port: None,
            power: Some(power.clone()),
            attended: false,
            folder: &folder,
        },
    )?;
    let plan = Plan {
        cuts: 1,
        soak: None,
        ..plan(&folder)
    };
    let report = run(&mut bench, &plan);
    bench.power_cut()?;
    let report = report?;
    assert!(report.is_good(), "{}", report.table());
    let not_run = names(&report, Verdict::NotRun);
    assert_eq!(not_run, ["link-pulled"].into(), "{}", report.table());
    Ok(())
}

/// A script that starts and kills the server, as a relay does to a board.
fn switch(folder: &Path, board: &Netns) -> Result<Power> {
    let command = board.enter(&Command::new(Ichor::program()?))?;
    let words: Vec<String> = std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| format!("'{}'", word.to_string_lossy()))
        .collect();
    let variables: String = command
        .get_envs()
        .filter_map(|(key, value)| {
            let (key, value) = (key.to_string_lossy(), value?.to_string_lossy());
            Some(format!("export {key}='{value}'\n"))
        })
        .collect();
    let (words, here) = (words.join(" "), folder.display());
    let text = format!(
        "#!/bin/sh\n{variables}cd '{here}'\n\
         if [ \"$1\" = off ]; then [ ! -f pid ] || kill -9 $(cat pid); rm -f pid; exit 0; fi\n\
         {words} serve --data data --state state --nic packet:eth0 --address {SERVER}/24 \
         --dhcp server --pool 192.0.2.50-192.0.2.99 >board.log 2>&1 &\n\
         echo $! >pid\n"
    );
    let script = folder.join("power.sh");
    fs::write(&script, text)?;
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755))?;
    Ok(Power::from_one(&script.display().to_string()))
}
