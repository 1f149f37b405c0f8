//! `cargo xtask image`: everything a card needs, as one file to be flashed or given to QEMU.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use ichor_fat32::{Folder, SECTOR, Volume};
use ichor_lab::tools::{Asset, Set, Tools};

use super::contents::{self, Sources};
use super::key;
use crate::workspace;

/// Where everything of the board is built.
const FOLDER: &str = "target/cm3";
const MIB: u64 = 1 << 20;
/// Sectors in a MiB.
const MIB_SECTORS: u32 = 2048;
/// The first partition begins here, as on every card, so that it is aligned.
const FIRST_MIB: u32 = 1;
/// The leases' own partition, a log that is written anew when it is full.
const LEASES_MIB: u32 = 4;
/// FAT32 with a Windows-style logical block address.
const TYPE_FAT32: u8 = 0x0C;
/// "Non-FS data": no system offers to format it.
const TYPE_LEASES: u8 = 0xDA;
/// Smallest card: FAT32 needs 65,525 clusters.
const SMALLEST_MIB: u32 = 64;
/// Smallest card that is made unasked.
const DEFAULT_MIB: u32 = 128;
/// Largest: the first power of two with more sectors than 32 bits count is 2 TiB.
const LARGEST_MIB: u32 = 1 << 20;

/// What to put on the card.
#[derive(Debug, Clone, Default, Args)]
#[group(id = "card")]
pub(crate) struct Options {
    /// The data folder: groups, profiles, assets, ichor.toml.
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// A folder with bootcode.bin and start_cd.elf, instead of Debian's raspi-firmware.
    #[arg(long, value_name = "DIR")]
    pub firmware_dir: Option<PathBuf>,
    /// Size of the image; rounded up to a power of two, as QEMU wants it. By
    /// default twice what is in it, at least 128 MiB.
    #[arg(long, value_name = "MiB", value_parser = clap::value_parser!(u32).range(1..=i64::from(LARGEST_MIB)))]
    pub size: Option<u32>,
    /// The key for updates over the network (64 hexadecimal digits), instead
    /// of the one in push.key beside the image, which is made if it is not there.
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// The program, instead of target/cm3/kernel8.img.
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Where to write the image, instead of target/cm3/ichor-cm3.img.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// The image that [`make`] writes and `cargo xtask flash` takes by default.
pub(crate) fn default_image() -> PathBuf {
    workspace().join(FOLDER).join("ichor-cm3.img")
}

/// The program with its symbols, by which logs are decoded.
pub(crate) fn default_elf() -> PathBuf {
    workspace().join(FOLDER).join("ichor-cm3.elf")
}

/// Makes the image and says what is in it.
pub(crate) fn make(options: &Options) -> Result<()> {
    let kernel = options.kernel.clone();
    let kernel = kernel.unwrap_or_else(|| workspace().join(FOLDER).join("kernel8.img"));
    let out = options.out.clone().unwrap_or_else(default_image);
    let folder = out.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let kept = folder.join("push.key");
    let firmware = match &options.firmware_dir {
        Some(folder) => folder.clone(),
        None => Tools::with(&[Set::PiFirmware])
            .and_then(|tools| tools.file(Asset::PiFirmware))
            .context("no VideoCore files; `--firmware-dir` names a folder that has them")?,
    };
    let root = contents::root(&Sources {
        kernel: &kernel,
        firmware: &firmware,
        data: options.data.as_deref(),
        key: &key::obtain(options.key.as_deref(), &kept)?,
    })?;
    let mib = size(options.size, root.room())?;
    if let Some(asked) = options.size.filter(|asked| *asked != mib) {
        println!("xtask: {asked} MiB rounded up to {mib} MiB: QEMU takes powers of two alone");
    }

    // Nobody flashes half an image.
    let half = out.with_extension("img.new");
    let free = write(root, mib, &half)
        .and_then(|free| fs::rename(&half, &out).map(|()| free).map_err(Into::into))
        .inspect_err(|_| drop(fs::remove_file(&half)))
        .with_context(|| format!("cannot make {}", out.display()))?;
    println!("{}: {mib} MiB, {} MiB free", out.display(), free / MIB);
    println!(
        "{}: the key for updates over the network; it is on the card too",
        options.key.as_deref().unwrap_or(&kept).display()
    );
    Ok(())
}

/// The size of a card in MiB: what was asked for, or room for everything twice
/// so that each file can be replaced, as a power of two.
fn size(asked: Option<u32>, room: u64) -> Result<u32> {
    let mib = match asked {
        Some(mib) => mib.max(SMALLEST_MIB),
        None => {
            let content = u32::try_from((2 * room).div_ceil(MIB)).unwrap_or(u32::MAX);
            // Two tables of four bytes for each cluster of 512: 1/64, and a bit.
            let tables = content / 32 + FIRST_MIB + LEASES_MIB;
            content.saturating_add(tables).max(DEFAULT_MIB)
        }
    };
    ensure!(mib <= LARGEST_MIB, "more than a card can hold: {mib} MiB");
    Ok(mib.next_power_of_two())
}

/// Writes an image of `mib` MiB and returns how many bytes of it are free.
fn write(root: Folder, mib: u32, path: &Path) -> Result<u64> {
    let mut file = File::create(path)?;
    // Reads as zeros, the leases' partition too.
    file.set_len(u64::from(mib) * MIB)?;
    let mut serial = [0; 4];
    getrandom::fill(&mut serial)
        .ok()
        .context("the system gives no random numbers")?;
    let serial = u32::from_le_bytes(serial);
    let leases = (mib - LEASES_MIB) * MIB_SECTORS;
    let fat = Volume {
        first_sector: FIRST_MIB * MIB_SECTORS,
        sectors: leases - FIRST_MIB * MIB_SECTORS,
        label: *b"ICHOR      ",
        serial,
    };
    let partitions = [
        (TYPE_FAT32, fat.first_sector, fat.sectors),
        (TYPE_LEASES, leases, LEASES_MIB * MIB_SECTORS),
    ];
    let (_, free) = fat.write(root, &mut file)?;
    file.seek(SeekFrom::Start(0))?;
    file.write_all(&master_boot_record(serial, partitions))?;
    Ok(free)
}

/// The first sector of a disk with two partitions: type, first sector, sectors.
fn master_boot_record(serial: u32, partitions: [(u8, u32, u32); 2]) -> [u8; SECTOR as usize] {
    let mut sector = [0; SECTOR as usize];
    let mut put = |at: usize, bytes: &[u8]| sector[at..at + bytes.len()].copy_from_slice(bytes);
    put(440, &serial.to_le_bytes());
    for (at, (kind, first, sectors)) in [446, 462].into_iter().zip(partitions) {
        // Not marked for booting, and no cylinders: the sector numbers count.
        put(at, &[0, 0xFE, 0xFF, 0xFF, kind, 0xFE, 0xFF, 0xFF]);
        put(at + 8, &first.to_le_bytes());
        put(at + 12, &sectors.to_le_bytes());
    }
    put(510, &[0x55, 0xAA]);
    sector
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_a_power_of_two_with_room_to_replace_everything() {
        for (asked, content_mib, want) in [
            (None, 20, 128),
            (None, 58, 128),
            (None, 64, 256),
            (None, 1000, 4096),
            (Some(1), 20, 64),
            (Some(100), 20, 128),
            (Some(4096), 20, 4096),
        ] {
            let size = size(asked, content_mib * MIB).unwrap();
            assert_eq!(size, want, "{asked:?} {content_mib}");
        }
        assert!(size(None, u64::MAX / 4).is_err());
    }

    #[test]
    fn the_partition_table_is_as_readers_expect_it() {
        let sector =
            master_boot_record(0x0102_0304, [(0x0C, 2048, 251_904), (0xDA, 253_952, 8192)]);
        assert_eq!(sector[440..444], [4, 3, 2, 1]);
        assert_eq!((sector[450], sector[466]), (0x0C, 0xDA));
        assert_eq!(sector[454..462], [0, 8, 0, 0, 0, 0xD8, 3, 0]);
        assert_eq!(sector[470..478], [0, 0xE0, 3, 0, 0, 0x20, 0, 0]);
        assert_eq!(sector[510..], [0x55, 0xAA]);
    }
}
