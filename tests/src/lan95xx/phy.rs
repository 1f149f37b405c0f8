//! The PHY inside the chip: MII registers, autonegotiation, interrupts.

use std::time::{Duration, Instant};

/// Its address on the MII.
pub(super) const ADDRESS: u32 = 1;

/// Basic control.
pub(super) const BMCR: u8 = 0;
/// Basic status.
pub(super) const BMSR: u8 = 1;
const ID1: u8 = 2;
const ID2: u8 = 3;
/// What we can do.
pub(super) const ADVERTISE: u8 = 4;
const PARTNER: u8 = 5;
const EXPANSION: u8 = 6;
const MODE_CONTROL: u8 = 17;
const SPECIAL_MODES: u8 = 18;
/// Interrupt sources; reading clears.
pub(super) const INTERRUPT_SOURCE: u8 = 29;
/// Interrupts that reach the chip.
pub(super) const INTERRUPT_MASK: u8 = 30;
/// Speed and duplex.
pub(super) const SPECIAL_STATUS: u8 = 31;

const BMCR_RESET: u16 = 0x8000;
const BMCR_SPEED_100: u16 = 0x2000;
const BMCR_NEGOTIATE: u16 = 0x1000;
const BMCR_POWER_DOWN: u16 = 0x0800;
const BMCR_RESTART: u16 = 0x0200;
const BMCR_FULL: u16 = 0x0100;
/// 10 and 100 Mbit/s, half and full; negotiation; extended registers.
const BMSR_ABILITIES: u16 = 0x7809;
const BMSR_NEGOTIATED: u16 = 0x0020;
const BMSR_LINK: u16 = 0x0004;
/// Power is on the line (`MODE_CONTROL`).
const ENERGY_ON: u16 = 0x0002;
const INTERRUPT_ENERGY: u16 = 0x80;
const INTERRUPT_NEGOTIATED: u16 = 0x40;
const INTERRUPT_LINK_DOWN: u16 = 0x10;
/// The abilities among the bits of `ADVERTISE` and `PARTNER`, best first.
const MODES: [(u16, Mode); 4] = [
    (0x0100, Mode::new(100, true)),
    (0x0080, Mode::new(100, false)),
    (0x0040, Mode::new(10, true)),
    (0x0020, Mode::new(10, false)),
];

/// A link's speed and duplex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mode {
    /// Mbit/s.
    pub speed: u8,
    /// Full duplex.
    pub full: bool,
}

impl Mode {
    const fn new(speed: u8, full: bool) -> Self {
        Self { speed, full }
    }
}

/// The PHY and the cable in it.
#[derive(Debug)]
pub(super) struct Phy {
    registers: [u16; 32],
    /// What the other end of the cable can do, as it says in negotiation.
    partner: u16,
    /// How long a negotiation takes.
    takes: Duration,
    cable: bool,
    link: Option<Mode>,
    /// The link has been down since `BMSR` was last read.
    was_down: bool,
    /// When the negotiation that goes on will be over.
    over_at: Option<Instant>,
}

impl Phy {
    /// A PHY after power-on, with a cable to a partner (`PARTNER`'s bits).
    #[must_use]
    pub(super) fn new(now: Instant, partner: u16, takes: Duration) -> Self {
        let mut phy = Self {
            registers: [0; 32],
            partner,
            takes,
            cable: true,
            link: None,
            was_down: true,
            over_at: None,
        };
        phy.reset(now);
        phy
    }

    /// Registers as after power-on; the cable stays.
    pub(super) fn reset(&mut self, now: Instant) {
        self.registers = [0; 32];
        self.set(BMCR, BMCR_SPEED_100 | BMCR_NEGOTIATE | BMCR_FULL);
        self.set(ID1, 0x0007);
        self.set(ID2, 0xC0C3);
        self.set(ADVERTISE, 0x01E1);
        // Every mode, and its address.
        self.set(SPECIAL_MODES, 0x00E1);
        self.lose_link();
        self.set(INTERRUPT_SOURCE, 0);
        self.start(now);
    }

    /// The link, if it is up.
    #[must_use]
    pub(super) fn link(&self) -> Option<Mode> {
        self.link
    }

    /// Puts the cable in or pulls it.
    pub(super) fn plug(&mut self, now: Instant, cable: bool) {
        if self.cable == cable {
            return;
        }
        self.cable = cable;
        if cable {
            self.raise(INTERRUPT_ENERGY);
            self.start(now);
        } else {
            self.over_at = None;
            self.lose_link();
        }
    }

    /// Lets time pass.
    pub(super) fn advance(&mut self, now: Instant) {
        if self.over_at.is_some_and(|at| now >= at) {
            self.over_at = None;
            self.finish();
        }
    }

    /// Whether an interrupt that is not masked is asserted.
    #[must_use]
    pub(super) fn interrupts(&self) -> bool {
        self.get(INTERRUPT_SOURCE) & self.get(INTERRUPT_MASK) != 0
    }

    /// Reads a register, with what reading does.
    pub(super) fn read(&mut self, register: u8) -> u16 {
        match register {
            BMSR => {
                let link = self.link.is_some();
                // Low until it is read: a link that was lost shows once.
                let shown = link && !self.was_down;
                self.was_down = !link;
                let negotiated = link && self.get(BMCR) & BMCR_NEGOTIATE != 0;
                BMSR_ABILITIES
                    | if shown { BMSR_LINK } else { 0 }
                    | if negotiated { BMSR_NEGOTIATED } else { 0 }
            }
            MODE_CONTROL => {
                let energy = if self.cable { ENERGY_ON } else { 0 };
                self.get(MODE_CONTROL) & !ENERGY_ON | energy
            }
            INTERRUPT_SOURCE => {
                let source = self.get(INTERRUPT_SOURCE);
                self.set(INTERRUPT_SOURCE, 0);
                source
            }
            SPECIAL_STATUS => match self.link {
                // Negotiated, and the mode.
                Some(mode) => {
                    let speed = if mode.speed == 100 { 0x08 } else { 0x04 };
                    let duplex = if mode.full { 0x10 } else { 0 };
                    0x1000 | speed | duplex
                }
                None => 0,
            },
            _ => self.get(register),
        }
    }

    /// Writes a register, with what writing does.
    pub(super) fn write(&mut self, now: Instant, register: u8, value: u16) {
        match register {
            BMCR if value & BMCR_RESET != 0 => self.reset(now),
            BMCR => {
                let before = self.get(BMCR);
                // Restart is done at once and reads 0.
                self.set(BMCR, value & !BMCR_RESTART);
                let matters = BMCR_SPEED_100 | BMCR_NEGOTIATE | BMCR_POWER_DOWN | BMCR_FULL;
                let restart = value & BMCR_RESTART != 0 && value & BMCR_NEGOTIATE != 0;
                if restart || (before ^ value) & matters != 0 {
                    self.lose_link();
                    self.start(now);
                }
            }
            BMSR | ID1 | ID2 | PARTNER | EXPANSION | INTERRUPT_SOURCE | SPECIAL_STATUS => {}
            _ => self.set(register, value),
        }
    }

    /// Begins to look for a link, if there can be one.
    fn start(&mut self, now: Instant) {
        let powered = self.get(BMCR) & BMCR_POWER_DOWN == 0;
        self.over_at = (self.cable && powered).then(|| now + self.takes);
    }

    /// What came of it.
    fn finish(&mut self) {
        let control = self.get(BMCR);
        if control & BMCR_NEGOTIATE == 0 {
            // Without negotiation the mode is what was set, if it works at all.
            let speed = if control & BMCR_SPEED_100 == 0 {
                10
            } else {
                100
            };
            let mode = Mode::new(speed, control & BMCR_FULL != 0);
            let works = MODES
                .iter()
                .any(|(bit, known)| self.partner & bit != 0 && known.speed == mode.speed);
            self.link = works.then_some(mode);
            return;
        }
        let common = self.get(ADVERTISE) & self.partner;
        let best = MODES.iter().find(|(bit, _)| common & bit != 0);
        if let Some((_, mode)) = best {
            self.link = Some(*mode);
            // The partner has acknowledged our page.
            self.set(PARTNER, self.partner | 0x4000);
            self.set(EXPANSION, 0x0001);
            self.raise(INTERRUPT_NEGOTIATED);
        }
    }

    fn lose_link(&mut self) {
        if self.link.take().is_some() {
            self.raise(INTERRUPT_LINK_DOWN);
        }
        self.was_down = true;
        self.set(PARTNER, 0);
        self.set(EXPANSION, 0);
    }

    fn raise(&mut self, source: u16) {
        let raised = self.get(INTERRUPT_SOURCE) | source;
        self.set(INTERRUPT_SOURCE, raised);
    }

    fn get(&self, register: u8) -> u16 {
        self.registers[usize::from(register % 32)]
    }

    fn set(&mut self, register: u8, value: u16) {
        self.registers[usize::from(register % 32)] = value;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAKES: Duration = Duration::from_secs(2);
    /// 10 and 100 Mbit/s, half and full, and pause.
    const PARTNER_ABILITIES: u16 = 0x45E1;

    fn linked() -> (Phy, Instant) {
        let start = Instant::now();
        let mut phy = Phy::new(start, PARTNER_ABILITIES, TAKES);
        phy.advance(start + TAKES / 2);
        assert_eq!(phy.link(), None);
        phy.advance(start + TAKES);
        (phy, start + TAKES)
    }

    #[test]
    fn negotiation_finds_the_best_common_mode() {
        let cases = [
            (0x01E1, 0x45E1, Some(Mode::new(100, true))),
            (0x00A1, 0x45E1, Some(Mode::new(100, false))),
            (0x01E1, 0x4061, Some(Mode::new(10, true))),
            (0x0101, 0x4021, None),
        ];
        for (ours, theirs, expected) in cases {
            let now = Instant::now();
            let mut phy = Phy::new(now, theirs, TAKES);
            phy.write(now, ADVERTISE, ours);
            phy.write(now, BMCR, 0x1200);
            phy.advance(now + TAKES);
            assert_eq!(phy.link(), expected, "{ours:#x} {theirs:#x}");
            assert_eq!(phy.read(BMCR) & BMCR_RESTART, 0, "done at once");
        }
    }

    #[test]
    fn a_lost_link_shows_until_it_is_read() {
        let (mut phy, now) = linked();
        assert_eq!(phy.read(BMSR) & BMSR_LINK, 0, "down since power-on");
        assert_eq!(phy.read(BMSR), BMSR_ABILITIES | 0x24);
        phy.plug(now, false);
        phy.plug(now, true);
        phy.advance(now + TAKES);
        assert!(phy.link().is_some());
        assert_eq!(phy.read(BMSR) & BMSR_LINK, 0, "it was away for a moment");
        assert_ne!(phy.read(BMSR) & BMSR_LINK, 0);
    }

    #[test]
    fn interrupts_tell_of_the_cable() {
        let (mut phy, now) = linked();
        assert!(!phy.interrupts(), "masked");
        phy.write(now, INTERRUPT_MASK, 0xD0);
        assert!(phy.interrupts());
        assert_eq!(phy.read(INTERRUPT_SOURCE), INTERRUPT_NEGOTIATED);
        assert!(!phy.interrupts(), "read is acknowledged");
        phy.plug(now, false);
        assert_eq!(phy.read(INTERRUPT_SOURCE), INTERRUPT_LINK_DOWN);
        phy.plug(now, true);
        assert_eq!(phy.read(INTERRUPT_SOURCE), INTERRUPT_ENERGY);
    }

    #[test]
    fn modes_can_be_forced_and_power_taken() {
        let (mut phy, now) = linked();
        phy.write(now, BMCR, 0);
        phy.advance(now + TAKES);
        assert_eq!(phy.link(), Some(Mode::new(10, false)));
        assert_eq!(phy.read(SPECIAL_STATUS) & 0x1C, 0x04);
        phy.write(now, BMCR, BMCR_POWER_DOWN);
        phy.advance(now + TAKES * 2);
        assert_eq!(phy.link(), None);
        phy.write(now, BMCR, BMCR_RESET);
        phy.advance(now + TAKES * 3);
        assert_eq!(phy.link(), Some(Mode::new(100, true)));
    }
}
