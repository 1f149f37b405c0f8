//! Tells when something under the data folder changed.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::path::{Path, PathBuf};
use std::task::{Poll, Waker};

use embassy_futures::select::select;
use embassy_time::{Duration, Timer};

use crate::Reactor;

/// The folders that the catalog is built from. Assets are read when they are
/// asked for, and may be many.
const WATCHED: [&str; 5] = ["groups", "profiles", "ignition", "cloud", "generic"];

/// Quiet time after a change: an editor or `git pull` writes many files.
#[cfg(target_os = "linux")]
const SETTLE: Duration = Duration::from_millis(200);

/// Longest wait for that, should something write all the time.
#[cfg(target_os = "linux")]
const SETTLE_AT_MOST: Duration = Duration::from_secs(2);

/// How often folders are looked at where the kernel does not tell.
const LOOK_EVERY: Duration = Duration::from_secs(2);

/// How deep folders are followed, should links make a circle.
const MAX_DEPTH: u32 = 8;

pub(crate) struct Watch {
    root: PathBuf,
    number: Cell<u32>,
    waiting: RefCell<Vec<Waker>>,
    how: How,
}

enum How {
    #[cfg(target_os = "linux")]
    Told(inotify::Inotify),
    /// What the folders looked like when the caller last read them.
    Looking { snapshot: Cell<u64> },
}

impl Watch {
    pub(crate) fn new(root: &Path, reactor: &Reactor) -> Self {
        Self {
            root: root.into(),
            number: Cell::new(1),
            waiting: RefCell::default(),
            how: How::best(root, reactor),
        }
    }

    /// See [`ichor_hal::Files::changed`].
    pub(crate) async fn changed(&self, seen: u32) -> u32 {
        if seen != 0 {
            // Several tasks may wait: whoever sees the change tells the rest.
            select(self.number_other_than(seen), self.notice()).await;
        }
        self.number.get()
    }

    async fn number_other_than(&self, seen: u32) {
        poll_fn(|cx| {
            if self.number.get() != seen {
                return Poll::Ready(());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }

    async fn notice(&self) {
        match &self.how {
            #[cfg(target_os = "linux")]
            How::Told(inotify) => inotify.change(&self.root).await,
            How::Looking { snapshot } => loop {
                Timer::after(LOOK_EVERY).await;
                let now = look(&self.root);
                if snapshot.replace(now) != now {
                    break;
                }
            },
        }
        self.count();
    }

    fn count(&self) {
        // 0 means "never looked" to callers.
        self.number
            .set(self.number.get().checked_add(1).unwrap_or(1));
        self.waiting.borrow_mut().drain(..).for_each(Waker::wake);
    }
}

impl How {
    #[cfg(target_os = "linux")]
    fn best(root: &Path, reactor: &Reactor) -> Self {
        inotify::Inotify::new(root, reactor).map_or_else(
            |error| {
                log::warn!(
                    "cannot watch {} ({error}): looking for changes every {} s instead",
                    root.display(),
                    LOOK_EVERY.as_secs()
                );
                Self::looking(root)
            },
            Self::Told,
        )
    }

    #[cfg(not(target_os = "linux"))]
    fn best(root: &Path, _reactor: &Reactor) -> Self {
        Self::looking(root)
    }

    fn looking(root: &Path) -> Self {
        Self::Looking {
            snapshot: Cell::new(look(root)),
        }
    }
}

/// Calls `each` for every folder below the watched ones, and themselves.
fn each_folder(root: &Path, each: &mut dyn FnMut(&Path)) {
    fn descend(folder: &Path, depth: u32, each: &mut dyn FnMut(&Path)) {
        let Ok(entries) = std::fs::read_dir(folder) else {
            return;
        };
        each(folder);
        if depth < MAX_DEPTH {
            for path in entries.flatten().map(|entry| entry.path()) {
                if path.is_dir() {
                    descend(&path, depth + 1, each);
                }
            }
        }
    }
    for name in WATCHED {
        descend(&root.join(name), 0, each);
    }
}

/// A number that differs when a watched file or folder changed.
fn look(root: &Path) -> u64 {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::os::unix::fs::MetadataExt;
    let mut sum = 0_u64;
    each_folder(root, &mut |folder| {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let mut hasher = DefaultHasher::new();
            entry.path().hash(&mut hasher);
            if let Ok(meta) = std::fs::metadata(entry.path()) {
                let state = (meta.mtime(), meta.mtime_nsec(), meta.ino(), meta.len());
                state.hash(&mut hasher);
            }
            // The order in which a folder lists its entries does not count.
            sum = sum.wrapping_add(hasher.finish());
        }
    });
    sum
}

#[cfg(target_os = "linux")]
mod inotify {
    use std::io;
    use std::path::Path;

    use embassy_futures::select::{Either, select};
    use embassy_time::Timer;
    use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
    use rustix::io::Errno;

    use super::{SETTLE, SETTLE_AT_MOST, each_folder};
    use crate::{Reactor, Source};

    pub(super) struct Inotify {
        events: Source,
    }

    impl Inotify {
        pub(super) fn new(root: &Path, reactor: &Reactor) -> io::Result<Self> {
            let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            let inotify = Self {
                events: reactor.register(fd)?,
            };
            inotify.watch(root)?;
            Ok(inotify)
        }

        /// Watches every folder that is there now; those that are watched
        /// already stay so.
        fn watch(&self, root: &Path) -> io::Result<()> {
            let folders = WatchFlags::ONLYDIR
                | WatchFlags::CREATE
                | WatchFlags::DELETE
                | WatchFlags::MOVED_FROM
                | WatchFlags::MOVED_TO;
            let content = folders | WatchFlags::CLOSE_WRITE | WatchFlags::ATTRIB;
            inotify::add_watch(&self.events, root, folders)?;
            let mut result = Ok(());
            each_folder(root, &mut |folder| {
                match inotify::add_watch(&self.events, folder, content) {
                    // Removed in the meantime.
                    Ok(_) | Err(Errno::NOENT | Errno::NOTDIR) => {}
                    Err(error) => result = Err(error.into()),
                }
            });
            result
        }

        /// Completes when something changed and then nothing did for a while.
        pub(super) async fn change(&self, root: &Path) {
            self.drained().await;
            let quiet = async {
                while let Either::First(()) = select(self.drained(), Timer::after(SETTLE)).await {}
            };
            select(quiet, Timer::after(SETTLE_AT_MOST)).await;
            // New folders; too many of them were warned about at the start.
            let _ = self.watch(root);
        }

        /// Completes when there were events, and takes them all. What they
        /// say does not matter: the catalog is read anew as a whole.
        async fn drained(&self) {
            let mut buffer = [0; 4096];
            while !matches!(rustix::io::read(&self.events, &mut buffer), Ok(1..)) {
                self.events.readable().await;
            }
            while matches!(rustix::io::read(&self.events, &mut buffer), Ok(1..)) {}
        }
    }
}
