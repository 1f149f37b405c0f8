//! Connections that wait in line for something.

use core::cell::Cell;

/// A line, in the order in which they came. It links slots by their numbers,
/// of which 0 is none.
pub(super) struct Line {
    first: Cell<u16>,
    last: Cell<u16>,
}

/// A slot's place in a line.
pub(super) struct Place {
    is_taken: Cell<bool>,
    behind: Cell<u16>,
}

impl Place {
    /// In no line.
    pub(super) const fn none() -> Self {
        Self {
            is_taken: Cell::new(false),
            behind: Cell::new(0),
        }
    }

    pub(super) fn is_taken(&self) -> bool {
        self.is_taken.get()
    }
}

impl Line {
    /// With nobody in it.
    pub(super) const fn new() -> Self {
        Self {
            first: Cell::new(0),
            last: Cell::new(0),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first.get() == 0
    }

    /// Puts the slot with this number at the end, unless it is in this line
    /// already. `place_of` finds the places of this line.
    pub(super) fn join<'s>(&self, number: u16, place_of: impl Fn(u16) -> Option<&'s Place>) {
        let Some(place) = place_of(number) else {
            return;
        };
        if place.is_taken.replace(true) {
            return;
        }
        match place_of(self.last.replace(number)) {
            Some(last) => last.behind.set(number),
            None => self.first.set(number),
        }
    }

    /// Takes the first one out.
    pub(super) fn next<'s>(&self, place_of: impl Fn(u16) -> Option<&'s Place>) -> Option<u16> {
        let first = self.first.get();
        let place = place_of(first)?;
        place.is_taken.set(false);
        self.first.set(place.behind.take());
        if self.is_empty() {
            self.last.set(0);
        }
        Some(first)
    }
}
