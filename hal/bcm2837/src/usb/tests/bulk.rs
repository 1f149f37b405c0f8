//! Bulk transfers: sizes, toggles, errors, and how they are cut.

use embassy_futures::join::join;
use embassy_time::{Duration, Instant, Timer, with_timeout};
use embassy_usb_driver::host::{PipeError, UsbPipe};

use super::super::fake::device::Fault;
use super::super::regs::tsiz;
use super::*;

fn ways() -> Vec<(Bench, Started, u16)> {
    let mut ways = Vec::new();
    for kind in [Kind::Silicon, Kind::Qemu] {
        for (speed, max) in [(Speed::Full, 64), (Speed::High, 512)] {
            let (bench, controller) = connected(kind, Device::echo(speed));
            ways.push((bench, controller, max));
        }
    }
    ways
}

#[test]
fn messages_of_every_size_come_back() {
    for (bench, controller, max) in ways() {
        bench.run(async {
            let mut out = controller.bulk_out(max);
            let mut input = controller.bulk_in(max).unwrap();
            for len in [
                0, 1, 2, 3, 63, 64, 65, 511, 512, 513, 1514, 1536, 1537, 2048, 18_944, 50_001,
            ] {
                let message = pattern(len);
                out.request_out(&message, true).await.unwrap();
                assert_eq!(bench.device(|d| d.received.pop()), Some(message.clone()));
                // Room for a packet more, so that a short one ends it.
                let mut buf = vec![0; len.next_multiple_of(usize::from(max)) + usize::from(max)];
                let got = input.request_in(&mut buf).await;
                assert_eq!(got, Ok(len), "by {max}");
                assert_eq!(buf[..len], message);
            }
            assert_eq!(bench.model(|model| model.busy()), 0);
        });
        let counts = bench.host.counts();
        assert_eq!((counts.transaction_errors, counts.toggle_errors), (0, 0));
    }
}

#[test]
fn an_empty_packet_ends_a_message_of_whole_packets_if_asked_for() {
    for (bench, controller, max) in ways() {
        bench.run(async {
            let message = pattern(usize::from(max) * 3);
            let mut out = controller.bulk_out(max);
            out.request_out(&message, false).await.unwrap();
            assert_eq!(bench.device(|d| d.received.len()), 0, "it goes on");
            out.request_out(&[], false).await.unwrap();
            out.request_out(&message, true).await.unwrap();
            let received = bench.device(|d| d.received.clone());
            assert_eq!(received, [message.clone(), message]);
            let packets = bench.device(|d| d.endpoint(2, false).packets.len());
            assert_eq!(packets, 8);
            out.request_out(b"short", true).await.unwrap();
            assert_eq!(bench.device(|d| d.endpoint(2, false).packets.len()), 9);
        });
    }
}

/// A frame to a full-speed device: one start on silicon, one a packet in QEMU,
/// where it would take 250 µs per packet otherwise.
#[test]
fn frames_are_cut_as_the_controller_wants_them() {
    for (kind, starts) in [(Kind::Silicon, 1), (Kind::Qemu, 24)] {
        let (bench, controller) = connected(kind, Device::echo(Speed::Full));
        bench.run(async {
            let mut out = controller.bulk_out(64);
            let mut input = controller.bulk_in(64).unwrap();
            let before = bench.model(|m| m.starts.len());
            let begin = Instant::now();
            out.request_out(&pattern(1514), true).await.unwrap();
            assert_eq!(bench.model(|m| m.starts.len()) - before, starts);
            assert!(begin.elapsed() < Duration::from_millis(1));
            let mut buf = [0; 2048];
            assert_eq!(input.request_in(&mut buf).await, Ok(1514));
            let last = bench.model(|m| m.starts.last().copied()).unwrap();
            assert!(begin.elapsed() < Duration::from_millis(1));
            // QEMU leaves in HCTSIZ what did not come, silicon as well; here is
            // what was asked for.
            assert_eq!((tsiz::size(last), tsiz::packets(last)), (2048, 32));
        });
    }
}

/// QEMU is fast enough to answer before anybody waits.
#[test]
fn what_is_over_at_once_takes_no_interrupt() {
    let (bench, controller) = connected(Kind::Qemu, Device::echo(Speed::Full));
    bench.run(async {
        let mut out = controller.bulk_out(64);
        let before = bench.model(|m| m.interrupts);
        for _ in 0..10 {
            out.request_out(&pattern(1514), true).await.unwrap();
        }
        assert_eq!(bench.model(|m| m.interrupts), before);
    });
}

#[test]
fn lost_tokens_and_lost_acks_lose_and_double_nothing() {
    let (bench, controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        let mut out = controller.bulk_out(512);
        let mut input = controller.bulk_in(512).unwrap();
        let mut buf = vec![0; 4096];
        for faults in [
            &[Fault::Silent][..],
            &[Fault::LostAck],
            &[Fault::Silent, Fault::LostAck],
            &[Fault::LostAck, Fault::Silent],
            &[Fault::LostAck, Fault::LostAck],
            &[Fault::Nak, Fault::LostAck, Fault::Nak, Fault::Silent],
        ] {
            for len in [10, 512, 1514, 3000] {
                let message = pattern(len);
                bench.device(|d| {
                    d.endpoint(2, false).faults.extend(faults);
                    let input = &mut d.endpoint(1, true).faults;
                    input.extend(faults.iter().filter(|f| **f != Fault::LostAck));
                });
                out.request_out(&message, true).await.unwrap();
                assert_eq!(bench.device(|d| d.received.pop()), Some(message.clone()));
                assert_eq!(input.request_in(&mut buf).await, Ok(len), "{faults:?}");
                assert_eq!(buf[..len], message);
            }
        }
    });
}

#[test]
fn a_packet_that_comes_twice_is_taken_once() {
    let (bench, controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        let mut input = controller.bulk_in(512).unwrap();
        let mut buf = [0; 2048];
        for _ in 0..3 {
            bench.device(|d| d.say(1, b"once"));
            assert_eq!(input.request_in(&mut buf).await, Ok(4));
            bench.device(|d| {
                d.endpoint(1, true).faults.push_back(Fault::Repeat);
                d.say(1, b"and once only");
            });
            assert_eq!(input.request_in(&mut buf).await, Ok(13));
            assert_eq!(&buf[..13], b"and once only");
        }
        assert_eq!(bench.host.counts().toggle_errors, 3);
        bench.device(|d| d.endpoint(1, true).faults.extend([Fault::Repeat; 3]));
        let result = input.request_in(&mut buf).await;
        assert_eq!(result, Err(PipeError::DataToggleError));
    });
}

#[test]
fn a_halted_endpoint_begins_again_with_data0() {
    let (bench, controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        let mut out = controller.bulk_out(512);
        let mut input = controller.bulk_in(512).unwrap();
        let mut buf = [0; 2048];
        out.request_out(b"one", true).await.unwrap();
        assert_eq!(input.request_in(&mut buf).await, Ok(3));
        bench.device(|d| {
            d.endpoint(1, true).faults.push_back(Fault::Stall);
            d.endpoint(2, false).faults.push_back(Fault::Stall);
        });
        assert_eq!(out.request_out(b"two", true).await, Err(PipeError::Stall));
        assert_eq!(input.request_in(&mut buf).await, Err(PipeError::Stall));
        bench.device(|d| {
            d.endpoint(1, true).toggle = 0;
            d.endpoint(2, false).toggle = 0;
        });
        out.reset_data_toggle();
        input.reset_data_toggle();
        out.request_out(b"three", true).await.unwrap();
        assert_eq!(input.request_in(&mut buf).await, Ok(5));
    });
}

#[test]
fn what_cannot_be_mended_is_told() {
    let (bench, controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        let mut input = controller.bulk_in(512).unwrap();
        let mut buf = [0; 2048];
        for (faults, error) in [
            (&[Fault::Babble][..], PipeError::Babble),
            (&[Fault::AhbError], PipeError::BadResponse),
            (&[Fault::Silent; 3], PipeError::BadResponse),
        ] {
            bench.device(|d| d.endpoint(1, true).faults.extend(faults));
            assert_eq!(input.request_in(&mut buf).await, Err(error));
        }
        bench.device(|d| d.say(1, b"alive"));
        assert_eq!(input.request_in(&mut buf).await, Ok(5));
        let counts = bench.host.counts();
        assert_eq!(counts.babbles, 1);
        assert_eq!(counts.ahb_errors, 1);
        assert_eq!(counts.transaction_errors, 3);
    });
}

#[test]
fn more_than_there_is_room_for_is_an_error_and_stays_out_of_the_memory_behind() {
    let (bench, controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        let mut input = controller.bulk_in(512).unwrap();
        bench.device(|d| d.say(1, &pattern(200)));
        let mut buf = [0; 100];
        let result = input.request_in(&mut buf).await;
        assert_eq!(result, Err(PipeError::BufferOverflow));
        assert_eq!(buf[..], pattern(200)[..100]);
        bench.device(|d| d.say(1, b"next"));
        assert_eq!(input.request_in(&mut buf).await, Ok(4));
    });
}

#[test]
fn a_device_may_refuse_for_as_long_as_it_likes() {
    for (bench, controller, max) in ways() {
        bench.run(async {
            let mut out = controller.bulk_out(max);
            let mut input = controller.bulk_in(max).unwrap();
            bench.device(|d| d.endpoint(2, false).faults.extend([Fault::Nak; 3000]));
            let mut buf = [0; 2048];
            let later = async {
                Timer::after_secs(20).await;
                out.request_out(b"late", true).await.unwrap();
            };
            let (got, ()) = join(input.request_in(&mut buf), later).await;
            assert_eq!(got, Ok(4));
        });
        assert_eq!(bench.host.counts().silences, 0);
    }
}

/// No answer of any kind, no interrupt, for ever: a dead PHY.
#[test]
fn a_channel_that_does_nothing_is_stopped() {
    let (bench, controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        let mut out = controller.bulk_out(512);
        bench.model(|m| m.deaf = true);
        let before = Instant::now();
        let result = out.request_out(b"?", false).await;
        assert_eq!(result, Err(PipeError::Timeout));
        assert!(before.elapsed() < Duration::from_secs(5));
        assert_eq!(bench.host.counts().silences, 1);
        bench.model(|m| m.deaf = false);
        out.request_out(b"!", false).await.unwrap();
    });
}

#[test]
fn every_pipe_but_bulk_in_shares_channels() {
    let (bench, controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        let mut outs: Vec<_> = (0..30).map(|_| controller.bulk_out(512)).collect();
        // Five of eight channels may be kept.
        let ins: Vec<_> = (0..5).map(|_| controller.bulk_in(512).unwrap()).collect();
        let sixth = controller.bulk_in(512).map(drop);
        assert_eq!(sixth, Err(HostError::OutOfPipes));
        drop(ins);
        let mut ins: Vec<_> = (0..5).map(|_| controller.bulk_in(512).unwrap()).collect();
        let mut buf = [0; 2048];
        for out in outs.iter_mut().take(3) {
            let wait = with_timeout(Duration::from_millis(10), ins[0].request_in(&mut buf));
            let _ = wait.await;
            bench.device(|d| d.endpoint(2, false).toggle = 0);
            out.request_out(b"each", true).await.unwrap();
        }
        assert_eq!(bench.device(|d| d.received.len()), 3);
    });
}

#[test]
fn who_finds_no_channel_waits_for_one() {
    let (bench, controller) = connected(Kind::Silicon, Device::echo(Speed::High));
    bench.run(async {
        bench.device(|d| d.endpoint(2, false).faults.extend([Fault::Nak; 100_000]));
        let mut outs: Vec<_> = (0..8).map(|_| controller.bulk_out(512)).collect();
        let mut control = controller.control(64, None);
        let [a, b, c, d, e, f, g, h] = &mut outs[..] else {
            unreachable!()
        };
        let all = join(
            join(
                join(a.request_out(b"", false), b.request_out(b"", false)),
                join(c.request_out(b"", false), d.request_out(b"", false)),
            ),
            join(
                join(e.request_out(b"", false), f.request_out(b"", false)),
                join(g.request_out(b"", false), h.request_out(b"", false)),
            ),
        );
        let mut all = core::pin::pin!(all);
        // They all are refused for long, and hold every channel.
        let early = with_timeout(Duration::from_millis(5), &mut all).await;
        assert!(early.is_err());
        let setup = [0, 9, 1, 0, 0, 0, 0, 0];
        let full = async {
            let result = control.control_out(&setup, &[]).await;
            assert_eq!(result, Err(PipeError::Timeout));
        };
        embassy_futures::select::select(full, &mut all).await;
    });
}
