//! Lays a tree of files out as a FAT32 volume, all at once, each file in one piece.
//!
//! No file system that is written file by file promises where a file lies. A
//! board that fills its cache from the card reads a file in one piece with few
//! requests, and clusters that begin on a MiB suit the blocks that flash erases.
//! After Microsoft's "FAT32 File System Specification" 1.03.
//!
//! It writes new volumes and reads none.

#![forbid(unsafe_code)]

mod geometry;
mod name;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read as _, Seek, SeekFrom, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};

use geometry::FIRST_CLUSTER;
pub use geometry::{Geometry, SECTOR};
use name::{ENTRY, Name, Short};

/// Ends a chain of clusters.
const END_OF_CHAIN: u32 = 0x0FFF_FFFF;
/// Largest folder in bytes: 65,536 entries.
const LARGEST_FOLDER: u64 = 65_536 * ENTRY as u64;
const ATTRIBUTE_LABEL: u8 = 0x08;
const ATTRIBUTE_FOLDER: u8 = 0x10;
const ATTRIBUTE_FILE: u8 = 0x20;
/// 1 January 1980, the first day FAT knows: the same files make the same volume.
const DATE: u16 = 1 << 5 | 1;

/// What a file holds.
#[derive(Debug)]
pub enum Content {
    /// These bytes.
    Bytes(Vec<u8>),
    /// A file of this computer, copied when the volume is written.
    File {
        /// Which.
        path: PathBuf,
        /// Its length in bytes.
        len: u32,
    },
}

impl Content {
    /// The file at `path`, as long as it is now.
    pub fn file(path: PathBuf) -> Result<Self> {
        let len = std::fs::metadata(&path)
            .with_context(|| format!("cannot read {}", path.display()))?
            .len();
        let len = u32::try_from(len)
            .ok()
            .with_context(|| format!("{}: FAT holds no file of 4 GiB or more", path.display()))?;
        Ok(Self::File { path, len })
    }

    /// Its length in bytes.
    fn len(&self) -> u64 {
        match self {
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::File { len, .. } => u64::from(*len),
        }
    }
}

/// A folder to be laid out, entries in the order in which they were added.
#[derive(Debug, Default)]
pub struct Folder {
    entries: Vec<Entry>,
    taken: HashSet<Short>,
    /// Names in capital letters: FAT does not tell case apart.
    names: HashSet<String>,
}

#[derive(Debug)]
struct Entry {
    text: String,
    name: Name,
    node: Node,
    /// Where it begins; zero if it is an empty file.
    first_cluster: u32,
}

#[derive(Debug)]
enum Node {
    File(Content),
    Folder(Folder),
}

impl Folder {
    /// Adds a file whose name is eight and three characters, in a single entry.
    pub fn add_short(&mut self, name: &str, content: Content) -> Result<()> {
        let stored = Name::short_only(name)?;
        ensure!(!self.taken.contains(&stored.short), "{name} is there twice");
        self.add(name, stored, Node::File(content))
    }

    /// Adds a file.
    pub fn add_file(&mut self, name: &str, content: Content) -> Result<()> {
        let stored = Name::any(name, &self.taken)?;
        self.add(name, stored, Node::File(content))
    }

    /// Adds a folder.
    pub fn add_folder(&mut self, name: &str, folder: Self) -> Result<()> {
        let stored = Name::any(name, &self.taken)?;
        self.add(name, stored, Node::Folder(folder))
    }

    /// Whether there is a file or folder of this name, in whatever case.
    pub fn has(&self, name: &str) -> bool {
        self.names.contains(&name.to_uppercase())
    }

    fn add(&mut self, text: &str, name: Name, node: Node) -> Result<()> {
        ensure!(
            self.names.insert(text.to_uppercase()),
            "{text} is there twice: FAT does not tell small from capital letters"
        );
        self.taken.insert(name.short);
        self.entries.push(Entry {
            text: text.to_owned(),
            name,
            node,
            first_cluster: 0,
        });
        Ok(())
    }

    /// Bytes that files and folders take at most, whatever the size of clusters.
    pub fn room(&self) -> u64 {
        let largest = 64 * u64::from(SECTOR);
        let own = (self.bytes(true).max(1)).next_multiple_of(largest);
        let inside = self.entries.iter().map(|entry| match &entry.node {
            Node::File(content) => content.len().next_multiple_of(largest),
            Node::Folder(folder) => folder.room(),
        });
        own + inside.sum::<u64>()
    }

    /// Bytes of its own entries.
    fn bytes(&self, is_root: bool) -> u64 {
        // The volume's label, or the folder itself and the one above it.
        let first = if is_root { 1 } else { 2 };
        let names: usize = self.entries.iter().map(|entry| entry.name.entries()).sum();
        ((first + names) * ENTRY) as u64
    }

    fn clusters(&self, geometry: &Geometry, is_root: bool) -> Result<u64> {
        let bytes = self.bytes(is_root);
        ensure!(
            bytes <= LARGEST_FOLDER,
            "too many files for one folder of FAT"
        );
        Ok(geometry.clusters_for(bytes).max(1))
    }

    /// Gives every file and folder below its clusters, in order.
    fn place(&mut self, clusters: &mut Clusters) -> Result<()> {
        for entry in &mut self.entries {
            let count = match &entry.node {
                Node::File(content) => clusters.geometry.clusters_for(content.len()),
                Node::Folder(folder) => folder.clusters(&clusters.geometry, false)?,
            };
            entry.first_cluster = clusters.take(count)?;
            if let Node::Folder(folder) = &mut entry.node {
                folder.place(clusters)?;
            }
        }
        Ok(())
    }

    /// The folder's bytes: `heading`, then its entries.
    fn entries(&self, heading: &[[u8; ENTRY]]) -> Vec<u8> {
        let mut bytes: Vec<u8> = heading.concat();
        for entry in &self.entries {
            bytes.extend(entry.name.long_entries().concat());
            let (attribute, len) = match &entry.node {
                Node::File(content) => (ATTRIBUTE_FILE, content.len()),
                Node::Folder(_) => (ATTRIBUTE_FOLDER, 0),
            };
            // Lengths were checked when the content was named.
            let len = u32::try_from(len).unwrap_or(u32::MAX);
            let Name { short, case, .. } = entry.name;
            bytes.extend(short_entry(
                &short,
                case,
                attribute,
                entry.first_cluster,
                len,
            ));
        }
        bytes
    }

    /// Writes everything below it; `own` is its first cluster, as the folders
    /// in it name it.
    fn write(&self, own: u32, out: &mut Out<impl Write + Seek>) -> Result<()> {
        for entry in &self.entries {
            let at = entry.first_cluster;
            match &entry.node {
                Node::File(content) => out
                    .content(at, content)
                    .with_context(|| format!("cannot copy {}", entry.text))?,
                Node::Folder(folder) => {
                    let heading = [
                        short_entry(b".          ", 0, ATTRIBUTE_FOLDER, at, 0),
                        short_entry(b"..         ", 0, ATTRIBUTE_FOLDER, own, 0),
                    ];
                    out.bytes(at, &folder.entries(&heading))?;
                    folder.write(at, out)?;
                }
            }
        }
        Ok(())
    }
}

fn short_entry(name: &Short, case: u8, attribute: u8, cluster: u32, len: u32) -> [u8; ENTRY] {
    let mut entry = [0; ENTRY];
    let mut put = |at: usize, bytes: &[u8]| entry[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, name);
    put(11, &[attribute, case]);
    // Made, read, written.
    for at in [16, 18, 24] {
        put(at, &DATE.to_le_bytes());
    }
    let [low, more, high, highest] = cluster.to_le_bytes();
    put(20, &[high, highest]);
    put(26, &[low, more]);
    put(28, &len.to_le_bytes());
    entry
}

/// Clusters given away so far, one run after the other.
struct Clusters {
    geometry: Geometry,
    /// First cluster and number of each run.
    runs: Vec<(u32, u32)>,
    next: u32,
}

impl Clusters {
    fn take(&mut self, count: u64) -> Result<u32> {
        if count == 0 {
            return Ok(0);
        }
        let left = self.geometry.clusters + FIRST_CLUSTER - self.next;
        let Some(count) = u32::try_from(count).ok().filter(|count| *count <= left) else {
            bail!("the files do not fit: choose a larger size");
        };
        let first = self.next;
        self.runs.push((first, count));
        self.next += count;
        Ok(first)
    }

    /// The table of chains, as far as it is not zero.
    fn table(&self) -> Vec<u8> {
        let mut table = vec![0x0FFF_FFF8, END_OF_CHAIN];
        for (first, count) in &self.runs {
            table.extend(first + 1..first + count);
            table.push(END_OF_CHAIN);
        }
        table.iter().flat_map(|entry| entry.to_le_bytes()).collect()
    }
}

/// Where the volume goes: a place in a file that is zero so far.
struct Out<'a, W> {
    to: &'a mut W,
    start: u64,
    geometry: Geometry,
}

impl<W: Write + Seek> Out<'_, W> {
    fn at(&mut self, offset: u64, bytes: &[u8]) -> Result<()> {
        self.to.seek(SeekFrom::Start(self.start + offset))?;
        Ok(self.to.write_all(bytes)?)
    }

    fn bytes(&mut self, cluster: u32, bytes: &[u8]) -> Result<()> {
        self.at(self.geometry.offset(cluster), bytes)
    }

    fn content(&mut self, cluster: u32, content: &Content) -> Result<()> {
        match content {
            Content::Bytes(bytes) if bytes.is_empty() => Ok(()),
            Content::File { len: 0, .. } => Ok(()),
            Content::Bytes(bytes) => self.bytes(cluster, bytes),
            Content::File { path, len } => {
                let file = File::open(path)?;
                self.bytes(cluster, &[])?;
                let copied = io::copy(&mut file.take(u64::from(*len)), self.to)?;
                ensure!(
                    copied == u64::from(*len),
                    "{} became shorter while it was copied",
                    path.display()
                );
                Ok(())
            }
        }
    }
}

/// A volume to be written.
#[derive(Debug, Clone, Copy)]
pub struct Volume {
    /// Where it begins on its disk; a multiple of 1 MiB.
    pub first_sector: u32,
    /// Its size.
    pub sectors: u32,
    /// Its name, padded with spaces.
    pub label: [u8; 11],
    /// A number that tells it from others.
    pub serial: u32,
}

impl Volume {
    /// Writes the volume with `root` in it to the disk `to`, which must be zero
    /// there. Returns its geometry and how many bytes are free.
    pub fn write(&self, mut root: Folder, to: &mut (impl Write + Seek)) -> Result<(Geometry, u64)> {
        let geometry = Geometry::of(self.sectors)?;
        let mut clusters = Clusters {
            geometry,
            runs: Vec::new(),
            next: FIRST_CLUSTER,
        };
        let own = clusters.take(root.clusters(&geometry, true)?)?;
        root.place(&mut clusters)?;
        let used = clusters.next - FIRST_CLUSTER;

        let mut out = Out {
            to,
            start: u64::from(self.first_sector) * u64::from(SECTOR),
            geometry,
        };
        let first = geometry.first_sectors(&self.label, self.first_sector, self.serial, used);
        out.at(0, &first)?;
        let table = clusters.table();
        for place in geometry.tables() {
            out.at(place, &table)?;
        }
        let heading = [short_entry(&self.label, 0, ATTRIBUTE_LABEL, 0, 0)];
        out.bytes(own, &root.entries(&heading))?;
        // Folders in the root name it by zero as the one above them.
        root.write(0, &mut out)?;
        let free = u64::from(geometry.clusters - used) * u64::from(geometry.cluster());
        Ok((geometry, free))
    }
}

#[cfg(test)]
mod tests;
