//! The parameter checks that several calls share.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::{Ipv4Net, Ipv6Net};

use super::{Answer, refuse};
use crate::api::Tags;

/// Tags on a resource.
const MAX_TAGS: usize = 50;

/// The tags that a resource will have.
pub(super) fn tags(tags: &Tags) -> Answer<()> {
    if tags.len() > MAX_TAGS {
        return refuse(
            "TagLimitExceeded",
            format!("A resource has {MAX_TAGS} tags at most, not {}", tags.len()),
        );
    }
    for (key, value) in tags {
        let flaw = if key.is_empty() {
            "Tag key cannot be empty".to_owned()
        } else if key.to_ascii_lowercase().starts_with("aws:") {
            format!("Tag keys starting with 'aws:' are reserved for internal use: {key}")
        } else if key.chars().count() > 128 {
            format!("Tag key exceeds the maximum length of 128 characters: {key}")
        } else if value.chars().count() > 256 {
            format!("Tag value exceeds the maximum length of 256 characters: {key}")
        } else {
            continue;
        };
        return refuse("InvalidParameterValue", flaw);
    }
    Ok(())
}

/// An IPv4 block in its canonical form, as EC2 makes it: `100.68.0.18/18`
/// is `100.68.0.0/18`.
pub(super) fn ipv4_block(text: &str, parameter: &str) -> Answer<Ipv4Net> {
    match text.parse::<Ipv4Net>() {
        Ok(net) => Ok(net.trunc()),
        Err(_) => bad_value(text, parameter, "This is not a valid CIDR block."),
    }
}

/// An IPv6 block in its canonical form.
pub(super) fn ipv6_block(text: &str, parameter: &str) -> Answer<Ipv6Net> {
    match text.parse::<Ipv6Net>() {
        Ok(net) => Ok(net.trunc()),
        Err(_) => bad_value(text, parameter, "This is not a valid IPv6 CIDR block."),
    }
}

/// A destination of a route: an IPv4 or IPv6 block in its canonical form.
pub(super) fn block(text: &str, parameter: &str) -> Answer<ipnet::IpNet> {
    match text.parse::<ipnet::IpNet>() {
        Ok(net) => Ok(net.trunc()),
        Err(_) => bad_value(text, parameter, "This is not a valid CIDR block."),
    }
}

/// An address that an interface of the subnet may have. The first four and
/// the last of a subnet are EC2's own.
pub(super) fn host_address(text: &str, subnet: Ipv4Net) -> Answer<Ipv4Addr> {
    let Ok(address) = text.parse::<Ipv4Addr>() else {
        return bad_value(text, "address", "Invalid IPv4 address.");
    };
    if !subnet.contains(&address) {
        return refuse(
            "InvalidParameterValue",
            format!("Address {address} does not fall within the subnet's address range {subnet}"),
        );
    }
    if !is_host(address, subnet) {
        return refuse(
            "InvalidParameterValue",
            format!("Address {address} is in subnet's reserved address range"),
        );
    }
    Ok(address)
}

/// Whether the address is not one of the five that EC2 keeps of each subnet.
pub(super) fn is_host(address: Ipv4Addr, subnet: Ipv4Net) -> bool {
    let offset = u32::from(address) - u32::from(subnet.network());
    offset >= 4 && address != subnet.broadcast()
}

/// A name server of a DHCP option set.
pub(super) fn name_server(text: &str) -> Answer<()> {
    if text == "AmazonProvidedDNS" || text.parse::<IpAddr>().is_ok() {
        return Ok(());
    }
    bad_value(text, "domain-name-servers", "Invalid name server.")
}

/// What EC2 says of a value that it does not take.
pub(super) fn bad_value<T>(value: &str, parameter: &str, why: &str) -> Answer<T> {
    refuse(
        "InvalidParameterValue",
        format!("Value ({value}) for parameter {parameter} is invalid. {why}"),
    )
}

/// A text of letters, digits and the given signs, of a length within bounds.
pub(super) fn is_text(text: &str, lengths: core::ops::RangeInclusive<usize>, signs: &str) -> bool {
    lengths.contains(&text.len())
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || signs.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_few_short_and_not_of_aws() {
        let some = |n: usize| {
            (0..n)
                .map(|i| (format!("k{i}"), String::new()))
                .collect::<Tags>()
        };
        let one = |key: String, value: String| Tags::from([(key, value)]);
        for (tags_given, code) in [
            (some(50), None),
            (some(51), Some("TagLimitExceeded")),
            (
                one("aws:x".into(), String::new()),
                Some("InvalidParameterValue"),
            ),
            (
                one("AWS:x".into(), String::new()),
                Some("InvalidParameterValue"),
            ),
            (
                one(String::new(), String::new()),
                Some("InvalidParameterValue"),
            ),
            (one("k".repeat(128), "v".repeat(256)), None),
            (
                one("k".repeat(129), String::new()),
                Some("InvalidParameterValue"),
            ),
            (
                one("k".into(), "v".repeat(257)),
                Some("InvalidParameterValue"),
            ),
        ] {
            assert_eq!(
                tags(&tags_given).err().map(|e| e.code),
                code.map(str::to_owned)
            );
        }
    }

    #[test]
    fn five_addresses_of_a_subnet_are_ec2s_own() {
        let subnet: Ipv4Net = "10.20.13.0/24".parse().unwrap();
        for (address, good) in [
            ("10.20.13.0", false),
            ("10.20.13.3", false),
            ("10.20.13.4", true),
            ("10.20.13.254", true),
            ("10.20.13.255", false),
            ("10.20.14.4", false),
            ("10.20.13", false),
            ("", false),
        ] {
            assert_eq!(host_address(address, subnet).is_ok(), good, "{address}");
        }
    }

    #[test]
    fn a_block_is_made_canonical_or_refused() {
        assert_eq!(
            ipv4_block("100.68.0.18/18", "cidrBlock")
                .unwrap()
                .to_string(),
            "100.68.0.0/18"
        );
        for bad in ["", "10.0.0.0", "10.0.0.0/33", "10.0.0/8", "::/0"] {
            assert!(ipv4_block(bad, "cidrBlock").is_err(), "{bad}");
        }
    }
}
