//! How much this board has room for: 64 machines that boot at once.

use ichor::catalog::Catalog;

/// Leases; more than the machines that boot at once, since others of the LAN
/// ask for addresses too.
pub(crate) const LEASES: usize = 4096;
/// DHCP replies under way between two writes of the lease log.
pub(crate) const REPLIES: usize = 64;
/// Messages that wait for a conflict probe.
pub(crate) const PROBES: usize = 64;
/// DHCP frames waiting to be handled, and to be sent.
pub(crate) const FRAMES: usize = 64;
/// TFTP transfers.
pub(crate) const TRANSFERS: usize = 64;
/// UDP ports that TFTP transfers are spread over.
pub(crate) const TFTP_PORTS: u8 = 4;
/// HTTP connections: firmware opens one, Linux a few.
pub(crate) const CONNECTIONS: usize = 64;
/// Events of the timeline that are kept.
pub(crate) const EVENTS: usize = 256;
/// Machines whose address is known.
pub(crate) const MACHINES: usize = 256;
/// Bytes of the lease log on a board without a card. Nobody reads it back, and
/// a full one starts over: a batch of records is enough.
pub(crate) const RAM_LOG: usize = 16 * 1024;

/// 512 KiB of text in up to 256 groups, and the same again while the folder is
/// re-read.
pub(crate) type BoardCatalog = Catalog<{ 512 << 10 }, 256, 64, 128>;

/// Bytes of HTTP requests that wait to be read: updates are sent this way.
pub(crate) const RECEIVE_BUFFER: usize = 16 * 1024;
/// Bytes of TFTP data that may wait for the NIC, per port.
pub(crate) const TFTP_SEND_BUFFER: usize = 32 * 1024;
pub(crate) const TFTP_RECEIVE_BUFFER: usize = 8 * 1024;
/// Datagrams that wait on a TFTP port, to be read and to be sent.
pub(crate) const TFTP_RECEIVED: usize = 32;
pub(crate) const TFTP_SENT: usize = 64;
/// Longest datagram: an Ethernet frame's.
pub(crate) const DATAGRAM: usize = 1472;
/// Longest `ichor.toml`: 256 reservations and all the rest.
pub(crate) const SETTINGS: usize = 32 * 1024;
