//! Rubbish on all three protocols: the server stays, serves, and keeps its log short.

mod raw;

use std::net::{Ipv4Addr, SocketAddrV4};
use std::time::Duration;

use anyhow::{Context, Result};
use ichor_lab::lab::{Lab, SERVER};
use ichor_lab::switch::Port;
use raw::{SOON, TCP, ipv4, read_udp, transport_checksum, udp};

const ME: [u8; 6] = [0x02, 0, 0, 0, 3, 1];
const MY_ADDRESS: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 9);
/// Frames of each kind.
const COUNT: usize = 2_000;

/// Bytes that look like nothing in particular, but the same ones each time.
struct Rubbish(u64);

impl Rubbish {
    fn byte(&mut self) -> u8 {
        // Knuth's MMIX generator; the high bits are the good ones.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 56) as u8
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        let len = (usize::from(self.byte()) << 8 | usize::from(self.byte())) % (most + 1);
        (0..len).map(|_| self.byte()).collect()
    }
}

fn server_mac(port: &Port) -> Result<[u8; 6]> {
    let mut question = [[0xFF; 6], ME].concat();
    question.extend([8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
    question.extend(ME);
    question.extend(MY_ADDRESS.octets());
    question.extend([0; 6]);
    question.extend(SERVER.octets());
    question.resize(60, 0);
    port.send(&question);
    let answer = port.find(SOON, |frame| {
        let reply = frame.get(12..14)? == [8, 6] && frame.get(20..22)? == [0, 2];
        frame.get(22..28).filter(|_| reply)?.try_into().ok()
    });
    answer.context("the server does not answer ARP")
}

/// Still there, and still serving all three protocols?
fn serves(port: &Port, server: [u8; 6], client: u8) -> Result<()> {
    let mac = [0x02, 0, 0, 0, 4, client];
    raw::lease(port, mac, 0x1234_0000 + u32::from(client))?;

    let me = SocketAddrV4::new(MY_ADDRESS, 3000 + u16::from(client));
    let read = b"\0\x01assets/small\0octet\0";
    port.send(&udp((ME, server), me, SocketAddrV4::new(SERVER, 69), read));
    let block = port.find(SOON, |frame| {
        let (from, to, payload) = read_udp(frame)?;
        (to == me && payload.starts_with(b"\0\x03\0\x01")).then(|| (from, payload[4..].to_vec()))
    });
    let (from, block) = block.context("no block by TFTP")?;
    assert_eq!(block, b"small file\n", "TFTP");
    port.send(&udp((ME, server), me, from, b"\0\x04\0\x01"));

    let answer = http(
        port,
        server,
        4000 + u16::from(client),
        b"GET /assets/small HTTP/1.0\r\n\r\n",
    );
    let answer = String::from_utf8_lossy(&answer?).into_owned();
    assert!(answer.starts_with("HTTP/1.1 200"), "HTTP: {answer:?}");
    Ok(())
}

/// Opens a connection, sends `request` in one segment, returns the first data
/// of the answer (nothing if the connection was closed without any), and
/// leaves with a reset.
fn http(port: &Port, server: [u8; 6], from: u16, request: &[u8]) -> Result<Vec<u8>> {
    let addresses = (MY_ADDRESS, SERVER);
    let send = |flags: u8, seq: u32, ack: u32, data: &[u8]| {
        let segment = tcp(addresses, (from, 8080), flags, seq, ack, data);
        port.send(&ipv4((ME, server), addresses, TCP, &segment));
    };
    send(SYN, 1, 0, &[]);
    let (_, start, _) = port
        .find(SOON, |frame| {
            read_tcp(frame, from).filter(|(flags, ..)| flags & SYN != 0)
        })
        .context("the server does not accept connections")?;
    let seen = start.wrapping_add(1);
    send(ACK | PSH, 2, seen, request);
    let answer = port.find(SOON, |frame| {
        let (flags, _, data) = read_tcp(frame, from)?;
        (!data.is_empty() || flags & (FIN | RST) != 0).then_some(data)
    });
    send(RST | ACK, 2 + request.len() as u32, seen, &[]);
    answer.context("the server neither answered nor hung up")
}

const FIN: u8 = 1;
const SYN: u8 = 2;
const RST: u8 = 4;
const PSH: u8 = 8;
const ACK: u8 = 16;

/// A TCP segment without options (RFC 9293 §3.1).
fn tcp(
    addresses: (Ipv4Addr, Ipv4Addr),
    (from, to): (u16, u16),
    flags: u8,
    seq: u32,
    ack: u32,
    data: &[u8],
) -> Vec<u8> {
    let mut segment = [from.to_be_bytes(), to.to_be_bytes()].concat();
    segment.extend(seq.to_be_bytes());
    segment.extend(ack.to_be_bytes());
    segment.extend([5 << 4, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
    segment.extend(data);
    let sum = transport_checksum(addresses, TCP, &segment);
    segment[16..18].copy_from_slice(&sum.to_be_bytes());
    segment
}

/// Flags, sequence number and data of a segment for port `to`.
fn read_tcp(frame: &[u8], to: u16) -> Option<(u8, u32, Vec<u8>)> {
    let total = usize::from(u16::from_be_bytes(frame.get(16..18)?.try_into().ok()?));
    let segment = frame.get(34..14 + total)?;
    let is_ours =
        frame[12..14] == [8, 0] && frame[23] == TCP && segment.get(2..4)? == to.to_be_bytes();
    let data = segment.get(usize::from(segment.get(12)? >> 4) * 4..)?;
    let seq = u32::from_be_bytes(segment.get(4..8)?.try_into().ok()?);
    is_ours.then(|| (segment[13], seq, data.to_vec()))
}

#[test]
fn rubbish_changes_nothing() -> Result<()> {
    let mut lab = Lab::new("garbage", 0)?;
    lab.data().write("assets/small", "small file\n")?;
    lab.serve_with(&["--probe-ms", "0"])?;
    let port = lab.switch().port("test");
    let server = server_mac(&port)?;
    serves(&port, server, 1)?;
    let before = lab.ichor()?.log().lines().len();

    let mut rubbish = Rubbish(1);
    let broadcast = SocketAddrV4::new(Ipv4Addr::BROADCAST, 67);
    let nobody = SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 68);
    for n in 0..COUNT {
        // Not even Ethernet, and Ethernet with nothing sensible inside.
        port.send(&rubbish.bytes(80));
        let mut frame = [server, ME].concat();
        frame.extend([8, if n % 2 == 0 { 0 } else { 6 }]);
        frame.extend(rubbish.bytes(200));
        port.send(&frame);
        // UDP as it should be, rubbish inside.
        port.send(&udp(
            (ME, raw::BROADCAST),
            nobody,
            broadcast,
            &rubbish.bytes(600),
        ));
        let me = SocketAddrV4::new(MY_ADDRESS, 1024 + (n % 50_000) as u16);
        port.send(&udp(
            (ME, server),
            me,
            SocketAddrV4::new(SERVER, 69),
            &rubbish.bytes(600),
        ));
        // A DHCP message that was right before some bytes of it changed.
        let mut message = discover(n)?;
        for _ in 0..4 {
            let at = usize::from(rubbish.byte()) << 8 | usize::from(rubbish.byte());
            let at = 42 + at % (message.len() - 42);
            message[at] = rubbish.byte();
        }
        port.send(&message);
        // TFTP requests with strange names and options.
        let mut request = b"\0\x01".to_vec();
        request.extend(rubbish.bytes(100));
        request.extend(b"\0octet\0blksize\0");
        request.extend(rubbish.bytes(20));
        port.send(&udp(
            (ME, server),
            me,
            SocketAddrV4::new(SERVER, 69),
            &request,
        ));
        if n % 100 == 0 {
            // A real machine sends its share of rubbish and pauses.
            while port.recv(Duration::from_millis(2)).is_some() {}
        }
    }
    let requests: [&[u8]; 7] = [
        b"\r\n\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /assets/../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /%zz%00%ff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 18446744073709551616\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ];
    for (n, request) in requests.iter().enumerate() {
        let answer = http(&port, server, 5000 + n as u16, request);
        println!("{:?}: {answer:?}", String::from_utf8_lossy(request));
        if let Ok(answer) = answer {
            let answer = String::from_utf8_lossy(&answer).into_owned();
            assert!(!answer.starts_with("HTTP/1.1 2"), "{answer}");
        }
    }

    while port.recv(Duration::from_millis(200)).is_some() {}
    assert!(lab.ichor()?.is_running());
    serves(&port, server, 2)?;
    // One line per kind of trouble and ten seconds, not one per packet.
    let told = lab.ichor()?.log().lines_from(before);
    let warnings: Vec<&str> = told.iter().map(|line| line.text.as_str()).collect();
    for protocol in ["dhcp: ", "tftp: ", "http: "] {
        let count = warnings
            .iter()
            .filter(|line| line.contains(protocol))
            .count();
        assert!(
            (1..=8).contains(&count),
            "{protocol}{count} lines in {warnings:#?}"
        );
    }
    Ok(())
}

fn discover(n: usize) -> Result<Vec<u8>> {
    let mac = [0x02, 0, 0, 0, 5, n as u8];
    raw::dhcp_frame(
        mac,
        &raw::dhcp(mac, n as u32, dhcproto::v4::MessageType::Discover),
    )
}
