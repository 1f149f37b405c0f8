//! Interrupt endpoints: the pace, the parity, and translators.

use embassy_futures::join::join;
use embassy_time::{Duration, Instant, Timer, with_timeout};
use embassy_usb_driver::host::{PipeError, SplitSpeed, UsbPipe};

use super::super::fake::device::Fault;
use super::*;

fn ways() -> Vec<(Bench, Started, Option<SplitInfo>)> {
    let mut ways = Vec::new();
    for kind in [Kind::Silicon, Kind::Qemu] {
        for speed in [Speed::Low, Speed::Full, Speed::High] {
            let (bench, controller) = connected(kind, Device::echo(speed));
            ways.push((bench, controller, None));
        }
    }
    for (speed, split) in [
        (Speed::Low, SplitSpeed::Low),
        (Speed::Full, SplitSpeed::Full),
    ] {
        let (bench, controller) = translated(Device::echo(speed));
        ways.push((bench, controller, Some(SplitInfo::new(1, 2, split))));
    }
    ways
}

fn device<T>(bench: &Bench, split: Option<SplitInfo>, f: impl FnOnce(&mut Device) -> T) -> T {
    match split {
        Some(_) => bench.model(|model| f(model.child(1))),
        None => bench.device(f),
    }
}

#[test]
fn reports_come_when_there_are_some() {
    for (bench, controller, split) in ways() {
        bench.run(async {
            let mut pipe = controller.interrupt_in(split);
            for round in 0..10_u8 {
                let mut buf = [0; 8];
                let later = async {
                    Timer::after_micros(20_000 + 333 * u64::from(round)).await;
                    device(&bench, split, |d| {
                        let packets = &mut d.endpoint(3, true).packets;
                        packets.push_back(vec![round; 5]);
                    });
                };
                let (got, ()) = join(pipe.request_in(&mut buf), later).await;
                assert_eq!(got, Ok(5));
                assert_eq!(buf, [round, round, round, round, round, 0, 0, 0]);
            }
        });
    }
}

#[test]
fn the_endpoint_is_asked_once_an_interval() {
    for (bench, controller, split) in ways() {
        bench.run(async {
            let mut pipe = controller.interrupt_in(split);
            let before = bench.model(|m| m.starts.len());
            let mut buf = [0; 8];
            let wait = with_timeout(Duration::from_millis(401), pipe.request_in(&mut buf));
            assert!(wait.await.is_err());
            let starts = bench.model(|m| m.starts.len()) - before;
            // Every 4 ms; through a translator that is one start and two
            // completes, or more.
            let per_poll = if split.is_some() { 3 } else { 1 };
            assert!(
                (95 * per_poll..=101 * per_poll + 3).contains(&starts),
                "{starts} for {per_poll}"
            );
            Timer::after_millis(2).await;
            assert_eq!(bench.model(|m| m.busy()), 0);
        });
    }
}

#[test]
fn a_long_report_comes_in_packets() {
    for (bench, controller, split) in ways() {
        bench.run(async {
            let mut pipe = controller.interrupt_in(split);
            let report = pattern(21);
            device(&bench, split, |d| {
                let packets = report.chunks(8).map(<[u8]>::to_vec);
                d.endpoint(3, true).packets.extend(packets);
            });
            let mut buf = [0; 32];
            assert_eq!(pipe.request_in(&mut buf).await, Ok(21));
            assert_eq!(buf[..21], report);
        });
    }
}

#[test]
fn reports_go_out_in_packets() {
    for (bench, controller, split) in ways() {
        bench.run(async {
            let mut pipe = controller.interrupt_out(split);
            let begin = Instant::now();
            pipe.request_out(&pattern(24), true).await.unwrap();
            pipe.request_out(b"abc", true).await.unwrap();
            let packets = device(&bench, split, |d| d.endpoint(4, false).packets.clone());
            let lens: Vec<usize> = packets.iter().map(Vec::len).collect();
            assert_eq!(lens, [8, 8, 8, 0, 3]);
            assert_eq!(
                packets.into_iter().flatten().take(24).collect::<Vec<_>>(),
                pattern(24)
            );
            assert!(begin.elapsed() >= Duration::from_millis(16));
        });
    }
}

#[test]
fn errors_are_tried_again_at_once_and_overruns_later() {
    let (bench, controller) = connected(Kind::Silicon, Device::echo(Speed::Full));
    bench.run(async {
        let mut pipe = controller.interrupt_in(None);
        let mut buf = [0; 8];
        bench.device(|d| {
            let endpoint = d.endpoint(3, true);
            endpoint.packets.push_back(vec![1]);
            endpoint
                .faults
                .extend([Fault::Silent, Fault::Silent, Fault::Overrun]);
        });
        assert_eq!(pipe.request_in(&mut buf).await, Ok(1));
        assert_eq!(bench.host.counts().frame_overruns, 1);
        bench.device(|d| d.endpoint(3, true).faults.extend([Fault::Silent; 3]));
        let result = pipe.request_in(&mut buf).await;
        assert_eq!(result, Err(PipeError::BadResponse));
        bench.device(|d| d.endpoint(3, true).faults.push_back(Fault::Stall));
        assert_eq!(pipe.request_in(&mut buf).await, Err(PipeError::Stall));
    });
}

/// Whatever the microframe in which somebody has the idea.
#[test]
fn split_transactions_fit_into_the_frame() {
    let (bench, controller) = translated(Device::echo(Speed::Full));
    let split = Some(SplitInfo::new(1, 2, SplitSpeed::Full));
    bench.run(async {
        for offset in 0..80 {
            let mut pipe = controller.interrupt_in(split);
            Timer::after_micros(1000 + offset * 37).await;
            device(&bench, split, |d| {
                let endpoint = d.endpoint(3, true);
                endpoint.toggle = 0;
                endpoint.packets.push_back(vec![offset as u8]);
            });
            let mut buf = [0; 8];
            assert_eq!(pipe.request_in(&mut buf).await, Ok(1));
            assert_eq!(buf[0], offset as u8);
        }
    });
}

#[test]
fn a_result_that_a_translator_lost_is_not_asked_for_again() {
    let (bench, controller) = translated(Device::echo(Speed::Full));
    let split = Some(SplitInfo::new(1, 2, SplitSpeed::Full));
    bench.run(async {
        let mut pipe = controller.interrupt_in(split);
        let mut buf = [0; 8];
        device(&bench, split, |d| {
            let endpoint = d.endpoint(3, true);
            endpoint.packets.push_back(vec![9]);
            endpoint.faults.push_back(Fault::LostResult);
        });
        // The fake translator forgets with the error, as a real one does.
        assert_eq!(pipe.request_in(&mut buf).await, Ok(1));
        assert_eq!(bench.host.counts().transaction_errors, 1);
    });
}
