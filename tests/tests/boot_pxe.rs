//! UEFI PXE: firmware loads iPXE by TFTP, iPXE loads kernel and initrd by HTTP.

mod story;

use std::time::Duration;

use anyhow::Result;
use ichor_lab::faults::Fault;
use ichor_lab::qemu::Via;
use story::{VIA_IPXE, a_machine_boots};

#[test]
fn a_machine_boots_by_pxe() -> Result<()> {
    let patience = Duration::from_secs(90);
    a_machine_boots("boot_pxe", Via::Pxe, [], &VIA_IPXE, patience)
}

#[test]
fn it_also_boots_over_a_bad_cable() -> Result<()> {
    let patience = Duration::from_secs(300);
    let faults = Fault::bad_cable(0.05, 1);
    a_machine_boots("boot_pxe_bad_cable", Via::Pxe, faults, &VIA_IPXE, patience)
}
