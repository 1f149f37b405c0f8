//! The LAN95xx driver against a chip in memory: what it is told at start, in
//! which order, and what becomes of frames, cables and faults.

mod common;

use std::cell::RefCell;
use std::rc::Rc;

use common::bus::At;
use common::lan9500::{FULL_100, HALF_10, HW_CFG, Lan9500, MAC_CR, Write};
use common::{Lab, MAC, frame, with_runner};
use embassy_net_driver::HardwareAddress;
use embassy_time::Timer;
use embassy_usb_driver::Speed;
use embassy_usb_driver::host::PipeError;

type Chip = Rc<RefCell<Lan9500>>;

/// A test with a chip at the root port whose link is up.
fn with_chip(test: impl AsyncFnOnce(&mut Lab<'_>, Chip, common::bus::Id)) {
    with_runner(Some(MAC), async |lab| {
        let chip = Lan9500::new(0x9500);
        let id = lab
            .bus
            .borrow_mut()
            .plug(chip.clone(), Speed::High, At::Root);
        lab.until_up().await;
        test(lab, chip.clone(), id).await;
        assert_eq!(chip.borrow().violations, [""; 0]);
    });
}

#[test]
fn initialises_in_the_order_of_the_data_sheet() {
    with_chip(async |lab, chip, _| {
        let chip = chip.borrow();
        // Without PHY accesses, which have a test of their own.
        let writes: Vec<_> = chip
            .writes
            .iter()
            .filter(|write| !matches!(write.0, 0x114 | 0x118))
            .collect();
        let expected = [
            Write(HW_CFG, 0x000C),      // lite reset
            Write(0x20, 0x10),          // PHY reset
            Write(0x108, 0x01EB_27B8),  // address, low
            Write(0x104, 0x0302),       // and high
            Write(HW_CFG, 0x1004),      // NAK when empty; the strap bit kept
            Write(0x38, 37),            // burst cap at high speed
            Write(0x6C, 0x2000),        // burst delay
            Write(HW_CFG, 0x1026),      // several frames, burst cap counts
            Write(0x08, 0xFFFF_FFFF),   // interrupts cleared
            Write(0x68, 0),             // none reported
            Write(0x24, 0x0111_0000),   // LEDs
            Write(0x11C, 0),            // no pause frames
            Write(0x2C, 0x00F8_30A1),   // flow control
            Write(0x120, 0x8100),       // VLAN tag
            Write(0x130, 0),            // no checksum offload
            Write(MAC_CR, 0x0088_0008), // transmitter; of the filters, multicast open
            Write(0x10, 4),             // transmitter on
            Write(MAC_CR, 0x0088_000C), // receiver
            Write(MAC_CR, 0x0018_000C), // link: full duplex, RCVOWN cleared
            Write(0x2C, 0x00F8_30A0),   // and no back pressure
        ];
        assert_eq!(writes, expected.iter().collect::<Vec<_>>());
        assert_eq!(chip.phy_writes, [(0, 0x8000), (4, 0x01E1), (0, 0x1200)]);
        assert_eq!(lab.mac(), HardwareAddress::Ethernet(MAC));
        assert_eq!(
            lab.log(),
            [
                "Ethernet 0424:9500 class ff/00/00 by lan95xx at High speed, b8:27:eb:01:02:03",
                "link up, 100 Mbit/s, full duplex",
            ]
        );
    });
}

#[test]
fn caps_bursts_by_the_speed_of_the_bus() {
    with_runner(Some(MAC), async |lab| {
        let chip = Lan9500::new(0x9500);
        lab.bus
            .borrow_mut()
            .plug(chip.clone(), Speed::Full, At::Root);
        lab.until_up().await;
        assert_eq!(chip.borrow().register(0x38), 128);
    });
}

#[test]
fn takes_the_address_of_an_eeprom_if_the_board_has_none() {
    with_runner(None, async |lab| {
        let chip = Lan9500::new(0xEC00);
        let eeprom = [0x00, 0x80, 0x0F, 1, 2, 3];
        chip.borrow_mut().set_eeprom(eeprom);
        lab.bus
            .borrow_mut()
            .plug(chip.clone(), Speed::High, At::Root);
        lab.until_up().await;
        assert_eq!(lab.mac(), HardwareAddress::Ethernet(eeprom));
        assert!(
            !chip
                .borrow()
                .writes
                .iter()
                .any(|write| matches!(write.0, 0x104 | 0x108))
        );
    });
}

#[test]
fn says_so_if_nobody_has_an_address() {
    with_runner(None, async |lab| {
        let chip = Lan9500::new(0xEC00);
        lab.bus
            .borrow_mut()
            .plug(chip.clone(), Speed::High, At::Root);
        lab.until("told", |lab| lab.logged("no EEPROM with a MAC address") > 0)
            .await;
        // An address of the board would be another program: retried, but not
        // in a hurry.
        Timer::after_secs(60).await;
        let told = lab.logged("no EEPROM with a MAC address");
        assert!((5..20).contains(&told), "{told} times in a minute");
    });
}

#[test]
fn frames_go_both_ways() {
    with_chip(async |lab, chip, _| {
        // 504 bytes and two command words are exactly one packet.
        for (number, len) in [(1, 60), (2, 504), (3, 1514)] {
            lab.send(&frame(number, len));
            lab.until("sent", |_| !chip.borrow().sent.is_empty()).await;
            assert_eq!(chip.borrow_mut().sent.remove(0), frame(number, len));
        }
        // One burst.
        for number in 1..=12 {
            chip.borrow_mut()
                .receive(&frame(number, 60 + usize::from(number)));
        }
        for number in 1..=12 {
            assert_eq!(lab.next().await, frame(number, 60 + usize::from(number)));
        }
        // More than one burst, and more than the queue holds.
        for number in 0..100 {
            chip.borrow_mut().receive(&frame(number, 1514));
        }
        for number in 0..100 {
            assert_eq!(lab.next().await, frame(number, 1514));
        }
        let counters = lab.counters();
        assert_eq!((counters.rx_frames, counters.tx_frames), (112, 3));
        assert_eq!((counters.rx_errors, counters.usb_errors), (0, 0));
        assert_eq!(lab.bus.borrow().abandoned, 0);
    });
}

#[test]
fn damaged_frames_are_counted_and_do_not_take_others_along() {
    with_chip(async |lab, chip, _| {
        chip.borrow_mut().receive(&frame(1, 64));
        chip.borrow_mut()
            .receive_with(&frame(2, 63), 1 << 15 | 1 << 1);
        chip.borrow_mut().receive(&frame(3, 64));
        // Tagged, of full length: no room in the stack.
        chip.borrow_mut().receive(&frame(4, 1518));
        chip.borrow_mut().receive(&frame(5, 64));
        for number in [1, 3, 5] {
            assert_eq!(lab.next().await, frame(number, 64));
        }
        let counters = lab.counters();
        assert_eq!((counters.rx_errors, counters.rx_malformed), (1, 1));
    });
}

#[test]
fn a_length_that_lies_costs_its_burst_and_no_more() {
    with_chip(async |lab, chip, _| {
        for status in [0x3FFF_0000u32, 0x0040_0000, 0x0001_0000, 0, 0xFFFF_7FFF] {
            let mut raw = status.to_le_bytes().to_vec();
            raw.extend([0x55; 40]);
            chip.borrow_mut().raw.push_back(raw);
        }
        chip.borrow_mut().raw.push_back(vec![1, 2, 3]);
        chip.borrow_mut().raw.push_back(Vec::new());
        chip.borrow_mut().receive(&frame(9, 64));
        assert_eq!(lab.next().await, frame(9, 64));
        assert!(lab.counters().rx_malformed >= 6, "{:?}", lab.counters());
        assert_eq!(lab.counters().usb_errors, 0);
    });
}

#[test]
fn a_cable_pulled_and_put_back_into_something_else() {
    with_chip(async |lab, chip, _| {
        chip.borrow_mut().cable(None);
        lab.until_down().await;
        // What is sent meanwhile is not sent later.
        lab.send(&frame(1, 60));
        Timer::after_secs(3).await;
        chip.borrow_mut().cable(Some(HALF_10));
        lab.until_up().await;
        assert!(chip.borrow().sent.is_empty());
        assert_eq!(lab.counters().tx_no_link, 1);
        // Half duplex: RCVOWN set, FDPX cleared, back pressure on.
        assert_eq!(chip.borrow().register(MAC_CR), 0x0088_000C);
        assert_eq!(chip.borrow().register(0x2C), 0x00F8_30AF);
        assert_eq!(
            lab.log()[2..],
            ["link down", "link up, 10 Mbit/s, half duplex"]
        );
        assert_eq!(lab.bus.borrow().abandoned, 0);
    });
}

#[test]
fn a_cable_moved_between_two_looks_is_noticed() {
    with_chip(async |lab, chip, _| {
        Timer::after_millis(300).await;
        chip.borrow_mut().cable(Some(FULL_100));
        lab.until_down().await;
        lab.until_up().await;
        assert_eq!(lab.logged("link down"), 1);
        // A partner that only changes its mind about duplex.
        chip.borrow_mut().cable(Some(0x0081));
        lab.until("half duplex", |lab| {
            lab.logged("100 Mbit/s, half duplex") == 1
        })
        .await;
        assert_eq!(chip.borrow().register(MAC_CR), 0x0088_000C);
    });
}

#[test]
fn an_overrun_is_counted_once() {
    with_chip(async |lab, chip, _| {
        chip.borrow_mut().overrun();
        Timer::after_secs(5).await;
        assert_eq!(lab.counters().rx_overruns, 1);
    });
}

#[test]
fn a_stalled_or_damaged_transfer_is_recovered_from_without_a_restart() {
    for error in [PipeError::Stall, PipeError::BadResponse, PipeError::Babble] {
        with_chip(async |lab, chip, id| {
            lab.bus.borrow_mut().fail(id, 0x81, error, 3);
            Timer::after_millis(200).await;
            chip.borrow_mut().receive(&frame(1, 64));
            assert_eq!(lab.next().await, frame(1, 64));
            lab.bus.borrow_mut().fail(id, 0x02, error, 1);
            lab.send(&frame(2, 60));
            lab.send(&frame(3, 60));
            lab.until("sent", |_| !chip.borrow().sent.is_empty()).await;
            assert_eq!(chip.borrow().sent, [frame(3, 60)]);
            let counters = lab.counters();
            assert_eq!(
                (counters.usb_errors, counters.tx_lost, counters.restarts),
                (4, 1, 0)
            );
            assert_eq!(
                counters.stalls,
                if error == PipeError::Stall { 4 } else { 0 }
            );
            assert_eq!(chip.borrow().resets, 1);
        });
    }
}

#[test]
fn endless_errors_have_the_chip_started_again() {
    with_chip(async |lab, chip, id| {
        lab.bus
            .borrow_mut()
            .fail(id, 0x81, PipeError::BadResponse, 8);
        lab.until("restarted", |lab| lab.counters().restarts == 1)
            .await;
        lab.until_up().await;
        assert_eq!(chip.borrow().resets, 2);
        chip.borrow_mut().receive(&frame(1, 64));
        assert_eq!(lab.next().await, frame(1, 64));
        assert_eq!(lab.logged("started again: transfers fail: BadResponse"), 1);
        assert_eq!(lab.bus.borrow().bus_resets, 0);
    });
}

#[test]
fn a_transmitter_that_takes_no_frame_is_reset() {
    with_chip(async |lab, chip, _| {
        chip.borrow_mut().transmitter_stuck = true;
        lab.send(&frame(1, 60));
        lab.until("restarted", |lab| lab.counters().restarts == 1)
            .await;
        lab.until_up().await;
        lab.send(&frame(2, 60));
        lab.until("sent", |_| !chip.borrow().sent.is_empty()).await;
        assert_eq!(chip.borrow().sent, [frame(2, 60)]);
        assert_eq!(lab.logged("taken no frame for 5 s"), 1);
    });
}

#[test]
fn a_register_access_that_fails_once_is_repeated() {
    with_chip(async |lab, chip, id| {
        lab.bus.borrow_mut().fail(id, 0, PipeError::BadResponse, 2);
        Timer::after_secs(2).await;
        assert!(lab.link_up());
        assert_eq!((lab.counters().usb_errors, chip.borrow().resets), (0, 1));
    });
}

#[test]
fn a_chip_that_does_not_come_out_of_reset_has_the_bus_reset() {
    with_runner(Some(MAC), async |lab| {
        let chip = Lan9500::new(0x9500);
        chip.borrow_mut().dead = true;
        lab.bus
            .borrow_mut()
            .plug(chip.clone(), Speed::High, At::Root);
        lab.until("bus reset", |lab| lab.bus.borrow().bus_resets > 0)
            .await;
        assert_eq!(
            lab.logged("lost: LAN95xx register HwCfg stayed busy for a second"),
            1
        );
        chip.borrow_mut().dead = false;
        lab.until_up().await;
    });
}
