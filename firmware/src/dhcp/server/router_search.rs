//! iPXE's search for an IPv6 router, which holds up a boot for four seconds
//! where there is none.
//!
//! iPXE configures IPv4 and IPv6 side by side and goes on when both have
//! ended. With no router on the link, IPv6 ends after five solicitations, 3.9 s
//! after the address came by DHCP. A router answers within half a second
//! (RFC 4861 §6.2.6). So whoever still asks after that can be told that nobody
//! is there: by an advertisement that offers no route, no prefix and no DHCPv6.

use embassy_time::{Duration, Instant};
use heapless::Deque;

use crate::MacAddr;

/// Machines that look at once; of more, the first ones wait as they do anyway.
const SEARCHES: usize = 64;

/// After this a router would have answered: MAX_RA_DELAY_TIME (RFC 4861 §10),
/// and a little for the way.
const ROUTER_ANSWERS_WITHIN: Duration = Duration::from_millis(600);

/// Solicitations are iPXE's as long as this after its DHCP; later ones are of
/// what it has started.
const SEARCH_ENDS_WITHIN: Duration = Duration::from_secs(8);

#[derive(Debug)]
struct Search {
    mac: MacAddr,
    /// When it was last heard as iPXE.
    ipxe: Instant,
    /// Its first solicitation since.
    asked: Option<Instant>,
}

/// Who looks for a router, and since when.
#[derive(Debug)]
pub(super) struct RouterSearches(Deque<Search, SEARCHES>);

impl RouterSearches {
    pub(super) const fn new() -> Self {
        Self(Deque::new())
    }

    /// Notes that a machine runs iPXE now.
    pub(super) fn ipxe_heard(&mut self, now: Instant, mac: MacAddr) {
        if let Some(search) = self.0.iter_mut().find(|search| search.mac == mac) {
            if search.ipxe + SEARCH_ENDS_WITHIN <= now {
                search.asked = None;
            }
            search.ipxe = now;
            return;
        }
        if self.0.is_full() {
            self.0.pop_front();
        }
        // There is room now.
        let _ = self.0.push_back(Search {
            mac,
            ipxe: now,
            asked: None,
        });
    }

    /// Whether a machine that solicits a router has asked in vain long enough.
    pub(super) fn is_in_vain(&mut self, now: Instant, mac: MacAddr) -> bool {
        let search = self.0.iter_mut().find(|search| search.mac == mac);
        let Some(search) = search.filter(|search| now < search.ipxe + SEARCH_ENDS_WITHIN) else {
            return false;
        };
        now >= *search.asked.get_or_insert(now) + ROUTER_ANSWERS_WITHIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 1]);

    fn at(ms: u64) -> Instant {
        Instant::from_millis(1_000_000 + ms)
    }

    #[test]
    fn a_router_has_its_time_and_then_the_search_ends() {
        let mut searches = RouterSearches::new();
        assert!(!searches.is_in_vain(at(0), MAC), "nobody's iPXE");
        searches.ipxe_heard(at(0), MAC);
        // When iPXE asks, in milliseconds.
        for (ms, ends) in [(10, false), (120, false), (370, false), (870, true)] {
            searches.ipxe_heard(at(ms), MAC);
            assert_eq!(searches.is_in_vain(at(ms), MAC), ends, "{ms}");
        }
        assert!(searches.is_in_vain(at(1870), MAC), "the answer was lost");
    }

    #[test]
    fn what_ipxe_has_started_is_left_alone() {
        let mut searches = RouterSearches::new();
        searches.ipxe_heard(at(0), MAC);
        assert!(!searches.is_in_vain(at(100), MAC));
        assert!(!searches.is_in_vain(at(9_000), MAC), "Linux asks");
        // The machine boots again.
        searches.ipxe_heard(at(20_000), MAC);
        assert!(!searches.is_in_vain(at(20_100), MAC));
        assert!(searches.is_in_vain(at(20_900), MAC));
    }

    #[test]
    fn the_earliest_make_room() {
        let mut searches = RouterSearches::new();
        for n in 0..=SEARCHES as u8 {
            searches.ipxe_heard(at(0), MacAddr([2, 0, 0, 0, 1, n]));
        }
        for n in [0, 1] {
            let mac = MacAddr([2, 0, 0, 0, 1, n]);
            searches.is_in_vain(at(1), mac);
            assert_eq!(searches.is_in_vain(at(1000), mac), n == 1);
        }
    }
}
