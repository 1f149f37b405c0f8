//! A VPC as its machines see it: its router answers ARP and DHCP, and knows
//! nothing of booting. (A real one carries no broadcast besides.)

use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode};
use dhcproto::{Decodable as _, Decoder, Encodable as _};
use ichor_lab::switch::{Port, Switch};

use crate::raw::{kind, read_udp, udp};

const ROUTER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 251);
const ROUTER_MAC: [u8; 6] = [0x02, 0, 0, 0, 8, 0xFB];
/// The one machine's own address, as a network interface in a VPC has it.
pub(crate) const LEASED: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 77);
const MASK: Ipv4Addr = Ipv4Addr::new(255, 255, 255, 0);
/// Between two looks at whether it is to end.
const TICK: Duration = Duration::from_millis(100);
/// What a VPC's DHCP tells, also to machines whose network has less.
const JUMBO: u16 = 9001;

/// A router on a switch, until it is dropped.
pub(crate) struct Vpc {
    ends: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Vpc {
    /// Plugs the router in. It leaves the first `deaf_to` DISCOVERs unanswered.
    pub(crate) fn join(switch: &Switch, deaf_to: u32) -> Self {
        let port = switch.port("vpc");
        let ends = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let ends = Arc::clone(&ends);
            move || route(&port, &ends, deaf_to)
        });
        Self {
            ends,
            thread: Some(thread),
        }
    }
}

impl Drop for Vpc {
    fn drop(&mut self) {
        self.ends.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn route(port: &Port, ends: &AtomicBool, mut deaf_to: u32) {
    while !ends.load(Ordering::Relaxed) {
        let Some(frame) = port.recv(TICK) else {
            continue;
        };
        if let Some(reply) = arp_reply(&frame) {
            port.send(&reply);
        }
        let Some(request) = dhcp_request(&frame) else {
            continue;
        };
        let answer = match kind(&request) {
            Some(MessageType::Discover) if deaf_to > 0 => {
                deaf_to -= 1;
                continue;
            }
            Some(MessageType::Discover) => MessageType::Offer,
            Some(MessageType::Request) => MessageType::Ack,
            _ => continue,
        };
        if let Some(reply) = dhcp_reply(&request, answer) {
            port.send(&reply);
        }
    }
}

/// Who asks for the router is told.
fn arp_reply(frame: &[u8]) -> Option<Vec<u8>> {
    let asked = frame.get(12..14)? == [8, 6]
        && frame.get(20..22)? == [0, 1]
        && frame.get(38..42)? == ROUTER.octets();
    let sender = frame.get(22..32).filter(|_| asked)?;
    let mut reply = [&sender[..6], &ROUTER_MAC].concat();
    reply.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 2]);
    reply.extend(ROUTER_MAC);
    reply.extend(ROUTER.octets());
    reply.extend(sender);
    reply.resize(60, 0);
    Some(reply)
}

fn dhcp_request(frame: &[u8]) -> Option<Message> {
    let (_, to, payload) = read_udp(frame)?;
    (to.port() == 67).then_some(())?;
    Message::decode(&mut Decoder::new(payload)).ok()
}

/// What AWS documents and no more: no next server, no boot file.
fn dhcp_reply(request: &Message, kind: MessageType) -> Option<Vec<u8>> {
    let chaddr: [u8; 6] = request.chaddr().try_into().ok()?;
    let unspecified = Ipv4Addr::UNSPECIFIED;
    let mut reply = Message::new(unspecified, LEASED, unspecified, unspecified, &chaddr);
    reply.set_opcode(Opcode::BootReply).set_xid(request.xid());
    for option in [
        DhcpOption::MessageType(kind),
        DhcpOption::ServerIdentifier(ROUTER),
        DhcpOption::AddressLeaseTime(3600),
        DhcpOption::SubnetMask(MASK),
        DhcpOption::Router(vec![ROUTER]),
        DhcpOption::DomainNameServer(vec![ROUTER]),
        DhcpOption::InterfaceMtu(JUMBO),
    ] {
        reply.opts_mut().insert(option);
    }
    let from = SocketAddrV4::new(ROUTER, 67);
    let to = SocketAddrV4::new(LEASED, 68);
    let payload = reply.to_vec().ok()?;
    Some(udp((ROUTER_MAC, chaddr), from, to, &payload))
}
