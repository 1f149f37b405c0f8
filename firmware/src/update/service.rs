//! What all connections share of the updates: the key, the nonces, the one
//! place for an update, and the wish to restart.

use core::cell::{Cell, RefCell};
use core::fmt;

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::mutex::Mutex;
use embassy_sync::signal::Signal;
use embassy_time::{Duration, Instant};
use ichor_hal::{Entropy, Target, Updates};

use super::hex::Hex;
use super::key::{Key, KeyError, is_key};
use super::nonce::Nonces;
use super::refusal::{
    self, BUSY, NO_LENGTH, NO_UPDATES, NOT_SIGNED, PRIVATE, RESTARTING, STALE, WRONG_KEY,
};
use super::upload::{Slot, Upload};
use crate::http::{Body, Refusal, Request};

/// How long a nonce is good for: from its being asked for to the first byte of
/// the update.
pub const NONCE_LIFE: Duration = Duration::from_secs(60);

/// The updates of a board that takes them.
///
/// A program is replaced in three steps: its bytes go to the board's
/// [`Updates`], the sender is told, and then [`restart`](Self::restart)
/// completes, upon which the board resets itself.
pub struct Service<U> {
    slot: Mutex<NoopRawMutex, Slot<U>>,
    key: Cell<Result<Key, KeyError>>,
    nonces: RefCell<Nonces>,
    /// New firmware is in its place: nothing else is taken any more.
    replaced: Cell<bool>,
    restart: Signal<NoopRawMutex, ()>,
}

/// Why an update is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Denied {
    /// For this reason.
    For(Refusal),
    /// The board has no key.
    NoKey(KeyError),
}

impl From<Refusal> for Denied {
    fn from(refusal: Refusal) -> Self {
        Self::For(refusal)
    }
}

impl<U> Service<U> {
    /// A service that takes updates signed with the key, which
    /// [`Key::load`] reads; without one it tells everybody what to do about
    /// that.
    pub fn new(updates: U, key: Result<Key, KeyError>, entropy: &mut impl Entropy) -> Self {
        let mut secret = [0; 32];
        for word in secret.as_chunks_mut::<8>().0 {
            *word = entropy.seed().to_ne_bytes();
        }
        Self {
            slot: Mutex::new(Slot::new(updates)),
            key: Cell::new(key),
            nonces: RefCell::new(Nonces::new(secret, NONCE_LIFE)),
            replaced: Cell::new(false),
            restart: Signal::new(),
        }
    }

    /// Replaces the key: the data folder was read anew.
    pub fn set_key(&self, key: Result<Key, KeyError>) {
        self.key.set(key);
    }

    /// Completes when new firmware is in its place and its sender was told:
    /// the board is to restart, a moment later so that the connection can end.
    pub async fn restart(&self) {
        self.restart.wait().await;
    }

    /// Says that [`restart`](Self::restart) may complete.
    pub(crate) fn ready_to_restart(&self) {
        self.restart.signal(());
    }

    pub(super) fn firmware_replaced(&self) {
        self.replaced.set(true);
    }

    /// Names this run of the board: it changes with every restart.
    pub(crate) fn run(&self) -> [u8; 4] {
        self.nonces.borrow().run()
    }

    /// A nonce for one update; none without a key.
    pub(crate) fn nonce(&self, now: Instant) -> Option<impl fmt::Display> {
        self.key.get().ok()?;
        Some(Owned(self.nonces.borrow_mut().make(now)))
    }

    /// What would become of an update now.
    pub(crate) fn state(&self) -> State {
        match self.key.get() {
            _ if self.replaced.get() => State::Restarting,
            Err(error) => State::NoKey(error),
            Ok(_) if self.slot.try_lock().is_err() => State::Busy,
            Ok(_) => State::Ready,
        }
    }
}

impl<U: Updates> Service<U> {
    /// Checks a PUT by its head alone and, if it may be, makes ready for its
    /// body.
    pub(crate) async fn accept(
        &self,
        request: &Request<'_>,
        now: Instant,
    ) -> Result<Upload<'_, U>, Denied> {
        let target = target(request.path).ok_or(NO_UPDATES)?;
        let key = self.key.get().map_err(Denied::NoKey)?;
        let Body::Sized(len) = request.body else {
            return Err(NO_LENGTH.into());
        };
        let proof = request.proof.ok_or(NOT_SIGNED)?;
        if !self.nonces.borrow().is_good(&proof.nonce, now) {
            return Err(STALE.into());
        }
        if !proof.is_valid(&key, request.path, len) {
            return Err(WRONG_KEY.into());
        }
        if let Target::File(path) = target
            && is_key(path)
        {
            return Err(PRIVATE.into());
        }
        if self.replaced.get() {
            return Err(RESTARTING.into());
        }
        let mut slot = self.slot.try_lock().map_err(|_| BUSY)?;
        self.nonces.borrow_mut().spend(&proof.nonce);
        let begun = slot.updates.begin(target, len).await;
        begun.map_err(refusal::of)?;
        Ok(Upload::new(self, slot, target, len, proof.sha256))
    }
}

/// What a path below `/update/` replaces.
fn target(path: &str) -> Option<Target<'_>> {
    if path == "/update/firmware" {
        return Some(Target::Firmware);
    }
    let file = path.strip_prefix("/update/files/")?;
    (!file.is_empty() && !file.ends_with('/')).then_some(Target::File(file))
}

struct Owned<const N: usize>([u8; N]);

impl<const N: usize> fmt::Display for Owned<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Hex(&self.0).fmt(f)
    }
}

/// Whether an update would be taken. Displays as a text for people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    /// It would.
    Ready,
    /// Another one is under way.
    Busy,
    /// New firmware waits for the restart.
    Restarting,
    /// No update can be signed.
    NoKey(KeyError),
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ready => f.write_str("ready"),
            Self::Busy => f.write_str("an update is under way"),
            Self::Restarting => f.write_str("restarting into new firmware"),
            Self::NoKey(error) => error.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
