//! Two catalogs, one in use: how the data folder is re-read without dropping
//! a transfer.

use core::cell::{Cell, Ref, RefCell, RefMut};

use embassy_time::{Duration, Timer};

/// How often to look whether the last reader of the old value has left. A
/// reader holds it for as long as it sends one rendered answer.
const RETRY: Duration = Duration::from_millis(50);

/// A value that is replaced as a whole while readers still hold the old one.
pub struct Shelf<T> {
    slots: [RefCell<T>; 2],
    current: Cell<usize>,
}

impl<T> Shelf<T> {
    /// A shelf that shows `first` and fills `second` next.
    pub const fn new(first: T, second: T) -> Self {
        Self {
            slots: [RefCell::new(first), RefCell::new(second)],
            current: Cell::new(0),
        }
    }

    /// The value in use. It stays as it is for as long as the guard lives.
    pub fn current(&self) -> Ref<'_, T> {
        self.slots[self.current.get()].borrow()
    }

    /// The other value, to be filled; waits for readers that still hold it
    /// from before the last [`show`](Self::show).
    pub async fn spare(&self) -> RefMut<'_, T> {
        loop {
            if let Ok(spare) = self.slots[1 - self.current.get()].try_borrow_mut() {
                return spare;
            }
            Timer::after(RETRY).await;
        }
    }

    /// Puts the other value in use. Whoever filled it must have let it go.
    pub fn show(&self) {
        self.current.set(1 - self.current.get());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::pin::pin;
    use core::task::{Context, Poll, Waker};

    #[test]
    fn a_reader_keeps_what_it_holds() {
        let shelf = Shelf::new(1, 2);
        let reader = shelf.current();
        shelf.show();
        assert_eq!((*reader, *shelf.current()), (1, 2));
        // The old value cannot be filled while it is held …
        let mut cx = Context::from_waker(Waker::noop());
        assert!(pin!(shelf.spare()).poll(&mut cx).is_pending());
        // … but can be once it is not.
        drop(reader);
        let Poll::Ready(mut spare) = pin!(shelf.spare()).poll(&mut cx) else {
            panic!("nobody holds the spare value")
        };
        *spare = 3;
        drop(spare);
        shelf.show();
        assert_eq!(*shelf.current(), 3);
    }
}
