//! The chip's registers by name, with the bits that the model acts on.
//!
//! Addresses and bits as the public drivers for this chip have them; system
//! control and status from 0, the MAC's from 0x100.

/// Device id and revision.
pub const ID_REV: u16 = 0x00;
/// Interrupt status; writing ones clears.
pub const INT_STS: u16 = 0x08;
/// Receive configuration.
pub const RX_CFG: u16 = 0x0C;
/// Transmit configuration.
pub const TX_CFG: u16 = 0x10;
/// Hardware configuration.
pub const HW_CFG: u16 = 0x14;
/// Bytes in the receive FIFO.
pub const RX_FIFO_INF: u16 = 0x18;
/// Room in the transmit FIFO.
pub const TX_FIFO_INF: u16 = 0x1C;
/// Power management.
pub const PM_CTRL: u16 = 0x20;
/// LEDs.
pub const LED_GPIO_CFG: u16 = 0x24;
/// General purpose pins.
pub const GPIO_CFG: u16 = 0x28;
/// Automatic flow control.
pub const AFC_CFG: u16 = 0x2C;
/// EEPROM command.
pub const E2P_CMD: u16 = 0x30;
/// EEPROM data.
pub const E2P_DATA: u16 = 0x34;
/// Most of a burst, in packets of 512 bytes.
pub const BURST_CAP: u16 = 0x38;
/// Configuration straps.
pub const STRAP_STATUS: u16 = 0x3C;
/// Data port, five registers from here.
pub const DP_SEL: u16 = 0x40;
/// Wake by pins.
pub const GPIO_WAKE: u16 = 0x64;
/// What the interrupt endpoint speaks of.
pub const INT_EP_CTL: u16 = 0x68;
/// How long a burst waits for more frames, in units of 16.667 ns.
pub const BULK_IN_DLY: u16 = 0x6C;
/// MAC control.
pub const MAC_CR: u16 = 0x100;
/// MAC address, bytes 4 and 5.
pub const ADDRH: u16 = 0x104;
/// MAC address, bytes 0 to 3.
pub const ADDRL: u16 = 0x108;
/// Multicast hash, high half.
pub const HASHH: u16 = 0x10C;
/// Multicast hash, low half.
pub const HASHL: u16 = 0x110;
/// MII access.
pub const MII_ADDR: u16 = 0x114;
/// MII data.
pub const MII_DATA: u16 = 0x118;
/// Flow control.
pub const FLOW: u16 = 0x11C;
/// VLAN type.
pub const VLAN1: u16 = 0x120;
/// Checksum offload; the last register.
pub const COE_CR: u16 = 0x130;

/// `INT_STS` and `INT_EP_CTL`: the PHY has something to say.
pub const INT_PHY: u32 = 0x8000;
/// `INT_STS`: a TX command was wrong.
pub const INT_TXE: u32 = 0x4000;
/// `INT_STS`: a received frame was dropped.
pub const INT_RXDF: u32 = 0x0800;
/// `RX_CFG`: empty the FIFO.
pub const RX_CFG_FLUSH: u32 = 0x1;
/// `TX_CFG`: transmitter on.
pub const TX_CFG_ON: u32 = 0x4;
/// `TX_CFG`: stop.
pub const TX_CFG_STOP: u32 = 0x2;
/// `TX_CFG`: empty the FIFO.
pub const TX_CFG_FLUSH: u32 = 0x1;
/// `HW_CFG`: answer NAK, not an empty packet, when there is no frame.
pub const HW_CFG_BIR: u32 = 0x1000;
/// `HW_CFG`: where the received frame begins after its status, shift 9.
pub const HW_CFG_RXDOFF: u32 = 0x0600;
/// `HW_CFG`: do not stall the bulk OUT pipe on a wrong TX command.
pub const HW_CFG_SBP: u32 = 0x0100;
/// `HW_CFG`: discard received frames with errors.
pub const HW_CFG_DRP: u32 = 0x0040;
/// `HW_CFG`: several frames in a burst.
pub const HW_CFG_MEF: u32 = 0x0020;
/// `HW_CFG`: lite reset.
pub const HW_CFG_LRST: u32 = 0x0008;
/// `HW_CFG`: `BURST_CAP` counts.
pub const HW_CFG_BCE: u32 = 0x0002;
/// `HW_CFG`: soft reset, which takes the device off the bus.
pub const HW_CFG_SRST: u32 = 0x0001;
/// `PM_CTRL`: device ready.
pub const PM_CTRL_READY: u32 = 0x80;
/// `PM_CTRL`: PHY reset.
pub const PM_CTRL_PHY_RST: u32 = 0x10;
/// `PM_CTRL`: wake-up status, writing ones clears.
pub const PM_CTRL_WUPS: u32 = 0x3;
/// `E2P_CMD`: busy.
pub const E2P_BUSY: u32 = 1 << 31;
/// `E2P_CMD`: no EEPROM has answered.
pub const E2P_TIMEOUT: u32 = 0x400;
/// `MAC_CR`: every frame, with or without errors.
pub const MAC_CR_RXALL: u32 = 1 << 31;
/// `MAC_CR`: full duplex.
pub const MAC_CR_FDPX: u32 = 0x0010_0000;
/// `MAC_CR`: every multicast.
pub const MAC_CR_MCPAS: u32 = 0x0008_0000;
/// `MAC_CR`: promiscuous.
pub const MAC_CR_PRMS: u32 = 0x0004_0000;
/// `MAC_CR`: unicast by hash too.
pub const MAC_CR_HFILT: u32 = 0x8000;
/// `MAC_CR`: multicast by hash.
pub const MAC_CR_HPFILT: u32 = 0x2000;
/// `MAC_CR`: no broadcasts.
pub const MAC_CR_BCAST: u32 = 0x0800;
/// `MAC_CR`: transmitter on.
pub const MAC_CR_TXEN: u32 = 0x8;
/// `MAC_CR`: receiver on.
pub const MAC_CR_RXEN: u32 = 0x4;
/// `MII_ADDR`: a write.
pub const MII_WRITE: u32 = 0x2;
/// `MII_ADDR`: begin, and not done yet.
pub const MII_BUSY: u32 = 0x1;
/// `COE_CR`: transmit checksums.
pub const COE_TX: u32 = 0x0001_0000;
/// `COE_CR`: receive checksums begin after a VLAN tag.
pub const COE_RX_MODE: u32 = 0x2;
/// `COE_CR`: receive checksums.
pub const COE_RX: u32 = 0x1;

/// What a driver may do with a register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Both.
    ReadWrite,
    /// Read only.
    ReadOnly,
}

/// What may be done at an address; `None` if there is no register.
#[must_use]
pub const fn access(index: u16) -> Option<Access> {
    match index {
        ID_REV | RX_FIFO_INF | TX_FIFO_INF | STRAP_STATUS => Some(Access::ReadOnly),
        INT_STS | RX_CFG | TX_CFG | HW_CFG | PM_CTRL | LED_GPIO_CFG | GPIO_CFG | AFC_CFG
        | E2P_CMD | E2P_DATA | BURST_CAP | GPIO_WAKE | INT_EP_CTL | BULK_IN_DLY => {
            Some(Access::ReadWrite)
        }
        DP_SEL..=0x50 | MAC_CR..=COE_CR if index.is_multiple_of(4) => Some(Access::ReadWrite),
        _ => None,
    }
}

/// The registers' values.
#[derive(Debug, Clone)]
pub struct Registers([u32; COE_CR as usize / 4 + 1]);

impl Registers {
    /// As after power-on without an EEPROM: the MAC address reads all ones.
    #[must_use]
    pub const fn new() -> Self {
        let mut values = [0; COE_CR as usize / 4 + 1];
        values[ID_REV as usize / 4] = 0xEC00_0002;
        values[PM_CTRL as usize / 4] = PM_CTRL_READY;
        values[BULK_IN_DLY as usize / 4] = 0x0800;
        values[MAC_CR as usize / 4] = MAC_CR_PRMS;
        values[ADDRH as usize / 4] = 0xFFFF;
        values[ADDRL as usize / 4] = 0xFFFF_FFFF;
        values[VLAN1 as usize / 4] = 0xFFFF;
        values[VLAN1 as usize / 4 + 1] = 0xFFFF;
        values[TX_FIFO_INF as usize / 4] = 0x2000;
        Self(values)
    }

    /// A register's value; 0 where there is none.
    #[must_use]
    pub fn get(&self, index: u16) -> u32 {
        let value = self.0.get(usize::from(index / 4));
        value.copied().unwrap_or(0)
    }

    /// Sets a register; nothing happens where there is none.
    pub fn set(&mut self, index: u16, value: u32) {
        if let Some(register) = self.0.get_mut(usize::from(index / 4)) {
            *register = value;
        }
    }

    /// Whether all of `bits` are set.
    #[must_use]
    pub fn has(&self, index: u16, bits: u32) -> bool {
        self.get(index) & bits == bits
    }

    /// The MAC address.
    #[must_use]
    pub fn mac(&self) -> [u8; 6] {
        let [a, b, c, d] = self.get(ADDRL).to_le_bytes();
        let [e, f, ..] = self.get(ADDRH).to_le_bytes();
        [a, b, c, d, e, f]
    }
}

impl Default for Registers {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_known_addresses_have_registers() {
        let cases = [
            (0x00, Some(Access::ReadOnly)),
            (0x04, None),
            (0x14, Some(Access::ReadWrite)),
            (0x15, None),
            (0x50, Some(Access::ReadWrite)),
            (0x54, None),
            (0x100, Some(Access::ReadWrite)),
            (0x102, None),
            (0x130, Some(Access::ReadWrite)),
            (0x134, None),
        ];
        for (index, expected) in cases {
            assert_eq!(access(index), expected, "{index:#x}");
        }
    }

    #[test]
    fn a_fresh_chip_has_no_address() {
        let mut registers = Registers::new();
        assert_eq!(registers.mac(), [0xFF; 6]);
        registers.set(ADDRL, 0x4433_2211);
        registers.set(ADDRH, 0x6655);
        assert_eq!(registers.mac(), [0x11, 0x22, 0x33, 0x44, 0x55, 0x66]);
        registers.set(0xFFFC, 1);
        assert_eq!(registers.get(0xFFFC), 0);
    }
}
