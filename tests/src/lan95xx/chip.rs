//! The chip as its driver sees it: registers and what they do, without a socket.

mod usb;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::fault::{Fault, Faults};
use super::phy::{self, Mode, Phy};
use super::registers::{
    Access, BURST_CAP, E2P_BUSY, E2P_CMD, E2P_TIMEOUT, HW_CFG, HW_CFG_BCE, HW_CFG_BIR, HW_CFG_LRST,
    HW_CFG_MEF, HW_CFG_RXDOFF, HW_CFG_SRST, INT_PHY, INT_RXDF, INT_STS, MAC_CR, MAC_CR_MCPAS,
    MAC_CR_PRMS, MAC_CR_RXALL, MAC_CR_RXEN, MAC_CR_TXEN, MII_ADDR, MII_BUSY, MII_DATA, MII_WRITE,
    PM_CTRL, PM_CTRL_PHY_RST, PM_CTRL_WUPS, RX_CFG, RX_CFG_FLUSH, RX_FIFO_INF, Registers, TX_CFG,
    TX_CFG_FLUSH, TX_CFG_ON, TX_CFG_STOP, access,
};
use super::rx::{LEAST_CAP, Received, Receiver};
use super::tx::Deframer;
use super::{Counters, Options, Violation};
use crate::usbredir::{Setup, Status};

/// Vendor requests.
const WRITE_REGISTER: u8 = 0xA0;
const READ_REGISTER: u8 = 0xA1;
/// How long a reset takes at least.
const RESET_TIME: Duration = Duration::from_millis(1);
/// 64 bits at 2.5 MHz (IEEE 802.3 §22.2.4).
const MII_TIME: Duration = Duration::from_micros(26);
/// Different violations kept; one mistake may repeat with every frame.
const MAX_VIOLATIONS: usize = 100;

/// Something that a register shows as unfinished.
#[derive(Debug, Clone, Copy)]
struct Unfinished {
    /// Not before this time,
    until: Instant,
    /// and not before it was read so often: a driver that does not look must
    /// not pass because the lab is slow.
    reads: u32,
}

impl Unfinished {
    fn new(now: Instant, time: Duration, reads: Option<u32>) -> Option<Self> {
        Some(Self {
            until: now + time,
            reads: reads.unwrap_or(1),
        })
    }

    /// Whether it is over, as a driver that reads now sees it.
    fn look(this: &mut Option<Self>, now: Instant) -> bool {
        match this {
            Some(Self { reads, .. }) if *reads > 0 => {
                *reads -= 1;
                false
            }
            Some(Self { until, .. }) if now < *until => false,
            _ => {
                *this = None;
                true
            }
        }
    }
}

/// Where frames from the driver go.
pub type Wire = Box<dyn FnMut(&[u8]) + Send>;

/// The Ethernet function 0424:ec00.
pub struct Chip {
    options: Options,
    wire: Wire,
    configuration: u8,
    registers: Registers,
    phy: Phy,
    reset: Option<Unfinished>,
    phy_reset: Option<Unfinished>,
    mii: Option<Unfinished>,
    receiver: Receiver,
    deframer: Deframer,
    /// What is left of the burst that is being read.
    burst: Vec<u8>,
    /// The burst ended on a full packet: so many empty ones follow.
    owes_empty: u8,
    halted: BTreeSet<u8>,
    /// The interrupt status that was told last.
    told: u32,
    linked_since: Option<Instant>,
    faults: Faults,
    violations: Vec<Violation>,
    counters: Counters,
}

impl Chip {
    /// A chip after power-on. What its driver sends goes to `wire`.
    pub fn new(now: Instant, options: Options, wire: Wire) -> Self {
        Self {
            options,
            wire,
            configuration: 0,
            registers: Registers::new(),
            phy: Phy::new(now, options.partner, options.negotiation),
            reset: None,
            phy_reset: None,
            mii: None,
            receiver: Receiver::default(),
            deframer: Deframer::default(),
            burst: Vec::new(),
            owes_empty: 0,
            halted: BTreeSet::new(),
            told: 0,
            linked_since: None,
            faults: Faults::default(),
            violations: Vec::new(),
            counters: Counters::default(),
        }
    }

    /// A frame arrives from the wire.
    pub fn receive(&mut self, now: Instant, frame: &[u8]) {
        self.advance(now);
        if self.phy.link().is_none() || !self.registers.has(MAC_CR, MAC_CR_RXEN) {
            self.counters.rx_unheard += 1;
            return;
        }
        let received = self
            .receiver
            .frame(frame, &self.registers, &mut self.faults);
        match received {
            Received::Queued => self.counters.rx_frames += 1,
            Received::Filtered => self.counters.rx_unheard += 1,
            Received::Discarded => self.counters.rx_dropped += 1,
            Received::Overflow => {
                self.counters.rx_dropped += 1;
                self.raise(INT_RXDF);
            }
        }
    }

    /// Lets time pass: negotiations end.
    pub fn advance(&mut self, now: Instant) {
        self.phy.advance(now);
        match (self.phy.link(), self.linked_since) {
            (Some(_), None) => self.linked_since = Some(now),
            (None, Some(_)) => self.linked_since = None,
            _ => {}
        }
    }

    /// Puts the cable in or pulls it.
    pub fn plug_cable(&mut self, now: Instant, cable: bool) {
        self.phy.plug(now, cable);
        self.advance(now);
    }

    /// The link, if it is up.
    pub fn link(&self) -> Option<Mode> {
        self.phy.link()
    }

    /// The MAC address that the driver has set.
    pub fn mac(&self) -> [u8; 6] {
        self.registers.mac()
    }

    /// Whether the driver has receiver and transmitter on.
    pub fn is_running(&self) -> bool {
        self.registers.has(MAC_CR, MAC_CR_RXEN | MAC_CR_TXEN)
            && self.registers.has(TX_CFG, TX_CFG_ON)
    }

    /// A register's value, without what reading it does.
    pub fn register(&self, index: u16) -> u32 {
        self.registers.get(index)
    }

    /// What the driver has done wrong so far, each mistake once.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// What has moved so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    /// Orders a fault.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// How many ordered faults have not hit yet.
    pub fn faults_left(&self) -> usize {
        self.faults.left()
    }

    fn report(&mut self, violation: Violation) {
        if self.violations.len() < MAX_VIOLATIONS && !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }

    fn raise(&mut self, bits: u32) {
        let raised = self.registers.get(INT_STS) | bits;
        self.registers.set(INT_STS, raised);
    }

    /// The interrupt status; the PHY's bit follows the PHY.
    fn interrupt_status(&self) -> u32 {
        let phy = if self.phy.interrupts() { INT_PHY } else { 0 };
        self.registers.get(INT_STS) | phy
    }

    /// Everything but USB and PHY starts anew (`LRST`).
    fn lite_reset(&mut self) {
        self.registers = Registers::new();
        self.receiver.flush();
        self.deframer.flush();
        self.burst.clear();
        self.owes_empty = 0;
        self.halted.clear();
        self.mii = None;
        self.told = 0;
    }

    fn read_register(&mut self, now: Instant, index: u16) -> u32 {
        self.check_reset(index, index == HW_CFG);
        match index {
            HW_CFG => {
                let over = Unfinished::look(&mut self.reset, now);
                self.registers.get(HW_CFG) | if over { 0 } else { HW_CFG_LRST }
            }
            PM_CTRL => {
                let over = Unfinished::look(&mut self.phy_reset, now);
                self.registers.get(PM_CTRL) | if over { 0 } else { PM_CTRL_PHY_RST }
            }
            INT_STS => self.interrupt_status(),
            RX_FIFO_INF => self.receiver.used() as u32,
            MII_ADDR => {
                let over = Unfinished::look(&mut self.mii, now);
                self.registers.get(MII_ADDR) & !MII_BUSY | if over { 0 } else { MII_BUSY }
            }
            MII_DATA => {
                self.check_mii(index);
                self.registers.get(index)
            }
            _ => {
                if access(index).is_none() {
                    self.report(Violation::UnknownRegister(index));
                    return 0;
                }
                self.registers.get(index)
            }
        }
    }

    fn write_register(&mut self, now: Instant, index: u16, value: u32) {
        self.check_reset(index, false);
        match access(index) {
            None => return self.report(Violation::UnknownRegister(index)),
            Some(Access::ReadOnly) => return self.report(Violation::ReadOnly(index)),
            Some(Access::ReadWrite) => {}
        }
        let before = self.registers.get(index);
        match index {
            HW_CFG => self.configure_hardware(now, before, value),
            PM_CTRL => self.power(now, before, value),
            INT_STS => self.registers.set(INT_STS, before & !value),
            RX_CFG => {
                if value & RX_CFG_FLUSH != 0 {
                    self.receiver.flush();
                }
                self.registers.set(RX_CFG, value & !RX_CFG_FLUSH);
            }
            TX_CFG => self.configure_transmitter(value),
            E2P_CMD => {
                // No EEPROM answers, ever.
                let timeout = if value & E2P_BUSY != 0 {
                    E2P_TIMEOUT
                } else {
                    0
                };
                self.registers.set(E2P_CMD, value & !E2P_BUSY | timeout);
            }
            BURST_CAP => {
                if before != value {
                    self.check_running(index);
                }
                self.registers.set(BURST_CAP, value & 0xFF);
            }
            MAC_CR => self.configure_mac(before, value),
            MII_ADDR => self.access_phy(now, value),
            MII_DATA => {
                self.check_mii(index);
                self.registers.set(MII_DATA, value & 0xFFFF);
            }
            _ => self.registers.set(index, value),
        }
    }

    fn configure_hardware(&mut self, now: Instant, before: u32, value: u32) {
        if value & HW_CFG_SRST != 0 {
            return self.report(Violation::SoftReset);
        }
        if value & HW_CFG_LRST != 0 {
            self.lite_reset();
            let reads = self.faults.take(|fault| match fault {
                Fault::SlowReset(reads) => Some(reads),
                _ => None,
            });
            self.reset = Unfinished::new(now, RESET_TIME, reads);
            return;
        }
        let framing = HW_CFG_MEF | HW_CFG_BCE | HW_CFG_BIR | HW_CFG_RXDOFF;
        if (before ^ value) & framing != 0 {
            self.check_running(HW_CFG);
        }
        self.registers.set(HW_CFG, value);
    }

    fn power(&mut self, now: Instant, before: u32, value: u32) {
        if value & PM_CTRL_PHY_RST != 0 {
            self.phy.reset(now);
            self.phy_reset = Unfinished::new(now, RESET_TIME, None);
            self.advance(now);
        }
        let status = before & PM_CTRL_WUPS & !value;
        let kept = value & !(PM_CTRL_PHY_RST | PM_CTRL_WUPS);
        self.registers.set(PM_CTRL, kept | status);
    }

    fn configure_transmitter(&mut self, value: u32) {
        if value & TX_CFG_FLUSH != 0 {
            self.deframer.flush();
        }
        let on = value & TX_CFG_ON != 0 && value & TX_CFG_STOP == 0;
        if on && !self.registers.has(MAC_CR, MAC_CR_TXEN) {
            self.report(Violation::TransmitterOrder);
        }
        self.registers.set(TX_CFG, if on { TX_CFG_ON } else { 0 });
    }

    fn configure_mac(&mut self, before: u32, value: u32) {
        if value & !before & MAC_CR_RXEN != 0 {
            let listens_to_all = value & (MAC_CR_PRMS | MAC_CR_MCPAS | MAC_CR_RXALL) != 0;
            if self.registers.mac() == [0xFF; 6] && !listens_to_all {
                self.report(Violation::NoAddress);
            }
            let cap = self.registers.get(BURST_CAP);
            if self.registers.has(HW_CFG, HW_CFG_BCE) && cap < LEAST_CAP {
                self.report(Violation::BurstCap(cap));
            }
        }
        self.registers.set(MAC_CR, value);
    }

    /// Begins an access to a PHY; address 1 is the only one that answers.
    fn access_phy(&mut self, now: Instant, value: u32) {
        self.check_mii(MII_ADDR);
        self.registers.set(MII_ADDR, value);
        if value & MII_BUSY == 0 {
            return;
        }
        if self.phy_reset.is_some() {
            self.report(Violation::DuringReset(MII_ADDR));
        }
        let register = (value >> 6 & 0x1F) as u8;
        let present = value >> 11 & 0x1F == phy::ADDRESS;
        if value & MII_WRITE == 0 {
            let read = if present {
                self.phy.read(register)
            } else {
                0xFFFF
            };
            self.registers.set(MII_DATA, read.into());
        } else if present {
            let data = self.registers.get(MII_DATA) as u16;
            self.phy.write(now, register, data);
            self.advance(now);
        }
        let reads = self.faults.take(|fault| match fault {
            Fault::SlowMii(reads) => Some(reads),
            _ => None,
        });
        self.mii = Unfinished::new(now, MII_TIME, reads);
    }

    fn check_reset(&mut self, index: u16, polls: bool) {
        if self.reset.is_some() && !polls {
            self.report(Violation::DuringReset(index));
        }
    }

    fn check_mii(&mut self, index: u16) {
        if self.mii.is_some() {
            self.report(Violation::MiiBusy(index));
        }
    }

    fn check_running(&mut self, index: u16) {
        if self.registers.get(MAC_CR) & (MAC_CR_RXEN | MAC_CR_TXEN) != 0 {
            self.report(Violation::WhileRunning(index));
        }
    }

    fn register_request(
        &mut self,
        now: Instant,
        setup: Setup,
        data: &[u8],
    ) -> Result<Vec<u8>, Status> {
        let failure = self.faults.take(|fault| match fault {
            Fault::Register(status) => Some(status),
            _ => None,
        });
        if let Some(status) = failure {
            return Err(status);
        }
        let Setup { value, length, .. } = setup;
        if length != 4 || value != 0 {
            self.report(Violation::RegisterRequest { length, value });
            return Err(Status::Stall);
        }
        if setup.request == READ_REGISTER {
            let value = self.read_register(now, setup.index);
            return Ok(value.to_le_bytes().to_vec());
        }
        let bytes = <[u8; 4]>::try_from(data).map_err(|_| Status::Stall)?;
        self.write_register(now, setup.index, u32::from_le_bytes(bytes));
        Ok(Vec::new())
    }
}

impl std::fmt::Debug for Chip {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chip")
            .field("configuration", &self.configuration)
            .field("link", &self.phy.link())
            .field("counters", &self.counters)
            .field("violations", &self.violations)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
