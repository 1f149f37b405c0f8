//! Pages of a partition in RAM, the least recently used ones given up first.

use crate::BLOCK;

/// Bytes of a page: what is read from the card at once. Large enough for a
/// card to reach its full speed, short enough that others need not wait long.
pub(crate) const PAGE: usize = 64 * 1024;
/// Blocks of a page.
pub(crate) const PAGE_BLOCKS: u32 = (PAGE / BLOCK) as u32;
/// Words that are kept for each page: four links and a bucket.
const WORDS: usize = LINKS + 1;
const LINKS: usize = 4;
const NONE: u32 = u32::MAX;

/// A link of a slot.
#[derive(Debug, Clone, Copy)]
enum Link {
    /// The page that is in the slot.
    Page,
    /// The next slot of the same bucket.
    Chained,
    /// The slot used just before this one.
    Older,
    /// The slot used just after this one.
    Newer,
}

/// Slots for pages, found by a hash of the page's number.
///
/// Everything lies in the memory that the board gives: the slots, a
/// doubly linked list of them in the order of use, and the buckets.
pub(crate) struct Cache<'m> {
    pages: &'m mut [[u8; PAGE]],
    links: &'m mut [[u8; 4]],
    buckets: &'m mut [[u8; 4]],
    used: u32,
    newest: u32,
    oldest: u32,
}

impl<'m> Cache<'m> {
    /// A cache in `memory`; `None` if it has no room for `least` pages.
    pub(crate) fn new(memory: &'m mut [u8], least: usize) -> Option<Self> {
        let slots = memory.len() / (PAGE + 4 * WORDS);
        if slots < least || slots >= NONE as usize {
            return None;
        }
        let (pages, rest) = memory.split_at_mut(slots * PAGE);
        let (words, _) = rest.as_chunks_mut::<4>();
        let (links, rest) = words.split_at_mut(slots * LINKS);
        let buckets = rest.get_mut(..slots)?;
        buckets.fill(NONE.to_ne_bytes());
        Some(Self {
            pages: pages.as_chunks_mut().0,
            links,
            buckets,
            used: 0,
            newest: NONE,
            oldest: NONE,
        })
    }

    /// How many pages there is room for.
    pub(crate) const fn slots(&self) -> u32 {
        self.pages.len() as u32
    }

    /// How many pages are in it.
    pub(crate) const fn used(&self) -> u32 {
        self.used
    }

    pub(crate) fn is_full(&self) -> bool {
        self.used == self.slots()
    }

    /// A page, which counts as used by this.
    pub(crate) fn get(&mut self, page: u32) -> Option<&[u8; PAGE]> {
        let slot = self.find(page)?;
        if slot != self.newest {
            self.unlink(slot);
            self.link_newest(slot);
        }
        self.pages.get(slot as usize)
    }

    pub(crate) fn contains(&self, page: u32) -> bool {
        self.find(page).is_some()
    }

    /// Puts a page in, in the place of the least recently used one if need be.
    pub(crate) fn insert(&mut self, page: u32, bytes: &[u8]) {
        let slot = match self.find(page) {
            Some(slot) => {
                self.unlink(slot);
                slot
            }
            None => {
                let slot = self.free_slot();
                self.set(slot, Link::Page, page);
                self.enter(slot, page);
                slot
            }
        };
        self.link_newest(slot);
        let Some(place) = self.pages.get_mut(slot as usize) else {
            return;
        };
        for (to, from) in place.iter_mut().zip(bytes) {
            *to = *from;
        }
    }

    /// Changes blocks that are in a cached page; others are none of its business.
    pub(crate) fn patch(&mut self, first: u32, bytes: &[u8]) {
        for (block, bytes) in (first..).zip(bytes.chunks_exact(BLOCK)) {
            let Some(slot) = self.find(block / PAGE_BLOCKS) else {
                continue;
            };
            let start = (block % PAGE_BLOCKS) as usize * BLOCK;
            if let Some(page) = self.pages.get_mut(slot as usize) {
                page[start..start + BLOCK].copy_from_slice(bytes);
            }
        }
    }

    /// Drops the pages of blocks that nobody knows the content of any more.
    pub(crate) fn forget(&mut self, first: u32, blocks: u32) {
        let last = first.saturating_add(blocks.max(1) - 1);
        for page in first / PAGE_BLOCKS..=last / PAGE_BLOCKS {
            if let Some(slot) = self.find(page) {
                // The slot stays linked as the oldest, under no page's number.
                self.leave(slot, page);
                self.set(slot, Link::Page, NONE);
                self.unlink(slot);
                self.link_oldest(slot);
            }
        }
    }

    fn free_slot(&mut self) -> u32 {
        if self.used < self.slots() {
            self.used += 1;
            return self.used - 1;
        }
        let slot = self.oldest;
        let page = self.link(slot, Link::Page);
        if page != NONE {
            self.leave(slot, page);
        }
        self.unlink(slot);
        slot
    }

    fn find(&self, page: u32) -> Option<u32> {
        let mut slot = self.bucket(page);
        while slot != NONE {
            if self.link(slot, Link::Page) == page {
                return Some(slot);
            }
            slot = self.link(slot, Link::Chained);
        }
        None
    }

    /// Enters a slot into its page's bucket.
    fn enter(&mut self, slot: u32, page: u32) {
        let first = self.bucket(page);
        self.set(slot, Link::Chained, first);
        self.set_bucket(page, slot);
    }

    /// Takes a slot out of its page's bucket.
    fn leave(&mut self, slot: u32, page: u32) {
        let next = self.link(slot, Link::Chained);
        let mut before = self.bucket(page);
        if before == slot {
            self.set_bucket(page, next);
            return;
        }
        while before != NONE {
            let after = self.link(before, Link::Chained);
            if after == slot {
                self.set(before, Link::Chained, next);
                return;
            }
            before = after;
        }
    }

    fn link_newest(&mut self, slot: u32) {
        let second = self.newest;
        self.set(slot, Link::Older, second);
        self.set(slot, Link::Newer, NONE);
        match second {
            NONE => self.oldest = slot,
            second => self.set(second, Link::Newer, slot),
        }
        self.newest = slot;
    }

    fn link_oldest(&mut self, slot: u32) {
        let second = self.oldest;
        self.set(slot, Link::Newer, second);
        self.set(slot, Link::Older, NONE);
        match second {
            NONE => self.newest = slot,
            second => self.set(second, Link::Older, slot),
        }
        self.oldest = slot;
    }

    fn unlink(&mut self, slot: u32) {
        let (older, newer) = (self.link(slot, Link::Older), self.link(slot, Link::Newer));
        match newer {
            NONE => self.newest = older,
            newer => self.set(newer, Link::Older, older),
        }
        match older {
            NONE => self.oldest = newer,
            older => self.set(older, Link::Newer, newer),
        }
    }

    fn link(&self, slot: u32, link: Link) -> u32 {
        let word = self.links.get(slot as usize * LINKS + link as usize);
        word.map_or(NONE, |word| u32::from_ne_bytes(*word))
    }

    fn set(&mut self, slot: u32, link: Link, to: u32) {
        if let Some(word) = self.links.get_mut(slot as usize * LINKS + link as usize) {
            *word = to.to_ne_bytes();
        }
    }

    fn bucket(&self, page: u32) -> u32 {
        // Pages that follow each other never meet in a bucket.
        let word = self.buckets.get(page as usize % self.buckets.len());
        word.map_or(NONE, |word| u32::from_ne_bytes(*word))
    }

    fn set_bucket(&mut self, page: u32, slot: u32) {
        let index = page as usize % self.buckets.len();
        if let Some(word) = self.buckets.get_mut(index) {
            *word = slot.to_ne_bytes();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::vec;
    use std::vec::Vec;

    use super::*;

    #[test]
    fn the_least_recently_used_page_goes_first() {
        let mut memory = vec![0; 3 * (PAGE + 4 * WORDS)];
        let mut cache = Cache::new(&mut memory, 3).unwrap();
        for page in [7, 10, 13] {
            cache.insert(page, &[page as u8; PAGE]);
        }
        assert!(cache.is_full());
        assert_eq!(cache.get(7).unwrap()[PAGE - 1], 7);
        // 10 is the oldest now. All of them share a bucket.
        cache.insert(16, &[16; PAGE]);
        let there: Vec<_> = (0..20).filter(|page| cache.contains(*page)).collect();
        assert_eq!(there, [7, 13, 16]);
        cache.forget(13 * PAGE_BLOCKS + 5, 1);
        cache.insert(2, &[2; PAGE]);
        let there: Vec<_> = (0..20).filter(|page| cache.contains(*page)).collect();
        assert_eq!(there, [2, 7, 16]);
    }

    #[test]
    fn only_cached_blocks_are_patched() {
        let mut memory = vec![0; 2 * (PAGE + 4 * WORDS)];
        let mut cache = Cache::new(&mut memory, 1).unwrap();
        cache.insert(0, &[0; PAGE]);
        cache.patch(PAGE_BLOCKS - 1, &[9; 2 * BLOCK]);
        let page = cache.get(0).unwrap();
        assert_eq!(page[PAGE - BLOCK - 1..PAGE - BLOCK + 1], [0, 9]);
        assert!(!cache.contains(1));
    }

    #[test]
    fn it_agrees_with_a_simple_model() {
        let mut memory = vec![0; 5 * (PAGE + 4 * WORDS)];
        let mut cache = Cache::new(&mut memory, 1).unwrap();
        let mut model: Vec<u32> = Vec::new();
        let mut random = 1_u32;
        for _ in 0..20_000 {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let page = (random >> 16) % 12;
            let known = model.iter().position(|p| *p == page);
            match random >> 29 {
                0 => {
                    cache.forget(page * PAGE_BLOCKS, PAGE_BLOCKS);
                    model.retain(|p| *p != page);
                }
                1..=3 => {
                    cache.insert(page, &page.to_le_bytes());
                    model.retain(|p| *p != page);
                    model.push(page);
                    if model.len() > 5 {
                        model.remove(0);
                    }
                }
                _ => {
                    let found = cache.get(page).map(|bytes| bytes[0]);
                    assert_eq!(found, known.map(|_| page as u8));
                    if let Some(at) = known {
                        let page = model.remove(at);
                        model.push(page);
                    }
                }
            }
        }
    }

    #[test]
    fn too_little_memory_is_no_cache() {
        assert!(Cache::new(&mut [0; 1000], 1).is_none());
    }
}
