//! The EBS direct APIs, which write a snapshot block by block.

use aws_sdk_ebs::Client;
use aws_sdk_ebs::config::Builder;
use aws_sdk_ebs::primitives::ByteStream;
use aws_sdk_ebs::types::{ChecksumAggregationMethod, ChecksumAlgorithm, Tag};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest as _, Sha256};

use super::{Answer, Explained as _, Timeouts, count, need};
use crate::api::*;

pub(super) async fn start_snapshot(ebs: &Client, request: StartSnapshot) -> Answer<StartSnapshot> {
    let call = StartSnapshot::NAME;
    let tags = request
        .tags
        .into_iter()
        .map(|(key, value)| Tag::builder().key(key).value(value).build())
        .collect();
    let output = ebs
        .start_snapshot()
        .volume_size(request.size_gib.into())
        .description(request.description)
        .client_token(request.token)
        .set_tags(Some(tags))
        .send()
        .await
        .explained(call)?;
    need!(call, output.snapshot_id)
}

pub(super) async fn put_snapshot_block(
    ebs: &Client,
    timeouts: Timeouts,
    request: PutSnapshotBlock,
) -> Answer<PutSnapshotBlock> {
    let len = request.data.len();
    ebs.put_snapshot_block()
        .snapshot_id(request.snapshot)
        .block_index(count(request.index))
        .data_length(i32::try_from(len).unwrap_or(i32::MAX))
        .checksum(BASE64_STANDARD.encode(Sha256::digest(&request.data)))
        .checksum_algorithm(ChecksumAlgorithm::ChecksumAlgorithmSha256)
        .block_data(ByteStream::from(request.data))
        .customize()
        .config_override(Builder::new().timeout_config(timeouts.for_upload(len as u64)))
        .send()
        .await
        .explained(PutSnapshotBlock::NAME)?;
    Ok(())
}

pub(super) async fn complete_snapshot(
    ebs: &Client,
    request: CompleteSnapshot,
) -> Answer<CompleteSnapshot> {
    ebs.complete_snapshot()
        .snapshot_id(request.snapshot)
        .changed_blocks_count(count(request.blocks))
        .checksum(BASE64_STANDARD.encode(request.checksum))
        .checksum_algorithm(ChecksumAlgorithm::ChecksumAlgorithmSha256)
        .checksum_aggregation_method(ChecksumAggregationMethod::ChecksumAggregationLinear)
        .send()
        .await
        .explained(CompleteSnapshot::NAME)?;
    Ok(())
}
