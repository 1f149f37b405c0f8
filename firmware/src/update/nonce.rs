//! Numbers that are good for one update.

use embassy_time::{Duration, Instant};
use hmac::Mac as _;

use super::proof::{Proof, hmac};

/// A nonce as it travels: the time of its making, and a tag that nobody else
/// can make.
pub(super) type Nonce = [u8; Proof::NONCE_LEN];

/// Makes nonces and knows them again, without keeping any: whoever asks for
/// many can drive out nobody's. One that was used makes void all that are
/// older.
#[derive(Debug)]
pub(super) struct Nonces {
    secret: [u8; 32],
    life: Duration,
    /// Stamps of the last one made and of the last one used. A stamp is the
    /// time in milliseconds, or one more than the stamp before.
    made: u64,
    used: u64,
}

impl Nonces {
    /// The secret must be another after every restart.
    pub(super) const fn new(secret: [u8; 32], life: Duration) -> Self {
        Self {
            secret,
            life,
            made: 0,
            used: 0,
        }
    }

    /// Names this run of the board: another one after every restart.
    pub(super) fn run(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.tag(0);
        [a, b, c, d]
    }

    pub(super) fn make(&mut self, now: Instant) -> Nonce {
        self.made = now.as_millis().max(self.made + 1);
        self.nonce(self.made)
    }

    /// Whether the nonce was made here, a short while ago, and neither it nor
    /// a later one was used.
    pub(super) fn is_good(&self, nonce: &Nonce, now: Instant) -> bool {
        let stamp = stamp(nonce);
        self.used < stamp
            && stamp <= self.made
            && now.as_millis().saturating_sub(stamp) < self.life.as_millis()
            && self.nonce(stamp) == *nonce
    }

    /// Makes it void.
    pub(super) fn spend(&mut self, nonce: &Nonce) {
        self.used = self.used.max(stamp(nonce));
    }

    fn nonce(&self, stamp: u64) -> Nonce {
        let mut nonce = [0; Proof::NONCE_LEN];
        let (head, tail) = nonce.split_at_mut(8);
        head.copy_from_slice(&stamp.to_be_bytes());
        tail.copy_from_slice(&self.tag(stamp));
        nonce
    }

    fn tag(&self, stamp: u64) -> [u8; 16] {
        let mac = hmac(&self.secret).chain_update(stamp.to_be_bytes());
        let whole = mac.finalize().into_bytes();
        let mut tag = [0; 16];
        tag.copy_from_slice(&whole[..16]);
        tag
    }
}

fn stamp(nonce: &Nonce) -> u64 {
    nonce
        .first_chunk()
        .map_or(0, |stamp| u64::from_be_bytes(*stamp))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nonces(secret: u8) -> Nonces {
        Nonces::new([secret; 32], Duration::from_secs(60))
    }

    fn at(seconds: u64) -> Instant {
        Instant::from_secs(seconds)
    }

    #[test]
    fn a_nonce_is_good_once_and_for_a_while() {
        let mut ours = nonces(1);
        let (first, second) = (ours.make(at(100)), ours.make(at(100)));
        assert_ne!(first, second);
        for (seconds, good) in [(100, true), (159, true), (160, false), (1000, false)] {
            assert_eq!(ours.is_good(&first, at(seconds)), good, "{seconds}");
        }
        ours.spend(&first);
        assert!(!ours.is_good(&first, at(101)), "it was used");
        assert!(ours.is_good(&second, at(101)));
        let third = ours.make(at(102));
        ours.spend(&third);
        assert!(!ours.is_good(&second, at(102)), "a later one was used");
    }

    #[test]
    fn nobody_can_make_one() {
        let mut ours = nonces(1);
        let nonce = ours.make(at(100));
        for byte in 0..nonce.len() {
            let mut other = nonce;
            other[byte] ^= 1;
            assert!(!ours.is_good(&other, at(100)), "byte {byte}");
        }
        let mut before = nonces(2);
        assert!(
            !ours.is_good(&before.make(at(100)), at(100)),
            "from before a restart"
        );
        assert!(!nonces(1).is_good(&nonce, at(100)), "not made yet");
        assert_ne!(ours.run(), before.run());
    }

    #[test]
    fn those_who_ask_for_many_harm_nobody() {
        let mut ours = nonces(1);
        let nonce = ours.make(at(0));
        for _ in 0..100_000 {
            ours.make(at(0));
        }
        assert!(ours.is_good(&nonce, at(1)));
        let last = ours.make(at(0));
        assert!(ours.is_good(&last, at(1)));
    }
}
