//! Ethernet addresses as operators write them.

use core::fmt;
use core::str::FromStr;

/// An Ethernet hardware address. Displays as `52:54:00:12:34:56`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct MacAddr(pub [u8; 6]);

impl MacAddr {
    /// `ff:ff:ff:ff:ff:ff`
    pub const BROADCAST: Self = Self([0xff; 6]);

    /// Whether this names one station (neither broadcast nor multicast, and
    /// not all zero).
    pub const fn is_unicast(self) -> bool {
        self.0[0] & 1 == 0
            && (self.0[0] | self.0[1] | self.0[2] | self.0[3] | self.0[4] | self.0[5]) != 0
    }
}

impl fmt::Display for MacAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for MacAddr {
    fn format(&self, f: defmt::Formatter<'_>) {
        let [a, b, c, d, e, g] = self.0;
        defmt::write!(
            f,
            "{:02x}:{:02x}:{:02x}:{:02x}:{:02x}:{:02x}",
            a,
            b,
            c,
            d,
            e,
            g
        );
    }
}

/// The text is not an Ethernet address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct ParseMacError;

impl fmt::Display for ParseMacError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an Ethernet address: expected six hex bytes like 52:54:00:12:34:56")
    }
}

impl core::error::Error for ParseMacError {}

impl FromStr for MacAddr {
    type Err = ParseMacError;

    /// Accepts colons, hyphens or no separator between the bytes
    /// (`52:54:00:12:34:56`, `52-54-00-12-34-56`, `525400123456`), any case,
    /// but not a mixture.
    fn from_str(text: &str) -> Result<Self, ParseMacError> {
        let text = text.as_bytes();
        let separator = match text.len() {
            17 if matches!(text[2], b':' | b'-') => Some(text[2]),
            12 => None,
            _ => return Err(ParseMacError),
        };
        let step = if separator.is_some() { 3 } else { 2 };
        let mut mac = [0; 6];
        for (i, byte) in mac.iter_mut().enumerate() {
            let at = i * step;
            if let Some(separator) = separator
                && i > 0
                && text[at - 1] != separator
            {
                return Err(ParseMacError);
            }
            let digit = |c: u8| {
                char::from(c)
                    .to_digit(16)
                    .map(|d| d as u8)
                    .ok_or(ParseMacError)
            };
            *byte = digit(text[at])? << 4 | digit(text[at + 1])?;
        }
        Ok(Self(mac))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_three_spellings_are_one_address() {
        let want = MacAddr([0x52, 0x54, 0, 0xab, 0xcd, 0xef]);
        for text in ["52:54:00:ab:cd:ef", "52-54-00-AB-CD-EF", "525400abcdef"] {
            assert_eq!(text.parse(), Ok(want), "{text}");
        }
        assert_eq!(want.to_string(), "52:54:00:ab:cd:ef");
    }

    #[test]
    fn anything_else_is_refused() {
        for text in [
            "",
            "52:54:00:ab:cd",
            "52:54-00:ab:cd:ef",
            "5254:00:ab:cd:ef:",
            "g25400abcdef",
        ] {
            assert_eq!(text.parse::<MacAddr>(), Err(ParseMacError), "{text}");
        }
    }
}
