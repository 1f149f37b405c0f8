//! The session with a guest played by hand.

use super::*;
use crate::usbredir::{Identity, Setup, Speed};

/// Echoes on bulk, and speaks by itself on 0x83 what was echoed.
#[derive(Debug, Default)]
struct Echo {
    configuration: u8,
    bytes: Vec<u8>,
    news: Vec<u8>,
}

impl Device for Echo {
    fn identity(&self) -> Identity {
        Identity {
            speed: Speed::High,
            class: [255, 0, 1],
            vendor: 1,
            product: 2,
            version: 3,
            interface_class: [255, 0, 255],
        }
    }
    fn endpoints(&self) -> Vec<Endpoint> {
        let endpoint = |address, kind| Endpoint {
            address,
            kind,
            interval: 4,
            max_packet: 512,
        };
        let all = vec![
            endpoint(0x81, EndpointType::Bulk),
            endpoint(0x02, EndpointType::Bulk),
            endpoint(0x83, EndpointType::Interrupt),
        ];
        if self.configuration == 0 {
            Vec::new()
        } else {
            all
        }
    }
    fn reset(&mut self, _now: Instant) {
        *self = Self::default();
    }
    fn configure(&mut self, _now: Instant, value: u8) -> Status {
        self.configuration = value;
        Status::Success
    }
    fn configuration(&self) -> u8 {
        self.configuration
    }
    fn control(&mut self, _: Instant, setup: Setup, data: &[u8]) -> Result<Vec<u8>, Status> {
        match setup.request {
            6 => Ok(vec![7; 18]),
            1 => Ok(data.to_vec()),
            _ => Err(Status::Stall),
        }
    }
    fn bulk_out(&mut self, _now: Instant, _endpoint: u8, data: &[u8]) -> Status {
        self.bytes.extend(data);
        self.news.push(data.len() as u8);
        Status::Success
    }
    fn bulk_in(&mut self, _now: Instant, _endpoint: u8, length: usize) -> Answer {
        if self.bytes.is_empty() {
            return Answer::NotYet;
        }
        let take = length.min(self.bytes.len());
        Answer::Data(self.bytes.drain(..take).collect())
    }
    fn interrupt_in(&mut self, _now: Instant, _endpoint: u8) -> Answer {
        if self.news.is_empty() {
            return Answer::NotYet;
        }
        Answer::Data(vec![self.news.remove(0)])
    }
}

/// The other side of the connection.
struct Guest {
    session: Session<Echo>,
    format: Format,
}

impl Guest {
    fn new() -> (Self, Vec<(u64, Message)>) {
        let mut session = Session::new(Echo::default());
        let mut out = Vec::new();
        session.connect(&mut out);
        let guest = Self {
            session,
            format: Format::default(),
        };
        let first = guest.read(&out);
        (guest, first)
    }

    fn hello(&mut self, capabilities: Capabilities) -> Vec<(u64, Message)> {
        let hello = Message::Hello {
            version: "test".to_owned(),
            capabilities,
        };
        let mut bytes = Vec::new();
        hello.emit(0, Format::default(), &mut bytes);
        self.format = Format(CAPABILITIES.common(capabilities));
        self.send(&bytes)
    }

    fn say(&mut self, id: u64, message: Message) -> Vec<(u64, Message)> {
        let mut bytes = Vec::new();
        message.emit(id, self.format, &mut bytes);
        self.send(&bytes)
    }

    fn send(&mut self, bytes: &[u8]) -> Vec<(u64, Message)> {
        let mut out = Vec::new();
        // In two pieces: a socket knows no messages.
        let (a, b) = bytes.split_at(bytes.len() / 2);
        for piece in [a, b] {
            let now = Instant::now();
            self.session.on_bytes(now, piece, &mut out).unwrap();
        }
        self.read(&out)
    }

    fn read(&self, mut bytes: &[u8]) -> Vec<(u64, Message)> {
        let mut messages = Vec::new();
        while !bytes.is_empty() {
            let header = Header::parse(bytes, self.format).unwrap().unwrap();
            let (body, rest) = bytes[self.format.header_len()..].split_at(header.length);
            let message = Message::parse(header, body, self.format).unwrap();
            messages.push((header.id, message));
            bytes = rest;
        }
        messages
    }

    fn configured() -> Self {
        let (mut guest, _) = Self::new();
        guest.hello(Capabilities(u32::MAX));
        guest.say(1, Message::SetConfiguration(1));
        guest
    }
}

fn bulk(endpoint: u8, length: u16, data: &[u8]) -> Message {
    Message::Bulk {
        endpoint,
        status: Status::Success,
        length,
        data: data.to_vec(),
    }
}

#[test]
fn a_device_is_introduced_after_the_hello() {
    let (mut guest, first) = Guest::new();
    assert!(matches!(first[..], [(0, Message::Hello { .. })]));
    let told = guest.hello(Capabilities(u32::MAX));
    let [
        (_, Message::InterfaceInfo(interfaces)),
        (_, Message::EndpointInfo(rows)),
        (_, Message::DeviceConnect { product: 2, .. }),
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(interfaces[..], [[255, 0, 255]]);
    assert_eq!(rows[row_of(0x80)].kind, EndpointType::Control);
    assert_eq!(rows[row_of(0x81)].kind, EndpointType::None);

    let told = guest.say(9, Message::SetConfiguration(1));
    let [
        (_, Message::InterfaceInfo(_)),
        (_, Message::EndpointInfo(rows)),
        (
            9,
            Message::ConfigurationStatus {
                configuration: 1, ..
            },
        ),
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(rows[row_of(0x81)].kind, EndpointType::Bulk);
    assert_eq!(rows[row_of(0x83)].interval, 4);
}

#[test]
fn a_peer_with_few_capabilities_gets_short_messages() {
    let (mut guest, _) = Guest::new();
    let told = guest.hello(Capabilities(0));
    assert_eq!(told.len(), 3, "readable in the short format: {told:?}");
}

#[test]
fn control_transfers_are_cut_or_stalled() {
    let mut guest = Guest::configured();
    let ask = |request, length| Message::Control {
        endpoint: 0x80,
        setup: Setup {
            request_type: 0x80,
            request,
            value: 0x100,
            index: 0,
            length,
        },
        status: Status::Success,
        data: Vec::new(),
    };
    let told = guest.say(5, ask(6, 8));
    let [
        (
            5,
            Message::Control {
                setup,
                status: Status::Success,
                data,
                ..
            },
        ),
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!((setup.length, &data[..]), (8, &[7; 8][..]));
    let told = guest.say(6, ask(99, 8));
    let [
        (
            6,
            Message::Control {
                setup,
                status: Status::Stall,
                ..
            },
        ),
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(setup.length, 0);
}

#[test]
fn bulk_in_waits_and_can_be_taken_back() {
    let mut guest = Guest::configured();
    assert_eq!(guest.say(1, bulk(0x81, 512, &[])), []);
    assert_eq!(guest.say(2, bulk(0x81, 512, &[])), []);
    let told = guest.say(1, Message::Cancel);
    assert_eq!(
        told,
        [(
            1,
            Message::Bulk {
                endpoint: 0x81,
                status: Status::Cancelled,
                length: 0,
                data: Vec::new()
            }
        )]
    );
    assert_eq!(guest.say(77, Message::Cancel), [], "nothing to take back");
    let told = guest.say(3, bulk(0x02, 3, &[1, 2, 3]));
    assert_eq!(
        told,
        [(3, bulk(0x02, 3, &[])), (2, bulk(0x81, 3, &[1, 2, 3]))]
    );
    guest.say(4, bulk(0x81, 512, &[]));
    let told = guest.say(0, Message::Reset);
    let [
        (4, Message::Bulk { status, .. }),
        (0, Message::EndpointInfo(_)),
    ] = &told[..]
    else {
        panic!("{told:?}")
    };
    assert_eq!(*status, Status::Cancelled);
}

#[test]
fn an_interrupt_endpoint_speaks_once_it_is_wanted() {
    let mut guest = Guest::configured();
    let told = guest.say(1, bulk(0x02, 2, &[1, 2]));
    assert_eq!(told.len(), 1, "{told:?}");
    let told = guest.say(0, Message::StartInterrupt { endpoint: 0x83 });
    let news = |value| {
        let data = vec![value];
        (
            0,
            Message::Interrupt {
                endpoint: 0x83,
                status: Status::Success,
                length: 1,
                data,
            },
        )
    };
    assert_eq!(told[1..], [news(2)]);
    guest.say(0, Message::StopInterrupt { endpoint: 0x83 });
    let told = guest.say(1, bulk(0x02, 3, &[1, 2, 3]));
    assert_eq!(told.len(), 1, "{told:?}");
    let told = guest.say(0, Message::StartInterrupt { endpoint: 0x83 });
    assert_eq!(told[1..], [news(3)]);
}

#[test]
fn a_pulled_device_is_gone_and_comes_back() {
    let mut guest = Guest::configured();
    let now = Instant::now();
    let mut out = Vec::new();
    guest.session.plug(now, false, &mut out);
    assert_eq!(guest.read(&out), [(0, Message::DeviceDisconnect)]);
    out.clear();
    guest.session.poll(now, &mut out);
    assert!(out.is_empty());
    guest.session.plug(now, true, &mut out);
    let told = guest.read(&out);
    assert!(matches!(
        told.last(),
        Some((_, Message::DeviceConnect { .. }))
    ));
    assert_eq!(guest.session.device().configuration, 0);
}

#[test]
fn noise_ends_the_connection() {
    let mut session = Session::new(Echo::default());
    let mut out = Vec::new();
    session.connect(&mut out);
    let noise = b"GET / HTTP/1.1\r\nHost: a lab\r\n\r\n";
    assert!(session.on_bytes(Instant::now(), noise, &mut out).is_err());
}
