//! The lease log as a file: `leases.log` in the state folder.

use std::fmt;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use ichor_hal::{LeaseLog, LogError};
use rustix::fs::{FlockOperation, flock};

const NAME: &str = "leases.log";
const NEW_NAME: &str = "leases.new";

/// Bytes that may wait for a commit that keeps failing.
const MAX_UNCOMMITTED: usize = 1024 * 1024;

/// How often an error that lasts is told, as the DHCP server tells what follows
/// from it.
const TELL_EVERY: Duration = Duration::from_secs(10);

/// An append-only file. What was committed survives the end of the process
/// and, with `sync`, of the machine.
///
/// A commit is one `write`. A replacement is written beside the log and
/// renamed over it, always synced, so that a power cut leaves one of the two
/// whole.
#[derive(Debug)]
pub struct LogFile {
    folder: PathBuf,
    /// The state folder, locked: a second instance must not write here.
    folder_lock: File,
    log: Appender,
    /// The log as it is on the medium while `log` is its replacement.
    old: Option<Appender>,
    sync: bool,
}

/// Why the lease log could not be opened. Displays what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenLogError {
    /// Another process keeps its leases there.
    InUse {
        /// The state folder.
        folder: PathBuf,
    },
    /// A system call failed.
    Io {
        /// What was being done.
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl fmt::Display for OpenLogError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::InUse { folder } => write!(
                f,
                "another ichor keeps its leases in {}: stop it or choose another state folder",
                folder.display()
            ),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
        }
    }
}

impl std::error::Error for OpenLogError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::InUse { .. } => None,
            Self::Io { source, .. } => Some(source),
        }
    }
}

impl LogFile {
    /// Opens the log in `folder`, which is made if it is not there. With
    /// `sync`, a commit returns only when the medium has the bytes.
    pub fn open(folder: impl AsRef<Path>, sync: bool) -> Result<Self, OpenLogError> {
        let folder = folder.as_ref();
        let failed = |doing: &'static str, path: &Path| {
            let doing = format!("{doing} {}", path.display());
            move |source| OpenLogError::Io { doing, source }
        };
        fs::create_dir_all(folder).map_err(failed("making the state folder", folder))?;
        let folder_lock = File::open(folder).map_err(failed("opening", folder))?;
        flock(&folder_lock, FlockOperation::NonBlockingLockExclusive).map_err(
            |errno| match errno {
                rustix::io::Errno::WOULDBLOCK => OpenLogError::InUse {
                    folder: folder.into(),
                },
                errno => failed("locking", folder)(errno.into()),
            },
        )?;
        // A replacement that was never finished counts for nothing.
        let _ = fs::remove_file(folder.join(NEW_NAME));
        let path = folder.join(NAME);
        let log = Appender::open(&path, false).map_err(failed("opening", &path))?;
        Ok(Self {
            folder: folder.into(),
            folder_lock,
            log,
            old: None,
            sync,
        })
    }

    fn replace(&mut self) -> Result<(), LogError> {
        self.log.write()?;
        self.log.file.sync_all().map_err(log_error)?;
        fs::rename(self.folder.join(NEW_NAME), self.folder.join(NAME)).map_err(log_error)?;
        self.folder_lock.sync_all().map_err(log_error)
    }
}

impl LeaseLog for LogFile {
    fn len(&self) -> u64 {
        self.log.len + self.log.uncommitted.len() as u64
    }

    async fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, LogError> {
        self.log.read(offset, buf)
    }

    async fn truncate(&mut self, len: u64) -> Result<(), LogError> {
        self.log.truncate(len)
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        if self.log.uncommitted.len() + bytes.len() > MAX_UNCOMMITTED && self.old.is_none() {
            self.log.write()?;
        }
        self.log.uncommitted.extend_from_slice(bytes);
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), LogError> {
        self.log.write()?;
        if self.sync {
            self.log.file.sync_data().map_err(log_error)?;
        }
        Ok(())
    }

    async fn begin_rewrite(&mut self) -> Result<(), LogError> {
        let new = Appender::open(&self.folder.join(NEW_NAME), true).map_err(log_error)?;
        let previous = std::mem::replace(&mut self.log, new);
        // A replacement begun twice starts over.
        self.old.get_or_insert(previous);
        Ok(())
    }

    /// If this fails, the old log stays the log, and what was appended since
    /// [`begin_rewrite`](Self::begin_rewrite) is forgotten.
    async fn finish_rewrite(&mut self) -> Result<(), LogError> {
        let Some(old) = self.old.take() else {
            return Ok(());
        };
        self.replace().inspect_err(|_| {
            self.log = old;
            let _ = fs::remove_file(self.folder.join(NEW_NAME));
        })
    }
}

/// A file and what is to be written at its end.
#[derive(Debug)]
struct Appender {
    file: File,
    len: u64,
    uncommitted: Vec<u8>,
}

impl Appender {
    fn open(path: &Path, empty: bool) -> io::Result<Self> {
        let file = File::options()
            .read(true)
            .append(true)
            .create(true)
            // Who may lease what is nobody else's business.
            .mode(0o600)
            .open(path)?;
        if empty {
            file.set_len(0)?;
        }
        Ok(Self {
            len: file.metadata()?.len(),
            file,
            uncommitted: Vec::with_capacity(4096),
        })
    }

    fn read(&self, offset: u64, buf: &mut [u8]) -> Result<usize, LogError> {
        if offset < self.len {
            return self.file.read_at(buf, offset).map_err(log_error);
        }
        let start = usize::try_from(offset - self.len).unwrap_or(usize::MAX);
        let rest = self.uncommitted.get(start..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn truncate(&mut self, len: u64) -> Result<(), LogError> {
        if len < self.len {
            self.file.set_len(len).map_err(log_error)?;
            self.len = len;
        }
        let keep = usize::try_from(len - self.len).unwrap_or(usize::MAX);
        self.uncommitted.truncate(keep);
        Ok(())
    }

    /// Writes what is uncommitted, in one go. If that fails the file is as
    /// before, and the bytes wait for the next attempt.
    fn write(&mut self) -> Result<(), LogError> {
        if self.uncommitted.is_empty() {
            return Ok(());
        }
        if let Err(error) = self.file.write_all(&self.uncommitted) {
            // Half a record may be there: take it back. If even this fails,
            // the reader finds the torn record by its checksum.
            let _ = self.file.set_len(self.len);
            return Err(log_error(error));
        }
        self.len += self.uncommitted.len() as u64;
        self.uncommitted.clear();
        Ok(())
    }
}

/// Tells of an error now and then, not for each client that comes while it lasts.
fn log_error(error: io::Error) -> LogError {
    use io::ErrorKind::{
        FileTooLarge, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    static TOLD: Mutex<Option<Instant>> = Mutex::new(None);
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    if told.is_none_or(|at| at.elapsed() >= TELL_EVERY) {
        log::error!("leases: {error}");
        *told = Some(Instant::now());
    }
    match error.kind() {
        StorageFull | QuotaExceeded | FileTooLarge => LogError::Full,
        PermissionDenied | ReadOnlyFilesystem => LogError::Denied,
        _ => LogError::Io,
    }
}
