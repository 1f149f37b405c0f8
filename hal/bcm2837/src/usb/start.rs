//! From power-on to a running host with power on its port.

use embassy_time::{Duration, Timer};

use super::regs::{
    GAHBCFG, GHWCFG3, GINTMSK, GINTSTS, GNPTXFSIZ, GRSTCTL, GRXFSIZ, GUSBCFG, HAINTMSK, HCCHAR,
    HCFG, HCINT, HCINTMSK, HPRT, HPTXFSIZ, PCGCTL, ahb, cfg, chan, gint, hcint, port, reset,
};
use super::{CHANNELS, Host, StartError};
use crate::Bus;

/// How long the controller may take to become idle, reset or flush a FIFO.
/// All take microseconds.
const PATIENCE: Duration = Duration::from_millis(100);
/// Pause between two looks at such a bit.
const LOOK: Duration = Duration::from_micros(100);
/// The PHY's clock settles after a core reset.
const AFTER_RESET: Duration = Duration::from_millis(100);
/// Forcing the mode takes up to 25 ms (databook, GUSBCFG.ForceHstMode).
const FORCE_MODE: Duration = Duration::from_millis(25);

/// Words of FIFO: receive, non-periodic and periodic transmit. Each holds two
/// of the largest packets and more; the BCM2837 has 4,080 words.
const FIFOS: [u32; 3] = [1024, 1024, 1024];
/// The same where there is less: 768, 256 and 512 words, still above the
/// databook's minimum for packets of 512 bytes.
const SMALL_FIFOS: [u32; 3] = [0x300, 0x100, 0x200];

impl<B: Bus> Host<B> {
    /// Resets the controller and makes it a host (databook, "Host
    /// Initialization").
    pub(super) async fn bring_up(&self) -> Result<(), StartError> {
        let bus = &self.bus;
        bus.barrier();
        bus.modify(GAHBCFG, ahb::INTERRUPTS, 0);
        bus.write(GINTMSK, 0);
        // Clocks on before anything else: a boot loader may have stopped them.
        bus.write(PCGCTL, 0);
        // The PHY is chosen before the reset, which makes the choice hold.
        bus.modify(
            GUSBCFG,
            cfg::ULPI
                | cfg::PHY_16_BIT
                | cfg::FULL_SPEED_PHY
                | cfg::ULPI_FSLS
                | cfg::ULPI_EXTERNAL_VBUS
                | cfg::DLINE_PULSING,
            0,
        );
        self.reset_bit(reset::AHB_IDLE, reset::AHB_IDLE).await?;
        bus.write(GRSTCTL, reset::CORE);
        self.reset_bit(reset::CORE | reset::AHB_IDLE, reset::AHB_IDLE)
            .await?;
        Timer::after(AFTER_RESET).await;

        bus.modify(
            GUSBCFG,
            cfg::SRP | cfg::HNP | cfg::FORCE_DEVICE,
            cfg::FORCE_HOST,
        );
        Timer::after(FORCE_MODE).await;
        if bus.read(GINTSTS) & gint::HOST_MODE == 0 {
            return Err(StartError::NotHost);
        }

        bus.write(GAHBCFG, ahb::DMA | ahb::WAIT_FOR_WRITES);
        // The UTMI+ clock, and every speed.
        bus.write(HCFG, 0);
        self.size_fifos().await?;

        for number in 0..CHANNELS {
            self.write_channel(number, HCINTMSK, 0);
            if self.read_channel(number, HCCHAR) & chan::ENABLE != 0 {
                self.write_channel(number, HCCHAR, chan::ENABLE | chan::DISABLE);
            }
            self.write_channel(number, HCINT, hcint::ALL);
        }
        self.take_port_changes();
        bus.write(HAINTMSK, (1 << CHANNELS) - 1);
        bus.write(GINTSTS, !0);
        bus.write(GINTMSK, gint::PORT | gint::CHANNELS | gint::DISCONNECTED);
        bus.modify(GAHBCFG, 0, ahb::INTERRUPTS);
        if bus.read(HPRT) & port::POWER == 0 {
            self.modify_port(0, port::POWER);
        }
        bus.barrier();
        Ok(())
    }

    async fn size_fifos(&self) -> Result<(), StartError> {
        let bus = &self.bus;
        let depth = bus.read(GHWCFG3) >> 16;
        // QEMU says nothing of its FIFOs, having none.
        let [rx, np, periodic] = if depth == 0 || depth >= FIFOS.iter().sum() {
            FIFOS
        } else {
            SMALL_FIFOS
        };
        bus.write(GRXFSIZ, rx);
        bus.write(GNPTXFSIZ, np << 16 | rx);
        bus.write(HPTXFSIZ, periodic << 16 | (rx + np));
        bus.write(GRSTCTL, reset::TX_FLUSH | reset::TX_ALL);
        self.reset_bit(reset::TX_FLUSH, 0).await?;
        bus.write(GRSTCTL, reset::RX_FLUSH);
        self.reset_bit(reset::RX_FLUSH, 0).await
    }

    /// Waits until the bits `mask` of GRSTCTL are `value`.
    async fn reset_bit(&self, mask: u32, value: u32) -> Result<(), StartError> {
        for _ in 0..PATIENCE.as_micros() / LOOK.as_micros() {
            if self.bus.read(GRSTCTL) & mask == value {
                return Ok(());
            }
            Timer::after(LOOK).await;
        }
        Err(StartError::ResetTimeout)
    }
}
