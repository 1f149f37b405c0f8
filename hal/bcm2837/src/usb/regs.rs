//! Registers of the DWC2 in host mode, as far as they are used here.
//!
//! Names and bits are those of the Synopsys DesignWare USB 2.0 OTG databook;
//! GAHBCFG's burst field is the BCM2835's own (BCM2835 ARM Peripherals §15.2).

/// OTG control and status.
pub(super) const GAHBCFG: usize = 0x008;
pub(super) const GUSBCFG: usize = 0x00C;
pub(super) const GRSTCTL: usize = 0x010;
pub(super) const GINTSTS: usize = 0x014;
pub(super) const GINTMSK: usize = 0x018;
pub(super) const GRXFSIZ: usize = 0x024;
pub(super) const GNPTXFSIZ: usize = 0x028;
pub(super) const GSNPSID: usize = 0x040;
pub(super) const GHWCFG2: usize = 0x048;
pub(super) const GHWCFG3: usize = 0x04C;
pub(super) const HPTXFSIZ: usize = 0x100;
pub(super) const HCFG: usize = 0x400;
pub(super) const HFNUM: usize = 0x408;
pub(super) const HAINT: usize = 0x414;
pub(super) const HAINTMSK: usize = 0x418;
pub(super) const HPRT: usize = 0x440;
pub(super) const PCGCTL: usize = 0xE00;

/// Offset of register `register` of channel `channel`.
pub(super) const fn of_channel(channel: usize, register: usize) -> usize {
    0x500 + 0x20 * channel + register
}

pub(super) const HCCHAR: usize = 0x00;
pub(super) const HCSPLT: usize = 0x04;
pub(super) const HCINT: usize = 0x08;
pub(super) const HCINTMSK: usize = 0x0C;
pub(super) const HCTSIZ: usize = 0x10;
pub(super) const HCDMA: usize = 0x14;

/// GAHBCFG.
pub(super) mod ahb {
    /// Lets the core raise its interrupt line at all.
    pub(crate) const INTERRUPTS: u32 = 1 << 0;
    /// BCM2835 only: a transfer counts as done when its AXI writes are. The
    /// burst field beside it, bits 2:1, is left 0: bursts of four.
    pub(crate) const WAIT_FOR_WRITES: u32 = 1 << 4;
    pub(crate) const DMA: u32 = 1 << 5;
}

/// GUSBCFG.
pub(super) mod cfg {
    pub(crate) const PHY_16_BIT: u32 = 1 << 3;
    pub(crate) const ULPI: u32 = 1 << 4;
    pub(crate) const FULL_SPEED_PHY: u32 = 1 << 6;
    pub(crate) const SRP: u32 = 1 << 8;
    pub(crate) const HNP: u32 = 1 << 9;
    pub(crate) const ULPI_FSLS: u32 = 1 << 17;
    pub(crate) const ULPI_EXTERNAL_VBUS: u32 = 1 << 20;
    pub(crate) const DLINE_PULSING: u32 = 1 << 22;
    pub(crate) const FORCE_HOST: u32 = 1 << 29;
    pub(crate) const FORCE_DEVICE: u32 = 1 << 30;
}

/// GRSTCTL.
pub(super) mod reset {
    pub(crate) const CORE: u32 = 1 << 0;
    pub(crate) const RX_FLUSH: u32 = 1 << 4;
    pub(crate) const TX_FLUSH: u32 = 1 << 5;
    /// The FIFO number that means every transmit FIFO.
    pub(crate) const TX_ALL: u32 = 0x10 << 6;
    pub(crate) const AHB_IDLE: u32 = 1 << 31;
}

/// GINTSTS and GINTMSK.
pub(super) mod gint {
    pub(crate) const HOST_MODE: u32 = 1 << 0;
    pub(crate) const PORT: u32 = 1 << 24;
    pub(crate) const CHANNELS: u32 = 1 << 25;
    pub(crate) const DISCONNECTED: u32 = 1 << 29;
}

/// HPRT.
pub(super) mod port {
    pub(crate) const CONNECTED: u32 = 1 << 0;
    pub(crate) const CONNECT_DETECTED: u32 = 1 << 1;
    /// Writing a 1 *disables* the port.
    pub(crate) const ENABLED: u32 = 1 << 2;
    pub(crate) const ENABLE_CHANGED: u32 = 1 << 3;
    pub(crate) const OVERCURRENT: u32 = 1 << 4;
    pub(crate) const OVERCURRENT_CHANGED: u32 = 1 << 5;
    pub(crate) const RESET: u32 = 1 << 8;
    pub(crate) const POWER: u32 = 1 << 12;
    /// Bits that say that something happened, cleared by writing a 1.
    pub(crate) const CHANGES: u32 = CONNECT_DETECTED | ENABLE_CHANGED | OVERCURRENT_CHANGED;
    /// Everything that a 1 written back does something to: no
    /// read-modify-write may carry these along.
    pub(crate) const WRITE_1_ACTS: u32 = CHANGES | ENABLED;

    /// The speed field, bits 18:17.
    pub(crate) const fn speed(value: u32) -> u32 {
        (value >> 17) & 3
    }
    pub(crate) const SPEED_HIGH: u32 = 0;
    pub(crate) const SPEED_FULL: u32 = 1;
    pub(crate) const SPEED_LOW: u32 = 2;
}

/// HCCHAR.
pub(super) mod chan {
    pub(crate) const IN: u32 = 1 << 15;
    pub(crate) const LOW_SPEED: u32 = 1 << 17;
    /// One transaction per (micro)frame. 0 is not allowed, not even for
    /// endpoints that are not periodic.
    pub(crate) const ONE_PER_FRAME: u32 = 1 << 20;
    pub(crate) const ODD_FRAME: u32 = 1 << 29;
    pub(crate) const DISABLE: u32 = 1 << 30;
    pub(crate) const ENABLE: u32 = 1 << 31;

    pub(crate) const fn endpoint(number: u8) -> u32 {
        ((number & 0xF) as u32) << 11
    }
    pub(crate) const fn kind(kind: u32) -> u32 {
        kind << 18
    }
    pub(crate) const fn address(address: u8) -> u32 {
        ((address & 0x7F) as u32) << 22
    }
}

/// HCSPLT.
pub(super) mod split {
    pub(crate) const ENABLE: u32 = 1 << 31;
    /// The second half: asks the hub for the result.
    pub(crate) const COMPLETE: u32 = 1 << 16;
    /// The whole payload is in this one transaction; anything else is for
    /// isochronous OUT.
    pub(crate) const WHOLE: u32 = 3 << 14;

    pub(crate) const fn hub(address: u8, port: u8) -> u32 {
        ((address & 0x7F) as u32) << 7 | (port & 0x7F) as u32
    }
}

/// HCINT and HCINTMSK.
pub(super) mod hcint {
    pub(crate) const COMPLETE: u32 = 1 << 0;
    pub(crate) const HALTED: u32 = 1 << 1;
    pub(crate) const AHB_ERROR: u32 = 1 << 2;
    pub(crate) const STALL: u32 = 1 << 3;
    pub(crate) const NAK: u32 = 1 << 4;
    pub(crate) const ACK: u32 = 1 << 5;
    pub(crate) const NYET: u32 = 1 << 6;
    /// No answer, a bad CRC, bit stuffing or a false EOP.
    pub(crate) const TRANSACTION_ERROR: u32 = 1 << 7;
    pub(crate) const BABBLE: u32 = 1 << 8;
    pub(crate) const FRAME_OVERRUN: u32 = 1 << 9;
    pub(crate) const TOGGLE_ERROR: u32 = 1 << 10;
    pub(crate) const ALL: u32 = 0x7FF;
    /// A device or hub answered something since this was last cleared.
    pub(crate) const ANSWERS: u32 = NAK | ACK | NYET;
    /// The transfer is over by itself, not because it was told to halt.
    pub(crate) const ENDED: u32 =
        COMPLETE | AHB_ERROR | STALL | TRANSACTION_ERROR | BABBLE | TOGGLE_ERROR;
}

/// HCTSIZ.
pub(super) mod tsiz {
    /// Do the PING protocol first (high-speed OUT after a NAK).
    pub(crate) const PING: u32 = 1 << 31;

    pub(crate) const fn size(value: u32) -> usize {
        (value & 0x7_FFFF) as usize
    }
    pub(crate) const fn packets(value: u32) -> usize {
        ((value >> 19) & 0x3FF) as usize
    }
    pub(crate) const fn pid(value: u32) -> u32 {
        (value >> 29) & 3
    }
    pub(crate) const fn new(size: usize, packets: usize, pid: u32) -> u32 {
        size as u32 | (packets as u32) << 19 | pid << 29
    }
}
