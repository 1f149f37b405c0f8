//! The TFTP server: which packet belongs to which transfer, and whose turn
//! it is.

mod books;

use core::net::SocketAddrV4;
use core::task::Poll;

use embassy_time::{Duration, Instant};
use heapless::Deque;
use heapless::index_map::FnvIndexMap;
use ichor_hal::{FileError, Metadata};

use self::books::Ending;
use super::path::Path;
use super::refusal::Refusal;
use super::transfer::{Body, Opened, Step, Timeout, Transfer};
use super::troubled::{Caution, Troubled};
use super::window::Ack;
use super::wire::{self, BLKSIZE_MAX, BLKSIZE_MIN, Mode, Opcode, Packet, Repr, Request};
use crate::Throttle;
use crate::fnv::Fnv1a;
use crate::journal::Record;

/// Answers to packets of no transfer that may wait to be sent. More come only
/// from scanners, and are dropped.
const REPLIES: usize = 8;
/// Room for such an answer.
const REPLY_LEN: usize = 128;
/// When all slots are taken, a client that was silent this long must go.
const EVICT_AFTER: Duration = Duration::from_secs(5);

/// One of the server's UDP ports: 0 is port 69, 1 to [`Config::ports`] are
/// the ports of transfers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct LocalPort(pub u8);

impl LocalPort {
    /// Port 69, where requests arrive.
    pub const REQUESTS: Self = Self(0);
}

/// What a board lets the server do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// How many ports transfers are spread over, round robin. With 0 all
    /// traffic stays on port 69 (single-port mode), which gets through NAT
    /// and simple firewalls.
    pub ports: u8,
    /// Largest block in bytes, 8–65464. A client that asks for more is
    /// answered this much (RFC 2348 allows any smaller size).
    pub max_blksize: u16,
    /// Most blocks sent before an ACK is awaited, from 1 (RFC 7440).
    pub max_window: u16,
}

impl Config {
    /// IPv4, UDP and TFTP headers in each packet, in bytes.
    const HEADERS: u16 = 20 + 8 + wire::HEADER_LEN as u16;

    /// The largest block that fits one packet of `mtu` bytes: 1468 of 1500.
    pub const fn blksize_for_mtu(mtu: u16) -> u16 {
        let blksize = mtu.saturating_sub(Self::HEADERS);
        if blksize < BLKSIZE_MIN {
            BLKSIZE_MIN
        } else if blksize > BLKSIZE_MAX {
            BLKSIZE_MAX
        } else {
            blksize
        }
    }
}

impl Default for Config {
    /// Eight ports, blocks for Ethernet, windows of up to 64 blocks: past
    /// that some clients fail.
    fn default() -> Self {
        Self {
            ports: 8,
            max_blksize: Self::blksize_for_mtu(1500),
            max_window: 64,
        }
    }
}

/// What the server did since it started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Stats {
    /// Files sent whole.
    pub completed: u64,
    /// Transfers that broke off.
    pub failed: u64,
    /// Requests answered with an ERROR.
    pub refused: u64,
    /// Requests left unanswered because all slots were taken.
    pub overloaded: u64,
    /// Packets that were not TFTP.
    pub malformed: u64,
    /// Blocks sent more than once.
    pub resent: u64,
}

/// Names a transfer; outlives it without harm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Id {
    slot: u16,
    generation: u16,
}

/// What the loop is to do.
#[derive(Debug)]
pub enum Action<'a> {
    /// Open a file and hand it to [`Server::opened`].
    Open {
        /// For whom.
        id: Id,
        /// Relative to the data folder; always under `assets/`.
        path: &'a str,
    },
    /// Have [`Server::emit`] write a datagram, and send it.
    Send(Transmit),
}

/// A datagram to be written and sent before the next [`Server::poll`].
#[derive(Debug, Clone, Copy)]
pub struct Transmit {
    /// From which port of ours.
    pub local: LocalPort,
    /// To whom.
    pub to: SocketAddrV4,
    /// The most bytes that it can have.
    pub len: usize,
    content: Content,
}

#[derive(Debug, Clone, Copy)]
enum Content {
    /// For a packet of no transfer.
    Reply(Refusal),
    OfTransfer(Id, Body),
}

/// A TFTP server with room for `TRANSFERS` transfers at once: a power of two,
/// at most 32,768. `F` is an open file.
#[derive(Debug)]
pub struct Server<F, const TRANSFERS: usize> {
    config: Config,
    slots: [Option<Transfer<F>>; TRANSFERS],
    /// Which slot belongs to which client.
    peers: FnvIndexMap<SocketAddrV4, u16, TRANSFERS>,
    /// Slots with something to do, in turn; each at most once.
    ready: Deque<u16, TRANSFERS>,
    queued: [bool; TRANSFERS],
    replies: Deque<(LocalPort, SocketAddrV4, Refusal), REPLIES>,
    /// No transfer times out before this.
    wake_at: Instant,
    next_port: u8,
    generation: u16,
    troubled: Troubled,
    stats: Stats,
    malformed: Throttle,
    refused: Throttle,
    overloaded: Throttle,
}

impl<F, const TRANSFERS: usize> Server<F, TRANSFERS> {
    /// A server without transfers.
    pub const fn new(mut config: Config) -> Self {
        const { assert!(TRANSFERS <= 1 << 15) };
        if config.max_blksize < BLKSIZE_MIN {
            config.max_blksize = BLKSIZE_MIN;
        } else if config.max_blksize > BLKSIZE_MAX {
            config.max_blksize = BLKSIZE_MAX;
        }
        if config.max_window == 0 {
            config.max_window = 1;
        }
        const LOG_EVERY: Duration = Duration::from_secs(10);
        Self {
            config,
            slots: [const { None }; TRANSFERS],
            peers: FnvIndexMap::new(),
            ready: Deque::new(),
            queued: [false; TRANSFERS],
            replies: Deque::new(),
            wake_at: Instant::MAX,
            next_port: 0,
            generation: 0,
            troubled: Troubled::new(),
            stats: Stats {
                completed: 0,
                failed: 0,
                refused: 0,
                overloaded: 0,
                malformed: 0,
                resent: 0,
            },
            malformed: Throttle::new(LOG_EVERY),
            refused: Throttle::new(LOG_EVERY),
            overloaded: Throttle::new(LOG_EVERY),
        }
    }

    /// What was done so far.
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// How many transfers are under way.
    pub fn active(&self) -> usize {
        self.peers.len()
    }

    /// When [`poll`](Self::poll) is to be called even if nothing arrives.
    /// May be earlier than necessary.
    pub fn next_deadline(&self) -> Option<Instant> {
        Some(self.wake_at).filter(|at| *at < Instant::MAX)
    }

    /// Takes a datagram that `from` sent to `local`. What follows from it
    /// comes out of [`poll`](Self::poll).
    pub fn on_datagram(
        &mut self,
        now: Instant,
        local: LocalPort,
        from: SocketAddrV4,
        bytes: &[u8],
        journal: &impl Record,
    ) {
        let ip = from.ip();
        if from.port() == 0 || ip.is_unspecified() || ip.is_multicast() || ip.is_broadcast() {
            self.note_malformed(now, from, "impossible sender");
            return;
        }
        let packet = match Packet::new_checked(bytes) {
            Ok(packet) => packet,
            Err(_) => {
                self.note_malformed(now, from, "not a TFTP packet");
                return;
            }
        };
        match Repr::parse(&packet) {
            Ok(Repr::Read(request)) if local == LocalPort::REQUESTS => {
                self.on_read(now, from, bytes, &request, journal);
            }
            Ok(Repr::Write(request)) if local == LocalPort::REQUESTS => {
                let name = request.filename;
                self.refuse(now, from, Refusal::ReadOnly, name, journal);
            }
            Ok(Repr::Ack { block }) => self.on_ack(now, local, from, block, journal),
            Ok(Repr::Error { code, message }) => {
                // An unknown sender is not answered: errors never are.
                if let Some(slot) = self.slot_of(from, local) {
                    self.end(slot, now, Ending::ClientError(code, message), journal);
                    self.release(slot);
                }
            }
            Ok(_) => self.reply(local, from, Refusal::Illegal),
            Err(error) => {
                self.note_malformed(now, from, "malformed request");
                if matches!(packet.opcode(), Opcode::Read | Opcode::Write) {
                    self.reply(local, from, Refusal::Malformed(error));
                }
            }
        }
    }

    fn on_read(
        &mut self,
        now: Instant,
        from: SocketAddrV4,
        bytes: &[u8],
        request: &Request<'_>,
        journal: &impl Record,
    ) {
        let name = request.filename;
        if request.mode == Mode::Mail {
            return self.refuse(now, from, Refusal::Mail, name, journal);
        }
        let path = match Path::clean(name) {
            Ok(path) => path,
            Err(error) => return self.refuse(now, from, Refusal::Path(error), name, journal),
        };
        let fingerprint = Fnv1a::of(bytes);
        if let Some(slot) = self.peers.get(&from).copied().map(usize::from)
            && let Some(transfer) = self.transfer(slot)
        {
            if transfer.fingerprint == fingerprint && transfer.on_repeated_request(now) {
                self.enqueue(slot);
                return;
            }
            self.end_for_another(slot, now, journal);
        }
        self.end_stalled(from, &path, now, journal);
        self.note_all_sent(from, &path, now, journal);
        let Some(slot) = self.vacant_slot(now, journal) else {
            self.stats.overloaded += 1;
            if let Some(missed) = self.overloaded.count(now) {
                // No ERROR: the client will ask again, and then may be served.
                warn!(
                    "tftp: all {} transfers busy, {} must wait{}",
                    TRANSFERS, from, missed
                );
            }
            return;
        };
        self.generation = self.generation.wrapping_add(1);
        let caution = self.troubled.caution(*from.ip(), now);
        if caution > Caution::None {
            info!("tftp: {} had trouble before, offering less", from);
        }
        let transfer = Transfer::new(
            (from, self.port_for_transfer()),
            path,
            (request.mode, request.options),
            fingerprint,
            caution,
            self.generation,
            now,
        );
        // Slots and `peers` have the same capacity, and a slot was free.
        if self.peers.insert(from, slot as u16).is_ok()
            && let Some(place) = self.slots.get_mut(slot)
        {
            *place = Some(transfer);
            self.enqueue(slot);
        }
    }

    fn on_ack(
        &mut self,
        now: Instant,
        local: LocalPort,
        from: SocketAddrV4,
        block: u16,
        journal: &impl Record,
    ) {
        let Some(slot) = self.slot_of(from, local) else {
            return self.reply(local, from, Refusal::UnknownTransfer);
        };
        let Some(transfer) = self.transfer(slot) else {
            return;
        };
        match transfer.on_ack(block, now) {
            Ack::Stale => {}
            Ack::Restart | Ack::Progress => self.enqueue(slot),
            Ack::Complete => {
                self.end(slot, now, Ending::Completed, journal);
                self.release(slot);
            }
        }
    }

    /// Takes the file that [`Action::Open`] asked for.
    pub fn opened(
        &mut self,
        id: Id,
        result: Result<(F, Metadata), FileError>,
        now: Instant,
        journal: &impl Record,
    ) {
        let config = self.config;
        let Some(transfer) = self.transfer_by(id) else {
            return;
        };
        let slot = usize::from(id.slot);
        match transfer.opened(result, &config, now) {
            Opened::Going => self.enqueue(slot),
            Opened::Refused(refusal) => {
                transfer.close(refusal);
                self.end(slot, now, Ending::Refused(refusal), journal);
                self.enqueue(slot);
            }
            Opened::Later => {
                self.stats.overloaded += 1;
                if self.overloaded.count(now).is_some() {
                    warn!("tftp: {}", FileError::Busy.message());
                }
                self.release(slot);
            }
        }
    }

    /// The next thing to do, if there is any. Call until there is none: all
    /// transfers that may send get their turn, one packet each.
    pub fn poll(&mut self, now: Instant, journal: &impl Record) -> Option<Action<'_>> {
        if now >= self.wake_at {
            self.expire(now, journal);
        }
        if let Some((local, to, refusal)) = self.replies.pop_front() {
            return Some(Action::Send(Transmit {
                local,
                to,
                len: REPLY_LEN,
                content: Content::Reply(refusal),
            }));
        }
        while let Some(slot) = self.ready.pop_front() {
            let index = usize::from(slot);
            if let Some(queued) = self.queued.get_mut(index) {
                *queued = false;
            }
            let Some(transfer) = self.transfer(index) else {
                continue;
            };
            let step = transfer.step(now);
            let again = transfer.is_ready();
            let (local, to) = (transfer.local, transfer.peer);
            let generation = transfer.generation;
            let id = Id { slot, generation };
            let deadline = transfer.deadline;
            self.wake_at = self.wake_at.min(deadline);
            if again {
                self.enqueue(index);
            }
            match step {
                Step::Wait => {}
                Step::Drop => self.release(index),
                Step::Break(refusal) => {
                    self.end(index, now, Ending::BrokenOff(refusal), journal);
                    self.release(index);
                }
                Step::Send(len, body) => {
                    let content = Content::OfTransfer(id, body);
                    return Some(Action::Send(Transmit {
                        local,
                        to,
                        len,
                        content,
                    }));
                }
                Step::Open => {
                    let transfer = self.slots.get(index)?.as_ref()?;
                    let path = transfer.candidate();
                    return Some(Action::Open { id, path });
                }
            }
        }
        None
    }

    /// Writes a datagram into `buffer`, which must have room for
    /// [`Transmit::len`] bytes, and returns its length; 0 means that nothing
    /// is to be sent. `read` is `Files::poll_read_at`.
    ///
    /// A file that cannot be read turns the datagram into an ERROR. After
    /// `Pending` the call is to be repeated with the same buffer, so only a
    /// board whose files are always at hand may write into the socket's own.
    pub fn emit(
        &mut self,
        transmit: &mut Transmit,
        buffer: &mut [u8],
        read: impl FnMut(&F, u64, &mut [u8]) -> Poll<Result<usize, FileError>>,
    ) -> Poll<usize> {
        match &mut transmit.content {
            Content::Reply(refusal) => {
                let text = refusal.about("");
                let len = wire::emit_error(refusal.code(), format_args!("{text}"), buffer);
                Poll::Ready(len.unwrap_or_default())
            }
            Content::OfTransfer(id, body) => {
                let slot = usize::from(id.slot);
                let Some(transfer) = self.transfer_by(*id) else {
                    return Poll::Ready(0);
                };
                let written = transfer.emit(body, buffer, read);
                // A read error is news for `poll`.
                self.enqueue(slot);
                written
            }
        }
    }

    /// Handles all timeouts that are due, and finds the next.
    fn expire(&mut self, now: Instant, journal: &impl Record) {
        self.wake_at = Instant::MAX;
        for slot in 0..TRANSFERS {
            let Some(transfer) = self.transfer(slot) else {
                continue;
            };
            if transfer.deadline <= now {
                match transfer.on_timeout(now) {
                    Timeout::GiveUp if transfer.is_all_sent() => {
                        self.end(slot, now, Ending::Unacknowledged, journal);
                        self.release(slot);
                    }
                    Timeout::GiveUp => {
                        transfer.close(Refusal::GaveUp);
                        self.end(slot, now, Ending::BrokenOff(Refusal::GaveUp), journal);
                    }
                    Timeout::Repeat => {}
                }
                self.enqueue(slot);
            } else {
                let deadline = transfer.deadline;
                self.wake_at = self.wake_at.min(deadline);
            }
        }
    }

    /// Queues an answer, if there is room.
    fn reply(&mut self, local: LocalPort, to: SocketAddrV4, refusal: Refusal) {
        let _ = self.replies.push_back((local, to, refusal));
    }

    fn port_for_transfer(&mut self) -> LocalPort {
        if self.config.ports == 0 {
            return LocalPort::REQUESTS;
        }
        self.next_port = self.next_port % self.config.ports + 1;
        LocalPort(self.next_port)
    }

    /// A free slot, by force if one can be freed.
    fn vacant_slot(&mut self, now: Instant, journal: &impl Record) -> Option<usize> {
        if let Some(slot) = self.slots.iter().position(Option::is_none) {
            return Some(slot);
        }
        let (slot, silence) = self
            .slots
            .iter()
            .enumerate()
            .filter_map(|(slot, transfer)| Some((slot, transfer.as_ref()?.silence(now))))
            .max_by_key(|(_, silence)| *silence)?;
        if silence < EVICT_AFTER {
            return None;
        }
        self.end(slot, now, Ending::BrokenOff(Refusal::GaveUp), journal);
        self.release(slot);
        Some(slot)
    }

    fn release(&mut self, slot: usize) {
        if let Some(transfer) = self.slots.get_mut(slot).and_then(Option::take) {
            self.peers.swap_remove(&transfer.peer);
        }
    }

    /// Gives a slot its turn, if it has something to do.
    fn enqueue(&mut self, slot: usize) {
        if let Some(Some(transfer)) = self.slots.get(slot)
            && let Some(queued) = self.queued.get_mut(slot)
            && !*queued
            && transfer.is_ready()
        {
            // Every slot is in the queue once at most: there is room.
            *queued = self.ready.push_back(slot as u16).is_ok();
        }
    }

    fn transfer(&mut self, slot: usize) -> Option<&mut Transfer<F>> {
        self.slots.get_mut(slot)?.as_mut()
    }

    fn transfer_by(&mut self, id: Id) -> Option<&mut Transfer<F>> {
        self.transfer(usize::from(id.slot))
            .filter(|transfer| transfer.generation == id.generation)
    }

    /// The slot of the transfer that a packet belongs to.
    fn slot_of(&mut self, from: SocketAddrV4, local: LocalPort) -> Option<usize> {
        let slot = usize::from(*self.peers.get(&from)?);
        self.transfer(slot)?.local.eq(&local).then_some(slot)
    }
}
