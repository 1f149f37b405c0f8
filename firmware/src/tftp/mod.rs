//! TFTP: the wire format and a server for many transfers on few ports.
