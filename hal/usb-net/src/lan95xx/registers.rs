//! The registers of a LAN95xx and the bits of them that matter here (LAN9514
//! data sheet §5), and those of the PHY inside (IEEE 802.3 §22.2.4).

/// A register by its address, which is the wIndex of the vendor request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(u16)]
pub enum Register {
    /// Chip (upper half) and revision.
    IdRev = 0x00,
    /// Interrupt status; a one clears the bit.
    IntSts = 0x08,
    /// Transmitter on and off.
    TxCfg = 0x10,
    /// Resets and how bulk IN behaves.
    HwCfg = 0x14,
    /// Power and PHY reset.
    PmCtrl = 0x20,
    /// LEDs or general-purpose pins.
    LedGpioCfg = 0x24,
    /// Automatic flow control.
    AfcCfg = 0x2C,
    /// Longest burst, in packets.
    BurstCap = 0x38,
    /// What the interrupt endpoint reports.
    IntEpCtl = 0x68,
    /// How long a short burst waits for more.
    BulkInDly = 0x6C,
    /// The MAC's control register.
    MacCr = 0x100,
    /// Last two bytes of the station address.
    AddrH = 0x104,
    /// First four bytes of the station address.
    AddrL = 0x108,
    /// Access to the PHY: which register, and which way.
    MiiAddr = 0x114,
    /// Access to the PHY: the value.
    MiiData = 0x118,
    /// Pause frames.
    Flow = 0x11C,
    /// The tag that makes frames four bytes longer.
    Vlan1 = 0x120,
    /// Checksum offload.
    CoeCr = 0x130,
}

/// [`Register::IntSts`]: the receive FIFO was full and a frame was dropped.
pub(crate) const INT_RX_DROPPED: u32 = 1 << 11;

/// [`Register::TxCfg`]: transmitter on.
pub(crate) const TX_ON: u32 = 1 << 2;

/// [`Register::HwCfg`]: bulk IN is answered with NAK when there is nothing.
pub(crate) const BULK_IN_NAK: u32 = 1 << 12;
/// [`Register::HwCfg`]: bytes put before a received frame, for alignment.
pub(crate) const RX_DATA_OFFSET: u32 = 3 << 9;
/// [`Register::HwCfg`]: several frames in one transfer.
pub(crate) const MULTIPLE_FRAMES: u32 = 1 << 5;
/// [`Register::HwCfg`]: reset of all but USB and PHY; clears itself.
pub(crate) const LITE_RESET: u32 = 1 << 3;
/// [`Register::HwCfg`]: [`Register::BurstCap`] counts.
pub(crate) const BURST_CAP_ENABLE: u32 = 1 << 1;

/// [`Register::PmCtrl`]: reset of the PHY; clears itself.
pub(crate) const PHY_RESET: u32 = 1 << 4;

/// [`Register::LedGpioCfg`]: speed, link and duplex LEDs on.
pub(crate) const LEDS: u32 = 0x0111_0000;

/// [`Register::BulkInDly`]: 8,192 periods of 16.7 ns, about 137 µs.
pub(crate) const BURST_DELAY: u32 = 0x2000;

/// [`Register::AfcCfg`]: high water 15.5 KiB, low water 3 KiB, back pressure
/// of about 350 µs.
pub(crate) const FLOW_CONTROL: u32 = 0x00F8_30A1;
/// [`Register::AfcCfg`]: the kinds of frames that back pressure is put on.
pub(crate) const BACK_PRESSURE: u32 = 0xF;

/// [`Register::MacCr`]: own frames are not received while sending, which only
/// makes sense on a line that is not full duplex.
pub(crate) const NO_RECEIVE_OWN: u32 = 1 << 23;
/// [`Register::MacCr`]: full duplex.
pub(crate) const FULL_DUPLEX: u32 = 1 << 20;
/// [`Register::MacCr`]: all multicast is received: machines look for routers in
/// a group, and the stack takes little of it.
pub(crate) const ALL_MULTICAST: u32 = 1 << 19;
/// [`Register::MacCr`]: everything, or the multicast of the hash table, is
/// received.
pub(crate) const OTHER_FILTERS: u32 = 1 << 18 | 1 << 13;
/// [`Register::MacCr`]: transmitter on.
pub(crate) const TX_ENABLE: u32 = 1 << 3;
/// [`Register::MacCr`]: receiver on.
pub(crate) const RX_ENABLE: u32 = 1 << 2;

/// [`Register::MiiAddr`]: a write, not a read.
pub(crate) const MII_WRITE: u32 = 1 << 1;
/// [`Register::MiiAddr`]: starts the access; clears itself.
pub(crate) const MII_BUSY: u32 = 1 << 0;

/// The address of the PHY inside.
pub(crate) const PHY: u32 = 1;

/// A register of the PHY.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u16)]
pub(crate) enum Mii {
    /// Basic mode control.
    Bmcr = 0,
    /// Basic mode status.
    Bmsr = 1,
    /// What is advertised.
    Advertise = 4,
    /// What the partner is able to do.
    Partner = 5,
}

/// [`Mii::Bmcr`]: reset; clears itself.
pub(crate) const BMCR_RESET: u16 = 1 << 15;
/// [`Mii::Bmcr`]: autonegotiation on, and begun anew.
pub(crate) const BMCR_NEGOTIATE: u16 = 1 << 12 | 1 << 9;

/// [`Mii::Bmsr`]: negotiated.
pub(crate) const BMSR_NEGOTIATED: u16 = 1 << 5;
/// [`Mii::Bmsr`]: link. Latches low: a read tells whether it was lost since
/// the read before.
pub(crate) const BMSR_LINK: u16 = 1 << 2;

/// [`Mii::Advertise`] and [`Mii::Partner`]: 100BASE-TX full duplex.
pub(crate) const CAN_100_FULL: u16 = 1 << 8;
/// The same for 100BASE-TX half duplex.
pub(crate) const CAN_100_HALF: u16 = 1 << 7;
/// The same for 10BASE-T full duplex.
pub(crate) const CAN_10_FULL: u16 = 1 << 6;
/// The same for 10BASE-T half duplex.
pub(crate) const CAN_10_HALF: u16 = 1 << 5;
/// [`Mii::Advertise`]: all four, by IEEE 802.3. No pause frames:
/// [`Register::Flow`] is left at zero.
pub(crate) const ADVERTISE: u16 = CAN_100_FULL | CAN_100_HALF | CAN_10_FULL | CAN_10_HALF | 1;
