//! The design's resources as boto3 sees them: an opinion of its own, not the
//! program's.

use serde_json::{Value, json};

use crate::moto::Boto3;

const REGION: &str = "eu-west-1";

/// What the lab has of a kind.
fn ours(boto3: &Boto3, operation: &str, list: &str) -> Vec<Value> {
    let filters = json!({"Filters": [{"Name": "tag:ichor:lab", "Values": ["home"]}]});
    let answer = boto3.ask("ec2", REGION, operation, filters);
    answer[list].as_array().cloned().unwrap_or_default()
}

/// The one whose tag `Name` ends so.
fn named<'a>(resources: &'a [Value], name: &str) -> &'a Value {
    let name = format!("ichor-home-{name}");
    let has = |resource: &&Value| {
        let tags = resource.get("Tags").or(resource.get("TagSet"));
        let tags = tags.and_then(Value::as_array);
        tags.is_some_and(|tags| {
            tags.iter()
                .any(|tag| tag["Key"] == "Name" && tag["Value"] == name.as_str())
        })
    };
    let found: Vec<_> = resources.iter().filter(has).collect();
    assert_eq!(found.len(), 1, "{name} in {resources:?}");
    found[0]
}

/// Every resource of the design, with its fields.
pub(crate) fn is_there(boto3: &Boto3) {
    let vpcs = ours(boto3, "describe_vpcs", "Vpcs");
    let vpc = named(&vpcs, "vpc");
    assert_eq!(vpc["CidrBlock"], "10.20.0.0/16");
    let vpc_id = &vpc["VpcId"];

    let options = ours(boto3, "describe_dhcp_options", "DhcpOptions");
    let options = named(&options, "dhcp-options");
    assert_eq!(vpc["DhcpOptionsId"], options["DhcpOptionsId"]);
    let servers = options["DhcpConfigurations"].as_array().unwrap();
    let servers = servers
        .iter()
        .find(|it| it["Key"] == "domain-name-servers")
        .unwrap();
    let values: Vec<_> = servers["Values"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["Value"])
        .collect();
    assert_eq!(values, ["10.20.13.140", "AmazonProvidedDNS"]);

    let subnets = ours(boto3, "describe_subnets", "Subnets");
    assert_eq!(subnets.len(), 2);
    let private = named(&subnets, "private-subnet");
    for (subnet, cidr) in [
        (named(&subnets, "public-subnet"), "10.20.1.0/24"),
        (private, "10.20.13.0/24"),
    ] {
        assert_eq!(subnet["CidrBlock"], cidr);
        assert_eq!(&subnet["VpcId"], vpc_id);
        assert_eq!(subnet["AvailabilityZone"], "eu-west-1a");
        assert_eq!(subnet["MapPublicIpOnLaunch"], false);
    }

    let gateways = ours(boto3, "describe_internet_gateways", "InternetGateways");
    let gateway = named(&gateways, "internet-gateway");
    assert_eq!(&gateway["Attachments"][0]["VpcId"], vpc_id);
    // moto does not filter these by tag.
    let egress = boto3.ask(
        "ec2",
        REGION,
        "describe_egress_only_internet_gateways",
        json!({}),
    );
    let egress = named(
        egress["EgressOnlyInternetGateways"].as_array().unwrap(),
        "egress-gateway",
    )["EgressOnlyInternetGatewayId"]
        .clone();
    assert_eq!(
        ours(boto3, "describe_nat_gateways", "NatGateways"),
        Vec::<Value>::new()
    );
    assert_eq!(
        ours(boto3, "describe_addresses", "Addresses"),
        Vec::<Value>::new()
    );

    let tables = ours(boto3, "describe_route_tables", "RouteTables");
    assert_eq!(tables.len(), 2);
    let routes = named(&tables, "private-routes");
    let leads = |routes: &Value, destination: &str, key: &str| {
        let routes = routes["Routes"].as_array().unwrap();
        let route = routes.iter().find(|it| {
            it["DestinationCidrBlock"] == destination
                || it["DestinationIpv6CidrBlock"] == destination
        });
        route.map(|route| route[key].clone())
    };
    assert_eq!(
        leads(routes, "::/0", "EgressOnlyInternetGatewayId"),
        Some(egress)
    );
    assert_eq!(
        leads(routes, "0.0.0.0/0", "GatewayId"),
        None,
        "no way out by IPv4"
    );
    let public = named(&tables, "public-routes");
    assert_eq!(
        leads(public, "0.0.0.0/0", "GatewayId"),
        Some(gateway["InternetGatewayId"].clone())
    );

    rules(boto3);

    let interfaces = ours(boto3, "describe_network_interfaces", "NetworkInterfaces");
    let interface = named(&interfaces, "bastion-interface");
    assert_eq!(interface["SubnetId"], private["SubnetId"]);
    assert_eq!(interface["PrivateIpAddress"], "10.20.13.140");
    let addresses: Vec<_> = interface["PrivateIpAddresses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| &it["PrivateIpAddress"])
        .collect();
    assert_eq!(addresses, ["10.20.13.140", "10.20.13.141"]);

    let endpoints = ours(boto3, "describe_vpc_endpoints", "VpcEndpoints");
    let endpoint = named(&endpoints, "s3-endpoint");
    assert_eq!(endpoint["ServiceName"], "com.amazonaws.eu-west-1.s3");
    assert_eq!(endpoint["VpcEndpointType"], "Gateway");
    let connect = ours(
        boto3,
        "describe_instance_connect_endpoints",
        "InstanceConnectEndpoints",
    );
    assert_eq!(
        named(&connect, "connect-endpoint")["SubnetId"],
        private["SubnetId"]
    );

    templates(
        boto3,
        &interface["NetworkInterfaceId"],
        &private["SubnetId"],
    );
    elsewhere(boto3);
}

/// The groups' rules: by port, and no default egress.
fn rules(boto3: &Boto3) {
    let groups = ours(boto3, "describe_security_groups", "SecurityGroups");
    assert_eq!(groups.len(), 3);
    let bastion = named(&groups, "bastion-sg");
    let nodes = named(&groups, "talos-nodes-sg");
    let has = |group: &Value, list: &str, port: u64, peer: &Value| {
        let rules = group[list].as_array().unwrap();
        rules.iter().any(|rule| {
            let pairs = rule["UserIdGroupPairs"].as_array().unwrap();
            rule["FromPort"].as_u64().is_some_and(|from| from <= port)
                && rule["ToPort"].as_u64().is_some_and(|to| port <= to)
                && pairs.iter().any(|pair| &pair["GroupId"] == peer)
        })
    };
    for port in [8080, 5050, 5054] {
        assert!(
            has(bastion, "IpPermissions", port, &nodes["GroupId"]),
            "bastion from nodes {port}"
        );
        assert!(
            has(nodes, "IpPermissionsEgress", port, &bastion["GroupId"]),
            "nodes to bastion {port}"
        );
    }
    assert!(
        has(nodes, "IpPermissions", 50000, &bastion["GroupId"]),
        "Talos API"
    );
    assert!(
        !has(bastion, "IpPermissions", 9999, &nodes["GroupId"]),
        "nothing else"
    );
    for group in &groups {
        for list in ["IpPermissions", "IpPermissionsEgress"] {
            for rule in group[list].as_array().unwrap() {
                assert_ne!(rule["IpProtocol"], "-1", "everything: {group}");
            }
        }
    }
}

fn templates(boto3: &Boto3, interface: &Value, subnet: &Value) {
    let data = |name: &str| {
        let arguments =
            json!({"LaunchTemplateName": format!("ichor-home-{name}"), "Versions": ["$Default"]});
        let answer = boto3.ask(
            "ec2",
            REGION,
            "describe_launch_template_versions",
            arguments,
        );
        answer["LaunchTemplateVersions"][0]["LaunchTemplateData"].clone()
    };
    let bastion = data("bastion-template");
    let node = data("node-template");
    assert_eq!(
        &bastion["NetworkInterfaces"][0]["NetworkInterfaceId"],
        interface
    );
    assert_eq!(&node["NetworkInterfaces"][0]["SubnetId"], subnet);
    for template in [&bastion, &node] {
        assert_eq!(template["InstanceType"], "t4g.small");
        assert_eq!(template["MetadataOptions"]["HttpTokens"], "required");
        assert_eq!(template["CreditSpecification"]["CpuCredits"], "standard");
        let disk = &template["BlockDeviceMappings"][0]["Ebs"];
        assert_eq!(
            (&disk["Encrypted"], &disk["VolumeType"]),
            (&json!(true), &json!("gp3"))
        );
        assert!(disk["VolumeSize"].as_u64().unwrap() <= 5);
    }
    let images = ours_of_account(boto3);
    let image = named(&images, "loader-image");
    assert_eq!(node["ImageId"], image["ImageId"]);
    assert_eq!(image["Architecture"], "arm64");
    assert_eq!(image["BootMode"], "uefi");
    // The snapshot's blocks, read back with their checksums.
    let snapshot = &image["BlockDeviceMappings"][0]["Ebs"]["SnapshotId"];
    let blocks = boto3.ask(
        "ebs",
        REGION,
        "list_snapshot_blocks",
        json!({"SnapshotId": snapshot}),
    );
    let blocks = blocks["Blocks"].as_array().unwrap().clone();
    assert!(!blocks.is_empty());
    let first = boto3.ask(
        "ebs",
        REGION,
        "get_snapshot_block",
        json!({
            "SnapshotId": snapshot,
            "BlockIndex": blocks[0]["BlockIndex"],
            "BlockToken": blocks[0]["BlockToken"],
        }),
    );
    assert_eq!(first["DataLength"], 512 * 1024);
}

fn ours_of_account(boto3: &Boto3) -> Vec<Value> {
    let arguments = json!({
        "Owners": ["self"],
        "Filters": [{"Name": "tag:ichor:lab", "Values": ["home"]}],
    });
    let answer = boto3.ask("ec2", REGION, "describe_images", arguments);
    answer["Images"].as_array().unwrap().clone()
}

/// What is not EC2's.
fn elsewhere(boto3: &Boto3) {
    let groups = boto3.ask(
        "autoscaling",
        REGION,
        "describe_auto_scaling_groups",
        json!({"AutoScalingGroupNames": ["ichor-home-bastion"]}),
    );
    let group = &groups["AutoScalingGroups"][0];
    assert_eq!(
        (&group["MinSize"], &group["MaxSize"]),
        (&json!(0), &json!(1))
    );
    let actions = boto3.ask(
        "autoscaling",
        REGION,
        "describe_scheduled_actions",
        json!({"AutoScalingGroupName": "ichor-home-bastion"}),
    );
    let actions = actions["ScheduledUpdateGroupActions"]
        .as_array()
        .unwrap()
        .clone();
    assert_eq!(actions.len(), 2);
    assert!(
        actions
            .iter()
            .all(|action| action["TimeZone"] == "Europe/Dublin")
    );

    let role = boto3.ask(
        "iam",
        REGION,
        "get_role",
        json!({"RoleName": "ichor-home-bastion-role"}),
    );
    assert_eq!(role["Role"]["Path"], "/ichor/");
    let profile = boto3.ask(
        "iam",
        REGION,
        "get_instance_profile",
        json!({"InstanceProfileName": "ichor-home-bastion-profile"}),
    );
    assert_eq!(
        profile["InstanceProfile"]["Roles"][0]["RoleName"],
        "ichor-home-bastion-role"
    );

    let bucket = "ichor-home-123456789012";
    let listed = boto3.ask("s3", REGION, "list_objects_v2", json!({"Bucket": bucket}));
    let keys: Vec<_> = listed["Contents"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| it["Key"].as_str().unwrap())
        .collect();
    for key in [
        "bin/ichor",
        "data/ichor.toml",
        "data/groups/all.json",
        "SHA256SUMS",
        "compose.yaml",
    ] {
        assert!(keys.contains(&key), "{key} in {keys:?}");
    }
    let blocked = boto3.ask(
        "s3",
        REGION,
        "get_public_access_block",
        json!({"Bucket": bucket}),
    );
    let blocked = blocked["PublicAccessBlockConfiguration"]
        .as_object()
        .unwrap()
        .clone();
    assert!(blocked.values().all(|value| value == true), "{blocked:?}");
    boto3.ask(
        "scheduler",
        REGION,
        "get_schedule_group",
        json!({"Name": "ichor-home-nodes"}),
    );
}

/// Nothing of the lab is left.
pub(crate) fn is_gone(boto3: &Boto3) {
    for (operation, list) in [
        ("describe_vpcs", "Vpcs"),
        ("describe_subnets", "Subnets"),
        ("describe_security_groups", "SecurityGroups"),
        ("describe_route_tables", "RouteTables"),
        ("describe_internet_gateways", "InternetGateways"),
        ("describe_network_interfaces", "NetworkInterfaces"),
        ("describe_dhcp_options", "DhcpOptions"),
        ("describe_launch_templates", "LaunchTemplates"),
        ("describe_volumes", "Volumes"),
        ("describe_snapshots", "Snapshots"),
        (
            "describe_instance_connect_endpoints",
            "InstanceConnectEndpoints",
        ),
    ] {
        assert_eq!(
            ours(boto3, operation, list),
            Vec::<Value>::new(),
            "{operation}"
        );
    }
    assert_eq!(ours_of_account(boto3), Vec::<Value>::new());
    let buckets = boto3.ask("s3", REGION, "list_buckets", json!({}));
    assert_eq!(buckets["Buckets"], json!([]));
    let groups = boto3.ask(
        "autoscaling",
        REGION,
        "describe_auto_scaling_groups",
        json!({}),
    );
    assert_eq!(groups["AutoScalingGroups"], json!([]));
    let roles = boto3.ask(
        "iam",
        REGION,
        "list_roles",
        json!({"PathPrefix": "/ichor/"}),
    );
    assert_eq!(roles["Roles"], json!([]));
}
