//! Registers that only remember, for tests of drivers whose device needs no
//! more.

pub(crate) mod time;

use std::cell::RefCell;
use std::collections::HashMap;

use crate::Bus;

/// A block in which each register keeps what was written, and a record of the
/// writes.
#[derive(Debug, Default)]
pub(crate) struct Registers {
    values: RefCell<HashMap<usize, u32>>,
    writes: RefCell<Vec<(usize, u32)>>,
}

impl Registers {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Offset and value of each write, in order.
    pub(crate) fn writes(&self) -> Vec<(usize, u32)> {
        self.writes.borrow().clone()
    }
}

impl Bus for Registers {
    fn read(&self, offset: usize) -> u32 {
        self.values
            .borrow()
            .get(&offset)
            .copied()
            .unwrap_or_default()
    }

    fn write(&self, offset: usize, value: u32) {
        self.values.borrow_mut().insert(offset, value);
        self.writes.borrow_mut().push((offset, value));
    }

    fn barrier(&self) {}
}
