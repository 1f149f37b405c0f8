//! Who may speak to whom in the VPC, by port; all else is dropped.

use ipnet::Ipv4Net;

use super::{EVERYONE_V4, EVERYONE_V6, Facts, parts};
use crate::api::{Direction, Protocol};
use crate::config::{Config, Egress};
use crate::engine::Part;
use crate::kinds::{GroupPeer, GroupRule, SecurityGroup, Spec};

pub(super) const HTTPS: Protocol = Protocol::Tcp(443, 443);
const SSH: Protocol = Protocol::Tcp(22, 22);
/// Port of the stack's HTTP server.
pub const STACK_HTTP: u16 = 8080;
const TALOS_API: Protocol = Protocol::Tcp(50000, 50000);
const KUBERNETES_API: Protocol = Protocol::Tcp(6443, 6443);

/// What nodes say to each other. Of what CozyStack brings besides its network
/// (LINSTOR, MetalLB), nothing is here: it does not run on nodes of this size,
/// and `nodes.open` lets more through.
pub(super) const AMONG_NODES: &[(Protocol, &str)] = &[
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
pub(super) fn ranges(ports: impl Iterator<Item = u16>) -> Vec<(u16, u16)> {
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
pub(super) fn groups(config: &Config, facts: &Facts) -> Vec<(Part, Spec)> {
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
