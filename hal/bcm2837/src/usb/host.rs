//! The controller as its tasks and its interrupt share it.

use core::cell::RefCell;
use core::sync::atomic::{AtomicU32, Ordering};

use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::waitqueue::AtomicWaker;
use embassy_usb_driver::Speed;

use super::counts::{Counting, Counts};
use super::pool::Pool;
use super::regs::{self, GHWCFG2, GINTMSK, GINTSTS, GSNPSID, HAINT, HAINTMSK, HPRT, gint, port};
use super::{CHANNELS, Kind, StartError};
use crate::Bus;
use crate::dma::Buffer;

/// A DWC2: its registers, its DMA memory, and what tasks and the interrupt
/// tell each other. Lives in a static; [`Controller::start`] makes it run.
///
/// [`Controller::start`]: super::Controller::start
pub struct Host<B> {
    pub(super) bus: B,
    pub(super) kind: Kind,
    pub(super) count: Counting,
    pub(super) pool: Mutex<CriticalSectionRawMutex, RefCell<Pool>>,
    /// The task that waits for each channel.
    pub(super) channel_wakers: [AtomicWaker; CHANNELS],
    pub(super) port_waker: AtomicWaker,
    /// Change bits of HPRT that the interrupt took, for the port's task.
    port_changes: AtomicU32,
    /// Grows whenever every pipe dies: a device left, the bus was reset.
    epoch: AtomicU32,
    /// The device at the root port, as [`encode`] says.
    attached: AtomicU32,
}

/// The port's task sees a disconnection as this bit among the changes of HPRT,
/// where it is not used otherwise.
pub(super) const LEFT: u32 = 1 << 31;

impl<B: Bus> Host<B> {
    /// Looks what `registers` belong to. Must be powered already. Each channel
    /// gets one of the `buffers`: what is transferred passes through it, so a
    /// bulk endpoint is as fast as its channel's buffer is large.
    /// [`CHANNEL_BYTES`](super::CHANNEL_BYTES) holds the largest burst of a
    /// LAN95xx.
    pub fn new(registers: B, buffers: [Buffer; CHANNELS]) -> Result<Self, StartError> {
        registers.barrier();
        let id = registers.read(GSNPSID);
        let kind = Kind::of(id).ok_or(StartError::NotDwc2(id))?;
        let channels = (((registers.read(GHWCFG2) >> 14) & 0xF) + 1) as usize;
        if let Some(small) = buffers
            .iter()
            .find(|b| b.len() < super::CHANNEL_MINIMUM || b.bus_address(0) % 4 != 0)
        {
            return Err(StartError::BadBuffer {
                len: small.len(),
                bus: small.bus_address(0),
            });
        }
        Ok(Self {
            bus: registers,
            kind,
            count: Counting::default(),
            pool: Mutex::new(RefCell::new(Pool::new(buffers, channels.min(CHANNELS)))),
            channel_wakers: [const { AtomicWaker::new() }; CHANNELS],
            port_waker: AtomicWaker::new(),
            port_changes: AtomicU32::new(0),
            epoch: AtomicU32::new(0),
            attached: AtomicU32::new(0),
        })
    }

    /// Which controller this is.
    pub const fn kind(&self) -> Kind {
        self.kind
    }

    /// What went wrong so far.
    pub fn counts(&self) -> Counts {
        self.count.read()
    }

    /// To be called by the handler of the USB interrupt (source 9 of the
    /// VideoCore's controller). Only wakes tasks: none of their work is done
    /// here.
    pub fn on_interrupt(&self) {
        self.bus.barrier();
        let pending = self.bus.read(GINTSTS) & self.bus.read(GINTMSK);
        if pending & gint::DISCONNECTED != 0 {
            self.bus.write(GINTSTS, gint::DISCONNECTED);
            self.tell_port(LEFT);
        }
        if pending & gint::PORT != 0 {
            let value = self.bus.read(HPRT);
            let changes = value & port::CHANGES;
            self.bus
                .write(HPRT, (value & !port::WRITE_1_ACTS) | changes);
            self.tell_port(changes);
        }
        if pending & gint::CHANNELS != 0 {
            let channels = self.bus.read(HAINT) & self.bus.read(HAINTMSK);
            for (number, waker) in self.channel_wakers.iter().enumerate() {
                if channels & 1 << number != 0 {
                    // The status stays for the task; the line must drop.
                    self.write_channel(number, regs::HCINTMSK, 0);
                    waker.wake();
                }
            }
            self.pool.lock(|pool| pool.borrow_mut().waiting.wake());
        }
        self.bus.barrier();
    }

    fn tell_port(&self, changes: u32) {
        self.port_changes.fetch_or(changes, Ordering::AcqRel);
        self.port_waker.wake();
    }

    /// What happened to the port since this was last asked.
    pub(super) fn take_port_changes(&self) -> u32 {
        self.port_changes.swap(0, Ordering::AcqRel)
    }

    /// Whether anything happened to it.
    pub(super) fn port_changed(&self) -> bool {
        self.port_changes.load(Ordering::Acquire) != 0
    }

    /// Changes HPRT without doing anything that its write-1 bits do.
    pub(super) fn modify_port(&self, clear: u32, set: u32) {
        let value = self.bus.read(HPRT) & !port::WRITE_1_ACTS;
        self.bus.write(HPRT, (value & !clear) | set);
    }

    pub(super) fn read_channel(&self, number: usize, register: usize) -> u32 {
        self.bus.read(regs::of_channel(number, register))
    }

    pub(super) fn write_channel(&self, number: usize, register: usize, value: u32) {
        self.bus.write(regs::of_channel(number, register), value);
    }

    /// The present (micro)frame; counts to 0x3FFF.
    pub(super) fn frame(&self) -> u32 {
        self.bus.read(regs::HFNUM) & 0x3FFF
    }

    pub(super) fn epoch(&self) -> u32 {
        self.epoch.load(Ordering::Acquire)
    }

    /// Speed of the device at the root port; `None` without one.
    pub(super) fn attached(&self) -> Option<Speed> {
        match self.attached.load(Ordering::Acquire) {
            1 => Some(Speed::Low),
            2 => Some(Speed::Full),
            3 => Some(Speed::High),
            _ => None,
        }
    }

    /// Says what is at the root port now. Every pipe made before is dead, and
    /// who waits on one is told.
    pub(super) fn set_attached(&self, speed: Option<Speed>) {
        self.attached.store(encode(speed), Ordering::Release);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        for waker in &self.channel_wakers {
            waker.wake();
        }
        self.pool.lock(|pool| pool.borrow_mut().waiting.wake());
    }
}

const fn encode(speed: Option<Speed>) -> u32 {
    match speed {
        None => 0,
        Some(Speed::Low) => 1,
        Some(Speed::Full) => 2,
        Some(Speed::High) => 3,
    }
}

impl<B> core::fmt::Debug for Host<B> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Host")
            .field("kind", &self.kind)
            .field("counts", &self.count.read())
            .finish_non_exhaustive()
    }
}
