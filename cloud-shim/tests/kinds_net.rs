//! The network kinds against the strict fake: made, changed, mended, deleted,
//! and stopped after every single call on the way.

#![allow(clippy::unwrap_used, reason = "a test fails where it stands")]

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use ichor_cloud::api::{
    AssociateDhcpOptions, AssociateRouteTable, AssociateVpcCidrBlock, AuthorizeSecurityGroupEgress,
    AuthorizeSecurityGroupIngress, Cloud, CreateNatGateway, CreateRoute, CreateRouteTable,
    DeleteRoute, DescribeAddresses, DescribeRouteTables, DescribeSecurityGroupRules,
    DescribeSecurityGroups, DetachInternetGateway, Direction, DisassociateAddress,
    DisassociateRouteTable, Fault, Filter, Id, ModifyNetworkInterfaceGroups,
    ModifyNetworkInterfaceSourceDestCheck, ModifySubnetAttribute, ModifyVpcAttribute,
    ModifyVpcEndpoint, Peer, Protocol, Request, RevokeSecurityGroupIngress, Rule, SubnetAttribute,
    Tags, Target, UnassignPrivateIpAddresses, VpcAttribute,
};
use ichor_cloud::engine::{Caller, Ids, Observed, Part, State, Value, changes};
use ichor_cloud::fake::{Fake, Mishap, Timing};
use ichor_cloud::kinds::{
    Address, ConnectEndpoint, Context, DhcpOptions, EgressOnlyGateway, GatewayEndpoint, GroupPeer,
    GroupRule, Interface, InternetGateway, Kind, NatGateway, RouteTable, SecurityGroup, Spec,
    Subnet, Vpc,
};
use ichor_cloud::{Error, Result};

const REGION: &str = "eu-west-1";

const VPC: Part = Part::new("vpc");
const OPTIONS: Part = Part::new("dhcp-options");
const OTHER_OPTIONS: Part = Part::new("other-options");
const PUBLIC: Part = Part::new("public-subnet");
const PRIVATE: Part = Part::new("private-subnet");
const IGW: Part = Part::new("internet-gateway");
const EIGW: Part = Part::new("egress-gateway");
const BASTION_SG: Part = Part::new("bastion-sg");
const NODES_SG: Part = Part::new("talos-nodes-sg");
const BASTION_NIC: Part = Part::new("bastion-interface");
const PUBLIC_NIC: Part = Part::new("public-interface");
const BASTION_ADDRESS: Part = Part::new("bastion-address");
const NAT_ADDRESS: Part = Part::new("nat-address");
const NAT: Part = Part::new("nat-gateway");
const PUBLIC_ROUTES: Part = Part::new("public-routes");
const PRIVATE_ROUTES: Part = Part::new("private-routes");
const S3: Part = Part::new("s3-endpoint");
const CONNECT: Part = Part::new("connect-endpoint");

/// Two networks of the same parts; every field that can change is another in
/// the second.
fn network(second: bool) -> Vec<(Part, Spec)> {
    let first = !second;
    let pick = |one: Part, other: Part| if first { one } else { other };
    let rule = |direction, protocol, peer, why| GroupRule {
        direction,
        protocol,
        peer,
        why,
    };
    let block = |text: &str| GroupPeer::Block(text.parse().unwrap());
    let to = |text: &str, part| (text.parse().unwrap(), part);
    let options = |server: &str, domain: Option<&str>| {
        Spec::DhcpOptions(DhcpOptions {
            servers: vec![server.to_owned(), "AmazonProvidedDNS".to_owned()],
            domain: domain.map(str::to_owned),
        })
    };
    let subnet = |cidr: &str, number| {
        Spec::Subnet(Subnet {
            vpc: VPC,
            cidr: cidr.parse().unwrap(),
            ipv6: first.then_some(number),
            zone: "eu-west-1a".to_owned(),
        })
    };
    let bastion_rules = vec![
        rule(
            Direction::Ingress,
            Protocol::Udp(53, 53),
            block("10.20.0.0/16"),
            if first { "DNS" } else { "DNS of the house" },
        ),
        rule(
            Direction::Ingress,
            if first {
                Protocol::Tcp(5050, 5054)
            } else {
                Protocol::Tcp(5050, 5055)
            },
            GroupPeer::Group(NODES_SG),
            "mirrors",
        ),
        rule(
            Direction::Egress,
            Protocol::Tcp(443, 443),
            GroupPeer::S3,
            "S3",
        ),
        rule(
            Direction::Egress,
            Protocol::Icmp6,
            block("::/0"),
            "path MTU",
        ),
    ];
    let mut node_rules = vec![rule(
        Direction::Egress,
        Protocol::Tcp(5050, 5054),
        GroupPeer::Group(BASTION_SG),
        "mirrors",
    )];
    if second {
        node_rules.push(rule(
            Direction::Ingress,
            Protocol::All,
            GroupPeer::Group(NODES_SG),
            "each other",
        ));
    }
    let group = |description: &str, rules| {
        Spec::SecurityGroup(SecurityGroup {
            vpc: VPC,
            description: description.to_owned(),
            rules,
        })
    };
    let interface = |subnet, primary: &str, secondary: &[&str], groups| {
        Spec::Interface(Interface {
            subnet,
            primary: primary.parse().unwrap(),
            secondary: secondary.iter().map(|it| it.parse().unwrap()).collect(),
            ipv6: first,
            groups,
            source_dest_check: second,
        })
    };
    let bastion_groups = if first {
        vec![BASTION_SG]
    } else {
        vec![BASTION_SG, NODES_SG]
    };
    let secondary: &[&str] = if first {
        &["10.20.13.141", "10.20.13.143"]
    } else {
        &["10.20.13.142", "10.20.13.143"]
    };
    let address = |interface| Spec::Address(Address { interface });
    let table = |subnets, routes| {
        Spec::RouteTable(RouteTable {
            vpc: VPC,
            subnets,
            routes,
        })
    };
    let private_routes = if first {
        vec![to("0.0.0.0/0", NAT), to("::/0", EIGW)]
    } else {
        vec![to("0.0.0.0/0", IGW), to("10.9.0.0/16", BASTION_NIC)]
    };
    let tables = if first {
        vec![PUBLIC_ROUTES, PRIVATE_ROUTES]
    } else {
        vec![PRIVATE_ROUTES]
    };
    vec![
        (OPTIONS, options("10.20.13.140", Some("lab.example"))),
        (OTHER_OPTIONS, options("10.20.13.139", None)),
        (
            VPC,
            Spec::Vpc(Vpc {
                cidr: "10.20.0.0/16".parse().unwrap(),
                ipv6: first,
                dhcp_options: pick(OPTIONS, OTHER_OPTIONS),
            }),
        ),
        (PUBLIC, subnet("10.20.1.0/24", 1)),
        (PRIVATE, subnet("10.20.13.0/24", 13)),
        (IGW, Spec::InternetGateway(InternetGateway { vpc: VPC })),
        (
            EIGW,
            Spec::EgressOnlyGateway(EgressOnlyGateway { vpc: VPC }),
        ),
        (BASTION_SG, group("the bastion", bastion_rules)),
        (NODES_SG, group("Talos nodes", node_rules)),
        (
            BASTION_NIC,
            interface(PRIVATE, "10.20.13.140", secondary, bastion_groups),
        ),
        (
            PUBLIC_NIC,
            interface(PUBLIC, "10.20.1.140", &[], vec![BASTION_SG]),
        ),
        (
            BASTION_ADDRESS,
            address(Some(pick(BASTION_NIC, PUBLIC_NIC))),
        ),
        (NAT_ADDRESS, address(None)),
        (
            NAT,
            Spec::NatGateway(NatGateway {
                subnet: PUBLIC,
                address: NAT_ADDRESS,
            }),
        ),
        (
            PUBLIC_ROUTES,
            table(vec![pick(PUBLIC, PRIVATE)], vec![to("0.0.0.0/0", IGW)]),
        ),
        (
            PRIVATE_ROUTES,
            table(vec![pick(PRIVATE, PUBLIC)], private_routes),
        ),
        (
            S3,
            Spec::GatewayEndpoint(GatewayEndpoint { vpc: VPC, tables }),
        ),
        (
            CONNECT,
            Spec::ConnectEndpoint(ConnectEndpoint {
                subnet: PRIVATE,
                group: BASTION_SG,
            }),
        ),
    ]
}

/// An account, and what a run of the shim knows of it.
struct Lab {
    fake: Arc<Fake>,
    context: Context,
}

impl Lab {
    fn new(seed: u64, timing: Timing) -> Self {
        let fake = Arc::new(Fake::with_timing(REGION, seed, timing));
        let context = Context {
            caller: Caller::new(fake.clone()),
            lab: "home".to_owned(),
            account: Fake::ACCOUNT.to_owned(),
        };
        Self { fake, context }
    }

    /// A call of somebody else, past the shim.
    async fn by_hand<R: Request>(&self, request: R) -> R::Answer {
        let cloud: &dyn Cloud = &*self.fake;
        cloud.send(request).await.unwrap()
    }

    async fn find(&self, kind: Kind, part: &Part) -> Result<Option<Observed>> {
        let found = kind.observe(&self.context).await?;
        let mut found = found
            .into_iter()
            .filter(|it| it.part == *part && it.state != State::Going);
        let one = found.next();
        assert_eq!(found.next(), None, "two of {part}");
        Ok(one)
    }

    /// Waits until AWS shows a part.
    async fn seen(&self, kind: Kind, part: &Part) -> Result<Observed> {
        for _ in 0..30 {
            if let Some(found) = self.find(kind, part).await? {
                return Ok(found);
            }
            tokio::time::sleep(Duration::from_secs(2)).await;
        }
        panic!("{part} is never shown");
    }

    async fn ids(&self, network: &[(Part, Spec)]) -> Result<Ids> {
        let mut ids = Ids::default();
        for (part, spec) in network {
            if let Some(found) = self.find(spec.kind(), part).await? {
                ids.insert(part.clone(), found.id);
            }
        }
        Ok(ids)
    }

    /// What is otherwise than it shall be, as `part.field`.
    async fn differences(&self, network: &[(Part, Spec)]) -> Result<BTreeSet<String>> {
        let ids = self.ids(network).await?;
        let mut differences = BTreeSet::new();
        for (part, spec) in network {
            let Some(found) = self.find(spec.kind(), part).await? else {
                differences.insert(part.to_string());
                continue;
            };
            if found.state != State::Ready {
                differences.insert(format!("{part} is {:?}", found.state));
            }
            for change in changes(&spec.fields(&ids, &self.context), &found.fields) {
                differences.insert(format!("{part}.{}", change.field));
            }
        }
        Ok(differences)
    }

    /// A small engine: makes what is missing one after the other, and changes
    /// each as soon as all that it speaks of is there; then changes all that
    /// still differs at the same time.
    async fn up(&self, network: &[(Part, Spec)]) -> Result<()> {
        let mut ids = self.ids(network).await?;
        for (part, spec) in network {
            if ids.get(part).is_none() {
                for needed in spec.needs() {
                    assert!(ids.get(&needed).is_some(), "{part} needs {needed}");
                }
                let token = format!("{part}-1");
                let id = spec.create(&self.context, part, &ids, &token).await?;
                assert_eq!(self.seen(spec.kind(), part).await?.id, id);
                ids.insert(part.clone(), id);
            }
            if spec.refers_to().iter().all(|it| ids.get(it).is_some()) {
                self.change(part, spec, &ids).await?;
            }
        }
        const ROUNDS: usize = 10;
        for _ in 0..ROUNDS {
            let changes = network
                .iter()
                .map(|(part, spec)| self.change(part, spec, &ids));
            for outcome in join_all(changes).await {
                outcome?;
            }
            if self.differences(network).await?.is_empty() {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_secs(60)).await;
        }
        let differences = self.differences(network).await?;
        panic!("still after {ROUNDS} rounds: {differences:?}");
    }

    /// Changes what is otherwise about a part.
    async fn change(&self, part: &Part, spec: &Spec, ids: &Ids) -> Result<()> {
        let found = self.seen(spec.kind(), part).await?;
        let changes = changes(&spec.fields(ids, &self.context), &found.fields);
        let fields: BTreeSet<_> = changes.iter().map(|change| change.field).collect();
        for field in &fields {
            let fixed = spec.kind().fixed();
            assert!(!fixed.contains(field), "{part}.{field} is fixed");
        }
        if fields.is_empty() {
            return Ok(());
        }
        spec.change(&self.context, &found, &fields, ids).await
    }

    /// Deletes all there is, what was made last first. What AWS itself still
    /// holds for a while (the interface of an endpoint) is tried again.
    async fn down(&self) -> Result<()> {
        for kind in Kind::ALL.iter().rev().filter(|kind| is_network(**kind)) {
            for found in kind.observe(&self.context).await? {
                let mut outcome = found.delete(&self.context).await;
                for _ in 0..20 {
                    match &outcome {
                        Err(Error::Api(error)) if error.code == "DependencyViolation" => {}
                        _ => break,
                    }
                    tokio::time::sleep(Duration::from_secs(5)).await;
                    outcome = found.delete(&self.context).await;
                }
                outcome?;
                // Whoever has seen it before may delete it again.
                found.delete(&self.context).await?;
            }
        }
        Ok(())
    }

    async fn has_no_difference_from(&self, network: &[(Part, Spec)]) {
        let differences = self.differences(network).await.unwrap();
        assert!(differences.is_empty(), "{differences:?}");
    }

    fn is_empty(&self) {
        assert_eq!(self.fake.billable(), [], "{}", self.fake.dump());
    }
}

/// The kinds of this file: the fake of the others may not be asked.
fn is_network(kind: Kind) -> bool {
    kind <= Kind::ConnectEndpoint
}

fn is_stopped(error: &Error) -> bool {
    error.to_string().contains("the process was stopped")
}

#[tokio::test(start_paused = true)]
async fn made_as_it_shall_be_and_nothing_left_of_it() {
    for seed in 0..5 {
        let lab = Lab::new(seed, Timing::default());
        lab.up(&network(false)).await.unwrap();
        lab.has_no_difference_from(&network(false)).await;
        let mutating = |lab: &Lab| lab.fake.calls().iter().filter(|it| it.mutating).count();
        let before = mutating(&lab);
        lab.up(&network(false)).await.unwrap();
        assert_eq!(mutating(&lab), before, "nothing to change");
        lab.down().await.unwrap();
        lab.is_empty();
    }
}

#[tokio::test(start_paused = true)]
async fn every_field_changes_there_and_back() {
    for seed in 0..5 {
        let lab = Lab::new(seed, Timing::default());
        lab.up(&network(false)).await.unwrap();
        let fields: BTreeSet<String> = lab.differences(&network(true)).await.unwrap();
        assert_eq!(
            fields.iter().map(String::as_str).collect::<Vec<_>>(),
            [
                "bastion-address.interface",
                "bastion-interface.groups",
                "bastion-interface.ipv6",
                "bastion-interface.secondary",
                "bastion-interface.source-dest-check",
                "bastion-sg.rules",
                "private-routes.routes",
                "private-routes.subnets",
                "private-subnet.assign-ipv6",
                "private-subnet.ipv6",
                "public-interface.ipv6",
                "public-interface.source-dest-check",
                "public-routes.subnets",
                "public-subnet.assign-ipv6",
                "public-subnet.ipv6",
                "s3-endpoint.tables",
                "talos-nodes-sg.rules",
                "vpc.dhcp-options",
                "vpc.ipv6",
            ]
        );
        for second in [true, false, true] {
            lab.up(&network(second)).await.unwrap();
            lab.has_no_difference_from(&network(second)).await;
        }
        lab.down().await.unwrap();
        lab.is_empty();
    }
}

#[tokio::test(start_paused = true)]
async fn what_somebody_changed_by_hand_is_seen_and_mended() {
    let lab = Lab::new(1, Timing::default());
    let network = network(false);
    lab.up(&network).await.unwrap();
    let ids = lab.ids(&network).await.unwrap();
    let id = |part: &Part| ids.get(part).unwrap().clone();

    lab.by_hand(ModifyVpcAttribute {
        vpc: id(&VPC),
        attribute: VpcAttribute::DnsHostnames,
        value: false,
    })
    .await;
    lab.by_hand(AssociateDhcpOptions {
        options: "default".to_owned(),
        vpc: id(&VPC),
    })
    .await;
    for (attribute, value) in [
        (SubnetAttribute::MapPublicIp, true),
        (SubnetAttribute::AssignIpv6, false),
    ] {
        lab.by_hand(ModifySubnetAttribute {
            subnet: id(&PUBLIC),
            attribute,
            value,
        })
        .await;
    }
    // A rule of another group, one for the world, and one less.
    lab.by_hand(AuthorizeSecurityGroupEgress {
        group: id(&BASTION_SG),
        rules: vec![Rule {
            protocol: Protocol::All,
            peer: Peer::Ipv4("0.0.0.0/0".to_owned()),
            description: String::new(),
        }],
        tags: Tags::new(),
    })
    .await;
    lab.by_hand(AuthorizeSecurityGroupIngress {
        group: id(&NODES_SG),
        rules: vec![Rule {
            protocol: Protocol::Tcp(22, 22),
            peer: Peer::PrefixList("pl-6fa54006".to_owned()),
            description: "who knows".to_owned(),
        }],
        tags: Tags::new(),
    })
    .await;
    let rules = lab.rules_of(&id(&BASTION_SG)).await;
    let dns = rules
        .iter()
        .find(|it| it.rule.description == "DNS")
        .unwrap();
    lab.by_hand(RevokeSecurityGroupIngress {
        group: id(&BASTION_SG),
        rules: vec![dns.id.clone()],
    })
    .await;
    // A route less, one more, one elsewhere, and a subnet with another table.
    lab.by_hand(DeleteRoute {
        table: id(&PRIVATE_ROUTES),
        destination: "::/0".to_owned(),
    })
    .await;
    lab.by_hand(CreateRoute {
        table: id(&PUBLIC_ROUTES),
        destination: "10.99.0.0/16".to_owned(),
        target: Target::Interface(id(&BASTION_NIC)),
    })
    .await;
    let foreign = lab
        .by_hand(CreateRouteTable {
            vpc: id(&VPC),
            token: "somebody".to_owned(),
            tags: Tags::new(),
        })
        .await;
    lab.use_table(&id(&PUBLIC), &foreign.id).await;
    lab.by_hand(ModifyVpcEndpoint {
        endpoint: id(&S3),
        add_tables: vec![],
        remove_tables: vec![id(&PRIVATE_ROUTES)],
    })
    .await;
    lab.by_hand(UnassignPrivateIpAddresses {
        interface: id(&BASTION_NIC),
        addresses: vec!["10.20.13.141".to_owned()],
    })
    .await;
    lab.by_hand(ModifyNetworkInterfaceGroups {
        interface: id(&BASTION_NIC),
        groups: vec![id(&NODES_SG)],
    })
    .await;
    lab.by_hand(ModifyNetworkInterfaceSourceDestCheck {
        interface: id(&BASTION_NIC),
        check: true,
    })
    .await;
    lab.unmap(&id(&BASTION_ADDRESS)).await;

    tokio::time::sleep(Duration::from_secs(30)).await;
    let seen = lab.differences(&network).await.unwrap();
    assert_eq!(
        seen.iter().map(String::as_str).collect::<Vec<_>>(),
        [
            "bastion-address.interface",
            "bastion-interface.groups",
            "bastion-interface.secondary",
            "bastion-interface.source-dest-check",
            "bastion-sg.rules",
            "private-routes.routes",
            "public-routes.routes",
            "public-routes.subnets",
            "public-subnet.assign-ipv6",
            "public-subnet.map-public-ip",
            "s3-endpoint.tables",
            "talos-nodes-sg.rules",
            "vpc.dhcp-options",
            "vpc.dns-hostnames",
        ]
    );
    // Each rule is told by itself.
    let nodes = lab.seen(Kind::SecurityGroup, &NODES_SG).await.unwrap();
    let mirrors = format!("egress tcp 5050-5054 to {}: mirrors", id(&BASTION_SG));
    assert_eq!(
        nodes.fields["rules"],
        Value::set([
            mirrors.as_str(),
            "ingress tcp 22 from pl-6fa54006: who knows"
        ])
    );
    lab.up(&network).await.unwrap();
    lab.has_no_difference_from(&network).await;
}

impl Lab {
    async fn rules_of(&self, group: &Id) -> Vec<ichor_cloud::api::SecurityGroupRule> {
        let filters = vec![Filter::new("group-id", group)];
        self.by_hand(DescribeSecurityGroupRules { filters }).await
    }

    /// Makes a subnet use a table.
    async fn use_table(&self, subnet: &Id, table: &Id) {
        let filters = vec![Filter::new("association.subnet-id", subnet)];
        for holder in self.by_hand(DescribeRouteTables { filters }).await {
            for association in holder.associations {
                if association.subnet.as_ref() == Some(subnet) {
                    let association = association.id;
                    self.by_hand(DisassociateRouteTable { association }).await;
                }
            }
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
        let (table, subnet) = (table.clone(), subnet.clone());
        self.by_hand(AssociateRouteTable { table, subnet }).await;
    }

    async fn unmap(&self, allocation: &Id) {
        let filters = vec![Filter::new("allocation-id", allocation)];
        for address in self.by_hand(DescribeAddresses { filters }).await {
            let association = address.association.unwrap();
            self.by_hand(DisassociateAddress { association }).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_detached_gateway_leaves_blackholes_and_is_attached_again() {
    let lab = Lab::new(2, Timing::default());
    let parts = [&VPC, &OPTIONS, &PUBLIC, &IGW, &PUBLIC_ROUTES];
    let network: Vec<_> = network(false)
        .into_iter()
        .filter(|(part, _)| parts.contains(&part))
        .collect();
    lab.up(&network).await.unwrap();
    let ids = lab.ids(&network).await.unwrap();
    let gateway = ids.get(&IGW).unwrap().clone();
    let vpc = ids.get(&VPC).unwrap().clone();
    lab.by_hand(DetachInternetGateway {
        gateway: gateway.clone(),
        vpc,
    })
    .await;
    let table = lab.seen(Kind::RouteTable, &PUBLIC_ROUTES).await.unwrap();
    let blackhole = format!("0.0.0.0/0 -> {gateway} (blackhole)");
    assert_eq!(table.fields["routes"], Value::set([blackhole]));
    let seen = lab.differences(&network).await.unwrap();
    let expected = ["internet-gateway.vpc", "public-routes.routes"];
    assert_eq!(seen, expected.map(str::to_owned).into());
    lab.up(&network).await.unwrap();
    lab.has_no_difference_from(&network).await;
}

#[tokio::test(start_paused = true)]
async fn a_nat_gateway_waits_for_the_internet_gateway_and_says_why_it_failed() {
    let lab = Lab::new(3, Timing::default());
    let parts = [&VPC, &OPTIONS, &PUBLIC, &NAT_ADDRESS];
    let base: Vec<_> = network(false)
        .into_iter()
        .filter(|(part, _)| parts.contains(&part))
        .collect();
    lab.up(&base).await.unwrap();
    let ids = lab.ids(&base).await.unwrap();
    let nat = Spec::NatGateway(NatGateway {
        subnet: PUBLIC,
        address: NAT_ADDRESS,
    });
    // Without one it is not even asked for: it would fail after minutes.
    let error = nat.create(&lab.context, &NAT, &ids, "t").await.unwrap_err();
    let text = error.to_string();
    assert!(
        text.contains("an internet gateway to be attached to vpc-"),
        "{text}"
    );
    assert!(
        lab.fake
            .calls()
            .iter()
            .all(|it| it.name != "ec2:CreateNatGateway")
    );

    // One that was asked for all the same, as by a run that was stopped.
    lab.by_hand(CreateNatGateway {
        subnet: ids.get(&PUBLIC).unwrap().clone(),
        allocation: ids.get(&NAT_ADDRESS).unwrap().clone(),
        token: "t".to_owned(),
        tags: lab.context.tags(&NAT),
    })
    .await;
    tokio::time::sleep(Duration::from_secs(200)).await;
    let igw = Spec::InternetGateway(InternetGateway { vpc: VPC });
    let with_igw: Vec<_> = base.iter().cloned().chain([(IGW, igw)]).collect();
    lab.up(&with_igw).await.unwrap();
    let error = nat.create(&lab.context, &NAT, &ids, "t").await.unwrap_err();
    let text = error.to_string();
    assert!(text.contains("has no Internet gateway attached"), "{text}");
    let failed = lab.seen(Kind::NatGateway, &NAT).await.unwrap();
    assert!(matches!(failed.state, State::Failed(why) if why.contains("Gateway.NotAttached")));
    lab.down().await.unwrap();
    lab.is_empty();
}

#[tokio::test(start_paused = true)]
async fn a_vpc_that_waits_for_its_block_is_not_given_another() {
    let lab = Lab::new(4, Timing::default());
    let network: Vec<_> = network(false)
        .into_iter()
        .filter(|(part, _)| [&VPC, &OPTIONS, &PUBLIC].contains(&part))
        .collect();
    lab.up(&network).await.unwrap();
    let asked = |lab: &Lab| {
        let calls = lab.fake.calls();
        let name = <AssociateVpcCidrBlock as Request>::NAME;
        calls.iter().filter(|it| it.name == name).count()
    };
    assert_eq!(asked(&lab), 0, "CreateVpc has asked for it");
    let mut without = network.clone();
    for (_, spec) in &mut without {
        match spec {
            Spec::Vpc(vpc) => vpc.ipv6 = false,
            Spec::Subnet(subnet) => subnet.ipv6 = None,
            _ => {}
        }
    }
    lab.up(&without).await.unwrap();
    lab.up(&network).await.unwrap();
    assert_eq!(asked(&lab), 1);
}

/// What belongs to others is not touched, though it is in the way.
#[tokio::test(start_paused = true)]
async fn a_group_takes_only_the_labs_own_rules_away() {
    let lab = Lab::new(5, Timing::default());
    let other = Context {
        lab: "other".to_owned(),
        ..lab.context.clone()
    };
    let network: Vec<_> = network(false)
        .into_iter()
        .filter(|(part, _)| [&VPC, &OPTIONS, &BASTION_SG, &NODES_SG].contains(&part))
        .collect();
    lab.up(&network).await.unwrap();
    let ids = lab.ids(&network).await.unwrap();
    let foreign = SecurityGroup {
        vpc: VPC,
        description: "of another lab".to_owned(),
        rules: vec![],
    };
    let foreign = Spec::SecurityGroup(foreign);
    let foreign = foreign.create(&other, &NODES_SG, &ids, "t").await.unwrap();
    tokio::time::sleep(Duration::from_secs(30)).await;
    let bastion = ids.get(&BASTION_SG).unwrap().clone();
    lab.by_hand(AuthorizeSecurityGroupIngress {
        group: foreign.clone(),
        rules: vec![Rule {
            protocol: Protocol::Icmp,
            peer: Peer::Group(bastion.clone()),
            description: "of another lab".to_owned(),
        }],
        tags: Tags::new(),
    })
    .await;
    tokio::time::sleep(Duration::from_secs(30)).await;
    let found = lab.seen(Kind::SecurityGroup, &BASTION_SG).await.unwrap();
    let error = found.delete(&lab.context).await.unwrap_err().to_string();
    assert!(error.contains("DependencyViolation"), "{error}");
    assert_eq!(
        lab.rules_of(&foreign).await.len(),
        3,
        "two of egress, one of ingress"
    );
    assert_eq!(lab.rules_of(&bastion).await, []);
    // Nothing of the lab's own speaks of it any more.
    let nodes = ids.get(&NODES_SG).unwrap();
    assert_eq!(lab.rules_of(nodes).await, []);
    let filters = vec![Filter::new("group-id", &bastion)];
    assert_eq!(
        lab.by_hand(DescribeSecurityGroups { filters }).await.len(),
        1
    );
}

/// Runs `act` and stops it after `n` calls, for every n, each time in a new
/// account that `before` prepared; then runs it again to its end.
async fn stopped_everywhere(
    before: impl AsyncFn(&Lab),
    act: impl AsyncFn(&Lab) -> Result<()>,
    after: impl AsyncFn(&Lab),
) -> u64 {
    const MOST: u64 = 2000;
    for n in 0..MOST {
        let lab = Lab::new(n, Timing::PROMPT);
        before(&lab).await;
        lab.fake.stop_after(n);
        let outcome = act(&lab).await;
        lab.fake.resume();
        match outcome {
            Ok(()) => {
                after(&lab).await;
                return n;
            }
            Err(error) => assert!(is_stopped(&error), "after {n} calls: {error}"),
        }
        if let Err(error) = act(&lab).await {
            panic!("again after {n} calls: {error}\n{}", lab.fake.dump());
        }
        after(&lab).await;
    }
    panic!("more than {MOST} calls");
}

#[tokio::test(start_paused = true)]
async fn making_may_stop_after_any_call() {
    let calls = stopped_everywhere(
        async |_| (),
        async |lab| lab.up(&network(false)).await,
        async |lab| {
            lab.has_no_difference_from(&network(false)).await;
            lab.down().await.unwrap();
            lab.is_empty();
        },
    )
    .await;
    assert!(calls > 100, "{calls}");
}

#[tokio::test(start_paused = true)]
async fn changing_may_stop_after_any_call() {
    stopped_everywhere(
        async |lab| lab.up(&network(false)).await.unwrap(),
        async |lab| lab.up(&network(true)).await,
        async |lab| lab.has_no_difference_from(&network(true)).await,
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn deleting_may_stop_after_any_call() {
    stopped_everywhere(
        async |lab| lab.up(&network(false)).await.unwrap(),
        async |lab| lab.down().await,
        async |lab| lab.is_empty(),
    )
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_making_that_stopped_may_be_deleted_at_once() {
    for n in (0..400).step_by(7) {
        let lab = Lab::new(n, Timing::PROMPT);
        lab.fake.stop_after(n);
        let outcome = lab.up(&network(false)).await;
        assert!(outcome.as_ref().is_err_and(is_stopped) || outcome.is_ok());
        lab.fake.resume();
        lab.down().await.unwrap();
        lab.is_empty();
    }
}

/// A call that took effect and whose answer was lost is made again.
#[tokio::test(start_paused = true)]
async fn a_lost_answer_does_no_harm() {
    for call in [
        "ec2:DeleteVpcEndpoint",
        "ec2:DeleteNatGateway",
        "ec2:RevokeSecurityGroupIngress",
        "ec2:UnassignPrivateIpAddresses",
        "ec2:DetachInternetGateway",
        "ec2:DeleteInstanceConnectEndpoint",
    ] {
        let lab = Lab::new(6, Timing::PROMPT);
        lab.up(&network(false)).await.unwrap();
        lab.fake
            .script(Mishap::on(call).lose_answer(Fault::Timeout));
        // At most one run fails, and only for want of that answer.
        let only = |outcome: Result<()>| match outcome {
            Ok(()) => false,
            Err(error) => {
                assert!(error.to_string().contains(call), "{error}");
                true
            }
        };
        if only(lab.up(&network(true)).await) {
            lab.up(&network(true)).await.unwrap();
        }
        if only(lab.down().await) {
            lab.down().await.unwrap();
        }
        let struck = lab.fake.calls().into_iter();
        let struck = struck.filter(|it| it.name == call && it.error.as_deref() == Some(""));
        assert_eq!(struck.count(), 1, "{call}");
        lab.is_empty();
    }
}
