//! What is known of many peers, as long as they are heard from.

use core::cell::Cell;

/// Places that a peer may be in, one after the other.
const WINDOW: usize = 8;

/// What is kept of a peer.
pub(super) trait Entry: Copy {
    /// That of nobody. With all bits zero, a table of it takes no room in a
    /// board's image.
    const NOBODY: Self;
}

/// A table of `N` places that forgets whom it has not heard from for longest.
///
/// Each peer has eight places to be in, so that one who is still heard from is
/// hardly ever pushed out before the table is full.
pub(super) struct Recent<E, const N: usize> {
    places: [Cell<Place<E>>; N],
    /// Counts the newcomers.
    clock: Cell<u32>,
}

#[derive(Clone, Copy)]
struct Place<E> {
    /// 0 in an empty place.
    key: u64,
    /// What the clock said when the entry was set.
    used: u32,
    entry: E,
}

impl<E: Entry, const N: usize> Recent<E, N> {
    /// An empty table.
    pub(super) const fn new() -> Self {
        Self {
            places: [const {
                Cell::new(Place {
                    key: 0,
                    used: 0,
                    entry: E::NOBODY,
                })
            }; N],
            clock: Cell::new(0),
        }
    }

    /// What was set for this key, which must not be 0, if it is still known.
    pub(super) fn get(&self, key: u64) -> Option<E> {
        self.find(key).map(|place| place.get().entry)
    }

    /// Remembers an entry, in place of the one that this key had or of the
    /// least recently set one of those that it could be in the place of.
    pub(super) fn set(&self, key: u64, entry: E) {
        let clock = self.clock.get();
        if let Some(place) = self.find(key) {
            let used = clock;
            return place.set(Place { key, used, entry });
        }
        let age = |place: &&Cell<Place<E>>| {
            let Place { key, used, .. } = place.get();
            if key == 0 {
                u32::MAX
            } else {
                clock.wrapping_sub(used)
            }
        };
        if let Some(place) = self.places_of(key).max_by_key(age) {
            let used = clock.wrapping_add(1);
            self.clock.set(used);
            place.set(Place { key, used, entry });
        }
    }

    fn find(&self, key: u64) -> Option<&Cell<Place<E>>> {
        self.places_of(key).find(|place| place.get().key == key)
    }

    fn places_of(&self, key: u64) -> impl Iterator<Item = &Cell<Place<E>>> {
        let first = spread((key ^ key >> 32) as u32) as usize;
        (first..).take(WINDOW).map(|at| &self.places[at % N])
    }
}

/// Fibonacci hashing: numbers in a row, as addresses of a LAN are, come to lie
/// apart. The result's low bits are good.
pub(super) const fn spread(number: u32) -> u32 {
    number.wrapping_mul(0x9e37_79b1).rotate_left(16)
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Entry for u64 {
        const NOBODY: Self = 0;
    }

    #[test]
    fn a_table_half_full_has_forgotten_nobody() {
        let table = Recent::<u64, 2048>::new();
        // Addresses and ports in rows.
        let keys = (0..1024).map(|n: u64| (0x0a14_0400 + n % 256) << 16 | (32_768 + n / 256));
        for key in keys.clone() {
            assert_eq!(table.get(key), None);
            table.set(key, !key);
        }
        for key in keys {
            assert_eq!(table.get(key), Some(!key));
        }
    }

    #[test]
    fn who_is_heard_from_is_not_forgotten_for_those_who_were() {
        let table = Recent::<u64, 64>::new();
        for newcomer in 2..20_000 {
            table.set(1, newcomer);
            table.set(newcomer, 0);
            assert_eq!(table.get(1), Some(newcomer));
            assert_eq!(table.get(newcomer), Some(0));
        }
        assert_eq!(table.get(2), None);
    }
}
