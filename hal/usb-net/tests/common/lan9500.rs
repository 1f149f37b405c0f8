//! A LAN95xx as its data sheet describes it: registers with resets that take
//! time, a PHY behind MII, bursts of frames. Written without a look at the
//! driver's constants.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use super::bus::{Function, device_descriptor};

pub(crate) const HW_CFG: u16 = 0x14;
pub(crate) const MAC_CR: u16 = 0x100;

/// A register was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Write(pub(crate) u16, pub(crate) u32);

/// What the other end of the cable can do, as its link code word says.
pub(crate) const FULL_100: u16 = 0x45E1;
pub(crate) const HALF_10: u16 = 0x0021;

pub(crate) struct Lan9500 {
    product: u16,
    registers: BTreeMap<u16, u32>,
    phy: [u16; 32],
    /// Every write to a register.
    pub(crate) writes: Vec<Write>,
    /// Every write to the PHY.
    pub(crate) phy_writes: Vec<(u16, u16)>,
    pub(crate) violations: Vec<String>,
    /// Reads until a reset bit, or MII_BUSY, is gone.
    wait: BTreeMap<u16, u32>,
    /// The partner's link code word; None without a cable.
    partner: Option<u16>,
    /// The link bit of BMSR latches low.
    link_was_lost: bool,
    eeprom: Option<[u8; 6]>,
    received: VecDeque<Vec<u8>>,
    /// A transfer that is given to the host as it is, before the frames.
    pub(crate) raw: VecDeque<Vec<u8>>,
    /// Frames the host sent.
    pub(crate) sent: Vec<Vec<u8>>,
    /// NAKs every bulk OUT, until it is reset.
    pub(crate) transmitter_stuck: bool,
    /// HW_CFG's reset bit never clears.
    pub(crate) dead: bool,
    pub(crate) resets: u32,
}

impl Lan9500 {
    pub(crate) fn new(product: u16) -> Rc<RefCell<Self>> {
        let mut chip = Self {
            product,
            registers: BTreeMap::new(),
            phy: [0; 32],
            writes: Vec::new(),
            phy_writes: Vec::new(),
            violations: Vec::new(),
            wait: BTreeMap::new(),
            partner: Some(FULL_100),
            link_was_lost: true,
            eeprom: None,
            received: VecDeque::new(),
            raw: VecDeque::new(),
            sent: Vec::new(),
            transmitter_stuck: false,
            dead: false,
            resets: 0,
        };
        chip.lite_reset();
        Rc::new(RefCell::new(chip))
    }

    /// With an EEPROM that has an address.
    pub(crate) fn set_eeprom(&mut self, mac: [u8; 6]) {
        self.eeprom = Some(mac);
        self.lite_reset();
    }

    fn lite_reset(&mut self) {
        let [a, b, c, d, e, f] = self.eeprom.unwrap_or([0xFF; 6]);
        self.registers = BTreeMap::from([
            (0x00, 0xEC00_0002),
            // A bit that no driver may lose: the clock output's strap.
            (HW_CFG, 0x0000_0004),
            // RCVOWN is set, and filters that a driver has to clear.
            (MAC_CR, 0x0084_0000),
            (0x104, u32::from_le_bytes([e, f, 0, 0])),
            (0x108, u32::from_le_bytes([a, b, c, d])),
        ]);
        self.received.clear();
        self.transmitter_stuck = false;
    }

    pub(crate) fn register(&self, register: u16) -> u32 {
        self.registers.get(&register).copied().unwrap_or(0)
    }

    /// Plugs the cable in, into this kind of partner, or pulls it.
    pub(crate) fn cable(&mut self, partner: Option<u16>) {
        self.partner = partner;
        self.link_was_lost = true;
    }

    /// The FIFO was full.
    pub(crate) fn overrun(&mut self) {
        *self.registers.entry(0x08).or_default() |= 1 << 11;
    }

    /// A frame comes in from the cable.
    pub(crate) fn receive(&mut self, frame: &[u8]) {
        self.receive_with(frame, 0);
    }

    /// The same with bits set in its status.
    pub(crate) fn receive_with(&mut self, frame: &[u8], status: u32) {
        let status = status | (frame.len() as u32 + 4) << 16;
        let mut bytes = status.to_le_bytes().to_vec();
        bytes.extend(frame);
        bytes.extend([0xAA; 4]);
        self.received.push_back(bytes);
    }

    fn negotiating(&self) -> bool {
        self.phy[0] & 1 << 12 != 0
    }

    fn violation(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    fn phy_read(&mut self, register: u16) -> u16 {
        let up = self.partner.is_some() && self.negotiating();
        match register {
            1 => {
                let link = up && !std::mem::take(&mut self.link_was_lost);
                0x7809 | u16::from(link) << 2 | u16::from(up) << 5
            }
            5 if up => self.partner.unwrap_or(0),
            _ => self.phy[usize::from(register)],
        }
    }

    fn phy_write(&mut self, register: u16, value: u16) {
        self.phy_writes.push((register, value));
        self.phy[usize::from(register)] = value & !(1 << 9);
        if register == 0 && value & 1 << 15 != 0 {
            self.phy = [0; 32];
            self.phy[0] = 1 << 15;
            self.link_was_lost = true;
            // It takes as many looks as MII_BUSY and then some.
            self.wait.insert(0xFFFF, 3);
        }
    }

    fn read(&mut self, register: u16) -> u32 {
        // Bits that clear themselves.
        let resets = [(HW_CFG, 1 << 3), (0x20, 1 << 4), (0x114, 1)];
        if let Some((_, bit)) = resets.into_iter().find(|&(at, _)| at == register) {
            let left = self.wait.entry(register).or_default();
            if *left > 0 {
                *left -= 1;
            } else if !(self.dead && register == HW_CFG) {
                *self.registers.entry(register).or_default() &= !bit;
            }
        }
        self.register(register)
    }

    fn write(&mut self, register: u16, value: u32) {
        self.writes.push(Write(register, value));
        let busy = self.register(0x114) & 1 != 0;
        match register {
            0x08 => {
                *self.registers.entry(0x08).or_default() &= !value;
                return;
            }
            HW_CFG if value & 1 << 3 != 0 => {
                self.resets += 1;
                self.lite_reset();
                self.wait.insert(HW_CFG, 2);
                self.registers.insert(HW_CFG, value);
                return;
            }
            0x20 if value & 1 << 4 != 0 => {
                self.phy = [0; 32];
                self.link_was_lost = true;
                self.wait.insert(0x20, 2);
            }
            0x114 if busy => self.violation("MII access while one runs"),
            0x118 if busy => self.violation("MII data changed under an access"),
            0x114 => self.mii(value),
            MAC_CR if value & 1 << 2 != 0 => {
                let hw_cfg = self.register(HW_CFG);
                if hw_cfg & 0x1022 != 0x1022 || self.register(0x38) == 0 {
                    self.violation("receiver on before bursts are set up");
                }
            }
            _ => {}
        }
        if self.register(HW_CFG) & 1 << 3 != 0 {
            self.violation(format!("register {register:#x} written during the reset"));
        }
        self.registers.insert(register, value);
    }

    fn mii(&mut self, access: u32) {
        if access & 1 == 0 || access >> 11 & 0x1F != 1 {
            self.violation(format!("MII_ADDR {access:#x}"));
        }
        let register = (access >> 6 & 0x1F) as u16;
        if access & 1 << 1 != 0 {
            self.phy_write(register, self.register(0x118) as u16);
        } else {
            let resetting = self.wait.entry(0xFFFF).or_default();
            if *resetting > 0 {
                *resetting -= 1;
            } else {
                self.phy[0] &= !(1 << 15);
            }
            let value = self.phy_read(register);
            self.registers.insert(0x118, value.into());
        }
        self.wait.insert(0x114, 1);
    }
}

impl Function for Lan9500 {
    fn device_descriptor(&self) -> [u8; 18] {
        device_descriptor(0x0424, self.product, 0xFF)
    }

    fn configurations(&self) -> Vec<Vec<u8>> {
        vec![vec![
            9, 2, 39, 0, 1, 1, 0, 0xE0, 1, 9, 4, 0, 0, 3, 0xFF, 0, 0xFF, 0, 7, 5, 0x81, 2, 0, 2, 0,
            7, 5, 0x02, 2, 0, 2, 0, 7, 5, 0x83, 3, 16, 0, 4,
        ]]
    }

    fn reset(&mut self) {
        self.lite_reset();
    }

    fn control(&mut self, setup: [u8; 8], data: &[u8]) -> Option<Vec<u8>> {
        let register = u16::from_le_bytes([setup[4], setup[5]]);
        match (setup[0], setup[1], setup[6]) {
            (0x40, 0xA0, 4) => {
                self.write(register, word(data));
                Some(Vec::new())
            }
            (0xC0, 0xA1, 4) => Some(self.read(register).to_le_bytes().to_vec()),
            _ => None,
        }
    }

    fn take_in(&mut self, endpoint: u8) -> Option<Vec<u8>> {
        if endpoint != 0x81 || self.register(MAC_CR) & 1 << 2 == 0 {
            return None;
        }
        if let Some(raw) = self.raw.pop_front() {
            return Some(raw);
        }
        let cap = self.register(0x38) as usize * 512;
        let mut burst: Vec<u8> = Vec::new();
        while let Some(next) = self.received.front() {
            let begin = burst.len().next_multiple_of(4);
            if begin + next.len() > cap {
                break;
            }
            // Padded before the next, not after the last.
            burst.resize(begin, 0);
            burst.extend(self.received.pop_front().expect("it is in front"));
        }
        (!burst.is_empty()).then_some(burst)
    }

    fn put_out(&mut self, endpoint: u8, data: &[u8]) -> bool {
        if self.transmitter_stuck {
            return false;
        }
        let on = self.register(MAC_CR) & 1 << 3 != 0 && self.register(0x10) & 1 << 2 != 0;
        if endpoint != 2 || !on {
            self.violation("frame sent to a transmitter that is off");
        }
        let (header, frame) = data.split_at(8);
        let (a, b) = (word(&header[..4]), word(&header[4..]));
        // First and last segment, no offset, and the length twice.
        if a != 0x3000 | frame.len() as u32 || b != frame.len() as u32 {
            self.violation(format!("TX_CMD {a:#x} {b:#x} for {} bytes", frame.len()));
        }
        self.sent.push(frame.to_vec());
        true
    }
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(bytes.try_into().expect("four bytes"))
}
