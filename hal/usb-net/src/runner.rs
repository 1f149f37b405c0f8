//! From the controller to the stack: waits for a device, finds the NIC,
//! serves it, and begins again when it is pulled.

use embassy_futures::select::{Either, select};
use embassy_net_driver::LinkState;
use embassy_net_driver_channel::Runner as Channel;
use embassy_time::{Duration, with_timeout};
use embassy_usb_driver::Speed;
use embassy_usb_driver::host::{DeviceEvent, UsbHostAllocator, UsbHostController};
use embassy_usb_host::{BusController, BusHandle};

use crate::counters::Counters;
use crate::event::{Event, Place, Why};
use crate::walk::{Walk, watch_port};
use crate::{BURST, CONFIGURATION, FRAME, LAST_ADDRESS, pump};

/// How long the controller has to say that the root device is gone before
/// the bus is reset; doubled each time up to the longest, as long as no NIC
/// works.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(8));

/// The side of the NIC that drives the hardware. [`Runner::run`] it in a task
/// of its own.
pub struct Runner<'d> {
    pub(crate) stack: Channel<'d, FRAME>,
    pub(crate) burst: &'d mut [u8; BURST],
    pub(crate) configuration: &'d mut [u8; CONFIGURATION],
    pub(crate) counters: &'d Counters,
    pub(crate) mac: Option<[u8; 6]>,
}

impl<'d> Runner<'d> {
    /// What went through and what went wrong; outlives the call of
    /// [`Runner::run`].
    pub const fn counters(&self) -> &'d Counters {
        self.counters
    }

    /// Finds an Ethernet adapter on the bus and serves it; when it is pulled,
    /// the next one. Never returns.
    ///
    /// `controller` and `bus` come from [`embassy_usb_host::bus`], and nothing
    /// else may use the bus: an adapter that does not recover has all of it
    /// reset. `report` is told what happens; it must not block.
    ///
    /// Of the controller it is expected that
    /// - [`wait_for_device_event`](UsbHostController::wait_for_device_event)
    ///   reports changes, each one once, and may be dropped and called again,
    /// - [`bus_reset`](UsbHostController::bus_reset) returns even if there is
    ///   no device,
    /// - a bulk IN request waits until there is something, and is ended by an
    ///   error when the device is gone, or by being dropped,
    /// - it takes requests of [`BURST`] bytes.
    pub async fn run<'b, C: UsbHostController<'b>>(
        mut self,
        controller: &mut BusController<'b, C>,
        bus: &BusHandle<'b, C::Allocator>,
        report: &dyn Fn(Event),
    ) -> ! {
        let mut retry = RETRY.0;
        let mut speed = self.wait_for_device(controller).await;
        loop {
            let frames = self.counters.rx_frames.get();
            // After a reset no device has one.
            for address in 1..=LAST_ADDRESS {
                bus.free_address(address);
            }
            let ended = select(
                self.serve(bus, speed, report),
                controller.wait_for_device_event(),
            )
            .await;
            let event = match ended {
                Either::First(why) => {
                    if let Some(why) = why {
                        report(Event::Lost(why));
                    }
                    if self.counters.rx_frames.get() != frames {
                        retry = RETRY.0;
                    }
                    let event = self.wait_for_event(controller, retry).await;
                    retry = (retry * 2).min(RETRY.1);
                    event
                }
                Either::Second(event) => {
                    if event == DeviceEvent::Disconnected {
                        report(Event::Lost(Why::Gone));
                    }
                    retry = RETRY.0;
                    Some(event)
                }
            };
            match event {
                Some(DeviceEvent::Connected(now)) => speed = now,
                Some(event) => {
                    if event == DeviceEvent::Overcurrent {
                        report(Event::Overcurrent(Place::Root));
                    }
                    speed = self.wait_for_device(controller).await;
                }
                // It is still there: a reset brings it, and the hubs between,
                // back to where enumeration begins.
                None => controller.controller_mut().bus_reset().await,
            }
        }
    }

    /// Finds a NIC and serves it until it is gone. None if there was no NIC
    /// and why has been reported.
    async fn serve<'b, A: UsbHostAllocator<'b>>(
        &mut self,
        bus: &BusHandle<'b, A>,
        speed: Speed,
        report: &dyn Fn(Event),
    ) -> Option<Why> {
        let mut walk = Walk {
            bus,
            buf: &mut self.configuration[..],
            report,
        };
        let (state, _, mut tx) = self.stack.borrow_split();
        // The one before may have been given up in the middle of its work.
        state.set_link_state(LinkState::Down);
        let found = match select(walk.find(speed), pump::discard(&mut tx, self.counters)).await {
            Either::First(found) => found.ok()?,
            Either::Second(never) => never,
        };
        let mut nic = found.nic;
        let served = nic.run(
            self.mac,
            &mut self.stack,
            &mut self.burst[..],
            self.counters,
            report,
        );
        Some(match found.at {
            None => served.await,
            Some((hub, port)) => match select(served, watch_port(bus, hub, port)).await {
                Either::First(why) | Either::Second(why) => why,
            },
        })
    }

    /// Waits for a device on the root port; what the stack sends is dropped.
    async fn wait_for_device<'b, C: UsbHostController<'b>>(
        &mut self,
        controller: &mut BusController<'b, C>,
    ) -> Speed {
        loop {
            let forever = Duration::from_secs(3600);
            if let Some(DeviceEvent::Connected(speed)) =
                self.wait_for_event(controller, forever).await
            {
                return speed;
            }
        }
    }

    async fn wait_for_event<'b, C: UsbHostController<'b>>(
        &mut self,
        controller: &mut BusController<'b, C>,
        patience: Duration,
    ) -> Option<DeviceEvent> {
        let (state, _, mut tx) = self.stack.borrow_split();
        state.set_link_state(LinkState::Down);
        let event = controller.wait_for_device_event();
        match select(
            with_timeout(patience, event),
            pump::discard(&mut tx, self.counters),
        )
        .await
        {
            Either::First(event) => event.ok(),
            Either::Second(never) => never,
        }
    }
}
