//! Changes to a FAT32 file system, each so that a power cut leaves the old
//! state or the new one, and clusters that belong to nobody at worst.
//!
//! The order that gives this: chains are written before anything points to
//! them, one block of a folder makes them count, and what they replace is
//! freed after. No cluster ever belongs to two files.

mod entries;
mod table;

use crate::{Blocks, Trouble, Volume};

/// Where a file is put: its first cluster (0 if it is empty) and its length.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Content {
    pub(crate) first: u32,
    pub(crate) size: u32,
}

impl<B: Blocks> Volume<'_, B> {
    /// Lets `path` be the name of this content, and returns the first cluster
    /// of what it was the name of, 0 if of nothing. Folders are made as they
    /// are needed. `scratch` is overwritten.
    pub(crate) async fn replace(
        &self,
        path: &str,
        content: Content,
        scratch: &mut [u8],
    ) -> Result<u32, Trouble> {
        let (folders, name) = match path.rsplit_once('/') {
            Some((folders, name)) => (folders, name),
            None => ("", path),
        };
        let mut folder = 0;
        for part in folders.split('/').filter(|part| !part.is_empty()) {
            folder = match self.find(folder, part).await? {
                Some(found) if found.folder => found.first,
                Some(_) => return Err(Trouble::NotThatKind),
                None => self.make_folder(folder, part, scratch).await?,
            };
        }
        match self.find(folder, name).await? {
            Some(found) if found.folder => Err(Trouble::NotThatKind),
            Some(found) => {
                self.repoint(&found, content).await?;
                Ok(found.first)
            }
            None => {
                self.make_file(folder, name, content, scratch).await?;
                Ok(0)
            }
        }
    }

    /// Frees what nobody reads any more. False if there was nothing to do.
    pub(crate) async fn free_retired(&self) -> bool {
        let Some(first) = self.next_retired() else {
            return false;
        };
        let _turn = self.edit.lock().await;
        // Whatever comes of it, it is not tried again: what stays allocated
        // belongs to nobody and hurts nobody.
        self.forget_retired(first);
        if self.free(first).await.is_ok() {
            let _ = self.count_free().await;
        }
        true
    }
}
