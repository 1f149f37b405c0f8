//! The systemd units that go to the bucket.

use std::collections::BTreeMap;

use super::{TELL, containers};
use crate::config::Config;
use crate::error::Result;

/// Runs the setup script until it succeeds, at every start of the instance.
pub(super) const SETUP: &str = "\
[Unit]
Description=Brings the bastion to what its bucket says
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/ichor-bastion
TimeoutStartSec=20min
Restart=on-failure
RestartSec=30

[Install]
WantedBy=multi-user.target
";

/// The unit that every bastion has, in the cloud or not.
const ICHOR: &str = include_str!("../../../boards/bastion/ichor.service");

const MAKE_ROOM: &str = "\
[Unit]
Description=Empties the largest mirror when the disk gets full

[Service]
Type=oneshot
ExecStart=/usr/local/sbin/ichor-make-room
";

const MAKE_ROOM_TIMER: &str = "\
[Unit]
Description=Looks every minute whether the disk gets full

[Timer]
OnActiveSec=1min
OnUnitActiveSec=1min
";

/// All of them: path under `/etc/systemd/system` to content. None is enabled:
/// the setup script starts them once what they need is there.
///
/// # Errors
///
/// As [`containers`].
pub fn units(config: &Config) -> Result<BTreeMap<String, String>> {
    let mut units: BTreeMap<String, String> = [
        ("ichor.service", ICHOR.to_owned()),
        ("ichor.service.d/bastion.conf", ichor_here(config)),
        ("ichor-make-room.service", MAKE_ROOM.to_owned()),
        ("ichor-make-room.timer", MAKE_ROOM_TIMER.to_owned()),
    ]
    .map(|(name, text)| (name.to_owned(), text))
    .into();
    for container in containers(config)? {
        units.insert(format!("{}.service", container.name), container.unit());
    }
    Ok(units)
}

/// What is different about `ichor` in a VPC: an address beside the kernel's,
/// and no DHCP, since AWS has its own.
fn ichor_here(config: &Config) -> String {
    let stack = config.bastion.stack_address;
    let subnet = config.network.private;
    // AWS keeps the first address of each subnet for its router.
    let router = std::net::Ipv4Addr::from_bits(subnet.network().to_bits().wrapping_add(1));
    format!(
        "[Service]\n\
         # INTERFACE, as ichor-bastion.service found it.\n\
         EnvironmentFile=/run/ichor-bastion.env\n\
         # Should the kernel have got the stack's address, both would answer for it.\n\
         ExecStartPre=+/usr/sbin/ip address flush dev ${{INTERFACE}} to {stack}/32\n\
         ExecStart=\n\
         ExecStart=/usr/local/bin/ichor serve --data /srv/ichor/data --state /var/lib/ichor/state \
         --nic packet:${{INTERFACE}} --address {stack}/{len} --gateway {router} --dhcp off\n\
         {TELL}\n",
        len = subnet.prefix_len(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ichor_serves_on_its_own_address_without_dhcp() {
        let all = units(&Config::default()).expect("the defaults are right");
        let here = &all["ichor.service.d/bastion.conf"];
        let flags =
            "--nic packet:${INTERFACE} --address 10.20.13.141/24 --gateway 10.20.13.1 --dhcp off\n";
        assert!(here.contains(flags), "{here}");
    }
}
