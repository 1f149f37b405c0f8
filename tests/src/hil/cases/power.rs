//! The power is cut right after an ACK: the lease must still be there.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::dhcp::by_udhcpc;
use super::{LEASE, Outcome, Run};
use crate::hil::report::Found;
use crate::hil::station::MACS;

/// As many cuts as the plan says.
pub(super) fn cuts(run: &mut Run<'_>) -> Result<Outcome> {
    if let Some(missing) = run.bench.no_power() {
        return Ok(Outcome::NotRun(missing));
    }
    let mut longest = Duration::ZERO;
    for round in 0..run.plan.cuts {
        run.stop.check()?;
        let cut = cut(run, round);
        let took = cut.with_context(|| format!("power cut {}", round + 1))?;
        longest = longest.max(took);
        (run.told)(&format!(
            "        power cut {} of {}: kept, next lease {:.1} s after power-on",
            round + 1,
            run.plan.cuts,
            took.as_secs_f64()
        ));
    }
    let found = Found::new(format!(
        "{} cuts right after an ACK: every lease kept, none given twice; back within {:.1} s",
        run.plan.cuts,
        longest.as_secs_f64()
    ))
    .value("cuts", f64::from(run.plan.cuts))
    .value("longest_seconds", longest.as_secs_f64());
    Ok(Outcome::Passed(found))
}

/// One cut. Returns how long the board took from power-on to its next lease.
fn cut(run: &mut Run<'_>, round: u16) -> Result<Duration> {
    let (owner, stranger) = MACS.around_cut(round);
    run.station.become_client(owner)?;
    let before = run.get_lease(None, LEASE)?;
    run.bench.power_cut()?;
    let on = run.bench.power_on()?;

    // A server that forgot the lease would grant this wish. It comes first:
    // the owner's own question would tell the server whose address it is.
    run.station.become_client(stranger)?;
    let other = run.get_lease(Some(before.address), run.plan.boot)?;
    let took = on.elapsed();
    ensure!(
        other.address != before.address,
        "{} was acknowledged to {owner}, and given to {stranger} after the cut",
        before.address
    );
    run.station.become_client(owner)?;
    let after = by_udhcpc(run, owner)?;
    ensure!(
        after.address == before.address,
        "{owner} had {} acknowledged, and got {} after the cut",
        before.address,
        after.address
    );
    // Given back, so that the next run begins with a new lease as well.
    run.station.release(&other)?;
    run.station.release(&after)?;
    Ok(took)
}
