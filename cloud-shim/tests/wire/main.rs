//! The SDK over the wire: every call of the API is made at least once, against
//! moto, and what moto lacks or no emulator has (errors, time-outs) against
//! answers as AWS documents them. boto3 looks at what was made as well.
//!
//! What moto is known to get wrong is not asserted.
#![cfg(feature = "sdk")]
#![allow(
    clippy::cloned_ref_to_slice_refs,
    reason = "an array shows best what is expected"
)]

mod canned;
mod compute;
mod errors;
mod lacking;
#[path = "../moto/mod.rs"]
mod moto;
mod network;
mod services;

use std::sync::OnceLock;

use aws_config::Region;
use aws_credential_types::Credentials;
use ichor_cloud::api::{ApiError, Cloud, Request, Tags};
use ichor_cloud::sdk::{Aws, Timeouts, loader};
use moto::{Boto3, Moto};

/// The one server of this test binary. Each test has a region of its own.
fn server() -> &'static Moto {
    static SERVER: OnceLock<Moto> = OnceLock::new();
    SERVER.get_or_init(Moto::start)
}

/// The second opinion on that server.
fn boto3() -> &'static Boto3 {
    static BOTO3: OnceLock<Boto3> = OnceLock::new();
    BOTO3.get_or_init(|| server().boto3())
}

/// An account behind an endpoint of the loopback, with keys that open nothing.
async fn account(endpoint: &str, region: &'static str, timeouts: Timeouts) -> Box<dyn Cloud> {
    let config = loader(timeouts)
        .endpoint_url(endpoint)
        .region(Region::new(region))
        .credentials_provider(Credentials::new(
            "AKIATESTING",
            "sesame",
            None,
            None,
            "tests",
        ))
        .load()
        .await;
    Box::new(Aws::with(&config, timeouts).expect("the region is set"))
}

/// An account of moto's.
async fn emulated(region: &'static str) -> Box<dyn Cloud> {
    account(server().endpoint(), region, Timeouts::default()).await
}

/// A call that is to succeed.
async fn done<R: Request>(aws: &dyn Cloud, request: R) -> R::Answer {
    let answer = aws.send(request).await;
    answer.unwrap_or_else(|error| panic!("{error}"))
}

/// A call that is to fail.
async fn refused<R: Request>(aws: &dyn Cloud, request: R) -> ApiError
where
    R::Answer: core::fmt::Debug,
{
    let answer = aws.send(request).await;
    answer.expect_err("the call is refused")
}

/// `ichor:lab` and a name.
fn tags(name: &str) -> Tags {
    Tags::from([
        ("Name".to_owned(), name.to_owned()),
        ("ichor:lab".to_owned(), "wire".to_owned()),
    ])
}
