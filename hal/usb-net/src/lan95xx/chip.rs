//! A LAN95xx's registers over USB: reset, initialisation, PHY and link.

use embassy_time::{Duration, Instant, Timer};
use embassy_usb_driver::Speed;
use embassy_usb_driver::host::{PipeError, UsbPipe, pipe};

use super::registers::{self as bits, Mii, Register};
use crate::control::{Control, Request};
use crate::event::Link;

/// bRequest of a register write and read (LAN9514 data sheet §4.3.3).
const WRITE_REGISTER: u8 = 0xA0;
const READ_REGISTER: u8 = 0xA1;

/// How long a reset or an access to the PHY may take before the chip is
/// taken for dead. Resets take a few milliseconds.
const READY: Duration = Duration::from_secs(1);
/// Between two looks; each look is a control transfer of some 100 µs anyway.
const LOOK: Duration = Duration::from_millis(1);

/// Longest burst, as [`Register::BurstCap`] wants it: in packets. Together
/// they must fit into [`crate::BURST`].
const HIGH_SPEED_BURST: u32 = 37;
const FULL_SPEED_BURST: u32 = 128;
const _: () = assert!(HIGH_SPEED_BURST as usize * 512 <= crate::BURST);
const _: () = assert!(FULL_SPEED_BURST as usize * 64 <= crate::BURST);

/// Why the chip did not do as told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum ChipError {
    /// The transfer that carries a register failed.
    Usb(Register, PipeError),
    /// A bit of this register, by which the chip says that it is done, did
    /// not clear within a second.
    Stuck(Register),
    /// The PHY did not come out of its reset within a second.
    PhyStuck,
    /// Neither the board nor an EEPROM gives the chip an address.
    NoAddress,
}

impl core::fmt::Display for ChipError {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Usb(register, error) => {
                write!(
                    f,
                    "access to LAN95xx register {register:?} failed: {error:?}"
                )
            }
            Self::Stuck(register) => {
                write!(f, "LAN95xx register {register:?} stayed busy for a second")
            }
            Self::PhyStuck => f.write_str("the LAN95xx PHY stayed in reset for a second"),
            Self::NoAddress => f.write_str(
                "the LAN95xx has no EEPROM with a MAC address, and the board gives none",
            ),
        }
    }
}

/// The chip behind its control endpoint.
pub(super) struct Chip<P> {
    control: Control<P>,
}

impl<P: UsbPipe<pipe::Control, pipe::InOut>> Chip<P> {
    pub(super) const fn new(control: Control<P>) -> Self {
        Self { control }
    }

    pub(super) const fn control(&self) -> &Control<P> {
        &self.control
    }

    /// Resets chip and PHY and makes it send and receive. Autonegotiation is
    /// begun, not waited for. Without `mac` the chip's EEPROM must have one.
    ///
    /// Returns the address it answers to and the chip's identity
    /// ([`Register::IdRev`]).
    pub(super) async fn start(
        &self,
        mac: Option<[u8; 6]>,
        speed: Speed,
    ) -> Result<([u8; 6], u32), ChipError> {
        let id = self.read(Register::IdRev).await?;
        self.reset(Register::HwCfg, bits::LITE_RESET).await?;
        self.reset(Register::PmCtrl, bits::PHY_RESET).await?;

        // The reset has cleared the address, or loaded it from an EEPROM.
        let mac = match mac {
            Some(mac) => {
                self.set_address(mac).await?;
                mac
            }
            None => self.address().await?.ok_or(ChipError::NoAddress)?,
        };

        self.modify(Register::HwCfg, 0, bits::BULK_IN_NAK).await?;
        let burst = match speed {
            Speed::High => HIGH_SPEED_BURST,
            Speed::Full | Speed::Low => FULL_SPEED_BURST,
        };
        self.write(Register::BurstCap, burst).await?;
        self.write(Register::BulkInDly, bits::BURST_DELAY).await?;
        let bursts = bits::MULTIPLE_FRAMES | bits::BURST_CAP_ENABLE;
        self.modify(Register::HwCfg, bits::RX_DATA_OFFSET, bursts)
            .await?;

        self.write(Register::IntSts, u32::MAX).await?;
        // The link is polled; see the module `lan95xx`.
        self.write(Register::IntEpCtl, 0).await?;
        self.write(Register::LedGpioCfg, bits::LEDS).await?;
        self.write(Register::Flow, 0).await?;
        self.write(Register::AfcCfg, bits::FLOW_CONTROL).await?;
        self.write(Register::Vlan1, 0x8100).await?;
        // The stack computes and checks checksums itself.
        self.write(Register::CoeCr, 0).await?;

        self.start_phy().await?;

        self.modify(
            Register::MacCr,
            bits::OTHER_FILTERS,
            bits::ALL_MULTICAST | bits::TX_ENABLE,
        )
        .await?;
        self.write(Register::TxCfg, bits::TX_ON).await?;
        // Last, so that the first frame meets a chip that is set up.
        self.modify(Register::MacCr, 0, bits::RX_ENABLE).await?;
        Ok((mac, id))
    }

    async fn start_phy(&self) -> Result<(), ChipError> {
        self.mii_write(Mii::Bmcr, bits::BMCR_RESET).await?;
        let deadline = Instant::now() + READY;
        while self.mii_read(Mii::Bmcr).await? & bits::BMCR_RESET != 0 {
            if Instant::now() > deadline {
                return Err(ChipError::PhyStuck);
            }
            Timer::after(LOOK).await;
        }
        self.mii_write(Mii::Advertise, bits::ADVERTISE).await?;
        self.mii_write(Mii::Bmcr, bits::BMCR_NEGOTIATE).await
    }

    /// What the cable gives now; None without a partner, or as long as they
    /// negotiate. If it `was_up` and went away in between, it is None once,
    /// so that a cable moved quickly to another port is noticed.
    pub(super) async fn link(&self, was_up: bool) -> Result<Option<Link>, ChipError> {
        // The first read tells of the past; the second of now.
        let past = self.mii_read(Mii::Bmsr).await?;
        let now = self.mii_read(Mii::Bmsr).await?;
        let up = bits::BMSR_LINK | bits::BMSR_NEGOTIATED;
        let lost = was_up && past & bits::BMSR_LINK == 0;
        if now & up != up || lost {
            return Ok(None);
        }
        let mode = self.mii_read(Mii::Partner).await? & self.mii_read(Mii::Advertise).await?;
        // In the order of preference of IEEE 802.3 annex 28B.3.
        let (mbits, full_duplex) = if mode & bits::CAN_100_FULL != 0 {
            (100, true)
        } else if mode & bits::CAN_100_HALF != 0 {
            (100, false)
        } else {
            (10, mode & bits::CAN_10_FULL != 0)
        };
        Ok(Some(Link {
            mbits: Some(mbits),
            full_duplex: Some(full_duplex),
        }))
    }

    /// Puts the MAC into the mode that the PHY has negotiated.
    pub(super) async fn follow(&self, full_duplex: bool) -> Result<(), ChipError> {
        let (clear, set) = if full_duplex {
            (bits::NO_RECEIVE_OWN, bits::FULL_DUPLEX)
        } else {
            (bits::FULL_DUPLEX, bits::NO_RECEIVE_OWN)
        };
        self.modify(Register::MacCr, clear, set).await?;
        // Back pressure is collisions made on purpose: for half duplex alone.
        let afc = bits::FLOW_CONTROL & !bits::BACK_PRESSURE;
        let afc = if full_duplex {
            afc
        } else {
            afc | bits::BACK_PRESSURE
        };
        self.write(Register::AfcCfg, afc).await
    }

    /// Whether the chip has dropped frames since the last time, because its
    /// FIFO was full.
    pub(super) async fn overran(&self) -> Result<bool, ChipError> {
        let dropped = self.read(Register::IntSts).await? & bits::INT_RX_DROPPED != 0;
        if dropped {
            self.write(Register::IntSts, bits::INT_RX_DROPPED).await?;
        }
        Ok(dropped)
    }

    async fn set_address(&self, [a, b, c, d, e, f]: [u8; 6]) -> Result<(), ChipError> {
        self.write(Register::AddrL, u32::from_le_bytes([a, b, c, d]))
            .await?;
        self.write(Register::AddrH, u32::from_le_bytes([e, f, 0, 0]))
            .await
    }

    /// The address from the EEPROM; without one the registers are all ones.
    async fn address(&self) -> Result<Option<[u8; 6]>, ChipError> {
        let [a, b, c, d] = self.read(Register::AddrL).await?.to_le_bytes();
        let [e, f, ..] = self.read(Register::AddrH).await?.to_le_bytes();
        Ok(crate::station_address([a, b, c, d, e, f]))
    }

    /// Sets a bit that clears itself when the reset is over.
    async fn reset(&self, register: Register, bit: u32) -> Result<(), ChipError> {
        self.modify(register, 0, bit).await?;
        self.wait_clear(register, bit).await
    }

    async fn wait_clear(&self, register: Register, bit: u32) -> Result<(), ChipError> {
        let deadline = Instant::now() + READY;
        while self.read(register).await? & bit != 0 {
            if Instant::now() > deadline {
                return Err(ChipError::Stuck(register));
            }
            Timer::after(LOOK).await;
        }
        Ok(())
    }

    async fn mii_read(&self, register: Mii) -> Result<u16, ChipError> {
        self.mii_access(register, 0).await?;
        Ok(self.read(Register::MiiData).await? as u16)
    }

    async fn mii_write(&self, register: Mii, value: u16) -> Result<(), ChipError> {
        // Here and not in `mii_access`: the value must not be changed under
        // an access that still runs.
        self.wait_clear(Register::MiiAddr, bits::MII_BUSY).await?;
        self.write(Register::MiiData, u32::from(value)).await?;
        self.mii_access(register, bits::MII_WRITE).await
    }

    async fn mii_access(&self, register: Mii, way: u32) -> Result<(), ChipError> {
        self.wait_clear(Register::MiiAddr, bits::MII_BUSY).await?;
        let access = bits::PHY << 11 | (register as u32) << 6 | way | bits::MII_BUSY;
        self.write(Register::MiiAddr, access).await?;
        self.wait_clear(Register::MiiAddr, bits::MII_BUSY).await
    }

    async fn modify(&self, register: Register, clear: u32, set: u32) -> Result<(), ChipError> {
        let value = self.read(register).await?;
        self.write(register, (value & !clear) | set).await
    }

    async fn read(&self, register: Register) -> Result<u32, ChipError> {
        let mut value = [0; 4];
        let request = Request::vendor(READ_REGISTER, 0, register as u16);
        match self.control.read(request, &mut value).await {
            Ok(4) => Ok(u32::from_le_bytes(value)),
            Ok(_) => Err(ChipError::Usb(register, PipeError::BadResponse)),
            Err(error) => Err(ChipError::Usb(register, error)),
        }
    }

    async fn write(&self, register: Register, value: u32) -> Result<(), ChipError> {
        let request = Request::vendor(WRITE_REGISTER, 0, register as u16);
        let written = self.control.write(request, &value.to_le_bytes()).await;
        written.map_err(|error| ChipError::Usb(register, error))
    }
}
