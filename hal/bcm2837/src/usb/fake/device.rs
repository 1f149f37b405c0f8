//! Devices made for being asked in every wrong way: an echo and a hub.

use std::collections::{BTreeMap, VecDeque};

use embassy_usb_driver::Speed;

/// Something that goes wrong with the next transaction of an endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The device refuses.
    Nak,
    Stall,
    /// The token gets lost: the device never hears of it.
    Silent,
    /// OUT: the device takes the data, but its ACK gets lost.
    LostAck,
    /// IN: the device sends its last packet again, whose ACK got lost.
    Repeat,
    /// IN: the device does not stop to send.
    Babble,
    /// A periodic transaction that does not fit into its frame.
    Overrun,
    /// The controller cannot reach memory.
    AhbError,
    /// A translator has no room for the first half.
    Busy,
    /// The answer of a translator to the second half gets lost.
    LostResult,
}

/// What a device says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Answer {
    Ack,
    Nak,
    Stall,
    /// Data under a toggle, as HCTSIZ has it.
    Data(Vec<u8>, u32),
    Nothing,
}

pub(super) const DATA0: u32 = 0;
pub(super) const DATA1: u32 = 2;

pub(super) const fn flip(pid: u32) -> u32 {
    if pid == DATA0 { DATA1 } else { DATA0 }
}

/// One endpoint but endpoint 0.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// As in bmAttributes.
    pub(crate) kind: u32,
    pub(crate) max_packet: usize,
    pub(crate) toggle: u32,
    pub(crate) packets: VecDeque<Vec<u8>>,
    pub(crate) faults: VecDeque<Fault>,
    last: Vec<u8>,
    lost_ack: bool,
}

/// The control endpoint between two SETUPs.
#[derive(Debug, Default)]
enum Stage {
    #[default]
    Idle,
    In {
        data: VecDeque<u8>,
        toggle: u32,
        started: bool,
    },
    Out {
        setup: [u8; 8],
        data: Vec<u8>,
        toggle: u32,
    },
    StatusIn(Option<u8>),
}

#[derive(Debug)]
pub(crate) struct Port {
    pub(crate) device: Option<Device>,
    pub(crate) enabled: bool,
    pub(crate) change: u16,
}

#[derive(Debug)]
pub(crate) enum Kind {
    Echo,
    Hub(Vec<Port>),
}

/// The transaction that a translator did for the host.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) endpoint: u8,
    pub(super) input: bool,
    pub(super) answer: Answer,
    pub(super) microframe: u64,
    pub(super) at: u64,
}

#[derive(Debug)]
pub(crate) struct Device {
    pub(crate) speed: Speed,
    pub(crate) address: u8,
    pub(crate) kind: Kind,
    pub(crate) endpoints: BTreeMap<(u8, bool), Endpoint>,
    /// Whole messages that came by bulk OUT.
    pub(crate) received: Vec<Vec<u8>>,
    /// Data stages of vendor requests.
    pub(crate) written: Vec<Vec<u8>>,
    pub(crate) control_faults: VecDeque<Fault>,
    pub(crate) resets: u32,
    message: Vec<u8>,
    stage: Stage,
    pub(super) translated: Option<Translated>,
}

impl Device {
    fn new(speed: Speed, kind: Kind, endpoints: &[(u8, u32, usize)]) -> Self {
        let endpoints = endpoints.iter().map(|&(address, kind, max_packet)| {
            let endpoint = Endpoint {
                kind,
                max_packet,
                toggle: DATA0,
                packets: VecDeque::new(),
                faults: VecDeque::new(),
                last: Vec::new(),
                lost_ack: false,
            };
            ((address & 0xF, address & 0x80 != 0), endpoint)
        });
        Self {
            speed,
            address: 0,
            kind,
            endpoints: endpoints.collect(),
            received: Vec::new(),
            written: Vec::new(),
            control_faults: VecDeque::new(),
            resets: 0,
            message: Vec::new(),
            stage: Stage::Idle,
            translated: None,
        }
    }

    /// Sends back by bulk IN 1 what comes by bulk OUT 2; interrupt IN 3 and OUT
    /// 4 are the test's.
    pub(crate) fn echo(speed: Speed) -> Self {
        let bulk = if speed == Speed::High { 512 } else { 64 };
        Self::new(
            speed,
            Kind::Echo,
            &[(0x81, 2, bulk), (0x02, 2, bulk), (0x83, 3, 8), (0x04, 3, 8)],
        )
    }

    /// A hub with nothing on its ports.
    pub(crate) fn hub(speed: Speed, ports: usize) -> Self {
        let ports = (0..ports).map(|_| Port {
            device: None,
            enabled: false,
            change: 0,
        });
        Self::new(speed, Kind::Hub(ports.collect()), &[(0x81, 3, 1)])
    }

    pub(crate) fn ports(&mut self) -> &mut Vec<Port> {
        match &mut self.kind {
            Kind::Hub(ports) => ports,
            Kind::Echo => panic!("an echo has no ports"),
        }
    }

    /// Puts `device` on port `port` (0-based) of this hub.
    pub(crate) fn plug(&mut self, port: usize, device: Device) {
        let port = &mut self.ports()[port];
        port.device = Some(device);
        port.change |= 1;
    }

    pub(super) fn reset(&mut self) {
        self.address = 0;
        self.resets += 1;
        self.stage = Stage::Idle;
        self.translated = None;
        for endpoint in self.endpoints.values_mut() {
            endpoint.toggle = DATA0;
        }
    }

    pub(crate) fn endpoint(&mut self, number: u8, input: bool) -> &mut Endpoint {
        self.endpoints.get_mut(&(number, input)).unwrap()
    }

    /// Queues `message` for a bulk or interrupt IN endpoint, in packets.
    pub(crate) fn say(&mut self, number: u8, message: &[u8]) {
        let endpoint = self.endpoint(number, true);
        endpoint
            .packets
            .extend(message.chunks(endpoint.max_packet).map(<[u8]>::to_vec));
        if message.len().is_multiple_of(endpoint.max_packet) {
            endpoint.packets.push_back(Vec::new());
        }
    }

    /// Type and packet size, as the channel has to state them.
    pub(super) fn shape(&self, number: u8, input: bool) -> (u32, usize) {
        if number == 0 {
            return (0, if self.speed == Speed::Low { 8 } else { 64 });
        }
        let endpoint = self
            .endpoints
            .get(&(number, input))
            .unwrap_or_else(|| panic!("no endpoint {number}, input: {input}"));
        (endpoint.kind, endpoint.max_packet)
    }

    pub(super) fn fault(&mut self, number: u8, input: bool) -> Option<Fault> {
        let faults = self.faults(number, input);
        if faults.front() == Some(&Fault::LostResult) {
            return None;
        }
        faults.pop_front()
    }

    /// Takes the next fault only if it is one of the second half of a split
    /// transaction; [`fault`](Self::fault) leaves those.
    pub(super) fn lost_result(&mut self, number: u8, input: bool) -> bool {
        let faults = self.faults(number, input);
        let lost = faults.front() == Some(&Fault::LostResult);
        if lost {
            faults.pop_front();
        }
        lost
    }

    fn faults(&mut self, number: u8, input: bool) -> &mut VecDeque<Fault> {
        match number {
            0 => &mut self.control_faults,
            _ => &mut self.endpoint(number, input).faults,
        }
    }

    pub(super) fn setup(&mut self, bytes: &[u8], pid: u32) -> Answer {
        assert_eq!(pid, 3, "SETUP goes out as SETUP");
        let setup: [u8; 8] = bytes.try_into().expect("SETUP has 8 bytes");
        let len = usize::from(u16::from_le_bytes([setup[6], setup[7]]));
        if setup[0] & 0x80 != 0 {
            let Some(mut data) = self.answer(setup) else {
                self.control_faults.push_back(Fault::Stall);
                self.stage = Stage::Idle;
                return Answer::Ack;
            };
            data.truncate(len);
            self.stage = Stage::In {
                data: data.into(),
                toggle: DATA1,
                started: false,
            };
        } else if len > 0 {
            self.stage = Stage::Out {
                setup,
                data: Vec::new(),
                toggle: DATA1,
            };
        } else {
            self.stage = Stage::StatusIn(self.request(setup));
        }
        Answer::Ack
    }

    /// The data of a request that asks for some.
    fn answer(&mut self, setup: [u8; 8]) -> Option<Vec<u8>> {
        Some(match (setup[0], setup[1], setup[3]) {
            (0x80, 6, 1) => {
                let class = u8::from(matches!(self.kind, Kind::Hub(_))) * 9;
                let max0 = if self.speed == Speed::Low { 8 } else { 64 };
                vec![
                    18, 1, 0, 2, class, 0, 0, max0, 0x25, 5, 0xA2, 0xA4, 0, 1, 0, 0, 0, 1,
                ]
            }
            (0x80, 6, 2) => self.configuration(),
            (0x80, 8, _) => vec![1],
            (0xA0, 6, 0x29) => {
                let ports = self.ports().len() as u8;
                vec![9, 0x29, ports, 0, 0, 1, 0, 0, 0xFF]
            }
            (0xA3, 0, _) => {
                let port = &self.ports()[usize::from(setup[4]) - 1];
                let mut status: u16 = 0x100;
                if let Some(device) = &port.device {
                    status |= 1 | match device.speed {
                        Speed::Low => 0x200,
                        Speed::Full => 0,
                        Speed::High => 0x400,
                    };
                }
                status |= u16::from(port.enabled) << 1;
                let (status, change) = (status.to_le_bytes(), port.change.to_le_bytes());
                vec![status[0], status[1], change[0], change[1]]
            }
            (0xC0, 0xA1, _) => (0..=255).cycle().take(1000).collect(),
            _ => return None,
        })
    }

    fn configuration(&self) -> Vec<u8> {
        let class = u8::from(matches!(self.kind, Kind::Hub(_))) * 9;
        let mut bytes = vec![9, 2, 0, 0, 1, 1, 0, 0xC0, 0];
        let class = if class == 0 { 0xFF } else { class };
        bytes.extend([9, 4, 0, 0, self.endpoints.len() as u8, class, 0, 0, 0]);
        for ((number, input), endpoint) in &self.endpoints {
            let address = number | u8::from(*input) << 7;
            let max = endpoint.max_packet as u8;
            let high = (endpoint.max_packet >> 8) as u8;
            bytes.extend([7, 5, address, endpoint.kind as u8, max, high, 4]);
        }
        bytes[2] = bytes.len() as u8;
        bytes
    }

    /// A request without data; returns an address to take once it is over.
    fn request(&mut self, setup: [u8; 8]) -> Option<u8> {
        let port = usize::from(setup[4]);
        match (setup[0], setup[1], setup[2]) {
            (0, 5, address) => return Some(address),
            (0, 9, _) => {
                for endpoint in self.endpoints.values_mut() {
                    endpoint.toggle = DATA0;
                }
            }
            (0x23, 3, 4) => {
                let port = &mut self.ports()[port - 1];
                port.enabled = port.device.is_some();
                port.change |= 0x10;
                if let Some(device) = &mut port.device {
                    device.reset();
                }
            }
            (0x23, 1, feature @ 16..) => self.ports()[port - 1].change &= !(1 << (feature - 16)),
            _ => {}
        }
        None
    }

    fn control_in(&mut self) -> Answer {
        match std::mem::take(&mut self.stage) {
            Stage::In {
                mut data, toggle, ..
            } => {
                let (_, max) = self.shape(0, true);
                let n = data.len().min(max);
                let packet = data.drain(..n).collect();
                self.stage = Stage::In {
                    data,
                    toggle: flip(toggle),
                    started: true,
                };
                Answer::Data(packet, toggle)
            }
            Stage::StatusIn(address) => {
                self.stage = Stage::StatusIn(address);
                Answer::Data(Vec::new(), DATA1)
            }
            Stage::Out { setup, data, .. } => {
                let len = usize::from(u16::from_le_bytes([setup[6], setup[7]]));
                assert_eq!(data.len(), len, "all of the data before the status");
                self.written.push(data);
                Answer::Data(Vec::new(), DATA1)
            }
            Stage::Idle => panic!("control IN without a SETUP"),
        }
    }

    fn control_out(&mut self, bytes: &[u8], pid: u32) -> Answer {
        match &mut self.stage {
            Stage::Out { data, toggle, .. } => {
                assert_eq!(pid, *toggle, "toggle in the data stage");
                *toggle = flip(*toggle);
                data.extend_from_slice(bytes);
            }
            Stage::In { started, .. } => {
                assert!(*started, "status before any data");
                assert!(bytes.is_empty(), "the status stage is empty");
                assert_eq!(pid, DATA1, "the status stage is DATA1");
                self.stage = Stage::Idle;
            }
            Stage::StatusIn(_) | Stage::Idle => panic!("control OUT out of order"),
        }
        Answer::Ack
    }

    /// An IN token. The packet is gone only when the host took it.
    pub(super) fn token_in(&mut self, number: u8) -> Answer {
        if number == 0 {
            return self.control_in();
        }
        if let Kind::Hub(ports) = &self.kind {
            let bits = ports.iter().enumerate();
            let bits = bits.fold(0, |b, (n, p)| b | u8::from(p.change & 1 != 0) << (n + 1));
            if bits == 0 {
                return Answer::Nak;
            }
            self.endpoint(number, true).packets = [vec![bits]].into();
        }
        let endpoint = self.endpoint(number, true);
        match endpoint.packets.front() {
            Some(packet) => Answer::Data(packet.clone(), endpoint.toggle),
            None => Answer::Nak,
        }
    }

    /// The last packet, under its old toggle.
    pub(super) fn repeat(&mut self, number: u8) -> Answer {
        let endpoint = self.endpoint(number, true);
        Answer::Data(endpoint.last.clone(), flip(endpoint.toggle))
    }

    /// The host acknowledged an IN packet.
    pub(super) fn taken(&mut self, number: u8) {
        if number == 0 {
            // The new address counts from here on.
            if let Stage::StatusIn(address) = self.stage {
                self.stage = Stage::Idle;
                self.address = address.unwrap_or(self.address);
            }
        } else {
            let endpoint = self.endpoint(number, true);
            endpoint.last = endpoint.packets.pop_front().unwrap();
            endpoint.toggle = flip(endpoint.toggle);
        }
    }

    /// The toggle under which OUT is right.
    pub(super) fn expected_toggle(&mut self, number: u8) -> u32 {
        match (number, &self.stage) {
            (0, Stage::Out { toggle, .. }) => *toggle,
            (0, _) => DATA1,
            _ => self.endpoint(number, false).toggle,
        }
    }

    pub(super) fn token_out(&mut self, number: u8, bytes: &[u8], pid: u32, lost: bool) -> Answer {
        if number == 0 {
            return self.control_out(bytes, pid);
        }
        let endpoint = self.endpoint(number, false);
        if pid != endpoint.toggle {
            assert!(endpoint.lost_ack, "OUT under the wrong toggle");
            endpoint.lost_ack = lost;
            return Answer::Ack;
        }
        endpoint.lost_ack = lost;
        endpoint.toggle = flip(endpoint.toggle);
        endpoint.packets.push_back(bytes.to_vec());
        let short = bytes.len() < endpoint.max_packet;
        if endpoint.kind == 2 {
            self.message.extend_from_slice(bytes);
            if short {
                let message = std::mem::take(&mut self.message);
                self.say(1, &message);
                self.received.push(message);
            }
        }
        Answer::Ack
    }
}
