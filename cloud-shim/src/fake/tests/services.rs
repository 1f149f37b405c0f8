//! IAM, S3, EventBridge Scheduler and the bill.

use super::*;

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"scheduler.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const POLICY: &str =
    r#"{"Statement":[{"Effect":"Allow","Action":"ec2:TerminateInstances","Resource":"*"}]}"#;
/// SHA-256 of `hello`.
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn role_request(name: &str, trust: &str) -> CreateRole {
    CreateRole {
        name: name.into(),
        path: "/ichor/".into(),
        trust: trust.into(),
        tags: Tags::new(),
    }
}

#[tokio::test(start_paused = true)]
async fn roles_and_their_documents_are_checked() {
    let it = Bench::prompt();
    let put = |document: &str| {
        PutRolePolicy {
            role: "a".into(),
            policy: "p".into(),
            document: document.into(),
        }
        .into_call()
    };
    let role = |name: &str, trust: &str| role_request(name, trust).into_call();
    it.codes(vec![
        (role("a b", TRUST), "ValidationError"),
        (role(&"a".repeat(65), TRUST), "ValidationError"),
        (
            CreateRole {
                path: "ichor".into(),
                ..role_request("a", TRUST)
            }
            .into_call(),
            "ValidationError",
        ),
        (role("a", "{"), "MalformedPolicyDocument"),
        (role("a", "{}"), "MalformedPolicyDocument"),
        (role("a", POLICY), "MalformedPolicyDocument"),
        (role("a", TRUST), "ok"),
        (role("A", TRUST), "EntityAlreadyExists"),
        (put("[]"), "MalformedPolicyDocument"),
        (put(TRUST), "MalformedPolicyDocument"),
        (
            put(&POLICY.replace("Allow", "Let")),
            "MalformedPolicyDocument",
        ),
        (
            put(&POLICY.replace("\"*\"", &format!("\"{}\"", "x".repeat(10_240)))),
            "LimitExceeded",
        ),
        (put(POLICY), "ok"),
        (GetRole { name: "b".into() }.into_call(), "NoSuchEntity"),
    ])
    .await;
    let roles = it
        .ok(ListRoles {
            path: "/ichor/".into(),
        })
        .await;
    assert_eq!(roles[0].arn, "arn:aws:iam::123456789012:role/ichor/a");
    assert_eq!(
        it.ok(ListRoles {
            path: "/other/".into()
        })
        .await,
        []
    );
    assert_eq!(
        it.ok(GetRolePolicy {
            role: "a".into(),
            policy: "p".into()
        })
        .await,
        POLICY
    );
}

#[tokio::test(start_paused = true)]
async fn a_role_goes_last() {
    let it = Bench::prompt();
    it.ok(role_request("a", TRUST)).await;
    it.ok(role_request("b", TRUST)).await;
    let (profile, path) = ("a".to_owned(), "/ichor/".to_owned());
    let create = CreateInstanceProfile {
        name: profile.clone(),
        path,
        tags: Tags::new(),
    };
    let add = |role: &str| {
        AddRoleToInstanceProfile {
            profile: profile.clone(),
            role: role.into(),
        }
        .into_call()
    };
    let remove = |role: &str| {
        RemoveRoleFromInstanceProfile {
            profile: profile.clone(),
            role: role.into(),
        }
        .into_call()
    };
    let delete_profile = || {
        DeleteInstanceProfile {
            name: profile.clone(),
        }
        .into_call()
    };
    let delete_role = || DeleteRole { role: "a".into() }.into_call();
    let (role, policy) = ("a".to_owned(), "p".to_owned());
    let delete_policy = || {
        DeleteRolePolicy {
            role: role.clone(),
            policy: policy.clone(),
        }
        .into_call()
    };
    it.codes(vec![
        (create.clone().into_call(), "ok"),
        (create.into_call(), "EntityAlreadyExists"),
        (add("nobody"), "NoSuchEntity"),
        (add("a"), "ok"),
        (add("a"), "LimitExceeded"),
        (add("b"), "LimitExceeded"),
        (
            PutRolePolicy {
                role: role.clone(),
                policy: policy.clone(),
                document: POLICY.into(),
            }
            .into_call(),
            "ok",
        ),
        (delete_profile(), "DeleteConflict"),
        (delete_role(), "DeleteConflict"),
        (remove("b"), "NoSuchEntity"),
        (remove("a"), "ok"),
        (delete_role(), "DeleteConflict"),
        (delete_policy(), "ok"),
        (delete_policy(), "NoSuchEntity"),
        (delete_role(), "ok"),
        (delete_role(), "NoSuchEntity"),
        (delete_profile(), "ok"),
        (delete_profile(), "NoSuchEntity"),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn buckets_are_named_filled_emptied_and_gone() {
    let it = Bench::prompt();
    it.fake.give_bucket_away("popular");
    let create = |bucket: &str| {
        CreateBucket {
            bucket: bucket.into(),
        }
        .into_call()
    };
    let put = |key: &str, bytes: &[u8]| {
        PutObject {
            bucket: "lab".into(),
            key: key.into(),
            body: Body::Bytes(bytes.to_vec()),
            sha256: HELLO.into(),
        }
        .into_call()
    };
    let head = |key: &str| HeadObject {
        bucket: "lab".into(),
        key: key.into(),
    };
    let delete = || {
        DeleteBucket {
            bucket: "lab".into(),
        }
        .into_call()
    };
    it.codes(vec![
        (create("ab"), "InvalidBucketName"),
        (create("Lab"), "InvalidBucketName"),
        (create("-lab"), "InvalidBucketName"),
        (create("la..b"), "InvalidBucketName"),
        (create("10.20.13.140"), "InvalidBucketName"),
        (create("xn--lab"), "InvalidBucketName"),
        (create("popular"), "BucketAlreadyExists"),
        (
            GetBucketTagging {
                bucket: "popular".into(),
            }
            .into_call(),
            "AccessDenied",
        ),
        (
            GetBucketTagging {
                bucket: "lab".into(),
            }
            .into_call(),
            "NoSuchBucket",
        ),
        (create("lab"), "ok"),
        (create("lab"), "BucketAlreadyOwnedByYou"),
        (put("boot/kernel", b"hello"), "ok"),
        (put("boot/kernel", b"hullo"), "BadDigest"),
        (head("boot/initrd").into_call(), "NotFound"),
        (delete(), "BucketNotEmpty"),
    ])
    .await;
    assert!(
        it.ok(GetPublicAccessBlock {
            bucket: "lab".into()
        })
        .await
    );
    assert_eq!(
        it.ok(head("boot/kernel")).await.sha256.as_deref(),
        Some(HELLO)
    );
    let list = |prefix: &str| ListObjects {
        bucket: "lab".into(),
        prefix: prefix.into(),
    };
    assert_eq!(it.ok(list("boot/")).await[0].len, 5);
    assert_eq!(it.ok(list("data/")).await, []);
    let remove = |keys: Vec<String>| {
        DeleteObjects {
            bucket: "lab".into(),
            keys,
        }
        .into_call()
    };
    it.codes(vec![
        (remove(Vec::new()), "MalformedXML"),
        (remove(vec!["x".into(); 1001]), "MalformedXML"),
        (remove(vec!["boot/kernel".into(), "not there".into()]), "ok"),
        (delete(), "ok"),
        (delete(), "NoSuchBucket"),
        // Its name cannot be had again at once.
        (create("lab"), "OperationAborted"),
    ])
    .await;
    tokio::time::sleep(LONG).await;
    it.codes(vec![(create("lab"), "ok")]).await;
}

#[tokio::test(start_paused = true)]
async fn a_file_is_uploaded_as_it_is() {
    let it = Bench::prompt();
    let path = std::env::temp_dir().join(format!("ichor-fake-{}", std::process::id()));
    std::fs::write(&path, "hello").unwrap();
    it.ok(CreateBucket {
        bucket: "lab".into(),
    })
    .await;
    let put = |path: &std::path::Path| PutObject {
        bucket: "lab".into(),
        key: "k".into(),
        body: Body::File(path.to_owned()),
        sha256: HELLO.into(),
    };
    it.ok(put(&path)).await;
    std::fs::remove_file(&path).unwrap();
    assert_eq!(it.code(put(&path)).await, "IncompleteBody");
}

#[tokio::test(start_paused = true)]
async fn a_schedule_ends_its_instance_and_is_gone() {
    let it = Bench::prompt();
    let instance = {
        it.fake.foreign().untagged_vpc("10.50.0.0/16").unwrap();
        it.ok(DescribeInstances {
            filters: Vec::new(),
        })
        .await[0]
            .id
            .clone()
    };
    // 2026-11-25T12:00:00Z
    it.fake.set_unix_time(1_795_608_000);
    let role = it.ok(role_request("ender", TRUST)).await.arn;
    let idle = it.ok(role_request("idle", TRUST)).await.arn;
    it.ok(role_request("other", &TRUST.replace("scheduler", "ec2")))
        .await;
    let put = PutRolePolicy {
        role: "ender".into(),
        policy: "p".into(),
        document: POLICY.into(),
    };
    it.ok(put).await;
    let group = |name: &str| {
        CreateScheduleGroup {
            name: name.into(),
            token: it.token(),
            tags: Tags::new(),
        }
        .into_call()
    };
    let create = |group: &str, name: &str, at: &str, role: &str| {
        let (name, at, instance, role) = (name.into(), at.into(), instance.clone(), role.into());
        let schedule = Schedule {
            name,
            at,
            instance,
            role,
        };
        CreateSchedule {
            group: group.into(),
            schedule,
            token: it.token(),
        }
        .into_call()
    };
    it.codes(vec![
        (group("a b"), "ValidationException"),
        (group("lab"), "ok"),
        (group("lab"), "ConflictException"),
        (
            create("nobody", "end", "2026-11-25T13:00:00", &role),
            "ResourceNotFoundException",
        ),
        (create("lab", "end", "soon", &role), "ValidationException"),
        (
            create("lab", "end", "2026-11-25", &role),
            "ValidationException",
        ),
        (
            create("lab", "end", "2026-11-25T12:00:00", &role),
            "ValidationException",
        ),
        (
            create(
                "lab",
                "end",
                "2026-11-25T13:00:00",
                "arn:aws:iam::123456789012:role/x",
            ),
            "ValidationException",
        ),
        (
            create(
                "lab",
                "end",
                "2026-11-25T13:00:00",
                "arn:aws:iam::123456789012:role/ichor/other",
            ),
            "ValidationException",
        ),
        (create("lab", "idle", "2026-11-25T12:30:00", &idle), "ok"),
        (create("lab", "end", "2026-11-25T13:00:00", &role), "ok"),
        (
            create("lab", "end", "2026-11-25T13:00:00", &role),
            "ConflictException",
        ),
        (
            DeleteSchedule {
                group: "lab".into(),
                name: "x".into(),
            }
            .into_call(),
            "ResourceNotFoundException",
        ),
    ])
    .await;
    let names = async || {
        let schedules = it
            .ok(ListSchedules {
                group: "lab".into(),
            })
            .await;
        schedules.into_iter().map(|it| it.name).collect::<Vec<_>>()
    };
    let state = async || {
        let filters = vec![Filter::new("instance-id", &instance)];
        it.ok(DescribeInstances { filters }).await[0].state.clone()
    };
    assert_eq!(names().await, ["end", "idle"]);
    tokio::time::sleep(Duration::from_secs(1801)).await;
    // Its role may do nothing: the schedule is gone, the instance is not.
    assert_eq!(
        (names().await, state().await),
        (vec!["end".to_owned()], "running".to_owned())
    );
    tokio::time::sleep(Duration::from_secs(1800)).await;
    assert_eq!(
        (names().await, state().await),
        (Vec::new(), "shutting-down".to_owned())
    );

    let delete = |name: &str| DeleteScheduleGroup { name: name.into() }.into_call();
    it.codes(vec![
        (delete("default"), "ValidationException"),
        (delete("lab"), "ok"),
        (delete("lab"), "ConflictException"),
        (
            create("lab", "late", "2026-11-26T13:00:00", &role),
            "ConflictException",
        ),
    ])
    .await;
    tokio::time::sleep(LONG).await;
    let groups = it
        .ok(ListScheduleGroups {
            prefix: String::new(),
        })
        .await;
    assert_eq!(groups, ["default"]);
    assert_eq!(
        it.code(GetScheduleGroupTags { name: "lab".into() }).await,
        "ResourceNotFoundException"
    );
}

#[tokio::test(start_paused = true)]
async fn the_bill_is_what_the_test_says() {
    let it = Bench::prompt();
    assert_eq!(it.ok(GetCallerIdentity {}).await.account, Fake::ACCOUNT);
    assert_eq!(it.ok(GetFreeTierUsage {}).await, []);
    it.fake.set_costs(vec![ServiceCost {
        service: "EC2 - Other".into(),
        usd: 0.07,
    }]);
    let ask = |from: &str, until: &str| GetCostAndUsage {
        from: from.into(),
        until: until.into(),
    };
    assert_eq!(it.ok(ask("2026-11-01", "2026-11-25")).await[0].usd, 0.07);
    it.codes(vec![
        (
            ask("2026-11-25", "2026-11-01").into_call(),
            "ValidationException",
        ),
        (
            ask("November", "2026-11-25").into_call(),
            "ValidationException",
        ),
        (
            GetParameter {
                name: "/nothing".into(),
            }
            .into_call(),
            "ParameterNotFound",
        ),
    ])
    .await;
}
