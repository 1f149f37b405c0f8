//! Which boot file a client gets, by what it is (option 93), never by how it
//! spells its vendor class.

use core::fmt;
use core::str::FromStr;

/// What kind of firmware asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Client {
    /// PC BIOS PXE (0).
    Bios,
    /// 32-bit x86 UEFI PXE (6).
    Ia32Efi,
    /// x86-64 UEFI PXE (7, and 9 as early firmware numbered it).
    X86_64Efi,
    /// arm64 UEFI PXE (11).
    Arm64Efi,
    /// x86-64 UEFI HTTP Boot (16).
    X86_64Http,
    /// arm64 UEFI HTTP Boot (19).
    Arm64Http,
    /// 32-bit ARM U-Boot (21).
    UbootArm,
    /// arm64 U-Boot (22).
    UbootArm64,
    /// Raspberry Pi: boot ROM (which claims 0) and EEPROM boot loader (41).
    Rpi,
    /// iPXE on any architecture.
    Ipxe,
    /// Any other number of option 93 (IANA "Processor Architecture Types").
    Other(u16),
}

/// Names in `ichor.toml`, and the numbers of option 93 they stand for.
const NAMES: [(&str, Client, &[u16]); 10] = [
    ("bios", Client::Bios, &[0]),
    ("ia32-efi", Client::Ia32Efi, &[6]),
    ("x86_64-efi", Client::X86_64Efi, &[7, 9]),
    ("arm64-efi", Client::Arm64Efi, &[11]),
    ("x86_64-http", Client::X86_64Http, &[16]),
    ("arm64-http", Client::Arm64Http, &[19]),
    ("uboot-arm", Client::UbootArm, &[21]),
    ("uboot-arm64", Client::UbootArm64, &[22]),
    ("rpi", Client::Rpi, &[41]),
    ("ipxe", Client::Ipxe, &[]),
];

impl Client {
    /// The kind of client that option 93 names by `architecture`.
    pub fn from_architecture(architecture: u16) -> Self {
        NAMES
            .iter()
            .find(|(_, _, numbers)| numbers.contains(&architecture))
            .map_or(Self::Other(architecture), |(_, client, _)| *client)
    }
}

impl fmt::Display for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Self::Other(number) = self {
            return write!(f, "{number}");
        }
        let name = NAMES.iter().find(|(_, client, _)| client == self);
        f.write_str(name.map_or("", |(name, _, _)| name))
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Client {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{}", defmt::Display2Format(self));
    }
}

/// The text names no kind of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParseClientError;

impl fmt::Display for ParseClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("expected a number of option 93 or one of")?;
        for (i, (name, _, _)) in NAMES.iter().enumerate() {
            write!(f, "{} {name}", if i == 0 { "" } else { "," })?;
        }
        Ok(())
    }
}

impl core::error::Error for ParseClientError {}

impl FromStr for Client {
    type Err = ParseClientError;

    fn from_str(text: &str) -> Result<Self, ParseClientError> {
        if let Some((_, client, _)) = NAMES.iter().find(|(name, _, _)| *name == text) {
            return Ok(*client);
        }
        let number = text.parse().map_err(|_| ParseClientError)?;
        Ok(Self::from_architecture(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_name_the_same_clients() {
        for (name, client, numbers) in NAMES {
            assert_eq!(name.parse(), Ok(client));
            assert_eq!(client.to_string(), name);
            for number in numbers {
                assert_eq!(number.to_string().parse(), Ok(client));
            }
        }
        assert_eq!("27".parse(), Ok(Client::Other(27)));
        let error = "arm64".parse::<Client>().unwrap_err();
        assert_eq!(
            error.to_string(),
            "expected a number of option 93 or one of bios, ia32-efi, x86_64-efi, arm64-efi, \
             x86_64-http, arm64-http, uboot-arm, uboot-arm64, rpi, ipxe"
        );
    }
}
