//! Finding the log on its partition, and reading it back.

use ichor_hal::LogError;

use super::record::{self, Data};
use super::{Area, CardLog, FLUSH, READ, Window};
use crate::{BLOCK, BlockError, Blocks};

/// Why no log was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failed {
    Card(BlockError),
    Foreign,
}

impl Window {
    pub(super) const fn new() -> Self {
        Self {
            blocks: [[0; BLOCK]; READ],
            of: (u32::MAX, 0),
            start: 0,
            count: 0,
            at: (0, 0),
        }
    }
}

/// What a scan makes of blocks, one after the other.
struct Scan {
    /// The log up to the first block that is missing.
    sound: Area,
    /// The same with all blocks that came after it.
    beyond: Area,
    /// The first missing block, and whether any came after it.
    hole: Option<u32>,
    stale: bool,
}

impl Scan {
    const fn new(area: Area) -> Self {
        Self {
            sound: area,
            beyond: area,
            hole: None,
            stale: false,
        }
    }

    /// Takes the next block. False if the log certainly ended before it.
    fn take(&mut self, index: u32, data: Option<Data>) -> bool {
        let Some(data) = data else {
            let hole = *self.hole.get_or_insert(index);
            self.beyond.next = index + 1;
            return index - hole < READ as u32;
        };
        let follows = data.before == self.beyond.before;
        self.beyond.next = index + 1;
        self.beyond.before = data.crc;
        self.beyond.len += data.len as u64;
        match self.hole {
            None if follows => self.sound = self.beyond,
            // A second attempt at a flush was cut: this is of the first.
            None => {
                self.hole = Some(index);
                self.stale = true;
            }
            // Written when the missing block was there: it is damaged.
            Some(hole) if data.flush > hole => {
                self.hole = None;
                self.stale = false;
                self.sound = self.beyond;
            }
            Some(_) => self.stale = true,
        }
        true
    }
}

impl<B: Blocks> CardLog<'_, B> {
    /// Finds the log, or makes an empty one where nothing is.
    pub(super) async fn find(&mut self) -> Result<(), Failed> {
        let mut found: Option<Area> = None;
        let mut blank = true;
        for number in 0..2 {
            for place in self.heads_of(number) {
                let mut head = [0; BLOCK];
                let read = self.card.read(self.partition, place, &mut head).await;
                match read {
                    // Its copy may be readable.
                    Err(BlockError::Io) => blank = false,
                    read => read.map_err(Failed::Card)?,
                }
                blank &= head.iter().all(|b| *b == 0) || head.iter().all(|b| *b == 0xFF);
                let Some(generation) = record::head_generation(&head) else {
                    continue;
                };
                self.generation = self.generation.max(generation);
                if found.is_none_or(|area| area.generation < generation) {
                    found = Some(Area::new(number, generation));
                }
            }
        }
        let failed = |error: LogError| match error {
            LogError::Full => Failed::Foreign,
            _ => Failed::Card(BlockError::Io),
        };
        let Some(area) = found else {
            if !blank {
                return Err(Failed::Foreign);
            }
            self.start_replacement(Area::new(1, 0))
                .await
                .map_err(failed)?;
            return self.finish_replacement().await.map_err(failed);
        };
        let mut scan = Scan::new(area);
        for index in 0..self.room() {
            let block = self.block(area, index, self.room()).await;
            let data = own(block.map_err(failed)?, area, index);
            if !scan.take(index, data) {
                break;
            }
        }
        // What was read ahead lies in part past the end.
        self.window = Window::new();
        self.log = scan.sound;
        if scan.stale {
            // They were never committed, and must not come back when others
            // are written before them.
            self.pack(self.log.len).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Reads from an area's log.
    pub(super) async fn read_area(
        &mut self,
        area: Area,
        offset: u64,
        buf: &mut [u8],
    ) -> Result<usize, LogError> {
        let known = self.window.of == (area.number, area.generation) && self.window.at.1 <= offset;
        let (mut index, mut start) = if known { self.window.at } else { (0, 0) };
        while index < area.next {
            let block = self.block(area, index, area.next).await?;
            let data = own(block, area, index);
            let payload = data.map_or(&[][..], |data| data.payload(block));
            let skip = usize::try_from(offset - start).unwrap_or(usize::MAX);
            if let Some(rest) = payload.get(skip..).filter(|rest| !rest.is_empty()) {
                let n = rest.len().min(buf.len());
                buf[..n].copy_from_slice(&rest[..n]);
                self.window.at = (index, start);
                return Ok(n);
            }
            start += payload.len() as u64;
            index += 1;
        }
        Ok(0)
    }

    /// A block of an area, read together with those after it up to `end`.
    async fn block(&mut self, area: Area, index: u32, end: u32) -> Result<&[u8; BLOCK], LogError> {
        let of = (area.number, area.generation);
        let window = &self.window;
        let known = window.of == of && index >= window.start && index - window.start < window.count;
        if !known {
            self.window.of = (u32::MAX, 0);
            let count = (end - index).min(READ as u32);
            let place = self.block_of(area.number, index);
            let bytes = &mut self.window.blocks[..count as usize];
            let read = self
                .card
                .read(self.partition, place, bytes.as_flattened_mut());
            match read.await {
                Ok(()) => {}
                // One bad block among them must not cost the others.
                Err(BlockError::Io) => {
                    for (place, block) in (place..).zip(bytes) {
                        let read = self.card.read(self.partition, place, block).await;
                        match read {
                            Ok(()) => {}
                            Err(BlockError::Io) => block.fill(0),
                            Err(_) => return Err(LogError::Io),
                        }
                    }
                }
                Err(_) => return Err(LogError::Io),
            }
            if self.window.at.0 > index || index == 0 {
                self.window.at = (0, 0);
            }
            self.window.of = of;
            (self.window.start, self.window.count) = (index, count);
        }
        let at = (index - self.window.start) as usize;
        self.window.blocks.get(at).ok_or(LogError::Io)
    }
}

/// What a block says of itself, if it belongs at this place.
fn own(block: &[u8; BLOCK], area: Area, index: u32) -> Option<Data> {
    Data::parse(block).filter(|data| data.generation == area.generation && data.index == index)
}

const _: () = assert!(READ >= FLUSH, "the window of a scan covers a flush");

#[cfg(test)]
mod tests {
    use super::*;

    fn data(index: u32, flush: u32, before: u32) -> Option<Data> {
        Some(Data {
            generation: 1,
            index,
            flush,
            before,
            len: 10,
            crc: 100 + index,
        })
    }

    fn scan(blocks: &[Option<Data>]) -> (u32, u64, bool) {
        let mut scan = Scan::new(Area::new(0, 1));
        for index in 0..1000 {
            let block = blocks.get(index as usize).copied().flatten();
            if !scan.take(index, block) {
                break;
            }
        }
        (scan.sound.next, scan.sound.len, scan.stale)
    }

    #[test]
    fn torn_flushes_and_damage_are_told_apart() {
        let first = data(0, 0, 0);
        assert_eq!(scan(&[]), (0, 0, false));
        assert_eq!(scan(&[first]), (1, 10, false));
        assert_eq!(scan(&[first, data(1, 1, 100)]), (2, 20, false));
        // A flush of three blocks, the first of which is missing.
        let torn = [first, None, data(2, 1, 101), data(3, 1, 102)];
        assert_eq!(scan(&torn), (1, 10, true));
        // The same, but something was written after it: the block is damaged.
        let damaged = [
            first,
            None,
            data(2, 1, 101),
            data(3, 1, 102),
            data(4, 4, 103),
        ];
        assert_eq!(scan(&damaged), (5, 40, false));
        // The second block of an attempt that was repeated with another first.
        assert_eq!(
            scan(&[first, data(1, 1, 100), data(2, 1, 999)]),
            (2, 20, true)
        );
    }
}
