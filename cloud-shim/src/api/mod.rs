//! The AWS API as far as the shim uses it: one typed request per call, one
//! door ([`Cloud`]) through which every call goes.
//!
//! Behind the door stands the SDK ([`crate::sdk`]) or the strict in-process
//! fake ([`crate::fake`]). Since every call passes the same method, retrying,
//! counting, logging and stopping after the n-th call wrap that one method.

mod autoscaling;
mod billing;
mod ebs;
mod ec2;
mod error;
mod iam;
mod s3;
mod scheduler;

use core::fmt;
use core::future::Future;
use core::pin::Pin;
use std::collections::BTreeMap;

pub use autoscaling::*;
pub use billing::*;
pub use ebs::*;
pub use ec2::*;
pub use error::{ApiError, Fault};
pub use iam::*;
pub use s3::*;
pub use scheduler::*;

/// An identifier that AWS gave out: `vpc-0ab…`, `sgr-0cd…`, or an ARN.
pub type Id = String;

/// Tags of a resource.
pub type Tags = BTreeMap<String, String>;

/// A filter of a Describe call: a resource passes if the named field has one
/// of the values. Several filters must all pass.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// As the call documents it: `vpc-id`, `tag:NAME`, `owner-id`.
    pub name: String,
    /// Any of these; `*` stands for any text.
    pub values: Vec<String>,
}

impl Filter {
    /// Passes what has `value` in the field `name`.
    pub fn new(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            values: vec![value.into()],
        }
    }

    /// Passes what carries the tag `key` = `value`.
    pub fn tag(key: &str, value: impl Into<String>) -> Self {
        Self::new(format!("tag:{key}"), value)
    }
}

/// A future that [`Cloud::call`] gives back.
pub type Calling<'a> = Pin<Box<dyn Future<Output = Result<Reply, ApiError>> + Send + 'a>>;

/// An AWS account in one region.
pub trait Cloud: fmt::Debug + Send + Sync {
    /// Makes one call, once: whoever wants it retried wraps this. Describe and
    /// List calls walk all pages and give the whole.
    ///
    /// # Errors
    ///
    /// What the service answered, or why it could not be asked.
    fn call(&self, call: Call) -> Calling<'_>;

    /// The region that calls go to, such as `eu-west-1`.
    fn region(&self) -> &str;
}

/// A request: what a call takes, and what it answers.
pub trait Request: Sized + Send {
    /// What the call answers; `()` where only success matters.
    type Answer: Send;
    /// Service and action as IAM spells them: `ec2:CreateVpc`.
    const NAME: &'static str;
    /// Whether it carries a client token, so that sent twice it is done once.
    const TAKES_TOKEN: bool;

    /// The request for [`Cloud::call`].
    fn into_call(self) -> Call;
    /// The answer out of a [`Reply`]; `None` if it is to another call.
    fn answer(reply: Reply) -> Option<Self::Answer>;
}

impl dyn Cloud + '_ {
    /// Makes one call and gives its own answer.
    ///
    /// # Errors
    ///
    /// As [`Cloud::call`].
    pub async fn send<R: Request>(&self, request: R) -> Result<R::Answer, ApiError> {
        let reply = self.call(request.into_call()).await?;
        R::answer(reply)
            .ok_or_else(|| ApiError::not_understood(R::NAME, "an answer to another call"))
    }
}

/// Whether a request's field is its client token.
const fn is_token(field: &str) -> bool {
    matches!(field.as_bytes(), b"token")
}

/// Declares the calls of the shim: a struct for each request, and the enums of
/// all calls and all replies.
macro_rules! calls {
    ($(
        $(#[$doc:meta])*
        $service:literal $name:ident {
            $( $(#[$field_doc:meta])* $field:ident: $type:ty ),* $(,)?
        } -> $answer:ty;
    )*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, PartialEq)]
            #[allow(missing_docs, reason = "fields are the parameters of the AWS call")]
            pub struct $name {
                $( $(#[$field_doc])* pub $field: $type, )*
            }

            impl Request for $name {
                type Answer = $answer;
                const NAME: &'static str = concat!($service, ":", stringify!($name));
                const TAKES_TOKEN: bool = false $( || is_token(stringify!($field)) )*;

                fn into_call(self) -> Call {
                    Call::$name(self)
                }

                fn answer(reply: Reply) -> Option<$answer> {
                    match reply {
                        Reply::$name(answer) => Some(answer),
                        _ => None,
                    }
                }
            }
        )*

        /// A call to AWS.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs, reason = "each is documented at its own struct")]
        pub enum Call {
            $( $name($name), )*
        }

        /// The answer to the call of the same name.
        #[derive(Debug, Clone, PartialEq)]
        #[allow(missing_docs, reason = "each is documented at its request's struct")]
        pub enum Reply {
            $( $name($answer), )*
        }

        impl Call {
            /// Service and action as IAM spells them: `ec2:CreateVpc`.
            pub const fn name(&self) -> &'static str {
                match self {
                    $( Self::$name(_) => <$name as Request>::NAME, )*
                }
            }
        }
    };
}

calls! {
    // ---- Who am I
    /// Whose credentials these are.
    "sts" GetCallerIdentity {} -> Identity;
    /// A public parameter, such as the AMI that an alias stands for.
    "ssm" GetParameter {
        /// Such as `/aws/service/ami-amazon-linux-latest/…`.
        name: String,
    } -> String;

    // ---- VPC
    /// VPCs.
    "ec2" DescribeVpcs { filters: Vec<Filter> } -> Vec<Vpc>;
    /// Makes a VPC; `ipv6`: with an Amazon-provided /56.
    "ec2" CreateVpc { cidr: String, ipv6: bool, tags: Tags } -> Vpc;
    /// Reads one of the two DNS attributes, which DescribeVpcs does not show.
    "ec2" DescribeVpcAttribute { vpc: Id, attribute: VpcAttribute } -> bool;
    /// Sets one of the two DNS attributes.
    "ec2" ModifyVpcAttribute { vpc: Id, attribute: VpcAttribute, value: bool } -> ();
    /// Adds an Amazon-provided IPv6 /56; it is there a little later.
    "ec2" AssociateVpcCidrBlock { vpc: Id } -> ();
    /// Takes an IPv6 block away.
    "ec2" DisassociateVpcCidrBlock { association: Id } -> ();
    /// Deletes a VPC that nothing is in any more.
    "ec2" DeleteVpc { vpc: Id } -> ();

    /// DHCP option sets.
    "ec2" DescribeDhcpOptions { filters: Vec<Filter> } -> Vec<DhcpOptions>;
    /// Makes an option set.
    "ec2" CreateDhcpOptions {
        /// `domain-name-servers`: addresses, or `AmazonProvidedDNS`, in order.
        servers: Vec<String>,
        /// `domain-name`.
        domain: Option<String>,
        tags: Tags,
    } -> DhcpOptions;
    /// Gives a VPC an option set.
    "ec2" AssociateDhcpOptions {
        /// An option set, or `default` for Amazon's own.
        options: Id,
        vpc: Id,
    } -> ();
    /// Deletes an option set that no VPC uses.
    "ec2" DeleteDhcpOptions { options: Id } -> ();

    /// Subnets.
    "ec2" DescribeSubnets { filters: Vec<Filter> } -> Vec<Subnet>;
    /// Makes a subnet.
    "ec2" CreateSubnet {
        vpc: Id,
        cidr: String,
        /// A /64 out of the VPC's block.
        ipv6_cidr: Option<String>,
        /// Such as `eu-west-1a`.
        zone: String,
        tags: Tags,
    } -> Subnet;
    /// Sets an attribute of a subnet.
    "ec2" ModifySubnetAttribute { subnet: Id, attribute: SubnetAttribute, value: bool } -> ();
    /// Gives a subnet a /64.
    "ec2" AssociateSubnetCidrBlock { subnet: Id, ipv6_cidr: String } -> ();
    /// Takes a subnet's /64 away.
    "ec2" DisassociateSubnetCidrBlock { association: Id } -> ();
    /// Deletes a subnet that nothing is in any more.
    "ec2" DeleteSubnet { subnet: Id } -> ();

    // ---- Gateways
    /// Internet gateways.
    "ec2" DescribeInternetGateways { filters: Vec<Filter> } -> Vec<InternetGateway>;
    /// Makes an internet gateway, attached to nothing.
    "ec2" CreateInternetGateway { tags: Tags } -> InternetGateway;
    /// Attaches it; a VPC has one at most.
    "ec2" AttachInternetGateway { gateway: Id, vpc: Id } -> ();
    /// Detaches it; refused while mapped public addresses are in use.
    "ec2" DetachInternetGateway { gateway: Id, vpc: Id } -> ();
    /// Deletes it, once detached.
    "ec2" DeleteInternetGateway { gateway: Id } -> ();

    /// Egress-only internet gateways.
    "ec2" DescribeEgressOnlyInternetGateways { filters: Vec<Filter> } -> Vec<EgressOnlyGateway>;
    /// Makes one, attached.
    "ec2" CreateEgressOnlyInternetGateway { vpc: Id, token: String, tags: Tags } -> EgressOnlyGateway;
    /// Deletes one.
    "ec2" DeleteEgressOnlyInternetGateway { gateway: Id } -> ();

    /// NAT gateways; deleted ones stay visible for an hour.
    "ec2" DescribeNatGateways { filters: Vec<Filter> } -> Vec<NatGateway>;
    /// Makes a public NAT gateway; `pending` for a minute or two.
    "ec2" CreateNatGateway { subnet: Id, allocation: Id, token: String, tags: Tags } -> NatGateway;
    /// Deletes one; `deleting` for a minute or two.
    "ec2" DeleteNatGateway { gateway: Id } -> ();

    /// Elastic addresses.
    "ec2" DescribeAddresses { filters: Vec<Filter> } -> Vec<Address>;
    /// Takes an elastic address: costs from now on.
    "ec2" AllocateAddress { tags: Tags } -> Address;
    /// Maps it to a network interface's private address.
    "ec2" AssociateAddress { allocation: Id, interface: Id, private: String } -> ();
    /// Takes the mapping away.
    "ec2" DisassociateAddress { association: Id } -> ();
    /// Gives it back.
    "ec2" ReleaseAddress { allocation: Id } -> ();

    /// Amazon's prefix lists by name, such as `com.amazonaws.eu-west-1.s3`:
    /// gives the id, `pl-…`.
    "ec2" DescribeManagedPrefixLists { name: String } -> Option<Id>;

    // ---- Routes
    /// Route tables with their routes and associations.
    "ec2" DescribeRouteTables { filters: Vec<Filter> } -> Vec<RouteTable>;
    /// Makes a table with the VPC's local routes.
    "ec2" CreateRouteTable { vpc: Id, token: String, tags: Tags } -> RouteTable;
    /// Adds a route.
    "ec2" CreateRoute { table: Id, destination: String, target: Target } -> ();
    /// Points a route elsewhere.
    "ec2" ReplaceRoute { table: Id, destination: String, target: Target } -> ();
    /// Takes a route away.
    "ec2" DeleteRoute { table: Id, destination: String } -> ();
    /// Makes a subnet use the table; gives the association's id.
    "ec2" AssociateRouteTable { table: Id, subnet: Id } -> Id;
    /// Puts the subnet back to the main table.
    "ec2" DisassociateRouteTable { association: Id } -> ();
    /// Deletes a table without associations.
    "ec2" DeleteRouteTable { table: Id } -> ();

    // ---- Security groups
    /// Security groups, without their rules.
    "ec2" DescribeSecurityGroups { filters: Vec<Filter> } -> Vec<SecurityGroup>;
    /// Rules, by the filter `group-id`.
    "ec2" DescribeSecurityGroupRules { filters: Vec<Filter> } -> Vec<SecurityGroupRule>;
    /// Makes a group. It starts with one rule: all egress to 0.0.0.0/0 (and
    /// to ::/0 in a VPC with IPv6).
    "ec2" CreateSecurityGroup { vpc: Id, name: String, description: String, tags: Tags } -> Id;
    /// Adds rules for what comes in.
    "ec2" AuthorizeSecurityGroupIngress { group: Id, rules: Vec<Rule>, tags: Tags } -> ();
    /// Adds rules for what goes out.
    "ec2" AuthorizeSecurityGroupEgress { group: Id, rules: Vec<Rule>, tags: Tags } -> ();
    /// Takes rules away by their ids.
    "ec2" RevokeSecurityGroupIngress { group: Id, rules: Vec<Id> } -> ();
    /// Takes rules away by their ids.
    "ec2" RevokeSecurityGroupEgress { group: Id, rules: Vec<Id> } -> ();
    /// Deletes a group that no interface and no rule refers to.
    "ec2" DeleteSecurityGroup { group: Id } -> ();

    // ---- Endpoints
    /// VPC endpoints.
    "ec2" DescribeVpcEndpoints { filters: Vec<Filter> } -> Vec<VpcEndpoint>;
    /// Makes a gateway endpoint.
    "ec2" CreateVpcEndpoint {
        vpc: Id,
        /// Such as `com.amazonaws.eu-west-1.s3`.
        service: String,
        tables: Vec<Id>,
        token: String,
        tags: Tags,
    } -> VpcEndpoint;
    /// Changes which route tables lead to it.
    "ec2" ModifyVpcEndpoint { endpoint: Id, add_tables: Vec<Id>, remove_tables: Vec<Id> } -> ();
    /// Deletes one.
    "ec2" DeleteVpcEndpoint { endpoint: Id } -> ();

    /// EC2 Instance Connect endpoints.
    "ec2" DescribeInstanceConnectEndpoints { filters: Vec<Filter> } -> Vec<InstanceConnectEndpoint>;
    /// Makes one: minutes until `create-complete`.
    "ec2" CreateInstanceConnectEndpoint { subnet: Id, groups: Vec<Id>, token: String, tags: Tags } -> InstanceConnectEndpoint;
    /// Deletes one: minutes as well.
    "ec2" DeleteInstanceConnectEndpoint { endpoint: Id } -> ();

    // ---- Network interfaces
    /// Network interfaces.
    "ec2" DescribeNetworkInterfaces { filters: Vec<Filter> } -> Vec<NetworkInterface>;
    /// Makes an interface with fixed addresses.
    "ec2" CreateNetworkInterface {
        subnet: Id,
        primary: String,
        secondary: Vec<String>,
        /// How many IPv6 addresses of the subnet it gets.
        ipv6_count: u32,
        groups: Vec<Id>,
        description: String,
        token: String,
        tags: Tags,
    } -> NetworkInterface;
    /// Sets which groups it has.
    "ec2" ModifyNetworkInterfaceGroups { interface: Id, groups: Vec<Id> } -> ();
    /// Sets whether packets of other addresses are dropped.
    "ec2" ModifyNetworkInterfaceSourceDestCheck { interface: Id, check: bool } -> ();
    /// Adds secondary addresses.
    "ec2" AssignPrivateIpAddresses { interface: Id, addresses: Vec<String> } -> ();
    /// Takes secondary addresses away.
    "ec2" UnassignPrivateIpAddresses { interface: Id, addresses: Vec<String> } -> ();
    /// Adds IPv6 addresses of the subnet's block.
    "ec2" AssignIpv6Addresses { interface: Id, count: u32 } -> ();
    /// Takes IPv6 addresses away.
    "ec2" UnassignIpv6Addresses { interface: Id, addresses: Vec<String> } -> ();
    /// Detaches it from its instance.
    "ec2" DetachNetworkInterface { attachment: Id } -> ();
    /// Deletes it, once attached to nothing.
    "ec2" DeleteNetworkInterface { interface: Id } -> ();

    // ---- Instances
    /// Launch templates, with their default version's data.
    "ec2" DescribeLaunchTemplates { filters: Vec<Filter> } -> Vec<LaunchTemplate>;
    /// Makes a template with version 1.
    "ec2" CreateLaunchTemplate { name: String, data: LaunchData, token: String, tags: Tags } -> LaunchTemplate;
    /// Adds a version; gives its number.
    "ec2" CreateLaunchTemplateVersion { template: Id, data: LaunchData, token: String } -> u64;
    /// Says which version is the default.
    "ec2" ModifyLaunchTemplate { template: Id, default_version: u64 } -> ();
    /// Deletes a template and all its versions.
    "ec2" DeleteLaunchTemplate { template: Id } -> ();
    /// Instances; terminated ones stay visible for an hour.
    "ec2" DescribeInstances { filters: Vec<Filter> } -> Vec<Instance>;
    /// Starts instances from a template's default version.
    "ec2" RunInstances {
        template: Id,
        count: u32,
        token: String,
        /// For the instances; those of the template come on top.
        tags: Tags,
    } -> Vec<Instance>;
    /// Ends instances for good.
    "ec2" TerminateInstances { instances: Vec<Id> } -> ();
    /// Sets the CPU credit mode of a running instance.
    "ec2" ModifyInstanceCreditSpecification { instance: Id, unlimited: bool } -> ();
    /// Volumes.
    "ec2" DescribeVolumes { filters: Vec<Filter> } -> Vec<Volume>;
    /// Deletes a volume that is attached to nothing.
    "ec2" DeleteVolume { volume: Id } -> ();

    // ---- Images
    /// Images of this account, or of the owner that is filtered for.
    "ec2" DescribeImages {
        /// `self`, `amazon` or an account's number.
        owner: String,
        filters: Vec<Filter>,
    } -> Vec<Image>;
    /// Registers an arm64 UEFI image with ENA on one snapshot.
    "ec2" RegisterImage { name: String, description: String, snapshot: Id, size_gib: u32, tags: Tags } -> Id;
    /// Takes an image away; its snapshot stays.
    "ec2" DeregisterImage { image: Id } -> ();
    /// Snapshots of this account.
    "ec2" DescribeSnapshots { filters: Vec<Filter> } -> Vec<Snapshot>;
    /// Deletes a snapshot that no image uses.
    "ec2" DeleteSnapshot { snapshot: Id } -> ();
    /// Starts an empty snapshot.
    "ebs" StartSnapshot { size_gib: u32, description: String, token: String, tags: Tags } -> Id;
    /// Writes one block of [`BLOCK_SIZE`] bytes, whose SHA-256 goes with it.
    "ebs" PutSnapshotBlock { snapshot: Id, index: u32, data: Vec<u8> } -> ();
    /// Seals a snapshot; it is `pending` for a while.
    "ebs" CompleteSnapshot {
        snapshot: Id,
        /// How many blocks were written.
        blocks: u32,
        /// SHA-256 over the SHA-256 of each block, in their order.
        checksum: [u8; 32],
    } -> ();

    // ---- Tags
    /// All tags of EC2's resources that pass, one line for each.
    "ec2" DescribeTags { filters: Vec<Filter> } -> Vec<TagLine>;
    /// Sets tags.
    "ec2" CreateTags { resource: Id, tags: Tags } -> ();

    // ---- Auto Scaling
    /// Groups by name.
    "autoscaling" DescribeAutoScalingGroups { names: Vec<String> } -> Vec<AutoScalingGroup>;
    /// Makes a group.
    "autoscaling" CreateAutoScalingGroup { name: String, settings: GroupSettings, tags: Tags } -> ();
    /// Changes a group. The desired count stays as it is.
    "autoscaling" UpdateAutoScalingGroup { name: String, settings: GroupSettings } -> ();
    /// Sets how many instances there shall be now.
    "autoscaling" SetDesiredCapacity { name: String, desired: u32 } -> ();
    /// Deletes a group and terminates what it runs.
    "autoscaling" DeleteAutoScalingGroup { name: String } -> ();
    /// Scheduled actions of a group.
    "autoscaling" DescribeScheduledActions { group: String } -> Vec<ScheduledAction>;
    /// Makes or changes a scheduled action.
    "autoscaling" PutScheduledUpdateGroupAction { group: String, action: ScheduledAction } -> ();
    /// Deletes a scheduled action.
    "autoscaling" DeleteScheduledAction { group: String, name: String } -> ();
    /// What the group did last, and why it failed.
    "autoscaling" DescribeScalingActivities { group: String } -> Vec<Activity>;

    // ---- IAM
    /// A role with its tags.
    "iam" GetRole { name: String } -> Role;
    /// Roles under a path, such as `/ichor/`.
    "iam" ListRoles { path: String } -> Vec<Role>;
    /// Makes a role.
    "iam" CreateRole { name: String, path: String, trust: String, tags: Tags } -> Role;
    /// Sets who may take the role.
    "iam" UpdateAssumeRolePolicy { role: String, trust: String } -> ();
    /// Names of the role's inline policies.
    "iam" ListRolePolicies { role: String } -> Vec<String>;
    /// An inline policy, as JSON.
    "iam" GetRolePolicy { role: String, policy: String } -> String;
    /// Sets an inline policy.
    "iam" PutRolePolicy { role: String, policy: String, document: String } -> ();
    /// Deletes an inline policy.
    "iam" DeleteRolePolicy { role: String, policy: String } -> ();
    /// Deletes a role without policies and profiles.
    "iam" DeleteRole { role: String } -> ();
    /// An instance profile.
    "iam" GetInstanceProfile { name: String } -> InstanceProfile;
    /// Instance profiles under a path.
    "iam" ListInstanceProfiles { path: String } -> Vec<InstanceProfile>;
    /// Makes an instance profile; EC2 knows it up to two minutes later.
    "iam" CreateInstanceProfile { name: String, path: String, tags: Tags } -> InstanceProfile;
    /// Puts the one role into a profile.
    "iam" AddRoleToInstanceProfile { profile: String, role: String } -> ();
    /// Takes the role out of a profile.
    "iam" RemoveRoleFromInstanceProfile { profile: String, role: String } -> ();
    /// Deletes a profile without a role.
    "iam" DeleteInstanceProfile { name: String } -> ();

    // ---- S3
    /// Buckets of this account.
    "s3" ListBuckets {} -> Vec<String>;
    /// A bucket's tags; an empty map where it has none.
    "s3" GetBucketTagging { bucket: String } -> Tags;
    /// Makes a bucket in this region.
    "s3" CreateBucket { bucket: String } -> ();
    /// Sets a bucket's tags.
    "s3" PutBucketTagging { bucket: String, tags: Tags } -> ();
    /// Whether all four blocks of public access are on.
    "s3" GetPublicAccessBlock { bucket: String } -> bool;
    /// Blocks public access in all four ways.
    "s3" PutPublicAccessBlock { bucket: String } -> ();
    /// Objects of a bucket under a prefix.
    "s3" ListObjects { bucket: String, prefix: String } -> Vec<Object>;
    /// Metadata of one object.
    "s3" HeadObject { bucket: String, key: String } -> Object;
    /// Writes one object; its SHA-256 goes with it as metadata and checksum.
    "s3" PutObject { bucket: String, key: String, body: Body, sha256: String } -> ();
    /// Deletes objects; those that are not there do not matter.
    "s3" DeleteObjects { bucket: String, keys: Vec<String> } -> ();
    /// Deletes an empty bucket.
    "s3" DeleteBucket { bucket: String } -> ();

    // ---- EventBridge Scheduler
    /// Schedule groups whose name starts so.
    "scheduler" ListScheduleGroups { prefix: String } -> Vec<String>;
    /// Makes a group for schedules: they cannot carry tags, their group can.
    "scheduler" CreateScheduleGroup { name: String, token: String, tags: Tags } -> ();
    /// Deletes a group and all that is in it, within a minute or so.
    "scheduler" DeleteScheduleGroup { name: String } -> ();
    /// Tags of a group; fails with `ResourceNotFoundException` without one.
    "scheduler" GetScheduleGroupTags { name: String } -> Tags;
    /// Schedules of a group.
    "scheduler" ListSchedules { group: String } -> Vec<Schedule>;
    /// Makes a schedule that runs once and is then gone.
    "scheduler" CreateSchedule { group: String, schedule: Schedule, token: String } -> ();
    /// Deletes a schedule.
    "scheduler" DeleteSchedule { group: String, name: String } -> ();

    // ---- Cost
    /// What is used up of the free tier, by service.
    "freetier" GetFreeTierUsage {} -> Vec<FreeTierUsage>;
    /// Cost by service in a span of days; each request costs $0.01.
    "ce" GetCostAndUsage {
        /// First day, `2026-11-01`.
        from: String,
        /// The day after the last.
        until: String,
    } -> Vec<ServiceCost>;
}
