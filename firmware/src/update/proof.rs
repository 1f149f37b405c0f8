//! What shows that an update comes from a holder of the key.

use core::fmt::{self, Write as _};

use hmac::{Hmac, Mac as _};
use sha2::Sha256;

use super::hex::Hex;
use super::key::Key;

/// The three fields that sign an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Proof {
    /// `Ichor-Nonce`: as the board told it.
    pub nonce: [u8; Proof::NONCE_LEN],
    /// `Ichor-Sha256`: the hash of the body.
    pub sha256: [u8; 32],
    /// `Ichor-Mac`: over all that matters.
    pub mac: [u8; 32],
}

impl Proof {
    /// Bytes of a nonce.
    pub const NONCE_LEN: usize = 24;

    /// Whether the key's holder signed a PUT of `len` bytes to `path`. Takes
    /// the same time however much of the MAC is right.
    pub(super) fn is_valid(&self, key: &Key, path: &str, len: u64) -> bool {
        let mut mac = Signed(hmac(key.bytes()));
        let (nonce, sha256) = (Hex(&self.nonce), Hex(&self.sha256));
        // Nothing fails that only hashes.
        let _ = write!(mac, "PUT\n{path}\n{nonce}\n{sha256}\n{len}");
        mac.0.verify_slice(&self.mac).is_ok()
    }
}

/// HMAC-SHA256 with this key, before any text.
pub(super) fn hmac(key: &[u8; 32]) -> Hmac<Sha256> {
    // The block of zeros behind it is what RFC 2104 §2 fills it up with, and
    // what makes the key's type say that its length is right.
    let mut block = [0; 64];
    block[..32].copy_from_slice(key);
    Hmac::new(&block.into())
}

/// Text on its way into the MAC.
struct Signed(Hmac<Sha256>);

impl fmt::Write for Signed {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.update(text.as_bytes());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::hex;

    /// By `printf 'PUT\n/update/firmware\n%s\n%s\n3' …`, the hash of `abc`, and
    /// `openssl dgst -sha256 -mac HMAC -macopt hexkey:…`.
    #[test]
    fn a_signature_made_elsewhere() {
        let proof = Proof {
            nonce: [0xab; Proof::NONCE_LEN],
            sha256: hex::decode(
                b"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            )
            .unwrap(),
            mac: hex::decode(MAC).unwrap(),
        };
        let key = Key::new([0x11; 32]);
        assert!(proof.is_valid(&key, "/update/firmware", 3));
        assert!(!proof.is_valid(&key, "/update/firmware", 4));
        assert!(!proof.is_valid(&key, "/update/files/a", 3));
        assert!(!proof.is_valid(&Key::new([0x12; 32]), "/update/firmware", 3));
        for byte in 0..32 {
            let mut wrong = proof;
            wrong.mac[byte] ^= 0x80;
            assert!(!wrong.is_valid(&key, "/update/firmware", 3));
            let mut wrong = proof;
            wrong.sha256[byte] ^= 1;
            assert!(!wrong.is_valid(&key, "/update/firmware", 3));
        }
        let mut wrong = proof;
        wrong.nonce[0] ^= 1;
        assert!(!wrong.is_valid(&key, "/update/firmware", 3));
    }

    const MAC: &[u8] = b"53f0fc42dd5060f8b82b42182de1baa4864a209f3df0b3f085eec3ca7f898b2c";
}
