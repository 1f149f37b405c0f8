//! What a device says about itself, read without trusting a length in it.
//!
//! `embassy-usb-host` has iterators for the same bytes, but they index past
//! the end, or never end, when a descriptor lies about its length (USB 2.0
//! §9.5 lets a host expect anything there). What is plugged into a board that
//! nobody watches must not be able to stop it.

use embassy_usb_driver::{EndpointInfo, EndpointType, Speed};

const INTERFACE: u8 = 0x04;
const ENDPOINT: u8 = 0x05;

/// Bits of wMaxPacketSize that are the size; the two above them are the
/// transactions per microframe of periodic endpoints (USB 2.0 §9.6.6).
const PACKET_SIZE: u16 = 0x7FF;

/// One after the other, descriptors of a configuration.
///
/// Ends early at a descriptor that is shorter than its own header or longer
/// than what is left.
#[derive(Clone, Debug)]
pub(crate) struct Descriptors<'a>(&'a [u8]);

impl<'a> Descriptors<'a> {
    pub(crate) const fn new(configuration: &'a [u8]) -> Self {
        Self(configuration)
    }
}

impl<'a> Iterator for Descriptors<'a> {
    type Item = Descriptor<'a>;

    fn next(&mut self) -> Option<Descriptor<'a>> {
        let len = usize::from(*self.0.first()?);
        if len < 2 {
            self.0 = &[];
            return None;
        }
        let (bytes, rest) = self.0.split_at_checked(len).unwrap_or_default();
        self.0 = rest;
        Descriptor::parse(bytes)
    }
}

/// A descriptor that matters to an Ethernet driver, or the bytes of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Descriptor<'a> {
    Interface(Interface),
    Endpoint(Endpoint),
    Other { kind: u8, bytes: &'a [u8] },
}

impl<'a> Descriptor<'a> {
    /// `bytes` is one whole descriptor. One too short for its type is Other.
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let kind = *bytes.get(1)?;
        Some(match (kind, bytes) {
            (INTERFACE, &[_, _, number, alternate, _, class, subclass, protocol, ..]) => {
                Self::Interface(Interface {
                    number,
                    alternate,
                    class,
                    subclass,
                    protocol,
                })
            }
            (ENDPOINT, &[_, _, address, attributes, size_low, size_high, interval, ..]) => {
                Self::Endpoint(Endpoint {
                    address,
                    attributes,
                    max_packet: u16::from_le_bytes([size_low, size_high]) & PACKET_SIZE,
                    interval,
                })
            }
            _ => Self::Other { kind, bytes },
        })
    }
}

/// An alternate setting of an interface (USB 2.0 §9.6.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) number: u8,
    pub(crate) alternate: u8,
    pub(crate) class: u8,
    pub(crate) subclass: u8,
    pub(crate) protocol: u8,
}

/// An endpoint of the interface before it (USB 2.0 §9.6.6).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    address: u8,
    attributes: u8,
    /// Bytes.
    max_packet: u16,
    /// As the device says it: milliseconds, or an exponent at high speed.
    interval: u8,
}

impl Endpoint {
    /// What a pipe to it needs, for a device of this speed. None for one that
    /// no packet fits through.
    fn info(self, speed: Speed) -> Option<EndpointInfo> {
        let ep_type = match self.attributes & 3 {
            0 => EndpointType::Control,
            1 => EndpointType::Isochronous,
            2 => EndpointType::Bulk,
            _ => EndpointType::Interrupt,
        };
        let interval_ms = match (speed, ep_type) {
            // 2^(n-1) microframes of 125 µs; n is 1 to 16 (USB 2.0 §9.6.6).
            (Speed::High, EndpointType::Interrupt) => {
                let microframes = 1u32 << (self.interval.clamp(1, 16) - 1);
                microframes.div_ceil(8).min(255) as u8
            }
            (_, EndpointType::Interrupt) => self.interval.max(1),
            _ => 0,
        };
        (self.max_packet > 0).then_some(EndpointInfo {
            addr: self.address.into(),
            ep_type,
            max_packet_size: self.max_packet,
            interval_ms,
        })
    }
}

/// The endpoints that frames and news of the link come through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Endpoints {
    pub(crate) bulk_in: EndpointInfo,
    pub(crate) bulk_out: EndpointInfo,
}

/// The first bulk pair of the alternate settings that `wanted` accepts, and
/// which setting has it.
pub(crate) fn bulk_pair(
    configuration: &[u8],
    speed: Speed,
    wanted: impl Fn(Interface) -> bool,
) -> Option<(Interface, Endpoints)> {
    let mut setting = None;
    let (mut bulk_in, mut bulk_out) = (None, None);
    for descriptor in Descriptors::new(configuration) {
        match descriptor {
            Descriptor::Interface(next) => {
                setting = wanted(next).then_some(next);
                (bulk_in, bulk_out) = (None, None);
            }
            Descriptor::Endpoint(endpoint) => {
                let Some(info) = endpoint.info(speed) else {
                    continue;
                };
                if info.ep_type != EndpointType::Bulk {
                    continue;
                }
                let seen = if info.addr.is_in() {
                    &mut bulk_in
                } else {
                    &mut bulk_out
                };
                seen.get_or_insert(info);
                if let (Some(setting), Some(bulk_in), Some(bulk_out)) = (setting, bulk_in, bulk_out)
                {
                    return Some((setting, Endpoints { bulk_in, bulk_out }));
                }
            }
            Descriptor::Other { .. } => {}
        }
    }
    None
}

/// The first interrupt IN endpoint of interface `number`.
pub(crate) fn interrupt_in(configuration: &[u8], speed: Speed, number: u8) -> Option<EndpointInfo> {
    let mut inside = false;
    Descriptors::new(configuration).find_map(|descriptor| match descriptor {
        Descriptor::Interface(next) => {
            inside = next.number == number;
            None
        }
        Descriptor::Endpoint(endpoint) if inside => endpoint
            .info(speed)
            .filter(|info| info.ep_type == EndpointType::Interrupt && info.addr.is_in()),
        _ => None,
    })
}

/// The first interface of a configuration, if it has any.
pub(crate) fn first_interface(configuration: &[u8]) -> Option<Interface> {
    Descriptors::new(configuration).find_map(|descriptor| match descriptor {
        Descriptor::Interface(interface) => Some(interface),
        _ => None,
    })
}

/// bConfigurationValue, which SET_CONFIGURATION wants (USB 2.0 §9.6.3).
pub(crate) fn configuration_value(configuration: &[u8]) -> Option<u8> {
    configuration.get(5).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The configuration of a LAN9514's Ethernet function, as `lsusb -v`
    /// shows it.
    const LAN9514: [u8; 39] = [
        9, 2, 39, 0, 1, 1, 0, 0xE0, 1, 9, 4, 0, 0, 3, 0xFF, 0, 0xFF, 0, 7, 5, 0x81, 2, 0, 2, 0, 7,
        5, 0x02, 2, 0, 2, 0, 7, 5, 0x83, 3, 16, 0, 4,
    ];

    #[test]
    fn the_bulk_pair_of_a_lan9514() {
        let (setting, endpoints) = bulk_pair(&LAN9514, Speed::High, |_| true).unwrap();
        assert_eq!((setting.number, setting.class), (0, 0xFF));
        assert_eq!(u8::from(endpoints.bulk_in.addr), 0x81);
        assert_eq!(u8::from(endpoints.bulk_out.addr), 0x02);
        assert_eq!(endpoints.bulk_in.max_packet_size, 512);
        let interrupt = interrupt_in(&LAN9514, Speed::High, 0).unwrap();
        assert_eq!(u8::from(interrupt.addr), 0x83);
        // 2^(4-1) microframes.
        assert_eq!(interrupt.interval_ms, 1);
        assert_eq!(
            interrupt_in(&LAN9514, Speed::Full, 0).unwrap().interval_ms,
            4
        );
        assert_eq!(interrupt_in(&LAN9514, Speed::High, 1), None);
    }

    #[test]
    fn a_pair_is_not_put_together_from_two_settings() {
        let half = [9, 4, 0, 0, 1, 0xFF, 0, 0, 0, 7, 5, 0x81, 2, 64, 0, 0];
        let other = [9, 4, 1, 0, 1, 0xFF, 0, 0, 0, 7, 5, 0x02, 2, 64, 0, 0];
        let both: Vec<u8> = half.into_iter().chain(other).collect();
        assert_eq!(bulk_pair(&both, Speed::Full, |_| true), None);
    }

    #[test]
    fn an_endpoint_without_room_for_a_packet_is_none() {
        let mut empty = LAN9514;
        (empty[22], empty[23]) = (0, 0);
        assert_eq!(bulk_pair(&empty, Speed::High, |_| true), None);
    }

    /// Every cut and every value at every place: ends, and does not panic.
    #[test]
    fn no_lie_about_a_length_is_believed() {
        for end in 0..LAN9514.len() {
            let _ = bulk_pair(&LAN9514[..end], Speed::High, |_| true);
            let _ = configuration_value(&LAN9514[..end]);
        }
        for at in 0..LAN9514.len() {
            for value in 0..=255 {
                let mut lying = LAN9514;
                lying[at] = value;
                assert!(Descriptors::new(&lying).count() <= lying.len() / 2);
                let _ = bulk_pair(&lying, Speed::High, |_| true);
                let _ = interrupt_in(&lying, Speed::High, 0);
                let _ = first_interface(&lying);
            }
        }
    }
}
