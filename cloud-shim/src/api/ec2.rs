//! What EC2 answers.

use core::fmt;

use super::{Id, Tags};

/// Whose credentials are in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Twelve digits.
    pub account: String,
    /// The user or role.
    pub arn: String,
}

/// The DNS attributes of a VPC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum VpcAttribute {
    /// `enableDnsSupport`: the resolver at the network's base + 2 answers.
    DnsSupport,
    /// `enableDnsHostnames`.
    DnsHostnames,
}

/// A VPC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vpc {
    /// `vpc-…`.
    pub id: Id,
    /// `10.20.0.0/16`.
    pub cidr: String,
    /// The Amazon-provided IPv6 block, if it has one that is associated.
    pub ipv6: Option<Ipv6Block>,
    /// Its option set, `default` if it is Amazon's own.
    pub dhcp_options: Id,
    /// Whether it is the region's default VPC.
    pub is_default: bool,
    /// Its tags.
    pub tags: Tags,
}

/// An IPv6 block of a VPC or a subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ipv6Block {
    /// For Disassociate calls.
    pub association: Id,
    /// A /56 of a VPC, a /64 of a subnet.
    pub cidr: String,
}

/// A DHCP option set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpOptions {
    /// `dopt-…`.
    pub id: Id,
    /// `domain-name-servers`, in order.
    pub servers: Vec<String>,
    /// `domain-name`.
    pub domain: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

/// Attributes of a subnet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SubnetAttribute {
    /// `AssignIpv6AddressOnCreation`.
    AssignIpv6,
    /// `MapPublicIpOnLaunch`.
    MapPublicIp,
}

/// A subnet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subnet {
    /// `subnet-…`.
    pub id: Id,
    /// Its VPC.
    pub vpc: Id,
    /// `10.20.13.0/24`.
    pub cidr: String,
    /// Its /64, if it has one that is associated.
    pub ipv6: Option<Ipv6Block>,
    /// Such as `eu-west-1a`.
    pub zone: String,
    /// [`SubnetAttribute::AssignIpv6`].
    pub assign_ipv6: bool,
    /// [`SubnetAttribute::MapPublicIp`].
    pub map_public_ip: bool,
    /// Its tags.
    pub tags: Tags,
}

/// An internet gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InternetGateway {
    /// `igw-…`.
    pub id: Id,
    /// The VPC that it is attached to.
    pub vpc: Option<Id>,
    /// Its tags.
    pub tags: Tags,
}

/// An egress-only internet gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EgressOnlyGateway {
    /// `eigw-…`.
    pub id: Id,
    /// Its VPC.
    pub vpc: Id,
    /// Its tags.
    pub tags: Tags,
}

/// A NAT gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NatGateway {
    /// `nat-…`.
    pub id: Id,
    /// Its VPC.
    pub vpc: Id,
    /// The subnet that it stands in.
    pub subnet: Id,
    /// `pending`, `available`, `deleting`, `deleted` or `failed`.
    pub state: String,
    /// Its elastic addresses.
    pub allocations: Vec<Id>,
    /// Why it failed.
    pub failure: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

/// An elastic address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// `eipalloc-…`.
    pub id: Id,
    /// The public address.
    pub public: String,
    /// `eipassoc-…`, if it is mapped.
    pub association: Option<Id>,
    /// The interface that it is mapped to.
    pub interface: Option<Id>,
    /// Its tags.
    pub tags: Tags,
}

/// Where a route leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// An internet gateway.
    InternetGateway(Id),
    /// An egress-only internet gateway.
    EgressOnlyGateway(Id),
    /// A NAT gateway.
    NatGateway(Id),
    /// A network interface.
    Interface(Id),
    /// A gateway endpoint; EC2 itself makes and removes these routes.
    Endpoint(Id),
    /// Inside the VPC; EC2 itself makes these routes.
    Local,
    /// What this program never leads to, such as a transit gateway: its id.
    Other(Id),
}

impl Target {
    /// The id of what it leads to; `local` inside the VPC.
    pub fn id(&self) -> &str {
        match self {
            Self::InternetGateway(id)
            | Self::EgressOnlyGateway(id)
            | Self::NatGateway(id)
            | Self::Interface(id)
            | Self::Endpoint(id)
            | Self::Other(id) => id,
            Self::Local => "local",
        }
    }
}

/// A route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// A CIDR, or a prefix list `pl-…` of an endpoint.
    pub destination: String,
    /// Where it leads.
    pub target: Target,
    /// Whether its target is gone.
    pub blackhole: bool,
}

/// A subnet's use of a route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTableAssociation {
    /// `rtbassoc-…`.
    pub id: Id,
    /// The subnet; none for the VPC's main table.
    pub subnet: Option<Id>,
}

/// A route table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteTable {
    /// `rtb-…`.
    pub id: Id,
    /// Its VPC.
    pub vpc: Id,
    /// Its routes.
    pub routes: Vec<Route>,
    /// Who uses it.
    pub associations: Vec<RouteTableAssociation>,
    /// Whether it is the VPC's main table, which goes with the VPC.
    pub is_main: bool,
    /// Its tags.
    pub tags: Tags,
}

/// A security group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityGroup {
    /// `sg-…`.
    pub id: Id,
    /// Its name: unique in a VPC; `default` goes with the VPC.
    pub name: String,
    /// What it is for; cannot be changed.
    pub description: String,
    /// Its VPC.
    pub vpc: Id,
    /// Its tags.
    pub tags: Tags,
}

/// Which way a rule looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Direction {
    /// What comes in.
    Ingress,
    /// What goes out.
    Egress,
}

/// What a rule lets through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Everything (`-1`).
    All,
    /// TCP to ports first–last.
    Tcp(u16, u16),
    /// UDP to ports first–last.
    Udp(u16, u16),
    /// ICMP of every type.
    Icmp,
    /// ICMPv6 of every type.
    Icmp6,
    /// What this program never asks for, such as ESP or one type of ICMP.
    Other {
        /// IANA's number.
        number: u8,
        /// For ICMP its type, else the first port; -1 for every one.
        kind: i32,
        /// For ICMP its code, else the last port; -1 for every one.
        code: i32,
    },
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("all"),
            Self::Icmp => f.write_str("icmp"),
            Self::Icmp6 => f.write_str("icmpv6"),
            Self::Tcp(first, last) if first == last => write!(f, "tcp {first}"),
            Self::Udp(first, last) if first == last => write!(f, "udp {first}"),
            Self::Tcp(first, last) => write!(f, "tcp {first}-{last}"),
            Self::Udp(first, last) => write!(f, "udp {first}-{last}"),
            Self::Other { number, kind, code } => {
                write!(f, "protocol {number} ({kind} to {code})")
            }
        }
    }
}

/// The other side of a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Peer {
    /// An IPv4 block.
    Ipv4(String),
    /// An IPv6 block.
    Ipv6(String),
    /// Whoever has this group.
    Group(Id),
    /// A managed prefix list, such as S3's: `pl-…`.
    PrefixList(Id),
}

/// A rule to be added.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Rule {
    /// What passes.
    pub protocol: Protocol,
    /// From or to whom.
    pub peer: Peer,
    /// What it is for: at most 255 characters of `a-zA-Z0-9. _-:/()#,@[]+=&;{}!$*`.
    pub description: String,
}

/// A rule that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SecurityGroupRule {
    /// `sgr-…`.
    pub id: Id,
    /// Its group.
    pub group: Id,
    /// Which way it looks.
    pub direction: Direction,
    /// What it says.
    pub rule: Rule,
}

/// A gateway endpoint (or, if someone made one, an interface endpoint).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VpcEndpoint {
    /// `vpce-…`.
    pub id: Id,
    /// Its VPC.
    pub vpc: Id,
    /// `com.amazonaws.eu-west-1.s3`.
    pub service: String,
    /// `Gateway` or `Interface`.
    pub kind: String,
    /// `available`, `deleting`, …
    pub state: String,
    /// Route tables that lead to it.
    pub tables: Vec<Id>,
    /// Its tags.
    pub tags: Tags,
}

/// An EC2 Instance Connect endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceConnectEndpoint {
    /// `eice-…`.
    pub id: Id,
    /// Its VPC.
    pub vpc: Id,
    /// The subnet that it stands in.
    pub subnet: Id,
    /// Its groups.
    pub groups: Vec<Id>,
    /// `create-in-progress`, `create-complete`, `create-failed`,
    /// `delete-in-progress`, `delete-complete` or `delete-failed`.
    pub state: String,
    /// Why that is so.
    pub message: Option<String>,
    /// Its tags.
    pub tags: Tags,
}

/// How an interface is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// `eni-attach-…`.
    pub id: Id,
    /// The instance.
    pub instance: Option<Id>,
}

/// A network interface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkInterface {
    /// `eni-…`.
    pub id: Id,
    /// Its VPC.
    pub vpc: Id,
    /// Its subnet.
    pub subnet: Id,
    /// `available`, `in-use`, …
    pub status: String,
    /// `interface`, or what AWS service it belongs to.
    pub kind: String,
    /// Its first address.
    pub primary: String,
    /// Its further addresses.
    pub secondary: Vec<String>,
    /// Its IPv6 addresses.
    pub ipv6: Vec<String>,
    /// Its groups.
    pub groups: Vec<Id>,
    /// Whether packets of other addresses are dropped.
    pub source_dest_check: bool,
    /// What it hangs on.
    pub attachment: Option<Attachment>,
    /// Whose it is, in words.
    pub description: String,
    /// Its tags.
    pub tags: Tags,
}

/// What a launch template says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LaunchData {
    /// `ami-…`.
    pub image: Id,
    /// Such as `t4g.small`.
    pub instance_type: String,
    /// Name of the instance profile.
    pub profile: Option<String>,
    /// The interface at device index 0.
    pub interface: LaunchInterface,
    /// One that exists, at device index 1.
    pub second_interface: Option<Id>,
    /// The root volume.
    pub root: RootVolume,
    /// Plain text; base64 is the adapter's matter.
    pub user_data: Option<String>,
    /// IMDSv2 only, with this hop limit; 0 where a template does not demand it.
    pub metadata_hops: u8,
    /// `standard` credits instead of `unlimited`.
    pub standard_credits: bool,
    /// `InstanceInitiatedShutdownBehavior=terminate`.
    pub terminate_on_shutdown: bool,
    /// For each instance.
    pub instance_tags: Tags,
    /// For each volume and each interface that comes with an instance.
    pub attached_tags: Tags,
}

/// The first interface of an instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LaunchInterface {
    /// One that exists: for one instance at a time.
    Existing(Id),
    /// A new one, gone with the instance.
    New {
        /// In this subnet.
        subnet: Id,
        /// With these groups.
        groups: Vec<Id>,
        /// With this many IPv6 addresses.
        ipv6_count: u32,
    },
}

impl Default for LaunchInterface {
    fn default() -> Self {
        Self::Existing(Id::new())
    }
}

/// A root volume: gp3, encrypted, gone with the instance.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RootVolume {
    /// The image's own name for it, such as `/dev/xvda`.
    pub device: String,
    /// Size.
    pub size_gib: u32,
}

/// A launch template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaunchTemplate {
    /// `lt-…`.
    pub id: Id,
    /// Its name: unique in a region.
    pub name: String,
    /// Which version is used.
    pub default_version: u64,
    /// The newest version.
    pub latest_version: u64,
    /// What the default version says.
    pub data: LaunchData,
    /// Its tags.
    pub tags: Tags,
}

/// An instance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Instance {
    /// `i-…`.
    pub id: Id,
    /// `pending`, `running`, `shutting-down`, `terminated`, `stopping`, `stopped`.
    pub state: String,
    /// Why it is in that state.
    pub state_reason: Option<String>,
    /// Such as `t4g.small`.
    pub instance_type: String,
    /// Its image.
    pub image: Id,
    /// Its VPC and subnet, until it is terminated.
    pub vpc: Option<Id>,
    /// See `vpc`.
    pub subnet: Option<Id>,
    /// Its first private address.
    pub private: Option<String>,
    /// Its public address: costs.
    pub public: Option<String>,
    /// Its interfaces with their MACs, in order.
    pub interfaces: Vec<InstanceInterface>,
    /// Its volumes.
    pub volumes: Vec<Id>,
    /// When it was started, seconds since 1970.
    pub launched: i64,
    /// Its tags.
    pub tags: Tags,
}

/// An interface as an instance shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InstanceInterface {
    /// `eni-…`.
    pub id: Id,
    /// `02:…`.
    pub mac: String,
}

/// A volume.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Volume {
    /// `vol-…`.
    pub id: Id,
    /// Size.
    pub size_gib: u32,
    /// `creating`, `available`, `in-use`, `deleting`.
    pub state: String,
    /// Whether it is encrypted.
    pub encrypted: bool,
    /// `gp3`.
    pub kind: String,
    /// The instance that it is attached to.
    pub instance: Option<Id>,
    /// The snapshot that it was made from.
    pub snapshot: Option<Id>,
    /// Its tags.
    pub tags: Tags,
}

/// An image (AMI).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Image {
    /// `ami-…`.
    pub id: Id,
    /// Its name: unique for an owner in a region.
    pub name: String,
    /// `pending`, `available`, `failed`, …
    pub state: String,
    /// `arm64`; moto, which drops it, leaves it empty.
    pub architecture: String,
    /// `uefi`.
    pub boot_mode: Option<String>,
    /// Whether ENA is on.
    pub ena: bool,
    /// `/dev/xvda`; empty for an image that failed.
    pub root_device: String,
    /// Its snapshots.
    pub snapshots: Vec<Id>,
    /// When it was made, as AWS writes it: `2026-11-02T10:11:12.000Z`.
    pub created: String,
    /// Its tags.
    pub tags: Tags,
}

/// A snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// `snap-…`.
    pub id: Id,
    /// `pending`, `completed` or `error`.
    pub state: String,
    /// Of the volume that it stands for.
    pub size_gib: u32,
    /// In words.
    pub description: String,
    /// Its tags.
    pub tags: Tags,
}

/// A tag and what carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TagLine {
    /// The resource.
    pub resource: Id,
    /// Its type as EC2 calls it: `vpc`, `security-group`, …
    pub kind: String,
    /// The tag's key.
    pub key: String,
    /// The tag's value.
    pub value: String,
}
