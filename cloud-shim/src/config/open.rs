//! Ports as `cloud.toml` names them: `tcp 7946`, `udp 7000-7999`.

use core::str::FromStr;

use serde::{Deserialize, Deserializer, de};

use crate::api::Protocol;

/// What nodes may say to each other besides the usual.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Open(pub Protocol);

impl FromStr for Open {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is no protocol with ports; expected \"tcp 7946\" or \"udp 7000-7999\""
            )
        };
        let (protocol, ports) = text.split_once(' ').ok_or_else(wrong)?;
        let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
        let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
        let (first, last) = port(first).zip(port(last)).ok_or_else(wrong)?;
        if first > last {
            return Err(wrong());
        }
        match protocol {
            "tcp" => Ok(Self(Protocol::Tcp(first, last))),
            "udp" => Ok(Self(Protocol::Udp(first, last))),
            _ => Err(wrong()),
        }
    }
}

impl<'de> Deserialize<'de> for Open {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_ports_and_ranges() {
        for (text, protocol) in [
            ("tcp 7946", Some(Protocol::Tcp(7946, 7946))),
            ("udp 7000-7999", Some(Protocol::Udp(7000, 7999))),
            ("tcp 0", None),
            ("tcp 9-8", None),
            ("tcp 1-70000", None),
            ("icmp 8", None),
            ("7946", None),
            ("", None),
        ] {
            assert_eq!(text.parse().ok(), protocol.map(Open), "{text}");
        }
    }
}
