//! From bulk OUT packets to frames: the TX command format.
//!
//! Each buffer in a transfer begins with `TX_CMD_A` and `TX_CMD_B` (both
//! little-endian) on a multiple of four bytes; a frame may be spread over
//! several buffers. A packet of less than 512 bytes ends the transfer.

use super::Violation;
use super::descriptors::PACKET;
use crate::checksum::crc32;

/// `TX_CMD_A`: bytes of the buffer.
const A_LENGTH: u32 = 0x7FF;
const A_LAST: u32 = 0x1000;
const A_FIRST: u32 = 0x2000;
/// `TX_CMD_A`: bytes before the data.
const A_OFFSET_SHIFT: u32 = 16;
const A_OFFSET: u32 = 0x1F;
const A_KNOWN: u32 = A_LENGTH | A_LAST | A_FIRST | A_OFFSET << A_OFFSET_SHIFT;
/// `TX_CMD_B`: bytes of the frame.
const B_LENGTH: u32 = 0x7FF;
const B_NO_PADDING: u32 = 0x1000;
const B_NO_CRC: u32 = 0x2000;
const B_CHECKSUM: u32 = 0x4000;
const B_KNOWN: u32 = B_LENGTH | B_NO_PADDING | B_NO_CRC | B_CHECKSUM;
const COMMANDS: usize = 8;
/// Where the checksum begins and where it goes, before the frame.
const PREAMBLE: usize = 4;
/// An Ethernet header.
const MIN_FRAME: usize = 14;
/// A full frame with a VLAN tag, without its check sequence.
const MAX_FRAME: usize = 1518;
/// Without its check sequence (IEEE 802.3 §4.4.2).
const PADDED: usize = 60;

/// A frame as it goes to the wire, without check sequence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sent {
    /// From destination address on, padded.
    pub(super) frame: Vec<u8>,
    /// The chip has put a checksum in.
    pub(super) checksummed: bool,
}

/// Takes bulk OUT packets apart.
#[derive(Debug, Default)]
pub(super) struct Deframer {
    /// The transfer so far, from the first buffer that is not complete.
    transfer: Vec<u8>,
    /// Bytes at its end that must not count as the next buffer: its padding.
    padding: usize,
    /// The frame so far, and the length its first buffer announced.
    frame: Option<(Vec<u8>, u32)>,
    /// The transfer is over if an empty packet comes now.
    full: bool,
}

impl Deframer {
    /// Forgets a transfer that was begun.
    pub(super) fn flush(&mut self) {
        *self = Self::default();
    }

    /// Takes one packet, or several that QEMU hands on as one, and gives the
    /// frames that are complete by it. After an error the rest of the transfer
    /// means nothing any more.
    pub(super) fn packet(
        &mut self,
        data: &[u8],
        checksums: bool,
    ) -> (Vec<Sent>, Option<Violation>) {
        let mut frames = Vec::new();
        let error = self.take(data, checksums, &mut frames).err();
        if error.is_some_and(|error| error != Violation::NoEmptyPacket) {
            self.flush();
        }
        (frames, error)
    }

    fn take(
        &mut self,
        data: &[u8],
        checksums: bool,
        frames: &mut Vec<Sent>,
    ) -> Result<(), Violation> {
        let ended = !data.len().is_multiple_of(PACKET) || data.is_empty();
        let unended = self.full && !data.is_empty();
        self.full = false;
        self.transfer.extend_from_slice(data);
        let mut at = 0;
        loop {
            // A buffer begins on a multiple of four.
            let skip = self.padding.min(self.transfer.len() - at);
            at += skip;
            self.padding -= skip;
            let Some(used) = self.buffer(at, checksums, frames)? else {
                break;
            };
            at += used;
            self.padding = used.wrapping_neg() % 4;
        }
        self.transfer.drain(..at);
        if ended {
            let missing = self.missing();
            self.flush();
            if missing > 0 {
                return Err(Violation::Truncated(missing));
            }
        } else {
            self.full = self.missing() == 0;
        }
        // The frames are good all the same.
        if unended {
            return Err(Violation::NoEmptyPacket);
        }
        Ok(())
    }

    /// Takes the buffer at `at` if all of it is there, and tells its length.
    fn buffer(
        &mut self,
        at: usize,
        checksums: bool,
        frames: &mut Vec<Sent>,
    ) -> Result<Option<usize>, Violation> {
        let rest = &self.transfer[at..];
        let Some((a, b)) = commands(rest) else {
            return Ok(None);
        };
        let wrong = |why| Err(Violation::Command { a, b, why });
        let length = (a & A_LENGTH) as usize;
        let (first, last) = (a & A_FIRST != 0, a & A_LAST != 0);
        if a & !A_KNOWN != 0 || b & !B_KNOWN != 0 {
            return wrong("reserved bits are set");
        }
        if length == 0 {
            return wrong("an empty buffer");
        }
        match &self.frame {
            Some(_) if first => return wrong("a frame begins within another"),
            None if !first => return wrong("a frame without its first buffer"),
            Some((_, announced)) if *announced != b => {
                return wrong("buffers of one frame with different TX_CMD_B");
            }
            _ => {}
        }
        let start = COMMANDS + (a >> A_OFFSET_SHIFT & A_OFFSET) as usize;
        let Some(data) = rest.get(start..start + length) else {
            return Ok(None);
        };
        let (mut frame, _) = self.frame.take().unwrap_or_default();
        frame.extend_from_slice(data);
        let announced = (b & B_LENGTH) as usize;
        if frame.len() > announced {
            return wrong("buffers longer than the frame");
        }
        if last {
            if frame.len() < announced {
                return wrong("buffers shorter than the frame");
            }
            match finish(frame, b, checksums) {
                Ok(sent) => frames.push(sent),
                Err(why) => return wrong(why),
            }
        } else {
            self.frame = Some((frame, b));
        }
        Ok(Some(start + length))
    }

    /// Bytes that must still come for what has begun, as far as it is known.
    fn missing(&self) -> usize {
        match commands(&self.transfer) {
            Some((a, _)) => {
                let whole = COMMANDS + (a >> A_OFFSET_SHIFT & A_OFFSET) as usize;
                (whole + (a & A_LENGTH) as usize).saturating_sub(self.transfer.len())
            }
            // Up to three bytes at the end of a transfer fill a word.
            None if self.transfer.len() > 3 => COMMANDS - self.transfer.len(),
            None => self.frame.as_ref().map_or(0, |(frame, b)| {
                ((b & B_LENGTH) as usize).saturating_sub(frame.len())
            }),
        }
    }
}

fn commands(bytes: &[u8]) -> Option<(u32, u32)> {
    let (a, rest) = bytes.split_first_chunk::<4>()?;
    let (b, _) = rest.split_first_chunk::<4>()?;
    Some((u32::from_le_bytes(*a), u32::from_le_bytes(*b)))
}

/// What the MAC does with the bytes of a whole frame.
fn finish(mut bytes: Vec<u8>, b: u32, checksums: bool) -> Result<Sent, &'static str> {
    let checksummed = b & B_CHECKSUM != 0;
    let mut frame = if checksummed {
        if !checksums {
            return Err("a checksum is wanted, but COE_CR has it off");
        }
        let Some((place, _)) = bytes.split_first_chunk::<PREAMBLE>() else {
            return Err("too short for the checksum's place");
        };
        let [s, t, u, v] = *place;
        let start = usize::from(u16::from_le_bytes([s, t]));
        let target = usize::from(u16::from_le_bytes([u, v]));
        let mut frame = bytes.split_off(PREAMBLE);
        if start < MIN_FRAME || target < start || target + 2 > frame.len() {
            return Err("the checksum's place is not in the frame");
        }
        let sum = !ones_complement(&frame[start..]);
        frame[target..target + 2].copy_from_slice(&sum.to_be_bytes());
        frame
    } else {
        bytes
    };
    if b & B_NO_CRC != 0 {
        let Some(at) = frame.len().checked_sub(4) else {
            return Err("too short for a check sequence");
        };
        let given = frame.split_off(at);
        if given != crc32(&frame).to_le_bytes() {
            return Err("a wrong check sequence");
        }
    }
    if frame.len() < MIN_FRAME {
        return Err("a frame shorter than its header");
    }
    if frame.len() > MAX_FRAME {
        return Err("a frame longer than Ethernet takes");
    }
    if frame.len() < PADDED {
        if b & B_NO_PADDING != 0 {
            return Err("a runt, and padding is off");
        }
        frame.resize(PADDED, 0);
    }
    Ok(Sent { frame, checksummed })
}

/// The sum of big-endian words, with the carries added in (RFC 1071).
pub(super) fn ones_complement(bytes: &[u8]) -> u16 {
    let mut sum: u32 = 0;
    for pair in bytes.chunks(2) {
        let low = pair.get(1).copied().unwrap_or(0);
        sum += u32::from(u16::from_be_bytes([pair[0], low]));
        sum = (sum & 0xFFFF) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(length: usize) -> Vec<u8> {
        (0..length).map(|n| n as u8).collect()
    }

    fn command(a: u32, b: u32, data: &[u8]) -> Vec<u8> {
        let mut bytes = a.to_le_bytes().to_vec();
        bytes.extend(b.to_le_bytes());
        bytes.extend(data);
        bytes
    }

    /// As a driver sends a frame in one buffer.
    fn whole(data: &[u8]) -> Vec<u8> {
        let length = data.len() as u32;
        command(length | A_FIRST | A_LAST, length, data)
    }

    fn frames(packets: &[&[u8]]) -> Result<Vec<Vec<u8>>, Violation> {
        let mut deframer = Deframer::default();
        let mut all = Vec::new();
        for packet in packets {
            let (frames, error) = deframer.packet(packet, true);
            all.extend(frames.into_iter().map(|sent| sent.frame));
            if let Some(error) = error {
                return Err(error);
            }
        }
        Ok(all)
    }

    #[test]
    fn a_frame_arrives_in_packets_or_in_one() {
        let data = frame(1514);
        let bytes = whole(&data);
        let packets: Vec<&[u8]> = bytes.chunks(PACKET).collect();
        assert_eq!(frames(&packets), Ok(vec![data.clone()]));
        assert_eq!(frames(&[&bytes]), Ok(vec![data]));
    }

    #[test]
    fn short_frames_are_padded() {
        let sent = frames(&[&whole(&frame(42))]).unwrap();
        assert_eq!(sent[0].len(), 60);
        assert_eq!(sent[0][42..], [0; 18]);
    }

    #[test]
    fn several_frames_share_a_transfer() {
        let (a, b) = (frame(61), frame(70));
        let mut bytes = whole(&a);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes.extend(whole(&b));
        assert_eq!(frames(&[&bytes]), Ok(vec![a, b]));
    }

    #[test]
    fn a_frame_is_gathered_from_buffers() {
        let data = frame(100);
        let mut bytes = command(30 | A_FIRST | 2 << A_OFFSET_SHIFT, 100, &[0, 0]);
        bytes.extend(&data[..30]);
        bytes.extend(command(70 | A_LAST, 100, &data[30..]));
        assert_eq!(frames(&[&bytes]), Ok(vec![data]));
    }

    #[test]
    fn whole_packets_need_an_empty_one_after_them() {
        let data = frame(504);
        let bytes = whole(&data);
        assert_eq!(bytes.len(), PACKET);
        let twice = vec![data.clone(), data.clone()];
        assert_eq!(frames(&[&bytes, &[], &bytes, &[]]), Ok(twice));
        assert_eq!(frames(&[&bytes, &bytes]), Err(Violation::NoEmptyPacket));
        let mut deframer = Deframer::default();
        deframer.packet(&bytes, true);
        let (late, _) = deframer.packet(&bytes, true);
        assert_eq!(late.len(), 1, "the frame itself is good");
    }

    #[test]
    fn wrong_commands_are_named() {
        let data = frame(64);
        let flags = A_FIRST | A_LAST;
        let cases = [
            (64 | flags | 1 << 31, 64, "reserved bits are set"),
            (64 | flags, 64 | 1 << 15, "reserved bits are set"),
            (flags, 64, "an empty buffer"),
            (64 | A_LAST, 64, "a frame without its first buffer"),
            (64 | flags, 63, "buffers longer than the frame"),
            (64 | flags, 65, "buffers shorter than the frame"),
            (64 | flags, 64 | B_NO_CRC, "a wrong check sequence"),
            (
                64 | flags,
                64 | B_CHECKSUM,
                "the checksum's place is not in the frame",
            ),
        ];
        for (a, b, why) in cases {
            let error = Violation::Command { a, b, why };
            assert_eq!(frames(&[&command(a, b, &data)]), Err(error));
        }
        let cases = [
            (13, "a frame shorter than its header"),
            (1519, "a frame longer than Ethernet takes"),
        ];
        for (length, expected) in cases {
            let sent = frames(&[&whole(&frame(length))]);
            assert!(
                matches!(sent, Err(Violation::Command { why, .. }) if why == expected),
                "{sent:?}"
            );
        }
    }

    #[test]
    fn a_transfer_that_ends_too_early_is_reported() {
        let bytes = whole(&frame(600));
        let cases = [
            (&bytes[..100], 508),
            (&bytes[..6], 2),
            (&command(10 | A_FIRST, 64, &[0; 10])[..], 54),
        ];
        for (packet, missing) in cases {
            assert_eq!(frames(&[packet]), Err(Violation::Truncated(missing)));
        }
    }

    /// An IPv4 datagram of UDP whose checksum the driver leaves to the chip:
    /// what it puts there is the sum of the pseudo header.
    #[test]
    fn checksums_are_put_in() {
        let mut data = frame(80);
        data[40..42].copy_from_slice(&0x1234_u16.to_be_bytes());
        let mut bytes = 34_u16.to_le_bytes().to_vec();
        bytes.extend(40_u16.to_le_bytes());
        bytes.extend(&data);
        let length = bytes.len() as u32;
        let a = length | A_FIRST | A_LAST;
        let packet = command(a, length | B_CHECKSUM, &bytes);
        let sent = frames(&[&packet]).unwrap().remove(0);
        let mut check = data[34..].to_vec();
        check[6..8].copy_from_slice(&sent[40..42]);
        // The datagram with its checksum sums up to what was there before it.
        let sum = ones_complement(&check);
        let mut zeroed = check.clone();
        zeroed[6..8].copy_from_slice(&0x1234_u16.to_be_bytes());
        let with_seed = u32::from(ones_complement(&zeroed));
        assert_eq!(!with_seed as u16, u16::from_be_bytes([sent[40], sent[41]]));
        assert_ne!(sum, 0);
        let (_, error) = Deframer::default().packet(&packet, false);
        assert!(matches!(error, Some(Violation::Command { .. })));
    }
}
