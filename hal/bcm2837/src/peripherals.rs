//! Where the chip's register blocks lie, as the ARM sees them (BCM2835 ARM
//! Peripherals §1.2.3, with the BCM2837's base).

use core::ops::Range;

/// All peripherals, and behind them those of the cores.
pub(crate) const ALL: Range<usize> = 0x3F00_0000..0x4020_0000;

pub(crate) const INTERRUPTS: usize = 0x3F00_B200;
pub(crate) const MAILBOX: usize = 0x3F00_B880;
pub(crate) const POWER: usize = 0x3F10_0000;
pub(crate) const RNG: usize = 0x3F10_4000;
pub(crate) const GPIO: usize = 0x3F20_0000;
pub(crate) const PL011: usize = 0x3F20_1000;
pub(crate) const SDHOST: usize = 0x3F20_2000;
pub(crate) const AUX: usize = 0x3F21_5000;
pub(crate) const ARASAN: usize = 0x3F30_0000;
pub(crate) const USB: usize = 0x3F98_0000;
pub(crate) const LOCAL: usize = 0x4000_0000;
