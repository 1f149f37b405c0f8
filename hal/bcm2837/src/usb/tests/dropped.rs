//! Transfers that are dropped half-way.

use embassy_time::{Duration, Timer, with_timeout};
use embassy_usb_driver::host::{PipeError, UsbPipe};

use super::super::fake::device::Fault;
use super::*;

const A_WHILE: Duration = Duration::from_millis(5);

#[test]
fn a_dropped_in_leaves_the_toggle_right() {
    for kind in [Kind::Silicon, Kind::Qemu] {
        let (bench, controller) = connected(kind, Device::echo(Speed::High));
        bench.run(async {
            let mut input = controller.bulk_in(512).unwrap();
            let mut buf = [0; 4096];
            for packets in 0..5 {
                // Whole packets, and then nothing: it is dropped in between.
                let data = pattern(512 * packets);
                bench.device(|d| {
                    d.say(1, &data);
                    d.endpoint(1, true).packets.pop_back();
                });
                let wait = with_timeout(A_WHILE, input.request_in(&mut buf));
                assert!(wait.await.is_err());
                bench.device(|d| d.say(1, b"then"));
                assert_eq!(input.request_in(&mut buf).await, Ok(4), "{packets}");
                assert_eq!(&buf[..4], b"then");
            }
        });
    }
}

#[test]
fn nothing_is_moved_after_a_drop_on_silicon() {
    let (bench, controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        let mut input = controller.bulk_in(512).unwrap();
        let mut buf = [0; 2048];
        assert!(
            with_timeout(A_WHILE, input.request_in(&mut buf))
                .await
                .is_err()
        );
        Timer::after_millis(1).await;
        assert_eq!(bench.model(|m| m.busy()), 0);
        bench.device(|d| d.say(1, b"kept"));
        Timer::after_millis(10).await;
        assert_eq!(bench.device(|d| d.endpoint(1, true).packets.len()), 1);
        assert_eq!(input.request_in(&mut buf).await, Ok(4));
    });
}

#[test]
fn a_dropped_out_leaves_the_toggle_right() {
    for (speed, max) in [(Speed::High, 512), (Speed::Full, 64)] {
        let (bench, controller) = connected(Kind::Silicon, Device::echo(speed));
        bench.run(async {
            let mut out = controller.bulk_out(max);
            for taken in 0..4 {
                let message = pattern(usize::from(max) * 5);
                bench.device(|d| {
                    let faults = &mut d.endpoint(2, false).faults;
                    // What is no fault there: as many packets are taken.
                    faults.extend(vec![Fault::Busy; taken]);
                    faults.extend([Fault::Nak; 100_000]);
                });
                let wait = with_timeout(A_WHILE, out.request_out(&message, true));
                assert!(wait.await.is_err());
                bench.device(|d| d.endpoint(2, false).faults.clear());
                out.request_out(b"end", true).await.unwrap();
                let received = bench.device(|d| d.received.pop()).unwrap();
                assert_eq!(received.len(), usize::from(max) * taken + 3);
            }
        });
    }
}

#[test]
fn a_toggle_that_was_reset_after_a_drop_stays_reset() {
    let (bench, controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        let mut input = controller.bulk_in(512).unwrap();
        let mut buf = [0; 2048];
        bench.device(|d| {
            d.say(1, &pattern(512));
            d.endpoint(1, true).packets.pop_back();
        });
        assert!(
            with_timeout(A_WHILE, input.request_in(&mut buf))
                .await
                .is_err()
        );
        bench.device(|d| d.endpoint(1, true).toggle = 0);
        input.reset_data_toggle();
        bench.device(|d| d.say(1, b"fresh"));
        assert_eq!(input.request_in(&mut buf).await, Ok(5));
    });
}

#[test]
fn a_dropped_control_transfer_does_not_disturb_the_next() {
    for kind in [Kind::Silicon, Kind::Qemu] {
        let (bench, controller) = connected(kind, Device::echo(Speed::Full));
        bench.run(async {
            let mut pipe = controller.control(64, None);
            let setup = [0xC0, 0xA1, 0, 0, 0, 0, 200, 0];
            let mut buf = [0; 200];
            for naks in 0..4 {
                bench.device(|d| {
                    let faults = &mut d.control_faults;
                    faults.extend(vec![Fault::Busy; naks]);
                    faults.extend([Fault::Nak; 100_000]);
                });
                let wait = with_timeout(A_WHILE, pipe.control_in(&setup, &mut buf));
                assert!(wait.await.is_err());
                bench.device(|d| d.control_faults.clear());
                assert_eq!(pipe.control_in(&setup, &mut buf).await, Ok(200));
            }
        });
    }
}

/// On QEMU the transfer of a dropped pipe goes on; another endpoint must not
/// get its channel, which the fake controller checks.
#[test]
fn the_channel_of_a_dropped_pipe_is_not_used_before_it_halted() {
    for kind in [Kind::Silicon, Kind::Qemu] {
        let (bench, controller) = connected(kind, Device::echo(Speed::High));
        bench.run(async {
            let mut buf = [0; 2048];
            let mut input = controller.bulk_in(512).unwrap();
            assert!(
                with_timeout(A_WHILE, input.request_in(&mut buf))
                    .await
                    .is_err()
            );
            drop(input);
            let mut outs: Vec<_> = (0..9).map(|_| controller.bulk_out(512)).collect();
            for out in &mut outs {
                bench.device(|d| d.endpoint(2, false).toggle = 0);
                out.request_out(b"x", false).await.unwrap();
            }
            bench.device(|d| {
                d.endpoint(1, true).packets.clear();
                d.endpoint(1, true).toggle = 0;
            });
            let mut input = controller.bulk_in(512).unwrap();
            bench.device(|d| d.say(1, b"new"));
            assert_eq!(input.request_in(&mut buf).await, Ok(3));
        });
    }
}

#[test]
fn a_channel_that_never_halts_is_never_used_again() {
    let (bench, controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        let mut buf = [0; 2048];
        let mut input = controller.bulk_in(512).unwrap();
        bench.model(|m| m.never_halts = true);
        assert!(
            with_timeout(A_WHILE, input.request_in(&mut buf))
                .await
                .is_err()
        );
        let result = input.request_in(&mut buf).await;
        assert_eq!(result, Err(PipeError::Timeout));
        assert_eq!(bench.host.counts().late_halts, 1);
        drop(input);
        let mut outs: Vec<_> = (0..9).map(|_| controller.bulk_out(512)).collect();
        for out in &mut outs {
            bench.device(|d| d.endpoint(2, false).toggle = 0);
            out.request_out(b"x", false).await.unwrap();
        }
        assert_eq!(bench.model(|m| m.busy()), 1);
    });
}
