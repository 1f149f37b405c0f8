//! How long until somebody on a switch answers DHCP: from the outside, one frame at a time.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use dhcproto::v4::{DhcpOption, Message, MessageType, Opcode};
use dhcproto::{Decodable as _, Decoder, Encodable as _};

use crate::switch::Port;

/// How often the question is repeated.
const ASK: Duration = Duration::from_millis(50);
const SERVER: u16 = 67;
const CLIENT: u16 = 68;

/// Asks for an address from `since` on until an OFFER comes, and tells how long
/// after `since` that was.
///
/// # Errors
/// None comes within `patience`.
pub fn first_offer(
    port: &Port,
    mac: [u8; 6],
    since: Instant,
    patience: Duration,
) -> Result<Duration> {
    let question = discover(mac)?;
    while since.elapsed() < patience {
        port.send(&question);
        let answer = port.find(ASK, |frame| kind_of(frame, CLIENT));
        if answer == Some(MessageType::Offer) {
            return Ok(since.elapsed());
        }
    }
    Err(anyhow::anyhow!("no OFFER within {patience:?}"))
}

/// Waits until `mac` asks for an address itself, and tells how long after
/// `since` that was.
///
/// # Errors
/// It does not within `patience`.
pub fn first_discover(
    port: &Port,
    mac: [u8; 6],
    since: Instant,
    patience: Duration,
) -> Result<Duration> {
    let asks = |frame: &[u8]| {
        let own = frame.get(6..12)? == mac;
        kind_of(frame, SERVER).filter(|kind| own && *kind == MessageType::Discover)
    };
    let heard = port.find(patience, asks);
    heard.with_context(|| format!("no DISCOVER within {patience:?}"))?;
    Ok(since.elapsed())
}

/// A broadcast that asks for an address.
fn discover(mac: [u8; 6]) -> Result<Vec<u8>> {
    let mut message = Message::default();
    message
        .set_opcode(Opcode::BootRequest)
        .set_xid(0x6963_686f)
        .set_chaddr(&mac);
    let kind = DhcpOption::MessageType(MessageType::Discover);
    message.opts_mut().insert(kind);
    let payload = message.to_vec()?;
    let udp_len = (8 + payload.len()) as u16;
    let mut header = vec![0x45, 0];
    header.extend((20 + udp_len).to_be_bytes());
    header.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    header.extend(Ipv4Addr::UNSPECIFIED.octets());
    header.extend(Ipv4Addr::BROADCAST.octets());
    let sum = header.chunks(2).fold(0_u32, |sum, pair| {
        sum + (u32::from(pair[0]) << 8 | u32::from(pair[1]))
    });
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut frame = [[0xff; 6], mac].concat();
    frame.extend([8, 0]);
    frame.extend(header);
    frame.extend(CLIENT.to_be_bytes());
    frame.extend(SERVER.to_be_bytes());
    frame.extend(udp_len.to_be_bytes());
    // No checksum (RFC 768).
    frame.extend([0, 0]);
    frame.extend(payload);
    Ok(frame)
}

/// Which DHCP message a frame to UDP port `to` carries.
fn kind_of(frame: &[u8], to: u16) -> Option<MessageType> {
    let is_udp = frame.get(12..14)? == [8, 0] && frame.get(23)? == &17;
    let to_port = frame.get(36..38)? == to.to_be_bytes();
    (is_udp && to_port).then_some(())?;
    let message = Message::decode(&mut Decoder::new(frame.get(42..)?)).ok()?;
    message.opts().msg_type()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_question_is_a_dhcpdiscover() {
        let mac = [2, 0, 0, 0, 0, 9];
        let frame = discover(mac).unwrap();
        assert_eq!(kind_of(&frame, SERVER), Some(MessageType::Discover));
        assert_eq!(kind_of(&frame, CLIENT), None);
        assert_eq!(frame[6..12], mac);
        let sum = frame[14..34].chunks(2).fold(0_u32, |sum, pair| {
            sum + (u32::from(pair[0]) << 8 | u32::from(pair[1]))
        });
        assert_eq!(
            (sum & 0xffff) + (sum >> 16),
            0xffff,
            "the header's checksum"
        );
        assert_eq!(kind_of(&frame[..40], SERVER), None);
    }
}
