//! The bounded queue in front of each peer of the switch: frames in wire framing.

use std::io;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Longest frame taken from a peer: QEMU's own limit is 4 KiB of headers and
/// 64 KiB of payload (`NET_BUFSIZE`).
pub(crate) const MAX_FRAME: usize = 4096 + 65536;

/// Bytes that wait for one peer: some 700 full frames. More would only add
/// latency that no real switch has.
const CAPACITY: usize = 1024 * 1024;

/// Frames that wait for one peer, each after its length as big-endian `u32`:
/// the very bytes that its socket wants, so a batch is written in one call.
#[derive(Debug, Default)]
pub(crate) struct Queue {
    state: Mutex<State>,
    ready: Condvar,
}

#[derive(Debug, Default)]
struct State {
    bytes: Vec<u8>,
    closed: bool,
}

/// What [`Queue::take`] came back with.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    /// At least one frame.
    Frames,
    /// The deadline passed.
    Nothing,
    /// Nothing will come any more.
    Closed,
}

impl Queue {
    /// Adds a frame, or returns `false` if it must be dropped: tail drop, like
    /// a switch whose buffer is full.
    pub(crate) fn push(&self, frame: &[u8]) -> bool {
        let mut state = self.lock();
        if state.closed || state.bytes.len() + 4 + frame.len() > CAPACITY {
            return false;
        }
        let was_empty = state.bytes.is_empty();
        let len = u32::try_from(frame.len()).unwrap_or(u32::MAX);
        state.bytes.extend_from_slice(&len.to_be_bytes());
        state.bytes.extend_from_slice(frame);
        drop(state);
        // Whoever found frames before sleeping did not sleep.
        if was_empty {
            self.ready.notify_one();
        }
        true
    }

    /// Waits for frames and swaps all of them into `batch`.
    pub(crate) fn take(&self, batch: &mut Vec<u8>, deadline: Option<Instant>) -> Taken {
        batch.clear();
        let mut state = self.lock();
        loop {
            if !state.bytes.is_empty() {
                std::mem::swap(&mut state.bytes, batch);
                return Taken::Frames;
            }
            if state.closed {
                return Taken::Closed;
            }
            state = match deadline {
                None => self
                    .ready
                    .wait(state)
                    .unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    if left.is_zero() {
                        return Taken::Nothing;
                    }
                    self.ready
                        .wait_timeout(state, left)
                        .unwrap_or_else(PoisonError::into_inner)
                        .0
                }
            };
        }
    }

    /// Ends the waiting of the reader once the queue is empty.
    pub(crate) fn close(&self) {
        self.lock().closed = true;
        self.ready.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Splits the first whole frame off a byte stream. `None` means: read more.
/// An error means that the peer does not speak this framing.
pub(crate) fn split_frame(bytes: &[u8]) -> io::Result<Option<(&[u8], &[u8])>> {
    let Some((len, rest)) = bytes.split_first_chunk::<4>() else {
        return Ok(None);
    };
    let len = u32::from_be_bytes(*len);
    match usize::try_from(len) {
        Ok(len) if len <= MAX_FRAME => Ok(rest.split_at_checked(len)),
        _ => Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame of {len} bytes: the peer does not speak QEMU's stream framing"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn frames_are_split_off_one_by_one() {
        let stream = [0, 0, 0, 2, 1, 2, 0, 0, 0, 1, 3, 0, 0];
        let (frame, rest) = split_frame(&stream).unwrap().unwrap();
        assert_eq!(frame, [1, 2]);
        let (frame, rest) = split_frame(rest).unwrap().unwrap();
        assert_eq!(frame, [3]);
        assert_eq!(split_frame(rest).unwrap(), None);
        assert!(split_frame(b"GET / HTTP/1.1").is_err());
    }

    #[test]
    fn a_full_queue_drops_its_tail_and_never_waits() {
        let queue = Queue::default();
        let frame = [7; 1500];
        let kept = (0..10_000).filter(|_| queue.push(&frame)).count();
        assert_eq!(kept, CAPACITY / 1504);
        let mut batch = Vec::new();
        assert_eq!(queue.take(&mut batch, None), Taken::Frames);
        assert_eq!(batch.len(), kept * 1504);
        let soon = Instant::now() + Duration::from_millis(1);
        assert_eq!(queue.take(&mut batch, Some(soon)), Taken::Nothing);
        queue.close();
        assert_eq!(queue.take(&mut batch, None), Taken::Closed);
        assert!(!queue.push(&frame));
    }
}
