//! Updates over HTTP: who may send a new program or file, and how it gets there.
//!
//! ```text
//! GET /update                → who the board is, and a nonce
//! PUT /update/firmware       a new program; the board restarts into it
//! PUT /update/files/PATH     a file of the data folder
//! ```
//!
//! Whoever holds the board's [`Key`] may send updates. The key itself never
//! travels: the PUT carries three fields in hexadecimal digits,
//!
//! ```text
//! Ichor-Nonce     as GET /update told it; good for one update and a minute
//! Ichor-Sha256    of the body
//! Ichor-Mac       HMAC-SHA256 of method LF path LF nonce LF sha256 LF length
//! ```
//!
//! where the path is percent-decoded, the digits are lower-case, the length is
//! decimal, and LF is one byte. The signature is checked before any of the
//! body is read, and the body's hash before anything is put in its place: what
//! was there stays until then, and whatever goes wrong leaves it.
//!
//! What this does not do: encrypt. Who listens on the LAN sees the files, but
//! can neither change them nor send them again.
//!
//! [`Service`] is what the connections share; an [`Upload`] is one update on
//! its way to the board's [`Updates`](ichor_hal::Updates).

pub(crate) mod hex;
mod key;
mod nonce;
mod proof;
mod refusal;
mod service;
mod upload;

pub use key::{KEY_FILE, Key, KeyError};
pub use proof::Proof;
pub use service::{NONCE_LIFE, Service};
pub use upload::Upload;

pub(crate) use key::is_private;
pub(crate) use refusal::{NO_UPDATES, of as refusal_of};
pub(crate) use service::{Denied, State};
