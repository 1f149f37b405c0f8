//! The one place every frame passes: between the board's NIC and the IP stacks.
//!
//! The mux is the link layer of all stacks behind it. It
//! - hands TCP packets to the stack that has their connection, and the rest of
//!   IPv4 to the first one,
//! - knows the hardware address of everybody who sent something, and speaks ARP
//!   ([`Neighbours`]): the stacks deal in IP alone, so that a thousand machines
//!   that start at once are answered without an ARP exchange each,
//! - takes DHCP frames out of the stream (to servers and, from foreign ones,
//!   to clients) and gives them to the DHCP task,
//! - lets that task see who solicits an IPv6 router,
//! - lets that task see ARP and echo replies while it probes an address,
//! - sends that task's frames, and
//! - shows every TCP packet to those who send in a stack's place
//!   ([`Connections`]), and sends what they do.

use core::cell::{Cell, RefCell};
use core::convert::Infallible;
use core::future::poll_fn;
use core::task::{Context, Poll, Waker};

use embassy_net::driver::{
    Capabilities, Checksum, Driver, HardwareAddress, LinkState, RxToken as _, TxToken as _,
};
use embassy_sync::waitqueue::WakerRegistration;
use smoltcp::phy::{self, ChecksumCapabilities};

use super::connections::{Connections, Wire};
use super::frames::{Arp, ETHERNET_LEN, FrameRing};
use super::lane::Lane;
use super::ndp;
use super::neighbours::{Neighbours, address};
use super::recent::spread;
use crate::MacAddr;
use crate::dhcp::wire::{BOOT_SERVER_PORT, CLIENT_PORT, SERVER_PORT};

/// Where the addresses are in an IPv4 packet (RFC 791 §3.1).
pub(super) const SOURCE: core::ops::Range<usize> = 12..16;
pub(super) const DESTINATION: core::ops::Range<usize> = 16..20;

/// Connections that are told at once that the NIC has room. More would only find
/// that the first have taken it.
const TOLD_OF_ROOM: usize = 16;

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

    /// Has the mux' task woken from now on.
    fn register(&self, waker: &Waker) {
        self.runner.borrow_mut().register(waker);
    }

    /// Says which frames to divert from now on.
    pub fn set_filter(&self, filter: Filter) {
        self.filter.set(filter);
    }

    /// Which frames are diverted.
    pub fn filter(&self) -> Filter {
        self.filter.get()
    }

    /// Has the mux look for what there is to send.
    pub fn flush(&self) {
        self.runner.borrow_mut().wake();
    }
}

impl<const IN: usize, const OUT: usize> Default for Divert<IN, OUT> {
    fn default() -> Self {
        Self::new()
    }
}

/// A NIC shared by IP stacks and the DHCP task.
///
/// [`run`](Self::run) is the task that waits for the NIC, and the only one that
/// does. Each stack has a [`Port`].
pub struct Mux<'a, D, const IN: usize, const OUT: usize, const LANES: usize> {
    nic: RefCell<D>,
    mac: MacAddr,
    link: Cell<LinkState>,
    lanes: &'a [Lane; LANES],
    divert: &'a Divert<IN, OUT>,
    neighbours: &'a Neighbours,
    connections: &'a Connections,
}

impl<'a, D: Driver, const IN: usize, const OUT: usize, const LANES: usize>
    Mux<'a, D, IN, OUT, LANES>
{
    /// Puts the mux in front of a NIC that speaks Ethernet, with a lane for each
    /// stack: one alone gets everything; of several, the first gets all that is
    /// not TCP, and the connections are spread over the others.
    pub fn new(
        nic: D,
        lanes: &'a [Lane; LANES],
        divert: &'a Divert<IN, OUT>,
        neighbours: &'a Neighbours,
        connections: &'a Connections,
    ) -> Self {
        let mac = match nic.hardware_address() {
            HardwareAddress::Ethernet(mac) => MacAddr(mac),
            // No frame is for it, then.
            _ => MacAddr([0; 6]),
        };
        Self {
            nic: RefCell::new(nic),
            mac,
            link: Cell::new(LinkState::Down),
            lanes,
            divert,
            neighbours,
            connections,
        }
    }

    /// A NIC for each stack, in the order of the lanes.
    pub fn ports(&self) -> [Port<'_, D, IN, OUT, LANES>; LANES] {
        self.lanes.each_ref().map(|lane| Port { mux: self, lane })
    }

    /// Moves frames between the NIC and the stacks, for ever.
    pub async fn run(&self) -> ! {
        let never: Infallible = poll_fn(|cx| {
            self.poll(cx);
            Poll::Pending
        })
        .await;
        match never {}
    }

    fn poll(&self, cx: &mut Context<'_>) {
        self.divert.register(cx.waker());
        let nic = &mut *self.nic.borrow_mut();
        while let Some((frame, reply)) = nic.receive(cx) {
            // The stacks take room of their own when they answer.
            drop(reply);
            frame.consume(|frame| self.sort(frame));
        }
        self.send_outbound(nic, cx);
        if self.lanes.iter().any(Lane::is_blocked) && nic.transmit(cx).is_some() {
            self.lanes.iter().for_each(Lane::unblock);
        }
        if self.connections.has_waiting() && nic.transmit(cx).is_some() {
            self.connections.wake_waiting(TOLD_OF_ROOM);
            if self.connections.has_waiting() {
                // Those that were told may not need it.
                cx.waker().wake_by_ref();
            }
        }
        // By this the NIC knows that it may send what was queued.
        let link = nic.link_state(cx);
        if self.link.replace(link) != link {
            self.lanes.iter().for_each(Lane::wake);
        }
    }

    fn send_outbound(&self, nic: &mut D, cx: &mut Context<'_>) {
        while let Some(len) = self.divert.outbound.front_len() {
            let Some(token) = nic.transmit(cx) else {
                return;
            };
            self.divert
                .outbound
                .pop_with(|frame| token.consume(len, |buf| buf.copy_from_slice(frame)));
        }
    }

    /// Gives a frame to whom it is for.
    fn sort(&self, frame: &mut [u8]) {
        let kind = Kind::of(frame);
        let filter = self.divert.filter.get();
        match kind {
            Kind::Arp => {
                if filter.probes {
                    self.divert.inbound.push(frame);
                }
                if let Some(arp) = Arp::parse(frame) {
                    self.neighbours
                        .hear_arp(&arp, self.mac, &self.divert.outbound);
                }
            }
            Kind::Dhcp | Kind::Solicitation if filter.dhcp => self.divert.inbound.push(frame),
            Kind::EchoReply if filter.probes => self.divert.inbound.push(frame),
            _ => {}
        }
        let Some((ethernet, packet)) = frame.split_at_mut_checked(ETHERNET_LEN) else {
            return;
        };
        let is_for_all = ethernet[0] & 1 != 0;
        if !is_for_all && ethernet[..6] != self.mac.0 {
            // A switch that does not know better sends it everywhere.
            return;
        }
        if matches!(kind, Kind::Arp | Kind::Solicitation | Kind::Other) {
            return;
        }
        self.neighbours.hear(ethernet, packet);
        match kind {
            Kind::Tcp => {
                if self.connections.hear(packet) {
                    self.hand_tcp(packet);
                }
            }
            Kind::Dhcp if filter.dhcp => {}
            _ => {
                if let Some(first) = self.lanes.first() {
                    first.push(packet);
                }
            }
        }
    }

    /// Gives a TCP packet to the stack that has its connection, or will.
    fn hand_tcp(&self, packet: &[u8]) {
        let lane = match &self.lanes[..] {
            [] => return,
            [only] => only,
            [_, lanes @ ..] => {
                let header = packet.first().map_or(0, |byte| usize::from(byte & 0xf) * 4);
                let port = match packet.get(header..) {
                    Some(&[high, low, ..]) => u16::from_be_bytes([high, low]),
                    _ => 0,
                };
                let address = address(packet, SOURCE).map_or(0, |address| address.to_bits());
                let hash = address ^ u32::from(port).rotate_left(16);
                &lanes[spread(hash) as usize % lanes.len()]
            }
        };
        lane.push(packet);
    }

    /// Sends a packet that `fill` writes, to whom it is for. `None` if there is
    /// no room for it.
    fn send_packet<R>(&self, len: usize, fill: impl FnOnce(&mut [u8]) -> R) -> Option<R> {
        let nic = &mut *self.nic.borrow_mut();
        let token = nic.transmit(&mut Context::from_waker(Waker::noop()))?;
        let result = token.consume(ETHERNET_LEN + len, |frame| {
            let (ethernet, packet) = frame.split_at_mut(ETHERNET_LEN);
            let result = fill(packet);
            self.neighbours
                .address(ethernet, packet, self.mac, &self.divert.outbound);
            result
        });
        self.divert.flush();
        Some(result)
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.nic.borrow().capabilities();
        // The stacks do not see the Ethernet header.
        capabilities.max_transmission_unit -= ETHERNET_LEN;
        capabilities
    }
}

impl<D: Driver, const IN: usize, const OUT: usize, const LANES: usize> Wire
    for Mux<'_, D, IN, OUT, LANES>
{
    fn connections(&self) -> &Connections {
        self.connections
    }

    fn mtu(&self) -> usize {
        self.capabilities().max_transmission_unit
    }

    fn has_room(&self) -> bool {
        // The NIC knows one task that waits, the mux' own.
        let nobody = &mut Context::from_waker(Waker::noop());
        let has_room = self.nic.borrow_mut().transmit(nobody).is_some();
        if !has_room {
            self.divert.flush();
        }
        has_room
    }

    fn send(&self, len: usize, fill: &mut dyn FnMut(&mut [u8], &ChecksumCapabilities)) {
        let nic = self.nic.borrow().capabilities().checksum;
        let mut checksums = ChecksumCapabilities::default();
        checksums.ipv4 = computed(&nic.ipv4);
        checksums.tcp = computed(&nic.tcp);
        self.send_packet(len, |packet| fill(packet, &checksums));
    }
}

/// What is to be computed for a NIC that leaves so much to us.
fn computed(checksum: &Checksum) -> phy::Checksum {
    match checksum {
        Checksum::Both => phy::Checksum::Both,
        Checksum::Tx => phy::Checksum::Tx,
        Checksum::Rx => phy::Checksum::Rx,
        Checksum::None => phy::Checksum::None,
    }
}

/// What an IP stack sees of the mux: a NIC without Ethernet.
pub struct Port<'a, D, const IN: usize, const OUT: usize, const LANES: usize> {
    mux: &'a Mux<'a, D, IN, OUT, LANES>,
    lane: &'a Lane,
}

impl<D: Driver, const IN: usize, const OUT: usize, const LANES: usize> Port<'_, D, IN, OUT, LANES> {
    /// Whether the NIC has room for a packet. If not, the stack is woken once
    /// it has.
    fn has_room(&self) -> bool {
        let has_room = self.mux.has_room();
        if !has_room {
            self.lane.block();
        }
        has_room
    }
}

impl<'a, D: Driver, const IN: usize, const OUT: usize, const LANES: usize> Driver
    for Port<'a, D, IN, OUT, LANES>
{
    type RxToken<'t>
        = RxToken<'a>
    where
        Self: 't;
    type TxToken<'t>
        = TxToken<'a, D, IN, OUT, LANES>
    where
        Self: 't;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(RxToken<'a>, Self::TxToken<'a>)> {
        self.lane.register(cx.waker());
        if self.lane.is_empty() || !self.has_room() {
            return None;
        }
        Some((RxToken(self.lane), TxToken(self.mux)))
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<Self::TxToken<'a>> {
        self.has_room().then_some(TxToken(self.mux))
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        self.mux.link.get()
    }

    fn capabilities(&self) -> Capabilities {
        self.mux.capabilities()
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ip
    }
}

/// A packet on its way to a stack.
pub struct RxToken<'a>(&'a Lane);

impl embassy_net::driver::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        self.0.pop_with(f)
    }
}

/// A packet on its way from a stack.
pub struct TxToken<'a, D, const IN: usize, const OUT: usize, const LANES: usize>(
    &'a Mux<'a, D, IN, OUT, LANES>,
);

impl<D: Driver, const IN: usize, const OUT: usize, const LANES: usize> embassy_net::driver::TxToken
    for TxToken<'_, D, IN, OUT, LANES>
{
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mux = self.0;
        let sent = mux.send_packet(len, |packet| {
            let result = f(packet);
            mux.connections.leave(packet);
            result
        });
        let Some(result) = sent else {
            unreachable!("the NIC had room when this token was made, and nothing was sent since")
        };
        result
    }
}

/// What the mux needs to know of a frame, from as few bytes as will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// UDP to port 67, 68 or 4011: a DHCP message.
    Dhcp,
    Arp,
    /// An ICMP echo reply.
    EchoReply,
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
            (0x08, 0x06) => Self::Arp,
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
                    (ICMP, [0, ..]) if !later_fragment => Self::EchoReply,
                    (TCP, _) if !later_fragment => Self::Tcp,
                    _ => Self::Ipv4,
                }
            }
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use core::net::Ipv4Addr;
    use std::collections::VecDeque;
    use std::rc::Rc;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use embassy_net::driver::TxToken as _;

    use super::*;
    use crate::net::connections::Slot;
    use crate::net::frames::{Datagram, FRAME_LEN, UDP_HEADERS};

    const US: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);
    const THEM: MacAddr = MacAddr([2, 0, 0, 0, 0, 2]);
    const OWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

    fn udp(dst_port: u16) -> Vec<u8> {
        let mut frame = [0; FRAME_LEN];
        let len = Datagram {
            src_mac: THEM,
            dst_mac: US,
            src_ip: Ipv4Addr::new(192, 0, 2, 50),
            dst_ip: OWN,
            src_port: 1234,
            dst_port,
            payload: &[],
        }
        .emit_headers(&mut frame, 4);
        assert_eq!(len, UDP_HEADERS + 4);
        frame[..len].to_vec()
    }

    /// What the mux looks at in a frame with a TCP segment.
    fn tcp(from: Ipv4Addr, port: u16) -> Vec<u8> {
        let mut frame = udp(80);
        frame[14 + 9] = 6;
        frame[14..][SOURCE].copy_from_slice(&from.octets());
        frame[34..36].copy_from_slice(&port.to_be_bytes());
        frame
    }

    /// A NIC that takes `room` frames.
    #[derive(Default)]
    struct Wire {
        incoming: RefCell<VecDeque<Vec<u8>>>,
        sent: RefCell<Vec<Vec<u8>>>,
        room: Cell<usize>,
        waiting: RefCell<Option<Waker>>,
    }

    #[derive(Default, Clone)]
    struct Nic(Rc<Wire>);

    struct Incoming(Vec<u8>);

    impl embassy_net::driver::RxToken for Incoming {
        fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
            f(&mut self.0)
        }
    }

    struct Outgoing(Rc<Wire>);

    impl embassy_net::driver::TxToken for Outgoing {
        fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
            let mut frame = vec![0; len];
            let result = f(&mut frame);
            self.0.room.set(self.0.room.get() - 1);
            self.0.sent.borrow_mut().push(frame);
            result
        }
    }

    impl Driver for Nic {
        type RxToken<'a> = Incoming;
        type TxToken<'a> = Outgoing;

        fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Incoming, Outgoing)> {
            let reply = self.transmit(cx)?;
            let frame = self.0.incoming.borrow_mut().pop_front()?;
            Some((Incoming(frame), reply))
        }

        fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Outgoing> {
            if self.0.room.get() == 0 {
                *self.0.waiting.borrow_mut() = Some(cx.waker().clone());
                return None;
            }
            Some(Outgoing(self.0.clone()))
        }

        fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
            LinkState::Up
        }

        fn capabilities(&self) -> Capabilities {
            let mut capabilities = Capabilities::default();
            capabilities.max_transmission_unit = FRAME_LEN;
            capabilities
        }

        fn hardware_address(&self) -> HardwareAddress {
            HardwareAddress::Ethernet(US.0)
        }
    }

    #[derive(Default)]
    struct Bell(AtomicU32);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// A mux with a NIC and what both lead to, for as long as the test runs.
    struct World<const LANES: usize> {
        wire: Rc<Wire>,
        lanes: &'static [Lane; LANES],
        divert: &'static Divert<8, 8>,
        mux: &'static Mux<'static, Nic, 8, 8, LANES>,
    }

    fn world<const LANES: usize>() -> World<LANES> {
        let nic = Nic::default();
        let wire = nic.0.clone();
        wire.room.set(usize::MAX);
        // Too large for a test's stack in one piece.
        let lanes: Vec<Lane> = std::iter::repeat_with(Lane::new).take(LANES).collect();
        let lanes: &[Lane; LANES] = (&*lanes.leak()).try_into().unwrap();
        let divert: &_ = Box::leak(Box::new(Divert::new()));
        let neighbours: &Neighbours = Box::leak(Box::default());
        neighbours.set_own(OWN, Ipv4Addr::new(255, 255, 255, 0));
        let connections: &Connections<[Slot; 4]> = Box::leak(Box::default());
        let mux = Mux::new(nic, lanes, divert, neighbours, connections);
        let mux = Box::leak(Box::new(mux));
        World {
            wire,
            lanes,
            divert,
            mux,
        }
    }

    impl<const LANES: usize> World<LANES> {
        /// Lets the frames come in; how many packets each lane got.
        fn pass(&self, frames: impl IntoIterator<Item = Vec<u8>>) -> [usize; LANES] {
            self.wire.incoming.borrow_mut().extend(frames);
            self.mux.poll(&mut Context::from_waker(Waker::noop()));
            self.lanes.each_ref().map(|lane| {
                let mut count = 0;
                while !lane.is_empty() {
                    lane.pop_with(|packet| assert_eq!(packet[0], 0x45));
                    count += 1;
                }
                count
            })
        }
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
    fn each_frame_goes_to_whom_it_is_for() {
        let (world, alone) = (world::<3>(), world::<1>());
        let peer = Ipv4Addr::new(192, 0, 2, 50);
        assert_eq!(world.pass([udp(69), udp(67)]), [2, 0, 0]);
        world.divert.set_filter(Filter {
            dhcp: true,
            probes: false,
        });
        assert_eq!(world.pass([udp(67), udp(69)]), [1, 0, 0]);
        assert_eq!(world.divert.inbound.front_len(), Some(udp(67).len()));
        // The packets of one connection stay together.
        let [none, one, other] = world.pass((0..10).map(|_| tcp(peer, 4000)));
        assert!(none == 0 && one.max(other) == 10, "{one} {other}");
        let mut foreign = udp(69);
        foreign[5] = 9;
        assert_eq!(world.pass([foreign, vec![], vec![0; 13]]), [0; 3]);
        // One stack gets everything.
        assert_eq!(alone.pass([udp(69), tcp(peer, 4000)]), [2]);
    }

    #[test]
    fn connections_spread_evenly_over_the_stacks() {
        // A thousand machines in a row, with ports as Linux and as firmware
        // choose them.
        for port in [
            |n: u32| 32_768 + (n * 7919 % 28_000) as u16,
            |n| 2048 + n as u16,
            |_| 1024,
        ] {
            let world = world::<17>();
            let machines = (0..1024).map(|n| {
                let address = Ipv4Addr::from_bits(Ipv4Addr::new(10, 20, 4, 0).to_bits() + n);
                tcp(address, port(n))
            });
            let got = world.pass(machines);
            assert_eq!((got[0], got.iter().sum::<usize>()), (0, 1024));
            assert!(
                got[1..].iter().all(|got| (32..=96).contains(got)),
                "{got:?}"
            );
        }
    }

    #[test]
    fn a_stack_that_waits_for_room_goes_on_when_there_is_some() {
        let world = world::<2>();
        let [mut port, _] = world.mux.ports();
        let (stack, mux) = (Arc::new(Bell::default()), Arc::new(Bell::default()));
        let (stack_waker, mux_waker) = (stack.clone().into(), mux.clone().into());
        let (mut stack_cx, mut mux_cx) = (
            Context::from_waker(&stack_waker),
            Context::from_waker(&mux_waker),
        );
        world.mux.poll(&mut mux_cx);
        assert!(port.receive(&mut stack_cx).is_none());
        let peer = Ipv4Addr::new(192, 0, 2, 255);
        let send = |token: TxToken<'_, Nic, 8, 8, 2>| {
            token.consume(20, |packet| {
                packet[DESTINATION].copy_from_slice(&peer.octets());
            });
        };
        world.wire.room.set(1);
        send(port.transmit(&mut stack_cx).unwrap());
        // The mux is to have it sent.
        assert_eq!(mux.0.load(Ordering::Relaxed), 1);
        let sent = world.wire.sent.borrow()[0].clone();
        assert_eq!((sent.len(), &sent[..6]), (34, &MacAddr::BROADCAST.0[..]));

        assert!(port.transmit(&mut stack_cx).is_none());
        world.mux.poll(&mut mux_cx);
        assert_eq!(stack.0.load(Ordering::Relaxed), 0);
        // The one that the NIC wakes is the mux.
        assert!(port.receive(&mut stack_cx).is_none());
        world.wire.room.set(1);
        let waiting = world.wire.waiting.take().unwrap();
        assert!(waiting.will_wake(&mux_waker));
        world.mux.poll(&mut mux_cx);
        assert_eq!(stack.0.load(Ordering::Relaxed), 1);
        assert!(port.transmit(&mut stack_cx).is_some());
    }
}
