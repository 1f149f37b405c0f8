//! Why a client gets an ERROR packet, in words that help its owner.

use core::fmt;

use ichor_hal::FileError;

use super::path::PathError;
use super::wire::{self, ErrorCode};

/// Why a request is refused or a transfer broken off by the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A packet that a server has no use for.
    Illegal,
    /// A request that cannot be read.
    Malformed(wire::Error),
    /// A write request.
    ReadOnly,
    /// A request to send mail.
    Mail,
    /// A file name that is not looked up.
    Path(PathError),
    /// A packet that belongs to no transfer.
    UnknownTransfer,
    /// The file cannot be opened or read.
    File(FileError),
    /// No sign of life from the client.
    GaveUp,
}

impl Refusal {
    /// The number for the client's program.
    pub(super) const fn code(self) -> ErrorCode {
        match self {
            Self::Illegal | Self::Malformed(_) | Self::Mail => ErrorCode::ILLEGAL,
            Self::ReadOnly | Self::Path(_) | Self::File(FileError::Denied) => ErrorCode::ACCESS,
            Self::UnknownTransfer => ErrorCode::UNKNOWN_TRANSFER,
            Self::File(FileError::NotFound) => ErrorCode::NOT_FOUND,
            Self::File(_) | Self::GaveUp => ErrorCode::UNDEFINED,
        }
    }

    /// The text for its owner, where `path` is the file in question.
    pub(super) const fn about(self, path: &str) -> About<'_> {
        About {
            refusal: self,
            path,
        }
    }
}

/// A refusal and the file that it is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct About<'a> {
    refusal: Refusal,
    path: &'a str,
}

impl fmt::Display for About<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = self.path;
        match self.refusal {
            Refusal::Illegal => f.write_str("not for a server: it takes RRQ, ACK and ERROR"),
            Refusal::Malformed(error) => write!(f, "malformed request: {error}"),
            Refusal::ReadOnly => f.write_str("read-only: this server takes no files"),
            Refusal::Mail => f.write_str("mail mode is obsolete: ask for octet"),
            Refusal::Path(error) => f.write_str(error.message()),
            Refusal::UnknownTransfer => f.write_str("unknown transfer: ask again on port 69"),
            Refusal::File(FileError::NotFound) => {
                write!(f, "not found: {path} - put it in the data folder's assets/")
            }
            Refusal::File(FileError::Denied) => {
                write!(
                    f,
                    "not readable: {path} - let the server's user read the file"
                )
            }
            Refusal::File(error) => write!(f, "{error}: {path}"),
            Refusal::GaveUp => write!(f, "gave up: no answer while sending {path}"),
        }
    }
}
