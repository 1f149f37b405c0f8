//! What a call can fail with.

use core::fmt;

/// Why there is no answer, or what kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// The service answered with an error.
    Service {
        /// The HTTP status.
        status: u16,
    },
    /// No credentials were found, or they could not be had.
    NoCredentials,
    /// No region is set.
    NoRegion,
    /// The service was not reached.
    Unreachable,
    /// No answer in time.
    Timeout,
    /// An answer came, but not one that this call has.
    NotUnderstood,
    /// The call cannot be made from what it was given, such as a file that is
    /// not there.
    Invalid,
}

/// A call that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// Which call, such as `ec2:CreateVpc`.
    pub call: &'static str,
    /// Why.
    pub fault: Fault,
    /// The service's error code, such as `DependencyViolation`; empty where
    /// the service did not answer.
    pub code: String,
    /// What the service or the connection says, in one line.
    pub message: String,
    /// For AWS support.
    pub request_id: Option<String>,
}

impl ApiError {
    /// An error as a service answers it.
    pub fn service(
        call: &'static str,
        status: u16,
        code: &str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            call,
            fault: Fault::Service { status },
            code: code.to_owned(),
            message: message.into(),
            request_id: None,
        }
    }

    /// An error of the connection or the set-up.
    pub fn local(call: &'static str, fault: Fault, message: impl Into<String>) -> Self {
        Self {
            call,
            fault,
            code: String::new(),
            message: message.into(),
            request_id: None,
        }
    }

    /// An answer that does not fit the call.
    pub fn not_understood(call: &'static str, message: impl Into<String>) -> Self {
        Self::local(call, Fault::NotUnderstood, message)
    }

    /// Whether the service says that there is no such thing: codes such as
    /// `InvalidVpcID.NotFound`, `NoSuchEntity` or `NoSuchBucket`.
    pub fn is_not_found(&self) -> bool {
        self.code.ends_with(".NotFound")
            || self.code.ends_with("NotFoundException")
            || self.code.starts_with("NoSuch")
            || matches!(
                self.code.as_str(),
                "NatGatewayNotFound" | "NotFound" | "404" | "InvalidAMIID.Unavailable"
            )
            // Auto Scaling has one code for all that is wrong with a request.
            || (self.code == "ValidationError" && self.message.contains("not found"))
    }
}

impl fmt::Display for ApiError {
    /// One line: call, code and the service's words.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            call,
            code,
            message,
            ..
        } = self;
        if code.is_empty() {
            write!(f, "{call}: {message}")
        } else {
            write!(f, "{call}: {code}: {message}")
        }
    }
}

impl std::error::Error for ApiError {}
