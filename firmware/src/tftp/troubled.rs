//! Clients whose transfers keep failing, and how little to offer them.
//!
//! Some boot ROMs ask for options that they cannot cope with. Who fails twice
//! in a row is offered less on its next request, step by step.

use core::net::Ipv4Addr;

use embassy_time::{Duration, Instant};
use heapless::Deque;

/// How many clients are remembered; the one known longest makes room.
pub(super) const CLIENTS: usize = 32;

/// After this time a client is tried with everything again.
const FORGET_AFTER: Duration = Duration::from_secs(10 * 60);

/// What a client is not offered, although it asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Caution {
    /// It gets all it asks for.
    None,
    /// No windows (RFC 7440).
    LockStep,
    /// Nor blocks of more than 512 bytes.
    SmallBlocks,
    /// No options at all: plain RFC 1350.
    NoOptions,
}

#[derive(Debug)]
struct Client {
    ip: Ipv4Addr,
    failures: u8,
    last: Instant,
}

/// The memory of failed transfers.
#[derive(Debug)]
pub(super) struct Troubled {
    clients: Deque<Client, CLIENTS>,
}

impl Troubled {
    pub(super) const fn new() -> Self {
        Self {
            clients: Deque::new(),
        }
    }

    /// A transfer failed. One failure is forgiven: machines get switched off
    /// while they boot.
    pub(super) fn failed(&mut self, ip: Ipv4Addr, now: Instant) {
        if let Some(client) = self.clients.iter_mut().find(|c| c.ip == ip) {
            client.failures = if is_over(client, now) {
                1
            } else {
                client.failures.saturating_add(1)
            };
            client.last = now;
            return;
        }
        if self.clients.is_full() {
            self.clients.pop_front();
        }
        let client = Client {
            ip,
            failures: 1,
            last: now,
        };
        // There is room: the oldest was dropped.
        let _ = self.clients.push_back(client);
    }

    /// A transfer went well under full offers. One under reduced offers
    /// proves nothing, and is not to be reported here.
    pub(super) fn succeeded(&mut self, ip: Ipv4Addr) {
        self.clients.retain(|client| client.ip != ip);
    }

    /// What to hold back from this client.
    pub(super) fn caution(&self, ip: Ipv4Addr, now: Instant) -> Caution {
        let known = self.clients.iter().find(|c| c.ip == ip);
        match known.filter(|c| !is_over(c, now)).map(|c| c.failures) {
            None | Some(0 | 1) => Caution::None,
            Some(2) => Caution::LockStep,
            Some(3) => Caution::SmallBlocks,
            Some(4..) => Caution::NoOptions,
        }
    }
}

fn is_over(client: &Client, now: Instant) -> bool {
    now.saturating_duration_since(client.last) >= FORGET_AFTER
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offers_shrink_with_every_failure_and_come_back() {
        let ip = Ipv4Addr::new(192, 0, 2, 1);
        let at = Instant::from_secs;
        let mut troubled = Troubled::new();
        for (failures, want) in [
            (1, Caution::None),
            (2, Caution::LockStep),
            (3, Caution::SmallBlocks),
            (4, Caution::NoOptions),
            (5, Caution::NoOptions),
        ] {
            troubled.failed(ip, at(failures));
            assert_eq!(troubled.caution(ip, at(failures)), want, "{failures}");
        }
        assert_eq!(troubled.caution(ip, at(5 + 599)), Caution::NoOptions);
        assert_eq!(troubled.caution(ip, at(5 + 600)), Caution::None);
        troubled.failed(ip, at(700));
        assert_eq!(troubled.caution(ip, at(700)), Caution::None);
        troubled.failed(ip, at(701));
        assert_eq!(troubled.caution(ip, at(701)), Caution::LockStep);
        troubled.succeeded(ip);
        assert_eq!(troubled.caution(ip, at(701)), Caution::None);
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut troubled = Troubled::new();
        let ip = |n| Ipv4Addr::from_bits(n);
        for n in 0..=CLIENTS as u32 {
            troubled.failed(ip(n), Instant::MIN);
            troubled.failed(ip(n), Instant::MIN);
        }
        assert_eq!(troubled.caution(ip(0), Instant::MIN), Caution::None);
        assert_eq!(troubled.caution(ip(1), Instant::MIN), Caution::LockStep);
    }
}
