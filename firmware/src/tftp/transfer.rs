//! One file on its way to one client.

use core::net::SocketAddrV4;
use core::task::{Poll, ready};

use embassy_time::{Duration, Instant};
use ichor_hal::{FileError, Metadata};

use super::netascii::Cursor;
use super::path::Path;
use super::refusal::Refusal;
use super::troubled::Caution;
use super::window::{Ack, Window};
use super::wire::{self, BLKSIZE_DEFAULT, ErrorCode, HEADER_LEN, Mode, Options, Repr};
use super::{Config, LocalPort};

/// Pause before a packet is sent again, until it is known how long the client
/// takes to answer. Doubles with every repetition.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The shortest pause for a client that answers at once, and how many of its
/// usual round trips it is given. A client that asks for a timeout (RFC 2349)
/// means how long it waits itself: U-Boot says five seconds. The pause is
/// never longer than that, but a lost packet is not worth waiting so long.
const RETRY_SHORTEST: Duration = Duration::from_millis(40);
const RETRY_ROUND_TRIPS: u32 = 4;
/// Longest such pause.
const RETRY_LONGEST: Duration = Duration::from_secs(8);
/// Time without progress after which a transfer is given up (RFC 7440 §5
/// wants a limit): longer than any known client takes to try again. At least
/// four of the pauses that a client asked for.
const GIVE_UP_AFTER: Duration = Duration::from_secs(30);
/// A request that repeats the one being served is a stray duplicate if the
/// client made progress this recently; otherwise the client started over.
const DUPLICATE_WITHIN: Duration = Duration::from_secs(1);

/// Room for an OACK: four option names, their numbers, and NULs.
const OPTION_ACK_LEN: usize = 96;
/// Room for an ERROR: code, path and a sentence.
const ERROR_LEN: usize = 256;

/// Where a transfer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// The file is to be opened; `asked`: the loop is at it.
    Opening { asked: bool },
    /// An OACK is to be acknowledged; `sent`: it is on its way.
    Negotiating { sent: bool },
    /// Blocks are being sent.
    Sending,
    /// An ERROR is to be sent.
    Closing(Refusal),
    /// An ERROR was put in place of a block that could not be read.
    Broken(Refusal),
    /// Nothing is left to do.
    Over,
}

/// What is to be done for a transfer next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Nothing for now.
    Wait,
    /// Open the file at [`Transfer::candidate`].
    Open,
    /// Send a datagram of at most this many bytes.
    Send(usize, Body),
    /// Note that it broke off, and drop it.
    Break(Refusal),
    /// Drop it.
    Drop,
}

/// What is in a datagram of a transfer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Body {
    /// The agreed options.
    OptionAck,
    /// The reason why the transfer is over.
    Error(Refusal),
    /// A block of the file.
    Data {
        /// Its number, from 1.
        block: u64,
        /// How much of it was read so far.
        read: ReadSoFar,
    },
}

/// How far a block has been read, should the board make the reader wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ReadSoFar {
    /// Octet: this many bytes.
    Bytes(usize),
    /// Netascii: up to here.
    Text(Cursor),
}

/// What came of an opened file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opened {
    /// The transfer goes on, with the file or in another place.
    Going,
    /// No file: the client is to be told.
    Refused(Refusal),
    /// Not now: the client's next request may find a better time.
    Later,
}

/// What a timeout leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timeout {
    /// Something is sent again.
    Repeat,
    /// The client is gone.
    GiveUp,
}

/// A transfer and all it needs to go on.
#[derive(Debug)]
pub(super) struct Transfer<F> {
    /// The client's address and port: with it packets find their transfer.
    pub(super) peer: SocketAddrV4,
    /// The port of ours that the client is to talk to.
    pub(super) local: LocalPort,
    /// The file that was asked for.
    pub(super) path: Path,
    /// A hash of the request, by which its repetition is known.
    pub(super) fingerprint: u64,
    /// When the request came.
    pub(super) started: Instant,
    /// What was held back of the options asked for.
    pub(super) caution: Caution,
    /// How often the slot was used: keeps late answers apart.
    pub(super) generation: u16,
    /// When [`on_timeout`](Self::on_timeout) is due.
    pub(super) deadline: Instant,
    /// Whether its end is in the books already. It may linger: to tell the
    /// client of an error, or until its last block is acknowledged.
    pub(super) noted: bool,
    /// When the client last made progress.
    heard: Instant,
    retry_after: Duration,
    phase: Phase,
    mode: Mode,
    /// As asked for until the file is open, as agreed on from then.
    options: Options,
    /// Whether the second place of [`Path`] is looked at.
    as_spelled: bool,
    file: Option<F>,
    /// In bytes.
    len: u64,
    window: Window,
    /// Netascii: a place at or before the first block that may be asked for
    /// again, and the place after the last block encoded.
    first: Cursor,
    next: Cursor,
}

impl<F> Transfer<F> {
    pub(super) fn new(
        (peer, local): (SocketAddrV4, LocalPort),
        path: Path,
        (mode, options): (Mode, Options),
        fingerprint: u64,
        caution: Caution,
        generation: u16,
        now: Instant,
    ) -> Self {
        Self {
            peer,
            local,
            path,
            fingerprint,
            started: now,
            caution,
            generation,
            deadline: Instant::MAX,
            noted: false,
            heard: now,
            retry_after: RETRY_FIRST,
            phase: Phase::Opening { asked: false },
            mode,
            options,
            as_spelled: false,
            file: None,
            len: 0,
            window: Window::new(1),
            first: Cursor::START,
            next: Cursor::START,
        }
    }

    /// The path to open.
    pub(super) fn candidate(&self) -> &str {
        let spelled = self.path.as_spelled().filter(|_| self.as_spelled);
        spelled.unwrap_or(self.path.as_str())
    }

    /// The path that people are told: the name as spelled if it has its
    /// `assets/` already.
    pub(super) fn told_path(&self) -> &str {
        self.path.as_spelled().unwrap_or(self.path.as_str())
    }

    /// Length of the file in bytes.
    pub(super) fn len(&self) -> u64 {
        self.len
    }

    /// Bytes per block.
    pub(super) fn blksize(&self) -> u16 {
        self.options.blksize.unwrap_or(BLKSIZE_DEFAULT)
    }

    /// Blocks and ACKs so far.
    pub(super) fn window(&self) -> &Window {
        &self.window
    }

    /// Whether the client acknowledged a block yet.
    pub(super) fn has_progress(&self) -> bool {
        self.window.acked() > 0
    }

    /// Whether the client seems to be gone.
    pub(super) fn is_stalled(&self) -> bool {
        self.window.timeouts() >= 2
    }

    /// Whether nothing but the last ACK may be missing. Who has the whole file
    /// sends it once and is gone (RFC 1350 §6), so it may be lost for good.
    pub(super) fn is_all_sent(&self) -> bool {
        let answered = self.has_progress() || !self.options.is_empty();
        self.phase == Phase::Sending && answered && self.window.all_sent()
    }

    /// Time since the client's last progress.
    pub(super) fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard)
    }

    /// Takes the answer to [`Step::Open`].
    pub(super) fn opened(
        &mut self,
        result: Result<(F, Metadata), FileError>,
        config: &Config,
        now: Instant,
    ) -> Opened {
        if self.phase != (Phase::Opening { asked: true }) {
            return Opened::Going;
        }
        match result {
            Ok((file, metadata)) => {
                self.file = Some(file);
                self.len = metadata.len;
                self.agree(config);
                self.heard = now;
                Opened::Going
            }
            Err(FileError::NotFound) if !self.as_spelled && self.path.as_spelled().is_some() => {
                self.as_spelled = true;
                self.phase = Phase::Opening { asked: false };
                Opened::Going
            }
            Err(FileError::Busy) => Opened::Later,
            Err(error) => Opened::Refused(Refusal::File(error)),
        }
    }

    /// Settles the options: never more than asked for, offered and fitting.
    fn agree(&mut self, config: &Config) {
        let asked = self.options;
        let octet = self.mode == Mode::Octet;
        let largest = if self.caution >= Caution::SmallBlocks {
            config.max_blksize.min(BLKSIZE_DEFAULT)
        } else {
            config.max_blksize
        };
        self.options = Options {
            blksize: asked.blksize.map(|size| size.min(largest)),
            timeout: asked.timeout,
            // How long the text is once encoded, nobody knows yet.
            tsize: asked.tsize.filter(|_| octet).map(|_| self.len),
            windowsize: asked
                .windowsize
                .filter(|_| self.caution < Caution::LockStep)
                .map(|size| size.min(config.max_window)),
        };
        if self.caution >= Caution::NoOptions {
            self.options = Options::default();
        }
        self.window = Window::new(self.options.windowsize.unwrap_or(1));
        if octet {
            let blocks = self.len / u64::from(self.blksize());
            self.window.set_last(blocks.saturating_add(1));
        }
        self.retry_after = self.first_retry();
        self.phase = if self.options.is_empty() {
            Phase::Sending
        } else {
            Phase::Negotiating { sent: false }
        };
    }

    fn first_retry(&self) -> Duration {
        let longest = self.asked_pause();
        let usual = self
            .window
            .usual_round_trip()
            .map(|usual| usual * RETRY_ROUND_TRIPS);
        usual
            .map_or(RETRY_FIRST, |pause| pause.max(RETRY_SHORTEST))
            .min(longest)
    }

    /// The longest first pause.
    fn asked_pause(&self) -> Duration {
        let asked = self.options.timeout.map(u64::from);
        asked.map_or(RETRY_FIRST, Duration::from_secs)
    }

    fn give_up_after(&self) -> Duration {
        GIVE_UP_AFTER.max(self.asked_pause() * 4)
    }

    /// Ends the transfer with an ERROR packet.
    pub(super) fn close(&mut self, refusal: Refusal) {
        self.phase = Phase::Closing(refusal);
        self.deadline = Instant::MAX;
    }

    /// Whether [`step`](Self::step) has something to do.
    pub(super) fn is_ready(&self) -> bool {
        match self.phase {
            Phase::Opening { asked } => !asked,
            Phase::Negotiating { sent } => !sent,
            Phase::Sending => self.window.may_send(),
            Phase::Closing(_) | Phase::Broken(_) | Phase::Over => true,
        }
    }

    /// The next thing to do; counts as done.
    pub(super) fn step(&mut self, now: Instant) -> Step {
        match self.phase {
            Phase::Opening { asked: false } => {
                self.phase = Phase::Opening { asked: true };
                Step::Open
            }
            Phase::Negotiating { sent: false } => {
                self.phase = Phase::Negotiating { sent: true };
                if self.window.timeouts() == 0 {
                    self.heard = now;
                }
                self.deadline = now + self.retry_after;
                Step::Send(OPTION_ACK_LEN, Body::OptionAck)
            }
            Phase::Sending => {
                let Some(block) = self.window.send(now) else {
                    return Step::Wait;
                };
                self.deadline = now + self.retry_after;
                let (len, read) = if self.mode == Mode::Octet {
                    (self.block_at(block).1, ReadSoFar::Bytes(0))
                } else {
                    // After a loss, from the last place known before it.
                    let near = Some(self.next).filter(|next| next.block <= block);
                    let read = ReadSoFar::Text(near.unwrap_or(self.first));
                    (usize::from(self.blksize()), read)
                };
                Step::Send(HEADER_LEN + len, Body::Data { block, read })
            }
            Phase::Closing(refusal) => {
                self.phase = Phase::Over;
                Step::Send(ERROR_LEN, Body::Error(refusal))
            }
            Phase::Broken(refusal) => Step::Break(refusal),
            Phase::Over => Step::Drop,
            Phase::Opening { asked: true } | Phase::Negotiating { sent: true } => Step::Wait,
        }
    }

    /// Takes an ACK.
    pub(super) fn on_ack(&mut self, block: u16, now: Instant) -> Ack {
        let ack = match self.phase {
            Phase::Negotiating { sent: true } if block == 0 => {
                self.phase = Phase::Sending;
                let took = self.silence(now);
                self.window
                    .agreed((self.window.timeouts() == 0).then_some(took));
                Ack::Progress
            }
            Phase::Sending => self.window.on_ack(block, now),
            _ => Ack::Stale,
        };
        if matches!(ack, Ack::Progress | Ack::Complete) {
            self.heard = now;
            self.retry_after = self.first_retry();
            self.deadline = now + self.retry_after;
        }
        if self.mode == Mode::Netascii && self.next.block == self.window.acked() + 1 {
            self.first = self.next;
        }
        ack
    }

    /// Takes a repetition of the request. Returns whether it was one; if not,
    /// the client started over.
    pub(super) fn on_repeated_request(&mut self, now: Instant) -> bool {
        match self.phase {
            Phase::Opening { .. } | Phase::Negotiating { sent: false } => true,
            Phase::Negotiating { sent: true } => {
                self.phase = Phase::Negotiating { sent: false };
                true
            }
            Phase::Sending if !self.has_progress() && self.options.is_empty() => {
                self.window.repeat();
                true
            }
            Phase::Sending => self.silence(now) < DUPLICATE_WITHIN,
            Phase::Closing(_) | Phase::Broken(_) | Phase::Over => false,
        }
    }

    /// Call when [`deadline`](Self::deadline) has passed.
    pub(super) fn on_timeout(&mut self, now: Instant) -> Timeout {
        self.deadline = Instant::MAX;
        if self.silence(now) >= self.give_up_after() {
            return Timeout::GiveUp;
        }
        match self.phase {
            Phase::Negotiating { .. } => self.phase = Phase::Negotiating { sent: false },
            Phase::Sending => {}
            _ => return Timeout::Repeat,
        }
        self.window.on_timeout();
        let longest = RETRY_LONGEST.max(self.first_retry());
        let left = self.give_up_after() - self.silence(now);
        self.retry_after = (self.retry_after * 2).min(longest).min(left);
        Timeout::Repeat
    }

    /// Where a block of an octet transfer lies in the file, and its length.
    fn block_at(&self, block: u64) -> (u64, usize) {
        let blksize = u64::from(self.blksize());
        let offset = block.saturating_sub(1).saturating_mul(blksize);
        let len = self.len.saturating_sub(offset).min(blksize);
        // At most `blksize`: it fits.
        (offset, usize::try_from(len).unwrap_or_default())
    }

    /// Writes a datagram, and returns its length. A block that cannot be read
    /// becomes an ERROR. After `Pending` the call may be repeated with the
    /// same buffer.
    pub(super) fn emit(
        &mut self,
        body: &mut Body,
        buffer: &mut [u8],
        read: impl FnMut(&F, u64, &mut [u8]) -> Poll<Result<usize, FileError>>,
    ) -> Poll<usize> {
        let refusal = match body {
            Body::OptionAck => {
                let repr = Repr::OptionAck(self.options);
                return Poll::Ready(repr.emit(buffer).unwrap_or_default());
            }
            Body::Error(refusal) => *refusal,
            Body::Data {
                block,
                read: so_far,
            } => match ready!(self.emit_block(*block, so_far, buffer, read)) {
                Ok(len) => return Poll::Ready(len),
                Err(error) => {
                    let refusal = Refusal::File(error);
                    self.phase = Phase::Broken(refusal);
                    self.deadline = Instant::MAX;
                    refusal
                }
            },
        };
        let text = refusal.about(self.told_path());
        let code: ErrorCode = refusal.code();
        let len = wire::emit_error(code, format_args!("{text}"), buffer);
        Poll::Ready(len.unwrap_or_default())
    }

    fn emit_block(
        &mut self,
        block: u64,
        so_far: &mut ReadSoFar,
        buffer: &mut [u8],
        mut read: impl FnMut(&F, u64, &mut [u8]) -> Poll<Result<usize, FileError>>,
    ) -> Poll<Result<usize, FileError>> {
        const NO_ROOM: Poll<Result<usize, FileError>> = Poll::Ready(Err(FileError::Io));
        let (offset, len) = self.block_at(block);
        let blksize = usize::from(self.blksize());
        let (Some(file), Some((header, payload))) =
            (&self.file, buffer.split_at_mut_checked(HEADER_LEN))
        else {
            return NO_ROOM;
        };
        // Cutting to 16 bits is the roll-over.
        if wire::emit_data_header(block as u16, header).is_err() {
            return NO_ROOM;
        }
        let mut read = |offset, buf: &mut [u8]| read(file, offset, buf);
        match so_far {
            ReadSoFar::Bytes(filled) => {
                let Some(payload) = payload.get_mut(..len) else {
                    return NO_ROOM;
                };
                while let Some(rest) = payload.get_mut(*filled..).filter(|r| !r.is_empty()) {
                    let n = ready!(read(offset.saturating_add(*filled as u64), rest))?;
                    if n == 0 {
                        // Shorter than it was when it was opened.
                        return Poll::Ready(Err(FileError::Io));
                    }
                    *filled = filled.saturating_add(n);
                }
                Poll::Ready(Ok(HEADER_LEN + len))
            }
            ReadSoFar::Text(cursor) => {
                let Some(payload) = payload.get_mut(..blksize) else {
                    return NO_ROOM;
                };
                // Blocks before the wanted one are encoded to find its place.
                while cursor.block <= block {
                    let at = cursor.block;
                    let n = ready!(cursor.encode(payload, self.len, &mut read))?;
                    self.next = *cursor;
                    if n < blksize {
                        self.window.set_last(at);
                    }
                    if at == block {
                        return Poll::Ready(Ok(HEADER_LEN + n));
                    }
                    if n < blksize {
                        break;
                    }
                }
                // The file ended before this block: nothing to send.
                Poll::Ready(Ok(0))
            }
        }
    }
}
