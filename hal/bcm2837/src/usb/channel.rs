//! One host channel in somebody's hands: start it, wait for it, stop it.

use core::future::poll_fn;
use core::task::Poll;

use embassy_time::{Duration, Instant, with_deadline, with_timeout};
use embassy_usb_driver::EndpointType;
use embassy_usb_driver::host::{PipeError, SplitInfo};

use super::Host;
use super::pool::Key;
use super::regs::{HCCHAR, HCDMA, HCINT, HCINTMSK, HCSPLT, HCTSIZ, chan, hcint, split, tsiz};
use crate::Bus;
use crate::dma::Buffer;

/// How long a channel may take to halt: it finishes the transaction it is in.
const HALT: Duration = Duration::from_millis(10);

/// Once this long without any answer a channel is dead: a device that is there
/// refuses (NAK) hundreds of times meanwhile, and one that is not makes a
/// transaction error within a millisecond.
const SILENCE: Duration = Duration::from_secs(2);

/// What interrupts are asked for. The core handles everything else that
/// happens during a transfer by itself (databook, "Channel in DMA mode").
const INTERRUPTS: u32 = hcint::HALTED | hcint::AHB_ERROR;

/// Packet IDs as HCTSIZ has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Pid {
    Data0 = 0,
    Data1 = 2,
    Setup = 3,
}

impl Pid {
    const fn of(hctsiz: u32) -> Self {
        // DATA2 and MDATA are for more than one transaction per microframe.
        match tsiz::pid(hctsiz) {
            2 => Self::Data1,
            _ => Self::Data0,
        }
    }
}

/// Where a pipe leads.
#[derive(Debug, Clone, Copy)]
pub(super) struct Endpoint {
    pub(super) address: u8,
    pub(super) number: u8,
    pub(super) kind: EndpointType,
    /// Bytes per packet, not 0.
    pub(super) max_packet: usize,
    pub(super) low_speed: bool,
    pub(super) high_speed: bool,
    /// The high-speed hub that translates for the device.
    pub(super) hub: Option<SplitInfo>,
}

impl Endpoint {
    pub(super) const fn periodic(&self) -> bool {
        matches!(
            self.kind,
            EndpointType::Interrupt | EndpointType::Isochronous
        )
    }
}

/// Which half of a split transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    Start,
    Complete,
}

/// One use of a channel.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start {
    pub(super) input: bool,
    pub(super) pid: Pid,
    /// Bytes from or to the beginning of the channel's buffer; whole packets
    /// for IN.
    pub(super) size: usize,
    pub(super) ping: bool,
    pub(super) half: Option<Half>,
}

impl Start {
    pub(super) const fn packets(&self, max_packet: usize) -> usize {
        if self.size == 0 {
            1
        } else {
            self.size.div_ceil(max_packet)
        }
    }
}

/// How a use of a channel ended.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// HCINT.
    pub(super) status: u32,
    /// Bytes and packets that were not moved.
    pub(super) size_left: usize,
    pub(super) packets_left: usize,
    /// It was stopped, because time was up.
    pub(super) late: bool,
    /// What the endpoint's next packet is to be.
    pub(super) next: Pid,
}

/// A channel, its buffer, and the right to use both.
#[derive(Debug)]
pub(super) struct Channel<'d, B: Bus> {
    host: &'d Host<B>,
    number: usize,
    /// `None` only while it is dropped.
    buffer: Option<Buffer>,
    key: Key,
    /// Started, and not seen to have ended.
    running: bool,
    /// Told to halt since it was last started.
    aborted: bool,
}

impl<'d, B: Bus> Channel<'d, B> {
    /// Takes a channel for the endpoint `key` as soon as one is free.
    pub(super) async fn take(host: &'d Host<B>, key: Key) -> Self {
        let take = |hurry| poll_fn(move |cx| host.poll_take(key, hurry, cx.waker()));
        let (number, buffer) = match with_timeout(HALT, take(false)).await {
            Ok(taken) => taken,
            Err(_) => take(true).await,
        };
        Self {
            host,
            number,
            buffer: Some(buffer),
            key,
            running: false,
            aborted: false,
        }
    }

    pub(super) fn buffer(&mut self) -> &mut Buffer {
        self.buffer
            .as_mut()
            .expect("the buffer is there until the channel is dropped")
    }

    fn bus_address(&self) -> u32 {
        self.buffer.as_ref().map_or(0, |b| b.bus_address(0))
    }

    pub(super) const fn host(&self) -> &'d Host<B> {
        self.host
    }

    /// Whether it was started and may still be at it.
    pub(super) const fn is_running(&self) -> bool {
        self.running
    }

    fn read(&self, register: usize) -> u32 {
        self.host.read_channel(self.number, register)
    }

    fn write(&self, register: usize, value: u32) {
        self.host.write_channel(self.number, register, value);
    }

    /// Starts the channel. It must not be running; the direction of a control
    /// endpoint is that of the stage.
    pub(super) fn start(&mut self, to: &Endpoint, start: &Start) {
        debug_assert!(!self.running);
        let host = self.host;
        // Also orders what was copied into the buffer before what is written
        // to the registers now.
        host.bus.barrier();
        self.write(HCINTMSK, 0);
        self.write(HCINT, hcint::ALL);
        let packets = start.packets(to.max_packet);
        let mut size = tsiz::new(start.size, packets, start.pid as u32);
        if start.ping {
            size |= tsiz::PING;
        }
        self.write(HCTSIZ, size);
        self.write(HCDMA, self.bus_address());
        let split = match (to.hub, start.half) {
            (Some(hub), Some(half)) => {
                let complete = match half {
                    Half::Start => 0,
                    Half::Complete => split::COMPLETE,
                };
                split::ENABLE | complete | split::WHOLE | split::hub(hub.hub_addr(), hub.port())
            }
            _ => 0,
        };
        self.write(HCSPLT, split);
        let mut character = to.max_packet as u32
            | chan::endpoint(to.number)
            | chan::kind(to.kind as u32)
            | chan::ONE_PER_FRAME
            | chan::address(to.address);
        if start.input {
            character |= chan::IN;
        }
        if to.low_speed {
            character |= chan::LOW_SPEED;
        }
        // A periodic transaction goes out in the next (micro)frame of the
        // parity that is asked for.
        if to.periodic() && host.frame() & 1 == 0 {
            character |= chan::ODD_FRAME;
        }
        self.write(HCCHAR, character | chan::ENABLE);
        self.running = true;
        self.aborted = false;
    }

    /// Waits until the channel halts, at most until `deadline`, and stops it
    /// then. If this future is dropped, the channel is told to halt.
    pub(super) async fn ended(&mut self, deadline: Option<Instant>) -> Result<Ended, PipeError> {
        let host = self.host;
        let number = self.number;
        let epoch = host.epoch();
        let guard = AbortOnDrop(Some(self));
        let halted = poll_fn(|cx| {
            // Most transfers in QEMU are over before anybody asks.
            let status = host.read_channel(number, HCINT);
            if status & INTERRUPTS != 0 {
                return Poll::Ready(Some(status));
            }
            if host.epoch() != epoch {
                return Poll::Ready(None);
            }
            host.channel_wakers[number].register(cx.waker());
            // From here on a halt raises the interrupt, even if it came first.
            host.write_channel(number, HCINTMSK, INTERRUPTS);
            Poll::Pending
        });
        let status = match deadline {
            Some(at) => with_deadline(at, halted).await.map_err(|_| Late),
            None if host.kind.silence_is_death() => while_answered(host, number, halted).await,
            None => Ok(halted.await),
        };
        let channel = guard.defuse();
        match status {
            Ok(Some(status)) if status & hcint::HALTED != 0 => Ok(channel.end(status)),
            // An AHB error alone: the channel does not know where it is.
            Ok(Some(status)) => channel.stop().await.map(|ended| Ended {
                status: ended.status | status,
                ..ended
            }),
            Ok(None) => {
                channel.abort();
                Err(PipeError::Disconnected)
            }
            Err(Late) => channel.stop().await.map(|ended| Ended {
                late: ended.status & hcint::COMPLETE == 0,
                ..ended
            }),
        }
    }

    /// Takes note that the channel halted.
    fn end(&mut self, status: u32) -> Ended {
        self.write(HCINTMSK, 0);
        self.running = false;
        let size = self.read(HCTSIZ);
        // The data is where the status says, from here on.
        self.host.bus.barrier();
        Ended {
            status,
            size_left: tsiz::size(size),
            packets_left: tsiz::packets(size),
            late: false,
            next: Pid::of(size),
        }
    }

    /// Tells the channel to halt, without waiting for it.
    pub(super) fn abort(&mut self) {
        if !self.running || self.aborted {
            return;
        }
        self.aborted = true;
        let value = self.read(HCCHAR);
        if value & chan::ENABLE != 0 {
            self.write(HCCHAR, value | chan::ENABLE | chan::DISABLE);
        }
        // So that whoever waits for a channel learns of it.
        self.write(HCINTMSK, hcint::HALTED);
        self.host.bus.barrier();
    }

    /// Waits until a channel that may be running has halted.
    pub(super) async fn stop(&mut self) -> Result<Ended, PipeError> {
        self.abort();
        let host = self.host;
        let number = self.number;
        let halted = poll_fn(|cx| {
            let status = host.read_channel(number, HCINT);
            let enabled = host.read_channel(number, HCCHAR) & chan::ENABLE != 0;
            if status & hcint::HALTED != 0 || !enabled {
                return Poll::Ready(status);
            }
            host.channel_wakers[number].register(cx.waker());
            host.write_channel(number, HCINTMSK, hcint::HALTED);
            Poll::Pending
        });
        match with_timeout(HALT, halted).await {
            Ok(status) => Ok(self.end(status)),
            Err(_) => {
                // Stays running: nobody gets it before it did halt.
                host.count.late_halts.add();
                Err(PipeError::Timeout)
            }
        }
    }
}

/// Time was up.
struct Late;

/// Waits for `halted` as long as the device answers anything at all.
async fn while_answered<B: Bus, T>(
    host: &Host<B>,
    number: usize,
    mut halted: impl Future<Output = T> + Unpin,
) -> Result<T, Late> {
    loop {
        if let Ok(status) = with_timeout(SILENCE, &mut halted).await {
            return Ok(status);
        }
        let answers = host.read_channel(number, HCINT) & hcint::ANSWERS;
        if answers == 0 {
            host.count.silences.add();
            return Err(Late);
        }
        host.write_channel(number, HCINT, answers);
    }
}

impl<B: Bus> Drop for Channel<'_, B> {
    fn drop(&mut self) {
        self.abort();
        if let Some(buffer) = self.buffer.take() {
            let unfinished = self.running || self.aborted && !self.host.kind.halt_is_final();
            self.host
                .give_back(self.number, buffer, unfinished.then_some(self.key));
        }
    }
}

/// Tells the channel to halt unless the wait for it came to its end.
struct AbortOnDrop<'a, 'd, B: Bus>(Option<&'a mut Channel<'d, B>>);

impl<'a, 'd, B: Bus> AbortOnDrop<'a, 'd, B> {
    fn defuse(mut self) -> &'a mut Channel<'d, B> {
        self.0.take().expect("it is defused once")
    }
}

impl<B: Bus> Drop for AbortOnDrop<'_, '_, B> {
    fn drop(&mut self) {
        if let Some(channel) = self.0.take() {
            channel.abort();
        }
    }
}
