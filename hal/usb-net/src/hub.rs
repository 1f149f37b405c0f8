//! A USB 2.0 hub as seen by its host (USB 2.0 §11): ports powered, looked at,
//! reset.
//!
//! `embassy-usb-host` has a hub class, too. It is not used because it takes a
//! device's speed from before the port's reset, when every high-speed device
//! still looks like a full-speed one (USB 2.0 §7.1.7.5, §11.24.2.7.1): the
//! Ethernet function of a LAN9514 would be talked to in split transactions,
//! and not answer. It also treats the change bits that come with every
//! unplugging (C_PORT_ENABLE) as an error.
//!
//! Ports are polled with GET_STATUS, not awaited on the hub's interrupt
//! endpoint: that needs no channel of the controller between two looks, and
//! leaves no request to be given up when the hub goes.

use embassy_time::{Duration, Instant, Timer};
use embassy_usb_driver::Speed;
use embassy_usb_driver::host::{
    HostError, PipeError, SplitInfo, SplitSpeed, UsbHostAllocator, UsbPipe, pipe,
};
use embassy_usb_host::control::Recipient;
use embassy_usb_host::handler::{BusRoute, EnumerationInfo};

use crate::control::{Control, Request};

/// Ports that are looked at; hubs have up to seven, USB allows 255.
pub(crate) const PORTS: usize = 15;

const GET_STATUS: u8 = 0;
const CLEAR_FEATURE: u8 = 1;
const SET_FEATURE: u8 = 3;
const GET_DESCRIPTOR: u8 = 6;
const HUB_DESCRIPTOR: u16 = 0x2900;

/// Features of a port (USB 2.0 table 11-17). The change bits are those of
/// wPortChange in order.
const PORT_ENABLE: u16 = 1;
const PORT_RESET: u16 = 4;
const PORT_POWER: u16 = 8;
const C_PORT_CONNECTION: u16 = 16;
const CHANGES: u16 = 5;

/// A connection has to be stable for so long (USB 2.0 §7.1.7.3, TATTDB).
pub(crate) const DEBOUNCE: Duration = Duration::from_millis(100);
/// A hub resets for 10 to 20 ms (TDRST); anything longer is a fault.
const RESET: Duration = Duration::from_millis(500);
const RESET_LOOK: Duration = Duration::from_millis(5);
/// What a device may take after a reset before it is talked to (TRSTRCY).
const RECOVERY: Duration = Duration::from_millis(10);

/// wPortStatus and wPortChange (USB 2.0 §11.24.2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct PortStatus {
    status: u16,
    change: u16,
}

impl PortStatus {
    pub(crate) const fn connected(self) -> bool {
        self.status & 1 << 0 != 0
    }

    const fn enabled(self) -> bool {
        self.status & 1 << 1 != 0
    }

    pub(crate) const fn overcurrent(self) -> bool {
        self.status & 1 << 3 != 0
    }

    /// Whether that began or ended since this was last cleared.
    pub(crate) const fn changed_current(self) -> bool {
        self.change & 1 << 3 != 0
    }

    const fn resetting(self) -> bool {
        self.status & 1 << 4 != 0
    }

    /// Only true of an enabled port.
    const fn speed(self) -> Speed {
        if self.status & 1 << 9 != 0 {
            Speed::Low
        } else if self.status & 1 << 10 != 0 {
            Speed::High
        } else {
            Speed::Full
        }
    }

    /// Whether something was plugged in or pulled since this was last
    /// cleared.
    pub(crate) const fn reconnected(self) -> bool {
        self.change & 1 << 0 != 0
    }
}

/// An enumerated and configured hub.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hub {
    device: EnumerationInfo,
    ports: u8,
}

impl Hub {
    /// Powers the ports of a hub that was just enumerated, and waits until
    /// they are.
    pub(crate) async fn open<'d, A>(alloc: &A, device: EnumerationInfo) -> Result<Self, HostError>
    where
        A: UsbHostAllocator<'d>,
    {
        let control = Control::open(alloc, &device)?;
        // Up to bPwrOn2PwrGood and some more: the whole of it has a length
        // that depends on the number of ports.
        let mut descriptor = [0; 9];
        let request = Request::class(Recipient::Device, GET_DESCRIPTOR, HUB_DESCRIPTOR, 0);
        let count = control.read(request, &mut descriptor).await?;
        let &[_, _, ports, _, _, power_good, ..] = &descriptor[..count] else {
            return Err(HostError::InvalidDescriptor);
        };
        let hub = Self {
            device,
            ports: ports.min(PORTS as u8),
        };
        for port in hub.ports() {
            hub.feature(&control, SET_FEATURE, PORT_POWER, port).await?;
        }
        // In units of 2 ms (USB 2.0 §11.23.2.1).
        Timer::after_millis(2 * u64::from(power_good)).await;
        Ok(hub)
    }

    /// The hub's own address.
    pub(crate) const fn address(&self) -> u8 {
        self.device.device_address
    }

    /// What a control pipe to it needs.
    pub(crate) const fn device(&self) -> &EnumerationInfo {
        &self.device
    }

    /// Numbers of its ports.
    pub(crate) fn ports(&self) -> impl Iterator<Item = u8> + use<> {
        1..=self.ports
    }

    /// How a port is now. Its change bits are cleared by this, so that each
    /// change is seen once.
    pub(crate) async fn status<P>(
        &self,
        control: &Control<P>,
        port: u8,
    ) -> Result<PortStatus, PipeError>
    where
        P: UsbPipe<pipe::Control, pipe::InOut>,
    {
        let mut answer = [0; 4];
        let request = Request::class(Recipient::Other, GET_STATUS, 0, u16::from(port));
        if control.read(request, &mut answer).await? != answer.len() {
            return Err(PipeError::BadResponse);
        }
        let [status, change] =
            [[answer[0], answer[1]], [answer[2], answer[3]]].map(u16::from_le_bytes);
        for bit in 0..CHANGES {
            if change & 1 << bit != 0 {
                self.feature(control, CLEAR_FEATURE, C_PORT_CONNECTION + bit, port)
                    .await?;
            }
        }
        Ok(PortStatus { status, change })
    }

    /// Resets what is plugged into a port. It then has address 0 and the
    /// returned speed. None if it went away meanwhile.
    pub(crate) async fn reset<P>(
        &self,
        control: &Control<P>,
        port: u8,
    ) -> Result<Option<Speed>, PipeError>
    where
        P: UsbPipe<pipe::Control, pipe::InOut>,
    {
        self.feature(control, SET_FEATURE, PORT_RESET, port).await?;
        let deadline = Instant::now() + RESET;
        loop {
            Timer::after(RESET_LOOK).await;
            let now = self.status(control, port).await?;
            if !now.connected() || now.reconnected() {
                return Ok(None);
            }
            if now.enabled() && !now.resetting() {
                Timer::after(RECOVERY).await;
                return Ok(Some(now.speed()));
            }
            if Instant::now() > deadline {
                return Err(PipeError::Timeout);
            }
        }
    }

    /// Cuts a port off until it is reset again.
    pub(crate) async fn disable<P>(&self, control: &Control<P>, port: u8) -> Result<(), PipeError>
    where
        P: UsbPipe<pipe::Control, pipe::InOut>,
    {
        self.feature(control, CLEAR_FEATURE, PORT_ENABLE, port)
            .await
    }

    /// How packets reach a device of this speed at a port: through the
    /// translator of the hub nearest to the root that runs at high speed, if
    /// the device does not (USB 2.0 §11.14).
    pub(crate) fn route(&self, port: u8, speed: Speed) -> BusRoute {
        let slow = match speed {
            Speed::High => return BusRoute::Direct(speed),
            Speed::Full => SplitSpeed::Full,
            Speed::Low => SplitSpeed::Low,
        };
        match (self.device.split(), self.device.speed(), speed) {
            (Some(above), ..) => {
                BusRoute::Translated(SplitInfo::new(above.hub_addr(), above.port(), slow))
            }
            // Full speed all the way.
            (None, Speed::Full | Speed::Low, Speed::Full) => BusRoute::Direct(speed),
            // High to full or low, or low under full: the latter is the PRE
            // of USB 1.1, which `BusRoute` writes the same way.
            (None, ..) => BusRoute::Translated(SplitInfo::new(self.address(), port, slow)),
        }
    }

    async fn feature<P>(
        &self,
        control: &Control<P>,
        request: u8,
        feature: u16,
        port: u8,
    ) -> Result<(), PipeError>
    where
        P: UsbPipe<pipe::Control, pipe::InOut>,
    {
        let request = Request::class(Recipient::Other, request, feature, u16::from(port));
        control.write(request, &[]).await
    }
}
