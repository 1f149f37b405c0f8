//! Bytes as hexadecimal digits.

use core::fmt;

/// Exactly `N` bytes from twice as many digits of either case.
pub(crate) fn decode<const N: usize>(text: &[u8]) -> Option<[u8; N]> {
    let (pairs, rest) = text.as_chunks::<2>();
    if pairs.len() != N || !rest.is_empty() {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn digit(byte: u8) -> Option<u8> {
    // At most 15.
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Displays as lower-case digits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hex<'a>(pub(crate) &'a [u8]);

impl fmt::Display for Hex<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        assert_eq!(decode::<3>(b"00fFA9"), Some([0, 0xff, 0xa9]));
        assert_eq!(Hex(&[0, 0xff, 0xa9]).to_string(), "00ffa9");
        for wrong in [
            "", "0", "00ff", "00ffa", "00ffa90", "00ffa9 ", "00ffag", "+0ffa9",
        ] {
            assert_eq!(decode::<3>(wrong.as_bytes()), None, "{wrong:?}");
        }
    }
}
