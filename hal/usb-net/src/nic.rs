//! One NIC: which driver serves it, and serving it until it is gone.

use core::cell::Cell;

use embassy_futures::select::{Either3, select3};
use embassy_net_driver::{HardwareAddress, LinkState};
use embassy_net_driver_channel::Runner as Channel;
use embassy_time::{Duration, Timer};
use embassy_usb_driver::host::{HostError, PipeError, UsbHostAllocator, UsbPipe, pipe};
use embassy_usb_driver::{EndpointInfo, Speed};
use embassy_usb_host::handler::EnumerationInfo;

use crate::FRAME;
use crate::cdc_ecm::{CdcEcm, EcmFraming, Function};
use crate::control::Control;
use crate::counters::Counters;
use crate::descriptors::{self, Endpoints};
use crate::event::{DriverName, Event, Identity, Link, StartError, Why};
use crate::lan95xx::{self, Lan95xx, Lan95xxFraming};
use crate::pump::{self, Framing};

const CONFIGURATION: u8 = 2;
/// Bytes of a configuration descriptor without what follows it.
const CONFIGURATION_HEADER: usize = 9;

/// Starts without a frame in between after which it is left to whoever can
/// reset the bus.
const FRUITLESS_STARTS: u32 = 3;
const BETWEEN_STARTS: Duration = Duration::from_millis(200);

/// Why a device is not served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum ProbeError {
    /// No driver here knows it.
    Unknown(Identity),
    /// It is an Ethernet adapter, but it cannot be talked to.
    Unusable(Identity, StartError),
}

/// An Ethernet adapter on the bus.
pub struct UsbNic<'d, A: UsbHostAllocator<'d>> {
    identity: Identity,
    speed: Speed,
    driver: Driver<A::Pipe<pipe::Control, pipe::InOut>>,
    endpoints: Endpoints,
    bulk_in: A::Pipe<pipe::Bulk, pipe::In>,
    bulk_out: A::Pipe<pipe::Bulk, pipe::Out>,
    notifications: Option<A::Pipe<pipe::Interrupt, pipe::In>>,
}

enum Driver<P> {
    Lan95xx(Lan95xx<P>),
    CdcEcm(CdcEcm<P>),
}

/// Which driver fits, before any pipe but the control pipe is open.
enum Fit {
    Lan95xx(Endpoints),
    CdcEcm(Function),
}

impl<'d, A: UsbHostAllocator<'d>> UsbNic<'d, A> {
    /// Finds the driver for a device that was enumerated. `buf` holds its
    /// first configuration in the first `len` bytes, as
    /// [`enumerate`](embassy_usb_host::BusHandle::enumerate) leaves it; the
    /// others are read into it.
    pub async fn probe(
        alloc: &A,
        device: &EnumerationInfo,
        buf: &mut [u8],
        len: usize,
    ) -> Result<Self, ProbeError> {
        let identity = Identity::new(device, buf.get(..len).unwrap_or_default());
        let unusable = |error| ProbeError::Unusable(identity, error);
        let pipe_error = |error: HostError| unusable(StartError::Pipe(error));

        let control = Control::open(alloc, device).map_err(pipe_error)?;
        let fit = match fit(&control, device, buf, len).await {
            Ok(Some(fit)) => fit,
            Ok(None) => return Err(ProbeError::Unknown(identity)),
            Err(error) => return Err(unusable(StartError::Request(error))),
        };
        let (driver, endpoints, interrupt) = match fit {
            Fit::Lan95xx(endpoints) => {
                let chip = Lan95xx::new(control, device.speed());
                (Driver::Lan95xx(chip), endpoints, None)
            }
            Fit::CdcEcm(function) => {
                let adapter = CdcEcm::new(control, function);
                (
                    Driver::CdcEcm(adapter),
                    function.endpoints,
                    function.notifications,
                )
            }
        };
        let (address, split) = (device.device_address, device.split());
        let notifications = interrupt.map(|endpoint: EndpointInfo| {
            alloc.alloc_pipe::<pipe::Interrupt, pipe::In>(address, &endpoint, split)
        });
        Ok(Self {
            identity,
            speed: device.speed(),
            driver,
            endpoints,
            bulk_in: alloc
                .alloc_pipe(address, &endpoints.bulk_in, split)
                .map_err(pipe_error)?,
            bulk_out: alloc
                .alloc_pipe(address, &endpoints.bulk_out, split)
                .map_err(pipe_error)?,
            notifications: notifications.transpose().map_err(pipe_error)?,
        })
    }

    /// Which device it is.
    pub const fn identity(&self) -> Identity {
        self.identity
    }

    /// Starts the NIC and serves it until it is gone or beyond help. `buf` is
    /// at least [`crate::BURST`] bytes.
    pub(crate) async fn run(
        &mut self,
        mac: Option<[u8; 6]>,
        stack: &mut Channel<'_, FRAME>,
        buf: &mut [u8],
        counters: &Counters,
        report: &dyn Fn(Event),
    ) -> Why {
        let mut fruitless = 0;
        let mut started_before = false;
        loop {
            let moved = counters
                .rx_frames
                .get()
                .wrapping_add(counters.tx_frames.get());
            let why = match self.start(mac, started_before).await {
                Ok(mac) => {
                    if !started_before {
                        report(self.started(mac));
                    }
                    started_before = true;
                    stack.set_hardware_address(HardwareAddress::Ethernet(mac));
                    let why = self.serve(stack, buf, counters, report).await;
                    stack.set_link_state(LinkState::Down);
                    why
                }
                Err(StartError::Request(PipeError::Disconnected)) => Why::Gone,
                Err(error) => Why::Start(error),
            };
            let no_address = StartError::Chip(lan95xx::ChipError::NoAddress);
            if [
                Why::Gone,
                Why::Start(StartError::NoAddress),
                Why::Start(no_address),
            ]
            .contains(&why)
            {
                return why;
            }
            let now = counters
                .rx_frames
                .get()
                .wrapping_add(counters.tx_frames.get());
            fruitless = if now == moved { fruitless + 1 } else { 0 };
            if fruitless > FRUITLESS_STARTS {
                return if let Why::Start(_) = why {
                    why
                } else {
                    Why::Hopeless
                };
            }
            counters.restarts.add();
            report(Event::Restarting(why));
            Timer::after(BETWEEN_STARTS).await;
        }
    }

    /// Initialises the device; both sides then begin with DATA0.
    async fn start(&mut self, mac: Option<[u8; 6]>, again: bool) -> Result<[u8; 6], StartError> {
        let mac = match &self.driver {
            Driver::Lan95xx(chip) => chip.start(mac).await?,
            Driver::CdcEcm(adapter) => adapter.start(mac).await?,
        };
        if again {
            // SET_CONFIGURATION has done the same where it was just made.
            let control = self.driver.control();
            for endpoint in [self.endpoints.bulk_in, self.endpoints.bulk_out] {
                control
                    .clear_halt(endpoint.addr)
                    .await
                    .map_err(StartError::Request)?;
            }
        }
        self.bulk_in.reset_data_toggle();
        self.bulk_out.reset_data_toggle();
        if let Some(notifications) = &mut self.notifications {
            notifications.reset_data_toggle();
        }
        Ok(mac)
    }

    /// Frames both ways and the link, until one of them cannot go on.
    async fn serve(
        &mut self,
        stack: &mut Channel<'_, FRAME>,
        buf: &mut [u8],
        counters: &Counters,
        report: &dyn Fn(Event),
    ) -> Why {
        let (state, mut rx, mut tx) = stack.borrow_split();
        let link_up = Cell::new(false);
        let changed = |link: Option<Link>| {
            link_up.set(link.is_some());
            state.set_link_state(match link {
                Some(_) => LinkState::Up,
                None => LinkState::Down,
            });
            report(link.map_or(Event::LinkDown, Event::LinkUp));
        };
        let (bulk_in, bulk_out) = (&mut self.bulk_in, &mut self.bulk_out);
        let Endpoints {
            bulk_in: from,
            bulk_out: to,
        } = self.endpoints;
        let ended = match &self.driver {
            Driver::Lan95xx(chip) => {
                type F = Lan95xxFraming;
                let control = chip.control();
                let buf = F::room(buf);
                select3(
                    pump::receive::<F, _, _>(bulk_in, from.addr, control, &mut rx, buf, counters),
                    pump::send::<F, _, _>(bulk_out, to.addr, control, &mut tx, &link_up, counters),
                    chip.watch(counters, changed),
                )
                .await
            }
            Driver::CdcEcm(adapter) => {
                type F = EcmFraming;
                let control = adapter.control();
                let buf = F::room(buf);
                select3(
                    pump::receive::<F, _, _>(bulk_in, from.addr, control, &mut rx, buf, counters),
                    pump::send::<F, _, _>(bulk_out, to.addr, control, &mut tx, &link_up, counters),
                    adapter.watch(self.notifications.as_mut(), counters, changed),
                )
                .await
            }
        };
        if link_up.get() {
            report(Event::LinkDown);
        }
        match ended {
            Either3::First(why) | Either3::Second(why) | Either3::Third(why) => why,
        }
    }

    fn started(&self, mac: [u8; 6]) -> Event {
        let driver = match self.driver {
            Driver::Lan95xx(_) => DriverName::Lan95xx,
            Driver::CdcEcm(_) => DriverName::CdcEcm,
        };
        Event::Started {
            device: self.identity,
            driver,
            speed: self.speed,
            mac,
        }
    }
}

impl<P: UsbPipe<pipe::Control, pipe::InOut>> Driver<P> {
    const fn control(&self) -> &Control<P> {
        match self {
            Self::Lan95xx(chip) => chip.control(),
            Self::CdcEcm(adapter) => adapter.control(),
        }
    }
}

/// Which driver fits the device, if one does.
async fn fit<P: UsbPipe<pipe::Control, pipe::InOut>>(
    control: &Control<P>,
    device: &EnumerationInfo,
    buf: &mut [u8],
    len: usize,
) -> Result<Option<Fit>, PipeError> {
    let said = &device.device_desc;
    let speed = device.speed();
    if lan95xx::is_one(said.vendor_id, said.product_id) {
        let configuration = buf.get(..len).unwrap_or_default();
        let pair = descriptors::bulk_pair(configuration, speed, |_| true);
        return Ok(pair.map(|(_, endpoints)| Fit::Lan95xx(endpoints)));
    }
    let mut configuration = buf.get(..len).unwrap_or_default();
    for index in 0..said.num_configurations {
        if index > 0 {
            configuration = read_configuration(control, index, buf).await?;
        }
        if let Some(function) = Function::find(configuration, speed) {
            return Ok(Some(Fit::CdcEcm(function)));
        }
    }
    Ok(None)
}

/// A configuration descriptor with what follows it, or as much as fits.
async fn read_configuration<'b, P: UsbPipe<pipe::Control, pipe::InOut>>(
    control: &Control<P>,
    index: u8,
    buf: &'b mut [u8],
) -> Result<&'b [u8], PipeError> {
    let mut header = [0; CONFIGURATION_HEADER];
    let header = control
        .descriptor(CONFIGURATION, index, 0, &mut header)
        .await?;
    let &[_, _, low, high, ..] = header else {
        return Ok(&[]);
    };
    let whole = usize::from(u16::from_le_bytes([low, high])).min(buf.len());
    control
        .descriptor(CONFIGURATION, index, 0, &mut buf[..whole])
        .await
}
