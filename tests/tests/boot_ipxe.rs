//! iPXE from the machine's own disk, as a cloud machine boots: DHCP tells an address alone.

mod story;

use std::time::Duration;

use anyhow::Result;
use ichor_lab::faults::Fault;
use ichor_lab::qemu::Via;
use story::a_machine_boots;

/// There is no boot file: the disk has it.
const STAGES: [&str; 8] = [
    "discover", "offer", "bound", "script", "kernel", "initrd", "bound", "config",
];

#[test]
fn a_machine_boots_by_ipxe() -> Result<()> {
    let patience = Duration::from_secs(90);
    a_machine_boots("boot_ipxe", Via::Ipxe, [], &STAGES, patience)
}

#[test]
fn it_also_boots_over_a_bad_cable() -> Result<()> {
    let patience = Duration::from_secs(300);
    let faults = Fault::bad_cable(0.05, 4);
    a_machine_boots("boot_ipxe_bad_cable", Via::Ipxe, faults, &STAGES, patience)
}
