//! The image that nodes start from: a small disk with an EFI loader.

use std::collections::BTreeSet;

use super::{Context, Kind, Resource, gone_is_fine, part_of};
use crate::api::{
    DeleteSnapshot, DeregisterImage, DescribeImages, DescribeSnapshots, Filter, Id, Image,
};
use crate::engine::{Event, Fields, Ids, Observed, Part, State};
use crate::error::Result;
use crate::loader::ami::{CONTENT_TAG, Progress, Upload, content};

/// An image of ours as it shall be, by content. Another content is another
/// image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoaderImage {
    /// The raw disk.
    pub disk: std::sync::Arc<[u8]>,
    /// SHA-256 of the disk in hex.
    pub sha256: String,
    /// Size of the volume in GiB.
    pub size_gib: u32,
}

impl Resource for LoaderImage {
    const KIND: Kind = Kind::LoaderImage;
    const FIXED: &'static [&'static str] = &["content"];

    fn needs(&self) -> Vec<Part> {
        Vec::new()
    }

    fn fields(&self, _: &Ids, _: &Context) -> Fields {
        [("content", content(self).into())].into()
    }

    /// Images, and snapshots that no image uses: those are what is left of an
    /// upload or a deletion that was stopped.
    async fn observe(context: &Context) -> Result<Vec<Observed>> {
        let images = images(context, context.ours()).await?;
        let filters = context.ours();
        let snapshots = context.caller.send(DescribeSnapshots { filters }).await?;
        let used: BTreeSet<&Id> = images.iter().flat_map(|image| &image.snapshots).collect();
        let stray = snapshots
            .into_iter()
            .filter(|snapshot| !used.contains(&snapshot.id))
            .map(|snapshot| {
                let why = format!("a snapshot without an image ({})", snapshot.state);
                observed(snapshot.id, State::Failed(why), snapshot.tags)
            });
        let stray: Vec<_> = stray.collect();
        let images = images.into_iter().filter_map(|image| {
            let state = match image.state.as_str() {
                "available" => State::Ready,
                "pending" => State::Pending,
                "deregistered" => return None,
                other => State::Failed(other.to_owned()),
            };
            Some(observed(image.id, state, image.tags))
        });
        Ok(images.chain(stray).collect())
    }

    async fn create(&self, context: &Context, part: &Part, _: &Ids, token: &str) -> Result<Id> {
        // Another content is another snapshot, while the part is the same.
        let token = format!("{token}-{:.12}", self.sha256);
        let upload = Upload {
            context,
            part,
            image: self,
            token: &token,
        };
        let tell = |progress: Progress| {
            let (what, seen) = (part.as_str(), progress.to_string());
            let seen = seen.as_str();
            context.caller.tell(&Event::Waiting { what, seen });
        };
        upload.run(&tell).await
    }

    /// There is nothing about an image that can be changed.
    async fn change(
        &self,
        _: &Context,
        _: &Observed,
        _: &BTreeSet<&'static str>,
        _: &Ids,
    ) -> Result<()> {
        Ok(())
    }

    async fn delete(context: &Context, observed: &Observed) -> Result<()> {
        let id = &observed.id;
        if id.starts_with("snap-") {
            return delete_snapshot(context, id, None).await;
        }
        let filters = vec![Filter::new("image-id", id)];
        let found = images(context, filters).await?;
        let image = id.clone();
        gone_is_fine(context.caller.send(DeregisterImage { image }).await)?;
        for snapshot in found.into_iter().flat_map(|image| image.snapshots) {
            delete_snapshot(context, &snapshot, Some(id)).await?;
        }
        Ok(())
    }
}

fn observed(id: Id, state: State, tags: crate::api::Tags) -> Observed {
    let content = tags.get(CONTENT_TAG).map_or("unknown", String::as_str);
    Observed {
        kind: Kind::LoaderImage,
        part: part_of(&tags),
        id,
        state,
        fields: [("content", content.into())].into(),
        tags,
    }
}

/// Images of this account.
async fn images(context: &Context, filters: Vec<Filter>) -> Result<Vec<Image>> {
    let owner = "self".to_owned();
    let request = DescribeImages { owner, filters };
    Ok(context.caller.send(request).await?)
}

/// Deletes a snapshot, unless an image uses it: one that was a stray when it
/// was looked at may have become the next image's. `freed` is an image that
/// used it, which AWS may still show.
async fn delete_snapshot(context: &Context, id: &Id, freed: Option<&Id>) -> Result<()> {
    // Asked for first: a delete that is refused for it is tried for minutes.
    let filters = vec![Filter::new("block-device-mapping.snapshot-id", id)];
    let users = images(context, filters).await?;
    if users.iter().any(|image| Some(&image.id) != freed) {
        return Ok(());
    }
    let snapshot = id.clone();
    gone_is_fine(context.caller.send(DeleteSnapshot { snapshot }).await)
}
