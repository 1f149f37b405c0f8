//! Pipes to endpoints, as `embassy-usb-host` and class drivers use them.

use core::marker::PhantomData;

use embassy_time::{Duration, Instant, Timer, with_deadline};
use embassy_usb_driver::host::{
    HostError, PipeError, SplitInfo, SplitSpeed, TimeoutConfig, UsbHostAllocator, UsbPipe, pipe,
};
use embassy_usb_driver::{EndpointInfo, EndpointType, Speed};

use super::channel::{Channel, Endpoint, Pid};
use super::pool::Key;
use super::transfer::{self, Data};
use super::{CHANNEL_MINIMUM, Host};
use crate::Bus;

/// Makes pipes.
#[derive(Debug)]
pub struct Allocator<'d, B> {
    host: &'d Host<B>,
}

impl<'d, B> Allocator<'d, B> {
    pub(super) const fn new(host: &'d Host<B>) -> Self {
        Self { host }
    }
}

impl<B> Clone for Allocator<'_, B> {
    fn clone(&self) -> Self {
        Self { host: self.host }
    }
}

impl<'d, B: Bus + 'd> UsbHostAllocator<'d> for Allocator<'d, B> {
    type Pipe<T: pipe::Type, D: pipe::Direction> = Pipe<'d, B, T, D>;

    fn alloc_pipe<T: pipe::Type, D: pipe::Direction>(
        &self,
        addr: u8,
        endpoint: &EndpointInfo,
        split: Option<SplitInfo>,
    ) -> Result<Self::Pipe<T, D>, HostError> {
        Pipe::new(self.host, addr, endpoint, split)
    }
}

/// A pipe to one endpoint.
///
/// A bulk IN pipe keeps a channel and its buffer for as long as it lives; every
/// other one borrows them for each transfer, so that there may be any number.
///
/// On QEMU's controller bulk IN is fast only when 2,048 bytes or more are asked
/// for, see [`Kind::Qemu`](super::Kind::Qemu).
///
/// Transfers may be dropped: the channel halts, what came before is lost, and
/// the toggle is that of the device's next packet.
#[derive(Debug)]
pub struct Pipe<'d, B: Bus, T, D> {
    host: &'d Host<B>,
    to: Endpoint,
    /// `None` while the pipe needs none.
    channel: Option<Channel<'d, B>>,
    /// Whether a channel stays with the pipe between transfers.
    kept: bool,
    /// Of the next packet.
    toggle: Pid,
    /// The toggle was set while a dropped transfer may still have been going
    /// on: what that says of it does not count.
    toggle_set: bool,
    timeout: TimeoutConfig,
    interval: Duration,
    next_poll: Instant,
    /// The host's epoch when this was made.
    epoch: u32,
    kind: PhantomData<fn() -> (T, D)>,
}

impl<'d, B: Bus, T: pipe::Type, D: pipe::Direction> Pipe<'d, B, T, D> {
    fn new(
        host: &'d Host<B>,
        address: u8,
        endpoint: &EndpointInfo,
        split: Option<SplitInfo>,
    ) -> Result<Self, HostError> {
        let max_packet = usize::from(endpoint.max_packet_size & 0x7FF);
        let kind = T::ep_type();
        if kind == EndpointType::Isochronous {
            return Err(HostError::Other("isochronous transfers are not supported"));
        }
        if max_packet == 0 || max_packet > CHANNEL_MINIMUM || address > 127 {
            return Err(HostError::InvalidDescriptor);
        }
        let root = host.attached().ok_or(HostError::NoSuchDevice)?;
        let kept = kind == EndpointType::Bulk && D::is_in();
        if kept && !host.pool.lock(|pool| pool.borrow_mut().keep()) {
            return Err(HostError::OutOfPipes);
        }
        Ok(Self {
            host,
            to: Endpoint {
                address,
                number: endpoint.addr.index() as u8,
                kind,
                max_packet,
                low_speed: match split {
                    Some(split) => split.device_speed() == SplitSpeed::Low,
                    None => root == Speed::Low,
                },
                high_speed: root == Speed::High && split.is_none(),
                // On a full-speed bus it is a low-speed device behind a hub:
                // the PRE packet comes of being low speed.
                hub: split.filter(|_| root == Speed::High),
            },
            channel: None,
            kept,
            toggle: Pid::Data0,
            toggle_set: false,
            timeout: TimeoutConfig::default(),
            interval: Duration::from_millis(u64::from(endpoint.interval_ms.max(1))),
            next_poll: Instant::now(),
            epoch: host.epoch(),
            kind: PhantomData,
        })
    }

    /// Whether the device may still be there. One without an address is
    /// whoever answers.
    fn alive(&self) -> Result<(), PipeError> {
        let same = self.to.address == 0 || self.epoch == self.host.epoch();
        if same && self.host.attached().is_some() {
            Ok(())
        } else {
            Err(PipeError::Disconnected)
        }
    }

    /// A channel that is not running.
    async fn ready(&mut self, deadline: Option<Instant>) -> Result<(), PipeError> {
        self.alive()?;
        match &mut self.channel {
            Some(channel) if channel.is_running() => {
                // A transfer was dropped.
                let ended = channel.stop().await?;
                if !self.toggle_set {
                    self.toggle = ended.next;
                }
            }
            Some(_) => {}
            None => {
                let key = Key {
                    address: self.to.address,
                    endpoint: self.to.number,
                    input: D::is_in(),
                };
                let take = Channel::take(self.host, key);
                self.channel = Some(match deadline {
                    Some(at) => with_deadline(at, take)
                        .await
                        .map_err(|_| PipeError::Timeout)?,
                    None => take.await,
                });
            }
        }
        self.toggle_set = false;
        self.alive()
    }

    /// Gives the channel back, unless it is the pipe's own or did not halt.
    fn release(&mut self) {
        let running = self.channel.as_ref().is_some_and(Channel::is_running);
        if !self.kept && !running {
            self.channel = None;
        }
    }

    /// Moves `data` and gives the channel back.
    async fn bulk(&mut self, data: Data<'_>) -> Result<usize, PipeError> {
        self.ready(None).await?;
        let result = match &mut self.channel {
            Some(channel) => transfer::run(channel, &self.to, data, &mut self.toggle, None).await,
            None => Err(PipeError::Canceled),
        };
        self.release();
        result
    }

    /// Moves one packet as soon as the endpoint takes or has one.
    async fn interrupt(&mut self, mut data: Data<'_>) -> Result<usize, PipeError> {
        loop {
            Timer::at(self.next_poll).await;
            self.ready(None).await?;
            self.next_poll = Instant::now() + self.interval;
            let data = match &mut data {
                Data::In(bytes) => Data::In(bytes),
                Data::Out(bytes) => Data::Out(bytes),
                Data::Setup(bytes) => Data::Setup(bytes),
            };
            let result = match &mut self.channel {
                Some(channel) => transfer::poll(channel, &self.to, data, &mut self.toggle).await,
                None => Err(PipeError::Canceled),
            };
            self.release();
            if let Some(moved) = result? {
                return Ok(moved);
            }
        }
    }

    /// Runs the stages of a control transfer (USB 2.0 §8.5.3).
    async fn control(
        &mut self,
        setup: &[u8; 8],
        data: Data<'_>,
        limit: core::time::Duration,
    ) -> Result<usize, PipeError> {
        let limit = Duration::from_micros(u64::try_from(limit.as_micros()).unwrap_or(u64::MAX));
        let deadline = Instant::now().checked_add(limit);
        self.ready(deadline).await?;
        let result = match &mut self.channel {
            Some(channel) => stages(channel, &self.to, setup, data, deadline).await,
            None => Err(PipeError::Canceled),
        };
        self.release();
        result
    }
}

async fn stages<B: Bus>(
    channel: &mut Channel<'_, B>,
    to: &Endpoint,
    setup: &[u8; 8],
    data: Data<'_>,
    deadline: Option<Instant>,
) -> Result<usize, PipeError> {
    let setup = Data::Setup(setup);
    transfer::run(channel, to, setup, &mut Pid::Setup, deadline).await?;
    let (moved, answer_in) = match data {
        // The last stage goes the other way than the data, and in without any.
        Data::Out(bytes) => {
            if !bytes.is_empty() {
                let data = Data::Out(bytes);
                transfer::run(channel, to, data, &mut Pid::Data1, deadline).await?;
            }
            (bytes.len(), true)
        }
        Data::In([]) => (0, true),
        data => {
            let moved = transfer::run(channel, to, data, &mut Pid::Data1, deadline).await?;
            (moved, false)
        }
    };
    let status = if answer_in {
        Data::In(&mut [])
    } else {
        Data::Out(&[])
    };
    transfer::run(channel, to, status, &mut Pid::Data1, deadline).await?;
    Ok(moved)
}

impl<B: Bus, T: pipe::Type, D: pipe::Direction> UsbPipe<T, D> for Pipe<'_, B, T, D> {
    async fn control_in(&mut self, setup: &[u8; 8], buf: &mut [u8]) -> Result<usize, PipeError>
    where
        T: pipe::IsControl,
        D: pipe::IsIn,
    {
        let asked = usize::from(u16::from_le_bytes([setup[6], setup[7]]));
        let len = buf.len().min(asked);
        let limit = self.timeout.data_timeout;
        self.control(setup, Data::In(&mut buf[..len]), limit).await
    }

    async fn control_out(&mut self, setup: &[u8; 8], buf: &[u8]) -> Result<(), PipeError>
    where
        T: pipe::IsControl,
        D: pipe::IsOut,
    {
        let limit = if buf.is_empty() {
            self.timeout.no_data_timeout
        } else {
            self.timeout.data_timeout
        };
        self.control(setup, Data::Out(buf), limit).await?;
        Ok(())
    }

    async fn request_in(&mut self, buf: &mut [u8]) -> Result<usize, PipeError>
    where
        D: pipe::IsIn,
    {
        match self.to.kind {
            EndpointType::Bulk => self.bulk(Data::In(buf)).await,
            EndpointType::Interrupt => self.interrupt_in(buf).await,
            // Nothing moves outside a request there.
            EndpointType::Control | EndpointType::Isochronous => Err(PipeError::Canceled),
        }
    }

    async fn request_out(
        &mut self,
        buf: &[u8],
        ensure_transaction_end: bool,
    ) -> Result<(), PipeError>
    where
        D: pipe::IsOut,
    {
        let whole = !buf.is_empty() && buf.len().is_multiple_of(self.to.max_packet);
        let end = ensure_transaction_end && whole;
        match self.to.kind {
            EndpointType::Bulk => {
                self.bulk(Data::Out(buf)).await?;
                if end {
                    self.bulk(Data::Out(&[])).await?;
                }
                Ok(())
            }
            EndpointType::Interrupt => {
                // An empty buffer is one empty packet.
                let mut rest = buf;
                loop {
                    let (packet, after) = rest.split_at(rest.len().min(self.to.max_packet));
                    self.interrupt(Data::Out(packet)).await?;
                    rest = after;
                    if rest.is_empty() {
                        break;
                    }
                }
                if end {
                    self.interrupt(Data::Out(&[])).await?;
                }
                Ok(())
            }
            EndpointType::Control | EndpointType::Isochronous => Err(PipeError::Canceled),
        }
    }

    fn set_timeout(&mut self, timeout: TimeoutConfig)
    where
        T: pipe::IsControl,
    {
        self.timeout = timeout;
    }

    fn reset_data_toggle(&mut self)
    where
        T: pipe::IsBulkOrInterrupt,
    {
        self.toggle = Pid::Data0;
        self.toggle_set = true;
    }
}

impl<B: Bus, T: pipe::Type, D: pipe::Direction> Pipe<'_, B, T, D> {
    /// Collects packets until `buf` is full or one is short.
    async fn interrupt_in(&mut self, buf: &mut [u8]) -> Result<usize, PipeError> {
        let mut done = 0;
        loop {
            let moved = self.interrupt(Data::In(&mut buf[done..])).await?;
            done += moved;
            if moved < self.to.max_packet || done == buf.len() {
                return Ok(done);
            }
        }
    }
}

impl<B: Bus, T, D> Drop for Pipe<'_, B, T, D> {
    fn drop(&mut self) {
        // The channel first: it is what the pipe's place was kept for.
        self.channel = None;
        if self.kept {
            self.host.pool.lock(|pool| pool.borrow_mut().unkeep());
        }
    }
}
