//! STS, SSM, IAM, S3, Scheduler and Cost Explorer, in moto.

use std::fs;

use ichor_cloud::api::*;
use serde_json::json;
use sha2::{Digest, Sha256};

use super::{boto3, done, emulated, refused, tags};

#[tokio::test]
async fn who_and_which_image() {
    let aws = &*emulated("eu-west-1").await;
    let identity = done(aws, GetCallerIdentity {}).await;
    assert_eq!(identity.account, "123456789012");
    assert!(identity.arn.starts_with("arn:aws:"), "{identity:?}");
    let name = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64";
    let image = done(
        aws,
        GetParameter {
            name: name.to_owned(),
        },
    )
    .await;
    assert!(image.starts_with("ami-"), "{image}");
    let name = "/ichor/none".to_owned();
    let missing = refused(aws, GetParameter { name }).await;
    assert_eq!(missing.code, "ParameterNotFound", "{missing}");
}

const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"Service":"ec2.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const POLICY: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::ichor 50%/*"}]}"#;

#[tokio::test]
async fn a_role_and_its_profile() {
    let aws = &*emulated("eu-west-1").await;
    let (name, path) = ("ichor-wire".to_owned(), "/ichor/".to_owned());
    let create = CreateRole {
        name: name.clone(),
        path: path.clone(),
        trust: TRUST.to_owned(),
        tags: tags("role"),
    };
    let role = done(aws, create.clone()).await;
    assert_eq!(role.trust, TRUST);
    let twice = refused(aws, create).await;
    assert_eq!(twice.code, "EntityAlreadyExists", "{twice}");
    let found = done(aws, GetRole { name: name.clone() }).await;
    assert_eq!((&found.trust, &found.tags), (&role.trust, &tags("role")));
    let listed = done(aws, ListRoles { path: path.clone() }).await;
    assert_eq!(listed.len(), 1);
    assert_eq!((&listed[0].name, &listed[0].arn), (&name, &role.arn));
    assert_eq!(
        done(
            aws,
            ListRoles {
                path: "/other/".to_owned()
            }
        )
        .await,
        []
    );
    let trust = TRUST.replace("ec2.", "scheduler.");
    let update = UpdateAssumeRolePolicy {
        role: name.clone(),
        trust: trust.clone(),
    };
    done(aws, update).await;
    assert_eq!(done(aws, GetRole { name: name.clone() }).await.trust, trust);

    // An inline policy, whose `%` and blanks survive the encoding.
    let policy = "read".to_owned();
    let put = PutRolePolicy {
        role: name.clone(),
        policy: policy.clone(),
        document: POLICY.to_owned(),
    };
    done(aws, put).await;
    let of = |role: &String| ListRolePolicies { role: role.clone() };
    assert_eq!(done(aws, of(&name)).await, ["read"]);
    let get = GetRolePolicy {
        role: name.clone(),
        policy: policy.clone(),
    };
    assert_eq!(done(aws, get).await, POLICY);
    let arguments = json!({"RoleName": name, "PolicyName": policy});
    let seen = boto3().ask("iam", "eu-west-1", "get_role_policy", arguments);
    let resource = &seen["PolicyDocument"]["Statement"][0]["Resource"];
    assert_eq!(resource, "arn:aws:s3:::ichor 50%/*");

    let create = CreateInstanceProfile {
        name: name.clone(),
        path: path.clone(),
        tags: tags("profile"),
    };
    let made = done(aws, create).await;
    assert_eq!((&made.name, made.roles.len()), (&name, 0));
    let (profile, role) = (name.clone(), name.clone());
    done(aws, AddRoleToInstanceProfile { profile, role }).await;
    let found = done(aws, GetInstanceProfile { name: name.clone() }).await;
    assert_eq!(
        (&found.roles, &found.tags),
        (&vec![name.clone()], &tags("profile"))
    );
    let listed = done(aws, ListInstanceProfiles { path }).await;
    assert_eq!(listed.len(), 1);

    // Away, from the outside in.
    let (profile, role) = (name.clone(), name.clone());
    done(aws, RemoveRoleFromInstanceProfile { profile, role }).await;
    done(aws, DeleteInstanceProfile { name: name.clone() }).await;
    let gone = refused(aws, GetInstanceProfile { name: name.clone() }).await;
    assert!(gone.is_not_found(), "{gone}");
    done(
        aws,
        DeleteRolePolicy {
            role: name.clone(),
            policy,
        },
    )
    .await;
    assert_eq!(done(aws, of(&name)).await, [""; 0]);
    done(aws, DeleteRole { role: name.clone() }).await;
    let gone = refused(aws, GetRole { name }).await;
    assert!(gone.is_not_found(), "{gone}");
}

fn hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

#[tokio::test]
async fn a_bucket_and_what_is_in_it() {
    let aws = &*emulated("eu-west-1").await;
    let bucket = "ichor-wire-123456789012".to_owned();
    done(
        aws,
        CreateBucket {
            bucket: bucket.clone(),
        },
    )
    .await;
    assert!(done(aws, ListBuckets {}).await.contains(&bucket));
    let tagging = || GetBucketTagging {
        bucket: bucket.clone(),
    };
    assert_eq!(done(aws, tagging()).await, Tags::new());
    let put = PutBucketTagging {
        bucket: bucket.clone(),
        tags: tags("bucket"),
    };
    done(aws, put).await;
    assert_eq!(done(aws, tagging()).await, tags("bucket"));
    let block = || GetPublicAccessBlock {
        bucket: bucket.clone(),
    };
    assert!(!done(aws, block()).await);
    done(
        aws,
        PutPublicAccessBlock {
            bucket: bucket.clone(),
        },
    )
    .await;
    assert!(done(aws, block()).await);
    let arguments = json!({"Bucket": bucket});
    let seen = boto3().ask("s3", "eu-west-1", "get_bucket_location", arguments);
    assert_eq!(seen["LocationConstraint"], "eu-west-1");

    // Bytes, a file, and one whose sum is wrong.
    let text = b"#cloud-config\n".to_vec();
    let put = |key: &str, body, sha256| PutObject {
        bucket: bucket.clone(),
        key: key.to_owned(),
        body,
        sha256,
    };
    done(
        aws,
        put("boot/user-data", Body::Bytes(text.clone()), hex(&text)),
    )
    .await;
    let file = std::env::temp_dir().join(format!("ichor-wire-{}", std::process::id()));
    let large = vec![7; 300_000];
    fs::write(&file, &large).expect("a temporary file");
    done(
        aws,
        put("boot/ichor", Body::File(file.clone()), hex(&large)),
    )
    .await;
    fs::remove_file(&file).expect("the temporary file is there");
    let unread = refused(
        aws,
        put("boot/ichor", Body::File(file.clone()), hex(&large)),
    )
    .await;
    assert_eq!(unread.fault, Fault::Invalid);
    assert!(unread.message.contains("No such file"), "{unread}");
    let short = refused(aws, put("x", Body::Bytes(text.clone()), "beef".to_owned())).await;
    assert_eq!(short.fault, Fault::Invalid, "{short}");

    let head = |key: &str| HeadObject {
        bucket: bucket.clone(),
        key: key.to_owned(),
    };
    let found = done(aws, head("boot/ichor")).await;
    assert_eq!((found.len, found.sha256), (300_000, Some(hex(&large))));
    let missing = refused(aws, head("boot/none")).await;
    assert!(missing.is_not_found(), "{missing}");
    let arguments = json!({"Bucket": bucket, "Key": "boot/user-data"});
    let seen = boto3().ask("s3", "eu-west-1", "get_object", arguments);
    assert_eq!(seen["Body"], "#cloud-config\n");
    assert_eq!(seen["Metadata"]["sha256"], hex(&text));
    let list = |prefix: &str| ListObjects {
        bucket: bucket.clone(),
        prefix: prefix.to_owned(),
    };
    let listed = done(aws, list("boot/")).await;
    let listed: Vec<_> = listed.iter().map(|o| (o.key.as_str(), o.len)).collect();
    assert_eq!(listed, [("boot/ichor", 300_000), ("boot/user-data", 14)]);
    assert_eq!(done(aws, list("other/")).await, []);

    let full = refused(
        aws,
        DeleteBucket {
            bucket: bucket.clone(),
        },
    )
    .await;
    assert_eq!(full.code, "BucketNotEmpty", "{full}");
    let keys = ["boot/ichor", "boot/user-data", "boot/none"].map(str::to_owned);
    let delete = DeleteObjects {
        bucket: bucket.clone(),
        keys: keys.to_vec(),
    };
    done(aws, delete).await;
    assert_eq!(done(aws, list("")).await, []);
    done(
        aws,
        DeleteBucket {
            bucket: bucket.clone(),
        },
    )
    .await;
    let gone = refused(aws, list("")).await;
    assert_eq!(gone.code, "NoSuchBucket", "{gone}");
}

/// More than one page: EC2 in moto gives what it is asked for at once, S3 pages
/// by the thousand.
#[tokio::test]
async fn a_list_is_walked_to_its_end() {
    let aws = &*emulated("eu-west-1").await;
    let bucket = "ichor-wire-pages".to_owned();
    done(
        aws,
        CreateBucket {
            bucket: bucket.clone(),
        },
    )
    .await;
    let keys: Vec<String> = (0..1001).map(|number| format!("{number:04}")).collect();
    for key in &keys {
        let arguments = json!({"Bucket": bucket, "Key": key, "Body": ""});
        boto3().ask("s3", "eu-west-1", "put_object", arguments);
    }
    let list = ListObjects {
        bucket: bucket.clone(),
        prefix: String::new(),
    };
    let listed = done(aws, list.clone()).await;
    assert!(listed.iter().map(|object| &object.key).eq(&keys));
    // And deleted a thousand at a time.
    done(
        aws,
        DeleteObjects {
            bucket: bucket.clone(),
            keys,
        },
    )
    .await;
    assert_eq!(done(aws, list).await, []);
    done(aws, DeleteBucket { bucket }).await;
}

#[tokio::test]
async fn schedules_in_a_group_that_carries_the_tags() {
    let aws = &*emulated("eu-west-1").await;
    let group = "ichor-wire".to_owned();
    let create = CreateScheduleGroup {
        name: group.clone(),
        token: "group".to_owned(),
        tags: tags("group"),
    };
    done(aws, create).await;
    let prefix = "ichor-w".to_owned();
    assert_eq!(
        done(aws, ListScheduleGroups { prefix }).await,
        [group.clone()]
    );
    let name = group.clone();
    assert_eq!(
        done(aws, GetScheduleGroupTags { name }).await,
        tags("group")
    );
    let schedule = Schedule {
        name: "i-0123456789abcdef0".to_owned(),
        at: "2099-11-25T22:05:00".to_owned(),
        instance: "i-0123456789abcdef0".to_owned(),
        role: "arn:aws:iam::123456789012:role/ichor/ttl".to_owned(),
    };
    let create = CreateSchedule {
        group: group.clone(),
        schedule: schedule.clone(),
        token: "schedule".to_owned(),
    };
    done(aws, create).await;
    let list = || ListSchedules {
        group: group.clone(),
    };
    let found = done(aws, list()).await;
    assert_eq!(found.len(), 1);
    assert_eq!(
        (&found[0].name, &found[0].at),
        (&schedule.name, &schedule.at)
    );
    let arguments = json!({"GroupName": group, "Name": schedule.name});
    let seen = boto3().ask("scheduler", "eu-west-1", "get_schedule", arguments);
    assert_eq!(seen["ScheduleExpression"], "at(2099-11-25T22:05:00)");
    assert_eq!(seen["ActionAfterCompletion"], "DELETE");
    let target = &seen["Target"];
    assert_eq!(
        target["Arn"],
        "arn:aws:scheduler:::aws-sdk:ec2:terminateInstances"
    );
    assert_eq!(
        target["Input"],
        r#"{"InstanceIds":["i-0123456789abcdef0"]}"#
    );
    assert_eq!(target["RoleArn"], schedule.role.as_str());
    let delete = DeleteSchedule {
        group: group.clone(),
        name: schedule.name,
    };
    done(aws, delete).await;
    assert_eq!(done(aws, list()).await, []);
    done(
        aws,
        DeleteScheduleGroup {
            name: group.clone(),
        },
    )
    .await;
    let gone = refused(aws, GetScheduleGroupTags { name: group }).await;
    assert!(gone.is_not_found(), "{gone}");
}
