//! Writes a UEFI variable store that boots over the network first.
//!
//! AAVMF puts HTTP Boot behind two minutes of failing PXE attempts. A
//! variable store with one boot option in front says what a machine is to do
//! and costs no waiting. Layouts: UEFI PI 1.8 vol. 3 §3.2 (firmware volume),
//! EDK2 `VariableFormat.h` (store), UEFI 2.10 §3.1.3 (load option) and §10.3
//! (device paths).

/// Size in bytes of the flash that QEMU's `virt` machine maps for variables.
pub const FLASH_LEN: u64 = 64 * 1024 * 1024;
/// Erase block of that flash.
const BLOCK_LEN: u32 = 256 * 1024;
/// The volume holds variables, the working block and the spare block.
const VOLUME_LEN: u64 = 3 * BLOCK_LEN as u64;
const VOLUME_HEADER_LEN: u16 = 0x48;
/// Readable and writable, erased to ones, sticky writes (`EFI_FVB_ATTRIBUTES_2`).
const VOLUME_ATTRIBUTES: u32 = 0x0000_0E36;

/// `gEfiSystemNvDataFvGuid`: fff12b8d-7696-4c8b-a985-2747075b4f50.
const NV_DATA: [u8; 16] = [
    0x8D, 0x2B, 0xF1, 0xFF, 0x96, 0x76, 0x8B, 0x4C, 0xA9, 0x85, 0x27, 0x47, 0x07, 0x5B, 0x4F, 0x50,
];
/// `gEfiAuthenticatedVariableGuid`: aaf32c78-947b-439a-a180-2e144ec37792.
const AUTHENTICATED: [u8; 16] = [
    0x78, 0x2C, 0xF3, 0xAA, 0x7B, 0x94, 0x9A, 0x43, 0xA1, 0x80, 0x2E, 0x14, 0x4E, 0xC3, 0x77, 0x92,
];
/// `EFI_GLOBAL_VARIABLE`: 8be4df61-93ca-11d2-aa0d-00e098032b8c.
const GLOBAL: [u8; 16] = [
    0x61, 0xDF, 0xE4, 0x8B, 0xCA, 0x93, 0xD2, 0x11, 0xAA, 0x0D, 0x00, 0xE0, 0x98, 0x03, 0x2B, 0x8C,
];

/// Non-volatile, for boot services and the running system.
const VARIABLE_ATTRIBUTES: u32 = 0b111;
/// `VAR_ADDED`: the variable is valid.
const VARIABLE_STATE: u8 = 0x3F;
const LOAD_OPTION_ACTIVE: u32 = 1;

/// What the machine tries first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// PXE over IPv4: DHCP and TFTP.
    Pxe,
    /// HTTP Boot over IPv4.
    Http,
}

/// The beginning of the flash, up to [`FLASH_LEN`] followed by zeros, of a
/// machine whose network card has address `mac` and sits in slot `slot` of the
/// PCI root bus.
pub fn variable_store(first: First, mac: [u8; 6], slot: u8) -> Vec<u8> {
    let mut store = volume_header();
    let start = store.len();
    store.extend(AUTHENTICATED);
    store.extend((BLOCK_LEN - u32::from(VOLUME_HEADER_LEN)).to_le_bytes());
    store.extend([0x5A, 0xFE, 0, 0, 0, 0, 0, 0]); // formatted, healthy
    debug_assert_eq!(store.len() - start, 28);
    variable(&mut store, "Boot0000", &load_option(first, mac, slot));
    variable(&mut store, "BootOrder", &[0, 0]);
    // Erased flash reads as ones.
    store.resize(VOLUME_LEN as usize, 0xFF);
    store
}

fn volume_header() -> Vec<u8> {
    let mut header = vec![0; 16];
    header.extend(NV_DATA);
    header.extend(VOLUME_LEN.to_le_bytes());
    header.extend(b"_FVH");
    header.extend(VOLUME_ATTRIBUTES.to_le_bytes());
    header.extend(VOLUME_HEADER_LEN.to_le_bytes());
    header.extend([0, 0]); // checksum, below
    header.extend([0, 0, 0, 2]); // no extended header, revision 2
    header.extend((FLASH_LEN as u32 / BLOCK_LEN).to_le_bytes());
    header.extend(BLOCK_LEN.to_le_bytes());
    header.extend([0; 8]); // end of the block map
    let sum = header.chunks_exact(2).fold(0_u16, |sum, word| {
        sum.wrapping_add(u16::from_le_bytes([word[0], word[1]]))
    });
    header[50..52].copy_from_slice(&sum.wrapping_neg().to_le_bytes());
    header
}

/// Appends an `AUTHENTICATED_VARIABLE_HEADER`, the name and the value.
fn variable(store: &mut Vec<u8>, name: &str, value: &[u8]) {
    let name = utf16(name);
    store.resize(store.len().next_multiple_of(4), 0xFF);
    store.extend([0xAA, 0x55, VARIABLE_STATE, 0]);
    store.extend(VARIABLE_ATTRIBUTES.to_le_bytes());
    store.extend([0; 8 + 16 + 4]); // monotonic count, time stamp, key index
    store.extend((name.len() as u32).to_le_bytes());
    store.extend((value.len() as u32).to_le_bytes());
    store.extend(GLOBAL);
    store.extend(name);
    store.extend(value);
}

fn load_option(first: First, mac: [u8; 6], slot: u8) -> Vec<u8> {
    let mut path = Vec::new();
    // PciRoot(0x0)/Pci(slot,0x0)
    node(&mut path, 2, 1, &[0xD0, 0x41, 0x03, 0x0A, 0, 0, 0, 0]);
    node(&mut path, 1, 1, &[0, slot]);
    // MAC(…,0x1): 32 bytes of address, then the interface type.
    let mut address = [0; 33];
    address[..6].copy_from_slice(&mac);
    address[32] = 1;
    node(&mut path, 3, 11, &address);
    // IPv4(0.0.0.0): everything by DHCP.
    node(&mut path, 3, 12, &[0; 23]);
    if first == First::Http {
        // Uri(): empty, so that it comes by DHCP too.
        node(&mut path, 3, 24, &[]);
    }
    node(&mut path, 0x7F, 0xFF, &[]);

    let mut option = LOAD_OPTION_ACTIVE.to_le_bytes().to_vec();
    option.extend((path.len() as u16).to_le_bytes());
    option.extend(utf16("network"));
    option.extend(path);
    option
}

fn node(path: &mut Vec<u8>, kind: u8, subkind: u8, body: &[u8]) {
    path.extend([kind, subkind]);
    path.extend((body.len() as u16 + 4).to_le_bytes());
    path.extend(body);
}

/// UTF-16, little-endian, with the terminating zero.
fn utf16(text: &str) -> Vec<u8> {
    let units = text.encode_utf16().chain([0]);
    units.flat_map(u16::to_le_bytes).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The header as AAVMF itself writes it into blank flash.
    #[test]
    fn the_volume_header_is_the_one_that_the_firmware_writes() {
        let header = volume_header();
        assert_eq!(header.len(), usize::from(VOLUME_HEADER_LEN));
        let from_checksum = [
            0xF8, 0xF8, 0, 0, 0, 2, 0, 1, 0, 0, 0, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0,
        ];
        assert_eq!(header[50..], from_checksum);
    }

    /// Taken from the HTTP boot option that AAVMF makes by itself.
    #[test]
    fn the_boot_option_names_the_card() {
        let option = load_option(First::Http, [0x52, 0x54, 0, 0, 0, 1], 1);
        let path = &option[4 + 2 + 2 * "network\0".len()..];
        let mut want = vec![2, 1, 12, 0, 0xD0, 0x41, 3, 0x0A, 0, 0, 0, 0];
        want.extend([1, 1, 6, 0, 0, 1]);
        want.extend([3, 11, 0x25, 0, 0x52, 0x54, 0, 0, 0, 1]);
        want.extend([0; 26]);
        want.push(1);
        want.extend([3, 12, 0x1B, 0]);
        want.extend([0; 23]);
        want.extend([3, 24, 4, 0, 0x7F, 0xFF, 4, 0]);
        assert_eq!(path, want);
    }
}
