//! The suite for boards against the CM3's firmware in QEMU, as `cargo xtask hil --virtual` runs it.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};
use ichor_lab::netns;
use serde_json::Value;

/// The whole task, as a person types it; what became of each case.
fn hil(more: &[&str]) -> Result<Option<Value>> {
    if !netns::possible() {
        return Ok(None);
    }
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["xtask", "hil", "--board", "cm3", "--virtual"])
        .args(["--output", "json"])
        .args(more)
        .output()
        .context("cannot run cargo")?;
    let said = String::from_utf8_lossy(&output.stderr);
    println!("{said}");
    ensure!(output.status.success(), "the suite failed: {said}");
    Ok(Some(serde_json::from_slice(&output.stdout)?))
}

fn assert_all_passed(report: &Value) {
    let cases = report["cases"].as_array().expect("a list of cases");
    let verdicts: BTreeMap<&str, &str> = cases
        .iter()
        .filter_map(|case| Some((case["name"].as_str()?, case["verdict"].as_str()?)))
        .collect();
    assert!(verdicts.values().all(|it| *it == "passed"), "{verdicts:?}");
    // None left out unnoticed.
    assert_eq!(verdicts.len(), cases.len());
    assert!(verdicts.contains_key("lease-power-cut"), "{verdicts:?}");
}

#[test]
fn the_firmware_passes_in_the_root_port() -> Result<()> {
    if let Some(report) = hil(&["--soak", "10s"])? {
        assert_all_passed(&report);
        assert_eq!(report["cases"].as_array().map(Vec::len), Some(18));
    }
    Ok(())
}

#[test]
fn the_firmware_passes_behind_a_hub() -> Result<()> {
    if let Some(report) = hil(&["--behind-hub", "--cuts", "1"])? {
        assert_all_passed(&report);
    }
    Ok(())
}
