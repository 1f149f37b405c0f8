//! A strict AWS account in this process: what the engine is proven against.
//!
//! It behaves as AWS's API references say, and where they leave something
//! open it takes the stricter reading and says so in a comment. What exists
//! is not seen at once ([`Timing`]), what is in use cannot be deleted, client
//! tokens are remembered, and what shall go wrong is scripted ([`Mishap`],
//! [`Quota`]). Its clock is tokio's, so that a test with paused time takes no
//! time. It does not model: permissions (IAM documents are only parsed), KMS,
//! network ACLs, what a prefix list weighs, DryRun, and stopping instances.

mod billing;
mod check;
mod cron;
mod endpoints;
mod foreign;
mod gateways;
mod groups;
mod iam;
mod images;
mod instances;
mod interfaces;
mod named;
mod routes;
mod scaling;
mod scheduler;
mod script;
mod shelf;
mod storage;
mod tags;
mod templates;
#[cfg(test)]
mod tests;
mod vpc;

use core::fmt;
use core::time::Duration;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use crate::api::*;
pub use foreign::Foreign;
use named::Named;
pub use script::{Mishap, Quota};
use script::{Script, Verdict};
use shelf::{AnyShelf, Birth, Shelf};

/// An account of AWS in one region, empty but for what AWS itself puts there.
pub struct Fake {
    region: String,
    account: Mutex<Account>,
}

/// The longest that AWS takes until others know what was made. Each resource
/// takes a random part of it.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// A call on its way.
    pub latency: Duration,
    /// Until calls may name a new resource's id; `Invalid….NotFound` until then.
    pub known: Duration,
    /// Until Describe and List calls list a new resource.
    pub listed: Duration,
    /// Until EC2 takes a new instance profile.
    pub profile: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            latency: Duration::from_millis(200),
            known: Duration::from_secs(2),
            listed: Duration::from_secs(5),
            profile: Duration::from_secs(120),
        }
    }
}

impl Timing {
    /// Everything is seen at once; only what is asynchronous by nature
    /// (gateways, instances, snapshots) takes its time.
    pub const PROMPT: Self = Self {
        latency: Duration::ZERO,
        known: Duration::ZERO,
        listed: Duration::ZERO,
        profile: Duration::ZERO,
    };
}

/// A call that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Service and action: `ec2:CreateVpc`.
    pub name: &'static str,
    /// Whether it changes anything.
    pub mutating: bool,
    /// The error code that it was answered with, empty for a lost answer;
    /// `None` if it succeeded.
    pub error: Option<String>,
}

/// A resource that somebody has to remove, or pay.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Left {
    /// As EC2 names the type in tags; `bucket`, `role`, … of other services.
    pub kind: &'static str,
    /// Its id or its name.
    pub id: Id,
    /// Whether it costs by being there.
    pub costs: bool,
}

/// What AWS answers, before the call's name is known.
type Answer<T> = Result<T, Refusal>;

/// A service's error.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Refusal {
    status: u16,
    code: String,
    message: String,
}

impl Refusal {
    fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

/// Refuses with HTTP status 400, as EC2 does.
fn refuse<T>(code: &str, message: impl Into<String>) -> Answer<T> {
    Err(Refusal::new(400, code, message))
}

/// What happens later.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    VpcBlock(Id),
    SubnetBlock(Id),
    NatReady(Id),
    NatDeleted(Id),
    NatForgotten(Id),
    EndpointGone(Id),
    ConnectReady(Id),
    ConnectDeleted(Id),
    ConnectForgotten(Id),
    InterfaceReady(Id),
    InterfaceGone(Id),
    /// Interface and attachment.
    InterfaceDetached(Id, Id),
    ImageReady(Id),
    SnapshotReady(Id),
    SnapshotTimeout(Id),
    InstanceRuns(Id),
    InstanceEnds(Id),
    InstanceForgotten(Id),
    /// An Auto Scaling group looks at what it has.
    Scale(String),
    /// Group, action, and which version of it.
    ScheduledAction(String, String, u64),
    ScalingGroupGone(String),
    BucketNameFree(String),
    /// Group and schedule.
    ScheduleDue(String, String),
    ScheduleGroupGone(String),
}

/// The state of the account.
#[derive(Debug)]
struct Account {
    region: String,
    start: Instant,
    /// Unix time at `start`.
    epoch: i64,
    /// Since `start`; what calls and events see as the present.
    now: Duration,
    dice: u64,
    timing: Timing,
    /// Somebody else is at work: what is made is theirs, and done at once.
    foreign: bool,
    events: BTreeMap<(Duration, u64), Event>,
    event_serial: u64,
    tokens: BTreeMap<(&'static str, String), (Call, Reply)>,
    made: Vec<Made>,
    script: Script,

    vpcs: Shelf<vpc::VpcState>,
    options: Shelf<DhcpOptions>,
    subnets: Shelf<vpc::SubnetState>,
    internet_gateways: Shelf<InternetGateway>,
    egress_gateways: Shelf<EgressOnlyGateway>,
    nat_gateways: Shelf<gateways::NatState>,
    addresses: Shelf<gateways::AddressState>,
    tables: Shelf<RouteTable>,
    groups: Shelf<SecurityGroup>,
    rules: Shelf<groups::RuleState>,
    endpoints: Shelf<VpcEndpoint>,
    connect_endpoints: Shelf<InstanceConnectEndpoint>,
    interfaces: Shelf<interfaces::InterfaceState>,
    templates: Shelf<templates::TemplateState>,
    instances: Shelf<instances::InstanceState>,
    volumes: Shelf<Volume>,
    images: Shelf<images::ImageState>,
    snapshots: Shelf<images::SnapshotState>,
    /// Ids of images that were deregistered.
    former_images: BTreeSet<Id>,
    /// Public parameters.
    parameters: BTreeMap<String, String>,

    scaling: Named<scaling::GroupState>,
    roles: Named<iam::RoleState>,
    profiles: Named<iam::ProfileState>,
    buckets: Named<storage::BucketState>,
    taken: storage::Taken,
    schedules: Named<scheduler::ScheduleGroupState>,
    bill: billing::Bill,
}

impl Fake {
    /// The account's number.
    pub const ACCOUNT: &'static str = "123456789012";

    /// An account in this region. The same seed gives the same ids, the same
    /// delays and the same throttled calls.
    pub fn new(region: &str, seed: u64) -> Self {
        Self::with_timing(region, seed, Timing::default())
    }

    /// An account with its own delays.
    pub fn with_timing(region: &str, seed: u64, timing: Timing) -> Self {
        let epoch = std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |since| since.as_secs().cast_signed());
        let mut account = Account {
            region: region.to_owned(),
            start: Instant::now(),
            epoch,
            now: Duration::ZERO,
            dice: seed,
            timing,
            foreign: false,
            events: BTreeMap::new(),
            event_serial: 0,
            tokens: BTreeMap::new(),
            made: Vec::new(),
            script: Script::default(),
            vpcs: Shelf::default(),
            options: Shelf::default(),
            subnets: Shelf::default(),
            internet_gateways: Shelf::default(),
            egress_gateways: Shelf::default(),
            nat_gateways: Shelf::default(),
            addresses: Shelf::default(),
            tables: Shelf::default(),
            groups: Shelf::default(),
            rules: Shelf::default(),
            endpoints: Shelf::default(),
            connect_endpoints: Shelf::default(),
            interfaces: Shelf::default(),
            templates: Shelf::default(),
            instances: Shelf::default(),
            volumes: Shelf::default(),
            images: Shelf::default(),
            snapshots: Shelf::default(),
            former_images: BTreeSet::new(),
            parameters: BTreeMap::new(),
            scaling: Named::default(),
            roles: Named::default(),
            profiles: Named::default(),
            buckets: Named::default(),
            taken: storage::Taken::default(),
            schedules: Named::default(),
            bill: billing::Bill::default(),
        };
        account.foreign = true;
        account.found();
        account.foreign = false;
        Self {
            region: region.to_owned(),
            account: Mutex::new(account),
        }
    }

    /// Sets the Unix time that it is now; the operator's own clock by default.
    pub fn set_unix_time(&self, seconds: i64) {
        let mut account = self.present();
        account.epoch = seconds - account.now.as_secs().cast_signed();
    }

    /// The Unix time in the account.
    pub fn unix_time(&self) -> i64 {
        self.present().unix_time()
    }

    /// Scripts something that goes wrong. Of several that concern a call, the
    /// first strikes.
    pub fn script(&self, mishap: Mishap) {
        self.lock().script.mishaps.push(mishap);
    }

    /// Takes back every scripted mishap, throttling and expiry.
    pub fn heal(&self) {
        let script = &mut self.lock().script;
        script.mishaps.clear();
        script.throttled = 0.0;
        script.expiry = None;
    }

    /// Answers this share (0 to 1) of all calls with the service's throttling error.
    pub fn throttle(&self, share: f64) {
        self.lock().script.throttled = share;
    }

    /// Refuses a call (or `*`, or all of a service as `iam:*`) for want of rights.
    pub fn deny(&self, call: &str) {
        let code = if call.starts_with("ec2:") {
            "UnauthorizedOperation"
        } else {
            "AccessDenied"
        };
        self.script(Mishap::on(call).always().refuse(
            403,
            code,
            "You are not authorized to perform this operation.",
        ));
    }

    /// Sets a quota.
    pub fn limit(&self, quota: Quota, limit: usize) {
        self.lock().script.limits.insert(quota, limit);
    }

    /// Lets the credentials expire so long from now.
    pub fn expire_credentials(&self, after: Duration) {
        let mut account = self.present();
        account.script.expiry = Some(account.now + after);
    }

    /// Stops the caller's process after so many further calls: each one after
    /// them fails locally, without effect and uncounted.
    pub fn stop_after(&self, calls: u64) {
        self.lock().script.calls_left = Some(calls);
    }

    /// Lets the process make calls again.
    pub fn resume(&self) {
        self.lock().script.calls_left = None;
    }

    /// The calls that arrived, in their order.
    pub fn calls(&self) -> Vec<Made> {
        self.lock().made.clone()
    }

    /// Whatever is not foreign and is left: all that we made and did not
    /// remove. What goes with its VPC and what is only still shown (deleted
    /// gateways, terminated instances) does not count.
    pub fn billable(&self) -> Vec<Left> {
        let mut left: Vec<Left> = self
            .present()
            .lines()
            .into_iter()
            .filter(|line| !line.foreign && !line.passing)
            .map(|line| Left {
                kind: line.kind,
                id: line.id,
                costs: COSTS.contains(&line.kind),
            })
            .collect();
        left.sort();
        left
    }

    /// All that is in the account, one resource a line.
    pub fn dump(&self) -> String {
        self.present().dump(|_| true)
    }

    /// All that somebody else has in the account: equal before and after, if
    /// nobody touched it.
    pub fn foreign_state(&self) -> String {
        self.present().dump(|line| line.foreign)
    }

    fn lock(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account as it is now.
    fn present(&self) -> MutexGuard<'_, Account> {
        let mut account = self.lock();
        account.catch_up();
        account
    }
}

/// Types of resources that cost by being there.
const COSTS: [&str; 6] = [
    "natgateway",
    "elastic-ip",
    "instance",
    "volume",
    "snapshot",
    "bucket",
];

impl fmt::Debug for Fake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a fake AWS account in {}", self.region)
    }
}

impl Cloud for Fake {
    fn call(&self, call: Call) -> Calling<'_> {
        Box::pin(async move {
            let latency = {
                let mut account = self.lock();
                let latency = account.timing.latency;
                account.part_of(latency)
            };
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
            let answer = self.lock().serve(call);
            if let Err(ApiError {
                fault: Fault::Timeout,
                ..
            }) = answer
            {
                // Whoever gets no answer has waited for it.
                tokio::time::sleep(TIMEOUT).await;
            }
            answer
        })
    }

    fn region(&self) -> &str {
        &self.region
    }
}

/// How long a caller waits for an answer that is lost.
const TIMEOUT: Duration = Duration::from_secs(30);

impl Account {
    /// What AWS has put into an account that nobody has used yet.
    fn found(&mut self) {
        self.found_network();
        self.found_images();
        self.found_schedule_group();
    }

    fn shelves(&self) -> Vec<&dyn AnyShelf> {
        vec![
            &self.vpcs,
            &self.options,
            &self.subnets,
            &self.internet_gateways,
            &self.egress_gateways,
            &self.nat_gateways,
            &self.addresses,
            &self.tables,
            &self.groups,
            &self.rules,
            &self.endpoints,
            &self.connect_endpoints,
            &self.interfaces,
            &self.templates,
            &self.instances,
            &self.volumes,
            &self.images,
            &self.snapshots,
        ]
    }

    fn shelves_mut(&mut self) -> Vec<&mut dyn AnyShelf> {
        vec![
            &mut self.vpcs,
            &mut self.options,
            &mut self.subnets,
            &mut self.internet_gateways,
            &mut self.egress_gateways,
            &mut self.nat_gateways,
            &mut self.addresses,
            &mut self.tables,
            &mut self.groups,
            &mut self.rules,
            &mut self.endpoints,
            &mut self.connect_endpoints,
            &mut self.interfaces,
            &mut self.templates,
            &mut self.instances,
            &mut self.volumes,
            &mut self.images,
            &mut self.snapshots,
        ]
    }

    fn lines(&self) -> Vec<shelf::Line> {
        let mut lines: Vec<_> = self
            .shelves()
            .into_iter()
            .flat_map(AnyShelf::lines)
            .collect();
        lines.extend(self.scaling.lines("auto-scaling-group"));
        lines.extend(self.roles.lines("role"));
        lines.extend(self.profiles.lines("instance-profile"));
        lines.extend(self.buckets.lines("bucket"));
        lines.extend(self.schedules.lines("schedule-group"));
        lines
    }

    fn dump(&self, which: impl Fn(&shelf::Line) -> bool) -> String {
        let mut text = String::new();
        for line in self.lines().iter().filter(|line| which(line)) {
            let whose = if line.foreign { "foreign " } else { "" };
            text += &format!("{whose}{} {}: {}\n", line.kind, line.id, line.text);
        }
        text
    }

    /// Makes a call: counts it, lets go wrong what is scripted, else serves it.
    fn serve(&mut self, call: Call) -> Result<Reply, ApiError> {
        let name = call.name();
        if let Some(left) = &mut self.script.calls_left {
            let Some(rest) = left.checked_sub(1) else {
                // Not a fault that anyone would retry: the process is no more.
                return Err(ApiError::not_understood(name, "the process was stopped"));
            };
            *left = rest;
        }
        self.catch_up();
        let dice = self.roll();
        let outcome = match self.script.verdict(name, self.now, dice) {
            Verdict::Pass => self.perform(call).map_err(|refusal| {
                ApiError::service(name, refusal.status, &refusal.code, refusal.message)
            }),
            Verdict::Refuse(refusal) => Err(ApiError::service(
                name,
                refusal.status,
                &refusal.code,
                refusal.message,
            )),
            Verdict::LoseAnswer(fault) => {
                // Effect or refusal: the caller does not hear of either.
                let _unheard = self.perform(call);
                Err(ApiError::local(name, fault, "no answer"))
            }
            Verdict::LoseCall(fault) => Err(ApiError::local(name, fault, "not reached")),
        };
        self.made.push(Made {
            name,
            mutating: is_mutating(name),
            error: outcome.as_ref().err().map(|error| error.code.clone()),
        });
        outcome
    }

    /// Serves a call, once for each client token.
    fn perform(&mut self, call: Call) -> Answer<Reply> {
        let key = match token(&call) {
            Some("") => {
                return refuse("MissingParameter", "The shim always sends a client token");
            }
            Some(text) if text.len() > 64 || !text.is_ascii() => {
                return refuse(
                    "InvalidParameterValue",
                    "A client token has at most 64 ASCII characters",
                );
            }
            Some(text) => (call.name(), text.to_owned()),
            None => return self.dispatch(call),
        };
        if let Some((earlier, reply)) = self.tokens.get(&key) {
            if *earlier != call {
                return Err(mismatch(key.0));
            }
            return self.again(reply.clone());
        }
        let reply = self.dispatch(call.clone())?;
        self.tokens.insert(key, (call, reply.clone()));
        Ok(reply)
    }

    /// The answer to a call whose token was seen before: the resource as it is
    /// now, or as it was if it is no more.
    fn again(&self, reply: Reply) -> Answer<Reply> {
        Ok(match reply {
            Reply::CreateNatGateway(it) => Reply::CreateNatGateway(
                self.nat_gateways
                    .at(&it.id)
                    .map_or(it, |state| state.nat.clone()),
            ),
            Reply::CreateInstanceConnectEndpoint(it) => Reply::CreateInstanceConnectEndpoint(
                self.connect_endpoints.at(&it.id).cloned().unwrap_or(it),
            ),
            Reply::CreateNetworkInterface(it) => Reply::CreateNetworkInterface(
                self.interfaces
                    .at(&it.id)
                    .map_or(it, |state| state.nic.clone()),
            ),
            Reply::RunInstances(instances) => {
                let now = || instances.iter().map(|it| self.instances.at(&it.id));
                if now().all(|it| it.is_none_or(|it| it.instance.state == "terminated")) {
                    return refuse(
                        "IdempotentInstanceTerminated",
                        "The client token was used before, for instances that are terminated",
                    );
                }
                Reply::RunInstances(now().flatten().map(|it| it.instance.clone()).collect())
            }
            other => other,
        })
    }

    // ---- Time and chance

    /// Goes to the present, and lets all happen that was due on the way.
    fn catch_up(&mut self) {
        let present = self.start.elapsed();
        while let Some(entry) = self.events.first_entry() {
            let due = entry.key().0;
            if due > present {
                break;
            }
            let event = entry.remove();
            self.now = self.now.max(due);
            self.happen(event);
        }
        self.now = present;
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::VpcBlock(vpc) => self.vpc_block_is_there(&vpc),
            Event::SubnetBlock(subnet) => self.subnet_block_is_there(&subnet),
            Event::NatReady(nat) => self.nat_is_ready(&nat),
            Event::NatDeleted(nat) => self.nat_is_deleted(&nat),
            Event::NatForgotten(nat) => drop(self.nat_gateways.take(&nat)),
            Event::EndpointGone(endpoint) => self.endpoint_is_gone(&endpoint),
            Event::ConnectReady(endpoint) => self.connect_endpoint_is_ready(&endpoint),
            Event::ConnectDeleted(endpoint) => self.connect_endpoint_is_deleted(&endpoint),
            Event::ConnectForgotten(endpoint) => drop(self.connect_endpoints.take(&endpoint)),
            Event::InterfaceReady(interface) => self.interface_is_ready(&interface),
            Event::InterfaceGone(interface) => drop(self.interfaces.take(&interface)),
            Event::InterfaceDetached(interface, attachment) => {
                self.interface_is_detached(&interface, &attachment);
            }
            Event::ImageReady(image) => self.image_is_ready(&image),
            Event::SnapshotReady(snapshot) => self.snapshot_is_ready(&snapshot),
            Event::SnapshotTimeout(snapshot) => self.snapshot_times_out(&snapshot),
            Event::InstanceRuns(instance) => self.instance_runs(&instance),
            Event::InstanceEnds(instance) => self.instance_ends(&instance),
            Event::InstanceForgotten(instance) => drop(self.instances.take(&instance)),
            Event::Scale(group) => self.scale(&group),
            Event::ScheduledAction(group, name, version) => {
                self.action_is_due(&group, &name, version);
            }
            Event::ScalingGroupGone(group) => drop(self.scaling.take(&group)),
            Event::BucketNameFree(bucket) => {
                self.taken.going.remove(&bucket);
            }
            Event::ScheduleDue(group, name) => self.schedule_is_due(&group, &name),
            Event::ScheduleGroupGone(group) => drop(self.schedules.take(&group)),
        }
    }

    /// Lets an event happen between `span.0` and `span.1` seconds from now, or
    /// at once if somebody else's resources are being put there.
    fn later(&mut self, span: (u64, u64), event: Event) {
        if self.foreign {
            return self.happen(event);
        }
        let shortest = Duration::from_secs(span.0);
        let wait = shortest + self.part_of(Duration::from_secs(span.1).saturating_sub(shortest));
        self.at(self.now + wait, event);
    }

    fn at_unix(&mut self, second: i64, event: Event) {
        let wait = u64::try_from(second - self.unix_time()).unwrap_or(0);
        self.at(self.now + Duration::from_secs(wait), event);
    }

    fn at(&mut self, due: Duration, event: Event) {
        self.event_serial += 1;
        self.events.insert((due, self.event_serial), event);
    }

    fn unix_time(&self) -> i64 {
        self.epoch + self.now.as_secs().cast_signed()
    }

    /// When a resource that is made now shows up.
    fn birth(&mut self) -> Birth {
        let known = self.part_of(self.timing.known);
        let listed = known.max(self.part_of(self.timing.listed));
        let (known, listed) = if self.foreign {
            Default::default()
        } else {
            (known, listed)
        };
        Birth {
            known: self.now + known,
            listed: self.now + listed,
            foreign: self.foreign,
        }
    }

    /// SplitMix64: small, and good enough for a lottery.
    fn random(&mut self) -> u64 {
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number in 0..1.
    fn roll(&mut self) -> f64 {
        f64::from((self.random() >> 32) as u32) / 4_294_967_296.0
    }

    fn part_of(&mut self, whole: Duration) -> Duration {
        let share = self.roll();
        whole.mul_f64(share)
    }

    /// A new id, such as `vpc-0123456789abcdef0`.
    fn id(&mut self, prefix: &str) -> Id {
        format!("{prefix}0{:016x}", self.random())
    }
}

/// What each service says of a token that comes with other parameters.
fn mismatch(call: &str) -> Refusal {
    let message = "The client token was used before with other parameters";
    match call.split_once(':') {
        Some(("ebs", _)) => Refusal::new(409, "ConflictException", message),
        Some(("scheduler", _)) => Refusal::new(409, "ConflictException", message),
        _ => Refusal::new(400, "IdempotentParameterMismatch", message),
    }
}

/// What was there a moment ago is not.
fn vanished() -> Refusal {
    Refusal::new(500, "InternalError", "An internal error has occurred")
}

fn is_mutating(name: &str) -> bool {
    let action = name.split_once(':').map_or(name, |(_, action)| action);
    !["Describe", "Get", "List", "Head"]
        .iter()
        .any(|reads| action.starts_with(reads))
}

/// The client token of a call that has one.
fn token(call: &Call) -> Option<&str> {
    Some(match call {
        Call::CreateEgressOnlyInternetGateway(c) => &c.token,
        Call::CreateNatGateway(c) => &c.token,
        Call::CreateRouteTable(c) => &c.token,
        Call::CreateVpcEndpoint(c) => &c.token,
        Call::CreateInstanceConnectEndpoint(c) => &c.token,
        Call::CreateNetworkInterface(c) => &c.token,
        Call::CreateLaunchTemplate(c) => &c.token,
        Call::CreateLaunchTemplateVersion(c) => &c.token,
        Call::RunInstances(c) => &c.token,
        Call::StartSnapshot(c) => &c.token,
        Call::CreateScheduleGroup(c) => &c.token,
        Call::CreateSchedule(c) => &c.token,
        _ => return None,
    })
}

/// Sends each call to the method that serves it.
macro_rules! dispatch {
    ($($call:ident => $method:ident,)*) => {
        impl Account {
            fn dispatch(&mut self, call: Call) -> Answer<Reply> {
                match call {
                    $( Call::$call(request) => self.$method(request).map(Reply::$call), )*
                }
            }
        }
    };
}

dispatch! {
    GetCallerIdentity => caller_identity,
    GetParameter => get_parameter,
    DescribeVpcs => describe_vpcs,
    CreateVpc => create_vpc,
    DescribeVpcAttribute => describe_vpc_attribute,
    ModifyVpcAttribute => modify_vpc_attribute,
    AssociateVpcCidrBlock => associate_vpc_block,
    DisassociateVpcCidrBlock => disassociate_vpc_block,
    DeleteVpc => delete_vpc,
    DescribeDhcpOptions => describe_options,
    CreateDhcpOptions => create_options,
    AssociateDhcpOptions => associate_options,
    DeleteDhcpOptions => delete_options,
    DescribeSubnets => describe_subnets,
    CreateSubnet => create_subnet,
    ModifySubnetAttribute => modify_subnet_attribute,
    AssociateSubnetCidrBlock => associate_subnet_block,
    DisassociateSubnetCidrBlock => disassociate_subnet_block,
    DeleteSubnet => delete_subnet,
    DescribeInternetGateways => describe_internet_gateways,
    CreateInternetGateway => create_internet_gateway,
    AttachInternetGateway => attach_internet_gateway,
    DetachInternetGateway => detach_internet_gateway,
    DeleteInternetGateway => delete_internet_gateway,
    DescribeEgressOnlyInternetGateways => describe_egress_gateways,
    CreateEgressOnlyInternetGateway => create_egress_gateway,
    DeleteEgressOnlyInternetGateway => delete_egress_gateway,
    DescribeNatGateways => describe_nat_gateways,
    CreateNatGateway => create_nat_gateway,
    DeleteNatGateway => delete_nat_gateway,
    DescribeAddresses => describe_addresses,
    AllocateAddress => allocate_address,
    AssociateAddress => associate_address,
    DisassociateAddress => disassociate_address,
    ReleaseAddress => release_address,
    DescribeManagedPrefixLists => describe_prefix_lists,
    DescribeRouteTables => describe_tables,
    CreateRouteTable => create_table,
    CreateRoute => create_route,
    ReplaceRoute => replace_route,
    DeleteRoute => delete_route,
    AssociateRouteTable => associate_table,
    DisassociateRouteTable => disassociate_table,
    DeleteRouteTable => delete_table,
    DescribeSecurityGroups => describe_groups,
    DescribeSecurityGroupRules => describe_rules,
    CreateSecurityGroup => create_group,
    AuthorizeSecurityGroupIngress => authorize_ingress,
    AuthorizeSecurityGroupEgress => authorize_egress,
    RevokeSecurityGroupIngress => revoke_ingress,
    RevokeSecurityGroupEgress => revoke_egress,
    DeleteSecurityGroup => delete_group,
    DescribeVpcEndpoints => describe_endpoints,
    CreateVpcEndpoint => create_endpoint,
    ModifyVpcEndpoint => modify_endpoint,
    DeleteVpcEndpoint => delete_endpoint,
    DescribeInstanceConnectEndpoints => describe_connect_endpoints,
    CreateInstanceConnectEndpoint => create_connect_endpoint,
    DeleteInstanceConnectEndpoint => delete_connect_endpoint,
    DescribeNetworkInterfaces => describe_interfaces,
    CreateNetworkInterface => create_interface,
    ModifyNetworkInterfaceGroups => set_interface_groups,
    ModifyNetworkInterfaceSourceDestCheck => set_source_dest_check,
    AssignPrivateIpAddresses => assign_addresses,
    UnassignPrivateIpAddresses => unassign_addresses,
    AssignIpv6Addresses => assign_ipv6,
    UnassignIpv6Addresses => unassign_ipv6,
    DetachNetworkInterface => detach_interface,
    DeleteNetworkInterface => delete_interface,
    DescribeLaunchTemplates => describe_templates,
    CreateLaunchTemplate => create_template,
    CreateLaunchTemplateVersion => create_template_version,
    ModifyLaunchTemplate => modify_template,
    DeleteLaunchTemplate => delete_template,
    DescribeInstances => describe_instances,
    RunInstances => run_instances,
    TerminateInstances => terminate_instances,
    ModifyInstanceCreditSpecification => modify_credits,
    DescribeVolumes => describe_volumes,
    DeleteVolume => delete_volume,
    DescribeImages => describe_images,
    RegisterImage => register_image,
    DeregisterImage => deregister_image,
    DescribeSnapshots => describe_snapshots,
    DeleteSnapshot => delete_snapshot,
    StartSnapshot => start_snapshot,
    PutSnapshotBlock => put_block,
    CompleteSnapshot => complete_snapshot,
    DescribeTags => describe_tags,
    CreateTags => create_tags,
    DescribeAutoScalingGroups => describe_scaling_groups,
    CreateAutoScalingGroup => create_scaling_group,
    UpdateAutoScalingGroup => update_scaling_group,
    SetDesiredCapacity => set_desired,
    DeleteAutoScalingGroup => delete_scaling_group,
    DescribeScheduledActions => describe_actions,
    PutScheduledUpdateGroupAction => put_action,
    DeleteScheduledAction => delete_action,
    DescribeScalingActivities => describe_activities,
    GetRole => get_role,
    ListRoles => list_roles,
    CreateRole => create_role,
    UpdateAssumeRolePolicy => update_trust,
    ListRolePolicies => list_role_policies,
    GetRolePolicy => get_role_policy,
    PutRolePolicy => put_role_policy,
    DeleteRolePolicy => delete_role_policy,
    DeleteRole => delete_role,
    GetInstanceProfile => get_profile,
    ListInstanceProfiles => list_profiles,
    CreateInstanceProfile => create_profile,
    AddRoleToInstanceProfile => add_role,
    RemoveRoleFromInstanceProfile => remove_role,
    DeleteInstanceProfile => delete_profile,
    ListBuckets => list_buckets,
    GetBucketTagging => get_bucket_tags,
    CreateBucket => create_bucket,
    PutBucketTagging => put_bucket_tags,
    GetPublicAccessBlock => get_public_block,
    PutPublicAccessBlock => put_public_block,
    ListObjects => list_objects,
    HeadObject => head_object,
    PutObject => put_object,
    DeleteObjects => delete_objects,
    DeleteBucket => delete_bucket,
    ListScheduleGroups => list_schedule_groups,
    CreateScheduleGroup => create_schedule_group,
    DeleteScheduleGroup => delete_schedule_group,
    GetScheduleGroupTags => get_schedule_group_tags,
    ListSchedules => list_schedules,
    CreateSchedule => create_schedule,
    DeleteSchedule => delete_schedule,
    GetFreeTierUsage => free_tier_usage,
    GetCostAndUsage => cost_and_usage,
}
