//! DHCP: the wire format, the server, its leases and the boot policy.
/// x
pub const SERVER_PORT: u16 = 67;
/// x
pub const CLIENT_PORT: u16 = 68;
/// x
pub const BOOT_SERVER_PORT: u16 = 4011;
