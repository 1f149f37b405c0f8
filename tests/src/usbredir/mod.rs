//! A USB device as a program: the device's side of QEMU's `usb-redir` protocol.
//!
//! QEMU connects with `-chardev socket,server=off -device usb-redir`, and what
//! answers at the socket *is* the device. [`wire`] is the format, [`session`]
//! the protocol as a state machine without a socket, [`plug`] the socket. What
//! the device does is a [`Device`].
//!
//! Written from the public description of protocol 0.7 (19 May 2014), as far
//! as a device without isochronous endpoints and bulk streams needs it.

pub mod plug;
pub mod session;
pub mod wire;

use std::time::Instant;

pub use plug::Plug;
pub use wire::{EndpointType, Speed, Status};

/// What a device says of itself before anybody asks (its device descriptor in short).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// How fast it is.
    pub speed: Speed,
    /// Class, subclass and protocol of the device.
    pub class: [u8; 3],
    /// `idVendor`.
    pub vendor: u16,
    /// `idProduct`.
    pub product: u16,
    /// `bcdDevice`.
    pub version: u16,
    /// Class, subclass and protocol of its one interface.
    pub interface_class: [u8; 3],
}

/// An endpoint as it is announced to QEMU, which decides by this how to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// Number, with bit 7 set for IN.
    pub address: u8,
    /// Its type. For QEMU, an IN endpoint of type *interrupt* is one whose
    /// packets come by themselves and which NAKs while there are none.
    pub kind: EndpointType,
    /// `bInterval`, at least 1 for an interrupt endpoint.
    pub interval: u8,
    /// `wMaxPacketSize` in bytes.
    pub max_packet: u16,
}

/// The eight bytes of a SETUP packet (USB 2.0 §9.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Setup {
    /// `bmRequestType`.
    pub request_type: u8,
    /// `bRequest`.
    pub request: u8,
    /// `wValue`.
    pub value: u16,
    /// `wIndex`.
    pub index: u16,
    /// `wLength` in bytes.
    pub length: u16,
}

/// How a device answers when it is asked for data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These bytes; fewer than asked for end the transfer.
    Data(Vec<u8>),
    /// NAK: the request stays open.
    NotYet,
    /// The transfer fails.
    Failed(Status),
}

/// A USB device. Its methods are called with the time, never wait, and never
/// know of a socket.
pub trait Device: Send {
    /// What it is.
    fn identity(&self) -> Identity;

    /// Its endpoints beside number 0, as they are now. When the answer
    /// changes, QEMU is told.
    fn endpoints(&self) -> Vec<Endpoint>;

    /// A bus reset, or the plug was pulled: back to the state after power-on.
    fn reset(&mut self, now: Instant);

    /// SET_CONFIGURATION. 0 takes the configuration away.
    fn configure(&mut self, now: Instant, value: u8) -> Status;

    /// The configuration that is set, or 0.
    fn configuration(&self) -> u8;

    /// A control transfer on endpoint 0 with `data` if it goes OUT. What comes
    /// back is cut to `wLength`.
    fn control(&mut self, now: Instant, setup: Setup, data: &[u8]) -> Result<Vec<u8>, Status>;

    /// Data for a bulk OUT endpoint: one packet, or several that arrive as one.
    fn bulk_out(&mut self, now: Instant, endpoint: u8, data: &[u8]) -> Status;

    /// A bulk IN endpoint is asked for up to `length` bytes.
    fn bulk_in(&mut self, now: Instant, endpoint: u8, length: usize) -> Answer;

    /// What an endpoint of type interrupt has to say of itself. Called until
    /// it answers [`Answer::NotYet`].
    fn interrupt_in(&mut self, now: Instant, endpoint: u8) -> Answer;
}
