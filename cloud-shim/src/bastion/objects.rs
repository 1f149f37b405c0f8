//! What goes to the bucket: one object for each file, so that a change to one
//! uploads one, and a list of their checksums.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::containers::{pihole_dnsmasq, pihole_whitelist};
use super::{MAKE_ROOM, archive, compose, containers, units};
use crate::api::Body;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::kinds::Content;

/// Files in the data folder and the bundle.
const MOST_FILES: usize = 10_000;
/// Folders in folders: more is a symbolic link to a parent.
const DEEPEST: usize = 16;
/// What Amazon Linux, Docker and the AWS CLI take of the root disk; an estimate.
const SYSTEM_BYTES: u64 = 2 << 30;

/// The objects of the bucket by key.
///
/// # Errors
///
/// A file that cannot be read, a program or an image that would not run on the
/// bastion, or more than its disk holds.
pub fn objects(config: &Config) -> Result<BTreeMap<String, Content>> {
    let bastion = &config.bastion;
    check_program(&bastion.ichor)?;
    let mut files = BTreeMap::from([("bin/ichor".to_owned(), bastion.ichor.clone())]);
    collect(&bastion.data, "data", &mut files)
        .map_err(|error| named(error, "bastion.data", &bastion.data))?;
    if let Some(bundle) = &bastion.bundle {
        collect(bundle, "bundle", &mut files)
            .map_err(|error| named(error, "bastion.bundle", bundle))?;
    }
    let mut objects = BTreeMap::new();
    let mut room = 0;
    for (key, path) in files {
        let content = hash(&path)?;
        let is_image = is_image(&key);
        if is_image {
            archive::images(&path)?;
        }
        // Images and the program lie there twice: as copied, and as installed.
        let copies = if is_image || key == "bin/ichor" { 2 } else { 1 };
        room += copies * content.len;
        objects.insert(key, content);
    }
    let disk = u64::from(bastion.root_gib) << 30;
    if room + SYSTEM_BYTES > disk {
        return Err(Error::refused(format!(
            "bastion.root_gib = {}: {} MiB of data and images and {} MiB of system do not fit: \
             take less into bastion.data and bastion.bundle, or a larger disk",
            bastion.root_gib,
            room >> 20,
            SYSTEM_BYTES >> 20,
        )));
    }
    for (key, text) in rendered(config)? {
        objects.insert(key, bytes(text));
    }
    let sums = objects.iter().fold(String::new(), |text, (key, content)| {
        text + &content.sha256 + "  " + key + "\n"
    });
    objects.insert("SHA256SUMS".to_owned(), bytes(sums));
    Ok(objects)
}

/// Container images that the bastion has to pull, since the bundle lacks them.
/// Without egress it cannot.
///
/// # Errors
///
/// A bundle that cannot be read.
pub fn images_to_pull(config: &Config) -> Result<Vec<String>> {
    let mut files = BTreeMap::new();
    if let Some(bundle) = &config.bastion.bundle {
        collect(bundle, "bundle", &mut files)
            .map_err(|error| named(error, "bastion.bundle", bundle))?;
    }
    let mut bundled = BTreeSet::new();
    for (_, path) in files.iter().filter(|(key, _)| is_image(key)) {
        bundled.extend(
            archive::images(path)?
                .iter()
                .map(|name| short(name).to_owned()),
        );
    }
    let mut wanted = images(config)?;
    wanted.retain(|image| !bundled.contains(short(image)));
    Ok(wanted.into_iter().collect())
}

/// Each image once.
fn images(config: &Config) -> Result<BTreeSet<String>> {
    let all = containers(config)?;
    Ok(all.into_iter().map(|container| container.image).collect())
}

/// An image's name as docker shortens it.
fn short(image: &str) -> &str {
    let name = image.strip_prefix("docker.io/").unwrap_or(image);
    name.strip_prefix("library/").unwrap_or(name)
}

fn is_image(key: &str) -> bool {
    key.starts_with("bundle/") && key.ends_with(".tar")
}

fn rendered(config: &Config) -> Result<BTreeMap<String, String>> {
    let lines = |set: BTreeSet<String>| set.iter().map(|line| line.clone() + "\n").collect();
    let mut all = BTreeMap::from([
        ("bin/ichor-make-room".to_owned(), MAKE_ROOM.to_owned()),
        ("compose.yaml".to_owned(), compose(&containers(config)?)),
        ("images".to_owned(), lines(images(config)?)),
        ("pihole/dnsmasq.conf".to_owned(), pihole_dnsmasq(config)),
        ("pihole/whitelist.txt".to_owned(), pihole_whitelist(config)),
    ]);
    let units = units(config)?.into_iter();
    all.extend(units.map(|(name, text)| (format!("units/{name}"), text)));
    Ok(all)
}

/// Every file under `folder` by its key under `prefix`; symbolic links count as
/// what they point at.
fn collect(folder: &Path, prefix: &str, files: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    let mut folders = vec![(folder.to_owned(), prefix.to_owned(), 0)];
    while let Some((folder, prefix, depth)) = folders.pop() {
        let failed = |error| Error::io(&folder, error);
        for entry in fs::read_dir(&folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            let name = path.file_name().and_then(|name| name.to_str());
            // What SHA256SUMS cannot name plainly.
            let Some(name) =
                name.filter(|name| !name.contains(|c: char| c.is_control() || c == '\\'))
            else {
                let why = "its name is not UTF-8, or has a control character or a backslash";
                return Err(Error::refused(format!("{}: {why}", path.display())));
            };
            let key = format!("{prefix}/{name}");
            let metadata = fs::metadata(&path).map_err(|error| Error::io(&path, error))?;
            if metadata.is_dir() {
                if depth == DEEPEST {
                    let why = format!("more than {DEEPEST} folders deep: a link to a parent?");
                    return Err(Error::refused(format!("{}: {why}", path.display())));
                }
                folders.push((path, key, depth + 1));
            } else if metadata.is_file() {
                files.insert(key, path);
            } else {
                let why = "neither a file nor a folder";
                return Err(Error::refused(format!("{}: {why}", path.display())));
            }
            if files.len() > MOST_FILES {
                return Err(Error::refused(format!(
                    "more than {MOST_FILES} files: is it the right folder?"
                )));
            }
        }
    }
    Ok(())
}

/// Says which key a folder is from.
fn named(error: Error, key: &str, folder: &Path) -> Error {
    match error {
        Error::Refused(why) => Error::Refused(format!("{key}: {why}")),
        Error::Io { path, source } if path == folder => Error::Refused(format!(
            "{key} = {:?}: {source}: name in cloud.toml a folder that is there",
            folder.display().to_string()
        )),
        other => other,
    }
}

fn bytes(text: String) -> Content {
    Content {
        len: text.len() as u64,
        sha256: format!("{:x}", Sha256::digest(&text)),
        body: Body::Bytes(text.into_bytes()),
    }
}

/// A file's length and checksum, read in pieces.
fn hash(path: &Path) -> Result<Content> {
    let failed = |error| Error::io(path, error);
    let mut sha256 = Sha256::new();
    let len = io::copy(&mut File::open(path).map_err(failed)?, &mut sha256).map_err(failed)?;
    Ok(Content {
        body: Body::File(path.to_owned()),
        len,
        sha256: format!("{:x}", sha256.finalize()),
    })
}

/// Bytes of an ELF header, and of a program header, in 64-bit files.
const ELF_HEADER: usize = 64;
const PROGRAM_HEADER: usize = 56;
/// Program headers that are looked at: programs have about ten.
const MOST_PROGRAM_HEADERS: u16 = 64;

/// That it is a static arm64 program for Linux: the bastion has no matching C
/// library to offer.
fn check_program(path: &Path) -> Result<()> {
    let refuse = |why: &str| {
        let how = "run `cargo xtask build --board bastion`";
        Error::refused(format!(
            "bastion.ichor = {:?}: {why}: {how}",
            path.display().to_string()
        ))
    };
    let file = File::open(path).map_err(|error| refuse(&error.to_string()))?;
    let mut start = Vec::new();
    let most = ELF_HEADER + PROGRAM_HEADER * usize::from(MOST_PROGRAM_HEADERS);
    file.take(most as u64)
        .read_to_end(&mut start)
        .map_err(|error| Error::io(path, error))?;
    wrong_with_program(&start).map_or(Ok(()), |why| Err(refuse(why)))
}

/// What keeps a program that starts so from running on the bastion.
fn wrong_with_program(start: &[u8]) -> Option<&'static str> {
    const ARM64: u16 = 183;
    const INTERPRETER: u32 = 3;
    let u16_at = |at: usize| Some(u16::from_le_bytes(*start.get(at..)?.first_chunk()?));
    let u32_at = |at: usize| Some(u32::from_le_bytes(*start.get(at..)?.first_chunk()?));
    let u64_at = |at: usize| Some(u64::from_le_bytes(*start.get(at..)?.first_chunk()?));
    // 64 bits, little endian.
    if !start.starts_with(b"\x7fELF\x02\x01") {
        return Some("not a 64-bit Linux program");
    }
    if u16_at(18) != Some(ARM64) {
        return Some("not for arm64");
    }
    let headers = || {
        let first = usize::try_from(u64_at(32)?).ok()?;
        let kinds =
            (0..usize::from(u16_at(56)?)).map(|n| u32_at(first.checked_add(n * PROGRAM_HEADER)?));
        kinds.collect::<Option<Vec<u32>>>()
    };
    match headers() {
        None => Some("cut short, or no program that Linux starts"),
        Some(kinds) if kinds.is_empty() => Some("no program, but an object file"),
        Some(kinds) if kinds.contains(&INTERPRETER) => Some("not statically linked"),
        Some(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An ELF file's start with these program headers.
    fn elf(machine: u16, headers: &[u32]) -> Vec<u8> {
        let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
        elf.resize(ELF_HEADER, 0);
        elf[18..20].copy_from_slice(&machine.to_le_bytes());
        elf[32] = 64;
        elf[56..58].copy_from_slice(&(headers.len() as u16).to_le_bytes());
        for kind in headers {
            elf.extend(kind.to_le_bytes());
            elf.extend([0; PROGRAM_HEADER - 4]);
        }
        elf
    }

    #[test]
    fn only_a_static_arm64_program_is_taken() {
        let good = elf(183, &[1, 1, 0x6474_e551]);
        for (start, expected) in [
            (good.clone(), None),
            (elf(62, &[1]), Some("not for arm64")),
            (elf(183, &[1, 3]), Some("not statically linked")),
            (elf(183, &[]), Some("no program, but an object file")),
            (
                good[..100].to_vec(),
                Some("cut short, or no program that Linux starts"),
            ),
            (b"#!/bin/sh\n".to_vec(), Some("not a 64-bit Linux program")),
            (Vec::new(), Some("not a 64-bit Linux program")),
        ] {
            assert_eq!(wrong_with_program(&start), expected);
        }
    }

    /// A lab with a program, a data folder and a bundle in a new folder.
    struct Lab {
        folder: PathBuf,
        config: Config,
    }

    impl Lab {
        fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("ichor-{name}-{}", std::process::id()));
            let _ = fs::remove_dir_all(&folder);
            let mut config = Config::default();
            config.bastion.ichor = folder.join("ichor");
            config.bastion.data = folder.join("data");
            let lab = Self { folder, config };
            lab.write("ichor", &elf(183, &[1]));
            lab.write("data/groups/default.json", b"{}");
            lab.write("data/assets/vmlinuz", b"kernel");
            lab
        }

        fn write(&self, name: &str, content: &[u8]) {
            let path = self.folder.join(name);
            fs::create_dir_all(path.parent().expect("it has one")).expect("writable");
            fs::write(path, content).expect("writable");
        }

        fn refusal(&self) -> String {
            objects(&self.config)
                .expect_err("it is refused")
                .to_string()
        }
    }

    impl Drop for Lab {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.folder);
        }
    }

    /// A tar with these files, as `docker save` writes it.
    fn tar(files: &[(&str, &str)]) -> Vec<u8> {
        let mut tar = Vec::new();
        for (name, content) in files {
            let mut header = [0; 512];
            header[..name.len()].copy_from_slice(name.as_bytes());
            let size = format!("{:011o}", content.len());
            header[124..135].copy_from_slice(size.as_bytes());
            header[156] = b'0';
            header[257..262].copy_from_slice(b"ustar");
            tar.extend(header);
            tar.extend(content.as_bytes());
            tar.resize(tar.len().next_multiple_of(512), 0);
        }
        tar.resize(tar.len() + 1024, 0);
        tar
    }

    const MANIFEST: &str = r#"[{"Config":"c.json","RepoTags":["registry:2.8.3"],"Layers":[]}]"#;

    #[test]
    fn each_file_is_an_object_and_listed_with_its_checksum() {
        let lab = Lab::new("objects");
        std::os::unix::fs::symlink("vmlinuz", lab.folder.join("data/assets/link"))
            .expect("writable");
        let all = objects(&lab.config).expect("all is there");
        assert_eq!(
            all,
            objects(&lab.config).expect("all is there"),
            "the same each time"
        );
        let kernel = &all["data/assets/vmlinuz"];
        assert_eq!(kernel.len, 6);
        assert_eq!(kernel.sha256, format!("{:x}", Sha256::digest("kernel")));
        assert_eq!(all["data/assets/link"].sha256, kernel.sha256);
        let Body::Bytes(sums) = &all["SHA256SUMS"].body else {
            panic!("it is no file");
        };
        let listed: BTreeMap<_, _> = str::from_utf8(sums)
            .expect("text")
            .lines()
            .map(|line| {
                line.split_once("  ")
                    .map(|(sum, key)| (key, sum))
                    .expect("two words")
            })
            .collect();
        for (key, content) in all.iter().filter(|(key, _)| *key != "SHA256SUMS") {
            assert_eq!(listed.get(&**key), Some(&&*content.sha256), "{key}");
        }
        assert_eq!(listed.len() + 1, all.len());
    }

    #[test]
    fn what_cannot_work_on_the_bastion_is_refused() {
        let mut lab = Lab::new("refused");
        lab.config.bastion.data = lab.folder.join("nowhere");
        assert!(
            lab.refusal().contains("bastion.data = "),
            "{}",
            lab.refusal()
        );
        lab.config.bastion.data = lab.folder.join("data");

        lab.config.bastion.root_gib = 2;
        assert!(lab.refusal().contains("do not fit"), "{}", lab.refusal());
        lab.config.bastion.root_gib = 5;

        lab.write("ichor", &elf(62, &[1]));
        assert!(
            lab.refusal()
                .contains("not for arm64: run `cargo xtask build"),
            "{}",
            lab.refusal()
        );
        lab.write("ichor", &elf(183, &[1]));

        std::os::unix::fs::symlink("..", lab.folder.join("data/up")).expect("writable");
        assert!(lab.refusal().contains("folders deep"), "{}", lab.refusal());
    }

    #[test]
    fn images_that_would_not_load_or_run_are_refused() {
        let mut lab = Lab::new("images");
        lab.config.bastion.bundle = Some(lab.folder.join("bundle"));
        let arm64 = r#"{"architecture":"arm64","os":"linux"}"#;
        let amd64 = r#"{"architecture":"amd64","os":"linux"}"#;
        let nameless = r#"[{"Config":"c.json","RepoTags":null}]"#;
        for (files, why) in [
            (vec![("index.json", "{}")], "no manifest.json"),
            (vec![("manifest.json", MANIFEST)], "c.json is missing"),
            (vec![("manifest.json", "{")], "manifest.json: "),
            (
                vec![("manifest.json", nameless), ("c.json", arm64)],
                "no name",
            ),
            (
                vec![("c.json", amd64), ("manifest.json", MANIFEST)],
                "is for amd64",
            ),
        ] {
            lab.write("bundle/registry.tar", &tar(&files));
            assert!(lab.refusal().contains(why), "{why}: {}", lab.refusal());
        }
        for wrong in [&b"no tar"[..], &[0xff; 2000], &[]] {
            lab.write("bundle/registry.tar", wrong);
            assert!(
                lab.refusal().contains("no manifest.json"),
                "{}",
                lab.refusal()
            );
        }
        lab.write(
            "bundle/registry.tar",
            &tar(&[("c.json", arm64), ("manifest.json", MANIFEST)]),
        );
        let all = objects(&lab.config).expect("all is right");
        assert!(all.contains_key("bundle/registry.tar"));
        let pull = images_to_pull(&lab.config).expect("it can be read");
        assert_eq!(pull, [lab.config.images.pihole.clone()]);
    }
}
