//! The computer's disks: which may be written to, and which never.
//!
//! All is read from sysfs and the mount table, as proc(5) and
//! Documentation/ABI/stable/sysfs-block describe them, under a folder that
//! tests put in their place.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};

/// Bytes in the unit of `size` in sysfs, whatever the disk's own sectors are.
const SYSFS_SECTOR: u64 = 512;
/// Names of what is no disk that a card could be: memory, files, stacks of
/// others, optical and floppy drives.
const NO_CARDS: [&str; 11] = [
    "loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "drbd", "zd", "mtd",
];

/// Where the kernel shows its disks and what they are used for.
#[derive(Debug, Clone)]
pub(super) struct System {
    /// `/`, or a folder that looks like it.
    root: PathBuf,
}

/// A whole disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Disk {
    /// As in `/dev`.
    pub name: String,
    pub bytes: u64,
    pub model: String,
    pub attached: Attached,
    /// What speaks against writing to it: a sentence each.
    pub uses: Vec<String>,
}

/// How a disk is attached, as far as one can pull it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attached {
    Usb,
    /// A card reader of the computer's own, or its soldered eMMC.
    Mmc,
    /// A medium that the drive says can be taken out.
    Removable,
    /// Inside the computer.
    Internal,
}

impl fmt::Display for Attached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Usb => "USB",
            Self::Mmc => "SD/MMC",
            Self::Removable => "removable",
            Self::Internal => "internal",
        })
    }
}

impl Disk {
    /// Fails, saying why, if the disk must not be written to or cannot hold `bytes`.
    pub(super) fn check(&self, bytes: u64) -> Result<()> {
        let name = &self.name;
        ensure!(
            self.attached != Attached::Internal,
            "{name} is a disk inside this computer; cards and modules are removable"
        );
        if !self.uses.is_empty() {
            bail!("{name} is in use: {}", self.uses.join("; "));
        }
        ensure!(
            self.bytes >= bytes,
            "{name} holds {} bytes and the image has {bytes}: \
             a smaller --size, or a larger card",
            self.bytes
        );
        Ok(())
    }
}

/// Name, size, way of attachment, model, and whether it is free.
impl fmt::Display for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            bytes,
            model,
            attached,
            uses,
        } = self;
        let size = format!("{}.{} GB", bytes / 1_000_000_000, bytes / 100_000_000 % 10);
        let state = if uses.is_empty() {
            "free".to_owned()
        } else {
            uses.join("; ")
        };
        let attached = attached.to_string();
        write!(
            f,
            "/dev/{name:10} {size:>10}  {attached:10} {model:28} {state}"
        )
    }
}

impl System {
    /// The computer that this runs on.
    pub(super) fn this() -> Self {
        Self {
            root: PathBuf::from("/"),
        }
    }

    #[cfg(test)]
    pub(super) fn under(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    /// The disks that can be pulled out and hold a medium, by name.
    pub(super) fn removable(&self) -> Result<Vec<Disk>> {
        let mut disks = self.disks()?;
        disks.retain(|disk| disk.attached != Attached::Internal);
        Ok(disks)
    }

    /// The disk of this name in `/dev`.
    pub(super) fn disk(&self, name: &str) -> Result<Disk> {
        let disks = self.disks()?;
        if let Some(disk) = disks.into_iter().find(|disk| disk.name == name) {
            return Ok(disk);
        }
        for whole in self.names()? {
            ensure!(
                !self.block(&whole).join(name).is_dir(),
                "{name} is a partition of {whole}: the image is for the whole disk"
            );
        }
        bail!("{name} is no disk that a card or module could be");
    }

    fn disks(&self) -> Result<Vec<Disk>> {
        let usage = self.usage()?;
        let disks = self.names()?.into_iter().filter(|name| is_card(name));
        Ok(disks.filter_map(|name| self.read(name, &usage)).collect())
    }

    /// The disk, unless its drive is empty.
    fn read(&self, name: String, usage: &Usage) -> Option<Disk> {
        let folder = self.block(&name);
        let bytes = text(&folder, "size")?.parse::<u64>().ok()? * SYSFS_SECTOR;
        if bytes == 0 {
            return None;
        }
        let device = fs::canonicalize(&folder).unwrap_or_else(|_| folder.clone());
        let is_usb = device
            .components()
            .any(|part| part.as_os_str().to_string_lossy().starts_with("usb"));
        let attached = if is_usb {
            Attached::Usb
        } else if name.starts_with("mmcblk") {
            Attached::Mmc
        } else if text(&folder, "removable").as_deref() == Some("1") {
            Attached::Removable
        } else {
            Attached::Internal
        };
        let words = ["device/vendor", "device/model", "device/name"];
        let words = words.into_iter().filter_map(|file| text(&folder, file));
        let model = words.collect::<Vec<_>>().join(" ");
        let uses = self.uses(&name, &folder, usage);
        Some(Disk {
            name,
            bytes,
            model,
            attached,
            uses,
        })
    }

    /// What the disk and its partitions are used for.
    fn uses(&self, name: &str, folder: &Path, usage: &Usage) -> Vec<String> {
        let mut parts = vec![(name.to_owned(), folder.to_owned())];
        for entry in folder.read_dir().into_iter().flatten().flatten() {
            let path = entry.path();
            if path.join("partition").is_file() {
                parts.push((entry.file_name().to_string_lossy().into_owned(), path));
            }
        }
        parts.sort();
        let mut uses = Vec::new();
        for (part, folder) in parts {
            let number = text(&folder, "dev").unwrap_or_default();
            let device = format!("/dev/{part}");
            for mount in &usage.mounts {
                if mount.number == number || mount.source == device {
                    uses.push(format!("{part} is mounted on {}", mount.on));
                }
            }
            if usage.swaps.contains(&device) {
                uses.push(format!("{part} is swap space"));
            }
            let holders = folder.join("holders").read_dir().into_iter().flatten();
            for holder in holders.flatten() {
                let holder = holder.file_name();
                uses.push(format!("{part} is part of {}", holder.to_string_lossy()));
            }
        }
        uses
    }

    fn usage(&self) -> Result<Usage> {
        let path = self.root.join("proc/self/mountinfo");
        let mounts = fs::read_to_string(&path)
            .with_context(|| format!("cannot tell what is mounted: {}", path.display()))?;
        // Without swap support in the kernel there is no such file.
        let swaps = fs::read_to_string(self.root.join("proc/swaps")).unwrap_or_default();
        Ok(Usage {
            mounts: mounts.lines().filter_map(Mount::parse).collect(),
            swaps: swaps
                .lines()
                .skip(1)
                .filter_map(|line| line.split_whitespace().next().map(unescape))
                .collect(),
        })
    }

    fn names(&self) -> Result<Vec<String>> {
        let folder = self.root.join("sys/block");
        let entries = folder
            .read_dir()
            .with_context(|| format!("no disks can be listed without {}", folder.display()))?;
        let mut names: Vec<String> = entries
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect();
        names.sort();
        Ok(names)
    }

    fn block(&self, name: &str) -> PathBuf {
        self.root.join("sys/block").join(name)
    }
}

/// Whether a disk of this name could be a card, by its driver.
fn is_card(name: &str) -> bool {
    // eMMC has boot and key partitions that look like disks: mmcblk0boot0, mmcblk0rpmb.
    let is_part_of_emmc = name
        .strip_prefix("mmcblk")
        .is_some_and(|rest| rest.bytes().any(|byte| !byte.is_ascii_digit()));
    !is_part_of_emmc && !NO_CARDS.iter().any(|driver| name.starts_with(driver))
}

/// What the disks are used for.
struct Usage {
    mounts: Vec<Mount>,
    /// Devices, as `/dev/sda2`.
    swaps: Vec<String>,
}

struct Mount {
    /// As `8:17`.
    number: String,
    /// As `/dev/sdb1`: of btrfs it alone names the disk.
    source: String,
    on: String,
}

impl Mount {
    /// `36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw`
    fn parse(line: &str) -> Option<Self> {
        let (mount, filesystem) = line.split_once(" - ")?;
        let mut fields = mount.split(' ');
        let number = fields.nth(2)?.to_owned();
        let on = unescape(fields.nth(1)?);
        let source = unescape(filesystem.split(' ').nth(1)?);
        Some(Self { number, source, on })
    }
}

/// Undoes `\040` and the like.
fn unescape(text: &str) -> String {
    text.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
}

fn text(folder: &Path, file: &str) -> Option<String> {
    let text = fs::read_to_string(folder.join(file)).ok()?;
    Some(text.trim().to_owned())
}

#[cfg(test)]
pub(super) mod fake {
    //! A computer with disks, as files.

    use super::*;

    pub(in super::super) struct Computer {
        pub root: PathBuf,
    }

    impl Computer {
        pub(in super::super) fn new(name: &str) -> Self {
            let root = std::env::temp_dir().join(format!("ichor-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&root);
            fs::create_dir_all(root.join("sys/block")).unwrap();
            let computer = Self { root };
            computer.file("proc/self/mountinfo", "");
            computer
        }

        pub(in super::super) fn system(&self) -> System {
            System::under(&self.root)
        }

        pub(in super::super) fn file(&self, path: &str, text: &str) {
            let path = self.root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }

        /// A disk behind `bus` with these files in its sysfs folder.
        pub(in super::super) fn disk(&self, bus: &str, name: &str, files: &[(&str, &str)]) {
            let folder = format!("sys/devices/{bus}/block/{name}");
            for (file, text) in files {
                self.file(&format!("{folder}/{file}"), text);
            }
            let link = self.root.join("sys/block").join(name);
            #[cfg(unix)]
            std::os::unix::fs::symlink(self.root.join(folder), link).unwrap();
        }
    }

    impl Drop for Computer {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.root);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::fake::Computer;
    use super::*;

    const USB: &str = "pci0000:00/0000:00:14.0/usb1/1-2/host6/target6:0:0/6:0:0:0";
    const SATA: &str = "pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0";

    /// A laptop: its own disk, a card in its reader, a stick, an empty drive.
    fn laptop(name: &str) -> Computer {
        let computer = Computer::new(name);
        computer.disk(
            SATA,
            "sda",
            &[
                ("size", "1000215216\n"),
                ("removable", "0\n"),
                ("dev", "8:0\n"),
                ("device/vendor", "ATA     \n"),
                ("device/model", "SAMSUNG MZ7LN512\n"),
                ("sda1/partition", "1\n"),
                ("sda1/dev", "8:1\n"),
            ],
        );
        computer.disk(
            USB,
            "sdb",
            &[
                ("size", "7634944\n"),
                ("removable", "1\n"),
                ("dev", "8:16\n"),
                ("device/vendor", "RPi\n"),
                ("device/model", "MSD- 0001\n"),
                ("sdb1/partition", "1\n"),
                ("sdb1/dev", "8:17\n"),
                ("sdb2/partition", "2\n"),
                ("sdb2/dev", "8:18\n"),
            ],
        );
        computer.disk(USB, "sdc", &[("size", "0\n"), ("removable", "1\n")]);
        let reader = "platform/mmc0/mmc0:aaaa";
        let card = [
            ("size", "61067264\n"),
            ("dev", "179:0\n"),
            ("device/name", "SC32G\n"),
        ];
        computer.disk(reader, "mmcblk0", &card);
        computer.disk(reader, "mmcblk0boot0", &[("size", "8192\n")]);
        computer.disk(
            "virtual",
            "loop0",
            &[("size", "100\n"), ("removable", "1\n")],
        );
        computer.disk("virtual", "dm-0", &[("size", "100\n")]);
        computer
    }

    #[test]
    fn only_disks_with_a_medium_that_can_be_pulled_out_are_listed() {
        let computer = laptop("list");
        let disks = computer.system().removable().unwrap();
        let listed: Vec<_> = disks
            .iter()
            .map(|disk| (&*disk.name, disk.attached, &*disk.model, disk.bytes))
            .collect();
        assert_eq!(
            listed,
            [
                ("mmcblk0", Attached::Mmc, "SC32G", 31_266_439_168),
                ("sdb", Attached::Usb, "RPi MSD- 0001", 3_909_091_328),
            ]
        );
        assert!(
            disks[1]
                .to_string()
                .contains("3.9 GB  USB        RPi MSD- 0001")
        );
    }

    #[test]
    fn a_disk_in_use_is_refused_and_the_use_is_named() {
        let root = "25 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n";
        let on_number = "90 25 8:17 / /media/a\\040card rw - vfat /dev/root rw\n";
        let on_source = "91 25 0:50 /sub /mnt rw - btrfs /dev/sdb2 rw\n";
        let swaps = "Filename\tType\tSize\tUsed\tPriority\n/dev/sdb2\tpartition\t1\t0\t-2\n";
        for (file, content, says) in [
            (
                "proc/self/mountinfo",
                on_number,
                "sdb1 is mounted on /media/a card",
            ),
            ("proc/self/mountinfo", on_source, "sdb2 is mounted on /mnt"),
            ("proc/swaps", swaps, "sdb2 is swap space"),
            (
                "sys/block/sdb/sdb1/holders/dm-0",
                "",
                "sdb1 is part of dm-0",
            ),
            ("sys/block/sdb/holders/md127", "", "sdb is part of md127"),
        ] {
            let computer = laptop("uses");
            computer.file(file, content);
            let disk = computer.system().disk("sdb").unwrap();
            let error = disk.check(1).unwrap_err().to_string();
            assert!(error.contains(says), "{error}");
            assert!(disk.to_string().contains(says), "the list says so too");
        }
        let computer = laptop("free");
        computer.file("proc/self/mountinfo", root);
        let system = computer.system();
        system.disk("sdb").unwrap().check(3_909_091_328).unwrap();
        let error = system
            .disk("sdb")
            .unwrap()
            .check(3_909_091_329)
            .unwrap_err();
        assert!(error.to_string().contains("smaller --size"), "{error}");
    }

    #[test]
    fn what_is_no_card_is_refused_by_name() {
        let computer = laptop("wrong");
        let system = computer.system();
        let internal = system.disk("sda").unwrap().check(1).unwrap_err();
        assert!(
            internal.to_string().contains("inside this computer"),
            "{internal}"
        );
        for (name, says) in [
            ("sdb1", "partition of sdb"),
            ("sdc", "no disk"),
            ("loop0", "no disk"),
            ("dm-0", "no disk"),
            ("mmcblk0boot0", "no disk"),
            ("sdz", "no disk"),
        ] {
            let error = system.disk(name).unwrap_err().to_string();
            assert!(error.contains(says), "{name}: {error}");
        }
    }

    #[test]
    fn without_a_mount_table_nothing_counts_as_free() {
        let computer = laptop("blind");
        fs::remove_file(computer.root.join("proc/self/mountinfo")).unwrap();
        let error = computer.system().disk("sdb").unwrap_err();
        assert!(error.to_string().contains("what is mounted"), "{error}");
    }
}
