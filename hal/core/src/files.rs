//! Read-only files by range: how kernels, profiles and templates reach the stack.

use core::task::{Context, Poll};

/// A folder of read-only files.
///
/// Paths are relative to the data folder, use `/`, and were already cleaned
/// by the caller: no empty, `.` or `..` part, no NUL, no backslash. An
/// implementation must still never reach outside its folder (a symbolic link
/// that leaves it counts as [`FileError::NotFound`] unless the board's owner
/// allows it).
pub trait Files {
    /// An open file; dropping it closes it. It keeps showing the content that
    /// was there when it was opened, even if the name is replaced meanwhile.
    type File;

    /// Opens `path` for reading.
    async fn open(&self, path: &str) -> Result<(Self::File, Metadata), FileError>;

    /// Copies bytes from `offset` into `buf` and returns how many: fewer than
    /// asked when that is what is at hand, and 0 only at or past the end (or
    /// when `buf` is empty).
    ///
    /// A poll function, so that a caller can read straight into a socket's
    /// buffer. A board whose data is in memory or in the page cache always
    /// answers `Ready`; one that must wait for a card registers the waker.
    fn poll_read_at(
        &self,
        cx: &mut Context<'_>,
        file: &Self::File,
        offset: u64,
        buf: &mut [u8],
    ) -> Poll<Result<usize, FileError>>;

    /// Calls `each` for every entry of folder `path` (`""` is the data folder
    /// itself), in ascending byte order of the names. `each` returns `false`
    /// to stop early.
    async fn list(
        &self,
        path: &str,
        each: &mut dyn FnMut(Entry<'_>) -> bool,
    ) -> Result<(), FileError>;

    /// Completes when something under the data folder may have changed since
    /// `seen`, and returns the new change number. The first call, with 0,
    /// returns at once.
    async fn changed(&self, seen: u32) -> u32;
}

/// One name in a folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The name alone, without its folder.
    pub name: &'a str,
    /// Whether it is a folder itself.
    pub folder: bool,
}

/// What is known of an open file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Metadata {
    /// Length in bytes.
    pub len: u64,
    /// Changes whenever the content may have changed (modification time,
    /// inode and size mixed on Linux). The HTTP ETag is made from it.
    pub version: u64,
}

/// Why a file could not be opened or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FileError {
    /// No such file, or it is not a regular file.
    NotFound,
    /// The file is there, but the process may not read it.
    Denied,
    /// Too many files are open, or no memory for another: try again later.
    Busy,
    /// The medium failed.
    Io,
}

impl FileError {
    /// One phrase for logs and error bodies.
    pub const fn message(self) -> &'static str {
        match self {
            Self::NotFound => "file not found",
            Self::Denied => "permission denied",
            Self::Busy => "too many open files",
            Self::Io => "read error",
        }
    }
}

impl core::fmt::Display for FileError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.message())
    }
}

impl core::error::Error for FileError {}
