//! The one place every frame passes: between the board's NIC and the IP stack.
//!
//! The mux is itself a NIC. It
//! - takes DHCP frames out of the stream (to servers and, from foreign ones,
//!   to clients) and gives them to the DHCP task,
//! - lets that task see who solicits an IPv6 router,
//! - lets that task see ARP and echo replies while it probes an address,
//! - sends that task's frames,
//! - repeats a TCP peer's last ACK when its connection stands still
//!   ([`nudge`](super::nudge)), and
//! - teaches the stack who its neighbours are from the packets they send, so
//!   that a thousand machines that start at once are answered without an ARP
//!   exchange each (smoltcp asks for one neighbour a second).

use core::cell::{Cell, RefCell};
use core::net::Ipv4Addr;
use core::task::Context;

use embassy_net::driver::{Capabilities, Driver, HardwareAddress, LinkState, TxToken as _};
use embassy_sync::waitqueue::WakerRegistration;
use embassy_time::Duration;

use super::frames::{ARP_LEN, Arp, FrameRing};
use super::ndp;
use super::nudge::{ACK_LEN, Flows};
use crate::MacAddr;
use crate::dhcp::wire::{BOOT_SERVER_PORT, CLIENT_PORT, SERVER_PORT};

/// Calls of [`Neighbours::tick`] that a neighbour stays known without being
/// announced again. With [`NEIGHBOUR_TICK`] this is less than the minute that
/// smoltcp keeps one without hearing from it.
const NEIGHBOUR_TICKS: u32 = 3;

/// How often [`Neighbours::tick`] is to be called.
pub const NEIGHBOUR_TICK: Duration = Duration::from_secs(10);

/// Places for neighbours; one is found by the low bits of its address.
const NEIGHBOURS: usize = 1024;

/// The DHCP task's end of the mux.
pub struct Divert<const IN: usize, const OUT: usize> {
    /// Frames for the DHCP task.
    pub inbound: FrameRing<IN>,
    /// Frames from the DHCP task.
    pub outbound: FrameRing<OUT>,
    filter: Cell<Filter>,
    runner: RefCell<WakerRegistration>,
}

/// Which frames the DHCP task wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Filter {
    /// Take DHCP out of the stream (ports 67, 68 and 4011), and router
    /// solicitations.
    pub dhcp: bool,
    /// Copy ARP and ICMP echo replies: an address is being probed.
    pub probes: bool,
}

impl<const IN: usize, const OUT: usize> Divert<IN, OUT> {
    /// Empty rings and a filter that lets everything pass.
    pub const fn new() -> Self {
        Self {
            inbound: FrameRing::new(),
            outbound: FrameRing::new(),
            filter: Cell::new(Filter {
                dhcp: false,
                probes: false,
            }),
            runner: RefCell::new(WakerRegistration::new()),
        }
    }

    /// Says which frames to divert from now on.
    pub fn set_filter(&self, filter: Filter) {
        self.filter.set(filter);
    }

    /// Which frames are diverted.
    pub fn filter(&self) -> Filter {
        self.filter.get()
    }

    /// Has the frames in `outbound` sent.
    pub fn flush(&self) {
        self.runner.borrow_mut().wake();
    }
}

impl<const IN: usize, const OUT: usize> Default for Divert<IN, OUT> {
    fn default() -> Self {
        Self::new()
    }
}

/// A NIC with the DHCP task's frames woven in.
pub struct Mux<'a, D: Driver, const IN: usize, const OUT: usize> {
    nic: D,
    divert: &'a Divert<IN, OUT>,
    neighbours: &'a Neighbours,
    flows: &'a Flows,
}

impl<'a, D: Driver, const IN: usize, const OUT: usize> Mux<'a, D, IN, OUT> {
    /// Puts the mux in front of `nic`.
    pub fn new(
        nic: D,
        divert: &'a Divert<IN, OUT>,
        neighbours: &'a Neighbours,
        flows: &'a Flows,
    ) -> Self {
        Self {
            nic,
            divert,
            neighbours,
            flows,
        }
    }

    fn send_outbound(&mut self, cx: &mut Context<'_>) {
        self.divert.runner.borrow_mut().register(cx.waker());
        while let Some(len) = self.divert.outbound.front_len() {
            let Some(token) = self.nic.transmit(cx) else {
                return;
            };
            self.divert
                .outbound
                .pop_with(|frame| token.consume(len, |buf| buf.copy_from_slice(frame)));
        }
    }
}

impl<D: Driver, const IN: usize, const OUT: usize> Driver for Mux<'_, D, IN, OUT> {
    type RxToken<'t>
        = RxToken<'t, D::RxToken<'t>, IN, OUT>
    where
        Self: 't;
    type TxToken<'t>
        = D::TxToken<'t>
    where
        Self: 't;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        self.send_outbound(cx);
        if self.neighbours.news.get().is_some() {
            // The announcement needs no reply, but the trait wants a token.
            let tx = self.nic.transmit(cx)?;
            let arp = self.neighbours.news.take()?;
            return Some((RxToken::Announcement(arp), tx));
        }
        if self.flows.has_frame(cx) {
            return Some((RxToken::Nudge(self.flows), self.nic.transmit(cx)?));
        }
        let (rx, tx) = self.nic.receive(cx)?;
        Some((
            RxToken::Frame {
                rx,
                divert: self.divert,
                neighbours: self.neighbours,
                flows: self.flows,
            },
            tx,
        ))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Self::TxToken<'_>> {
        self.nic.transmit(cx)
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        self.nic.link_state(cx)
    }

    fn capabilities(&self) -> Capabilities {
        self.nic.capabilities()
    }

    fn hardware_address(&self) -> HardwareAddress {
        self.nic.hardware_address()
    }
}

/// A frame on its way to the IP stack.
pub enum RxToken<'a, T, const IN: usize, const OUT: usize> {
    /// From the wire.
    Frame {
        /// The NIC's own token.
        rx: T,
        /// Where DHCP frames go.
        divert: &'a Divert<IN, OUT>,
        /// Who has been heard from.
        neighbours: &'a Neighbours,
        /// What TCP peers said last.
        flows: &'a Flows,
    },
    /// Made here: a neighbour that spoke without asking for our address.
    Announcement(Arp),
    /// Said before: a TCP peer's last ACK.
    Nudge(&'a Flows),
}

impl<T: embassy_net::driver::RxToken, const IN: usize, const OUT: usize>
    embassy_net::driver::RxToken for RxToken<'_, T, IN, OUT>
{
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        match self {
            Self::Announcement(arp) => {
                let mut frame = [0; ARP_LEN];
                arp.emit(MacAddr::BROADCAST, &mut frame);
                f(&mut frame)
            }
            Self::Nudge(flows) => {
                let mut frame = [0; ACK_LEN];
                let waits = flows.take_frame(|ack| frame.copy_from_slice(ack)).is_some();
                // The stack skips empty frames.
                f(if waits { &mut frame } else { &mut [] })
            }
            Self::Frame {
                rx,
                divert,
                neighbours,
                flows,
            } => rx.consume(|frame| {
                let filter = divert.filter.get();
                match Kind::of(frame) {
                    // The stack skips empty frames.
                    Kind::Dhcp | Kind::Solicitation if filter.dhcp => {
                        divert.inbound.push(frame);
                        f(&mut [])
                    }
                    kind @ (Kind::Answer | Kind::Arp) => {
                        if filter.probes {
                            divert.inbound.push(frame);
                        }
                        if kind == Kind::Arp {
                            neighbours.answer_probe(frame, &divert.outbound);
                        }
                        f(frame)
                    }
                    Kind::Tcp => {
                        neighbours.hear(frame);
                        flows.observe(frame);
                        f(frame)
                    }
                    Kind::Dhcp | Kind::Ipv4 => {
                        neighbours.hear(frame);
                        f(frame)
                    }
                    Kind::Solicitation | Kind::Other => f(frame),
                }
            }),
        }
    }
}

/// What the mux needs to know of a frame, from as few bytes as will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// UDP to port 67, 68 or 4011: a DHCP message.
    Dhcp,
    /// An ARP or ICMP echo reply.
    Answer,
    /// Another ARP frame.
    Arp,
    /// A TCP segment.
    Tcp,
    /// Another IPv4 packet.
    Ipv4,
    /// An IPv6 router solicitation.
    Solicitation,
    Other,
}

impl Kind {
    fn of(frame: &[u8]) -> Self {
        const UDP: u8 = 17;
        const TCP: u8 = 6;
        const ICMP: u8 = 1;
        let Some((header, packet)) = frame.split_at_checked(14) else {
            return Self::Other;
        };
        match (header[12], header[13]) {
            (0x08, 0x06) => {
                let reply = packet.get(6..8) == Some(&[0, 2]);
                if reply { Self::Answer } else { Self::Arp }
            }
            (0x86, 0xdd) if ndp::is_solicitation(packet) => Self::Solicitation,
            (0x08, 0x00) => {
                let Some(&[version_ihl, .., fragment_high, fragment_low, _, protocol]) =
                    packet.get(..10)
                else {
                    return Self::Other;
                };
                let payload = packet
                    .get(usize::from(version_ihl & 0xf) * 4..)
                    .unwrap_or_default();
                let later_fragment = fragment_high & 0x1f != 0 || fragment_low != 0;
                match (protocol, payload) {
                    (UDP, &[_, _, high, low, ..])
                        if !later_fragment
                            && matches!(
                                u16::from_be_bytes([high, low]),
                                SERVER_PORT | CLIENT_PORT | BOOT_SERVER_PORT
                            ) =>
                    {
                        Self::Dhcp
                    }
                    (ICMP, [0, ..]) => Self::Answer,
                    (TCP, _) if !later_fragment => Self::Tcp,
                    _ => Self::Ipv4,
                }
            }
            _ => Self::Other,
        }
    }
}

/// Who has been heard from lately on this link.
pub struct Neighbours {
    own: Cell<(Ipv4Addr, Ipv4Addr)>,
    own_mac: Cell<MacAddr>,
    defends: Cell<bool>,
    known: [Cell<(Ipv4Addr, MacAddr, u32)>; NEIGHBOURS],
    ticks: Cell<u32>,
    news: Cell<Option<Arp>>,
}

impl Neighbours {
    /// Nobody yet.
    pub const fn new() -> Self {
        const NOBODY: (Ipv4Addr, MacAddr, u32) = (Ipv4Addr::UNSPECIFIED, MacAddr([0; 6]), 0);
        Self {
            own: Cell::new((Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED)),
            own_mac: Cell::new(MacAddr([0; 6])),
            defends: Cell::new(false),
            known: [const { Cell::new(NOBODY) }; NEIGHBOURS],
            ticks: Cell::new(0),
            news: Cell::new(None),
        }
    }

    /// Lets time pass: a clock read for every packet would cost more than the
    /// whole look-up.
    pub fn tick(&self) {
        self.ticks.set(self.ticks.get().wrapping_add(1));
    }

    /// Sets the stack's own address and netmask: only machines in that subnet
    /// are neighbours, the others come through a router.
    pub fn set_own(&self, address: Ipv4Addr, netmask: Ipv4Addr) {
        self.own.set((address, netmask));
    }

    /// From now on the address is ours, at `mac`: probes for it are answered.
    pub fn defend(&self, mac: MacAddr) {
        self.own_mac.set(mac);
        self.defends.set(true);
    }

    /// The hardware address that `ip` was last heard from.
    pub fn mac_of(&self, ip: Ipv4Addr) -> Option<MacAddr> {
        let (known, mac, _) = self.place(ip).get();
        (known == ip && mac.is_unicast()).then_some(mac)
    }

    fn place(&self, ip: Ipv4Addr) -> &Cell<(Ipv4Addr, MacAddr, u32)> {
        let [_, _, high, low] = ip.octets();
        &self.known[usize::from(u16::from_be_bytes([high, low])) % NEIGHBOURS]
    }

    /// Answers a probe for our own address. Whoever sends one has no address
    /// yet and says so (RFC 5227 §2.1.1); smoltcp would not answer, and the
    /// address would be taken twice.
    fn answer_probe<const N: usize>(&self, frame: &[u8], outbound: &FrameRing<N>) {
        let (own, _) = self.own.get();
        let Some(probe) = Arp::parse(frame) else {
            return;
        };
        if probe.reply || !probe.ip.is_unspecified() || probe.target != own || !self.defends.get() {
            return;
        }
        outbound.push_with(|room| {
            let answer = Arp {
                reply: true,
                mac: self.own_mac.get(),
                ip: own,
                target: Ipv4Addr::UNSPECIFIED,
            };
            answer.emit(probe.mac, room)
        });
    }

    fn hear(&self, frame: &[u8]) {
        let (own, mask) = self.own.get();
        let Some(&[s0, s1, s2, s3, d0, d1, d2, d3]) = frame.get(26..34) else {
            return;
        };
        let (src, dst) = (Ipv4Addr::new(s0, s1, s2, s3), Ipv4Addr::new(d0, d1, d2, d3));
        if dst != own || (src & mask) != (own & mask) {
            return;
        }
        let Some(&[m0, m1, m2, m3, m4, m5]) = frame.get(6..12) else {
            return;
        };
        let mac = MacAddr([m0, m1, m2, m3, m4, m5]);
        if !mac.is_unicast() {
            return;
        }
        let ticks = self.ticks.get();
        let place = self.place(src);
        let (known, known_mac, since) = place.get();
        if known != src || known_mac != mac || ticks.wrapping_sub(since) >= NEIGHBOUR_TICKS {
            place.set((src, mac, ticks));
            self.news.set(Some(Arp {
                reply: true,
                mac,
                ip: src,
                target: own,
            }));
        }
    }
}

impl Default for Neighbours {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::frames::{Datagram, FRAME_LEN, UDP_HEADERS};

    fn udp(dst_port: u16) -> Vec<u8> {
        let mut frame = [0; FRAME_LEN];
        let len = Datagram {
            src_mac: MacAddr([2, 0, 0, 0, 0, 2]),
            dst_mac: MacAddr([2, 0, 0, 0, 0, 1]),
            src_ip: Ipv4Addr::new(192, 0, 2, 50),
            dst_ip: Ipv4Addr::new(192, 0, 2, 1),
            src_port: 1234,
            dst_port,
            payload: &[],
        }
        .emit_headers(&mut frame, 4);
        assert_eq!(len, UDP_HEADERS + 4);
        frame[..len].to_vec()
    }

    #[test]
    fn dhcp_is_told_from_other_traffic() {
        for port in [67, 68, 4011] {
            assert_eq!(Kind::of(&udp(port)), Kind::Dhcp);
        }
        assert_eq!(Kind::of(&udp(69)), Kind::Ipv4);
        let mut fragment = udp(67);
        fragment[21] = 1;
        assert_eq!(Kind::of(&fragment), Kind::Ipv4);
        for cut in 0..udp(67).len() {
            // Whatever is missing, nothing is read past the end.
            let _ = Kind::of(&udp(67)[..cut]);
        }
    }

    #[test]
    fn a_neighbour_is_announced_once() {
        let neighbours = Neighbours::new();
        neighbours.set_own(Ipv4Addr::new(192, 0, 2, 1), Ipv4Addr::new(255, 255, 255, 0));
        neighbours.hear(&udp(69));
        let arp = neighbours.news.take().unwrap();
        assert_eq!(arp.ip, Ipv4Addr::new(192, 0, 2, 50));
        assert_eq!(arp.mac, MacAddr([2, 0, 0, 0, 0, 2]));
        neighbours.hear(&udp(69));
        assert_eq!(neighbours.news.take(), None);
        for _ in 0..NEIGHBOUR_TICKS {
            neighbours.tick();
        }
        neighbours.hear(&udp(69));
        assert_eq!(neighbours.news.take(), Some(arp));
    }

    #[test]
    fn a_probe_for_our_address_is_answered_once_it_is_ours() {
        let own = Ipv4Addr::new(192, 0, 2, 1);
        let (us, them) = (MacAddr([2, 0, 0, 0, 0, 1]), MacAddr([2, 0, 0, 0, 0, 9]));
        let neighbours = Neighbours::new();
        neighbours.set_own(own, Ipv4Addr::new(255, 255, 255, 0));
        let outbound = FrameRing::<2>::new();
        let mut frame = [0; ARP_LEN];
        let probe = Arp {
            reply: false,
            mac: them,
            ip: Ipv4Addr::UNSPECIFIED,
            target: own,
        };
        probe.emit(MacAddr::BROADCAST, &mut frame);
        neighbours.answer_probe(&frame, &outbound);
        assert!(outbound.is_empty());
        neighbours.defend(us);
        neighbours.answer_probe(&frame, &outbound);
        let answer = Arp {
            reply: true,
            mac: us,
            ip: own,
            target: Ipv4Addr::UNSPECIFIED,
        };
        assert_eq!(outbound.pop_with(Arp::parse), Some(Some(answer)));
        let other = Arp {
            target: Ipv4Addr::new(192, 0, 2, 2),
            ..probe
        };
        other.emit(MacAddr::BROADCAST, &mut frame);
        neighbours.answer_probe(&frame, &outbound);
        assert!(outbound.is_empty());
    }

    #[test]
    fn machines_behind_a_router_are_no_neighbours() {
        let neighbours = Neighbours::new();
        neighbours.set_own(
            Ipv4Addr::new(192, 0, 2, 1),
            Ipv4Addr::new(255, 255, 255, 240),
        );
        neighbours.hear(&udp(69));
        assert_eq!(neighbours.news.take(), None);
    }
}
