//! The whole replica as data: which parts there are, and who may speak to whom.
//!
//! Pure: what must be asked or read first comes in as [`Facts`].

mod rules;

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use serde_json::json;

pub use rules::STACK_HTTP;

use crate::api::{Id, ScheduledAction};
use crate::config::{Config, Egress, Schedule};
use crate::engine::{LAB_TAG, PART_TAG, Part};
use crate::error::{Error, Result};
use crate::kinds::{
    Address, Bucket, ConnectEndpoint, Content, DhcpOptions, EgressOnlyGateway, GatewayEndpoint,
    Group, ImageSource, Interface, InternetGateway, LoaderImage, NatGateway, Profile, Role,
    RouteTable, ScheduleGroup, Spec, Subnet, Template, TemplateInterface, Vpc,
};

/// Names of the parts.
pub mod parts {
    use crate::engine::Part;

    macro_rules! parts {
        ($( $(#[$doc:meta])* $name:ident = $text:literal ),* $(,)?) => {
            $( $(#[$doc])* pub const $name: Part = Part::new($text); )*
        };
    }

    parts! {
        /// The VPC.
        VPC = "vpc",
        /// Its DHCP options.
        DHCP_OPTIONS = "dhcp-options",
        /// For what has a public address.
        PUBLIC_SUBNET = "public-subnet",
        /// For the bastion and the nodes.
        PRIVATE_SUBNET = "private-subnet",
        /// Both ways, for public addresses.
        INTERNET_GATEWAY = "internet-gateway",
        /// Outward only, for IPv6.
        EGRESS_GATEWAY = "egress-gateway",
        /// The bastion's group.
        BASTION_SG = "bastion-sg",
        /// The nodes' group.
        TALOS_NODES_SG = "talos-nodes-sg",
        /// The Instance Connect endpoint's group.
        CONNECT_SG = "connect-sg",
        /// The public interface's group.
        PUBLIC_SG = "public-sg",
        /// The bastion's interface, with its fixed addresses.
        BASTION_INTERFACE = "bastion-interface",
        /// The bastion's second, dual-stack interface.
        PUBLIC_INTERFACE = "public-interface",
        /// The bastion's public address, while it is asked for.
        BASTION_ADDRESS = "bastion-address",
        /// The NAT gateway's public address.
        NAT_ADDRESS = "nat-address",
        /// The NAT gateway.
        NAT_GATEWAY = "nat-gateway",
        /// Routes of the public subnet.
        PUBLIC_ROUTES = "public-routes",
        /// Routes of the private subnet.
        PRIVATE_ROUTES = "private-routes",
        /// The way to S3.
        S3_ENDPOINT = "s3-endpoint",
        /// The way in for SSH.
        CONNECT_ENDPOINT = "connect-endpoint",
        /// What the bastion may do.
        BASTION_ROLE = "bastion-role",
        /// Gives the bastion its role.
        BASTION_PROFILE = "bastion-profile",
        /// What the scheduler may do when a node's time is up.
        REAPER_ROLE = "reaper-role",
        /// What the bastion needs at its first boot.
        BUCKET = "bucket",
        /// What nodes start from.
        LOADER_IMAGE = "loader-image",
        /// How a bastion is launched.
        BASTION_TEMPLATE = "bastion-template",
        /// How a node is launched.
        NODE_TEMPLATE = "node-template",
        /// The nodes' schedules.
        NODES = "nodes",
        /// The group that runs the bastion by the clock.
        BASTION = "bastion",
        /// A node. Not of the design: nodes come and go with `cloud-node`.
        NODE = "node",
    }
}

/// What must be known before the replica can be described.
#[derive(Debug, Clone)]
pub struct Facts {
    /// The account's twelve digits.
    pub account: String,
    /// The image of the bastion's operating system.
    pub bastion_image: Id,
    /// That image's root device, such as `/dev/xvda`.
    pub bastion_root_device: String,
    /// The bastion's user data.
    pub user_data: String,
    /// The bucket's objects.
    pub objects: BTreeMap<String, Content>,
    /// The disk that nodes start from.
    pub loader_disk: Arc<[u8]>,
    /// SHA-256 of that disk in hex.
    pub loader_sha256: String,
    /// Whether the bastion shall have a public IPv4 address now
    /// (`cloud-up --ipv4`).
    pub ipv4_wanted: bool,
    /// The time: tells whether the bastion shall run now.
    pub now: Timestamp,
}

/// Name of a lab's bucket. Bucket names are unique in all of AWS.
pub fn bucket_name(lab: &str, account: &str) -> String {
    format!("ichor-{lab}-{account}")
}

const EVERYONE_V4: IpNet = IpNet::V4(Ipv4Net::new_assert(std::net::Ipv4Addr::UNSPECIFIED, 0));
const EVERYONE_V6: IpNet = IpNet::V6(Ipv6Net::new_assert(std::net::Ipv6Addr::UNSPECIFIED, 0));

/// The /64 of the public subnet in the VPC's /56: the third octet of the
/// design's IPv4 blocks.
const PUBLIC_IPV6: u8 = 1;
/// The same of the private subnet.
const PRIVATE_IPV6: u8 = 13;

/// The replica, in the order of making.
///
/// # Errors
///
/// [`Error::Refused`] for a public address in a mode that has none, and
/// [`Error::Config`] for an unknown time zone.
pub fn design(config: &Config, facts: &Facts) -> Result<Vec<(Part, Spec)>> {
    if facts.ipv4_wanted && config.egress != Egress::Ipv4Hourly {
        return Err(Error::refused(
            "--ipv4 asks for a public address: set egress = \"ipv4-hourly\" in cloud.toml",
        ));
    }
    let mut parts = network(config, facts);
    parts.extend(identities(config, facts));
    parts.extend(machines(config, facts)?);
    Ok(parts)
}

/// Everything that packets go through.
fn network(config: &Config, facts: &Facts) -> Vec<(Part, Spec)> {
    let ipv6_egress = config.egress == Egress::Ipv6;
    let mut parts = vec![
        (
            parts::VPC,
            Spec::Vpc(Vpc {
                cidr: config.network.vpc,
                ipv6: ipv6_egress || config.bastion.public_interface,
                dhcp_options: parts::DHCP_OPTIONS,
            }),
        ),
        (
            parts::DHCP_OPTIONS,
            // The second resolver answers in the hours when the bastion is
            // off. The bastion itself asks the VPC's resolver: one that waits
            // for its own pi-hole could not fetch it.
            Spec::DhcpOptions(DhcpOptions {
                servers: vec![
                    config.bastion.address.to_string(),
                    "AmazonProvidedDNS".to_owned(),
                ],
                domain: None,
            }),
        ),
    ];
    let subnet = |cidr, ipv6: Option<u8>| {
        Spec::Subnet(Subnet {
            vpc: parts::VPC,
            cidr,
            ipv6,
            zone: config.zone(),
        })
    };
    let public_ipv6 = config.bastion.public_interface.then_some(PUBLIC_IPV6);
    let private_ipv6 = ipv6_egress.then_some(PRIVATE_IPV6);
    parts.extend([
        (
            parts::PUBLIC_SUBNET,
            subnet(config.network.public, public_ipv6),
        ),
        (
            parts::PRIVATE_SUBNET,
            subnet(config.network.private, private_ipv6),
        ),
        (
            parts::INTERNET_GATEWAY,
            Spec::InternetGateway(InternetGateway { vpc: parts::VPC }),
        ),
    ]);
    if ipv6_egress {
        let gateway = EgressOnlyGateway { vpc: parts::VPC };
        parts.push((parts::EGRESS_GATEWAY, Spec::EgressOnlyGateway(gateway)));
    }
    parts.extend(rules::groups(config, facts));
    parts.extend(interfaces(config, facts));
    if config.egress == Egress::NatGateway {
        let gateway = NatGateway {
            subnet: parts::PUBLIC_SUBNET,
            address: parts::NAT_ADDRESS,
        };
        parts.push((parts::NAT_GATEWAY, Spec::NatGateway(gateway)));
    }
    let table = |subnet, routes| {
        Spec::RouteTable(RouteTable {
            vpc: parts::VPC,
            subnets: vec![subnet],
            routes,
        })
    };
    let mut public_routes = vec![(EVERYONE_V4, parts::INTERNET_GATEWAY)];
    if public_ipv6.is_some() {
        public_routes.push((EVERYONE_V6, parts::INTERNET_GATEWAY));
    }
    let private_routes = match config.egress {
        Egress::Ipv6 => vec![(EVERYONE_V6, parts::EGRESS_GATEWAY)],
        Egress::NatGateway => vec![(EVERYONE_V4, parts::NAT_GATEWAY)],
        // The private subnet is a public one for as long as the address is
        // asked for. The gateway translates for interfaces that have a public
        // address, which is the bastion's alone: nodes stay out of reach.
        Egress::Ipv4Hourly if facts.ipv4_wanted => {
            vec![(EVERYONE_V4, parts::INTERNET_GATEWAY)]
        }
        Egress::Ipv4Hourly | Egress::None => Vec::new(),
    };
    parts.extend([
        (
            parts::PUBLIC_ROUTES,
            table(parts::PUBLIC_SUBNET, public_routes),
        ),
        (
            parts::PRIVATE_ROUTES,
            table(parts::PRIVATE_SUBNET, private_routes),
        ),
        (
            parts::S3_ENDPOINT,
            Spec::GatewayEndpoint(GatewayEndpoint {
                vpc: parts::VPC,
                tables: vec![parts::PRIVATE_ROUTES],
            }),
        ),
        (
            parts::CONNECT_ENDPOINT,
            Spec::ConnectEndpoint(ConnectEndpoint {
                subnet: parts::PRIVATE_SUBNET,
                group: parts::CONNECT_SG,
            }),
        ),
    ]);
    parts
}

/// Fixed and public addresses.
fn interfaces(config: &Config, facts: &Facts) -> Vec<(Part, Spec)> {
    let bastion = &config.bastion;
    let mut parts = vec![(
        parts::BASTION_INTERFACE,
        Spec::Interface(Interface {
            subnet: parts::PRIVATE_SUBNET,
            primary: bastion.address,
            secondary: vec![bastion.stack_address],
            ipv6: config.egress == Egress::Ipv6,
            groups: vec![parts::BASTION_SG],
            // The bastion routes for nobody, and the stack's address is the
            // interface's own.
            source_dest_check: true,
        }),
    )];
    if bastion.public_interface {
        parts.push((
            parts::PUBLIC_INTERFACE,
            Spec::Interface(Interface {
                subnet: parts::PUBLIC_SUBNET,
                primary: bastion.public_address,
                secondary: Vec::new(),
                ipv6: true,
                groups: vec![parts::PUBLIC_SG],
                source_dest_check: true,
            }),
        ));
    }
    if facts.ipv4_wanted {
        let interface = Some(parts::BASTION_INTERFACE);
        let address = Address { interface };
        parts.push((parts::BASTION_ADDRESS, Spec::Address(address)));
    }
    if config.egress == Egress::NatGateway {
        let address = Address { interface: None };
        parts.push((parts::NAT_ADDRESS, Spec::Address(address)));
    }
    parts
}

/// Who may do what.
fn identities(config: &Config, facts: &Facts) -> Vec<(Part, Spec)> {
    let bucket = format!("arn:aws:s3:::{}", bucket_name(&config.lab, &facts.account));
    let allow =
        |statements: serde_json::Value| json!({"Version": "2012-10-17", "Statement": statements});
    let reads = allow(json!([
        {"Effect": "Allow", "Action": "s3:ListBucket", "Resource": bucket},
        {"Effect": "Allow", "Action": "s3:GetObject", "Resource": format!("{bucket}/*")},
    ]));
    let instances = format!("arn:aws:ec2:{}:{}:instance/*", config.region, facts.account);
    // The lab's nodes, and not even its bastion.
    let ends = allow(json!([{
        "Effect": "Allow",
        "Action": "ec2:TerminateInstances",
        "Resource": instances,
        "Condition": {"StringEquals": {
            format!("ec2:ResourceTag/{LAB_TAG}"): config.lab,
            format!("ec2:ResourceTag/{PART_TAG}"): parts::NODE.as_str(),
        }},
    }]));
    let role = |service, policy| Spec::Role(Role { service, policy });
    vec![
        (parts::BASTION_ROLE, role("ec2.amazonaws.com", reads)),
        (parts::REAPER_ROLE, role("scheduler.amazonaws.com", ends)),
        (
            parts::BASTION_PROFILE,
            Spec::Profile(Profile {
                role: parts::BASTION_ROLE,
            }),
        ),
    ]
}

/// What machines start from, and when.
fn machines(config: &Config, facts: &Facts) -> Result<Vec<(Part, Spec)>> {
    let bastion = Template {
        image: ImageSource::Public {
            id: facts.bastion_image.clone(),
            root_device: facts.bastion_root_device.clone(),
        },
        instance_type: config.bastion.instance_type.clone(),
        profile: Some(parts::BASTION_PROFILE),
        interface: TemplateInterface::Existing(parts::BASTION_INTERFACE),
        second_interface: config
            .bastion
            .public_interface
            .then_some(parts::PUBLIC_INTERFACE),
        root_gib: config.bastion.root_gib,
        user_data: Some(facts.user_data.clone()),
        instance: parts::BASTION,
        terminate_on_shutdown: true,
    };
    let node = Template {
        image: ImageSource::Ours(parts::LOADER_IMAGE),
        instance_type: config.nodes.instance_type.clone(),
        profile: None,
        interface: TemplateInterface::New {
            subnet: parts::PRIVATE_SUBNET,
            groups: vec![parts::TALOS_NODES_SG],
            ipv6: config.egress == Egress::Ipv6,
        },
        second_interface: None,
        root_gib: config.nodes.root_gib,
        user_data: None,
        instance: parts::NODE,
        terminate_on_shutdown: true,
    };
    let schedule = &config.bastion.schedule;
    Ok(vec![
        (
            parts::BUCKET,
            Spec::Bucket(Bucket {
                objects: facts.objects.clone(),
            }),
        ),
        (
            parts::LOADER_IMAGE,
            Spec::LoaderImage(LoaderImage {
                disk: Arc::clone(&facts.loader_disk),
                sha256: facts.loader_sha256.clone(),
                size_gib: gib(facts.loader_disk.len()),
            }),
        ),
        (parts::BASTION_TEMPLATE, Spec::Template(bastion)),
        (parts::NODE_TEMPLATE, Spec::Template(node)),
        (parts::NODES, Spec::ScheduleGroup(ScheduleGroup {})),
        (
            parts::BASTION,
            Spec::Group(Group {
                template: parts::BASTION_TEMPLATE,
                zone: config.zone(),
                desired: schedule.runs_at(facts.now)?.into(),
                schedule: actions(schedule),
            }),
        ),
    ])
}

/// The volume that holds so many bytes: whole GiB, as EBS has them.
fn gib(bytes: usize) -> u32 {
    const GIB: usize = 1 << 30;
    u32::try_from(bytes.div_ceil(GIB).max(1)).unwrap_or(u32::MAX)
}

/// What starts and ends the bastion; nothing where it always runs.
fn actions(schedule: &Schedule) -> Vec<ScheduledAction> {
    if schedule.always() {
        return Vec::new();
    }
    let action = |name: &str, at: jiff::civil::Time, desired| ScheduledAction {
        name: name.to_owned(),
        recurrence: format!("{} {} * * *", at.minute(), at.hour()),
        time_zone: schedule.time_zone.clone(),
        min: 0,
        max: 1,
        desired,
    };
    vec![
        action("start", schedule.start, 1),
        action("stop", schedule.end(), 0),
    ]
}

#[cfg(test)]
mod tests;
