//! Messages written, read back, cut and strange.

use super::*;
use crate::usbredir::Setup;

const ALL: Format = Format(
    Capabilities::CONNECT_VERSION
        .with(Capabilities::MAX_PACKET_SIZE)
        .with(Capabilities::LONG_IDS)
        .with(Capabilities::LONG_BULK),
);

fn messages() -> Vec<Message> {
    let mut rows = Box::new([EndpointRow::default(); ENDPOINTS]);
    rows[row_of(0x81)] = EndpointRow {
        kind: EndpointType::Bulk,
        interval: 1,
        interface: 0,
        max_packet: 512,
    };
    let setup = Setup {
        request_type: 0xC0,
        request: 0xA1,
        value: 0,
        index: 0x114,
        length: 4,
    };
    vec![
        Message::Hello {
            version: "a lab".to_owned(),
            capabilities: ALL.0,
        },
        Message::DeviceConnect {
            speed: Speed::High,
            class: [255, 0, 1],
            vendor: 0x0424,
            product: 0xEC00,
            version: 0x0200,
        },
        Message::DeviceDisconnect,
        Message::Reset,
        Message::InterfaceInfo(vec![[255, 0, 255]]),
        Message::EndpointInfo(rows),
        Message::SetConfiguration(1),
        Message::GetConfiguration,
        Message::ConfigurationStatus {
            status: Status::Success,
            configuration: 1,
        },
        Message::SetAlternate {
            interface: 0,
            alternate: 1,
        },
        Message::GetAlternate { interface: 0 },
        Message::AlternateStatus {
            status: Status::Stall,
            interface: 0,
            alternate: 0,
        },
        Message::StartInterrupt { endpoint: 0x83 },
        Message::StopInterrupt { endpoint: 0x83 },
        Message::InterruptStatus {
            status: Status::Success,
            endpoint: 0x83,
        },
        Message::Cancel,
        Message::FilterReject,
        Message::FilterRules,
        Message::Control {
            endpoint: 0x80,
            setup,
            status: Status::Success,
            data: vec![1, 2, 3, 4],
        },
        Message::Bulk {
            endpoint: 0x02,
            status: Status::Timeout,
            length: 3,
            data: vec![1, 2, 3],
        },
        Message::Interrupt {
            endpoint: 0x83,
            status: Status::Success,
            length: 4,
            data: vec![0, 0x80, 0, 0],
        },
    ]
}

#[test]
fn what_is_written_is_read_back() {
    for message in messages() {
        for format in [Format::default(), ALL] {
            let mut bytes = Vec::new();
            message.emit(7, format, &mut bytes);
            let header = Header::parse(&bytes, format).unwrap().unwrap();
            assert_eq!(header.id, 7);
            let body = &bytes[format.header_len()..];
            assert_eq!(header.length, body.len(), "{message:?}");
            let read = Message::parse(header, body, format).unwrap();
            if format == ALL {
                assert_eq!(read, message);
            }
        }
    }
}

/// The bytes as the protocol's description lays them out.
#[test]
fn a_bulk_message_looks_as_described() {
    let message = Message::Bulk {
        endpoint: 0x81,
        status: Status::Stall,
        length: 0x0201,
        data: vec![9],
    };
    let mut bytes = Vec::new();
    message.emit(0x1122_3344_5566_7788, ALL, &mut bytes);
    let expected = [
        101, 0, 0, 0, 11, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0x81, 4, 1, 2,
        0, 0, 0, 0, 0, 0, 9,
    ];
    assert_eq!(bytes, expected);
    let mut short = Vec::new();
    message.emit(5, Format::default(), &mut short);
    let expected = [
        101, 0, 0, 0, 9, 0, 0, 0, 5, 0, 0, 0, 0x81, 4, 1, 2, 0, 0, 0, 0, 9,
    ];
    assert_eq!(short, expected);
}

#[test]
fn short_and_strange_messages_are_errors() {
    for message in messages() {
        let mut bytes = Vec::new();
        message.emit(0, ALL, &mut bytes);
        let header = Header::parse(&bytes, ALL).unwrap().unwrap();
        let body = &bytes[16..];
        // Cut anywhere: an error or another message, never a panic.
        for end in 0..body.len() {
            let _ = Message::parse(header, &body[..end], ALL);
        }
        let carries_data = matches!(
            message,
            Message::Hello { .. }
                | Message::FilterRules
                | Message::Control { .. }
                | Message::Bulk { .. }
                | Message::Interrupt { .. }
        );
        let mut longer = body.to_vec();
        longer.push(0);
        let read = Message::parse(header, &longer, ALL);
        assert_eq!(read.is_ok(), carries_data, "{message:?}");
    }
    let strange = Header {
        kind: 12,
        length: 3,
        id: 0,
    };
    assert_eq!(
        Message::parse(strange, &[0; 3], ALL),
        Err(Error::Unknown(12))
    );
    let mut huge = vec![101, 0, 0, 0];
    huge.extend(u32::MAX.to_le_bytes());
    huge.extend([0; 8]);
    assert!(Header::parse(&huge, ALL).is_err());
    assert_eq!(Header::parse(&huge[..15], ALL), Ok(None));
}
