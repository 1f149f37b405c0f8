//! The root port: devices that come, go, and are reset.

use core::future::poll_fn;
use core::task::Poll;

use embassy_time::{Duration, Timer, with_timeout};
use embassy_usb_driver::Speed;
use embassy_usb_driver::host::{DeviceEvent, UsbHostController};

use super::host::LEFT;
use super::regs::{HPRT, port};
use super::{Allocator, Host, StartError};
use crate::Bus;

/// A connection counts when it lasts this long (USB 2.0 §7.1.7.3, TATTDB).
const DEBOUNCE: Duration = Duration::from_millis(100);
/// Reset signalling of a root port (USB 2.0 §7.1.7.5, TDRSTR).
const RESET: Duration = Duration::from_millis(50);
/// What a device may take to recover from it (TRSTRCY is 10 ms).
const RECOVERY: Duration = Duration::from_millis(20);
/// The port is enabled within a few microframes after the end of a reset.
const ENABLE: Duration = Duration::from_millis(50);
/// How often a reset is tried before the port is left alone for a while.
const RESETS: usize = 3;
/// That while. Also how long the port stays without power after overcurrent.
const REST: Duration = Duration::from_secs(1);
/// The port is looked at this often, should an interrupt get lost.
const LOOK: Duration = Duration::from_secs(1);

/// The one side of a running [`Host`] that watches its root port.
#[derive(Debug)]
pub struct Controller<'d, B> {
    host: &'d Host<B>,
    /// A device was reported and did not leave since.
    attached: bool,
    /// The port's power is off, after overcurrent.
    tripped: bool,
}

impl<'d, B: Bus> Controller<'d, B> {
    /// Resets the controller and makes it run. The interrupt may be enabled
    /// before or after, and the power must be on before.
    ///
    /// Calling it again resets everything: every pipe made before is dead.
    pub async fn start(host: &'d Host<B>) -> Result<Self, StartError> {
        host.set_attached(None);
        host.bring_up().await?;
        Ok(Self {
            host,
            attached: false,
            tripped: false,
        })
    }

    /// The hardware.
    pub const fn host(&self) -> &'d Host<B> {
        self.host
    }

    /// Waits for anything to happen to the port, or to be looked at.
    async fn change(&self) {
        let change = poll_fn(|cx| {
            self.host.port_waker.register(cx.waker());
            if self.host.port_changed() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        // Looking again after a timeout is all that there is to do.
        let _ = with_timeout(LOOK, change).await;
    }

    /// Drives reset signalling and returns the speed of the device that is
    /// enabled afterwards.
    async fn reset(&self) -> Option<Speed> {
        let host = self.host;
        {
            let _signal = Signal::start(host);
            Timer::after(RESET).await;
        }
        Timer::after(RECOVERY).await;
        for _ in 0..ENABLE.as_millis() {
            let value = host.bus.read(HPRT);
            if value & port::CONNECTED == 0 {
                break;
            }
            if value & port::ENABLED != 0 {
                // What changed was our doing.
                host.take_port_changes();
                return match port::speed(value) {
                    port::SPEED_HIGH => Some(Speed::High),
                    port::SPEED_FULL => Some(Speed::Full),
                    port::SPEED_LOW => Some(Speed::Low),
                    _ => None,
                };
            }
            Timer::after_millis(1).await;
        }
        host.count.failed_resets.add();
        None
    }

    /// A device seems to be there: waits until that is certain, and resets it.
    async fn attach(&mut self) -> Option<Speed> {
        let host = self.host;
        host.take_port_changes();
        Timer::after(DEBOUNCE).await;
        let bounced = host.take_port_changes() & (LEFT | port::CONNECT_DETECTED) != 0;
        if bounced || host.bus.read(HPRT) & port::CONNECTED == 0 {
            return None;
        }
        for _ in 0..RESETS {
            if let Some(speed) = self.reset().await {
                return Some(speed);
            }
            if host.bus.read(HPRT) & port::CONNECTED == 0 {
                return None;
            }
        }
        // Neither usable nor gone: not so often.
        Timer::after(REST).await;
        None
    }

    /// Takes what happened to a port with a device on it.
    fn check(&mut self) -> Option<DeviceEvent> {
        let host = self.host;
        let changes = host.take_port_changes();
        let value = host.bus.read(HPRT);
        let event = if value & port::OVERCURRENT != 0 {
            // Power off before anything else; wait_for_device_event turns it
            // on again.
            host.modify_port(port::POWER, 0);
            host.count.overcurrents.add();
            self.tripped = true;
            DeviceEvent::Overcurrent
        } else if self.attached
            && (changes & (LEFT | port::CONNECT_DETECTED) != 0
                || value & port::CONNECTED == 0
                || value & port::ENABLED == 0)
        {
            // Also when the controller disabled the port by itself, after a
            // babble: the device has to be reset, as if it were new.
            host.count.disconnects.add();
            DeviceEvent::Disconnected
        } else {
            return None;
        };
        self.attached = false;
        host.set_attached(None);
        Some(event)
    }
}

impl<'d, B: Bus + 'd> UsbHostController<'d> for Controller<'d, B> {
    type Allocator = Allocator<'d, B>;

    fn allocator(&self) -> Self::Allocator {
        Allocator::new(self.host)
    }

    async fn wait_for_device_event(&mut self) -> DeviceEvent {
        loop {
            if self.tripped {
                Timer::after(REST).await;
                self.tripped = false;
                self.host.take_port_changes();
                self.host.modify_port(0, port::POWER);
            }
            if let Some(event) = self.check() {
                return event;
            }
            if !self.attached && self.host.bus.read(HPRT) & port::CONNECTED != 0 {
                if let Some(speed) = self.attach().await {
                    self.attached = true;
                    self.host.set_attached(Some(speed));
                    self.host.count.connects.add();
                    return DeviceEvent::Connected(speed);
                }
                continue;
            }
            self.change().await;
        }
    }

    async fn bus_reset(&mut self) {
        if !self.attached {
            return;
        }
        // Pipes are dead from now on, not only when it is done. If it fails,
        // or this future is dropped half-way, the next look at the port finds
        // a device that nobody was told of.
        self.attached = false;
        self.host.set_attached(None);
        if let Some(speed) = self.reset().await {
            self.attached = true;
            self.host.set_attached(Some(speed));
        }
    }
}

/// Reset signalling on the bus, for as long as this lives.
struct Signal<'a, B: Bus>(&'a Host<B>);

impl<'a, B: Bus> Signal<'a, B> {
    fn start(host: &'a Host<B>) -> Self {
        host.bus.barrier();
        host.modify_port(0, port::RESET);
        Self(host)
    }
}

impl<B: Bus> Drop for Signal<'_, B> {
    fn drop(&mut self) {
        self.0.modify_port(port::RESET, 0);
        self.0.bus.barrier();
    }
}
