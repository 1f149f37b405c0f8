//! The hardware random number generator. The manual leaves it out; the
//! registers are as the Pi's own software uses them.

use ichor_hal::Entropy;

use crate::{Bus, counter};

const CTRL: usize = 0x00;
const STATUS: usize = 0x04;
const DATA: usize = 0x08;
const INTERRUPT_MASK: usize = 0x10;

const ENABLED: u32 = 1;
/// Numbers that are thrown away after the start, since the first are not random
/// enough.
const WARM_UP: u32 = 0x4_0000;
/// Words that wait are counted from this bit of [`STATUS`] on.
const WAITING_SHIFT: u32 = 24;

/// How long a word may take; the first comes after the warm-up.
const WORD_US: u64 = 2_000_000;

/// Random numbers from noise.
#[derive(Debug)]
pub struct Rng<B> {
    bus: B,
    /// What earlier seeds leave, so that a generator that dies does not make
    /// the next ones known.
    state: u64,
    failed: bool,
}

impl<B: Bus> Rng<B> {
    /// Switches the generator on, by the block at 0x3F10_4000. It warms up
    /// until the first seed is asked for.
    pub fn new(bus: B) -> Self {
        // The boot loader may have started it already.
        if bus.read(CTRL) & ENABLED == 0 {
            bus.write(STATUS, WARM_UP);
            bus.write(CTRL, ENABLED);
        }
        bus.write(INTERRUPT_MASK, 1);
        bus.barrier();
        Self {
            bus,
            state: 0,
            failed: false,
        }
    }

    /// Whether the generator gave no number in time, once or more. Seeds are
    /// made of what there was before and of the time then; before the first
    /// good one that can be guessed.
    pub fn has_failed(&self) -> bool {
        self.failed
    }

    fn word(&mut self) -> u32 {
        // One that failed is not waited for again.
        let limit = if self.failed { 0 } else { WORD_US };
        let waits = || self.bus.read(STATUS) >> WAITING_SHIFT > 0;
        if counter::wait_until(limit, waits) {
            self.bus.read(DATA)
        } else {
            self.failed = true;
            0
        }
    }
}

impl<B: Bus> Entropy for Rng<B> {
    fn seed(&mut self) -> u64 {
        let noise = u64::from(self.word()) << 32 | u64::from(self.word());
        self.bus.barrier();
        self.state = mix(self.state ^ noise ^ counter::micros().rotate_left(40));
        self.state
    }
}

/// Spreads each bit over all (the finaliser of SplitMix64).
const fn mix(mut bits: u64) -> u64 {
    bits = bits.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ bits >> 30).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ bits >> 27).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ bits >> 31
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    /// A generator that warms up for some looks at its status, and has a
    /// limited number of words.
    struct Device {
        enabled: Cell<bool>,
        warming: Cell<u32>,
        words: Cell<u32>,
    }

    impl Bus for Device {
        fn read(&self, offset: usize) -> u32 {
            match offset {
                CTRL => u32::from(self.enabled.get()),
                STATUS if !self.enabled.get() => 0,
                STATUS if self.warming.get() > 0 => {
                    self.warming.set(self.warming.get() - 1);
                    0
                }
                STATUS => self.words.get().min(1) << WAITING_SHIFT,
                DATA => {
                    assert!(self.words.get() > 0, "there is none to read");
                    self.words.set(self.words.get() - 1);
                    0x1234_0000 | self.words.get()
                }
                _ => 0,
            }
        }

        fn write(&self, offset: usize, value: u32) {
            match offset {
                CTRL => self.enabled.set(value & ENABLED != 0),
                STATUS => assert_eq!(value, WARM_UP),
                _ => {}
            }
        }

        fn barrier(&self) {}
    }

    #[test]
    fn seeds_differ_and_wait_for_the_warm_up() {
        let mut rng = Rng::new(Device {
            enabled: Cell::new(false),
            warming: Cell::new(1000),
            words: Cell::new(4),
        });
        assert_ne!(rng.seed(), rng.seed());
        assert!(!rng.has_failed());
        assert_eq!(rng.bus.words.get(), 0);
    }

    #[test]
    fn a_dead_generator_is_told_and_waited_for_once() {
        let mut rng = Rng::new(Device {
            enabled: Cell::new(false),
            warming: Cell::new(0),
            words: Cell::new(2),
        });
        let first = rng.seed();
        assert!(!rng.has_failed());
        let second = rng.seed();
        assert!(rng.has_failed());
        let before = counter::micros();
        assert_ne!(second, rng.seed());
        assert_ne!(first, second);
        // Other tests look at the same clock, but none for this long.
        assert!(counter::micros() - before < WORD_US);
    }
}
