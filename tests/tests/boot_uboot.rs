//! U-Boot: script, kernel and initrd all by its own TFTP client.

mod story;

use std::time::Duration;

use anyhow::Result;
use ichor_lab::faults::Fault;
use ichor_lab::qemu::Via;
use story::a_machine_boots;

const STAGES: [&str; 8] = [
    "discover",
    "offer",
    "bound",
    "boot-file",
    "kernel",
    "initrd",
    "bound",
    "config",
];

#[test]
fn a_machine_boots_by_u_boot() -> Result<()> {
    let patience = Duration::from_secs(90);
    a_machine_boots("boot_uboot", Via::Uboot, [], &STAGES, patience)
}

/// Over a bad cable the last ACK for the initrd, the last file, may be lost. Then
/// the server notes it only when it gives up waiting.
const STAGES_OVER_A_BAD_CABLE: [&str; 7] = [
    "discover",
    "offer",
    "bound",
    "boot-file",
    "kernel",
    "bound",
    "config",
];

#[test]
fn it_also_boots_over_a_bad_cable() -> Result<()> {
    let patience = Duration::from_secs(300);
    let faults = Fault::bad_cable(0.05, 3);
    a_machine_boots(
        "boot_uboot_bad_cable",
        Via::Uboot,
        faults,
        &STAGES_OVER_A_BAD_CABLE,
        patience,
    )
}
