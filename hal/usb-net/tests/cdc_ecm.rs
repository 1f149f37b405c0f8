//! The CDC-ECM driver against an adapter in memory with the descriptors of
//! QEMU's usb-net.

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::bus::{At, Id};
use common::ecm::Ecm;
use common::{Lab, MAC, frame, with_runner};
use embassy_net_driver::HardwareAddress;
use embassy_time::Timer;
use embassy_usb_driver::Speed;
use embassy_usb_driver::host::PipeError;

const OWN: [u8; 6] = [0x52, 0x54, 0x00, 0x12, 0x34, 0x56];

/// A test with an adapter at the root port that is up.
fn with_adapter(mac: Option<[u8; 6]>, test: impl AsyncFnOnce(&mut Lab<'_>, Rc<RefCell<Ecm>>, Id)) {
    with_runner(mac, async |lab| {
        let adapter = Ecm::new("525400123456");
        let id = lab
            .bus
            .borrow_mut()
            .plug(adapter.clone(), Speed::Full, At::Root);
        lab.until_up().await;
        test(lab, adapter.clone(), id).await;
        assert_eq!(adapter.borrow().violations, [""; 0]);
    });
}

#[test]
fn takes_the_ecm_configuration_and_the_adapters_address() {
    with_adapter(None, async |lab, adapter, _| {
        assert_eq!(lab.mac(), HardwareAddress::Ethernet(OWN));
        // Directed and broadcast.
        assert_eq!(adapter.borrow().filter, Some(0x0E));
        assert_eq!(
            lab.log(),
            [
                "Ethernet 0525:a4a2 class 02/00/00 by cdc-ecm at Full speed, 52:54:00:12:34:56",
                "link up",
            ]
        );
    });
}

#[test]
fn is_promiscuous_for_another_address_of_the_board() {
    with_adapter(Some(MAC), async |lab, adapter, _| {
        assert_eq!(lab.mac(), HardwareAddress::Ethernet(MAC));
        assert_eq!(adapter.borrow().filter, Some(0x0F));
    });
    with_adapter(Some(OWN), async |_, adapter, _| {
        assert_eq!(adapter.borrow().filter, Some(0x0E));
    });
}

#[test]
fn an_adapter_without_a_usable_address_needs_the_boards() {
    with_runner(None, async |lab| {
        let adapter = Ecm::new("no address!!");
        lab.bus.borrow_mut().plug(adapter, Speed::Full, At::Root);
        lab.until("told", |lab| {
            lab.logged("no MAC address, and the board gives none") > 0
        })
        .await;
    });
    with_runner(Some(MAC), async |lab| {
        let adapter = Ecm::new("");
        lab.bus.borrow_mut().plug(adapter, Speed::Full, At::Root);
        lab.until_up().await;
    });
}

#[test]
fn an_adapter_without_a_filter_is_used_all_the_same() {
    with_runner(None, async |lab| {
        let adapter = Ecm::new("525400123456");
        adapter.borrow_mut().refuses_filter = true;
        lab.bus.borrow_mut().plug(adapter, Speed::Full, At::Root);
        lab.until_up().await;
    });
}

#[test]
fn frames_go_both_ways_one_in_a_transfer() {
    with_adapter(None, async |lab, adapter, _| {
        // 64 and 1472 are whole packets: the fake insists on the empty one.
        for (number, len) in [(1, 60), (2, 64), (3, 1472), (4, 1514)] {
            lab.send(&frame(number, len));
            lab.until("sent", |_| !adapter.borrow().sent.is_empty())
                .await;
            assert_eq!(adapter.borrow_mut().sent.remove(0), frame(number, len));
            adapter.borrow_mut().received.push_back(frame(number, len));
            assert_eq!(lab.next().await, frame(number, len));
        }
        // Too long, too short, nothing, good.
        for len in [1515, 2048, 13, 0, 60] {
            adapter.borrow_mut().received.push_back(vec![7; len]);
        }
        assert_eq!(lab.next().await, [7; 60]);
        let counters = lab.counters();
        assert_eq!(
            (
                counters.rx_frames,
                counters.tx_frames,
                counters.rx_malformed
            ),
            (5, 4, 3)
        );
        assert_eq!((counters.usb_errors, lab.bus.borrow().abandoned), (0, 0));
    });
}

#[test]
fn notifications_move_the_link() {
    with_adapter(None, async |lab, adapter, _| {
        adapter.borrow_mut().notify_connection(false);
        lab.until_down().await;
        // A speed alone does not bring it up.
        adapter.borrow_mut().notify_speed(100_000_000);
        Timer::after_millis(500).await;
        assert!(!lab.link_up());
        adapter.borrow_mut().notify_connection(true);
        lab.until_up().await;
        // Told again, as many adapters do every 32 ms: no news.
        for _ in 0..5 {
            adapter.borrow_mut().notify_connection(true);
            adapter.borrow_mut().notify_speed(100_000_000);
        }
        adapter.borrow_mut().notify_speed(10_000_000);
        lab.until("slower", |lab| lab.logged("link up, 10 Mbit/s") == 1)
            .await;
        assert_eq!(
            lab.log()[1..],
            [
                "link up",
                "link down",
                "link up, 100 Mbit/s",
                "link up, 10 Mbit/s"
            ]
        );
    });
}

#[test]
fn broken_notifications_do_not_cost_the_frames() {
    with_adapter(None, async |lab, adapter, id| {
        adapter.borrow_mut().notify_connection(false);
        lab.until_down().await;
        lab.bus
            .borrow_mut()
            .fail(id, 0x81, PipeError::BadResponse, 1000);
        // Whether there is a link cannot be told any more: as if there were.
        lab.until_up().await;
        adapter.borrow_mut().received.push_back(frame(1, 60));
        assert_eq!(lab.next().await, frame(1, 60));
        assert_eq!(
            (lab.counters().restarts, lab.bus.borrow().bus_resets),
            (0, 0)
        );
    });
}

#[test]
fn stalls_are_cleared_and_endless_errors_have_it_configured_again() {
    with_adapter(None, async |lab, adapter, id| {
        lab.bus.borrow_mut().fail(id, 0x82, PipeError::Stall, 2);
        lab.until("cleared", |lab| lab.counters().stalls == 2).await;
        adapter.borrow_mut().received.push_back(frame(1, 60));
        assert_eq!(lab.next().await, frame(1, 60));
        assert_eq!(lab.counters().restarts, 0);

        lab.bus
            .borrow_mut()
            .fail(id, 0x82, PipeError::BadResponse, 8);
        adapter.borrow_mut().filter = None;
        lab.until("restarted", |lab| lab.counters().restarts == 1)
            .await;
        lab.until_up().await;
        assert_eq!(adapter.borrow().filter, Some(0x0E));
        adapter.borrow_mut().received.push_back(frame(2, 60));
        assert_eq!(lab.next().await, frame(2, 60));
        lab.send(&frame(3, 60));
        lab.until("sent", |_| adapter.borrow().sent == [frame(3, 60)])
            .await;
    });
}

#[test]
fn an_adapter_that_never_recovers_has_the_bus_reset() {
    with_adapter(None, async |lab, adapter, id| {
        lab.bus
            .borrow_mut()
            .fail(id, 0x82, PipeError::BadResponse, 40);
        lab.until("bus reset", |lab| lab.bus.borrow().bus_resets > 0)
            .await;
        assert_eq!(lab.logged("lost: starting it again has not helped"), 1);
        adapter.borrow_mut().received.push_back(frame(1, 60));
        assert_eq!(lab.next().await, frame(1, 60));
    });
}
