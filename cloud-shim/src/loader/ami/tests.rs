//! Uploads to the fake account, with an eye on the blocks that come by.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::efi::tests::program;
use super::super::{EfiProgram, Script, image};
use super::*;
use crate::api::{Call, Calling, Cloud, CreateTags, DeregisterImage};
use crate::engine::LAB_TAG;
use crate::fake::{Fake, Mishap};

const PART: Part = Part::new("loader-image");

/// The account, and what one sees of the way to it.
#[derive(Debug)]
struct Aws {
    fake: Fake,
    seen: Mutex<Seen>,
}

#[derive(Debug, Default)]
struct Seen {
    blocks: BTreeMap<u32, Vec<u8>>,
    flying: usize,
    most_flying: usize,
}

impl Aws {
    fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            fake: Fake::new("eu-west-1", seed),
            seen: Mutex::default(),
        })
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// How many calls there were that change something.
    fn changes(&self) -> usize {
        let calls = self.fake.calls();
        calls.iter().filter(|call| call.mutating).count()
    }
}

impl Cloud for Aws {
    fn call(&self, call: Call) -> Calling<'_> {
        Box::pin(async move {
            {
                let mut seen = self.seen();
                if let Call::PutSnapshotBlock(put) = &call {
                    seen.blocks.insert(put.index, put.data.clone());
                }
                seen.flying += 1;
                seen.most_flying = seen.most_flying.max(seen.flying);
            }
            let outcome = self.fake.call(call).await;
            self.seen().flying -= 1;
            outcome
        })
    }

    fn region(&self) -> &str {
        self.fake.region()
    }
}

/// A disk whose loader has so many bytes.
fn disk(len: usize) -> LoaderImage {
    let loader = EfiProgram::new(program(&vec![7; len])).unwrap();
    let image = image(&loader, &Script::new([192, 0, 2, 1].into()), &[]).unwrap();
    LoaderImage {
        sha256: image.sha256(),
        disk: image.bytes().into(),
        size_gib: 1,
    }
}

fn context(aws: &Arc<Aws>, lab: &str) -> Context {
    Context {
        caller: Caller::seeded(Arc::clone(aws) as Arc<dyn Cloud>, 1),
        lab: lab.to_owned(),
        account: Fake::ACCOUNT.to_owned(),
    }
}

async fn run(aws: &Arc<Aws>, lab: &str, image: &LoaderImage) -> Result<Id> {
    let upload = Upload {
        context: &context(aws, lab),
        part: &PART,
        image,
        token: "the same every time",
    };
    upload.run(&|_| ()).await
}

/// Images and snapshots, once all that was made is listed.
async fn all(aws: &Arc<Aws>) -> (Vec<Image>, Vec<Snapshot>) {
    tokio::time::sleep(Duration::from_secs(10)).await;
    let caller = context(aws, "").caller;
    let (owner, filters) = ("self".to_owned(), Vec::new());
    let images = caller.send(DescribeImages { owner, filters }).await;
    let filters = Vec::new();
    let snapshots = caller.send(DescribeSnapshots { filters }).await;
    (images.unwrap(), snapshots.unwrap())
}

/// There is one snapshot, and one image on it, of `image` and of this lab.
async fn is_whole(aws: &Arc<Aws>, image: &LoaderImage) {
    let (images, snapshots) = all(aws).await;
    assert_eq!((images.len(), snapshots.len()), (1, 1), "{snapshots:?}");
    let (ami, snapshot) = (&images[0], &snapshots[0]);
    assert_eq!(ami.state, "available");
    assert_eq!(snapshot.state, "completed");
    assert_eq!(snapshot.size_gib, 1);
    assert_eq!(ami.snapshots, std::slice::from_ref(&snapshot.id));
    for tags in [&ami.tags, &snapshot.tags] {
        assert_eq!(tags[LAB_TAG], "home");
        assert_eq!(tags[CONTENT_TAG], format!("sha256:{}", image.sha256));
        assert_eq!(tags["Name"], "ichor-home-loader-image");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_becomes_an_ami_once() {
    let (aws, image) = (Aws::new(1), disk(700_000));
    let told = Mutex::new(Vec::new());
    let upload = Upload {
        context: &context(&aws, "home"),
        part: &PART,
        image: &image,
        token: "token",
    };
    let id = upload
        .run(&|progress| told.lock().unwrap().push(progress))
        .await
        .unwrap();
    is_whole(&aws, &image).await;
    let mut disk = vec![0; image.disk.len()];
    for (index, data) in &aws.seen().blocks {
        disk[*index as usize * BLOCK_SIZE..][..BLOCK_SIZE].copy_from_slice(data);
    }
    assert!(disk == *image.disk, "what was not written is zeros");

    let count = blocks(&image.disk).count();
    let of = (count * BLOCK_SIZE) as u64;
    let want = (0..=count).map(|n| Progress {
        done: (n * BLOCK_SIZE) as u64,
        of,
    });
    let told = told.into_inner().unwrap();
    assert!(told.iter().copied().eq(want), "{told:?}");
    let mib = count as f64 / 2.0;
    let second = format!("0.5 of {mib:.1} MiB written");
    assert_eq!(told[1].to_string(), second);

    let changes = aws.changes();
    assert_eq!(upload.run(&|_| ()).await.unwrap(), id);
    assert_eq!(aws.changes(), changes, "nothing is done twice");
}

#[tokio::test(start_paused = true)]
async fn a_bounded_number_of_blocks_is_on_its_way() {
    let (aws, image) = (Aws::new(2), disk(20 << 20));
    assert!(blocks(&image.disk).count() > 3 * AT_ONCE);
    run(&aws, "home", &image).await.unwrap();
    assert_eq!(aws.seen().most_flying, AT_ONCE);
    is_whole(&aws, &image).await;
}

/// The process ends after any call; the next run finishes what it began, and
/// leaves nothing else behind.
#[tokio::test(start_paused = true)]
async fn a_run_goes_on_where_another_was_stopped() {
    let image = disk(700_000);
    for seed in 0.. {
        let aws = Aws::new(seed);
        aws.fake.stop_after(seed);
        let stopped = run(&aws, "home", &image).await.is_err();
        aws.fake.resume();
        run(&aws, "home", &image).await.unwrap();
        is_whole(&aws, &image).await;
        if !stopped {
            assert!(seed > 10, "all calls were the last one once");
            break;
        }
    }
}

/// Each call is done, and its answer lost.
#[tokio::test(start_paused = true)]
async fn lost_answers_do_no_harm() {
    let image = disk(700_000);
    for (call, fault) in [
        ("ebs:StartSnapshot", Fault::Timeout),
        ("ebs:PutSnapshotBlock", Fault::Timeout),
        ("ebs:CompleteSnapshot", Fault::Unreachable),
        ("ec2:RegisterImage", Fault::Timeout),
    ] {
        let aws = Aws::new(3);
        aws.fake.script(Mishap::on(call).lose_answer(fault));
        let outcome = run(&aws, "home", &image).await;
        assert!(outcome.is_ok(), "{call}: {outcome:?}");
        is_whole(&aws, &image).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_ebs_gave_up_is_replaced() {
    let (aws, image) = (Aws::new(4), disk(700_000));
    let denied = Mishap::on("ebs:PutSnapshotBlock").nth(2).always();
    aws.fake
        .script(denied.refuse(403, "AccessDeniedException", "no"));
    let error = run(&aws, "home", &image).await.unwrap_err();
    assert!(
        error.to_string().contains("AccessDeniedException"),
        "{error}"
    );
    aws.fake.heal();
    tokio::time::sleep(Duration::from_secs(7300)).await;
    let (_, given_up) = all(&aws).await;
    assert_eq!(given_up[0].state, "error");
    run(&aws, "home", &image).await.unwrap();
    is_whole(&aws, &image).await;
}

/// The same disk again on the same day: AWS may remember the client token, and
/// with it a snapshot that was deleted.
#[tokio::test(start_paused = true)]
async fn what_was_removed_is_made_anew() {
    let (aws, image) = (Aws::new(5), disk(700_000));
    let caller = context(&aws, "home").caller;
    for _ in 0..3 {
        run(&aws, "home", &image).await.unwrap();
        is_whole(&aws, &image).await;
        let (images, snapshots) = all(&aws).await;
        let image = images[0].id.clone();
        caller.send(DeregisterImage { image }).await.unwrap();
        let snapshot = snapshots[0].id.clone();
        caller.send(DeleteSnapshot { snapshot }).await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn labs_do_not_share() {
    let (aws, image) = (Aws::new(6), disk(700_000));
    let home = run(&aws, "home", &image).await.unwrap();
    let upload = Upload {
        context: &context(&aws, "other"),
        part: &PART,
        image: &image,
        token: "another",
    };
    assert_ne!(upload.run(&|_| ()).await.unwrap(), home);
    let (images, snapshots) = all(&aws).await;
    assert_eq!((images.len(), snapshots.len()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_name_that_somebody_else_has_is_refused() {
    let (aws, image) = (Aws::new(7), disk(700_000));
    let id = run(&aws, "home", &image).await.unwrap();
    let tags = [(CONTENT_TAG.to_owned(), "sha256:another".to_owned())].into();
    let request = CreateTags {
        resource: id.clone(),
        tags,
    };
    context(&aws, "home").caller.send(request).await.unwrap();
    let error = run(&aws, "home", &image).await.unwrap_err().to_string();
    let want = format!("{id}, without this lab's tags");
    assert!(error.contains(&want) && !error.contains('\n'), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_aws_ends() {
    let (aws, image) = (Aws::new(8), disk(700_000));
    // It says that all is well, and completes nothing.
    aws.fake
        .script(Mishap::on("ebs:CompleteSnapshot").always().refuse(
            400,
            "ValidationException",
            "it is sealed",
        ));
    let error = run(&aws, "home", &image).await.unwrap_err().to_string();
    assert!(
        error.starts_with("waited 600 s in vain for snapshot snap-")
            && error.ends_with(" to be completed (last: pending)"),
        "{error}"
    );
}
