//! Who is on the link, by what they send.

use core::cell::Cell;
use core::net::Ipv4Addr;

use super::frames::{Arp, FrameRing};
use super::mux::{DESTINATION, SOURCE};
use super::recent::{Entry, Recent};
use crate::MacAddr;

/// Places for neighbours.
const PLACES: usize = 2048;

/// The hardware address of everybody who sent a packet to us, lately.
///
/// Whoever we answer has sent something before, from a machine of the link or
/// through a router: the answer goes back to where the question came from. So
/// there is no need to ask who has an address, which smoltcp does once a second
/// and remembers for eight neighbours.
pub struct Neighbours {
    own: Cell<(Ipv4Addr, Ipv4Addr)>,
    defends: Cell<bool>,
    known: Recent<MacAddr, PLACES>,
}

impl Entry for MacAddr {
    const NOBODY: Self = Self([0; 6]);
}

impl Neighbours {
    /// Nobody yet.
    pub const fn new() -> Self {
        Self {
            own: Cell::new((Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED)),
            defends: Cell::new(false),
            known: Recent::new(),
        }
    }

    /// Sets the stack's own address and netmask.
    pub fn set_own(&self, address: Ipv4Addr, netmask: Ipv4Addr) {
        self.own.set((address, netmask));
    }

    /// From now on the address is ours: probes for it are answered.
    pub fn defend(&self) {
        self.defends.set(true);
    }

    /// The hardware address that `ip` was last heard from.
    pub fn mac_of(&self, ip: Ipv4Addr) -> Option<MacAddr> {
        // No machine is called 0.0.0.0, and no key is.
        let known = !ip.is_unspecified();
        known.then(|| self.known.get(ip.to_bits().into()))?
    }

    fn learn(&self, ip: Ipv4Addr, mac: MacAddr) {
        if mac.is_unicast() && !ip.is_unspecified() {
            self.known.set(ip.to_bits().into(), mac);
        }
    }

    /// Notes who sent a packet to us.
    pub(super) fn hear(&self, ethernet: &[u8], packet: &[u8]) {
        let (own, _) = self.own.get();
        if address(packet, DESTINATION) == Some(own)
            && let Some(source) = address(packet, SOURCE)
            && let Some(mac) = ethernet.get(6..12).and_then(|mac| mac.try_into().ok())
        {
            self.learn(source, MacAddr(mac));
        }
    }

    /// Notes who asks or tells by ARP, and answers who asks for us, who have the
    /// hardware address `mac`.
    ///
    /// Who probes for our address has none yet and says so (RFC 5227 §2.1.1): it
    /// is told that the address is taken once we are sure that it is ours.
    pub(super) fn hear_arp<const N: usize>(
        &self,
        arp: &Arp,
        mac: MacAddr,
        outbound: &FrameRing<N>,
    ) {
        let (own, _) = self.own.get();
        // RFC 826: what is known is kept up to date; only who talks to us is
        // added.
        if arp.target == own || self.mac_of(arp.ip).is_some() {
            self.learn(arp.ip, arp.mac);
        }
        let is_probe = arp.ip.is_unspecified();
        if !arp.reply && arp.target == own && (!is_probe || self.defends.get()) {
            outbound.push_with(|room| {
                let answer = Arp {
                    reply: true,
                    mac,
                    ip: own,
                    target: arp.ip,
                };
                answer.emit(arp.mac, room)
            });
        }
    }

    /// Writes the Ethernet header of a packet that we send.
    ///
    /// If the receiver is not known – it was silent for long, and many others
    /// were not – the packet goes to ourselves, that is to nobody, and the
    /// receiver is asked for: TCP and TFTP send again.
    pub(super) fn address<const N: usize>(
        &self,
        ethernet: &mut [u8],
        packet: &[u8],
        mac: MacAddr,
        outbound: &FrameRing<N>,
    ) {
        let (own, netmask) = self.own.get();
        let to = address(packet, DESTINATION).unwrap_or(Ipv4Addr::UNSPECIFIED);
        let receiver = if to.is_broadcast() || to == own | !netmask {
            Some(MacAddr::BROADCAST)
        } else {
            self.mac_of(to)
        };
        if receiver.is_none() && to & netmask == own & netmask {
            outbound.push_with(|room| {
                let question = Arp {
                    reply: false,
                    mac,
                    ip: own,
                    target: to,
                };
                question.emit(MacAddr::BROADCAST, room)
            });
        }
        ethernet[..6].copy_from_slice(&receiver.unwrap_or(mac).0);
        ethernet[6..12].copy_from_slice(&mac.0);
        ethernet[12..14].copy_from_slice(&[0x08, 0x00]);
    }
}

impl Default for Neighbours {
    fn default() -> Self {
        Self::new()
    }
}

/// An address of an IPv4 packet.
pub(super) fn address(packet: &[u8], at: core::ops::Range<usize>) -> Option<Ipv4Addr> {
    let octets: [u8; 4] = packet.get(at)?.try_into().ok()?;
    Some(octets.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::frames::ARP_LEN;

    const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
    const US: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const THEM: MacAddr = MacAddr([2, 0, 0, 0, 0, 9]);

    fn neighbours() -> Neighbours {
        let neighbours = Neighbours::new();
        neighbours.set_own(OWN, Ipv4Addr::new(255, 255, 255, 0));
        neighbours
    }

    /// What matters of a packet's two headers.
    fn headers(mac: MacAddr, from: Ipv4Addr, to: Ipv4Addr) -> ([u8; 14], [u8; 20]) {
        let (mut ethernet, mut packet) = ([0; 14], [0; 20]);
        ethernet[6..12].copy_from_slice(&mac.0);
        packet[SOURCE].copy_from_slice(&from.octets());
        packet[DESTINATION].copy_from_slice(&to.octets());
        (ethernet, packet)
    }

    fn hear(neighbours: &Neighbours, from: Ipv4Addr, mac: MacAddr) {
        let (ethernet, packet) = headers(mac, from, OWN);
        neighbours.hear(&ethernet, &packet);
    }

    /// Where a packet to `to` goes, and what is asked by ARP.
    fn sent(neighbours: &Neighbours, to: Ipv4Addr) -> (MacAddr, Option<Arp>) {
        let (mut ethernet, packet) = headers(THEM, OWN, to);
        let outbound = FrameRing::<1>::new();
        neighbours.address(&mut ethernet, &packet, US, &outbound);
        assert_eq!(ethernet[6..], [2, 0, 0, 0, 0, 1, 0x08, 0x00]);
        let mut receiver = [0; 6];
        receiver.copy_from_slice(&ethernet[..6]);
        let asked = outbound.pop_with(Arp::parse).flatten();
        (MacAddr(receiver), asked)
    }

    fn machine(n: u16) -> (Ipv4Addr, MacAddr) {
        let [high, low] = n.to_be_bytes();
        (
            Ipv4Addr::new(198, 18, high, low),
            MacAddr([2, 1, 0, 0, high, low]),
        )
    }

    #[test]
    fn an_answer_goes_to_where_the_question_came_from() {
        let neighbours = neighbours();
        // A thousand machines of other networks, behind routers of this one.
        for n in 0..1024 {
            let (ip, mac) = machine(n);
            hear(&neighbours, ip, mac);
        }
        for n in 0..1024 {
            let (ip, mac) = machine(n);
            assert_eq!(sent(&neighbours, ip), (mac, None));
        }
        // One comes by another way from now on.
        let (ip, _) = machine(7);
        hear(&neighbours, ip, THEM);
        assert_eq!(sent(&neighbours, ip), (THEM, None));
        assert_eq!(sent(&neighbours, Ipv4Addr::BROADCAST).0, MacAddr::BROADCAST);
        let all = Ipv4Addr::new(192, 0, 2, 255);
        assert_eq!(sent(&neighbours, all).0, MacAddr::BROADCAST);
    }

    #[test]
    fn a_forgotten_neighbour_is_asked_for() {
        let neighbours = neighbours();
        let silent = Ipv4Addr::new(192, 0, 2, 50);
        let question = Arp {
            reply: false,
            mac: US,
            ip: OWN,
            target: silent,
        };
        assert_eq!(sent(&neighbours, silent), (US, Some(question)));
        let answer = Arp {
            reply: true,
            mac: THEM,
            ip: silent,
            target: OWN,
        };
        neighbours.hear_arp(&answer, US, &FrameRing::<1>::new());
        assert_eq!(sent(&neighbours, silent), (THEM, None));
        // Nobody of another network can be asked.
        let (far, _) = machine(1);
        assert_eq!(sent(&neighbours, far), (US, None));
    }

    #[test]
    fn what_is_not_for_us_or_from_nobody_is_not_noted() {
        let neighbours = neighbours();
        let them = Ipv4Addr::new(192, 0, 2, 50);
        let (ethernet, packet) = headers(THEM, them, Ipv4Addr::new(192, 0, 2, 60));
        neighbours.hear(&ethernet, &packet);
        assert_eq!(neighbours.mac_of(them), None);
        hear(&neighbours, Ipv4Addr::UNSPECIFIED, THEM);
        assert_eq!(neighbours.mac_of(Ipv4Addr::UNSPECIFIED), None);
        hear(&neighbours, them, MacAddr::BROADCAST);
        assert_eq!(neighbours.mac_of(them), None);
        neighbours.hear(&[], &[]);
    }

    #[test]
    fn who_asks_for_us_is_answered_and_known() {
        let neighbours = neighbours();
        let outbound = FrameRing::<2>::new();
        let ask = |ip, target| {
            let arp = Arp {
                reply: false,
                mac: THEM,
                ip,
                target,
            };
            neighbours.hear_arp(&arp, US, &outbound);
            let mut frame = [0; ARP_LEN];
            outbound.pop_with(|bytes| frame.copy_from_slice(bytes))?;
            assert_eq!(frame[..6], THEM.0);
            Arp::parse(&frame)
        };
        let them = Ipv4Addr::new(192, 0, 2, 50);
        let answer = |target| {
            Some(Arp {
                reply: true,
                mac: US,
                ip: OWN,
                target,
            })
        };
        assert_eq!(ask(them, Ipv4Addr::new(192, 0, 2, 2)), None);
        assert_eq!(neighbours.mac_of(them), None);
        assert_eq!(ask(them, OWN), answer(them));
        assert_eq!(neighbours.mac_of(them), Some(THEM));
        // A probe is answered once the address is ours for sure.
        assert_eq!(ask(Ipv4Addr::UNSPECIFIED, OWN), None);
        neighbours.defend();
        let nobody = Ipv4Addr::UNSPECIFIED;
        assert_eq!(ask(nobody, OWN), answer(nobody));
    }
}
