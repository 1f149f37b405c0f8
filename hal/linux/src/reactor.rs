//! One thread that runs the stack's tasks and sleeps until there is news.
//!
//! The executor runs until no task is ready. Only then does the reactor ask
//! the kernel, with a single `poll(2)`, for the descriptors that tasks wait
//! for, and sleeps until one is ready or the next timer is due. A NIC, a
//! signal pipe and an inotify descriptor are a handful: for so few, `poll` is
//! one system call per sleep where epoll wants more, needs no registration,
//! and exists on every Unix. Where an answer is likely to come at once it asks
//! several times before it sleeps: see [`vigil`](crate::vigil).

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Waker};
use std::time::Instant;

use embassy_executor::{Spawner, raw};
use embassy_time_driver::TICK_HZ;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::time;
use crate::vigil::{SOON, Vigil};

/// Descriptors one reactor can watch. A process uses about six.
const MAX_SOURCES: usize = 32;

/// How often tasks may run in a row before descriptors and timers get a look,
/// so that a task that always has work cannot starve them.
const MAX_ROUNDS: u32 = 16;

/// The event loop of one thread. A cheap handle: copies mean the same loop.
///
/// A reactor lives as long as the process, since tasks do.
#[derive(Clone, Copy)]
pub struct Reactor {
    inner: &'static Inner,
}

struct Inner {
    executor: raw::Executor,
    alarm: &'static Alarm,
    /// The end of a socket pair that [`Alarm::ring`] writes to.
    rung: OwnedFd,
    sources: RefCell<heapless::Vec<Rc<Slot>, MAX_SOURCES>>,
    running: Cell<bool>,
    stopped: Cell<bool>,
    vigil: Vigil,
}

/// How wakers reach the loop.
struct Alarm {
    /// A task is ready to run.
    ready: AtomicBool,
    /// The loop is about to sleep, or sleeps: only another thread can see
    /// this set.
    asleep: AtomicBool,
    bell: OwnedFd,
}

impl Alarm {
    fn ring(&self) {
        self.ready.store(true, Ordering::SeqCst);
        if self.asleep.swap(false, Ordering::SeqCst) {
            // A full socket wakes the loop just as well.
            let _ = rustix::io::write(&self.bell, &[1]);
        }
    }
}

/// Called by embassy-executor when a task becomes ready, from any thread.
#[unsafe(export_name = "__pender")]
fn pender(context: *mut ()) {
    // SAFETY: every executor in this process is made by `Reactor::new`, with
    // a pointer to an `Alarm` that is never freed.
    let alarm = unsafe { &*context.cast::<Alarm>().cast_const() };
    alarm.ring();
}

impl Reactor {
    /// A reactor for the current thread.
    pub fn new() -> io::Result<Self> {
        let (bell, rung) = std::os::unix::net::UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        rung.set_nonblocking(true)?;
        let alarm: &'static Alarm = Box::leak(Box::new(Alarm {
            ready: AtomicBool::new(true),
            asleep: AtomicBool::new(false),
            bell: bell.into(),
        }));
        let context = std::ptr::from_ref(alarm).cast_mut().cast();
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        let inner = Box::leak(Box::new(Inner {
            executor: raw::Executor::new(context),
            alarm,
            rung: rung.into(),
            sources: RefCell::default(),
            running: Cell::new(false),
            stopped: Cell::new(false),
            vigil: Vigil::new(processors),
        }));
        Ok(Self { inner })
    }

    /// Watches a descriptor for as long as the returned [`Source`] lives.
    /// Reads and writes on it should not block.
    pub fn register(&self, fd: impl Into<OwnedFd>) -> io::Result<Source> {
        let slot = Rc::new(Slot {
            fd: fd.into(),
            readable: Waiters::default(),
            writable: Waiters::default(),
        });
        self.inner
            .sources
            .borrow_mut()
            .push(slot.clone())
            .map_err(|_| io::Error::other("the reactor watches too many descriptors"))?;
        Ok(Source {
            slot,
            reactor: *self,
        })
    }

    /// Runs tasks until [`stop`](Self::stop) is called. `init` spawns the
    /// first ones. A later call goes on with the tasks that were left.
    ///
    /// Fails when the kernel refuses to wait, and when called from a task.
    pub fn run(&self, init: impl FnOnce(Spawner)) -> io::Result<()> {
        let inner = self.inner;
        if inner.running.replace(true) {
            return Err(io::Error::other("the reactor is running already"));
        }
        inner.stopped.set(false);
        init(inner.executor.spawner());
        let mut rounds = 0;
        let result = loop {
            if inner.stopped.get() {
                break Ok(());
            }
            if inner.alarm.ready.swap(false, Ordering::SeqCst) {
                // SAFETY: an `Inner` never leaves the thread that made it, as
                // it is not `Sync`, and `running` keeps this call from being
                // entered twice.
                unsafe { inner.executor.poll() };
                rounds += 1;
                if rounds < MAX_ROUNDS {
                    continue;
                }
            }
            rounds = 0;
            if let Err(error) = inner.wait() {
                break Err(error);
            }
        };
        inner.running.set(false);
        result
    }

    /// Lets [`run`](Self::run) return once the task that calls this yields.
    pub fn stop(&self) {
        self.inner.stopped.set(true);
    }
}

impl Inner {
    /// Sleeps until a task is ready, and makes those ready whose timer is due
    /// or whose descriptor has news. Only looks if one is ready already.
    fn wait(&self) -> io::Result<()> {
        let left = time::wake_expired();
        if self.alarm.ready.load(Ordering::SeqCst) {
            return self.look().map(drop);
        }
        if !self.vigil.begin() {
            return self.sleep(left).map(drop);
        }
        let start = Instant::now();
        if self.keep_vigil(start, left)? || self.sleep(left)? {
            self.vigil.answered(start.elapsed());
        }
        Ok(())
    }

    /// Looks for news without sleeping, if that is likely to pay. Returns
    /// whether there was any.
    fn keep_vigil(&self, start: Instant, left: Option<u64>) -> io::Result<bool> {
        const SOON_IN_TICKS: u64 = SOON.as_micros() as u64 * TICK_HZ / 1_000_000;
        if !self.vigil.is_due() || left.is_some_and(|left| left <= SOON_IN_TICKS) {
            return Ok(false);
        }
        loop {
            // Another thread does not ring for who is awake.
            if self.look()? || self.alarm.ready.load(Ordering::SeqCst) {
                return Ok(true);
            }
            let kept = start.elapsed();
            if kept >= SOON {
                self.vigil.in_vain(kept);
                return Ok(false);
            }
        }
    }

    /// Returns whether a descriptor has news.
    fn look(&self) -> io::Result<bool> {
        Ok(self.poll_sources(Some(&Timespec::default()))? > 0)
    }

    /// Sleeps until a timer is due or a descriptor has news, and returns
    /// whether it was the latter.
    fn sleep(&self, left: Option<u64>) -> io::Result<bool> {
        self.alarm.asleep.store(true, Ordering::SeqCst);
        let timeout = if self.alarm.ready.load(Ordering::SeqCst) {
            Some(Timespec::default())
        } else {
            left.map(ticks_to_timespec)
        };
        let news = self.poll_sources(timeout.as_ref())? > 0;
        if !news {
            time::wake_expired();
        }
        Ok(news)
    }

    /// Returns how many descriptors had news.
    fn poll_sources(&self, timeout: Option<&Timespec>) -> io::Result<usize> {
        let sources = self.sources.borrow();
        let mut fds: heapless::Vec<PollFd<'_>, { MAX_SOURCES + 1 }> = heapless::Vec::new();
        // There is room for every source and the bell.
        let _ = fds.push(PollFd::new(&self.rung, PollFlags::IN));
        let awaited = || sources.iter().filter(|slot| !slot.interest().is_empty());
        for slot in awaited() {
            let _ = fds.push(PollFd::new(&slot.fd, slot.interest()));
        }
        let polled = poll(&mut fds, timeout);
        self.alarm.asleep.store(false, Ordering::SeqCst);
        if fds[0].revents().contains(PollFlags::IN) {
            // Another thread rang, as it does once per sleep at most.
            let _ = rustix::io::read(&self.rung, &mut [0; 8]);
        }
        match polled {
            Ok(0) | Err(rustix::io::Errno::INTR) => return Ok(0),
            Ok(_) => {}
            Err(error) => return Err(error.into()),
        }
        // Waking empties the interest, which decides what `awaited` yields:
        // a slot is looked at before it is woken, so the two lists agree.
        let mut news = 0;
        for (slot, fd) in awaited().zip(fds.iter().skip(1)) {
            let events = fd.revents();
            let broken = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
            if events.intersects(PollFlags::IN | broken) {
                slot.readable.wake();
            }
            if events.intersects(PollFlags::OUT | broken) {
                slot.writable.wake();
            }
            news += usize::from(!events.is_empty());
        }
        Ok(news)
    }
}

fn ticks_to_timespec(ticks: u64) -> Timespec {
    // A day at most, so that no platform's limit is met.
    let ticks = ticks.min(86_400 * TICK_HZ);
    Timespec {
        tv_sec: (ticks / TICK_HZ).cast_signed(),
        tv_nsec: (ticks % TICK_HZ * 1_000_000_000 / TICK_HZ) as _,
    }
}

/// A descriptor that a [`Reactor`] watches, on behalf of tasks.
pub struct Source {
    slot: Rc<Slot>,
    reactor: Reactor,
}

struct Slot {
    fd: OwnedFd,
    readable: Waiters,
    writable: Waiters,
}

impl Slot {
    fn interest(&self) -> PollFlags {
        let mut interest = PollFlags::empty();
        interest.set(PollFlags::IN, self.readable.any());
        interest.set(PollFlags::OUT, self.writable.any());
        interest
    }
}

impl Source {
    /// Wakes the task once reading will not block. Ask only after a read
    /// said that it would: the task is woken anyway if data came since.
    pub fn wake_on_readable(&self, cx: &Context<'_>) {
        self.slot.readable.add(cx.waker());
    }

    /// Wakes the task once writing will not block.
    pub fn wake_on_writable(&self, cx: &Context<'_>) {
        self.slot.writable.add(cx.waker());
    }

    /// Whether some task still waits for readability: then nothing was to be
    /// read when the kernel was last asked, and trying again is a wasted
    /// system call.
    pub fn awaits_readable(&self) -> bool {
        self.slot.readable.any()
    }

    /// Says that something was sent which is answered sooner or later, and that
    /// little can be done before: the reactor may watch for it awake.
    pub(crate) fn expect_answer(&self) {
        self.reactor.inner.vigil.expect_answer();
    }

    /// Completes when reading will not block.
    pub async fn readable(&self) {
        let mut asked = false;
        std::future::poll_fn(|cx| {
            if std::mem::replace(&mut asked, true) && !self.awaits_readable() {
                return std::task::Poll::Ready(());
            }
            self.wake_on_readable(cx);
            std::task::Poll::Pending
        })
        .await;
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.slot.fd.as_fd()
    }
}

impl Drop for Source {
    fn drop(&mut self) {
        self.reactor
            .inner
            .sources
            .borrow_mut()
            .retain(|slot| !Rc::ptr_eq(slot, &self.slot));
    }
}

/// Tasks that wait for the same thing; their list keeps its memory.
#[derive(Default)]
struct Waiters(RefCell<Vec<Waker>>);

impl Waiters {
    fn any(&self) -> bool {
        !self.0.borrow().is_empty()
    }

    fn add(&self, waker: &Waker) {
        let mut waiting = self.0.borrow_mut();
        if !waiting.iter().any(|known| known.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    fn wake(&self) {
        self.0.borrow_mut().drain(..).for_each(Waker::wake);
    }
}
