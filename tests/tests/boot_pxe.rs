//! UEFI PXE: firmware loads iPXE by TFTP, iPXE loads kernel and initrd by HTTP.

mod story;

use std::time::Duration;

use anyhow::Result;
use ichor_lab::faults::Fault;
use ichor_lab::qemu::Via;
use story::a_machine_boots;

/// The firmware, then iPXE, then the node each get their address.
const STAGES: [&str; 12] = [
    "discover",
    "offer",
    "bound",
    "boot-file",
    "discover",
    "offer",
    "bound",
    "script",
    "kernel",
    "initrd",
    "bound",
    "config",
];

#[test]
fn a_machine_boots_by_pxe() -> Result<()> {
    let patience = Duration::from_secs(90);
    a_machine_boots("boot_pxe", Via::Pxe, [], &STAGES, patience)
}

#[test]
fn it_also_boots_over_a_bad_cable() -> Result<()> {
    let patience = Duration::from_secs(300);
    let faults = Fault::bad_cable(0.05, 1);
    a_machine_boots("boot_pxe_bad_cable", Via::Pxe, faults, &STAGES, patience)
}
