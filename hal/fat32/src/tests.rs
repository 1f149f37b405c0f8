//! Volumes looked at with a reader of their own.

use std::io::Cursor;

use super::geometry::ALIGNMENT;
use super::*;

const VOLUME: Volume = Volume {
    first_sector: ALIGNMENT,
    sectors: 40 * ALIGNMENT,
    label: *b"ICHOR      ",
    serial: 0x1C40_0001,
};

/// Reads what was written, by the sectors alone.
struct Reader {
    bytes: Vec<u8>,
    geometry: Geometry,
}

impl Reader {
    fn of(root: Folder) -> Self {
        let size = (VOLUME.first_sector + VOLUME.sectors) as usize * SECTOR as usize;
        let mut disk = Cursor::new(vec![0; size]);
        let (geometry, _) = VOLUME.write(root, &mut disk).unwrap();
        let start = VOLUME.first_sector as usize * SECTOR as usize;
        let bytes = disk.into_inner().split_off(start);
        Self { bytes, geometry }
    }

    fn u32(&self, at: usize) -> u32 {
        u32::from_le_bytes(self.bytes[at..at + 4].try_into().unwrap())
    }

    /// The clusters of a chain, read from the copy of the table.
    fn chain(&self, first: u32, copy: usize) -> Vec<u32> {
        let table = usize::try_from(self.geometry.tables().nth(copy).unwrap()).unwrap();
        let mut chain = vec![first];
        loop {
            match self.u32(table + 4 * chain[chain.len() - 1] as usize) {
                END_OF_CHAIN => return chain,
                next => chain.push(next),
            }
        }
    }

    fn content(&self, first: u32) -> Vec<u8> {
        let cluster = self.geometry.cluster() as usize;
        let pieces = self.chain(first, 0).into_iter().map(|number| {
            let at = usize::try_from(self.geometry.offset(number)).unwrap();
            &self.bytes[at..at + cluster]
        });
        pieces.collect::<Vec<_>>().concat()
    }

    /// Short name, attribute, first cluster and length of each short entry,
    /// and where in the folder it stands.
    fn list(&self, first: u32) -> Vec<(String, u8, u32, u32, usize)> {
        let content = self.content(first);
        let entries = content.chunks(ENTRY).enumerate();
        entries
            .take_while(|(_, entry)| entry[0] != 0)
            .filter(|(_, entry)| entry[11] != name::ATTRIBUTE_LONG)
            .map(|(index, entry)| {
                let number = |at: usize| u32::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
                (
                    String::from_utf8_lossy(&entry[..11]).into_owned(),
                    entry[11],
                    number(20) << 16 | number(26),
                    number(28) | number(30) << 16,
                    index * ENTRY,
                )
            })
            .collect()
    }
}

#[test]
fn files_are_where_the_folders_say_each_in_one_piece() {
    let mut assets = Folder::default();
    let kernel: Vec<u8> = (0..5000_u32).flat_map(u32::to_le_bytes).collect();
    assets
        .add_file("vmlinuz", Content::Bytes(kernel.clone()))
        .unwrap();
    assets
        .add_file("empty", Content::Bytes(Vec::new()))
        .unwrap();
    let mut root = Folder::default();
    root.add_short("kernel8.img", Content::Bytes(vec![8; 1000]))
        .unwrap();
    root.add_folder("assets", assets).unwrap();

    let reader = Reader::of(root);
    let top = reader.list(FIRST_CLUSTER);
    let names: Vec<(&str, u8)> = top.iter().map(|entry| (&*entry.0, entry.1)).collect();
    assert_eq!(
        names,
        [
            ("ICHOR      ", 0x08),
            ("KERNEL8 IMG", 0x20),
            ("ASSETS     ", 0x10)
        ]
    );
    assert_eq!(top[1].3, 1000);
    assert_eq!(reader.content(top[1].2)[..1000], [8; 1000]);

    let inside = reader.list(top[2].2);
    assert_eq!((&*inside[0].0, inside[0].2), (".          ", top[2].2));
    assert_eq!((&*inside[1].0, inside[1].2), ("..         ", 0));
    assert_eq!((&*inside[2].0, inside[2].3), ("VMLINUZ    ", 20_000));
    assert_eq!(reader.content(inside[2].2)[..20_000], kernel);
    assert_eq!(
        (inside[3].2, inside[3].3),
        (0, 0),
        "an empty file has no cluster"
    );
    for copy in 0..2 {
        let chain = reader.chain(inside[2].2, copy);
        assert_eq!(chain.len(), 40);
        assert!(chain.windows(2).all(|pair| pair[1] == pair[0] + 1));
    }
}

#[test]
fn a_folder_may_take_more_than_one_cluster() {
    let mut groups = Folder::default();
    for number in 0..100 {
        let name = format!("machine-number-{number}.json");
        groups
            .add_file(&name, Content::Bytes(name.clone().into_bytes()))
            .unwrap();
    }
    let mut root = Folder::default();
    root.add_folder("groups", groups).unwrap();
    let reader = Reader::of(root);
    let folder = reader.list(FIRST_CLUSTER)[1].2;
    // 302 entries of 32 bytes.
    assert_eq!(reader.chain(folder, 0).len(), 19);
    let inside = reader.list(folder);
    assert_eq!(inside.len(), 102);
    let (_, _, cluster, len, _) = inside[101];
    assert_eq!(
        reader.content(cluster)[..len as usize],
        *b"machine-number-99.json"
    );
}

#[test]
fn what_cannot_be_on_one_card_is_refused() {
    let mut root = Folder::default();
    root.add_file("Default.json", Content::Bytes(Vec::new()))
        .unwrap();
    let twice = root.add_file("default.json", Content::Bytes(Vec::new()));
    assert!(twice.unwrap_err().to_string().contains("twice"));
    assert!(root.has("DEFAULT.JSON"));

    let too_much = Content::Bytes(vec![1; 40 << 20]);
    root.add_file("large", too_much).unwrap();
    let size = (VOLUME.first_sector + VOLUME.sectors) as usize * SECTOR as usize;
    let full = VOLUME.write(root, &mut Cursor::new(vec![0; size]));
    assert!(full.unwrap_err().to_string().contains("do not fit"));
}

#[test]
fn a_file_that_shrinks_while_it_is_copied_is_an_error() {
    let path = std::env::temp_dir().join(format!("ichor-shrinks-{}", std::process::id()));
    std::fs::write(&path, [1; 100]).unwrap();
    let mut root = Folder::default();
    root.add_file("file", Content::file(path.clone()).unwrap())
        .unwrap();
    std::fs::write(&path, [1; 99]).unwrap();
    let size = (VOLUME.first_sector + VOLUME.sectors) as usize * SECTOR as usize;
    let outcome = VOLUME.write(root, &mut Cursor::new(vec![0; size]));
    std::fs::remove_file(&path).unwrap();
    let error = format!("{:#}", outcome.unwrap_err());
    assert!(error.contains("became shorter"), "{error}");
}
