//! Looks, plans and applies until nothing is left to do.

use core::time::Duration;

use tokio::time::{Instant, sleep, sleep_until};

use super::caller::LOOK_AGAIN;
use super::place::FOUND_WITHIN;
use super::retry::is_outdated;
use super::{Event, Part, Plan, apply, observe_all};
use crate::error::{Error, Result};
use crate::kinds::{Context, Spec};

/// How often a plan is applied. One round does it if nothing goes wrong; lost
/// answers and others who work on the same lab cost one or two more.
const ROUNDS: u32 = 8;
/// How long one waits for what other resources stand in but AWS does not show.
const UNSEEN_FOR: Duration = Duration::from_secs(120);

/// Makes what is there what shall be; gives the last plan, in which all is
/// kept, for its ids.
///
/// # Errors
///
/// What cannot be done, or what still differs after so many rounds.
pub async fn converge(desired: &[(Part, Spec)], context: &Context) -> Result<Plan> {
    let mut last = String::new();
    for _ in 0..ROUNDS {
        let plan = plan_of_the_seen(desired, context).await?;
        plan.allowed()?;
        if plan.is_settled() {
            let Some(shown) = still_unsure(context) else {
                return Ok(plan);
            };
            // What a lost call made is shown by then, and a duplicate deleted.
            let (what, seen) = ("answers that were lost", "what they made may yet be shown");
            context.caller.tell(&Event::Waiting { what, seen });
            sleep_until(shown).await;
            continue;
        }
        last = plan.summary();
        match apply(&plan, context).await {
            Ok(()) => {}
            Err(error) if is_outdated(&error) => last = error.to_string(),
            Err(error) => return Err(error),
        }
    }
    Err(Error::Refused(format!(
        "after {ROUNDS} rounds it is still not as it shall be; is somebody else changing it? Last: {last}"
    )))
}

/// When the last lost answer's work is surely shown, if that is yet to come.
fn still_unsure(context: &Context) -> Option<Instant> {
    let shown = context.caller.unsure_since()? + FOUND_WITHIN;
    (shown > Instant::now()).then_some(shown)
}

/// A plan in which nothing stands in something that AWS does not show: a VPC
/// that was just made may be shown later than the subnets in it.
async fn plan_of_the_seen(desired: &[(Part, Spec)], context: &Context) -> Result<Plan> {
    let until = Instant::now() + UNSEEN_FOR;
    loop {
        let plan = Plan::new(desired.to_vec(), observe_all(context).await?, context);
        let Some(what) = plan.unseen.first() else {
            return Ok(plan);
        };
        if Instant::now() >= until {
            return Err(Error::Refused(format!(
                "{what}: was its tag taken away? cloud-down, then cloud-up"
            )));
        }
        let seen = "not yet";
        context.caller.tell(&Event::Waiting { what, seen });
        sleep(LOOK_AGAIN).await;
    }
}
