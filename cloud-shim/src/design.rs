//! The whole replica as data: which parts there are, and who may speak to whom.
//!
//! Pure: what must be asked or read first comes in as [`Facts`].

use std::collections::BTreeMap;
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use jiff::Timestamp;
use serde_json::json;

use crate::api::{Direction, Id, Protocol, ScheduledAction};
use crate::config::{Config, Egress, Schedule};
use crate::engine::{LAB_TAG, PART_TAG, Part};
use crate::error::{Error, Result};
use crate::kinds::{
    Address, Bucket, ConnectEndpoint, Content, DhcpOptions, EgressOnlyGateway, GatewayEndpoint,
    Group, GroupPeer, GroupRule, ImageSource, Interface, InternetGateway, LoaderImage, NatGateway,
    Profile, Role, RouteTable, ScheduleGroup, SecurityGroup, Spec, Subnet, Template,
    TemplateInterface, Vpc,
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

const HTTPS: Protocol = Protocol::Tcp(443, 443);
const SSH: Protocol = Protocol::Tcp(22, 22);
/// Port of the stack's HTTP server.
pub const STACK_HTTP: u16 = 8080;
const TALOS_API: Protocol = Protocol::Tcp(50000, 50000);
const KUBERNETES_API: Protocol = Protocol::Tcp(6443, 6443);

/// What nodes say to each other. Of what CozyStack brings besides its network
/// (LINSTOR, MetalLB), nothing is here: it does not run on nodes of this size,
/// and `nodes.open` lets more through.
const AMONG_NODES: &[(Protocol, &str)] = &[
    (TALOS_API, "Talos API"),
    (Protocol::Tcp(50001, 50001), "Talos trustd"),
    (KUBERNETES_API, "Kubernetes API"),
    (Protocol::Tcp(2379, 2380), "etcd"),
    (Protocol::Tcp(10250, 10250), "kubelet"),
    (Protocol::Udp(4789, 4789), "VXLAN of flannel"),
    (Protocol::Udp(8472, 8472), "VXLAN of Cilium"),
    (Protocol::Tcp(4240, 4240), "health of Cilium"),
    (Protocol::Udp(6081, 6081), "Geneve of Kube-OVN"),
    (Protocol::Tcp(6641, 6644), "databases of Kube-OVN"),
    (Protocol::Icmp, "ping and path MTU"),
];

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
    parts.extend(groups(config, facts));
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

/// Who may speak to whom. Each end that is a group gets its rule for it, so
/// the two directions cannot contradict each other.
struct Flow {
    from: GroupPeer,
    to: GroupPeer,
    protocol: Protocol,
    why: &'static str,
}

/// All that may be said in the VPC: what is not here is dropped.
///
/// The VPC's resolver, the time service and instance metadata (link-local and
/// base + 2) are not filtered by groups, and need no rule. TFTP has none
/// either: the nodes' loader fetches everything by HTTP.
fn flows(config: &Config, facts: &Facts) -> Vec<Flow> {
    let group = GroupPeer::Group;
    let block = GroupPeer::Block;
    let bastion = || group(parts::BASTION_SG);
    let nodes = || group(parts::TALOS_NODES_SG);
    let mut flows = Vec::new();
    let mut flow = |from, to, protocol, why| {
        flows.push(Flow {
            from,
            to,
            protocol,
            why,
        });
    };

    flow(group(parts::CONNECT_SG), bastion(), SSH, "SSH");
    if config.bastion.public_interface {
        for from in &config.bastion.ssh_from {
            flow(block(*from), group(parts::PUBLIC_SG), SSH, "SSH from home");
        }
    }

    let vpc = || block(config.network.vpc.into());
    let bastion_alone = || block(Ipv4Net::from(config.bastion.address).into());
    for protocol in [Protocol::Udp(53, 53), Protocol::Tcp(53, 53)] {
        flow(vpc(), bastion(), protocol, "DNS for the VPC");
        flow(nodes(), bastion_alone(), protocol, "DNS");
    }

    let stack = Protocol::Tcp(STACK_HTTP, STACK_HTTP);
    flow(nodes(), bastion(), stack, "netboot over HTTP");
    for (first, last) in ranges(config.mirrors.values().copied()) {
        let mirrors = Protocol::Tcp(first, last);
        flow(nodes(), bastion(), mirrors, "registry mirrors");
    }
    flow(nodes(), bastion(), Protocol::Icmp, "ping and path MTU");
    flow(bastion(), nodes(), TALOS_API, "talosctl");
    flow(bastion(), nodes(), KUBERNETES_API, "kubectl");
    flow(bastion(), nodes(), Protocol::Icmp, "ping and path MTU");
    for (protocol, why) in AMONG_NODES {
        flow(nodes(), nodes(), *protocol, why);
    }
    for open in &config.nodes.open {
        flow(nodes(), nodes(), open.0, "opened by cloud.toml");
    }

    let updates = "packages and first boot, through the endpoint";
    flow(bastion(), GroupPeer::S3, HTTPS, updates);
    let fills = "mirrors and updates";
    let setup = "initial setup";
    match config.egress {
        Egress::Ipv6 => {
            flow(bastion(), block(EVERYONE_V6), HTTPS, fills);
            flow(nodes(), block(EVERYONE_V6), HTTPS, setup);
        }
        Egress::NatGateway => {
            // A group cannot name a NAT gateway: the design's "HTTPS to NAT
            // gateway" is HTTPS to everyone, by the only route there is.
            flow(bastion(), block(EVERYONE_V4), HTTPS, fills);
            flow(nodes(), block(EVERYONE_V4), HTTPS, setup);
        }
        Egress::Ipv4Hourly if facts.ipv4_wanted => {
            flow(bastion(), block(EVERYONE_V4), HTTPS, fills);
        }
        Egress::Ipv4Hourly | Egress::None => {}
    }
    flows
}

/// Ports as ranges without gaps.
fn ranges(ports: impl Iterator<Item = u16>) -> Vec<(u16, u16)> {
    let mut ports: Vec<u16> = ports.collect();
    ports.sort_unstable();
    let mut ranges: Vec<(u16, u16)> = Vec::new();
    for port in ports {
        match ranges.last_mut() {
            Some((_, last)) if port - *last <= 1 => *last = port,
            _ => ranges.push((port, port)),
        }
    }
    ranges
}

/// The groups, with both ends of every flow.
fn groups(config: &Config, facts: &Facts) -> Vec<(Part, Spec)> {
    let flows = flows(config, facts);
    let mut groups = vec![
        (parts::BASTION_SG, "The bastion: netboot, DNS, mirrors"),
        (parts::TALOS_NODES_SG, "Talos nodes: by port or not at all"),
        (
            parts::CONNECT_SG,
            "EC2 Instance Connect: SSH to the bastion",
        ),
    ];
    if config.bastion.public_interface {
        groups.push((
            parts::PUBLIC_SG,
            "The public side of the bastion: SSH alone",
        ));
    }
    let rules = |part: &Part| {
        let here = GroupPeer::Group(part.clone());
        let rule = |direction, peer: &GroupPeer, flow: &Flow| GroupRule {
            direction,
            protocol: flow.protocol,
            peer: peer.clone(),
            why: flow.why,
        };
        let ingress = flows.iter().filter(|flow| flow.to == here);
        let egress = flows.iter().filter(|flow| flow.from == here);
        ingress
            .map(|flow| rule(Direction::Ingress, &flow.from, flow))
            .chain(egress.map(|flow| rule(Direction::Egress, &flow.to, flow)))
            .collect()
    };
    groups
        .into_iter()
        .map(|(part, description)| {
            let group = SecurityGroup {
                vpc: parts::VPC,
                description: description.to_owned(),
                rules: rules(&part),
            };
            (part, Spec::SecurityGroup(group))
        })
        .collect()
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
