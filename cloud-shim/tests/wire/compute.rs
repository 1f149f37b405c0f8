//! Templates, instances, images, snapshots and Auto Scaling, in moto.

use ichor_cloud::api::*;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{boto3, done, emulated, refused, tags};

/// A template's data with every field away from its default.
fn data(subnet: &Id, group: &Id, image: &Id) -> LaunchData {
    LaunchData {
        image: image.clone(),
        instance_type: "t4g.small".to_owned(),
        profile: Some("ichor-bastion".to_owned()),
        interface: LaunchInterface::New {
            subnet: subnet.clone(),
            groups: vec![group.clone()],
            ipv6_count: 1,
        },
        second_interface: Some("eni-0fedcba9876543210".to_owned()),
        root: RootVolume {
            device: "/dev/xvda".to_owned(),
            size_gib: 5,
        },
        user_data: Some("#cloud-config\n# für alle\n".to_owned()),
        metadata_hops: 2,
        standard_credits: true,
        terminate_on_shutdown: true,
        instance_tags: tags("bastion"),
        attached_tags: tags("bastion's"),
    }
}

struct Place {
    vpc: Id,
    subnet: Id,
    group: Id,
    image: Id,
}

async fn place(aws: &dyn Cloud) -> Place {
    let vpc = CreateVpc {
        cidr: "10.20.0.0/16".to_owned(),
        ipv6: false,
        tags: tags("lab"),
    };
    let vpc = done(aws, vpc).await.id;
    let subnet = CreateSubnet {
        vpc: vpc.clone(),
        cidr: "10.20.13.0/24".to_owned(),
        ipv6_cidr: None,
        zone: format!("{}a", aws.region()),
        tags: tags("private"),
    };
    let subnet = done(aws, subnet).await.id;
    let group = CreateSecurityGroup {
        vpc: vpc.clone(),
        name: "nodes".to_owned(),
        description: "nodes".to_owned(),
        tags: tags("nodes"),
    };
    let group = done(aws, group).await;
    let images = DescribeImages {
        owner: "amazon".to_owned(),
        filters: vec![Filter::new("state", "available")],
    };
    let image = done(aws, images).await.remove(0).id;
    Place {
        vpc,
        subnet,
        group,
        image,
    }
}

async fn template(aws: &dyn Cloud, data: LaunchData) -> LaunchTemplate {
    let create = CreateLaunchTemplate {
        name: "ichor-home-bastion".to_owned(),
        data,
        token: "template".to_owned(),
        tags: tags("template"),
    };
    done(aws, create).await
}

async fn templates(aws: &dyn Cloud) -> Vec<LaunchTemplate> {
    let filters = vec![Filter::tag("ichor:lab", "wire")];
    done(aws, DescribeLaunchTemplates { filters }).await
}

#[tokio::test]
async fn a_launch_template_reads_back_as_it_was_written() {
    let aws = &*emulated("us-west-1").await;
    let Place {
        subnet,
        group,
        image,
        ..
    } = place(aws).await;
    let first = data(&subnet, &group, &image);
    let made = template(aws, first.clone()).await;
    assert_eq!(made.default_version, 1);
    let found = templates(aws).await;
    assert_eq!(
        found,
        [LaunchTemplate {
            tags: tags("template"),
            ..made.clone()
        }]
    );
    assert_eq!(found[0].data, first);

    // boto3 sees what the design demands.
    let arguments = json!({"LaunchTemplateId": made.id, "Versions": ["$Default"]});
    let region = aws.region();
    let seen = boto3().ask(
        "ec2",
        region,
        "describe_launch_template_versions",
        arguments,
    );
    let seen = &seen["LaunchTemplateVersions"][0]["LaunchTemplateData"];
    assert_eq!(seen["MetadataOptions"]["HttpTokens"], "required");
    assert_eq!(seen["MetadataOptions"]["HttpPutResponseHopLimit"], 2);
    assert_eq!(seen["CreditSpecification"]["CpuCredits"], "standard");
    assert_eq!(seen["InstanceInitiatedShutdownBehavior"], "terminate");
    assert_eq!(seen["IamInstanceProfile"]["Name"], "ichor-bastion");
    assert_eq!(seen["UserData"], "I2Nsb3VkLWNvbmZpZwojIGbDvHIgYWxsZQo=");
    let volume = &seen["BlockDeviceMappings"][0];
    assert_eq!(volume["DeviceName"], "/dev/xvda");
    assert_eq!(volume["Ebs"]["VolumeType"], "gp3");
    assert_eq!(volume["Ebs"]["VolumeSize"], 5);
    assert_eq!(volume["Ebs"]["Encrypted"], true);
    assert_eq!(volume["Ebs"]["DeleteOnTermination"], true);
    let kinds = seen["TagSpecifications"].as_array().expect("a list");
    let kinds: Vec<_> = kinds.iter().map(|of| of["ResourceType"].clone()).collect();
    // moto adds those of the template itself.
    assert_eq!(
        json!(kinds[..3]),
        json!(["instance", "volume", "network-interface"])
    );

    // A second version counts only once it is the default.
    let second = LaunchData {
        interface: LaunchInterface::Existing("eni-0123456789abcdef0".to_owned()),
        user_data: None,
        standard_credits: false,
        terminate_on_shutdown: false,
        second_interface: None,
        profile: None,
        ..first.clone()
    };
    let version = CreateLaunchTemplateVersion {
        template: made.id.clone(),
        data: second.clone(),
        token: "second".to_owned(),
    };
    assert_eq!(done(aws, version).await, 2);
    let found = templates(aws).await;
    assert_eq!((found[0].default_version, found[0].latest_version), (1, 2));
    assert_eq!(found[0].data, first);
    let default = ModifyLaunchTemplate {
        template: made.id.clone(),
        default_version: 2,
    };
    done(aws, default).await;
    let found = templates(aws).await;
    assert_eq!(found[0].default_version, 2);
    assert_eq!(found[0].data, second);

    // What somebody else changed shows, and stops nothing.
    let by_hand = json!({"LaunchTemplateId": made.id, "LaunchTemplateData": {
        "ImageId": image, "InstanceType": "t4g.large", "UserData": "H4sIAAAA/w==",
        "MetadataOptions": {"HttpTokens": "optional"},
        "BlockDeviceMappings": [{"DeviceName": "/dev/xvda", "Ebs": {"VolumeSize": 5}}]}});
    boto3().ask("ec2", region, "create_launch_template_version", by_hand);
    let default = ModifyLaunchTemplate {
        template: made.id.clone(),
        default_version: 3,
    };
    done(aws, default).await;
    let changed = templates(aws).await.remove(0).data;
    assert_eq!(changed.metadata_hops, 0);
    assert_eq!(changed.root, RootVolume::default());
    assert_eq!(changed.user_data.as_deref(), Some("H4sIAAAA/w=="));
    assert_eq!(changed.instance_type, "t4g.large");

    done(aws, DeleteLaunchTemplate { template: made.id }).await;
    assert_eq!(templates(aws).await, []);
}

#[tokio::test]
async fn instances_and_their_volumes() {
    let aws = &*emulated("us-west-2").await;
    let Place {
        subnet,
        group,
        image,
        ..
    } = place(aws).await;
    let made = template(
        aws,
        LaunchData {
            profile: None,
            ..data(&subnet, &group, &image)
        },
    )
    .await;
    let run = RunInstances {
        template: made.id,
        count: 2,
        token: "node".to_owned(),
        tags: tags("node"),
    };
    let started = done(aws, run).await;
    assert_eq!(started.len(), 2);
    let filters = vec![Filter::new("instance-id", &started[0].id)];
    let found = done(
        aws,
        DescribeInstances {
            filters: filters.clone(),
        },
    )
    .await;
    assert_eq!(found.len(), 1);
    let node = &found[0];
    assert_eq!((node.state.as_str(), &node.image), ("running", &image));
    assert_eq!(node.instance_type, "t4g.small");
    assert_eq!(node.tags.get("ichor:lab").map(String::as_str), Some("wire"));
    assert!(node.private.is_some() && node.launched > 0, "{node:?}");
    // moto adds an interface and a volume of its own to those of the template.
    assert!(!node.interfaces.is_empty(), "{node:?}");
    assert_eq!(node.interfaces[0].mac.len(), 17, "{node:?}");
    assert!(!node.volumes.is_empty(), "{node:?}");

    let id = vec![Filter::new("volume-id", &node.volumes[0])];
    let volumes = done(aws, DescribeVolumes { filters: id }).await;
    assert_eq!(volumes.len(), 1);
    assert_eq!(volumes[0].instance.as_ref(), Some(&node.id));
    assert_eq!(volumes[0].state, "in-use");
    let arguments = json!({"InstanceIds": [node.id]});
    let seen = boto3().ask("ec2", aws.region(), "describe_instances", arguments);
    let seen = &seen["Reservations"][0]["Instances"][0];
    assert_eq!(seen["PrivateIpAddress"].as_str(), node.private.as_deref());

    // The interface leaves its instance. moto gives it no attachment's id when
    // the instance starts, so boto3 attaches a second one.
    let create = CreateNetworkInterface {
        subnet: subnet.clone(),
        primary: "10.20.13.200".to_owned(),
        secondary: vec![],
        ipv6_count: 0,
        groups: vec![group],
        description: "second".to_owned(),
        token: "second".to_owned(),
        tags: tags("second"),
    };
    let second = done(aws, create).await.id;
    let arguments = json!({"NetworkInterfaceId": second, "InstanceId": node.id, "DeviceIndex": 1});
    boto3().ask("ec2", aws.region(), "attach_network_interface", arguments);
    let only = || DescribeNetworkInterfaces {
        filters: vec![Filter::new("network-interface-id", &second)],
    };
    let attached = done(aws, only())
        .await
        .remove(0)
        .attachment
        .expect("it is attached");
    assert_eq!(attached.instance.as_ref(), Some(&node.id));
    done(
        aws,
        DetachNetworkInterface {
            attachment: attached.id,
        },
    )
    .await;
    assert_eq!(done(aws, only()).await[0].attachment, None);

    let instances = started.iter().map(|instance| instance.id.clone()).collect();
    done(aws, TerminateInstances { instances }).await;
    let found = done(aws, DescribeInstances { filters }).await;
    assert_eq!(found[0].state, "terminated");
    let missing = vec!["i-0123456789abcdef0".to_owned()];
    let missing = refused(aws, TerminateInstances { instances: missing }).await;
    assert!(missing.is_not_found(), "{missing}");

    // A volume of its own.
    let zone = format!("{}a", aws.region());
    let arguments = json!({"AvailabilityZone": zone, "Size": 3, "VolumeType": "gp3"});
    let made = boto3().ask("ec2", aws.region(), "create_volume", arguments);
    let volume = made["VolumeId"].as_str().expect("an id").to_owned();
    let filters = vec![Filter::new("volume-id", &volume)];
    let found = done(
        aws,
        DescribeVolumes {
            filters: filters.clone(),
        },
    )
    .await;
    assert_eq!((found[0].size_gib, found[0].kind.as_str()), (3, "gp3"));
    assert_eq!(
        (found[0].state.as_str(), &found[0].instance),
        ("available", &None)
    );
    done(aws, DeleteVolume { volume }).await;
    assert_eq!(done(aws, DescribeVolumes { filters }).await, []);
}

#[tokio::test]
async fn an_image_goes_up_block_by_block() {
    let aws = &*emulated("ca-central-1").await;
    let start = StartSnapshot {
        size_gib: 1,
        description: "loader".to_owned(),
        token: "loader".to_owned(),
        tags: tags("loader"),
    };
    let snapshot = done(aws, start).await;
    assert!(snapshot.starts_with("snap-"), "{snapshot}");
    let blocks = [(0, 0xA5), (3, 0x5A)];
    let mut sums = Sha256::new();
    for (index, fill) in blocks {
        let data = vec![fill; BLOCK_SIZE];
        sums.update(Sha256::digest(&data));
        let snapshot = snapshot.clone();
        done(
            aws,
            PutSnapshotBlock {
                snapshot,
                index,
                data,
            },
        )
        .await;
    }
    let complete = CompleteSnapshot {
        snapshot: snapshot.clone(),
        blocks: 2,
        checksum: sums.finalize().into(),
    };
    done(aws, complete).await;
    // boto3 gets the blocks back, with their sums.
    let arguments = json!({"SnapshotId": snapshot});
    let seen = boto3().ask("ebs", aws.region(), "list_snapshot_blocks", arguments);
    let seen = seen["Blocks"].as_array().expect("blocks");
    let indices: Vec<_> = seen
        .iter()
        .map(|block| block["BlockIndex"].clone())
        .collect();
    assert_eq!(json!(indices), json!([0, 3]));

    // By tag it is not searched for: moto keeps none of an EBS snapshot.
    let filters = vec![Filter::new("snapshot-id", &snapshot)];
    let found = done(
        aws,
        DescribeSnapshots {
            filters: filters.clone(),
        },
    )
    .await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].state.as_str(), found[0].size_gib),
        ("completed", 1)
    );

    let register = RegisterImage {
        name: "ichor-loader-0123".to_owned(),
        description: "iPXE".to_owned(),
        snapshot: snapshot.clone(),
        size_gib: 1,
        tags: tags("loader"),
    };
    let image = done(aws, register).await;
    let images = || DescribeImages {
        owner: "self".to_owned(),
        filters: vec![Filter::new("name", "ichor-loader-0123")],
    };
    let found = done(aws, images()).await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0].id, found[0].state.as_str()),
        (&image, "available")
    );
    done(aws, DeregisterImage { image }).await;
    assert_eq!(done(aws, images()).await, []);
    done(aws, DeleteSnapshot { snapshot }).await;
    assert_eq!(done(aws, DescribeSnapshots { filters }).await, []);
}

#[tokio::test]
async fn a_group_that_works_by_the_clock() {
    let aws = &*emulated("ap-northeast-1").await;
    let Place {
        vpc,
        subnet,
        group,
        image,
    } = place(aws).await;
    let made = template(
        aws,
        LaunchData {
            profile: None,
            ..data(&subnet, &group, &image)
        },
    )
    .await;
    let settings = GroupSettings {
        template: made.id,
        zone: "ap-northeast-1a".to_owned(),
        min: 0,
        max: 1,
        desired: 0,
    };
    let name = "ichor-home-bastion".to_owned();
    let create = CreateAutoScalingGroup {
        name: name.clone(),
        settings: settings.clone(),
        tags: tags("group"),
    };
    done(aws, create).await;
    let only = async || {
        let names = vec![name.clone()];
        done(aws, DescribeAutoScalingGroups { names }).await.pop()
    };
    let found = only().await.expect("the group");
    assert_eq!(found.settings, settings);
    assert_eq!((&found.tags, found.instances.len()), (&tags("group"), 0));
    let arguments = json!({"AutoScalingGroupNames": [name]});
    let seen = boto3().ask(
        "autoscaling",
        aws.region(),
        "describe_auto_scaling_groups",
        arguments,
    );
    let seen = &seen["AutoScalingGroups"][0];
    assert_eq!(seen["LaunchTemplate"]["Version"], "$Default");
    assert_eq!(seen["Tags"][0]["PropagateAtLaunch"], false);

    let larger = GroupSettings {
        max: 2,
        ..settings.clone()
    };
    let update = UpdateAutoScalingGroup {
        name: name.clone(),
        settings: larger.clone(),
    };
    done(aws, update).await;
    assert_eq!(only().await.expect("the group").settings, larger);

    // The schedule, with its time zone.
    let action = ScheduledAction {
        name: "evening".to_owned(),
        recurrence: "0 18 * * *".to_owned(),
        time_zone: "Europe/Dublin".to_owned(),
        min: 0,
        max: 1,
        desired: 1,
    };
    let put = PutScheduledUpdateGroupAction {
        group: name.clone(),
        action: action.clone(),
    };
    done(aws, put).await;
    let actions = || DescribeScheduledActions {
        group: name.clone(),
    };
    assert_eq!(done(aws, actions()).await, [action.clone()]);
    let delete = DeleteScheduledAction {
        group: name.clone(),
        name: action.name,
    };
    done(aws, delete).await;
    assert_eq!(done(aws, actions()).await, []);

    let desired = SetDesiredCapacity {
        name: name.clone(),
        desired: 1,
    };
    done(aws, desired).await;
    let found = only().await.expect("the group");
    assert_eq!((found.settings.desired, found.instances.len()), (1, 1));

    done(aws, DeleteAutoScalingGroup { name: name.clone() }).await;
    assert_eq!(only().await, None);
    let filters = vec![
        Filter::new("vpc-id", &vpc),
        Filter::new("instance-state-name", "running"),
    ];
    assert_eq!(done(aws, DescribeInstances { filters }).await, []);
}
