//! The settings that only this board has.

// An error carries its text, as everywhere in `ichor::config`; it ends the
// process.
#![allow(clippy::result_large_err)]

use std::path::PathBuf;

use ichor::config::{Key, Reason};
use ichor_hal_linux::nic::Spec;

/// What a Linux machine must be told besides [`ichor::config::Config`].
#[derive(Debug, Default)]
pub(crate) struct Board {
    /// Where frames come from.
    pub(crate) nic: Option<Spec>,
    /// Folder for leases.
    pub(crate) state: Option<PathBuf>,
    /// Whether leases are on the disk, not only out of the process, before a
    /// client is told of them.
    pub(crate) sync: bool,
    /// Whether files outside of the data folder may be linked into it.
    pub(crate) follow_symlinks: bool,
    /// Whom to become once everything privileged is open.
    pub(crate) user: Option<String>,
}

impl Board {
    /// Keys of `ichor.toml` and flags of `ichor serve`.
    pub(crate) const KEYS: &[Key<Self>] = &[
        Key::new(
            "nic",
            "packet:IFACE|tap:NAME|wire:PATH",
            "an interface, a TAP device, or the unix socket of QEMU's -netdev stream",
            |board, text| {
                let spec = text
                    .parse()
                    .map_err(|error| Reason::wrong(format_args!("{error}")))?;
                board.nic = Some(spec);
                Ok(())
            },
        ),
        Key::new(
            "state",
            "DIR",
            "folder for leases [/var/lib/ichor]",
            |board, text| {
                board.state = Some(text.into());
                Ok(())
            },
        ),
        Key::new(
            "sync",
            "true|false",
            "wait for the disk before a lease is acknowledged: survives a power cut [false]",
            |board, text| {
                board.sync = boolean(text)?;
                Ok(())
            },
        ),
        Key::new(
            "follow-symlinks",
            "true|false",
            "serve what symbolic links out of the data folder point at [false]",
            |board, text| {
                board.follow_symlinks = boolean(text)?;
                Ok(())
            },
        ),
        Key::new(
            "user",
            "NAME",
            "user to become once the sockets are open, when started as root [ichor, or else nobody]",
            |board, text| {
                board.user = Some(text.into());
                Ok(())
            },
        ),
    ];
}

fn boolean(text: &str) -> Result<bool, Reason> {
    match text {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Reason::expected("true or false", text)),
    }
}
