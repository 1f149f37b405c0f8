//! The reactor wakes whoever waits: for signals, timers, other threads; and a
//! task that is always busy keeps nobody from it.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod common;

use std::time::Duration;

use common::{run, spawn};
use embassy_futures::yield_now;
use embassy_time::{Instant, Timer};
use ichor_hal_linux::{Reactor, Signal, Signals};
use rustix::process::{Signal as Raw, getpid, kill_process};

#[test]
fn each_signal_wakes_the_reactor() {
    run(|reactor, _| async move {
        let mut signals = Signals::new(&reactor).unwrap();
        for (raw, want) in [
            (Raw::HUP, Signal::Hangup),
            (Raw::INT, Signal::Interrupt),
            (Raw::TERM, Signal::Terminate),
        ] {
            std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(30));
                kill_process(getpid(), raw).unwrap();
            });
            assert_eq!(signals.next().await, want);
        }
    });
}

#[test]
fn a_waker_works_from_another_thread() {
    run(|_, _| async {
        let mut thread = None;
        std::future::poll_fn(|cx| {
            if thread.is_some() {
                return std::task::Poll::Ready(());
            }
            let waker = cx.waker().clone();
            thread = Some(std::thread::spawn(move || {
                std::thread::sleep(Duration::from_millis(30));
                waker.wake();
            }));
            std::task::Poll::Pending
        })
        .await;
    });
}

#[test]
fn a_busy_task_starves_neither_timers_nor_descriptors() {
    run(|reactor, spawner| async move {
        spawn(spawner, async {
            loop {
                yield_now().await;
            }
        });
        let before = Instant::now();
        Timer::after_millis(20).await;
        assert!(before.elapsed().as_millis() < 1000);
        let (mut write, read) = std::os::unix::net::UnixStream::pair().unwrap();
        let source = reactor.register(read).unwrap();
        std::io::Write::write_all(&mut write, b"x").unwrap();
        source.readable().await;
    });
}

#[test]
fn timers_fire_in_order_and_in_time() {
    run(|_, spawner| async move {
        let order = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        let before = Instant::now();
        for wait in [30, 10, 20] {
            let order = order.clone();
            spawn(spawner, async move {
                Timer::after_millis(wait).await;
                order
                    .borrow_mut()
                    .push((wait, before.elapsed().as_millis()));
            });
        }
        Timer::after_millis(60).await;
        let order = order.borrow();
        let waits: Vec<_> = order.iter().map(|(wait, _)| *wait).collect();
        assert_eq!(waits, [10, 20, 30]);
        assert!(order.iter().all(|(wait, took)| took >= wait), "{order:?}");
    });
}

#[test]
fn a_reactor_sleeps_while_there_is_nothing_to_do() {
    let cpu_time = || rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    let before = cpu_time();
    run(|_, _| async { Timer::after_millis(300).await });
    let used = cpu_time() - before;
    assert!(used.tv_sec == 0 && used.tv_nsec < 100_000_000, "{used:?}");
}

#[test]
fn a_task_cannot_run_the_reactor_it_is_on() {
    run(|reactor, _| async move {
        let error = reactor.run(|_| {}).unwrap_err();
        assert!(error.to_string().contains("running already"), "{error}");
    });
}

#[test]
fn a_stopped_reactor_goes_on_where_it_was() {
    let reactor = Reactor::new().unwrap();
    let steps = std::rc::Rc::new(std::cell::Cell::new(0));
    let counter = steps.clone();
    let task = async move {
        for step in 1..=2 {
            counter.set(step);
            reactor.stop();
            yield_now().await;
        }
    };
    reactor.run(|spawner| spawn(spawner, task)).unwrap();
    assert_eq!(steps.get(), 1);
    reactor.run(|_| {}).unwrap();
    assert_eq!(steps.get(), 2);
}
