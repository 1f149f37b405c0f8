//! What the board is told, to log it.

use core::fmt;

use embassy_usb_driver::Speed;
use embassy_usb_driver::host::{HostError, PipeError};
use embassy_usb_host::EnumerationError;
use embassy_usb_host::handler::EnumerationInfo;

use crate::lan95xx::ChipError;

/// Something that whoever looks after the board may want to know. `Display`
/// is a line for a log.
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event {
    /// A NIC was found and works; its link is still to come.
    Started {
        /// Which device.
        device: Identity,
        /// Which driver serves it.
        driver: DriverName,
        /// Its speed on the bus.
        speed: Speed,
        /// The address it answers to.
        mac: [u8; 6],
    },
    /// The link came up, or changed its speed or duplex.
    LinkUp(Link),
    /// The link went away.
    LinkDown,
    /// The NIC does not recover by itself and is initialised again.
    Restarting(Why),
    /// A NIC was found, but cannot be used.
    Unusable(Identity, StartError),
    /// The NIC is gone, or as good as gone; the bus is looked through again.
    Lost(Why),
    /// A device that is no Ethernet adapter known here. It is left alone.
    Ignored(Place, Identity),
    /// A device could not be enumerated.
    NotEnumerated(Place, EnumerationError),
    /// A hub did not do as told; the bus is looked through again.
    HubFailed(HostError),
    /// A port, or the root port, draws too much current: what is plugged in
    /// is broken or needs its own supply.
    Overcurrent(Place),
    /// More hubs than are followed ([`crate::HUBS`]); this one is left alone.
    TooManyHubs(Place),
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Started {
                device,
                driver,
                speed,
                mac: [a, b, c, d, e, g],
            } => write!(
                f,
                "Ethernet {device} by {driver} at {speed:?} speed, \
                 {a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}"
            ),
            Self::LinkUp(link) => write!(f, "link up{link}"),
            Self::LinkDown => f.write_str("link down"),
            Self::Restarting(why) => write!(f, "Ethernet adapter started again: {why}"),
            Self::Unusable(device, why) => write!(f, "Ethernet {device} cannot be used: {why}"),
            Self::Lost(why) => write!(f, "Ethernet adapter lost: {why}"),
            Self::Ignored(place, device) => {
                write!(f, "{place}: {device} is no Ethernet adapter known here")
            }
            Self::NotEnumerated(place, error) => {
                write!(f, "{place}: device does not enumerate: {error:?}")
            }
            Self::HubFailed(error) => write!(f, "USB hub failed: {error:?}"),
            Self::Overcurrent(place) => write!(f, "{place}: too much current drawn"),
            Self::TooManyHubs(place) => {
                write!(f, "{place}: more than {} hubs, not followed", crate::HUBS)
            }
        }
    }
}

/// Where a device is plugged in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Place {
    /// The controller's own port.
    Root,
    /// A port of a hub.
    Port {
        /// USB address of the hub.
        hub: u8,
        /// Number of the port; the first is 1.
        port: u8,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Root => f.write_str("USB root port"),
            Self::Port { hub, port } => write!(f, "USB hub {hub} port {port}"),
        }
    }
}

/// What a device says it is (USB 2.0 §9.6.1, §9.6.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Identity {
    /// idVendor.
    pub vendor: u16,
    /// idProduct.
    pub product: u16,
    /// Class, subclass and protocol of the device, or of its first interface
    /// if it leaves them to that.
    pub class: [u8; 3],
}

impl Identity {
    pub(crate) fn new(device: &EnumerationInfo, configuration: &[u8]) -> Self {
        let said = &device.device_desc;
        let mut class = [
            said.device_class,
            said.device_subclass,
            said.device_protocol,
        ];
        if class[0] == 0
            && let Some(first) = crate::descriptors::first_interface(configuration)
        {
            class = [first.class, first.subclass, first.protocol];
        }
        Self {
            vendor: said.vendor_id,
            product: said.product_id,
            class,
        }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            vendor,
            product,
            class: [class, subclass, protocol],
        } = self;
        write!(
            f,
            "{vendor:04x}:{product:04x} class {class:02x}/{subclass:02x}/{protocol:02x}"
        )
    }
}

/// Which driver serves a NIC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum DriverName {
    /// [`crate::lan95xx`]
    Lan95xx,
    /// [`crate::cdc_ecm`]
    CdcEcm,
}

impl fmt::Display for DriverName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Lan95xx => "lan95xx",
            Self::CdcEcm => "cdc-ecm",
        })
    }
}

/// What is known about a link that is up.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Link {
    /// Megabits per second, if the NIC tells.
    pub mbits: Option<u32>,
    /// Full (true) or half duplex, if the NIC tells.
    pub full_duplex: Option<bool>,
}

impl fmt::Display for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(mbits) = self.mbits {
            write!(f, ", {mbits} Mbit/s")?;
        }
        match self.full_duplex {
            Some(true) => f.write_str(", full duplex"),
            Some(false) => f.write_str(", half duplex"),
            None => Ok(()),
        }
    }
}

/// Why a NIC no longer works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Why {
    /// It was unplugged.
    Gone,
    /// Transfers failed again and again, the last one so.
    Transfers(PipeError),
    /// It took no frame for five seconds.
    TransmitterStuck,
    /// It could not be started.
    Start(StartError),
    /// Starting it again has not helped.
    Hopeless,
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gone => f.write_str("unplugged"),
            Self::Transfers(error) => write!(f, "transfers fail: {error:?}"),
            Self::TransmitterStuck => f.write_str("it has taken no frame for 5 s"),
            Self::Start(error) => error.fmt(f),
            Self::Hopeless => f.write_str("starting it again has not helped"),
        }
    }
}

/// Why a NIC could not be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum StartError {
    /// The LAN95xx did not do as told.
    Chip(ChipError),
    /// A standard or class request failed.
    Request(PipeError),
    /// The controller has no pipe left for it, or refuses the endpoint.
    Pipe(HostError),
    /// A CDC-ECM adapter without a usable address, and the board gives none.
    NoAddress,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Chip(error) => error.fmt(f),
            Self::Request(error) => write!(f, "a request failed: {error:?}"),
            Self::Pipe(error) => write!(f, "no pipe to it: {error:?}"),
            Self::NoAddress => f.write_str("it has no MAC address, and the board gives none"),
        }
    }
}
