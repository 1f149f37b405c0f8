//! DHCP: the wire format, the server, its leases and the boot policy.
