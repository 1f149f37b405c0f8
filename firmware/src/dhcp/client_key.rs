//! Who a binding belongs to: the client's identifier, or its hardware address.

use core::fmt;

use super::wire::{Repr, WireError};

/// Longest key that is kept as it is, in bytes.
const EXACT: usize = 32;

/// What tells one client from all others (RFC 2131 §4.2).
///
/// This is the client identifier (option 61) if there is one, and otherwise
/// hardware type and address. The usual identifier of an Ethernet client, `1`
/// and its MAC address, thus is the same key as having none: a machine keeps
/// its address when its firmware sends one and its loader does not.
///
/// Identifiers up to 32 bytes are kept exactly. Of longer ones the key keeps
/// the 128-bit FNV-1a hash of all bytes and the last 16 bytes, which hold the
/// part of a DUID that differs. Two clients meet only if both agree. Nobody
/// gains by making that happen: DHCP has no secrets, so whoever wants another
/// client's address can send that client's identifier itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct ClientKey {
    /// 33 for a hashed identifier.
    len: u8,
    bytes: [u8; EXACT],
}

impl ClientKey {
    /// Longest [`as_bytes`](Self::as_bytes).
    pub const MAX_LEN: usize = EXACT + 1;

    /// No client: the key of an address that nobody holds.
    pub const NOBODY: Self = Self {
        len: 0,
        bytes: [0; EXACT],
    };

    /// The key of whoever sent a message.
    pub fn new(repr: &Repr, client_id: &[u8]) -> Result<Self, WireError> {
        if !client_id.is_empty() {
            return Ok(Self::from_id(client_id));
        }
        let hardware = repr.hardware();
        if hardware.iter().all(|byte| *byte == 0) {
            return Err(WireError::NoClient);
        }
        let mut id = [0; 17];
        let (htype, rest) = id.split_at_mut(1);
        htype.copy_from_slice(&[repr.htype]);
        for (to, from) in rest.iter_mut().zip(hardware) {
            *to = *from;
        }
        Ok(Self::from_id(id.get(..=hardware.len()).unwrap_or(&id)))
    }

    /// The key of a client identifier.
    pub fn from_id(id: &[u8]) -> Self {
        let mut bytes = [0; EXACT];
        if let Some(room) = bytes.get_mut(..id.len()) {
            room.copy_from_slice(id);
            return Self {
                len: id.len() as u8,
                bytes,
            };
        }
        let (hash, tail) = bytes.split_at_mut(16);
        hash.copy_from_slice(&fnv1a_128(id).to_be_bytes());
        if let Some(last) = id.last_chunk::<16>() {
            tail.copy_from_slice(last);
        }
        Self {
            len: EXACT as u8 + 1,
            bytes,
        }
    }

    /// Takes apart what [`as_bytes`](Self::as_bytes) and
    /// [`is_hashed`](Self::is_hashed) gave.
    pub fn from_parts(bytes: &[u8], hashed: bool) -> Option<Self> {
        match (bytes.len(), hashed) {
            (EXACT, true) => {
                let mut key = Self::from_id(bytes);
                key.len = EXACT as u8 + 1;
                Some(key)
            }
            (0..=EXACT, false) => Some(Self::from_id(bytes)),
            _ => None,
        }
    }

    /// The identifier, or what stands for one that is too long.
    pub fn as_bytes(&self) -> &[u8] {
        let len = usize::from(self.len).min(EXACT);
        self.bytes.get(..len).unwrap_or(&self.bytes)
    }

    /// Whether [`as_bytes`](Self::as_bytes) stands for a longer identifier.
    pub const fn is_hashed(&self) -> bool {
        self.len as usize > EXACT
    }

    /// A hash that an attacker without `seed` can not steer.
    pub(super) fn hash(&self, seed: u64) -> u64 {
        let (words, _) = self.bytes.as_chunks::<8>();
        words
            .iter()
            .fold(fold(seed, u64::from(self.len)), |hash, word| {
                fold(hash ^ seed, u64::from_le_bytes(*word))
            })
    }

    /// A hash that stays the same: where the search for an address starts.
    pub(super) fn stable_hash(&self) -> u64 {
        self.hash(0)
    }
}

/// One step of a multiply-and-fold hash.
pub(super) const fn fold(hash: u64, word: u64) -> u64 {
    let wide = (hash ^ word ^ 0x9E37_79B9_7F4A_7C15) as u128 * 0xD6E8_FEB8_6659_FD93;
    (wide as u64) ^ ((wide >> 64) as u64)
}

/// FNV-1a of 128 bits (draft-eastlake-fnv).
fn fnv1a_128(bytes: &[u8]) -> u128 {
    bytes
        .iter()
        .fold(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d, |hash, byte| {
            (hash ^ u128::from(*byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b)
        })
}

impl fmt::Debug for ClientKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientKey(")?;
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        write!(f, "{})", if self.is_hashed() { " hashed" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MacAddr;

    const MAC: MacAddr = MacAddr([2, 0, 0, 0, 0, 7]);

    #[test]
    fn the_usual_identifier_is_the_hardware_address() {
        let repr = Repr::request(MAC, 0);
        let by_mac = ClientKey::new(&repr, &[]).unwrap();
        let by_id = ClientKey::new(&repr, &[1, 2, 0, 0, 0, 0, 7]).unwrap();
        let by_duid = ClientKey::new(&repr, &[255, 2, 0, 0, 0, 0, 7]).unwrap();
        assert_eq!(by_mac, by_id);
        assert_ne!(by_mac, by_duid);
        let nobody = Repr {
            hlen: 0,
            ..Repr::request(MAC, 0)
        };
        assert_eq!(ClientKey::new(&nobody, &[]), Err(WireError::NoClient));
    }

    #[test]
    fn long_identifiers_differ_by_any_byte() {
        let long = [0x5a; 100];
        let key = ClientKey::from_id(&long);
        for i in 0..long.len() {
            let mut other = long;
            other[i] ^= 1;
            assert_ne!(ClientKey::from_id(&other), key, "byte {i}");
        }
        assert_ne!(ClientKey::from_id(&long[..99]), key);
        // Nor is a short identifier ever taken for a hashed one.
        assert_ne!(ClientKey::from_id(key.as_bytes()), key);
    }

    #[test]
    fn keys_come_back_from_their_parts() {
        for len in [0, 1, 7, 31, 32, 33, 255] {
            let key = ClientKey::from_id(&[3; 255][..len]);
            let parts = ClientKey::from_parts(key.as_bytes(), key.is_hashed());
            assert_eq!(parts, Some(key), "{len}");
        }
        assert_eq!(ClientKey::from_parts(&[1], true), None);
    }

    #[test]
    fn the_published_test_vector() {
        // draft-eastlake-fnv: FNV-1a of "a" and "foobar".
        assert_eq!(fnv1a_128(b"a"), 0xd228_cb69_6f1a_8caf_7891_2b70_4e4a_8964);
        assert_eq!(
            fnv1a_128(b"foobar"),
            0x343e_1662_793c_64bf_6f0d_3597_ba44_6f18
        );
    }
}
