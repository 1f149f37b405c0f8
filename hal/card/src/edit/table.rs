//! The table of clusters: taking some, and giving them back.

use embassy_futures::yield_now;

use crate::fat::{ENTRIES, FIRST, LAST, block, u32_at};
use crate::{BLOCK, Blocks, Trouble, Volume};

/// Blocks of the table that are looked at before others have their turn.
const TURN: u32 = 64;
/// Where the count of free clusters lies in its block, and what marks the block.
const FREE_COUNT: usize = 488;
const INFO_MARKS: [(usize, u32); 2] = [(0, 0x4161_5252), (484, 0x6141_7272)];
/// Bits of an entry that are not ours.
const RESERVED: u32 = 0xF000_0000;

/// A block of the table, changed and not written yet.
struct Edit {
    /// Counted from the table's start.
    number: u32,
    bytes: [u8; BLOCK],
    dirty: bool,
}

impl Edit {
    const fn new() -> Self {
        Self {
            number: u32::MAX,
            bytes: [0; BLOCK],
            dirty: false,
        }
    }
}

impl<B: Blocks> Volume<'_, B> {
    /// Takes so many clusters and chains them: in one piece if there is one
    /// large enough. Nothing points to the chain yet. Returns the first.
    pub(crate) async fn allocate(&self, count: u32) -> Result<u32, Trouble> {
        if count == 0 {
            return Ok(0);
        }
        let found = self.find_free(count).await?;
        let mut edit = Edit::new();
        let (mut last, mut left) = (found.first, count - 1);
        while left > 0 {
            let next = if found.in_one_piece {
                last + 1
            } else {
                self.free_from(last + 1).await?
            };
            self.set_entry(&mut edit, last, next).await?;
            (last, left) = (next, left - 1);
        }
        self.set_entry(&mut edit, last, LAST).await?;
        self.flush_entries(&mut edit).await?;
        self.uncounted.set(self.uncounted.get() - i64::from(count));
        Ok(found.first)
    }

    /// Frees a chain that nothing points to any more.
    pub(crate) async fn free(&self, first: u32) -> Result<(), Trouble> {
        let mut edit = Edit::new();
        let mut next = (first != 0).then_some(first);
        let mut freed = 0;
        // A chain that bites its tail ends where it was freed before.
        while let Some(cluster) = next {
            let after = self.with(|g, cache| g.next(cache, cluster)).await;
            next = match after {
                Err(Trouble::Damaged { .. }) => None,
                after => after?,
            };
            self.set_entry(&mut edit, cluster, 0).await?;
            freed += 1;
            if freed >= self.geometry.clusters {
                break;
            }
        }
        self.flush_entries(&mut edit).await?;
        self.uncounted.set(self.uncounted.get() + i64::from(freed));
        Ok(())
    }

    /// Chains `next` to the end of a chain.
    pub(crate) async fn append_cluster(&self, last: u32, next: u32) -> Result<(), Trouble> {
        let mut edit = Edit::new();
        self.set_entry(&mut edit, last, next).await?;
        self.flush_entries(&mut edit).await
    }

    /// Writes how many clusters are free, where this is kept.
    pub(crate) async fn count_free(&self) -> Result<(), Trouble> {
        let change = self.uncounted.replace(0);
        let Some(info) = self.geometry.info.filter(|_| change != 0) else {
            return Ok(());
        };
        let mut bytes = self.with(|_, cache| block(cache, info).copied()).await?;
        let marked = |(at, mark)| u32_at(&bytes, at) == mark;
        let free = i64::from(u32_at(&bytes, FREE_COUNT)) + change;
        // All ones: nobody counted. Other systems count themselves then.
        let known = (0..=i64::from(self.geometry.clusters)).contains(&free);
        if !INFO_MARKS.into_iter().all(marked) || !known {
            return Ok(());
        }
        bytes[FREE_COUNT..FREE_COUNT + 4].copy_from_slice(&(free as u32).to_le_bytes());
        self.write(info, &bytes).await
    }

    /// Makes the copy of the table a copy again, should a power cut have come
    /// between the two. Done once, before the first change.
    pub(crate) async fn mirror_table(&self) -> Result<(), Trouble> {
        let Some(mirror) = self.geometry.mirror.filter(|_| !self.mirrored.get()) else {
            return Ok(());
        };
        for number in 0..self.geometry.table_blocks {
            let table = self.geometry.table + number;
            let bytes = self.with(|_, cache| block(cache, table).copied()).await?;
            let same = self.with(|_, cache| Ok(*block(cache, mirror + number)? == bytes));
            if !same.await? {
                self.write(mirror + number, &bytes).await?;
            }
            if number % TURN == 0 {
                yield_now().await;
            }
        }
        self.mirrored.set(true);
        Ok(())
    }

    /// Where so many free clusters are.
    async fn find_free(&self, count: u32) -> Result<FreeClusters, Trouble> {
        let mut run = (0, 0);
        let mut first = None;
        let mut total = 0;
        for number in 0..self.geometry.table_blocks {
            let table = self.geometry.table + number;
            let bytes = self.with(|_, cache| block(cache, table).copied()).await?;
            for (at, entry) in bytes.as_chunks::<4>().0.iter().enumerate() {
                let cluster = number * ENTRIES + at as u32;
                if !self.geometry.has(cluster) {
                    continue;
                }
                if u32::from_le_bytes(*entry) & !RESERVED != 0 {
                    run = (0, 0);
                    continue;
                }
                if run.1 == 0 {
                    run.0 = cluster;
                }
                run.1 += 1;
                total += 1;
                first.get_or_insert(cluster);
                if run.1 == count {
                    return Ok(FreeClusters {
                        first: run.0,
                        in_one_piece: true,
                    });
                }
            }
            if number % TURN == TURN - 1 {
                yield_now().await;
            }
        }
        match first {
            Some(first) if total >= count => Ok(FreeClusters {
                first,
                in_one_piece: false,
            }),
            _ => Err(Trouble::Full),
        }
    }

    /// The first free cluster from this one on.
    async fn free_from(&self, cluster: u32) -> Result<u32, Trouble> {
        let mut cluster = cluster.max(FIRST);
        self.with(|geometry, cache| {
            while geometry.has(cluster) {
                if geometry.entry(cache, cluster)? == 0 {
                    return Ok(Some(cluster));
                }
                cluster += 1;
            }
            Ok(None)
        })
        .await?
        .ok_or(Trouble::Full)
    }

    async fn set_entry(&self, edit: &mut Edit, cluster: u32, value: u32) -> Result<(), Trouble> {
        let number = cluster / ENTRIES;
        if edit.number != number {
            self.flush_entries(edit).await?;
            let table = self.geometry.table + number;
            edit.bytes = self.with(|_, cache| block(cache, table).copied()).await?;
            edit.number = number;
        }
        let at = (cluster % ENTRIES) as usize * 4;
        let value = u32_at(&edit.bytes, at) & RESERVED | value & !RESERVED;
        edit.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        edit.dirty = true;
        Ok(())
    }

    async fn flush_entries(&self, edit: &mut Edit) -> Result<(), Trouble> {
        if core::mem::take(&mut edit.dirty) {
            self.write(self.geometry.table + edit.number, &edit.bytes)
                .await?;
            if let Some(mirror) = self.geometry.mirror {
                self.write(mirror + edit.number, &edit.bytes).await?;
            }
        }
        Ok(())
    }
}

/// Free clusters that were found.
struct FreeClusters {
    first: u32,
    in_one_piece: bool,
}
