//! The two frames of IPv6 neighbour discovery that a netboot server without
//! IPv6 needs (RFC 4861 §4.1 and §4.2).

use core::net::Ipv6Addr;

use smoltcp::wire::{EthernetFrame, EthernetProtocol};

use crate::MacAddr;

const ETHERNET_LEN: usize = 14;
const IPV6_LEN: usize = 40;
const ADVERTISEMENT_LEN: usize = 16;
/// Length of the frame that [`emit_no_router`] writes.
pub const NO_ROUTER_LEN: usize = ETHERNET_LEN + IPV6_LEN + ADVERTISEMENT_LEN;

const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 133;
const ADVERTISEMENT: u8 = 134;
/// Proves that a message was sent on this link: routers count it down.
const HOP_LIMIT: u8 = 255;

/// Whether a frame's first bytes look like a router solicitation.
pub(super) fn is_solicitation(packet: &[u8]) -> bool {
    matches!(packet.get(6..8), Some(&[ICMPV6, HOP_LIMIT]))
        && packet.get(IPV6_LEN) == Some(&SOLICITATION)
}

/// Who solicits a router: its hardware address, and its own on the link.
pub fn parse_solicitation(frame: &[u8]) -> Option<(MacAddr, Ipv6Addr)> {
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    let packet = ethernet.payload();
    if ethernet.ethertype() != EthernetProtocol::Ipv6 || !is_solicitation(packet) {
        return None;
    }
    let source: [u8; 16] = packet.get(8..24)?.try_into().ok()?;
    let source = Ipv6Addr::from(source);
    // Without an address it could only be answered by multicast, which would
    // tell others, too.
    source
        .is_unicast_link_local()
        .then_some((MacAddr(ethernet.src_addr().0), source))
}

/// Writes an advertisement from `own` to one machine that says: no default
/// router (lifetime 0), no prefix, nothing by DHCPv6. Returns its length,
/// [`NO_ROUTER_LEN`].
pub fn emit_no_router(own: MacAddr, to: (MacAddr, Ipv6Addr), frame: &mut [u8]) -> usize {
    let frame = &mut frame[..NO_ROUTER_LEN];
    frame.fill(0);
    let (ethernet, packet) = frame.split_at_mut(ETHERNET_LEN);
    ethernet[..6].copy_from_slice(&to.0.0);
    ethernet[6..12].copy_from_slice(&own.0);
    ethernet[12..].copy_from_slice(&u16::from(EthernetProtocol::Ipv6).to_be_bytes());
    let (header, message) = packet.split_at_mut(IPV6_LEN);
    header[0] = 6 << 4;
    header[5] = ADVERTISEMENT_LEN as u8;
    header[6] = ICMPV6;
    header[7] = HOP_LIMIT;
    header[8..24].copy_from_slice(&link_local(own).octets());
    header[24..].copy_from_slice(&to.1.octets());
    message[0] = ADVERTISEMENT;
    let sum = checksum(&header[8..], message);
    message[2..4].copy_from_slice(&sum.to_be_bytes());
    NO_ROUTER_LEN
}

/// The address that a station gives itself on its link (RFC 4291 appendix A).
fn link_local(mac: MacAddr) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.0;
    let pair = |high, low| u16::from_be_bytes([high, low]);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        pair(a ^ 2, b),
        pair(c, 0xff),
        pair(0xfe, d),
        pair(e, f),
    )
}

/// ICMPv6's checksum over the pseudo-header and the message (RFC 4443 §2.3).
fn checksum(addresses: &[u8], message: &[u8]) -> u16 {
    let words = addresses.chunks_exact(2).chain(message.chunks_exact(2));
    let mut sum: u32 = words
        .map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])))
        .sum();
    sum += message.len() as u32 + u32::from(ICMPV6);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    /// From iPXE 1.21.1 for arm64, in QEMU.
    fn solicitation() -> Vec<u8> {
        let mut frame = vec![0x33, 0x33, 0, 0, 0, 2, 0x52, 0x54, 0, 0, 0, 1, 0x86, 0xdd];
        frame.extend([0x60, 0, 0, 0, 0, 16, 58, 255]);
        frame.extend("fe80::5054:ff:fe00:1".parse::<Ipv6Addr>().unwrap().octets());
        frame.extend("ff02::2".parse::<Ipv6Addr>().unwrap().octets());
        frame.extend([133, 0, 0xda, 0x83, 0, 0, 0, 0, 1, 1, 0x52, 0x54, 0, 0, 0, 1]);
        frame
    }

    #[test]
    fn a_solicitation_tells_who_asks() {
        let frame = solicitation();
        let mac = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
        let ip = "fe80::5054:ff:fe00:1".parse().unwrap();
        assert_eq!(parse_solicitation(&frame), Some((mac, ip)));
        for cut in 0..=ETHERNET_LEN + IPV6_LEN {
            assert_eq!(parse_solicitation(&frame[..cut]), None, "{cut}");
        }
        // Another ethertype, protocol, hop limit, kind; no address yet.
        for (at, byte) in [(13, 0), (20, 17), (21, 64), (54, 135), (22, 0)] {
            let mut other = frame.clone();
            other[at] = byte;
            assert_eq!(parse_solicitation(&other), None, "{at}");
        }
    }

    #[test]
    fn the_answer_offers_nothing() {
        let frame = solicitation();
        let to = parse_solicitation(&frame).unwrap();
        let mut answer = [0xaa; 100];
        let len = emit_no_router(OWN, to, &mut answer);
        let answer = &answer[..len];
        assert_eq!(answer[..6], frame[6..12]);
        assert_eq!(answer[22..38], link_local(OWN).octets());
        assert_eq!(answer[38..54], frame[22..38]);
        // Type, code, checksum; hop limit and flags, lifetime; timers.
        assert_eq!(answer[54..56], [134, 0]);
        assert_eq!(answer[58..], [0; 12]);
        // A message whose checksum is right sums to nothing.
        assert_eq!(checksum(&answer[22..54], &answer[54..]), 0);
        assert_eq!(checksum(&frame[22..54], &frame[54..]), 0, "the capture");
    }

    #[test]
    fn the_own_address_is_made_of_the_hardware_address() {
        let mac = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        let expected: Ipv6Addr = "fe80::5054:ff:fe12:3456".parse().unwrap();
        assert_eq!(link_local(mac), expected);
    }
}
