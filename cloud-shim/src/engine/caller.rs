//! Calls that are tried again where that helps, and waits that end.

use core::time::Duration;
use std::sync::Arc;

use tokio::time::Instant;

use crate::api::{ApiError, Cloud, Fault, Request};
use crate::error::{Error, Result};

/// How long a call is tried again before its error counts.
const PATIENCE: Duration = Duration::from_secs(60);
/// The first pause; doubles, up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(8);
/// The pause between two looks at something that is waited for.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The account, for whoever makes calls to it.
#[derive(Debug, Clone)]
pub struct Caller {
    cloud: Arc<dyn Cloud>,
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
        Self { cloud }
    }

    /// The region that calls go to.
    pub fn region(&self) -> &str {
        self.cloud.region()
    }

    /// Makes a call, and again while its error is of the kind that passes.
    ///
    /// # Errors
    ///
    /// The last error, once it is final or patience is at its end.
    pub async fn send<R: Request + Clone>(&self, request: R) -> Result<R::Answer, ApiError> {
        let until = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.cloud.send(request.clone()).await {
                Err(error) if passes(&error) && Instant::now() + pause < until => {
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(LONGEST_PAUSE);
                }
                outcome => return outcome,
            }
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
                Waiting::Not(_) => tokio::time::sleep(LOOK_AGAIN).await,
            }
        }
    }
}

/// Whether an error is of the kind that passes: throttling, and what the
/// service itself calls its own fault.
fn passes(error: &ApiError) -> bool {
    matches!(error.fault, Fault::Service { status } if status >= 500)
        || matches!(
            error.code.as_str(),
            "Throttling" | "ThrottlingException" | "RequestLimitExceeded" | "SlowDown"
        )
}

/// What to do about an error, where one can tell.
pub fn advice(error: &ApiError) -> Option<&'static str> {
    match error.code.as_str() {
        "ExpiredToken" | "ExpiredTokenException" | "RequestExpired" => {
            Some("sign in again: the credentials have expired")
        }
        _ => None,
    }
}
