//! Where frames, sockets and time meet the servers: the only code that awaits.

pub mod connections;
pub mod dhcp;
pub mod frames;
pub mod http;
pub mod lane;
pub mod mux;
pub mod ndp;
pub mod neighbours;
mod packets;
mod recent;
pub mod reload;
pub mod shelf;
pub mod site;
pub mod status;
pub mod tftp;
