//! From frames on the wire to bulk IN bursts: filter, status words, bursts.

use std::collections::VecDeque;

use super::fault::{Fault, Faults};
use super::registers::{
    BURST_CAP, COE_CR, COE_RX, COE_RX_MODE, HASHH, HASHL, HW_CFG, HW_CFG_BCE, HW_CFG_DRP,
    HW_CFG_MEF, HW_CFG_RXDOFF, MAC_CR, MAC_CR_BCAST, MAC_CR_HFILT, MAC_CR_HPFILT, MAC_CR_MCPAS,
    MAC_CR_PRMS, MAC_CR_RXALL, Registers,
};
use super::tx::ones_complement;
use crate::checksum::crc32;

/// Bytes of the receive FIFO.
pub(super) const FIFO: usize = 20 * 1024;
/// The least cap, in packets, that the chip heeds at high speed.
pub(super) const LEAST_CAP: u32 = 5;
/// Shortest frame on a wire, without its check sequence.
const PADDED: usize = 60;
/// Longest frame without an error, without its check sequence.
const LONGEST: usize = 1518;
const STATUS_FILTER_FAIL: u32 = 1 << 30;
const STATUS_LENGTH_SHIFT: u32 = 16;
const STATUS_ERROR: u32 = 0x8000;
const STATUS_BROADCAST: u32 = 0x2000;
const STATUS_MULTICAST: u32 = 0x0400;
const STATUS_TOO_LONG: u32 = 0x0080;
const STATUS_TYPE: u32 = 0x0020;

/// What became of a frame from the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Received {
    /// It waits to be read.
    Queued,
    /// It is not for this station.
    Filtered,
    /// It has an error, and errors are to be discarded.
    Discarded,
    /// There was no room.
    Overflow,
}

/// The receive FIFO.
#[derive(Debug, Default)]
pub(super) struct Receiver {
    /// Status, offset and frame each; without the padding between frames.
    frames: VecDeque<Vec<u8>>,
    bytes: usize,
}

impl Receiver {
    /// Forgets everything.
    pub(super) fn flush(&mut self) {
        *self = Self::default();
    }

    /// Bytes that wait.
    #[must_use]
    pub(super) fn used(&self) -> usize {
        self.bytes
    }

    /// Takes a frame (without check sequence) from the wire.
    pub(super) fn frame(
        &mut self,
        frame: &[u8],
        registers: &Registers,
        faults: &mut Faults,
    ) -> Received {
        let mut frame = frame.to_vec();
        frame.resize(frame.len().max(PADDED), 0);
        let accepted = accepts(&frame, registers);
        let all = registers.has(MAC_CR, MAC_CR_RXALL);
        if !accepted && !all {
            return Received::Filtered;
        }
        let mut status = flags(&frame);
        if !accepted {
            status |= STATUS_FILTER_FAIL;
        }
        let error = faults.take(|fault| match fault {
            Fault::Frame(error) => Some(error as u32),
            _ => None,
        });
        if let Some(bits) = error {
            status |= bits | STATUS_ERROR;
        }
        if status & STATUS_ERROR != 0 && registers.has(HW_CFG, HW_CFG_DRP) {
            return Received::Discarded;
        }
        let sum = checksum(&frame, registers);
        let check = crc32(&frame) ^ u32::from(error.is_some());
        frame.extend(check.to_le_bytes());
        if let Some(sum) = sum {
            frame.extend(sum.to_be_bytes());
        }
        let claimed = faults.take(|fault| match fault {
            Fault::Claims(length) => Some(u32::from(length)),
            _ => None,
        });
        // 14 bits.
        let length = claimed.unwrap_or(frame.len() as u32) & 0x3FFF;
        status |= length << STATUS_LENGTH_SHIFT;
        let offset = (registers.get(HW_CFG) & HW_CFG_RXDOFF) >> 9;
        let mut bytes = status.to_le_bytes().to_vec();
        bytes.resize(bytes.len() + offset as usize, 0);
        bytes.extend(frame);
        let room = bytes.len().next_multiple_of(4);
        if self.bytes + room > FIFO {
            return Received::Overflow;
        }
        self.bytes += room;
        self.frames.push_back(bytes);
        Received::Queued
    }

    /// The next burst and how many frames are in it: as many as may be in one.
    pub(super) fn burst(&mut self, registers: &Registers) -> Option<(Vec<u8>, usize)> {
        let mut burst = self.frames.pop_front()?;
        self.bytes -= burst.len().next_multiple_of(4);
        let mut count = 1;
        if registers.has(HW_CFG, HW_CFG_MEF) {
            let cap = registers.get(BURST_CAP) & 0xFF;
            let limit = if registers.has(HW_CFG, HW_CFG_BCE) && cap >= LEAST_CAP {
                cap as usize * super::descriptors::PACKET
            } else {
                FIFO
            };
            while let Some(next) = self.frames.front() {
                let start = burst.len().next_multiple_of(4);
                if start + next.len() > limit {
                    break;
                }
                // The last frame is not padded.
                burst.resize(start, 0);
                burst.extend_from_slice(next);
                self.bytes -= next.len().next_multiple_of(4);
                self.frames.pop_front();
                count += 1;
            }
        }
        Some((burst, count))
    }
}

/// Whether the MAC lets a frame in.
fn accepts(frame: &[u8], registers: &Registers) -> bool {
    let Some(to) = frame.first_chunk::<6>() else {
        return false;
    };
    let control = registers.get(MAC_CR);
    if control & MAC_CR_PRMS != 0 {
        return true;
    }
    if *to == [0xFF; 6] {
        return control & MAC_CR_BCAST == 0;
    }
    let by_hash = || {
        let bit = hash(to);
        let half = if bit & 0x20 != 0 { HASHH } else { HASHL };
        registers.get(half) >> (bit & 0x1F) & 1 == 1
    };
    if to[0] & 1 == 1 {
        control & MAC_CR_MCPAS != 0 || control & (MAC_CR_HPFILT | MAC_CR_HFILT) != 0 && by_hash()
    } else if control & MAC_CR_HFILT != 0 {
        by_hash()
    } else {
        *to == registers.mac()
    }
}

/// The bit of the hash table that stands for an address: the first six bits
/// that Ethernet's check sequence would send.
fn hash(address: &[u8; 6]) -> u32 {
    (!crc32(address)).reverse_bits() >> 26
}

/// The flags of a frame's status that follow from the frame alone.
fn flags(frame: &[u8]) -> u32 {
    let mut status = 0;
    if frame.starts_with(&[0xFF; 6]) {
        status |= STATUS_BROADCAST;
    } else if frame[0] & 1 == 1 {
        status |= STATUS_MULTICAST;
    }
    if u16::from_be_bytes([frame[12], frame[13]]) >= 0x0600 {
        status |= STATUS_TYPE;
    }
    if frame.len() > LONGEST {
        status |= STATUS_TOO_LONG | STATUS_ERROR;
    }
    status
}

/// The sum that the checksum engine puts behind the check sequence, if it is on.
fn checksum(frame: &[u8], registers: &Registers) -> Option<u16> {
    if !registers.has(COE_CR, COE_RX) {
        return None;
    }
    let tagged = frame[12..14] == [0x81, 0x00] && registers.has(COE_CR, COE_RX_MODE);
    let start = if tagged { 18 } else { 14 };
    Some(ones_complement(&frame[start..]))
}

#[cfg(test)]
mod tests {
    use super::super::fault::FrameError;
    use super::super::registers::{ADDRH, ADDRL};
    use super::*;

    const US: [u8; 6] = [2, 0, 0, 0, 0, 7];

    fn registers(hw_cfg: u32) -> Registers {
        let mut registers = Registers::new();
        registers.set(MAC_CR, 0);
        registers.set(ADDRL, 0x0000_0002);
        registers.set(ADDRH, 0x0700);
        registers.set(HW_CFG, hw_cfg);
        registers
    }

    fn frame(to: [u8; 6], length: usize) -> Vec<u8> {
        let mut frame = to.to_vec();
        frame.extend([2, 0, 0, 0, 0, 9, 8, 0]);
        frame.resize(length, 0x55);
        frame
    }

    fn receive(frame: &[u8], registers: &Registers, faults: &[Fault]) -> (Received, Vec<u8>) {
        let mut ordered = Faults::default();
        faults.iter().for_each(|fault| ordered.push(*fault));
        let mut receiver = Receiver::default();
        let received = receiver.frame(frame, registers, &mut ordered);
        let burst = receiver.burst(registers);
        (received, burst.map(|(bytes, _)| bytes).unwrap_or_default())
    }

    #[test]
    fn a_frame_comes_with_status_and_check_sequence() {
        let (_, bytes) = receive(&frame(US, 61), &registers(0), &[]);
        assert_eq!(bytes.len(), 4 + 61 + 4);
        assert_eq!(bytes[..4], (65_u32 << 16 | STATUS_TYPE).to_le_bytes());
        assert_eq!(bytes[4..65], frame(US, 61));
        // A receiver that runs over frame and check sequence gets this (IEEE 802.3 §3.2.9).
        assert_eq!(crc32(&bytes[4..]), 0x2144_DF1C);
        let (_, offset) = receive(&frame(US, 61), &registers(0x0400), &[]);
        assert_eq!(offset[6..], bytes[4..]);
        let (_, short) = receive(&frame(US, 20), &registers(0), &[]);
        assert_eq!(short.len(), 4 + 64, "padded by its sender");
    }

    #[test]
    fn the_checksum_engine_adds_two_bytes() {
        let mut registers = registers(0);
        registers.set(COE_CR, COE_RX);
        let (_, bytes) = receive(&frame(US, 62), &registers, &[]);
        assert_eq!(bytes[..4], (68_u32 << 16 | STATUS_TYPE).to_le_bytes());
        let sum = ones_complement(&bytes[4 + 14..4 + 62]);
        assert_eq!(bytes[70..], sum.to_be_bytes());
    }

    #[test]
    fn the_filter_knows_its_station() {
        let all_hosts = [0x01, 0x00, 0x5E, 0, 0, 1];
        // A known example: this address is bit 31.
        assert_eq!(hash(&all_hosts), 31);
        let other = [2, 0, 0, 0, 0, 8];
        let cases = [
            (0, US, true),
            (0, other, false),
            (0, [0xFF; 6], true),
            (MAC_CR_BCAST, [0xFF; 6], false),
            (0, all_hosts, false),
            (MAC_CR_MCPAS, all_hosts, true),
            (MAC_CR_HPFILT, all_hosts, true),
            (MAC_CR_HPFILT, [0x01, 0x00, 0x5E, 0, 0, 2], false),
            (MAC_CR_PRMS, other, true),
        ];
        for (control, to, expected) in cases {
            let mut registers = registers(0);
            registers.set(MAC_CR, control);
            registers.set(HASHL, 1 << 31);
            let (received, _) = receive(&frame(to, 60), &registers, &[]);
            let accepted = received == Received::Queued;
            assert_eq!(accepted, expected, "{control:#x} {to:02x?}");
        }
    }

    #[test]
    fn bursts_hold_whole_frames_up_to_the_cap() {
        let mut registers = registers(HW_CFG_MEF | HW_CFG_BCE);
        registers.set(BURST_CAP, 5);
        let mut receiver = Receiver::default();
        let mut faults = Faults::default();
        for length in [61, 1000, 1514] {
            receiver.frame(&frame(US, length), &registers, &mut faults);
        }
        let (burst, count) = receiver.burst(&registers).unwrap();
        assert_eq!((burst.len(), count), (72 + 1008, 2), "2,560 at most");
        assert_eq!(burst[69..72], [0; 3], "padded to the next status");
        let (last, count) = receiver.burst(&registers).unwrap();
        assert_eq!((last.len(), count), (1522, 1), "not padded");
        assert_eq!(receiver.used(), 0);
        registers.set(HW_CFG, 0);
        for length in [60, 60] {
            receiver.frame(&frame(US, length), &registers, &mut faults);
        }
        assert_eq!(receiver.burst(&registers).unwrap().1, 1, "one by one");
    }

    #[test]
    fn errors_are_told_or_discarded() {
        let bad = Fault::Frame(FrameError::Crc);
        let (_, bytes) = receive(&frame(US, 60), &registers(0), &[bad]);
        let status = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        assert_eq!(status & 0xFFFF, STATUS_ERROR | 2 | STATUS_TYPE);
        assert_ne!(crc32(&bytes[4..]), 0x2144_DF1C, "it is really wrong");
        let (received, _) = receive(&frame(US, 60), &registers(HW_CFG_DRP), &[bad]);
        assert_eq!(received, Received::Discarded);
        let (_, bytes) = receive(&frame(US, 60), &registers(0), &[Fault::Claims(9000)]);
        assert_eq!(bytes[..4], (9000_u32 << 16 | STATUS_TYPE).to_le_bytes());
    }

    #[test]
    fn a_full_fifo_drops() {
        let registers = registers(0);
        let mut receiver = Receiver::default();
        let mut faults = Faults::default();
        let kept = (0..100)
            .take_while(|_| {
                receiver.frame(&frame(US, 1514), &registers, &mut faults) == Received::Queued
            })
            .count();
        assert_eq!(kept, FIFO / 1524);
    }
}
