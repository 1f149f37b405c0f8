//! Frames made by hand, and DHCP clients that speak through them.
//!
//! Everything is encoded and decoded by code that the server does not share.
#![allow(dead_code, reason = "each test uses its own part")]

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, Result};
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode, OptionCode};
use dhcproto::{Decodable, Decoder, Encodable};
use ichor_lab::switch::Port;

pub(crate) const BROADCAST: [u8; 6] = [0xFF; 6];
pub(crate) const UDP: u8 = 17;
pub(crate) const TCP: u8 = 6;

/// How long an answer may take, also on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(5);

/// An Ethernet frame with IPv4 and any payload.
pub(crate) fn ipv4(
    macs: ([u8; 6], [u8; 6]),
    (from, to): (Ipv4Addr, Ipv4Addr),
    protocol: u8,
    payload: &[u8],
) -> Vec<u8> {
    let len = (20 + payload.len()) as u16;
    let mut header = vec![0x45, 0];
    header.extend(len.to_be_bytes());
    header.extend([0, 0, 0x40, 0, 64, protocol, 0, 0]);
    header.extend(from.octets());
    header.extend(to.octets());
    let sum = checksum(&header).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    let (source, destination) = macs;
    let mut frame = [destination, source].concat();
    frame.extend([8, 0]);
    frame.extend(header);
    frame.extend(payload);
    if frame.len() < 60 {
        frame.resize(60, 0);
    }
    frame
}

/// A UDP datagram with its checksum.
pub(crate) fn udp(
    macs: ([u8; 6], [u8; 6]),
    from: SocketAddrV4,
    to: SocketAddrV4,
    payload: &[u8],
) -> Vec<u8> {
    let mut datagram = from.port().to_be_bytes().to_vec();
    datagram.extend(to.port().to_be_bytes());
    datagram.extend((8 + payload.len() as u16).to_be_bytes());
    datagram.extend([0, 0]);
    datagram.extend(payload);
    let sum = transport_checksum((*from.ip(), *to.ip()), UDP, &datagram);
    datagram[6..8].copy_from_slice(&sum.to_be_bytes());
    ipv4(macs, (*from.ip(), *to.ip()), UDP, &datagram)
}

/// Source, destination and payload of a UDP datagram in a frame.
pub(crate) fn read_udp(frame: &[u8]) -> Option<(SocketAddrV4, SocketAddrV4, &[u8])> {
    let ip = frame.get(14..)?;
    if frame.get(12..14)? != [8, 0] || ip.get(9)? != &UDP {
        return None;
    }
    let total = usize::from(u16::from_be_bytes(ip.get(2..4)?.try_into().ok()?));
    let datagram = ip.get(usize::from(ip[0] & 0xF) * 4..total)?;
    let address = |at: usize| -> Option<Ipv4Addr> {
        let octets: [u8; 4] = ip.get(at..at + 4)?.try_into().ok()?;
        Some(octets.into())
    };
    let port = |at: usize| -> Option<u16> {
        Some(u16::from_be_bytes(
            datagram.get(at..at + 2)?.try_into().ok()?,
        ))
    };
    let source = SocketAddrV4::new(address(12)?, port(0)?);
    let destination = SocketAddrV4::new(address(16)?, port(2)?);
    Some((source, destination, datagram.get(8..)?))
}

/// The checksum of UDP and TCP, with the pseudo header (RFC 768, RFC 9293 §3.1).
pub(crate) fn transport_checksum(
    (from, to): (Ipv4Addr, Ipv4Addr),
    protocol: u8,
    segment: &[u8],
) -> u16 {
    let mut bytes = [from.octets(), to.octets()].concat();
    bytes.extend([0, protocol]);
    bytes.extend((segment.len() as u16).to_be_bytes());
    bytes.extend(segment);
    checksum(&bytes)
}

/// The Internet checksum (RFC 1071).
pub(crate) fn checksum(bytes: &[u8]) -> u16 {
    let mut sum: u32 = bytes
        .chunks(2)
        .map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)))
        .sum();
    while sum > 0xFFFF {
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    !(sum as u16)
}

/// A DHCP client's message to everybody.
pub(crate) fn dhcp_frame(mac: [u8; 6], message: &Message) -> Result<Vec<u8>> {
    let nobody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
    let everybody = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
    Ok(udp((mac, BROADCAST), nobody, everybody, &message.to_vec()?))
}

/// The DHCP message in a frame for a client.
pub(crate) fn read_dhcp(frame: &[u8]) -> Option<Message> {
    let (_, to, payload) = read_udp(frame)?;
    (to.port() == 68).then_some(())?;
    Message::decode(&mut Decoder::new(payload)).ok()
}

/// A message of a client that holds no address.
pub(crate) fn dhcp(mac: [u8; 6], xid: u32, kind: MessageType) -> Message {
    let mut message = Message::default();
    message
        .set_opcode(Opcode::BootRequest)
        .set_xid(xid)
        .set_chaddr(&mac);
    message.opts_mut().insert(DhcpOption::MessageType(kind));
    message
}

/// A REQUEST that takes `offer` (RFC 2131 §4.3.2, SELECTING).
pub(crate) fn select(mac: [u8; 6], offer: &Message) -> Result<Message> {
    let server = offer.opts().get(OptionCode::ServerIdentifier);
    let server = server
        .context("an OFFER without server identifier")?
        .clone();
    let mut request = dhcp(mac, offer.xid(), MessageType::Request);
    request.opts_mut().insert(server);
    request
        .opts_mut()
        .insert(DhcpOption::RequestedIpAddress(offer.yiaddr()));
    Ok(request)
}

/// A REQUEST of a client that restarted and remembers `address` (INIT-REBOOT).
pub(crate) fn reboot(mac: [u8; 6], xid: u32, address: Ipv4Addr) -> Message {
    let mut request = dhcp(mac, xid, MessageType::Request);
    request
        .opts_mut()
        .insert(DhcpOption::RequestedIpAddress(address));
    request
}

pub(crate) fn kind(message: &Message) -> Option<MessageType> {
    message.opts().msg_type()
}

/// One whole exchange: DISCOVER, OFFER, REQUEST, ACK.
pub(crate) fn lease(port: &Port, mac: [u8; 6], xid: u32) -> Result<Ipv4Addr> {
    let offer = ask(
        port,
        mac,
        &dhcp(mac, xid, MessageType::Discover),
        MessageType::Offer,
    )?;
    let ack = ask(port, mac, &select(mac, &offer)?, MessageType::Ack)?;
    Ok(ack.yiaddr())
}

/// Sends a message until its answer comes, as clients do.
pub(crate) fn ask(
    port: &Port,
    mac: [u8; 6],
    message: &Message,
    want: MessageType,
) -> Result<Message> {
    for _ in 0..5 {
        port.send(&dhcp_frame(mac, message)?);
        let answer = port.find(SOON / 5, |frame| {
            read_dhcp(frame).filter(|m| m.xid() == message.xid() && kind(m) == Some(want))
        });
        if let Some(answer) = answer {
            return Ok(answer);
        }
    }
    anyhow::bail!("no {want:?} came for {:?}", kind(message))
}
