//! A FAT32 file system whose pages are kept in RAM.

use core::cell::{Cell, RefCell};
use core::future::poll_fn;
use core::task::{Context, Poll};

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::mutex::Mutex;
use embassy_sync::waitqueue::{MultiWakerRegistration, WakerRegistration};
use heapless::Vec;

use crate::cache::{Cache, PAGE, PAGE_BLOCKS};
use crate::fat::folder::{Found, Walk};
use crate::fat::{Geometry, Stop, Trail};
use crate::fill::{Fill, Step, Stream};
use crate::{BLOCK, Blocks, Card, MountError, Partition, Trouble};

/// Bytes of RAM without which there is no volume: two buffers, and pages
/// enough that those who use the volume at once do not push out each other's.
pub const MIN_MEMORY: usize = 1024 * 1024;
const MIN_PAGES: usize = 8;
/// Tasks that can wait for pages without being woken too often: every machine
/// that boots has one for TFTP or a few for HTTP.
const WAITING: usize = 64;
/// Pages that are asked for and not there yet.
const DEMANDS: usize = 32;
/// Different files that are open at once.
const OPEN: usize = 128;
/// Replaced files that somebody still reads.
const RETIRED: usize = 16;
/// Readers that are read ahead for at once.
const STREAMS: usize = 8;
/// Tasks that wait for changes of the data folder.
const WATCHERS: usize = 4;

/// A page that a reader waits for.
#[derive(Debug, Clone, Copy)]
struct Demand {
    page: u32,
    /// Why it will not come.
    failed: Option<Trouble>,
}

/// How full the cache is, and what went wrong, for consoles and status pages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Status {
    /// Bytes in the cache.
    pub cached: u64,
    /// Bytes that the cache can hold.
    pub capacity: u64,
    /// Whether everything is in RAM that fits.
    pub filled: bool,
    /// The last thing that went wrong with the card or the file system. It
    /// stays until a page was read from the card again.
    pub trouble: Option<Trouble>,
}

/// A FAT32 file system: its root is the data folder.
///
/// Reading never changes it; [`CardUpdates`](crate::CardUpdates) does.
pub struct Volume<'m, B> {
    card: &'m Card<B>,
    partition: Partition,
    pub(crate) geometry: Geometry,
    pub(crate) cache: RefCell<Cache<'m>>,
    /// What a page is read into. Who holds it may read or write the card; so
    /// no page comes into the cache with blocks that changed meanwhile.
    staging: Mutex<NoopRawMutex, &'m mut [u8; PAGE]>,
    /// Where an update is gathered, until there is someone to make updates.
    pub(crate) buffer: Cell<Option<&'m mut [u8; PAGE]>>,
    /// Held by who changes the file system.
    pub(crate) edit: Mutex<NoopRawMutex, ()>,
    demands: RefCell<Vec<Demand, DEMANDS>>,
    readers: RefCell<MultiWakerRegistration<WAITING>>,
    runner: RefCell<WakerRegistration>,
    pub(crate) streams: RefCell<Vec<Stream, STREAMS>>,
    /// First clusters of open files, and how often each is open.
    open: RefCell<Vec<(u32, u16), OPEN>>,
    /// First clusters of files to be freed when they are open no more.
    retired: RefCell<Vec<u32, RETIRED>>,
    changes: Cell<u32>,
    watchers: RefCell<MultiWakerRegistration<WATCHERS>>,
    trouble: Cell<Option<Trouble>>,
    filled: Cell<bool>,
    /// Free clusters gained (or lost) that the count on the card does not
    /// know yet.
    pub(crate) uncounted: Cell<i64>,
    /// Whether both tables were compared.
    pub(crate) mirrored: Cell<bool>,
}

impl<'m, B: Blocks> Volume<'m, B> {
    /// Mounts the file system of a partition. `memory` is for the cache: as
    /// much as the board can spare.
    pub async fn mount(
        card: &'m Card<B>,
        partition: Partition,
        memory: &'m mut [u8],
    ) -> Result<Self, MountError> {
        if memory.len() < MIN_MEMORY {
            return Err(MountError::TooLittleMemory);
        }
        let mut first = [0; BLOCK];
        let read = card.read(partition, 0, &mut first).await;
        read.map_err(MountError::Card)?;
        let geometry = Geometry::parse(&first, partition)?;
        let Some((staging, memory)) = memory.split_first_chunk_mut::<PAGE>() else {
            return Err(MountError::TooLittleMemory);
        };
        let Some((buffer, memory)) = memory.split_first_chunk_mut::<PAGE>() else {
            return Err(MountError::TooLittleMemory);
        };
        let cache = Cache::new(memory, MIN_PAGES).ok_or(MountError::TooLittleMemory)?;
        let volume = Self {
            card,
            partition,
            geometry,
            cache: RefCell::new(cache),
            staging: Mutex::new(staging),
            buffer: Cell::new(Some(buffer)),
            edit: Mutex::new(()),
            demands: RefCell::new(Vec::new()),
            readers: RefCell::new(MultiWakerRegistration::new()),
            runner: RefCell::new(WakerRegistration::new()),
            streams: RefCell::new(Vec::new()),
            open: RefCell::new(Vec::new()),
            retired: RefCell::new(Vec::new()),
            changes: Cell::new(1),
            watchers: RefCell::new(MultiWakerRegistration::new()),
            trouble: Cell::new(None),
            filled: Cell::new(false),
            uncounted: Cell::new(0),
            mirrored: Cell::new(false),
        };
        // A root folder that cannot be read is told now.
        let mut walk = Walk::new(&volume.geometry, 0);
        match volume.with(|g, cache| walk.next(g, cache)).await {
            Ok(_) => Ok(volume),
            Err(Trouble::Card(error)) => Err(MountError::Card(error)),
            Err(trouble) => Err(MountError::Damaged(trouble)),
        }
    }

    /// Answers demands for pages, and fills the cache when there are none. The
    /// board runs this beside its servers; without it reads of what is not in
    /// RAM never end.
    pub async fn run(&self) -> ! {
        let mut fill = Fill::new(&self.geometry);
        let mut seen = self.changes.get();
        loop {
            if let Some(page) = self.next_demand() {
                let fetched = self.fetch(page).await;
                self.answer(page, fetched.err());
                if fetched.is_ok() {
                    fill.resume();
                }
                continue;
            }
            if self.free_retired().await {
                continue;
            }
            if self.changes.get() != seen {
                seen = self.changes.get();
                fill = Fill::new(&self.geometry);
            }
            match fill.step(self) {
                Step::Fetch(page) => {
                    if self.fetch(page).await.is_err() {
                        fill.pause();
                    }
                    // Those who were woken come first.
                    embassy_futures::yield_now().await;
                }
                Step::Busy => embassy_futures::yield_now().await,
                Step::Idle => {
                    self.filled.set(fill.is_done());
                    poll_fn(|cx| self.poll_work(cx, seen)).await;
                }
            }
        }
    }

    /// How full the cache is, and what went wrong.
    pub fn status(&self) -> Status {
        let cache = self.cache.borrow();
        Status {
            cached: u64::from(cache.used()) * PAGE as u64,
            capacity: u64::from(cache.slots()) * PAGE as u64,
            filled: self.filled.get(),
            trouble: self.trouble.get(),
        }
    }

    fn poll_work(&self, cx: &mut Context<'_>, seen: u32) -> Poll<()> {
        self.runner.borrow_mut().register(cx.waker());
        let work = self.waits_for_page()
            || self.changes.get() != seen
            || !self.streams.borrow().is_empty()
            || self.next_retired().is_some();
        if work { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Does something with cached pages, reading those that are missing.
    /// `each` is called again after every page and must go on where it was.
    pub(crate) async fn with<T>(
        &self,
        mut each: impl FnMut(&Geometry, &mut Cache<'m>) -> Result<T, Stop>,
    ) -> Result<T, Trouble> {
        loop {
            let result = each(&self.geometry, &mut self.cache.borrow_mut());
            match result {
                Ok(value) => return Ok(value),
                Err(Stop::Page(page)) => self.fetch(page).await?,
                Err(Stop::Trouble(trouble)) => return Err(self.note(trouble)),
            }
        }
    }

    /// Reads a page into the cache, unless it is there.
    async fn fetch(&self, page: u32) -> Result<(), Trouble> {
        let mut staging = self.staging.lock().await;
        if self.cache.borrow().contains(page) {
            return Ok(());
        }
        let first = page.saturating_mul(PAGE_BLOCKS);
        let blocks = self.partition.count.saturating_sub(first).min(PAGE_BLOCKS);
        if blocks == 0 {
            let what = "it is larger than its partition";
            return Err(self.note(Trouble::Damaged { what }));
        }
        let bytes = &mut staging[..blocks as usize * BLOCK];
        match self.card.read(self.partition, first, bytes).await {
            Ok(()) => {
                self.cache.borrow_mut().insert(page, bytes);
                self.trouble.set(None);
                Ok(())
            }
            Err(error) => Err(self.note(Trouble::Card(error))),
        }
    }

    /// Writes blocks to the card and into the cache.
    pub(crate) async fn write(&self, first: u32, bytes: &[u8]) -> Result<(), Trouble> {
        let _turn = self.staging.lock().await;
        match self.card.write(self.partition, first, bytes).await {
            Ok(()) => {
                self.cache.borrow_mut().patch(first, bytes);
                Ok(())
            }
            Err(error) => {
                let blocks = (bytes.len() / BLOCK) as u32;
                self.cache.borrow_mut().forget(first, blocks);
                Err(self.note(Trouble::Card(error)))
            }
        }
    }

    /// A file or folder by its name in a folder.
    pub(crate) async fn find(&self, folder: u32, name: &str) -> Result<Option<Found>, Trouble> {
        let mut walk = Walk::new(&self.geometry, folder);
        self.with(|geometry, cache| {
            loop {
                match walk.next(geometry, cache)? {
                    Some(found) if !found.is(name) => {}
                    result => return Ok(result),
                }
            }
        })
        .await
    }

    /// Remembers what went wrong for [`status`](Self::status).
    pub(crate) fn note(&self, trouble: Trouble) -> Trouble {
        if matches!(trouble, Trouble::Card(_) | Trouble::Damaged { .. }) {
            self.trouble.set(Some(trouble));
        }
        trouble
    }
}

/// What readers and the runner leave for each other.
impl<B> Volume<'_, B> {
    /// Asks for a page; the reader is woken when there is something new.
    /// An error is what became of an earlier demand.
    pub(crate) fn demand(&self, cx: &mut Context<'_>, page: u32) -> Result<(), Trouble> {
        let mut demands = self.demands.borrow_mut();
        match demands.iter().position(|demand| demand.page == page) {
            Some(at) => {
                if let Some(trouble) = demands[at].failed {
                    // Whoever else waits for it tries again.
                    demands.swap_remove(at);
                    return Err(trouble);
                }
            }
            // If there is no room, the next page that comes wakes the reader,
            // who asks again.
            None => {
                let demand = Demand { page, failed: None };
                if demands.push(demand).is_err() {
                    // What failed and nobody fetched makes room.
                    demands.retain(|demand| demand.failed.is_none());
                    let _ = demands.push(demand);
                }
            }
        }
        self.readers.borrow_mut().register(cx.waker());
        self.runner.borrow_mut().wake();
        Ok(())
    }

    fn next_demand(&self) -> Option<u32> {
        let demands = self.demands.borrow();
        let first = demands.iter().find(|demand| demand.failed.is_none());
        first.map(|demand| demand.page)
    }

    fn waits_for_page(&self) -> bool {
        self.next_demand().is_some()
    }

    fn answer(&self, page: u32, failed: Option<Trouble>) {
        let mut demands = self.demands.borrow_mut();
        if let Some(at) = demands.iter().position(|demand| demand.page == page) {
            // In the order in which they came.
            let demand = demands.remove(at);
            if failed.is_some() {
                let _ = demands.push(Demand { failed, ..demand });
            }
        }
        self.readers.borrow_mut().wake();
    }

    /// Reads ahead for a reader that had to wait.
    pub(crate) fn read_ahead(&self, trail: &Trail, offset: u32, len: u32) {
        let mut streams = self.streams.borrow_mut();
        if let Some(known) = streams.iter_mut().find(|s| s.is_of(trail.first())) {
            known.reach(offset, len, self.cache.borrow().is_full());
            return;
        }
        if streams.is_full() {
            streams.remove(0);
        }
        let stream = Stream::new(trail.clone(), offset, len, self.cache.borrow().is_full());
        let _ = streams.push(stream);
        self.runner.borrow_mut().wake();
    }

    /// Notes that a file is open. False if too many are.
    pub(crate) fn opened(&self, first: u32) -> bool {
        let mut open = self.open.borrow_mut();
        match open.iter_mut().find(|(cluster, _)| *cluster == first) {
            Some((_, count)) => {
                let more = count.checked_add(1);
                *count = more.unwrap_or(*count);
                more.is_some()
            }
            // An empty file has no clusters to keep.
            None => first == 0 || open.push((first, 1)).is_ok(),
        }
    }

    pub(crate) fn closed(&self, first: u32) {
        let mut open = self.open.borrow_mut();
        if let Some(at) = open.iter().position(|(cluster, _)| *cluster == first) {
            open[at].1 -= 1;
            if open[at].1 == 0 {
                open.swap_remove(at);
                self.runner.borrow_mut().wake();
            }
        }
    }

    fn is_open(&self, first: u32) -> bool {
        let open = self.open.borrow();
        open.iter().any(|(cluster, _)| *cluster == first)
    }

    /// Has a replaced file freed once nobody reads it any more.
    pub(crate) fn retire(&self, first: u32) {
        // More than there is room for are left to a file system check.
        let _ = self.retired.borrow_mut().push(first);
        self.runner.borrow_mut().wake();
    }

    /// A replaced file that nobody reads any more.
    pub(crate) fn next_retired(&self) -> Option<u32> {
        let retired = self.retired.borrow();
        retired.iter().copied().find(|first| !self.is_open(*first))
    }

    pub(crate) fn forget_retired(&self, first: u32) {
        self.retired.borrow_mut().retain(|other| *other != first);
    }

    /// Tells those who wait that the data folder changed.
    pub(crate) fn changed(&self) {
        // 0 is what callers start with.
        self.changes.set(self.changes.get().wrapping_add(1).max(1));
        self.filled.set(false);
        self.watchers.borrow_mut().wake();
        self.runner.borrow_mut().wake();
    }

    pub(crate) fn poll_changed(&self, cx: &mut Context<'_>, seen: u32) -> Poll<u32> {
        let now = self.changes.get();
        if now != seen {
            return Poll::Ready(now);
        }
        self.watchers.borrow_mut().register(cx.waker());
        Poll::Pending
    }
}
