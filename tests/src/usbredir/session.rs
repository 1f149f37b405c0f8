//! One connection to QEMU as a state machine: bytes and time in, bytes out.

use std::collections::{BTreeSet, VecDeque};
use std::time::Instant;

use super::wire::{
    Capabilities, ENDPOINTS, EndpointRow, EndpointType, Error, Format, Header, Message, Status,
    row_of,
};
use super::{Answer, Device, Endpoint};

/// What we say hello with. Not [`Capabilities::LONG_BULK`]: see there.
const CAPABILITIES: Capabilities = Capabilities::CONNECT_VERSION
    .with(Capabilities::FILTER)
    .with(Capabilities::MAX_PACKET_SIZE)
    .with(Capabilities::LONG_IDS);
/// Who we are, in QEMU's log.
const VERSION: &str = "ichor lab";
/// `bMaxPacketSize0`.
const CONTROL_PACKET: u16 = 64;

/// A bulk IN request that is not answered yet.
#[derive(Debug)]
struct Request {
    id: u64,
    endpoint: u8,
    length: u16,
}

/// A device and what its connection knows.
#[derive(Debug)]
pub struct Session<D> {
    device: D,
    /// `None` until the other side has said hello.
    format: Option<Format>,
    inbox: Vec<u8>,
    requests: VecDeque<Request>,
    /// Interrupt endpoints whose packets are wanted.
    wanted: BTreeSet<u8>,
    /// What the other side was told last.
    told: Vec<Endpoint>,
    plugged: bool,
    rejected: bool,
}

impl<D: Device> Session<D> {
    /// A device that nobody is connected to.
    pub fn new(device: D) -> Self {
        Self {
            device,
            format: None,
            inbox: Vec::new(),
            requests: VecDeque::new(),
            wanted: BTreeSet::new(),
            told: Vec::new(),
            plugged: true,
            rejected: false,
        }
    }

    /// The device.
    pub fn device(&mut self) -> &mut D {
        &mut self.device
    }

    /// Whether the other side has turned the device down.
    pub fn is_rejected(&self) -> bool {
        self.rejected
    }

    /// A connection begins.
    pub fn connect(&mut self, out: &mut Vec<u8>) {
        self.format = None;
        self.inbox.clear();
        self.forget();
        self.rejected = false;
        let hello = Message::Hello {
            version: VERSION.to_owned(),
            capabilities: CAPABILITIES,
        };
        hello.emit(0, Format::default(), out);
    }

    /// The connection has ended: the device has no power any more.
    pub fn disconnect(&mut self, now: Instant) {
        self.format = None;
        self.forget();
        self.device.reset(now);
    }

    /// Pulls the device from its port, or puts it back.
    pub fn plug(&mut self, now: Instant, plugged: bool, out: &mut Vec<u8>) {
        if self.plugged == plugged {
            return;
        }
        self.plugged = plugged;
        if !plugged {
            self.forget();
            self.device.reset(now);
        }
        let Some(format) = self.format else { return };
        if plugged {
            self.introduce(format, out);
        } else {
            Message::DeviceDisconnect.emit(0, format, out);
        }
    }

    /// Takes bytes from the other side and answers them.
    ///
    /// # Errors
    /// They are not of this protocol: the connection is of no further use.
    pub fn on_bytes(&mut self, now: Instant, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
        self.inbox.extend_from_slice(bytes);
        let inbox = std::mem::take(&mut self.inbox);
        let mut rest = &inbox[..];
        loop {
            // Anew for each message: a hello changes it for the next.
            let format = self.format.unwrap_or_default();
            let Some(header) = Header::parse(rest, format)? else {
                break;
            };
            let Some((_, body)) = rest.split_at_checked(format.header_len()) else {
                break;
            };
            let Some((body, next)) = body.split_at_checked(header.length) else {
                break;
            };
            let message = Message::parse(header, body, format)?;
            self.on_message(now, header.id, message, out);
            rest = next;
        }
        self.inbox = rest.to_vec();
        self.poll(now, out);
        Ok(())
    }

    /// Says what the device has to say by now.
    pub fn poll(&mut self, now: Instant, out: &mut Vec<u8>) {
        let Some(format) = self.format else { return };
        if !self.plugged {
            return;
        }
        self.tell_endpoints(format, out);
        self.answer_requests(now, format, out);
        for endpoint in self.wanted.iter().copied() {
            if kind_of(&self.told, endpoint) != EndpointType::Interrupt {
                continue;
            }
            loop {
                let (status, data) = match self.device.interrupt_in(now, endpoint) {
                    Answer::Data(data) => (Status::Success, data),
                    Answer::Failed(status) => (status, Vec::new()),
                    Answer::NotYet => break,
                };
                let message = Message::Interrupt {
                    endpoint,
                    status,
                    length: short(data.len()),
                    data,
                };
                message.emit(0, format, out);
            }
        }
    }

    fn on_message(&mut self, now: Instant, id: u64, message: Message, out: &mut Vec<u8>) {
        if let Message::Hello { capabilities, .. } = message {
            let format = Format(CAPABILITIES.common(capabilities));
            self.format = Some(format);
            if self.plugged {
                self.introduce(format, out);
            }
            return;
        }
        // Nothing else comes before a hello.
        let Some(format) = self.format else { return };
        let answer = match message {
            Message::Reset => {
                self.device.reset(now);
                self.fail_requests(Status::Cancelled, format, out);
                return;
            }
            Message::SetConfiguration(value) => {
                let status = self.device.configure(now, value);
                self.tell_interfaces(format, out);
                self.tell_endpoints(format, out);
                self.configuration(status)
            }
            Message::GetConfiguration => self.configuration(Status::Success),
            // Each interface has one setting.
            Message::SetAlternate {
                interface,
                alternate,
            } => Message::AlternateStatus {
                status: if alternate == 0 {
                    Status::Success
                } else {
                    Status::Stall
                },
                interface,
                alternate: 0,
            },
            Message::GetAlternate { interface } => Message::AlternateStatus {
                status: Status::Success,
                interface,
                alternate: 0,
            },
            Message::StartInterrupt { endpoint } => {
                self.wanted.insert(endpoint);
                Message::InterruptStatus {
                    status: Status::Success,
                    endpoint,
                }
            }
            Message::StopInterrupt { endpoint } => {
                self.wanted.remove(&endpoint);
                Message::InterruptStatus {
                    status: Status::Success,
                    endpoint,
                }
            }
            Message::Cancel => return self.cancel(id, format, out),
            Message::FilterReject => {
                self.rejected = true;
                return;
            }
            Message::Control {
                endpoint,
                mut setup,
                data,
                ..
            } => {
                let result = self.device.control(now, setup, &data);
                // The device may have changed its endpoints by this, and the
                // answer lets the driver go on to use them.
                self.tell_endpoints(format, out);
                let is_in = setup.request_type & 0x80 != 0;
                let (status, data) = match result {
                    Ok(mut data) => {
                        data.truncate(setup.length.into());
                        if is_in {
                            setup.length = short(data.len());
                        }
                        (Status::Success, data)
                    }
                    Err(status) => {
                        setup.length = 0;
                        (status, Vec::new())
                    }
                };
                Message::Control {
                    endpoint,
                    setup,
                    status,
                    data,
                }
            }
            Message::Bulk {
                endpoint, length, ..
            } if endpoint & 0x80 != 0 => {
                let request = Request {
                    id,
                    endpoint,
                    length,
                };
                self.requests.push_back(request);
                return;
            }
            Message::Bulk { endpoint, data, .. } => Message::Bulk {
                endpoint,
                status: self.device.bulk_out(now, endpoint, &data),
                length: short(data.len()),
                data: Vec::new(),
            },
            // No such endpoint is announced.
            Message::Interrupt {
                endpoint, length, ..
            } => Message::Interrupt {
                endpoint,
                status: Status::Invalid,
                length,
                data: Vec::new(),
            },
            // Rules of QEMU's own, and what only a device says.
            _ => return,
        };
        answer.emit(id, format, out);
    }

    /// Tells the other side what is plugged in.
    fn introduce(&mut self, format: Format, out: &mut Vec<u8>) {
        let identity = self.device.identity();
        self.tell_interfaces(format, out);
        self.told.clear();
        self.emit_endpoints(format, out);
        let connect = Message::DeviceConnect {
            speed: identity.speed,
            class: identity.class,
            vendor: identity.vendor,
            product: identity.product,
            version: identity.version,
        };
        connect.emit(0, format, out);
    }

    fn tell_interfaces(&self, format: Format, out: &mut Vec<u8>) {
        let class = self.device.identity().interface_class;
        Message::InterfaceInfo(vec![class]).emit(0, format, out);
    }

    fn tell_endpoints(&mut self, format: Format, out: &mut Vec<u8>) {
        if self.told != self.device.endpoints() {
            self.emit_endpoints(format, out);
        }
    }

    fn emit_endpoints(&mut self, format: Format, out: &mut Vec<u8>) {
        self.told = self.device.endpoints();
        let mut rows = Box::new([EndpointRow::default(); ENDPOINTS]);
        for address in [0x00, 0x80] {
            rows[row_of(address)] = EndpointRow {
                kind: EndpointType::Control,
                max_packet: CONTROL_PACKET,
                ..EndpointRow::default()
            };
        }
        for endpoint in &self.told {
            rows[row_of(endpoint.address)] = EndpointRow {
                kind: endpoint.kind,
                interval: endpoint.interval,
                interface: 0,
                max_packet: endpoint.max_packet,
            };
        }
        Message::EndpointInfo(rows).emit(0, format, out);
    }

    fn configuration(&self, status: Status) -> Message {
        Message::ConfigurationStatus {
            status,
            configuration: self.device.configuration(),
        }
    }

    /// Answers bulk IN requests, oldest first on each endpoint.
    fn answer_requests(&mut self, now: Instant, format: Format, out: &mut Vec<u8>) {
        let mut waiting = BTreeSet::new();
        let mut left = VecDeque::new();
        for request in std::mem::take(&mut self.requests) {
            if waiting.contains(&request.endpoint) {
                left.push_back(request);
                continue;
            }
            let length = usize::from(request.length);
            let is_bulk = kind_of(&self.told, request.endpoint) == EndpointType::Bulk;
            let answer = if is_bulk {
                self.device.bulk_in(now, request.endpoint, length)
            } else {
                // Asked before the endpoint became one that speaks by itself:
                // nothing may stay open there.
                Answer::Data(Vec::new())
            };
            match answer {
                Answer::Data(data) => request.emit(Status::Success, data, format, out),
                Answer::Failed(status) => request.emit(status, Vec::new(), format, out),
                Answer::NotYet => {
                    waiting.insert(request.endpoint);
                    left.push_back(request);
                }
            }
        }
        self.requests = left;
    }

    fn fail_requests(&mut self, status: Status, format: Format, out: &mut Vec<u8>) {
        for request in self.requests.drain(..) {
            request.emit(status, Vec::new(), format, out);
        }
    }

    /// A request that is answered already has nothing to take back.
    fn cancel(&mut self, id: u64, format: Format, out: &mut Vec<u8>) {
        let at = self.requests.iter().position(|request| request.id == id);
        if let Some(request) = at.and_then(|at| self.requests.remove(at)) {
            request.emit(Status::Cancelled, Vec::new(), format, out);
        }
    }

    fn forget(&mut self) {
        self.requests.clear();
        self.wanted.clear();
        self.told.clear();
    }
}

impl Request {
    fn emit(&self, status: Status, data: Vec<u8>, format: Format, out: &mut Vec<u8>) {
        let message = Message::Bulk {
            endpoint: self.endpoint,
            status,
            length: short(data.len()),
            data,
        };
        message.emit(self.id, format, out);
    }
}

fn kind_of(endpoints: &[Endpoint], address: u8) -> EndpointType {
    let found = endpoints.iter().find(|known| known.address == address);
    found.map_or(EndpointType::None, |known| known.kind)
}

/// A length for the wire. Devices of this protocol version move 64 KiB at most.
fn short(length: usize) -> u16 {
    u16::try_from(length).unwrap_or(u16::MAX)
}

#[cfg(test)]
mod tests;
