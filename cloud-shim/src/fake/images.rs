//! Images, snapshots, and the EBS direct calls that write them.

use core::time::Duration;
use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::shelf::{maybe, one, resource};
use super::{Account, Answer, Event, Fake, Refusal, check, refuse};
use crate::api::*;

/// An image, whose it is, and how large its root is at least.
#[derive(Debug, Clone)]
pub(super) struct ImageState {
    pub(super) image: Image,
    owner: &'static str,
    pub(super) root_gib: u32,
}

/// A snapshot and what was written to it.
#[derive(Debug, Clone)]
pub(super) struct SnapshotState {
    snapshot: Snapshot,
    /// SHA-256 of each block.
    blocks: BTreeMap<u32, [u8; 32]>,
    sealed: bool,
    /// When something was last written.
    touched: Duration,
}

resource!(
    ImageState, "image", "ami-", "InvalidAMIID.NotFound", "image id",
    |it| it.image, |name| {
        "image-id" => one(&it.image.id),
        "name" => one(&it.image.name),
        "state" => one(&it.image.state),
        "architecture" => one(&it.image.architecture),
        "boot-mode" => maybe(it.image.boot_mode.as_ref()),
        "ena-support" => one(it.image.ena),
        "root-device-name" => one(&it.image.root_device),
        "root-device-type" => one("ebs"),
        "virtualization-type" => one("hvm"),
        "image-type" => one("machine"),
        "creation-date" => one(&it.image.created),
        "owner-id" => one(it.owner),
        "block-device-mapping.snapshot-id" => Some(it.image.snapshots.clone()),
    }
);

resource!(
    SnapshotState, "snapshot", "snap-", "InvalidSnapshot.NotFound", "snapshot",
    |it| it.snapshot, |name| {
        "snapshot-id" => one(&it.snapshot.id),
        "status" => one(&it.snapshot.state),
        "description" => one(&it.snapshot.description),
        "volume-size" => one(it.snapshot.size_gib),
        "owner-id" => one(Fake::ACCOUNT),
    }
);

/// Seconds from sealing until a snapshot is `completed`.
const COMPLETING: (u64, u64) = (10, 120);
/// Seconds until an image is `available`.
const REGISTERING: (u64, u64) = (2, 20);
/// After so long without a block a snapshot is given up.
const SNAPSHOT_TIMEOUT: Duration = Duration::from_secs(3600);
/// Blocks of [`BLOCK_SIZE`] in a GiB.
const BLOCKS_PER_GIB: u32 = 2048;

const AMAZON: &str = "137112412989";
const DEBIAN: &str = "136693071363";

/// Public images: owner, the name's start, root device, least root size in
/// GiB, and the public parameters that name the newest of them.
const PUBLIC_IMAGES: [(&str, &str, &str, u32, &[&str]); 3] = [
    (
        AMAZON,
        "al2023-ami-2023.9.20251110.1-kernel-6.12-arm64",
        "/dev/xvda",
        8,
        &[
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64",
            "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-6.12-arm64",
        ],
    ),
    (
        AMAZON,
        "al2023-ami-minimal-2023.9.20251110.1-kernel-6.12-arm64",
        "/dev/xvda",
        2,
        &[
            "/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-default-arm64",
            "/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-6.12-arm64",
        ],
    ),
    (
        DEBIAN,
        "debian-13-arm64-20251117-2299",
        "/dev/xvda",
        8,
        &["/aws/service/debian/release/13/latest/arm64"],
    ),
];

impl Account {
    /// The public images and the parameters that name them.
    pub(super) fn found_images(&mut self) {
        for (owner, name, root_device, root_gib, parameters) in PUBLIC_IMAGES {
            let image = Image {
                id: self.id("ami-"),
                name: name.to_owned(),
                state: "available".to_owned(),
                architecture: "arm64".to_owned(),
                boot_mode: Some("uefi".to_owned()),
                ena: true,
                root_device: root_device.to_owned(),
                snapshots: vec![self.id("snap-")],
                created: "2025-11-17T10:11:12.000Z".to_owned(),
                tags: Tags::new(),
            };
            for parameter in parameters {
                self.parameters
                    .insert((*parameter).to_owned(), image.id.clone());
            }
            let birth = self.birth();
            self.images.put(
                birth,
                ImageState {
                    image,
                    owner,
                    root_gib,
                },
            );
        }
    }

    pub(super) fn get_parameter(&mut self, c: GetParameter) -> Answer<String> {
        match self.parameters.get(&c.name) {
            Some(value) => Ok(value.clone()),
            None => refuse("ParameterNotFound", format!("no parameter {}", c.name)),
        }
    }

    // ---- Images

    pub(super) fn describe_images(&mut self, c: DescribeImages) -> Answer<Vec<Image>> {
        let images = self.images.list(&c.filters, self.now)?;
        let is_owner = |owner: &str| match c.owner.as_str() {
            "self" => owner == Fake::ACCOUNT,
            "amazon" => owner == AMAZON,
            number => owner == number,
        };
        Ok(images
            .into_iter()
            .filter(|it| is_owner(it.owner))
            .map(|it| it.image)
            .collect())
    }

    pub(super) fn register_image(&mut self, c: RegisterImage) -> Answer<Id> {
        if !check::is_text(&c.name, 3..=128, " ()[]./-'@_") {
            return refuse(
                "InvalidAMIName.Malformed",
                "AMI names must be between 3 and 128 characters long, and may contain letters, \
                 numbers, '(', ')', '.', '-', '/' and '_'",
            );
        }
        if c.description.chars().count() > 255 {
            return refuse(
                "InvalidParameterValue",
                "The description exceeds 255 characters",
            );
        }
        check::tags(&c.tags)?;
        let mine = |it: &&ImageState| it.owner == Fake::ACCOUNT && it.image.name == c.name;
        if let Some(other) = self.images.all().find(mine) {
            return refuse(
                "InvalidAMIName.Duplicate",
                format!(
                    "AMI name {} is already in use by AMI {}",
                    c.name, other.image.id
                ),
            );
        }
        let snapshot = &self.snapshots.get(&c.snapshot, self.now)?.snapshot;
        if snapshot.state != "completed" {
            // The code is not documented; the rule is that it must be complete.
            return refuse(
                "IncorrectState",
                format!(
                    "Snapshot {} is in invalid state - {}",
                    c.snapshot, snapshot.state
                ),
            );
        }
        if c.size_gib < snapshot.size_gib {
            return refuse(
                "InvalidBlockDeviceMapping",
                format!(
                    "Volume of size {}GB is smaller than snapshot '{}', expect size >= {}GB",
                    c.size_gib, c.snapshot, snapshot.size_gib
                ),
            );
        }
        let created = jiff::Timestamp::from_second(self.unix_time()).unwrap_or_default();
        let image = Image {
            id: self.id("ami-"),
            name: c.name,
            state: "pending".to_owned(),
            architecture: "arm64".to_owned(),
            boot_mode: Some("uefi".to_owned()),
            ena: true,
            root_device: "/dev/xvda".to_owned(),
            snapshots: vec![c.snapshot],
            created: created.strftime("%Y-%m-%dT%H:%M:%S.000Z").to_string(),
            tags: c.tags,
        };
        let id = image.id.clone();
        let birth = self.birth();
        let state = ImageState {
            image,
            owner: Fake::ACCOUNT,
            root_gib: c.size_gib,
        };
        self.images.put(birth, state);
        self.later(REGISTERING, Event::ImageReady(id.clone()));
        Ok(id)
    }

    pub(super) fn image_is_ready(&mut self, image: &str) {
        if let Some(it) = self.images.at_mut(image) {
            it.image.state = "available".to_owned();
        }
    }

    pub(super) fn deregister_image(&mut self, c: DeregisterImage) -> Answer<()> {
        let owner = self.image(&c.image)?.owner;
        if owner != Fake::ACCOUNT {
            return refuse(
                "AuthFailure",
                format!("Not authorized for images:[{}]", c.image),
            );
        }
        self.images.take(&c.image);
        self.former_images.insert(c.image);
        Ok(())
    }

    /// The image, or why there is none.
    pub(super) fn image(&self, image: &str) -> Answer<&ImageState> {
        if self.former_images.contains(image) {
            return refuse(
                "InvalidAMIID.Unavailable",
                format!("The image ID '{image}' is no longer available"),
            );
        }
        self.images.get(image, self.now)
    }

    // ---- Snapshots

    pub(super) fn describe_snapshots(&mut self, c: DescribeSnapshots) -> Answer<Vec<Snapshot>> {
        let snapshots = self.snapshots.list(&c.filters, self.now)?;
        Ok(snapshots.into_iter().map(|it| it.snapshot).collect())
    }

    pub(super) fn delete_snapshot(&mut self, c: DeleteSnapshot) -> Answer<()> {
        self.snapshots.get(&c.snapshot, self.now)?;
        if let Some(user) = self
            .images
            .all()
            .find(|it| it.image.snapshots.contains(&c.snapshot))
        {
            return refuse(
                "InvalidSnapshot.InUse",
                format!(
                    "The snapshot {} is currently in use by {}",
                    c.snapshot, user.image.id
                ),
            );
        }
        self.snapshots.take(&c.snapshot);
        Ok(())
    }

    pub(super) fn start_snapshot(&mut self, c: StartSnapshot) -> Answer<Id> {
        if !(1..=65_536).contains(&c.size_gib) || c.description.chars().count() > 255 {
            return invalid("the volume size is 1 to 65536 GiB, the description 255 characters");
        }
        if check::tags(&c.tags).is_err() {
            return invalid("the tags are not valid");
        }
        let snapshot = Snapshot {
            id: self.id("snap-"),
            state: "pending".to_owned(),
            size_gib: c.size_gib,
            description: c.description,
            tags: c.tags,
        };
        let id = snapshot.id.clone();
        let birth = self.birth();
        let blocks = BTreeMap::new();
        let state = SnapshotState {
            snapshot,
            blocks,
            sealed: false,
            touched: self.now,
        };
        self.snapshots.put(birth, state);
        self.at(
            self.now + SNAPSHOT_TIMEOUT,
            Event::SnapshotTimeout(id.clone()),
        );
        Ok(id)
    }

    pub(super) fn put_block(&mut self, c: PutSnapshotBlock) -> Answer<()> {
        let now = self.now;
        let state = self.open_snapshot(&c.snapshot)?;
        if c.data.len() != BLOCK_SIZE {
            return invalid(format!(
                "a block has {BLOCK_SIZE} bytes, not {}",
                c.data.len()
            ));
        }
        if c.index >= state.snapshot.size_gib * BLOCKS_PER_GIB {
            return invalid(format!("block {} lies outside the volume", c.index));
        }
        state.blocks.insert(c.index, Sha256::digest(&c.data).into());
        state.touched = now;
        Ok(())
    }

    pub(super) fn complete_snapshot(&mut self, c: CompleteSnapshot) -> Answer<()> {
        let state = self.open_snapshot(&c.snapshot)?;
        if state.blocks.len() != c.blocks as usize {
            return invalid(format!(
                "{} blocks were written, not {}",
                state.blocks.len(),
                c.blocks
            ));
        }
        let mut all = Sha256::new();
        for digest in state.blocks.values() {
            all.update(digest);
        }
        if <[u8; 32]>::from(all.finalize()) != c.checksum {
            return invalid("the checksum is not that of the blocks");
        }
        state.sealed = true;
        self.later(COMPLETING, Event::SnapshotReady(c.snapshot));
        Ok(())
    }

    /// A snapshot that blocks can be written to.
    fn open_snapshot(&mut self, snapshot: &str) -> Answer<&mut SnapshotState> {
        let Ok(state) = self.snapshots.get_mut(snapshot, self.now) else {
            return Err(Refusal::new(
                404,
                "ResourceNotFoundException",
                format!("The snapshot '{snapshot}' does not exist."),
            ));
        };
        if state.sealed || state.snapshot.state != "pending" {
            return invalid(format!("snapshot {snapshot} is not pending"));
        }
        Ok(state)
    }

    pub(super) fn snapshot_is_ready(&mut self, snapshot: &str) {
        if let Some(it) = self.snapshots.at_mut(snapshot) {
            it.snapshot.state = "completed".to_owned();
        }
    }

    /// Nothing was written for long: the snapshot is given up.
    pub(super) fn snapshot_times_out(&mut self, snapshot: &str) {
        let Some(it) = self.snapshots.at_mut(snapshot) else {
            return;
        };
        if it.sealed {
            return;
        }
        let due = it.touched + SNAPSHOT_TIMEOUT;
        if due > self.now {
            return self.at(due, Event::SnapshotTimeout(snapshot.to_owned()));
        }
        it.snapshot.state = "error".to_owned();
    }
}

fn invalid<T>(message: impl Into<String>) -> Answer<T> {
    refuse("ValidationException", message)
}
