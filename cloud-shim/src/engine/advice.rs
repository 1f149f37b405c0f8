//! What a person can do about an error of AWS.

use crate::api::{ApiError, Fault};

/// Quotas by the error code that speaks of them, as Service Quotas names them.
const QUOTAS: &[(&str, &str)] = &[
    ("AddressLimitExceeded", "EC2-VPC Elastic IPs"),
    ("DhcpOptionsLimitExceeded", "DHCP option sets per Region"),
    ("InstanceLimitExceeded", "Running On-Demand instances"),
    (
        "InternetGatewayLimitExceeded",
        "Internet gateways per Region",
    ),
    (
        "NatGatewayLimitExceeded",
        "NAT gateways per Availability Zone",
    ),
    (
        "NetworkInterfaceLimitExceeded",
        "Network interfaces per Region",
    ),
    ("RouteLimitExceeded", "Routes per route table"),
    ("RouteTableLimitExceeded", "Route tables per VPC"),
    (
        "RulesPerSecurityGroupLimitExceeded",
        "Inbound or outbound rules per security group",
    ),
    (
        "SecurityGroupLimitExceeded",
        "VPC security groups per Region",
    ),
    ("SubnetLimitExceeded", "Subnets per VPC"),
    ("TooManyBuckets", "General purpose buckets"),
    (
        "VcpuLimitExceeded",
        "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
    ),
    (
        "VpcEndpointLimitExceeded",
        "Gateway VPC endpoints per Region",
    ),
    ("VpcLimitExceeded", "VPCs per Region"),
];

/// Calls whose IAM action has another name.
const ACTIONS: &[(&str, &str)] = &[
    (
        "ec2:ModifyNetworkInterfaceGroups",
        "ec2:ModifyNetworkInterfaceAttribute",
    ),
    (
        "ec2:ModifyNetworkInterfaceSourceDestCheck",
        "ec2:ModifyNetworkInterfaceAttribute",
    ),
    ("s3:DeleteObjects", "s3:DeleteObject"),
    ("s3:GetPublicAccessBlock", "s3:GetBucketPublicAccessBlock"),
    ("s3:HeadObject", "s3:GetObject"),
    ("s3:ListBuckets", "s3:ListAllMyBuckets"),
    ("s3:ListObjects", "s3:ListBucket"),
    ("s3:PutPublicAccessBlock", "s3:PutBucketPublicAccessBlock"),
    (
        "scheduler:GetScheduleGroupTags",
        "scheduler:ListTagsForResource",
    ),
];

/// What to do about an error, where one can tell.
pub fn advice(error: &ApiError) -> Option<String> {
    let by_fault = match error.fault {
        Fault::NoCredentials => {
            "no credentials: set AWS_PROFILE, or sign in with `aws sso login` or `aws configure`"
        }
        Fault::NoRegion => "no region: set `region` in cloud.toml, or AWS_REGION",
        Fault::Unreachable => {
            "AWS was not reached: check the network, the proxy and AWS_ENDPOINT_URL"
        }
        Fault::Timeout => "no answer in time: run the command again, it goes on from here",
        // The message says what is wrong with what was given.
        Fault::Invalid => return None,
        Fault::NotUnderstood => "is AWS_ENDPOINT_URL an endpoint that knows this call?",
        Fault::Service { .. } => return by_code(error),
    };
    Some(by_fault.to_owned())
}

fn by_code(error: &ApiError) -> Option<String> {
    let code = error.code.as_str();
    if let Some((_, quota)) = QUOTAS.iter().find(|(listed, _)| *listed == code) {
        return Some(raise(quota));
    }
    let said = match code {
        "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" => {
            "the credentials have expired: sign in again"
        }
        "AuthFailure"
        | "InvalidAccessKeyId"
        | "InvalidClientTokenId"
        | "InvalidToken"
        | "MissingAuthenticationToken"
        | "UnrecognizedClientException" => {
            "AWS does not know these credentials: check AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SESSION_TOKEN"
        }
        "RequestExpired" | "RequestTimeTooSkewed" => {
            "this machine's clock is wrong: set it (`timedatectl set-ntp true`)"
        }
        "InvalidSignatureException" | "SignatureDoesNotMatch" => {
            "the secret key is wrong, or this machine's clock is: check both"
        }
        "AccessDenied" | "AccessDeniedException" | "UnauthorizedOperation" => {
            let action = ACTIONS
                .iter()
                .find_map(|(call, action)| (*call == error.call).then_some(*action))
                .unwrap_or(error.call);
            return Some(format!(
                "these credentials may not: allow {action} in IAM, or use others"
            ));
        }
        "OptInRequired" | "PendingVerification" | "Blocked" => {
            "AWS has not enabled this account for the service: look at the account's page or mail"
        }
        "InsufficientInstanceCapacity" | "InsufficientCapacity" | "Unsupported" => {
            "this zone has no room for the instance type: set another `zone` in cloud.toml, or try later"
        }
        "InvalidSubnet.Conflict" | "InvalidVpc.Range" => {
            "the block is taken: set another under [network] in cloud.toml"
        }
        "BucketAlreadyExists" => {
            "the bucket's name belongs to another account: set another `lab` in cloud.toml"
        }
        "DependencyViolation" | "DeleteConflict" | "ResourceInUse" => {
            "something that is not part of this lab still uses it: remove that, then run again"
        }
        "RequestLimitExceeded" | "SlowDown" | "Throttling" | "ThrottlingException" => {
            "AWS has throttled this account for minutes: wait, then run again"
        }
        "ServiceQuotaExceededException" | "LimitExceeded" | "LimitExceededException" => {
            return Some(raise("that the message names"));
        }
        code if code.ends_with("LimitExceeded") => {
            return Some(raise(code.trim_end_matches("LimitExceeded")));
        }
        _ => return None,
    };
    Some(said.to_owned())
}

fn raise(quota: &str) -> String {
    format!("a quota is used up: {quota}: remove what is not needed, or raise it in Service Quotas")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_what_to_do() {
        let service = |call, code| advice(&ApiError::service(call, 400, code, "x"));
        for (call, code, word) in [
            ("ec2:CreateVpc", "VpcLimitExceeded", "VPCs per Region"),
            ("ec2:CreateFlowLogs", "FlowLogsLimitExceeded", "FlowLogs"),
            ("ec2:RunInstances", "VcpuLimitExceeded", "Service Quotas"),
            (
                "ec2:CreateVpc",
                "UnauthorizedOperation",
                "allow ec2:CreateVpc",
            ),
            (
                "s3:ListBuckets",
                "AccessDenied",
                "allow s3:ListAllMyBuckets",
            ),
            ("sts:GetCallerIdentity", "ExpiredToken", "sign in again"),
            ("sts:GetCallerIdentity", "SignatureDoesNotMatch", "clock"),
            ("ec2:RunInstances", "InsufficientInstanceCapacity", "`zone`"),
            ("ec2:DescribeVpcs", "RequestLimitExceeded", "throttled"),
        ] {
            let said = service(call, code).unwrap_or_default();
            assert!(said.contains(word), "{code}: {said}");
        }
        assert_eq!(service("ec2:CreateVpc", "SomethingNew"), None);
        for fault in [
            Fault::NoCredentials,
            Fault::NoRegion,
            Fault::Unreachable,
            Fault::Timeout,
        ] {
            assert!(advice(&ApiError::local("ec2:DescribeVpcs", fault, "x")).is_some());
        }
    }
}
