//! Entries of folders: made, and pointed to other content, by one write.

use heapless::Vec;

use super::Content;
use crate::fat::block;
use crate::fat::folder::{ARCHIVE, ENTRY, FOLDER, FREE, Found, LONG, PER_BLOCK, Slots};
use crate::fat::name::{self, UNIT_PLACES, UNITS};
use crate::{BLOCK, Blocks, Trouble, Volume};

/// Short names that are tried for a long one.
const ATTEMPTS: u32 = 64;
/// 2026-01-01 00:00:00, the date of what has none: the board has no clock.
const NO_DATE: u32 = (2026 - 1980) << 25 | 1 << 21 | 1 << 16;

/// The entries of a new file: the parts of its long name, and the short one.
type Entries = Vec<[u8; ENTRY], { PER_BLOCK as usize }>;

/// Where new entries can be put.
enum Room {
    /// In this block, from this entry on, before the end mark.
    Between { block: u32, index: u32 },
    /// From the end mark on, in its block; `after` is the next block.
    AtEnd {
        block: u32,
        index: u32,
        after: Option<u32>,
    },
    /// In the block after the one with the end mark, which stands here.
    NextBlock { block: u32, index: u32, after: u32 },
    /// In a cluster that the folder gets. If there is an end mark, it stands
    /// here.
    NewCluster { end: Option<(u32, u32)>, last: u32 },
}

impl<B: Blocks> Volume<'_, B> {
    /// Lets a file that exists have other content.
    pub(super) async fn repoint(&self, found: &Found, content: Content) -> Result<(), Trouble> {
        let (number, index) = found.place;
        let mut bytes = self.with(|_, cache| block(cache, number).copied()).await?;
        let start = index as usize * ENTRY;
        if let Some(entry) = bytes.get_mut(start..start + ENTRY) {
            entry[11] |= ARCHIVE;
            put_content(entry, content, later(found.changed));
        }
        self.write(number, &bytes).await
    }

    /// Makes a file in a folder that has none of that name.
    pub(super) async fn make_file(
        &self,
        folder: u32,
        name: &str,
        content: Content,
        scratch: &mut [u8],
    ) -> Result<(), Trouble> {
        let entries = self.entries(folder, name, ARCHIVE, content).await?;
        self.add(folder, &entries, scratch).await
    }

    /// Makes a folder in a folder, and returns its first cluster.
    pub(super) async fn make_folder(
        &self,
        folder: u32,
        name: &str,
        scratch: &mut [u8],
    ) -> Result<u32, Trouble> {
        let first = self.allocate(1).await?;
        let own = Content { first, size: 0 };
        let entries = match self.entries(folder, name, FOLDER, own).await {
            Ok(entries) => entries,
            Err(trouble) => {
                self.free(first).await?;
                return Err(trouble);
            }
        };
        let cluster = &mut scratch[..self.geometry.cluster_len() as usize];
        cluster.fill(0);
        let parent = Content {
            first: folder,
            size: 0,
        };
        for (name, content, entry) in [(b".          ", own, 0), (b"..         ", parent, 1)] {
            let entry = &mut cluster[entry * ENTRY..(entry + 1) * ENTRY];
            put_short(entry, name, FOLDER, content);
        }
        self.write(self.geometry.block_of(first), cluster).await?;
        self.add(folder, &entries, scratch).await?;
        Ok(first)
    }

    /// What a new file or folder needs in its folder.
    async fn entries(
        &self,
        folder: u32,
        name: &str,
        attributes: u8,
        content: Content,
    ) -> Result<Entries, Trouble> {
        let units = name::encode(name).ok_or(Trouble::BadName)?;
        let mut entries = Entries::new();
        let short = match name::as_short(name) {
            Some(short) => short,
            None => {
                let short = self.free_short_name(folder, name).await?;
                let parts = units.chunks(UNITS).enumerate().rev();
                for (index, units) in parts {
                    let is_last = entries.is_empty();
                    let part = long_part(index, units, is_last, name::checksum(&short));
                    entries.push(part).map_err(|_| Trouble::BadName)?;
                }
                short
            }
        };
        let mut entry = [0; ENTRY];
        put_short(&mut entry, &short, attributes, content);
        entries.push(entry).map_err(|_| Trouble::BadName)?;
        Ok(entries)
    }

    async fn free_short_name(&self, folder: u32, name: &str) -> Result<[u8; 11], Trouble> {
        for attempt in 0..ATTEMPTS {
            let short = name::shorten(name, attempt);
            let mut slots = Slots::new(&self.geometry, folder);
            let taken = self.with(|geometry, cache| {
                while let Some(slot) = slots.next(geometry, cache)? {
                    if slot.is_end() {
                        break;
                    }
                    if slot.bytes[11] & LONG != LONG && slot.bytes[..11] == short {
                        return Ok(true);
                    }
                }
                Ok(false)
            });
            if !taken.await? {
                return Ok(short);
            }
        }
        Err(Trouble::Full)
    }

    /// Puts entries into a folder. They appear by one write.
    async fn add(&self, folder: u32, entries: &Entries, scratch: &mut [u8]) -> Result<(), Trouble> {
        match self.room(folder, entries.len() as u32).await? {
            Room::Between { block, index } => self.put(block, index, entries, None).await,
            Room::AtEnd {
                block,
                index,
                after,
            } => {
                if let Some(after) = after {
                    self.end_at(after).await?;
                }
                self.put(block, index, entries, Some(0)).await
            }
            // What is after the end mark does not exist until the mark is gone.
            Room::NextBlock {
                block,
                index,
                after,
            } => {
                self.put(after, 0, entries, Some(0)).await?;
                self.put(block, index, &Entries::new(), Some(FREE)).await
            }
            Room::NewCluster { end, last } => {
                let new = self.allocate(1).await?;
                let cluster = &mut scratch[..self.geometry.cluster_len() as usize];
                cluster.fill(0);
                for (to, from) in cluster.chunks_mut(ENTRY).zip(entries) {
                    to.copy_from_slice(from);
                }
                self.write(self.geometry.block_of(new), cluster).await?;
                self.append_cluster(last, new).await?;
                match end {
                    Some((block, index)) => {
                        self.put(block, index, &Entries::new(), Some(FREE)).await
                    }
                    None => Ok(()),
                }
            }
        }
    }

    /// Finds a place for so many entries within one block.
    async fn room(&self, folder: u32, count: u32) -> Result<Room, Trouble> {
        let mut slots = Slots::new(&self.geometry, folder);
        let mut free = (0, 0, 0);
        let mut end = None;
        self.with(|geometry, cache| {
            while let Some(slot) = slots.next(geometry, cache)? {
                if let Some((block, index)) = end {
                    if slot.block == block {
                        continue;
                    }
                    return Ok(match PER_BLOCK - index >= count {
                        true => Room::AtEnd {
                            block,
                            index,
                            after: Some(slot.block),
                        },
                        false => Room::NextBlock {
                            block,
                            index,
                            after: slot.block,
                        },
                    });
                }
                let is_next = free.0 == slot.block && free.1 + free.2 == slot.index;
                if slot.is_end() {
                    // Free entries just before the mark can be used with it.
                    let index = if is_next { free.1 } else { slot.index };
                    end = Some((slot.block, index));
                } else if !slot.is_free() {
                    free = (0, 0, 0);
                } else if is_next && free.2 > 0 {
                    free.2 += 1;
                } else {
                    free = (slot.block, slot.index, 1);
                }
                if end.is_none() && free.2 == count {
                    return Ok(Room::Between {
                        block: free.0,
                        index: free.1,
                    });
                }
            }
            let last = slots.cluster();
            Ok(match end {
                Some((block, index)) if PER_BLOCK - index >= count => Room::AtEnd {
                    block,
                    index,
                    after: None,
                },
                end => Room::NewCluster { end, last },
            })
        })
        .await
    }

    /// Writes entries into a block; the entries after them begin with `rest`,
    /// if given, and hold nothing.
    async fn put(
        &self,
        number: u32,
        index: u32,
        entries: &Entries,
        rest: Option<u8>,
    ) -> Result<(), Trouble> {
        let mut bytes: [u8; BLOCK] = self.with(|_, cache| block(cache, number).copied()).await?;
        let mut slots = bytes.chunks_exact_mut(ENTRY).skip(index as usize);
        for (to, from) in slots.by_ref().zip(entries) {
            to.copy_from_slice(from);
        }
        if let Some(mark) = rest {
            let start = (index as usize + entries.len()) * ENTRY;
            for slot in bytes[start..].chunks_exact_mut(ENTRY) {
                slot.fill(0);
                slot[0] = mark;
            }
        }
        self.write(number, &bytes).await
    }

    /// Sees that a block after the end mark begins with an end mark, too.
    async fn end_at(&self, number: u32) -> Result<(), Trouble> {
        let mut bytes = self.with(|_, cache| block(cache, number).copied()).await?;
        if bytes[0] == 0 {
            return Ok(());
        }
        bytes[0] = 0;
        self.write(number, &bytes).await
    }
}

fn put_short(entry: &mut [u8], short: &[u8; 11], attributes: u8, content: Content) {
    entry.fill(0);
    entry[..11].copy_from_slice(short);
    entry[11] = attributes;
    // Created and last read: dates without times.
    entry[16..18].copy_from_slice(&((NO_DATE >> 16) as u16).to_le_bytes());
    entry[18..20].copy_from_slice(&((NO_DATE >> 16) as u16).to_le_bytes());
    put_content(entry, content, NO_DATE);
}

fn put_content(entry: &mut [u8], content: Content, changed: u32) {
    let [low_0, low_1, high_0, high_1] = content.first.to_le_bytes();
    entry[20..22].copy_from_slice(&[high_0, high_1]);
    entry[26..28].copy_from_slice(&[low_0, low_1]);
    entry[22..26].copy_from_slice(&changed.to_le_bytes());
    entry[28..32].copy_from_slice(&content.size.to_le_bytes());
}

/// The `index`-th part of a long name.
fn long_part(index: usize, units: &[u16], is_last: bool, checksum: u8) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    entry[0] = (index + 1) as u8 | if is_last { 0x40 } else { 0 };
    entry[11] = LONG;
    entry[13] = checksum;
    // One zero after the name, and ones after that.
    let rest = core::iter::once(0).chain(core::iter::repeat(0xFFFF));
    for (unit, place) in units.iter().copied().chain(rest).zip(UNIT_PLACES) {
        entry[place..place + 2].copy_from_slice(&unit.to_le_bytes());
    }
    entry
}

/// A date and time two seconds after another one: without a clock, what
/// matters is that they differ. Fields of the specification, section 7.
fn later(changed: u32) -> u32 {
    // Width, first value and number of values of each field, seconds first.
    let fields = [
        (5, 0, 30),
        (6, 0, 60),
        (5, 0, 24),
        (5, 1, 28),
        (4, 1, 12),
        (7, 0, 128),
    ];
    let (mut shift, mut next, mut carry) = (0, 0, 1);
    for (width, first, count) in fields {
        let value = (changed >> shift) & ((1 << width) - 1);
        let value = value.max(first) - first + carry;
        carry = u32::from(value >= count);
        let value = if carry == 1 { 0 } else { value };
        next |= (value + first) << shift;
        shift += width;
    }
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fat::u16_at;

    #[test]
    fn a_later_time_is_a_time() {
        let at = |year: u32, month: u32, day: u32, h: u32, m: u32, s: u32| {
            (year - 1980) << 25 | month << 21 | day << 16 | h << 11 | m << 5 | (s / 2)
        };
        let cases = [
            (at(2024, 2, 3, 4, 5, 6), at(2024, 2, 3, 4, 5, 8)),
            (at(2024, 2, 3, 4, 5, 58), at(2024, 2, 3, 4, 6, 0)),
            (at(2024, 2, 3, 23, 59, 58), at(2024, 2, 4, 0, 0, 0)),
            (at(2024, 12, 31, 23, 59, 58), at(2025, 1, 1, 0, 0, 0)),
            (0, at(1980, 1, 1, 0, 0, 2)),
        ];
        for (time, expected) in cases {
            assert_eq!(later(time), expected);
        }
    }

    #[test]
    fn parts_of_a_long_name_are_filled_up() {
        let part = long_part(1, &[0x61, 0x62], true, 0x5A);
        assert_eq!((part[0], part[11], part[13]), (0x42, 0x0F, 0x5A));
        let units = UNIT_PLACES.map(|place| u16_at(&part, place));
        assert_eq!(units[..4], [0x61, 0x62, 0, 0xFFFF]);
        assert_eq!(units[12], 0xFFFF);
    }
}
