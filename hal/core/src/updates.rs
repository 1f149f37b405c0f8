//! Replacing the firmware and served files of a running board.

/// What is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// The board's own program (`kernel8.img`); the old one is kept beside it.
    Firmware,
    /// A file of the data folder, by a path as [`Files`](crate::Files) takes it.
    File(&'a str),
}

/// Where a new program or file is put, whole or not at all.
///
/// One replacement at a time: [`begin`](Self::begin) forgets one that was not
/// committed. Until [`commit`](Self::commit) everybody goes on seeing what was
/// there, also after a power cut.
///
/// The caller has checked who sends it, and checks what came before it
/// commits. It calls [`abort`](Self::abort) after any error and when the sender
/// is gone, but may also do neither: its task can end between any two calls.
pub trait Updates {
    /// Starts a replacement of `len` bytes; a file may have none. Folders on
    /// the way to it are made.
    async fn begin(&mut self, target: Target<'_>, len: u64) -> Result<(), UpdateError>;

    /// Takes the next bytes: whole pieces of 16 KiB but for the last one, and
    /// none at all for an empty file.
    async fn write(&mut self, bytes: &[u8]) -> Result<(), UpdateError>;

    /// Puts the replacement in its place, atomically and durably. All bytes
    /// must have come. From then on [`Files`](crate::Files) shows it, and tells
    /// of the change. After an error what was there is still there.
    async fn commit(&mut self) -> Result<(), UpdateError>;

    /// Forgets the replacement.
    async fn abort(&mut self);
}

/// What a board has that takes no updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoUpdates {}

impl Updates for NoUpdates {
    async fn begin(&mut self, _: Target<'_>, _: u64) -> Result<(), UpdateError> {
        match *self {}
    }

    async fn write(&mut self, _: &[u8]) -> Result<(), UpdateError> {
        match *self {}
    }

    async fn commit(&mut self) -> Result<(), UpdateError> {
        match *self {}
    }

    async fn abort(&mut self) {
        match *self {}
    }
}

/// Why nothing was replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum UpdateError {
    /// No room on the medium, or the program is larger than its place.
    Full,
    /// The path cannot be a file here.
    BadPath,
    /// More or fewer bytes came than were announced, or none were.
    BadLength,
    /// The medium failed or is absent.
    Io,
    /// This board does not take updates.
    Unsupported,
}

impl core::fmt::Display for UpdateError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "no room for it",
            Self::BadPath => "no file can have this path here",
            Self::BadLength => "its length is not the one announced",
            Self::Io => "cannot write to the medium",
            Self::Unsupported => "this board takes no updates",
        })
    }
}

impl core::error::Error for UpdateError {}
