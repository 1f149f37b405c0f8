//! A CDC-ECM adapter with the descriptors of QEMU's usb-net: RNDIS first,
//! ECM in the second configuration.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::bus::{Function, device_descriptor};

const RNDIS: [u8; 67] = [
    9, 2, 67, 0, 2, 2, 0, 0xC0, 50, //
    9, 4, 0, 0, 1, 2, 2, 0xFF, 0, 5, 0x24, 0, 0x10, 1, 5, 0x24, 1, 0, 1, 4, 0x24, 2, 0, //
    5, 0x24, 6, 0, 1, 7, 5, 0x81, 3, 16, 0, 32, //
    9, 4, 1, 0, 2, 0x0A, 0, 0, 0, 7, 5, 0x82, 2, 64, 0, 0, 7, 5, 0x02, 2, 64, 0, 0,
];

const ECM: [u8; 80] = [
    9, 2, 80, 0, 2, 1, 7, 0xC0, 50, //
    9, 4, 0, 0, 1, 2, 6, 0, 6, 5, 0x24, 0, 0x10, 1, 5, 0x24, 6, 0, 1, //
    13, 0x24, 0x0F, 3, 0, 0, 0, 0, 0xEA, 5, 0, 0, 0, 7, 5, 0x81, 3, 16, 0, 32, //
    9, 4, 1, 0, 0, 0x0A, 0, 0, 0, 9, 4, 1, 1, 2, 0x0A, 0, 0, 9, //
    7, 5, 0x82, 2, 64, 0, 0, 7, 5, 0x02, 2, 64, 0, 0,
];

pub(crate) struct Ecm {
    mac: &'static str,
    configuration: u8,
    setting: u8,
    /// The last SET_ETHERNET_PACKET_FILTER.
    pub(crate) filter: Option<u16>,
    pub(crate) refuses_filter: bool,
    pub(crate) notifications: VecDeque<Vec<u8>>,
    pub(crate) received: VecDeque<Vec<u8>>,
    pub(crate) sent: Vec<Vec<u8>>,
    pub(crate) violations: Vec<String>,
}

impl Ecm {
    /// With this address in its string descriptor.
    pub(crate) fn new(mac: &'static str) -> Rc<RefCell<Self>> {
        Rc::new(RefCell::new(Self {
            mac,
            configuration: 0,
            setting: 0,
            filter: None,
            refuses_filter: false,
            notifications: VecDeque::new(),
            received: VecDeque::new(),
            sent: Vec::new(),
            violations: Vec::new(),
        }))
    }

    pub(crate) fn notify_connection(&mut self, connected: bool) {
        self.notifications
            .push_back(vec![0xA1, 0, connected.into(), 0, 0, 0, 0, 0]);
    }

    pub(crate) fn notify_speed(&mut self, bits: u32) {
        let mut bytes = vec![0xA1, 0x2A, 0, 0, 0, 0, 8, 0];
        bytes.extend([bits.to_le_bytes(), bits.to_le_bytes()].concat());
        self.notifications.push_back(bytes);
    }

    fn running(&mut self) -> bool {
        let running = (self.configuration, self.setting) == (1, 1);
        if !running {
            self.violations
                .push("data endpoints used before they exist".into());
        }
        running
    }
}

impl Function for Ecm {
    fn device_descriptor(&self) -> [u8; 18] {
        let mut descriptor = device_descriptor(0x0525, 0xA4A2, 2);
        descriptor[17] = 2;
        descriptor
    }

    fn configurations(&self) -> Vec<Vec<u8>> {
        vec![RNDIS.to_vec(), ECM.to_vec()]
    }

    fn string(&self, index: u8, language: u16) -> Option<Vec<u8>> {
        match (index, language) {
            (0, _) => Some(vec![4, 3, 9, 4]),
            (3, 0x0409) => {
                let mut bytes = vec![2 + 2 * self.mac.len() as u8, 3];
                bytes.extend(self.mac.encode_utf16().flat_map(u16::to_le_bytes));
                Some(bytes)
            }
            _ => None,
        }
    }

    fn reset(&mut self) {
        (self.configuration, self.setting) = (0, 0);
    }

    fn set_configuration(&mut self, value: u8) {
        (self.configuration, self.setting) = (value, 0);
    }

    fn set_interface(&mut self, number: u8, setting: u8) {
        if number != 1 {
            self.violations
                .push(format!("SET_INTERFACE of interface {number}"));
        }
        self.setting = setting;
    }

    fn control(&mut self, setup: [u8; 8], _data: &[u8]) -> Option<Vec<u8>> {
        match setup {
            [0x21, 0x43, low, high, 0, 0, 0, 0] if !self.refuses_filter => {
                self.filter = Some(u16::from_le_bytes([low, high]));
                Some(Vec::new())
            }
            _ => None,
        }
    }

    fn take_in(&mut self, endpoint: u8) -> Option<Vec<u8>> {
        match endpoint {
            0x81 => self.notifications.pop_front(),
            _ if self.running() => self.received.pop_front(),
            _ => None,
        }
    }

    fn put_out(&mut self, _endpoint: u8, data: &[u8]) -> bool {
        let running = self.running();
        if running {
            self.sent.push(data.to_vec());
        }
        running
    }
}
