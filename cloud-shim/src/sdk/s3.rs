//! Buckets and objects.

use std::path::Path;

use aws_sdk_s3::Client;
use aws_sdk_s3::config::Builder;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{
    BucketLocationConstraint, CreateBucketConfiguration, Delete, ObjectIdentifier,
    PublicAccessBlockConfiguration, Tag, Tagging,
};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;

use super::{Answer, Explained as _, Name, Timeouts, all, need, plain};
use crate::api::*;

/// The one region that CreateBucket does not want to hear of.
const UNNAMED: &str = "us-east-1";

/// Keys that DeleteObjects takes at once.
const MOST_KEYS: usize = 1000;

/// The metadata in which an object carries its SHA-256 in hex.
const SHA256: &str = "sha256";

pub(super) async fn list_buckets(s3: &Client, _: ListBuckets) -> Answer<ListBuckets> {
    let pages = s3.list_buckets().into_paginator().items().send();
    all(ListBuckets::NAME, pages, |call, bucket| {
        need!(call, bucket.name)
    })
    .await
}

pub(super) async fn get_bucket_tagging(
    s3: &Client,
    request: GetBucketTagging,
) -> Answer<GetBucketTagging> {
    let answer = s3
        .get_bucket_tagging()
        .bucket(request.bucket)
        .send()
        .await
        .explained(GetBucketTagging::NAME);
    match answer {
        Ok(output) => Ok(output
            .tag_set
            .into_iter()
            .map(|tag| (tag.key, tag.value))
            .collect()),
        Err(error) if error.code == "NoSuchTagSet" => Ok(Tags::new()),
        Err(error) => Err(error),
    }
}

pub(super) async fn create_bucket(
    s3: &Client,
    region: &str,
    request: CreateBucket,
) -> Answer<CreateBucket> {
    let place = (region != UNNAMED).then(|| {
        CreateBucketConfiguration::builder()
            .location_constraint(BucketLocationConstraint::from(region))
            .build()
    });
    s3.create_bucket()
        .bucket(request.bucket)
        .set_create_bucket_configuration(place)
        .send()
        .await
        .explained(CreateBucket::NAME)?;
    Ok(())
}

pub(super) async fn put_bucket_tagging(
    s3: &Client,
    request: PutBucketTagging,
) -> Answer<PutBucketTagging> {
    let call = PutBucketTagging::NAME;
    let tags = request
        .tags
        .into_iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect::<Result<_, _>>();
    let tagging = tags.and_then(|tags| Tagging::builder().set_tag_set(Some(tags)).build());
    s3.put_bucket_tagging()
        .bucket(request.bucket)
        .tagging(tagging.map_err(|error| super::incomplete(call, &error))?)
        .send()
        .await
        .explained(call)?;
    Ok(())
}

pub(super) async fn get_public_access_block(
    s3: &Client,
    request: GetPublicAccessBlock,
) -> Answer<GetPublicAccessBlock> {
    let answer = s3
        .get_public_access_block()
        .bucket(request.bucket)
        .send()
        .await
        .explained(GetPublicAccessBlock::NAME);
    match answer {
        Ok(output) => Ok(output
            .public_access_block_configuration
            .is_some_and(|blocks| {
                [
                    blocks.block_public_acls,
                    blocks.ignore_public_acls,
                    blocks.block_public_policy,
                    blocks.restrict_public_buckets,
                ] == [Some(true); 4]
            })),
        Err(error) if error.code == "NoSuchPublicAccessBlockConfiguration" => Ok(false),
        Err(error) => Err(error),
    }
}

pub(super) async fn put_public_access_block(
    s3: &Client,
    request: PutPublicAccessBlock,
) -> Answer<PutPublicAccessBlock> {
    let all_four = PublicAccessBlockConfiguration::builder()
        .block_public_acls(true)
        .ignore_public_acls(true)
        .block_public_policy(true)
        .restrict_public_buckets(true)
        .build();
    s3.put_public_access_block()
        .bucket(request.bucket)
        .public_access_block_configuration(all_four)
        .send()
        .await
        .explained(PutPublicAccessBlock::NAME)?;
    Ok(())
}

/// An object's length, which is never negative.
fn length(call: Name, len: Option<i64>) -> Result<u64, ApiError> {
    len.and_then(|len| u64::try_from(len).ok())
        .ok_or_else(|| ApiError::not_understood(call, "an object has no length"))
}

pub(super) async fn list_objects(s3: &Client, request: ListObjects) -> Answer<ListObjects> {
    let mut pages = s3
        .list_objects_v2()
        .bucket(request.bucket)
        .prefix(request.prefix)
        .into_paginator()
        .send();
    let call = ListObjects::NAME;
    let mut objects = Vec::new();
    while let Some(page) = pages.next().await {
        for object in page.explained(call)?.contents.unwrap_or_default() {
            objects.push(Object {
                key: need!(call, object.key)?,
                len: length(call, object.size)?,
                sha256: None,
            });
        }
        super::bounded(call, objects.len())?;
    }
    Ok(objects)
}

pub(super) async fn head_object(s3: &Client, request: HeadObject) -> Answer<HeadObject> {
    let call = HeadObject::NAME;
    let output = s3
        .head_object()
        .bucket(request.bucket)
        .key(&request.key)
        .send()
        .await
        .explained(call)?;
    Ok(Object {
        key: request.key,
        len: length(call, output.content_length)?,
        sha256: output
            .metadata
            .and_then(|mut metadata| metadata.remove(SHA256)),
    })
}

/// Bytes of a SHA-256 in hex.
fn from_hex(call: Name, hex: &str) -> Result<[u8; 32], ApiError> {
    let mut bytes = [0; 32];
    let fits = hex.len() == 2 * bytes.len() && hex.bytes().all(|digit| digit.is_ascii_hexdigit());
    if !fits {
        let message = "an object's SHA-256 must be 64 digits of hex";
        return Err(ApiError::local(call, Fault::Invalid, message));
    }
    for (byte, digits) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        *byte = digits
            .iter()
            .filter_map(|digit| char::from(*digit).to_digit(16))
            .fold(0, |byte, digit| byte << 4 | digit as u8);
    }
    Ok(bytes)
}

async fn open(call: Name, path: &Path) -> Result<(u64, ByteStream), ApiError> {
    let unreadable =
        |why: String| ApiError::local(call, Fault::Invalid, format!("{}: {why}", path.display()));
    let len = std::fs::metadata(path)
        .map_err(|error| unreadable(error.to_string()))?
        .len();
    let stream = ByteStream::from_path(path)
        .await
        .map_err(|error| unreadable(super::error::innermost(&error)))?;
    Ok((len, stream))
}

pub(super) async fn put_object(
    s3: &Client,
    timeouts: Timeouts,
    request: PutObject,
) -> Answer<PutObject> {
    let call = PutObject::NAME;
    let (len, body) = match request.body {
        Body::Bytes(bytes) => (bytes.len() as u64, ByteStream::from(bytes)),
        Body::File(path) => open(call, &path).await?,
    };
    let sum = from_hex(call, &request.sha256)?;
    s3.put_object()
        .bucket(request.bucket)
        .key(request.key)
        .checksum_sha256(BASE64_STANDARD.encode(sum))
        .metadata(SHA256, request.sha256)
        .body(body)
        .customize()
        .config_override(Builder::new().timeout_config(timeouts.for_upload(len)))
        .send()
        .await
        .explained(call)?;
    Ok(())
}

pub(super) async fn delete_objects(s3: &Client, request: DeleteObjects) -> Answer<DeleteObjects> {
    let call = DeleteObjects::NAME;
    for keys in request.keys.chunks(MOST_KEYS) {
        let objects = keys
            .iter()
            .map(|key| ObjectIdentifier::builder().key(key).build())
            .collect::<Result<_, _>>();
        let delete = objects.and_then(|objects| {
            Delete::builder()
                .set_objects(Some(objects))
                .quiet(true)
                .build()
        });
        let output = s3
            .delete_objects()
            .bucket(&request.bucket)
            .delete(delete.map_err(|error| super::incomplete(call, &error))?)
            .send()
            .await
            .explained(call)?;
        if let Some(refused) = output.errors.unwrap_or_default().into_iter().next() {
            return Err(super::unsuccessful(call, refused.code, refused.message));
        }
    }
    Ok(())
}

plain!(Client, delete_bucket(request: DeleteBucket) {
    bucket: request.bucket,
});
