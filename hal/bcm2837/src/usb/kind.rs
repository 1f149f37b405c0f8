//! What differs between the real controller and the one that QEMU has.

/// Upper half of GSNPSID on every DWC2: "OT" in a hexadecimal joke.
const DWC2: u32 = 0x4F54;
/// QEMU's `-M raspi3b` claims to be version 2.94a; the BCM2837 has 2.80a.
const QEMU: u32 = 0x4F54_294A;

/// Which controller this is, and so how transfers are cut into channel starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// The silicon (GSNPSID 0x4F54280A on the BCM2837): it moves any number of
    /// packets per channel start at the speed of the bus.
    Silicon,
    /// QEMU's model of it.
    ///
    /// A transfer of at most 1,536 bytes is moved there packet by packet off a
    /// timer of 250 µs: a frame of 1,514 bytes to a full-speed device takes
    /// 30 ms. The first packet of a start is moved at once, though, so the same
    /// frame as 24 starts takes 0.4 ms. Larger transfers go in one piece. A
    /// bulk IN should therefore ask for 2,048 bytes or more.
    ///
    /// Disabling a channel there reports it halted, but a transfer that is
    /// being refused (NAK) goes on trying and may still write its buffer.
    Qemu,
}

/// Largest transfer that QEMU moves packet by packet.
const QEMU_SMALL: usize = 1536;
/// Largest that it moves at all; more makes the channel hang.
const QEMU_LARGEST: usize = 65_536;
/// HCTSIZ.PKTCNT has ten bits.
const MOST_PACKETS: usize = 1023;

impl Kind {
    /// Reads GSNPSID's value; `None` if it is no DWC2.
    pub const fn of(id: u32) -> Option<Self> {
        match id {
            QEMU => Some(Self::Qemu),
            _ if id >> 16 == DWC2 => Some(Self::Silicon),
            _ => None,
        }
    }

    /// How many bytes the next channel start takes of `left`, for an endpoint
    /// of `max_packet` bytes: a multiple of it, or all that is left.
    pub(super) const fn per_start(self, left: usize, max_packet: usize, room: usize) -> usize {
        let most = match self {
            Self::Silicon => MOST_PACKETS * max_packet,
            Self::Qemu if left <= QEMU_SMALL => max_packet,
            Self::Qemu => {
                if MOST_PACKETS * max_packet < QEMU_LARGEST {
                    MOST_PACKETS * max_packet
                } else {
                    QEMU_LARGEST
                }
            }
        };
        let most = if most < room { most } else { room };
        // Whole packets, unless it is the end.
        let whole = most - most % max_packet;
        if left < whole { left } else { whole }
    }

    /// Whether nothing more comes from a channel that was told to halt and
    /// says that it did.
    pub(super) const fn halt_is_final(self) -> bool {
        matches!(self, Self::Silicon)
    }

    /// Whether a channel that shows no answer of the device for a long time is
    /// dead. QEMU shows none while a device behind a socket makes up its mind,
    /// and a channel disabled then may bring QEMU down when it is used again.
    pub(super) const fn silence_is_death(self) -> bool {
        matches!(self, Self::Silicon)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_id_tells_the_controller() {
        assert_eq!(Kind::of(0x4F54_280A), Some(Kind::Silicon));
        assert_eq!(Kind::of(0x4F54_294A), Some(Kind::Qemu));
        assert_eq!(Kind::of(0), None);
        assert_eq!(Kind::of(0xFFFF_FFFF), None);
    }

    #[test]
    fn transfers_are_cut_as_the_controller_likes_them() {
        let room = 20 * 1024;
        for (kind, left, max_packet, expected) in [
            (Kind::Silicon, 1514, 512, 1514),
            (Kind::Silicon, 1514, 64, 1514),
            (Kind::Silicon, 100_000, 512, 20_480),
            (Kind::Silicon, 100_000, 8, 1023 * 8),
            (Kind::Qemu, 1514, 64, 64),
            (Kind::Qemu, 1536, 512, 512),
            (Kind::Qemu, 42, 64, 42),
            (Kind::Qemu, 2048, 64, 2048),
            (Kind::Qemu, 0, 64, 0),
        ] {
            assert_eq!(
                kind.per_start(left, max_packet, room),
                expected,
                "{kind:?} {left} by {max_packet}"
            );
        }
        assert_eq!(Kind::Qemu.per_start(200_000, 512, 1 << 20), 65_536);
        assert_eq!(Kind::Silicon.per_start(5000, 1000, 2048), 2000);
    }
}
