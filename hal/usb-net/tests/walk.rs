//! Where an adapter may be on the bus, and how it comes and goes.

mod common;

use common::bus::{At, Function, device_descriptor};
use common::ecm::Ecm;
use common::lan9500::Lan9500;
use common::{MAC, frame, with_runner};
use embassy_time::{Instant, Timer};
use embassy_usb_driver::Speed;
use embassy_usb_driver::host::PipeError;

/// Something that is no Ethernet adapter.
struct Keyboard;

impl Function for Keyboard {
    fn device_descriptor(&self) -> [u8; 18] {
        device_descriptor(0x046D, 0xC31C, 0)
    }

    fn configurations(&self) -> Vec<Vec<u8>> {
        vec![vec![
            9, 2, 25, 0, 1, 1, 0, 0xA0, 49, 9, 4, 0, 0, 1, 3, 1, 1, 0, 7, 5, 0x81, 3, 8, 0, 10,
        ]]
    }

    fn control(&mut self, _setup: [u8; 8], _data: &[u8]) -> Option<Vec<u8>> {
        None
    }

    fn take_in(&mut self, _endpoint: u8) -> Option<Vec<u8>> {
        None
    }
}

#[test]
fn the_lan9514_of_a_pi() {
    with_runner(Some(MAC), async |lab| {
        let hub = lab.bus.borrow_mut().plug_hub(Speed::High, At::Root, 5);
        let chip = Lan9500::new(0xEC00);
        // High speed behind high speed: the fake accepts no split transaction,
        // though before its reset the port says full speed.
        lab.bus
            .borrow_mut()
            .plug(chip.clone(), Speed::High, At::Port(hub, 1));
        lab.bus
            .borrow_mut()
            .plug(Keyboard, Speed::Low, At::Port(hub, 2));
        lab.until_up().await;
        assert_eq!(chip.borrow().register(0x38), 37);
        assert_eq!(
            lab.log()[0],
            "Ethernet 0424:ec00 class ff/00/00 by lan95xx at High speed, b8:27:eb:01:02:03"
        );
        chip.borrow_mut().receive(&frame(1, 60));
        assert_eq!(lab.next().await, frame(1, 60));
        // Being watched does not disturb it.
        Timer::after_secs(60).await;
        assert_eq!(
            (lab.bus.borrow().abandoned, lab.counters().usb_errors),
            (0, 0)
        );
        assert!(lab.link_up());
    });
}

#[test]
fn usb_net_behind_qemus_full_speed_hub_is_up_within_half_a_second() {
    with_runner(None, async |lab| {
        let begin = Instant::now();
        let hub = lab.bus.borrow_mut().plug_hub(Speed::Full, At::Root, 8);
        let adapter = Ecm::new("525400123456");
        lab.bus
            .borrow_mut()
            .plug(adapter, Speed::Full, At::Port(hub, 1));
        lab.until_up().await;
        assert!(
            begin.elapsed().as_millis() < 500,
            "{} ms",
            begin.elapsed().as_millis()
        );
    });
}

#[test]
fn full_speed_behind_a_high_speed_hub_goes_through_its_translator() {
    with_runner(None, async |lab| {
        let hub = lab.bus.borrow_mut().plug_hub(Speed::High, At::Root, 4);
        // And another hub between, which has no say in it.
        let slow = lab
            .bus
            .borrow_mut()
            .plug_hub(Speed::Full, At::Port(hub, 3), 4);
        let adapter = Ecm::new("525400123456");
        lab.bus
            .borrow_mut()
            .plug(adapter.clone(), Speed::Full, At::Port(slow, 2));
        lab.until_up().await;
        adapter.borrow_mut().received.push_back(frame(1, 60));
        assert_eq!(lab.next().await, frame(1, 60));
    });
}

#[test]
fn a_high_speed_hub_behind_another_has_its_own_translator() {
    with_runner(None, async |lab| {
        let first = lab.bus.borrow_mut().plug_hub(Speed::High, At::Root, 4);
        let second = lab
            .bus
            .borrow_mut()
            .plug_hub(Speed::High, At::Port(first, 4), 4);
        let adapter = Ecm::new("525400123456");
        lab.bus
            .borrow_mut()
            .plug(adapter, Speed::Full, At::Port(second, 1));
        lab.until_up().await;
    });
}

#[test]
fn pulled_and_put_back_at_the_root() {
    with_runner(None, async |lab| {
        let adapter = Ecm::new("525400123456");
        let id = lab
            .bus
            .borrow_mut()
            .plug(adapter.clone(), Speed::Full, At::Root);
        // More often than there are addresses.
        for number in 0..130 {
            lab.until_up().await;
            adapter.borrow_mut().received.push_back(frame(number, 60));
            assert_eq!(lab.next().await, frame(number, 60));
            lab.bus.borrow_mut().pull(id);
            lab.until_down().await;
            lab.send(&frame(0, 60));
            Timer::after_millis(100).await;
            lab.bus.borrow_mut().replug(id, At::Root);
        }
        lab.until_up().await;
        // Nothing of what was sent while there was none.
        assert!(adapter.borrow().sent.is_empty());
        assert_eq!(lab.logged("lost: unplugged"), 130);
    });
}

#[test]
fn pulled_and_put_back_at_a_hub() {
    with_runner(Some(MAC), async |lab| {
        let hub = lab.bus.borrow_mut().plug_hub(Speed::High, At::Root, 5);
        let adapter = Ecm::new("525400123456");
        let id = lab
            .bus
            .borrow_mut()
            .plug(adapter.clone(), Speed::Full, At::Port(hub, 2));
        for number in 0..20 {
            lab.until_up().await;
            adapter.borrow_mut().received.push_back(frame(number, 60));
            assert_eq!(lab.next().await, frame(number, 60));
            lab.bus.borrow_mut().pull(id);
            lab.until_down().await;
            Timer::after_secs(u64::from(number)).await;
            // Into another port, too.
            let port = 1 + number % 5;
            lab.bus.borrow_mut().replug(id, At::Port(hub, port));
        }
        lab.until_up().await;
    });
}

#[test]
fn pulled_and_put_back_before_anyone_looked() {
    with_runner(None, async |lab| {
        let hub = lab.bus.borrow_mut().plug_hub(Speed::Full, At::Root, 4);
        let adapter = Ecm::new("525400123456");
        let id = lab
            .bus
            .borrow_mut()
            .plug(adapter.clone(), Speed::Full, At::Port(hub, 1));
        lab.until_up().await;
        lab.bus.borrow_mut().pull(id);
        lab.bus.borrow_mut().replug(id, At::Port(hub, 1));
        lab.until_down().await;
        lab.until_up().await;
        adapter.borrow_mut().received.push_back(frame(1, 60));
        assert_eq!(lab.next().await, frame(1, 60));
    });
}

#[test]
fn the_hub_is_pulled_with_all_that_is_behind_it() {
    with_runner(None, async |lab| {
        let near = lab.bus.borrow_mut().plug_hub(Speed::High, At::Root, 4);
        let far = lab
            .bus
            .borrow_mut()
            .plug_hub(Speed::High, At::Port(near, 1), 4);
        let adapter = Ecm::new("525400123456");
        lab.bus
            .borrow_mut()
            .plug(adapter.clone(), Speed::Full, At::Port(far, 1));
        lab.until_up().await;
        lab.bus.borrow_mut().pull(far);
        lab.until_down().await;
        Timer::after_secs(5).await;
        lab.bus.borrow_mut().replug(far, At::Port(near, 2));
        lab.until_up().await;
        lab.bus.borrow_mut().pull(near);
        lab.until_down().await;
        Timer::after_secs(5).await;
        lab.bus.borrow_mut().replug(near, At::Root);
        lab.until_up().await;
        adapter.borrow_mut().received.push_back(frame(1, 60));
        assert_eq!(lab.next().await, frame(1, 60));
    });
}

#[test]
fn what_is_no_adapter_is_named_and_left_alone() {
    with_runner(Some(MAC), async |lab| {
        let hub = lab.bus.borrow_mut().plug_hub(Speed::High, At::Root, 4);
        let keyboard = lab
            .bus
            .borrow_mut()
            .plug(Keyboard, Speed::Low, At::Port(hub, 1));
        lab.until("told", |lab| !lab.log().is_empty()).await;
        Timer::after_secs(10).await;
        assert_eq!(
            lab.log(),
            ["USB hub 1 port 1: 046d:c31c class 03/01/01 is no Ethernet adapter known here"]
        );
        // Plugged in anew, it is told again, and its address is free again.
        for times in 2..140 {
            lab.bus.borrow_mut().pull(keyboard);
            Timer::after_millis(400).await;
            lab.bus.borrow_mut().replug(keyboard, At::Port(hub, 1));
            lab.until("told again", |lab| lab.log().len() == times)
                .await;
        }
        let chip = Lan9500::new(0x9E00);
        lab.bus
            .borrow_mut()
            .plug(chip, Speed::High, At::Port(hub, 4));
        lab.until_up().await;
        assert_eq!(lab.bus.borrow().bus_resets, 0);
    });
}

#[test]
fn what_is_no_adapter_at_the_root_is_named_too() {
    with_runner(Some(MAC), async |lab| {
        let keyboard = lab.bus.borrow_mut().plug(Keyboard, Speed::Low, At::Root);
        lab.until("told", |lab| {
            lab.logged("USB root port: 046d:c31c class 03/01/01") == 1
        })
        .await;
        lab.send(&frame(1, 60));
        Timer::after_secs(1).await;
        assert_eq!(lab.counters().tx_no_link, 1);
        lab.bus.borrow_mut().pull(keyboard);
        Timer::after_secs(1).await;
        lab.bus
            .borrow_mut()
            .plug(Lan9500::new(0x9500), Speed::High, At::Root);
        lab.until_up().await;
    });
}

#[test]
fn a_device_that_does_not_enumerate_does_not_hide_the_next() {
    with_runner(Some(MAC), async |lab| {
        let hub = lab.bus.borrow_mut().plug_hub(Speed::High, At::Root, 4);
        let broken = lab
            .bus
            .borrow_mut()
            .plug(Keyboard, Speed::Low, At::Port(hub, 1));
        lab.bus
            .borrow_mut()
            .fail(broken, 0, PipeError::BadResponse, 1000);
        Timer::after_secs(20).await;
        assert_eq!(lab.logged("USB hub 1 port 1: device does not enumerate"), 3);
        lab.bus
            .borrow_mut()
            .plug(Lan9500::new(0xEC00), Speed::High, At::Port(hub, 2));
        lab.until_up().await;
    });
}

#[test]
fn a_port_that_never_resets_does_not_hide_the_next() {
    with_runner(Some(MAC), async |lab| {
        let hub = lab.bus.borrow_mut().plug_hub(Speed::High, At::Root, 4);
        lab.bus.borrow_mut().jam(hub, 1);
        lab.bus
            .borrow_mut()
            .plug(Keyboard, Speed::Low, At::Port(hub, 1));
        let chip = Lan9500::new(0xEC00);
        lab.bus
            .borrow_mut()
            .plug(chip, Speed::High, At::Port(hub, 2));
        lab.until_up().await;
        assert_eq!(lab.bus.borrow().bus_resets, 0);
    });
}

#[test]
fn a_root_device_that_does_not_enumerate_is_tried_again() {
    with_runner(Some(MAC), async |lab| {
        let chip = Lan9500::new(0x9500);
        let id = lab.bus.borrow_mut().plug(chip, Speed::High, At::Root);
        lab.bus.borrow_mut().fail(id, 0, PipeError::BadResponse, 30);
        lab.until_up().await;
        assert!(lab.logged("USB root port: device does not enumerate") > 0);
        assert!(lab.bus.borrow().bus_resets > 0);
    });
}

#[test]
fn more_hubs_than_are_followed() {
    with_runner(Some(MAC), async |lab| {
        let hub = lab.bus.borrow_mut().plug_hub(Speed::High, At::Root, 7);
        for port in 1..=4 {
            lab.bus
                .borrow_mut()
                .plug_hub(Speed::High, At::Port(hub, port), 4);
        }
        lab.until("told", |lab| {
            lab.logged("port 4: more than 4 hubs, not followed") == 1
        })
        .await;
        lab.bus
            .borrow_mut()
            .plug(Lan9500::new(0x9500), Speed::High, At::Port(hub, 5));
        lab.until_up().await;
    });
}

#[test]
fn too_much_current_is_told_once() {
    with_runner(Some(MAC), async |lab| {
        let hub = lab.bus.borrow_mut().plug_hub(Speed::High, At::Root, 4);
        Timer::after_secs(1).await;
        lab.bus.borrow_mut().overcurrent(hub, 3);
        Timer::after_secs(5).await;
        assert_eq!(lab.log(), ["USB hub 1 port 3: too much current drawn"]);
    });
}
