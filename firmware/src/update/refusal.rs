//! Why an update is not taken, in words for the person who sent it.

use ichor_hal::UpdateError;

use crate::http::{Refusal, Status};

pub(super) const NO_LENGTH: Refusal = Refusal::new(
    Status::LengthRequired,
    "Content-Length is missing",
    "Updates come in one piece whose length is told; chunks are not taken.",
);
pub(super) const NOT_SIGNED: Refusal = Refusal::new(
    Status::Forbidden,
    "the update is not signed",
    "Send it with `cargo xtask push`, which sets Ichor-Nonce, Ichor-Sha256 and Ichor-Mac.",
);
pub(super) const STALE: Refusal = Refusal::new(
    Status::Forbidden,
    "nonce unknown, used or too old",
    "Ask /update for a new one: each is good for one update, for a minute.",
);
pub(super) const WRONG_KEY: Refusal = Refusal::new(
    Status::Forbidden,
    "the signature is wrong",
    "Sign with the key in this board's ichor.key; it was made when its card was written.",
);
pub(super) const PRIVATE: Refusal = Refusal::new(
    Status::Forbidden,
    "the key cannot be replaced",
    "Keys do not travel over the network: write ichor.key to the card.",
);
pub(super) const BUSY: Refusal = Refusal::new(
    Status::ServiceUnavailable,
    "another update is under way",
    "One at a time: try again when it has ended.",
);
pub(super) const RESTARTING: Refusal = Refusal::new(
    Status::ServiceUnavailable,
    "restarting into new firmware",
    "Try again when the board is back.",
);
pub(super) const WRONG_HASH: Refusal = Refusal::new(
    Status::BadRequest,
    "the body has another hash",
    "It is not what Ichor-Sha256 says, so nothing was changed: send it again.",
);
pub(crate) const NO_UPDATES: Refusal = Refusal::new(
    Status::NotFound,
    "this board takes no updates",
    "Replace its program and files on the machine itself.",
);
const FULL: Refusal = Refusal::new(
    Status::InsufficientStorage,
    "no room for it",
    "The card is full, or the program is larger than its place; nothing was changed.",
);
const BAD_PATH: Refusal = Refusal::new(
    Status::BadRequest,
    "no file can have this path here",
    "Send files as /update/files/PATH, with PATH from the data folder's root.",
);
const BAD_LENGTH: Refusal = Refusal::new(
    Status::BadRequest,
    "this length cannot be",
    "More or fewer bytes came than the board can take for it; nothing was changed.",
);
const BROKEN: Refusal = Refusal::new(
    Status::InternalServerError,
    "cannot write to the card",
    "It is absent or reports an error; nothing was changed. /status may say more.",
);

/// What to answer when the board could not do it.
pub(crate) fn of(error: UpdateError) -> Refusal {
    match error {
        UpdateError::Full => FULL,
        UpdateError::BadPath => BAD_PATH,
        UpdateError::BadLength => BAD_LENGTH,
        UpdateError::Unsupported => NO_UPDATES,
        _ => BROKEN,
    }
}
