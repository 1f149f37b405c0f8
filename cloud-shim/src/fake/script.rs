//! What goes wrong, when, and how often: faults and quotas that a test asks for.

use core::time::Duration;
use std::collections::BTreeMap;

use super::{Answer, Refusal, refuse};
use crate::api::Fault;

/// Something that goes wrong with certain calls.
#[derive(Debug, Clone)]
pub struct Mishap {
    call: String,
    first: u32,
    times: u32,
    seen: u32,
    what: What,
}

#[derive(Debug, Clone)]
enum What {
    Refuse(Refusal),
    LoseAnswer(Fault),
    LoseCall(Fault),
}

impl Mishap {
    /// On the first call of this name: `ec2:CreateVpc`, all of a service as
    /// `iam:*`, or `*`. The call is refused with `InternalError` unless more is said.
    pub fn on(call: &str) -> Self {
        Self {
            call: call.to_owned(),
            first: 1,
            times: 1,
            seen: 0,
            what: What::Refuse(Refusal::new(
                500,
                "InternalError",
                "An internal error has occurred",
            )),
        }
    }

    /// From the n-th such call on, counted from 1 and from when it was scripted.
    #[must_use]
    pub fn nth(mut self, n: u32) -> Self {
        self.first = n.max(1);
        self
    }

    /// So many times in a row.
    #[must_use]
    pub fn times(mut self, times: u32) -> Self {
        self.times = times;
        self
    }

    /// Every time from then on.
    #[must_use]
    pub fn always(self) -> Self {
        self.times(u32::MAX)
    }

    /// The service refuses, and nothing happens.
    #[must_use]
    pub fn refuse(mut self, status: u16, code: &str, message: &str) -> Self {
        self.what = What::Refuse(Refusal::new(status, code, message));
        self
    }

    /// The call takes effect, but its answer is lost: the caller sees this
    /// fault and cannot know.
    #[must_use]
    pub fn lose_answer(mut self, fault: Fault) -> Self {
        self.what = What::LoseAnswer(fault);
        self
    }

    /// The call does not reach the service: nothing happens.
    #[must_use]
    pub fn lose_call(mut self, fault: Fault) -> Self {
        self.what = What::LoseCall(fault);
        self
    }

    fn concerns(&self, name: &str) -> bool {
        self.call == "*"
            || self.call == name
            || self
                .call
                .strip_suffix('*')
                .is_some_and(|start| name.starts_with(start))
    }
}

/// A limit of the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs, reason = "each is what it counts")]
pub enum Quota {
    Vpcs,
    SubnetsPerVpc,
    InternetGateways,
    EgressOnlyGateways,
    NatGatewaysPerZone,
    Addresses,
    RouteTablesPerVpc,
    RoutesPerTable,
    GroupsPerVpc,
    /// In each direction; a rule for a prefix list counts as one here, while
    /// EC2 counts the list's size.
    RulesPerGroup,
    GroupsPerInterface,
    GatewayEndpoints,
    ConnectEndpoints,
    Interfaces,
    /// vCPUs of standard on-demand instances that run.
    Vcpus,
    Templates,
    Buckets,
    Roles,
    ScheduleGroups,
    AutoScalingGroups,
}

impl Quota {
    /// AWS's own default in a region of an account.
    const fn default_limit(self) -> usize {
        match self {
            Self::Vpcs
            | Self::InternetGateways
            | Self::EgressOnlyGateways
            | Self::NatGatewaysPerZone
            | Self::Addresses
            | Self::GroupsPerInterface
            | Self::ConnectEndpoints => 5,
            Self::GatewayEndpoints => 20,
            Self::Vcpus => 32,
            Self::RulesPerGroup => 60,
            Self::SubnetsPerVpc | Self::RouteTablesPerVpc => 200,
            Self::AutoScalingGroups | Self::RoutesPerTable | Self::ScheduleGroups => 500,
            Self::Roles => 1000,
            Self::GroupsPerVpc => 2500,
            Self::Interfaces | Self::Templates => 5000,
            Self::Buckets => 10_000,
        }
    }

    /// The code and the words of a service that has no more to give.
    const fn refusal(self) -> (&'static str, &'static str) {
        match self {
            Self::Vpcs => (
                "VpcLimitExceeded",
                "The maximum number of VPCs has been reached.",
            ),
            Self::SubnetsPerVpc => (
                "SubnetLimitExceeded",
                "The maximum number of subnets has been reached.",
            ),
            Self::InternetGateways => (
                "InternetGatewayLimitExceeded",
                "The maximum number of internet gateways has been reached.",
            ),
            // The reference has no code for this one, nor for the endpoints'.
            Self::EgressOnlyGateways => (
                "EgressOnlyInternetGatewayLimitExceeded",
                "The maximum number of egress-only internet gateways has been reached.",
            ),
            Self::NatGatewaysPerZone => (
                "NatGatewayLimitExceeded",
                "The maximum number of NAT gateways has been reached.",
            ),
            Self::Addresses => (
                "AddressLimitExceeded",
                "The maximum number of addresses has been reached.",
            ),
            Self::RouteTablesPerVpc => (
                "RouteTableLimitExceeded",
                "The maximum number of route tables has been reached.",
            ),
            Self::RoutesPerTable => (
                "RouteLimitExceeded",
                "The maximum number of routes has been reached.",
            ),
            Self::GroupsPerVpc => (
                "SecurityGroupLimitExceeded",
                "The maximum number of security groups has been reached.",
            ),
            Self::RulesPerGroup => (
                "RulesPerSecurityGroupLimitExceeded",
                "The maximum number of rules per security group has been reached.",
            ),
            Self::GroupsPerInterface => (
                "SecurityGroupsPerInterfaceLimitExceeded",
                "The maximum number of security groups per interface has been reached.",
            ),
            Self::GatewayEndpoints => (
                "VpcEndpointLimitExceeded",
                "The maximum number of VPC endpoints has been reached.",
            ),
            Self::ConnectEndpoints => (
                "ResourceLimitExceeded",
                "The maximum number of EC2 Instance Connect Endpoints has been reached.",
            ),
            Self::Interfaces => (
                "NetworkInterfaceLimitExceeded",
                "The maximum number of network interfaces has been reached.",
            ),
            Self::Vcpus => (
                "VcpuLimitExceeded",
                "You have requested more vCPU capacity than your current vCPU limit allows for the \
                 instance bucket that the specified instance type belongs to.",
            ),
            Self::Templates => (
                "MaxTemplateLimitExceeded",
                "The maximum number of launch templates has been reached.",
            ),
            Self::Buckets => (
                "TooManyBuckets",
                "You have attempted to create more buckets than allowed",
            ),
            Self::Roles => ("LimitExceeded", "Cannot exceed quota for RolesPerAccount."),
            Self::ScheduleGroups => (
                "ServiceQuotaExceededException",
                "The maximum number of schedule groups has been reached.",
            ),
            Self::AutoScalingGroups => (
                "LimitExceeded",
                "The maximum number of Auto Scaling groups has been reached.",
            ),
        }
    }
}

/// All that a test has asked for.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) mishaps: Vec<Mishap>,
    /// Share of calls that are throttled.
    pub(super) throttled: f64,
    pub(super) limits: BTreeMap<Quota, usize>,
    /// From when on the credentials are no longer good.
    pub(super) expiry: Option<Duration>,
    /// How many more calls this process makes.
    pub(super) calls_left: Option<u64>,
}

/// What is to become of a call.
pub(super) enum Verdict {
    Pass,
    Refuse(Refusal),
    /// It takes effect, and the caller sees this.
    LoseAnswer(Fault),
    /// It does not arrive.
    LoseCall(Fault),
}

impl Script {
    /// Counts the call and says what becomes of it. `dice` is in 0..1.
    pub(super) fn verdict(&mut self, call: &'static str, now: Duration, dice: f64) -> Verdict {
        // Every mishap counts every call that concerns it, whichever strikes.
        let mut struck = None;
        for mishap in self.mishaps.iter_mut().filter(|m| m.concerns(call)) {
            mishap.seen += 1;
            let past = mishap.seen.checked_sub(mishap.first);
            if struck.is_none() && past.is_some_and(|past| past < mishap.times) {
                struck = Some(mishap.what.clone());
            }
        }
        if self.expiry.is_some_and(|expiry| expiry <= now) {
            return Verdict::Refuse(expired(call));
        }
        match struck {
            Some(What::Refuse(refusal)) => Verdict::Refuse(refusal),
            Some(What::LoseAnswer(fault)) => Verdict::LoseAnswer(fault),
            Some(What::LoseCall(fault)) => Verdict::LoseCall(fault),
            None if dice < self.throttled => Verdict::Refuse(throttling(call)),
            None => Verdict::Pass,
        }
    }

    /// Refuses what would be one too many: there are `count`, and `more` are wanted.
    pub(super) fn within(&self, quota: Quota, count: usize, more: usize) -> Answer<()> {
        let limit = self
            .limits
            .get(&quota)
            .copied()
            .unwrap_or(quota.default_limit());
        if count + more <= limit {
            return Ok(());
        }
        let (code, words) = quota.refusal();
        refuse(code, words)
    }
}

fn service(call: &str) -> &str {
    call.split_once(':').map_or(call, |(service, _)| service)
}

/// Each service has its own word for it.
fn throttling(call: &str) -> Refusal {
    match service(call) {
        "ec2" => Refusal::new(503, "RequestLimitExceeded", "Request limit exceeded."),
        "s3" => Refusal::new(503, "SlowDown", "Please reduce your request rate."),
        "ebs" => Refusal::new(400, "RequestThrottledException", "Rate exceeded"),
        "scheduler" => Refusal::new(429, "ThrottlingException", "Rate exceeded"),
        "ssm" | "ce" | "freetier" => Refusal::new(400, "ThrottlingException", "Rate exceeded"),
        _ => Refusal::new(400, "Throttling", "Rate exceeded"),
    }
}

fn expired(call: &str) -> Refusal {
    match service(call) {
        "ec2" => Refusal::new(400, "RequestExpired", "Request has expired."),
        "s3" => Refusal::new(400, "ExpiredToken", "The provided token has expired."),
        "sts" | "iam" | "autoscaling" => Refusal::new(
            403,
            "ExpiredToken",
            "The security token included in the request is expired",
        ),
        _ => Refusal::new(
            403,
            "ExpiredTokenException",
            "The security token included in the request is expired",
        ),
    }
}
