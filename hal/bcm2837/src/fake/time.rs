//! Time that passes only when nothing else can happen, one clock per thread.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use embassy_time_driver::{Driver, time_driver_impl};

thread_local! {
    static NOW: Cell<u64> = const { Cell::new(0) };
    /// Whether looking at the clock takes a microsecond.
    static LOOKS_TAKE_TIME: Cell<bool> = const { Cell::new(false) };
    static TIMERS: RefCell<Vec<(u64, Waker)>> = const { RefCell::new(Vec::new()) };
}

struct Virtual;

time_driver_impl!(static DRIVER: Virtual = Virtual);

impl Driver for Virtual {
    fn now(&self) -> u64 {
        if LOOKS_TAKE_TIME.get() {
            NOW.set(now() + 1);
        }
        now()
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        TIMERS.with_borrow_mut(|timers| timers.push((at, waker.clone())));
    }
}

/// Microseconds since the test began.
pub(crate) fn now() -> u64 {
    NOW.get()
}

/// When the next timer is due.
pub(crate) fn next() -> Option<u64> {
    TIMERS.with_borrow(|timers| timers.iter().map(|(at, _)| *at).min())
}

/// Lets time pass up to `then`.
pub(crate) fn advance(then: u64) {
    NOW.set(then.max(now()));
    let due = TIMERS.with_borrow_mut(|timers| {
        let (due, later) = timers.drain(..).partition(|(at, _)| *at <= now());
        *timers = later;
        let due: Vec<(u64, Waker)> = due;
        due
    });
    for (_, waker) in due {
        waker.wake();
    }
}

/// Remembers that it was woken.
#[derive(Debug, Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn take(&self) -> bool {
        self.0.swap(false, Ordering::Relaxed)
    }
}

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs a future whose device does all it does at once. Looking at the clock
/// takes time, since drivers poll; else it passes from timer to timer.
pub(crate) fn block_on<F: Future>(future: F) -> F::Output {
    LOOKS_TAKE_TIME.set(true);
    let mut future = pin!(future);
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    let output = loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            break output;
        }
        while !flag.take() {
            advance(next().expect("somebody waits for a timer"));
        }
    };
    LOOKS_TAKE_TIME.set(false);
    output
}
