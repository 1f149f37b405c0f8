//! One connection: where its requests begin and end, and how long it may take.

use embassy_time::{Duration, Instant};

use super::request::{self, HEAD_TOO_LARGE, Request, URI_TOO_LONG};
use super::response::{Framing, Refusal, Reply, Status};
use super::target::PathBuf;

/// Default room for a request head in bytes. Boot firmware sends 100 to 300,
/// iPXE with all its query parameters 500, a browser at the status page about
/// 1,000. RFC 9112 §3 recommends 8,000 for the request line alone, which no
/// client of a netboot server needs, times the number of connections.
pub const HEAD_LEN: usize = 2048;

const HEAD_TIMEOUT: Refusal = Refusal::new(
    Status::RequestTimeout,
    "request came too slowly",
    "The whole request head must arrive within some seconds.",
);

/// How long a peer may take. None of these can be stretched by sending or
/// taking single bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// From the first byte of a request head to its last, and before that
    /// from the connection's start to the first byte.
    pub head: Duration,
    /// From the end of a response to the first byte of the next request.
    pub idle: Duration,
    /// In each such span of a response the peer must take
    /// [`progress_bytes`](Self::progress_bytes), or all that is left; in each
    /// of a request's body it must send as many.
    pub progress: Duration,
    /// See [`progress`](Self::progress).
    pub progress_bytes: u32,
    /// For the peer to take the last reply and close its side.
    pub linger: Duration,
}

impl Limits {
    /// 10 s for a head, 10 s idle, 64 KiB a minute, 3 s to close. The slowest
    /// client that was measured (an emulated Pi) takes 9 MB a minute; the
    /// minute is for those that stop to write to a card.
    pub const DEFAULT: Self = Self {
        head: Duration::from_secs(10),
        idle: Duration::from_secs(10),
        progress: Duration::from_secs(60),
        progress_bytes: 64 * 1024,
        linger: Duration::from_secs(3),
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// What the socket loop does next.
#[expect(
    clippy::large_enum_variant,
    reason = "moved once per request, and there is no heap to box it on"
)]
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress<'a> {
    /// Read into [`recv_buf`](Connection::recv_buf). If the peer has ended
    /// its side, no request will come any more: close.
    NeedMore,
    /// Answer this, then call [`finished`](Connection::finished).
    Request(Request<'a>),
    /// Send this reply. The connection is closing from here on.
    Reply(Reply),
    /// Close the sending side; read and throw away until the peer closes its
    /// own or the [`deadline`](Connection::deadline) passes. Closing a socket
    /// with unread bytes at once would answer them with a reset, which can
    /// overtake the last reply (RFC 9112 §9.6).
    Close,
}

/// What the socket loop does about a deadline that has passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timeout {
    /// Send this reply (408), then go on with
    /// [`next_request`](Connection::next_request), which says `Close`.
    Reply(Reply),
    /// Nothing is lost: as [`Progress::Close`].
    Close,
    /// The peer takes nothing any more: abort the socket.
    Abort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing of a request has come. Empty lines do not count.
    Idle,
    /// Part of a request head has come.
    Head,
    /// A request was handed out and is being answered.
    Answering {
        /// Length of its head, still in the buffer.
        head_len: usize,
        /// Whether the request lets the connection stay open.
        persistent: bool,
        /// Bytes of the request's body that nobody has read.
        body_left: u64,
        /// Bytes that the peer took or gave since the deadline was last moved.
        moved: u32,
    },
    /// There will be no further response.
    Closing,
}

/// The server's side of one connection, without its socket.
///
/// `N` is the room for a request head; pipelined requests wait there too, and
/// what does not fit waits in the socket.
#[derive(Debug)]
pub struct Connection<const N: usize = HEAD_LEN> {
    buf: [u8; N],
    /// How much of `buf` is filled: never more than `N`.
    filled: usize,
    /// The decoded path of the request that is being answered.
    path: PathBuf,
    phase: Phase,
}

impl<const N: usize> Connection<N> {
    /// A connection that was accepted just now.
    pub fn new(now: Instant, limits: Limits) -> Self {
        Self {
            buf: [0; N],
            filled: 0,
            path: PathBuf::new(),
            phase: Phase {
                state: State::Idle,
                deadline: now.saturating_add(limits.head),
                limits,
            },
        }
    }

    /// Where to put bytes that were read. Empty while a full head is being
    /// answered; never empty when [`Progress::NeedMore`] or
    /// [`Progress::Close`] was returned.
    pub fn recv_buf(&mut self) -> &mut [u8] {
        let used = match self.phase.state {
            State::Closing => 0,
            _ => self.filled,
        };
        self.buf.get_mut(used..).unwrap_or_default()
    }

    /// The first `n` bytes of [`recv_buf`](Self::recv_buf) were filled.
    pub fn received(&mut self, n: usize, now: Instant) {
        if self.phase.state == State::Closing {
            return;
        }
        self.filled = self.filled.saturating_add(n).min(N);
        if self.phase.state == State::Idle {
            self.begin_head(now);
        }
    }

    /// The next thing to do, from the bytes that are there.
    ///
    /// Calling this before the answer was [`finished`](Self::finished) says
    /// that it broke off, and closes the connection.
    pub fn next_request(&mut self, now: Instant) -> Progress<'_> {
        match self.phase.state {
            State::Idle => return Progress::NeedMore,
            State::Head => {}
            State::Answering { .. } => {
                self.phase.close(now);
                return Progress::Close;
            }
            State::Closing => return Progress::Close,
        }
        let bytes = self.buf.get(..self.filled).unwrap_or_default();
        let reply = match request::parse(bytes, &mut self.path) {
            Ok(Some((request, head_len))) => {
                let body = request.body.len();
                self.phase.answer(head_len, request.persistent, body, now);
                return Progress::Request(request);
            }
            Ok(None) if bytes.len() < N => return Progress::NeedMore,
            Ok(None) if bytes.contains(&b'\n') => last_words(bytes, HEAD_TOO_LARGE),
            Ok(None) => last_words(bytes, URI_TOO_LONG),
            Err(reply) => reply,
        };
        self.phase.close(now);
        Progress::Reply(reply)
    }

    /// The peer has acknowledged `bytes` more of the response.
    pub fn progress(&mut self, now: Instant, bytes: usize) {
        self.phase.progress(now, bytes);
    }

    /// Takes bytes of the request's body that came together with its head, and
    /// returns how many. When there are none, the rest must be read straight
    /// from the socket, but no more than [`body_left`](Self::body_left): what
    /// comes behind it is the next request.
    pub fn take_body(&mut self, out: &mut [u8], now: Instant) -> usize {
        let State::Answering {
            head_len,
            body_left,
            ..
        } = self.phase.state
        else {
            return 0;
        };
        let bytes = self.buf.get(head_len..self.filled).unwrap_or_default();
        let n = bytes
            .len()
            .min(out.len())
            .min(usize::try_from(body_left).unwrap_or(usize::MAX));
        out[..n].copy_from_slice(&bytes[..n]);
        self.buf.copy_within(head_len + n..self.filled, head_len);
        self.filled -= n;
        self.body_received(n, now);
        n
    }

    /// `n` bytes of the request's body were read from the socket. The peer
    /// must send at the rate at which it would have to take a response.
    pub fn body_received(&mut self, n: usize, now: Instant) {
        if let State::Answering { body_left, .. } = &mut self.phase.state {
            *body_left = body_left.saturating_sub(n as u64);
        }
        self.phase.progress(now, n);
    }

    /// Bytes of the request's body that were not read yet.
    pub fn body_left(&self) -> u64 {
        match self.phase.state {
            State::Answering { body_left, .. } => body_left,
            _ => 0,
        }
    }

    /// The response begins only now, after work that was not the peer's: its
    /// time does too.
    pub fn answer_begins(&mut self, now: Instant) {
        if let State::Answering { moved, .. } = &mut self.phase.state {
            *moved = 0;
            self.phase.deadline = now.saturating_add(self.phase.limits.progress);
        }
    }

    /// What a response can say that is written now: the connection stays open
    /// if the request lets it and its body was read.
    pub fn framing(&self) -> Framing {
        Framing {
            body: true,
            keep_alive: matches!(
                self.phase.state,
                State::Answering {
                    persistent: true,
                    body_left: 0,
                    ..
                }
            ),
        }
    }

    /// The whole response was sent, and the peer has acknowledged it: from here
    /// on the peer is idle, and a slow one that has not would be cut off.
    ///
    /// Never call this after a body that broke off: abort the socket instead.
    pub fn finished(&mut self, now: Instant) {
        match self.phase.state {
            State::Answering {
                head_len,
                persistent: true,
                body_left: 0,
                ..
            } => {
                self.discard(head_len);
                self.phase.idle(now);
                self.begin_head(now);
            }
            State::Answering { .. } => self.phase.close(now),
            State::Idle | State::Head | State::Closing => {}
        }
    }

    /// When to give up waiting, for whatever is being waited for.
    pub fn deadline(&self) -> Instant {
        self.phase.deadline
    }

    /// The [`deadline`](Self::deadline) has passed: what to do about it. The
    /// connection is closing from here on.
    pub fn timed_out(&mut self, now: Instant) -> Timeout {
        let bytes = self.buf.get(..self.filled).unwrap_or_default();
        let timeout = match self.phase.state {
            // A client may be sending its next request right now: it will see
            // the end and try again, but not expect a reply to what it did
            // not ask.
            State::Idle => Timeout::Close,
            State::Head => Timeout::Reply(last_words(bytes, HEAD_TIMEOUT)),
            State::Answering { .. } | State::Closing => Timeout::Abort,
        };
        self.phase.close(now);
        timeout
    }

    /// Whether nothing is lost if the connection is closed now: it waits for
    /// a request of which nothing has come. A server that is out of places
    /// can close such connections first (RFC 9112 §9.5).
    pub fn is_idle(&self) -> bool {
        self.phase.state == State::Idle
    }

    /// Skips empty lines (RFC 9112 §2.2) and starts the clock of a head if
    /// anything is left. Empty lines do not: they keep no connection open.
    fn begin_head(&mut self, now: Instant) {
        let bytes = self.buf.get(..self.filled).unwrap_or_default();
        let empty = bytes
            .iter()
            .take_while(|byte| matches!(byte, b'\r' | b'\n'))
            .count();
        self.discard(empty);
        if self.filled > 0 {
            self.phase.head(now);
        }
    }

    /// Forgets the first `n` bytes.
    fn discard(&mut self, n: usize) {
        let n = n.min(self.filled);
        self.buf.copy_within(n..self.filled, 0);
        self.filled -= n;
    }
}

/// Where in its turn a connection is, and until when.
#[derive(Debug)]
struct Phase {
    state: State,
    deadline: Instant,
    limits: Limits,
}

impl Phase {
    fn idle(&mut self, now: Instant) {
        self.state = State::Idle;
        self.deadline = now.saturating_add(self.limits.idle);
    }

    fn head(&mut self, now: Instant) {
        self.state = State::Head;
        self.deadline = now.saturating_add(self.limits.head);
    }

    fn answer(&mut self, head_len: usize, persistent: bool, body_left: u64, now: Instant) {
        self.state = State::Answering {
            head_len,
            persistent,
            body_left,
            moved: 0,
        };
        self.deadline = now.saturating_add(self.limits.progress);
    }

    fn progress(&mut self, now: Instant, bytes: usize) {
        let State::Answering { moved, .. } = &mut self.state else {
            return;
        };
        *moved = moved.saturating_add(u32::try_from(bytes).unwrap_or(u32::MAX));
        if *moved >= self.limits.progress_bytes {
            *moved = 0;
            self.deadline = now.saturating_add(self.limits.progress);
        }
    }

    fn close(&mut self, now: Instant) {
        self.state = State::Closing;
        self.deadline = now.saturating_add(self.limits.linger);
    }
}

/// The reply to a head that will never be complete.
fn last_words(head: &[u8], refusal: Refusal) -> Reply {
    Reply {
        refusal,
        framing: Framing {
            body: !head.starts_with(b"HEAD "),
            keep_alive: false,
        },
    }
}

#[cfg(test)]
mod tests;
