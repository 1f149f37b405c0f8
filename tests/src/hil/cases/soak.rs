//! The same again and again: leases, files by TFTP and HTTP, every hash compared.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};

use super::dhcp::by_udhcpc;
use super::http::read_status;
use super::tftp::same;
use super::{Outcome, Run};
use crate::hil::content::{ASSET, SMALL};
use crate::hil::report::Found;
use crate::hil::station::MACS;

/// How often to say how far it is.
const TELL: Duration = Duration::from_secs(60);

/// What was done so far.
#[derive(Debug, Default, Clone, Copy)]
struct Done {
    rounds: u64,
    bytes: u64,
}

/// As long as the plan says. The first failure ends it.
pub(super) fn soak(run: &mut Run<'_>) -> Result<Outcome> {
    let begun = Instant::now();
    let duration = run.plan.soak.unwrap_or_default();
    let server = run.server()?;
    let first = read_status(run, server)?;
    let (mut done, mut uptime, mut told_at) = (Done::default(), first.uptime, begun);
    loop {
        run.stop.check()?;
        let so_far = || {
            let (rounds, seconds) = (done.rounds, begun.elapsed().as_secs());
            format!("after {rounds} good rounds in {seconds} s")
        };
        let bytes = round(run).with_context(so_far)?;
        let status = read_status(run, server).with_context(so_far)?;
        ensure!(
            status.uptime >= uptime,
            "{}: the board started anew, it is up {} s and was {uptime} s",
            so_far(),
            status.uptime
        );
        ensure!(
            status.troubles.is_empty(),
            "{}: the board is in trouble: {}",
            so_far(),
            status.troubles
        );
        uptime = status.uptime;
        done.rounds += 1;
        done.bytes += bytes;
        let rest = status.rest;
        if begun.elapsed() >= duration {
            return Ok(Outcome::Passed(summary(
                done,
                begun.elapsed(),
                uptime,
                &rest,
            )));
        }
        if told_at.elapsed() >= TELL {
            told_at = Instant::now();
            let told = summary(done, begun.elapsed(), uptime, &rest).told;
            (run.told)(&format!("        soak: {told}"));
        }
    }
}

/// One round; returns how many bytes came.
fn round(run: &mut Run<'_>) -> Result<u64> {
    let mac = MACS.client();
    if run.station.mac() != mac {
        run.station.become_client(mac)?;
    }
    let lease = by_udhcpc(run, mac)?;
    if let Some(before) = run.lease {
        ensure!(
            lease.address == before.address,
            "{mac} had {} and got {}",
            before.address,
            lease.address
        );
    }
    run.settle(lease)?;
    let server = lease.server.to_string();
    let clients = run.station.clients()?;
    let mut bytes = 0;
    let mut count = |got: Vec<u8>, asset| {
        bytes += got.len() as u64;
        same(&got, asset)
    };
    let options = ["blksize 1468", "windowsize 16"];
    count(clients.tftp_hpa(&server, SMALL.path, "octet")?, SMALL)?;
    count(clients.atftp(&server, ASSET.path, &options)?, ASSET)?;
    for asset in [SMALL, ASSET] {
        let url = run.url(lease.server, &format!("/{}", asset.path));
        count(clients.curl_timed(&url)?.0, asset)?;
    }
    Ok(bytes)
}

fn summary(done: Done, took: Duration, uptime: u64, rest: &str) -> Found {
    let Done { rounds, bytes } = done;
    let megabytes = bytes as f64 / 1e6;
    Found::new(format!(
        "{rounds} leases and {} files ({megabytes:.0} MB) in {} s, every hash right; board up {uptime} s{rest}",
        rounds * 4,
        took.as_secs()
    ))
    .value("rounds", rounds as f64)
    .value("megabytes", megabytes)
    .value("uptime_seconds", uptime as f64)
}
