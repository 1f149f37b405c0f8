//! An interface and whether its link is up, as the kernel reports it.

use std::io;
use std::os::fd::OwnedFd;
use std::task::Context;

use embassy_net_driver::LinkState;
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{AddressFamily, RecvFlags, SocketFlags, SocketType};

use super::OpenError;
use crate::{Reactor, Source, sys};

/// `RTMGRP_LINK`: news of interfaces that come, go, or change state.
const LINK_NEWS: u32 = 1;

/// Smallest MTU that IPv4 hosts must take (RFC 791 §3.1).
const MIN_MTU: usize = 576;

/// `ARPHRD_ETHER`: the interface speaks Ethernet.
const ETHERNET: u16 = 1;

/// One interface, by name.
pub(super) struct Link {
    name: String,
    /// Any socket: the kernel wants one to ask about interfaces.
    control: OwnedFd,
    news: Source,
    up: bool,
}

impl Link {
    pub(super) fn open(name: &str, reactor: &Reactor) -> Result<Self, OpenError> {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let doing = || format!("watching interface {name}");
        let control = rustix::net::socket_with(
            AddressFamily::INET,
            SocketType::DGRAM,
            SocketFlags::CLOEXEC,
            None,
        )
        .map_err(OpenError::errno(doing()))?;
        let news = rustix::net::socket_with(
            AddressFamily::NETLINK,
            SocketType::RAW,
            flags,
            // NETLINK_ROUTE is protocol 0.
            None,
        )
        .map_err(OpenError::errno(doing()))?;
        rustix::net::bind(&news, &SocketAddrNetlink::new(0, LINK_NEWS))
            .map_err(OpenError::errno(doing()))?;
        let mut link = Self {
            name: name.into(),
            control,
            news: reactor.register(news).map_err(OpenError::io(doing()))?,
            up: false,
        };
        link.index().map_err(|_| OpenError::NoInterface {
            name: name.into(),
            there_are: interfaces(),
        })?;
        link.up = link.is_running();
        if !link.up {
            log::warn!("interface {name} is down: bring it up with `ip link set {name} up`");
        }
        Ok(link)
    }

    /// The interface's number, which changes when it is made anew.
    pub(super) fn index(&self) -> io::Result<u32> {
        Ok(rustix::net::netdevice::name_to_index(
            &self.control,
            &self.name,
        )?)
    }

    /// The address of the interface's hardware.
    pub(super) fn mac(&self) -> Result<[u8; 6], OpenError> {
        let doing = format!("asking for the address of {}", self.name);
        match sys::interface_mac(&self.control, &self.name).map_err(OpenError::io(doing))? {
            (ETHERNET, mac) => Ok(mac),
            _ => Err(OpenError::NotEthernet {
                name: self.name.clone(),
            }),
        }
    }

    /// The longest IP packet that it takes.
    pub(super) fn mtu(&self) -> Result<usize, OpenError> {
        let doing = format!("asking for the MTU of {}", self.name);
        match sys::interface_mtu(&self.control, &self.name).map_err(OpenError::io(doing))? {
            mtu if mtu >= MIN_MTU => Ok(mtu),
            mtu => Err(OpenError::SmallMtu {
                name: self.name.clone(),
                mtu,
            }),
        }
    }

    pub(super) fn set_up(&mut self) -> io::Result<()> {
        let flags = sys::interface_flags(&self.control, &self.name)?;
        sys::set_interface_flags(&self.control, &self.name, flags | libc::IFF_UP)?;
        self.up = self.is_running();
        Ok(())
    }

    /// Whether the kernel passes on what comes in for others.
    pub(super) fn kernel_forwards(&self) -> bool {
        let setting = format!("/proc/sys/net/ipv4/conf/{}/forwarding", self.name);
        std::fs::read_to_string(setting).is_ok_and(|value| value.trim() == "1")
    }

    fn is_running(&self) -> bool {
        let running = libc::IFF_UP | libc::IFF_RUNNING;
        sys::interface_flags(&self.control, &self.name).is_ok_and(|is| is & running == running)
    }

    /// Returns whether something about interfaces changed since it was last
    /// asked; the task is woken when it does.
    pub(super) fn changed(&mut self, cx: &Context<'_>) -> bool {
        if self.news.awaits_readable() {
            self.news.wake_on_readable(cx);
            return false;
        }
        // What the messages say is of no interest, only that there were some.
        let mut buffer = [0; 4096];
        // Too many of them at once are an error, and news as well.
        while let Ok(_) | Err(Errno::NOBUFS | Errno::INTR) =
            rustix::net::recv(&self.news, &mut buffer[..], RecvFlags::DONTWAIT)
        {}
        self.news.wake_on_readable(cx);
        let up = self.is_running();
        if up != self.up {
            let state = if up { "up" } else { "down" };
            log::info!("interface {} is {state}", self.name);
        }
        self.up = up;
        true
    }

    pub(super) fn state(&self) -> LinkState {
        if self.up {
            LinkState::Up
        } else {
            LinkState::Down
        }
    }
}

/// The interfaces of this network namespace, for error messages.
fn interfaces() -> Vec<String> {
    let table = std::fs::read_to_string("/proc/thread-self/net/dev").unwrap_or_default();
    let mut names: Vec<_> = table
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, _)| name.trim().to_owned())
        .filter(|name| name != "lo")
        .collect();
    names.sort_unstable();
    names
}
