//! Uploads against an account that knows snapshots and images and no more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::super::efi::tests::program;
use super::super::{EfiProgram, Script, image};
use super::*;
use crate::api::{Call, Calling, Cloud, Fault, Reply};
use crate::engine::LAB_TAG;

const PART: Part = Part::new("loader-image");
/// Looks until something that was asked for is there.
const LOOKS: u32 = 2;

#[derive(Debug, Default)]
struct Account {
    snapshots: BTreeMap<Id, Held>,
    images: Vec<(api::Image, u32)>,
    tokens: BTreeMap<String, Id>,
    /// Calls that change something.
    changes: Vec<&'static str>,
    /// How many there are to be, and whether the next one takes effect.
    stop: Option<(usize, bool)>,
    flying: usize,
    most_flying: usize,
}

/// A snapshot, and what Describe does not show of it.
#[derive(Debug)]
struct Held {
    snapshot: Snapshot,
    blocks: BTreeMap<u32, Vec<u8>>,
    sealed: bool,
    /// What becomes of it, after some looks.
    fate: Option<&'static str>,
    looks: u32,
}

impl Held {
    /// EBS gives it up, which shows a little later.
    fn cancel(&mut self) {
        self.sealed = true;
        self.fate = Some("error");
    }
}

#[derive(Debug, Default)]
struct Aws(Mutex<Account>);

impl Aws {
    fn account(&self) -> MutexGuard<'_, Account> {
        self.0.lock().unwrap()
    }

    /// Lets the caller's process live for so many changes. It does not hear of
    /// the next one, which takes effect or does not.
    fn stop_after(&self, changes: usize, takes_effect: bool) {
        let mut account = self.account();
        let so_far = account.changes.len();
        account.stop = Some((so_far + changes, takes_effect));
    }
}

impl Cloud for Aws {
    fn call(&self, call: Call) -> Calling<'_> {
        Box::pin(async move {
            let name = call.name();
            let changes = !name.contains(":Describe");
            self.account().flying += 1;
            // Time enough for others to set out.
            tokio::time::sleep(Duration::from_millis(100)).await;
            let mut account = self.account();
            account.most_flying = account.most_flying.max(account.flying);
            account.flying -= 1;
            let stopped = || ApiError::local(name, Fault::Unreachable, "the process ended");
            let so_far = account.changes.len();
            let last = match account.stop {
                Some((stop, _)) if so_far > stop => return Err(stopped()),
                Some((stop, takes_effect)) if so_far == stop && changes => Some(takes_effect),
                _ => None,
            };
            if changes {
                account.changes.push(name);
            }
            match last {
                None => account.answer(call),
                Some(true) => account.answer(call).and(Err(stopped())),
                Some(false) => Err(stopped()),
            }
        })
    }

    fn region(&self) -> &str {
        "eu-west-1"
    }
}

impl Account {
    fn answer(&mut self, call: Call) -> Result<Reply, ApiError> {
        let name = call.name();
        let refuse = |code: &str, text: &str| Err(ApiError::service(name, 400, code, text));
        match call {
            Call::StartSnapshot(start) => {
                let known = self.tokens.len();
                let id = self.tokens.entry(start.token);
                let id = id.or_insert_with(|| format!("snap-{known}")).clone();
                // A token is remembered, also with a snapshot that is no more.
                if self.tokens.len() > known {
                    let snapshot = Snapshot {
                        id: id.clone(),
                        state: "pending".to_owned(),
                        size_gib: start.size_gib,
                        description: start.description,
                        tags: start.tags,
                    };
                    let held = Held {
                        snapshot,
                        blocks: BTreeMap::new(),
                        sealed: false,
                        fate: Some("completed"),
                        looks: 0,
                    };
                    self.snapshots.insert(id.clone(), held);
                }
                Ok(Reply::StartSnapshot(id))
            }
            Call::PutSnapshotBlock(put) => match self.snapshots.get_mut(&put.snapshot) {
                Some(held) if !held.sealed => {
                    assert_eq!(put.data.len(), BLOCK_SIZE);
                    held.blocks.insert(put.index, put.data);
                    Ok(Reply::PutSnapshotBlock(()))
                }
                Some(_) => refuse("ValidationException", "not pending"),
                None => refuse("ResourceNotFoundException", "no such snapshot"),
            },
            Call::CompleteSnapshot(complete) => match self.snapshots.get_mut(&complete.snapshot) {
                Some(held) if !held.sealed => {
                    let mut sum = Sha256::new();
                    held.blocks
                        .values()
                        .for_each(|data| sum.update(Sha256::digest(data)));
                    assert_eq!(complete.checksum, <[u8; 32]>::from(sum.finalize()));
                    assert_eq!(complete.blocks as usize, held.blocks.len());
                    held.sealed = true;
                    Ok(Reply::CompleteSnapshot(()))
                }
                _ => refuse("ValidationException", "not pending"),
            },
            Call::DescribeSnapshots(describe) => {
                let mut found = Vec::new();
                for held in self.snapshots.values_mut() {
                    if held.sealed && held.snapshot.state == "pending" {
                        held.looks += 1;
                        if held.looks > LOOKS
                            && let Some(fate) = held.fate
                        {
                            held.snapshot.state = fate.to_owned();
                        }
                    }
                    let snapshot = &held.snapshot;
                    if passes(&describe.filters, &snapshot.tags, &[&snapshot.id]) {
                        found.push(snapshot.clone());
                    }
                }
                Ok(Reply::DescribeSnapshots(found))
            }
            Call::DeleteSnapshot(delete) => match self.snapshots.remove(&delete.snapshot) {
                Some(_) => Ok(Reply::DeleteSnapshot(())),
                None => refuse("InvalidSnapshot.NotFound", "no such snapshot"),
            },
            Call::RegisterImage(register) => {
                let snapshot = &self.snapshots[&register.snapshot].snapshot;
                assert_eq!(snapshot.state, "completed", "of a snapshot in the making");
                if self
                    .images
                    .iter()
                    .any(|(image, _)| image.name == register.name)
                {
                    return refuse("InvalidAMIName.Duplicate", "the name is in use");
                }
                let id = format!("ami-{}", self.images.len());
                self.images.push((
                    api::Image {
                        id: id.clone(),
                        name: register.name,
                        state: "pending".to_owned(),
                        architecture: "arm64".to_owned(),
                        boot_mode: Some("uefi".to_owned()),
                        ena: true,
                        root_device: "/dev/xvda".to_owned(),
                        snapshots: vec![register.snapshot],
                        created: "2026-11-02T10:11:12.000Z".to_owned(),
                        tags: register.tags,
                    },
                    0,
                ));
                Ok(Reply::RegisterImage(id))
            }
            Call::DescribeImages(describe) => {
                let mut found = Vec::new();
                for (image, looks) in &mut self.images {
                    *looks += 1;
                    if *looks > LOOKS && image.state == "pending" {
                        image.state = "available".to_owned();
                    }
                    // Listed late, as all that is new.
                    if *looks > 1
                        && passes(&describe.filters, &image.tags, &[&image.id, &image.name])
                    {
                        found.push(image.clone());
                    }
                }
                Ok(Reply::DescribeImages(found))
            }
            other => panic!("{}: not a call of an upload", other.name()),
        }
    }
}

fn passes(filters: &[Filter], tags: &Tags, fields: &[&String]) -> bool {
    filters.iter().all(|filter| {
        let has = |value: &String| match filter.name.strip_prefix("tag:") {
            Some(key) => tags.get(key) == Some(value),
            None => fields.contains(&value),
        };
        filter.values.iter().any(has)
    })
}

fn disk() -> Image {
    let loader = EfiProgram::new(program(&[7; 700_000])).unwrap();
    image(&loader, &Script::new([192, 0, 2, 1].into()), &[]).unwrap()
}

fn context(aws: &Arc<Aws>, lab: &str) -> Context {
    Context {
        caller: Caller::new(Arc::clone(aws) as Arc<dyn Cloud>),
        lab: lab.to_owned(),
        account: "123456789012".to_owned(),
    }
}

async fn run(aws: &Arc<Aws>, lab: &str, image: &Image) -> Result<Id> {
    let upload = Upload {
        context: &context(aws, lab),
        part: &PART,
        image,
        token: &format!("token-{lab}"),
    };
    upload.run(&|_| ()).await
}

/// The one snapshot holds the disk, and the one image stands on it.
fn is_whole(aws: &Aws, image: &Image) {
    let account = aws.account();
    let snapshots: Vec<&Held> = account.snapshots.values().collect();
    let [held] = snapshots[..] else {
        panic!("{} snapshots", snapshots.len());
    };
    let mut disk = vec![0; image.bytes().len()];
    for (index, data) in &held.blocks {
        disk[*index as usize * BLOCK_SIZE..][..BLOCK_SIZE].copy_from_slice(data);
    }
    assert!(disk == image.bytes(), "the snapshot is the disk");
    assert_eq!(held.snapshot.size_gib, 1);
    let [(ami, _)] = &account.images[..] else {
        panic!("{} images", account.images.len());
    };
    assert_eq!(ami.state, "available");
    assert_eq!(ami.snapshots, std::slice::from_ref(&held.snapshot.id));
    for tags in [&ami.tags, &held.snapshot.tags] {
        assert_eq!(tags[LAB_TAG], "home");
        assert_eq!(tags[CONTENT_TAG], format!("sha256:{}", image.sha256()));
        assert_eq!(tags["Name"], "ichor-home-loader-image");
    }
}

#[tokio::test(start_paused = true)]
async fn a_disk_becomes_an_ami_once() {
    let (aws, image) = (Arc::new(Aws::default()), disk());
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
    is_whole(&aws, &image);
    let blocks = image.blocks().count();
    let of = (blocks * BLOCK_SIZE) as u64;
    let want = (0..=blocks).map(|n| Progress {
        done: (n * BLOCK_SIZE) as u64,
        of,
    });
    assert!(told.into_inner().unwrap().into_iter().eq(want));

    let changes = aws.account().changes.clone();
    assert_eq!(changes.len(), blocks + 3, "{changes:?}");
    assert_eq!(upload.run(&|_| ()).await.unwrap(), id);
    assert_eq!(aws.account().changes, changes, "nothing is done twice");
}

#[tokio::test(start_paused = true)]
async fn a_bounded_number_of_blocks_is_on_its_way() {
    let aws = Arc::new(Aws::default());
    let loader = EfiProgram::new(program(&[7; 20 << 20])).unwrap();
    let image = image(&loader, &Script::new([192, 0, 2, 1].into()), &[]).unwrap();
    assert!(image.blocks().count() > 3 * AT_ONCE);
    run(&aws, "home", &image).await.unwrap();
    assert_eq!(aws.account().most_flying, AT_ONCE);
    is_whole(&aws, &image);
}

/// The process ends at any change, felt or not; the next run finishes what it
/// began, and leaves nothing else behind.
#[tokio::test(start_paused = true)]
async fn a_run_goes_on_where_another_was_stopped() {
    let image = disk();
    let all = image.blocks().count() + 3;
    for changes in 0..all {
        for takes_effect in [false, true] {
            let aws = Arc::new(Aws::default());
            aws.stop_after(changes, takes_effect);
            let error = run(&aws, "home", &image).await.unwrap_err();
            assert!(error.to_string().ends_with("the process ended"), "{error}");
            aws.account().stop = None;
            run(&aws, "home", &image).await.unwrap();
            is_whole(&aws, &image);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_snapshot_that_was_cancelled_is_replaced() {
    let image = disk();
    for shows in [false, true] {
        let aws = Arc::new(Aws::default());
        aws.stop_after(2, true);
        run(&aws, "home", &image).await.unwrap_err();
        aws.account().stop = None;
        for held in aws.account().snapshots.values_mut() {
            held.cancel();
            if shows {
                held.snapshot.state = "error".to_owned();
            }
        }
        run(&aws, "home", &image).await.unwrap();
        is_whole(&aws, &image);
        assert!(!aws.account().snapshots.contains_key("snap-0"));
    }
}

/// The same disk again on the same day: AWS may remember the client token, and
/// with it a snapshot that was deleted.
#[tokio::test(start_paused = true)]
async fn what_was_removed_is_made_anew() {
    let (aws, image) = (Arc::new(Aws::default()), disk());
    for _ in 0..3 {
        run(&aws, "home", &image).await.unwrap();
        is_whole(&aws, &image);
        let mut account = aws.account();
        account.snapshots.clear();
        account.images.clear();
    }
}

#[tokio::test(start_paused = true)]
async fn labs_do_not_share() {
    let (aws, image) = (Arc::new(Aws::default()), disk());
    let home = run(&aws, "home", &image).await.unwrap();
    let other = run(&aws, "other", &image).await.unwrap();
    assert_ne!(home, other);
    assert_eq!(aws.account().snapshots.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_somebody_else_has_is_refused() {
    let (aws, image) = (Arc::new(Aws::default()), disk());
    run(&aws, "home", &image).await.unwrap();
    aws.account().images[0].0.tags.clear();
    let error = run(&aws, "home", &image).await.unwrap_err().to_string();
    assert!(error.contains("ami-0, without this lab's tags"), "{error}");
    assert!(!error.contains('\n'));
}

#[tokio::test(start_paused = true)]
async fn an_image_that_failed_is_said_to_have() {
    let (aws, image) = (Arc::new(Aws::default()), disk());
    run(&aws, "home", &image).await.unwrap();
    aws.account().images[0].0.state = "failed".to_owned();
    let error = run(&aws, "home", &image).await.unwrap_err().to_string();
    assert_eq!(error, "image ami-0 is failed: deregister it and try again");
}

#[tokio::test(start_paused = true)]
async fn a_wait_for_aws_ends() {
    let (aws, image) = (Arc::new(Aws::default()), disk());
    aws.stop_after(2, true);
    run(&aws, "home", &image).await.unwrap_err();
    aws.account().stop = None;
    for held in aws.account().snapshots.values_mut() {
        held.fate = None;
    }
    let error = run(&aws, "home", &image).await.unwrap_err().to_string();
    let want = "waited 600 s in vain for snapshot snap-0 to be completed (last: pending)";
    assert_eq!(error, want);
}
