//! Templates, instances, images and Auto Scaling.

use sha2::{Digest, Sha256};

use super::*;

/// A bench with a VPC, a subnet and data that launches from Amazon's minimal image.
async fn launchpad() -> (Bench, Id, LaunchData) {
    let it = Bench::prompt();
    let vpc = it.vpc("10.20.0.0/16").await;
    let subnet = it.subnet(&vpc, "10.20.13.0/24").await;
    let name = "/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-default-arm64";
    let image = it.ok(GetParameter { name: name.into() }).await;
    let data = LaunchData {
        image,
        instance_type: "t4g.small".into(),
        interface: LaunchInterface::New {
            subnet: subnet.clone(),
            groups: Vec::new(),
            ipv6_count: 0,
        },
        root: RootVolume {
            device: "/dev/xvda".into(),
            size_gib: 5,
        },
        metadata_hops: 1,
        standard_credits: true,
        ..LaunchData::default()
    };
    (it, subnet, data)
}

fn template_request(it: &Bench, name: &str, data: &LaunchData) -> CreateLaunchTemplate {
    let token = it.token();
    CreateLaunchTemplate {
        name: name.into(),
        data: data.clone(),
        token,
        tags: Tags::new(),
    }
}

async fn template(it: &Bench, name: &str, data: &LaunchData) -> Id {
    it.ok(template_request(it, name, data)).await.id
}

fn run(it: &Bench, template: &str, count: u32) -> RunInstances {
    RunInstances {
        template: template.into(),
        count,
        token: it.token(),
        tags: Tags::new(),
    }
}

async fn instance(it: &Bench, id: &str) -> Instance {
    it.ok(DescribeInstances {
        filters: vec![Filter::new("instance-id", id)],
    })
    .await
    .remove(0)
}

#[tokio::test(start_paused = true)]
async fn an_instance_lives_and_is_forgotten() {
    let (it, subnet, data) = launchpad().await;
    let template = template(&it, "nodes", &data).await;
    let started = it.ok(run(&it, &template, 2)).await;
    assert_eq!(started[0].state, "pending");
    tokio::time::sleep(LONG).await;
    let id = started[0].id.clone();
    let running = instance(&it, &id).await;
    assert_eq!(
        (running.state.as_str(), running.private.as_deref()),
        ("running", Some("10.20.13.4"))
    );
    assert_eq!(
        it.code(DeleteSubnet {
            subnet: subnet.clone()
        })
        .await,
        "DependencyViolation"
    );
    assert_eq!(
        it.code(DeleteVolume {
            volume: running.volumes[0].clone()
        })
        .await,
        "VolumeInUse"
    );
    let kinds: Vec<_> = it
        .fake
        .billable()
        .iter()
        .filter(|left| left.costs)
        .map(|left| left.kind)
        .collect();
    assert_eq!(kinds, ["instance", "instance", "volume", "volume"]);

    let all = started.iter().map(|it| it.id.clone()).collect();
    it.ok(TerminateInstances { instances: all }).await;
    let ending = instance(&it, &id).await;
    assert_eq!(
        (ending.state.as_str(), ending.vpc.is_some()),
        ("shutting-down", true)
    );
    assert_eq!(
        it.code(DeleteSubnet {
            subnet: subnet.clone()
        })
        .await,
        "DependencyViolation"
    );
    tokio::time::sleep(LONG).await;
    let ended = instance(&it, &id).await;
    assert_eq!((ended.state.as_str(), ended.vpc), ("terminated", None));
    assert_eq!(
        it.ok(DescribeVolumes {
            filters: Vec::new()
        })
        .await,
        []
    );
    it.ok(DeleteSubnet { subnet }).await;
    assert!(it.fake.billable().iter().all(|left| !left.costs));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(
        it.ok(DescribeInstances {
            filters: Vec::new()
        })
        .await,
        []
    );
    assert_eq!(
        it.code(TerminateInstances {
            instances: vec![id]
        })
        .await,
        "InvalidInstanceID.NotFound"
    );
}

#[tokio::test(start_paused = true)]
async fn a_launch_token_is_good_until_the_instances_are_gone() {
    let (it, _, data) = launchpad().await;
    let template = template(&it, "nodes", &data).await;
    let request = run(&it, &template, 1);
    let first = it.ok(request.clone()).await;
    tokio::time::sleep(LONG).await;
    let again = it.ok(request.clone()).await;
    assert_eq!(
        (again[0].id.clone(), again[0].state.as_str()),
        (first[0].id.clone(), "running")
    );
    let other = RunInstances {
        count: 2,
        ..request.clone()
    };
    assert_eq!(it.code(other).await, "IdempotentParameterMismatch");
    it.ok(TerminateInstances {
        instances: vec![first[0].id.clone()],
    })
    .await;
    tokio::time::sleep(LONG).await;
    assert_eq!(it.code(request).await, "IdempotentInstanceTerminated");
}

#[tokio::test(start_paused = true)]
async fn templates_are_checked() {
    let (it, subnet, data) = launchpad().await;
    let with = |name: &str, change: &dyn Fn(&mut LaunchData)| {
        let mut data = data.clone();
        change(&mut data);
        template_request(&it, name, &data).into_call()
    };
    it.codes(vec![
        (
            with("no", &|_| {}),
            "InvalidLaunchTemplateName.MalformedException",
        ),
        (
            with("a b", &|_| {}),
            "InvalidLaunchTemplateName.MalformedException",
        ),
        (with("nodes", &|_| {}), "ok"),
        (
            with("nodes", &|_| {}),
            "InvalidLaunchTemplateName.AlreadyExistsException",
        ),
        (
            with("full", &|data| data.user_data = Some("x".repeat(16_384))),
            "ok",
        ),
        (
            with("fuller", &|data| data.user_data = Some("x".repeat(16_385))),
            "InvalidUserData.Malformed",
        ),
        (
            with("hops", &|data| data.metadata_hops = 65),
            "InvalidParameterValue",
        ),
        (
            with("image", &|data| data.image = "ami-00000000000000000".into()),
            "InvalidAMIID.NotFound",
        ),
        (
            with("type", &|data| data.instance_type = "t4g.huge".into()),
            "InvalidParameterValue",
        ),
        (
            with("interface", &|data| {
                data.interface = LaunchInterface::Existing("eni-00000000000000000".into());
            }),
            "InvalidNetworkInterfaceID.NotFound",
        ),
        (
            with("group", &|data| {
                data.interface = LaunchInterface::New {
                    subnet: subnet.clone(),
                    groups: vec!["sg-00000000000000000".into()],
                    ipv6_count: 0,
                };
            }),
            "InvalidGroup.NotFound",
        ),
    ])
    .await;
    let templates = it.ok(DescribeLaunchTemplates {
        filters: vec![Filter::new("launch-template-name", "nodes")],
    });
    let template = templates.await.remove(0);
    let small = LaunchData {
        instance_type: "t4g.micro".into(),
        ..data.clone()
    };
    let version = CreateLaunchTemplateVersion {
        template: template.id.clone(),
        data: small,
        token: it.token(),
    };
    assert_eq!(it.ok(version).await, 2);
    let default = |default_version| ModifyLaunchTemplate {
        template: template.id.clone(),
        default_version,
    };
    it.codes(vec![
        (
            default(3).into_call(),
            "InvalidLaunchTemplateId.VersionNotFound",
        ),
        (default(2).into_call(), "ok"),
    ])
    .await;
    let started = it.ok(run(&it, &template.id, 1)).await;
    assert_eq!(started[0].instance_type, "t4g.micro");
    it.codes(vec![
        (
            DeleteLaunchTemplate {
                template: template.id.clone(),
            }
            .into_call(),
            "ok",
        ),
        (
            DeleteLaunchTemplate {
                template: template.id.clone(),
            }
            .into_call(),
            "InvalidLaunchTemplateId.NotFound",
        ),
        (
            run(&it, &template.id, 1).into_call(),
            "InvalidLaunchTemplateId.NotFound",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn launches_are_checked() {
    let (it, _, data) = launchpad().await;
    it.fake.limit(Quota::Vcpus, 4);
    let with = async |name: &str, change: &dyn Fn(&mut LaunchData), count: u32| {
        let mut data = data.clone();
        change(&mut data);
        let template = template(&it, name, &data).await;
        it.code(run(&it, &template, count)).await
    };
    for (name, change, count, expected) in [
        (
            "none",
            &(|_: &mut LaunchData| {}) as &dyn Fn(&mut LaunchData),
            0,
            "InvalidParameterValue",
        ),
        ("many", &|_| {}, 3, "VcpuLimitExceeded"),
        (
            "small",
            &|data| data.root.size_gib = 1,
            1,
            "InvalidBlockDeviceMapping",
        ),
        (
            "x86",
            &|data| {
                data.instance_type = "t3.micro".into();
            },
            1,
            "InvalidParameterValue",
        ),
        (
            "credits",
            &|data| {
                data.instance_type = "c7g.medium".into();
            },
            1,
            "InstanceCreditSpecification.NotSupported",
        ),
        (
            "profile",
            &|data| data.profile = Some("nobody".into()),
            1,
            "InvalidParameterValue",
        ),
        ("good", &|_| {}, 2, "ok"),
    ] {
        assert_eq!(with(name, change, count).await, expected, "{name}");
    }
    // A mapping for another device does not take the root's place.
    it.fake.limit(Quota::Vcpus, 100);
    assert_eq!(
        with("device", &|data| data.root.device = "/dev/sda1".into(), 1).await,
        "ok"
    );
    let volumes = it
        .ok(DescribeVolumes {
            filters: vec![Filter::new("encrypted", "false")],
        })
        .await;
    assert_eq!(volumes.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_interface_is_for_one_instance_at_a_time() {
    let (it, subnet, data) = launchpad().await;
    let interface = it.interface(&subnet, "10.20.13.140").await;
    let data = LaunchData {
        interface: LaunchInterface::Existing(interface.clone()),
        ..data
    };
    let template = template(&it, "bastion", &data).await;
    assert_eq!(
        it.code(run(&it, &template, 2)).await,
        "InvalidParameterCombination"
    );
    let started = it.ok(run(&it, &template, 1)).await;
    assert_eq!(started[0].private.as_deref(), Some("10.20.13.140"));
    assert_eq!(
        it.code(run(&it, &template, 1)).await,
        "InvalidNetworkInterface.InUse"
    );
    let nics = it
        .ok(DescribeNetworkInterfaces {
            filters: Vec::new(),
        })
        .await;
    let attachment = nics[0].attachment.clone().unwrap().id;
    it.codes(vec![
        (
            DetachNetworkInterface { attachment }.into_call(),
            "OperationNotPermitted",
        ),
        (
            DetachNetworkInterface {
                attachment: "eni-attach-0".into(),
            }
            .into_call(),
            "InvalidAttachmentID.NotFound",
        ),
        (
            DeleteNetworkInterface {
                interface: interface.clone(),
            }
            .into_call(),
            "InvalidParameterValue",
        ),
    ])
    .await;
    it.ok(TerminateInstances {
        instances: vec![started[0].id.clone()],
    })
    .await;
    assert_eq!(
        it.code(run(&it, &template, 1)).await,
        "InvalidNetworkInterface.InUse"
    );
    tokio::time::sleep(LONG).await;
    it.ok(DeleteNetworkInterface { interface }).await;
}

#[tokio::test(start_paused = true)]
async fn a_new_profile_is_unknown_to_ec2_for_a_while() {
    let timing = Timing {
        profile: Duration::from_secs(120),
        ..Timing::PROMPT
    };
    let it = Bench::with(timing);
    let vpc = it.vpc("10.20.0.0/16").await;
    let subnet = it.subnet(&vpc, "10.20.13.0/24").await;
    let owner = "amazon".to_owned();
    let image = it
        .ok(DescribeImages {
            owner,
            filters: vec![Filter::new("name", "*minimal*")],
        })
        .await
        .remove(0);
    let data = LaunchData {
        image: image.id,
        instance_type: "t4g.small".into(),
        profile: Some("bastion".into()),
        interface: LaunchInterface::New {
            subnet,
            groups: Vec::new(),
            ipv6_count: 0,
        },
        root: RootVolume {
            device: image.root_device,
            size_gib: 5,
        },
        metadata_hops: 1,
        ..LaunchData::default()
    };
    let template = template(&it, "bastion", &data).await;
    let (name, path) = ("bastion".to_owned(), "/".to_owned());
    let request = CreateInstanceProfile {
        name: name.clone(),
        path: path.clone(),
        tags: Tags::new(),
    };
    it.ok(request).await;
    tokio::time::sleep(LONG).await;
    // Known by now, but empty.
    let error = it
        .fake
        .call(run(&it, &template, 1).into_call())
        .await
        .unwrap_err();
    assert!(error.message.contains("no associated IAM Roles"), "{error}");
    let trust = r#"{"Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
    it.ok(CreateRole {
        name: name.clone(),
        path,
        trust: trust.into(),
        tags: Tags::new(),
    })
    .await;
    it.ok(AddRoleToInstanceProfile {
        profile: name.clone(),
        role: name,
    })
    .await;
    let error = it
        .fake
        .call(run(&it, &template, 1).into_call())
        .await
        .unwrap_err();
    assert_eq!(error.code, "InvalidParameterValue");
    assert!(
        error
            .message
            .starts_with("Value (bastion) for parameter iamInstanceProfile.name is invalid"),
        "{error}"
    );
    tokio::time::sleep(Duration::from_secs(120)).await;
    assert_eq!(it.code(run(&it, &template, 1)).await, "ok");
}

fn digest_of(blocks: &[Vec<u8>]) -> [u8; 32] {
    let mut all = Sha256::new();
    for block in blocks {
        all.update(Sha256::digest(block));
    }
    all.finalize().into()
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_is_written_sealed_and_registered() {
    let it = Bench::prompt();
    let start = StartSnapshot {
        size_gib: 1,
        description: String::new(),
        token: it.token(),
        tags: Tags::new(),
    };
    let snapshot = it.ok(start).await;
    let blocks = [vec![1; BLOCK_SIZE], vec![2; BLOCK_SIZE]];
    let put = |index, data: Vec<u8>| {
        PutSnapshotBlock {
            snapshot: snapshot.clone(),
            index,
            data,
        }
        .into_call()
    };
    let complete = |blocks, checksum| {
        CompleteSnapshot {
            snapshot: snapshot.clone(),
            blocks,
            checksum,
        }
        .into_call()
    };
    let register = |name: &str, size_gib| {
        RegisterImage {
            name: name.into(),
            description: String::new(),
            snapshot: snapshot.clone(),
            size_gib,
            tags: Tags::new(),
        }
        .into_call()
    };
    let sum = digest_of(&blocks);
    it.codes(vec![
        (put(7, blocks[1].clone()), "ok"),
        (put(0, blocks[0].clone()), "ok"),
        (put(0, blocks[0].clone()), "ok"),
        (put(1, vec![0; 512]), "ValidationException"),
        (put(2048, blocks[0].clone()), "ValidationException"),
        (complete(3, sum), "ValidationException"),
        (complete(2, [0; 32]), "ValidationException"),
        (register("loader", 1), "IncorrectState"),
        (complete(2, sum), "ok"),
        (complete(2, sum), "ValidationException"),
        (put(1, blocks[0].clone()), "ValidationException"),
        (
            PutSnapshotBlock {
                snapshot: "snap-00000000000000000".into(),
                index: 0,
                data: blocks[0].clone(),
            }
            .into_call(),
            "ResourceNotFoundException",
        ),
        (register("loader", 1), "IncorrectState"),
    ])
    .await;
    tokio::time::sleep(LONG).await;
    it.codes(vec![
        (register("no", 1), "InvalidAMIName.Malformed"),
        (register("loader", 0), "InvalidBlockDeviceMapping"),
        (register("loader", 1), "ok"),
        (register("loader", 1), "InvalidAMIName.Duplicate"),
        (
            DeleteSnapshot {
                snapshot: snapshot.clone(),
            }
            .into_call(),
            "InvalidSnapshot.InUse",
        ),
    ])
    .await;
    let look = || DescribeImages {
        owner: "self".into(),
        filters: Vec::new(),
    };
    let image = it.ok(look()).await.remove(0);
    assert_eq!(
        (image.state.as_str(), image.architecture.as_str()),
        ("pending", "arm64")
    );
    tokio::time::sleep(LONG).await;
    assert_eq!(it.ok(look()).await[0].state, "available");
    let amazons = it
        .ok(DescribeImages {
            owner: "amazon".into(),
            filters: Vec::new(),
        })
        .await;
    let deregister = |image: &Id| {
        DeregisterImage {
            image: image.clone(),
        }
        .into_call()
    };
    it.codes(vec![
        (deregister(&amazons[0].id), "AuthFailure"),
        (deregister(&image.id), "ok"),
        (deregister(&image.id), "InvalidAMIID.Unavailable"),
        (
            DeleteSnapshot {
                snapshot: snapshot.clone(),
            }
            .into_call(),
            "ok",
        ),
        (
            DeleteSnapshot {
                snapshot: snapshot.clone(),
            }
            .into_call(),
            "InvalidSnapshot.NotFound",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_nobody_goes_on_with_is_given_up() {
    let it = Bench::prompt();
    let start = StartSnapshot {
        size_gib: 1,
        description: String::new(),
        token: it.token(),
        tags: Tags::new(),
    };
    let snapshot = it.ok(start.clone()).await;
    let other = StartSnapshot {
        size_gib: 2,
        ..start
    };
    assert_eq!(it.code(other).await, "ConflictException");
    tokio::time::sleep(Duration::from_secs(1800)).await;
    it.ok(PutSnapshotBlock {
        snapshot: snapshot.clone(),
        index: 0,
        data: vec![1; BLOCK_SIZE],
    })
    .await;
    let state = async || {
        it.ok(DescribeSnapshots {
            filters: Vec::new(),
        })
        .await[0]
            .state
            .clone()
    };
    tokio::time::sleep(Duration::from_secs(3000)).await;
    assert_eq!(state().await, "pending");
    tokio::time::sleep(Duration::from_secs(700)).await;
    assert_eq!(state().await, "error");
}

fn settings(template: &str, min: u32, max: u32, desired: u32) -> GroupSettings {
    GroupSettings {
        template: template.into(),
        zone: ZONE.into(),
        min,
        max,
        desired,
    }
}

async fn activities(it: &Bench) -> Vec<Activity> {
    it.ok(DescribeScalingActivities {
        group: "bastion".into(),
    })
    .await
}

#[tokio::test(start_paused = true)]
async fn a_group_keeps_one_instance_on_one_interface() {
    let (it, subnet, data) = launchpad().await;
    let interface = it.interface(&subnet, "10.20.13.140").await;
    let data = LaunchData {
        interface: LaunchInterface::Existing(interface.clone()),
        ..data
    };
    let template = template(&it, "bastion", &data).await;
    let create = |settings: GroupSettings| {
        CreateAutoScalingGroup {
            name: "bastion".into(),
            settings,
            tags: Tags::new(),
        }
        .into_call()
    };
    let far = GroupSettings {
        zone: "eu-west-2a".into(),
        ..settings(&template, 0, 1, 1)
    };
    it.codes(vec![
        (create(settings(&template, 0, 2, 1)), "ValidationError"),
        (create(settings(&template, 0, 1, 2)), "ValidationError"),
        (create(settings(&template, 1, 0, 0)), "ValidationError"),
        (
            create(settings("lt-00000000000000000", 0, 1, 1)),
            "ValidationError",
        ),
        (create(far), "ValidationError"),
        (create(settings(&template, 0, 1, 1)), "ok"),
        (create(settings(&template, 0, 1, 1)), "AlreadyExists"),
    ])
    .await;
    tokio::time::sleep(LONG).await;
    let groups = || DescribeAutoScalingGroups {
        names: vec!["bastion".into()],
    };
    let first = it.ok(groups()).await[0].instances.clone();
    assert_eq!(first.len(), 1);
    assert_eq!(
        instance(&it, &first[0]).await.tags["aws:autoscaling:groupName"],
        "bastion"
    );
    assert_eq!(activities(&it).await[0].status, "Successful");

    // Ended from outside it is replaced, once the interface is free again.
    it.ok(TerminateInstances {
        instances: first.clone(),
    })
    .await;
    tokio::time::sleep(LONG).await;
    let second = it.ok(groups()).await[0].instances.clone();
    assert_eq!(second.len(), 1);
    assert_ne!(second, first);

    let delete = DeleteAutoScalingGroup {
        name: "bastion".into(),
    };
    it.codes(vec![
        (delete.clone().into_call(), "ok"),
        (delete.clone().into_call(), "ScalingActivityInProgress"),
        (create(settings(&template, 0, 1, 1)), "AlreadyExists"),
    ])
    .await;
    assert_eq!(
        it.ok(groups()).await[0].status.as_deref(),
        Some("Delete in progress")
    );
    assert_eq!(
        it.code(DeleteNetworkInterface {
            interface: interface.clone()
        })
        .await,
        "InvalidParameterValue"
    );
    tokio::time::sleep(LONG).await;
    assert_eq!(it.ok(groups()).await, []);
    assert_eq!(it.code(delete).await, "ValidationError");
    it.ok(DeleteNetworkInterface { interface }).await;
}

#[tokio::test(start_paused = true)]
async fn a_group_tells_why_it_cannot_launch() {
    let (it, subnet, data) = launchpad().await;
    let interface = it.interface(&subnet, "10.20.13.140").await;
    let data = LaunchData {
        interface: LaunchInterface::Existing(interface),
        ..data
    };
    let template = template(&it, "bastion", &data).await;
    let squatter = it.ok(run(&it, &template, 1)).await[0].id.clone();
    let name = "bastion".to_owned();
    let settings = settings(&template, 0, 1, 1);
    it.ok(CreateAutoScalingGroup {
        name,
        settings,
        tags: Tags::new(),
    })
    .await;
    tokio::time::sleep(LONG).await;
    let failed = activities(&it).await.remove(0);
    assert_eq!(failed.status, "Failed");
    assert!(failed.message.unwrap().contains("in use"));
    it.ok(TerminateInstances {
        instances: vec![squatter],
    })
    .await;
    tokio::time::sleep(LONG).await;
    assert_eq!(activities(&it).await[0].status, "Successful");
}

#[tokio::test(start_paused = true)]
async fn a_scheduled_action_works_by_the_clock_of_its_zone() {
    let (it, _, data) = launchpad().await;
    // Wednesday noon in Dublin's winter.
    it.fake.set_unix_time(1_795_608_000);
    let template = template(&it, "bastion", &data).await;
    let group = "bastion".to_owned();
    let request = CreateAutoScalingGroup {
        name: group.clone(),
        settings: settings(&template, 0, 1, 0),
        tags: Tags::new(),
    };
    it.ok(request).await;
    let action = |recurrence: &str, time_zone: &str, desired| {
        let (recurrence, time_zone) = (recurrence.into(), time_zone.into());
        let action = ScheduledAction {
            name: format!("to-{desired}"),
            recurrence,
            time_zone,
            min: 0,
            max: 1,
            desired,
        };
        PutScheduledUpdateGroupAction {
            group: group.clone(),
            action,
        }
        .into_call()
    };
    it.codes(vec![
        (action("0 18 * *", "Europe/Dublin", 1), "ValidationError"),
        (action("0 18 * * *", "Europe/Doblin", 1), "ValidationError"),
        (action("0 18 * * *", "Europe/Dublin", 2), "ValidationError"),
        (action("0 6 * * *", "Europe/Dublin", 1), "ok"),
        (action("0 18 * * *", "Europe/Dublin", 1), "ok"),
        (action("0 23 * * *", "Europe/Dublin", 0), "ok"),
    ])
    .await;
    let look = || DescribeScheduledActions {
        group: group.clone(),
    };
    assert_eq!(
        it.ok(look()).await.len(),
        2,
        "the second put changed the first"
    );
    let instances = async || {
        it.ok(DescribeAutoScalingGroups { names: Vec::new() }).await[0]
            .instances
            .len()
    };
    for (hours, expected) in [(5, 0), (2, 1), (5, 0), (8, 0), (11, 1)] {
        tokio::time::sleep(Duration::from_secs(hours * 3600)).await;
        assert_eq!(instances().await, expected);
    }
    let delete = |name: &str| {
        DeleteScheduledAction {
            group: group.clone(),
            name: name.into(),
        }
        .into_call()
    };
    it.codes(vec![
        (delete("to-1"), "ok"),
        (delete("to-1"), "ValidationError"),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_second_interface_can_be_detached() {
    let (it, subnet, data) = launchpad().await;
    let second = it.interface(&subnet, "10.20.13.200").await;
    let request = CreateNetworkInterface {
        secondary: (1..5).map(|n| format!("10.20.13.21{n}")).collect(),
        ..it.interface_request(&subnet, "10.20.13.210")
    };
    let crowded = it.ok(request).await.id;
    let with = |interface: &Id| LaunchData {
        second_interface: Some(interface.clone()),
        ..data.clone()
    };
    let too_many = template(&it, "crowd", &with(&crowded)).await;
    let code = it.code(run(&it, &too_many, 1)).await;
    assert_eq!(code, "InvalidInterface.IpAddressLimitExceeded");
    let template = template(&it, "two", &with(&second)).await;
    let started = it.ok(run(&it, &template, 1)).await.remove(0);
    assert_eq!(started.interfaces.len(), 2);
    assert_eq!(
        it.code(run(&it, &template, 1)).await,
        "InvalidNetworkInterface.InUse"
    );
    let nics = || DescribeNetworkInterfaces {
        filters: vec![Filter::new("network-interface-id", &second)],
    };
    let attachment = it.ok(nics()).await[0].attachment.clone().unwrap().id;
    it.ok(DetachNetworkInterface {
        attachment: attachment.clone(),
    })
    .await;
    // Not at once.
    assert_eq!(it.ok(nics()).await[0].status, "in-use");
    tokio::time::sleep(LONG).await;
    assert_eq!(it.ok(nics()).await[0].status, "available");
    assert_eq!(instance(&it, &started.id).await.interfaces.len(), 1);
    it.codes(vec![
        (
            DetachNetworkInterface { attachment }.into_call(),
            "InvalidAttachmentID.NotFound",
        ),
        (
            DeleteNetworkInterface { interface: second }.into_call(),
            "ok",
        ),
    ])
    .await;
}
