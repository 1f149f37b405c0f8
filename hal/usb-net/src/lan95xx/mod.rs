//! The LAN95xx family: 10/100 Mbit/s MAC and PHY at high speed, in the
//! LAN9512 and LAN9514 together with the hub of a Raspberry Pi's ports.
//!
//! - `registers`: which there are,
//! - `chip`: reset, initialisation, PHY,
//! - `framing`: command and status words around frames.
//!
//! The link is looked at through the PHY's status register, ten times a
//! second while it is down and once while it is up. The interrupt endpoint
//! would tell sooner, but occupies a channel of the controller, and a request
//! on it that would have to be given up when the device goes.

mod chip;
mod framing;
pub(crate) mod registers;

use embassy_time::{Duration, Timer};
use embassy_usb_driver::Speed;
use embassy_usb_driver::host::{PipeError, UsbPipe, pipe};

pub use chip::ChipError;
pub(crate) use framing::{Lan95xxFraming, TX_HEADER};
pub use registers::Register;

use crate::control::Control;
use crate::counters::Counters;
use crate::event::{Link, StartError, Why};
use chip::Chip;

/// idVendor of SMSC, now Microchip.
pub const VENDOR: u16 = 0x0424;

/// idProduct of those with this register set and the PHY inside: LAN9500 and
/// 9505, LAN9530, LAN9730, LAN9500A and 9505A, LAN89530, and the Ethernet
/// function of LAN9512 and LAN9514. 0x99xx are the same chips whose EEPROM
/// says SAL10.
const PRODUCTS: [u16; 14] = [
    0x9500, 0x9505, 0x9530, 0x9730, 0x9900, 0x9901, 0x9902, 0x9903, 0x9904, 0x9906, 0x9E00, 0x9E01,
    0x9E08, 0xEC00,
];

/// Between two looks at the link.
const LOOK_WHILE_DOWN: Duration = Duration::from_millis(100);
const LOOK_WHILE_UP: Duration = Duration::from_secs(1);

/// Failed looks in a row before the chip is started again.
const FAILED_LOOKS: u32 = 3;

/// Whether this driver serves it.
pub(crate) fn is_one(vendor: u16, product: u16) -> bool {
    vendor == VENDOR && PRODUCTS.contains(&product)
}

/// A chip that was found.
pub(crate) struct Lan95xx<P> {
    chip: Chip<P>,
    speed: Speed,
}

impl<P: UsbPipe<pipe::Control, pipe::InOut>> Lan95xx<P> {
    pub(crate) const fn new(control: Control<P>, speed: Speed) -> Self {
        Self {
            chip: Chip::new(control),
            speed,
        }
    }

    pub(crate) const fn control(&self) -> &Control<P> {
        self.chip.control()
    }

    /// Initialises the chip; returns the address it answers to.
    pub(crate) async fn start(&self, mac: Option<[u8; 6]>) -> Result<[u8; 6], StartError> {
        let (mac, _id) = self
            .chip
            .start(mac, self.speed)
            .await
            .map_err(StartError::Chip)?;
        Ok(mac)
    }

    /// Watches the link until the chip needs help; `changed` is told what
    /// became of it.
    pub(crate) async fn watch(
        &self,
        counters: &Counters,
        mut changed: impl FnMut(Option<Link>),
    ) -> Why {
        let mut known = None;
        let mut failures = 0;
        loop {
            match self.look(known, counters).await {
                Ok(link) => {
                    failures = 0;
                    if link != known {
                        known = link;
                        changed(link);
                    }
                }
                Err(ChipError::Usb(_, PipeError::Disconnected)) => return Why::Gone,
                Err(error) => {
                    counters.usb_errors.add();
                    failures += 1;
                    if failures == FAILED_LOOKS {
                        return Why::Start(StartError::Chip(error));
                    }
                }
            }
            let up = known.is_some() && failures == 0;
            Timer::after(if up { LOOK_WHILE_UP } else { LOOK_WHILE_DOWN }).await;
        }
    }

    /// The link now; if it is another than `known`, the MAC has followed it.
    async fn look(
        &self,
        known: Option<Link>,
        counters: &Counters,
    ) -> Result<Option<Link>, ChipError> {
        if self.chip.overran().await? {
            counters.rx_overruns.add();
        }
        let link = self.chip.link(known.is_some()).await?;
        if let Some(link) = link
            && Some(link) != known
        {
            self.chip.follow(link.full_duplex == Some(true)).await?;
        }
        Ok(link)
    }
}
