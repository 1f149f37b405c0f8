//! Where frames, sockets and time meet the servers: the only code that awaits.

pub mod frames;
pub mod mux;
pub mod shelf;
pub mod tftp;
