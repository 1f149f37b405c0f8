//! What goes wrong, what comes late, and what is nobody's to touch.

use super::*;

fn vpc_request() -> CreateVpc {
    CreateVpc {
        cidr: "10.20.0.0/16".into(),
        ipv6: false,
        tags: Tags::new(),
    }
}

async fn vpcs(it: &Bench) -> usize {
    it.ok(DescribeVpcs {
        filters: Vec::new(),
    })
    .await
    .len()
}

#[tokio::test(start_paused = true)]
async fn what_is_new_is_seen_later() {
    let it = Bench::with(Timing {
        latency: Duration::ZERO,
        ..Timing::default()
    });
    let mut unlisted = 0;
    let mut unknown = 0;
    for third in 0..5 {
        let vpc = it.vpc(&format!("10.{third}.0.0/16")).await;
        let filters = vec![Filter::new("vpc-id", &vpc)];
        unlisted += usize::from(
            it.ok(DescribeVpcs {
                filters: filters.clone(),
            })
            .await
            .is_empty(),
        );
        let known = it
            .code(Bench::subnet_request(&vpc, &format!("10.{third}.1.0/24")))
            .await;
        assert!(
            ["ok", "InvalidVpcID.NotFound"].contains(&known.as_str()),
            "{known}"
        );
        unknown += usize::from(known != "ok");
        tokio::time::sleep(Timing::default().listed).await;
        assert_eq!(it.ok(DescribeVpcs { filters }).await.len(), 1);
    }
    assert!(unlisted > 0 && unknown > 0, "{unlisted} {unknown}");
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_tells_the_same_story() {
    let story = |seed: u64| async move {
        let fake = Fake::new("eu-west-1", seed);
        fake.set_unix_time(1_800_000_000);
        fake.foreign().untagged_vpc("10.9.0.0/16").unwrap();
        fake.throttle(0.5);
        let mut codes = Vec::new();
        for _ in 0..20 {
            codes.push(
                fake.call(vpc_request().into_call())
                    .await
                    .err()
                    .map(|e| e.code),
            );
        }
        (fake.dump(), codes)
    };
    let once = story(3).await;
    assert_eq!(once, story(3).await);
    assert_ne!(once, story(4).await);
    assert!(once.1.contains(&Some("RequestLimitExceeded".into())));
}

#[tokio::test(start_paused = true)]
async fn a_mishap_strikes_when_it_was_told() {
    let it = Bench::prompt();
    let mishap = Mishap::on("ec2:CreateVpc")
        .nth(2)
        .times(2)
        .refuse(500, "InternalError", "oops");
    it.fake.script(mishap);
    let mut codes = Vec::new();
    for _ in 0..4 {
        // Other calls do not count.
        vpcs(&it).await;
        codes.push(it.code(vpc_request()).await);
    }
    assert_eq!(codes, ["ok", "InternalError", "InternalError", "ok"]);
    let creations = it.fake.calls().into_iter().filter(|made| made.mutating);
    let errors: Vec<_> = creations.map(|made| made.error).collect();
    assert_eq!(
        errors,
        [
            None,
            Some("InternalError".into()),
            Some("InternalError".into()),
            None
        ]
    );

    it.fake.deny("iam:*");
    assert_eq!(
        it.code(ListRoles { path: "/".into() }).await,
        "AccessDenied"
    );
    it.fake.heal();
    assert_eq!(it.code(ListRoles { path: "/".into() }).await, "ok");
}

#[tokio::test(start_paused = true)]
async fn a_lost_answer_has_its_effect_and_a_lost_call_has_none() {
    let it = Bench::prompt();
    for (mishap, fault, count) in [
        (
            Mishap::on("*").lose_answer(Fault::Timeout),
            Fault::Timeout,
            1,
        ),
        (
            Mishap::on("*").lose_answer(Fault::Unreachable),
            Fault::Unreachable,
            2,
        ),
        (
            Mishap::on("*").lose_call(Fault::Unreachable),
            Fault::Unreachable,
            2,
        ),
    ] {
        it.fake.script(mishap);
        let error = it.fake.call(vpc_request().into_call()).await.unwrap_err();
        assert_eq!((error.fault, error.code.as_str()), (fault, ""));
        it.fake.heal();
        assert_eq!(vpcs(&it).await, count);
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_token_makes_one_thing() {
    let it = Bench::prompt();
    let vpc = it.vpc("10.20.0.0/16").await;
    let request = CreateRouteTable {
        vpc: vpc.clone(),
        token: "once".into(),
        tags: Tags::new(),
    };

    // The answer is lost; the second call gives what the first one made.
    it.fake
        .script(Mishap::on("ec2:CreateRouteTable").lose_answer(Fault::Timeout));
    it.fake.call(request.clone().into_call()).await.unwrap_err();
    let table = it.ok(request.clone()).await;
    let filters = vec![Filter::new("vpc-id", &vpc)];
    assert_eq!(
        it.ok(DescribeRouteTables { filters }).await.len(),
        2,
        "the main one and ours"
    );

    // Even when it is gone.
    it.ok(DeleteRouteTable {
        table: table.id.clone(),
    })
    .await;
    assert_eq!(it.ok(request.clone()).await.id, table.id);

    let other = CreateRouteTable {
        tags: Tags::from([("Name".to_owned(), "another".to_owned())]),
        ..request.clone()
    };
    assert_eq!(it.code(other).await, "IdempotentParameterMismatch");
    // A token of another call is another token, and a refused call keeps none.
    let subnet = it.subnet(&vpc, "10.20.1.0/24").await;
    let eni = |primary: &str| CreateNetworkInterface {
        token: "once".into(),
        ..it.interface_request(&subnet, primary)
    };
    assert_eq!(it.code(eni("10.20.1.1")).await, "InvalidParameterValue");
    assert_eq!(it.code(eni("10.20.1.9")).await, "ok");
    let empty = CreateRouteTable {
        token: String::new(),
        ..request
    };
    assert_eq!(it.code(empty).await, "MissingParameter");
}

#[tokio::test(start_paused = true)]
async fn without_a_token_each_call_makes_another() {
    let it = Bench::prompt();
    assert_ne!(it.vpc("10.20.0.0/16").await, it.vpc("10.20.0.0/16").await);
}

#[tokio::test(start_paused = true)]
async fn quotas_are_kept() {
    let it = Bench::prompt();
    it.fake.limit(Quota::Vpcs, 2);
    it.fake.limit(Quota::Addresses, 1);
    it.fake.limit(Quota::RulesPerGroup, 1);
    let allocate = || AllocateAddress { tags: Tags::new() };
    it.codes(vec![
        (vpc_request().into_call(), "ok"),
        (vpc_request().into_call(), "ok"),
        (vpc_request().into_call(), "VpcLimitExceeded"),
        (allocate().into_call(), "ok"),
        (allocate().into_call(), "AddressLimitExceeded"),
    ])
    .await;
    let vpc = it
        .ok(DescribeVpcs {
            filters: Vec::new(),
        })
        .await[0]
        .id
        .clone();
    let group = it.group(&vpc, "a").await;
    let rule = Rule {
        protocol: Protocol::Icmp,
        peer: Peer::Ipv4("0.0.0.0/0".into()),
        description: String::new(),
    };
    let (rules, tags) = (vec![rule], Tags::new());
    assert_eq!(
        it.code(AuthorizeSecurityGroupEgress { group, rules, tags })
            .await,
        "RulesPerSecurityGroupLimitExceeded"
    );
}

#[tokio::test(start_paused = true)]
async fn credentials_expire() {
    let it = Bench::prompt();
    it.fake.expire_credentials(Duration::from_secs(60));
    vpcs(&it).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    it.codes(vec![
        (
            DescribeVpcs {
                filters: Vec::new(),
            }
            .into_call(),
            "RequestExpired",
        ),
        (ListRoles { path: "/".into() }.into_call(), "ExpiredToken"),
        (ListBuckets {}.into_call(), "ExpiredToken"),
        (
            ListScheduleGroups {
                prefix: String::new(),
            }
            .into_call(),
            "ExpiredTokenException",
        ),
    ])
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stopped_process_makes_no_calls() {
    let it = Bench::prompt();
    it.fake.stop_after(1);
    it.vpc("10.20.0.0/16").await;
    for _ in 0..2 {
        let error = it.fake.call(vpc_request().into_call()).await.unwrap_err();
        assert_eq!(error.message, "the process was stopped");
    }
    assert_eq!(it.fake.calls().len(), 1);
    it.fake.resume();
    assert_eq!(vpcs(&it).await, 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_foreign_is_seen_untouched_and_not_ours_to_pay() {
    let it = Bench::with(Timing::default());
    let tags = Tags::from([("ichor:lab".to_owned(), "work".to_owned())]);
    let theirs = {
        let mut foreign = it.fake.foreign();
        foreign.default_vpc().unwrap();
        foreign.untagged_vpc("10.50.0.0/16").unwrap();
        foreign.lab("work", "10.20.0.0/16", &tags).unwrap()
    };
    assert_eq!(
        (it.fake.calls(), it.fake.billable()),
        (Vec::new(), Vec::new())
    );
    assert_eq!(vpcs(&it).await, 3);
    let running = vec![Filter::new("instance-state-name", "running")];
    assert_eq!(it.ok(DescribeInstances { filters: running }).await.len(), 4);

    let before = it.fake.foreign_state();
    let ours = it.vpc("10.20.0.0/16").await;
    tokio::time::sleep(LONG).await;
    it.subnet(&ours, "10.20.1.0/24").await;
    assert_eq!(it.fake.foreign_state(), before);
    let left = it.fake.billable();
    assert_eq!(
        left.iter().map(|left| left.kind).collect::<Vec<_>>(),
        ["subnet", "vpc"]
    );

    // Whoever touches something of theirs is seen.
    let filters = vec![
        Filter::new("vpc-id", &theirs),
        Filter::new("group-name", "web"),
    ];
    let group = it.ok(DescribeSecurityGroups { filters }).await[0]
        .id
        .clone();
    let rule = Rule {
        protocol: Protocol::All,
        peer: Peer::Ipv4("0.0.0.0/0".into()),
        description: String::new(),
    };
    let (rules, tags) = (vec![rule], Tags::new());
    it.ok(AuthorizeSecurityGroupIngress { group, rules, tags })
        .await;
    assert_ne!(it.fake.foreign_state(), before);
}
