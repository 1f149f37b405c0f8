//! A queue of packets of any length in one flat buffer.

use core::cell::{Cell, RefCell};

/// Bytes before each packet: its length.
const LENGTH: usize = size_of::<u32>();

/// Packets in the order they came. What is short costs little room, and a
/// queue that is emptied time and again stays at the buffer's begin, where the
/// processor's cache knows it.
pub(super) struct PacketQueue<const BYTES: usize> {
    buffer: RefCell<[u8; BYTES]>,
    start: Cell<usize>,
    end: Cell<usize>,
}

impl<const BYTES: usize> PacketQueue<BYTES> {
    /// An empty queue.
    pub(super) const fn new() -> Self {
        Self {
            buffer: RefCell::new([0; BYTES]),
            start: Cell::new(0),
            end: Cell::new(0),
        }
    }

    /// Copies a packet in; returns whether there was room for it.
    pub(super) fn push(&self, packet: &[u8]) -> bool {
        let buffer = &mut *self.buffer.borrow_mut();
        let (mut start, mut end) = (self.start.get(), self.end.get());
        let Ok(length) = u32::try_from(packet.len()) else {
            return false;
        };
        let total = LENGTH + packet.len();
        if BYTES - end < total {
            buffer.copy_within(start..end, 0);
            (start, end) = (0, end - start);
        }
        self.start.set(start);
        self.end.set(end);
        let Some(entry) = buffer.get_mut(end..end + total) else {
            return false;
        };
        let (head, body) = entry.split_at_mut(LENGTH);
        head.copy_from_slice(&length.to_ne_bytes());
        body.copy_from_slice(packet);
        self.end.set(end + total);
        true
    }

    /// Hands the oldest packet to `take` and removes it; an empty one if none
    /// waits.
    pub(super) fn pop_with<R>(&self, take: impl FnOnce(&mut [u8]) -> R) -> R {
        let (start, end) = (self.start.get(), self.end.get());
        let buffer = &mut *self.buffer.borrow_mut();
        let Some((head, rest)) = buffer[start..end].split_first_chunk_mut::<LENGTH>() else {
            return take(&mut []);
        };
        let length = u32::from_ne_bytes(*head) as usize;
        let result = take(&mut rest[..length]);
        let next = start + LENGTH + length;
        if next == end {
            self.start.set(0);
            self.end.set(0);
        } else {
            self.start.set(next);
        }
        result
    }

    /// Whether no packet waits.
    pub(super) fn is_empty(&self) -> bool {
        self.start.get() == self.end.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pop<const BYTES: usize>(queue: &PacketQueue<BYTES>) -> Option<Vec<u8>> {
        let waits = !queue.is_empty();
        let packet = queue.pop_with(|packet| packet.to_vec());
        assert!(waits || packet.is_empty());
        waits.then_some(packet)
    }

    #[test]
    fn packets_come_out_in_order_however_the_buffer_is_reused() {
        let queue = PacketQueue::<64>::new();
        let (mut pushed, mut popped) = (0u8, 0u8);
        for round in 0..200usize {
            for _ in 0..round % 4 {
                if queue.push(&vec![pushed; 1 + usize::from(pushed) % 20]) {
                    pushed = pushed.wrapping_add(1);
                }
            }
            for _ in 0..round % 3 {
                if let Some(packet) = pop(&queue) {
                    assert_eq!(packet, vec![popped; 1 + usize::from(popped) % 20]);
                    popped = popped.wrapping_add(1);
                }
            }
        }
        while pop(&queue).is_some() {
            popped = popped.wrapping_add(1);
        }
        assert!(pushed > 20 && pushed == popped, "{pushed} {popped}");
        assert!(queue.is_empty());
    }

    #[test]
    fn what_does_not_fit_is_refused_and_harms_nothing() {
        let queue = PacketQueue::<32>::new();
        assert!(!queue.push(&[1; 29]));
        assert!(queue.push(&[2; 28]));
        assert!(!queue.push(&[]));
        assert_eq!(pop(&queue), Some(vec![2; 28]));
        assert!(queue.push(&[]));
        assert_eq!(pop(&queue), Some(vec![]));
        assert_eq!(pop(&queue), None);
    }
}
