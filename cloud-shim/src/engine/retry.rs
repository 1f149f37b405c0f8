//! Which errors pass, and how long they are given: the one table of codes.
//!
//! A call is tried again only if that can help and cannot harm. What cannot be
//! repeated blindly (it makes something, without a client token, and its
//! answer was lost) fails at once: [`apply`](super::apply) looks whether the
//! thing is there before it asks again.

use core::time::Duration;

use crate::api::{ApiError, Fault, Request};
use crate::error::Error;

/// How long something just made may be unknown to other parts of AWS:
/// instance profiles take up to two minutes.
pub(super) const UNSEEN_FOR: Duration = Duration::from_secs(120);

/// What sending a call a second time does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing: it reads.
    Reads,
    /// The same once more: it sets something, or carries a client token.
    Sets,
    /// Nothing: it takes something away.
    Removes,
    /// One more of the kind.
    Makes,
}

impl Effect {
    /// That of a request, by the verb that AWS begins its name with. What is
    /// not known to be harmless counts as making.
    pub(super) fn of<R: Request>() -> Self {
        const READS: &[&str] = &["Describe", "Get", "List", "Head"];
        const REMOVES: &[&str] = &[
            "Delete",
            "Deregister",
            "Detach",
            "Disassociate",
            "Release",
            "Remove",
            "Revoke",
            "Terminate",
            "Unassign",
        ];
        const SETS: &[&str] = &[
            "Add",
            "Assign",
            "Associate",
            "Attach",
            "Authorize",
            "Complete",
            "CreateRoute",
            "CreateTags",
            "Modify",
            "Put",
            "Replace",
            "Set",
            "Update",
        ];
        // Each of these adds one more every time.
        const ADDS: &[&str] = &["AssociateVpcCidrBlock", "AssignIpv6Addresses"];
        let action = R::NAME
            .split_once(':')
            .map_or(R::NAME, |(_, action)| action);
        let begins = |verbs: &[&str]| verbs.iter().any(|verb| action.starts_with(verb));
        if begins(READS) {
            Self::Reads
        } else if begins(REMOVES) {
            Self::Removes
        } else if R::TAKES_TOKEN || (begins(SETS) && !begins(ADDS)) {
            Self::Sets
        } else {
            Self::Makes
        }
    }
}

/// Errors that pass, by what makes them pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Passing {
    /// Too many calls: pausing helps.
    Throttled,
    /// The resource is changing its state.
    Changing,
    /// The service's own fault.
    Broken,
    /// The endpoint does not speak this call, or is broken: two more tries.
    Unspoken,
    /// Something just made is not known everywhere yet.
    Unseen,
    /// What is in the way of a delete is going itself.
    InTheWay,
    /// The service was not reached.
    Unreached,
}

const CODES: &[(Passing, &[&str])] = &[
    (
        Passing::Throttled,
        &[
            "BandwidthLimitExceeded",
            "EC2ThrottledException",
            "PriorRequestNotComplete",
            "RequestLimitExceeded",
            "RequestThrottled",
            "RequestThrottledException",
            "SlowDown",
            "Throttled",
            "ThrottledException",
            "Throttling",
            "ThrottlingException",
            "TooManyRequestsException",
        ],
    ),
    (
        Passing::Changing,
        &[
            "ConcurrentModification",
            "ConcurrentModificationException",
            "ConcurrentTagAccess",
            "EntityTemporarilyUnmodifiable",
            "IncorrectInstanceState",
            "IncorrectModificationState",
            "IncorrectState",
            "InvalidSnapshot.State",
            "OperationAborted",
            "ResourceContention",
            "ScalingActivityInProgress",
        ],
    ),
    (
        Passing::Broken,
        &[
            "InternalError",
            "InternalFailure",
            "InternalServerError",
            "InternalServerException",
            "ServerInternal",
            "ServiceFailure",
            "ServiceUnavailable",
            "Unavailable",
        ],
    ),
    (
        Passing::InTheWay,
        &[
            "BucketNotEmpty",
            "ConflictException",
            "DeleteConflict",
            "DependencyViolation",
            "InvalidGroup.InUse",
            "InvalidIPAddress.InUse",
            "InvalidNetworkInterface.InUse",
            "InvalidSnapshot.InUse",
            "ResourceInUse",
            "ResourceInUseException",
            "ResourceInUseFault",
            "VolumeInUse",
        ],
    ),
];

impl Passing {
    /// Of which kind an error of a call with this effect is; none if it is
    /// final.
    pub(super) fn of(error: &ApiError, effect: Effect) -> Option<Self> {
        let status = match error.fault {
            Fault::Service { status } => status,
            Fault::Timeout | Fault::Unreachable if effect != Effect::Makes => {
                return Some(Self::Unreached);
            }
            _ => return None,
        };
        // AWS sends these with a 5xx: no pause makes more room.
        if error.code.starts_with("Insufficient") {
            return None;
        }
        let listed = CODES
            .iter()
            .find(|(_, codes)| codes.contains(&error.code.as_str()));
        match listed {
            Some((Self::InTheWay, _)) => (effect == Effect::Removes).then_some(Self::InTheWay),
            // Such an answer may come although the thing was made.
            Some((Self::Broken, _)) if effect == Effect::Makes && status != 503 => None,
            Some((passing, _)) => Some(*passing),
            None if effect == Effect::Removes && error.message.contains("currently in use") => {
                Some(Self::InTheWay)
            }
            None if is_unseen(error, effect) => Some(Self::Unseen),
            None if status < 500 => None,
            None if status == 503 => Some(Self::Throttled),
            None if effect == Effect::Makes => None,
            None if status == 501 || error.code.is_empty() => Some(Self::Unspoken),
            None => Some(Self::Broken),
        }
    }

    /// How long it is given; [`Unseen`](Self::Unseen) counts from the last
    /// time that something was made.
    pub(super) const fn patience(self) -> Duration {
        Duration::from_secs(match self {
            Self::Throttled | Self::Changing => 120,
            Self::Broken => 60,
            Self::Unspoken => 10,
            Self::Unseen => UNSEEN_FOR.as_secs(),
            // A network interface of a deleted endpoint or gateway needs a
            // minute or two to vanish.
            Self::InTheWay => 180,
            Self::Unreached => 30,
        })
    }

    /// How often a call is tried again at most.
    pub(super) const fn tries(self) -> u32 {
        match self {
            Self::Unspoken => 2,
            _ => 100,
        }
    }
}

/// Whether the error is about something that may just not be known yet. A
/// delete that finds nothing, and a look by name, are answered by that.
fn is_unseen(error: &ApiError, effect: Effect) -> bool {
    let of_ec2 = error.code.starts_with("Invalid");
    if error.is_not_found() {
        return match effect {
            Effect::Reads => of_ec2,
            Effect::Sets | Effect::Makes => true,
            Effect::Removes => false,
        };
    }
    // How EC2, Auto Scaling, IAM and Scheduler say that they do not know a
    // role, a profile or a template yet.
    let speaks_of = |words: &[&str]| {
        let message = error.message.to_lowercase();
        words.iter().any(|word| message.contains(word))
    };
    match error.code.as_str() {
        "InvalidParameterValue" | "ValidationError" | "ValidationException" => {
            effect != Effect::Removes
                && speaks_of(&[
                    "iaminstanceprofile",
                    "iam instance profile",
                    "execution role",
                    "launch template",
                ])
        }
        "MalformedPolicyDocument" => speaks_of(&["invalid principal"]),
        _ => false,
    }
}

/// Whether the call may have done its work although it failed.
pub(super) fn is_unsure(error: &ApiError) -> bool {
    match error.fault {
        Fault::Timeout | Fault::Unreachable => true,
        Fault::Service { status } => {
            status >= 500 && status != 503 && !error.code.starts_with("Insufficient")
        }
        _ => false,
    }
}

/// Whether the service says that it is so already, or that the name, block or
/// address is taken: perhaps by what an earlier try made.
pub(super) fn is_already(error: &ApiError) -> bool {
    let code = error.code.as_str();
    (code.contains("Already") && code != "BucketAlreadyExists")
        || code.ends_with(".Duplicate")
        // A profile has room for one role.
        || (code == "LimitExceeded" && error.call == "iam:AddRoleToInstanceProfile")
        || matches!(
            code,
            "ConflictException"
                | "InvalidIPAddress.InUse"
                | "InvalidSubnet.Conflict"
                | "PrivateIpAddressLimitExceeded"
        )
}

/// Whether another look and another plan may do: all of it went wrong only
/// since things were not as the last look showed them.
pub(super) fn is_outdated(error: &Error) -> bool {
    match error {
        Error::Api(error) => is_unsure(error) || is_already(error) || error.is_not_found(),
        Error::Several(errors) => errors.iter().all(is_outdated),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::*;

    #[test]
    fn what_is_done_twice() {
        assert_eq!(Effect::of::<DescribeVpcs>(), Effect::Reads);
        assert_eq!(Effect::of::<HeadObject>(), Effect::Reads);
        assert_eq!(Effect::of::<CreateVpc>(), Effect::Makes);
        assert_eq!(Effect::of::<CreateSubnet>(), Effect::Makes);
        assert_eq!(Effect::of::<AllocateAddress>(), Effect::Makes);
        assert_eq!(Effect::of::<RegisterImage>(), Effect::Makes);
        assert_eq!(Effect::of::<AssociateVpcCidrBlock>(), Effect::Makes);
        assert_eq!(Effect::of::<AssignIpv6Addresses>(), Effect::Makes);
        assert_eq!(Effect::of::<CreateNatGateway>(), Effect::Sets);
        assert_eq!(Effect::of::<RunInstances>(), Effect::Sets);
        assert_eq!(Effect::of::<CreateLaunchTemplateVersion>(), Effect::Sets);
        assert_eq!(Effect::of::<CreateRoute>(), Effect::Sets);
        assert_eq!(Effect::of::<CreateRouteTable>(), Effect::Sets);
        assert_eq!(Effect::of::<PutObject>(), Effect::Sets);
        assert_eq!(Effect::of::<CompleteSnapshot>(), Effect::Sets);
        assert_eq!(Effect::of::<RevokeSecurityGroupEgress>(), Effect::Removes);
        assert_eq!(Effect::of::<TerminateInstances>(), Effect::Removes);
    }

    #[test]
    fn what_passes() {
        use Effect::{Makes, Reads, Removes, Sets};
        let table: &[(u16, &str, &str, Effect, Option<Passing>)] = &[
            (
                503,
                "RequestLimitExceeded",
                "",
                Makes,
                Some(Passing::Throttled),
            ),
            (400, "Throttling", "", Sets, Some(Passing::Throttled)),
            (503, "SlowDown", "", Sets, Some(Passing::Throttled)),
            (500, "InternalError", "", Sets, Some(Passing::Broken)),
            (500, "InternalError", "", Makes, None),
            (503, "Unavailable", "", Makes, Some(Passing::Broken)),
            (500, "", "<html>", Reads, Some(Passing::Unspoken)),
            (501, "NotImplemented", "", Sets, Some(Passing::Unspoken)),
            (500, "InsufficientInstanceCapacity", "", Sets, None),
            (
                400,
                "DependencyViolation",
                "",
                Removes,
                Some(Passing::InTheWay),
            ),
            (400, "DependencyViolation", "", Sets, None),
            (409, "DeleteConflict", "", Removes, Some(Passing::InTheWay)),
            (400, "IncorrectState", "", Sets, Some(Passing::Changing)),
            (
                400,
                "InvalidVpcID.NotFound",
                "",
                Makes,
                Some(Passing::Unseen),
            ),
            (
                400,
                "InvalidVpcID.NotFound",
                "",
                Reads,
                Some(Passing::Unseen),
            ),
            (400, "InvalidVpcID.NotFound", "", Removes, None),
            (404, "NoSuchEntity", "", Reads, None),
            (404, "NoSuchEntity", "", Sets, Some(Passing::Unseen)),
            (
                400,
                "InvalidParameterValue",
                "Value (x) for parameter iamInstanceProfile.name is invalid",
                Makes,
                Some(Passing::Unseen),
            ),
            (400, "InvalidParameterValue", "bad block", Makes, None),
            (403, "UnauthorizedOperation", "", Reads, None),
            (400, "VpcLimitExceeded", "", Makes, None),
            (400, "ExpiredToken", "", Reads, None),
        ];
        for (status, code, message, effect, expected) in table {
            let error = ApiError::service("ec2:X", *status, code, *message);
            assert_eq!(
                Passing::of(&error, *effect),
                *expected,
                "{error} {effect:?}"
            );
        }
        let lost = ApiError::local("ec2:X", Fault::Timeout, "no answer");
        assert_eq!(Passing::of(&lost, Makes), None);
        assert_eq!(Passing::of(&lost, Sets), Some(Passing::Unreached));
        assert!(is_unsure(&lost));
        let html = ApiError::local("ec2:X", Fault::NotUnderstood, "HTML");
        assert_eq!(Passing::of(&html, Reads), None);
    }
}
