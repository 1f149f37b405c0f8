//! Signals reach the task that waits for them, however deep the sleep.
#![allow(clippy::unwrap_used, reason = "a test that fails says so by a panic")]

mod common;

use std::time::Duration;

use common::run;
use ichor_hal_linux::{Signal, Signals};
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
