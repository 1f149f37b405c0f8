//! An in-memory fake of every trait in this crate, for tests on a host.
//!
//! There is no fake NIC here: `embassy_net_driver` is a trait of tokens, and a
//! test that needs one plugs the real `wire:` NIC into the virtual lab.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use crate::{
    Clock, Entropy, Entry, FileError, Files, LeaseLog, LogError, Metadata, Target, UpdateError,
    Updates, Watchdog,
};

/// Files in memory. Clones share their content.
#[derive(Debug, Clone, Default)]
pub struct FakeFiles {
    inner: Rc<FilesInner>,
}

#[derive(Debug, Default)]
struct FilesInner {
    files: RefCell<BTreeMap<String, Rc<[u8]>>>,
    version: Cell<u32>,
    waiting: RefCell<Vec<Waker>>,
    pending_reads: Cell<u32>,
    failing: RefCell<BTreeMap<String, FileError>>,
}

impl FakeFiles {
    /// An empty folder.
    pub fn new() -> Self {
        Self::default()
    }

    /// Creates or replaces a file; folders come by themselves.
    pub fn put(&self, path: &str, content: impl AsRef<[u8]>) -> &Self {
        self.inner
            .files
            .borrow_mut()
            .insert(path.to_owned(), content.as_ref().into());
        self.touched();
        self
    }

    /// What a file holds.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        let files = self.inner.files.borrow();
        files.get(path).map(|content| content.to_vec())
    }

    /// Removes a file.
    pub fn remove(&self, path: &str) {
        self.inner.files.borrow_mut().remove(path);
        self.touched();
    }

    /// Lets every later open of `path` fail.
    pub fn fail(&self, path: &str, error: FileError) {
        self.inner
            .failing
            .borrow_mut()
            .insert(path.to_owned(), error);
    }

    /// Lets the next `n` reads say `Pending` (and wake at once), as a board
    /// does whose card is slow.
    pub fn delay_reads(&self, n: u32) {
        self.inner.pending_reads.set(n);
    }

    fn touched(&self) {
        self.inner.version.set(self.inner.version.get() + 1);
        for waker in self.inner.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }
}

impl Files for FakeFiles {
    type File = Rc<[u8]>;

    async fn open(&self, path: &str) -> Result<(Self::File, Metadata), FileError> {
        if let Some(error) = self.inner.failing.borrow().get(path) {
            return Err(*error);
        }
        let file = self
            .inner
            .files
            .borrow()
            .get(path)
            .cloned()
            .ok_or(FileError::NotFound)?;
        let len = file.len() as u64;
        let version = file
            .iter()
            .fold(len, |h, b| h.wrapping_mul(31).wrapping_add(u64::from(*b)));
        Ok((file, Metadata { len, version }))
    }

    fn poll_read_at(
        &self,
        cx: &mut Context<'_>,
        file: &Self::File,
        offset: u64,
        buf: &mut [u8],
    ) -> Poll<Result<usize, FileError>> {
        let delay = self.inner.pending_reads.get();
        if delay > 0 {
            self.inner.pending_reads.set(delay - 1);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(file.len());
        let n = buf.len().min(file.len() - start);
        buf[..n].copy_from_slice(&file[start..start + n]);
        Poll::Ready(Ok(n))
    }

    async fn list(
        &self,
        path: &str,
        each: &mut dyn FnMut(Entry<'_>) -> bool,
    ) -> Result<(), FileError> {
        let prefix = if path.is_empty() {
            String::new()
        } else {
            format!("{path}/")
        };
        let mut names = BTreeMap::new();
        for key in self.inner.files.borrow().keys() {
            if let Some(rest) = key.strip_prefix(&prefix) {
                match rest.split_once('/') {
                    Some((folder, _)) => names.insert(folder.to_owned(), true),
                    None => names.insert(rest.to_owned(), false),
                };
            }
        }
        if names.is_empty() && !path.is_empty() {
            return Err(FileError::NotFound);
        }
        for (name, folder) in &names {
            if !each(Entry {
                name,
                folder: *folder,
            }) {
                break;
            }
        }
        Ok(())
    }

    async fn changed(&self, seen: u32) -> u32 {
        std::future::poll_fn(|cx| {
            let now = self.inner.version.get();
            if now != seen || seen == 0 {
                return Poll::Ready(now.max(1));
            }
            self.inner.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

/// A lease log in memory that remembers how far it was committed.
#[derive(Debug, Clone, Default)]
pub struct FakeLog {
    bytes: Vec<u8>,
    committed: usize,
    old: Option<Vec<u8>>,
    /// Lets the next operation fail with this error.
    pub fail_next: Option<LogError>,
    /// How many commits there were.
    pub commits: usize,
}

impl FakeLog {
    /// A log that already holds `bytes`, all committed.
    pub fn with(bytes: &[u8]) -> Self {
        Self {
            bytes: bytes.to_vec(),
            committed: bytes.len(),
            ..Self::default()
        }
    }

    /// What a power cut leaves that loses everything not committed except
    /// for `extra` bytes of it.
    pub fn after_power_cut(&self, extra: usize) -> Self {
        match &self.old {
            // The replacement was not finished: the old log is what counts.
            Some(old) => Self::with(old),
            None => Self::with(&self.bytes[..self.bytes.len().min(self.committed + extra)]),
        }
    }

    /// Everything in the log.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn check(&mut self) -> Result<(), LogError> {
        self.fail_next.take().map_or(Ok(()), Err)
    }
}

impl LeaseLog for FakeLog {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    async fn read(&mut self, offset: u64, buf: &mut [u8]) -> Result<usize, LogError> {
        self.check()?;
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.bytes.len());
        let n = buf.len().min(self.bytes.len() - start);
        buf[..n].copy_from_slice(&self.bytes[start..start + n]);
        Ok(n)
    }

    async fn truncate(&mut self, len: u64) -> Result<(), LogError> {
        self.check()?;
        self.bytes
            .truncate(usize::try_from(len).unwrap_or(usize::MAX));
        self.committed = self.committed.min(self.bytes.len());
        Ok(())
    }

    async fn append(&mut self, bytes: &[u8]) -> Result<(), LogError> {
        self.check()?;
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), LogError> {
        self.check()?;
        self.committed = self.bytes.len();
        self.commits += 1;
        Ok(())
    }

    async fn begin_rewrite(&mut self) -> Result<(), LogError> {
        self.check()?;
        let unfinished = std::mem::take(&mut self.bytes);
        self.old.get_or_insert(unfinished);
        Ok(())
    }

    async fn finish_rewrite(&mut self) -> Result<(), LogError> {
        self.check()?;
        self.old = None;
        self.committed = self.bytes.len();
        Ok(())
    }
}

/// Takes updates into memory, and is as strict about the order of calls and
/// about lengths as a board is. Clones share everything.
#[derive(Debug, Clone, Default)]
pub struct FakeUpdates {
    files: FakeFiles,
    inner: Rc<RefCell<UpdatesInner>>,
}

#[derive(Debug, Default)]
struct UpdatesInner {
    firmware: Vec<u8>,
    under_way: Option<Replacement>,
    failing: Option<(usize, UpdateError)>,
    aborts: usize,
}

#[derive(Debug)]
struct Replacement {
    /// None: the firmware.
    path: Option<String>,
    len: u64,
    bytes: Vec<u8>,
}

impl FakeUpdates {
    /// A board that runs `firmware`; files are replaced in `files`.
    pub fn new(firmware: &[u8], files: FakeFiles) -> Self {
        let inner = UpdatesInner {
            firmware: firmware.to_vec(),
            ..UpdatesInner::default()
        };
        Self {
            files,
            inner: Rc::new(RefCell::new(inner)),
        }
    }

    /// The program that would run after a restart.
    pub fn firmware(&self) -> Vec<u8> {
        self.inner.borrow().firmware.clone()
    }

    /// How many bytes came of a replacement that is under way.
    pub fn under_way(&self) -> Option<usize> {
        let inner = self.inner.borrow();
        inner.under_way.as_ref().map(|new| new.bytes.len())
    }

    /// How many replacements were aborted.
    pub fn aborts(&self) -> usize {
        self.inner.borrow().aborts
    }

    /// Lets the call after the next `n` fail; aborts never do.
    pub fn fail_after(&self, n: usize, error: UpdateError) {
        self.inner.borrow_mut().failing = Some((n, error));
    }
}

impl UpdatesInner {
    fn check(&mut self) -> Result<(), UpdateError> {
        match self.failing.take() {
            Some((0, error)) => Err(error),
            Some((n, error)) => {
                self.failing = Some((n - 1, error));
                Ok(())
            }
            None => Ok(()),
        }
    }
}

impl Updates for FakeUpdates {
    async fn begin(&mut self, target: Target<'_>, len: u64) -> Result<(), UpdateError> {
        let mut inner = self.inner.borrow_mut();
        inner.under_way = None;
        inner.check()?;
        let path = match target {
            Target::Firmware if len == 0 => return Err(UpdateError::BadLength),
            Target::Firmware => None,
            Target::File(path) => Some(path.to_owned()),
        };
        inner.under_way = Some(Replacement {
            path,
            len,
            bytes: Vec::new(),
        });
        Ok(())
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), UpdateError> {
        let mut inner = self.inner.borrow_mut();
        inner.check()?;
        let new = inner.under_way.as_mut().ok_or(UpdateError::BadLength)?;
        new.bytes.extend_from_slice(bytes);
        if new.bytes.len() as u64 > new.len {
            return Err(UpdateError::BadLength);
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), UpdateError> {
        let mut inner = self.inner.borrow_mut();
        inner.check()?;
        let new = inner.under_way.take().ok_or(UpdateError::BadLength)?;
        if new.bytes.len() as u64 != new.len {
            return Err(UpdateError::BadLength);
        }
        match new.path {
            None => inner.firmware = new.bytes,
            Some(path) => {
                self.files.put(&path, new.bytes);
            }
        }
        Ok(())
    }

    async fn abort(&mut self) {
        let mut inner = self.inner.borrow_mut();
        inner.under_way = None;
        inner.aborts += 1;
    }
}

/// Numbers from a fixed sequence (SplitMix64), so that a failing test repeats.
#[derive(Debug, Clone, Default)]
pub struct FakeEntropy(pub u64);

impl Entropy for FakeEntropy {
    fn seed(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

/// A clock that a test sets by hand. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct FakeClock(pub Rc<Cell<u64>>);

impl Clock for FakeClock {
    fn seconds(&self) -> u64 {
        self.0.get()
    }
}

/// Counts how often it was fed.
#[derive(Debug, Clone, Default)]
pub struct FakeWatchdog {
    /// Number of calls of `feed`.
    pub fed: usize,
}

impl Watchdog for FakeWatchdog {
    fn feed(&mut self) {
        self.fed += 1;
    }
}
