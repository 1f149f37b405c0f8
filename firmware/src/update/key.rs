//! The key that board and operator share.

use core::fmt;
use core::future::poll_fn;

use ichor_hal::{FileError, Files};

use super::hex;
use crate::config;

/// Where a board finds its key: 64 hexadecimal digits in the root of the data
/// folder. Never served, and never replaced over the network.
pub const KEY_FILE: &str = "ichor.key";

/// Longest file that can hold a key: 64 digits and some white space.
const FILE_LEN: usize = 80;

/// A secret of 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Key([u8; 32]);

impl Key {
    /// A key of these bytes.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// A key from 64 hexadecimal digits, white space around them aside.
    pub fn from_hex(text: &[u8]) -> Result<Self, KeyError> {
        let bytes = hex::decode(text.trim_ascii()).ok_or(KeyError::Malformed)?;
        Ok(Self(bytes))
    }

    /// Reads [`KEY_FILE`].
    pub async fn load<F: Files>(files: &F) -> Result<Self, KeyError> {
        let (file, metadata) = match files.open(KEY_FILE).await {
            Ok(opened) => opened,
            Err(FileError::NotFound) => return Err(KeyError::Missing),
            Err(_) => return Err(KeyError::Unreadable),
        };
        let mut text = [0; FILE_LEN];
        let len = usize::try_from(metadata.len).unwrap_or(usize::MAX);
        let text = text.get_mut(..len).ok_or(KeyError::Malformed)?;
        let mut filled = 0;
        while filled < text.len() {
            let rest = &mut text[filled..];
            let read = poll_fn(|cx| files.poll_read_at(cx, &file, filled as u64, rest));
            match read.await {
                Ok(n @ 1..) => filled += n,
                Ok(0) | Err(_) => return Err(KeyError::Unreadable),
            }
        }
        Self::from_hex(text)
    }

    pub(super) const fn bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Debug for Key {
    /// Keeps the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

/// Why a board has no key. Displays as what to do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum KeyError {
    /// There is no such file.
    Missing,
    /// The file holds something else.
    Malformed,
    /// The file cannot be read.
    Unreadable,
}

impl fmt::Display for KeyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Missing => {
                "There is no ichor.key in the data folder: put 64 hex digits into it \
                 and restart."
            }
            Self::Malformed => {
                "ichor.key must hold 64 hex digits and nothing else: write it anew and restart."
            }
            Self::Unreadable => "ichor.key cannot be read: check the card, write it anew, restart.",
        })
    }
}

impl core::error::Error for KeyError {}

/// Whether a file is a key by its name, wherever it lies and however its file
/// system spells it: it is not replaced over the network.
pub(crate) fn is_key(path: &str) -> bool {
    is_named(path, KEY_FILE)
}

/// Whether a file is a key or the board's settings by its name: it is served
/// to nobody, not even from where files are served.
pub(crate) fn is_private(path: &str) -> bool {
    is_key(path) || is_named(path, config::FILE_NAME)
}

fn is_named(path: &str, name: &str) -> bool {
    let last = path.rsplit('/').next().unwrap_or_default();
    // FAT knows no case and drops these at the end.
    last.trim_end_matches(['.', ' ']).eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::pin::pin;
    use core::task::{Context, Poll, Waker};
    use ichor_hal::fake::FakeFiles;

    fn load(files: &FakeFiles) -> Result<Key, KeyError> {
        let mut load = pin!(Key::load(files));
        loop {
            if let Poll::Ready(key) = load.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
                return key;
            }
        }
    }

    #[test]
    fn a_key_is_read_from_its_file() {
        let digits = "0123456789abcdefABCDEF9876543210".repeat(2);
        let key = Key::from_hex(digits.as_bytes());
        assert!(key.is_ok());
        for (content, want) in [
            (digits.clone(), key),
            (format!("{digits}\r\n"), key),
            (format!(" {digits}\n"), key),
            (String::new(), Err(KeyError::Malformed)),
            (digits[1..].into(), Err(KeyError::Malformed)),
            (format!("{digits}0"), Err(KeyError::Malformed)),
            (format!("{digits}\n{digits}"), Err(KeyError::Malformed)),
            ("x".repeat(64), Err(KeyError::Malformed)),
        ] {
            let files = FakeFiles::new();
            files.put(KEY_FILE, &content).delay_reads(2);
            assert_eq!(load(&files), want, "{content:?}");
        }
        let files = FakeFiles::new();
        assert_eq!(load(&files), Err(KeyError::Missing));
        files.fail(KEY_FILE, FileError::Io);
        assert_eq!(load(&files), Err(KeyError::Unreadable));
    }

    #[test]
    fn a_key_does_not_show_itself() {
        assert_eq!(format!("{:?}", Key::new([7; 32])), "Key(..)");
    }

    #[test]
    fn private_names() {
        assert!(is_private("assets/ICHOR.toml ") && !is_key("ichor.toml"));
        for (path, private) in [
            ("ichor.key", true),
            ("ICHOR.Key", true),
            ("ichor.key.", true),
            ("ichor.key. .", true),
            ("assets/ichor.key", true),
            ("ichor.keys", false),
            ("ichor.key/x", false),
            ("assets/vmlinuz", false),
            ("", false),
        ] {
            assert_eq!(is_private(path), private, "{path}");
            assert_eq!(is_key(path), private, "{path}");
        }
    }
}
