//! Clients' messages for tests, written option by option.

use core::net::Ipv4Addr;

use super::request::Request;
use super::wire::{HEADER_LEN, MIN_LEN, MessageType, Packet, Repr};
use crate::MacAddr;

/// A message under construction.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) repr: Repr,
    options: Vec<u8>,
}

impl Message {
    pub(super) fn new(kind: MessageType, mac: MacAddr) -> Self {
        let mut repr = Repr::request(mac, 0x1234_5678);
        repr.broadcast = false;
        Self {
            repr,
            options: vec![53, 1, kind as u8],
        }
    }

    pub(super) fn discover(mac: MacAddr) -> Self {
        Self::new(MessageType::Discover, mac)
    }

    /// Adds an option.
    pub(super) fn with(mut self, code: u8, value: &[u8]) -> Self {
        self.options.extend([code, value.len().try_into().unwrap()]);
        self.options.extend(value);
        self
    }

    /// Adds an option that is an address.
    pub(super) fn with_ip(self, code: u8, ip: [u8; 4]) -> Self {
        self.with(code, &ip)
    }

    pub(super) fn ciaddr(mut self, ip: [u8; 4]) -> Self {
        self.repr.ciaddr = Ipv4Addr::from(ip);
        self
    }

    pub(super) fn giaddr(mut self, ip: [u8; 4]) -> Self {
        self.repr.giaddr = Ipv4Addr::from(ip);
        self
    }

    pub(super) fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![0; HEADER_LEN];
        let mut packet = Packet::new_zeroed(&mut bytes[..]).unwrap();
        self.repr.emit(&mut packet);
        bytes.extend(&self.options);
        bytes.push(255);
        bytes.resize(bytes.len().max(MIN_LEN), 0);
        bytes
    }

    pub(super) fn request(&self) -> Request {
        let bytes = self.bytes();
        Request::parse(&Packet::new_checked(&bytes[..]).unwrap()).unwrap()
    }
}
