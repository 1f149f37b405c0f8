//! Virtual time, one per test thread: it stands still while anything can run,
//! and then leaps to the next timer.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
    static ALARMS: RefCell<BTreeSet<u64>> = const { RefCell::new(BTreeSet::new()) };
}

struct VirtualClock;

impl embassy_time_driver::Driver for VirtualClock {
    fn now(&self) -> u64 {
        NOW.get()
    }

    /// There is one task per thread, so it does not matter whom to wake.
    fn schedule_wake(&self, at: u64, waker: &Waker) {
        if at <= NOW.get() {
            waker.wake_by_ref();
        } else {
            ALARMS.with_borrow_mut(|alarms| alarms.insert(at));
        }
    }
}

embassy_time_driver::time_driver_impl!(static DRIVER: VirtualClock = VirtualClock);

struct Awake(AtomicBool);

impl Wake for Awake {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future to its end in virtual time.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    let awake = Arc::new(Awake(AtomicBool::new(false)));
    let waker = Waker::from(awake.clone());
    let mut future = pin!(future);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
        if awake.0.swap(false, Ordering::Relaxed) {
            continue;
        }
        let next = ALARMS.with_borrow_mut(BTreeSet::pop_first);
        NOW.set(next.expect("nothing can run and no timer is set: a deadlock"));
    }
}
