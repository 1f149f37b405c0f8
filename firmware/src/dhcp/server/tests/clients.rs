//! What real clients send in their first DHCPDISCOVER: their options in their
//! order, as their sources or captures show them.

use crate::MacAddr;
use crate::dhcp::fixture::Message;

pub(super) const MAC: MacAddr = MacAddr([0x52, 0x54, 0, 0x12, 0x34, 0x56]);
pub(super) const PI: MacAddr = MacAddr([0xb8, 0x27, 0xeb, 0x12, 0x34, 0x56]);

const UUID: [u8; 17] = [
    0, 0x1c, 0x8a, 0x3d, 0x5e, 0x77, 0x6f, 0x4b, 0x4a, 0x9e, 0x30, 1, 2, 3, 4, 5, 6,
];

/// EDK2's parameter request list for PXE.
const EDK2_PARAMETERS: [u8; 35] = [
    1, 2, 3, 4, 5, 6, 12, 13, 15, 17, 18, 22, 23, 28, 40, 41, 42, 43, 50, 51, 54, 58, 59, 60, 66,
    67, 97, 128, 129, 130, 131, 132, 133, 134, 135,
];

/// EDK2 (AAVMF) on arm64, PXE over IPv4.
pub(super) fn edk2_pxe() -> Message {
    Message::discover(MAC)
        .with(57, &1472_u16.to_be_bytes())
        .with(55, &EDK2_PARAMETERS)
        .with(97, &UUID)
        .with(94, &[1, 3, 0])
        .with(93, &[0, 11])
        .with(60, b"PXEClient:Arch:00011:UNDI:003000")
}

/// EDK2 (AAVMF) on arm64, HTTP Boot over IPv4.
pub(super) fn edk2_http() -> Message {
    Message::discover(MAC)
        .with(57, &1472_u16.to_be_bytes())
        .with(55, &EDK2_PARAMETERS[..27])
        .with(97, &UUID)
        .with(94, &[1, 3, 0])
        .with(93, &[0, 19])
        .with(60, b"HTTPClient:Arch:00019:UNDI:003000")
}

/// iPXE 1.21 on arm64 UEFI.
pub(super) fn ipxe() -> Message {
    Message::discover(MAC)
        .with(57, &1472_u16.to_be_bytes())
        .with(93, &[0, 11])
        .with(94, &[1, 3, 10])
        .with(60, b"PXEClient:Arch:00011:UNDI:003010")
        .with(77, b"iPXE")
        .with(
            55,
            &[
                1, 3, 6, 7, 12, 15, 17, 26, 43, 60, 66, 67, 119, 128, 129, 130, 131, 132, 133, 134,
                135, 175, 203,
            ],
        )
        .with(
            175,
            &[
                177, 5, 1, 0x1a, 0xf4, 0x10, 0, 235, 3, 1, 21, 1, 23, 1, 1, 34, 1, 1, 19, 1, 1,
            ],
        )
        .with(61, &[1, 0x52, 0x54, 0, 0x12, 0x34, 0x56])
        .with(97, &UUID)
}

/// U-Boot for arm64 (`CONFIG_BOOTP_PXE`).
pub(super) fn uboot() -> Message {
    Message::discover(MAC)
        .with(57, &576_u16.to_be_bytes())
        .with(93, &[0, 22])
        .with(94, &[1, 0, 0])
        .with(60, b"U-Boot.armv8")
        .with(55, &[1, 3, 6, 12, 17])
}

/// busybox udhcpc.
pub(super) fn udhcpc() -> Message {
    Message::discover(MAC)
        .with(61, &[1, 0x52, 0x54, 0, 0x12, 0x34, 0x56])
        .with(57, &576_u16.to_be_bytes())
        .with(55, &[1, 3, 6, 12, 15, 28, 42, 121])
        .with(60, b"udhcp 1.35.0")
}

/// ISC dhclient 4.4 as Debian configures it.
pub(super) fn dhclient() -> Message {
    Message::discover(MAC).with(12, b"debian").with(
        55,
        &[
            1, 28, 2, 3, 15, 6, 119, 12, 44, 47, 26, 121, 42, 249, 33, 252, 42,
        ],
    )
}

/// The boot ROM of a Raspberry Pi 3.
pub(super) fn raspberry_pi() -> Message {
    let mut id = [0x44; 17];
    id[0] = 0;
    Message::discover(PI)
        .with(
            55,
            &[1, 3, 43, 60, 66, 67, 128, 129, 130, 131, 132, 133, 134, 135],
        )
        .with(93, &[0, 0])
        .with(94, &[1, 2, 1])
        .with(60, b"PXEClient:Arch:00000:UNDI:002001")
        .with(97, &id)
}
