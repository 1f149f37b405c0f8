//! Calls that are tried again where that helps, and waits that end.

use core::time::Duration;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::retry::{Effect, Passing, UNSEEN_FOR, is_unsure};
use super::{Event, Progress, Silent};
use crate::api::{ApiError, Cloud, Fault, Request};
use crate::error::{Error, Result};

/// Calls on their way at once: EC2's buckets hold 50 to 100 calls and are
/// shared with whoever else uses the account.
const AT_ONCE: usize = 8;
/// The longest first pause; doubles, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// How long a service that never answered is tried: nobody wants to wait half
/// a minute to hear that the cable is not in.
const NEVER_ANSWERED: Duration = Duration::from_secs(6);
/// The pause between two looks at something that is waited for.
pub(super) const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The account, for whoever makes calls to it. Clones share all they know.
#[derive(Debug, Clone)]
pub struct Caller {
    cloud: Arc<dyn Cloud>,
    progress: Arc<dyn Progress>,
    at_once: Arc<Semaphore>,
    known: Arc<Mutex<Known>>,
}

/// What a caller keeps between calls.
#[derive(Debug)]
struct Known {
    /// Whether any service ever answered.
    answered: bool,
    /// When something was made last. A caller that is new counts: it may go on
    /// where another was stopped a moment ago.
    made: Instant,
    /// When a call failed last that may have made something all the same.
    unsure: Option<Instant>,
    /// State of the pauses' random numbers.
    random: u64,
}

/// What a look at something that is waited for found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Waiting<T> {
    /// It is there.
    Done(T),
    /// Not yet, and what was seen instead.
    Not(String),
}

impl Caller {
    /// Calls go to this account.
    pub fn new(cloud: Arc<dyn Cloud>) -> Self {
        // Without entropy all pauses are the same, which is no harm.
        Self::seeded(cloud, getrandom::u64().unwrap_or(0))
    }

    /// As [`new`](Self::new), with pauses that are the same every time.
    pub fn seeded(cloud: Arc<dyn Cloud>, seed: u64) -> Self {
        let known = Known {
            answered: false,
            made: Instant::now(),
            unsure: None,
            random: seed,
        };
        Self {
            cloud,
            progress: Arc::new(Silent),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            known: Arc::new(Mutex::new(known)),
        }
    }

    /// Tells this one what happens.
    #[must_use]
    pub fn telling(self, progress: Arc<dyn Progress>) -> Self {
        Self { progress, ..self }
    }

    /// Tells that something happened.
    pub fn tell(&self, event: &Event<'_>) {
        self.progress.on(event);
    }

    /// The region that calls go to.
    pub fn region(&self) -> &str {
        self.cloud.region()
    }

    /// Makes a call, and again while its error is of the kind that passes: see
    /// the table in `retry.rs`.
    ///
    /// # Errors
    ///
    /// The last error, once it is final or patience is at its end.
    pub async fn send<R: Request + Clone>(&self, request: R) -> Result<R::Answer, ApiError> {
        let effect = Effect::of::<R>();
        let mut failing: Option<Instant> = None;
        let mut tries = 0;
        loop {
            let outcome = {
                let _permit = self.at_once.acquire().await;
                self.cloud.send(request.clone()).await
            };
            let error = match outcome {
                Ok(answer) => {
                    self.note_success(effect, R::TAKES_TOKEN);
                    return Ok(answer);
                }
                Err(error) => error,
            };
            self.note_failure(effect, &error);
            let Some(passing) = Passing::of(&error, effect) else {
                return Err(error);
            };
            let until = self.until(passing, *failing.get_or_insert_with(Instant::now));
            tries += 1;
            let pause = self.pause(tries);
            if tries > passing.tries() || Instant::now() + pause > until {
                return Err(error);
            }
            let error = &error;
            self.tell(&Event::Again { error, pause });
            tokio::time::sleep(pause).await;
        }
    }

    /// Looks until something is there, for at most `within`.
    ///
    /// # Errors
    ///
    /// [`Error::Late`], or what a look failed with.
    pub async fn wait<T>(
        &self,
        what: &str,
        within: Duration,
        mut look: impl AsyncFnMut() -> Result<Waiting<T>>,
    ) -> Result<T> {
        let until = Instant::now() + within;
        loop {
            match look().await? {
                Waiting::Done(found) => return Ok(found),
                Waiting::Not(last) if Instant::now() >= until => {
                    return Err(Error::Late {
                        what: what.to_owned(),
                        after: within,
                        last,
                    });
                }
                Waiting::Not(seen) => {
                    let seen = &seen;
                    self.tell(&Event::Waiting { what, seen });
                    tokio::time::sleep(LOOK_AGAIN).await;
                }
            }
        }
    }

    /// When the last call failed that may have made something all the same.
    pub(super) fn unsure_since(&self) -> Option<Instant> {
        self.with(|known| known.unsure)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Known) -> T) -> T {
        act(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note_success(&self, effect: Effect, token: bool) {
        self.with(|known| {
            known.answered = true;
            if effect == Effect::Makes || token {
                known.made = Instant::now();
            }
        });
    }

    fn note_failure(&self, effect: Effect, error: &ApiError) {
        self.with(|known| {
            if matches!(error.fault, Fault::Service { .. }) {
                known.answered = true;
            }
            if effect == Effect::Makes && is_unsure(error) {
                known.unsure = Some(Instant::now());
            }
        });
    }

    /// Until when an error that came first at `failing` is given time.
    fn until(&self, passing: Passing, failing: Instant) -> Instant {
        self.with(|known| match passing {
            Passing::Unseen => known.made + UNSEEN_FOR,
            Passing::Unreached if !known.answered => failing + NEVER_ANSWERED,
            _ => failing + passing.patience(),
        })
    }

    /// The pause before the next try: anything up to a bound that doubles
    /// (full jitter), so that callers who failed together come back apart.
    fn pause(&self, tries: u32) -> Duration {
        let bound = FIRST_PAUSE
            .saturating_mul(1 << (tries - 1).min(8))
            .min(LONGEST_PAUSE);
        let random = self.with(|known| {
            // SplitMix64.
            known.random = known.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = known.random;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        });
        bound.mul_f64((random >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{CreateVpc, DeleteVpc, DescribeVpcs, Id, ModifyVpcAttribute, VpcAttribute};
    use crate::fake::{Fake, Mishap};

    fn fake() -> (Arc<Fake>, Caller) {
        let fake = Arc::new(Fake::new("eu-west-1", 3));
        let cloud: Arc<dyn Cloud> = fake.clone();
        (fake, Caller::seeded(cloud, 3))
    }

    fn look() -> DescribeVpcs {
        DescribeVpcs {
            filters: Vec::new(),
        }
    }

    fn make() -> CreateVpc {
        CreateVpc {
            cidr: "10.0.0.0/16".to_owned(),
            ipv6: false,
            tags: crate::api::Tags::new(),
        }
    }

    fn set(vpc: &Id) -> ModifyVpcAttribute {
        ModifyVpcAttribute {
            vpc: vpc.clone(),
            attribute: VpcAttribute::DnsHostnames,
            value: true,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_network_is_said_soon_and_a_lost_one_is_waited_for() {
        let (fake, caller) = fake();
        let began = Instant::now();
        fake.script(Mishap::on("*").always().lose_call(Fault::Unreachable));
        caller.send(look()).await.unwrap_err();
        assert!(
            began.elapsed() < Duration::from_secs(12),
            "{:?}",
            began.elapsed()
        );

        fake.heal();
        caller.send(look()).await.unwrap();
        fake.script(Mishap::on("*").times(5).lose_call(Fault::Unreachable));
        caller.send(look()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_make_whose_answer_is_lost_is_not_repeated() {
        let (fake, caller) = fake();
        fake.script(Mishap::on("ec2:CreateVpc").lose_answer(Fault::Timeout));
        caller.send(make()).await.unwrap_err();
        assert_eq!(fake.calls().len(), 1);
        assert!(caller.unsure_since().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_nobody_knows_is_tried_three_times() {
        let (fake, caller) = fake();
        fake.script(Mishap::on("*").always().refuse(500, "", "<html>"));
        caller.send(look()).await.unwrap_err();
        assert_eq!(fake.calls().len(), 3);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_not_found_is_waited_for_while_it_may_be_new() {
        let (_, caller) = fake();
        let vpc = caller.send(make()).await.unwrap().id;
        caller.send(set(&vpc)).await.unwrap();
        let none = "vpc-0000000000000000f".to_owned();
        let began = Instant::now();
        caller.send(set(&none)).await.unwrap_err();
        assert!(began.elapsed() > Duration::from_secs(60));
        // By now nothing is new.
        let began = Instant::now();
        tokio::time::sleep(UNSEEN_FOR).await;
        caller.send(set(&none)).await.unwrap_err();
        assert!(began.elapsed() < UNSEEN_FOR + Duration::from_secs(2));
        // A delete that finds nothing is answered.
        let began = Instant::now();
        caller.send(make()).await.unwrap();
        let gone = caller.send(DeleteVpc { vpc: none }).await.unwrap_err();
        assert!(gone.is_not_found() && began.elapsed() < Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_ends() {
        let (_, caller) = fake();
        let never = async || Ok(Waiting::<()>::Not("raining".to_owned()));
        let late = caller.wait("sun", Duration::from_secs(9), never).await;
        let text = late.unwrap_err().to_string();
        assert_eq!(text, "waited 9 s in vain for sun (last: raining)");
    }
}
