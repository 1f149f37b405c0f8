//! File names as clients spell them, and the paths under `assets/` they mean.

use core::fmt;

use heapless::String;

/// The one folder that is served. Everything beside it (machine configs!) is
/// out of reach.
pub const ROOT: &str = "assets/";

/// Longest file name in bytes, once cleaned: as much as the `file` field of a
/// BOOTP reply can announce (RFC 951).
pub const NAME_LEN: usize = 128;

const LEN: usize = ROOT.len() + NAME_LEN;

/// A path below [`ROOT`]: no empty, `.` or `..` part, no control character.
#[derive(Clone, PartialEq, Eq)]
pub struct Path(String<LEN, u8>);

impl Path {
    /// Cleans a file name.
    ///
    /// Leading `/` and `./` and repeated slashes are dropped and backslashes
    /// turned round, as Windows' and the Raspberry Pi's ways of naming files
    /// ask for. Percent signs stay: TFTP knows no encoding.
    pub fn clean(filename: &str) -> Result<Self, PathError> {
        if filename.chars().any(char::is_control) {
            return Err(PathError::Control);
        }
        let mut path = String::new();
        let mut push = |text| path.push_str(text).map_err(|_| PathError::TooLong);
        let mut slash = ROOT;
        for part in filename.split(['/', '\\']) {
            match part {
                "" | "." => continue,
                ".." => return Err(PathError::Parent),
                _ => {
                    push(slash)?;
                    push(part)?;
                    slash = "/";
                }
            }
        }
        if path.is_empty() {
            return Err(PathError::Empty);
        }
        Ok(Self(path))
    }

    /// Where to look first: the name below `assets/`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Where to look then: the name itself, if it already starts with
    /// `assets/`.
    pub fn as_spelled(&self) -> Option<&str> {
        self.0
            .strip_prefix(ROOT)
            .filter(|name| name.starts_with(ROOT))
    }
}

impl fmt::Debug for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}

/// Why a file name is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum PathError {
    /// There is no name.
    Empty,
    /// It climbs out with `..`.
    Parent,
    /// It holds control characters.
    Control,
    /// It is longer than [`NAME_LEN`].
    TooLong,
}

impl PathError {
    /// One phrase for logs and ERROR packets.
    pub const fn message(self) -> &'static str {
        match self {
            Self::Empty => "the request names no file",
            Self::Parent => "`..` in a file name is refused",
            Self::Control => "control characters in a file name are refused",
            Self::TooLong => "the file name is longer than 128 bytes",
        }
    }
}

/// Whether clients are known to ask for this file just in case. That it is
/// absent is no news.
pub(super) fn is_probe(path: &str) -> bool {
    let name = path.strip_prefix(ROOT).unwrap_or(path);
    let (folder, file) = name.rsplit_once('/').unwrap_or(("", name));
    // A Raspberry Pi first looks into a folder named like its serial number.
    let serial = matches!(folder.len(), 8 | 16) && folder.bytes().all(|b| b.is_ascii_hexdigit());
    serial
        || match file {
            // Raspberry Pi ROM and firmware.
            "bootsig.bin" | "bootcfg.txt" | "autoboot.txt" | "tryboot.txt" | "dt-blob.bin"
            | "recovery.elf" | "recovery.img" | "pieeprom.upd" | "vl805.bin" => true,
            // iPXE looks for it beside its own image.
            "autoexec.ipxe" => true,
            // GRUB and PXELINUX (U-Boot, too) try the MAC, then the address
            // bit by bit.
            _ => {
                file.starts_with("grub.cfg-")
                    || folder.ends_with("pxelinux.cfg") && !file.starts_with("default")
                    || file.ends_with(".sig")
                    || file.starts_with("armstub")
            }
        }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_looked_up_below_assets_and_nowhere_else() {
        let table: &[(&str, &str, Option<&str>)] = &[
            ("ipxe.efi", "assets/ipxe.efi", None),
            ("/ipxe.efi", "assets/ipxe.efi", None),
            ("./ipxe.efi", "assets/ipxe.efi", None),
            ("/./a//b/./c", "assets/a/b/c", None),
            (r"\boot\x64\wds.efi", "assets/boot/x64/wds.efi", None),
            (
                "assets/vmlinuz",
                "assets/assets/vmlinuz",
                Some("assets/vmlinuz"),
            ),
            (
                "/assets/vmlinuz",
                "assets/assets/vmlinuz",
                Some("assets/vmlinuz"),
            ),
            ("assetsx/a", "assets/assetsx/a", None),
            ("groups/node1.json", "assets/groups/node1.json", None),
            ("a%2e%2e%2fb", "assets/a%2e%2e%2fb", None),
            ("...", "assets/...", None),
            ("größe", "assets/größe", None),
        ];
        for (name, first, then) in table {
            let path = Path::clean(name).unwrap();
            assert_eq!((path.as_str(), path.as_spelled()), (*first, *then));
        }
    }

    #[test]
    fn names_that_are_refused() {
        let long = "x".repeat(NAME_LEN);
        assert!(Path::clean(&long).is_ok());
        let too_long = "x".repeat(NAME_LEN + 1);
        let table = [
            ("", PathError::Empty),
            ("/", PathError::Empty),
            ("././/", PathError::Empty),
            ("..", PathError::Parent),
            ("../ichor.toml", PathError::Parent),
            (r"a\..\..\b", PathError::Parent),
            ("assets/..", PathError::Parent),
            ("a\0b", PathError::Control),
            ("a\nb", PathError::Control),
            ("a\u{9b}b", PathError::Control),
            (&too_long, PathError::TooLong),
        ];
        for (name, want) in table {
            assert_eq!(Path::clean(name), Err(want), "{name:?}");
        }
    }

    #[test]
    fn only_what_is_always_asked_for_is_a_probe() {
        for probe in [
            "assets/bootsig.bin",
            "assets/12345678/start.elf",
            "assets/pxelinux.cfg/01-52-54-00-12-34-56",
            "assets/grub/grub.cfg-C0A8",
            "assets/autoexec.ipxe",
        ] {
            assert!(is_probe(probe), "{probe}");
        }
        for wanted in [
            "assets/start.elf",
            "assets/ipxe.efi",
            "assets/pxelinux.cfg/default",
            "assets/grub/grub.cfg",
            "assets/talos/vmlinuz",
        ] {
            assert!(!is_probe(wanted), "{wanted}");
        }
    }
}
