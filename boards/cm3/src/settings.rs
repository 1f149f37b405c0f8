//! What the owner decided: `ichor.toml` on the card, the boot arguments, or,
//! with neither, as little as lets a person find the board.

use core::future::poll_fn;

use heapless::Vec;
use ichor::config::{Address, Config, ConfigError, FILE_NAME, Key, Settings};
use ichor_hal::{FileError, Files};

use crate::capacity::SETTINGS;

/// Settings may come with the kernel's arguments (`cmdline.txt`), each as one
/// word after this: `ichor.address=192.168.1.2/24`. The VideoCore has read them
/// before a card fails.
const ARGUMENT: &str = "ichor.";

/// Where a board without settings is found: a subnet of its own, in which it
/// gives out addresses.
const RESCUE: &[(&str, &str)] = &[
    ("address", "192.168.77.1/24"),
    ("dhcp", "server"),
    ("pool", "192.168.77.100-192.168.77.199"),
];

/// Keys of a Linux board. The same file works here, so they are passed over.
const ELSEWHERE: &[Key<()>] = &[
    Key::new("nic", "", "", |(), _| Ok(())),
    Key::new("state", "", "", |(), _| Ok(())),
    Key::new("sync", "", "", |(), _| Ok(())),
    Key::new("follow-symlinks", "", "", |(), _| Ok(())),
    Key::new("user", "", "", |(), _| Ok(())),
];

/// Where the settings came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, defmt::Format)]
pub(crate) enum Origin {
    /// From `ichor.toml`, the boot arguments, or both.
    Owner,
    /// From nowhere: the board serves a subnet of its own.
    Rescue,
}

/// Why settings could not be used.
pub(crate) enum Wrong {
    /// The file is there and cannot be read.
    Unreadable(FileError),
    /// The file is longer than this board can read.
    TooLong,
    /// The file is not text.
    NotText,
    /// A key or value is wrong.
    Config(ConfigError),
}

impl core::fmt::Display for Wrong {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Unreadable(error) => write!(f, "{FILE_NAME}: {error}"),
            Self::TooLong => write!(f, "{FILE_NAME} is longer than {} KiB", SETTINGS / 1024),
            Self::NotText => write!(f, "{FILE_NAME} is not UTF-8 text"),
            Self::Config(error) => write!(f, "{}", error.in_file(FILE_NAME)),
        }
    }
}

/// Reads the settings. What is wrong goes to `report`; the board serves with
/// what is right, or from its own subnet.
pub(crate) async fn load(
    files: &impl Files,
    arguments: Option<&str>,
    report: &mut dyn FnMut(Wrong),
) -> (Config, Origin) {
    let mut config = Config::new();
    let words = arguments.unwrap_or_default().split_ascii_whitespace();
    for word in words.filter_map(|word| word.strip_prefix(ARGUMENT)) {
        let (key, value) = word.split_once('=').unwrap_or((word, ""));
        if let Err(reason) = config.set(key, value) {
            report(Wrong::Config(ConfigError::new(key, reason)));
        }
    }
    match read(files).await {
        Ok(Some(text)) => match core::str::from_utf8(&text) {
            Ok(text) => {
                if let Err(error) = Settings::new(&mut config, &mut (), ELSEWHERE).read(text) {
                    report(Wrong::Config(error));
                }
            }
            Err(_) => report(Wrong::NotText),
        },
        Ok(None) => {}
        Err(wrong) => report(wrong),
    }
    if config.address == Address::Unset {
        return (rescue(), Origin::Rescue);
    }
    if let Err(error) = config.check() {
        report(Wrong::Config(error));
        return (rescue(), Origin::Rescue);
    }
    (config, Origin::Owner)
}

/// The whole file; None if there is none.
async fn read(files: &impl Files) -> Result<Option<Vec<u8, SETTINGS>>, Wrong> {
    let file = match files.open(FILE_NAME).await {
        Ok((file, _)) => file,
        // A board without a card says so elsewhere.
        Err(FileError::NotFound | FileError::Io) => return Ok(None),
        Err(error) => return Err(Wrong::Unreadable(error)),
    };
    let mut text = Vec::new();
    let mut piece = [0; 512];
    loop {
        let offset = text.len() as u64;
        let read = poll_fn(|cx| files.poll_read_at(cx, &file, offset, &mut piece)).await;
        match read.map_err(Wrong::Unreadable)? {
            0 => return Ok(Some(text)),
            n => text
                .extend_from_slice(&piece[..n])
                .map_err(|_| Wrong::TooLong)?,
        }
    }
}

fn rescue() -> Config {
    let mut config = Config::new();
    for (key, value) in RESCUE {
        // Constants of this file, which every boot without settings tries.
        let _ = config.set(key, value);
    }
    config
}
