//! A new kernel or file, written to free clusters and put in place by one write.
//!
//! What is replaced is freed after, once nobody reads it any more. The
//! firmware's own file is an ordinary one: before `kernel8.img` changes, what
//! it holds is copied to `kernel8.old`.

use heapless::String;
use ichor_hal::{Target, UpdateError, Updates};

use crate::cache::PAGE;
use crate::edit::Content;
use crate::fat::{Trail, block, name};
use crate::{BLOCK, Blocks, Trouble, Volume};

/// The program that the VideoCore starts, in the root folder.
const FIRMWARE: &str = "kernel8.img";
/// The one before it.
const FIRMWARE_OLD: &str = "kernel8.old";
/// Bytes of the longest path that can be replaced.
const MAX_PATH: usize = 255;

/// Updates of the files of a volume. There is one for each volume.
pub struct CardUpdates<'v, 'm, B> {
    place: Option<Place<'v, 'm, B>>,
    pending: Option<Pending>,
}

/// Where updates go, and the buffer in which their bytes are gathered.
struct Place<'v, 'm, B> {
    volume: &'v Volume<'m, B>,
    buffer: &'m mut [u8; PAGE],
}

/// A replacement that is being written.
#[derive(Debug)]
struct Pending {
    path: String<MAX_PATH>,
    keep_old: bool,
    content: Content,
    received: u32,
    out: Out,
}

/// The end of a chain that is being filled.
#[derive(Debug)]
struct Out {
    trail: Trail,
    /// Bytes that are on the card.
    written: u32,
}

impl<'v, 'm, B: Blocks> CardUpdates<'v, 'm, B> {
    /// Updates for a volume. A second one for the same volume refuses
    /// everything.
    pub fn new(volume: &'v Volume<'m, B>) -> Self {
        let buffer = volume.buffer.take();
        Self {
            place: buffer.map(|buffer| Place { volume, buffer }),
            pending: None,
        }
    }

    /// For a board whose card is missing or broken: refuses everything.
    pub const fn none() -> Self {
        Self {
            place: None,
            pending: None,
        }
    }
}

impl<B: Blocks> Updates for CardUpdates<'_, '_, B> {
    async fn begin(&mut self, target: Target<'_>, len: u64) -> Result<(), UpdateError> {
        self.abort().await;
        let place = self.place.as_mut().ok_or(UpdateError::Unsupported)?;
        let (path, keep_old) = match target {
            Target::Firmware => (FIRMWARE, true),
            Target::File(path) => (path, false),
        };
        let size = u32::try_from(len).map_err(|_| UpdateError::Full)?;
        let path = String::try_from(path).map_err(|_| UpdateError::BadPath)?;
        place.volume.check_path(&path).await.map_err(update_error)?;
        let _turn = place.volume.edit.lock().await;
        place.volume.mirror_table().await.map_err(update_error)?;
        let clusters = place.volume.geometry.clusters_for(size);
        let first = place.volume.allocate(clusters).await;
        let first = first.map_err(update_error)?;
        self.pending = Some(Pending {
            path,
            keep_old,
            content: Content { first, size },
            received: 0,
            out: Out::new(first),
        });
        Ok(())
    }

    async fn write(&mut self, mut bytes: &[u8]) -> Result<(), UpdateError> {
        let (Some(place), Some(pending)) = (&mut self.place, &mut self.pending) else {
            return Err(UpdateError::BadLength);
        };
        let left = (pending.content.size - pending.received) as usize;
        if bytes.len() > left {
            return Err(UpdateError::BadLength);
        }
        while !bytes.is_empty() {
            let start = (pending.received - pending.out.written) as usize;
            let n = bytes.len().min(PAGE - start);
            place.buffer[start..start + n].copy_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            pending.received += n as u32;
            if start + n == PAGE
                && let Err(trouble) = pending.out.write(place.volume, place.buffer).await
            {
                self.abort().await;
                return Err(update_error(trouble));
            }
        }
        Ok(())
    }

    async fn commit(&mut self) -> Result<(), UpdateError> {
        let (Some(place), Some(pending)) = (&mut self.place, &mut self.pending) else {
            return Err(UpdateError::BadLength);
        };
        if pending.received != pending.content.size {
            return Err(UpdateError::BadLength);
        }
        let rest = (pending.received - pending.out.written) as usize;
        let padded = rest.next_multiple_of(BLOCK);
        place.buffer[rest..padded].fill(0);
        let written = pending.out.write(place.volume, &place.buffer[..padded]);
        if let Err(trouble) = written.await {
            self.abort().await;
            return Err(update_error(trouble));
        }
        let turn = place.volume.edit.lock().await;
        let mut put = Ok(());
        if pending.keep_old {
            put = place.keep_old().await;
        }
        if put.is_ok() {
            put = place.put(&pending.path, pending.content).await;
        }
        drop(turn);
        if let Err(trouble) = put {
            // After a failed write nobody knows whether a name points to the
            // clusters already: they must not be given to another file.
            if matches!(trouble, Trouble::Card(_)) {
                self.pending = None;
            }
            self.abort().await;
            return Err(update_error(trouble));
        }
        self.pending = None;
        place.volume.changed();
        Ok(())
    }

    async fn abort(&mut self) {
        let (Some(place), Some(pending)) = (&mut self.place, self.pending.take()) else {
            return;
        };
        let _turn = place.volume.edit.lock().await;
        // What cannot be freed belongs to nobody and hurts nobody.
        if place.volume.free(pending.content.first).await.is_ok() {
            let _ = place.volume.count_free().await;
        }
    }
}

impl<B: Blocks> Place<'_, '_, B> {
    /// Puts content under a path, and gives up what was there.
    async fn put(&mut self, path: &str, content: Content) -> Result<(), Trouble> {
        let old = self.volume.replace(path, content, self.buffer).await?;
        // From here on it is done, whatever else fails.
        if old != 0 {
            self.volume.retire(old);
            if self.volume.next_retired() == Some(old) {
                self.volume.forget_retired(old);
                let _ = self.volume.free(old).await;
            }
        }
        let _ = self.volume.count_free().await;
        Ok(())
    }

    /// Copies the running program beside the new one.
    async fn keep_old(&mut self) -> Result<(), Trouble> {
        let volume = self.volume;
        let Some(found) = volume.find(0, FIRMWARE).await? else {
            return Ok(());
        };
        let clusters = volume.geometry.clusters_for(found.size);
        let content = Content {
            first: volume.allocate(clusters).await?,
            size: found.size,
        };
        let mut from = Trail::new(found.first);
        let mut to = Out::new(content.first);
        let copied = async {
            while to.written < found.size {
                let n = (found.size - to.written).min(PAGE as u32) as usize;
                let n = n.next_multiple_of(BLOCK);
                for (at, bytes) in self.buffer[..n].chunks_exact_mut(BLOCK).enumerate() {
                    let at = to.written + (at * BLOCK) as u32;
                    let len = volume.geometry.cluster_len();
                    let read = volume.with(|geometry, cache| {
                        let cluster = from.cluster(geometry, cache, at / len)?;
                        let number = geometry.block_of(cluster) + at % len / BLOCK as u32;
                        bytes.copy_from_slice(block(cache, number)?);
                        Ok(())
                    });
                    read.await?;
                }
                to.write(volume, &self.buffer[..n]).await?;
            }
            Ok(())
        };
        if let Err(trouble) = copied.await {
            volume.free(content.first).await?;
            return Err(trouble);
        }
        self.put(FIRMWARE_OLD, content).await
    }
}

impl Out {
    const fn new(first: u32) -> Self {
        Self {
            trail: Trail::new(first),
            written: 0,
        }
    }

    /// Writes whole blocks: a full page, or the last ones.
    async fn write<B: Blocks>(
        &mut self,
        volume: &Volume<'_, B>,
        mut bytes: &[u8],
    ) -> Result<(), Trouble> {
        let cluster_len = volume.geometry.cluster_len();
        while !bytes.is_empty() {
            let index = self.written / cluster_len;
            let whole = (bytes.len() as u32).div_ceil(cluster_len);
            // As many clusters at once as lie beside each other.
            let (first, count) = volume
                .with(|geometry, cache| {
                    let first = self.trail.cluster(geometry, cache, index)?;
                    let mut count = 1;
                    while count < whole
                        && self.trail.cluster(geometry, cache, index + count)? == first + count
                    {
                        count += 1;
                    }
                    Ok((first, count))
                })
                .await?;
            let n = bytes.len().min((count * cluster_len) as usize);
            let (now, later) = bytes.split_at(n);
            volume.write(volume.geometry.block_of(first), now).await?;
            self.written += n as u32;
            bytes = later;
        }
        Ok(())
    }
}

impl<B: Blocks> Volume<'_, B> {
    /// Whether a file can have this path.
    async fn check_path(&self, path: &str) -> Result<(), Trouble> {
        let mut folder = Some(0);
        let mut parts = path.split('/').peekable();
        while let Some(part) = parts.next() {
            if name::encode(part).is_none() {
                return Err(Trouble::BadName);
            }
            let found = match folder {
                Some(folder) => self.find(folder, part).await?,
                None => None,
            };
            let is_last = parts.peek().is_none();
            if found.as_ref().is_some_and(|found| found.folder == is_last) {
                return Err(Trouble::NotThatKind);
            }
            folder = found.map(|found| found.first);
        }
        Ok(())
    }
}

fn update_error(trouble: Trouble) -> UpdateError {
    match trouble {
        Trouble::Full => UpdateError::Full,
        Trouble::BadName | Trouble::NotThatKind => UpdateError::BadPath,
        // The trouble itself is in the volume's status.
        Trouble::Card(_) | Trouble::Damaged { .. } => UpdateError::Io,
    }
}
