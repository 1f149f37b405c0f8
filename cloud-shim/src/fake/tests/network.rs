//! VPCs and what is in them.

use super::*;

fn rule(protocol: Protocol, peer: Peer, description: &str) -> Rule {
    Rule {
        protocol,
        peer,
        description: description.into(),
    }
}

fn ingress(group: &str, rules: Vec<Rule>) -> Call {
    AuthorizeSecurityGroupIngress {
        group: group.into(),
        rules,
        tags: Tags::new(),
    }
    .into_call()
}

fn anywhere() -> Peer {
    Peer::Ipv4("0.0.0.0/0".into())
}

#[tokio::test(start_paused = true)]
async fn a_vpc_brings_its_table_and_group_and_takes_them_away() {
    let it = Bench::prompt();
    let vpc = it.vpc("10.20.0.0/16").await;
    let filters = || vec![Filter::new("vpc-id", &vpc)];
    let tables = it.ok(DescribeRouteTables { filters: filters() }).await;
    assert!(tables[0].is_main && tables[0].routes[0].target == Target::Local);
    let groups = it.ok(DescribeSecurityGroups { filters: filters() }).await;
    assert_eq!(groups[0].name, "default");
    it.codes(vec![
        (
            DeleteSecurityGroup {
                group: groups[0].id.clone(),
            }
            .into_call(),
            "CannotDelete",
        ),
        (
            DeleteRouteTable {
                table: tables[0].id.clone(),
            }
            .into_call(),
            "DependencyViolation",
        ),
        (
            DisassociateRouteTable {
                association: tables[0].associations[0].id.clone(),
            }
            .into_call(),
            "InvalidParameterValue",
        ),
        (DeleteVpc { vpc: vpc.clone() }.into_call(), "ok"),
        (
            DeleteVpc { vpc: vpc.clone() }.into_call(),
            "InvalidVpcID.NotFound",
        ),
    ])
    .await;
    assert_eq!(
        it.ok(DescribeSecurityGroups { filters: filters() }).await,
        []
    );
    assert_eq!(it.ok(DescribeRouteTables { filters: filters() }).await, []);
    assert_eq!(it.fake.billable(), []);
}

#[tokio::test(start_paused = true)]
async fn a_vpc_stays_while_anything_is_in_it() {
    let it = Bench::prompt();
    let vpc = it.vpc("10.20.0.0/16").await;
    let delete = DeleteVpc { vpc: vpc.clone() };

    let subnet = it.subnet(&vpc, "10.20.1.0/24").await;
    assert_eq!(it.code(delete.clone()).await, "DependencyViolation");
    it.ok(DeleteSubnet { subnet }).await;

    let gateway = it.gateway(&vpc).await;
    assert_eq!(it.code(delete.clone()).await, "DependencyViolation");
    it.ok(DetachInternetGateway {
        gateway,
        vpc: vpc.clone(),
    })
    .await;

    let token = it.token();
    let request = CreateEgressOnlyInternetGateway {
        vpc: vpc.clone(),
        token,
        tags: Tags::new(),
    };
    let gateway = it.ok(request).await.id;
    assert_eq!(it.code(delete.clone()).await, "DependencyViolation");
    it.ok(DeleteEgressOnlyInternetGateway { gateway }).await;

    let table = it.table(&vpc).await;
    assert_eq!(it.code(delete.clone()).await, "DependencyViolation");
    it.ok(DeleteRouteTable { table }).await;

    let group = it.group(&vpc, "nodes").await;
    assert_eq!(it.code(delete.clone()).await, "DependencyViolation");
    it.ok(DeleteSecurityGroup { group }).await;

    let endpoint = it
        .ok(CreateVpcEndpoint {
            vpc: vpc.clone(),
            service: "com.amazonaws.eu-west-1.s3".into(),
            tables: Vec::new(),
            token: it.token(),
            tags: Tags::new(),
        })
        .await
        .id;
    it.ok(DeleteVpcEndpoint { endpoint }).await;
    // It is `deleting` for a while.
    assert_eq!(it.code(delete.clone()).await, "DependencyViolation");
    tokio::time::sleep(LONG).await;
    assert_eq!(it.code(delete).await, "ok");
}

#[tokio::test(start_paused = true)]
async fn blocks_of_vpcs_and_subnets_are_checked() {
    let it = Bench::prompt();
    let vpc = it.vpc("10.20.0.0/16").await;
    let create = |cidr: &str| {
        CreateVpc {
            cidr: cidr.into(),
            ipv6: false,
            tags: Tags::new(),
        }
        .into_call()
    };
    let subnet = |cidr: &str| Bench::subnet_request(&vpc, cidr).into_call();
    it.codes(vec![
        (create("10.20.0.0"), "InvalidParameterValue"),
        (create("10.0.0.0/8"), "InvalidVpc.Range"),
        (create("10.0.0.0/29"), "InvalidVpc.Range"),
        (subnet("10.20.1.0/24"), "ok"),
        (subnet("10.20.1.0/24"), "InvalidSubnet.Conflict"),
        (subnet("10.20.0.0/20"), "InvalidSubnet.Conflict"),
        (subnet("10.20.1.128/25"), "InvalidSubnet.Conflict"),
        (subnet("10.21.1.0/24"), "InvalidSubnet.Range"),
        (subnet("10.20.2.0/29"), "InvalidSubnet.Range"),
        (subnet("10.20.2.0/40"), "InvalidParameterValue"),
        (
            CreateSubnet {
                zone: "eu-west-2a".into(),
                ..Bench::subnet_request(&vpc, "10.20.2.0/24")
            }
            .into_call(),
            "InvalidParameterValue",
        ),
        // The VPC has no IPv6 block that a /64 could be of.
        (
            CreateSubnet {
                ipv6_cidr: Some("2a05:d018::/64".into()),
                ..Bench::subnet_request(&vpc, "10.20.2.0/24")
            }
            .into_call(),
            "InvalidSubnet.Range",
        ),
        (
            Bench::subnet_request("vpc-00000000000000000", "10.20.2.0/24").into_call(),
            "InvalidVpcID.NotFound",
        ),
        (
            Bench::subnet_request("vpc-1", "10.20.2.0/24").into_call(),
            "InvalidVpcID.Malformed",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_ipv6_block_comes_later_and_opens_untouched_groups() {
    let it = Bench::prompt();
    let vpc = it.vpc("10.20.0.0/16").await;
    let open = it.group(&vpc, "open").await;
    let shut = it.group(&vpc, "shut").await;
    let rules = |group: &str| DescribeSecurityGroupRules {
        filters: vec![Filter::new("group-id", group)],
    };
    let first = it.ok(rules(&shut)).await;
    assert_eq!(first[0].rule, rule(Protocol::All, anywhere(), ""));
    it.ok(RevokeSecurityGroupEgress {
        group: shut.clone(),
        rules: vec![first[0].id.clone()],
    })
    .await;

    it.ok(AssociateVpcCidrBlock { vpc: vpc.clone() }).await;
    assert_eq!(
        it.code(AssociateVpcCidrBlock { vpc: vpc.clone() }).await,
        "CidrLimitExceeded"
    );
    let look = || DescribeVpcs {
        filters: vec![Filter::new("vpc-id", &vpc)],
    };
    assert_eq!(it.ok(look()).await[0].ipv6, None);
    tokio::time::sleep(LONG).await;
    let block = it.ok(look()).await[0].ipv6.clone().unwrap();
    assert!(
        block.cidr.ends_with("::/56") || block.cidr.ends_with("00::/56"),
        "{}",
        block.cidr
    );

    assert_eq!(it.ok(rules(&open)).await.len(), 2);
    assert_eq!(it.ok(rules(&shut)).await, []);
    let new = it.group(&vpc, "new").await;
    assert_eq!(it.ok(rules(&new)).await.len(), 2);

    // A subnet's /64 holds the VPC's block.
    let cidr = block.cidr.replace("/56", "/64");
    let request = CreateSubnet {
        ipv6_cidr: Some(cidr),
        ..Bench::subnet_request(&vpc, "10.20.1.0/24")
    };
    let subnet = it.ok(request).await;
    assert_eq!(subnet.ipv6, None);
    let attribute = |value| ModifySubnetAttribute {
        subnet: subnet.id.clone(),
        attribute: SubnetAttribute::AssignIpv6,
        value,
    };
    assert_eq!(it.code(attribute(true)).await, "InvalidParameterValue");
    tokio::time::sleep(LONG).await;
    it.ok(attribute(true)).await;
    let disassociate = DisassociateVpcCidrBlock {
        association: block.association,
    };
    assert_eq!(it.code(disassociate.clone()).await, "DependencyViolation");
    let interface = it.ok(it.interface_request(&subnet.id, "10.20.1.10")).await;
    assert_eq!(interface.ipv6.len(), 1, "the subnet assigns one unasked");
    let subnets = it
        .ok(DescribeSubnets {
            filters: Vec::new(),
        })
        .await;
    let association = subnets[0].ipv6.clone().unwrap().association;
    let off = DisassociateSubnetCidrBlock { association };
    assert_eq!(it.code(off.clone()).await, "DependencyViolation");
    it.ok(DeleteNetworkInterface {
        interface: interface.id,
    })
    .await;
    it.ok(off).await;
    it.ok(disassociate).await;
    assert_eq!(it.ok(look()).await[0].ipv6, None);
}

#[tokio::test(start_paused = true)]
async fn an_internet_gateway_holds_on_to_what_it_serves() {
    let it = Bench::prompt();
    let (vpc, other) = (it.vpc("10.20.0.0/16").await, it.vpc("10.30.0.0/16").await);
    let subnet = it.subnet(&vpc, "10.20.1.0/24").await;
    let gateway = it.gateway(&vpc).await;
    let second = it.ok(CreateInternetGateway { tags: Tags::new() }).await.id;
    let interface = it.interface(&subnet, "10.20.1.10").await;
    let allocation = it.address().await;
    let associate = AssociateAddress {
        allocation: allocation.clone(),
        interface: interface.clone(),
        private: "10.20.1.10".into(),
    };
    let detach = DetachInternetGateway {
        gateway: gateway.clone(),
        vpc: vpc.clone(),
    };
    it.codes(vec![
        (
            AttachInternetGateway {
                gateway: second.clone(),
                vpc: vpc.clone(),
            }
            .into_call(),
            "InvalidParameterValue",
        ),
        (
            AttachInternetGateway {
                gateway: gateway.clone(),
                vpc: other.clone(),
            }
            .into_call(),
            "Resource.AlreadyAssociated",
        ),
        (
            DetachInternetGateway {
                gateway: gateway.clone(),
                vpc: other.clone(),
            }
            .into_call(),
            "Gateway.NotAttached",
        ),
        (
            DeleteInternetGateway {
                gateway: gateway.clone(),
            }
            .into_call(),
            "DependencyViolation",
        ),
        (associate.clone().into_call(), "ok"),
        (associate.clone().into_call(), "Resource.AlreadyAssociated"),
        (
            ReleaseAddress {
                allocation: allocation.clone(),
            }
            .into_call(),
            "InvalidIPAddress.InUse",
        ),
        (detach.clone().into_call(), "DependencyViolation"),
    ])
    .await;
    let addresses = it
        .ok(DescribeAddresses {
            filters: Vec::new(),
        })
        .await;
    let association = addresses[0].association.clone().unwrap();
    it.ok(DisassociateAddress {
        association: association.clone(),
    })
    .await;
    it.codes(vec![
        (
            DisassociateAddress { association }.into_call(),
            "InvalidAssociationID.NotFound",
        ),
        (detach.into_call(), "ok"),
        // Without a gateway no address can be mapped.
        (associate.into_call(), "Gateway.NotAttached"),
        (
            ReleaseAddress {
                allocation: allocation.clone(),
            }
            .into_call(),
            "ok",
        ),
        (
            ReleaseAddress { allocation }.into_call(),
            "InvalidAllocationID.NotFound",
        ),
        (DeleteInternetGateway { gateway }.into_call(), "ok"),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_nat_gateway_takes_its_time_and_its_subnet() {
    let it = Bench::prompt();
    let vpc = it.vpc("10.20.0.0/16").await;
    let subnet = it.subnet(&vpc, "10.20.1.0/24").await;
    let gateway = it.gateway(&vpc).await;
    let allocation = it.address().await;
    let nat = it.nat(&subnet, &allocation).await;
    let table = it.table(&vpc).await;
    let route = CreateRoute {
        table: table.clone(),
        destination: "0.0.0.0/0".into(),
        target: Target::NatGateway(nat.clone()),
    };
    // Not before it is available.
    assert_eq!(it.code(route.clone()).await, "InvalidNatGatewayID.NotFound");
    tokio::time::sleep(LONG).await;
    it.ok(route).await;
    let association = it
        .ok(DescribeAddresses {
            filters: Vec::new(),
        })
        .await[0]
        .association
        .clone()
        .unwrap();
    it.codes(vec![
        (
            DisassociateAddress { association }.into_call(),
            "AuthFailure",
        ),
        (
            DeleteSubnet {
                subnet: subnet.clone(),
            }
            .into_call(),
            "DependencyViolation",
        ),
        (
            DetachInternetGateway { gateway, vpc }.into_call(),
            "DependencyViolation",
        ),
        (
            DeleteNatGateway {
                gateway: nat.clone(),
            }
            .into_call(),
            "ok",
        ),
        (
            DeleteNatGateway {
                gateway: nat.clone(),
            }
            .into_call(),
            "ok",
        ),
        (
            ReleaseAddress {
                allocation: allocation.clone(),
            }
            .into_call(),
            "InvalidIPAddress.InUse",
        ),
        (
            DeleteSubnet {
                subnet: subnet.clone(),
            }
            .into_call(),
            "DependencyViolation",
        ),
    ])
    .await;
    tokio::time::sleep(LONG).await;
    let look = || DescribeNatGateways {
        filters: vec![Filter::new("nat-gateway-id", &nat)],
    };
    assert_eq!(it.ok(look()).await[0].state, "deleted");
    assert_eq!(
        it.code(DeleteNatGateway {
            gateway: nat.clone()
        })
        .await,
        "NatGatewayNotFound"
    );
    let tables = it
        .ok(DescribeRouteTables {
            filters: vec![Filter::new("route-table-id", table)],
        })
        .await;
    assert!(tables[0].routes.iter().any(|route| route.blackhole));
    it.ok(ReleaseAddress { allocation }).await;
    it.ok(DeleteSubnet { subnet }).await;
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(it.ok(look()).await, []);
}

#[tokio::test(start_paused = true)]
async fn a_nat_gateway_without_internet_fails_later() {
    let it = Bench::prompt();
    let vpc = it.vpc("10.20.0.0/16").await;
    let subnet = it.subnet(&vpc, "10.20.1.0/24").await;
    let allocation = it.address().await;
    it.nat(&subnet, &allocation).await;
    tokio::time::sleep(LONG).await;
    let nats = it
        .ok(DescribeNatGateways {
            filters: Vec::new(),
        })
        .await;
    assert_eq!(nats[0].state, "failed");
    assert!(
        nats[0]
            .failure
            .clone()
            .unwrap()
            .contains("no Internet gateway")
    );
    it.ok(ReleaseAddress { allocation }).await;
}

#[tokio::test(start_paused = true)]
async fn routes_lead_only_where_they_can() {
    let it = Bench::prompt();
    let (vpc, other) = (it.vpc("10.20.0.0/16").await, it.vpc("10.30.0.0/16").await);
    let (mine, theirs) = (it.gateway(&vpc).await, it.gateway(&other).await);
    let token = it.token();
    let request = CreateEgressOnlyInternetGateway {
        vpc: vpc.clone(),
        token,
        tags: Tags::new(),
    };
    let egress = it.ok(request).await.id;
    let table = it.table(&vpc).await;
    let subnet = it.subnet(&vpc, "10.20.1.0/24").await;
    let foreign_subnet = it.subnet(&other, "10.30.1.0/24").await;
    let route = |destination: &str, target: Target| {
        CreateRoute {
            table: table.clone(),
            destination: destination.into(),
            target,
        }
        .into_call()
    };
    let replace = |destination: &str, target: Target| {
        ReplaceRoute {
            table: table.clone(),
            destination: destination.into(),
            target,
        }
        .into_call()
    };
    let delete = |destination: &str| {
        DeleteRoute {
            table: table.clone(),
            destination: destination.into(),
        }
        .into_call()
    };
    let internet = || Target::InternetGateway(mine.clone());
    let associate = |subnet: &Id| {
        AssociateRouteTable {
            table: table.clone(),
            subnet: subnet.clone(),
        }
        .into_call()
    };
    it.codes(vec![
        (
            route("0.0.0.0/0", Target::InternetGateway(theirs)),
            "InvalidParameterValue",
        ),
        (
            route(
                "0.0.0.0/0",
                Target::InternetGateway("igw-00000000000000000".into()),
            ),
            "InvalidInternetGatewayID.NotFound",
        ),
        (
            route("0.0.0.0/0", Target::EgressOnlyGateway(egress.clone())),
            "InvalidParameterValue",
        ),
        (route("0.0.0.0", internet()), "InvalidParameterValue"),
        (route("10.20.0.0/16", internet()), "RouteAlreadyExists"),
        (route("0.0.0.0/0", internet()), "ok"),
        (route("0.0.0.0/0", internet()), "RouteAlreadyExists"),
        (route("::/0", Target::EgressOnlyGateway(egress)), "ok"),
        (replace("0.0.0.0/0", internet()), "ok"),
        (replace("192.0.2.0/24", internet()), "InvalidParameterValue"),
        (delete("10.20.0.0/16"), "InvalidParameterValue"),
        (delete("::/0"), "ok"),
        (delete("::/0"), "InvalidRoute.NotFound"),
        (associate(&foreign_subnet), "InvalidParameterValue"),
        (associate(&subnet), "ok"),
        (associate(&subnet), "Resource.AlreadyAssociated"),
        (
            DeleteRouteTable {
                table: table.clone(),
            }
            .into_call(),
            "DependencyViolation",
        ),
        (DeleteSubnet { subnet }.into_call(), "ok"),
        (
            DeleteRouteTable {
                table: table.clone(),
            }
            .into_call(),
            "ok",
        ),
        (
            DeleteRouteTable {
                table: table.clone(),
            }
            .into_call(),
            "InvalidRouteTableID.NotFound",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn rules_of_groups_are_checked() {
    let it = Bench::prompt();
    let (vpc, other) = (it.vpc("10.20.0.0/16").await, it.vpc("10.30.0.0/16").await);
    let (group, theirs) = (it.group(&vpc, "a").await, it.group(&other, "b").await);
    let ssh = |description: &str| rule(Protocol::Tcp(22, 22), anywhere(), description);
    it.codes(vec![
        (
            Bench::group_request(&vpc, "a").into_call(),
            "InvalidGroup.Duplicate",
        ),
        (
            Bench::group_request(&vpc, "default").into_call(),
            "InvalidGroup.Reserved",
        ),
        (
            Bench::group_request(&vpc, "sg-mine").into_call(),
            "InvalidParameterValue",
        ),
        (
            Bench::group_request(&vpc, "naïve").into_call(),
            "InvalidParameterValue",
        ),
        (
            CreateSecurityGroup {
                description: String::new(),
                ..Bench::group_request(&vpc, "c")
            }
            .into_call(),
            "MissingParameter",
        ),
        (
            CreateSecurityGroup {
                description: "nodes' own".into(),
                ..Bench::group_request(&vpc, "c")
            }
            .into_call(),
            "InvalidParameterValue",
        ),
        (ingress(&group, Vec::new()), "MissingParameter"),
        (
            ingress(&group, vec![ssh("it's ssh")]),
            "InvalidParameterValue",
        ),
        (
            ingress(&group, vec![ssh(&"s".repeat(256))]),
            "InvalidParameterValue",
        ),
        (
            ingress(&group, vec![ssh("one"), ssh("two")]),
            "InvalidParameterValue",
        ),
        (ingress(&group, vec![ssh("one")]), "ok"),
        (
            ingress(&group, vec![ssh("two")]),
            "InvalidPermission.Duplicate",
        ),
        (
            ingress(&group, vec![rule(Protocol::Tcp(90, 80), anywhere(), "")]),
            "InvalidParameterValue",
        ),
        (
            ingress(
                &group,
                vec![rule(Protocol::All, Peer::Ipv4("10.0.0.0/40".into()), "")],
            ),
            "InvalidParameterValue",
        ),
        (
            ingress(&group, vec![rule(Protocol::All, Peer::Group(theirs), "")]),
            "InvalidGroup.NotFound",
        ),
        (
            ingress(
                &group,
                vec![rule(
                    Protocol::All,
                    Peer::Group("sg-00000000000000000".into()),
                    "",
                )],
            ),
            "InvalidGroup.NotFound",
        ),
        (
            ingress(
                &group,
                vec![rule(Protocol::All, Peer::PrefixList("pl-1".into()), "")],
            ),
            "InvalidPrefixListID.NotFound",
        ),
        (
            ingress(
                &group,
                vec![rule(
                    Protocol::All,
                    Peer::PrefixList("pl-6da54004".into()),
                    "S3",
                )],
            ),
            "ok",
        ),
    ])
    .await;
    let filters = vec![Filter::new("group-id", &group)];
    let rules = it.ok(DescribeSecurityGroupRules { filters }).await;
    let egress = rules
        .iter()
        .find(|rule| rule.direction == Direction::Egress)
        .unwrap();
    it.codes(vec![
        (
            RevokeSecurityGroupIngress {
                group: group.clone(),
                rules: vec![egress.id.clone()],
            }
            .into_call(),
            "InvalidSecurityGroupRuleId.NotFound",
        ),
        (
            RevokeSecurityGroupEgress {
                group: group.clone(),
                rules: vec![egress.id.clone()],
            }
            .into_call(),
            "ok",
        ),
        (
            RevokeSecurityGroupEgress {
                group: group.clone(),
                rules: vec![egress.id.clone()],
            }
            .into_call(),
            "InvalidSecurityGroupRuleId.NotFound",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_group_stays_while_anyone_refers_to_it() {
    let it = Bench::prompt();
    let vpc = it.vpc("10.20.0.0/16").await;
    let subnet = it.subnet(&vpc, "10.20.13.0/24").await;
    let (a, b) = (it.group(&vpc, "a").await, it.group(&vpc, "b").await);
    let peer = |group: &Id| rule(Protocol::All, Peer::Group(group.clone()), "");
    // Each refers to itself and to the other.
    it.codes(vec![
        (ingress(&a, vec![peer(&a), peer(&b)]), "ok"),
        (ingress(&b, vec![peer(&a)]), "ok"),
    ])
    .await;
    let delete = |group: &Id| DeleteSecurityGroup {
        group: group.clone(),
    };
    assert_eq!(it.code(delete(&a)).await, "DependencyViolation");
    assert_eq!(it.code(delete(&b)).await, "DependencyViolation");
    let rules = it
        .ok(DescribeSecurityGroupRules {
            filters: vec![Filter::new("group-id", &b)],
        })
        .await;
    let ingress_of_b = rules
        .iter()
        .find(|rule| rule.direction == Direction::Ingress)
        .unwrap();
    it.ok(RevokeSecurityGroupIngress {
        group: b.clone(),
        rules: vec![ingress_of_b.id.clone()],
    })
    .await;

    let request = CreateNetworkInterface {
        groups: vec![a.clone()],
        ..it.interface_request(&subnet, "10.20.13.9")
    };
    let interface = it.ok(request).await.id;
    assert_eq!(it.code(delete(&a)).await, "DependencyViolation");
    it.ok(ModifyNetworkInterfaceGroups {
        interface,
        groups: vec![b.clone()],
    })
    .await;
    it.ok(delete(&a)).await;
    assert_eq!(it.code(delete(&b)).await, "DependencyViolation");
}

#[tokio::test(start_paused = true)]
async fn addresses_of_interfaces_are_checked() {
    let it = Bench::prompt();
    let vpc = it.vpc("10.20.0.0/16").await;
    let subnet = it.subnet(&vpc, "10.20.13.0/24").await;
    let with = |primary: &str, secondary: &[&str]| {
        CreateNetworkInterface {
            secondary: secondary.iter().map(|&it| it.to_owned()).collect(),
            ..it.interface_request(&subnet, primary)
        }
        .into_call()
    };
    it.codes(vec![
        (with("10.20.13.140", &["10.20.13.141"]), "ok"),
        (with("10.20.13.140", &[]), "InvalidIPAddress.InUse"),
        (with("10.20.13.141", &[]), "InvalidIPAddress.InUse"),
        (
            with("10.20.13.150", &["10.20.13.141"]),
            "InvalidIPAddress.InUse",
        ),
        (
            with("10.20.13.150", &["10.20.13.150"]),
            "InvalidParameterValue",
        ),
        (with("10.20.13.3", &[]), "InvalidParameterValue"),
        (with("10.20.13.255", &[]), "InvalidParameterValue"),
        (with("10.20.14.9", &[]), "InvalidParameterValue"),
        (with("", &[]), "InvalidParameterValue"),
    ])
    .await;
    let interface = it
        .ok(DescribeNetworkInterfaces {
            filters: Vec::new(),
        })
        .await[0]
        .id
        .clone();
    let assign = |address: &str| {
        AssignPrivateIpAddresses {
            interface: interface.clone(),
            addresses: vec![address.into()],
        }
        .into_call()
    };
    let unassign = |address: &str| {
        UnassignPrivateIpAddresses {
            interface: interface.clone(),
            addresses: vec![address.into()],
        }
        .into_call()
    };
    it.codes(vec![
        (assign("10.20.13.2"), "InvalidParameterValue"),
        (assign("10.20.13.142"), "ok"),
        (assign("10.20.13.142"), "InvalidParameterValue"),
        (unassign("10.20.13.140"), "InvalidParameterValue"),
        (unassign("10.20.13.142"), "ok"),
        (unassign("10.20.13.142"), "InvalidParameterValue"),
        (
            AssignIpv6Addresses {
                interface: interface.clone(),
                count: 1,
            }
            .into_call(),
            "InvalidParameterValue",
        ),
        (
            DeleteSubnet {
                subnet: subnet.clone(),
            }
            .into_call(),
            "DependencyViolation",
        ),
        (
            DeleteNetworkInterface {
                interface: interface.clone(),
            }
            .into_call(),
            "ok",
        ),
        (
            DeleteNetworkInterface {
                interface: interface.clone(),
            }
            .into_call(),
            "InvalidNetworkInterfaceID.NotFound",
        ),
        (
            DeleteSubnet {
                subnet: subnet.clone(),
            }
            .into_call(),
            "ok",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_gateway_endpoint_makes_and_removes_its_routes() {
    let it = Bench::prompt();
    let vpc = it.vpc("10.20.0.0/16").await;
    let (first, second) = (it.table(&vpc).await, it.table(&vpc).await);
    let request = |service: &str, tables: &[&Id]| CreateVpcEndpoint {
        vpc: vpc.clone(),
        service: service.into(),
        tables: tables.iter().map(|&table| table.clone()).collect(),
        token: it.token(),
        tags: Tags::new(),
    };
    const S3: &str = "com.amazonaws.eu-west-1.s3";
    assert_eq!(
        it.code(request("com.amazonaws.eu-west-2.s3", &[])).await,
        "InvalidServiceName"
    );
    let endpoint = it.ok(request(S3, &[&first])).await.id;
    assert_eq!(it.code(request(S3, &[&first])).await, "RouteAlreadyExists");
    let modify = ModifyVpcEndpoint {
        endpoint: endpoint.clone(),
        add_tables: vec![second.clone()],
        remove_tables: vec![first.clone()],
    };
    it.codes(vec![
        (modify.clone().into_call(), "ok"),
        (modify.into_call(), "RouteAlreadyExists"),
        (DeleteRouteTable { table: first }.into_call(), "ok"),
        (
            DeleteRouteTable {
                table: second.clone(),
            }
            .into_call(),
            "DependencyViolation",
        ),
        (
            DeleteRoute {
                table: second.clone(),
                destination: "pl-6da54004".into(),
            }
            .into_call(),
            "InvalidParameterValue",
        ),
        (
            DeleteVpcEndpoint {
                endpoint: endpoint.clone(),
            }
            .into_call(),
            "ok",
        ),
        (
            DeleteVpcEndpoint {
                endpoint: endpoint.clone(),
            }
            .into_call(),
            "InvalidVpcEndpointId.NotFound",
        ),
    ])
    .await;
    let look = || DescribeVpcEndpoints {
        filters: Vec::new(),
    };
    assert_eq!(it.ok(look()).await[0].state, "deleting");
    tokio::time::sleep(LONG).await;
    assert_eq!(it.ok(look()).await, []);
    let filters = vec![Filter::new("route-table-id", second)];
    assert_eq!(
        it.ok(DescribeRouteTables { filters }).await[0].routes.len(),
        1
    );
}

#[tokio::test(start_paused = true)]
async fn an_instance_connect_endpoint_is_slow_to_come_and_to_go() {
    let it = Bench::prompt();
    let vpc = it.vpc("10.20.0.0/16").await;
    let subnet = it.subnet(&vpc, "10.20.13.0/24").await;
    let group = it.group(&vpc, "ssh").await;
    let request = || CreateInstanceConnectEndpoint {
        subnet: subnet.clone(),
        groups: vec![group.clone()],
        token: it.token(),
        tags: Tags::new(),
    };
    let endpoint = it.ok(request()).await;
    assert_eq!(endpoint.state, "create-in-progress");
    let delete = DeleteInstanceConnectEndpoint {
        endpoint: endpoint.id.clone(),
    };
    it.codes(vec![
        (request().into_call(), "ResourceLimitExceeded"),
        (delete.clone().into_call(), "IncorrectState"),
    ])
    .await;
    tokio::time::sleep(LONG).await;
    let look = || DescribeInstanceConnectEndpoints {
        filters: Vec::new(),
    };
    assert_eq!(it.ok(look()).await[0].state, "create-complete");
    it.codes(vec![
        (
            DeleteSubnet {
                subnet: subnet.clone(),
            }
            .into_call(),
            "DependencyViolation",
        ),
        (
            DeleteSecurityGroup {
                group: group.clone(),
            }
            .into_call(),
            "DependencyViolation",
        ),
        (delete.clone().into_call(), "ok"),
        (delete.clone().into_call(), "IncorrectState"),
        // Its interface goes with it, and no sooner.
        (
            DeleteSecurityGroup {
                group: group.clone(),
            }
            .into_call(),
            "DependencyViolation",
        ),
    ])
    .await;
    tokio::time::sleep(LONG).await;
    assert_eq!(it.ok(look()).await, []);
    it.codes(vec![
        (
            delete.into_call(),
            "InvalidInstanceConnectEndpointId.NotFound",
        ),
        (DeleteSecurityGroup { group }.into_call(), "ok"),
        (DeleteSubnet { subnet }.into_call(), "ok"),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn dhcp_options_stay_while_a_vpc_uses_them() {
    let it = Bench::prompt();
    let vpc = it.vpc("10.20.0.0/16").await;
    let create = |servers: &[&str]| CreateDhcpOptions {
        servers: servers.iter().map(|&it| it.to_owned()).collect(),
        domain: None,
        tags: Tags::new(),
    };
    let options = it
        .ok(create(&["10.20.13.140", "AmazonProvidedDNS"]))
        .await
        .id;
    let associate = |options: &str| AssociateDhcpOptions {
        options: options.into(),
        vpc: vpc.clone(),
    };
    it.codes(vec![
        (create(&[]).into_call(), "InvalidParameterValue"),
        (create(&["bastion"]).into_call(), "InvalidParameterValue"),
        (create(&["1.1.1.1"; 5]).into_call(), "InvalidParameterValue"),
        (
            associate("dopt-00000000000000000").into_call(),
            "InvalidDhcpOptionID.NotFound",
        ),
        (associate(&options).into_call(), "ok"),
        (
            DeleteDhcpOptions {
                options: options.clone(),
            }
            .into_call(),
            "DependencyViolation",
        ),
        (associate("default").into_call(), "ok"),
        (
            DeleteDhcpOptions {
                options: options.clone(),
            }
            .into_call(),
            "ok",
        ),
        (
            DeleteDhcpOptions { options }.into_call(),
            "InvalidDhcpOptionID.NotFound",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn tags_and_filters_are_checked() {
    let it = Bench::prompt();
    let vpc = it.vpc("10.20.0.0/16").await;
    let tag = |key: &str, value: &str| CreateTags {
        resource: vpc.clone(),
        tags: Tags::from([(key.to_owned(), value.to_owned())]),
    };
    let vpcs = |filter: Filter| DescribeVpcs {
        filters: vec![filter],
    };
    it.codes(vec![
        (tag("ichor:lab", "home").into_call(), "ok"),
        (tag("aws:x", "").into_call(), "InvalidParameterValue"),
        (
            CreateTags {
                resource: "vpc-00000000000000000".into(),
                tags: Tags::new(),
            }
            .into_call(),
            "InvalidVpcID.NotFound",
        ),
        (
            CreateTags {
                resource: "thing".into(),
                tags: Tags::new(),
            }
            .into_call(),
            "InvalidID",
        ),
        (
            vpcs(Filter::new("subnet-id", "x")).into_call(),
            "InvalidParameterValue",
        ),
        (
            vpcs(Filter {
                name: "vpc-id".into(),
                values: Vec::new(),
            })
            .into_call(),
            "InvalidParameterValue",
        ),
    ])
    .await;
    for (filter, count) in [
        (Filter::tag("ichor:lab", "home"), 1),
        (Filter::tag("ichor:lab", "h*"), 1),
        (Filter::tag("ichor:lab", "work"), 0),
        (Filter::new("tag-key", "ichor:lab"), 1),
        (Filter::new("is-default", "true"), 0),
    ] {
        assert_eq!(it.ok(vpcs(filter.clone())).await.len(), count, "{filter:?}");
    }
    let filters = vec![Filter::tag("ichor:lab", "home")];
    let lines = it.ok(DescribeTags { filters }).await;
    assert_eq!(
        (lines[0].resource.as_str(), lines[0].kind.as_str()),
        (vpc.as_str(), "vpc")
    );
}
