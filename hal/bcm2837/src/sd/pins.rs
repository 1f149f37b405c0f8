//! The six pins of the primary SD interface, led to the Arasan controller.

use crate::Bus;

/// Function select of GPIO 40–49 and 50–53, three bits a pin (BCM2835 ARM
/// Peripherals §6.1).
const GPFSEL4: usize = 0x10;
const GPFSEL5: usize = 0x14;
const ALT3: u32 = 0b111;
/// Pull-up/down control, and its clock for GPIO 32–53.
const GPPUD: usize = 0x94;
const GPPUDCLK1: usize = 0x9C;
const PULL_UP: u32 = 2;
/// CMD and DAT0–3: GPIO 49–53. The clock needs no pull.
const PULLED: u32 = 0b11_1110 << (48 - 32);

/// Leads GPIO 48–53 to the Arasan controller. `gpio` is the GPIO block at
/// 0x3F20_0000; `pause` waits for at least 150 of its clocks (1 µs is enough).
pub fn route_pins(gpio: &impl Bus, pause: impl Fn()) {
    // GPIO 48 and 49 are the pins 8 and 9 of their register.
    gpio.modify(GPFSEL4, 0, ALT3 << 24 | ALT3 << 27);
    gpio.modify(GPFSEL5, 0, ALT3 | ALT3 << 3 | ALT3 << 6 | ALT3 << 9);
    gpio.write(GPPUD, PULL_UP);
    pause();
    gpio.write(GPPUDCLK1, PULLED);
    pause();
    gpio.write(GPPUD, 0);
    gpio.write(GPPUDCLK1, 0);
    gpio.barrier();
}
