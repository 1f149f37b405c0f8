//! How leases outlive the process: changed leases are appended to the log
//! before anybody is told of them.

use heapless::Vec;
use ichor_hal::{LeaseLog, LogError};

use super::config::Config;
use super::leases::{Leases, Slot};
use super::record::{self, Parsed, Record};

/// Records are written and read in blocks of this many bytes.
const BLOCK: usize = 1024;
/// A log is not worth rewriting below this length in bytes.
const REWRITE_MIN: u64 = 64 * 1024;
/// A log is rewritten when it is longer than this many records per lease.
const REWRITE_FACTOR: u64 = 4;

/// What reading the log found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Replayed {
    /// Sound records.
    pub records: u64,
    /// Bytes that were no record but had sound ones after them, or were too
    /// many for a torn record.
    pub damaged: u64,
    /// Bytes of a torn record that were cut off the end.
    pub torn: u64,
    /// Records that the table had no room for.
    pub left_out: u64,
    /// The largest time in any record, in seconds: a board without a
    /// real-time clock continues from here.
    pub latest: u64,
}

/// Which leases the log does not know yet, at most `DIRTY`.
#[derive(Debug)]
pub(super) struct Store<const DIRTY: usize> {
    dirty: Vec<Slot, DIRTY>,
    /// A replacement of the log was begun and not finished: what is appended
    /// now would be lost with it.
    unfinished: bool,
}

impl<const DIRTY: usize> Store<DIRTY> {
    pub(super) const fn new() -> Self {
        Self {
            dirty: Vec::new(),
            unfinished: false,
        }
    }

    /// Notes that a lease changed. False if too many others did since the
    /// last [`save`](Self::save).
    pub(super) fn mark(&mut self, slot: Slot) -> bool {
        self.dirty.contains(&slot) || self.dirty.push(slot).is_ok()
    }

    /// Whether there is something to save.
    pub(super) fn is_dirty(&self) -> bool {
        !self.dirty.is_empty()
    }

    /// Appends and commits what changed; once in a while the whole table
    /// takes the place of the log instead.
    ///
    /// Whether or not it works, nothing is dirty afterwards: what was not
    /// saved must not be promised to anybody. If the future is dropped before
    /// it ends, everything stays dirty.
    pub(super) async fn save<const N: usize>(
        &mut self,
        leases: &Leases<N>,
        now: u64,
        log: &mut impl LeaseLog,
    ) -> Result<(), LogError> {
        let live = leases.len() as u64 * record::MAX_LEN as u64;
        let saved = if self.unfinished || log.len() > REWRITE_MIN + REWRITE_FACTOR * live {
            self.rewrite(leases, now, log).await
        } else {
            self.append_dirty(leases, now, log).await
        };
        self.dirty.clear();
        saved
    }

    async fn append_dirty<const N: usize>(
        &self,
        leases: &Leases<N>,
        now: u64,
        log: &mut impl LeaseLog,
    ) -> Result<(), LogError> {
        append(leases, self.dirty.iter().copied(), now, log).await?;
        log.commit().await
    }

    /// Replaces the log by what is in the table.
    async fn rewrite<const N: usize>(
        &mut self,
        leases: &Leases<N>,
        now: u64,
        log: &mut impl LeaseLog,
    ) -> Result<(), LogError> {
        self.unfinished = true;
        log.begin_rewrite().await?;
        append(leases, leases.slots(), now, log).await?;
        log.finish_rewrite().await?;
        self.unfinished = false;
        Ok(())
    }
}

/// Appends the records of some leases, block by block.
async fn append<const N: usize>(
    leases: &Leases<N>,
    slots: impl Iterator<Item = Slot>,
    now: u64,
    log: &mut impl LeaseLog,
) -> Result<(), LogError> {
    let mut block = Vec::<u8, BLOCK>::new();
    for record in slots.filter_map(|slot| leases.record(slot, now)) {
        let bytes = record.to_bytes();
        if block.extend_from_slice(&bytes).is_err() {
            log.append(&block).await?;
            block.clear();
            // A block holds many records.
            let _ = block.extend_from_slice(&bytes);
        }
    }
    if block.is_empty() {
        return Ok(());
    }
    log.append(&block).await
}

/// Reads the whole log into the table. Damaged bytes are passed over, a torn
/// record at the end is cut off.
pub(super) async fn replay<const N: usize>(
    leases: &mut Leases<N>,
    config: &Config,
    log: &mut impl LeaseLog,
) -> Result<Replayed, LogError> {
    let mut found = Replayed::default();
    let mut window = Vec::<u8, BLOCK>::new();
    // Where the window starts in the log, and where the last record ended.
    let (mut start, mut sound) = (0_u64, 0_u64);
    loop {
        let more = fill(&mut window, start, log).await?;
        let mut used = 0;
        while let Some(rest) = window.get(used..).filter(|rest| !rest.is_empty()) {
            if more && rest.len() < record::MAX_LEN {
                break;
            }
            let Parsed::Record(record, len) = Record::parse(rest) else {
                used += 1;
                continue;
            };
            found.damaged += start + used as u64 - sound;
            used += len;
            sound = start + used as u64;
            found.records += 1;
            found.latest = found.latest.max(record.at);
            if !leases.replay(config, &record) {
                found.left_out += 1;
            }
        }
        start += used as u64;
        window.drain(..used);
        if !more {
            break;
        }
    }
    // A crash leaves a prefix of what was appended, so less than a record is
    // torn. More is damage: it stays where it is and is passed over again.
    match start - sound {
        0 => (),
        tail if tail < record::MAX_LEN as u64 => {
            log.truncate(sound).await?;
            found.torn = tail;
        }
        tail => found.damaged += tail,
    }
    Ok(found)
}

/// Reads on until the window is full. False at the end of the log.
async fn fill(
    window: &mut Vec<u8, BLOCK>,
    start: u64,
    log: &mut impl LeaseLog,
) -> Result<bool, LogError> {
    loop {
        let filled = window.len();
        if filled == BLOCK {
            return Ok(true);
        }
        // The capacity is what the length is set to.
        let _ = window.resize(BLOCK, 0);
        let room = window.get_mut(filled..).unwrap_or_default();
        let read = log.read(start + filled as u64, room).await;
        window.truncate(filled + read.unwrap_or(0));
        if read? == 0 {
            return Ok(false);
        }
    }
}
