//! Bytes appended to a log that outlives power loss: how leases survive.

/// One append-only log.
///
/// The stack writes framed, CRC-checked records and finds torn ones itself;
/// the board only keeps bytes in order. After a crash the log holds a prefix
/// of what was appended, at least up to the last [`commit`](Self::commit).
pub trait LeaseLog {
    /// Length of the log in bytes.
    fn len(&self) -> u64;

    /// Whether the log holds nothing yet.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads from `offset`; returns 0 only at the end.
    async fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, LogError>;

    /// Forgets everything past `len` (a torn record at the tail).
    async fn truncate(&mut self, len: u64) -> Result<(), LogError>;

    /// Adds bytes at the end. They may stay in memory until
    /// [`commit`](Self::commit).
    async fn append(&mut self, bytes: &[u8]) -> Result<(), LogError>;

    /// Returns when everything appended is as durable as the board promises:
    /// on Linux it survives the end of the process (and of the machine, where
    /// the owner asked for it), on a card it survives a power cut.
    async fn commit(&mut self) -> Result<(), LogError>;

    /// Starts a replacement: from here on `append` writes to a new, empty log
    /// while the old one stays as it is on the medium.
    async fn begin_rewrite(&mut self) -> Result<(), LogError>;

    /// Puts the replacement in the old log's place, atomically and durably.
    async fn finish_rewrite(&mut self) -> Result<(), LogError>;
}

/// Why the log could not be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum LogError {
    /// No room on the medium.
    Full,
    /// The process may not write there.
    Denied,
    /// The medium failed or is absent.
    Io,
}

impl core::fmt::Display for LogError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Full => "no space left for leases",
            Self::Denied => "permission denied",
            Self::Io => "cannot write leases",
        })
    }
}

impl core::error::Error for LogError {}
