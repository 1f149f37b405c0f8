//! The sending half of TCP: what to send when, and what to send again.
//!
//! smoltcp opens and closes the connections, and receives. What it is asked to
//! send it keeps a copy of until the peer has it, and after a loss it resends
//! all of that. A boot server sends files: it can read them again. So a
//! [`Sender`] keeps no data, only an account of what became of every byte
//! ([`Scoreboard`]), and resends what the peer says that it lacks.
//!
//! - What was lost is found by selective acknowledgements (RFC 2018) and the
//!   order of transmissions (RACK, RFC 8985 §6), or from peers without them by
//!   duplicate ACKs (NewReno, RFC 6582).
//! - When nothing comes back for two round trips, the first segments that the
//!   peer lacks are sent again as a probe, whose answer shows what else it
//!   lacks. (RFC 8985 §7 probes with the last one.) All is sent again only after
//!   the retransmission timeout (RFC 6298).
//! - How much may be under way is bounded by the peer's window, a congestion
//!   window (RFC 5681) and the caller. Where more than a few bytes in a hundred
//!   get lost that window becomes smaller, and while they are mended little more
//!   is sent than arrives (RFC 6937).
//!
//! Bytes are counted from the first one of the connection, in 64 bits. Segments
//! may be larger than the wire's: the NIC cuts them up.

mod round_trip;
mod scoreboard;
mod sender;
#[cfg(test)]
mod simulation;

pub use sender::{Ack, Peer, Segment, Sender};
