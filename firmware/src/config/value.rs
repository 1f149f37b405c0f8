//! Values as operators write them.

use core::net::Ipv4Addr;
use core::ops::RangeInclusive;
use core::str::FromStr;

use heapless::{String, Vec};

use super::reason::Reason;
use crate::MacAddr;
use crate::dhcp::capacity::{CLIENT_ID_LEN, DOMAIN_LEN, HOSTNAME_LEN};
use crate::dhcp::{Owner, Pool, Reservation, Route, Subnet};

/// `true` or `false`
pub(super) fn boolean(text: &str) -> Result<bool, Reason> {
    text.parse()
        .map_err(|_| Reason::expected("true or false", text))
}

/// A number of this range.
pub(super) fn number<T: FromStr + PartialOrd>(
    text: &str,
    range: RangeInclusive<T>,
    what: &'static str,
) -> Result<T, Reason> {
    // `parse` would take a sign.
    let digits = text.bytes().all(|b| b.is_ascii_digit());
    let number = text.parse().ok().filter(|n| digits && range.contains(n));
    number.ok_or_else(|| Reason::expected(what, text))
}

/// `192.168.1.1`
pub(super) fn address(text: &str) -> Result<Ipv4Addr, Reason> {
    text.parse()
        .map_err(|_| Reason::expected("an IPv4 address like 192.168.1.1", text))
}

/// `192.168.1.2/24`
pub(super) fn interface(text: &str) -> Result<(Ipv4Addr, u8), Reason> {
    prefixed(text).ok_or_else(|| Reason::expected("ADDRESS/PREFIX like 192.168.1.2/24", text))
}

fn prefixed(text: &str) -> Option<(Ipv4Addr, u8)> {
    let (ip, prefix) = text.split_once('/')?;
    let prefix = number(prefix, 0..=32, "").ok()?;
    Some((ip.parse().ok()?, prefix))
}

/// `192.168.1.50-192.168.1.99`
pub(super) fn pool(text: &str) -> Result<Pool, Reason> {
    let ends = text.split_once('-').and_then(|(first, last)| {
        Some(Pool {
            first: first.trim().parse().ok()?,
            last: last.trim().parse().ok()?,
        })
    });
    ends.ok_or_else(|| Reason::expected("FIRST-LAST like 192.168.1.50-192.168.1.99", text))
}

/// `10.0.0.0/8 via 192.168.1.1`
pub(super) fn route(text: &str) -> Result<Route, Reason> {
    let parts = text.split_once(" via ").and_then(|(network, router)| {
        let (destination, prefix) = prefixed(network.trim())?;
        Some(Route {
            destination,
            prefix,
            router: router.trim().parse().ok()?,
        })
    });
    parts.ok_or_else(|| {
        Reason::expected(
            "NETWORK/PREFIX via ROUTER like 10.0.0.0/8 via 192.168.1.1",
            text,
        )
    })
}

/// Seconds: `3600`, `90s`, `45m`, `12h`, `7d`
pub(super) fn seconds(text: &str) -> Result<u32, Reason> {
    const UNITS: [(char, u32); 4] = [('s', 1), ('m', 60), ('h', 3600), ('d', 86_400)];
    let unit = UNITS.iter().find(|(letter, _)| text.ends_with(*letter));
    let (digits, unit) = match unit {
        Some((letter, unit)) => (text.strip_suffix(*letter).unwrap_or(text), *unit),
        None => (text, 1),
    };
    number(digits, 1..=u32::MAX, "")
        .ok()
        .and_then(|n: u32| n.checked_mul(unit))
        .ok_or_else(|| Reason::expected("seconds like 3600, or 45m, 12h, 7d", text))
}

/// A domain name: labels of letters, digits, `-` and `_`, 63 bytes at most,
/// with dots between them (RFC 1035 §2.3.1, RFC 2181 §11).
pub(super) fn domain(text: &str) -> Result<String<DOMAIN_LEN>, Reason> {
    let name = text.strip_suffix('.').unwrap_or(text);
    let good = name.split('.').all(is_label);
    String::try_from(name)
        .ok()
        .filter(|_| good)
        .ok_or_else(|| Reason::expected("a domain name like lab.example.org", text))
}

fn host_name(text: &str) -> Result<String<HOSTNAME_LEN>, Reason> {
    String::try_from(text)
        .ok()
        .filter(|_| is_label(text))
        .ok_or_else(|| Reason::expected("a host name without dots like node1", text))
}

fn is_label(label: &str) -> bool {
    (1..=63).contains(&label.len())
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'))
}

/// Values with commas between them; none at all if there is no text.
pub(super) fn list<T, const N: usize>(
    text: &str,
    each: impl Fn(&str) -> Result<T, Reason>,
) -> Result<Vec<T, N>, Reason> {
    let mut list = Vec::new();
    if text.trim().is_empty() {
        return Ok(list);
    }
    for item in text.split(',') {
        let value = each(item.trim())?;
        list.push(value).map_err(|_| Reason::TooMany(N))?;
    }
    Ok(list)
}

/// `mac=52:54:00:12:34:56,address=192.168.1.10,hostname=node1`
pub(super) fn reservation(text: &str) -> Result<Reservation, Reason> {
    let [mac, client_id, ip, name] = fields(
        text,
        ["mac", "client-id", "address", "hostname"],
        "mac or client-id, address, and hostname if wanted",
    )?;
    let owner = match (mac, client_id) {
        (Some(mac), None) => {
            let what = "an Ethernet address like 52:54:00:12:34:56";
            let mac: MacAddr = mac.parse().map_err(|_| Reason::expected(what, mac))?;
            if !mac.is_unicast() {
                return Err(Reason::wrong(format_args!(
                    "{mac} is no machine's address: broadcast and multicast cannot be reserved for"
                )));
            }
            Owner::Mac(mac)
        }
        (None, Some(id)) => Owner::ClientId(self::client_id(id)?),
        (None, None) | (Some(_), Some(_)) => {
            return Err(Reason::wrong(format_args!(
                "needs either \"mac\" or \"client-id\" to know its machine by"
            )));
        }
    };
    let ip = ip.ok_or_else(|| Reason::wrong(format_args!("needs an \"address\"")))?;
    Ok(Reservation {
        owner,
        ip: address(ip)?,
        hostname: name.map(host_name).transpose()?.unwrap_or_default(),
    })
}

/// A client identifier: bytes in hex with colons, its type first
/// (`01:52:54:00:12:34:56`), or text, which has type 0 (RFC 2132 §9.14).
fn client_id(text: &str) -> Result<Vec<u8, CLIENT_ID_LEN>, Reason> {
    const WHAT: &str = "up to 32 bytes: text, or hex like 01:52:54:00:12:34:56";
    let too_long = |_| Reason::expected(WHAT, text);
    let mut id = Vec::new();
    let hex = text.contains(':')
        && text
            .split(':')
            .all(|byte| byte.len() == 2 && byte.bytes().all(|b| b.is_ascii_hexdigit()));
    if hex {
        for byte in text.split(':') {
            let byte = u8::from_str_radix(byte, 16).map_err(|_| Reason::expected(WHAT, text))?;
            id.push(byte).map_err(too_long)?;
        }
    } else {
        if text.is_empty() {
            return Err(Reason::expected(WHAT, text));
        }
        id.push(0).map_err(too_long)?;
        id.extend_from_slice(text.as_bytes())
            .map_err(|_| Reason::expected(WHAT, text))?;
    }
    Ok(id)
}

/// `address=10.1.0.0/24,pool=10.1.0.50-10.1.0.99,gateway=10.1.0.1`
pub(super) fn subnet(text: &str) -> Result<Subnet, Reason> {
    let [network, range, gateway] = fields(
        text,
        ["address", "pool", "gateway"],
        "address, and pool and gateway if wanted",
    )?;
    let network = network.ok_or_else(|| Reason::wrong(format_args!("needs an \"address\"")))?;
    let (ip, prefix) = interface(network)?;
    let mut subnet = Subnet::new(ip, prefix);
    subnet.pool = range.map(pool).transpose()?;
    if let Some(gateway) = gateway {
        let router = address(gateway)?;
        subnet
            .routers
            .push(router)
            .map_err(|_| Reason::TooMany(subnet.routers.capacity()))?;
    }
    Ok(subnet)
}

/// The values of `name=value` pairs with commas between them.
fn fields<'a, const N: usize>(
    text: &'a str,
    names: [&'static str; N],
    what: &'static str,
) -> Result<[Option<&'a str>; N], Reason> {
    let mut values = [None; N];
    for field in text.split(',') {
        let (name, value) = field
            .split_once('=')
            .ok_or_else(|| Reason::expected(what, field))?;
        let name = name.trim();
        let Some((_, place)) = names.iter().zip(&mut values).find(|(n, _)| **n == name) else {
            return Err(Reason::expected(what, name));
        };
        if place.replace(value.trim()).is_some() {
            return Err(Reason::wrong(format_args!("sets {name:?} twice")));
        }
    }
    Ok(values)
}
