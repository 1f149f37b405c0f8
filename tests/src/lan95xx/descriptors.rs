//! The USB descriptors of the Ethernet function, as the chip without an EEPROM gives them.

/// The bulk IN endpoint: received frames.
pub const BULK_IN: u8 = 0x81;
/// The bulk OUT endpoint: frames to send.
pub const BULK_OUT: u8 = 0x02;
/// The interrupt IN endpoint: the interrupt status.
pub const INTERRUPT_IN: u8 = 0x83;
/// Bytes of a bulk packet at high speed.
pub const PACKET: usize = 512;
/// Bytes of an interrupt packet at most.
pub const INTERRUPT_PACKET: u16 = 16;
/// `bInterval` of the interrupt endpoint: every 8 microframes.
pub const INTERRUPT_INTERVAL: u8 = 4;

/// USB 2.0, a class of the vendor's own, 0424:ec00 version 2.00, no strings,
/// one configuration.
pub const DEVICE: [u8; 18] = [
    18, 1, 0x00, 0x02, 0xFF, 0x00, 0x01, 64, 0x24, 0x04, 0x00, 0xEC, 0x00, 0x02, 0, 0, 0, 1,
];

/// The same device at full speed.
const QUALIFIER: [u8; 10] = [10, 6, 0x00, 0x02, 0xFF, 0x00, 0x01, 64, 1, 0];

/// One configuration, self-powered with remote wake-up, 2 mA; one interface.
const CONFIGURATION: [u8; 39] = [
    9,
    2,
    39,
    0,
    1,
    1,
    0,
    0xE0,
    1, // configuration
    9,
    4,
    0,
    0,
    3,
    0xFF,
    0x00,
    0xFF,
    0, // interface
    7,
    5,
    BULK_IN,
    2,
    0x00,
    0x02,
    0, //
    7,
    5,
    BULK_OUT,
    2,
    0x00,
    0x02,
    0, //
    7,
    5,
    INTERRUPT_IN,
    3,
    16,
    0,
    4,
];

/// A descriptor by its type and index (`wValue`); the chip has no strings.
#[must_use]
pub fn get(value: u16) -> Option<&'static [u8]> {
    match value {
        0x0100 => Some(&DEVICE),
        0x0200 => Some(&CONFIGURATION),
        0x0600 => Some(&QUALIFIER),
        _ => None,
    }
}
