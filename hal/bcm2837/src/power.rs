//! The power manager: a countdown to a reset, and resets at once. The manual
//! leaves it out; the registers are as the Pi's own software uses them.
//!
//! QEMU resets as soon as a countdown is started, so an emulated board must not
//! start one.

use crate::Bus;

const RSTC: usize = 0x1C;
const RSTS: usize = 0x20;
const WDOG: usize = 0x24;

/// Goes with every write; others are ignored.
const PASSWORD: u32 = 0x5A00_0000;
/// The bits that the password leaves.
const VALUE: u32 = 0x00FF_FFFF;
const RSTC_CONFIG: u32 = 0b11 << 4;
const RSTC_FULL_RESET: u32 = 0b10 << 4;
/// What [`RSTC`] holds while nothing counts down.
const RSTC_OFF: u32 = 0x102;
/// The partition that the boot ROM is to boot, in every second bit.
const RSTS_PARTITION: u32 = 0x555;
/// A countdown ended: in a full, hard or quick reset.
const RSTS_BY_WATCHDOG: u32 = 0b111 << 4;

/// The counter runs at 65,536 Hz.
const TICKS_PER_SECOND: u32 = 1 << 16;
const TICKS_MAX: u32 = 0xF_FFFF;
/// About 150 µs.
const AT_ONCE: u32 = 10;

/// The power manager, by the block at 0x3F10_0000.
#[derive(Debug)]
pub struct Power<B>(B);

impl<B: Bus> Power<B> {
    /// It as it is.
    pub const fn new(bus: B) -> Self {
        Self(bus)
    }

    /// Resets the chip in `seconds`, at most 15, unless called again.
    pub fn reset_in(&mut self, seconds: u32) {
        self.count_down(seconds.saturating_mul(TICKS_PER_SECOND).min(TICKS_MAX));
    }

    /// Stops the countdown.
    pub fn stop(&mut self) {
        self.0.write(RSTC, PASSWORD | RSTC_OFF);
        self.0.barrier();
    }

    /// Resets the chip; it boots as after power-on.
    pub fn reset(&mut self) {
        self.0.barrier();
        let status = self.0.read(RSTS) & VALUE & !RSTS_PARTITION;
        self.0.write(RSTS, PASSWORD | status);
        self.count_down(AT_ONCE);
    }

    /// Whether the chip was last reset by a countdown, be it through
    /// [`reset`](Self::reset).
    pub fn has_reset(&self) -> bool {
        self.0.read(RSTS) & RSTS_BY_WATCHDOG != 0
    }

    fn count_down(&mut self, ticks: u32) {
        self.0.write(WDOG, PASSWORD | ticks);
        let control = self.0.read(RSTC) & VALUE & !RSTC_CONFIG;
        self.0.write(RSTC, PASSWORD | control | RSTC_FULL_RESET);
        self.0.barrier();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::Registers;

    #[test]
    fn every_write_has_the_password_and_the_time_fits() {
        for (seconds, ticks) in [
            (1, 0x1_0000),
            (15, 0xF_0000),
            (16, 0xF_FFFF),
            (u32::MAX, 0xF_FFFF),
        ] {
            let registers = Registers::new();
            registers.write(RSTC, 0x102);
            let mut power = Power::new(&registers);
            power.reset_in(seconds);
            let writes = registers.writes();
            assert_eq!(
                writes[1..],
                [(WDOG, PASSWORD | ticks), (RSTC, PASSWORD | 0x122)]
            );
        }
    }

    #[test]
    fn a_countdown_can_be_stopped() {
        let registers = Registers::new();
        let mut power = Power::new(&registers);
        power.reset_in(15);
        power.stop();
        assert_eq!(registers.read(RSTC) & RSTC_CONFIG, 0);
        assert_eq!(registers.read(RSTC) & !VALUE, PASSWORD);
    }

    #[test]
    fn a_reset_boots_the_usual_partition() {
        let registers = Registers::new();
        registers.write(RSTS, 0x1000 | RSTS_PARTITION);
        Power::new(&registers).reset();
        let writes = registers.writes();
        assert_eq!(writes[1], (RSTS, PASSWORD | 0x1000));
        assert_eq!(writes[3], (RSTC, PASSWORD | 0x20));
    }

    #[test]
    fn the_cause_of_the_last_reset_is_known() {
        let registers = Registers::new();
        let power = Power::new(&registers);
        registers.write(RSTS, 0x1000);
        assert!(!power.has_reset());
        registers.write(RSTS, 0x1020);
        assert!(power.has_reset());
    }
}
