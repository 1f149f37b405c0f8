//! What goes wrong, each in one line.

use std::fs;
use std::net::TcpListener;
use std::process::Command;
use std::time::{Duration, Instant};

use ichor_cloud::api::*;
use ichor_cloud::sdk::{Aws, Options, Timeouts};

use super::canned::{Answer, Canned, REQUEST_ID};
use super::{account, refused, server};

fn describe() -> DescribeVpcs {
    DescribeVpcs { filters: vec![] }
}

/// Asserts that an error is one line of a length that a person reads.
fn one_line(error: &ApiError) {
    let text = error.to_string();
    assert!(
        !text.contains('\n') && text.chars().count() < 400,
        "{text:?}"
    );
    assert!(
        !text.contains("sesame") && !text.contains("AKIATESTING"),
        "{text:?}"
    );
}

#[tokio::test]
async fn what_ec2_refuses() {
    let cases = [
        (
            400,
            "RequestExpired",
            "Request has expired.",
            "ec2:DescribeVpcs: RequestExpired: Request has expired",
        ),
        (
            400,
            "ExpiredToken",
            "The provided token has expired.\n",
            "ec2:DescribeVpcs: ExpiredToken: The provided token has expired",
        ),
        (
            401,
            "AuthFailure",
            "AWS was not able to validate the provided access credentials",
            "ec2:DescribeVpcs: AuthFailure: AWS was not able to validate the provided access \
             credentials",
        ),
        (
            403,
            "UnauthorizedOperation",
            "You are not authorized to perform this operation. User: arn:aws:iam::123456789012:\
             user/ann is not authorized to perform: ec2:DescribeVpcs because no identity-based \
             policy allows the ec2:DescribeVpcs action. Encoded authorization failure message: \
             4bGVhc2UgcGFzdGUgbWUgaW50byBkZWNvZGUtYXV0aG9yaXphdGlvbi1tZXNzYWdl",
            "ec2:DescribeVpcs: UnauthorizedOperation: You are not authorized to perform this \
             operation. User: arn:aws:iam::123456789012:user/ann is not authorized to perform: \
             ec2:DescribeVpcs because no identity-based policy allows the ec2:DescribeVpcs action",
        ),
        (
            503,
            "RequestLimitExceeded",
            "Request limit exceeded.",
            "ec2:DescribeVpcs: RequestLimitExceeded: Request limit exceeded",
        ),
        (
            400,
            "VpcLimitExceeded",
            "The maximum number of VPCs has been reached.",
            "ec2:DescribeVpcs: VpcLimitExceeded: The maximum number of VPCs has been reached",
        ),
    ];
    for (status, code, message, expected) in cases {
        let body = format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Response><Errors><Error><Code>{code}\
             </Code><Message>{message}</Message></Error></Errors>\
             <RequestID>{REQUEST_ID}</RequestID></Response>"
        );
        let canned = Canned::start([Answer(status, "text/xml;charset=UTF-8", body.leak())]);
        let aws = account(canned.endpoint(), "eu-west-1", Timeouts::default()).await;
        let error = refused(&*aws, describe()).await;
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.fault, Fault::Service { status });
        assert_eq!(error.code, code);
        let id = error.request_id.as_deref();
        assert_eq!(id, Some(REQUEST_ID));
        one_line(&error);
        // Asked once: the retries are the engine's.
        assert_eq!(canned.asked().len(), 1);
    }
}

#[tokio::test]
async fn what_the_json_services_refuse() {
    let canned = Canned::start([Answer(
        400,
        "application/x-amz-json-1.1",
        r#"{"__type":"ThrottlingException","message":"Rate exceeded"}"#,
    )]);
    let aws = account(canned.endpoint(), "eu-west-1", Timeouts::default()).await;
    let error = refused(
        &*aws,
        GetParameter {
            name: "/x".to_owned(),
        },
    )
    .await;
    assert_eq!(
        error.to_string(),
        "ssm:GetParameter: ThrottlingException: Rate exceeded"
    );
    assert_eq!(error.fault, Fault::Service { status: 400 });
}

#[tokio::test]
async fn s3_repeats_a_request_and_its_token_is_not_shown() {
    let canned = Canned::start([Answer(
        403,
        "application/xml",
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>SignatureDoesNotMatch</Code>\
         <Message>The request signature we calculated does not match the signature you provided. \
         The Canonical String for this request should have been 'GET\n/\n\nx-amz-security-token:\
         sesame'</Message><RequestId>4442587FB7D0A2F9</RequestId></Error>",
    )]);
    let aws = account(canned.endpoint(), "eu-west-1", Timeouts::default()).await;
    let error = refused(&*aws, ListBuckets {}).await;
    one_line(&error);
    assert_eq!(
        error.to_string(),
        "s3:ListBuckets: SignatureDoesNotMatch: The request signature we calculated does not \
         match the signature you provided"
    );
}

#[tokio::test]
async fn a_page_of_html() {
    let page = "<!doctype html>\n<html lang=en>\n<title>500 Internal Server Error</title>\n\
                <h1>Internal Server Error</h1>\n<p>The server is overloaded.</p>\n";
    for status in [500, 404] {
        let canned = Canned::start([
            Answer(status, "text/html; charset=utf-8", page),
            Answer(status, "text/html; charset=utf-8", page),
        ]);
        let aws = account(canned.endpoint(), "eu-west-1", Timeouts::default()).await;
        let xml = refused(&*aws, describe()).await;
        let json = refused(&*aws, GetFreeTierUsage {}).await;
        for error in [xml, json] {
            assert_eq!(error.fault, Fault::Service { status });
            assert_eq!(error.code, "");
            let said = format!(
                "{}: HTTP {status} without an AWS error in it, but a page of HTML: is the \
                 endpoint AWS, and does it know this call?",
                error.call
            );
            assert_eq!(error.to_string(), said);
        }
        assert_eq!(canned.asked().len(), 2);
    }
    // And from moto itself.
    let aws = account(server().endpoint(), "eu-west-1", Timeouts::default()).await;
    let (instance, unlimited) = ("i-0123456789abcdef0".to_owned(), false);
    let request = ModifyInstanceCreditSpecification {
        instance,
        unlimited,
    };
    let error = refused(&*aws, request).await;
    assert_eq!(error.fault, Fault::Service { status: 500 });
    one_line(&error);
}

#[tokio::test]
async fn an_answer_that_lacks_what_it_must_have() {
    let canned = Canned::start([
        Answer(
            200,
            "text/xml;charset=UTF-8",
            "<DescribeVpcsResponse xmlns=\"http://ec2.amazonaws.com/doc/2016-11-15/\"><vpcSet>\
             <item><cidrBlock>10.20.0.0/16</cidrBlock></item></vpcSet></DescribeVpcsResponse>",
        ),
        Answer(
            200,
            "text/xml;charset=UTF-8",
            "<DescribeVpcsResponse><vpcSet><item>",
        ),
    ]);
    let aws = account(canned.endpoint(), "eu-west-1", Timeouts::default()).await;
    let error = refused(&*aws, describe()).await;
    assert_eq!(
        error.to_string(),
        "ec2:DescribeVpcs: the answer lacks vpc_id"
    );
    assert_eq!(error.fault, Fault::NotUnderstood);
    let error = refused(&*aws, describe()).await;
    assert_eq!(error.fault, Fault::NotUnderstood, "{error}");
    one_line(&error);
    canned.asked();
}

#[tokio::test]
async fn nobody_listens() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let aws = account(
        &format!("http://{address}"),
        "eu-west-1",
        Timeouts::default(),
    )
    .await;
    let error = refused(&*aws, describe()).await;
    assert_eq!(error.fault, Fault::Unreachable, "{error}");
    assert!(error.message.contains("Connection refused"), "{error}");
    one_line(&error);
}

#[tokio::test]
async fn nobody_answers() {
    // The kernel takes the connection; no one ever serves it.
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
    let short = Duration::from_millis(200);
    let long = Duration::from_secs(60);
    for (read, attempt) in [(short, long), (long, short)] {
        let timeouts = Timeouts {
            connect: short,
            read,
            attempt,
        };
        let aws = account(&endpoint, "eu-west-1", timeouts).await;
        let before = Instant::now();
        let error = refused(&*aws, describe()).await;
        assert!(before.elapsed() < long, "it ended by the wrong clock");
        assert_eq!(error.fault, Fault::Timeout, "{error}");
        one_line(&error);
    }
}

/// Set in a process that [`connected`] starts.
const CHILD: &str = "WIRE_TESTS_CHILD";

/// Runs [`connect_by_the_environment`] in a process with these variables and
/// no others, and gives what it prints.
fn connected(variables: &[(&str, &str)]) -> String {
    let output = Command::new(std::env::current_exe().expect("a test knows its program"))
        .args(["--exact", "errors::the_environment_says_where_and_who"])
        .arg("--nocapture")
        .env_clear()
        .env(CHILD, "")
        .envs([
            ("AWS_EC2_METADATA_DISABLED", "true"),
            ("AWS_CONFIG_FILE", "/nonexistent/config"),
            ("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent/credentials"),
        ])
        .envs(variables.iter().copied())
        .output()
        .expect("the test's own program starts");
    let text = String::from_utf8(output.stdout).expect("it prints text");
    let line = text.lines().find_map(|line| line.split_once("connected: "));
    let (_, line) = line.unwrap_or_else(|| panic!("it prints no result: {text}"));
    line.to_owned()
}

async fn connect_by_the_environment() {
    let options = Options {
        profile: std::env::var("TEST_PROFILE").ok(),
        region: None,
    };
    let outcome = match Aws::connect(options).await {
        Err(error) => Err(error),
        Ok(aws) => {
            let cloud: &dyn Cloud = &aws;
            let identity = cloud.send(GetCallerIdentity {}).await;
            identity.map(|identity| format!("{} in {}", identity.account, cloud.region()))
        }
    };
    match outcome {
        Ok(identity) => println!("\nconnected: {identity}"),
        Err(error) => println!("\nconnected: {:?} {error}", error.fault),
    }
}

/// The environment is a process's own: so the test starts itself anew.
#[tokio::test]
async fn the_environment_says_where_and_who() {
    if std::env::var_os(CHILD).is_some() {
        return connect_by_the_environment().await;
    }
    let endpoint = ("AWS_ENDPOINT_URL", server().endpoint());
    let key = ("AWS_ACCESS_KEY_ID", "AKIATESTING");
    let secret = ("AWS_SECRET_ACCESS_KEY", "sesame");
    let region = ("AWS_REGION", "eu-west-1");
    let folder = std::env::temp_dir().join(format!("ichor-wire-profiles-{}", std::process::id()));
    fs::create_dir_all(&folder).expect("a temporary folder");
    let config = folder.join("config");
    let text = "[profile lab]\nregion = eu-central-1\naws_access_key_id = AKIATESTING\n\
                aws_secret_access_key = sesame\n[profile sso]\nregion = eu-west-1\n\
                sso_start_url = https://lab.invalid/start\nsso_region = eu-west-1\n\
                sso_account_id = 123456789012\nsso_role_name = admin\n";
    fs::write(&config, text).expect("a temporary file");
    let config = ("AWS_CONFIG_FILE", config.to_str().expect("a path in UTF-8"));
    let home = ("HOME", folder.to_str().expect("a path in UTF-8"));
    let profile = |name| ("AWS_PROFILE", name);

    assert_eq!(
        connected(&[endpoint, key, secret, region]),
        "123456789012 in eu-west-1"
    );
    let by_profile = [endpoint, config, profile("lab")];
    assert_eq!(connected(&by_profile), "123456789012 in eu-central-1");
    let by_option = [endpoint, config, ("TEST_PROFILE", "lab")];
    assert_eq!(connected(&by_option), "123456789012 in eu-central-1");
    assert_eq!(
        connected(&[endpoint, key, secret]),
        "NoRegion connect: no AWS region: set AWS_REGION (or --region), or a region in the profile"
    );
    assert_eq!(
        connected(&[endpoint, region]),
        "NoCredentials sts:GetCallerIdentity: no AWS credentials: set AWS_PROFILE (or --profile) \
         or AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or sign in with `aws sso login`"
    );
    let typo = connected(&[endpoint, config, profile("lap")]);
    assert_eq!(
        typo,
        "NoRegion connect: no AWS region: set AWS_REGION (or --region), or a region in the \
         profile (the profile is `lap`: is it in ~/.aws/config?)"
    );
    let typo = connected(&[endpoint, region, config, profile("lap")]);
    assert!(
        typo.starts_with("NoCredentials sts:GetCallerIdentity: no AWS credentials: "),
        "{typo}"
    );
    assert!(typo.contains("the profile is `lap`"), "{typo}");
    let signed_out = connected(&[endpoint, config, home, profile("sso")]);
    let expected = "NoCredentials sts:GetCallerIdentity: no AWS credentials: ";
    assert!(signed_out.starts_with(expected), "{signed_out}");
    for line in [typo, signed_out] {
        assert!(!line.contains("sesame") && line.len() < 400, "{line}");
    }
    fs::remove_dir_all(&folder).expect("the temporary folder is there");
}
