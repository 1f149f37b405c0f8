//! What the suite needs in the board's data folder: files of known content, a group and a profile.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::station::MACS;

/// The large file, by its path in the data folder.
pub const ASSET: Asset = Asset {
    path: "assets/hil.bin",
    len: 4 << 20,
    seed: 0x6963_686F_7221,
};

/// The small one. Its length is none of whole blocks.
pub(super) const SMALL: Asset = Asset {
    path: "assets/hil-small.bin",
    len: 70_001,
    seed: 0x6869_6C21,
};

/// A word of the kernel's command line, by which the profile is recognised.
pub(super) const MARK: &str = "ichor.hil=cm3";

/// A file whose bytes follow from a number, so that nobody has to carry it
/// along to compare.
#[derive(Debug, Clone, Copy)]
pub struct Asset {
    /// Where it lies in the data folder.
    pub path: &'static str,
    /// Its length in bytes.
    pub len: usize,
    seed: u64,
}

impl Asset {
    /// All its bytes (Marsaglia's xorshift64: no compression, no repetition).
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let mut state = self.seed;
        let words = std::iter::repeat_with(|| {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        });
        let mut bytes: Vec<u8> = words.take(self.len.div_ceil(8)).flatten().collect();
        bytes.truncate(self.len);
        bytes
    }
}

/// What [`prepare`] did to a folder.
#[derive(Debug)]
pub struct Prepared {
    /// The files that were written.
    pub written: Vec<PathBuf>,
    /// Whether the folder has an `ichor.toml`, without which a board has no address.
    pub has_settings: bool,
}

/// Writes what the suite needs into the data folder `folder`, which is made if
/// need be. No other file of it is touched.
///
/// # Errors
/// A file cannot be written.
pub fn prepare(folder: &Path) -> Result<Prepared> {
    let mut written = Vec::new();
    let mut write = |file: &str, content: &[u8]| -> Result<()> {
        let path = folder.join(file);
        let parent = path.parent().unwrap_or(folder);
        fs::create_dir_all(parent)
            .and_then(|()| fs::write(&path, content))
            .with_context(|| format!("cannot write {}", path.display()))?;
        written.push(path);
        Ok(())
    };
    for asset in [ASSET, SMALL] {
        write(asset.path, &asset.bytes())?;
    }
    let mac = MACS.client();
    let group = format!(
        r#"{{"id":"hil","name":"The test suite's own client","profile":"hil","selector":{{"mac":"{mac}"}}}}
"#
    );
    write("groups/hil.json", group.as_bytes())?;
    let (kernel, initrd) = (ASSET.path, SMALL.path);
    let profile = format!(
        r#"{{"id":"hil","name":"Nothing that boots: files with known content",
"boot":{{"kernel":"/{kernel}","initrd":["/{initrd}"],"args":["{MARK}"]}}}}
"#
    );
    write("profiles/hil.json", profile.as_bytes())?;
    Ok(Prepared {
        written,
        has_settings: folder.join("ichor.toml").is_file(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::sha256;

    #[test]
    fn the_content_never_changes() {
        // A card that was written with an older suite must still pass.
        for (asset, want) in [
            (
                ASSET,
                "50ee9355427b375863ed85c770b7d69eaf769bcbca5e4dbc986b3dbb7570ec2c",
            ),
            (
                SMALL,
                "25bb04f7b3e29b72c91bdc5484b6be8bdf66627128dd3d75a6a97f26c5f98a84",
            ),
        ] {
            let bytes = asset.bytes();
            assert_eq!(bytes.len(), asset.len);
            assert_eq!(sha256(&bytes[..]).unwrap(), want, "{}", asset.path);
        }
    }

    #[test]
    fn a_folder_keeps_what_else_is_in_it() {
        let folder = std::env::temp_dir().join(format!("ichor-hil-{}", std::process::id()));
        fs::create_dir_all(folder.join("groups")).unwrap();
        fs::write(folder.join("groups/node.json"), "{}").unwrap();
        let prepared = prepare(&folder).unwrap();
        assert_eq!(prepared.written.len(), 4);
        assert!(!prepared.has_settings);
        assert_eq!(fs::read(folder.join("groups/node.json")).unwrap(), b"{}");
        fs::write(folder.join("ichor.toml"), "").unwrap();
        assert!(
            prepare(&folder).unwrap().has_settings,
            "again, and it knows"
        );
        fs::remove_dir_all(&folder).unwrap();
    }
}
