//! Faults to order for frames that cross the switch: seeded, so that a failing run repeats.
//!
//! Each fault rolls its own dice for each pair of ports. Which frames of a
//! flow are hit therefore depends on the seed and on their number in that
//! flow alone, never on what other machines do at the same time.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::switch::PlugId;

/// A reordered frame goes on after this many later frames of its flow…
const OVERTAKEN_BY: u32 = 3;
/// …or after this time, when nothing follows it.
const OVERTAKE_WAIT: Duration = Duration::from_millis(10);
/// Frames held back at once; beyond it frames pass on time.
const MAX_HELD: usize = 4096;

type Matcher = Arc<dyn Fn(&[u8]) -> bool + Send + Sync>;

/// One kind of trouble for some of the frames.
#[derive(Clone)]
pub struct Fault {
    kind: Kind,
    chance: f64,
    seed: u64,
    from: Option<String>,
    to: Option<String>,
    only: Option<Matcher>,
    left: u64,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Drop,
    Duplicate,
    Reorder,
    Delay(Duration),
    Corrupt,
}

impl Fault {
    fn new(kind: Kind, chance: f64) -> Self {
        Self {
            kind,
            chance,
            seed: 0,
            from: None,
            to: None,
            only: None,
            left: u64::MAX,
        }
    }

    /// Loses a frame with the given chance (0.0 to 1.0).
    pub fn drop(chance: f64) -> Self {
        Self::new(Kind::Drop, chance)
    }

    /// Delivers a frame twice.
    pub fn duplicate(chance: f64) -> Self {
        Self::new(Kind::Duplicate, chance)
    }

    /// Lets up to three later frames of the same flow overtake a frame.
    pub fn reorder(chance: f64) -> Self {
        Self::new(Kind::Reorder, chance)
    }

    /// Delivers a frame later by `by`.
    pub fn delay(chance: f64, by: Duration) -> Self {
        Self::new(Kind::Delay(by), chance)
    }

    /// Flips one bit behind the Ethernet header.
    pub fn corrupt(chance: f64) -> Self {
        Self::new(Kind::Corrupt, chance)
    }

    /// What a bad cable does: loss of `chance`, and as much reordering.
    pub fn bad_cable(chance: f64, seed: u64) -> [Self; 2] {
        [
            Self::drop(chance).seed(seed),
            Self::reorder(chance).seed(seed + 1),
        ]
    }

    /// Chooses another sequence of dice.
    pub fn seed(self, seed: u64) -> Self {
        Self { seed, ..self }
    }

    /// Only frames that enter the switch from `name`.
    pub fn from(self, name: &str) -> Self {
        let from = Some(name.to_owned());
        Self { from, ..self }
    }

    /// Only frames on their way to `name`.
    pub fn to(self, name: &str) -> Self {
        let to = Some(name.to_owned());
        Self { to, ..self }
    }

    /// Only frames for which `matcher` says so.
    pub fn only(self, matcher: impl Fn(&[u8]) -> bool + Send + Sync + 'static) -> Self {
        let only: Option<Matcher> = Some(Arc::new(matcher));
        Self { only, ..self }
    }

    /// At most `count` frames, then never again.
    pub fn at_most(self, count: u64) -> Self {
        Self {
            left: count,
            ..self
        }
    }

    fn concerns(&self, from: &str, to: &str, frame: &[u8]) -> bool {
        self.left > 0
            && self.from.as_deref().is_none_or(|name| name == from)
            && self.to.as_deref().is_none_or(|name| name == to)
            && self.only.as_ref().is_none_or(|matches| matches(frame))
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} with chance {}", self.kind, self.chance)?;
        write!(f, " from {:?} to {:?}", self.from, self.to)
    }
}

/// What the faults do to one frame for one receiver.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    pub(crate) dropped: bool,
    pub(crate) duplicated: bool,
    reordered: bool,
    delay: Duration,
    /// A number that chooses the bit to flip.
    flip: Option<u64>,
}

impl Verdict {
    pub(crate) fn is_clean(&self) -> bool {
        *self == Self::default()
    }

    pub(crate) fn is_late(&self) -> bool {
        self.reordered || !self.delay.is_zero()
    }

    /// The frame as it goes on.
    pub(crate) fn corrupted(&self, frame: &[u8]) -> Vec<u8> {
        let mut frame = frame.to_vec();
        if let Some(flip) = self.flip
            && let Some(payload) = frame.get_mut(14..)
            && !payload.is_empty()
        {
            let bit = flip % (payload.len() as u64 * 8);
            payload[(bit / 8) as usize] ^= 1 << (bit % 8);
        }
        frame
    }

    /// Says in words what happens, for the capture.
    pub(crate) fn note(&self, to: &str, notes: &mut String) {
        let words = [
            (self.dropped, "dropped"),
            (self.duplicated, "duplicated"),
            (self.reordered, "reordered"),
            (!self.delay.is_zero(), "delayed"),
            (self.flip.is_some(), "corrupted"),
        ];
        for (_, word) in words.iter().filter(|(hit, _)| *hit) {
            // Writing to a String cannot fail.
            let _ = write!(notes, "{word} to {to}; ");
        }
    }
}

/// The faults in force, with their dice.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    rules: Vec<Rule>,
}

#[derive(Debug)]
struct Rule {
    fault: Fault,
    /// One sequence of dice for each pair of plugs.
    dice: HashMap<(PlugId, PlugId), Dice>,
}

impl Rules {
    pub(crate) fn push(&mut self, fault: Fault) {
        let dice = HashMap::new();
        self.rules.push(Rule { fault, dice });
    }

    pub(crate) fn clear(&mut self) {
        self.rules.clear();
    }

    pub(crate) fn forget(&mut self, plug: PlugId) {
        for rule in &mut self.rules {
            rule.dice
                .retain(|(from, to), _| *from != plug && *to != plug);
        }
    }

    pub(crate) fn judge(
        &mut self,
        (from, from_name): (PlugId, &str),
        (to, to_name): (PlugId, &str),
        frame: &[u8],
    ) -> Verdict {
        let mut verdict = Verdict::default();
        for Rule { fault, dice } in &mut self.rules {
            if !fault.concerns(from_name, to_name, frame) {
                continue;
            }
            let dice = dice
                .entry((from, to))
                .or_insert_with(|| Dice::new(fault.seed, from_name, to_name));
            if dice.fraction() >= fault.chance {
                continue;
            }
            fault.left -= 1;
            match fault.kind {
                Kind::Drop => verdict.dropped = true,
                Kind::Duplicate => verdict.duplicated = true,
                Kind::Reorder => verdict.reordered = true,
                Kind::Delay(by) => verdict.delay += by,
                Kind::Corrupt => verdict.flip = Some(dice.next()),
            }
        }
        verdict
    }
}

/// Frames that a fault holds back, in the order in which they came.
#[derive(Debug, Default)]
pub(crate) struct Held {
    frames: Vec<Late>,
}

#[derive(Debug)]
struct Late {
    flow: (PlugId, PlugId),
    frame: Vec<u8>,
    due: Instant,
    /// Frames of the flow that still may overtake; `None`: time alone counts.
    overtakers: Option<u32>,
}

impl Held {
    /// Keeps a frame; `false` if there is no room and it must go on at once.
    pub(crate) fn keep(&mut self, flow: (PlugId, PlugId), frame: &[u8], verdict: &Verdict) -> bool {
        if self.frames.len() >= MAX_HELD {
            return false;
        }
        let only_reordered = verdict.delay.is_zero();
        let wait = verdict.delay
            + if verdict.reordered {
                OVERTAKE_WAIT
            } else {
                Duration::ZERO
            };
        self.frames.push(Late {
            flow,
            frame: frame.to_vec(),
            due: Instant::now() + wait,
            overtakers: only_reordered.then_some(OVERTAKEN_BY),
        });
        true
    }

    /// Counts a frame of `flow` that goes by, and returns those that were
    /// overtaken often enough: they follow it.
    pub(crate) fn overtake(&mut self, flow: (PlugId, PlugId)) -> Vec<Vec<u8>> {
        if self.frames.is_empty() {
            return Vec::new();
        }
        self.release(|late| match &mut late.overtakers {
            Some(left) if late.flow == flow => {
                *left -= 1;
                *left == 0
            }
            _ => false,
        })
        .into_iter()
        .map(|late| late.frame)
        .collect()
    }

    /// Frames whose time has come, each with the receiver.
    pub(crate) fn due(&mut self, now: Instant) -> Vec<(PlugId, Vec<u8>)> {
        self.release(|late| late.due <= now)
            .into_iter()
            .map(|late| (late.flow.1, late.frame))
            .collect()
    }

    /// When [`Held::due`] should be asked next.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        self.frames.iter().map(|late| late.due).min()
    }

    fn release(&mut self, mut ready: impl FnMut(&mut Late) -> bool) -> Vec<Late> {
        self.frames.extract_if(.., |late| ready(late)).collect()
    }
}

/// SplitMix64, seeded by a fault and a pair of ports.
#[derive(Debug)]
struct Dice(u64);

impl Dice {
    fn new(seed: u64, from: &str, to: &str) -> Self {
        // FNV-1a over both names keeps the flows apart.
        let names = from.bytes().chain([0]).chain(to.bytes());
        let hash = names.fold(0xCBF2_9CE4_8422_2325, |hash: u64, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3)
        });
        Self(hash ^ seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// A number from 0.0 up to, but not including, 1.0.
    fn fraction(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

/// Matchers for [`Fault::only`].
pub mod frames {
    /// IPv4 over Ethernet that carries UDP from or to `port`.
    pub fn udp(port: u16) -> impl Fn(&[u8]) -> bool + Send + Sync {
        move |frame| transport(frame, 17, port)
    }

    /// IPv4 over Ethernet that carries TCP from or to `port`.
    pub fn tcp(port: u16) -> impl Fn(&[u8]) -> bool + Send + Sync {
        move |frame| transport(frame, 6, port)
    }

    /// ARP requests and replies (RFC 826).
    pub fn arp(frame: &[u8]) -> bool {
        frame.get(12..14) == Some(&[0x08, 0x06])
    }

    fn transport(frame: &[u8], protocol: u8, port: u16) -> bool {
        let Some(ip) = frame.get(14..) else {
            return false;
        };
        let is_ipv4 = frame[12..14] == [0x08, 0x00] && ip.len() >= 20 && ip[0] >> 4 == 4;
        if !is_ipv4 || ip[9] != protocol {
            return false;
        }
        let ports = ip.get(usize::from(ip[0] & 0xF) * 4..);
        ports.is_some_and(|ports| {
            ports.len() >= 4
                && [[ports[0], ports[1]], [ports[2], ports[3]]].contains(&port.to_be_bytes())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: (PlugId, &str) = (1, "a");
    const B: (PlugId, &str) = (2, "b");
    const C: (PlugId, &str) = (3, "c");

    fn hits(fault: Fault, from: (PlugId, &str), to: (PlugId, &str), count: usize) -> Vec<usize> {
        let mut rules = Rules::default();
        rules.push(fault);
        (0..count)
            .filter(|_| !rules.judge(from, to, &[0; 60]).is_clean())
            .collect()
    }

    #[test]
    fn a_seed_decides_which_frames_are_hit() {
        let drop = || Fault::drop(0.05).seed(7);
        let first = hits(drop(), A, B, 10_000);
        assert_eq!(first, hits(drop(), A, B, 10_000));
        assert_ne!(first, hits(drop(), A, C, 10_000));
        assert_ne!(first, hits(Fault::drop(0.05).seed(8), A, B, 10_000));
        assert!((400..600).contains(&first.len()), "{}", first.len());
    }

    #[test]
    fn faults_keep_to_their_ports_their_frames_and_their_number() {
        let drop = || Fault::drop(1.0);
        for (fault, want) in [
            (drop().from("a"), 5),
            (drop().from("b"), 0),
            (drop().to("b"), 5),
            (drop().to("a"), 0),
            (drop().only(|frame| frame.len() > 60), 0),
            (drop().only(|frame| frame.len() == 60), 5),
            (drop().at_most(2), 2),
            (Fault::drop(0.0), 0),
        ] {
            let name = format!("{fault:?}");
            assert_eq!(hits(fault, A, B, 5).len(), want, "{name}");
        }
    }

    #[test]
    fn corruption_flips_one_bit_behind_the_header() {
        let mut rules = Rules::default();
        rules.push(Fault::corrupt(1.0));
        for _ in 0..100 {
            let frame = rules.judge(A, B, &[0; 60]).corrupted(&[0; 60]);
            assert_eq!(frame.iter().map(|b| b.count_ones()).sum::<u32>(), 1);
            assert_eq!(frame[..14], [0; 14]);
        }
    }

    #[test]
    fn a_reordered_frame_is_overtaken_by_three() {
        let mut held = Held::default();
        let verdict = Verdict {
            reordered: true,
            ..Verdict::default()
        };
        assert!(held.keep((1, 2), &[9], &verdict));
        assert!(held.overtake((1, 2)).is_empty());
        assert!(held.overtake((1, 3)).is_empty());
        assert!(held.overtake((1, 2)).is_empty());
        assert_eq!(held.overtake((1, 2)), [[9]]);
        assert_eq!(held.next_due(), None);
    }

    #[test]
    fn matchers_look_at_ports() {
        let mut frame = [0_u8; 60];
        frame[12] = 8;
        frame[14] = 0x45;
        frame[23] = 17;
        frame[36..38].copy_from_slice(&69_u16.to_be_bytes());
        assert!(frames::udp(69)(&frame));
        assert!(!frames::udp(68)(&frame));
        assert!(!frames::tcp(69)(&frame));
        assert!(!frames::udp(69)(&frame[..37]));
        assert!(!frames::arp(&frame));
    }
}
