//! What to read into the cache while nobody waits for anything.

use heapless::Vec;

use crate::Volume;
use crate::cache::{Cache, PAGE_BLOCKS};
use crate::fat::folder::Walk;
use crate::fat::{Geometry, Stop, Trail};

/// How far ahead of a reader is read when that costs others their pages.
const AHEAD: u32 = 2 * 1024 * 1024;
/// Clusters or entries that are passed in one step.
const STEP: usize = 1024;
/// How deep the folders are that are read in advance. `assets/talos/v1.7/`
/// has three; deeper ones are read on demand.
const DEPTH: usize = 6;

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Read this page.
    Fetch(u32),
    /// Ask again, after others had their turn.
    Busy,
    /// There is nothing to read.
    Idle,
}

/// A file that is being read from one offset to another.
#[derive(Debug, Clone)]
pub(crate) struct Stream {
    trail: Trail,
    next: u32,
    end: u32,
}

impl Stream {
    pub(crate) fn new(trail: Trail, offset: u32, len: u32, full: bool) -> Self {
        let mut stream = Self {
            trail,
            next: offset,
            end: offset,
        };
        stream.reach(offset, len, full);
        stream
    }

    pub(crate) const fn is_of(&self, first: u32) -> bool {
        self.trail.first() == first
    }

    /// A reader waits at `offset`: be ahead of it.
    pub(crate) fn reach(&mut self, offset: u32, len: u32, full: bool) {
        let end = if full {
            offset.saturating_add(AHEAD).min(len)
        } else {
            len
        };
        // Elsewhere than where this stream is or was: start anew.
        if offset > self.next || self.next - offset > AHEAD {
            self.next = offset;
        }
        self.end = end;
    }

    fn step(&mut self, geometry: &Geometry, cache: &mut Cache<'_>) -> Result<Step, Stop> {
        for _ in 0..STEP {
            if self.next >= self.end {
                return Ok(Step::Idle);
            }
            let len = geometry.cluster_len();
            let cluster = self.trail.cluster(geometry, cache, self.next / len)?;
            let block = geometry.block_of(cluster);
            let last = block + geometry.cluster_blocks - 1;
            for page in block / PAGE_BLOCKS..=last / PAGE_BLOCKS {
                if !cache.contains(page) {
                    return Err(Stop::Page(page));
                }
            }
            self.next = (self.next / len + 1).saturating_mul(len);
        }
        Ok(Step::Busy)
    }
}

/// The way through the whole data folder.
pub(crate) struct Fill {
    folders: Vec<Walk, DEPTH>,
    file: Option<Stream>,
    paused: bool,
}

impl Fill {
    pub(crate) fn new(geometry: &Geometry) -> Self {
        let mut folders = Vec::new();
        // There is room for one.
        let _ = folders.push(Walk::new(geometry, 0));
        Self {
            folders,
            file: None,
            paused: false,
        }
    }

    /// Waits until something could be read again.
    pub(crate) fn pause(&mut self) {
        self.paused = true;
    }

    pub(crate) fn resume(&mut self) {
        self.paused = false;
    }

    /// Whether everything was passed, or the cache is full.
    pub(crate) fn is_done(&self) -> bool {
        !self.paused
    }

    /// What to do next: first for those who read, then for those who will.
    pub(crate) fn step<B: crate::Blocks>(&mut self, volume: &Volume<'_, B>) -> Step {
        let mut cache = volume.cache.borrow_mut();
        let mut streams = volume.streams.borrow_mut();
        if self.paused {
            streams.clear();
            return Step::Idle;
        }
        while let Some(mut stream) = (!streams.is_empty()).then(|| streams.remove(0)) {
            match stream.step(&volume.geometry, &mut cache) {
                Ok(Step::Idle) => {}
                // Whoever reads it learns what is wrong.
                Err(Stop::Trouble(_)) => {}
                more => {
                    // Each in turn. There is room for the one taken out.
                    let _ = streams.push(stream);
                    return match more {
                        Err(Stop::Page(page)) => Step::Fetch(page),
                        _ => Step::Busy,
                    };
                }
            }
        }
        if cache.is_full() {
            return Step::Idle;
        }
        for _ in 0..STEP {
            match self.crawl(&volume.geometry, &mut cache) {
                Ok(Step::Busy) => {}
                Ok(step) => return step,
                Err(Stop::Page(page)) => return Step::Fetch(page),
                Err(Stop::Trouble(trouble)) => {
                    volume.note(trouble);
                    // The rest of that file or folder is lost, others are not.
                    if self.file.take().is_none() {
                        self.folders.pop();
                    }
                }
            }
        }
        Step::Busy
    }

    fn crawl(&mut self, geometry: &Geometry, cache: &mut Cache<'_>) -> Result<Step, Stop> {
        if let Some(file) = &mut self.file {
            if file.step(geometry, cache)? == Step::Idle {
                self.file = None;
            }
            return Ok(Step::Busy);
        }
        let Some(walk) = self.folders.last_mut() else {
            return Ok(Step::Idle);
        };
        match walk.next(geometry, cache)? {
            None => {
                self.folders.pop();
            }
            Some(found) if found.folder && found.first != 0 => {
                let _ = self.folders.push(Walk::new(geometry, found.first));
            }
            Some(found) if found.first != 0 => {
                self.file = Some(Stream::new(Trail::new(found.first), 0, found.size, false));
            }
            Some(_) => {}
        }
        Ok(Step::Busy)
    }
}
