//! Container images in archives, read as far as it takes to know that they
//! will load and run.

use std::fs::File;
use std::io::{BufReader, Read, Seek as _, SeekFrom};
use std::path::Path;

use serde::Deserialize;

use crate::error::{Error, Result};

/// Bytes of a tar header, to a multiple of which contents are padded.
const BLOCK: u64 = 512;
/// Entries that are looked at: images have some dozens.
const MOST_ENTRIES: usize = 10_000;
/// The largest of the JSON documents.
const LARGEST_JSON: u64 = 1 << 20;

/// An image, as `manifest.json` in an archive names it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Entry {
    config: String,
    repo_tags: Option<Vec<String>>,
}

/// The part of an image's configuration that says where it runs.
#[derive(Deserialize)]
struct Platform {
    architecture: String,
}

/// Names of the images in an archive for `docker load`.
///
/// # Errors
///
/// It is no such archive, or has an image without a name or not for arm64.
pub(super) fn images(path: &Path) -> Result<Vec<String>> {
    let refuse = |why: String| Error::refused(format!("{}: {why}", path.display()));
    let Some(manifest) = read(path, "manifest.json")? else {
        let how = "write it by `docker save`, or `skopeo copy --override-arch arm64 docker://NAME docker-archive:FILE:NAME`";
        return Err(refuse(format!(
            "no container image that docker can load (it has no manifest.json): {how}"
        )));
    };
    let entries: Vec<Entry> = serde_json::from_slice(&manifest)
        .map_err(|error| refuse(format!("manifest.json: {error}")))?;
    let mut names = Vec::new();
    for entry in entries {
        let tags = entry.repo_tags.unwrap_or_default();
        if tags.is_empty() {
            return Err(refuse(
                "an image in it has no name: name it when writing it".into(),
            ));
        }
        let config = read(path, &entry.config)?
            .ok_or_else(|| refuse(format!("{} is missing in it", entry.config)))?;
        let platform: Platform = serde_json::from_slice(&config)
            .map_err(|error| refuse(format!("{}: {error}", entry.config)))?;
        if platform.architecture != "arm64" {
            return Err(refuse(format!(
                "{} is for {}, the bastion is arm64",
                tags.join(", "),
                platform.architecture
            )));
        }
        names.extend(tags);
    }
    Ok(names)
}

/// The content of a small file in a tar, if it is there.
fn read(path: &Path, name: &str) -> Result<Option<Vec<u8>>> {
    let failed = |error| Error::io(path, error);
    let mut tar = BufReader::new(File::open(path).map_err(failed)?);
    let mut header = [0; BLOCK as usize];
    for _ in 0..MOST_ENTRIES {
        match tar.read_exact(&mut header) {
            Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(None),
            other => other.map_err(failed)?,
        }
        let Some(entry) = Header::parse(&header) else {
            return Ok(None);
        };
        if entry.is_file && entry.name == name && entry.len <= LARGEST_JSON {
            let mut content = Vec::new();
            tar.take(entry.len)
                .read_to_end(&mut content)
                .map_err(failed)?;
            return Ok(Some(content));
        }
        let Ok(padded) = i64::try_from(entry.len.next_multiple_of(BLOCK)) else {
            return Ok(None);
        };
        tar.seek(SeekFrom::Current(padded)).map_err(failed)?;
    }
    Ok(None)
}

/// What is needed of a tar header (POSIX.1-1988 ustar, and GNU's).
struct Header<'a> {
    name: &'a str,
    len: u64,
    is_file: bool,
}

impl<'a> Header<'a> {
    /// `None` for the end of an archive, and for what is none.
    fn parse(header: &'a [u8; BLOCK as usize]) -> Option<Self> {
        let text = |field: &'a [u8]| {
            let end = field
                .iter()
                .position(|byte| *byte == 0)
                .unwrap_or(field.len());
            str::from_utf8(field.get(..end)?).ok()
        };
        if header.get(257..262)? != b"ustar" {
            return None;
        }
        let size = header.get(124..136)?;
        let len = match size {
            // GNU: beyond 8 GiB, in binary.
            [0x80, .., a, b, c, d, e, f, g, h] => {
                u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h])
            }
            _ => u64::from_str_radix(text(size)?.trim(), 8).ok()?,
        };
        let name = text(header.get(..100)?)?;
        Some(Self {
            name: name.strip_prefix("./").unwrap_or(name),
            len: (len <= i64::MAX as u64 - BLOCK).then_some(len)?,
            is_file: matches!(header.get(156)?, b'0' | 0),
        })
    }
}
