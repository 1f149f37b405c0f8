//! Where the parts of a FAT32 volume lie, and its first sectors that say so.

use anyhow::{Result, bail};

/// Bytes of a sector.
pub const SECTOR: u32 = 512;
/// What is aligned, in sectors: 1 MiB, more than what cards erase or write at once.
pub(super) const ALIGNMENT: u32 = 2048;
/// The number of the first cluster.
pub(super) const FIRST_CLUSTER: u32 = 2;
/// A volume with fewer is FAT16 to every reader; the specification wants a
/// distance of 16 from the limit.
const FEWEST_CLUSTERS: u32 = 65_525 + 16;
/// Largest number of clusters that 28 bits can name.
const MOST_CLUSTERS: u32 = 0x0FFF_FFF0;
/// Sectors before the first table, as Microsoft's own format has them at least.
const RESERVED: u32 = 32;
/// Copies of the table.
pub(super) const TABLES: u32 = 2;
/// Where the sector with the count of free clusters lies, and where the copy
/// of the first sectors.
const INFO_SECTOR: u16 = 1;
const BACKUP_SECTOR: u16 = 6;

/// A volume's parts, in sectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Geometry {
    /// Of the whole volume.
    pub sectors: u32,
    /// Of a cluster.
    pub sectors_per_cluster: u32,
    /// Before the first table.
    pub reserved: u32,
    /// Of each copy of the table.
    pub table_sectors: u32,
    /// How many clusters there are, unlike all the others.
    pub clusters: u32,
}

impl Geometry {
    /// The geometry of a volume of that many sectors that begins on a multiple
    /// of [`ALIGNMENT`]: the largest clusters with which it still is FAT32, the
    /// data aligned as the volume is.
    pub(super) fn of(sectors: u32) -> Result<Self> {
        for sectors_per_cluster in [64, 32, 16, 8, 4, 2, 1] {
            // More than there will be, so that the table is never too short.
            let at_most = sectors / sectors_per_cluster + FIRST_CLUSTER;
            let table_sectors = (at_most * 4).div_ceil(SECTOR);
            let before_data = (RESERVED + TABLES * table_sectors).next_multiple_of(ALIGNMENT);
            let clusters = sectors.saturating_sub(before_data) / sectors_per_cluster;
            if (FEWEST_CLUSTERS..=MOST_CLUSTERS).contains(&clusters) {
                return Ok(Self {
                    sectors,
                    sectors_per_cluster,
                    reserved: before_data - TABLES * table_sectors,
                    table_sectors,
                    clusters,
                });
            }
        }
        bail!(
            "{} MiB are too little for FAT32; 34 MiB are enough",
            sectors / ALIGNMENT
        )
    }

    /// Bytes of a cluster.
    pub fn cluster(&self) -> u32 {
        self.sectors_per_cluster * SECTOR
    }

    /// How many clusters hold `bytes`.
    pub(super) fn clusters_for(&self, bytes: u64) -> u64 {
        bytes.div_ceil(u64::from(self.cluster()))
    }

    /// Where a cluster begins, in bytes from the volume's beginning.
    pub(super) fn offset(&self, cluster: u32) -> u64 {
        let before = self.reserved + TABLES * self.table_sectors;
        (u64::from(before)
            + u64::from(cluster - FIRST_CLUSTER) * u64::from(self.sectors_per_cluster))
            * u64::from(SECTOR)
    }

    /// Where each copy of the table begins, in bytes from the volume's beginning.
    pub(super) fn tables(&self) -> impl Iterator<Item = u64> {
        let Self {
            reserved,
            table_sectors,
            ..
        } = *self;
        (0..TABLES).map(move |copy| u64::from(reserved + copy * table_sectors) * u64::from(SECTOR))
    }

    /// The sectors before the tables, as far as they are not zero: boot sector
    /// and free count, and the copy of both.
    pub(super) fn first_sectors(
        &self,
        label: &[u8; 11],
        before: u32,
        serial: u32,
        used: u32,
    ) -> Vec<u8> {
        let boot = self.boot_sector(label, before, serial);
        let info = self.info_sector(used);
        let mut sectors = vec![0; (usize::from(BACKUP_SECTOR) + 2) * SECTOR as usize];
        for place in [0, usize::from(BACKUP_SECTOR)] {
            let place = place * SECTOR as usize;
            sectors[place..][..boot.len()].copy_from_slice(&boot);
            let place = place + usize::from(INFO_SECTOR) * SECTOR as usize;
            sectors[place..][..info.len()].copy_from_slice(&info);
        }
        sectors
    }

    fn boot_sector(&self, label: &[u8; 11], before: u32, serial: u32) -> [u8; SECTOR as usize] {
        let mut sector = [0; SECTOR as usize];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        // A jump over this table, which there is no program behind.
        put(0, &[0xEB, 0x58, 0x90]);
        // What was formatted by anything else is trusted less by some readers.
        put(3, b"MSWIN4.1");
        put(11, &SECTOR.to_le_bytes()[..2]);
        put(13, &self.sectors_per_cluster.to_le_bytes()[..1]);
        put(14, &self.reserved.to_le_bytes()[..2]);
        put(16, &TABLES.to_le_bytes()[..1]);
        // A disk, not a floppy disk.
        put(21, &[0xF8]);
        // Sectors per track and heads, of which nothing is true of cards and volumes.
        put(24, &63_u16.to_le_bytes());
        put(26, &255_u16.to_le_bytes());
        put(28, &before.to_le_bytes());
        put(32, &self.sectors.to_le_bytes());
        put(36, &self.table_sectors.to_le_bytes());
        put(44, &FIRST_CLUSTER.to_le_bytes());
        put(48, &INFO_SECTOR.to_le_bytes());
        put(50, &BACKUP_SECTOR.to_le_bytes());
        put(64, &[0x80, 0, 0x29]);
        put(67, &serial.to_le_bytes());
        put(71, label);
        put(82, b"FAT32   ");
        put(510, &[0x55, 0xAA]);
        sector
    }

    fn info_sector(&self, used: u32) -> [u8; SECTOR as usize] {
        let mut sector = [0; SECTOR as usize];
        let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"RRaA");
        put(484, b"rrAa");
        put(488, &(self.clusters - used).to_le_bytes());
        // Where to look for a free one first: unknown if there is none.
        let next = if used < self.clusters {
            FIRST_CLUSTER + used
        } else {
            u32::MAX
        };
        put(492, &next.to_le_bytes());
        put(508, &[0, 0, 0x55, 0xAA]);
        sector
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_size_is_fat32_and_its_data_aligned() {
        for mib in (34..300).chain([507, 1019, 2043, 4091, 32_763, 1_000_000]) {
            let sectors = mib * ALIGNMENT;
            let geometry = Geometry::of(sectors).unwrap();
            let Geometry {
                clusters,
                table_sectors,
                reserved,
                ..
            } = geometry;
            assert!(clusters >= FEWEST_CLUSTERS, "{mib} MiB");
            assert!((clusters + 2) * 4 <= table_sectors * SECTOR, "{mib} MiB");
            assert!((RESERVED..1 << 16).contains(&reserved), "{mib} MiB");
            assert_eq!(geometry.offset(FIRST_CLUSTER) % (1 << 20), 0, "{mib} MiB");
            let end = geometry.offset(FIRST_CLUSTER + clusters);
            assert!(end <= u64::from(sectors) * u64::from(SECTOR), "{mib} MiB");
        }
        assert!(Geometry::of(33 * ALIGNMENT).is_err());
    }

    #[test]
    fn clusters_grow_with_the_volume() {
        for (mib, bytes) in [
            (59, 512),
            (123, 1024),
            (251, 2048),
            (2043, 16_384),
            (4091, 32_768),
        ] {
            assert_eq!(
                Geometry::of(mib * ALIGNMENT).unwrap().cluster(),
                bytes,
                "{mib} MiB"
            );
        }
    }
}
