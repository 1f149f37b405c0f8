//! The data folder: kernels, profiles and templates, read in place.

use std::cell::RefCell;
use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::task::{Context, Poll};

use ichor_hal::{Entry, FileError, Files, Metadata};
use rustix::fs::{Mode, OFlags};

use crate::Reactor;
use crate::open_file::OpenFile;
use crate::watch::Watch;

/// Links that are warned of, each once.
const MAX_WARNED: usize = 16;

/// What happens to a symbolic link that leaves the data folder. Links that
/// stay inside are always followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Symlinks {
    /// The file does not exist, as far as clients can tell.
    #[default]
    StayInside,
    /// It is followed: the owner keeps large files elsewhere.
    Follow,
}

/// Read-only files under one folder.
pub struct DataFolder {
    root: PathBuf,
    folder: OwnedFd,
    symlinks: Symlinks,
    /// Links that the owner was warned of.
    warned: RefCell<Vec<String>>,
    watch: Watch,
}

impl DataFolder {
    /// Opens a folder.
    pub fn open(root: impl AsRef<Path>, symlinks: Symlinks, reactor: &Reactor) -> io::Result<Self> {
        let root = root.as_ref().canonicalize()?;
        let folder = rustix::fs::open(
            &root,
            OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC,
            Mode::empty(),
        )?;
        Ok(Self {
            watch: Watch::new(&root, reactor),
            root,
            folder,
            symlinks,
            warned: RefCell::default(),
        })
    }

    /// The folder's path, without symbolic links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    fn open_beneath(&self, path: &str, flags: OFlags) -> Result<OwnedFd, FileError> {
        // The caller cleaned the path; a mistake there must not open /etc.
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err(FileError::NotFound);
        }
        // Opening a named pipe must not block.
        let flags = flags | OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let opened = match self.symlinks {
            Symlinks::Follow => rustix::fs::openat(&self.folder, path, flags, Mode::empty()),
            Symlinks::StayInside => self.open_inside(path, flags),
        };
        opened.map_err(|errno| {
            if errno == rustix::io::Errno::XDEV {
                self.warn_of_link(path);
            }
            file_error(errno)
        })
    }

    /// Once for each link, as long as they are few: clients ask again and again.
    fn warn_of_link(&self, path: &str) {
        let mut warned = self.warned.borrow_mut();
        if warned.len() >= MAX_WARNED || warned.iter().any(|known| known == path) {
            return;
        }
        warned.push(path.into());
        log::warn!(
            "{path} is a symbolic link that leaves {}: not served; put the file inside, \
             or set `follow-symlinks = true`",
            self.root.display()
        );
    }

    #[cfg(target_os = "linux")]
    fn open_inside(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        use rustix::fs::{ResolveFlags, openat2};
        let inside = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        match openat2(&self.folder, path, flags, Mode::empty(), inside) {
            // Linux before 5.6, or a sandbox that does not know the call.
            Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM) => {
                self.open_resolved(path, flags)
            }
            opened => opened,
        }
    }

    #[cfg(not(target_os = "linux"))]
    fn open_inside(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        self.open_resolved(path, flags)
    }

    /// Resolves links first and opens then. Somebody who can write to the
    /// data folder could swap a link in between; they could as well copy
    /// there what they want to have served.
    fn open_resolved(&self, path: &str, flags: OFlags) -> rustix::io::Result<OwnedFd> {
        let resolved = self
            .root
            .join(path)
            .canonicalize()
            .map_err(|error| errno_of(&error))?;
        if !resolved.starts_with(&self.root) {
            return Err(rustix::io::Errno::XDEV);
        }
        rustix::fs::open(&resolved, flags | OFlags::NOFOLLOW, Mode::empty())
    }
}

impl Files for DataFolder {
    type File = OpenFile;

    async fn open(&self, path: &str) -> Result<(OpenFile, Metadata), FileError> {
        let file = File::from(self.open_beneath(path, OFlags::empty())?);
        let meta = file.metadata().map_err(|error| io_error(&error))?;
        if !meta.is_file() {
            return Err(FileError::NotFound);
        }
        // Files are mostly sent from start to end: read ahead further.
        #[cfg(target_os = "linux")]
        let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Sequential);
        let metadata = Metadata {
            len: meta.len(),
            version: version(&meta),
        };
        Ok((OpenFile::new(file), metadata))
    }

    /// Reads from the page cache, or waits for the disk.
    fn poll_read_at(
        &self,
        _cx: &mut Context<'_>,
        file: &OpenFile,
        offset: u64,
        buf: &mut [u8],
    ) -> Poll<Result<usize, FileError>> {
        Poll::Ready(file.read_at(buf, offset).map_err(|error| io_error(&error)))
    }

    async fn list(
        &self,
        path: &str,
        each: &mut dyn FnMut(Entry<'_>) -> bool,
    ) -> Result<(), FileError> {
        let folder = if path.is_empty() {
            self.root.clone()
        } else {
            // Opening says whether the path stays inside; the listing itself
            // goes by name.
            self.open_beneath(path, OFlags::DIRECTORY)?;
            self.root.join(path)
        };
        let mut names = Vec::new();
        for entry in fs::read_dir(&folder).map_err(|error| io_error(&error))? {
            let entry = entry.map_err(|error| io_error(&error))?;
            // A name that is not UTF-8 cannot be asked for either.
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // `metadata` of the path follows links, as opening does.
            let folder = fs::metadata(entry.path()).is_ok_and(|meta| meta.is_dir());
            names.push((name, folder));
        }
        names.sort_unstable();
        for (name, folder) in &names {
            let entry = Entry {
                name,
                folder: *folder,
            };
            if !each(entry) {
                break;
            }
        }
        Ok(())
    }

    async fn changed(&self, seen: u32) -> u32 {
        self.watch.changed(seen).await
    }
}

/// Mixes what changes when content does: two different files of the same
/// name get the same number only by a 64-bit coincidence.
fn version(meta: &fs::Metadata) -> u64 {
    let parts = [
        meta.mtime().cast_unsigned(),
        meta.mtime_nsec().cast_unsigned(),
        meta.ino(),
        meta.dev(),
        meta.len(),
    ];
    parts.iter().fold(0, |hash: u64, part| {
        // The finalizer of SplitMix64.
        let z = (hash ^ part).wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    })
}

fn errno_of(error: &io::Error) -> rustix::io::Errno {
    error
        .raw_os_error()
        .map_or(rustix::io::Errno::IO, rustix::io::Errno::from_raw_os_error)
}

fn io_error(error: &io::Error) -> FileError {
    file_error(errno_of(error))
}

fn file_error(errno: rustix::io::Errno) -> FileError {
    use rustix::io::Errno;
    match errno {
        Errno::NOENT
        | Errno::NOTDIR
        | Errno::ISDIR
        | Errno::LOOP
        | Errno::XDEV
        | Errno::NAMETOOLONG
        | Errno::NXIO
        | Errno::INVAL => FileError::NotFound,
        Errno::ACCESS | Errno::PERM => FileError::Denied,
        Errno::MFILE | Errno::NFILE | Errno::NOMEM | Errno::AGAIN => FileError::Busy,
        _ => FileError::Io,
    }
}
