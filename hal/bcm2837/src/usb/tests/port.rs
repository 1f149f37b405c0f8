//! Devices come and go at the root port.

use embassy_futures::join::join;
use embassy_futures::select::{Either, select};
use embassy_time::{Duration, Timer, with_timeout};
use embassy_usb_driver::host::{PipeError, UsbPipe};

use super::*;

#[test]
fn a_device_is_reset_and_its_speed_told() {
    for kind in [Kind::Silicon, Kind::Qemu] {
        for speed in [Speed::Low, Speed::Full, Speed::High] {
            let (bench, _) = connected(kind, Device::echo(speed));
            assert_eq!(bench.device(|device| device.resets), 1);
            assert_eq!(bench.host.counts().connects, 1);
        }
    }
}

#[test]
fn a_device_may_come_late() {
    let bench = Bench::new(Kind::Silicon);
    bench.run(async {
        let mut controller = Controller::start(bench.host).await.unwrap();
        let later = async {
            Timer::after_secs(5).await;
            bench.model(|model| model.plug(Device::echo(Speed::Full)));
        };
        let (event, ()) = join(controller.wait_for_device_event(), later).await;
        assert_eq!(event, DeviceEvent::Connected(Speed::Full));
    });
}

#[test]
fn a_device_that_bounces_is_told_of_once() {
    let bench = Bench::new(Kind::Silicon);
    bench.run(async {
        let mut controller = Controller::start(bench.host).await.unwrap();
        let hand = async {
            for _ in 0..5 {
                bench.model(|model| model.plug(Device::echo(Speed::Full)));
                Timer::after_millis(30).await;
                bench.model(|model| model.unplug());
                Timer::after_millis(30).await;
            }
            bench.model(|model| model.plug(Device::echo(Speed::Full)));
        };
        let (event, ()) = join(controller.wait_for_device_event(), hand).await;
        assert_eq!(event, DeviceEvent::Connected(Speed::Full));
    });
    let counts = bench.host.counts();
    assert_eq!((counts.connects, counts.disconnects), (1, 0));
    assert_eq!(bench.device(|device| device.resets), 1);
}

#[test]
fn pipes_end_when_the_device_is_pulled_out() {
    let (bench, mut controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        let mut input = controller.bulk_in(512).unwrap();
        let mut control = controller.control(64, None);
        let mut buf = [0; 2048];
        let hand = async {
            Timer::after_millis(100).await;
            bench.model(|model| model.unplug());
        };
        let (event, (result, ())) = join(
            controller.wait_for_device_event(),
            join(input.request_in(&mut buf), hand),
        )
        .await;
        assert_eq!(event, DeviceEvent::Disconnected);
        assert_eq!(result, Err(PipeError::Disconnected));
        assert_eq!(
            control.control_out(&[0, 9, 1, 0, 0, 0, 0, 0], &[]).await,
            Err(PipeError::Disconnected)
        );
        drop((input, control));

        bench.model(|model| model.plug(Device::echo(Speed::Full)));
        let event = controller.wait_for_device_event().await;
        assert_eq!(event, DeviceEvent::Connected(Speed::Full));
        bench.device(|device| {
            device.address = ADDRESS;
            device.say(1, b"here again");
        });
        let mut input = controller.bulk_in(64).unwrap();
        assert_eq!(input.request_in(&mut buf).await, Ok(10));
    });
}

#[test]
fn a_quick_hand_is_noticed() {
    let (bench, mut controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        bench.model(|model| {
            model.unplug();
            model.plug(Device::echo(Speed::Full));
        });
        let event = controller.wait_for_device_event().await;
        assert_eq!(event, DeviceEvent::Disconnected);
        let event = controller.wait_for_device_event().await;
        assert_eq!(event, DeviceEvent::Connected(Speed::Full));
    });
}

#[test]
fn a_port_that_gets_disabled_is_reset() {
    let (bench, mut controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        let mut out = controller.bulk_out(512);
        bench.model(|model| model.disable_port());
        let (event, result) = join(
            controller.wait_for_device_event(),
            out.request_out(b"?", false),
        )
        .await;
        assert_eq!(event, DeviceEvent::Disconnected);
        assert_eq!(result, Err(PipeError::Disconnected));
        let event = controller.wait_for_device_event().await;
        assert_eq!(event, DeviceEvent::Connected(Speed::High));
    });
    assert_eq!(bench.device(|device| device.resets), 2);
}

#[test]
fn overcurrent_takes_the_power_for_a_second() {
    let (bench, mut controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        bench.model(|model| model.overcurrent());
        let event = controller.wait_for_device_event().await;
        assert_eq!(event, DeviceEvent::Overcurrent);
        assert!(!bench.model(|model| model.powered()));
        let soon = Timer::after_millis(900);
        match select(soon, controller.wait_for_device_event()).await {
            Either::First(()) => assert!(!bench.model(|model| model.powered())),
            Either::Second(event) => panic!("{event:?} without power"),
        }
        let event = controller.wait_for_device_event().await;
        assert_eq!(event, DeviceEvent::Connected(Speed::High));
    });
    assert_eq!(bench.host.counts().overcurrents, 1);
}

#[test]
fn a_device_that_does_not_become_enabled_is_tried_until_it_does() {
    let bench = Bench::new(Kind::Silicon);
    bench.model(|model| {
        model.never_enabled = true;
        model.plug(Device::echo(Speed::High));
    });
    bench.run(async {
        let mut controller = Controller::start(bench.host).await.unwrap();
        let repair = async {
            Timer::after_secs(3).await;
            bench.model(|model| model.never_enabled = false);
        };
        let (event, ()) = join(controller.wait_for_device_event(), repair).await;
        assert_eq!(event, DeviceEvent::Connected(Speed::High));
    });
    assert!(bench.host.counts().failed_resets >= 3);
}

#[test]
fn a_dropped_wait_does_not_leave_the_bus_in_reset() {
    let bench = Bench::new(Kind::Silicon);
    bench.model(|model| model.plug(Device::echo(Speed::High)));
    bench.run(async {
        let mut controller = Controller::start(bench.host).await.unwrap();
        // In the middle of the reset signalling.
        let wait = controller.wait_for_device_event();
        let during = with_timeout(Duration::from_millis(130), wait).await;
        assert!(during.is_err());
        assert!(!bench.model(|model| model.in_reset()));
        let event = controller.wait_for_device_event().await;
        assert_eq!(event, DeviceEvent::Connected(Speed::High));
    });
}

#[test]
fn a_bus_reset_ends_the_pipes_of_every_address() {
    let (bench, mut controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        let mut old = controller.bulk_out(512);
        let info = info(0, EndpointType::Control, 64);
        let alloc = controller.allocator();
        let mut zero = alloc
            .alloc_pipe::<pipe::Control, pipe::InOut>(0, &info, None)
            .unwrap();
        controller.bus_reset().await;
        assert_eq!(bench.device(|device| device.resets), 2);
        let result = old.request_out(b"?", false).await;
        assert_eq!(result, Err(PipeError::Disconnected));
        let mut descriptor = [0; 18];
        let setup = [0x80, 6, 0, 1, 0, 0, 18, 0];
        assert_eq!(zero.control_in(&setup, &mut descriptor).await, Ok(18));
        let nothing = with_timeout(Duration::from_secs(3), controller.wait_for_device_event());
        assert!(nothing.await.is_err(), "the device is still there");
    });
}
