//! The data folder: files of a FAT32 volume, served from RAM.

use core::cell::RefCell;
use core::future::{pending, poll_fn};
use core::task::{Context, Poll};

use heapless::Vec;
use ichor_hal::{Entry, FileError, Files, Metadata};

use crate::cache::{PAGE, PAGE_BLOCKS};
use crate::fat::folder::{Found, Walk};
use crate::fat::name::Name;
use crate::fat::{Stop, Trail};
use crate::{BLOCK, Blocks, Trouble, Volume};

/// Names that are put in order at once. A folder with more is passed several
/// times, since nobody keeps a list of it.
const SORTED: usize = 32;

/// The files of a volume, or of none: then every path fails with
/// [`FileError::Io`] and the rest of the board works on.
pub struct CardFiles<'v, 'm, B> {
    volume: Option<&'v Volume<'m, B>>,
}

impl<'v, 'm, B: Blocks> CardFiles<'v, 'm, B> {
    /// The files of this volume.
    pub const fn new(volume: &'v Volume<'m, B>) -> Self {
        Self {
            volume: Some(volume),
        }
    }

    /// For a board whose card is missing or broken.
    pub const fn none() -> Self {
        Self { volume: None }
    }

    fn volume(&self) -> Result<&'v Volume<'m, B>, FileError> {
        self.volume.ok_or(FileError::Io)
    }
}

/// A file that is being read. What it holds stays on the card until it is
/// dropped, even if an update replaced it.
pub struct OpenFile<'v, 'm, B> {
    volume: &'v Volume<'m, B>,
    trail: RefCell<Trail>,
    first: u32,
    len: u32,
}

impl<B> Drop for OpenFile<'_, '_, B> {
    fn drop(&mut self) {
        self.volume.closed(self.first);
    }
}

impl<'v, 'm, B: Blocks> Files for CardFiles<'v, 'm, B> {
    type File = OpenFile<'v, 'm, B>;

    async fn open(&self, path: &str) -> Result<(Self::File, Metadata), FileError> {
        let volume = self.volume()?;
        // From here to `opened` nothing waits: an update cannot come between.
        let found = match resolve(volume, path).await? {
            Some(found) if !found.folder => found,
            _ => return Err(FileError::NotFound),
        };
        let clusters = volume.geometry.clusters_for(found.size);
        if clusters > volume.geometry.clusters {
            let what = "a file is larger than the card";
            volume.note(Trouble::Damaged { what });
            return Err(FileError::Io);
        }
        if !volume.opened(found.first) {
            return Err(FileError::Busy);
        }
        let file = OpenFile {
            volume,
            trail: RefCell::new(Trail::new(found.first)),
            first: found.first,
            len: found.size,
        };
        let metadata = Metadata {
            len: u64::from(found.size),
            version: version(&found),
        };
        Ok((file, metadata))
    }

    fn poll_read_at(
        &self,
        cx: &mut Context<'_>,
        file: &Self::File,
        offset: u64,
        buf: &mut [u8],
    ) -> Poll<Result<usize, FileError>> {
        let mut done = 0;
        while let Some(room) = buf.get_mut(done..).filter(|room| !room.is_empty()) {
            let at = offset.saturating_add(done as u64);
            let Some(at) = u32::try_from(at).ok().filter(|at| *at < file.len) else {
                break;
            };
            let page = match file.copy(at, room) {
                Ok(n) => {
                    done += n;
                    continue;
                }
                Err(Stop::Trouble(trouble)) if done == 0 => {
                    file.volume.note(trouble);
                    return Poll::Ready(Err(FileError::Io));
                }
                Err(Stop::Trouble(_)) => break,
                Err(Stop::Page(page)) => page,
            };
            // What is at hand is handed over while the rest is being read.
            let demanded = file.volume.demand(cx, page);
            file.volume.read_ahead(&file.trail.borrow(), at, file.len);
            match demanded {
                _ if done > 0 => break,
                Ok(()) => return Poll::Pending,
                Err(_) => return Poll::Ready(Err(FileError::Io)),
            }
        }
        Poll::Ready(Ok(done))
    }

    async fn list(
        &self,
        path: &str,
        each: &mut dyn FnMut(Entry<'_>) -> bool,
    ) -> Result<(), FileError> {
        let volume = self.volume()?;
        let folder = match path {
            "" => 0,
            path => match resolve(volume, path).await? {
                Some(found) if found.folder => found.first,
                _ => return Err(FileError::NotFound),
            },
        };
        let mut last: Option<Name> = None;
        loop {
            let batch = next_names(volume, folder, last.as_ref()).await?;
            for (name, folder) in &batch {
                let entry = Entry {
                    name,
                    folder: *folder,
                };
                if !each(entry) {
                    return Ok(());
                }
            }
            match batch.last() {
                Some((name, _)) if batch.is_full() => last = Some(name.clone()),
                _ => return Ok(()),
            }
        }
    }

    async fn changed(&self, seen: u32) -> u32 {
        match self.volume {
            Some(volume) => poll_fn(|cx| volume.poll_changed(cx, seen)).await,
            None if seen == 0 => 1,
            None => pending().await,
        }
    }
}

impl<B: Blocks> OpenFile<'_, '_, B> {
    /// Copies what is in one page from `at` on; it is before the end.
    fn copy(&self, at: u32, buf: &mut [u8]) -> Result<usize, Stop> {
        let geometry = &self.volume.geometry;
        let mut cache = self.volume.cache.borrow_mut();
        let len = geometry.cluster_len();
        let mut trail = self.trail.borrow_mut();
        let cluster = trail.cluster(geometry, &mut cache, at / len)?;
        let block = geometry.block_of(cluster) + at % len / BLOCK as u32;
        let page = block / PAGE_BLOCKS;
        let bytes = cache.get(page).ok_or(Stop::Page(page))?;
        let start = (block % PAGE_BLOCKS) as usize * BLOCK + at as usize % BLOCK;
        let in_cluster = (len - at % len).min(self.len - at) as usize;
        let n = buf.len().min(in_cluster).min(PAGE - start);
        buf[..n].copy_from_slice(&bytes[start..start + n]);
        Ok(n)
    }
}

/// A file or folder by its path.
async fn resolve<B: Blocks>(
    volume: &Volume<'_, B>,
    path: &str,
) -> Result<Option<Found>, FileError> {
    let mut found: Option<Found> = None;
    for part in path.split('/') {
        let folder = match &found {
            None => 0,
            Some(found) if found.folder => found.first,
            Some(_) => return Ok(None),
        };
        // `.` and `..` are in no walk, but a slip must not become a root.
        if matches!(part, "" | "." | "..") {
            return Ok(None);
        }
        found = volume.find(folder, part).await.map_err(file_error)?;
        if found.is_none() {
            return Ok(None);
        }
    }
    Ok(found)
}

/// The next names after `last`, in byte order, with whether each is a folder.
async fn next_names<B: Blocks>(
    volume: &Volume<'_, B>,
    folder: u32,
    last: Option<&Name>,
) -> Result<Vec<(Name, bool), SORTED>, FileError> {
    let mut walk = Walk::new(&volume.geometry, folder);
    let mut names: Vec<(Name, bool), SORTED> = Vec::new();
    let gathered = volume.with(|geometry, cache| {
        while let Some(found) = walk.next(geometry, cache)? {
            if last.is_some_and(|last| found.name <= *last) {
                continue;
            }
            let at = names.partition_point(|(name, _)| *name < found.name);
            if names.is_full() && at < SORTED {
                names.pop();
            }
            // The larger ones are for the next time.
            let _ = names.insert(at, (found.name, found.folder));
        }
        Ok(())
    });
    gathered.await.map_err(file_error)?;
    Ok(names)
}

fn file_error(_: Trouble) -> FileError {
    // The trouble itself is in the volume's status.
    FileError::Io
}

/// Changes whenever an update replaced the file or a computer wrote it.
fn version(found: &Found) -> u64 {
    let words = [found.first, found.size, found.changed];
    words.iter().fold(0xCBF2_9CE4_8422_2325, |hash, word| {
        (hash ^ u64::from(*word)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}
