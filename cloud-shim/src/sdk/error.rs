//! The SDK's errors, each in one line that says what to do.

use core::error::Error;
use core::iter;

use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_runtime_api::client::orchestrator::HttpResponse;
use aws_smithy_runtime_api::client::result::{ConnectorError, SdkError};
use aws_smithy_types::error::metadata::{ErrorMetadata, ProvideErrorMetadata};

use super::Name;
use crate::api::{ApiError, Fault};

/// Characters of a service's message that are shown.
const MOST_CHARS: usize = 300;

/// Texts that lead from a service's message into pages of what is no use to a
/// person: the encoded message is for `sts decode-authorization-message`, and
/// what S3 repeats of a request may hold a session token.
const TAILS: [&str; 3] = [
    "Encoded authorization failure message",
    "The Canonical String",
    "The String-to-Sign",
];

/// Turns the SDK's result into ours.
pub(super) trait Explained<T> {
    fn explained(self, call: Name) -> Result<T, ApiError>;
}

impl<T, E> Explained<T> for Result<T, SdkError<E, HttpResponse>>
where
    E: Error + ProvideErrorMetadata + 'static,
{
    fn explained(self, call: Name) -> Result<T, ApiError> {
        self.map_err(|error| match &error {
            SdkError::ServiceError(context) => {
                service(call, context.raw(), Some(context.err().meta()))
            }
            SdkError::ResponseError(context) => {
                // A status of an error without an AWS error in the body.
                if context.raw().status().as_u16() >= 400 {
                    service(call, context.raw(), None)
                } else {
                    broken_off(call, &error)
                }
            }
            SdkError::DispatchFailure(failure) => {
                dispatch(call, failure.as_connector_error(), &error)
            }
            SdkError::TimeoutError(_) => timeout(call, &error),
            _ => elsewhere(call, &error),
        })
    }
}

/// What the service answered.
fn service(call: Name, raw: &HttpResponse, meta: Option<&ErrorMetadata>) -> ApiError {
    let status = raw.status().as_u16();
    let code = meta.and_then(ErrorMetadata::code).unwrap_or_default();
    let said = meta.and_then(ErrorMetadata::message).unwrap_or_default();
    let (code, message) = match (code, status) {
        // The answer to a HEAD has no body to say more in.
        ("", 404) if !is_html(raw) => ("NotFound", "there is no such thing".to_owned()),
        ("", 403) if !is_html(raw) => ("AccessDenied", "refused".to_owned()),
        ("", _) => (
            "",
            format!(
                "HTTP {status} without an AWS error in it{}: is the endpoint AWS, \
                 and does it know this call?",
                if is_html(raw) {
                    ", but a page of HTML"
                } else {
                    ""
                }
            ),
        ),
        (code, _) => {
            let message = one_line(said);
            let silent = message.is_empty();
            (
                code,
                if silent {
                    format!("HTTP {status}")
                } else {
                    message
                },
            )
        }
    };
    let mut error = ApiError::service(call, status, code, message);
    error.request_id = meta
        .and_then(|meta| meta.extra("aws_request_id"))
        .or_else(|| raw.headers().get("x-amzn-requestid"))
        .or_else(|| raw.headers().get("x-amz-request-id"))
        .map(str::to_owned);
    error
}

/// Whether the body is a page for a browser.
fn is_html(raw: &HttpResponse) -> bool {
    let kind = raw.headers().get("content-type").unwrap_or_default();
    kind.starts_with("text/html")
}

/// No connection, or one that broke.
fn dispatch(
    call: Name,
    connector: Option<&ConnectorError>,
    error: &(dyn Error + 'static),
) -> ApiError {
    match connector {
        Some(failure) if failure.is_timeout() => timeout(call, error),
        Some(failure) if failure.is_io() => broken_off(call, error),
        _ => elsewhere(call, error),
    }
}

fn broken_off(call: Name, error: &(dyn Error + 'static)) -> ApiError {
    let message = format!("no connection: {}", innermost(error));
    ApiError::local(call, Fault::Unreachable, message)
}

fn timeout(call: Name, error: &(dyn Error + 'static)) -> ApiError {
    let message = format!("no answer in time: {}", innermost(error));
    ApiError::local(call, Fault::Timeout, message)
}

/// What went wrong before or beside the connection: by its causes.
fn elsewhere(call: Name, error: &(dyn Error + 'static)) -> ApiError {
    if let Some(cause) = causes(error).find_map(|cause| cause.downcast_ref::<CredentialsError>()) {
        return credentials(call, cause);
    }
    match causes(error).find_map(|cause| cause.downcast_ref::<ConnectorError>()) {
        Some(failure) if failure.is_timeout() => timeout(call, error),
        Some(failure) if failure.is_io() => broken_off(call, error),
        _ => ApiError::local(call, Fault::Invalid, innermost(error)),
    }
}

/// No credentials, or none that could be had.
pub(super) fn credentials(call: Name, error: &CredentialsError) -> ApiError {
    let message = match error {
        CredentialsError::CredentialsNotLoaded(_) => {
            "no AWS credentials: set AWS_PROFILE (or --profile) or AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY, or sign in with `aws sso login`"
                .to_owned()
        }
        error => format!("no AWS credentials: {}", innermost(error)),
    };
    ApiError::local(call, Fault::NoCredentials, message)
}

/// An error and what it comes from, outermost first.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    iter::successors(Some(error), |&error| error.source())
}

/// What an error comes from in the end: the causes above it only repeat that
/// something failed.
pub(super) fn innermost(error: &(dyn Error + 'static)) -> String {
    causes(error)
        .map(|cause| one_line(&cause.to_string()))
        .filter(|text| !text.is_empty())
        .last()
        .unwrap_or_else(|| "of an unknown cause".to_owned())
}

/// A text in one line, without what no person reads, and not too long.
fn one_line(text: &str) -> String {
    let end = TAILS.iter().filter_map(|tail| text.find(tail)).min();
    let text = text.get(..end.unwrap_or(text.len())).unwrap_or(text);
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let line = line.trim_end_matches(['.', ' ']);
    match line.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}
