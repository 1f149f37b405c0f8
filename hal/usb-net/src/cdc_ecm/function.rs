//! Finding CDC-ECM in a device's descriptors (CDC 1.2 §5.2, ECM 1.2 §5.4).

use embassy_usb_driver::{EndpointInfo, Speed};

use crate::descriptors::{self, Descriptor, Descriptors, Endpoints};

const COMMUNICATIONS: u8 = 0x02;
const ETHERNET_CONTROL_MODEL: u8 = 0x06;
const DATA: u8 = 0x0A;

/// bDescriptorType of class-specific descriptors of an interface.
const CLASS_INTERFACE: u8 = 0x24;
/// Their bDescriptorSubtype: which data interface belongs to it.
const UNION: u8 = 0x06;
/// And: where the MAC address is.
const ETHERNET: u8 = 0x0F;

/// One configuration's Ethernet function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Function {
    /// What SET_CONFIGURATION is told.
    pub(crate) configuration: u8,
    /// The interface that takes class requests.
    pub(crate) control: u8,
    /// The interface that frames go through, and its setting that has
    /// endpoints.
    pub(crate) data: u8,
    pub(crate) setting: u8,
    /// The string descriptor with the address; 0 if there is none.
    pub(crate) mac_string: u8,
    pub(crate) endpoints: Endpoints,
    /// Where notifications come from.
    pub(crate) notifications: Option<EndpointInfo>,
}

impl Function {
    /// Finds it in a whole configuration descriptor.
    pub(crate) fn find(configuration: &[u8], speed: Speed) -> Option<Self> {
        let mut control = None;
        let mut inside = false;
        let mut data = None;
        let mut mac_string = 0;
        for descriptor in Descriptors::new(configuration) {
            match descriptor {
                Descriptor::Interface(next) => {
                    inside = (next.class, next.subclass)
                        == (COMMUNICATIONS, ETHERNET_CONTROL_MODEL)
                        && *control.get_or_insert(next.number) == next.number;
                }
                Descriptor::Other {
                    kind: CLASS_INTERFACE,
                    bytes,
                } if inside => match bytes {
                    [_, _, UNION, _, first, ..] => data = Some(*first),
                    [_, _, ETHERNET, string, ..] => mac_string = *string,
                    _ => {}
                },
                _ => {}
            }
        }
        let control = control?;
        let (setting, endpoints) = descriptors::bulk_pair(configuration, speed, |interface| {
            interface.class == DATA && data.is_none_or(|number| number == interface.number)
        })?;
        Some(Self {
            configuration: descriptors::configuration_value(configuration)?,
            control,
            data: setting.number,
            setting: setting.alternate,
            mac_string,
            endpoints,
            notifications: descriptors::interrupt_in(configuration, speed, control),
        })
    }
}

/// The address in a string descriptor: twelve hexadecimal digits in UTF-16
/// (ECM 1.2 §5.4). None unless it is one station's.
pub(crate) fn mac_of(string: &[u8]) -> Option<[u8; 6]> {
    let digits = string.get(2..26)?;
    let mut mac = [0; 6];
    for (byte, digits) in mac.iter_mut().zip(digits.chunks_exact(4)) {
        let &[high, 0, low, 0] = digits else {
            return None;
        };
        let digit = |digit: u8| char::from(digit).to_digit(16);
        *byte = (digit(high)? << 4 | digit(low)?) as u8;
    }
    crate::station_address(mac)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Configuration 1 of QEMU's usb-net, from its hw/usb/dev-network.c as
    /// seen on the wire.
    pub(crate) const QEMU_ECM: [u8; 80] = [
        9, 2, 80, 0, 2, 1, 7, 0xC0, 50, // configuration
        9, 4, 0, 0, 1, 2, 6, 0, 6, // control interface
        5, 0x24, 0, 0x10, 1, // header
        5, 0x24, 6, 0, 1, // union
        13, 0x24, 0x0F, 3, 0, 0, 0, 0, 0xEA, 5, 0, 0, 0, // Ethernet
        7, 5, 0x81, 3, 16, 0, 32, // notifications
        9, 4, 1, 0, 0, 0x0A, 0, 0, 0, // data interface, no endpoints
        9, 4, 1, 1, 2, 0x0A, 0, 0, 9, // with endpoints
        7, 5, 0x82, 2, 64, 0, 0, //
        7, 5, 0x02, 2, 64, 0, 0,
    ];

    #[test]
    fn the_function_of_qemus_usb_net() {
        let function = Function::find(&QEMU_ECM, Speed::Full).unwrap();
        assert_eq!(function.configuration, 1);
        assert_eq!(
            (function.control, function.data, function.setting),
            (0, 1, 1)
        );
        assert_eq!(function.mac_string, 3);
        assert_eq!(u8::from(function.endpoints.bulk_in.addr), 0x82);
        assert_eq!(u8::from(function.endpoints.bulk_out.addr), 0x02);
        assert_eq!(function.endpoints.bulk_in.max_packet_size, 64);
        assert_eq!(function.notifications.unwrap().interval_ms, 32);
    }

    #[test]
    fn a_serial_port_or_rndis_is_none() {
        for (class, subclass) in [(2, 2), (0xE0, 1), (0xFF, 6)] {
            let mut other = QEMU_ECM;
            (other[14], other[15]) = (class, subclass);
            assert_eq!(Function::find(&other, Speed::Full), None);
        }
    }

    #[test]
    fn no_byte_of_a_configuration_makes_it_panic() {
        for at in 0..QEMU_ECM.len() {
            for value in 0..=255 {
                let mut lying = QEMU_ECM;
                lying[at] = value;
                let _ = Function::find(&lying, Speed::Full);
            }
            let _ = Function::find(&QEMU_ECM[..at], Speed::Full);
        }
    }

    fn string(text: &str) -> Vec<u8> {
        let mut bytes = vec![(2 + 2 * text.len()) as u8, 3];
        bytes.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        bytes
    }

    #[test]
    fn addresses_in_strings() {
        let mac = Some([0x52, 0x54, 0x00, 0x12, 0x34, 0xAB]);
        for (text, expected) in [
            ("5254001234AB", mac),
            ("5254001234ab", mac),
            ("5254001234A", None),
            ("52:54:00:12:", None),
            ("000000000000", None),
            ("FFFFFFFFFFFF", None),
            ("015254001234", None),
            ("525400123\u{2134}AB", None),
            ("", None),
        ] {
            assert_eq!(mac_of(&string(text)), expected, "{text}");
        }
        assert_eq!(mac_of(&[]), None);
    }
}
