//! What is counted, logged and journalled when a transfer ends or a request
//! is refused, and which clients are to be treated with care.

use core::mem;
use core::net::SocketAddrV4;

use embassy_time::Instant;

use super::super::path::{self, Path};
use super::super::refusal::Refusal;
use super::super::stage::stage_of;
use super::super::troubled::Caution;
use super::super::wire::ErrorCode;
use super::{LocalPort, Server};
use crate::journal::{Record, Stage};

/// How a transfer ended.
#[derive(Debug, Clone, Copy)]
pub(super) enum Ending<'a> {
    Completed,
    /// All was sent, but instead of the last ACK there was a request for
    /// another file, or silence.
    Unacknowledged,
    /// The client wanted to know the size, or nothing any more.
    Unwanted,
    Refused(Refusal),
    BrokenOff(Refusal),
    /// The client sent an ERROR.
    ClientError(ErrorCode, &'a str),
    StartedOver,
}

impl<F, const TRANSFERS: usize> Server<F, TRANSFERS> {
    /// Ends the transfer of a client that asks for something else from the
    /// same port.
    pub(super) fn end_for_another(&mut self, slot: usize, now: Instant, journal: &impl Record) {
        let Some(transfer) = self.transfer(slot) else {
            return;
        };
        let ending = if !transfer.has_progress() {
            Ending::Unwanted
        } else if transfer.is_all_sent() {
            Ending::Unacknowledged
        } else {
            Ending::StartedOver
        };
        self.end(slot, now, ending, journal);
        self.release(slot);
    }

    /// Notes what a client must have by now, since it asks for another file
    /// from another port. The last block is still offered: behind a NAT that
    /// other client may be another machine.
    pub(super) fn note_all_sent(
        &mut self,
        from: SocketAddrV4,
        path: &Path,
        now: Instant,
        journal: &impl Record,
    ) {
        for slot in 0..TRANSFERS {
            let asks_for_another = self.transfer(slot).is_some_and(|transfer| {
                transfer.peer.ip() == from.ip() && transfer.path != *path && transfer.is_all_sent()
            });
            if asks_for_another {
                self.end(slot, now, Ending::Unacknowledged, journal);
            }
        }
    }

    /// Ends a stalled transfer of a client that asks for the same file from
    /// another port: it has given up before we did.
    pub(super) fn end_stalled(
        &mut self,
        from: SocketAddrV4,
        path: &Path,
        now: Instant,
        journal: &impl Record,
    ) {
        let stalled = self.slots.iter().position(|slot| {
            slot.as_ref().is_some_and(|transfer| {
                transfer.peer.ip() == from.ip() && transfer.path == *path && transfer.is_stalled()
            })
        });
        if let Some(slot) = stalled {
            self.end(slot, now, Ending::BrokenOff(Refusal::GaveUp), journal);
            self.release(slot);
        }
    }

    /// Keeps the books on a transfer that is over, once. It stays in its slot.
    pub(super) fn end(
        &mut self,
        slot: usize,
        now: Instant,
        ending: Ending<'_>,
        journal: &impl Record,
    ) {
        let Some(transfer) = self.slots.get_mut(slot).and_then(Option::as_mut) else {
            return;
        };
        if mem::replace(&mut transfer.noted, true) {
            return;
        }
        let transfer = &*transfer;
        let peer = transfer.peer;
        let ip = *peer.ip();
        let path = transfer.candidate();
        let resent = transfer.window().resent();
        self.stats.resent += u64::from(resent);
        match ending {
            Ending::Completed | Ending::Unacknowledged => {
                let len = transfer.len();
                let ms = now.saturating_duration_since(transfer.started).as_millis();
                let blksize = transfer.blksize();
                let window = transfer.window().size();
                let missing = match ending {
                    Ending::Unacknowledged => " (the last ACK is missing)",
                    _ => "",
                };
                info!(
                    "tftp: {} has {}: {} bytes in {} ms, blksize {}, window {}, {} resent{}",
                    peer, path, len, ms, blksize, window, resent, missing
                );
                let detail = format_args!("{path}{missing}");
                journal.record(now, ip.into(), stage_of(path), detail);
                self.stats.completed += 1;
                if transfer.caution == Caution::None {
                    self.troubled.succeeded(ip);
                }
            }
            Ending::Unwanted => debug!("tftp: {} only looked at {}", peer, path),
            Ending::Refused(refusal) => {
                self.stats.refused += 1;
                let path = transfer.told_path();
                if path::is_probe(path) {
                    debug!("tftp: {} asked in vain for {}", peer, path);
                    return;
                }
                journal.record(
                    now,
                    ip.into(),
                    Stage::Refused,
                    format_args!("{}", refusal.about(path)),
                );
                if let Some(missed) = self.refused.count(now) {
                    warn!(
                        "tftp: {} asked for {}: refused with error {}{}",
                        peer,
                        path,
                        refusal.code().0,
                        missed
                    );
                }
            }
            Ending::BrokenOff(refusal) => {
                warn!("tftp: transfer of {} to {} broke off", path, peer);
                journal.record(
                    now,
                    ip.into(),
                    Stage::Failed,
                    format_args!("{}", refusal.about(path)),
                );
                self.stats.failed += 1;
                if refusal == Refusal::GaveUp {
                    self.troubled.failed(ip, now);
                }
            }
            // EDK2 asks for the size first, and ends the transfer with an
            // ERROR when it is told: nothing failed.
            Ending::ClientError(code, _) if !transfer.has_progress() => {
                debug!("tftp: {} only looked at {}", peer, path);
                if code == ErrorCode::OPTIONS {
                    self.troubled.failed(ip, now);
                }
            }
            Ending::ClientError(code, message) => {
                warn!("tftp: {} broke off {}: {}", peer, path, message);
                journal.record(
                    now,
                    ip.into(),
                    Stage::Failed,
                    format_args!("{path}: the client says: {message} (error {})", code.0),
                );
                self.stats.failed += 1;
                self.troubled.failed(ip, now);
            }
            Ending::StartedOver => {
                info!("tftp: {} gave up {} and asks again", peer, path);
                journal.record(
                    now,
                    ip.into(),
                    Stage::Failed,
                    format_args!("{path}: the client started over"),
                );
                self.stats.failed += 1;
                self.troubled.failed(ip, now);
            }
        }
    }

    /// Refuses a request for which there is no transfer.
    pub(super) fn refuse(
        &mut self,
        now: Instant,
        from: SocketAddrV4,
        refusal: Refusal,
        name: &str,
        journal: &impl Record,
    ) {
        self.stats.refused += 1;
        if let Some(missed) = self.refused.count(now) {
            warn!(
                "tftp: a request of {} is refused with error {}{}",
                from,
                refusal.code().0,
                missed
            );
            journal.record(
                now,
                (*from.ip()).into(),
                Stage::Refused,
                format_args!("{}: {}", refusal.about(""), name.escape_debug()),
            );
        }
        self.reply(LocalPort::REQUESTS, from, refusal);
    }

    pub(super) fn note_malformed(&mut self, now: Instant, from: SocketAddrV4, what: &str) {
        self.stats.malformed += 1;
        if let Some(missed) = self.malformed.count(now) {
            warn!("tftp: {} from {}{}", what, from, missed);
        }
    }
}
