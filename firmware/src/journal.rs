//! The timeline of every machine: who asked for what, when, and got it.
//!
//! One bounded ring that logs, web page and metrics all read. Writers never
//! wait; a reader that falls behind sees a gap in the sequence numbers.

use core::cell::{Cell, RefCell};
use core::fmt::{self, Write as _};
use core::net::Ipv4Addr;
use core::task::Poll;

use embassy_sync::waitqueue::WakerRegistration;
use embassy_time::Instant;
use heapless::{Deque, String};

use crate::MacAddr;
use crate::cut::cut;

/// Longest detail text in bytes; the rest is cut off.
pub const DETAIL_LEN: usize = 96;

/// How far a machine has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Stage {
    /// A DHCPDISCOVER came in.
    Discover,
    /// An address or a boot file was offered.
    Offer,
    /// An address was bound (DHCPACK), or a proxy or boot server reply sent.
    Bound,
    /// A boot file went out whole (TFTP, or HTTP for HTTP Boot).
    BootFile,
    /// The iPXE or GRUB script was asked for and answered.
    Script,
    /// The kernel went out whole.
    Kernel,
    /// An initrd went out whole.
    Initrd,
    /// Another file went out whole.
    File,
    /// The machine's configuration was asked for and answered.
    Config,
    /// The machine said it is up.
    Ready,
    /// A new program or file of ours was put in its place.
    Update,
    /// A request was refused; the detail says why and what to change.
    Refused,
    /// A transfer broke off.
    Failed,
}

impl Stage {
    /// The word that logs and pages show.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Discover => "discover",
            Self::Offer => "offer",
            Self::Bound => "bound",
            Self::BootFile => "boot-file",
            Self::Script => "script",
            Self::Kernel => "kernel",
            Self::Initrd => "initrd",
            Self::File => "file",
            Self::Config => "config",
            Self::Ready => "ready",
            Self::Update => "update",
            Self::Refused => "refused",
            Self::Failed => "failed",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// One line of a machine's timeline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Counts up by one per event, from 1.
    pub seq: u64,
    /// Time since the stack started.
    pub at: Instant,
    /// The machine, as far as known.
    pub mac: Option<MacAddr>,
    /// Its address, as far as known.
    pub ip: Option<Ipv4Addr>,
    /// How far it has come.
    pub stage: Stage,
    /// A file name, an architecture, a reason: text for people.
    pub detail: String<DETAIL_LEN>,
}

/// In columns, without its time: MAC, address, stage, detail.
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            mac,
            ip,
            stage,
            detail,
            ..
        } = self;
        write!(f, "{:17} {:15} {stage:9} {detail}", Known(*mac), Known(*ip))
    }
}

/// What is known of a machine, or a dash.
struct Known<T>(Option<T>);

impl<T: fmt::Display> fmt::Display for Known<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // No address has more characters than an IPv4 or a MAC address.
        let mut text = String::<17>::new();
        match &self.0 {
            Some(known) => write!(text, "{known}")?,
            None => text.push('-').map_err(|_| fmt::Error)?,
        }
        f.pad(&text)
    }
}

/// Who an event is about: a machine is known by address, by MAC, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Who {
    /// Its hardware address, if the protocol told it.
    pub mac: Option<MacAddr>,
    /// Its IPv4 address, if it has one.
    pub ip: Option<Ipv4Addr>,
}

impl From<MacAddr> for Who {
    fn from(mac: MacAddr) -> Self {
        Self {
            mac: Some(mac),
            ip: None,
        }
    }
}

impl From<Ipv4Addr> for Who {
    fn from(ip: Ipv4Addr) -> Self {
        Self {
            mac: None,
            ip: Some(ip),
        }
    }
}

impl From<(MacAddr, Ipv4Addr)> for Who {
    fn from((mac, ip): (MacAddr, Ipv4Addr)) -> Self {
        Self {
            mac: Some(mac),
            ip: Some(ip),
        }
    }
}

/// A ring of the last `EVENTS` events, and who uses which address, by which
/// HTTP and TFTP requests are given a MAC.
///
/// An address is found by its low bits: up to `MACHINES` neighbouring ones
/// keep out of each other's way, and a later one takes an older one's place.
#[derive(Debug)]
pub struct Journal<const EVENTS: usize, const MACHINES: usize> {
    ring: RefCell<Deque<Event, EVENTS>>,
    machines: [Cell<(Ipv4Addr, MacAddr)>; MACHINES],
    next: Cell<u64>,
    reader: RefCell<WakerRegistration>,
}

impl<const EVENTS: usize, const MACHINES: usize> Journal<EVENTS, MACHINES> {
    /// An empty journal.
    pub const fn new() -> Self {
        Self {
            ring: RefCell::new(Deque::new()),
            machines: [const { Cell::new((Ipv4Addr::UNSPECIFIED, MacAddr([0; 6]))) }; MACHINES],
            next: Cell::new(1),
            reader: RefCell::new(WakerRegistration::new()),
        }
    }

    fn machine(&self, ip: Ipv4Addr) -> &Cell<(Ipv4Addr, MacAddr)> {
        &self.machines[ip.to_bits() as usize % MACHINES]
    }

    /// The event numbered `seq`, or the oldest one kept if that is gone.
    pub async fn next(&self, seq: u64) -> Event {
        core::future::poll_fn(|cx| {
            let ring = self.ring.borrow();
            let oldest = self.next.get() - ring.len() as u64;
            let index = usize::try_from(seq.saturating_sub(oldest)).unwrap_or(usize::MAX);
            if let Some(event) = ring.get(index) {
                return Poll::Ready(event.clone());
            }
            self.reader.borrow_mut().register(cx.waker());
            Poll::Pending
        })
        .await
    }
}

impl<const EVENTS: usize, const MACHINES: usize> Default for Journal<EVENTS, MACHINES> {
    fn default() -> Self {
        Self::new()
    }
}

/// What the servers see of the journal.
pub trait Record {
    /// Adds an event. Whoever is named by address alone gets the MAC that was
    /// last seen with that address.
    fn record(&self, at: Instant, who: Who, stage: Stage, detail: fmt::Arguments<'_>);

    /// Notes that a machine uses an address.
    fn learn(&self, ip: Ipv4Addr, mac: MacAddr);

    /// The machine that was last seen with this address.
    fn mac_of(&self, ip: Ipv4Addr) -> Option<MacAddr>;
}

impl<const EVENTS: usize, const MACHINES: usize> Record for Journal<EVENTS, MACHINES> {
    fn record(&self, at: Instant, who: Who, stage: Stage, detail: fmt::Arguments<'_>) {
        let mac = match who {
            Who { mac: Some(mac), .. } => Some(mac),
            Who { ip: Some(ip), .. } => self.mac_of(ip),
            _ => None,
        };
        let detail = one_line(cut(detail));
        let seq = self.next.replace(self.next.get() + 1);
        let event = Event {
            seq,
            at,
            mac,
            ip: who.ip,
            stage,
            detail,
        };
        let mut ring = self.ring.borrow_mut();
        if ring.is_full() {
            ring.pop_front();
        }
        let _ = ring.push_back(event);
        self.reader.borrow_mut().wake();
    }

    fn learn(&self, ip: Ipv4Addr, mac: MacAddr) {
        self.machine(ip).set((ip, mac));
    }

    fn mac_of(&self, ip: Ipv4Addr) -> Option<MacAddr> {
        let (known, mac) = self.machine(ip).get();
        (known == ip && mac.is_unicast()).then_some(mac)
    }
}

/// The text with spaces for control characters: an event is one line.
fn one_line(text: String<DETAIL_LEN>) -> String<DETAIL_LEN> {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    let mut line = String::new();
    for c in text.trim_end().chars().map(printable) {
        // No character becomes longer: there is room for all.
        let _ = line.push(c);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::pin::pin;
    use core::task::{Context, Waker};

    const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0, 0, 1]);
    const IP: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 10);

    fn now<F: Future>(f: F) -> Option<F::Output> {
        match pin!(f).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(value) => Some(value),
            Poll::Pending => None,
        }
    }

    #[test]
    fn a_request_by_address_is_linked_to_the_machine_that_leased_it() {
        let journal = Journal::<4, 2>::new();
        journal.learn(IP, MAC);
        journal.record(
            Instant::MIN,
            IP.into(),
            Stage::Kernel,
            format_args!("assets/vmlinuz"),
        );
        let event = now(journal.next(1)).unwrap();
        assert_eq!((event.mac, event.ip), (Some(MAC), Some(IP)));
        assert_eq!(event.detail, "assets/vmlinuz");
        assert!(now(journal.next(2)).is_none());
    }

    #[test]
    fn old_events_and_machines_make_room() {
        let journal = Journal::<2, 1>::new();
        for n in 0..3 {
            journal.record(Instant::MIN, MAC.into(), Stage::File, format_args!("{n}"));
        }
        assert_eq!(now(journal.next(1)).unwrap().seq, 2);
        journal.learn(IP, MAC);
        assert_eq!(journal.mac_of(IP), Some(MAC));
        journal.learn(Ipv4Addr::new(192, 0, 2, 11), MAC);
        assert_eq!(journal.mac_of(IP), None);
    }

    #[test]
    fn long_details_are_cut() {
        let journal = Journal::<1, 1>::new();
        let long = "é".repeat(DETAIL_LEN);
        journal.record(
            Instant::MIN,
            MAC.into(),
            Stage::File,
            format_args!("{long}"),
        );
        assert_eq!(
            now(journal.next(1)).unwrap().detail,
            "é".repeat(DETAIL_LEN / 2).as_str()
        );
    }
}
