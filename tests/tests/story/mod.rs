//! The story of a boot, told the same way for each kind of machine.
#![allow(dead_code, reason = "each test uses its own part")]

use std::time::Duration;

use anyhow::{Result, ensure};
use ichor_lab::checksum::sha256;
use ichor_lab::data::DataFolder;
use ichor_lab::faults::Fault;
use ichor_lab::lab::Lab;
use ichor_lab::node::{self, Report};
use ichor_lab::qemu::Via;

/// Stages of a boot through iPXE: the firmware, then iPXE, then the node each
/// get their address.
pub(crate) const VIA_IPXE: [&str; 12] = [
    "discover",
    "offer",
    "bound",
    "boot-file",
    "discover",
    "offer",
    "bound",
    "script",
    "kernel",
    "initrd",
    "bound",
    "config",
];

/// A machine is powered on; it leases an address, loads its files, fetches its
/// own configuration and finds every byte as the server has it. The server's
/// journal tells the same story, in `stages`. All that may take `patience` from
/// power-on.
pub(crate) fn a_machine_boots(
    name: &str,
    via: Via,
    faults: impl IntoIterator<Item = Fault>,
    stages: &[&str],
    patience: Duration,
) -> Result<()> {
    let mut lab = Lab::new(name, 1)?;
    lab.serve()?;
    lab.switch().order_all(faults);

    let machine = lab.power_on(1, via)?;
    let report = node::report(&machine, 2, patience)?;
    println!("{via}: up after {:.1} s", report.up_after.as_secs_f64());

    has_what_the_server_has(&lab, &report)?;

    let events = lab.ichor()?.events_of(&machine.mac());
    let told: Vec<&str> = events.iter().map(|event| event.stage.as_str()).collect();
    comes_in_order(&told, stages)
}

/// Every byte that the first machine reports is as the data folder has it.
pub(crate) fn has_what_the_server_has(lab: &Lab, report: &Report) -> Result<()> {
    let config = DataFolder::config_of(lab.node(1)?);
    assert_eq!(report.mac, lab.node(1)?.mac);
    assert!(report.ip.starts_with("192.0.2."), "{}", report.ip);
    assert_eq!(
        report.config,
        sha256(config.as_bytes())?,
        "its own configuration"
    );
    for file in ["assets/vmlinuz", "assets/initramfs"] {
        let want = lab.data().sha256_of(file)?;
        assert_eq!(report.sha256_of(file), Some(want.as_str()), "{file}");
    }
    Ok(())
}

/// The stages are among what was told, in this order.
pub(crate) fn comes_in_order(told: &[&str], stages: &[&str]) -> Result<()> {
    let mut rest = told.iter();
    for stage in stages {
        ensure!(
            rest.any(|told| told == stage),
            "no {stage} in time: {told:?}, want {stages:?}"
        );
    }
    Ok(())
}
