//! How logs and the journal put things.

use core::fmt;
use core::net::Ipv4Addr;

use crate::MacAddr;

/// An address and the boot file that goes with it, if any.
pub(super) struct Detail<F>(pub(super) Ipv4Addr, pub(super) Option<F>);

impl<F: fmt::Display> fmt::Display for Detail<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self(ip, Some(file)) => write!(f, "{ip} {file}"),
            Self(ip, None) => write!(f, "{ip}"),
        }
    }
}

/// A host that may be known by its address.
pub(super) struct Host(pub(super) Option<MacAddr>);

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(mac) => write!(f, "{mac}"),
            None => f.write_str("another host"),
        }
    }
}

/// Seconds, as people say them.
pub(super) struct Span(pub(super) u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NEVER: u64 = u32::MAX as u64;
        match self.0 {
            0..120 => write!(f, "{} s", self.0),
            120..7200 => write!(f, "{} min", self.0 / 60),
            7200..NEVER => write!(f, "{} h", self.0 / 3600),
            _ => f.write_str("no time at all"),
        }
    }
}

#[cfg(feature = "defmt")]
mod format {
    use super::{Host, Span};

    impl defmt::Format for Host {
        fn format(&self, f: defmt::Formatter<'_>) {
            defmt::write!(f, "{}", defmt::Display2Format(self));
        }
    }

    impl defmt::Format for Span {
        fn format(&self, f: defmt::Formatter<'_>) {
            defmt::write!(f, "{}", defmt::Display2Format(self));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_read_well() {
        let table = [
            (0, "0 s"),
            (119, "119 s"),
            (725, "12 min"),
            (86_400, "24 h"),
            (u64::MAX, "no time at all"),
        ];
        for (seconds, text) in table {
            assert_eq!(Span(seconds).to_string(), text);
        }
    }
}
