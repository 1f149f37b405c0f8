//! Why the process ends, as an exit code and a message that says what to do.

use std::fmt;
use std::process::ExitCode;

/// What kind of thing went wrong; scripts and systemd see the number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Anything that is not below.
    Other = 1,
    /// A flag, a key of `ichor.toml`, or the data folder is wrong.
    Config = 2,
    /// The process lacks a right.
    Permission = 3,
    /// The interface or NIC is not there.
    Nic = 4,
    /// Another machine of the LAN uses our address.
    AddressTaken = 5,
    /// The state folder is used by another instance, or cannot be used.
    State = 6,
}

/// The end of the process.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    message: String,
}

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl fmt::Display) -> Self {
        Self {
            kind,
            message: message.to_string(),
        }
    }

    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.kind as u8)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}
