//! Folders: entries of 32 bytes, long names before the short ones they belong to.

use super::name::{self, Name, UNIT_PLACES, UNITS};
use super::{Geometry, Stop, block, damaged, u16_at, u32_at};
use crate::BLOCK;
use crate::cache::Cache;

/// Bytes of an entry.
pub(crate) const ENTRY: usize = 32;
/// Entries in a block.
pub(crate) const PER_BLOCK: u32 = (BLOCK / ENTRY) as u32;
/// Marks a free entry.
pub(crate) const FREE: u8 = 0xE5;
/// Attributes of an entry.
pub(crate) const LONG: u8 = 0x0F;
pub(crate) const FOLDER: u8 = 0x10;
pub(crate) const ARCHIVE: u8 = 0x20;
const VOLUME: u8 = 0x08;
/// Entries of the largest folder (specification, section 6.2: 2 MiB).
const MAX_ENTRIES: u32 = 65_536;

/// A file or folder that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Found {
    pub(crate) name: Name,
    pub(crate) short: [u8; 11],
    pub(crate) flags: u8,
    pub(crate) folder: bool,
    /// The first cluster, 0 for an empty file or the root folder.
    pub(crate) first: u32,
    pub(crate) size: u32,
    /// Date and time of the last change, as they are stored.
    pub(crate) changed: u32,
    /// The block of the short entry, and which entry it is there.
    pub(crate) place: (u32, u32),
}

impl Found {
    /// Whether it goes by this name, the long or the short one.
    pub(crate) fn is(&self, wanted: &str) -> bool {
        name::same(&self.name, wanted)
            || name::same(&name::display_short(&self.short, self.flags), wanted)
    }
}

/// One raw entry on the way through a folder.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Slot {
    pub(crate) bytes: [u8; ENTRY],
    pub(crate) block: u32,
    pub(crate) index: u32,
}

impl Slot {
    pub(crate) const fn is_end(&self) -> bool {
        self.bytes[0] == 0
    }

    pub(crate) const fn is_free(&self) -> bool {
        self.bytes[0] == FREE
    }
}

/// A way through the entries of a folder, block by block.
#[derive(Debug, Clone)]
pub(crate) struct Slots {
    cluster: u32,
    /// The next entry in the cluster.
    index: u32,
    passed: u32,
}

impl Slots {
    /// From the start of the folder that begins with this cluster (0 is the root).
    pub(crate) const fn new(geometry: &Geometry, first: u32) -> Self {
        Self {
            cluster: if first == 0 { geometry.root } else { first },
            index: 0,
            passed: 0,
        }
    }

    /// The cluster that is being looked at: at the end, the last one.
    pub(crate) const fn cluster(&self) -> u32 {
        self.cluster
    }

    /// The next entry, or `None` at the end of the folder's last cluster: the
    /// end mark is an entry like others. After [`Stop::Page`] it goes on where
    /// it stopped.
    pub(crate) fn next(
        &mut self,
        geometry: &Geometry,
        cache: &mut Cache<'_>,
    ) -> Result<Option<Slot>, Stop> {
        if !geometry.has(self.cluster) {
            return Err(damaged("a folder begins outside of it"));
        }
        if self.index == geometry.cluster_blocks * PER_BLOCK {
            // Also the way out of a chain that bites its tail.
            if self.passed >= MAX_ENTRIES {
                return Err(damaged("a folder has no end"));
            }
            let Some(next) = geometry.next(cache, self.cluster)? else {
                return Ok(None);
            };
            (self.cluster, self.index) = (next, 0);
        }
        let number = geometry.block_of(self.cluster) + self.index / PER_BLOCK;
        let index = self.index % PER_BLOCK;
        let (entries, _) = block(cache, number)?.as_chunks::<ENTRY>();
        let Some(bytes) = entries.get(index as usize).copied() else {
            return Ok(None);
        };
        self.index += 1;
        self.passed += 1;
        Ok(Some(Slot {
            bytes,
            block: number,
            index,
        }))
    }
}

/// A way through the files and folders of a folder.
#[derive(Debug, Clone)]
pub(crate) struct Walk {
    slots: Slots,
    long: Long,
}

impl Walk {
    /// From the start of the folder that begins with this cluster (0 is the root).
    pub(crate) const fn new(geometry: &Geometry, first: u32) -> Self {
        Self {
            slots: Slots::new(geometry, first),
            long: Long::NONE,
        }
    }

    /// The next file or folder, `None` at the end. After [`Stop::Page`] it
    /// goes on where it stopped.
    pub(crate) fn next(
        &mut self,
        geometry: &Geometry,
        cache: &mut Cache<'_>,
    ) -> Result<Option<Found>, Stop> {
        while let Some(slot) = self.slots.next(geometry, cache)? {
            if slot.is_end() {
                return Ok(None);
            }
            let attributes = slot.bytes[11];
            if slot.is_free() {
                self.long = Long::NONE;
            } else if attributes & LONG == LONG {
                self.long.add(&slot.bytes);
            } else if attributes & VOLUME != 0 || slot.bytes[0] == b'.' {
                // A label, `.` or `..`.
                self.long = Long::NONE;
            } else {
                return Ok(Some(self.found(&slot)));
            }
        }
        Ok(None)
    }

    fn found(&mut self, slot: &Slot) -> Found {
        let bytes = &slot.bytes;
        let mut short = [0; 11];
        short.copy_from_slice(&bytes[..11]);
        let long = core::mem::replace(&mut self.long, Long::NONE);
        Found {
            name: long
                .name(&short)
                .unwrap_or_else(|| name::display_short(&short, bytes[12])),
            short,
            flags: bytes[12],
            folder: bytes[11] & FOLDER != 0,
            first: first_cluster(bytes),
            size: u32_at(bytes, 28),
            changed: u32_at(bytes, 22),
            place: (slot.block, slot.index),
        }
    }
}

pub(crate) fn first_cluster(entry: &[u8]) -> u32 {
    u32::from(u16_at(entry, 20)) << 16 | u32::from(u16_at(entry, 26))
}

/// The parts of a long name, which come last one first.
#[derive(Debug, Clone)]
struct Long {
    units: [u16; name::MAX_PARTS * UNITS],
    len: usize,
    /// The number that the next part must have; 0 if none may follow.
    expected: u8,
    checksum: u8,
}

impl Long {
    const NONE: Self = Self {
        units: [0; name::MAX_PARTS * UNITS],
        len: 0,
        expected: 0,
        checksum: 0,
    };

    fn add(&mut self, entry: &[u8; ENTRY]) {
        let number = entry[0] & 0x1F;
        let is_last = entry[0] & 0x40 != 0;
        if is_last && (1..=name::MAX_PARTS as u8).contains(&number) {
            self.len = usize::from(number) * UNITS;
            self.checksum = entry[13];
        } else if self.len == 0
            || number == 0
            || number != self.expected
            || entry[13] != self.checksum
        {
            self.len = 0;
            return;
        }
        self.expected = number - 1;
        let start = usize::from(self.expected) * UNITS;
        for (to, place) in self.units[start..start + UNITS].iter_mut().zip(UNIT_PLACES) {
            *to = u16_at(entry, place);
        }
    }

    /// The name, if all parts came and belong to this short name.
    fn name(&self, short: &[u8; 11]) -> Option<Name> {
        let whole = self.len > 0 && self.expected == 0 && self.checksum == name::checksum(short);
        whole.then(|| name::decode(&self.units[..self.len]))?
    }
}
