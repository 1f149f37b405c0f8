//! Queues of Ethernet frames in one flat buffer, and the framing that QEMU's
//! `-netdev stream` uses: a big-endian 32-bit length before each frame.

use std::fmt;

use embassy_net_driver::{RxToken, TxToken};

use super::offload;

/// Longest frame taken from a wire: what QEMU sends at most for one packet
/// (64 KiB, however it was segmented, and room for Ethernet and VLAN headers).
pub(crate) const MAX_WIRE_FRAME: usize = 64 * 1024 + 18;

const LENGTH: usize = 4;

/// Frames on their way out, each behind its length, in the order they came.
/// The whole queue can go into one `write`.
pub(crate) struct FrameQueue {
    buf: Box<[u8]>,
    start: usize,
    end: usize,
    headroom: usize,
    max_frame: usize,
}

impl FrameQueue {
    /// A queue of `capacity` bytes for frames of up to `max_frame` bytes,
    /// each with `headroom` zeroed bytes before it that count as part of it
    /// once it is queued.
    pub(crate) fn new(capacity: usize, headroom: usize, max_frame: usize) -> Self {
        Self {
            buf: vec![0; capacity].into(),
            start: 0,
            end: 0,
            headroom,
            max_frame,
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.start == self.end
    }

    /// Bytes queued, lengths included.
    pub(crate) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Whether another frame of any size fits.
    pub(crate) fn has_room(&self) -> bool {
        self.buf.len() - self.len() >= LENGTH + self.headroom + self.max_frame
    }

    /// Everything queued, as it goes over a stream.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buf[self.start..self.end]
    }

    /// The frames queued, oldest first, without their lengths.
    pub(crate) fn frames(&self) -> impl Iterator<Item = &[u8]> + Clone {
        let mut rest = self.bytes();
        std::iter::from_fn(move || {
            let (length, tail) = rest.split_first_chunk::<LENGTH>()?;
            let (frame, tail) = tail.split_at_checked(u32::from_be_bytes(*length) as usize)?;
            rest = tail;
            Some(frame)
        })
    }

    /// The oldest frame.
    pub(crate) fn first(&self) -> Option<&[u8]> {
        self.frames().next()
    }

    /// Forgets the oldest `n` bytes.
    pub(crate) fn consume(&mut self, n: usize) {
        self.start += n.min(self.len());
        if self.is_empty() {
            self.clear();
        }
    }

    /// Forgets the oldest `n` frames.
    pub(crate) fn consume_frames(&mut self, n: usize) {
        let bytes = self.frames().take(n).map(|f| f.len() + LENGTH).sum();
        self.consume(bytes);
    }

    pub(crate) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// Headroom and room for one frame of `len` bytes at the end, or `None` if
    /// it is longer than the NIC said it would take.
    fn push(&mut self, len: usize) -> Option<(&mut [u8], &mut [u8])> {
        let total = LENGTH + self.headroom + len;
        if len > self.max_frame || self.buf.len() - self.len() < total {
            return None;
        }
        if self.buf.len() - self.end < total {
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.len());
        }
        let entry = &mut self.buf[self.end..self.end + total];
        self.end += total;
        let (length, entry) = entry.split_at_mut(LENGTH);
        length.copy_from_slice(&((self.headroom + len) as u32).to_be_bytes());
        let (headroom, frame) = entry.split_at_mut(self.headroom);
        headroom.fill(0);
        Some((headroom, frame))
    }

    /// Takes back the newest frame, which was `len` bytes long.
    fn take_back(&mut self, len: usize) {
        self.end -= (LENGTH + self.headroom + len).min(self.len());
    }
}

/// A frame to be filled in and queued.
pub struct TxFrame<'a> {
    queue: &'a mut FrameQueue,
    /// The MTU of an interface that does the rest of the work on TCP.
    offload: Option<usize>,
}

impl<'a> TxFrame<'a> {
    pub(crate) fn plain(queue: &'a mut FrameQueue) -> Self {
        Self {
            queue,
            offload: None,
        }
    }

    /// A frame for an interface with this MTU, in a queue whose headroom is a
    /// `virtio_net_hdr`.
    #[cfg(target_os = "linux")]
    pub(crate) fn offloaded(queue: &'a mut FrameQueue, mtu: usize) -> Self {
        Self {
            queue,
            offload: Some(mtu),
        }
    }
}

impl TxToken for TxFrame<'_> {
    fn consume<R, F>(self, len: usize, f: F) -> R
    where
        F: FnOnce(&mut [u8]) -> R,
    {
        let Some((headroom, frame)) = self.queue.push(len) else {
            log::error!("a frame of {len} bytes is longer than the MTU: dropped");
            return f(&mut vec![0; len]);
        };
        let result = f(frame);
        if let Some(mtu) = self.offload
            && let Ok(header) = headroom.try_into()
            && !offload::send(header, frame, mtu)
        {
            log::error!("a frame of {len} bytes is longer than the MTU, {mtu}: dropped");
            self.queue.take_back(len);
        }
        result
    }
}

/// A frame that came in.
pub struct RxFrame<'a>(pub(crate) &'a mut [u8]);

impl RxToken for RxFrame<'_> {
    fn consume<R, F>(self, f: F) -> R
    where
        F: FnOnce(&mut [u8]) -> R,
    {
        f(self.0)
    }
}

/// Cuts a byte stream into frames.
pub(crate) struct Deframer {
    buf: Box<[u8]>,
    start: usize,
    end: usize,
}

/// The peer announced a frame that no Ethernet has: it does not speak this
/// protocol, or lost its place in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct BadLength(u32);

impl fmt::Display for BadLength {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "the peer announced a frame of {} bytes (1 to {MAX_WIRE_FRAME} expected); is it QEMU's `-netdev stream` or a switch that speaks it?",
            self.0
        )
    }
}

impl Deframer {
    /// `capacity` bytes are read ahead at most; it must exceed the longest
    /// frame with its length.
    pub(crate) fn new(capacity: usize) -> Self {
        debug_assert!(capacity >= LENGTH + MAX_WIRE_FRAME);
        Self {
            buf: vec![0; capacity].into(),
            start: 0,
            end: 0,
        }
    }

    pub(crate) fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
    }

    /// The length of the next frame, once all of it is there.
    pub(crate) fn next_len(&self) -> Result<Option<usize>, BadLength> {
        let Some((length, tail)) = self.buf[self.start..self.end].split_first_chunk::<LENGTH>()
        else {
            return Ok(None);
        };
        let announced = u32::from_be_bytes(*length);
        let len = announced as usize;
        if !(1..=MAX_WIRE_FRAME).contains(&len) {
            return Err(BadLength(announced));
        }
        Ok((tail.len() >= len).then_some(len))
    }

    /// Takes the next frame, whose length [`next_len`](Self::next_len) told.
    pub(crate) fn take(&mut self, len: usize) -> &mut [u8] {
        let frame = (self.start + LENGTH).min(self.end);
        self.start = (frame + len).min(self.end);
        &mut self.buf[frame..self.start]
    }

    /// Room to read into: call once [`next_len`](Self::next_len) said
    /// that no whole frame is there. Never empty then.
    pub(crate) fn spare(&mut self) -> &mut [u8] {
        if self.start == self.end {
            self.clear();
        } else if self.buf.len() - self.start < LENGTH + MAX_WIRE_FRAME {
            self.buf.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
        }
        &mut self.buf[self.end..]
    }

    /// Says that `n` bytes were read into [`spare`](Self::spare).
    pub(crate) fn filled(&mut self, n: usize) {
        self.end = (self.end + n).min(self.buf.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue_of(frames: &[&[u8]]) -> FrameQueue {
        let mut queue = FrameQueue::new(256, 0, 32);
        for frame in frames {
            TxFrame::plain(&mut queue).consume(frame.len(), |buf| buf.copy_from_slice(frame));
        }
        queue
    }

    #[test]
    fn frames_come_out_as_they_went_in_however_the_stream_is_cut() {
        let frames: [&[u8]; 4] = [b"one", b"a longer frame", b"x", b"last"];
        let queue = queue_of(&frames);
        for step in 1..=queue.len() {
            let mut deframer = Deframer::new(2 * MAX_WIRE_FRAME);
            let mut seen = Vec::new();
            for chunk in queue.bytes().chunks(step) {
                deframer.spare()[..chunk.len()].copy_from_slice(chunk);
                deframer.filled(chunk.len());
                while let Some(len) = deframer.next_len().unwrap() {
                    seen.push(deframer.take(len).to_vec());
                }
            }
            assert_eq!(seen, frames, "cut into pieces of {step} bytes");
        }
    }

    #[test]
    fn the_read_buffer_always_has_room_for_the_longest_frame() {
        let mut deframer = Deframer::new(LENGTH + MAX_WIRE_FRAME + 100);
        let mut stream = Vec::new();
        for _ in 0..4 {
            stream.extend((MAX_WIRE_FRAME as u32).to_be_bytes());
            stream.extend(vec![7; MAX_WIRE_FRAME]);
        }
        let (mut rest, mut seen) = (&stream[..], 0);
        while seen < 4 {
            let spare = deframer.spare();
            assert!(!spare.is_empty());
            let n = spare.len().min(rest.len());
            spare[..n].copy_from_slice(&rest[..n]);
            rest = &rest[n..];
            deframer.filled(n);
            while let Some(len) = deframer.next_len().unwrap() {
                assert_eq!(deframer.take(len).len(), MAX_WIRE_FRAME);
                seen += 1;
            }
        }
    }

    #[test]
    fn a_length_no_frame_has_is_an_error() {
        for length in [0, MAX_WIRE_FRAME as u32 + 1, u32::from_be_bytes(*b"GET ")] {
            let mut deframer = Deframer::new(2 * MAX_WIRE_FRAME);
            deframer.spare()[..4].copy_from_slice(&length.to_be_bytes());
            deframer.filled(4);
            assert_eq!(deframer.next_len(), Err(BadLength(length)));
        }
    }

    #[test]
    fn a_queue_makes_room_by_moving_what_is_left() {
        let mut queue = FrameQueue::new(85, 2, 30);
        for n in 0..50u8 {
            assert!(queue.has_room());
            TxFrame::plain(&mut queue).consume(30, |buf| buf.fill(n));
            TxFrame::plain(&mut queue).consume(10, |buf| buf.fill(n));
            assert!(!queue.has_room());
            let frames: Vec<_> = queue.frames().map(<[u8]>::to_vec).collect();
            let lens: Vec<_> = frames.iter().map(Vec::len).collect();
            // What the last round left, then the two of this one.
            assert!(matches!(lens[..], [12, 32, 12] | [32, 12]));
            assert_eq!(frames[frames.len() - 1][..3], [0, 0, n]);
            queue.consume_frames(frames.len() - 1);
        }
    }

    #[test]
    fn a_frame_over_the_mtu_is_dropped_not_queued() {
        let queue = queue_of(&[&[0; 33], b"fits"]);
        assert_eq!(queue.frames().collect::<Vec<_>>(), [b"fits"]);
    }
}
