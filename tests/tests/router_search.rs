//! iPXE looks for an IPv6 router before it goes on, for four seconds if none
//! answers: a server that sees it ask in vain says that there is none.

mod bench;
mod raw;

use std::net::{Ipv4Addr, Ipv6Addr};
use std::thread;
use std::time::Duration;

use anyhow::Result;
use bench::{Bench, SOON};
use dhcproto::v4::{DhcpOption, Message, MessageType, OptionCode, UnknownOption};
use ichor_lab::switch::Port;
use raw::{ask, dhcp};

const SERVER: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const IPXE: [u8; 6] = [0x02, 0, 0, 0, 8, 1];
const LINUX: [u8; 6] = [0x02, 0, 0, 0, 8, 2];
const ALL_ROUTERS: [u8; 6] = [0x33, 0x33, 0, 0, 0, 2];

/// How long silence is listened to; less than what a router has time for.
const QUIET: Duration = Duration::from_millis(200);
/// What a router has time for, and more.
const ROUTER_TIME: Duration = Duration::from_millis(700);

fn link_local(mac: [u8; 6]) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac.map(u16::from);
    Ipv6Addr::new(
        0xfe80,
        0,
        0,
        0,
        (a ^ 2) << 8 | b,
        c << 8 | 0xff,
        0xfe00 | d,
        e << 8 | f,
    )
}

/// ICMPv6's, with the pseudo header (RFC 4443 §2.3).
fn checksum(source: Ipv6Addr, destination: Ipv6Addr, message: &[u8]) -> u16 {
    let len = message.len() as u32;
    let mut bytes = [source.octets(), destination.octets()].concat();
    bytes.extend(len.to_be_bytes());
    bytes.extend([0, 0, 0, 58]);
    bytes.extend(message);
    raw::checksum(&bytes)
}

/// "Is there a router?", as RFC 4861 §4.1 has it.
fn solicitation(mac: [u8; 6]) -> Vec<u8> {
    let (source, routers) = (link_local(mac), Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2));
    let mut message = vec![133, 0, 0, 0, 0, 0, 0, 0, 1, 1];
    message.extend(mac);
    let sum = checksum(source, routers, &message).to_be_bytes();
    message[2..4].copy_from_slice(&sum);
    let mut frame = [ALL_ROUTERS, mac].concat();
    frame.extend([0x86, 0xdd, 0x60, 0, 0, 0, 0, message.len() as u8, 58, 255]);
    frame.extend(source.octets());
    frame.extend(routers.octets());
    frame.extend(message);
    frame
}

/// An advertisement to a machine: what it says after its checksum.
fn advertisement(frame: &[u8], mac: [u8; 6]) -> Option<Vec<u8>> {
    let ours = frame.get(..6)? == mac && frame.get(12..14)? == [0x86, 0xdd];
    let message = frame.get(54..)?;
    (ours && message.first() == Some(&134)).then_some(())?;
    let address = |at: usize| -> Option<Ipv6Addr> {
        let octets: [u8; 16] = frame.get(at..at + 16)?.try_into().ok()?;
        Some(octets.into())
    };
    let (source, destination) = (address(22)?, address(38)?);
    assert!(source.is_unicast_link_local(), "{source}");
    assert_eq!(destination, link_local(mac));
    assert_eq!(frame[21], 255, "hop limit");
    assert_eq!(checksum(source, destination, message), 0);
    Some(message[4..].to_vec())
}

fn solicit(port: &Port, mac: [u8; 6], wait: Duration) -> Option<Vec<u8>> {
    port.send(&solicitation(mac));
    port.find(wait, |frame| advertisement(frame, mac))
}

fn discover(mac: [u8; 6], ipxe: bool) -> Message {
    let mut message = dhcp(mac, 7, MessageType::Discover);
    if ipxe {
        let class = UnknownOption::new(OptionCode::UserClass, b"iPXE".to_vec());
        message.opts_mut().insert(DhcpOption::Unknown(class));
    }
    message
}

#[test]
fn ipxe_is_told_that_there_is_no_router_when_none_answers() -> Result<()> {
    let mut bench = Bench::new("router_search")?;
    let mut settings = bench.settings("ichor", SERVER)?;
    settings.dhcp = "server".to_owned();
    settings.pool = Some("192.0.2.50-192.0.2.60".to_owned());
    let ichor = bench.serve("ichor", &settings)?;
    let ipxe = bench.switch.port("ipxe");
    let linux = bench.switch.port("linux");
    ask(&ipxe, IPXE, &discover(IPXE, true), MessageType::Offer)?;
    ask(&linux, LINUX, &discover(LINUX, false), MessageType::Offer)?;

    assert_eq!(solicit(&ipxe, IPXE, QUIET), None, "a router may answer yet");
    assert_eq!(solicit(&linux, LINUX, QUIET), None);
    thread::sleep(ROUTER_TIME);
    // Hop limit, flags, lifetime and timers: all unspecified; no options.
    assert_eq!(solicit(&ipxe, IPXE, SOON), Some(vec![0; 12]));
    assert_eq!(solicit(&linux, LINUX, QUIET), None, "it does not wait");
    drop(ichor);
    Ok(())
}

#[test]
fn an_operator_may_leave_ipxe_waiting() -> Result<()> {
    let mut bench = Bench::new("router_search_off")?;
    let mut settings = bench.settings("ichor", SERVER)?;
    settings.dhcp = "server".to_owned();
    settings.pool = Some("192.0.2.50-192.0.2.60".to_owned());
    settings.more = vec!["--ipxe-no-router".to_owned(), "false".to_owned()];
    let ichor = bench.serve("ichor", &settings)?;
    let ipxe = bench.switch.port("ipxe");
    ask(&ipxe, IPXE, &discover(IPXE, true), MessageType::Offer)?;
    assert_eq!(solicit(&ipxe, IPXE, QUIET), None);
    thread::sleep(ROUTER_TIME);
    assert_eq!(solicit(&ipxe, IPXE, QUIET), None);
    drop(ichor);
    Ok(())
}
