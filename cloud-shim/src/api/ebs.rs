//! The EBS direct APIs: a snapshot is written block by block.

/// Bytes in a block: the only size that the API has.
pub const BLOCK_SIZE: usize = 512 * 1024;
