//! CDC-ECM: Ethernet adapters as the USB forum defines them, QEMU's usb-net
//! among them. One transfer is one frame, as it is on the wire without FCS.
//!
//! Whether there is a link is known only from notifications, and not every
//! adapter sends them (QEMU's never does): until one says otherwise it is up.

mod function;
mod notification;

use embassy_futures::yield_now;
use embassy_time::Timer;
use embassy_usb_driver::host::{PipeError, UsbPipe, pipe};
use embassy_usb_host::control::Recipient;

pub(crate) use function::Function;

use crate::control::{Control, Request};
use crate::counters::Counters;
use crate::event::{Link, StartError, Why};
use crate::pump::{self, Framing, RxFault};
use crate::{ECM_REQUEST, FRAME, TX_ROOM};
use function::mac_of;
use notification::{Notification, Notifications};

const SET_ETHERNET_PACKET_FILTER: u8 = 0x43;
/// Its bits (ECM 1.2 §6.2.4).
const PROMISCUOUS: u16 = 1 << 0;
const ALL_MULTICAST: u16 = 1 << 1;
const DIRECTED: u16 = 1 << 2;
const BROADCAST: u16 = 1 << 3;

/// Bytes of the longest packet of a full-speed interrupt endpoint. What is
/// understood is shorter, but a controller may refuse to read less than a
/// packet.
const NOTIFICATION_PACKET: usize = 64;

const STRING: u8 = 3;
/// The language asked for if the device does not name one: US English.
const ENGLISH: u16 = 0x0409;

/// A frame is a transfer.
pub(crate) struct EcmFraming;

impl Framing for EcmFraming {
    type Frames<'a> = core::option::IntoIter<Result<&'a [u8], RxFault>>;

    fn frames(transfer: &[u8]) -> Self::Frames<'_> {
        const HEADER: usize = 14;
        let frame = match transfer.len() {
            // Only the end of a transfer of full packets.
            0 => None,
            1..HEADER => Some(Err(RxFault::Malformed)),
            _ => Some(Ok(transfer)),
        };
        frame.into_iter()
    }

    fn room(buf: &mut [u8]) -> &mut [u8] {
        &mut buf[..ECM_REQUEST]
    }

    fn wrap<'a>(frame: &'a [u8], _room: &'a mut [u8; TX_ROOM]) -> &'a [u8] {
        &frame[..frame.len().min(FRAME)]
    }
}

/// An adapter that was found.
pub(crate) struct CdcEcm<P> {
    control: Control<P>,
    function: Function,
}

impl<P: UsbPipe<pipe::Control, pipe::InOut>> CdcEcm<P> {
    pub(crate) const fn new(control: Control<P>, function: Function) -> Self {
        Self { control, function }
    }

    pub(crate) const fn control(&self) -> &Control<P> {
        &self.control
    }

    /// Chooses configuration and setting, and what is received. The pipes
    /// begin with DATA0 after it. Returns the address to be used: `mac`, or
    /// the adapter's own.
    pub(crate) async fn start(&self, mac: Option<[u8; 6]>) -> Result<[u8; 6], StartError> {
        let Function {
            configuration,
            control,
            data,
            setting,
            ..
        } = self.function;
        self.control
            .set_configuration(configuration)
            .await
            .map_err(StartError::Request)?;
        if setting != 0 {
            // Setting 0 has no endpoints: an adapter that is started again
            // forgets what it had queued (ECM 1.2 §3.3).
            self.control
                .set_interface(data, 0)
                .await
                .map_err(StartError::Request)?;
        }
        self.control
            .set_interface(data, setting)
            .await
            .map_err(StartError::Request)?;

        let own = self.own_address().await.map_err(StartError::Request)?;
        let mac = mac.or(own).ok_or(StartError::NoAddress)?;
        let mut filter = DIRECTED | BROADCAST | ALL_MULTICAST;
        if Some(mac) != own {
            // ECM has no request to change what counts as directed.
            filter |= PROMISCUOUS;
        }
        let request = Request::class(
            Recipient::Interface,
            SET_ETHERNET_PACKET_FILTER,
            filter,
            control.into(),
        );
        match self.control.write(request, &[]).await {
            // It is optional: an adapter without it receives everything.
            Ok(()) | Err(PipeError::Stall) => Ok(mac),
            Err(error) => Err(StartError::Request(error)),
        }
    }

    /// The address in the adapter's strings, if there is a usable one.
    async fn own_address(&self) -> Result<Option<[u8; 6]>, PipeError> {
        if self.function.mac_string == 0 {
            return Ok(None);
        }
        // A string descriptor is at most 255 bytes; the address needs 26.
        let mut buf = [0; 32];
        let language = match self.control.descriptor(STRING, 0, 0, &mut buf[..4]).await {
            Ok(&[_, STRING, low, high]) => u16::from_le_bytes([low, high]),
            Ok(_) | Err(PipeError::Stall) => ENGLISH,
            Err(error) => return Err(error),
        };
        let index = self.function.mac_string;
        match self
            .control
            .descriptor(STRING, index, language, &mut buf)
            .await
        {
            Ok(string) => Ok(mac_of(string)),
            Err(PipeError::Stall) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Watches the link until the adapter needs help; `changed` is told what
    /// became of it.
    pub(crate) async fn watch<I: UsbPipe<pipe::Interrupt, pipe::In>>(
        &self,
        pipe: Option<&mut I>,
        counters: &Counters,
        mut changed: impl FnMut(Option<Link>),
    ) -> Why {
        let mut link = Link::default();
        let mut connected = true;
        changed(Some(link));
        if let (Some(pipe), Some(endpoint)) = (pipe, self.function.notifications) {
            let mut notifications = Notifications::default();
            let mut buf = [0; NOTIFICATION_PACKET];
            let mut failures = 0;
            loop {
                match pipe.request_in(&mut buf).await {
                    Ok(count) => {
                        failures = 0;
                        let news = notifications.take(buf.get(..count).unwrap_or_default());
                        let before = (connected, link);
                        match news {
                            Some(Notification::Connection(is)) => connected = is,
                            Some(Notification::Speed(bits)) => link.mbits = Some(bits / 1_000_000),
                            None => {}
                        }
                        // Speed is often told again and again, link up or not.
                        if connected != before.0 || (connected && link != before.1) {
                            changed(connected.then_some(link));
                        }
                        // An adapter that never runs out of news must not
                        // keep the others from running.
                        yield_now().await;
                    }
                    Err(error) => {
                        let again = pump::recover(
                            &mut failures,
                            error,
                            &self.control,
                            endpoint.addr,
                            counters,
                        );
                        match again.await {
                            Ok(()) => pipe.reset_data_toggle(),
                            Err(Why::Gone) => return Why::Gone,
                            // Frames may come without news.
                            Err(_) => break,
                        }
                    }
                }
            }
            if !connected {
                changed(Some(link));
            }
        }
        loop {
            // The hub, the controller or the other loops tell when it is gone.
            Timer::after_secs(3600).await;
        }
    }
}
