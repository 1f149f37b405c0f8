//! What S3 takes and answers.

use std::path::PathBuf;

/// An object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// In bytes.
    pub len: u64,
    /// The SHA-256 in hex that [`PutObject`](super::PutObject) wrote with it.
    /// ListObjects leaves it out; HeadObject has it.
    pub sha256: Option<String>,
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// These bytes.
    Bytes(Vec<u8>),
    /// The content of this file, at most 5 GB.
    File(PathBuf),
}
