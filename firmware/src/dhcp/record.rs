//! One line of the lease log: framed, checked, and found again after damage.
//!
//! ```text
//! 0      2      3     4         12        20     24      30          n     n+4
//! │ magic │ kind │ len │ at (u64) │ ends (u64) │ ip │ mac │ client key │ CRC-32 │
//! ```
//!
//! `len` counts the bytes from `at` to the end of the key. The CRC (IEEE
//! 802.3) covers `kind` to the end of the key. All numbers are big-endian.

use core::net::Ipv4Addr;

use heapless::Vec;

use super::client_key::ClientKey;
use crate::MacAddr;

/// What became of an address, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) kind: Kind,
    /// When this was written: seconds of the [`Clock`](ichor_hal::Clock).
    pub(super) at: u64,
    /// When it ends; for a free address, since when it is free.
    pub(super) ends: u64,
    pub(super) ip: Ipv4Addr,
    pub(super) mac: MacAddr,
    pub(super) key: ClientKey,
}

/// What a record says of its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The client may use it.
    Bound,
    /// The client may not use it any more, but shall get it again.
    Free,
    /// Nobody may use it.
    Quarantined,
}

/// "The next bytes are a record." The last byte is the format's version.
const MAGIC: [u8; 2] = [0xd4, 0x01];
/// Marks a key that stands for a longer identifier.
const HASHED: u8 = 0x80;
const HEAD_LEN: usize = 4;
const FIXED_LEN: usize = 8 + 8 + 4 + 6;
const CRC_LEN: usize = 4;
/// The longest record.
pub(super) const MAX_LEN: usize = HEAD_LEN + FIXED_LEN + ClientKey::MAX_LEN + CRC_LEN;

/// What was found at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Parsed {
    /// A record, and its length in bytes.
    Record(Record, usize),
    /// The start of a record, if more bytes follow.
    Incomplete,
    /// No record.
    Damaged,
}

impl Record {
    /// The bytes of the record.
    pub(super) fn to_bytes(self) -> Vec<u8, MAX_LEN> {
        let key = self.key.as_bytes();
        let kind = match self.kind {
            Kind::Bound => 1,
            Kind::Free => 2,
            Kind::Quarantined => 3,
        };
        let hashed = if self.key.is_hashed() { HASHED } else { 0 };
        let mut bytes = Vec::new();
        let mut put = |part: &[u8]| {
            // The capacity is that of the longest record.
            let _ = bytes.extend_from_slice(part);
        };
        put(&MAGIC);
        put(&[kind | hashed, (FIXED_LEN + key.len()) as u8]);
        put(&self.at.to_be_bytes());
        put(&self.ends.to_be_bytes());
        put(&self.ip.octets());
        put(&self.mac.0);
        put(key);
        let crc = crc32(bytes.get(MAGIC.len()..).unwrap_or_default());
        let _ = bytes.extend_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads the record that `bytes` start with.
    pub(super) fn parse(bytes: &[u8]) -> Parsed {
        let Some((head, rest)) = bytes.split_first_chunk::<HEAD_LEN>() else {
            let begins = bytes.iter().zip(MAGIC).all(|(byte, magic)| *byte == magic);
            return if begins {
                Parsed::Incomplete
            } else {
                Parsed::Damaged
            };
        };
        let [m0, m1, kind, len] = *head;
        let len = usize::from(len);
        if [m0, m1] != MAGIC || !(FIXED_LEN..=FIXED_LEN + ClientKey::MAX_LEN).contains(&len) {
            return Parsed::Damaged;
        }
        let (Some(value), Some(crc)) = (rest.get(..len), rest.get(len..len + CRC_LEN)) else {
            return Parsed::Incomplete;
        };
        let checked = bytes.get(MAGIC.len()..HEAD_LEN + len).unwrap_or_default();
        match parse_value(kind, value) {
            Some(record) if crc == crc32(checked).to_be_bytes() => {
                Parsed::Record(record, HEAD_LEN + len + CRC_LEN)
            }
            _ => Parsed::Damaged,
        }
    }
}

fn parse_value(kind: u8, value: &[u8]) -> Option<Record> {
    let (at, value) = value.split_first_chunk()?;
    let (ends, value) = value.split_first_chunk()?;
    let (ip, value) = value.split_first_chunk::<4>()?;
    let (mac, key) = value.split_first_chunk()?;
    Some(Record {
        kind: match kind & !HASHED {
            1 => Kind::Bound,
            2 => Kind::Free,
            3 => Kind::Quarantined,
            _ => return None,
        },
        at: u64::from_be_bytes(*at),
        ends: u64::from_be_bytes(*ends),
        ip: Ipv4Addr::from(*ip),
        mac: MacAddr(*mac),
        key: ClientKey::from_parts(key, kind & HASHED != 0)?,
    })
}

/// CRC-32 of IEEE 802.3.
fn crc32(bytes: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0; 256];
        let mut n = 0;
        while n < 256 {
            let mut crc = n as u32;
            let mut bit = 0;
            while bit < 8 {
                crc = (crc >> 1) ^ (0xedb8_8320 * (crc & 1));
                bit += 1;
            }
            table[n] = crc;
            n += 1;
        }
        table
    };
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (crc >> 8) ^ TABLE[usize::from(crc as u8 ^ byte)]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(id: &[u8]) -> Record {
        Record {
            kind: Kind::Bound,
            at: 1_700_000_000,
            ends: u64::MAX,
            ip: Ipv4Addr::new(192, 0, 2, 50),
            mac: MacAddr([2, 0, 0, 0, 0, 1]),
            key: ClientKey::from_id(id),
        }
    }

    #[test]
    fn records_come_back_as_they_were() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        for id in [&[1, 2, 0, 0, 0, 0, 1][..], &[], &[5; 32], &[6; 200]] {
            for kind in [Kind::Bound, Kind::Free, Kind::Quarantined] {
                let record = Record { kind, ..record(id) };
                let mut bytes = record.to_bytes().to_vec();
                let len = bytes.len();
                bytes.extend(b"next");
                assert_eq!(Record::parse(&bytes), Parsed::Record(record, len));
            }
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_noticed() {
        let bytes = record(&[1, 2, 3]).to_bytes();
        for len in 0..bytes.len() {
            assert_eq!(Record::parse(&bytes[..len]), Parsed::Incomplete, "{len}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(
                !matches!(Record::parse(&bytes), Parsed::Record(..)),
                "bit {bit}"
            );
        }
    }
}
