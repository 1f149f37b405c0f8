//! Runs of UDP datagrams that the kernel takes as one frame and cuts up.
//!
//! A TFTP window is a row of datagrams of one flow and one size, but for the
//! last. With `VIRTIO_NET_HDR_GSO_UDP_L4` such a run goes through the kernel
//! once: the headers of its first datagram, made to cover the whole run, and
//! then the payloads of all. The kernel, or the network card, gives each piece
//! its headers back. On the wire nothing differs but the IPv4 identification,
//! which means nothing where fragments are forbidden (RFC 6864 §4.1).

use super::offload::{self, ETHERNET, HEADER};

/// Bytes of an IPv4 header without options.
const IPV4: usize = 20;

/// Bytes before the payload of a queued datagram, `virtio_net_hdr` included.
const HEADERS: usize = HEADER + ETHERNET + IPV4 + 8;

/// Datagrams that are worth it: to cut up a few costs the kernel more than to
/// send them one by one, and the client waits longer for the first.
const LEAST: usize = 8;

/// Datagrams in one run: `UDP_MAX_SEGMENTS` of the first kernels that do this.
const MAX_DATAGRAMS: usize = 64;

/// Bytes of payload in one run: the limit of an IPv4 packet.
const MAX_PAYLOAD: usize = 65_535 - IPV4 - 8;

// Where things are in a queued datagram.
const IP: usize = HEADER + ETHERNET;
const UDP: usize = IP + IPV4;

/// Frames at the front of a queue that go out with one message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// How many frames there are, at least one.
    pub(super) frames: usize,
    /// Zeroes unless there are several.
    headers: [u8; HEADERS],
}

impl Run {
    /// Takes as many as belong together, up to `limit`, from queued frames that
    /// begin with a `virtio_net_hdr`.
    pub(super) fn first<'a>(
        mut frames: impl Iterator<Item = &'a [u8]>,
        limit: usize,
    ) -> Option<Self> {
        let first = frames.next()?;
        let mut run = Self {
            frames: 1,
            headers: [0; HEADERS],
        };
        let Some((headers, payload)) = datagram(first) else {
            return Some(run);
        };
        let size = payload.len();
        let mut total = size;
        for frame in frames.take(limit.min(MAX_DATAGRAMS).saturating_sub(1)) {
            let Some((others, payload)) = datagram(frame) else {
                break;
            };
            if !same_flow(headers, others)
                || payload.len() > size
                || total + payload.len() > MAX_PAYLOAD
            {
                break;
            }
            run.frames += 1;
            total += payload.len();
            if payload.len() < size {
                break;
            }
        }
        if run.frames < LEAST {
            run.frames = 1;
        } else {
            run.headers = *headers;
            cover(&mut run.headers, size, total);
        }
        Some(run)
    }

    /// What takes the place of the headers of each frame, if there are several.
    pub(super) fn headers(&self) -> Option<&[u8; HEADERS]> {
        (self.frames > 1).then_some(&self.headers)
    }

    /// How many pieces the message is gathered from.
    pub(super) fn pieces(&self) -> usize {
        self.frames + usize::from(self.frames > 1)
    }
}

/// Whether a queued frame is a UDP datagram that [`Run`] knows how to treat.
pub(super) fn is_datagram(frame: &[u8]) -> bool {
    datagram(frame).is_some()
}

/// The headers and the payload of a frame that may be part of a run: a whole
/// IPv4 packet without options that must not be fragmented, with a UDP
/// datagram that is not empty, and nothing behind it.
fn datagram(frame: &[u8]) -> Option<(&[u8; HEADERS], &[u8])> {
    const UDP_PROTOCOL: u8 = 17;
    let (headers, payload) = frame.split_first_chunk::<HEADERS>()?;
    let word = |at: usize| usize::from(u16::from_be_bytes([headers[at], headers[at + 1]]));
    let fits = word(HEADER + 12) == 0x0800
        && headers[IP] == 0x45
        && word(IP + 2) == frame.len() - IP
        && word(IP + 6) == 0x4000
        && headers[IP + 9] == UDP_PROTOCOL
        && word(UDP + 4) == frame.len() - UDP
        && !payload.is_empty();
    fits.then_some((headers, payload))
}

/// Whether two headers differ in lengths, checksums and identification only.
fn same_flow(one: &[u8; HEADERS], other: &[u8; HEADERS]) -> bool {
    // Ethernet header, version and type of service; flags, time to live and
    // protocol; addresses and ports.
    [HEADER..IP + 2, IP + 6..IP + 10, IP + 12..UDP + 4]
        .into_iter()
        .all(|part| one[part.clone()] == other[part])
}

/// Makes the headers of one datagram those of a run: `total` bytes of payload
/// to be cut into pieces of `size`.
fn cover(headers: &mut [u8; HEADERS], size: usize, total: usize) {
    // Both are below 65,536, as `MAX_PAYLOAD` is.
    let length = |bytes: usize| (bytes as u16).to_be_bytes();
    headers[IP + 2..IP + 4].copy_from_slice(&length(IPV4 + 8 + total));
    headers[IP + 10..IP + 12].fill(0);
    let checksum = !offload::fold(offload::sum(&headers[IP..UDP]));
    headers[IP + 10..IP + 12].copy_from_slice(&checksum.to_be_bytes());
    headers[UDP + 4..UDP + 6].copy_from_slice(&length(8 + total));
    let (header, frame) = headers.split_at_mut(HEADER);
    if let Some(header) = header.first_chunk_mut() {
        offload::send_run(header, frame, size);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: usize = 1500;

    /// A datagram as the stack queues it: its checksum left open.
    fn queued(payload: &[u8]) -> Vec<u8> {
        let mut packet = vec![0; HEADERS];
        packet[HEADER..IP].copy_from_slice(&[2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1, 8, 0]);
        packet[IP..IP + 10].copy_from_slice(&[0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17]);
        packet[IP + 12..UDP].copy_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2]);
        packet[UDP..UDP + 4].copy_from_slice(&[0xc0, 1, 0xd0, 2]);
        packet.extend_from_slice(payload);
        set_lengths(&mut packet);
        let (header, frame) = packet.split_first_chunk_mut().unwrap();
        assert!(offload::send(header, frame, MTU));
        packet
    }

    fn set_lengths(packet: &mut [u8]) {
        let (ip, udp) = ((packet.len() - IP) as u16, (packet.len() - UDP) as u16);
        packet[IP + 2..IP + 4].copy_from_slice(&ip.to_be_bytes());
        packet[UDP + 4..UDP + 6].copy_from_slice(&udp.to_be_bytes());
        packet[IP + 10..IP + 12].fill(0);
        let checksum = !offload::fold(offload::sum(&packet[IP..UDP]));
        packet[IP + 10..IP + 12].copy_from_slice(&checksum.to_be_bytes());
    }

    /// The frame that a neighbour gets, its checksums complete.
    fn on_the_wire(packet: &[u8]) -> Vec<u8> {
        let mut packet = packet.to_vec();
        let (header, frame) = packet.split_first_chunk_mut().unwrap();
        assert!(offload::receive(header, frame, MTU));
        let frame = frame.to_vec();
        assert_eq!(offload::fold(offload::sum(&frame[14..34])), 0xffff);
        // The pseudo-header (RFC 768): addresses, protocol and length.
        let pseudo_header = offload::sum(&frame[26..34]) + 17 + (frame.len() - 34) as u64;
        let sum = offload::fold(pseudo_header + offload::sum(&frame[34..]));
        assert_eq!(sum, 0xffff, "the UDP checksum");
        frame
    }

    /// What the kernel makes of a message (Linux's `__udp_gso_segment`).
    fn cut(message: &[u8]) -> Vec<Vec<u8>> {
        let (headers, payload) = message.split_first_chunk::<HEADERS>().unwrap();
        let word = |at: usize| u16::from_ne_bytes([headers[at], headers[at + 1]]);
        let long = |at: usize| u64::from(u16::from_be_bytes([headers[at], headers[at + 1]]));
        assert_eq!(headers[..2], [1, 5]);
        // Where the payload begins; where the checksum begins, and its place.
        assert_eq!([word(2), word(6), word(8)], [42, 34, 6]);
        assert_eq!(offload::fold(offload::sum(&headers[IP..UDP])), 0xffff);
        assert_eq!(long(IP + 2) as usize, message.len() - IP);
        assert_eq!(long(UDP + 4) as usize, message.len() - UDP);
        let pieces = payload.chunks(usize::from(word(4))).map(|payload| {
            let mut piece = [&headers[..], payload].concat();
            set_lengths(&mut piece);
            // The sum that was left there covers the length of the whole.
            let sum = long(UDP + 6) + (0xffff - long(UDP + 4)) + (8 + payload.len() as u64);
            piece[UDP + 6..UDP + 8].copy_from_slice(&offload::fold(sum).to_be_bytes());
            piece[1] = 0;
            piece
        });
        pieces.collect()
    }

    fn first(frames: &[Vec<u8>], limit: usize) -> Run {
        Run::first(frames.iter().map(Vec::as_slice), limit).unwrap()
    }

    #[test]
    fn a_run_reaches_the_wire_as_the_datagrams_it_was_made_of() {
        for (size, count, last) in [
            (1472, 16, 1472),
            (1472, 16, 1),
            (516, 64, 300),
            (7, LEAST, 7),
            // As many as an IPv4 packet holds.
            (1472, 44, 700),
        ] {
            let frames: Vec<_> = (0..count)
                .map(|n| if n + 1 < count { size } else { last })
                .zip(1_u8..)
                .map(|(size, n)| queued(&(0..size).map(|at| n ^ at as u8).collect::<Vec<_>>()))
                .collect();
            let run = first(&frames, 100);
            assert_eq!((run.frames, run.pieces()), (count, count + 1));
            let mut message = run.headers().unwrap().to_vec();
            for frame in &frames {
                message.extend_from_slice(&frame[HEADERS..]);
            }
            let (got, want) = (cut(&message), frames);
            assert_eq!(got.len(), want.len());
            for (got, want) in got.iter().zip(&want) {
                assert_eq!(on_the_wire(got), on_the_wire(want));
            }
        }
    }

    #[test]
    fn a_run_ends_where_the_flow_or_the_size_changes() {
        let full = || queued(&[1; 1000]);
        let altered = |at: usize, value: u8| {
            let mut packet = full();
            packet[at] = value;
            packet
        };
        let padded = [full(), vec![0; 4]].concat();
        for (name, second, want) in [
            ("of the same size", full(), LEAST + 1),
            ("that is shorter", queued(&[1; 999]), LEAST),
            ("that is longer", queued(&[1; 1001]), 1),
            ("that is empty", queued(&[]), 1),
            ("to another machine's address", altered(HEADER, 6), 1),
            ("with another type of service", altered(IP + 1, 0xb8), 1),
            ("that may be fragmented", altered(IP + 6, 0), 1),
            ("that is a fragment", altered(IP + 6, 0x60), 1),
            ("with another time to live", altered(IP + 8, 1), 1),
            ("of TCP", altered(IP + 9, 6), 1),
            ("from another address", altered(IP + 15, 9), 1),
            ("to another address", altered(IP + 19, 9), 1),
            ("from another port", altered(UDP + 1, 9), 1),
            ("to another port", altered(UDP + 3, 9), 1),
            ("with options", altered(IP, 0x46), 1),
            ("that is not IPv4", altered(HEADER + 13, 6), 1),
            ("with padding", padded, 1),
            ("cut short", full()[..HEADERS - 1].to_vec(), 1),
        ] {
            // Just enough, if the last two belong to them.
            let mut frames = vec![full(); LEAST - 1];
            frames.extend([second.clone(), full()]);
            let run = first(&frames, 100);
            assert_eq!(run.frames, want, "a datagram {name}");
            assert_eq!(run.headers().is_some(), want > 1);
            // A frame that cannot be in a run can still go out alone.
            assert_eq!(first(&[second], 100).frames, 1, "a datagram {name}");
        }
    }

    #[test]
    fn a_run_is_no_longer_than_it_may_be() {
        for (size, limit, want) in [
            (100, 1, 1),
            (100, LEAST - 1, 1),
            (100, LEAST, LEAST),
            (100, 100, MAX_DATAGRAMS),
            (1472, 100, 44),
        ] {
            let frames = vec![queued(&vec![0; size]); 100];
            assert_eq!(first(&frames, limit).frames, want, "{size} bytes");
        }
        assert_eq!(Run::first(std::iter::empty(), 10), None);
    }
}
