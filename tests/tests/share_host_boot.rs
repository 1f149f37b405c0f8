//! A machine boots from a host's only address, and the host's own services answer all the while.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use ichor_lab::checksum::sha256;
use ichor_lab::data::DataFolder;
use ichor_lab::host::Host;
use ichor_lab::netns;
use ichor_lab::node;
use ichor_lab::site::Site;

const PATIENCE: Duration = Duration::from_secs(120);
/// Between one round of questions to the host and the next.
const PAUSE: Duration = Duration::from_millis(200);

#[test]
fn a_machine_boots_and_the_host_still_answers() -> Result<()> {
    if !netns::possible() {
        return Ok(());
    }
    let mut site = Site::with_machine("share_host_boot")?;
    let (data, wanted) = site.fill()?;
    let host = Host::start(&site)?;
    site.serve("host", &[])?;
    host.answers(&site).context("before the boot")?;

    let machine = site.power_on()?;
    let booted = AtomicBool::new(false);
    let (report, rounds) = thread::scope(|scope| {
        let asking = scope.spawn(|| rounds_until(&booted, &host, &site));
        let report = node::report(&machine, 2, PATIENCE);
        booted.store(true, Ordering::Relaxed);
        (report, asking.join())
    });
    let report = report?;
    let rounds = rounds.map_err(|_| anyhow!("the client panicked"))??;
    println!(
        "up after {:.1} s; the host answered {rounds} times",
        report.up_after.as_secs_f64()
    );
    assert!(rounds >= 10, "the host was asked {rounds} times only");
    let config = DataFolder::config_of(&wanted);
    assert_eq!(report.config, sha256(config.as_bytes())?);
    for file in ["assets/vmlinuz", "assets/initramfs"] {
        let want = data.sha256_of(file)?;
        assert_eq!(report.sha256_of(file), Some(want.as_str()), "{file}");
    }
    Ok(())
}

/// Asks the host's services over and over; how many rounds they answered.
fn rounds_until(booted: &AtomicBool, host: &Host, site: &Site) -> Result<u32> {
    let mut rounds = 0;
    while !booted.load(Ordering::Relaxed) {
        host.answers(site)
            .with_context(|| format!("during the boot, after {rounds} rounds"))?;
        rounds += 1;
        thread::sleep(PAUSE);
    }
    Ok(rounds)
}
