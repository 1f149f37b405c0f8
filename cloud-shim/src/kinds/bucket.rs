//! The bucket with what the bastion needs at its first boot.
//!
//! CreateBucket sets no tags. So a bucket is known by its name, which has lab
//! and account in it, and by its tags; one of that name without tags and
//! without objects is one that we were stopped from tagging.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::{Context, Kind, Resource, unless_gone};
use crate::api::{
    Body, CreateBucket, DeleteBucket, DeleteObjects, GetBucketTagging, GetPublicAccessBlock,
    HeadObject, Id, ListBuckets, ListObjects, PutBucketTagging, PutObject, PutPublicAccessBlock,
    Tags,
};
use crate::design::bucket_name;
use crate::design::parts::BUCKET;
use crate::engine::{Fields, Ids, LAB_TAG, Observed, Part, State, Value};
use crate::error::{Error, Result};

/// Objects that are asked about or written at a time.
const AT_A_TIME: usize = 8;
/// Keys in a DeleteObjects call.
const MOST_KEYS: usize = 1000;
/// How often a bucket is emptied again while others write into it.
const ROUNDS: usize = 4;

/// A bucket as it shall be. Its name has the account's number: bucket names
/// are unique in all of AWS.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bucket {
    /// Its objects by key: these and no others.
    pub objects: BTreeMap<String, Content>,
}

/// What an object holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Content {
    /// Its bytes.
    pub body: Body,
    /// How many.
    pub len: u64,
    /// Their SHA-256 in hex.
    pub sha256: String,
}

impl Bucket {
    /// Name of the lab's bucket.
    pub fn name(context: &Context) -> String {
        bucket_name(&context.lab, &context.account)
    }

    /// Writes what is missing or different, then deletes what is not wanted.
    async fn sync(&self, context: &Context, bucket: &Id) -> Result<()> {
        let caller = &context.caller;
        let there: BTreeSet<_> = contents(context, bucket).await?;
        let missing = self.objects.iter().filter(|(key, content)| {
            let wanted = line(key, content.len, Some(&content.sha256));
            !there.iter().any(|(_, line)| *line == wanted)
        });
        stream::iter(missing.map(Ok::<_, Error>))
            .try_for_each_concurrent(AT_A_TIME, async |(key, content)| {
                let request = PutObject {
                    bucket: bucket.clone(),
                    key: key.clone(),
                    body: content.body.clone(),
                    sha256: content.sha256.clone(),
                };
                Ok(caller.send(request).await?)
            })
            .await?;
        let unwanted = there
            .into_iter()
            .map(|(key, _)| key)
            .filter(|key| !self.objects.contains_key(key));
        delete_objects(context, bucket, unwanted.collect()).await
    }
}

/// The fields of a bucket.
fn fields(tags: &Tags, blocked: bool, objects: Value) -> Fields {
    let tags = tags.iter().map(|(key, value)| format!("{key} = {value}"));
    [
        ("tags", Value::set(tags)),
        (
            "public-access",
            if blocked { "blocked" } else { "possible" }.into(),
        ),
        ("objects", objects),
    ]
    .into()
}

/// An object in a line.
fn line(key: &str, len: u64, sha256: Option<&str>) -> String {
    let sha256 = sha256.unwrap_or("unknown");
    format!("{key} sha256:{sha256} {len} bytes")
}

impl Resource for Bucket {
    const KIND: Kind = Kind::Bucket;
    const FIXED: &'static [&'static str] = &[];

    fn needs(&self) -> Vec<Part> {
        Vec::new()
    }

    fn fields(&self, _: &Ids, context: &Context) -> Fields {
        let objects = self
            .objects
            .iter()
            .map(|(key, content)| line(key, content.len, Some(&content.sha256)));
        fields(&context.tags(&BUCKET), true, Value::set(objects))
    }

    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let caller = &context.caller;
        let bucket = Self::name(context);
        let Some(tags) = tags_if_ours(context, &bucket).await? else {
            return Ok(Vec::new());
        };
        let request = GetPublicAccessBlock {
            bucket: bucket.clone(),
        };
        let blocked = caller.send(request).await?;
        let objects = contents(context, &bucket).await?;
        let objects = Value::set(objects.into_iter().map(|(_, line)| line));
        // Further tags are whoever's set them.
        let ours: Tags = context
            .tags(&BUCKET)
            .into_keys()
            .filter_map(|key| tags.get_key_value(&key))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect();
        Ok(vec![Observed {
            kind: Kind::Bucket,
            part: BUCKET,
            id: bucket,
            state: State::Ready,
            fields: fields(&ours, blocked, objects),
            tags,
        }])
    }

    async fn create(&self, context: &Context, _: &Part, _: &Ids, _: &str) -> Result<Id> {
        let caller = &context.caller;
        let bucket = Self::name(context);
        // In us-east-1 CreateBucket succeeds for a bucket that one has.
        if caller.send(ListBuckets {}).await?.contains(&bucket)
            && tags_if_ours(context, &bucket).await?.is_none()
        {
            return Err(Error::refused(format!(
                "bucket {bucket} is in this account, but neither empty nor tagged {LAB_TAG} = \
                 {lab}: rename the lab, or tag or delete the bucket",
                lab = context.lab
            )));
        }
        let request = CreateBucket {
            bucket: bucket.clone(),
        };
        caller.send(request).await?;
        Ok(bucket)
    }

    async fn change(
        &self,
        context: &Context,
        observed: &Observed,
        fields: &BTreeSet<&'static str>,
        _: &Ids,
    ) -> Result<()> {
        let caller = &context.caller;
        let bucket = || observed.id.clone();
        // Before the first object, after which only tags tell whose it is.
        if fields.contains("tags") {
            let mut tags = observed.tags.clone();
            tags.extend(context.tags(&BUCKET));
            let bucket = bucket();
            caller.send(PutBucketTagging { bucket, tags }).await?;
        }
        if fields.contains("public-access") {
            let bucket = bucket();
            caller.send(PutPublicAccessBlock { bucket }).await?;
        }
        if fields.contains("objects") {
            self.sync(context, &observed.id).await?;
        }
        Ok(())
    }

    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        let caller = &context.caller;
        for round in 1.. {
            let request = ListObjects {
                bucket: observed.id.clone(),
                prefix: String::new(),
            };
            let Some(objects) = unless_gone(caller.send(request).await)? else {
                return Ok(());
            };
            let keys = objects.into_iter().map(|object| object.key).collect();
            delete_objects(context, &observed.id, keys).await?;
            let bucket = observed.id.clone();
            match caller.send(DeleteBucket { bucket }).await {
                // Somebody writes into it.
                Err(error) if error.code == "BucketNotEmpty" && round < ROUNDS => {}
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => break,
            }
        }
        Ok(())
    }
}

/// The tags of the bucket, if it is there and this lab's.
async fn tags_if_ours(context: &Context, bucket: &Id) -> Result<Option<Tags>> {
    let caller = &context.caller;
    if !caller.send(ListBuckets {}).await?.contains(bucket) {
        return Ok(None);
    }
    let request = GetBucketTagging {
        bucket: bucket.clone(),
    };
    let Some(tags) = unless_gone(caller.send(request).await)? else {
        return Ok(None);
    };
    let ours = match tags.get(LAB_TAG) {
        Some(lab) => *lab == context.lab,
        None if tags.is_empty() => {
            let request = ListObjects {
                bucket: bucket.clone(),
                prefix: String::new(),
            };
            caller.send(request).await?.is_empty()
        }
        None => false,
    };
    Ok(ours.then_some(tags))
}

/// The objects of a bucket: key and line of each.
async fn contents(context: &Context, bucket: &Id) -> Result<BTreeSet<(String, String)>> {
    let caller = &context.caller;
    let request = ListObjects {
        bucket: bucket.clone(),
        prefix: String::new(),
    };
    let objects = caller.send(request).await?;
    let lines = stream::iter(objects).map(async |object| {
        let request = HeadObject {
            bucket: bucket.clone(),
            key: object.key,
        };
        let object = unless_gone(caller.send(request).await)?;
        Ok::<_, Error>(object.map(|object| {
            let line = line(&object.key, object.len, object.sha256.as_deref());
            (object.key, line)
        }))
    });
    let lines = lines.buffer_unordered(AT_A_TIME);
    lines
        .try_filter_map(async |line| Ok(line))
        .try_collect()
        .await
}

async fn delete_objects(context: &Context, bucket: &Id, keys: Vec<String>) -> Result<()> {
    for keys in keys.chunks(MOST_KEYS) {
        let request = DeleteObjects {
            bucket: bucket.clone(),
            keys: keys.to_vec(),
        };
        context.caller.send(request).await?;
    }
    Ok(())
}
