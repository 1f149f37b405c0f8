//! The real AWS: each call of [`crate::api`] through aws-sdk-rust.
//!
//! The SDK does not retry here: whoever stands before [`Cloud`] does, with one
//! table for all calls. What the answers must have and lack is an error, and
//! every error is one line.

mod autoscaling;
mod billing;
mod ebs;
mod ec2;
mod error;
mod iam;
mod identity;
mod s3;
mod scheduler;

use core::error::Error;
use core::fmt;
use core::time::Duration;

use aws_config::{BehaviorVersion, ConfigLoader, Region, SdkConfig};
use aws_smithy_async::future::pagination_stream::PaginationStream;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use aws_smithy_types::retry::RetryConfig;
use aws_smithy_types::timeout::TimeoutConfig;

use self::ec2::{
    addresses, endpoints, gateways, groups, images, instances, interfaces, routes, templates, vpc,
};
use self::error::Explained;
use crate::api::{ApiError, Call, Calling, Cloud, Fault, Reply, Request};

/// A call's name, such as `ec2:CreateVpc`.
type Name = &'static str;

/// What a call gives.
type Answer<R> = Result<<R as Request>::Answer, ApiError>;

/// Items that a Describe or List call gives at most. An account has thousands
/// at the very most; more is an endless list.
const MOST_ITEMS: usize = 100_000;

/// The free tier and Cost Explorer are asked there, whatever the region.
const BILLING_REGION: &str = "us-east-1";

/// What a connection to AWS is called in an error, where no call is made yet.
const CONNECT: Name = "connect";

/// Whose credentials and which region, beside what the environment says.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// In place of `AWS_PROFILE`.
    pub profile: Option<String>,
    /// In place of `AWS_REGION` and the profile's.
    pub region: Option<String>,
}

/// How long a call may take. Without these the SDK waits forever.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Until a connection stands.
    pub connect: Duration,
    /// From the request to the first byte of the answer.
    pub read: Duration,
    /// For a whole call.
    pub attempt: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            read: Duration::from_secs(30),
            attempt: Duration::from_secs(60),
        }
    }
}

impl Timeouts {
    /// The slowest upload that is waited for: 64 KiB/s, a poor DSL line's.
    const SLOWEST: u64 = 64 * 1024;

    fn config(self) -> TimeoutConfig {
        TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .read_timeout(self.read)
            .operation_attempt_timeout(self.attempt)
            .build()
    }

    /// For a call that sends `len` bytes. The read timeout runs while a
    /// request is sent, too. An upload that stands still the SDK itself ends,
    /// after 20 s.
    fn for_upload(self, len: u64) -> TimeoutConfig {
        let sending = Duration::from_secs(len / Self::SLOWEST);
        Self {
            read: self.read + sending,
            attempt: self.attempt + sending,
            ..self
        }
        .config()
    }
}

/// How a configuration for [`Aws`] is loaded: from the usual `AWS_*` variables,
/// profiles and SSO, with these timeouts, no retries, and TLS by ring.
pub fn loader(timeouts: Timeouts) -> ConfigLoader {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    aws_config::defaults(BehaviorVersion::latest())
        .http_client(http)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts.config())
}

/// An AWS account in one region, through the SDK.
pub struct Aws {
    region: String,
    profile: Option<String>,
    timeouts: Timeouts,
    autoscaling: aws_sdk_autoscaling::Client,
    ebs: aws_sdk_ebs::Client,
    ec2: aws_sdk_ec2::Client,
    explorer: aws_sdk_costexplorer::Client,
    freetier: aws_sdk_freetier::Client,
    iam: aws_sdk_iam::Client,
    s3: aws_sdk_s3::Client,
    scheduler: aws_sdk_scheduler::Client,
    ssm: aws_sdk_ssm::Client,
    sts: aws_sdk_sts::Client,
}

impl fmt::Debug for Aws {
    /// Only the region: the rest holds credentials and pages of settings.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws")
            .field("region", &self.region)
            .finish_non_exhaustive()
    }
}

impl Aws {
    /// Takes credentials, region and endpoints from where the AWS CLI does:
    /// `AWS_*` variables, then the profile, with SSO and `credential_process`.
    /// `AWS_ENDPOINT_URL` counts for every service.
    ///
    /// # Errors
    ///
    /// If no region is set. Credentials are looked for at the first call.
    pub async fn connect(options: Options) -> Result<Self, ApiError> {
        let timeouts = Timeouts::default();
        let mut loader = loader(timeouts);
        let profile = options
            .profile
            .or_else(|| std::env::var("AWS_PROFILE").ok());
        if let Some(profile) = &profile {
            loader = loader.profile_name(profile);
        }
        if let Some(region) = options.region {
            loader = loader.region(Region::new(region));
        }
        let config = loader.load().await;
        match Self::with(&config, timeouts) {
            Ok(aws) => Ok(Self { profile, ..aws }),
            Err(error) => Err(in_profile(profile.as_deref(), error)),
        }
    }

    /// Makes the clients of a configuration from [`loader`].
    ///
    /// # Errors
    ///
    /// If it has no region.
    pub fn with(config: &SdkConfig, timeouts: Timeouts) -> Result<Self, ApiError> {
        let Some(region) = config.region() else {
            let message = "no AWS region: set AWS_REGION (or --region), or a region in the profile";
            return Err(ApiError::local(CONNECT, Fault::NoRegion, message));
        };
        let billing = config
            .to_builder()
            .region(Region::new(BILLING_REGION))
            .build();
        // An endpoint that is not AWS has no names for single buckets.
        let buckets_by_path =
            config.endpoint_url().is_some() || std::env::var_os("AWS_ENDPOINT_URL_S3").is_some();
        let s3 = aws_sdk_s3::config::Builder::from(config)
            .force_path_style(buckets_by_path)
            .build();
        Ok(Self {
            region: region.to_string(),
            profile: None,
            timeouts,
            autoscaling: aws_sdk_autoscaling::Client::new(config),
            ebs: aws_sdk_ebs::Client::new(config),
            ec2: aws_sdk_ec2::Client::new(config),
            explorer: aws_sdk_costexplorer::Client::new(&billing),
            freetier: aws_sdk_freetier::Client::new(&billing),
            iam: aws_sdk_iam::Client::new(config),
            s3: aws_sdk_s3::Client::from_conf(s3),
            scheduler: aws_sdk_scheduler::Client::new(config),
            ssm: aws_sdk_ssm::Client::new(config),
            sts: aws_sdk_sts::Client::new(config),
        })
    }
}

/// Names the profile in an error that a wrong profile may be the cause of: the
/// SDK takes one that is not there for an empty one.
fn in_profile(profile: Option<&str>, mut error: ApiError) -> ApiError {
    let by_profile = matches!(error.fault, Fault::NoCredentials | Fault::NoRegion);
    if let (true, Some(name)) = (by_profile, profile) {
        error.message += &format!(" (the profile is `{name}`: is it in ~/.aws/config?)");
    }
    error
}

/// Gives each call to its function, with what it takes of [`Aws`].
macro_rules! dispatch {
    ($aws:ident, $call:ident: $( $name:ident => $function:path [ $($of:ident),* ]; )*) => {
        match $call {
            // A future of its own for each: together they would be as large
            // as the largest, on the stack.
            $( Call::$name(request) => Box::pin(async move {
                let answer = $function($(field!($aws.$of),)* request).await;
                let profile = $aws.profile.as_deref();
                answer.map(Reply::$name).map_err(|error| in_profile(profile, error))
            }), )*
        }
    };
}

/// A client by reference, the rest by value.
macro_rules! field {
    ($aws:ident.timeouts) => {
        $aws.timeouts
    };
    ($aws:ident.$of:ident) => {
        &$aws.$of
    };
}

impl Cloud for Aws {
    fn call(&self, call: Call) -> Calling<'_> {
        dispatch! { self, call:
            GetCallerIdentity => identity::get_caller_identity[sts];
            GetParameter => identity::get_parameter[ssm];
            DescribeVpcs => vpc::describe_vpcs[ec2];
            CreateVpc => vpc::create_vpc[ec2];
            DescribeVpcAttribute => vpc::describe_vpc_attribute[ec2];
            ModifyVpcAttribute => vpc::modify_vpc_attribute[ec2];
            AssociateVpcCidrBlock => vpc::associate_vpc_cidr_block[ec2];
            DisassociateVpcCidrBlock => vpc::disassociate_vpc_cidr_block[ec2];
            DeleteVpc => vpc::delete_vpc[ec2];
            DescribeDhcpOptions => vpc::describe_dhcp_options[ec2];
            CreateDhcpOptions => vpc::create_dhcp_options[ec2];
            AssociateDhcpOptions => vpc::associate_dhcp_options[ec2];
            DeleteDhcpOptions => vpc::delete_dhcp_options[ec2];
            DescribeSubnets => vpc::describe_subnets[ec2];
            CreateSubnet => vpc::create_subnet[ec2];
            ModifySubnetAttribute => vpc::modify_subnet_attribute[ec2];
            AssociateSubnetCidrBlock => vpc::associate_subnet_cidr_block[ec2];
            DisassociateSubnetCidrBlock => vpc::disassociate_subnet_cidr_block[ec2];
            DeleteSubnet => vpc::delete_subnet[ec2];
            DescribeInternetGateways => gateways::describe_internet_gateways[ec2];
            CreateInternetGateway => gateways::create_internet_gateway[ec2];
            AttachInternetGateway => gateways::attach_internet_gateway[ec2];
            DetachInternetGateway => gateways::detach_internet_gateway[ec2];
            DeleteInternetGateway => gateways::delete_internet_gateway[ec2];
            DescribeEgressOnlyInternetGateways => gateways::describe_egress_only_internet_gateways[ec2];
            CreateEgressOnlyInternetGateway => gateways::create_egress_only_internet_gateway[ec2];
            DeleteEgressOnlyInternetGateway => gateways::delete_egress_only_internet_gateway[ec2];
            DescribeNatGateways => gateways::describe_nat_gateways[ec2];
            CreateNatGateway => gateways::create_nat_gateway[ec2];
            DeleteNatGateway => gateways::delete_nat_gateway[ec2];
            DescribeAddresses => addresses::describe_addresses[ec2];
            AllocateAddress => addresses::allocate_address[ec2];
            AssociateAddress => addresses::associate_address[ec2];
            DisassociateAddress => addresses::disassociate_address[ec2];
            ReleaseAddress => addresses::release_address[ec2];
            DescribeManagedPrefixLists => addresses::describe_managed_prefix_lists[ec2];
            DescribeRouteTables => routes::describe_route_tables[ec2];
            CreateRouteTable => routes::create_route_table[ec2];
            CreateRoute => routes::create_route[ec2];
            ReplaceRoute => routes::replace_route[ec2];
            DeleteRoute => routes::delete_route[ec2];
            AssociateRouteTable => routes::associate_route_table[ec2];
            DisassociateRouteTable => routes::disassociate_route_table[ec2];
            DeleteRouteTable => routes::delete_route_table[ec2];
            DescribeSecurityGroups => groups::describe_security_groups[ec2];
            DescribeSecurityGroupRules => groups::describe_security_group_rules[ec2];
            CreateSecurityGroup => groups::create_security_group[ec2];
            AuthorizeSecurityGroupIngress => groups::authorize_security_group_ingress[ec2];
            AuthorizeSecurityGroupEgress => groups::authorize_security_group_egress[ec2];
            RevokeSecurityGroupIngress => groups::revoke_security_group_ingress[ec2];
            RevokeSecurityGroupEgress => groups::revoke_security_group_egress[ec2];
            DeleteSecurityGroup => groups::delete_security_group[ec2];
            DescribeVpcEndpoints => endpoints::describe_vpc_endpoints[ec2];
            CreateVpcEndpoint => endpoints::create_vpc_endpoint[ec2];
            ModifyVpcEndpoint => endpoints::modify_vpc_endpoint[ec2];
            DeleteVpcEndpoint => endpoints::delete_vpc_endpoint[ec2];
            DescribeInstanceConnectEndpoints => endpoints::describe_instance_connect_endpoints[ec2];
            CreateInstanceConnectEndpoint => endpoints::create_instance_connect_endpoint[ec2];
            DeleteInstanceConnectEndpoint => endpoints::delete_instance_connect_endpoint[ec2];
            DescribeNetworkInterfaces => interfaces::describe_network_interfaces[ec2];
            CreateNetworkInterface => interfaces::create_network_interface[ec2];
            ModifyNetworkInterfaceGroups => interfaces::modify_network_interface_groups[ec2];
            ModifyNetworkInterfaceSourceDestCheck => interfaces::modify_network_interface_source_dest_check[ec2];
            AssignPrivateIpAddresses => interfaces::assign_private_ip_addresses[ec2];
            UnassignPrivateIpAddresses => interfaces::unassign_private_ip_addresses[ec2];
            AssignIpv6Addresses => interfaces::assign_ipv6_addresses[ec2];
            UnassignIpv6Addresses => interfaces::unassign_ipv6_addresses[ec2];
            DetachNetworkInterface => interfaces::detach_network_interface[ec2];
            DeleteNetworkInterface => interfaces::delete_network_interface[ec2];
            DescribeLaunchTemplates => templates::describe_launch_templates[ec2];
            CreateLaunchTemplate => templates::create_launch_template[ec2];
            CreateLaunchTemplateVersion => templates::create_launch_template_version[ec2];
            ModifyLaunchTemplate => templates::modify_launch_template[ec2];
            DeleteLaunchTemplate => templates::delete_launch_template[ec2];
            DescribeInstances => instances::describe_instances[ec2];
            RunInstances => instances::run_instances[ec2];
            TerminateInstances => instances::terminate_instances[ec2];
            ModifyInstanceCreditSpecification => instances::modify_instance_credit_specification[ec2];
            DescribeVolumes => instances::describe_volumes[ec2];
            DeleteVolume => instances::delete_volume[ec2];
            DescribeImages => images::describe_images[ec2];
            RegisterImage => images::register_image[ec2];
            DeregisterImage => images::deregister_image[ec2];
            DescribeSnapshots => images::describe_snapshots[ec2];
            DeleteSnapshot => images::delete_snapshot[ec2];
            StartSnapshot => ebs::start_snapshot[ebs];
            PutSnapshotBlock => ebs::put_snapshot_block[ebs, timeouts];
            CompleteSnapshot => ebs::complete_snapshot[ebs];
            DescribeTags => ec2::describe_tags[ec2];
            CreateTags => ec2::create_tags[ec2];
            DescribeAutoScalingGroups => autoscaling::describe_auto_scaling_groups[autoscaling];
            CreateAutoScalingGroup => autoscaling::create_auto_scaling_group[autoscaling];
            UpdateAutoScalingGroup => autoscaling::update_auto_scaling_group[autoscaling];
            SetDesiredCapacity => autoscaling::set_desired_capacity[autoscaling];
            DeleteAutoScalingGroup => autoscaling::delete_auto_scaling_group[autoscaling];
            DescribeScheduledActions => autoscaling::describe_scheduled_actions[autoscaling];
            PutScheduledUpdateGroupAction => autoscaling::put_scheduled_update_group_action[autoscaling];
            DeleteScheduledAction => autoscaling::delete_scheduled_action[autoscaling];
            DescribeScalingActivities => autoscaling::describe_scaling_activities[autoscaling];
            GetRole => iam::get_role[iam];
            ListRoles => iam::list_roles[iam];
            CreateRole => iam::create_role[iam];
            UpdateAssumeRolePolicy => iam::update_assume_role_policy[iam];
            ListRolePolicies => iam::list_role_policies[iam];
            GetRolePolicy => iam::get_role_policy[iam];
            PutRolePolicy => iam::put_role_policy[iam];
            DeleteRolePolicy => iam::delete_role_policy[iam];
            DeleteRole => iam::delete_role[iam];
            GetInstanceProfile => iam::get_instance_profile[iam];
            ListInstanceProfiles => iam::list_instance_profiles[iam];
            CreateInstanceProfile => iam::create_instance_profile[iam];
            AddRoleToInstanceProfile => iam::add_role_to_instance_profile[iam];
            RemoveRoleFromInstanceProfile => iam::remove_role_from_instance_profile[iam];
            DeleteInstanceProfile => iam::delete_instance_profile[iam];
            ListBuckets => s3::list_buckets[s3];
            GetBucketTagging => s3::get_bucket_tagging[s3];
            CreateBucket => s3::create_bucket[s3, region];
            PutBucketTagging => s3::put_bucket_tagging[s3];
            GetPublicAccessBlock => s3::get_public_access_block[s3];
            PutPublicAccessBlock => s3::put_public_access_block[s3];
            ListObjects => s3::list_objects[s3];
            HeadObject => s3::head_object[s3];
            PutObject => s3::put_object[s3, timeouts];
            DeleteObjects => s3::delete_objects[s3];
            DeleteBucket => s3::delete_bucket[s3];
            ListScheduleGroups => scheduler::list_schedule_groups[scheduler];
            CreateScheduleGroup => scheduler::create_schedule_group[scheduler];
            DeleteScheduleGroup => scheduler::delete_schedule_group[scheduler];
            GetScheduleGroupTags => scheduler::get_schedule_group_tags[scheduler];
            ListSchedules => scheduler::list_schedules[scheduler];
            CreateSchedule => scheduler::create_schedule[scheduler];
            DeleteSchedule => scheduler::delete_schedule[scheduler];
            GetFreeTierUsage => billing::get_free_tier_usage[freetier];
            GetCostAndUsage => billing::get_cost_and_usage[explorer];
        }
    }

    fn region(&self) -> &str {
        &self.region
    }
}

/// A field that the answer must have.
fn required<T>(call: Name, field: &str, value: Option<T>) -> Result<T, ApiError> {
    value.ok_or_else(|| ApiError::not_understood(call, format!("the answer lacks {field}")))
}

/// Takes a field that the answer must have, named in the error as in the code.
macro_rules! need {
    ($call:expr, $from:ident.$field:ident) => {
        crate::sdk::required($call, stringify!($field), $from.$field)
    };
}
use need;

/// A call whose answer is that it succeeded: the request's fields go to the
/// SDK's setters.
macro_rules! plain {
    ($client:ty, $function:ident($request:ident: $type:ident) {
        $( $setter:ident: $value:expr ),* $(,)?
    }) => {
        pub(in crate::sdk) async fn $function(client: &$client, $request: $type) -> Answer<$type> {
            use crate::sdk::error::Explained as _;
            client.$function()
                $( .$setter($value) )*
                .send()
                .await
                .explained($type::NAME)?;
            Ok(())
        }
    };
}
use plain;

/// Walks all pages of a list, and translates each item.
async fn all<T, U, E>(
    call: Name,
    mut items: PaginationStream<Result<T, E>>,
    translate: impl Fn(Name, T) -> Result<U, ApiError>,
) -> Result<Vec<U>, ApiError>
where
    Result<T, E>: Explained<T>,
{
    let mut list = Vec::new();
    while let Some(item) = items.next().await {
        list.push(translate(call, item.explained(call)?)?);
        bounded(call, list.len())?;
    }
    Ok(list)
}

/// Ends a list that does not end.
fn bounded(call: Name, items: usize) -> Result<(), ApiError> {
    if items > MOST_ITEMS {
        let message = format!("more than {MOST_ITEMS} items");
        return Err(ApiError::not_understood(call, message));
    }
    Ok(())
}

/// A number as AWS takes it. None of ours is beyond two thousand million.
fn count(number: u32) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

/// A size in GiB as AWS gives it.
fn size(call: Name, gib: Option<i32>) -> Result<u32, ApiError> {
    let size = gib.and_then(|gib| u32::try_from(gib).ok());
    required(call, "size", size)
}

/// An error in the list of an answer that says 200.
fn unsuccessful(call: Name, code: Option<String>, message: Option<String>) -> ApiError {
    let code = code.unwrap_or_else(|| "Unsuccessful".to_owned());
    ApiError::service(call, 400, &code, message.unwrap_or_default())
}

/// A request that the SDK cannot build, as a field of it is missing.
fn incomplete(call: Name, error: &(dyn Error + 'static)) -> ApiError {
    ApiError::local(call, Fault::Invalid, error::innermost(error))
}
