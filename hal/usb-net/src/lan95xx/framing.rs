//! How frames travel between a LAN95xx and its host: command words before
//! each frame that is sent, a status word before each that was received.
//!
//! LAN9514 data sheet §4.4.1 (receive) and §4.4.2 (transmit). One bulk IN
//! transfer is a burst of received frames, each one begun at a multiple of
//! four bytes; the last one need not be padded to it. A frame never goes on
//! in the next transfer.

use crate::FRAME;
use crate::pump::{Framing, RxFault};

/// Bytes of the two command words before a frame that is sent.
pub(crate) const TX_HEADER: usize = 8;
/// The buffer holds the first, and the last, of the frame's data.
const TX_FIRST_SEGMENT: u32 = 1 << 13;
const TX_LAST_SEGMENT: u32 = 1 << 12;

/// Bytes of the status word before a received frame.
const RX_HEADER: usize = 4;
/// Any error of the frame: CRC, length, runt, collision, MII, watchdog.
const RX_ERROR: u32 = 1 << 15;
const RX_LENGTH_SHIFT: u32 = 16;
const RX_LENGTH: u32 = 0x3FFF;
/// Frame check sequence: counted in the length and part of the data.
const FCS: usize = 4;
/// An Ethernet header; the MAC drops what is shorter than 64 bytes by itself.
const SHORTEST: usize = 14;

/// The framing of this family.
pub(crate) struct Lan95xxFraming;

impl Framing for Lan95xxFraming {
    type Frames<'a> = Frames<'a>;

    fn frames(transfer: &[u8]) -> Frames<'_> {
        Frames(transfer)
    }

    fn room(buf: &mut [u8]) -> &mut [u8] {
        buf
    }

    fn wrap<'a>(frame: &'a [u8], room: &'a mut [u8; TX_HEADER + FRAME]) -> &'a [u8] {
        let frame = &frame[..frame.len().min(FRAME)];
        let len = frame.len() as u32;
        let command_a = len | TX_FIRST_SEGMENT | TX_LAST_SEGMENT;
        room[..4].copy_from_slice(&command_a.to_le_bytes());
        room[4..TX_HEADER].copy_from_slice(&len.to_le_bytes());
        let end = TX_HEADER + frame.len();
        room[TX_HEADER..end].copy_from_slice(frame);
        &room[..end]
    }
}

/// The frames in one transfer, without their FCS.
#[derive(Debug)]
pub(crate) struct Frames<'a>(&'a [u8]);

impl<'a> Iterator for Frames<'a> {
    type Item = Result<&'a [u8], RxFault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let Some((status, rest)) = self.0.split_first_chunk::<RX_HEADER>() else {
            // Less than a status word, though the padding was skipped.
            self.0 = &[];
            return Some(Err(RxFault::Malformed));
        };
        let status = u32::from_le_bytes(*status);
        let len = ((status >> RX_LENGTH_SHIFT) & RX_LENGTH) as usize;
        let Some(frame) = rest.get(..len) else {
            // Nothing says where the next one would begin.
            self.0 = &[];
            return Some(Err(RxFault::Malformed));
        };
        // The status word is four bytes, so the padding depends on the frame.
        self.0 = rest.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some(if status & RX_ERROR != 0 {
            Err(RxFault::Damaged)
        } else if len < SHORTEST + FCS {
            Err(RxFault::Malformed)
        } else {
            Ok(&frame[..len - FCS])
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As the chip puts it into a burst, padding included.
    fn received(status: u32, len: usize, fill: u8) -> Vec<u8> {
        let with_fcs = len + FCS;
        let status = status | (with_fcs as u32) << RX_LENGTH_SHIFT;
        let mut bytes = status.to_le_bytes().to_vec();
        bytes.resize(RX_HEADER + len, fill);
        bytes.extend([0xFC; FCS]);
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }

    fn lengths(transfer: &[u8]) -> Vec<Result<usize, RxFault>> {
        Frames(transfer)
            .map(|frame| frame.map(<[u8]>::len))
            .collect()
    }

    #[test]
    fn a_burst_with_and_without_padding_at_the_end() {
        let mut burst = received(0, 60, 1);
        burst.extend(received(1 << 13, 61, 2));
        burst.extend(received(0, 1514, 3));
        assert_eq!(lengths(&burst), [Ok(60), Ok(61), Ok(1514)]);
        // 1514 + 4 is two short of a multiple of four.
        burst.truncate(burst.len() - 2);
        assert_eq!(lengths(&burst), [Ok(60), Ok(61), Ok(1514)]);
        let frames: Vec<_> = Frames(&burst).map(Result::unwrap).collect();
        assert_eq!(frames[1], [2; 61]);
        // One byte less is a frame that is not all there.
        burst.truncate(burst.len() - 1);
        assert_eq!(lengths(&burst), [Ok(60), Ok(61), Err(RxFault::Malformed)]);
    }

    #[test]
    fn a_damaged_frame_does_not_hide_the_next() {
        let mut burst = received(RX_ERROR | 1 << 1, 64, 1);
        burst.extend(received(0, 10, 2));
        burst.extend(received(0, 64, 3));
        assert_eq!(
            lengths(&burst),
            [Err(RxFault::Damaged), Err(RxFault::Malformed), Ok(64)]
        );
    }

    #[test]
    fn an_empty_transfer_has_no_frame() {
        assert_eq!(lengths(&[]), []);
        assert_eq!(lengths(&[0; 3]), [Err(RxFault::Malformed)]);
    }

    #[test]
    fn no_length_is_believed() {
        let burst = received(0, 60, 1);
        for len in 0..=RX_LENGTH {
            let mut lying = burst.clone();
            lying[..4].copy_from_slice(&(len << RX_LENGTH_SHIFT).to_le_bytes());
            for frame in Frames(&lying).flatten() {
                assert!(frame.len() <= 60);
            }
            assert!(Frames(&lying).count() <= lying.len() / 4);
        }
        for end in 0..burst.len() {
            assert!(lengths(&burst[..end]).iter().all(Result::is_err));
        }
    }

    #[test]
    fn command_words_before_a_frame_to_send() {
        let mut room = [0xEE; TX_HEADER + FRAME];
        let sent = Lan95xxFraming::wrap(&[7; 60], &mut room);
        assert_eq!(sent.len(), 68);
        assert_eq!(sent[..8], [0x3C, 0x30, 0, 0, 0x3C, 0, 0, 0]);
        assert_eq!(sent[8..], [7; 60]);
        assert_eq!(
            Lan95xxFraming::wrap(&[0; 1514], &mut room)[..8],
            [0xEA, 0x35, 0, 0, 0xEA, 0x05, 0, 0]
        );
    }
}
