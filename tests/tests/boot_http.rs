//! UEFI HTTP Boot: firmware loads iPXE by HTTP, iPXE loads kernel and initrd the same way.

mod story;

use std::time::Duration;

use anyhow::Result;
use ichor_lab::faults::Fault;
use ichor_lab::qemu::Via;
use story::{VIA_IPXE, a_machine_boots};

#[test]
fn a_machine_boots_by_http() -> Result<()> {
    let patience = Duration::from_secs(90);
    a_machine_boots("boot_http", Via::Http, [], &VIA_IPXE, patience)
}

#[test]
fn it_also_boots_over_a_bad_cable() -> Result<()> {
    let patience = Duration::from_secs(300);
    let faults = Fault::bad_cable(0.05, 2);
    a_machine_boots(
        "boot_http_bad_cable",
        Via::Http,
        faults,
        &VIA_IPXE,
        patience,
    )
}
