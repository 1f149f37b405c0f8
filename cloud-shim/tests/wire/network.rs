//! VPC, gateways, routes, groups, endpoints and interfaces, in moto.

use ichor_cloud::api::*;
use serde_json::{Value, json};

use super::{boto3, done, emulated, refused, tags};

async fn network(aws: &dyn Cloud, name: &str) -> (Vpc, Subnet) {
    let vpc = done(
        aws,
        CreateVpc {
            cidr: "10.20.0.0/16".to_owned(),
            ipv6: true,
            tags: tags(name),
        },
    )
    .await;
    let subnet = done(
        aws,
        CreateSubnet {
            vpc: vpc.id.clone(),
            cidr: "10.20.13.0/24".to_owned(),
            ipv6_cidr: None,
            zone: format!("{}a", aws.region()),
            tags: tags(name),
        },
    )
    .await;
    (vpc, subnet)
}

async fn only_vpc(aws: &dyn Cloud, id: &str) -> Vpc {
    let filters = vec![Filter::new("vpc-id", id)];
    let mut vpcs = done(aws, DescribeVpcs { filters }).await;
    assert_eq!(vpcs.len(), 1, "{vpcs:?}");
    vpcs.remove(0)
}

async fn only_subnet(aws: &dyn Cloud, id: &str) -> Subnet {
    let filters = vec![Filter::new("subnet-id", id)];
    let mut subnets = done(aws, DescribeSubnets { filters }).await;
    assert_eq!(subnets.len(), 1, "{subnets:?}");
    subnets.remove(0)
}

fn look(aws: &dyn Cloud, operation: &str, arguments: Value) -> Value {
    boto3().ask("ec2", aws.region(), operation, arguments)
}

/// What boto3 shows of tags.
fn tags_in(value: &Value) -> Tags {
    let list = value.as_array().expect("tags are a list");
    let text = |value: &Value| value.as_str().expect("a string").to_owned();
    list.iter()
        .map(|tag| (text(&tag["Key"]), text(&tag["Value"])))
        .collect()
}

#[tokio::test]
async fn vpc_subnet_and_dhcp_options() {
    let aws = &*emulated("eu-west-1").await;
    let (vpc, subnet) = network(aws, "lab").await;
    assert_eq!(vpc.cidr, "10.20.0.0/16");
    assert_eq!(vpc.tags, tags("lab"));
    assert!(!vpc.is_default);

    // The second look.
    let seen = look(aws, "describe_vpcs", json!({"VpcIds": [vpc.id]}));
    let seen = &seen["Vpcs"][0];
    assert_eq!(seen["CidrBlock"], "10.20.0.0/16");
    assert_eq!(tags_in(&seen["Tags"]), tags("lab"));

    // The filter keeps the region's default VPC out.
    let ours = vec![Filter::tag("ichor:lab", "wire")];
    let found = done(aws, DescribeVpcs { filters: ours }).await;
    assert_eq!(found.len(), 1);
    let all = done(aws, DescribeVpcs { filters: vec![] }).await;
    assert!(all.iter().any(|vpc| vpc.is_default), "{all:?}");

    // DNS attributes.
    for value in [true, false] {
        let attribute = VpcAttribute::DnsHostnames;
        let id = vpc.id.clone();
        done(
            aws,
            ModifyVpcAttribute {
                vpc: id.clone(),
                attribute,
                value,
            },
        )
        .await;
        let asked = DescribeVpcAttribute { vpc: id, attribute };
        assert_eq!(done(aws, asked).await, value);
    }
    let attribute = VpcAttribute::DnsSupport;
    let vpc_id = vpc.id.clone();
    done(
        aws,
        ModifyVpcAttribute {
            vpc: vpc_id.clone(),
            attribute,
            value: true,
        },
    )
    .await;
    assert!(
        done(
            aws,
            DescribeVpcAttribute {
                vpc: vpc_id,
                attribute
            }
        )
        .await
    );

    // IPv6: the VPC has a block; its subnet gets one of it, and loses it again.
    let block = only_vpc(aws, &vpc.id).await.ipv6.expect("a block");
    let of_subnet = block.cidr.replace("/56", "/64");
    let cidr = AssociateSubnetCidrBlock {
        subnet: subnet.id.clone(),
        ipv6_cidr: of_subnet.clone(),
    };
    done(aws, cidr).await;
    let seen = only_subnet(aws, &subnet.id).await;
    let given = seen.ipv6.expect("a block");
    assert_eq!(given.cidr, of_subnet);
    let association = given.association;
    done(aws, DisassociateSubnetCidrBlock { association }).await;
    assert_eq!(only_subnet(aws, &subnet.id).await.ipv6, None);
    let association = block.association;
    done(aws, DisassociateVpcCidrBlock { association }).await;
    assert_eq!(only_vpc(aws, &vpc.id).await.ipv6, None);
    done(
        aws,
        AssociateVpcCidrBlock {
            vpc: vpc.id.clone(),
        },
    )
    .await;
    assert!(only_vpc(aws, &vpc.id).await.ipv6.is_some());

    // Attributes of the subnet.
    assert!(!subnet.assign_ipv6 && !subnet.map_public_ip);
    for attribute in [SubnetAttribute::AssignIpv6, SubnetAttribute::MapPublicIp] {
        let subnet = subnet.id.clone();
        done(
            aws,
            ModifySubnetAttribute {
                subnet,
                attribute,
                value: true,
            },
        )
        .await;
    }
    let seen = only_subnet(aws, &subnet.id).await;
    assert!(seen.assign_ipv6 && seen.map_public_ip, "{seen:?}");
    assert_eq!(
        (seen.vpc, seen.zone),
        (vpc.id.clone(), "eu-west-1a".to_owned())
    );

    // DHCP options keep their order.
    let servers = vec!["10.20.13.140".to_owned(), "AmazonProvidedDNS".to_owned()];
    let options = CreateDhcpOptions {
        servers: servers.clone(),
        domain: Some("lab.internal".to_owned()),
        tags: tags("lab"),
    };
    let options = done(aws, options).await;
    let filters = vec![Filter::new("dhcp-options-id", &options.id)];
    let found = done(aws, DescribeDhcpOptions { filters }).await;
    assert_eq!(found, [options.clone()]);
    assert_eq!(found[0].servers, servers);
    assert_eq!(found[0].domain.as_deref(), Some("lab.internal"));
    let (id, of) = (options.id.clone(), vpc.id.clone());
    done(
        aws,
        AssociateDhcpOptions {
            options: id,
            vpc: of,
        },
    )
    .await;
    assert_eq!(only_vpc(aws, &vpc.id).await.dhcp_options, options.id);
    let in_use = refused(
        aws,
        DeleteDhcpOptions {
            options: options.id.clone(),
        },
    )
    .await;
    assert_eq!(in_use.code, "DependencyViolation", "{in_use}");
    let of = vpc.id.clone();
    done(
        aws,
        AssociateDhcpOptions {
            options: "default".to_owned(),
            vpc: of,
        },
    )
    .await;
    done(
        aws,
        DeleteDhcpOptions {
            options: options.id,
        },
    )
    .await;

    // Away with it, from the inside out.
    let too_early = refused(
        aws,
        DeleteVpc {
            vpc: vpc.id.clone(),
        },
    )
    .await;
    assert_eq!(too_early.code, "DependencyViolation", "{too_early}");
    assert_eq!(too_early.fault, Fault::Service { status: 400 });
    assert!(too_early.request_id.is_some());
    done(
        aws,
        DeleteSubnet {
            subnet: subnet.id.clone(),
        },
    )
    .await;
    done(
        aws,
        DeleteVpc {
            vpc: vpc.id.clone(),
        },
    )
    .await;
    let gone = refused(aws, DeleteVpc { vpc: vpc.id }).await;
    assert!(gone.is_not_found(), "{gone}");
}

#[tokio::test]
async fn gateways_addresses_and_routes() {
    let aws = &*emulated("eu-west-2").await;
    let (vpc, subnet) = network(aws, "lab").await;

    // An internet gateway.
    let igw = done(aws, CreateInternetGateway { tags: tags("igw") }).await;
    assert_eq!((&igw.vpc, &igw.tags), (&None, &tags("igw")));
    let (gateway, of) = (igw.id.clone(), vpc.id.clone());
    done(aws, AttachInternetGateway { gateway, vpc: of }).await;
    let filters = vec![Filter::new("attachment.vpc-id", &vpc.id)];
    let found = done(aws, DescribeInternetGateways { filters }).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].vpc.as_ref(), Some(&vpc.id));

    // An egress-only one.
    let eigw = CreateEgressOnlyInternetGateway {
        vpc: vpc.id.clone(),
        token: "eigw".to_owned(),
        tags: tags("eigw"),
    };
    let eigw = done(aws, eigw).await;
    assert_eq!(eigw.vpc, vpc.id);
    let filters = vec![Filter::tag("ichor:lab", "wire")];
    let found = done(aws, DescribeEgressOnlyInternetGateways { filters }).await;
    assert!(found.iter().any(|found| found.id == eigw.id), "{found:?}");

    // A NAT gateway with an elastic address.
    let address = done(aws, AllocateAddress { tags: tags("nat") }).await;
    let nat = CreateNatGateway {
        subnet: subnet.id.clone(),
        allocation: address.id.clone(),
        token: "nat".to_owned(),
        tags: tags("nat"),
    };
    let nat = done(aws, nat).await;
    let filters = vec![Filter::new("vpc-id", &vpc.id)];
    let found = done(aws, DescribeNatGateways { filters }).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].id, nat.id);
    assert_eq!(found[0].allocations, [address.id.clone()]);
    assert_eq!((&found[0].vpc, &found[0].subnet), (&vpc.id, &subnet.id));

    // Routes: two families, two kinds of gateway, then another way, then none.
    let table = CreateRouteTable {
        vpc: vpc.id.clone(),
        token: "table".to_owned(),
        tags: tags("table"),
    };
    let table = done(aws, table).await;
    assert!(!table.is_main);
    assert_eq!(table.routes[0].target, Target::Local);
    let of = table.id.clone();
    let route = |destination: &str, target: Target| CreateRoute {
        table: of.clone(),
        destination: destination.to_owned(),
        target,
    };
    done(
        aws,
        route("0.0.0.0/0", Target::InternetGateway(igw.id.clone())),
    )
    .await;
    done(
        aws,
        route("::/0", Target::EgressOnlyGateway(eigw.id.clone())),
    )
    .await;
    let twice = refused(
        aws,
        route("0.0.0.0/0", Target::InternetGateway(igw.id.clone())),
    )
    .await;
    assert_eq!(twice.code, "RouteAlreadyExists", "{twice}");
    let replace = ReplaceRoute {
        table: of.clone(),
        destination: "0.0.0.0/0".to_owned(),
        target: Target::NatGateway(nat.id.clone()),
    };
    done(aws, replace).await;
    let filters = || vec![Filter::new("route-table-id", &of)];
    let found = done(aws, DescribeRouteTables { filters: filters() }).await;
    let to = |destination: &str| {
        let route = found[0]
            .routes
            .iter()
            .find(|r| r.destination == destination);
        route.map(|route| route.target.clone())
    };
    assert_eq!(to("0.0.0.0/0"), Some(Target::NatGateway(nat.id.clone())));
    assert_eq!(to("::/0"), Some(Target::EgressOnlyGateway(eigw.id.clone())));
    let seen = look(aws, "describe_route_tables", json!({"RouteTableIds": [of]}));
    let seen = seen["RouteTables"][0]["Routes"].as_array().expect("routes");
    assert!(
        seen.iter()
            .any(|route| route["NatGatewayId"] == nat.id.as_str())
    );
    // A target that is not for us to set does not reach the wire.
    let local = refused(aws, route("10.9.0.0/16", Target::Local)).await;
    assert_eq!(local.fault, Fault::Invalid, "{local}");

    // A subnet uses the table, which then cannot go.
    let associate = AssociateRouteTable {
        table: of.clone(),
        subnet: subnet.id.clone(),
    };
    let association = done(aws, associate).await;
    let found = done(aws, DescribeRouteTables { filters: filters() }).await;
    assert_eq!(found[0].associations[0].id, association);
    assert_eq!(found[0].associations[0].subnet.as_ref(), Some(&subnet.id));
    let in_use = refused(aws, DeleteRouteTable { table: of.clone() }).await;
    assert_eq!(in_use.code, "DependencyViolation", "{in_use}");
    done(aws, DisassociateRouteTable { association }).await;
    for destination in ["0.0.0.0/0", "::/0"] {
        let (table, destination) = (of.clone(), destination.to_owned());
        done(aws, DeleteRoute { table, destination }).await;
    }
    done(aws, DeleteRouteTable { table: of.clone() }).await;
    let filters = vec![Filter::new("vpc-id", &vpc.id)];
    let left = done(aws, DescribeRouteTables { filters }).await;
    assert_eq!(left.len(), 1);
    assert!(left[0].is_main);

    // And all of it goes.
    done(
        aws,
        DeleteNatGateway {
            gateway: nat.id.clone(),
        },
    )
    .await;
    done(
        aws,
        ReleaseAddress {
            allocation: address.id,
        },
    )
    .await;
    done(aws, DeleteEgressOnlyInternetGateway { gateway: eigw.id }).await;
    let (gateway, of) = (igw.id.clone(), vpc.id.clone());
    done(aws, DetachInternetGateway { gateway, vpc: of }).await;
    done(aws, DeleteInternetGateway { gateway: igw.id }).await;
    let filters = vec![Filter::tag("ichor:lab", "wire")];
    assert_eq!(done(aws, DescribeInternetGateways { filters }).await, []);
    assert_eq!(done(aws, DescribeAddresses { filters: vec![] }).await, []);
}

#[tokio::test]
async fn security_groups_rule_by_rule() {
    let aws = &*emulated("eu-west-3").await;
    let (vpc, _) = network(aws, "lab").await;
    let create = |name: &str| CreateSecurityGroup {
        vpc: vpc.id.clone(),
        name: name.to_owned(),
        description: format!("{name} of the lab"),
        tags: tags(name),
    };
    let bastion = done(aws, create("bastion-sg")).await;
    let nodes = done(aws, create("talos-nodes-sg")).await;
    let twice = refused(aws, create("bastion-sg")).await;
    assert_eq!(twice.code, "InvalidGroup.Duplicate", "{twice}");
    let filters = vec![Filter::new("group-id", &bastion)];
    let found = done(aws, DescribeSecurityGroups { filters }).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].name, "bastion-sg");
    assert_eq!(found[0].description, "bastion-sg of the lab");
    assert_eq!(
        (&found[0].vpc, &found[0].tags),
        (&vpc.id, &tags("bastion-sg"))
    );

    let rules = async |group: &Id| {
        let filters = vec![Filter::new("group-id", group)];
        done(aws, DescribeSecurityGroupRules { filters }).await
    };
    // A new group lets everything out; that is taken away by the rules' ids.
    let born = rules(&bastion).await;
    assert!(!born.is_empty());
    assert!(
        born.iter()
            .all(|rule| rule.direction == Direction::Egress && rule.rule.protocol == Protocol::All)
    );
    let ids = born.into_iter().map(|rule| rule.id).collect();
    let group = bastion.clone();
    done(aws, RevokeSecurityGroupEgress { group, rules: ids }).await;
    assert_eq!(rules(&bastion).await, []);

    let rule = |protocol, peer, description: &str| Rule {
        protocol,
        peer,
        description: description.to_owned(),
    };
    let list = done(
        aws,
        DescribeManagedPrefixLists {
            name: "com.amazonaws.eu-west-3.s3".to_owned(),
        },
    )
    .await
    .expect("AWS has a list for S3");
    assert!(list.starts_with("pl-"), "{list}");
    let unknown = DescribeManagedPrefixLists {
        name: "com.amazonaws.none".to_owned(),
    };
    assert_eq!(done(aws, unknown).await, None);
    let mut inward = vec![
        rule(
            Protocol::Tcp(22, 22),
            Peer::Ipv4("10.20.0.0/16".to_owned()),
            "SSH",
        ),
        rule(
            Protocol::Tcp(5050, 5054),
            Peer::Group(nodes.clone()),
            "mirrors",
        ),
        rule(Protocol::Udp(69, 69), Peer::Group(nodes.clone()), "TFTP"),
        rule(
            Protocol::Icmp,
            Peer::Ipv4("10.20.0.0/16".to_owned()),
            "ping",
        ),
        rule(Protocol::Icmp6, Peer::Ipv6("::/0".to_owned()), "neighbours"),
    ];
    let mut outward = vec![
        rule(Protocol::Tcp(443, 443), Peer::PrefixList(list), "S3"),
        rule(Protocol::All, Peer::Ipv6("2001:db8::/32".to_owned()), "out"),
    ];
    let (group, to_add) = (bastion.clone(), inward.clone());
    done(
        aws,
        AuthorizeSecurityGroupIngress {
            group,
            rules: to_add,
            tags: tags("rule"),
        },
    )
    .await;
    let (group, to_add) = (bastion.clone(), outward.clone());
    done(
        aws,
        AuthorizeSecurityGroupEgress {
            group,
            rules: to_add,
            tags: tags("rule"),
        },
    )
    .await;
    let found = rules(&bastion).await;
    let of = |direction| {
        let rules = found.iter().filter(|rule| rule.direction == direction);
        let mut rules: Vec<Rule> = rules.map(|rule| rule.rule.clone()).collect();
        rules.sort();
        rules
    };
    inward.sort();
    outward.sort();
    assert_eq!(of(Direction::Ingress), inward);
    assert_eq!(of(Direction::Egress), outward);
    assert!(found.iter().all(|rule| rule.group == bastion));
    let arguments = json!({"Filters": [{"Name": "group-id", "Values": [bastion]}]});
    let seen = look(aws, "describe_security_group_rules", arguments);
    let seen = seen["SecurityGroupRules"].as_array().expect("rules");
    assert_eq!(seen.len(), 7);
    let mirrors = seen.iter().find(|rule| rule["FromPort"] == 5050);
    let mirrors = mirrors.expect("the rule for mirrors");
    assert_eq!(mirrors["ToPort"], 5054);
    assert_eq!(mirrors["ReferencedGroupInfo"]["GroupId"], nodes.as_str());

    // One type of ICMP, which somebody may add by hand, stops nothing.
    let by_hand = json!({"GroupId": bastion, "IpPermissions": [{
        "IpProtocol": "icmp", "FromPort": 8, "ToPort": -1,
        "IpRanges": [{"CidrIp": "192.0.2.0/24"}]}]});
    look(aws, "authorize_security_group_ingress", by_hand);
    let found = rules(&bastion).await;
    let echo = Protocol::Other {
        number: 1,
        kind: 8,
        code: -1,
    };
    assert!(
        found.iter().any(|rule| rule.rule.protocol == echo),
        "{found:?}"
    );

    let ids = |direction| {
        let rules = found.iter().filter(|rule| rule.direction == direction);
        rules.map(|rule| rule.id.clone()).collect::<Vec<_>>()
    };
    let (group, gone) = (bastion.clone(), ids(Direction::Ingress));
    done(aws, RevokeSecurityGroupIngress { group, rules: gone }).await;
    let (group, gone) = (bastion.clone(), ids(Direction::Egress));
    done(aws, RevokeSecurityGroupEgress { group, rules: gone }).await;
    assert_eq!(rules(&bastion).await, []);
    for group in [bastion, nodes] {
        done(aws, DeleteSecurityGroup { group }).await;
    }
}

#[tokio::test]
async fn endpoints_interfaces_and_tags() {
    let aws = &*emulated("eu-north-1").await;
    let (vpc, subnet) = network(aws, "lab").await;
    let filters = vec![Filter::new("vpc-id", &vpc.id)];
    let tables = done(aws, DescribeRouteTables { filters }).await;
    let main = tables[0].id.clone();

    let endpoint = CreateVpcEndpoint {
        vpc: vpc.id.clone(),
        service: "com.amazonaws.eu-north-1.s3".to_owned(),
        tables: vec![main.clone()],
        token: "s3".to_owned(),
        tags: tags("s3"),
    };
    let endpoint = done(aws, endpoint).await;
    assert_eq!(endpoint.service, "com.amazonaws.eu-north-1.s3");
    let filters = || vec![Filter::new("vpc-id", &vpc.id)];
    let tables = async || {
        let filters = filters();
        let mut found = done(aws, DescribeVpcEndpoints { filters }).await;
        assert_eq!(found.len(), 1);
        let found = found.remove(0);
        let (kind, state) = (found.kind.as_str(), found.state.as_str());
        assert_eq!((kind, state), ("Gateway", "available"));
        assert_eq!(found.tags, tags("s3"));
        found.tables
    };
    assert_eq!(tables().await, [main.clone()]);
    let create = CreateRouteTable {
        vpc: vpc.id.clone(),
        token: "second".to_owned(),
        tags: tags("second"),
    };
    let second = done(aws, create).await.id;
    let modify = |add_tables, remove_tables| ModifyVpcEndpoint {
        endpoint: endpoint.id.clone(),
        add_tables,
        remove_tables,
    };
    done(aws, modify(vec![second.clone()], vec![])).await;
    assert_eq!(tables().await, [main.clone(), second.clone()]);
    done(aws, modify(vec![], vec![second])).await;
    assert_eq!(tables().await, [main]);
    let endpoint = endpoint.id.clone();
    done(aws, DeleteVpcEndpoint { endpoint }).await;

    // IPv6 for the subnet, of which an interface can have some.
    let block = only_vpc(aws, &vpc.id).await.ipv6.expect("a block");
    let cidr = AssociateSubnetCidrBlock {
        subnet: subnet.id.clone(),
        ipv6_cidr: block.cidr.replace("/56", "/64"),
    };
    done(aws, cidr).await;

    // The bastion's interface, with its two fixed addresses.
    let group = done(
        aws,
        CreateSecurityGroup {
            vpc: vpc.id.clone(),
            name: "bastion-sg".to_owned(),
            description: "bastion".to_owned(),
            tags: tags("bastion-sg"),
        },
    )
    .await;
    let create = CreateNetworkInterface {
        subnet: subnet.id.clone(),
        primary: "10.20.13.140".to_owned(),
        secondary: vec!["10.20.13.141".to_owned()],
        ipv6_count: 0,
        groups: vec![group.clone()],
        description: "the bastion's".to_owned(),
        token: "interface".to_owned(),
        tags: tags("bastion"),
    };
    let interface = done(aws, create).await;
    let only = async |id: &Id| {
        let filters = vec![Filter::new("network-interface-id", id)];
        let mut found = done(aws, DescribeNetworkInterfaces { filters }).await;
        assert_eq!(found.len(), 1);
        found.remove(0)
    };
    let found = only(&interface.id).await;
    assert_eq!(found.primary, "10.20.13.140");
    assert_eq!(found.secondary, ["10.20.13.141"]);
    assert_eq!(found.groups, [group.clone()]);
    assert_eq!((&found.vpc, &found.subnet), (&vpc.id, &subnet.id));
    assert_eq!(
        (found.status.as_str(), found.kind.as_str()),
        ("available", "interface")
    );
    assert_eq!((&found.attachment, &found.tags), (&None, &tags("bastion")));
    assert_eq!(found.description, "the bastion's");
    let arguments = json!({"NetworkInterfaceIds": [interface.id]});
    let seen = look(aws, "describe_network_interfaces", arguments);
    assert_eq!(
        seen["NetworkInterfaces"][0]["PrivateIpAddress"],
        "10.20.13.140"
    );

    let (id, addresses) = (interface.id.clone(), vec!["10.20.13.142".to_owned()]);
    done(
        aws,
        AssignPrivateIpAddresses {
            interface: id.clone(),
            addresses: addresses.clone(),
        },
    )
    .await;
    assert!(only(&id).await.secondary.contains(&addresses[0]));
    done(
        aws,
        UnassignPrivateIpAddresses {
            interface: id.clone(),
            addresses,
        },
    )
    .await;
    assert_eq!(only(&id).await.secondary, ["10.20.13.141"]);
    done(
        aws,
        AssignIpv6Addresses {
            interface: id.clone(),
            count: 1,
        },
    )
    .await;
    let ipv6 = only(&id).await.ipv6;
    assert_eq!(ipv6.len(), 1, "{ipv6:?}");
    done(
        aws,
        UnassignIpv6Addresses {
            interface: id.clone(),
            addresses: ipv6,
        },
    )
    .await;
    assert_eq!(only(&id).await.ipv6, [""; 0]);
    done(
        aws,
        ModifyNetworkInterfaceSourceDestCheck {
            interface: id.clone(),
            check: false,
        },
    )
    .await;
    assert!(!only(&id).await.source_dest_check);
    let filters = vec![
        Filter::new("vpc-id", &vpc.id),
        Filter::new("group-name", "default"),
    ];
    let default = done(aws, DescribeSecurityGroups { filters })
        .await
        .remove(0);
    let groups = vec![default.id];
    done(
        aws,
        ModifyNetworkInterfaceGroups {
            interface: id.clone(),
            groups: groups.clone(),
        },
    )
    .await;
    assert_eq!(only(&id).await.groups, groups);

    // An elastic address on it.
    let address = done(
        aws,
        AllocateAddress {
            tags: tags("public"),
        },
    )
    .await;
    let associate = AssociateAddress {
        allocation: address.id.clone(),
        interface: id.clone(),
        private: "10.20.13.140".to_owned(),
    };
    done(aws, associate).await;
    let filters = || vec![Filter::new("allocation-id", &address.id)];
    let found = done(aws, DescribeAddresses { filters: filters() }).await;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].interface.as_ref(), Some(&id));
    assert_eq!(
        (&found[0].public, &found[0].tags),
        (&address.public, &tags("public"))
    );
    let association = found[0].association.clone().expect("it is mapped");
    done(aws, DisassociateAddress { association }).await;
    let found = done(aws, DescribeAddresses { filters: filters() }).await;
    assert_eq!(found[0].association, None);

    // Tags are set on what is there, and found as lines.
    let more = Tags::from([("ichor:ttl".to_owned(), "3h".to_owned())]);
    done(
        aws,
        CreateTags {
            resource: id.clone(),
            tags: more,
        },
    )
    .await;
    let filters = vec![Filter::new("resource-id", &id)];
    let lines = done(aws, DescribeTags { filters }).await;
    let ttl = lines
        .iter()
        .find(|line| line.key == "ichor:ttl")
        .expect("the tag");
    assert_eq!(
        (ttl.value.as_str(), ttl.kind.as_str()),
        ("3h", "network-interface")
    );
    assert_eq!(lines.len(), 3, "{lines:?}");

    done(
        aws,
        DeleteNetworkInterface {
            interface: id.clone(),
        },
    )
    .await;
    let gone = refused(aws, DeleteNetworkInterface { interface: id }).await;
    assert!(gone.is_not_found(), "{gone}");
}
