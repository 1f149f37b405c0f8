//! Roles, templates, the bastion's group, the bucket and the schedules: made,
//! changed field by field, found when somebody else changed them, and stopped
//! after every single call.

#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use ichor_cloud::Result;
use ichor_cloud::api::*;
use ichor_cloud::design::parts;
use ichor_cloud::engine::{Caller, Ids, Observed, Part, changes, converge, observe_all};
use ichor_cloud::fake::{Fake, Timing};
use ichor_cloud::kinds::{
    Bucket, Content, Context, DhcpOptions, Group, ImageSource, Interface, Kind, LoaderImage,
    Profile, Role, ScheduleGroup, SecurityGroup, Spec, Subnet, Template, TemplateInterface, Vpc,
};
use sha2::{Digest as _, Sha256};

type Parts = Vec<(Part, Spec)>;

const REGION: &str = "eu-west-1";
const OTHER_ROLE: Part = Part::new("other-role");

/// A process that works on the lab: nothing of what an earlier one knew.
fn process(fake: &Arc<Fake>) -> Context {
    let cloud: Arc<dyn Cloud> = fake.clone();
    Context {
        caller: Caller::seeded(cloud, 1),
        lab: "home".to_owned(),
        account: Fake::ACCOUNT.to_owned(),
    }
}

fn prompt() -> Arc<Fake> {
    Arc::new(Fake::with_timing(REGION, 1, Timing::PROMPT))
}

fn role(service: &'static str, action: &str) -> Spec {
    let policy = serde_json::json!({
        "Version": "2012-10-17",
        "Statement": [{ "Effect": "Allow", "Action": action, "Resource": "*" }],
    });
    Spec::Role(Role { service, policy })
}

fn profile(role: Part) -> Spec {
    Spec::Profile(Profile { role })
}

fn bucket(objects: &[(&str, &str)]) -> Spec {
    let content = |text: &str| Content {
        body: Body::Bytes(text.into()),
        len: text.len() as u64,
        sha256: format!("{:x}", Sha256::digest(text)),
    };
    let objects = objects
        .iter()
        .map(|(key, text)| ((*key).to_owned(), content(text)));
    Spec::Bucket(Bucket {
        objects: objects.collect(),
    })
}

/// What a template stands in.
fn network() -> Parts {
    let group = || {
        Spec::SecurityGroup(SecurityGroup {
            vpc: parts::VPC,
            description: "for a test".to_owned(),
            rules: Vec::new(),
        })
    };
    vec![
        (
            parts::VPC,
            Spec::Vpc(Vpc {
                cidr: "10.20.0.0/16".parse().unwrap(),
                ipv6: false,
                dhcp_options: parts::DHCP_OPTIONS,
            }),
        ),
        (
            parts::DHCP_OPTIONS,
            Spec::DhcpOptions(DhcpOptions {
                servers: vec!["AmazonProvidedDNS".to_owned()],
                domain: None,
            }),
        ),
        (
            parts::PRIVATE_SUBNET,
            Spec::Subnet(Subnet {
                vpc: parts::VPC,
                cidr: "10.20.13.0/24".parse().unwrap(),
                zone: "eu-west-1a".to_owned(),
                ipv6: None,
            }),
        ),
        (parts::BASTION_SG, group()),
        (parts::TALOS_NODES_SG, group()),
        (
            parts::BASTION_INTERFACE,
            Spec::Interface(Interface {
                subnet: parts::PRIVATE_SUBNET,
                primary: "10.20.13.140".parse().unwrap(),
                secondary: vec!["10.20.13.141".parse().unwrap()],
                ipv6: false,
                groups: vec![parts::BASTION_SG],
                source_dest_check: true,
            }),
        ),
        (
            parts::BASTION_ROLE,
            role("ec2.amazonaws.com", "s3:GetObject"),
        ),
        (parts::BASTION_PROFILE, profile(parts::BASTION_ROLE)),
    ]
}

async fn public_image(fake: &Fake) -> Image {
    let cloud: &dyn Cloud = fake;
    let name = "/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-default-arm64";
    let name = name.to_owned();
    let id = cloud.send(GetParameter { name }).await.unwrap();
    let request = DescribeImages {
        owner: "amazon".to_owned(),
        filters: vec![Filter::new("image-id", id)],
    };
    cloud.send(request).await.unwrap().pop().unwrap()
}

fn template(image: &Image) -> Template {
    Template {
        image: ImageSource::Public {
            id: image.id.clone(),
            root_device: image.root_device.clone(),
        },
        instance_type: "t4g.small".to_owned(),
        profile: Some(parts::BASTION_PROFILE),
        interface: TemplateInterface::Existing(parts::BASTION_INTERFACE),
        second_interface: None,
        root_gib: 5,
        user_data: Some("#cloud-config\n".to_owned()),
        instance: parts::BASTION,
        terminate_on_shutdown: false,
    }
}

/// A disk of this byte, and the nodes that start from it.
fn loader(byte: u8) -> Parts {
    let disk = vec![byte; 2 * BLOCK_SIZE];
    let image = LoaderImage {
        sha256: format!("{:x}", Sha256::digest(&disk)),
        disk: disk.into(),
        size_gib: 1,
    };
    let node = Template {
        image: ImageSource::Ours(parts::LOADER_IMAGE),
        instance_type: "t4g.small".to_owned(),
        profile: None,
        interface: TemplateInterface::New {
            subnet: parts::PRIVATE_SUBNET,
            groups: vec![parts::TALOS_NODES_SG],
            ipv6: false,
        },
        second_interface: None,
        root_gib: 2,
        user_data: None,
        instance: parts::NODE,
        terminate_on_shutdown: true,
    };
    vec![
        (parts::LOADER_IMAGE, Spec::LoaderImage(image)),
        (parts::NODE_TEMPLATE, Spec::Template(node)),
    ]
}

fn action(name: &str, hour: u8, desired: u32) -> ScheduledAction {
    ScheduledAction {
        name: name.to_owned(),
        recurrence: format!("0 {hour} * * *"),
        time_zone: "Europe/Dublin".to_owned(),
        min: 0,
        max: 1,
        desired,
    }
}

fn group(desired: u32, schedule: Vec<ScheduledAction>) -> Spec {
    Spec::Group(Group {
        template: parts::BASTION_TEMPLATE,
        zone: "eu-west-1a".to_owned(),
        desired,
        schedule,
    })
}

/// Everything of a scenario, as it is at first and as it becomes.
async fn scenario(fake: &Fake) -> (Parts, Parts) {
    let image = public_image(fake).await;
    let mut before = network();
    before.extend([
        (parts::BUCKET, bucket(&[("a", "one"), ("b", "two")])),
        (parts::NODES, Spec::ScheduleGroup(ScheduleGroup {})),
        (parts::BASTION_TEMPLATE, Spec::Template(template(&image))),
        (parts::BASTION, group(0, vec![action("start", 18, 1)])),
    ]);
    before.extend(loader(1));
    let mut after = network();
    after.extend(loader(2));
    for (part, spec) in &mut after {
        if *part == parts::BASTION_ROLE {
            *spec = role("scheduler.amazonaws.com", "s3:ListBucket");
        }
        if *part == parts::BASTION_PROFILE {
            *spec = profile(OTHER_ROLE);
        }
    }
    let changed = Template {
        instance_type: "t4g.medium".to_owned(),
        root_gib: 6,
        user_data: None,
        terminate_on_shutdown: true,
        ..template(&image)
    };
    after.extend([
        (OTHER_ROLE, role("ec2.amazonaws.com", "s3:GetObject")),
        (parts::BUCKET, bucket(&[("b", "three"), ("c", "four")])),
        (parts::NODES, Spec::ScheduleGroup(ScheduleGroup {})),
        (parts::BASTION_TEMPLATE, Spec::Template(changed)),
        (
            parts::BASTION,
            group(0, vec![action("start", 17, 1), action("stop", 22, 0)]),
        ),
    ]);
    (before, after)
}

/// What is there, and that it is what shall be.
async fn assert_is(desired: &Parts, context: &Context) -> Vec<Observed> {
    let observed = observe_all(context).await.unwrap();
    let mut ids = Ids::default();
    for there in &observed {
        ids.insert(there.part.clone(), there.id.clone());
    }
    for (part, spec) in desired {
        let there: Vec<_> = observed.iter().filter(|it| it.part == *part).collect();
        let [there] = there[..] else {
            panic!("{part} is there {} times", there.len());
        };
        let differs = changes(&spec.fields(&ids, context), &there.fields);
        assert_eq!(differs, [], "{part}");
    }
    assert_eq!(observed.len(), desired.len());
    observed
}

/// Deletes all, as `cloud-down` does: backwards.
async fn delete_all(context: &Context) -> Result<()> {
    let mut observed = observe_all(context).await?;
    observed.sort_by_key(|there| core::cmp::Reverse(there.kind));
    for there in observed {
        there.delete(context).await?;
    }
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn made_changed_and_deleted() {
    let fake = Arc::new(Fake::new(REGION, 7));
    let (before, after) = scenario(&fake).await;
    let context = process(&fake);
    converge(&before, &context).await.unwrap();
    assert_is(&before, &context).await;
    converge(&after, &context).await.unwrap();
    assert_is(&after, &context).await;
    delete_all(&context).await.unwrap();
    assert_eq!(fake.billable(), []);
}

/// Runs `work` with a process that is stopped after `calls`, then once more
/// with another one. Says whether the first one came to its end.
async fn stopped_after(
    fake: &Arc<Fake>,
    calls: u64,
    work: impl AsyncFn(Context) -> Result<()>,
) -> bool {
    fake.stop_after(calls);
    let first = work(process(fake)).await;
    fake.resume();
    if first.is_err() {
        work(process(fake)).await.unwrap();
    }
    first.is_ok()
}

#[tokio::test(start_paused = true)]
async fn stopped_after_each_call_of_making_changing_and_deleting() {
    /// Far more calls than any of it takes.
    const MOST: u64 = 1000;
    for calls in 0..MOST {
        let fake = prompt();
        let (before, after) = scenario(&fake).await;
        let made = stopped_after(&fake, calls, async |context| {
            converge(&before, &context).await.map(drop)
        });
        let made = made.await;
        assert_is(&before, &process(&fake)).await;
        let changed = stopped_after(&fake, calls, async |context| {
            converge(&after, &context).await.map(drop)
        });
        let changed = changed.await;
        assert_is(&after, &process(&fake)).await;
        let deleted = stopped_after(&fake, calls, async |context| delete_all(&context).await).await;
        assert_eq!(
            fake.billable(),
            [],
            "deleting was stopped after {calls} calls"
        );
        if made && changed && deleted {
            return;
        }
    }
    panic!("there was no end of calls");
}

/// A new version of a template is not made twice, wherever the first run
/// stopped.
#[tokio::test(start_paused = true)]
async fn a_template_has_one_version_for_each_change() {
    let fake = prompt();
    let (before, after) = scenario(&fake).await;
    converge(&before, &process(&fake)).await.unwrap();
    let mut stopped = 0;
    let made = |fake: &Fake| {
        let calls = fake.calls();
        let versions = calls
            .iter()
            .filter(|it| it.name.ends_with("LaunchTemplateVersion"));
        versions.count()
    };
    for calls in 1.. {
        fake.stop_after(calls);
        let done = converge(&after, &process(&fake)).await.is_ok();
        fake.resume();
        stopped += usize::from(made(&fake) > 0 && !done);
        if done {
            break;
        }
    }
    let filters = vec![Filter::tag("ichor:part", "bastion-template")];
    let cloud: &dyn Cloud = &*fake;
    let templates = cloud
        .send(DescribeLaunchTemplates { filters })
        .await
        .unwrap();
    assert!(
        stopped > 0,
        "no run was stopped between version and default"
    );
    assert_eq!(templates[0].latest_version, 2);
    assert_eq!(templates[0].default_version, 2);
}

#[tokio::test(start_paused = true)]
async fn what_others_changed_is_seen_and_mended() {
    let fake = prompt();
    let (before, _) = scenario(&fake).await;
    let context = process(&fake);
    converge(&before, &context).await.unwrap();
    let group = context.name(&parts::BASTION);
    let role = context.name(&parts::BASTION_ROLE);
    let profile = context.name(&parts::BASTION_PROFILE);
    let name = Bucket::name(&context);
    let cloud: &dyn Cloud = &*fake;
    let settings = cloud
        .send(DescribeAutoScalingGroups { names: Vec::new() })
        .await
        .unwrap()[0]
        .settings
        .clone();
    let template = settings.template.clone();
    let filters = vec![Filter::tag("ichor:part", "bastion-template")];
    let data = cloud
        .send(DescribeLaunchTemplates { filters })
        .await
        .unwrap()[0]
        .data
        .clone();
    let document = r#"{"Statement":{"Effect":"Allow","Action":"*","Resource":"*"}}"#.to_owned();
    let drifts: Vec<(&str, &str, Vec<Call>)> = vec![
        (
            "bastion-role",
            "policies",
            vec![
                PutRolePolicy {
                    role: role.clone(),
                    policy: "ichor".to_owned(),
                    document: document.clone(),
                }
                .into_call(),
            ],
        ),
        (
            "bastion-role",
            "policies",
            vec![
                PutRolePolicy {
                    role: role.clone(),
                    policy: "admin".to_owned(),
                    document,
                }
                .into_call(),
            ],
        ),
        (
            "bastion-role",
            "trust",
            vec![
                UpdateAssumeRolePolicy {
                    role: role.clone(),
                    trust: r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
                    "Principal":{"AWS":"*"},"Action":"sts:AssumeRole"}]}"#
                        .to_owned(),
                }
                .into_call(),
            ],
        ),
        (
            "bastion-profile",
            "role",
            vec![RemoveRoleFromInstanceProfile { profile, role }.into_call()],
        ),
        (
            "bucket",
            "objects",
            vec![
                PutObject {
                    bucket: name.clone(),
                    key: "a".to_owned(),
                    body: Body::Bytes(b"eno".into()),
                    sha256: format!("{:x}", Sha256::digest("eno")),
                }
                .into_call(),
            ],
        ),
        (
            "bucket",
            "objects",
            vec![
                DeleteObjects {
                    bucket: name.clone(),
                    keys: vec!["b".to_owned()],
                }
                .into_call(),
            ],
        ),
        (
            "bucket",
            "tags",
            vec![
                PutBucketTagging {
                    bucket: name,
                    tags: [("ichor:lab", "home"), ("mine", "yes")]
                        .map(|(key, value)| (key.to_owned(), value.to_owned()))
                        .into(),
                }
                .into_call(),
            ],
        ),
        (
            "bastion",
            "schedule",
            vec![
                PutScheduledUpdateGroupAction {
                    group: group.clone(),
                    action: action("start", 6, 1),
                }
                .into_call(),
            ],
        ),
        (
            "bastion",
            "schedule",
            vec![
                PutScheduledUpdateGroupAction {
                    group: group.clone(),
                    action: action("again", 3, 1),
                }
                .into_call(),
            ],
        ),
        (
            "bastion",
            "schedule",
            vec![
                DeleteScheduledAction {
                    group: group.clone(),
                    name: "start".to_owned(),
                }
                .into_call(),
            ],
        ),
        (
            "bastion",
            "bounds",
            vec![
                UpdateAutoScalingGroup {
                    name: group,
                    settings: GroupSettings { min: 1, ..settings },
                }
                .into_call(),
            ],
        ),
        (
            "bastion-template",
            "user-data",
            vec![
                CreateLaunchTemplateVersion {
                    template: template.clone(),
                    data: LaunchData {
                        user_data: Some("#!/bin/sh\nrm -rf /\n".to_owned()),
                        ..data
                    },
                    token: "drift".to_owned(),
                }
                .into_call(),
                ModifyLaunchTemplate {
                    template,
                    default_version: 2,
                }
                .into_call(),
            ],
        ),
    ];
    for (part, field, calls) in drifts {
        for call in calls {
            cloud.call(call).await.unwrap();
        }
        let plan = ichor_cloud::engine::Plan::new(
            before.clone(),
            observe_all(&context).await.unwrap(),
            &context,
        );
        let changed: BTreeMap<_, BTreeSet<_>> = plan
            .steps
            .iter()
            .filter(|step| !step.changes.is_empty())
            .map(|step| {
                let fields = step.changes.iter().map(|change| change.field);
                (step.part.to_string(), fields.collect())
            })
            .collect();
        let expected = BTreeMap::from([(part.to_owned(), BTreeSet::from([field]))]);
        assert_eq!(changed, expected);
        converge(&before, &context).await.unwrap();
        assert_is(&before, &context).await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_clock_says_how_many_and_an_update_does_not() {
    let fake = prompt();
    let (before, after) = scenario(&fake).await;
    let context = process(&fake);
    converge(&before, &context).await.unwrap();
    let cloud: &dyn Cloud = &*fake;
    let name = context.name(&parts::BASTION);
    let request = SetDesiredCapacity {
        name: name.clone(),
        desired: 1,
    };
    cloud.send(request).await.unwrap();
    converge(&after, &context).await.unwrap();
    let desired = async || {
        let names = vec![name.clone()];
        let groups = cloud.send(DescribeAutoScalingGroups { names }).await;
        groups.unwrap()[0].settings.desired
    };
    assert_eq!(desired().await, 1);
    // Always on from now, and no action that would ever start it.
    let mut always = after;
    if let Some((_, spec)) = always.iter_mut().find(|(part, _)| *part == parts::BASTION) {
        *spec = group(1, Vec::new());
    }
    let request = SetDesiredCapacity {
        name: name.clone(),
        desired: 0,
    };
    cloud.send(request).await.unwrap();
    converge(&always, &context).await.unwrap();
    assert_eq!(desired().await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_bucket_of_somebody_else_is_left_alone() {
    let fake = prompt();
    let context = process(&fake);
    let name = Bucket::name(&context);
    fake.foreign().bucket(&name, &Tags::new()).unwrap();
    let foreign = fake.foreign_state();
    let desired = vec![(parts::BUCKET, bucket(&[("a", "one")]))];
    let error = converge(&desired, &context).await.unwrap_err().to_string();
    assert!(error.contains(&name), "{error}");
    assert_eq!(Kind::Bucket.observe(&context).await.unwrap(), []);
    assert_eq!(fake.foreign_state(), foreign);
    // Without a byte in it and without a tag it may well be ours, half made.
    let fake = prompt();
    let context = process(&fake);
    let cloud: &dyn Cloud = &*fake;
    cloud.send(CreateBucket { bucket: name }).await.unwrap();
    converge(&desired, &context).await.unwrap();
    assert_is(&desired, &context).await;
}

#[tokio::test(start_paused = true)]
async fn roles_of_another_lab_are_not_ours() {
    let fake = prompt();
    // Its name begins like ours.
    let mut other = process(&fake);
    other.lab = "home-2".to_owned();
    let desired = vec![
        (
            parts::BASTION_ROLE,
            role("ec2.amazonaws.com", "s3:GetObject"),
        ),
        (parts::BASTION_PROFILE, profile(parts::BASTION_ROLE)),
        (parts::NODES, Spec::ScheduleGroup(ScheduleGroup {})),
    ];
    converge(&desired, &other).await.unwrap();
    assert_eq!(observe_all(&process(&fake)).await.unwrap(), []);
    assert_is(&desired, &other).await;
}
