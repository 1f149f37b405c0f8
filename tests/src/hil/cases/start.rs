//! From power-on to the first OFFER, and the cable.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use super::{Outcome, Run};
use crate::hil::dhcp::first_offer;
use crate::hil::report::Found;
use crate::hil::station::MACS;

/// How long after its first OFFER a board may still be silent on its console.
const BANNER_PATIENCE: Duration = Duration::from_secs(5);
/// How long a signal on the cable may take (autonegotiation takes 2 to 3 s).
const CARRIER: Duration = Duration::from_secs(10);
/// How long to listen to a board whose cable is out.
const SILENCE: Duration = Duration::from_secs(3);
/// How long a board may take to be back after its cable is.
const BACK: Duration = Duration::from_secs(20);

/// Power-on, the banner on the console, the first OFFER.
pub(super) fn boot(run: &mut Run<'_>) -> Result<Outcome> {
    if let Some(missing) = run.bench.no_power() {
        return Ok(Outcome::NotRun(missing));
    }
    run.bench.power_cut()?;
    run.station.become_client(MACS.watcher())?;
    let on = run.bench.power_on()?;
    let wanted = run.wanted(None, run.plan.boot);
    let offered = first_offer(run.station.netns(), MACS.watcher(), &wanted)?;
    let after = offered.at.duration_since(on).as_secs_f64();
    run.server = run.server.or(Some(offered.server));
    let told = format!(
        "first OFFER ({} by {}) {after:.2} s after power-on",
        offered.address, offered.server
    );
    let Some((console, from)) = run.bench.console() else {
        let found = Found::new(told + "; no console to look for the banner on");
        return Ok(Outcome::Passed(found.value("offer_seconds", after)));
    };
    let wanted = run.bench.facts().banner;
    let banner = console.find(from, BANNER_PATIENCE, |line| {
        line.text.contains(wanted).then(|| line.clone())
    });
    let (line, _) = banner.with_context(|| {
        format!("{told}, but no line with \"{wanted}\" on the console: is it the right port?")
    })?;
    let said = (console.start() + line.at).saturating_duration_since(on);
    let said = said.as_secs_f64();
    let found = Found::new(format!("{told}; banner after {said:.2} s: {}", line.text))
        .value("offer_seconds", after)
        .value("banner_seconds", said);
    Ok(Outcome::Passed(found))
}

/// There is a signal on the cable.
pub(super) fn link(run: &mut Run<'_>) -> Result<Outcome> {
    let begun = Instant::now();
    while !run.station.has_carrier()? {
        run.stop.check()?;
        if begun.elapsed() > CARRIER {
            bail!("no signal on the cable after {} s", CARRIER.as_secs());
        }
        thread::sleep(Duration::from_millis(50));
    }
    let after = begun.elapsed().as_secs_f64();
    let found = Found::new(format!("signal on the LAN's cable after {after:.1} s"));
    Ok(Outcome::Passed(found.value("carrier_seconds", after)))
}

/// The board's cable is pulled and put back.
pub(super) fn link_pulled(run: &mut Run<'_>) -> Result<Outcome> {
    run.station.become_client(MACS.watcher())?;
    if let Err(missing) = run.bench.plug(false, run.stop)? {
        return Ok(Outcome::NotRun(missing));
    }
    let wanted = run.wanted(None, SILENCE);
    let silent = first_offer(run.station.netns(), MACS.watcher(), &wanted);
    // Whatever came, the cable must be in place for the cases to come.
    let back = run.bench.plug(true, run.stop)?;
    if let Ok(offered) = silent {
        bail!(
            "{} still makes offers although its cable is out",
            offered.server
        );
    }
    run.stop.check()?;
    if let Err(missing) = back {
        bail!("the cable is still out: {missing}");
    }
    let begun = Instant::now();
    let wanted = run.wanted(None, BACK);
    let offered = first_offer(run.station.netns(), MACS.watcher(), &wanted)
        .context("the cable was put back")?;
    let after = offered.at.duration_since(begun).as_secs_f64();
    let found = Found::new(format!(
        "silent while the cable is out, an OFFER {after:.1} s after it was put back"
    ));
    Ok(Outcome::Passed(found.value("back_seconds", after)))
}
