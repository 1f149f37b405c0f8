//! What the kernel does for us with TCP, through the `virtio_net_hdr` before
//! each frame of a packet socket or TAP device.
//!
//! - Frames from a neighbour on the same machine come without a checksum that
//!   was never needed, and several segments may come as one frame. Both are
//!   made whole before the stack sees them.
//! - The stack may send TCP segments of up to 64 KB. The kernel, or the
//!   network card, cuts them up and fills the checksums in. It fills in those
//!   of UDP datagrams, too, and cuts up [runs](super::run) of them.
//!
//! For TCP the stack is told an MTU of [`LARGE_MTU`], and the MSS
//! option of SYN segments is rewritten on the way: incoming ones announce a
//! large MSS in place of a full-sized one, outgoing ones the real one.

use super::LARGE_SEGMENT;

/// Bytes of a `virtio_net_hdr`, native byte order.
pub(super) const HEADER: usize = 10;

/// The MTU that the stack sees.
pub(super) const LARGE_MTU: usize = LARGE_SEGMENT + IP_AND_TCP;

/// Bytes of an Ethernet header.
pub(super) const ETHERNET: usize = 14;

/// Bytes of IPv4 and TCP headers without options, which an MSS leaves out
/// (RFC 9293 §3.7.1).
const IP_AND_TCP: usize = 40;

// virtio 1.2 §5.1.6.
const NEEDS_CHECKSUM: u8 = 1;
const GSO_NONE: u8 = 0;
const GSO_TCPV4: u8 = 1;
const GSO_TCPV6: u8 = 4;
/// Since Linux 6.2 for packet sockets, and not in virtio's text.
const GSO_UDP_L4: u8 = 5;
const GSO_ECN: u8 = 0x80;

const CHECKSUM_IN_TCP: usize = 16;
const CHECKSUM_IN_UDP: usize = 6;
const TCP: u8 = 6;
const UDP: u8 = 17;
const UDP_HEADER: usize = 8;
const SYN: u8 = 0x02;

/// Makes a frame that came in whole. Returns whether the stack can use it.
///
/// `mtu` is the interface's.
pub(super) fn receive(header: &[u8; HEADER], frame: &mut [u8], mtu: usize) -> bool {
    let [flags, gso, _, _, _, _, start_0, start_1, offset_0, offset_1] = *header;
    if flags & NEEDS_CHECKSUM != 0 {
        let start = u16::from_ne_bytes([start_0, start_1]).into();
        let offset = u16::from_ne_bytes([offset_0, offset_1]).into();
        if fill_checksum(frame, start, offset).is_none() {
            return false;
        }
    }
    // UDP datagrams merged into one frame cannot be told apart any more.
    if !matches!(gso & !GSO_ECN, GSO_NONE | GSO_TCPV4 | GSO_TCPV6) {
        return false;
    }
    if let Some(segment) = Segment::parse(frame)
        && frame[segment.tcp + 13] & SYN != 0
        // A damaged segment must not get a valid checksum from us.
        && segment.sum(frame) == 0xffff
    {
        let full_sized = mtu - IP_AND_TCP;
        segment.rewrite_mss(frame, |mss| {
            if usize::from(mss) >= full_sized {
                LARGE_SEGMENT as u16
            } else {
                // Cut to what this peer takes, so never cut again.
                mss
            }
        });
        segment.set_checksum(frame, 0);
        let sum = segment.sum(frame);
        segment.set_checksum(frame, !sum);
    }
    true
}

/// Fills in the header of a frame that goes out. Returns whether it can.
///
/// The stack leaves TCP and UDP checksums to this; `mtu` is the interface's.
pub(super) fn send(header: &mut [u8; HEADER], frame: &mut [u8], mtu: usize) -> bool {
    *header = [0; HEADER];
    let Some(segment) = Segment::parse(frame) else {
        if let Some(udp) = open_udp(frame) {
            leave_udp_checksum(header, frame, udp);
        }
        return frame.len() <= ETHERNET + mtu;
    };
    if frame[segment.tcp + 13] & SYN != 0 {
        segment.rewrite_mss(frame, |mss| mss.min((mtu - IP_AND_TCP) as u16));
    }
    segment.set_checksum(frame, segment.pseudo_header_sum(frame));
    leave_checksum(header, segment.tcp, CHECKSUM_IN_TCP);
    if frame.len() > ETHERNET + mtu {
        let mss = (mtu + ETHERNET).saturating_sub(segment.payload);
        leave_cutting(header, GSO_TCPV4, segment.payload, mss);
    }
    true
}

/// Fills in the header of a run of UDP datagrams, whose Ethernet, IPv4 and UDP
/// headers these are: the kernel cuts the payload into pieces of `size`.
pub(super) fn send_run(header: &mut [u8; HEADER], headers: &mut [u8], size: usize) {
    const UDP_AT: usize = ETHERNET + 20;
    *header = [0; HEADER];
    leave_udp_checksum(header, headers, UDP_AT);
    leave_cutting(header, GSO_UDP_L4, UDP_AT + UDP_HEADER, size);
}

/// Has the kernel complete a checksum.
fn leave_checksum(header: &mut [u8; HEADER], start: usize, offset: usize) {
    header[0] = NEEDS_CHECKSUM;
    header[6..8].copy_from_slice(&(start as u16).to_ne_bytes());
    header[8..10].copy_from_slice(&(offset as u16).to_ne_bytes());
}

/// Has the kernel cut the payload, which begins behind `headers` bytes, into
/// pieces of `size`.
fn leave_cutting(header: &mut [u8; HEADER], kind: u8, headers: usize, size: usize) {
    header[1] = kind;
    header[2..4].copy_from_slice(&(headers as u16).to_ne_bytes());
    header[4..6].copy_from_slice(&(size as u16).to_ne_bytes());
}

/// Has the kernel complete the checksum of a UDP datagram at `udp`.
fn leave_udp_checksum(header: &mut [u8; HEADER], frame: &mut [u8], udp: usize) {
    let addresses = sum(&frame[ETHERNET + 12..ETHERNET + 20]);
    let length = u16::from_be_bytes([frame[udp + 4], frame[udp + 5]]);
    let pseudo_header = fold(addresses + u64::from(UDP) + u64::from(length));
    let at = udp + CHECKSUM_IN_UDP;
    frame[at..at + 2].copy_from_slice(&pseudo_header.to_be_bytes());
    leave_checksum(header, udp, CHECKSUM_IN_UDP);
}

/// Where the UDP header is in a frame whose checksum the stack left open: 0
/// says so. What DHCP sends is complete, and stays so: some clients read it off
/// the link before the kernel has seen to it.
fn open_udp(frame: &[u8]) -> Option<usize> {
    let (protocol, udp) = whole_ipv4(frame)?;
    let header = frame.get(udp..udp + UDP_HEADER)?;
    (protocol == UDP && header[CHECKSUM_IN_UDP..] == [0, 0]).then_some(udp)
}

/// The protocol of an IPv4 packet that is no fragment, and where its payload
/// begins.
fn whole_ipv4(frame: &[u8]) -> Option<(u8, usize)> {
    let ip = frame.get(ETHERNET..)?;
    let protocol = *ip.get(9)?;
    let is_whole = frame[12..14] == [0x08, 0x00]
        && ip[0] >> 4 == 4
        && ip[0] & 15 >= 5
        && u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff == 0;
    is_whole.then_some((protocol, ETHERNET + usize::from(ip[0] & 15) * 4))
}

/// Where the parts of an IPv4 TCP segment are in a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Segment {
    tcp: usize,
    payload: usize,
    /// Without the padding that short frames have.
    end: usize,
}

impl Segment {
    fn parse(frame: &[u8]) -> Option<Self> {
        let (protocol, tcp) = whole_ipv4(frame)?;
        let end = ETHERNET + usize::from(u16::from_be_bytes([frame[16], frame[17]]));
        if protocol != TCP || end > frame.len() || tcp + 20 > end {
            return None;
        }
        let payload = tcp + usize::from(frame[tcp + 12] >> 4) * 4;
        (payload >= tcp + 20 && payload <= end).then_some(Self { tcp, payload, end })
    }

    /// The folded sum of the pseudo-header (RFC 9293 §3.1).
    fn pseudo_header_sum(&self, frame: &[u8]) -> u16 {
        let addresses = sum(&frame[ETHERNET + 12..ETHERNET + 20]);
        fold(addresses + u64::from(TCP) + (self.end - self.tcp) as u64)
    }

    /// The folded sum of everything the checksum covers, itself included:
    /// 0xffff if it is right.
    fn sum(&self, frame: &[u8]) -> u16 {
        fold(u64::from(self.pseudo_header_sum(frame)) + sum(&frame[self.tcp..self.end]))
    }

    fn set_checksum(&self, frame: &mut [u8], checksum: u16) {
        let at = self.tcp + CHECKSUM_IN_TCP;
        frame[at..at + 2].copy_from_slice(&checksum.to_be_bytes());
    }

    fn rewrite_mss(&self, frame: &mut [u8], rewrite: impl Fn(u16) -> u16) {
        let options = &mut frame[self.tcp + 20..self.payload];
        let mut at = 0;
        while let Some(option) = options.get_mut(at..) {
            at += match option {
                // Maximum segment size.
                [2, 4, high, low, ..] => {
                    let mss = rewrite(u16::from_be_bytes([*high, *low]));
                    [*high, *low] = mss.to_be_bytes();
                    return;
                }
                // End of options.
                [] | [0, ..] => return,
                // No-operation.
                [1, ..] => 1,
                [_, length, ..] if *length >= 2 => usize::from(*length),
                _ => return,
            };
        }
    }
}

/// Completes a checksum whose field holds the pseudo-header's sum.
fn fill_checksum(frame: &mut [u8], start: usize, offset: usize) -> Option<()> {
    let checksum = !fold(sum(frame.get(start..)?));
    // In UDP, 0 would mean that there is no checksum (RFC 768).
    let checksum = match (checksum, offset) {
        (0, CHECKSUM_IN_UDP) => 0xffff,
        _ => checksum,
    };
    frame
        .get_mut(start + offset..start + offset + 2)?
        .copy_from_slice(&checksum.to_be_bytes());
    Some(())
}

/// The ones' complement sum of big-endian words (RFC 1071), not yet folded.
pub(super) fn sum(bytes: &[u8]) -> u64 {
    let words = bytes.chunks_exact(4);
    let rest = match *words.remainder() {
        [a, b, c] => u32::from_be_bytes([a, b, c, 0]),
        [a, b] => u32::from_be_bytes([a, b, 0, 0]),
        [a] => u32::from_be_bytes([a, 0, 0, 0]),
        _ => 0,
    };
    words
        .map(|word| u64::from(u32::from_be_bytes([word[0], word[1], word[2], word[3]])))
        .sum::<u64>()
        + u64::from(rest)
}

pub(super) fn fold(mut sum: u64) -> u16 {
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    sum as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    const MTU: usize = 1500;

    /// A TCP segment with a valid checksum: IPv4 header, `options` (a multiple
    /// of four bytes) and `payload`.
    fn tcp(flags: u8, options: &[u8], payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![0; ETHERNET + 40];
        frame[12..14].copy_from_slice(&[0x08, 0x00]);
        frame[14] = 0x45;
        frame[23] = TCP;
        frame[26..34].copy_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2]);
        frame[46] = (5 + options.len() as u8 / 4) << 4;
        frame[47] = flags;
        frame.extend_from_slice(options);
        frame.extend_from_slice(payload);
        let ip_length = (frame.len() - ETHERNET) as u16;
        frame[16..18].copy_from_slice(&ip_length.to_be_bytes());
        let segment = Segment::parse(&frame).unwrap();
        let sum = segment.sum(&frame);
        segment.set_checksum(&mut frame, !sum);
        assert!(is_valid(&frame));
        frame
    }

    fn is_valid(frame: &[u8]) -> bool {
        Segment::parse(frame).unwrap().sum(frame) == 0xffff
    }

    fn mss(frame: &[u8]) -> u16 {
        let mut frame = frame.to_vec();
        let seen = std::cell::Cell::new(0);
        let segment = Segment::parse(&frame).unwrap();
        segment.rewrite_mss(&mut frame, |mss| seen.replace(mss).max(mss));
        seen.get()
    }

    #[test]
    fn a_full_sized_mss_is_lifted_and_a_smaller_one_is_kept() {
        let large = LARGE_SEGMENT as u16;
        for (options, want) in [
            (&[2, 4, 0x05, 0xb4][..], large),         // 1460
            (&[1, 2, 4, 0x05, 0xb4, 0, 0, 0], large), // at an odd place
            (&[4, 2, 1, 1, 2, 4, 0x22, 0xf4], large), // 8948, a jumbo frame
            (&[3, 3, 7, 1, 2, 4, 0x05, 0x78], 1400),  // behind a tunnel
            (&[0, 0, 0, 0], 0),                       // none
            (&[2, 3, 0, 0], 0),                       // broken
            (&[8, 40, 0, 0], 0),                      // longer than the header
        ] {
            let mut frame = tcp(SYN, options, b"");
            assert!(receive(&[0; HEADER], &mut frame, MTU));
            assert_eq!(mss(&frame), want, "{options:?}");
            assert!(is_valid(&frame), "{options:?}");
        }
    }

    #[test]
    fn a_damaged_syn_stays_damaged() {
        let mut frame = tcp(SYN, &[2, 4, 0x05, 0xb4], b"");
        frame[40] ^= 1;
        let before = frame.clone();
        assert!(receive(&[0; HEADER], &mut frame, MTU));
        assert_eq!(frame, before);
    }

    #[test]
    fn our_own_syn_announces_the_real_mss() {
        let mut frame = tcp(SYN, &[2, 4, 0xf9, 0xd8], b"");
        let mut header = [0xff; HEADER];
        assert!(send(&mut header, &mut frame, MTU));
        assert_eq!(mss(&frame), 1460);
        // And the receiving side completes what the sending side left open.
        assert!(receive(&header, &mut frame, MTU));
        assert!(is_valid(&frame));
    }

    #[test]
    fn checksums_left_open_are_completed() {
        let whole = tcp(0x10, &[], b"odd length!");
        let mut frame = whole.clone();
        Segment::parse(&frame).unwrap().set_checksum(&mut frame, 0);
        let mut header = [0; HEADER];
        assert!(send(&mut header, &mut frame, MTU));
        assert_eq!(header[1], GSO_NONE);
        assert_ne!(frame, whole);
        assert!(receive(&header, &mut frame, MTU));
        assert_eq!(frame, whole);
    }

    #[test]
    fn large_segments_are_marked_for_cutting_up() {
        let mut header = [0; HEADER];
        let mut frame = tcp(0x18, &[1, 1, 1, 1], &[7; 40_000]);
        assert!(send(&mut header, &mut frame, MTU));
        assert_eq!(header[1], GSO_TCPV4);
        let headers = u16::from_ne_bytes([header[2], header[3]]);
        assert_eq!(usize::from(headers), ETHERNET + 44);
        // Headers and one piece fill a frame.
        assert_eq!(u16::from_ne_bytes([header[4], header[5]]), 1456);
    }

    #[test]
    fn a_udp_checksum_is_completed_only_where_it_was_left_open() {
        let mut whole = vec![0; ETHERNET + 20];
        whole[12..14].copy_from_slice(&[0x08, 0x00]);
        whole[14] = 0x45;
        whole[23] = UDP;
        whole[26..34].copy_from_slice(&[192, 0, 2, 1, 192, 0, 2, 2]);
        // Ports 69 and 1024, 13 bytes; the checksum by hand.
        whole.extend_from_slice(&[0, 69, 4, 0, 0, 13, 0, 0]);
        whole.extend_from_slice(b"\0\x03\0\x01!");
        let sum = 0xc000 + 0x0201 + 0xc000 + 0x0202 + 17 + 13;
        let sum = sum + 69 + 0x0400 + 13 + 3 + 1 + 0x2100;
        let checksum = !fold(sum);
        let mut open = whole.clone();
        whole[40..42].copy_from_slice(&checksum.to_be_bytes());

        let mut header = [0xff; HEADER];
        assert!(send(&mut header, &mut open, MTU));
        assert_eq!(header[..2], [NEEDS_CHECKSUM, GSO_NONE]);
        assert!(receive(&header, &mut open, MTU));
        assert_eq!(open, whole);
        assert!(send(&mut header, &mut open, MTU));
        assert_eq!((header, open), ([0; HEADER], whole));
    }

    #[test]
    fn other_long_frames_and_merged_datagrams_are_refused() {
        let mut header = [0; HEADER];
        assert!(send(&mut header, &mut [0; ETHERNET + MTU], MTU));
        assert!(!send(&mut header, &mut [0; ETHERNET + MTU + 1], MTU));
        let merged_udp = [0, 5, 0, 0, 0, 0, 0, 0, 0, 0];
        assert!(!receive(&merged_udp, &mut [0; 60], MTU));
        let beyond = [NEEDS_CHECKSUM, 0, 0, 0, 0, 0, 59, 0, 16, 0];
        assert!(!receive(&beyond, &mut [0; 60], MTU));
    }

    #[test]
    fn nothing_that_comes_in_panics() {
        // Every length, and every header length in it.
        for len in 0..100 {
            for (ihl, data_offset) in (0..16).flat_map(|a| (0..16).map(move |b| (a, b))) {
                let mut frame = tcp(SYN, &[2, 4, 0x05, 0xb4], &[0; 100]);
                frame.truncate(len);
                for (at, value) in [(14, 0x40 | ihl), (46, data_offset << 4)] {
                    if let Some(byte) = frame.get_mut(at) {
                        *byte = value;
                    }
                }
                receive(&[1, 1, 0, 0, 0, 0, 34, 0, 16, 0], &mut frame, MTU);
                send(&mut [0; HEADER], &mut frame, MTU);
            }
        }
    }
}
