//! Moving data through a channel: packets, toggles, retries, splits.

use embassy_time::{Duration, Instant, Timer};
use embassy_usb_driver::host::PipeError;

use super::Host;
use super::channel::{Channel, Ended, Endpoint, Half, Pid, Start};
use super::regs::hcint;
use crate::Bus;

/// A transaction may go wrong this often in a row (USB 2.0 §8.5, "three
/// strikes").
const STRIKES: u32 = 3;

/// How long one transaction to a periodic endpoint, or half of a split one, may
/// take: it goes out in the next frame or the one after.
const TRANSACTION: Duration = Duration::from_millis(100);

/// One microframe.
const MICROFRAME: Duration = Duration::from_micros(125);

/// Pause after a refusal that made the channel halt, so that a busy device does
/// not keep the CPU busy: directly, and behind a translator, which would have
/// to ask the device in vain for most of a frame.
const REFUSED: Duration = MICROFRAME;
const REFUSED_BEHIND_HUB: Duration = Duration::from_millis(1);

/// How long a translator may say "not yet" about a bulk or control
/// transaction. It gives up by itself after three tries on its slow bus.
const NOT_YET: Duration = Duration::from_millis(100);

/// What is moved.
#[derive(Debug)]
pub(super) enum Data<'a> {
    Setup(&'a [u8; 8]),
    In(&'a mut [u8]),
    Out(&'a [u8]),
}

impl Data<'_> {
    const fn len(&self) -> usize {
        match self {
            Self::Setup(_) => 8,
            Self::In(bytes) => bytes.len(),
            Self::Out(bytes) => bytes.len(),
        }
    }

    const fn is_in(&self) -> bool {
        matches!(self, Self::In(_))
    }

    /// Puts what is sent next at the beginning of the channel's buffer.
    fn load<B: Bus>(&self, channel: &mut Channel<'_, B>, done: usize, size: usize) {
        match self {
            Self::Setup(bytes) => channel.buffer().write(0, &bytes[done..done + size]),
            Self::Out(bytes) => channel.buffer().write(0, &bytes[done..done + size]),
            Self::In(_) => {}
        }
    }

    /// Takes what came from there. Returns `false` if it was more than fits.
    fn store<B: Bus>(&mut self, channel: &mut Channel<'_, B>, done: usize, moved: usize) -> bool {
        let Self::In(bytes) = self else { return true };
        let fits = moved.min(bytes.len() - done);
        channel.buffer().read(0, &mut bytes[done..done + fits]);
        fits == moved
    }
}

/// How a transaction, or a row of them, went.
#[derive(Debug, Clone, Copy)]
struct Outcome {
    /// Bytes that arrived.
    moved: usize,
    next: Pid,
    how: How,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Complete,
    /// The device, or a translator on the way, was not ready.
    Refused,
    /// It may go better next time.
    Failed(PipeError),
    Fatal(PipeError),
}

/// Moves all of `data` to or from a bulk or control endpoint, and returns how
/// many bytes it was: fewer than there is room for when a short packet ended
/// it. `toggle` is that of the first packet and then that of the next.
pub(super) async fn run<B: Bus>(
    channel: &mut Channel<'_, B>,
    to: &Endpoint,
    mut data: Data<'_>,
    toggle: &mut Pid,
    deadline: Option<Instant>,
) -> Result<usize, PipeError> {
    let room = channel.buffer().len();
    let kind = channel.host().kind;
    let mut done = 0;
    let mut strikes = 0;
    let mut ping = false;
    loop {
        let left = data.len() - done;
        // A device may send whole packets, however little is asked for.
        let ask = if data.is_in() {
            left.next_multiple_of(to.max_packet).max(to.max_packet)
        } else {
            left
        };
        let size = match to.hub {
            // A split transaction is one packet.
            Some(_) => ask.min(to.max_packet),
            None => kind.per_start(ask, to.max_packet, room),
        };
        data.load(channel, done, size);
        let start = Start {
            input: data.is_in(),
            pid: *toggle,
            size,
            ping,
            half: None,
        };
        let outcome = once(channel, to, &start, deadline).await?;
        if *toggle != Pid::Setup {
            *toggle = outcome.next;
        }
        if !data.store(channel, done, outcome.moved) {
            return Err(PipeError::BufferOverflow);
        }
        done += outcome.moved;
        if outcome.moved > 0 {
            strikes = 0;
        }
        ping = false;
        match outcome.how {
            How::Complete => {
                strikes = 0;
                let short = data.is_in() && outcome.moved < size;
                if short || done == data.len() {
                    return Ok(done);
                }
            }
            How::Refused => {
                if deadline.is_some_and(|at| Instant::now() >= at) {
                    return Err(PipeError::Timeout);
                }
                ping = to.high_speed && !data.is_in();
                let pause = match to.hub {
                    Some(_) => REFUSED_BEHIND_HUB,
                    None => REFUSED,
                };
                Timer::after(pause).await;
            }
            How::Failed(error) => {
                strikes += 1;
                if strikes == STRIKES {
                    return Err(error);
                }
                ping = to.high_speed && !data.is_in() && *toggle != Pid::Setup;
            }
            How::Fatal(error) => return Err(error),
        }
    }
}

/// Moves one packet to or from an interrupt endpoint. `None` if the endpoint
/// has nothing to say, or takes nothing.
pub(super) async fn poll<B: Bus>(
    channel: &mut Channel<'_, B>,
    to: &Endpoint,
    mut data: Data<'_>,
    toggle: &mut Pid,
) -> Result<Option<usize>, PipeError> {
    let size = if data.is_in() {
        to.max_packet
    } else {
        data.len()
    };
    for strike in 1..=STRIKES {
        data.load(channel, 0, size);
        let start = Start {
            input: data.is_in(),
            pid: *toggle,
            size,
            ping: false,
            half: None,
        };
        let outcome = once(channel, to, &start, None).await?;
        *toggle = outcome.next;
        match outcome.how {
            How::Complete => {
                return if data.store(channel, 0, outcome.moved) {
                    Ok(Some(outcome.moved))
                } else {
                    Err(PipeError::BufferOverflow)
                };
            }
            How::Refused => return Ok(None),
            How::Failed(error) if strike == STRIKES => return Err(error),
            How::Failed(_) => {}
            How::Fatal(error) => return Err(error),
        }
    }
    Ok(None)
}

/// One channel start, or the two and more of a split transaction.
async fn once<B: Bus>(
    channel: &mut Channel<'_, B>,
    to: &Endpoint,
    start: &Start,
    deadline: Option<Instant>,
) -> Result<Outcome, PipeError> {
    if to.hub.is_some() {
        return split(channel, to, start).await;
    }
    let deadline = if to.periodic() {
        Some(Instant::now() + TRANSACTION)
    } else {
        deadline
    };
    channel.start(to, start);
    let ended = channel.ended(deadline).await?;
    Ok(judge(channel.host(), to, start, &ended))
}

/// One packet through a high-speed hub's translator (USB 2.0 §11.17, §11.20).
async fn split<B: Bus>(
    channel: &mut Channel<'_, B>,
    to: &Endpoint,
    start: &Start,
) -> Result<Outcome, PipeError> {
    let host = channel.host();
    if to.periodic() {
        early_in_frame(host).await;
    }
    let sent = host.frame().wrapping_add(1);
    let first = Start {
        half: Some(Half::Start),
        ..*start
    };
    channel.start(to, &first);
    let ended = channel.ended(Some(Instant::now() + TRANSACTION)).await?;
    let failed = ended.late || ended.status & (hcint::ENDED | hcint::NAK) != 0;
    if failed || ended.status & hcint::ACK == 0 {
        return Ok(unmoved(start, judge(host, to, start, &ended)));
    }

    let second = Start {
        half: Some(Half::Complete),
        // The data went out with the first half.
        size: if start.input { start.size } else { 0 },
        ..*start
    };
    let give_up = Instant::now() + NOT_YET;
    let mut strikes = 0;
    loop {
        if to.periodic() && microframes_since(host, sent) < 1 {
            // Goes out two microframes after the first half at the earliest.
            Timer::after(MICROFRAME).await;
            continue;
        }
        channel.start(to, &second);
        let ended = channel.ended(Some(Instant::now() + TRANSACTION)).await?;
        let status = ended.status;
        if status & hcint::COMPLETE != 0 {
            let mut outcome = judge(host, to, start, &ended);
            if !start.input {
                outcome.moved = start.size;
            }
            return Ok(outcome);
        }
        if status & hcint::NYET != 0 {
            let over = if to.periodic() {
                // The translator keeps a result for no longer (§11.18.4).
                microframes_since(host, sent) >= 5
            } else {
                Instant::now() >= give_up
            };
            if over {
                host.count.transaction_errors.add();
                let how = How::Failed(PipeError::BadResponse);
                return Ok(unmoved(
                    start,
                    Outcome {
                        moved: 0,
                        next: start.pid,
                        how,
                    },
                ));
            }
            Timer::after(MICROFRAME).await;
            continue;
        }
        // The answer got lost, not what it is about: ask for it again. The
        // translator of a periodic endpoint does not keep it, though.
        if status & hcint::TRANSACTION_ERROR != 0 && !to.periodic() && strikes + 1 < STRIKES {
            strikes += 1;
            host.count.transaction_errors.add();
            continue;
        }
        return Ok(unmoved(start, judge(host, to, start, &ended)));
    }
}

/// Waits for a microframe after which the rest of a periodic split transaction
/// still fits into the frame: the first half goes out in microframe 0 to 3.
async fn early_in_frame<B: Bus>(host: &Host<B>) {
    loop {
        let next = (host.frame() + 1) & 7;
        if next <= 3 {
            return;
        }
        Timer::after(MICROFRAME * (8 - next)).await;
    }
}

fn microframes_since<B: Bus>(host: &Host<B>, then: u32) -> u32 {
    let since = host.frame().wrapping_sub(then) & 0x3FFF;
    // `then` may be still to come.
    if since > 0x2000 { 0 } else { since }
}

/// What a split transaction that did not complete leaves: nothing moved, and
/// the same packet is next.
const fn unmoved(start: &Start, outcome: Outcome) -> Outcome {
    Outcome {
        moved: 0,
        next: start.pid,
        how: outcome.how,
    }
}

/// Makes sense of how a channel ended.
fn judge<B: Bus>(host: &Host<B>, to: &Endpoint, start: &Start, ended: &Ended) -> Outcome {
    let status = ended.status;
    let count = &host.count;
    let has = |bit| status & bit != 0;
    let moved = if start.input {
        start.size.saturating_sub(ended.size_left)
    } else if has(hcint::COMPLETE) {
        start.size
    } else {
        let packets = start.packets(to.max_packet);
        (packets.saturating_sub(ended.packets_left) * to.max_packet).min(start.size)
    };
    let how = if has(hcint::COMPLETE) {
        How::Complete
    } else if ended.late {
        How::Fatal(PipeError::Timeout)
    } else if has(hcint::AHB_ERROR) {
        count.ahb_errors.add();
        How::Fatal(PipeError::BadResponse)
    } else if has(hcint::STALL) {
        How::Fatal(PipeError::Stall)
    } else if has(hcint::BABBLE) {
        count.babbles.add();
        How::Fatal(PipeError::Babble)
    } else if has(hcint::TRANSACTION_ERROR) {
        // Before NAK: both may come of an OUT that began with a PING.
        count.transaction_errors.add();
        How::Failed(PipeError::BadResponse)
    } else if has(hcint::TOGGLE_ERROR) {
        count.toggle_errors.add();
        How::Failed(PipeError::DataToggleError)
    } else if has(hcint::FRAME_OVERRUN) {
        count.frame_overruns.add();
        if to.periodic() {
            How::Refused
        } else {
            How::Failed(PipeError::BadResponse)
        }
    } else if has(hcint::NAK | hcint::NYET) || to.periodic() {
        // A periodic channel that halts without a reason did not get its turn
        // in the frame.
        How::Refused
    } else {
        How::Failed(PipeError::BadResponse)
    };
    Outcome {
        moved,
        next: ended.next,
        how,
    }
}
