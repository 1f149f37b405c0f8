//! A bus, a runner on it, and the stack's side of the NIC.
// Every test file uses a part of it.
#![allow(dead_code)]

pub(crate) mod bus;
mod clock;
pub(crate) mod ecm;
pub(crate) mod lan9500;

use std::cell::RefCell;
use std::rc::Rc;
use std::task::{Context, Waker};

use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Instant, Timer};
use embassy_usb_host::BusState;
use ichor_hal_usb_net::{Buffers, Counters, Device, Snapshot, new};

use embassy_net_driver::{Driver, HardwareAddress, LinkState, RxToken, TxToken};

use bus::{Controller, Shared};

/// The address that the board gives.
pub(crate) const MAC: [u8; 6] = [0xB8, 0x27, 0xEB, 0x01, 0x02, 0x03];

/// What a test sees: the stack's side, and what the board was told.
pub(crate) struct Lab<'a> {
    pub(crate) bus: Shared,
    pub(crate) stack: Device<'a>,
    counters: &'a Counters,
    log: Rc<RefCell<Vec<String>>>,
}

/// Runs a test against a bus that a runner serves. `mac` is the board's.
pub(crate) fn with_runner(mac: Option<[u8; 6]>, test: impl AsyncFnOnce(&mut Lab<'_>)) {
    let bus = Shared::default();
    let state = BusState::new();
    let mut buffers = Box::new(Buffers::new());
    let (stack, runner) = new(&mut buffers, mac);
    let log = Rc::new(RefCell::new(Vec::new()));
    let mut lab = Lab {
        bus: bus.clone(),
        stack,
        counters: runner.counters(),
        log: log.clone(),
    };
    let (mut controller, handle) = embassy_usb_host::bus(Controller(bus.clone()), &state);
    let report = |event: ichor_hal_usb_net::Event| log.borrow_mut().push(event.to_string());
    clock::block_on(async {
        let running = runner.run(&mut controller, &handle, &report);
        match select(running, test(&mut lab)).await {
            Either::First(never) => never,
            Either::Second(()) => {}
        }
    });
    // Looked at last, so that what the test itself says is said first.
    assert_eq!(bus.borrow().violations, [""; 0]);
}

impl Lab<'_> {
    /// Waits until something is so, for at most ten seconds.
    #[track_caller]
    pub(crate) fn until(
        &mut self,
        what: &str,
        mut so: impl FnMut(&mut Self) -> bool,
    ) -> impl Future {
        let place = std::panic::Location::caller();
        async move {
            let deadline = Instant::now() + Duration::from_secs(10);
            while !so(self) {
                let log = self.log.borrow();
                assert!(
                    Instant::now() < deadline,
                    "{place}: never {what}; log: {log:#?}"
                );
                drop(log);
                Timer::after_millis(1).await;
            }
        }
    }

    pub(crate) async fn until_up(&mut self) {
        self.until("up", |lab| lab.link_up()).await;
    }

    pub(crate) async fn until_down(&mut self) {
        self.until("down", |lab| !lab.link_up()).await;
    }

    pub(crate) fn link_up(&mut self) -> bool {
        self.stack
            .link_state(&mut Context::from_waker(Waker::noop()))
            == LinkState::Up
    }

    pub(crate) fn mac(&self) -> HardwareAddress {
        self.stack.hardware_address()
    }

    /// The stack sends a frame.
    pub(crate) fn send(&mut self, frame: &[u8]) {
        let token = self.stack.transmit(&mut Context::from_waker(Waker::noop()));
        let token = token.expect("no room in the queue");
        token.consume(frame.len(), |room| room.copy_from_slice(frame));
    }

    /// A frame that the stack gets, if there is one.
    pub(crate) fn receive(&mut self) -> Option<Vec<u8>> {
        let (token, _) = self
            .stack
            .receive(&mut Context::from_waker(Waker::noop()))?;
        Some(token.consume(|frame| frame.to_vec()))
    }

    /// The next frame that the stack gets.
    pub(crate) async fn next(&mut self) -> Vec<u8> {
        let mut next = None;
        self.until("a frame", |lab| {
            next = lab.receive();
            next.is_some()
        })
        .await;
        next.expect("`until` has it")
    }

    pub(crate) fn counters(&self) -> Snapshot {
        self.counters.snapshot()
    }

    /// How many lines of the log contain this.
    pub(crate) fn logged(&self, what: &str) -> usize {
        self.log
            .borrow()
            .iter()
            .filter(|line| line.contains(what))
            .count()
    }

    /// The log so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.borrow().clone()
    }
}

/// A frame of `len` bytes that is told from others by its number.
pub(crate) fn frame(number: u8, len: usize) -> Vec<u8> {
    let mut frame = vec![number; len];
    frame[..6].copy_from_slice(&MAC);
    frame
}
