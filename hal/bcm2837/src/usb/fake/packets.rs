//! What happens on the bus when a channel is due.

use embassy_usb_driver::Speed;

use super::device::{Answer, Device, Fault, Translated, flip};
use super::{Channel, Model, time};
use crate::usb::Kind;
use crate::usb::regs::{chan, hcint, port, split, tsiz};

/// Time from one packet to the next, and from a refusal to the next try.
const PACKET: u64 = 10;
const AGAIN: u64 = 50;
/// QEMU's timer.
const QEMU_TICK: u64 = 250;

impl Channel {
    fn halt(&mut self, status: u32) {
        self.status |= status | hcint::HALTED;
        self.character &= !(chan::ENABLE | chan::DISABLE);
        self.due = None;
        self.halting = false;
        self.stale = None;
    }

    fn set_size(&mut self, size: usize, packets: usize, pid: u32) {
        self.size = tsiz::new(size, packets, pid);
    }
}

impl Model {
    /// One packet of channel `n`, or its halt.
    pub(super) fn serve(&mut self, n: usize) {
        if self.channels[n].halting {
            self.channels[n].halt(0);
            return;
        }
        if self.hprt & port::ENABLED == 0 {
            // Nothing ever happens.
            self.channels[n].due = None;
            return;
        }
        let Self {
            root,
            channels,
            memory,
            kind,
            ..
        } = self;
        let qemu = *kind == Kind::Qemu;
        let channel = &mut channels[n];
        let address = (channel.character >> 22 & 0x7F) as u8;
        let number = (channel.character >> 11 & 0xF) as u8;
        let input = channel.character & chan::IN != 0;
        let high = root.as_ref().is_some_and(|d| d.speed == Speed::High);
        let Some((device, hub)) = find(root, address) else {
            if qemu {
                channel.due = None;
            } else {
                channel.halt(hcint::TRANSACTION_ERROR);
            }
            return;
        };
        let (ep_kind, max_packet) = device.shape(number, input);
        assert_eq!(channel.character >> 18 & 3, ep_kind, "endpoint type");
        let given = (channel.character & 0x7FF) as usize;
        // Before it is asked, a device may have any packet size.
        if number != 0 {
            assert_eq!(given, max_packet, "packet size");
        }
        let low = channel.character & chan::LOW_SPEED != 0;
        assert_eq!(low, device.speed == Speed::Low, "LSPDDEV");

        let size = tsiz::size(channel.size);
        let packets = tsiz::packets(channel.size);
        let pid = tsiz::pid(channel.size);
        let bytes = if input {
            Vec::new()
        } else {
            memory.read(channel.dma, size.min(given))
        };

        if let Some(hub) = hub.filter(|_| high && device.speed != Speed::High && !qemu) {
            translate(channel, device, hub, bytes);
            return;
        }
        assert_eq!(channel.split, 0, "a split transaction to nobody");

        let fault = device.fault(number, input);
        let answer = transact(device, fault, number, input, &bytes, pid, qemu);
        let outcome = match fault {
            Some(Fault::Babble) => return channel.halt(hcint::BABBLE),
            Some(Fault::Overrun) => return channel.halt(hcint::FRAME_OVERRUN),
            Some(Fault::AhbError) => {
                // Does not halt by itself.
                channel.status |= hcint::AHB_ERROR;
                channel.due = None;
                return;
            }
            _ => answer,
        };
        match outcome {
            Answer::Nothing => channel.halt(hcint::TRANSACTION_ERROR),
            Answer::Stall => channel.halt(hcint::STALL),
            Answer::Nak => {
                let periodic = ep_kind & 1 != 0;
                let halts = periodic || !qemu && !input && !high;
                channel.status |= hcint::NAK;
                if halts {
                    channel.halt(hcint::NAK);
                } else {
                    let pause = if qemu { QEMU_TICK } else { AGAIN };
                    channel.due = Some(time::now() + pause);
                }
            }
            Answer::Ack => {
                channel.status |= hcint::ACK;
                let left = size - bytes.len();
                let next = if pid == 3 { 3 } else { flip(pid) };
                channel.set_size(left, packets - 1, if qemu { pid } else { next });
                channel.dma += bytes.len() as u32;
                advance(self, n, packets == 1);
            }
            Answer::Data(data, toggle) => {
                if !qemu && toggle != pid {
                    assert_eq!(fault, Some(Fault::Repeat), "IN under the wrong toggle");
                    return channel.halt(hcint::TOGGLE_ERROR);
                }
                assert!(data.len() <= given);
                device.taken(number);
                channel.status |= hcint::ACK;
                let short = data.len() < given;
                let next = if qemu { pid } else { flip(pid) };
                channel.set_size(size - data.len(), packets - 1, next);
                let at = channel.dma;
                channel.dma += data.len() as u32;
                channel.incoming.push((at, data));
                advance(self, n, short || packets == 1);
            }
        }
    }
}

/// The next packet of channel `n`, or its end.
fn advance(model: &mut Model, n: usize, done: bool) {
    let qemu = model.kind == Kind::Qemu;
    let channel = &mut model.channels[n];
    if done {
        channel.halt(hcint::COMPLETE);
    } else if !qemu {
        channel.due = Some(time::now() + PACKET);
    } else if channel.small {
        channel.due = Some(time::now() + QEMU_TICK);
    } else {
        model.serve(n);
    }
}

/// The device with `address`, and the hub and port (from 1) it is behind.
fn find(root: &mut Option<Device>, address: u8) -> Option<(&mut Device, Option<(u8, u8)>)> {
    let device = root.as_mut()?;
    if device.address == address {
        return Some((device, None));
    }
    let hub = device.address;
    let ports = match &mut device.kind {
        super::device::Kind::Hub(ports) => ports,
        super::device::Kind::Echo => return None,
    };
    ports.iter_mut().enumerate().find_map(|(n, port)| {
        let enabled = port.enabled;
        let device = port.device.as_mut()?;
        (enabled && device.address == address).then_some((device, Some((hub, n as u8 + 1))))
    })
}

fn transact(
    device: &mut Device,
    fault: Option<Fault>,
    number: u8,
    input: bool,
    bytes: &[u8],
    pid: u32,
    any_toggle: bool,
) -> Answer {
    match fault {
        Some(Fault::Nak) => return Answer::Nak,
        Some(Fault::Stall) => return Answer::Stall,
        Some(Fault::Silent | Fault::Babble | Fault::Overrun | Fault::AhbError) => {
            return Answer::Nothing;
        }
        Some(Fault::Repeat) => return device.repeat(number),
        _ => {}
    }
    if input {
        device.token_in(number)
    } else if pid == 3 {
        device.setup(bytes, pid)
    } else {
        let lost = fault == Some(Fault::LostAck);
        let pid = if any_toggle {
            device.expected_toggle(number)
        } else {
            pid
        };
        let answer = device.token_out(number, bytes, pid, lost);
        if lost { Answer::Nothing } else { answer }
    }
}

/// Half of a split transaction with a full- or low-speed device.
fn translate(channel: &mut Channel, device: &mut Device, hub: (u8, u8), bytes: Vec<u8>) {
    let number = (channel.character >> 11 & 0xF) as u8;
    let input = channel.character & chan::IN != 0;
    let periodic = channel.character >> 18 & 1 != 0;
    let size = tsiz::size(channel.size);
    let pid = tsiz::pid(channel.size);
    let microframe = time::now() / 125;
    let expected = split::ENABLE | split::WHOLE | split::hub(hub.0, hub.1);
    assert_eq!(
        channel.split & !split::COMPLETE,
        expected,
        "HCSPLT names the wrong hub, port or part"
    );
    assert_eq!(tsiz::packets(channel.size), 1, "a split is one packet");
    if channel.split & split::COMPLETE == 0 {
        assert!(
            device.translated.is_none(),
            "a start while the last result waits"
        );
        if periodic {
            assert!(
                microframe % 8 <= 3,
                "start in microframe {}",
                microframe % 8
            );
        }
        let fault = device.fault(number, input);
        match fault {
            Some(Fault::Busy) => return channel.halt(hcint::NAK),
            Some(Fault::Overrun) => return channel.halt(hcint::FRAME_OVERRUN),
            _ => {}
        }
        let mut answer = transact(device, fault, number, input, &bytes, pid, false);
        // A translator tries by itself, and reports a device that does not
        // answer as stalled (USB 2.0 §11.17.1).
        for _ in 1..3 {
            if answer == Answer::Nothing && !periodic {
                let fault = device.fault(number, input);
                answer = transact(device, fault, number, input, &bytes, pid, false);
            }
        }
        if answer == Answer::Nothing && !periodic {
            answer = Answer::Stall;
        }
        device.translated = Some(Translated {
            endpoint: number,
            input,
            answer,
            microframe,
            at: time::now(),
        });
        return channel.halt(hcint::ACK);
    }
    let Some(result) = &device.translated else {
        panic!("a complete without a start");
    };
    assert_eq!(
        (result.endpoint, result.input),
        (number, input),
        "a complete for another endpoint than the start"
    );
    if !input {
        assert_eq!(size, 0, "data goes with the first half");
    }
    if periodic {
        let since = microframe - result.microframe;
        assert!(since >= 2, "asked {since} microframes after the start");
        // One more, to see that it is asked again.
        if since < 3 {
            return channel.halt(hcint::NYET);
        }
    } else if time::now() < result.at + 300 {
        return channel.halt(hcint::NYET);
    }
    if device.lost_result(number, input) {
        if periodic {
            device.translated = None;
        }
        return channel.halt(hcint::TRANSACTION_ERROR);
    }
    let Some(result) = device.translated.take() else {
        return;
    };
    match result.answer {
        Answer::Nothing => channel.halt(hcint::TRANSACTION_ERROR),
        Answer::Stall => channel.halt(hcint::STALL),
        Answer::Nak => channel.halt(hcint::NAK),
        Answer::Ack => {
            channel.set_size(0, 0, flip(pid));
            channel.halt(hcint::COMPLETE | hcint::ACK);
        }
        Answer::Data(data, toggle) => {
            if toggle != pid {
                return channel.halt(hcint::TOGGLE_ERROR);
            }
            device.taken(number);
            channel.set_size(size - data.len(), 0, flip(pid));
            channel.incoming.push((channel.dma, data));
            channel.halt(hcint::COMPLETE | hcint::ACK);
        }
    }
}
