//! The messages themselves: what they mean, and how each is written.

use super::super::Setup;
use super::{
    Capabilities, ENDPOINTS, EndpointRow, EndpointType, Error, Fields, Format, Header, Speed,
    Status, VERSION_LEN,
};

/// A message of either side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// The first message of each side, in the default [`Format`].
    Hello {
        /// Who speaks, for people.
        version: String,
        /// What it can do.
        capabilities: Capabilities,
    },
    /// A device is plugged in.
    DeviceConnect {
        /// Its speed.
        speed: Speed,
        /// Class, subclass, protocol.
        class: [u8; 3],
        /// `idVendor`.
        vendor: u16,
        /// `idProduct`.
        product: u16,
        /// `bcdDevice`.
        version: u16,
    },
    /// The device is pulled.
    DeviceDisconnect,
    /// A bus reset.
    Reset,
    /// The interfaces of the configuration: class, subclass, protocol of each.
    InterfaceInfo(Vec<[u8; 3]>),
    /// All endpoints, by [`row_of`].
    EndpointInfo(Box<[EndpointRow; ENDPOINTS]>),
    /// SET_CONFIGURATION.
    SetConfiguration(u8),
    /// GET_CONFIGURATION.
    GetConfiguration,
    /// The answer to both.
    ConfigurationStatus {
        /// Whether it worked.
        status: Status,
        /// The configuration that is set now.
        configuration: u8,
    },
    /// SET_INTERFACE.
    SetAlternate {
        /// Of this interface.
        interface: u8,
        /// This alternate setting.
        alternate: u8,
    },
    /// GET_INTERFACE.
    GetAlternate {
        /// Of this interface.
        interface: u8,
    },
    /// The answer to both.
    AlternateStatus {
        /// Whether it worked.
        status: Status,
        /// Of this interface.
        interface: u8,
        /// The setting that is set now.
        alternate: u8,
    },
    /// From now on, packets of this interrupt endpoint are wanted.
    StartInterrupt {
        /// The endpoint.
        endpoint: u8,
    },
    /// They are not wanted any more.
    StopInterrupt {
        /// The endpoint.
        endpoint: u8,
    },
    /// The answer to both.
    InterruptStatus {
        /// Whether it worked.
        status: Status,
        /// The endpoint.
        endpoint: u8,
    },
    /// The request of this id is not wanted any more.
    Cancel,
    /// The device is not wanted.
    FilterReject,
    /// Which devices are wanted, as text.
    FilterRules,
    /// A control transfer, or its end.
    Control {
        /// 0x00 or 0x80.
        endpoint: u8,
        /// Its SETUP packet; in an answer, `length` is that of the answer.
        setup: Setup,
        /// How it ended.
        status: Status,
        /// OUT data in a request, IN data in an answer.
        data: Vec<u8>,
    },
    /// A bulk transfer, or its end.
    Bulk {
        /// The endpoint.
        endpoint: u8,
        /// How it ended.
        status: Status,
        /// Bytes asked for, sent, or moved.
        length: u16,
        /// OUT data in a request, IN data in an answer.
        data: Vec<u8>,
    },
    /// A packet of an interrupt endpoint, or the end of an OUT one.
    Interrupt {
        /// The endpoint.
        endpoint: u8,
        /// How it ended.
        status: Status,
        /// Bytes of the packet.
        length: u16,
        /// The packet.
        data: Vec<u8>,
    },
}

const HELLO: u32 = 0;
const DEVICE_CONNECT: u32 = 1;
const DEVICE_DISCONNECT: u32 = 2;
const RESET: u32 = 3;
const INTERFACE_INFO: u32 = 4;
const EP_INFO: u32 = 5;
const SET_CONFIGURATION: u32 = 6;
const GET_CONFIGURATION: u32 = 7;
const CONFIGURATION_STATUS: u32 = 8;
const SET_ALT_SETTING: u32 = 9;
const GET_ALT_SETTING: u32 = 10;
const ALT_SETTING_STATUS: u32 = 11;
const START_INTERRUPT: u32 = 15;
const STOP_INTERRUPT: u32 = 16;
const INTERRUPT_STATUS: u32 = 17;
const CANCEL: u32 = 21;
const FILTER_REJECT: u32 = 22;
const FILTER_RULES: u32 = 23;
const CONTROL: u32 = 100;
const BULK: u32 = 101;
const INTERRUPT: u32 = 103;

/// Interfaces in a table of [`Message::InterfaceInfo`].
const INTERFACES: usize = 32;

impl Message {
    /// Reads what follows `header`; `body` has exactly that length.
    pub fn parse(header: Header, body: &[u8], format: Format) -> Result<Self, Error> {
        let mut fields = Fields(body);
        let message = Self::parse_fields(header.kind, &mut fields, format);
        match message {
            Ok(message) if fields.0.is_empty() => Ok(message),
            Err(error @ Error::Unknown(_)) => Err(error),
            _ => Err(Error::Length {
                kind: header.kind,
                length: body.len(),
            }),
        }
    }

    fn parse_fields(kind: u32, fields: &mut Fields<'_>, format: Format) -> Result<Self, Error> {
        Ok(match kind {
            HELLO => {
                let text = fields.take(VERSION_LEN)?;
                let end = text.iter().position(|byte| *byte == 0);
                let text = &text[..end.unwrap_or(VERSION_LEN)];
                let capabilities = Capabilities(fields.u32().unwrap_or(0));
                // Later versions may have more of them than we know.
                fields.0 = &[];
                Self::Hello {
                    version: String::from_utf8_lossy(text).into_owned(),
                    capabilities,
                }
            }
            DEVICE_CONNECT => Self::parse_connect(fields, format)?,
            DEVICE_DISCONNECT => Self::DeviceDisconnect,
            RESET => Self::Reset,
            INTERFACE_INFO => {
                let count = usize::try_from(fields.u32()?).unwrap_or(usize::MAX);
                let _numbers = fields.take(INTERFACES)?;
                let class = fields.take(INTERFACES)?;
                let subclass = fields.take(INTERFACES)?;
                let protocol = fields.take(INTERFACES)?;
                if count > INTERFACES {
                    return Err(Error::Unknown(kind));
                }
                let row = |n: usize| [class[n], subclass[n], protocol[n]];
                Self::InterfaceInfo((0..count).map(row).collect())
            }
            EP_INFO => Self::EndpointInfo(Self::parse_endpoints(fields, format)?),
            SET_CONFIGURATION => Self::SetConfiguration(fields.u8()?),
            GET_CONFIGURATION => Self::GetConfiguration,
            CONFIGURATION_STATUS => Self::ConfigurationStatus {
                status: fields.status()?,
                configuration: fields.u8()?,
            },
            SET_ALT_SETTING => Self::SetAlternate {
                interface: fields.u8()?,
                alternate: fields.u8()?,
            },
            GET_ALT_SETTING => Self::GetAlternate {
                interface: fields.u8()?,
            },
            ALT_SETTING_STATUS => Self::AlternateStatus {
                status: fields.status()?,
                interface: fields.u8()?,
                alternate: fields.u8()?,
            },
            START_INTERRUPT => Self::StartInterrupt {
                endpoint: fields.u8()?,
            },
            STOP_INTERRUPT => Self::StopInterrupt {
                endpoint: fields.u8()?,
            },
            INTERRUPT_STATUS => Self::InterruptStatus {
                status: fields.status()?,
                endpoint: fields.u8()?,
            },
            CANCEL => Self::Cancel,
            FILTER_REJECT => Self::FilterReject,
            FILTER_RULES => {
                fields.0 = &[];
                Self::FilterRules
            }
            CONTROL => Self::parse_control(fields)?,
            BULK => {
                let (endpoint, status, length) = (fields.u8()?, fields.status()?, fields.u16()?);
                let _stream = fields.u32()?;
                if format.0.has(Capabilities::LONG_BULK) {
                    let _high = fields.u16()?;
                }
                let data = fields.rest();
                Self::Bulk {
                    endpoint,
                    status,
                    length,
                    data,
                }
            }
            INTERRUPT => Self::Interrupt {
                endpoint: fields.u8()?,
                status: fields.status()?,
                length: fields.u16()?,
                data: fields.rest(),
            },
            _ => return Err(Error::Unknown(kind)),
        })
    }

    fn parse_connect(fields: &mut Fields<'_>, format: Format) -> Result<Self, Error> {
        let speed = match fields.u8()? {
            0 => Speed::Low,
            1 => Speed::Full,
            2 => Speed::High,
            _ => return Err(Error::Unknown(DEVICE_CONNECT)),
        };
        Ok(Self::DeviceConnect {
            speed,
            class: [fields.u8()?, fields.u8()?, fields.u8()?],
            vendor: fields.u16()?,
            product: fields.u16()?,
            version: if format.0.has(Capabilities::CONNECT_VERSION) {
                fields.u16()?
            } else {
                0
            },
        })
    }

    fn parse_endpoints(
        fields: &mut Fields<'_>,
        format: Format,
    ) -> Result<Box<[EndpointRow; ENDPOINTS]>, Error> {
        let mut rows = Box::new([EndpointRow::default(); ENDPOINTS]);
        for row in rows.iter_mut() {
            row.kind = EndpointType::of(fields.u8()?);
        }
        for row in rows.iter_mut() {
            row.interval = fields.u8()?;
        }
        for row in rows.iter_mut() {
            row.interface = fields.u8()?;
        }
        if format.0.has(Capabilities::MAX_PACKET_SIZE) {
            for row in rows.iter_mut() {
                row.max_packet = fields.u16()?;
            }
        }
        Ok(rows)
    }

    fn parse_control(fields: &mut Fields<'_>) -> Result<Self, Error> {
        let (endpoint, request, request_type) = (fields.u8()?, fields.u8()?, fields.u8()?);
        let status = fields.status()?;
        let setup = Setup {
            request_type,
            request,
            value: fields.u16()?,
            index: fields.u16()?,
            length: fields.u16()?,
        };
        Ok(Self::Control {
            endpoint,
            setup,
            status,
            data: fields.rest(),
        })
    }

    /// Appends the message to `out`. A hello is to be written in the default format.
    pub fn emit(&self, id: u64, format: Format, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend(self.kind().to_le_bytes());
        out.extend([0; 4]);
        let id = id.to_le_bytes();
        if format.0.has(Capabilities::LONG_IDS) {
            out.extend(id);
        } else {
            out.extend(&id[..4]);
        }
        let body = out.len();
        self.emit_body(format, out);
        // Nothing longer than MAX_LENGTH is ever built: lengths are 16 bits.
        let length = (out.len() - body) as u32;
        out[start + 4..start + 8].copy_from_slice(&length.to_le_bytes());
    }

    const fn kind(&self) -> u32 {
        match self {
            Self::Hello { .. } => HELLO,
            Self::DeviceConnect { .. } => DEVICE_CONNECT,
            Self::DeviceDisconnect => DEVICE_DISCONNECT,
            Self::Reset => RESET,
            Self::InterfaceInfo(_) => INTERFACE_INFO,
            Self::EndpointInfo(_) => EP_INFO,
            Self::SetConfiguration(_) => SET_CONFIGURATION,
            Self::GetConfiguration => GET_CONFIGURATION,
            Self::ConfigurationStatus { .. } => CONFIGURATION_STATUS,
            Self::SetAlternate { .. } => SET_ALT_SETTING,
            Self::GetAlternate { .. } => GET_ALT_SETTING,
            Self::AlternateStatus { .. } => ALT_SETTING_STATUS,
            Self::StartInterrupt { .. } => START_INTERRUPT,
            Self::StopInterrupt { .. } => STOP_INTERRUPT,
            Self::InterruptStatus { .. } => INTERRUPT_STATUS,
            Self::Cancel => CANCEL,
            Self::FilterReject => FILTER_REJECT,
            Self::FilterRules => FILTER_RULES,
            Self::Control { .. } => CONTROL,
            Self::Bulk { .. } => BULK,
            Self::Interrupt { .. } => INTERRUPT,
        }
    }

    fn emit_body(&self, format: Format, out: &mut Vec<u8>) {
        match self {
            Self::Hello {
                version,
                capabilities,
            } => {
                let mut text = version.as_bytes().to_vec();
                text.truncate(VERSION_LEN - 1);
                text.resize(VERSION_LEN, 0);
                out.extend(text);
                out.extend(capabilities.0.to_le_bytes());
            }
            Self::DeviceConnect {
                speed,
                class,
                vendor,
                product,
                version,
            } => {
                out.push(*speed as u8);
                out.extend(class);
                out.extend(vendor.to_le_bytes());
                out.extend(product.to_le_bytes());
                if format.0.has(Capabilities::CONNECT_VERSION) {
                    out.extend(version.to_le_bytes());
                }
            }
            Self::InterfaceInfo(interfaces) => emit_interfaces(interfaces, out),
            Self::EndpointInfo(rows) => {
                out.extend(rows.iter().map(|row| row.kind as u8));
                out.extend(rows.iter().map(|row| row.interval));
                out.extend(rows.iter().map(|row| row.interface));
                if format.0.has(Capabilities::MAX_PACKET_SIZE) {
                    out.extend(rows.iter().flat_map(|row| row.max_packet.to_le_bytes()));
                }
            }
            Self::SetConfiguration(value) => out.push(*value),
            Self::ConfigurationStatus {
                status,
                configuration,
            } => out.extend([status.code(), *configuration]),
            Self::SetAlternate {
                interface,
                alternate,
            } => out.extend([interface, alternate]),
            Self::GetAlternate { interface } => out.push(*interface),
            Self::AlternateStatus {
                status,
                interface,
                alternate,
            } => out.extend([status.code(), *interface, *alternate]),
            Self::StartInterrupt { endpoint } | Self::StopInterrupt { endpoint } => {
                out.push(*endpoint);
            }
            Self::InterruptStatus { status, endpoint } => out.extend([status.code(), *endpoint]),
            Self::Control {
                endpoint,
                setup,
                status,
                data,
            } => {
                out.extend([*endpoint, setup.request, setup.request_type, status.code()]);
                for word in [setup.value, setup.index, setup.length] {
                    out.extend(word.to_le_bytes());
                }
                out.extend(data);
            }
            Self::Bulk {
                endpoint,
                status,
                length,
                data,
            } => {
                out.extend([*endpoint, status.code()]);
                out.extend(length.to_le_bytes());
                out.extend([0; 4]); // no stream
                if format.0.has(Capabilities::LONG_BULK) {
                    out.extend([0; 2]);
                }
                out.extend(data);
            }
            Self::Interrupt {
                endpoint,
                status,
                length,
                data,
            } => {
                out.extend([*endpoint, status.code()]);
                out.extend(length.to_le_bytes());
                out.extend(data);
            }
            Self::DeviceDisconnect
            | Self::Reset
            | Self::GetConfiguration
            | Self::Cancel
            | Self::FilterReject
            | Self::FilterRules => {}
        }
    }
}

fn emit_interfaces(interfaces: &[[u8; 3]], out: &mut Vec<u8>) {
    let count = interfaces.len().min(INTERFACES);
    out.extend((count as u32).to_le_bytes());
    let numbers = (0..count).map(|number| number as u8);
    let column = |n: usize| interfaces.iter().take(count).map(move |row| row[n]);
    let mut table = |values: &mut dyn Iterator<Item = u8>| {
        let end = out.len() + INTERFACES;
        out.extend(values);
        out.resize(end, 0);
    };
    table(&mut numbers.into_iter());
    for n in 0..3 {
        table(&mut column(n));
    }
}
