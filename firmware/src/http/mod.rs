//! HTTP/1.1: request parser, responses and the connection state machine.
//!
//! A server of files and small texts, without I/O: the socket loop in
//! [`net`](crate::net) moves bytes and time, the routes say what a path
//! stands for, and everything that RFC 9110 and RFC 9112 say in between is
//! here.
//!
//! ```text
//! socket → Connection → Request → routes → Entity → respond → Plan → socket
//!             │                      │
//!             └→ Reply ← Refusal ←───┘
//! ```
//!
//! One turn of a socket loop:
//!
//! ```text
//! match conn.next_request(now) {
//!     // Read into `conn.recv_buf()` until `conn.deadline()`, tell
//!     // `conn.received(n, now)`. At end of file: close.
//!     Progress::NeedMore => {}
//!     Progress::Request(request) => {
//!         let plan = respond(&request, Entity { len, etag, content_type });
//!         let body = plan.write_head(&mut head)?;
//!         // A body that is wanted comes by `conn.take_body()` and from the
//!         // socket (`conn.body_received()`), at most `conn.body_left()`.
//!         // Send head[..body.head_len], then `body.len` bytes of the entity
//!         // from offset `body.first`, all until `conn.deadline()`, which
//!         // `conn.progress(now, n)` after each write moves. Flush the socket;
//!         // then the next request has its turn:
//!         conn.finished(now);
//!     }
//!     // Send it; the connection is then closing.
//!     Progress::Reply(reply) => {}
//!     // Close the sending side, read on and throw away until end of file or
//!     // `conn.deadline()`, so that the peer sees the last reply and no reset.
//!     Progress::Close => {}
//! }
//! ```
//!
//! When `conn.deadline()` passes, `conn.timed_out(now)` says whether to send a
//! last reply, close or abort.
//!
//! **A body that breaks off** (the file vanished or could not be read, the
//! peer is too slow) is never padded and never followed by another response:
//! abort the socket. The peer was told the length, so it sees the loss.
//!
//! What this does not do:
//! - methods other than GET and HEAD (405), and request bodies: whoever sends
//!   one gets an answer and the connection closed;
//! - `Date`, `Last-Modified`: there is no clock on bare metal (RFC 9110
//!   §6.6.1 allows a server without one). Validators are ETags alone;
//! - several ranges at once: the whole entity is sent (RFC 9110 §14.2);
//! - chunked coding, compression, TLS, HTTP/2;
//! - listing of folders.

mod connection;
mod content_type;
mod etag;
mod range;
mod request;
mod respond;
mod response;
mod target;

pub use connection::{Connection, HEAD_LEN, Limits, Progress, Timeout};
pub use content_type::content_type;
pub use etag::{ETag, ETagCondition, MAX_TAGS};
pub use range::{ByteRange, Selection};
pub(crate) use request::METHOD;
pub use request::{Body, IfRange, MAX_FIELDS, Method, Request};
pub use respond::{BodyPlan, Entity, Plan, respond};
pub(crate) use response::CONTINUE;
pub use response::{
    Framing, HEADLINE_LEN, RESPONSE_HEAD_LEN, Refusal, Reply, ResponseHead, Status, TEXT_LEN,
    TooLong, write_text,
};
pub use target::{DecodeError, Encoded, PATH_LEN, Parameter, Query};
