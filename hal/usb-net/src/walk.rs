//! Looking through the bus for an Ethernet adapter: the root device, and if
//! it is a hub, what is plugged into it, again and again until one is found.

use embassy_time::{Duration, Timer};
use embassy_usb_driver::Speed;
use embassy_usb_driver::host::{HostError, UsbHostAllocator};
use embassy_usb_host::handler::{BusRoute, EnumerationInfo};
use embassy_usb_host::{BusHandle, EnumerationError};
use heapless::Vec;

use crate::control::Control;
use crate::event::{Event, Place, Why};
use crate::hub::{DEBOUNCE, Hub, PORTS};
use crate::nic::{ProbeError, UsbNic};
use crate::{HUBS, LAST_ADDRESS};

/// Between two looks at all ports. A person who plugs something in does not
/// notice it, and a look is a request of some 100 µs per port.
const LOOK: Duration = Duration::from_millis(250);

/// Failed looks at a hub in a row before it is taken to be gone.
const FAILED_LOOKS: u32 = 3;

/// How often a device is tried that does not enumerate. It has another chance
/// when it is plugged in anew.
const ATTEMPTS: u8 = 3;

/// bDeviceClass of hubs.
const HUB: u8 = 9;

/// A NIC and where it is.
pub(crate) struct Found<'d, A: UsbHostAllocator<'d>> {
    pub(crate) nic: UsbNic<'d, BusHandle<'d, A>>,
    pub(crate) at: Option<(Hub, u8)>,
}

/// One look through a bus whose root device was just reset.
pub(crate) struct Walk<'a, 'd, A: UsbHostAllocator<'d>> {
    pub(crate) bus: &'a BusHandle<'d, A>,
    /// For configuration descriptors.
    pub(crate) buf: &'a mut [u8],
    pub(crate) report: &'a dyn Fn(Event),
}

/// A hub and what is known of its ports.
struct Followed {
    hub: Hub,
    slots: [Slot; PORTS],
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Slot {
    Empty,
    /// Something that failed to enumerate so many times.
    Failed(u8),
    /// Something of no interest, with this address.
    Ignored(u8),
    Hub,
}

/// What a device turned out to be.
enum Kind<'d, A: UsbHostAllocator<'d>> {
    Nic(UsbNic<'d, BusHandle<'d, A>>),
    Hub(EnumerationInfo),
    Other(u8),
}

impl<'d, A: UsbHostAllocator<'d>> Walk<'_, 'd, A> {
    /// Returns when there is a NIC. Fails when the bus has to be reset and
    /// looked through from the start; what is wrong was reported then.
    pub(crate) async fn find(&mut self, root: Speed) -> Result<Found<'d, A>, ()> {
        let hub = match self.look_at(BusRoute::Direct(root), Place::Root).await {
            Ok(Kind::Nic(nic)) => return Ok(Found { nic, at: None }),
            Ok(Kind::Hub(device)) => device,
            Ok(Kind::Other(_)) => loop {
                // Until it is pulled, which the controller tells.
                Timer::after_secs(3600).await;
            },
            Err(error) => {
                (self.report)(Event::NotEnumerated(Place::Root, error));
                return Err(());
            }
        };
        let mut hubs: Vec<Followed, HUBS> = Vec::new();
        let mut failures = 0;
        let mut last = self.follow(&mut hubs, hub, Place::Root).await.map(drop);
        loop {
            match last {
                Ok(()) => {}
                Err(error) => {
                    failures += 1;
                    if failures == FAILED_LOOKS || hubs.is_empty() {
                        (self.report)(Event::HubFailed(error));
                        return Err(());
                    }
                }
            }
            match self.look_at_ports(&mut hubs).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {
                    failures = 0;
                    last = Ok(());
                }
                Err(error) => last = Err(error),
            }
            Timer::after(LOOK).await;
        }
    }

    async fn follow(
        &self,
        hubs: &mut Vec<Followed, HUBS>,
        device: EnumerationInfo,
        place: Place,
    ) -> Result<Slot, HostError> {
        if hubs.is_full() {
            (self.report)(Event::TooManyHubs(place));
            return Ok(Slot::Ignored(device.device_address));
        }
        let hub = Hub::open(self.bus, device).await?;
        let _ = hubs.push(Followed {
            hub,
            slots: [Slot::Empty; PORTS],
        });
        Ok(Slot::Hub)
    }

    /// Every port of every hub once, those found on the way included.
    async fn look_at_ports(
        &mut self,
        hubs: &mut Vec<Followed, HUBS>,
    ) -> Result<Option<Found<'d, A>>, HostError> {
        let mut index = 0;
        while let Some(&Followed { hub, .. }) = hubs.get(index) {
            let control = Control::open(self.bus, hub.device())?;
            for port in hub.ports() {
                let place = Place::Port {
                    hub: hub.address(),
                    port,
                };
                let now = hub.status(&control, port).await?;
                if now.overcurrent() && now.changed_current() {
                    (self.report)(Event::Overcurrent(place));
                }
                let slot = &mut hubs[index].slots[usize::from(port - 1)];
                if now.reconnected() || !now.connected() {
                    match *slot {
                        // With all that is behind it: begin again.
                        Slot::Hub => return Err(HostError::NoSuchDevice),
                        Slot::Ignored(address) => self.bus.free_address(address),
                        Slot::Empty | Slot::Failed(_) => {}
                    }
                    *slot = Slot::Empty;
                }
                let attempt = match *slot {
                    Slot::Empty => 1,
                    Slot::Failed(attempts) => attempts + 1,
                    Slot::Ignored(_) | Slot::Hub => continue,
                };
                if !now.connected() || attempt > ATTEMPTS {
                    continue;
                }
                Timer::after(DEBOUNCE).await;
                // What is broken must not hide what is plugged in after it:
                // from here on errors are this port's, not the hub's.
                let looked = match hub.reset(&control, port).await {
                    Ok(Some(speed)) => self.look_at(hub.route(port, speed), place).await,
                    Ok(None) => continue,
                    Err(error) => Err(EnumerationError::Transfer(error)),
                };
                let next = match looked {
                    Ok(Kind::Nic(nic)) => {
                        return Ok(Some(Found {
                            nic,
                            at: Some((hub, port)),
                        }));
                    }
                    Ok(Kind::Other(address)) => Slot::Ignored(address),
                    Ok(Kind::Hub(device)) => match self.follow(hubs, device, place).await {
                        Ok(slot) => slot,
                        Err(error) => {
                            (self.report)(Event::HubFailed(error));
                            hub.disable(&control, port).await?;
                            self.free_unused(hubs);
                            Slot::Failed(attempt)
                        }
                    },
                    Err(error) => {
                        (self.report)(Event::NotEnumerated(place, error));
                        // It may still answer to address 0, or to the one it
                        // was just given, as the next device will.
                        hub.disable(&control, port).await?;
                        self.free_unused(hubs);
                        Slot::Failed(attempt)
                    }
                };
                hubs[index].slots[usize::from(port - 1)] = next;
            }
            index += 1;
        }
        Ok(None)
    }

    /// Frees the addresses that no device has: an enumeration that fails
    /// half-way may keep the one it took.
    fn free_unused(&self, hubs: &[Followed]) {
        let used = |address| {
            hubs.iter().any(|followed| {
                followed.hub.address() == address
                    || followed.slots.contains(&Slot::Ignored(address))
            })
        };
        for address in (1..=LAST_ADDRESS).filter(|&address| !used(address)) {
            self.bus.free_address(address);
        }
    }

    /// Enumerates the device that was just reset and finds out what it is.
    async fn look_at(
        &mut self,
        route: BusRoute,
        place: Place,
    ) -> Result<Kind<'d, A>, EnumerationError> {
        let (device, len) = self.bus.enumerate(route, self.buf).await?;
        if device.device_desc.device_class == HUB {
            return Ok(Kind::Hub(device));
        }
        match UsbNic::probe(self.bus, &device, self.buf, len).await {
            Ok(nic) => return Ok(Kind::Nic(nic)),
            Err(ProbeError::Unknown(identity)) => (self.report)(Event::Ignored(place, identity)),
            Err(ProbeError::Unusable(identity, error)) => {
                (self.report)(Event::Unusable(identity, error));
            }
        }
        Ok(Kind::Other(device.device_address))
    }
}

/// Returns when the device at a hub's port was pulled, or the hub itself.
pub(crate) async fn watch_port<'d, A: UsbHostAllocator<'d>>(
    bus: &BusHandle<'d, A>,
    hub: Hub,
    port: u8,
) -> Why {
    let mut failures = 0;
    loop {
        Timer::after(LOOK).await;
        let status = match Control::open(bus, hub.device()) {
            Ok(control) => hub
                .status(&control, port)
                .await
                .map_err(HostError::PipeError),
            Err(error) => Err(error),
        };
        match status {
            Ok(now) if now.connected() && !now.reconnected() => failures = 0,
            Ok(_) => return Why::Gone,
            Err(_) => {
                failures += 1;
                if failures == FAILED_LOOKS {
                    return Why::Gone;
                }
            }
        }
    }
}
