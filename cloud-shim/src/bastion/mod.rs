//! The bastion's bring-up: from a fresh Amazon Linux to `ichor`, mirrors and
//! DNS.
//!
//! The instance starts from Amazon Linux 2023 minimal (2 GiB, so that a root
//! of 5 GiB does). [`user_data`] has cloud-init write a script and start it as
//! a service; the script installs packages from Amazon's repositories, which
//! lie in S3, copies the bucket that [`objects`] fills, and starts what is in
//! it. All of that goes through the S3 gateway endpoint: no internet needed.
//!
//! ```text
//! bucket                    bastion
//! SHA256SUMS                checked after each copy to /srv/ichor
//! bin/ichor                 /usr/local/bin/ichor
//! data/…                    /srv/ichor/data, served as it is
//! bundle/*.tar              docker load
//! units/…                   /etc/systemd/system
//! images                    pulled if the bundle lacks them
//! pihole/…                  pi-hole's settings
//! compose.yaml              for people
//! ```
//!
//! The Auto Scaling group ends the instance each day and its disk with it:
//! caches and pi-hole's settings start anew. What shall stay is in the bucket.

mod archive;
mod containers;
mod mirrors;
mod objects;
mod units;

use std::fmt::Write as _;
use std::net::Ipv4Addr;

pub use containers::{Container, Volume, compose, containers};
pub use mirrors::{talos_patch, unreachable_mirrors, upstream};
pub use objects::{images_to_pull, objects};
pub use units::units;

use crate::config::Config;
use crate::error::{Error, Result};

/// Where AWS tells which image the bastion starts from.
pub const IMAGE_PARAMETER: &str =
    "/aws/service/ami-amazon-linux-latest/al2023-ami-minimal-kernel-default-arm64";

/// The script that does it all. It is the same for every lab: what differs is
/// in `/etc/ichor-bastion.conf`.
pub const SETUP: &str = include_str!("setup.sh");

/// The script that keeps the mirrors from filling the disk.
pub const MAKE_ROOM: &str = include_str!("make_room.sh");

/// EC2 takes no more user data.
const USER_DATA_LIMIT: usize = 16 * 1024;

/// Tells the console of the instance when a service failed.
const TELL: &str = concat!(
    r#"ExecStopPost=+/bin/sh -c 'test "$$SERVICE_RESULT" = success || "#,
    r#"echo "%N: $$SERVICE_RESULT ($$EXIT_STATUS): journalctl -u %N" >/dev/console'"#
);

/// The VPC's own resolver: the base of its block plus two.
fn vpc_resolver(config: &Config) -> Ipv4Addr {
    Ipv4Addr::from_bits(config.network.vpc.network().to_bits().wrapping_add(2))
}

/// A file that cloud-init writes.
struct File {
    path: &'static str,
    mode: &'static str,
    content: String,
}

/// The bastion's user data: a cloud-config. It names `bucket` and the
/// addresses; all else is in the bucket, so that it stays as small with any
/// number of mirrors.
///
/// Run again by cloud-init, or on a new root disk, it leads to the same.
///
/// # Errors
///
/// A bucket or region that can be none, or more than EC2 takes.
pub fn user_data(config: &Config, bucket: &str) -> Result<String> {
    for (what, name) in [("bucket", bucket), ("region", &*config.region)] {
        let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
        if name.is_empty() || !name.chars().all(valid) {
            return Err(Error::refused(format!(
                "{what}: {name:?} is no name of one"
            )));
        }
    }
    let mut text = format!(
        "#cloud-config\n\
         # The bastion of the lab {lab:?}, by ichor's cloud-shim. What happened:\n\
         #   journalctl -u ichor-bastion; aws ec2 get-console-output\n\
         # The rest is in s3://{bucket}. To have it fetched again:\n\
         #   systemctl restart ichor-bastion\n\
         write_files:\n",
        lab = config.lab
    );
    for file in files(config, bucket) {
        let _ = write!(
            text,
            "  - path: {}\n    permissions: \"{}\"\n    content: |\n",
            file.path, file.mode
        );
        for line in file.content.lines() {
            let indent = if line.is_empty() { "" } else { "      " };
            let _ = writeln!(text, "{indent}{line}");
        }
    }
    text.push_str(
        "runcmd:\n\
         \x20 - [systemctl, try-restart, systemd-resolved.service]\n\
         \x20 - [sysctl, --load=/etc/sysctl.d/90-ichor.conf]\n\
         \x20 - [systemctl, daemon-reload]\n\
         \x20 - [systemctl, enable, ichor-bastion.service]\n\
         \x20 - [systemctl, start, --no-block, ichor-bastion.service]\n",
    );
    if text.len() > USER_DATA_LIMIT {
        return Err(Error::refused(format!(
            "the bastion's user data is {} bytes: EC2 takes {USER_DATA_LIMIT}",
            text.len()
        )));
    }
    Ok(text)
}

fn files(config: &Config, bucket: &str) -> [File; 6] {
    let file = |path, mode, content| File {
        path,
        mode,
        content,
    };
    [
        file(
            "/etc/ichor-bastion.conf",
            "0644",
            format!(
                "BUCKET={bucket}\n\
                 AWS_DEFAULT_REGION={}\n\
                 ADDRESS={}\n\
                 STACK_ADDRESS={}\n",
                config.region, config.bastion.address, config.bastion.stack_address
            ),
        ),
        file("/usr/local/sbin/ichor-bastion", "0755", SETUP.to_owned()),
        file(
            "/etc/systemd/system/ichor-bastion.service",
            "0644",
            units::SETUP.to_owned(),
        ),
        file(
            "/etc/systemd/resolved.conf.d/ichor.conf",
            "0644",
            format!(
                "# DHCP names the bastion as the VPC's DNS server; it must not ask itself.\n\
                 [Resolve]\n\
                 DNS={}\n\
                 Domains=~.\n",
                vpc_resolver(config)
            ),
        ),
        file(
            "/etc/sysctl.d/90-ichor.conf",
            "0644",
            "# A router would answer, or pass on, what is for the stack's address.\n\
             net.ipv4.ip_forward = 0\n"
                .to_owned(),
        ),
        file(
            "/etc/docker/daemon.json",
            "0644",
            // All containers use the host's network, and journald has what
            // they say: their units run them in the foreground.
            concat!(
                "{\n",
                "  \"bridge\": \"none\",\n",
                "  \"iptables\": false,\n",
                "  \"ip-forward\": false,\n",
                "  \"log-driver\": \"none\"\n",
                "}\n"
            )
            .to_owned(),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_data_is_small_with_any_number_of_mirrors() {
        let mut config = Config::default();
        let few = user_data(&config, "ichor-home-1").expect("it fits");
        for n in 0..100 {
            config.mirrors.insert(format!("r{n}.example.org"), 6000 + n);
        }
        let many = user_data(&config, "ichor-home-1").expect("it fits");
        assert_eq!(few, many);
        assert!(few.len() < USER_DATA_LIMIT / 2 + 2048, "{}", few.len());
    }

    #[test]
    fn user_data_that_is_too_large_names_its_size() {
        let config = Config {
            lab: "x".repeat(20_000),
            ..Config::default()
        };
        let said = user_data(&config, "b").expect_err("too large").to_string();
        assert!(said.contains("bytes: EC2 takes 16384"), "{said}");
    }

    #[test]
    fn names_that_a_shell_would_read_otherwise_are_refused() {
        for bucket in ["", "a b", "a;reboot", "$HOME", "a\nb"] {
            assert!(user_data(&Config::default(), bucket).is_err(), "{bucket:?}");
        }
    }

    #[test]
    fn the_resolver_is_the_second_of_the_vpc() {
        assert_eq!(
            vpc_resolver(&Config::default()),
            Ipv4Addr::new(10, 20, 0, 2)
        );
    }
}
