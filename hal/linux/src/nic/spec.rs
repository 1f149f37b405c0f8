//! How an operator names a NIC: `packet:eth0`, `tap:tap0`, `wire:/run/lab.sock`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Longest interface name (`IFNAMSIZ` without the NUL).
const MAX_INTERFACE_NAME: usize = 15;

/// Longest path of a unix socket that every Unix takes (macOS: 104 with NUL).
const MAX_SOCKET_PATH: usize = 103;

/// Which NIC to open.
///
/// A wire and a TAP have no address of their own; one is derived from their
/// name unless `,mac=52:54:00:12:34:56` follows it. Give one when two stacks
/// share a wire.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spec {
    /// `packet:IFACE`: an AF_PACKET socket on an interface, with its address.
    Packet {
        /// The interface's name.
        interface: String,
    },
    /// `tap:NAME[,mac=…]`: a TAP device, made if it is not there.
    Tap {
        /// The device's name.
        name: String,
        /// The stack's address.
        mac: Option<[u8; 6]>,
    },
    /// `wire:PATH[,mac=…]`: a unix socket as QEMU's `-netdev stream` uses it.
    Wire {
        /// The socket's path.
        path: PathBuf,
        /// The stack's address.
        mac: Option<[u8; 6]>,
    },
    /// `wire:dgram:LOCAL,REMOTE[,mac=…]`: unix datagrams, as `-netdev dgram`.
    WireDgram {
        /// The path this end is bound to.
        local: PathBuf,
        /// The path of the other end.
        remote: PathBuf,
        /// The stack's address.
        mac: Option<[u8; 6]>,
    },
}

/// The text names no NIC.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseSpecError {
    text: String,
    problem: String,
}

impl fmt::Display for ParseSpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no NIC: {}; expected packet:IFACE, tap:NAME, wire:PATH or wire:dgram:LOCAL,REMOTE",
            self.text, self.problem
        )
    }
}

impl std::error::Error for ParseSpecError {}

impl FromStr for Spec {
    type Err = ParseSpecError;

    fn from_str(text: &str) -> Result<Self, ParseSpecError> {
        parse(text).map_err(|problem| ParseSpecError {
            text: text.to_owned(),
            problem,
        })
    }
}

fn parse(text: &str) -> Result<Spec, String> {
    let (kind, rest) = text
        .split_once(':')
        .ok_or("there is no `:` after the kind")?;
    let (rest, mac) = match rest.rsplit_once(",mac=") {
        Some((rest, mac)) => (rest, Some(parse_mac(mac)?)),
        None => (rest, None),
    };
    match kind {
        "packet" if mac.is_some() => {
            Err("a packet socket uses the interface's own address, leave out `mac=`".into())
        }
        "packet" => Ok(Spec::Packet {
            interface: interface(rest)?,
        }),
        "tap" => Ok(Spec::Tap {
            name: interface(rest)?,
            mac,
        }),
        "wire" => match rest.strip_prefix("dgram:") {
            Some(pair) => {
                let (local, remote) = pair
                    .split_once(',')
                    .ok_or("a dgram wire needs two paths, LOCAL,REMOTE")?;
                Ok(Spec::WireDgram {
                    local: socket_path(local)?,
                    remote: socket_path(remote)?,
                    mac,
                })
            }
            None => Ok(Spec::Wire {
                path: socket_path(rest)?,
                mac,
            }),
        },
        _ => Err(format!("there is no kind `{kind}`")),
    }
}

fn interface(name: &str) -> Result<String, String> {
    let valid = !name.is_empty()
        && name.len() <= MAX_INTERFACE_NAME
        && !matches!(name, "." | "..")
        && !name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace() || c == '\0');
    if valid {
        Ok(name.to_owned())
    } else {
        Err(format!(
            "`{name}` is not an interface name (1 to {MAX_INTERFACE_NAME} bytes, no `/`, `:` or space)"
        ))
    }
}

fn socket_path(path: &str) -> Result<PathBuf, String> {
    match path.len() {
        0 => Err("the socket's path is empty".into()),
        1..=MAX_SOCKET_PATH if !path.contains('\0') => Ok(path.into()),
        1..=MAX_SOCKET_PATH => Err("the socket's path has a NUL byte in it".into()),
        n => Err(format!(
            "the socket's path has {n} bytes, and a unix socket takes {MAX_SOCKET_PATH}"
        )),
    }
}

fn parse_mac(text: &str) -> Result<[u8; 6], String> {
    let mut mac = [0; 6];
    let mut parts = text.split(':');
    for byte in &mut mac {
        *byte = parts
            .next()
            .filter(|part| part.len() == 2 && part.bytes().all(|c| c.is_ascii_hexdigit()))
            .and_then(|part| u8::from_str_radix(part, 16).ok())
            .ok_or_else(|| format!("`{text}` is not an address like 52:54:00:12:34:56"))?;
    }
    match (parts.next(), mac[0] & 1, mac == [0; 6]) {
        (None, 0, false) => Ok(mac),
        (None, ..) => Err(format!("`{text}` is not the address of one station")),
        (Some(_), ..) => Err(format!("`{text}` has more than six bytes")),
    }
}

impl fmt::Display for Spec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mac = match self {
            Self::Packet { interface } => {
                write!(f, "packet:{interface}")?;
                None
            }
            Self::Tap { name, mac } => {
                write!(f, "tap:{name}")?;
                *mac
            }
            Self::Wire { path, mac } => {
                write!(f, "wire:{}", path.display())?;
                *mac
            }
            Self::WireDgram { local, remote, mac } => {
                write!(f, "wire:dgram:{},{}", local.display(), remote.display())?;
                *mac
            }
        };
        if let Some([a, b, c, d, e, g]) = mac {
            write!(f, ",mac={a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_read_and_written_alike() {
        let mac = Some([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
        let cases = [
            (
                "packet:eth0",
                Spec::Packet {
                    interface: "eth0".into(),
                },
            ),
            (
                "tap:lab-tap.0",
                Spec::Tap {
                    name: "lab-tap.0".into(),
                    mac: None,
                },
            ),
            (
                "wire:/run/lab.sock,mac=52:54:00:12:34:56",
                Spec::Wire {
                    path: "/run/lab.sock".into(),
                    mac,
                },
            ),
            (
                "wire:dgram:a.sock,b.sock",
                Spec::WireDgram {
                    local: "a.sock".into(),
                    remote: "b.sock".into(),
                    mac: None,
                },
            ),
        ];
        for (text, spec) in cases {
            assert_eq!(text.parse(), Ok(spec.clone()));
            assert_eq!(spec.to_string(), text);
        }
    }

    #[test]
    fn the_error_names_the_problem() {
        for (text, problem) in [
            ("eth0", "no `:`"),
            ("pcap:eth0", "no kind `pcap`"),
            ("packet:", "not an interface name"),
            ("packet:a-very-long-name0", "not an interface name"),
            ("packet:eth0,mac=52:54:00:12:34:56", "leave out `mac=`"),
            ("wire:", "path is empty"),
            ("wire:dgram:only-one", "two paths"),
            ("wire:x,mac=52:54:00:12:34", "not an address"),
            ("wire:x,mac=53:54:00:12:34:56", "one station"),
            ("wire:x,mac=52:54:00:12:34:56:78", "more than six"),
        ] {
            let error = text.parse::<Spec>().unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
        assert!(
            format!("wire:/{}", "x".repeat(103))
                .parse::<Spec>()
                .is_err()
        );
    }
}
