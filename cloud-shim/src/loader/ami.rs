//! The disk as an AMI: block by block into a snapshot, which is then registered.
//!
//! Both carry the disk's hash as a tag, set by the very call that makes them.
//! So whoever comes later, after any crash or beside another run, finds what
//! is there and goes on from it.

use core::fmt;
use core::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use sha2::{Digest as _, Sha256};

use super::{Block, blocks};
use crate::api::{
    ApiError, BLOCK_SIZE, CompleteSnapshot, DeleteSnapshot, DescribeImages, DescribeSnapshots,
    Fault, Filter, Id, Image, PutSnapshotBlock, RegisterImage, Snapshot, StartSnapshot, Tags,
};
use crate::engine::{Caller, Part, Waiting};
use crate::error::{Error, Result};
use crate::kinds::{Context, LoaderImage};

/// Tag with what an image or a snapshot holds: `sha256:…`.
pub const CONTENT_TAG: &str = "ichor:content";
/// Blocks on their way at a time: 4 MiB fill an uplink at home, and EBS takes
/// a thousand a second.
const AT_ONCE: usize = 8;
/// A snapshot of a few blocks is completed within seconds.
const COMPLETED_WITHIN: Duration = Duration::from_secs(600);
const AVAILABLE_WITHIN: Duration = Duration::from_secs(300);

/// How far an upload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Bytes that AWS has.
    pub done: u64,
    /// Of so many.
    pub of: u64,
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        let Self { done, of } = *self;
        write!(f, "{:.1} of {:.1} MiB written", mib(done), mib(of))
    }
}

/// A disk that shall be an AMI.
#[derive(Debug, Clone, Copy)]
pub struct Upload<'a> {
    /// The account, and the lab.
    pub context: &'a Context,
    /// Which part of the lab it is: the AMI's name and tags.
    pub part: &'a Part,
    /// The disk.
    pub image: &'a LoaderImage,
    /// Client token of a new snapshot.
    pub token: &'a str,
}

impl Upload<'_> {
    /// Gives the id of the AMI, which is available. What there is of it
    /// already is used.
    ///
    /// # Errors
    /// A call failed for good, or AWS did not finish in time.
    pub async fn run(&self, progress: &dyn Fn(Progress)) -> Result<Id> {
        let known = self.images(self.ours()).await?;
        let state = |state: &str| known.iter().find(|image| image.state == state);
        let image = match state("available").or_else(|| state("pending")) {
            Some(image) => image.id.clone(),
            None => {
                let snapshot = self.snapshot(progress).await?;
                self.register(snapshot).await?
            }
        };
        self.until_available(&image).await?;
        Ok(image)
    }

    fn caller(&self) -> &Caller {
        &self.context.caller
    }

    fn tags(&self) -> Tags {
        let mut tags = self.context.tags(self.part);
        tags.insert(CONTENT_TAG.to_owned(), content(self.image));
        tags
    }

    /// Passes what holds this disk and is of this lab.
    fn ours(&self) -> Vec<Filter> {
        let mut filters = self.context.ours();
        filters.push(Filter::tag(CONTENT_TAG, content(self.image)));
        filters
    }

    /// In words, for people who look at the account.
    fn description(&self) -> String {
        format!("Network loader of the ichor lab {}", self.context.lab)
    }

    async fn images(&self, filters: Vec<Filter>) -> Result<Vec<Image>> {
        let owner = "self".to_owned();
        let request = DescribeImages { owner, filters };
        Ok(self.caller().send(request).await?)
    }

    async fn snapshots(&self, filters: Vec<Filter>) -> Result<Vec<Snapshot>> {
        let request = DescribeSnapshots { filters };
        Ok(self.caller().send(request).await?)
    }

    /// A completed snapshot of the disk.
    ///
    /// One that an earlier run began is resumed and not begun anew. It carries
    /// the disk's hash, so each block in it is the one that would be written
    /// again; two runs at once do each other no harm; and nothing half-written
    /// stays behind.
    async fn snapshot(&self, progress: &dyn Fn(Progress)) -> Result<Id> {
        let known = self.snapshots(self.ours()).await?;
        let state = |state: &str| known.iter().find(|snapshot| snapshot.state == state);
        if let Some(completed) = state("completed") {
            return Ok(completed.id.clone());
        }
        let first = match state("pending") {
            Some(pending) => pending.id.clone(),
            None => self.start(self.token).await?,
        };
        if self.fill(&first, progress).await? {
            return Ok(first);
        }
        // Cancelled by EBS, which waits an hour for the next block; or deleted,
        // and only its client token is remembered.
        let request = DeleteSnapshot { snapshot: first };
        match self.caller().send(request).await {
            Err(error) if !error.is_not_found() => return Err(error.into()),
            _ => {}
        }
        let fresh = getrandom::u64()
            .map_err(|error| Error::refused(format!("no random numbers: {error}")))?;
        let second = self.start(&format!("{}-{fresh:016x}", self.token)).await?;
        if self.fill(&second, progress).await? {
            return Ok(second);
        }
        Err(Error::refused(format!(
            "snapshot {second} takes no blocks: delete it and try again"
        )))
    }

    async fn start(&self, token: &str) -> Result<Id> {
        let request = StartSnapshot {
            size_gib: self.image.size_gib,
            description: self.description(),
            token: token.to_owned(),
            tags: self.tags(),
        };
        Ok(self.caller().send(request).await?)
    }

    /// Writes and seals a snapshot, and waits until it is completed. `false`
    /// if it can never be: EBS takes no more for it, and it is not whole.
    async fn fill(&self, snapshot: &Id, progress: &dyn Fn(Progress)) -> Result<bool> {
        let written = match self.write(snapshot, progress).await {
            Ok(blocks) => self.seal(snapshot, blocks).await,
            Err(error) => Err(error),
        };
        let closed = match written {
            Ok(()) => false,
            // Somebody may have sealed it: an earlier run, another one, or the
            // call before this one, whose answer was lost.
            Err(error) if takes_no_more(&error) => true,
            Err(error) => return Err(error.into()),
        };
        let filters = [Filter::new("snapshot-id", snapshot)];
        let what = format!("snapshot {snapshot} to be completed");
        let look = async || {
            let found = self.snapshots(filters.to_vec()).await;
            // An id that is not there yet is an error here, and no empty list.
            let found = match found {
                Err(Error::Api(error)) if error.is_not_found() => Vec::new(),
                found => found?,
            };
            Ok(match found.first().map(|found| found.state.as_str()) {
                Some("completed") => Waiting::Done(true),
                Some("pending") => Waiting::Not("pending".to_owned()),
                Some(_) => Waiting::Done(false),
                None if closed => Waiting::Done(false),
                None => Waiting::Not("not listed yet".to_owned()),
            })
        };
        self.caller().wait(&what, COMPLETED_WITHIN, look).await
    }

    /// Writes every block; gives how many and their checksum.
    async fn write(
        &self,
        snapshot: &Id,
        progress: &dyn Fn(Progress),
    ) -> Result<(u32, [u8; 32]), ApiError> {
        let disk = &*self.image.disk;
        let (mut count, mut checksum) = (0, Sha256::new());
        for block in blocks(disk) {
            count += 1;
            checksum.update(Sha256::digest(block.data));
        }
        let bytes = |blocks: u32| u64::from(blocks) * BLOCK_SIZE as u64;
        let (mut done, of) = (0, bytes(count));
        progress(Progress { done: 0, of });
        let put = |Block { index, data }| {
            self.caller().send(PutSnapshotBlock {
                snapshot: snapshot.clone(),
                index,
                data: data.to_vec(),
            })
        };
        let mut puts = stream::iter(blocks(disk).map(put)).buffer_unordered(AT_ONCE);
        while puts.try_next().await?.is_some() {
            done += 1;
            let done = bytes(done);
            progress(Progress { done, of });
        }
        Ok((count, checksum.finalize().into()))
    }

    async fn seal(
        &self,
        snapshot: &Id,
        (blocks, checksum): (u32, [u8; 32]),
    ) -> Result<(), ApiError> {
        let snapshot = snapshot.clone();
        let request = CompleteSnapshot {
            snapshot,
            blocks,
            checksum,
        };
        self.caller().send(request).await
    }

    async fn register(&self, snapshot: Id) -> Result<Id> {
        // Names are unique in an account, and so is what this one stands for.
        let name = format!("{}-{:.12}", self.context.name(self.part), self.image.sha256);
        let request = RegisterImage {
            name: name.clone(),
            description: self.description(),
            snapshot,
            size_gib: self.image.size_gib,
            tags: self.tags(),
        };
        let mut outcome = self.caller().send(request.clone()).await;
        if let Err(error) = &outcome
            && !matches!(error.fault, Fault::Service { status: 400..500 })
        {
            // It may have been done all the same. The name lets nobody do it twice.
            outcome = self.caller().send(request).await;
        }
        match outcome {
            // By that call, or by another run, so shortly ago that it was not listed.
            Err(error) if error.code == "InvalidAMIName.Duplicate" => self.named(&name).await,
            outcome => Ok(outcome?),
        }
    }

    /// The AMI that has this name, if it is ours.
    async fn named(&self, name: &str) -> Result<Id> {
        let what = format!("image {name} to be listed");
        let look = async || {
            let found = self.images(vec![Filter::new("name", name)]).await?;
            let Some(image) = found.into_iter().next() else {
                return Ok(Waiting::Not("not listed yet".to_owned()));
            };
            let ours = self.tags();
            if ours.iter().all(|tag| image.tags.get(tag.0) == Some(tag.1)) {
                return Ok(Waiting::Done(image.id));
            }
            let id = image.id;
            Err(Error::refused(format!(
                "an image named {name} is there, {id}, without this lab's tags: \
                 deregister it, or give the lab another name"
            )))
        };
        self.caller().wait(&what, AVAILABLE_WITHIN, look).await
    }

    async fn until_available(&self, image: &Id) -> Result<()> {
        let what = format!("image {image} to be available");
        let look = async || {
            let found = match self.images(vec![Filter::new("image-id", image)]).await {
                Err(Error::Api(error)) if error.is_not_found() => Vec::new(),
                found => found?,
            };
            match found.first().map(|found| found.state.as_str()) {
                Some("available") => Ok(Waiting::Done(())),
                Some("pending") => Ok(Waiting::Not("pending".to_owned())),
                Some(state) => Err(Error::refused(format!(
                    "image {image} is {state}: deregister it and try again"
                ))),
                None => Ok(Waiting::Not("not listed yet".to_owned())),
            }
        };
        self.caller().wait(&what, AVAILABLE_WITHIN, look).await
    }
}

/// What the tag says of a disk.
pub(crate) fn content(image: &LoaderImage) -> String {
    format!("sha256:{}", image.sha256)
}

/// Whether EBS says that it has no such snapshot in the making.
fn takes_no_more(error: &ApiError) -> bool {
    matches!(
        error.code.as_str(),
        "ValidationException" | "ResourceNotFoundException" | "ConflictException"
    )
}

#[cfg(test)]
mod tests;
