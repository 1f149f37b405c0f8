//! Network interfaces, chosen by a line of text.
//!
//! Every NIC queues what the stack sends and hands the queue to the kernel
//! when the stack asks for the link state, which embassy-net does once at the
//! end of each poll: one system call for a burst of frames. And each gives
//! way after [`RX_BURST`] frames, so that a flood of incoming ones cannot
//! keep the stack from sending.

mod dgram;
mod frames;
mod spec;
mod wire;

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};

use crate::Reactor;
pub use dgram::DgramWire;
pub use frames::{RxFrame, TxFrame};
pub use spec::{ParseSpecError, Spec};
pub use wire::Wire;

/// Longest frame the stack sends: 1500 bytes of IP behind an Ethernet header.
const ETHERNET_FRAME: usize = 1514;

/// Frames handed to the stack in a row before it must send and let others run.
const RX_BURST: u32 = 64;

/// Whichever NIC the operator asked for.
#[non_exhaustive]
pub enum AnyNic {
    /// A unix socket that QEMU or a virtual switch is at the other end of.
    Wire(Wire),
    /// Unix datagrams to and from one peer.
    Dgram(DgramWire),
}

impl AnyNic {
    /// Opens the NIC that `spec` describes.
    pub fn open(spec: &Spec, reactor: &Reactor) -> Result<Self, OpenError> {
        match spec {
            Spec::Wire { path, mac } => Wire::open(path, *mac, reactor).map(Self::Wire),
            Spec::WireDgram { local, remote, mac } => {
                DgramWire::open(local, remote, *mac, reactor).map(Self::Dgram)
            }
            Spec::Packet { .. } | Spec::Tap { .. } => Err(OpenError::Unsupported),
        }
    }
}

/// Why a NIC could not be opened. Displays what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// This kind of NIC exists on Linux only.
    Unsupported,
    /// There is something at a wire's path, and it is not a socket.
    NotASocket {
        /// The path.
        path: PathBuf,
    },
    /// A system call failed.
    Io {
        /// What was being done.
        doing: String,
        /// What the kernel said.
        source: io::Error,
    },
}

impl OpenError {
    fn io(doing: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let doing = doing.into();
        move |source| Self::Io { doing, source }
    }
}

/// `map_err(OpenError::io(…))` for what rustix reports.
impl OpenError {
    fn errno(doing: impl Into<String>) -> impl FnOnce(rustix::io::Errno) -> Self {
        let doing = doing.into();
        move |errno| Self::Io {
            doing,
            source: errno.into(),
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported => {
                f.write_str("this kind of NIC exists on Linux only; `wire:PATH` works anywhere")
            }
            Self::NotASocket { path } => write!(
                f,
                "{} exists and is not a socket: remove it or give the wire another path",
                path.display()
            ),
            Self::Io { doing, source } => write!(f, "{doing}: {source}"),
        }
    }
}

impl std::error::Error for OpenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Io { source, .. } => Some(source),
            _ => None,
        }
    }
}

macro_rules! each {
    ($self:ident, $nic:ident => $call:expr) => {
        match $self {
            AnyNic::Wire($nic) => $call,
            AnyNic::Dgram($nic) => $call,
        }
    };
}

impl Driver for AnyNic {
    type RxToken<'a> = RxFrame<'a>;
    type TxToken<'a> = TxFrame<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(RxFrame<'_>, TxFrame<'_>)> {
        each!(self, nic => nic.receive(cx))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<TxFrame<'_>> {
        each!(self, nic => nic.transmit(cx))
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        each!(self, nic => nic.link_state(cx))
    }

    fn capabilities(&self) -> Capabilities {
        each!(self, nic => nic.capabilities())
    }

    fn hardware_address(&self) -> HardwareAddress {
        each!(self, nic => nic.hardware_address())
    }
}

/// Counts frames in a row; see [`RX_BURST`].
#[derive(Default)]
struct Burst(u32);

impl Burst {
    /// Whether the stack must get a turn now. Its task is woken to go on.
    fn is_over(&mut self, cx: &Context<'_>) -> bool {
        self.0 += 1;
        if self.0 <= RX_BURST {
            return false;
        }
        self.0 = 0;
        cx.waker().wake_by_ref();
        true
    }

    fn end(&mut self) {
        self.0 = 0;
    }
}

/// What every NIC without hardware behind it can do.
fn ethernet_capabilities() -> Capabilities {
    let mut capabilities = Capabilities::default();
    capabilities.max_transmission_unit = ETHERNET_FRAME;
    capabilities
}

/// A locally administered address that stays the same for the same name.
fn derived_mac(name: &str) -> [u8; 6] {
    // FNV-1a: short, and the same on every machine and version.
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let [_, _, _, a, b, c, d, e] = hash.to_be_bytes();
    [0x02, a, b, c, d, e]
}
