//! Network interfaces, chosen by a line of text.
//!
//! Every NIC queues what the stack sends and hands the queue to the kernel
//! when the stack asks for the link state, which embassy-net does once at the
//! end of each poll: one system call for a burst of frames. And each gives
//! way after a number of incoming frames, so that a flood of them cannot keep
//! the stack from sending.

#[cfg(target_os = "linux")]
pub(crate) mod bpf;
mod dgram;
mod frames;
#[cfg(target_os = "linux")]
mod link;
#[cfg_attr(not(target_os = "linux"), allow(dead_code))]
mod offload;
#[cfg(target_os = "linux")]
mod packet;
#[cfg(target_os = "linux")]
mod run;
mod spec;
#[cfg(target_os = "linux")]
mod tap;
mod wire;

use std::fmt;
use std::io;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};

use crate::Reactor;
pub use dgram::DgramWire;
pub use frames::{RxFrame, TxFrame};
#[cfg(target_os = "linux")]
pub use packet::PacketNic;
pub use spec::{ParseSpecError, Spec};
#[cfg(target_os = "linux")]
pub use tap::TapNic;
pub use wire::Wire;

/// Bytes of the longest TCP segment that the stack is let send where the kernel
/// cuts them up: with headers below the 65,535 bytes of an IPv4 packet.
pub const LARGE_SEGMENT: usize = 60 * 1024;

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
    /// An interface of this machine.
    #[cfg(target_os = "linux")]
    Packet(PacketNic),
    /// A TAP device.
    #[cfg(target_os = "linux")]
    Tap(TapNic),
}

impl AnyNic {
    /// Opens the NIC that `spec` describes.
    pub fn open(spec: &Spec, reactor: &Reactor) -> Result<Self, OpenError> {
        match spec {
            Spec::Wire { path, mac } => Wire::open(path, *mac, reactor).map(Self::Wire),
            Spec::WireDgram { local, remote, mac } => {
                DgramWire::open(local, remote, *mac, reactor).map(Self::Dgram)
            }
            #[cfg(target_os = "linux")]
            Spec::Packet { interface } => PacketNic::open(interface, reactor).map(Self::Packet),
            #[cfg(target_os = "linux")]
            Spec::Tap { name, mac } => TapNic::open(name, *mac, reactor).map(Self::Tap),
            #[cfg(not(target_os = "linux"))]
            Spec::Packet { .. } | Spec::Tap { .. } => Err(OpenError::Unsupported),
        }
    }

    /// Says what the stack answers for. A packet socket leaves the rest to
    /// the kernel; on other NICs nobody else is there.
    pub fn admit(&self, admission: &Admission) -> io::Result<()> {
        match self {
            #[cfg(target_os = "linux")]
            Self::Packet(nic) => nic.admit(admission),
            _ => {
                let _ = admission;
                Ok(())
            }
        }
    }

    /// The longest IP packet that the network takes, in bytes. The stack may
    /// be told a larger MTU, for TCP segments that the kernel cuts up; UDP
    /// datagrams have to fit this one.
    pub fn network_mtu(&self) -> usize {
        match self {
            #[cfg(target_os = "linux")]
            Self::Packet(nic) => nic.interface_mtu(),
            #[cfg(target_os = "linux")]
            Self::Tap(nic) => nic.interface_mtu(),
            _ => ETHERNET_FRAME - offload::ETHERNET,
        }
    }
}

/// What the stack answers for on an interface that the kernel uses too.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Admission {
    /// The stack's address: only IPv4 packets for it, and broadcasts, come
    /// in. Without one, every IPv4 packet does.
    pub address: Option<Ipv4Addr>,
    /// The network's broadcast address, besides 255.255.255.255.
    pub broadcast: Option<Ipv4Addr>,
    /// The ports that the stack serves on an address that the kernel owns
    /// too. ARP requests and everything else stay with the kernel.
    pub shared: Option<Ports>,
}

/// Ports served on a shared address, up to 100 of each protocol.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ports {
    /// TCP ports.
    pub tcp: Vec<u16>,
    /// UDP ports.
    pub udp: Vec<u16>,
}

/// Why a NIC could not be opened. Displays what to do about it.
#[derive(Debug)]
#[non_exhaustive]
pub enum OpenError {
    /// This kind of NIC exists on Linux only.
    Unsupported,
    /// There is no such interface.
    NoInterface {
        /// The name that was asked for.
        name: String,
        /// The names that there are.
        there_are: Vec<String>,
    },
    /// The interface does not speak Ethernet (a tunnel, or the loopback).
    NotEthernet {
        /// Its name.
        name: String,
    },
    /// The interface takes only packets too short to boot from.
    SmallMtu {
        /// Its name.
        name: String,
        /// Its MTU.
        mtu: usize,
    },
    /// The process lacks a privilege.
    NoPermission {
        /// Which one, as capabilities(7) names it.
        capability: &'static str,
    },
    /// Another process is attached to the TAP device.
    TapInUse {
        /// The device's name.
        name: String,
    },
    /// Another process is bound to a datagram wire's path.
    WireInUse {
        /// The path.
        path: PathBuf,
    },
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
            Self::NoInterface { name, there_are } => write!(
                f,
                "there is no interface {name}; there are: {}",
                there_are.join(", ")
            ),
            Self::NotEthernet { name } => write!(
                f,
                "interface {name} does not speak Ethernet: choose one that does"
            ),
            Self::SmallMtu { name, mtu } => write!(
                f,
                "interface {name} has an MTU of {mtu}, and 576 is the least: `ip link set {name} mtu 1500`"
            ),
            Self::NoPermission { capability } => write!(
                f,
                "this needs {capability}: run as root, from the systemd unit, or once `setcap {}+ep` on the program",
                capability.to_lowercase()
            ),
            Self::TapInUse { name } => write!(
                f,
                "another process is attached to TAP device {name}: stop it or choose another name"
            ),
            Self::WireInUse { path } => write!(
                f,
                "another process is bound to {}: stop it or give the wire another path",
                path.display()
            ),
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
            #[cfg(target_os = "linux")]
            AnyNic::Packet($nic) => $call,
            #[cfg(target_os = "linux")]
            AnyNic::Tap($nic) => $call,
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
