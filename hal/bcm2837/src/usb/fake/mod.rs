//! A DWC2 for tests that panics when it is driven wrongly.
//!
//! It has what drivers get away with in an emulator, but not on a board: data
//! toggles, split transactions, bus addresses, memory that needs barriers,
//! channels that are still busy. Devices ([`device`]) are on a bus behind it,
//! and time ([`time`]) passes only when everybody waits.

pub(crate) mod device;
mod memory;
mod packets;
pub(crate) use crate::fake::time;

use std::cell::RefCell;
use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use embassy_usb_driver::Speed;

use self::device::Device;
use self::memory::Memory;
use super::regs::{self, ahb, cfg, chan, gint, hcint, port, reset, tsiz};
use super::{CHANNEL_BYTES, CHANNELS, Host, Kind};
use crate::Bus;

/// A test that takes longer than this hangs.
const LIMIT: u64 = 600_000_000;
/// So does one that is interrupted so often without anything being done.
const STORM: usize = 1000;

/// Registers and what is behind them.
#[derive(Debug)]
pub(crate) struct Model {
    pub(crate) kind: Kind,
    gahbcfg: u32,
    gusbcfg: u32,
    grstctl: u32,
    gintmsk: u32,
    disconnected: bool,
    haintmsk: u32,
    hprt: u32,
    fifos: [u32; 3],
    /// When the current mode was forced, and reset signalling began.
    forced_at: u64,
    reset_at: u64,
    core_resets: u32,
    channels: [Channel; CHANNELS],
    memory: Memory,
    /// What is on the root port.
    pub(crate) root: Option<Device>,
    in_interrupt: bool,
    /// The core never becomes idle, or a device never enabled, or no channel
    /// halts.
    pub(crate) never_idle: bool,
    pub(crate) never_enabled: bool,
    pub(crate) never_halts: bool,
    /// Nothing happens on the bus.
    pub(crate) deaf: bool,
    /// How many times a channel was enabled, and each with its HCTSIZ.
    pub(crate) starts: Vec<u32>,
    pub(crate) interrupts: u32,
}

#[derive(Debug, Default)]
struct Channel {
    character: u32,
    split: u32,
    status: u32,
    mask: u32,
    size: u32,
    dma: u32,
    /// When the next packet is due, or the halt.
    due: Option<u64>,
    halting: bool,
    /// QEMU: told to halt, and still trying, for this endpoint.
    stale: Option<u32>,
    /// Whether QEMU moves it packet by packet.
    small: bool,
    /// DMA that the CPU does not see yet, and whether it knows of it.
    incoming: Vec<(u32, Vec<u8>)>,
    reported: bool,
}

/// What identifies the endpoint in HCCHAR.
const ENDPOINT: u32 = 0x7F << 22 | 0xF << 11 | chan::IN;

impl Model {
    fn line(&self) -> bool {
        self.gahbcfg & ahb::INTERRUPTS != 0 && self.gintsts() & self.gintmsk != 0
    }

    fn haint(&self) -> u32 {
        let channels = self.channels.iter().enumerate();
        channels.fold(0, |bits, (n, c)| {
            bits | u32::from(c.status & c.mask != 0) << n
        })
    }

    fn gintsts(&self) -> u32 {
        let mut bits = 0;
        if self.gusbcfg & cfg::FORCE_HOST != 0 && time::now() >= self.forced_at + 25_000 {
            bits |= gint::HOST_MODE;
        }
        if self.hprt & port::CHANGES != 0 {
            bits |= gint::PORT;
        }
        if self.haint() & self.haintmsk != 0 {
            bits |= gint::CHANNELS;
        }
        if self.disconnected {
            bits |= gint::DISCONNECTED;
        }
        bits
    }

    fn frame(&self) -> u64 {
        time::now() / self.frame_length()
    }

    fn frame_length(&self) -> u64 {
        match &self.root {
            Some(device) if device.speed == Speed::High => 125,
            _ => 1000,
        }
    }

    fn read(&mut self, offset: usize) -> u32 {
        match offset {
            regs::GAHBCFG => self.gahbcfg,
            regs::GUSBCFG => self.gusbcfg,
            regs::GRSTCTL => {
                let value = self.grstctl | if self.never_idle { 0 } else { reset::AHB_IDLE };
                // The next look finds it done.
                self.grstctl = 0;
                value
            }
            regs::GINTSTS => self.gintsts(),
            regs::GINTMSK => self.gintmsk,
            regs::GSNPSID => match self.kind {
                Kind::Silicon => 0x4F54_280A,
                Kind::Qemu => 0x4F54_294A,
            },
            regs::GHWCFG2 => 7 << 14,
            regs::GHWCFG3 => 0xFF0 << 16,
            regs::HFNUM => (self.frame() & 0x3FFF) as u32,
            regs::HAINT => self.haint(),
            regs::HAINTMSK => self.haintmsk,
            regs::HPRT => self.hprt,
            0x500..0x600 => {
                let channel = &mut self.channels[(offset - 0x500) / 0x20];
                match offset & 0x1F {
                    regs::HCCHAR => channel.character,
                    regs::HCINT => {
                        channel.reported |= channel.status & hcint::HALTED != 0;
                        channel.status
                    }
                    regs::HCTSIZ => channel.size,
                    other => panic!("channel register {other:#x} read"),
                }
            }
            _ => panic!("register {offset:#x} read"),
        }
    }

    fn write(&mut self, offset: usize, value: u32) {
        match offset {
            regs::GAHBCFG => self.gahbcfg = value,
            regs::GUSBCFG => {
                self.gusbcfg = value;
                self.forced_at = time::now();
            }
            regs::GRSTCTL => {
                assert!(!self.line(), "reset with interrupts on");
                self.grstctl = value & !reset::AHB_IDLE;
                if value & reset::CORE != 0 {
                    let wrong = cfg::ULPI | cfg::PHY_16_BIT | cfg::FULL_SPEED_PHY;
                    assert_eq!(self.gusbcfg & wrong, 0, "the PHY is UTMI+ of 8 bits");
                    self.core_resets += 1;
                }
            }
            regs::GINTSTS => self.disconnected &= value & gint::DISCONNECTED == 0,
            regs::GINTMSK => self.gintmsk = value,
            regs::GRXFSIZ => self.fifos[0] = value,
            regs::GNPTXFSIZ => self.fifos[1] = value,
            regs::HPTXFSIZ => self.fifos[2] = value,
            regs::HCFG | regs::PCGCTL => assert_eq!(value, 0),
            regs::HAINTMSK => self.haintmsk = value,
            regs::HPRT => self.write_port(value),
            0x500..0x600 => {
                self.write_channel((offset - 0x500) / 0x20, offset & 0x1F, value);
            }
            _ => panic!("register {offset:#x} written"),
        }
    }

    fn write_port(&mut self, value: u32) {
        assert_eq!(value & port::ENABLED, 0, "this disables the port");
        let changes = value & port::CHANGES;
        assert!(
            changes == 0 || self.in_interrupt,
            "changes {changes:#x} acknowledged unseen"
        );
        assert_eq!(changes & !self.hprt, 0, "changes that did not happen");
        self.hprt &= !changes;
        let before = self.hprt;
        let writable = port::RESET | port::POWER;
        self.hprt = before & !writable | value & writable;
        if value & port::RESET != 0 && before & port::RESET == 0 {
            assert_eq!(self.fifos, [1024, 1024 << 16 | 1024, 1024 << 16 | 2048]);
            self.reset_at = time::now();
            self.hprt &= !port::ENABLED;
        }
        if value & port::RESET == 0 && before & port::RESET != 0 {
            let long = time::now() - self.reset_at >= 50_000;
            if let Some(device) = self.root.as_mut().filter(|_| long && !self.never_enabled) {
                device.reset();
                let speed = match device.speed {
                    Speed::High => port::SPEED_HIGH,
                    Speed::Full => port::SPEED_FULL,
                    Speed::Low => port::SPEED_LOW,
                };
                self.hprt &= !(3 << 17);
                self.hprt |= port::ENABLED | port::ENABLE_CHANGED | speed << 17;
            }
        }
        if value & port::POWER == 0 {
            self.hprt &= !(port::ENABLED | port::CONNECTED | port::OVERCURRENT);
        } else if before & port::POWER == 0 && self.root.is_some() {
            self.hprt |= port::CONNECTED | port::CONNECT_DETECTED;
        }
    }

    fn write_channel(&mut self, n: usize, register: usize, value: u32) {
        let channel = &mut self.channels[n];
        let enabled = channel.character & chan::ENABLE != 0;
        match register {
            regs::HCINT => channel.status &= !value,
            regs::HCINTMSK => {
                let expected = hcint::HALTED | hcint::AHB_ERROR;
                assert_eq!(value & !expected, 0, "interrupts nobody handles");
                channel.mask = value;
            }
            regs::HCCHAR if enabled => {
                let halt = chan::ENABLE | chan::DISABLE;
                assert_eq!(value & halt, halt, "HCCHAR changed while enabled");
                match self.kind {
                    Kind::Silicon if self.never_halts => channel.due = None,
                    Kind::Silicon => {
                        channel.halting = true;
                        channel.due = Some(time::now() + 20);
                    }
                    Kind::Qemu => {
                        channel.stale = Some(channel.character & ENDPOINT);
                        channel.character &= !halt;
                        channel.status |= hcint::HALTED;
                    }
                }
            }
            regs::HCCHAR => {
                assert_eq!(value & chan::DISABLE, 0, "it is not enabled");
                channel.character = value;
                if value & chan::ENABLE != 0 {
                    self.enable(n);
                }
            }
            _ => {
                assert!(!enabled, "channel {n} reused before it halted");
                match register {
                    regs::HCSPLT => channel.split = value,
                    regs::HCTSIZ => channel.size = value,
                    regs::HCDMA => channel.dma = value,
                    _ => panic!("channel register {register:#x} written"),
                }
            }
        }
    }

    /// A channel is started: everything about it must be right.
    fn enable(&mut self, n: usize) {
        let frame = self.frame();
        let length = self.frame_length();
        let c = &mut self.channels[n];
        assert_ne!(self.gahbcfg & ahb::DMA, 0, "DMA is off");
        assert_ne!(self.gahbcfg & ahb::WAIT_FOR_WRITES, 0);
        assert!(self.core_resets > 0, "the core was never reset");
        assert_ne!(self.haintmsk & 1 << n, 0, "its interrupt is masked");
        assert_eq!(c.status, 0, "an old status was left");
        assert_eq!(c.character >> 20 & 3, 1, "MC is not 1");
        assert_eq!(c.dma % 4, 0, "DMA address is not aligned");
        assert_eq!(c.dma >> 30, 3, "DMA goes through a cache");
        let max_packet = (c.character & 0x7FF) as usize;
        let (size, packets) = (tsiz::size(c.size), tsiz::packets(c.size));
        assert!(size <= 65_536);
        if c.character & chan::IN != 0 {
            assert!(size > 0 && size % max_packet == 0, "IN of {size} bytes");
        }
        assert_eq!(packets, size.div_ceil(max_packet).max(1));
        self.memory.check(c.dma, size);
        if let Some(endpoint) = c.stale {
            // A control endpoint has both directions.
            let both = if c.character >> 18 & 3 == 0 {
                chan::IN
            } else {
                0
            };
            let same = (c.character & ENDPOINT) | both == endpoint | both;
            assert!(same, "reused while it may still write");
        }
        if c.character & chan::IN != 0 {
            self.memory.poison(c.dma, size);
        }
        c.incoming.clear();
        c.reported = false;
        c.stale = None;
        c.halting = false;
        c.small = size <= 1536;
        self.starts.push(c.size);
        let periodic = c.character >> 18 & 1 != 0;
        if periodic {
            let odd = c.character & chan::ODD_FRAME != 0;
            assert_eq!(odd, (frame + 1) & 1 == 1, "not the next frame's parity");
        }
        c.due = Some(match self.kind {
            Kind::Silicon if periodic => (frame + 1) * length,
            Kind::Silicon => time::now() + 10,
            Kind::Qemu => time::now(),
        });
        if self.kind == Kind::Qemu {
            self.serve(n);
        }
    }

    fn barrier(&mut self) {
        for channel in &mut self.channels {
            if channel.reported {
                for (bus, bytes) in channel.incoming.drain(..) {
                    self.memory.publish(bus, &bytes);
                }
            }
        }
        self.memory.barrier();
    }

    fn next(&self) -> Option<u64> {
        self.channels.iter().filter_map(|c| c.due).min()
    }

    /// Does everything that is due by now.
    fn tick(&mut self) {
        for n in 0..CHANNELS {
            if self.deaf && !self.channels[n].halting {
                self.channels[n].due = None;
            }
            if self.channels[n].due.is_some_and(|at| at <= time::now()) {
                self.serve(n);
            }
        }
    }

    /// Plugs a device into the root port.
    pub(crate) fn plug(&mut self, device: Device) {
        self.root = Some(device);
        if self.hprt & port::POWER != 0 {
            self.hprt |= port::CONNECTED | port::CONNECT_DETECTED;
        }
    }

    /// Pulls it out. What is under way never ends.
    pub(crate) fn unplug(&mut self) {
        self.root = None;
        self.disconnected = true;
        if self.hprt & port::ENABLED != 0 {
            self.hprt |= port::ENABLE_CHANGED;
        }
        self.hprt &= !(port::CONNECTED | port::ENABLED);
        for channel in &mut self.channels {
            channel.due = None;
        }
    }

    /// The controller disables the port, as it does after a babble.
    pub(crate) fn disable_port(&mut self) {
        self.hprt &= !port::ENABLED;
        self.hprt |= port::ENABLE_CHANGED;
    }

    pub(crate) fn overcurrent(&mut self) {
        self.hprt |= port::OVERCURRENT | port::OVERCURRENT_CHANGED;
    }

    pub(crate) fn powered(&self) -> bool {
        self.hprt & port::POWER != 0
    }

    pub(crate) fn in_reset(&self) -> bool {
        self.hprt & port::RESET != 0
    }

    /// Channels that are enabled.
    pub(crate) fn busy(&self) -> usize {
        let enabled = |c: &&Channel| c.character & chan::ENABLE != 0;
        self.channels.iter().filter(enabled).count()
    }

    /// The device on port `port` (0-based) of the hub at the root.
    pub(crate) fn child(&mut self, port: usize) -> &mut Device {
        let hub = self.root.as_mut().unwrap();
        hub.ports()[port].device.as_mut().unwrap()
    }
}

/// The model as a driver sees it. Clones are the same.
#[derive(Debug, Clone)]
pub(crate) struct FakeBus(Rc<RefCell<Model>>);

impl Bus for FakeBus {
    fn read(&self, offset: usize) -> u32 {
        self.0.borrow_mut().read(offset)
    }

    fn write(&self, offset: usize, value: u32) {
        self.0.borrow_mut().write(offset, value);
    }

    fn barrier(&self) {
        self.0.borrow_mut().barrier();
    }
}

/// A controller and its driver, on one bench.
pub(crate) struct Bench {
    pub(crate) host: &'static Host<FakeBus>,
    bus: FakeBus,
}

impl Bench {
    pub(crate) fn new(kind: Kind) -> Self {
        let mut memory = Memory::default();
        let buffers = std::array::from_fn(|n| {
            memory.buffer(CHANNEL_BYTES, 0xC010_0000 + (n * 2 * CHANNEL_BYTES) as u32)
        });
        let model = Model {
            kind,
            // As a boot loader may leave it.
            gahbcfg: ahb::INTERRUPTS,
            gusbcfg: cfg::ULPI | cfg::PHY_16_BIT | cfg::HNP | cfg::SRP,
            grstctl: 0,
            gintmsk: 0,
            disconnected: false,
            haintmsk: 0,
            hprt: 0,
            fifos: [0; 3],
            forced_at: 0,
            reset_at: 0,
            core_resets: 0,
            channels: Default::default(),
            memory,
            root: None,
            in_interrupt: false,
            never_idle: false,
            never_enabled: false,
            never_halts: false,
            deaf: false,
            starts: Vec::new(),
            interrupts: 0,
        };
        let bus = FakeBus(Rc::new(RefCell::new(model)));
        let host = Box::leak(Box::new(Host::new(bus.clone(), buffers).unwrap()));
        Self { host, bus }
    }

    pub(crate) fn model<T>(&self, f: impl FnOnce(&mut Model) -> T) -> T {
        f(&mut self.bus.0.borrow_mut())
    }

    /// The device at the root port.
    pub(crate) fn device<T>(&self, f: impl FnOnce(&mut Device) -> T) -> T {
        self.model(|model| f(model.root.as_mut().unwrap()))
    }

    fn interrupts(&self) {
        for _ in 0..STORM {
            if !self.model(|model| model.line()) {
                return;
            }
            self.model(|model| {
                model.in_interrupt = true;
                model.interrupts += 1;
            });
            self.host.on_interrupt();
            self.model(|model| model.in_interrupt = false);
        }
        panic!("the interrupt line stays high");
    }

    /// Runs `future` to its end, with all the time that it takes.
    pub(crate) fn run<F: Future>(&self, future: F) -> F::Output {
        let mut future = pin!(future);
        let flag = Arc::new(time::Flag::default());
        let waker = Waker::from(flag.clone());
        let mut cx = Context::from_waker(&waker);
        let end = time::now() + LIMIT;
        loop {
            // More than once without being woken is allowed, too.
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return output;
            }
            loop {
                self.interrupts();
                if flag.take() {
                    break;
                }
                let next = [time::next(), self.model(|model| model.next())];
                let Some(next) = next.into_iter().flatten().min() else {
                    panic!("everybody waits, and nothing is going to happen");
                };
                assert!(next < end, "it hangs");
                time::advance(next);
                self.model(Model::tick);
            }
        }
    }
}
