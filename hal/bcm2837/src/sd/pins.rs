//! The six pins of the primary SD interface, led to the Arasan controller.

use core::ops::RangeInclusive;

use crate::Bus;
use crate::gpio::{Function, Gpio, Pull};

/// Clock, command, four of data. The CM3's eMMC is wired to them, the CM3L's
/// slot too.
const PINS: RangeInclusive<u8> = 48..=53;
/// The controller always drives it.
const CLOCK: u8 = 48;

/// Leads GPIO 48–53 to the Arasan controller.
pub fn route_pins<B: Bus>(gpio: &mut Gpio<B>) {
    for pin in PINS {
        gpio.set_function(pin, Function::Alt3);
        let pull = if pin == CLOCK { Pull::Off } else { Pull::Up };
        gpio.set_pull(pin, pull);
    }
}
