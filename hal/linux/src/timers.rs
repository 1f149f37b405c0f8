//! The timers of many tasks, of which any can change at little cost.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::task::Waker;

/// A timer for each task that waits for a time.
///
/// A server with a thousand connections sets a timer for each packet: neither
/// that nor the look for what is due may walk all of them.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    /// In the order in which they are due.
    queue: BTreeMap<(u64, Task), Waker>,
    due: HashMap<Task, u64>,
}

/// What tells two tasks apart: where their wakers point to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Task(usize, usize);

impl Task {
    fn of(waker: &Waker) -> Self {
        let vtable = std::ptr::from_ref(waker.vtable());
        Self(waker.data().addr(), vtable.addr())
    }
}

impl Timers {
    /// Has the task woken at this tick, unless it is to be woken before.
    pub(crate) fn schedule(&mut self, at: u64, waker: &Waker) {
        let task = Task::of(waker);
        match self.due.entry(task) {
            Entry::Occupied(due) if *due.get() <= at => return,
            Entry::Occupied(mut due) => {
                self.queue.remove(&(due.insert(at), task));
            }
            Entry::Vacant(none) => {
                none.insert(at);
            }
        }
        self.queue.insert((at, task), waker.clone());
    }

    /// Wakes the tasks whose tick has come, and returns the next tick at which
    /// one is due.
    pub(crate) fn wake_expired(&mut self, now: u64) -> Option<u64> {
        while let Some(first) = self.queue.first_entry() {
            let (at, task) = *first.key();
            if at > now {
                return Some(at);
            }
            self.due.remove(&task);
            first.remove().wake();
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Bell(AtomicU32);

    impl Wake for Bell {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    impl Bell {
        fn rung(&self) -> u32 {
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    #[test]
    fn the_earliest_time_of_a_task_counts() {
        let mut timers = Timers::default();
        let bell = Arc::new(Bell::default());
        let waker = bell.clone().into();
        for at in [30, 20, 25, 40] {
            timers.schedule(at, &waker);
        }
        assert_eq!((timers.wake_expired(19), bell.rung()), (Some(20), 0));
        assert_eq!((timers.wake_expired(20), bell.rung()), (None, 1));
        timers.schedule(50, &waker);
        assert_eq!((timers.wake_expired(100), bell.rung()), (None, 1));
    }

    #[test]
    fn thousands_of_tasks_are_each_woken_once_and_not_before_their_time() {
        let mut timers = Timers::default();
        let bells: Vec<Arc<Bell>> = std::iter::repeat_with(Arc::default).take(5_000).collect();
        // Each is due at a tick of its own, in no order.
        let due = |number: usize| 1 + (number as u64 * 1_009) % 5_000;
        for (number, bell) in bells.iter().enumerate() {
            timers.schedule(due(number) + 7, &bell.clone().into());
            timers.schedule(due(number), &bell.clone().into());
        }
        for now in 0..=5_000 {
            let next = timers.wake_expired(now);
            assert_eq!(next, (now < 5_000).then_some(now + 1));
            if now % 1_000 == 0 {
                for (number, bell) in bells.iter().enumerate() {
                    let is_due = now > 0 && (now - 999..=now).contains(&due(number));
                    assert_eq!(bell.rung(), u32::from(is_due), "{number} at {now}");
                }
            }
        }
        assert!(timers.due.is_empty() && timers.queue.is_empty());
    }
}
