//! S3: buckets and their objects.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::Path;

use sha2::{Digest, Sha256};

use super::{Account, Answer, Event, Fake, Quota, Refusal, check};
use crate::api::*;

/// A bucket.
#[derive(Debug, Clone, Default)]
pub(super) struct BucketState {
    tags: Tags,
    blocks_public: bool,
    objects: BTreeMap<String, Object>,
}

/// Names of buckets that are not to be had.
#[derive(Debug, Default)]
pub(super) struct Taken {
    /// They belong to other accounts.
    pub(super) by_others: BTreeSet<String>,
    /// They were deleted just now.
    pub(super) going: BTreeSet<String>,
}

/// Seconds until a deleted bucket's name can be had again.
const NAME_KEPT: (u64, u64) = (5, 60);
/// Keys in one DeleteObjects.
const MAX_KEYS: usize = 1000;
/// Bytes in one PutObject.
const MAX_OBJECT: u64 = 5 << 30;

impl Fake {
    /// Gives a bucket's name, which is unique in the world, to another account.
    pub fn give_bucket_away(&self, bucket: &str) {
        self.lock().taken.by_others.insert(bucket.to_owned());
    }
}

impl Account {
    fn bucket(&mut self, name: &str) -> Answer<&mut BucketState> {
        if self.taken.by_others.contains(name) {
            return Err(Refusal::new(403, "AccessDenied", "Access Denied"));
        }
        self.buckets.at_mut(name).ok_or_else(|| {
            Refusal::new(
                404,
                "NoSuchBucket",
                format!("The specified bucket does not exist: {name}"),
            )
        })
    }

    pub(super) fn list_buckets(&mut self, _: ListBuckets) -> Answer<Vec<String>> {
        Ok(self
            .buckets
            .listed(self.now)
            .map(|(name, _)| name.to_owned())
            .collect())
    }

    pub(super) fn create_bucket(&mut self, c: CreateBucket) -> Answer<()> {
        if !is_bucket_name(&c.bucket) {
            return Err(Refusal::new(
                400,
                "InvalidBucketName",
                format!("The specified bucket is not valid: {}", c.bucket),
            ));
        }
        let (code, message) = if self.taken.by_others.contains(&c.bucket) {
            (
                "BucketAlreadyExists",
                "The requested bucket name is not available.",
            )
        } else if self.buckets.at(&c.bucket).is_some() {
            (
                "BucketAlreadyOwnedByYou",
                "Your previous request to create the named bucket succeeded and you already own it.",
            )
        } else if self.taken.going.contains(&c.bucket) {
            (
                "OperationAborted",
                "A conflicting conditional operation is currently in progress against this resource.",
            )
        } else {
            self.script
                .within(Quota::Buckets, self.buckets.all().count(), 1)?;
            let birth = self.birth();
            // Since 2023 every new bucket blocks public access.
            let state = BucketState {
                blocks_public: true,
                ..BucketState::default()
            };
            self.buckets.put(birth, &c.bucket, state);
            return Ok(());
        };
        Err(Refusal::new(409, code, message))
    }

    pub(super) fn get_bucket_tags(&mut self, c: GetBucketTagging) -> Answer<Tags> {
        Ok(self.bucket(&c.bucket)?.tags.clone())
    }

    pub(super) fn put_bucket_tags(&mut self, c: PutBucketTagging) -> Answer<()> {
        let bucket = self.bucket(&c.bucket)?;
        check::tags(&c.tags).map_err(|it| Refusal::new(400, "InvalidTag", it.message))?;
        bucket.tags = c.tags;
        Ok(())
    }

    pub(super) fn get_public_block(&mut self, c: GetPublicAccessBlock) -> Answer<bool> {
        Ok(self.bucket(&c.bucket)?.blocks_public)
    }

    pub(super) fn put_public_block(&mut self, c: PutPublicAccessBlock) -> Answer<()> {
        self.bucket(&c.bucket)?.blocks_public = true;
        Ok(())
    }

    pub(super) fn list_objects(&mut self, c: ListObjects) -> Answer<Vec<Object>> {
        let objects = self.bucket(&c.bucket)?.objects.values();
        Ok(objects
            .filter(|it| it.key.starts_with(&c.prefix))
            .map(|it| Object {
                sha256: None,
                ..it.clone()
            })
            .collect())
    }

    pub(super) fn head_object(&mut self, c: HeadObject) -> Answer<Object> {
        // HEAD has no body, and so no code of S3's own.
        let missing = || Refusal::new(404, "NotFound", "Not Found");
        let Ok(bucket) = self.bucket(&c.bucket) else {
            return Err(missing());
        };
        bucket.objects.get(&c.key).cloned().ok_or_else(missing)
    }

    pub(super) fn put_object(&mut self, c: PutObject) -> Answer<()> {
        let bucket = self.bucket(&c.bucket)?;
        if c.key.is_empty() || c.key.len() > 1024 {
            return Err(Refusal::new(
                400,
                "KeyTooLongError",
                "A key has 1 to 1024 bytes",
            ));
        }
        let (len, sha256) = match &c.body {
            Body::Bytes(bytes) => (bytes.len() as u64, hex(&Sha256::digest(bytes))),
            Body::File(path) => file_digest(path)
                .map_err(|error| Refusal::new(400, "IncompleteBody", error.to_string()))?,
        };
        if len > MAX_OBJECT {
            return Err(Refusal::new(
                400,
                "EntityTooLarge",
                "Your proposed upload exceeds the maximum allowed size",
            ));
        }
        if sha256 != c.sha256 {
            return Err(Refusal::new(
                400,
                "BadDigest",
                format!(
                    "The SHA256 you specified did not match the calculated checksum: {}",
                    c.key
                ),
            ));
        }
        let object = Object {
            key: c.key.clone(),
            len,
            sha256: Some(sha256),
        };
        bucket.objects.insert(c.key, object);
        Ok(())
    }

    pub(super) fn delete_objects(&mut self, c: DeleteObjects) -> Answer<()> {
        let bucket = self.bucket(&c.bucket)?;
        if c.keys.is_empty() || c.keys.len() > MAX_KEYS {
            return Err(Refusal::new(
                400,
                "MalformedXML",
                format!("1 to {MAX_KEYS} keys, not {}", c.keys.len()),
            ));
        }
        for key in &c.keys {
            bucket.objects.remove(key);
        }
        Ok(())
    }

    pub(super) fn delete_bucket(&mut self, c: DeleteBucket) -> Answer<()> {
        if !self.bucket(&c.bucket)?.objects.is_empty() {
            return Err(Refusal::new(
                409,
                "BucketNotEmpty",
                "The bucket you tried to delete is not empty",
            ));
        }
        self.buckets.take(&c.bucket);
        self.taken.going.insert(c.bucket.clone());
        self.later(NAME_KEPT, Event::BucketNameFree(c.bucket));
        Ok(())
    }
}

fn is_bucket_name(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'.';
    let outer = |b: Option<u8>| b.is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit());
    (3..=63).contains(&name.len())
        && name.bytes().all(inner)
        && outer(name.bytes().next())
        && outer(name.bytes().last())
        && !name.contains("..")
        && name.parse::<std::net::Ipv4Addr>().is_err()
        && !["xn--", "sthree-", "amzn-s3-demo-"]
            .iter()
            .any(|start| name.starts_with(start))
        && !["-s3alias", "--ol-s3", ".mrap", "--x-s3"]
            .iter()
            .any(|end| name.ends_with(end))
}

/// Length and SHA-256 of a file, read piece by piece.
fn file_digest(path: &Path) -> std::io::Result<(u64, String)> {
    let mut file = std::fs::File::open(path)?;
    let mut sha = Sha256::new();
    let mut piece = vec![0; 64 * 1024];
    let mut len = 0;
    loop {
        let read = file.read(&mut piece)?;
        if read == 0 {
            return Ok((len, hex(&sha.finalize())));
        }
        sha.update(&piece[..read]);
        len += read as u64;
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
