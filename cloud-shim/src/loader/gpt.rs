//! A protective MBR and a GPT with one partition (UEFI 2.10 §5.2.3 and §5.3).

use core::ops::RangeInclusive;

/// Bytes of a sector: the logical blocks of an EBS volume.
pub(super) const SECTOR: usize = 512;
/// Sectors of the entries: the 128 of 128 bytes that every reader expects.
const ENTRIES: u64 = 32;
const ENTRY_COUNT: u32 = 128;
const ENTRY_LEN: u32 = 128;
const HEADER_LEN: usize = 92;
/// Sectors in front of and behind what partitions may have.
pub(super) const FRONT: u64 = 2 + ENTRIES;
pub(super) const BACK: u64 = 1 + ENTRIES;

/// `C12A7328-F81F-11D2-BA4B-00A0C93EC93B`: an EFI system partition.
const EFI_SYSTEM: [u8; 16] = [
    0x28, 0x73, 0x2A, 0xC1, 0x1F, 0xF8, 0xD2, 0x11, 0xBA, 0x4B, 0x00, 0xA0, 0xC9, 0x3E, 0xC9, 0x3B,
];
/// The partition's name, of at most 36 characters.
const NAME: &str = "ichor loader";

/// What tells this disk from others, as it stands on it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guids {
    pub disk: [u8; 16],
    pub partition: [u8; 16],
}

/// Writes MBR and both copies of the GPT onto a disk of whole sectors, whose
/// one partition has the sectors `esp`.
pub(super) fn write(disk: &mut [u8], esp: RangeInclusive<u64>, guids: Guids) {
    let sectors = (disk.len() / SECTOR) as u64;
    let last = sectors - 1;
    debug_assert!(*esp.start() >= FRONT && *esp.end() < sectors - BACK);
    let entry = entry(&esp, guids.partition);
    let mut entries = [0; ENTRIES as usize * SECTOR];
    entries[..entry.len()].copy_from_slice(&entry);
    let mut put = |sector: u64, bytes: &[u8]| {
        disk[sector as usize * SECTOR..][..bytes.len()].copy_from_slice(bytes);
    };
    put(0, &protective_mbr(sectors));
    // Each copy: its header, the other's place, where its entries begin.
    for (here, there, first) in [(1, last, 2), (last, 1, sectors - BACK)] {
        put(here, &header(sectors, here, there, first, guids, &entries));
        put(first, &entries);
    }
}

/// Tells who knows no GPT that nothing is free.
fn protective_mbr(sectors: u64) -> [u8; SECTOR] {
    let mut mbr = [0; SECTOR];
    let size = u32::try_from(sectors - 1).unwrap_or(u32::MAX);
    // Not bootable, from CHS 0/0/2 to the largest, type EFI protective.
    mbr[446..454].copy_from_slice(&[0, 0, 2, 0, 0xEE, 0xFF, 0xFF, 0xFF]);
    mbr[454..458].copy_from_slice(&1_u32.to_le_bytes());
    mbr[458..462].copy_from_slice(&size.to_le_bytes());
    mbr[510..].copy_from_slice(&[0x55, 0xAA]);
    mbr
}

fn header(
    sectors: u64,
    here: u64,
    there: u64,
    first: u64,
    guids: Guids,
    entries: &[u8],
) -> [u8; HEADER_LEN] {
    let mut header = [0; HEADER_LEN];
    let mut put = |at: usize, bytes: &[u8]| header[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"EFI PART");
    put(8, &0x0001_0000_u32.to_le_bytes());
    put(12, &(HEADER_LEN as u32).to_le_bytes());
    put(24, &here.to_le_bytes());
    put(32, &there.to_le_bytes());
    put(40, &FRONT.to_le_bytes());
    put(48, &(sectors - BACK - 1).to_le_bytes());
    put(56, &guids.disk);
    put(72, &first.to_le_bytes());
    put(80, &ENTRY_COUNT.to_le_bytes());
    put(84, &ENTRY_LEN.to_le_bytes());
    put(88, &crc32fast::hash(entries).to_le_bytes());
    // Of the header with zeros in this very place.
    let sum = crc32fast::hash(&header);
    header[16..20].copy_from_slice(&sum.to_le_bytes());
    header
}

fn entry(esp: &RangeInclusive<u64>, guid: [u8; 16]) -> [u8; ENTRY_LEN as usize] {
    let mut entry = [0; ENTRY_LEN as usize];
    entry[..16].copy_from_slice(&EFI_SYSTEM);
    entry[16..32].copy_from_slice(&guid);
    entry[32..40].copy_from_slice(&esp.start().to_le_bytes());
    entry[40..48].copy_from_slice(&esp.end().to_le_bytes());
    for (place, unit) in entry[56..].chunks_exact_mut(2).zip(NAME.encode_utf16()) {
        place.copy_from_slice(&unit.to_le_bytes());
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECTORS: u64 = 4096;

    fn disk() -> Vec<u8> {
        let mut disk = vec![0; SECTORS as usize * SECTOR];
        let guids = Guids {
            disk: [0xD1; 16],
            partition: [0xA7; 16],
        };
        write(&mut disk, 2048..=3000, guids);
        disk
    }

    fn number(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    /// Reads a copy as firmware does: signature, place, both checksums.
    fn check(disk: &[u8], here: u64) -> (u64, Vec<u8>) {
        let sector = |at: u64, count: usize| &disk[at as usize * SECTOR..][..count * SECTOR];
        let mut header = sector(here, 1).to_vec();
        assert_eq!(&header[..8], b"EFI PART");
        assert_eq!(number(&header, 24), here);
        assert_eq!((number(&header, 40), number(&header, 48)), (34, 4096 - 34));
        let sum = header[16..20].to_vec();
        header[16..20].fill(0);
        assert_eq!(sum, crc32fast::hash(&header[..HEADER_LEN]).to_le_bytes());
        let entries = sector(number(&header, 72), ENTRIES as usize).to_vec();
        assert_eq!(header[88..92], crc32fast::hash(&entries).to_le_bytes());
        assert!(header[HEADER_LEN..].iter().all(|byte| *byte == 0));
        (number(&header, 32), entries)
    }

    #[test]
    fn both_copies_name_the_one_partition() {
        let disk = disk();
        let (backup, entries) = check(&disk, 1);
        assert_eq!(backup, SECTORS - 1);
        assert_eq!(check(&disk, backup), (1, entries.clone()));
        assert_eq!(entries[..16], EFI_SYSTEM);
        assert_eq!(entries[16..32], [0xA7; 16]);
        assert_eq!((number(&entries, 32), number(&entries, 40)), (2048, 3000));
        assert_eq!(entries[56..60], [b'i', 0, b'c', 0]);
        assert!(entries[ENTRY_LEN as usize..].iter().all(|byte| *byte == 0));
    }

    #[test]
    fn the_mbr_leaves_nothing_to_those_who_know_no_gpt() {
        let disk = disk();
        assert_eq!(disk[450], 0xEE);
        assert_eq!(disk[454..462], [1, 0, 0, 0, 0xFF, 0x0F, 0, 0]);
        assert_eq!(disk[510..512], [0x55, 0xAA]);
    }
}
