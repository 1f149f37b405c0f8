//! The two loops that every NIC runs: frames from the device to the stack,
//! and from the stack to the device.
//!
//! Neither loop gives up a transfer that waits. The receiving one in
//! particular is never put under a timeout: a bulk IN request stays with the
//! controller until a frame comes or the device is gone.

use core::cell::Cell;

use embassy_net_driver_channel::{RxRunner, TxRunner};
use embassy_time::{Duration, Timer, with_timeout};
use embassy_usb_driver::EndpointAddress;
use embassy_usb_driver::host::{PipeError, UsbPipe, pipe};

use crate::control::Control;
use crate::counters::Counters;
use crate::event::Why;
use crate::{FRAME, TX_ROOM};

/// Failures in a row before the loop gives up and the device is started anew.
/// Together with [`pause`] about a second, so that a device that was pulled
/// is more often noticed by the hub, or the controller, than by this.
const FAILURES: u32 = 8;

/// How long a frame may wait for the device to take it while the link is up.
/// A full FIFO at 10 Mbit/s empties in 7 ms, but flow control may hold it;
/// Linux gives a transmitter 5 s too.
const SEND: Duration = Duration::from_secs(5);

/// How frames are packed into transfers. No I/O in it.
pub(crate) trait Framing {
    /// What [`Framing::frames`] walks with.
    type Frames<'a>: Iterator<Item = Result<&'a [u8], RxFault>>;

    /// The frames in what one bulk IN transfer brought, FCS removed.
    fn frames(transfer: &[u8]) -> Self::Frames<'_>;

    /// The part of the receive buffer that a request is for: as long as the
    /// longest transfer, and whole packets.
    fn room(buf: &mut [u8]) -> &mut [u8];

    /// What is sent for `frame`, put together in `room` if need be.
    fn wrap<'a>(frame: &'a [u8], room: &'a mut [u8; TX_ROOM]) -> &'a [u8];
}

/// Why a received frame is dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RxFault {
    /// The NIC says so itself.
    Damaged,
    /// Its length is not possible.
    Malformed,
}

/// Frames from the device to the stack, until the device needs help.
pub(crate) async fn receive<F, C, P>(
    pipe: &mut P,
    endpoint: EndpointAddress,
    control: &Control<C>,
    stack: &mut RxRunner<'_, FRAME>,
    buf: &mut [u8],
    counters: &Counters,
) -> Why
where
    F: Framing,
    C: UsbPipe<pipe::Control, pipe::InOut>,
    P: UsbPipe<pipe::Bulk, pipe::In>,
{
    let mut failures = 0;
    loop {
        match pipe.request_in(buf).await {
            Ok(count) => {
                failures = 0;
                for frame in F::frames(buf.get(..count).unwrap_or_default()) {
                    match frame {
                        Ok(frame) if frame.len() <= FRAME => {
                            // Waits while the stack is behind: the NIC's own
                            // FIFO is the queue then, and drops what is too
                            // much.
                            stack.rx_buf().await[..frame.len()].copy_from_slice(frame);
                            stack.rx_done(frame.len());
                            counters.rx_frames.add();
                        }
                        Ok(_) | Err(RxFault::Malformed) => counters.rx_malformed.add(),
                        Err(RxFault::Damaged) => counters.rx_errors.add(),
                    }
                }
            }
            Err(error) => {
                if let Err(why) = recover(&mut failures, error, control, endpoint, counters).await {
                    return why;
                }
                pipe.reset_data_toggle();
            }
        }
    }
}

/// Frames from the stack to the device, until the device needs help. While
/// the link is down they are dropped: in the NIC they would wait for a cable,
/// and be stale.
pub(crate) async fn send<F, C, P>(
    pipe: &mut P,
    endpoint: EndpointAddress,
    control: &Control<C>,
    stack: &mut TxRunner<'_, FRAME>,
    link_up: &Cell<bool>,
    counters: &Counters,
) -> Why
where
    F: Framing,
    C: UsbPipe<pipe::Control, pipe::InOut>,
    P: UsbPipe<pipe::Bulk, pipe::Out>,
{
    let mut room = [0; TX_ROOM];
    let mut failures = 0;
    loop {
        let frame = stack.tx_buf().await;
        if !link_up.get() {
            stack.tx_done();
            counters.tx_no_link.add();
            continue;
        }
        let transfer = F::wrap(frame, &mut room);
        let sent = with_timeout(SEND, pipe.request_out(transfer, true)).await;
        stack.tx_done();
        match sent {
            Ok(Ok(())) => {
                failures = 0;
                counters.tx_frames.add();
            }
            Ok(Err(error)) => {
                counters.tx_lost.add();
                if let Err(why) = recover(&mut failures, error, control, endpoint, counters).await {
                    return why;
                }
                pipe.reset_data_toggle();
            }
            Err(_) => {
                counters.tx_lost.add();
                counters.usb_errors.add();
                return Why::TransmitterStuck;
            }
        }
    }
}

/// Drops what the stack sends, for as long as there is no device.
pub(crate) async fn discard(stack: &mut TxRunner<'_, FRAME>, counters: &Counters) -> ! {
    loop {
        stack.tx_buf().await;
        stack.tx_done();
        counters.tx_no_link.add();
    }
}

/// After a failed bulk transfer: makes both sides begin with DATA0 again, or
/// says why that is no use.
///
/// Not only after a STALL: after any error host and device may disagree on
/// the toggle (USB 2.0 §8.6), and clearing a halt that is not there does
/// nothing else.
pub(crate) async fn recover<C: UsbPipe<pipe::Control, pipe::InOut>>(
    failures: &mut u32,
    error: PipeError,
    control: &Control<C>,
    endpoint: EndpointAddress,
    counters: &Counters,
) -> Result<(), Why> {
    counters.usb_errors.add();
    if error == PipeError::Stall {
        counters.stalls.add();
    }
    *failures += 1;
    if error == PipeError::Disconnected {
        return Err(Why::Gone);
    }
    if *failures >= FAILURES {
        return Err(Why::Transfers(error));
    }
    Timer::after(pause(*failures)).await;
    match control.clear_halt(endpoint).await {
        Ok(()) => Ok(()),
        Err(PipeError::Disconnected) => Err(Why::Gone),
        // Without it every transfer may be thrown away as a repeated one.
        Err(error) => Err(Why::Transfers(error)),
    }
}

/// The first failure costs next to nothing, the eighth a quarter of a second.
fn pause(failures: u32) -> Duration {
    Duration::from_millis(2 << failures.min(7))
}
