//! TFTP: the wire format and a server for many transfers on few ports.
//!
//! [`Server`] is a state machine without sockets, files or a clock. The loop
//! around it feeds datagrams in and carries out what [`Server::poll`] asks:
//!
//! ```text
//! server.on_datagram(now, local, from, bytes, &journal);
//! while let Some(action) = server.poll(now, &journal) {
//!     match action {
//!         Action::Open { id, path } => {
//!             let result = files.open(path).await;
//!             server.opened(id, result, now, &journal);
//!         }
//!         Action::Send(mut transmit) => {
//!             let len = poll_fn(|cx| {
//!                 server.emit(&mut transmit, &mut buffer, |file, offset, buf| {
//!                     files.poll_read_at(cx, file, offset, buf)
//!                 })
//!             }).await;
//!             if len > 0 {
//!                 sockets[transmit.local].send_to(&buffer[..len], transmit.to).await;
//!             }
//!         }
//!     }
//! }
//! sleep_until(server.next_deadline()).await;
//! ```
//!
//! What it does: RFC 1350 reads in octet and netascii mode, the options
//! blksize, timeout, tsize and windowsize (RFC 2347, 2348, 2349, 7440), block
//! numbers that roll over, a fallback for clients that cannot cope with what
//! they ask for. What it does not: writes, mail mode, multicast, IPv6.

mod netascii;
mod path;
mod refusal;
mod server;
#[cfg(test)]
mod simulation;
mod stage;
#[cfg(test)]
mod tests;
mod transfer;
mod troubled;
mod window;
pub mod wire;

pub use path::{NAME_LEN, Path, PathError, ROOT};
pub use server::{Action, Config, Id, LocalPort, Server, Stats, Transmit};
pub use stage::stage_of;
