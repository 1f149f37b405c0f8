//! Endpoint 0 of one device, shared by the loops that serve it.

use core::time::Duration;

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::mutex::Mutex;
use embassy_usb_driver::host::{
    HostError, PipeError, TimeoutConfig, UsbHostAllocator, UsbPipe, pipe,
};
use embassy_usb_driver::{Direction, EndpointAddress, EndpointInfo, EndpointType};
use embassy_usb_host::control::{ControlType, Recipient, RequestType, SetupPacket};
use embassy_usb_host::handler::EnumerationInfo;

/// How often a request is made before its failure is believed. A request that
/// was damaged on the line is repeated; a refusal (STALL) is an answer.
const ATTEMPTS: u32 = 3;

/// How long a request may take. 5 s are allowed at most (USB 2.0 §9.2.6.1);
/// adapters that start their PHY in SET_CONFIGURATION take longer than the
/// 50 ms a request without data should.
const DEADLINE: Duration = Duration::from_millis(1000);

const CLEAR_FEATURE: u8 = 1;
const SET_CONFIGURATION: u8 = 9;
const SET_INTERFACE: u8 = 11;
const ENDPOINT_HALT: u16 = 0;
const GET_DESCRIPTOR: u8 = 6;

/// Control requests to one device.
pub(crate) struct Control<P> {
    pipe: Mutex<NoopRawMutex, P>,
}

impl<P: UsbPipe<pipe::Control, pipe::InOut>> Control<P> {
    /// Opens endpoint 0 of an enumerated device.
    pub(crate) fn open<'d, A>(alloc: &A, device: &EnumerationInfo) -> Result<Self, HostError>
    where
        A: UsbHostAllocator<'d, Pipe<pipe::Control, pipe::InOut> = P>,
    {
        let endpoint = EndpointInfo {
            addr: EndpointAddress::from_parts(0, Direction::In),
            ep_type: EndpointType::Control,
            max_packet_size: u16::from(device.device_desc.max_packet_size0),
            interval_ms: 0,
        };
        let mut pipe = alloc.alloc_pipe::<pipe::Control, pipe::InOut>(
            device.device_address,
            &endpoint,
            device.split(),
        )?;
        let mut timeouts = TimeoutConfig::default();
        timeouts.data_timeout = DEADLINE;
        timeouts.no_data_timeout = DEADLINE;
        pipe.set_timeout(timeouts);
        Ok(Self {
            pipe: Mutex::new(pipe),
        })
    }

    /// A request that asks for `buf.len()` bytes. Returns how many came.
    pub(crate) async fn read(&self, request: Request, buf: &mut [u8]) -> Result<usize, PipeError> {
        let setup = request.setup(Direction::In, buf.len());
        let mut pipe = self.pipe.lock().await;
        let mut attempt = 1;
        loop {
            match pipe.control_in(&setup, buf).await {
                // A count larger than the buffer is the controller's mistake.
                Ok(count) => return Ok(count.min(buf.len())),
                Err(error) if is_final(error) || attempt == ATTEMPTS => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }

    /// A request that hands over `bytes`, or none.
    pub(crate) async fn write(&self, request: Request, bytes: &[u8]) -> Result<(), PipeError> {
        let setup = request.setup(Direction::Out, bytes.len());
        let mut pipe = self.pipe.lock().await;
        let mut attempt = 1;
        loop {
            match pipe.control_out(&setup, bytes).await {
                Ok(()) => return Ok(()),
                Err(error) if is_final(error) || attempt == ATTEMPTS => return Err(error),
                Err(_) => attempt += 1,
            }
        }
    }

    /// Lets a halted endpoint work again. The pipe to it has to be told to
    /// begin with DATA0, as the endpoint now does (USB 2.0 §9.4.5).
    pub(crate) async fn clear_halt(&self, endpoint: EndpointAddress) -> Result<(), PipeError> {
        let index = u16::from(u8::from(endpoint));
        let request = Request::standard(Recipient::Endpoint, CLEAR_FEATURE, ENDPOINT_HALT, index);
        self.write(request, &[]).await
    }

    /// Chooses a configuration by its bConfigurationValue.
    pub(crate) async fn set_configuration(&self, value: u8) -> Result<(), PipeError> {
        let request = Request::standard(Recipient::Device, SET_CONFIGURATION, u16::from(value), 0);
        self.write(request, &[]).await
    }

    /// Chooses an alternate setting of an interface.
    pub(crate) async fn set_interface(&self, number: u8, setting: u8) -> Result<(), PipeError> {
        let (value, index) = (u16::from(setting), u16::from(number));
        let request = Request::standard(Recipient::Interface, SET_INTERFACE, value, index);
        self.write(request, &[]).await
    }

    /// Reads the descriptor of this type and index; `language` is 0 but for
    /// strings. Returns as much of it as fits into `buf`.
    pub(crate) async fn descriptor<'b>(
        &self,
        kind: u8,
        index: u8,
        language: u16,
        buf: &'b mut [u8],
    ) -> Result<&'b [u8], PipeError> {
        let value = u16::from_be_bytes([kind, index]);
        let request = Request::standard(Recipient::Device, GET_DESCRIPTOR, value, language);
        let count = self.read(request, buf).await?;
        Ok(&buf[..count])
    }
}

/// Whether a request that failed so fails again.
fn is_final(error: PipeError) -> bool {
    matches!(
        error,
        PipeError::Stall | PipeError::Disconnected | PipeError::Canceled
    )
}

/// A request without its direction and length (USB 2.0 §9.3).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request {
    control_type: ControlType,
    recipient: Recipient,
    request: u8,
    value: u16,
    index: u16,
}

impl Request {
    pub(crate) const fn standard(
        recipient: Recipient,
        request: u8,
        value: u16,
        index: u16,
    ) -> Self {
        Self {
            control_type: ControlType::Standard,
            recipient,
            request,
            value,
            index,
        }
    }

    pub(crate) const fn class(recipient: Recipient, request: u8, value: u16, index: u16) -> Self {
        Self {
            control_type: ControlType::Class,
            recipient,
            request,
            value,
            index,
        }
    }

    /// One that the maker of the device defined, to the device as a whole.
    pub(crate) const fn vendor(request: u8, value: u16, index: u16) -> Self {
        let recipient = Recipient::Device;
        Self {
            control_type: ControlType::Vendor,
            recipient,
            request,
            value,
            index,
        }
    }

    fn setup(self, direction: Direction, len: usize) -> [u8; 8] {
        let Self {
            control_type,
            recipient,
            request,
            value,
            index,
        } = self;
        SetupPacket {
            request_type: RequestType {
                direction,
                control_type,
                recipient,
            },
            request,
            value,
            index,
            length: len as u16,
        }
        .to_bytes()
    }
}
