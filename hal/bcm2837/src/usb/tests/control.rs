//! Control transfers: stages, toggles, refusals, errors.

use core::time::Duration;

use embassy_time::Instant;
use embassy_usb_driver::host::{PipeError, SplitSpeed, TimeoutConfig, UsbPipe};

use super::super::fake::device::Fault;
use super::*;

const SET_CONFIGURATION: [u8; 8] = [0, 9, 1, 0, 0, 0, 0, 0];

fn read(len: u16) -> [u8; 8] {
    let [low, high] = len.to_le_bytes();
    [0xC0, 0xA1, 0, 0, 0, 0, low, high]
}

fn write(len: u16) -> [u8; 8] {
    let [low, high] = len.to_le_bytes();
    [0x40, 0xA0, 0, 0, 0, 0, low, high]
}

/// Every way to a device, with the packet size of its endpoint 0.
fn ways() -> Vec<(Bench, Started, u16, Option<SplitInfo>)> {
    let mut ways = Vec::new();
    for kind in [Kind::Silicon, Kind::Qemu] {
        for (speed, max) in [(Speed::Low, 8), (Speed::Full, 64), (Speed::High, 64)] {
            let (bench, controller) = connected(kind, Device::echo(speed));
            ways.push((bench, controller, max, None));
        }
    }
    for (speed, split, max) in [
        (Speed::Low, SplitSpeed::Low, 8),
        (Speed::Full, SplitSpeed::Full, 64),
    ] {
        let (bench, controller) = translated(Device::echo(speed));
        ways.push((bench, controller, max, Some(SplitInfo::new(1, 2, split))));
    }
    ways
}

/// The device, wherever it is.
fn device<T>(bench: &Bench, split: Option<SplitInfo>, f: impl FnOnce(&mut Device) -> T) -> T {
    match split {
        Some(_) => bench.model(|model| f(model.child(1))),
        None => bench.device(f),
    }
}

#[test]
fn data_goes_both_ways_on_every_way() {
    for (bench, controller, max, split) in ways() {
        bench.run(async {
            let mut pipe = controller.control(max, split);
            let mut config = TimeoutConfig::default();
            config.data_timeout = Duration::from_secs(2);
            pipe.set_timeout(config);
            for len in [1, 7, 8, 9, 63, 64, 65, 128, 1000] {
                let mut data = vec![0; len];
                assert_eq!(pipe.control_in(&read(len as u16), &mut data).await, Ok(len));
                let expected: Vec<u8> = (0..=255).cycle().take(len).collect();
                assert_eq!(data, expected);

                let data = pattern(len);
                let setup = write(len as u16);
                assert_eq!(pipe.control_out(&setup, &data).await, Ok(()));
                let got = device(&bench, split, |device| device.written.pop());
                assert_eq!(got, Some(data));
            }
            assert_eq!(pipe.control_out(&SET_CONFIGURATION, &[]).await, Ok(()));
            assert_eq!(bench.model(|model| model.busy()), 0);
        });
    }
}

#[test]
fn a_short_packet_ends_the_data() {
    for (bench, controller, max, split) in ways() {
        bench.run(async {
            let mut pipe = controller.control(max, split);
            let mut data = [0; 255];
            // The descriptor has 18 bytes.
            let setup = [0x80, 6, 0, 1, 0, 0, 255, 0];
            assert_eq!(pipe.control_in(&setup, &mut data).await, Ok(18));
            assert_eq!(data[..2], [18, 1]);
        });
    }
}

#[test]
fn a_stall_is_told_and_the_next_request_works() {
    for (bench, controller, max, split) in ways() {
        bench.run(async {
            let mut pipe = controller.control(max, split);
            let unknown = [0x80, 0x55, 0, 0, 0, 0, 8, 0];
            let result = pipe.control_in(&unknown, &mut [0; 8]).await;
            assert_eq!(result, Err(PipeError::Stall));
            assert_eq!(pipe.control_out(&SET_CONFIGURATION, &[]).await, Ok(()));
        });
    }
}

#[test]
fn two_errors_in_a_row_are_forgiven_and_three_are_not() {
    for (bench, controller, max, split) in ways() {
        bench.run(async {
            let mut pipe = controller.control(max, split);
            device(&bench, split, |device| {
                device.control_faults.extend([Fault::Silent; 2]);
            });
            let mut data = [0; 200];
            assert_eq!(pipe.control_in(&read(200), &mut data).await, Ok(200));
            device(&bench, split, |device| {
                device.control_faults.extend([Fault::Silent; 3]);
            });
            let result = pipe.control_in(&read(64), &mut data).await;
            // A translator tries three times by itself, and calls it a stall.
            let (error, counted) = match split {
                None => (PipeError::BadResponse, 5),
                Some(_) => (PipeError::Stall, 0),
            };
            assert_eq!(result, Err(error));
            assert_eq!(bench.host.counts().transaction_errors, counted);
            assert_eq!(pipe.control_out(&SET_CONFIGURATION, &[]).await, Ok(()));
        });
    }
}

#[test]
fn a_busy_device_is_asked_again_until_time_is_up() {
    for (bench, controller, max, split) in ways() {
        bench.run(async {
            let mut pipe = controller.control(max, split);
            device(&bench, split, |device| {
                device.control_faults.extend([Fault::Nak; 5]);
            });
            let mut data = [0; 64];
            assert_eq!(pipe.control_in(&read(64), &mut data).await, Ok(64));
            device(&bench, split, |device| {
                device.control_faults.extend([Fault::Nak; 100_000]);
            });
            let before = Instant::now();
            let result = pipe.control_in(&read(64), &mut data).await;
            assert_eq!(result, Err(PipeError::Timeout));
            let took = before.elapsed().as_millis();
            assert!((500..520).contains(&took), "{took} ms");
            let before = Instant::now();
            let result = pipe.control_out(&SET_CONFIGURATION, &[]).await;
            assert_eq!(result, Err(PipeError::Timeout));
            let took = before.elapsed().as_millis();
            assert!((50..60).contains(&took), "{took} ms");
            device(&bench, split, |device| device.control_faults.clear());
            assert_eq!(pipe.control_out(&SET_CONFIGURATION, &[]).await, Ok(()));
        });
    }
}

#[test]
fn nobody_at_the_address_is_an_error_or_a_timeout() {
    for kind in [Kind::Silicon, Kind::Qemu] {
        let (bench, controller) = connected(kind, Device::echo(Speed::Full));
        bench.device(|device| device.address = 77);
        bench.run(async {
            let mut pipe = controller.control(64, None);
            let result = pipe.control_in(&read(8), &mut [0; 8]).await;
            assert_eq!(
                result,
                Err(match kind {
                    Kind::Silicon => PipeError::BadResponse,
                    Kind::Qemu => PipeError::Timeout,
                })
            );
        });
    }
}

#[test]
fn a_translator_without_room_or_whose_answer_gets_lost_is_asked_again() {
    let (bench, controller) = translated(Device::echo(Speed::Full));
    let split = SplitInfo::new(1, 2, SplitSpeed::Full);
    bench.run(async {
        let mut pipe = controller.control(64, Some(split));
        let faults = [
            Fault::Busy,
            Fault::LostResult,
            Fault::LostResult,
            Fault::Busy,
        ];
        bench.model(|model| model.child(1).control_faults.extend(faults));
        let data = pattern(100);
        assert_eq!(pipe.control_out(&write(100), &data).await, Ok(()));
        assert_eq!(
            bench.model(|model| model.child(1).written.pop()),
            Some(data)
        );
    });
}
