//! What the shim can fail with: always one line that says what to do.

use core::fmt;
use core::time::Duration;
use std::io;
use std::path::PathBuf;

use crate::api::ApiError;

/// What the shim gives back.
pub type Result<T, E = Error> = core::result::Result<T, E>;

/// Why something was not done.
#[derive(Debug)]
#[non_exhaustive]
pub enum Error {
    /// AWS refused, or could not be asked, after all retries.
    Api(ApiError),
    /// Something did not come about in time.
    Late {
        /// What was waited for: `NAT gateway nat-0ab… to be available`.
        what: String,
        /// How long.
        after: Duration,
        /// What was seen last.
        last: String,
    },
    /// What was asked for is not possible or not allowed: says why, and what
    /// to do instead.
    Refused(String),
    /// `cloud.toml` is wrong: path, line and reason.
    Config(String),
    /// A file cannot be read or written.
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Several things failed, each with its own line.
    Several(Vec<Error>),
}

impl Error {
    /// A refusal.
    pub fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }

    /// A file that cannot be read or written.
    pub fn io(path: impl Into<PathBuf>, source: io::Error) -> Self {
        let path = path.into();
        Self::Io { path, source }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Api(error) => {
                write!(f, "{error}")?;
                crate::engine::advice(error).map_or(Ok(()), |advice| write!(f, " - {advice}"))
            }
            Self::Late { what, after, last } => {
                let seconds = after.as_secs();
                write!(f, "waited {seconds} s in vain for {what} (last: {last})")
            }
            Self::Refused(why) | Self::Config(why) => f.write_str(why),
            Self::Io { path, source } => write!(f, "{}: {source}", path.display()),
            Self::Several(errors) => {
                for (n, error) in errors.iter().enumerate() {
                    if n > 0 {
                        f.write_str("\n")?;
                    }
                    write!(f, "{error}")?;
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for Error {}

impl From<ApiError> for Error {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}
